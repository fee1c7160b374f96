"""The first wrong step of a solution, by arithmetic alone: every equation is checked exactly, every quantity followed to where it is from.

Two kinds of evidence. An equation that is false is a mistake, whatever comes of it. A name or a term that changes from one step to the
next, or a number from nowhere, is one only where the result is known to be wrong: such a thing may have been meant. A wrong plan worked
out without a slip cannot be seen here: the verdict on it is an abstention, never "right".
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from tasks.maths.agreement import certainly_differ, converts, goes_on, near, per_cent, rounds
from tasks.maths.carried import Computation
from tasks.maths.equations import Chain, Side, chains
from tasks.maths.exact import plain
from tasks.maths.extract import find_answer
from tasks.maths.quantities import first_stranger
from tasks.maths.rational import Number
from tasks.maths.steps import body

_HEADED = re.compile(r"\W{0,8}(?:step|步|第)", re.IGNORECASE)


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
    """The first step with a mistake. `steps` are texts in order, with or without headers; none makes it raise.

    Whether the result is right is taken from `right` where it has been verified, else from the computation itself where the problem is
    a bare one, else from `answer`, the reference answer.
    """
    book = _Book(problem)
    doubted: tuple[int, str] | None = None
    proven: tuple[int, str] | None = None
    for number, step in enumerate(steps, 1):
        doubt = book.read(body(step) if _HEADED.match(step) else step, final=number == len(steps))
        if doubt and doubt.certain:
            proven = (number, doubt.why)
            break
        if doubt and not doubted:
            doubted = (number, doubt.why)
    right = _is_right(book, steps, answer) if right is None else right
    if right is False:
        proven = min(filter(None, (doubted, proven, _stranger(problem, book))), default=None)
    if proven:
        return Finding(proven[0], False, proven[1])
    return _nothing_found(book.held, right)


def _nothing_found(held: int, right: bool | None) -> Finding:
    """No mistake was seen: that decides something only where the result is right and there was something to see."""
    if right is False:
        return Finding(None, True, f"the result is wrong, but {held} computations hold")
    if right and held:
        return Finding(None, False, f"{held} computations hold and the result is right")
    return Finding(None, True, f"{held} computations hold; the plan is not checked" if held else "no computation to check")


class _Book:
    """What the steps read so far have established."""

    def __init__(self, problem: str) -> None:
        self.asked = Computation.of(problem)
        self.names: dict[str, Number] = {}
        self.held = 0
        """Equations found true."""
        self.rounded = False
        self.last: Side | None = None
        """What the step before ended with."""
        self.pages: list[tuple[str, list[Chain]]] = []
        """The steps, each with the chains in it."""

    def read(self, step: str, final: bool) -> Doubt | None:
        """Take in a step; the strongest evidence against it."""
        found = chains(step, self.names)
        if self._define(found) and self.asked:
            found = [self._again(chain) for chain in found]
        self.pages.append((step, found))
        before, self.last = self.last, None
        self.rounded |= "nearest" in step or "rounded" in step or "rounding" in step or " round" in step or "approximately" in step
        doubts = [doubt for chain in found if (doubt := self._chain(chain, before, final))]
        return max(doubts, key=lambda doubt: doubt.certain, default=None)

    def _define(self, found: list[Chain]) -> bool:
        """Give values to the names that the step introduces (`where A = (3 + 4)`)."""
        new: dict[str, Number] = {}
        for chain in found:
            head = chain.sides[0]
            if head.name and not head.named and (known := _known(chain.sides[1:])):
                new.setdefault(head.name, known[-1].number)
        self.names |= new
        return bool(new)

    def _again(self, chain: Chain) -> Chain:
        """A formula alone, read once more now that its names have values."""
        if len(chain.sides) > 1 or chain.sides[0].value is not None:
            return chain
        return next(iter(chains(" ".join(chain.sides[0].tokens), self.names)), chain)

    def _chain(self, chain: Chain, before: Side | None, final: bool) -> Doubt | None:
        """Check one chain and take in what it says."""
        head = chain.sides[0]
        doubt = self._changed(chain, before) or self._beside_the_question(chain, final)
        start = 1 if head.name or head.literal or not head.tokens else 0
        sides = chain.sides[start:]
        wrong = self._false(sides, chain.about[start:])
        if known := _known(sides):
            if wrong is None and len(known) > 1:
                self._holds(chain, doubt)
            self.last = known[-1]
            if head.name:
                self.names[head.name] = self.last.number
        return wrong if wrong and (wrong.certain or not doubt) else doubt

    def _holds(self, chain: Chain, doubt: Doubt | None) -> None:
        self.held += 1
        if self.asked and not self.names and not doubt:
            self.asked.work_out(chain)

    def _changed(self, chain: Chain, before: Side | None) -> Doubt | None:
        """Whether the chain begins with another value than its name had, or, at an equals sign, than the step before ended with."""
        head, known = chain.sides[0], _known(chain.sides[1:])
        if known and head.name and head.named and head.value is not None and not self._agree(head, known[0], False):
            return Doubt(f"{head.name} was {head.value}, not {_show(known[0])}", False)
        if known and before and not head.tokens and not self._agree(before, known[0], False):
            return Doubt(f"the step before ends with {_show(before)}, not {_show(known[0])}", False)
        return None

    def _beside_the_question(self, chain: Chain, final: bool) -> Doubt | None:
        """In a bare computation: whether a formula of names misses the value asked for, or a term is none of the computation's."""
        if not self.asked:
            return None
        head = chain.sides[0]
        whole = head.named and not head.name and (final or len(chain.sides) == 1)
        if whole and head.value is not None and head.value != self.asked.value:
            return Doubt(f"{_show(head)} is not the {self.asked.value} that is asked for", False)
        first = next(iter(_known(chain.sides)), None)
        if not self.names and first and len(first.operands) > 1 and not self.asked.knows(first):
            return Doubt(f"{_show(first)} is no term of the computation", False)
        return None

    def _false(self, sides: Sequence[Side], about: Sequence[bool]) -> Doubt | None:
        """The first neighbours that differ. A chain that comes back to the value it began with has a slip of the pen in it, no more."""
        pairs = zip(pairwise(sides), about, strict=True)
        wrong = [
            (a, b) for (a, b), nearly in pairs if a.value is not None and b.value is not None and a.value != b.value
            and not self._agree(a, b, nearly)
        ]  # fmt: skip
        if not wrong or (len(wrong) > 1 and sides[0].value == sides[-1].value and not sides[0].named):
            return None
        a, b = next((pair for pair in wrong if certainly_differ(*pair)), wrong[0])
        return Doubt(f"{_show(a)} is not {_show(b)}", certainly_differ(a, b))

    def _agree(self, a: Side, b: Side, nearly: bool) -> bool:
        if a.value == b.value or per_cent(a, b) or converts(a, b) or (not self.asked and goes_on(a, b)):
            return True
        if rounds(a, b, nearly):
            self.rounded = True
            return True
        return self.rounded and near(a, b)


def _is_right(book: _Book, steps: Sequence[str], answer: str | None) -> bool | None:
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


def _stranger(problem: str, book: _Book) -> tuple[int, str] | None:
    """The first step that starts from a number of nowhere; not looked for in a bare computation, nor in algebra."""
    found = None if book.asked or book.names else first_stranger(problem, book.pages)
    return (found[0], f"{found[1]} in {_show(found[2])} comes from nowhere") if found else None


def _known(sides: Sequence[Side]) -> list[Side]:
    return [side for side in sides if side.value is not None]


def _show(side: Side) -> str:
    text = " ".join(token.strip() for token in side.tokens)
    short = text if len(text) <= 60 else text[:57] + "..."
    return short if side.literal else f"{short} ({side.value})"
