"""Which sections after the problem are solutions, which belong to one, and which fall away (videos, notes, links)."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tasks.aops.parse.doubts import Doubt
from tasks.aops.parse.tokens import HOLES, Masked
from tasks.aops.parse.wikitext import Section

THANKS = "thanks"
"""An imported post says in its heading how many thanked for it: `Solution 2 (thanks: 5)`."""

_SEE = re.compile(r"see(?: also)?:?|references?|external links?|links?", re.IGNORECASE)
_VIDEO = re.compile(r"video|outline|youtube|podcast", re.IGNORECASE)
_SOLUTION = re.compile(
    r"solu?tion|^sol\b|^(?:another|alternat\w*|second|third|other|quick|easy|official)? ?(?:proof|method|approach|answer)\b", re.IGNORECASE
)
_PLURAL = re.compile(r"(?:all |possible |full )?solutions\b(?! ?\d)", re.IGNORECASE)
_NUMBER = re.compile(r"solu?tion ?#?(\d+)", re.IGNORECASE)
_ASIDE = re.compile(
    r"diagram|figure|notes?\b|footnote|remarks?\b|claim|lemma|comment|discussion|hints?\b|motivation|background|generali[sz]ation|extension|trivia|credits?|"
    r"clarification|resources|common mistakes|explanation|similar|related|.*\bnotice|answer key|choices|answer choices|problem",
    re.IGNORECASE,
)
_LINKS = re.compile(r"\{\{[^{}]*\}\}|\[\[[^\[\]]*\]\]|\[?https?://[^\s\]]*\]?|^[*#:~].*$|__[A-Z]+__", re.MULTILINE)
_FEW_CHARACTERS = 120
_THANKS = re.compile(rf"\({THANKS}: (\d+)\)")


@dataclass(frozen=True, slots=True)
class SolutionPart:
    """One solution in masked text."""

    title: str
    start: int
    text: str
    shared: bool
    """Begins with a set-up that other solutions have too."""
    weight: int


def solution_parts(masked: Masked, after: list[Section]) -> tuple[list[SolutionPart], list[Doubt]]:
    """The solutions among the sections behind the problem, in order."""
    doubts: list[Doubt] = []
    parts: list[SolutionPart] = []
    numbers: list[tuple[int, Section]] = []
    seen_end = False
    at = 0
    while at < len(after):
        section = after[at]
        children = _children(after, at)
        at += 1 + len(children)
        if seen_end:
            doubts.append(Doubt("headings_order", masked.offset(section.start), f"{section.title!r} behind the end"))
        role = _role(section.title)
        if role in ("end", "video"):
            seen_end |= role == "end"
            doubts += _left_out(masked, section, children)
        elif role == "solution":
            parts += _group(masked, section, children, doubts)
            numbers += [(int(m[1]), s) for s in (section, *children) if (m := _NUMBER.search(s.title)) and not _VIDEO.search(s.title)]
        elif role == "unknown":
            doubts.append(Doubt("unknown_section", masked.offset(section.start), section.title))
    return parts, doubts + list(_order(masked, numbers, parts))


@functools.lru_cache(maxsize=4096)
def _role(title: str) -> Literal["end", "video", "solution", "aside", "unknown"]:
    """What a section behind the problem is, by its title."""
    if _SEE.fullmatch(title):
        return "end"
    if _VIDEO.search(title):
        return "video"
    if _SOLUTION.search(title):
        return "solution"
    return "aside" if _ASIDE.match(title) else "unknown"


def _order(masked: Masked, numbers: list[tuple[int, Section]], parts: list[SolutionPart]) -> Iterator[Doubt]:
    """Numbers that go back, or leave one out: a heading is lost, or two are in each other's places."""
    for (a, _), (b, later) in pairwise(numbers):
        if b < a:
            yield Doubt("headings_order", masked.offset(later.start), f"solution {b} behind solution {a}")
        elif b > a + 1:
            yield Doubt("solutions_gap", masked.offset(later.start), f"solution {b} behind solution {a}")
    if numbers and parts and numbers[0][0] > 1 and numbers[0][1].start == parts[0].start:
        yield Doubt("solutions_gap", masked.offset(parts[0].start), f"the first is solution {numbers[0][0]}")


def _left_out(masked: Masked, section: Section, children: list[Section]) -> list[Doubt]:
    """A video or a list of links has no maths, few words, and no sections below."""
    text = _LINKS.sub("", masked.text[section.body : children[-1].end if children else section.end])
    prose = bool(children) or any(masked.region(hole).is_maths for hole in HOLES.findall(text)) or len(text.strip()) > _FEW_CHARACTERS
    return [Doubt("left_out", masked.offset(section.start), section.title)] if prose else []


def _children(after: list[Section], at: int) -> list[Section]:
    """The sections below after[at]."""
    end = at + 1
    while end < len(after) and after[end].level > after[at].level:
        end += 1
    return after[at + 1 : end]


def _group(masked: Masked, section: Section, children: list[Section], doubts: list[Doubt]) -> list[SolutionPart]:
    """The solutions of one section: itself, or its children where it is called Solutions or they are."""
    starts = [c for c in children if _begins(section, c, children)]
    lead = masked.text[section.body : section.end]
    if not starts:
        return [_part(masked, section, children, "")]
    parts = [] if _PLURAL.match(section.title) or not lead.strip() else [_part(masked, section, children[: children.index(starts[0])], "")]
    setup = lead if lead.strip() and not parts else ""
    if setup:
        doubts.append(Doubt("shared_setup", masked.offset(section.body), section.title))
    for here in starts:
        at = children.index(here)
        following = next(
            (i for i in range(at + 1, len(children)) if children[i] in starts or children[i].level < here.level), len(children)
        )
        if not _VIDEO.search(here.title):
            parts.append(_part(masked, here, children[at + 1 : following], setup))
    return parts


def _begins(parent: Section, child: Section, children: list[Section]) -> bool:
    """Whether a child is a solution of its own."""
    if _PLURAL.match(parent.title):
        return child.level == min(c.level for c in children) and not (_ASIDE.match(child.title) and not _SOLUTION.search(child.title))
    return bool(_NUMBER.search(child.title) or _SOLUTION.match(child.title))


def _part(masked: Masked, section: Section, below: list[Section], setup: str) -> SolutionPart:
    """A section and those below it, videos and notes apart, with their titles as lines of text."""
    pieces = [setup, masked.text[section.body : section.end]]
    for child in below:
        if not _VIDEO.search(child.title):
            pieces += [f"\n{child.title}\n", masked.text[child.body : child.end]]
    thanks = _THANKS.search(section.title)
    title = _THANKS.sub("", section.title).strip()
    return SolutionPart(title, section.start, "".join(pieces), bool(setup), 1 + int(thanks[1]) if thanks else 1)
