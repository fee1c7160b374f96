"""Whether two steps make a preference: the published pipeline emits pairs of equal steps, and whole solutions as one step."""

import re
import unicodedata
from fractions import Fraction

_MARKUP = re.compile(r"\*\*|\$|\\[()\[\]]")
_AROUND_SIGNS = re.compile(r"\s*([^\w\s])\s*")
_RESULT = re.compile(r"=\s*\$?\s*(-?\d{1,30}(?:,\d{3}){0,9}(?:\.\d{1,30}|/[1-9]\d{0,29})?)(?![\d.,]*\d)(?!\s*[-+*/^])")


def plain_step(step: str) -> str:
    """The step without what no reader would call a difference: case, bold, dollar signs, spaces around signs, closing punctuation."""
    text = _MARKUP.sub("", unicodedata.normalize("NFC", step).casefold())
    return " ".join(_AROUND_SIGNS.sub(r"\1", text).split()).rstrip(".,;:!")


def same_step(a: str, b: str) -> bool:
    """Whether a pair of them would prefer nothing."""
    return plain_step(a) == plain_step(b)


def result(step: str) -> Fraction | None:
    """The number behind the last equals sign that has one: what a step with a computation arrives at."""
    found = _RESULT.findall(step)
    return Fraction(found[-1].replace(",", "")) if found else None


def same_result(a: str, b: str) -> bool:
    """Whether both steps compute the same number: then the one that was called wrong may only say it in other words."""
    return result(a) is not None and result(a) == result(b)


def lengths_ratio(a: str, b: str) -> float:
    """How many times the longer is as long as the shorter, in characters without outer white space; infinite beside an empty one."""
    short, long = sorted((len(a.strip()), len(b.strip())))
    return long / short if short else float("inf")
