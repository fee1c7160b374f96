"""The list page of a contest: all statements of a year under one heading each. A cross-check of the single pages, and their stand-in."""

import re
from dataclasses import dataclass

from tasks.aops.contests import AnswerKind
from tasks.aops.parse.choices import find_choices
from tasks.aops.parse.context import ANNOUNCED, numbers
from tasks.aops.parse.tokens import mask
from tasks.aops.parse.wikitext import plain, sections

_NUMBER = re.compile(r"problem (\d+)\.?", re.IGNORECASE)
_SOLUTION_LINE = re.compile(r"^\s*(?:\[\[[^\[\]]*\|\s*solutions?\s*\]\]|solutions?)\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Listed:
    """One problem of a list page."""

    statement: str
    choices: tuple[str, ...]
    wikitext: str
    """The section as it stands there, without the link to the solution."""
    offset: int
    """Where `wikitext` begins on the page."""


@dataclass(frozen=True, slots=True)
class ListPage:
    """What a list page says: problems by number, and the data that several of them share."""

    problems: dict[int, Listed]
    contexts: dict[int, str]
    """Number -> text of the data, which end there where the next heading begins."""


def read_list(text: str, asks: AnswerKind) -> ListPage:
    """The problems of a list page. A number that occurs twice is left out: nobody knows which is meant."""
    masked = mask(text)
    found: dict[int, Listed] = {}
    contexts: dict[int, str] = {}
    twice = set()
    for section in sections(masked):
        body = masked.text[section.body : section.end]
        if announced := ANNOUNCED.search(plain_marks(body)):
            data = plain(masked, body[announced.end() :])
            contexts |= dict.fromkeys(numbers(announced["numbers"]), data) if data else {}
            body = body[: announced.start()]
        number = _NUMBER.fullmatch(section.title)
        if number is None:
            continue
        if int(number[1]) in found:
            twice.add(int(number[1]))
        length = len(body)
        choices, _ = find_choices(masked, section.body, section.body + length) if asks == "choice" else (None, [])
        if choices:
            body = f"{masked.text[section.body : choices.start]}\n\n{masked.text[choices.end : section.body + length]}"
        statement = plain(masked, _SOLUTION_LINE.sub("", body))
        begin = masked.offset(section.body)
        wikitext = _SOLUTION_LINE.sub("", text[begin : masked.offset(section.body + length)])
        found[int(number[1])] = Listed(statement, choices.values if choices else (), wikitext, begin)
    return ListPage({n: p for n, p in found.items() if n not in twice and p.statement}, contexts)


def plain_marks(text: str) -> str:
    """The same length, with the quotes of bold and italics as spaces."""
    return re.sub("'{2,}", lambda m: " " * len(m[0]), text)
