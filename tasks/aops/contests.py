"""The contest schedule as data (contests.toml): which titles are pages of a contest that was held. Others are refused, with a reason."""

import functools
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tasks.aops.pages import normal_title

AnswerKind = Literal["choice", "integer", "proof"]
PageKind = Literal["problem", "list", "key"]

_FILE = Path(__file__).with_name("contests.toml")
_PROBLEM = re.compile(r"(\d{4}) (.+) Problems/Problem (0|[1-9]\d*)", re.ASCII)
_LIST = re.compile(r"(\d{4}) (.+) Problems", re.ASCII)
_KEY = re.compile(r"(\d{4}) (.+) Answer Key", re.ASCII)
_LOOSE = re.compile(r"(\d{4}) (.+?)(?:[ /]Answer Key|[ ˙]Problems[ ˙/]*.*)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page belongs."""

    kind: PageKind
    contest: str
    """As in the titles, without the year: `AMC 12A`."""
    year: int
    number: int | None
    """Of the problem, from 1; None for list and key."""
    answer: AnswerKind


@dataclass(frozen=True, slots=True)
class Refused:
    """A title that is no page of a scheduled contest. Reasons are few and fixed, so that they can be counted."""

    title: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Contest:
    """One contest through the years; `counts` holds its number of problems by year."""

    name: str
    answer: AnswerKind
    key: bool
    counts: dict[int, int]

    def titles(self, year: int) -> Iterator[str]:
        """List page, answer key and problems of one year."""
        yield f"{year} {self.name} Problems"
        if self.key:
            yield f"{year} {self.name} Answer Key"
        yield from (f"{year} {self.name} Problems/Problem {n}" for n in range(1, self.counts[year] + 1))


@dataclass(frozen=True)
class Schedule:
    """All contests by name; `invented` are the years of made-up contests, in which every contest is held."""

    contests: dict[str, Contest]
    invented: range

    def locate(self, title: str) -> Place | Refused:
        """Which page of which contest a title is."""
        title = normal_title(title)
        found = next(((kind, m) for kind, pattern in _FORMS.items() if (m := pattern.fullmatch(title))), None)
        if found is None:
            return self._refuse_form(title)
        kind, match = found
        year, contest = int(match[1]), self.contests.get(match[2])
        if contest is None:
            return Refused(title, "no such contest", f"{match[2]!r} is not in the schedule: have {sorted(self.contests)}")
        if year not in contest.counts:
            return Refused(title, "not held in that year", f"{contest.name} was held in {_spans(contest.counts, self.invented)}")
        if kind == "key" and not contest.key:
            return Refused(title, "no answer key", f"{contest.name} asks for proofs")
        number = int(match[3]) if kind == "problem" else None
        if number is not None and not 1 <= number <= contest.counts[year]:
            return Refused(title, "no such problem", f"{year} {contest.name} has problems 1 to {contest.counts[year]}")
        return Place(kind, contest.name, year, number, contest.answer)

    def _refuse_form(self, title: str) -> Refused:
        match = _LOOSE.fullmatch(title)
        if match and normal_title(match[2].replace("˙", " ")) in self.contests:
            way = "`YEAR NAME Problems/Problem N`, `YEAR NAME Problems` or `YEAR NAME Answer Key`"
            return Refused(title, "not spelled as contest pages are", f"they are {way}")
        return Refused(title, "not a contest page")

    def titles(self, contests: Sequence[str] = (), years: Sequence[int] = (), invented: bool = False) -> list[str]:
        """Titles of all pages of these contests in these years (empty: all), sorted; either of real or of invented years.

        Raises ValueError for an unknown contest, a year of the wrong kind, and a choice without any page.
        """
        if unknown := [name for name in contests if name not in self.contests]:
            raise ValueError(f"no contest {unknown[0]!r}: have {sorted(self.contests)}")
        if wrong := [year for year in years if (year in self.invented) != invented]:
            kind = f"{self.invented[0]} to {self.invented[-1]} are invented contests, which only a server on this machine has"
            raise ValueError(f"cannot ask for {wrong[0]} there: the years {kind}")
        found = [self.contests[name] for name in contests] or list(self.contests.values())
        chosen = {t for c in found for y in c.counts if (y in self.invented) == invented and (not years or y in years) for t in c.titles(y)}
        if not chosen:
            held = "; ".join(f"{c.name}: {_spans(c.counts, self.invented)}" for c in found[:5])
            raise ValueError(f"no such contest was held in {', '.join(map(str, years))}: {held}")
        return sorted(chosen)


_FORMS: dict[PageKind, re.Pattern[str]] = {"problem": _PROBLEM, "key": _KEY, "list": _LIST}


def _spans(counts: dict[int, int], invented: range) -> str:
    """The years as people write them: `1999-2020, 2022-2026`."""
    years = sorted(y for y in counts if y not in invented)
    starts = [y for y in years if y - 1 not in years]
    ends = [y for y in years if y + 1 not in years]
    return ", ".join(f"{a}-{b}" if a != b else str(a) for a, b in zip(starts, ends, strict=True))


@functools.cache
def schedule() -> Schedule:
    """The packaged schedule."""
    return read_schedule(_FILE.read_text(encoding="utf-8"))


def read_schedule(text: str) -> Schedule:
    """A schedule from TOML. Raises ValueError for years that overlap or run backwards."""
    read = tomllib.loads(text)
    first, last = read["invented"]
    invented = range(first, last + 1)
    contests = [_contest(entry, invented) for entry in read["contest"]]
    return Schedule({c.name: c for c in contests}, invented)


def _contest(entry: dict[str, Any], invented: range) -> Contest:
    counts: dict[int, int] = {}
    for first, last, problems in entry["years"]:
        years = range(first, last + 1)
        if not years or problems < 1 or any(year in counts or year in invented for year in years):
            raise ValueError(
                f"contest {entry['name']!r}: {[first, last, problems]} must be [first, last, problems], years apart from others"
            )
        counts.update(dict.fromkeys(years, problems))
    counts.update(dict.fromkeys(invented, counts[max(counts)]))
    return Contest(entry["name"], entry["answer"], entry["key"], counts)
