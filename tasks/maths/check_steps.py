"""The first wrong step of a solution, by arithmetic alone: every equation is checked exactly, every quantity followed to where it is from.

Two kinds of evidence. An equation that is false is a mistake, whatever comes of it. A name or a term that changes on the way from one
step to the next is one only where the result is known to be wrong: such a thing may have been meant. A wrong plan worked out without a
slip cannot be seen here: the verdict on it is an abstention, never "right".
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from tasks.maths.carried import Computation
from tasks.maths.equations import Chain, Side, chains
from tasks.maths.exact import plain
from tasks.maths.extract import find_answer
from tasks.maths.rational import Number

_CONVERSIONS = frozenset(map(Fraction, [2, 3, 4, 7, 8, 10, 12, 16, 24, 30, 36, 52, 60, 100, 144, 365, 1000, 1440, 1760, 3600, 5280]))
"""Factors between units: sides with different units that differ by one of these are not judged."""


class Finding(NamedTuple):
    """What the check says about one solution."""

    first_wrong_step: int | None
    """1-based; None where none was found or nothing could be decided."""
    abstained: bool
    """True where it cannot be decided whether, or where, a step is wrong."""
    why: str
    """The evidence, for a person."""


class Doubt(NamedTuple):
    """Evidence against a step."""

    why: str
    certain: bool
    """False: a mistake only where the result is wrong."""


def first_wrong(problem: str, steps: Sequence[str], answer: str | None = None, right: bool | None = None) -> Finding:
    """The first step with a mistake. `steps` come without their headers (`steps.body`); no text makes it raise.

    Whether the result is right is taken from `right` where it has been verified, else from the computation itself where the problem is
    a bare one, else from `answer`, the reference answer.
    """
    book = _Book(problem)
    doubted: tuple[int, str] | None = None
    proven: tuple[int, str] | None = None
    for number, step in enumerate(steps, 1):
        doubt = book.read(step, final=number == len(steps))
        if doubt and doubt.certain:
            proven = (number, doubt.why)
            break
        if doubt and not doubted:
            doubted = (number, doubt.why)
    right = _is_right(book, steps, answer) if right is None else right
    if found := doubted if doubted and right is False else proven:
        return Finding(found[0], False, found[1])
    if right and book.held:
        return Finding(None, False, f"{book.held} computations hold and the result is right")
    return Finding(
        None, True, f"{book.held} computations hold, " + ("but the result is wrong" if right is False else "the plan is not checked")
    )


def _is_right(book: "_Book", steps: Sequence[str], answer: str | None) -> bool | None:
    """Whether the last step ends with the right result; None where that is not known."""
    stated = find_answer(steps[-1]) if steps else None
    result = plain(stated).value if stated is not None else book.last.value if book.last else None
    if book.asked:
        return None if result is None else result == book.asked.value
    if answer is None:
        return None
    reference = plain(answer)
    if result is None or reference.value is None:
        return True if stated is not None and plain(stated).text == reference.text else None
    return bool(result == reference.value)


class _Book:
    """What the steps read so far have established."""

    def __init__(self, problem: str) -> None:
        self.asked = Computation.of(problem)
        self.names: dict[str, Number] = {}
        self.held = 0
        self.rounded = False
        self.last: Side | None = None
        """What the step before ended with."""

    def read(self, step: str, final: bool) -> Doubt | None:
        """Take in a step; the strongest evidence against it."""
        found = chains(step, self.names)
        if self._define(found) and self.asked:
            found = [self._again(chain) for chain in found]
        before, self.last = self.last, None
        doubts = [doubt for chain in found if (doubt := self._chain(chain, before, final))]
        return max(doubts, key=lambda d: d.certain) if doubts else None

    def _define(self, found: list[Chain]) -> bool:
        """Give values to the names that the step introduces (`where A = (3 + 4)`)."""
        new: dict[str, Number] = {}
        for chain in found:
            head, known = chain.sides[0], _known(chain.sides[1:])
            if head.name and not head.named and known and known[-1].value is not None:
                new.setdefault(head.name, known[-1].value)
        self.names |= new
        return bool(new)

    def _again(self, chain: Chain) -> Chain:
        """A formula alone, read once more now that its names have values."""
        if len(chain.sides) > 1 or chain.sides[0].value is not None:
            return chain
        return next(iter(chains(" ".join(chain.sides[0].tokens), self.names)), chain)

    def _chain(self, chain: Chain, before: Side | None, final: bool) -> Doubt | None:
        sides, head = chain.sides, chain.sides[0]
        doubt = self._carried(chain, before, final)
        start = 1 if head.name or head.literal or not head.tokens else 0
        wrong = self._false(sides[start:], chain.about[start:])
        known = _known(sides[start:])
        if wrong is None and len(known) > 1:
            self.held += 1
            if self.asked and not doubt and not self.names:
                self.asked.work_out(chain)
        if known:
            self.last = known[-1]
            if head.name and known[-1].value is not None:
                self.names[head.name] = known[-1].value
        return wrong if wrong and (wrong.certain or not doubt) else doubt

    def _carried(self, chain: Chain, before: Side | None, final: bool) -> Doubt | None:
        """What the chain begins with, against the name it stands for, the step before, and what is asked."""
        head, known = chain.sides[0], _known(chain.sides[1:])
        if head.name and head.named and known and not self._equal(head, known[0], False):
            return Doubt(f"{head.name} was {_show(head)}, not {_show(known[0])}", False)
        if not head.tokens and before and known and not self._equal(before, known[0], False):
            return Doubt(f"the step before ends with {_show(before)}, not {_show(known[0])}", False)
        if (
            self.asked
            and head.named
            and head.value is not None
            and not head.name
            and (final or not known)
            and head.value != self.asked.value
        ):
            return Doubt(f"{_show(head)} is not the {self.asked.value} that is asked for", False)
        first = next((side for side in chain.sides if side.value is not None and not side.named), None)
        if self.asked and not self.names and first and len(first.operands) > 1 and not self.asked.knows(first):
            return Doubt(f"{_show(first)} is no term of the computation", False)
        return None

    def _false(self, sides: Sequence[Side], about: Sequence[bool]) -> Doubt | None:
        """The first neighbours that differ. A chain that comes back to the value it began with has a slip of the pen in it, no more."""
        pairs = [
            (a, b, nearly) for (a, b), nearly in zip(pairwise(sides), about, strict=True) if a.value is not None and b.value is not None
        ]
        wrong = [(a, b) for a, b, nearly in pairs if a.value != b.value and not self._equal(a, b, nearly)]
        if not wrong or (len(wrong) > 1 and sides[0].value == sides[-1].value and not sides[0].named):
            return None
        a, b = next((p for p in wrong if _certain(*p)), wrong[0])
        return Doubt(f"{_show(a)} is not {_show(b)}", _certain(a, b))

    def _equal(self, a: Side, b: Side, nearly: bool) -> bool:
        """Equal, or apart by what may be meant: rounding, per cent, units, a calculation that goes on from the value (`1 + 2 = 3 * 4`)."""
        x, y = a.value, b.value
        assert x is not None and y is not None
        if x == y or (self.asked is None and b.operands[:1] == (x,) and len(b.operands) > 1 and b.tokens[0][0].isdecimal()):
            return True
        if (a.percent or b.percent) and (x * 100 == y or x == y * 100 or _adds_percent(a) or _adds_percent(b)):
            return True
        if a.unit and b.unit and a.unit != b.unit and x and y and {abs(Fraction(x, 1) / y), abs(Fraction(y, 1) / x)} & _CONVERSIONS:
            return True
        if _rounds(a, b, nearly) or _rounds(b, a, nearly):
            self.rounded = True
            return True
        return self.rounded and 50 * abs(x - y) <= max(abs(x), abs(y))


def _known(sides: Sequence[Side]) -> list[Side]:
    return [side for side in sides if side.value is not None]


def _rounds(a: Side, b: Side, nearly: bool) -> bool:
    """Whether b is a written down to the digits that it shows (rounded or cut off), or said to be near it."""
    assert a.value is not None and b.value is not None
    apart: Number = abs(a.value - b.value)
    if b.digits > 9:  # a binary fraction printed in full
        return bool(apart * 10**9 <= abs(a.value))
    if nearly and (apart < 1 or 50 * apart <= abs(a.value)):
        return True
    return b.digits > 0 and apart * 10**b.digits < 1


def _certain(a: Side, b: Side) -> bool:
    """Not so where a name stands for one of them, where a fraction was left out of a number of things, or a difference has no sign."""
    assert a.value is not None and b.value is not None
    whole = (a.literal or b.literal) and (a.value.denominator == 1) != (b.value.denominator == 1) and abs(a.value - b.value) < 1
    turned = b.literal and a.value == -b.value and b.value > 0  # `5 - 8 = 3 fewer`
    return not (a.named or b.named or whole or turned)


def _adds_percent(side: Side) -> bool:
    """`50 + 10%`, which may mean ten per cent of the fifty."""
    return side.percent and any(sign in side.tokens for sign in "+-")


def _show(side: Side) -> str:
    text = " ".join(token.strip() for token in side.tokens)
    short = text if len(text) <= 60 else text[:57] + "..."
    return short if side.literal or not side.tokens else f"{short} ({side.value})"
