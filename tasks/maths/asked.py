"""Whether a reference answer is of the kind its question asks for: a count, a percentage, a fraction, a probability.

It reads the last question sentence alone and knows only clear cases: what it does not recognise never clashes.
"""

import re
from fractions import Fraction

from tasks.maths.exact import Plain, plain
from tasks.maths.units import UNITS

_SENTENCES = re.compile(r"(?<=[.!?])\s+")
_TASK = re.compile(r"\b(?:find|give|compute|determine|enter|what)\b", re.IGNORECASE)
_HOW_MANY = re.compile(r"\bhow many\s+(?:more\s+|fewer\s+|total\s+|full\s+|whole\s+)?([a-z]+)", re.IGNORECASE)
_PERCENT = re.compile(r"\bwhat (?:is the )?percent(?:age)?\b|\bwhat % ", re.IGNORECASE)
_IN_PERCENT = re.compile(r"percent|%", re.IGNORECASE)
_FRACTION = re.compile(r"\bwhat fraction of\b", re.IGNORECASE)
_PROBABILITY = re.compile(r"\bwhat is the probability\b", re.IGNORECASE)
_DIVISIBLE = frozenset(
    re.findall(
        r"\w+",
        """acre acres bushel bushels calories cup cups gallon gallons hundred hundreds millions mole moles ounce ounces percentage pint
        pints points quart quarts tablespoon tablespoons tbsp teaspoon teaspoons thousands times tsp""",
    )
)
"""What is measured, not counted, beside the words of `units.UNITS`: half a cup is an answer to "how many cups"."""


def type_clash(question: str, gold: str) -> str | None:
    """A short fixed text where the answer cannot be of the kind asked for, None otherwise. Only plain numbers are judged."""
    number = plain(gold)
    if number.value is None:
        return None
    asked = _question_sentence(question)
    if _PERCENT.search(asked):
        return "asks for a percentage, the answer has another unit" if number.unit not in ("", "%") else None
    share = Fraction(number.value) / (100 if number.unit == "%" or _IN_PERCENT.search(asked) else 1)
    if _PROBABILITY.search(asked):
        return None if 0 <= share <= 1 else "asks for a probability, the answer is not from 0 to 1"
    if _FRACTION.search(asked):
        return None if 0 <= share <= 1 else "asks for a fraction of a whole, the answer is not from 0 to 1"
    return "asks how many, the answer is no count" if _counts(asked) and not _is_count(number) else None


def _question_sentence(question: str) -> str:
    """The last sentence that ends in a question mark, or the last one; empty where a task follows it: "... Find m + n"."""
    sentences = _SENTENCES.split(question.strip())
    asking = max((i for i, s in enumerate(sentences) if s.endswith("?")), default=len(sentences) - 1)
    return "" if any(_TASK.search(s) for s in sentences[asking + 1 :]) else sentences[asking]


def _counts(asked: str) -> bool:
    """Does it ask for a number of things? Measures may be broken, so they are not judged."""
    found = _HOW_MANY.search(asked)
    return found is not None and found[1].lower() not in UNITS and found[1].lower() not in _DIVISIBLE


def _is_count(number: Plain) -> bool:
    assert number.value is not None
    return number.value >= 0 and Fraction(number.value).denominator == 1 and number.unit != "%"
