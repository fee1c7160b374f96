"""Data that several problems share: `Problems 8, 9 and 10 use the data found in the accompanying paragraph`, on the page of one of them."""

import re
from dataclasses import dataclass

_AND = r"(?:, ?and |, ?| ?and | ?& ?| ?- ?| ?– ?| through | to )"
ANNOUNCED = re.compile(
    rf"^ *(?:note: )?(?:for )?(?:questions?|problems?) (?P<numbers>\d+(?:{_AND}\d+)+)\b[^\n]*?"
    r"\b(?:uses?|refers?|based|concerns?|deals?|relates?|using|following|data|information)\b[^\n]*",
    re.IGNORECASE | re.MULTILINE,
)
"""The line that says so."""
_RANGE = re.compile(r"(\d+)(?: ?- ?| ?– ?| through | to )(\d+)")


@dataclass(frozen=True, slots=True)
class Shared:
    """An announcement of shared data on the page of one problem; the statement there keeps all of it."""

    numbers: tuple[int, ...]
    """Problems of the contest that use the data."""
    context: str
    """What the other problems need: the paragraphs behind the announcement but the last, which is the question; may be empty."""
    unclear: bool
    """True where it is not plain which paragraphs those are."""


def shared_data(statement: str) -> Shared | None:
    """What a statement says about data that other problems use too, if it does."""
    found = ANNOUNCED.search(statement)
    if found is None:
        return None
    paragraphs = [p for p in re.split(r"\n\n+", statement[found.end() :].strip()) if p]
    return Shared(tuple(numbers(found["numbers"])), "\n\n".join(paragraphs[:-1]), len(paragraphs) != 2)


def numbers(text: str) -> list[int]:
    """`8, 9 and 10` and `8-10` are 8, 9, 10."""
    if span := _RANGE.fullmatch(text):
        return list(range(int(span[1]), int(span[2]) + 1))
    return [int(n) for n in re.findall(r"\d+", text)]
