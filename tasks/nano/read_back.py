"""Read a statement of the nano world back into the composition it was made from: how a written problem is known to be solvable.

It knows the world's own wordings and no others. A sentence that cannot be read stops the reading with a short fixed reason; what was
read until then is kept, for those who count concepts.
"""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.nano.concepts import CONCEPTS, Kind, Unworkable
from tasks.nano.world import OPENINGS, QUESTIONS, Composition, Op, work_out

_DIGITS = re.compile(r"[0-9\s]+")
_SENTENCE = re.compile(r"(?<=[.?])\s+")
_PERSON, _THING, _NUMBER = "[A-Z][a-z]+", "[a-z]+", "[1-9][0-9]{0,3}"
_HOLES = {"name": _PERSON, "other": _PERSON, "item": _THING, "a": _NUMBER, "b": _NUMBER, "v": _NUMBER}


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What was read. `reason` is empty exactly where there is an answer."""

    concepts: tuple[str, ...]
    """One for each sentence between opening and question whose concept is known, whatever is wrong with its numbers or elsewhere."""
    composition: Composition | None = None
    words: tuple[tuple[str, str], ...] = ()
    """What stands for {name}, {other} and {item}, as far as it occurs."""
    answer: str | None = None
    reason: str = ""


def read_back(statement: str) -> ReadBack:
    """The composition, words and answer of a statement, or the reason why there is none."""
    opening, *middle = _SENTENCE.split(statement.strip())
    question = middle.pop() if middle and middle[-1].endswith("?") else ""
    concepts = tuple(c for c in map(_concept_of, middle) if c)
    try:
        words, composition, last = _composition(opening, middle)
        _bind(words, _match(question, QUESTIONS[last]))
        answer = work_out(composition).answer
    except Unworkable:
        return ReadBack(concepts, composition, tuple(sorted(words.items())), None, "no answer in the world's numbers")
    except _Unreadable as error:
        return ReadBack(concepts, reason=str(error))
    return ReadBack(concepts, composition, tuple(sorted(words.items())), answer)


class _Unreadable(Exception):
    """A sentence that the world cannot have written here."""


def _composition(opening: str, middle: list[str]) -> tuple[dict[str, str], Composition, Kind]:
    """(words, composition, kind of the answer)."""
    if not middle:
        raise _Unreadable("no sentence with a concept")
    words: dict[str, str] = {}
    first = next((kind for kind, templates in OPENINGS.items() if _match(opening, templates)), None)
    if first is None:
        raise _Unreadable("opening not of the world")
    start = int(_bind(words, _match(opening, OPENINGS[first]))["v"])
    kind, ops = first, []
    for sentence in middle:
        name = next((n for n, c in CONCEPTS.items() if _match(sentence, c.wordings.get(kind, ()))), None)
        if name is None:
            raise _Unreadable("sentence not of the world")
        found = _bind(words, _match(sentence, CONCEPTS[name].wordings[kind]))
        ops.append(Op(name, tuple(int(found[hole]) for hole in "ab" if hole in found)))
        kind = CONCEPTS[name].gives.get(kind, kind)
    return words, Composition(first, start, tuple(ops)), kind


def _bind(words: dict[str, str], found: dict[str, str] | None) -> dict[str, str]:
    """Enter what stands for persons and things; another one than before is a contradiction."""
    if found is None:
        raise _Unreadable("question not of the world")
    for hole in ("name", "other", "item"):
        if hole in found and words.setdefault(hole, found[hole]) != found[hole]:
            raise _Unreadable("another person or thing than before")
    return found


@functools.lru_cache(10_000)
def _concept_of(sentence: str) -> str | None:
    """The concept whose wording a sentence is, for any kind of number, and with or without the numbers."""
    bare = _DIGITS.sub("", sentence)
    wordings = ((name, template) for name, c in CONCEPTS.items() for templates in c.wordings.values() for template in templates)
    return next((name for name, template in wordings if _pattern(template, bare=True).fullmatch(bare)), None)


def _match(sentence: str, templates: Iterable[str]) -> dict[str, str] | None:
    """What fills the holes of the first template that the sentence is."""
    for template in templates:
        if found := _pattern(template).fullmatch(sentence):
            return found.groupdict()
    return None


@functools.cache
def _pattern(template: str, bare: bool = False) -> re.Pattern[str]:
    """The sentences of a template, its holes as groups; `bare` without spaces and numbers."""
    pieces = re.split(r"\{(\w+)\}", _DIGITS.sub("", template) if bare else template)
    seen: set[str] = set()
    out = ""
    for text, hole in zip(pieces[::2], [*pieces[1::2], None], strict=True):
        out += re.escape(text)
        if hole and not (bare and hole in "abv"):
            out += f"(?P={hole})" if hole in seen else f"(?P<{hole}>{_HOLES[hole]})"
            seen.add(hole)
    return re.compile(out)
