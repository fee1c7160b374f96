r"""Boxed answers: every spelling of `\boxed{\textbf{(C)}\ 12}` read as letter and value, with a counter of braces.

`\boxed{A=3}` and `\boxed{\angle ABC}` are no letters; a bare letter with something behind it is one only if that is the choice's value.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_BOX = re.compile(r"\\(?:boxed|fbox|framebox)(?![a-zA-Z])\s*(?:\[[^\[\]]*\]\s*)*")
_FONT = re.compile(
    r"\\(?:textbf|textrm|textit|textsf|texttt|text|mathbf|mathrm|mathit|mathsf|mathbb|mathcal|boldsymbol|bold|bf|rm|it|mbox|hbox|emph|"
    r"displaystyle|large|Large|LARGE|huge|Huge|boxed|fbox)(?![a-zA-Z])\s*"
)
_SPACE = re.compile(r"\\(?:qquad|quad|enspace|thinspace|,|;|:|!| )|~|\\hspace\*?\{[^{}]*\}|\s+")
_LETTER = re.compile(r"(\()?([A-E])(?(1)\))(?:(?=[^a-zA-Z0-9_^='\\])|(?<=\))|$|(?=\s))\s*[:.)]?\s*(.*)", re.DOTALL)
_SAME = (
    ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("\\left", ""), ("\\right", ""), ("\\textdollar", ""),
    ("\\$", ""), ("$", ""), ("\\%", ""), ("%", ""),
    ("^\\circ", ""), ("^{\\circ}", ""),
)  # fmt: skip
_FRACTION = re.compile(r"\\frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_QUOTIENT = re.compile(r"\((\d+)\)/\((\d+)\)")
_SPACED_LETTER = re.compile(r"\( ?([A-E]) ?\)")
_LETTER_IN_BRACES = re.compile(r"\{\s*(\(?\s*[A-E]?\s*\)?)\s*\}")
_INTEGER = re.compile(r"(\d{1,3})|\((\d{1,3})\)")
_SPACE_AROUND = re.compile(r"^(?:\s|\\[ ,;:!]|~)+|(?:\s|(?<!\\)\\[ ,;:!]|~)+$")
_WHOLE_FONT = re.compile(r"\\(?:textbf|textrm|mathbf|mathrm|bold|boldsymbol|boxed)\s*\{(.*)\}", re.DOTALL)
_NUMBER_IN_BRACKETS = re.compile(r"\(\s*(-?\d+)\s*\)")


class Box(NamedTuple):
    """One box of a text: its place there, its content, and whether its braces close."""

    place: int
    content: str
    closed: bool = True


class Reading(NamedTuple):
    """What a box says. `problem` is a doubt's code, with nothing read."""

    answer: str | None
    problem: str = ""


def boxes(text: str) -> Iterator[Box]:
    """The outermost boxes of TeX, in order."""
    position = 0
    while match := _BOX.search(text, position):
        start = match.end()
        if text[start : start + 1] != "{":
            token = re.match(r"\\[a-zA-Z]+|\S", text[start:])
            position = start + (len(token[0]) if token else 0)
            if token:
                yield Box(match.start(), token[0])
            continue
        end = closing_brace(text, start)
        yield Box(match.start(), text[start + 1 : end if end is not None else len(text)], end is not None)
        position = len(text) if end is None else end + 1


def closing_brace(text: str, opening: int) -> int | None:
    """The place of the brace that closes the one at `opening`; None if none does."""
    depth = 0
    for match in re.finditer(r"\\[{}\\]|[{}]", text[opening:]):
        if match[0] == "{":
            depth += 1
        elif match[0] == "}":
            depth -= 1
            if not depth:
                return opening + match.start()
    return None


def read_choice(content: str, choices: Sequence[str]) -> Reading:
    """The letter that a box of a multiple-choice problem names; `choices` are the five, or none where none were found."""
    flat = _flat(content)
    match = _LETTER.fullmatch(flat)
    if match is None:
        return _letter_of_value(content, choices)
    letter, rest = match[2], match[3]
    if not rest:
        return Reading(letter)
    of_value = _letter_of_value(rest, choices).answer
    if of_value is not None and of_value != letter:
        return Reading(None, "box_contradicts")
    in_brackets = match[1] is not None or re.fullmatch(r"\(.*\)", rest) is not None
    if of_value == letter or in_brackets:
        return Reading(letter)
    return Reading(None, "box_unread")


def _letter_of_value(content: str, choices: Sequence[str]) -> Reading:
    value = value_key(content)
    fitting = [x for x, choice in zip("ABCDE", choices, strict=False) if value and value_key(choice) == value]
    return Reading(fitting[0]) if len(fitting) == 1 else Reading(None, "box_unread")


def read_integer(content: str) -> Reading:
    """An integer from 0 to 999 without leading zeros."""
    flat = _flat(content).replace(" ", "").rstrip(".")
    found = _INTEGER.fullmatch(flat)
    return Reading(str(int(found[1] or found[2]))) if found else Reading(None, "box_unread")


def read_expression(content: str) -> Reading:
    """Any answer, without a font around the whole of it, and without brackets around a number (`\\textbf{(55) }`)."""
    content = _SPACE_AROUND.sub("", content)
    while (whole := _WHOLE_FONT.fullmatch(content)) and "{" not in whole[1].replace("\\{", ""):
        content = _SPACE_AROUND.sub("", whole[1])
    number = _NUMBER_IN_BRACKETS.fullmatch(content)
    return Reading((number[1] if number else content) or None)


@functools.lru_cache(maxsize=4096)
def value_key(text: str) -> str:
    """Equal for spellings of one value: fonts, spaces, kinds of fraction, currency and degree signs make no difference."""
    for old, new in _SAME:
        text = text.replace(old, new)
    text = _FRACTION.sub(lambda m: f"({m[1] or m[2]})/({m[3] or m[4]})", text)
    text = re.sub(r"\s+", "", _flat(text)).strip(".,;:")
    while text.startswith("(") and text.endswith(")") and text.count("(") == 1:
        text = text[1:-1]
    return _QUOTIENT.sub(r"\1/\2", text).lower()


def _flat(content: str) -> str:
    """Without fonts, braces and TeX spaces; runs of space are one."""
    text = _FONT.sub("", _SPACE.sub(" ", content))
    text = text.replace("{", "").replace("}", "") if "\\frac" not in text and "_" not in text and "^" not in text else _outer(text)
    return _SPACED_LETTER.sub(r"(\1)", " ".join(text.split()))


def _outer(text: str) -> str:
    """Braces around letters alone fall away; those that carry arguments stay."""
    return _LETTER_IN_BRACES.sub(r"\1", text).strip()
