"""Where the numbers of a solution come from: the problem, earlier steps, common knowledge (60 minutes), or counting with these."""

import re
from collections.abc import Sequence
from fractions import Fraction

from tasks.maths.equations import Chain, Side
from tasks.maths.notation import plain_signs
from tasks.maths.rational import Number, number_of, ratio
from tasks.maths.units import WORD_NUMBERS

_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+ \d+/\d+|\d*\.?\d+")
_WORD = re.compile(r"[a-z]+")
_WORDS: dict[str, Number] = {
    **WORD_NUMBERS, "half": Fraction(1, 2), "twice": 2, "double": 2, "triple": 3, "thrice": 3, "dozen": 12, "dozens": 12, "hundred": 100,
    "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10, "decade": 10,
    "score": 20, "pair": 2, "couple": 2, "triplets": 3, "twins": 2,
}  # fmt: skip
_COMMON: frozenset[Number] = frozenset(
    [0, 1, 2, 3, 4, 7, 10, 12, 24, 30, 31, 36, 52, 60, 90, 100, 180, 360, 365, 366, 1000, 3600]
    + [Fraction(1, n) for n in (2, 3, 4, 10, 100)]
    + [Fraction(3, 4), Fraction(3, 2)]
)
_MAX_NUMBERS = 25
"""With more numbers than these in play nearly every other one can be counted from two of them: nothing is said then."""


def first_stranger(problem: str, steps: Sequence[tuple[str, Sequence[Chain]]]) -> tuple[int, Number, Side] | None:
    """(step, number, expression) of the first number that a step starts from and that comes from nowhere; None where all are accounted for.

    `steps` are texts with the chains that were read in them.
    """
    given: set[Number] = set(_numbers(problem))
    for place, (text, found) in enumerate(steps, 1):
        told = None if found else _numbers(text)
        for chain in found:
            start = next((side for side in chain.sides if side.value is not None), None)
            for number in _to_trace(chain, start):
                if number in given or number in _COMMON or len(given) > _MAX_NUMBERS or _counted(number, given):
                    continue
                told = _numbers(text.partition("=")[0].rpartition(",")[0]) if told is None else told
                if start and number not in told:
                    return place, number, start
            given.update(value for side in chain.sides for value in (side.value, *side.operands) if value is not None)
        given |= told or frozenset()
    return None


def _to_trace(chain: Chain, start: Side | None) -> tuple[Number, ...]:
    """The numbers of the expression that a chain starts from; of a result alone (`7` or `4/17`) none."""
    return start.operands if start and not start.named and len(start.operands) > 1 and len(chain.sides) > 1 else ()


def _numbers(text: str) -> frozenset[Number]:
    """The numbers in a text, in digits and in words."""
    plain = plain_signs(text)
    found = [number_of(token)[0] for token in _NUMBER.findall(plain)]
    words = [_WORDS[word] for word in _WORD.findall(plain.lower()) if word in _WORDS]
    return frozenset(value for value in (*found, *words) if value is not None)


def _counted(number: Number, given: set[Number]) -> bool:
    """What is done in the head: sums, differences, products, how often one number goes into another, per cents of and to a hundred."""
    if any(number in (ratio(n, 100), 100 - n, 100 + n, 1 - ratio(n, 100), 1 + ratio(n, 100), 1 - n, 1 + n, n - 1) for n in given):
        return True
    pairs = ((a, b) for a in given for b in given if b)
    return any(number in (a + b, a - b, a * b) or number * b == a or number in (a // b, a // b + 1) for a, b in pairs)
