"""A problem page: which section is what, then statement, choices, figures, shared data, and the solutions with what their boxes say.

Order of work: mask, close-check, sections, statement, choices, solutions. Every step reports what it doubts (`doubts.py`).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tasks.aops.pages import normal_title
from tasks.aops.parse.boxes import Reading, boxes, read_choice, read_expression, read_integer
from tasks.aops.parse.choices import Found, find_choices
from tasks.aops.parse.context import Shared, shared_data
from tasks.aops.parse.doubts import Doubt
from tasks.aops.parse.solutions import SolutionPart, solution_parts
from tasks.aops.parse.tokens import HOLES, Masked, mask
from tasks.aops.parse.wikitext import (
    Section,
    broken_structure,
    categories,
    files,
    heading_without_name,
    plain,
    sections,
    templates,
)

Kind = Literal["choice", "integer", "proof", "expression"]
"""What the contest asks for; `expression` where it is not known (rows of other people's data sets)."""

_PROBLEM = re.compile(r"problem\b(?! ?solving)(?: statement| \d+\w?)?", re.IGNORECASE)
_KNOWN_TEMPLATES = re.compile(r"duplicate|maa notice|solution|.*\b(?:new)?box|.*\bproblems|stub|wip|incomplete|image|asy|.*category.*")
_NAVIGATION = re.compile(r".*\b(?:new)?box")
_FIGURE_CUE = re.compile(
    r"\b(?:figures?|diagrams?|pictured?|pictures|shown|drawing|graph|illustrat\w+|sketch|below|above|accompanying)\b", re.IGNORECASE
)
_FIGURE_NEEDED = re.compile(
    r"\b(?:(?:as|is|are) (?:shown|pictured)|in the (?:figure|diagram|picture)|(?:figure|diagram|picture|graph)s? (?:below|above|shown)"
    r"|shown below)\b",
    re.IGNORECASE,
)
_ASTERISK = re.compile(r"\(\s*\*\s*\)")
_EDITED = re.compile(
    r"\b(?:note\s*:?\s+(?:that\s+)?the original|original (?:problem|author|statement)|fixed in the wiki|made a mistake"
    r"|the problem (?:did not|should))\b",
    re.IGNORECASE,
)
_NAME_LEAD = re.compile(r"\s*\(\s*''([^'\n]{2,60})''\s*\)\s*")
_LINKED = re.compile(r"\[\[([^\[\]|]+)\|?([^\[\]]*)\]\]")
_NUMBERED = re.compile(r"(\d{4} .+?) #(\d+)")
_SENTENCE = re.compile(
    r"\banswer (?:choice )?(?:is|must be|would be|=)\W{0,4}(?:therefore |thus |then |clearly |simply )?(?:choice )?(?P<said>[^.\n]{1,60})",
    re.IGNORECASE,
)
_ANSWER_LETTER = re.compile(
    r"\(\s*\{?\s*(?:\\(?:textbf|mathrm|text|bf)\s*\{?\s*)?\(?([A-E])\)?\s*\}*\s*\)|\\(?:textbf|mathrm)\s*\{\(?([A-E])\)?"
)
_ANSWER_INTEGER = re.compile(r"\D{0,12}?\$?0*(\d{1,3})\$?(?![\d.^/])")


@dataclass(frozen=True, slots=True)
class ParsedSolution:
    """One solution: `answer` is what its last readable box says."""

    heading: str
    text: str
    offset: int
    boxed: tuple[str, ...] = ()
    answer: str | None = None
    refers_to_other: bool = False
    stub: bool = False
    weight: int = 1
    """Votes: 1, plus the thanks that an imported post got."""


@dataclass(frozen=True, slots=True)
class ParsedPage:
    """What one problem page says."""

    statement: str
    choices: tuple[str, ...]
    """Five in order, or none."""
    asy: tuple[str, ...]
    n_files: int
    figure_required: bool
    shared: Shared | None
    """Data for several problems, on this page or on another."""
    solutions: tuple[ParsedSolution, ...]
    categories: tuple[str, ...]
    duplicate_of: tuple[str, ...]
    """Titles of the problem pages that the template {{duplicate}} names."""
    doubts: tuple[Doubt, ...]

    @property
    def has_figure(self) -> bool:
        return bool(self.asy or self.n_files)


def parse_page(text: str, kind: Kind, row: bool = False) -> ParsedPage:
    """Parse the wikitext of a problem page of a contest that asks for `kind`.

    `row`: it was a record of a data set, which ends without navigation and may lack solutions and boxes.
    """
    return _Parser(mask(text), kind, row).page()


@dataclass
class _Parser:
    masked: Masked
    kind: Kind
    row: bool = False
    doubts: list[Doubt] = field(init=False)

    def __post_init__(self) -> None:
        self.doubts = list(self.masked.doubts)

    def doubt(self, code: str, place: int, detail: str = "") -> None:
        self.doubts.append(Doubt(code, self.masked.offset(place), detail))

    def page(self) -> ParsedPage:
        self.doubts += broken_structure(self.masked)
        found = sections(self.masked)
        problem, rest = self._problem_section(found)
        names = templates(self.masked.text)
        if not self.row and not any(_NAVIGATION.fullmatch(name) for name, _ in names):
            self.doubt("no_end", len(self.masked.text))
        statement, choices = self._statement(problem)
        shared = self._shared(problem, statement)
        asy, n_files, required = self._figures(problem, statement)
        solutions = tuple(self._solutions(rest, choices))
        return ParsedPage(
            statement=statement,
            choices=choices,
            asy=asy,
            n_files=n_files,
            figure_required=required,
            shared=shared,
            solutions=solutions,
            categories=tuple(categories(self.masked.text)),
            duplicate_of=tuple(_duplicates(names, self.masked.text)),
            doubts=tuple(sorted(self.doubts, key=lambda d: d.offset)),
        )

    def _problem_section(self, found: list[Section]) -> tuple[Section, list[Section]]:
        """The section of the statement (the lead if none is called Problem), and what comes after it."""
        named = [s for s in found if _PROBLEM.fullmatch(s.title)]
        lead = found[0]
        if not named:
            return lead, found[1:]
        for other in named[1:]:
            self.doubt("two_problems", other.start, other.title)
        at = found.index(named[0])
        for early in found[1:at]:
            self.doubt("headings_order", early.start, f"{early.title!r} before {named[0].title!r}")
        if above := plain(self.masked, self.masked.text[: lead.end]):
            self.doubt("text_before_problem", 0, above[:80])
        return named[0], found[at + 1 :]

    def _statement(self, section: Section) -> tuple[str, tuple[str, ...]]:
        """(the statement without choices, the choices)."""
        start, end = section.body, section.end
        if name := _NAME_LEAD.match(self.masked.text, start):
            start = name.end()
        found: Found | None = None
        if self.kind == "choice":
            found, doubts = find_choices(self.masked, start, end)
            self.doubts += doubts
        body = self.masked.text[start:end]
        if found:
            body = f"{self.masked.text[start : found.start]}\n\n{self.masked.text[found.end : end]}"
        self._check_statement(body, start)
        statement = plain(self.masked, body)
        if not statement:
            self.doubt("no_statement", start)
        if found and not all(found.values):
            self.doubt("choices_are_figures", found.start)
        return statement, found.values if found else ()

    def _check_statement(self, body: str, start: int) -> None:
        for name, _ in templates(body):
            if not _KNOWN_TEMPLATES.fullmatch(name):
                self.doubt("unknown_template", start, name)
        if "{|" in body:
            self.doubt("table", start + body.index("{|"))
        if edited := editors_note(body):
            self.doubt("editors_note", start + edited.start(), edited[0])
        for match in HOLES.finditer(body):
            region = self.masked.region(match[0])
            if region.is_maths and next(boxes(region.inner), None):
                self.doubts.append(Doubt("box_in_problem", region.start, region.inner[:60]))

    def _shared(self, section: Section, statement: str) -> Shared | None:
        shared = shared_data(statement)
        if shared is not None and shared.unclear:
            self.doubt("context_unclear", section.body, f"problems {', '.join(map(str, shared.numbers))}")
        return shared

    def _figures(self, section: Section, statement: str) -> tuple[tuple[str, ...], int, bool]:
        """(Asymptote code, number of uploaded pictures, whether the statement needs them)."""
        body = self.masked.text[section.body : section.end]
        regions = [self.masked.region(hole) for hole in HOLES.findall(body)]
        asy = tuple(r.inner.strip() for r in regions if r.kind == "asy")
        n_files = files(body) + sum(r.kind == "figure" for r in regions)
        choices_are_figures = any(d.code == "choices_are_figures" for d in self.doubts)
        if asy or n_files:
            words = re.sub(r"\[asy\].*?\[/asy\]", "", statement, flags=re.DOTALL)
            return asy, n_files, choices_are_figures or bool(_FIGURE_CUE.search(words) or _ASTERISK.search(words))
        if cue := _FIGURE_NEEDED.search(statement):
            self.doubt("figure_missing", section.body, cue[0])
        return asy, n_files, bool(cue) or choices_are_figures

    # Solutions

    def _solutions(self, after: list[Section], choices: tuple[str, ...]) -> Iterator[ParsedSolution]:
        parts, doubts = solution_parts(self.masked, after)
        self.doubts += doubts
        if not parts and not self.row:
            self.doubt("no_solution", len(self.masked.text))
        for part in parts:
            yield self._solution(part, choices)

    def _solution(self, part: SolutionPart, choices: tuple[str, ...]) -> ParsedSolution:
        text = plain(self.masked, part.text, signed=True)
        stub = any(name in ("solution", "incomplete", "wip") for name, _ in templates(part.text)) or is_stub(text)
        if edited := editors_note(text):
            self.doubt("editors_note", part.start, edited[0])
        boxed = self._boxes(part)
        answer = None
        if self.kind != "proof" and not stub:
            answer = self._last_answer(part, text, boxed, choices)
        return ParsedSolution(
            heading=heading_without_name(part.title),
            text=text,
            offset=self.masked.offset(part.start),
            boxed=tuple(content for content, _ in boxed),
            answer=answer,
            refers_to_other=part.shared or refers_to_other(text),
            stub=stub,
            weight=part.weight,
        )

    def _boxes(self, part: SolutionPart) -> list[tuple[str, int]]:
        """(content, place on the page) of the boxes of a solution, in order."""
        found = []
        for hole in HOLES.findall(part.text):
            region = self.masked.region(hole)
            if not region.is_maths or "box" not in region.inner:
                continue
            for box in boxes(region.inner):
                if box.closed:
                    found.append((box.content, region.start))
                else:
                    self.doubts.append(Doubt("unclosed_box", region.start, box.content[:60]))
        return found

    def _last_answer(self, part: SolutionPart, text: str, boxed: list[tuple[str, int]], choices: tuple[str, ...]) -> str | None:
        """What the last readable box says; without any box, what a sentence `the answer is ...` says."""
        if not boxed:
            said = _answer_in_words(text, self.kind)
            if said is not None or not self.row:
                self.doubt("no_box" if said is None else "answer_unboxed", part.start, said or "")
            return said
        readings = [self._read(content, choices) for content, _ in boxed]
        last, place = boxed[-1]
        readable = [r.answer for r in readings if r.answer is not None]
        if not readable or readings[-1].answer is None:
            self.doubts.append(Doubt(readings[-1].problem or "box_unread", place, last[:60]))
        if readings[-1].problem == "box_contradicts":
            return None
        return readable[-1] if readable else None

    def _read(self, content: str, choices: tuple[str, ...]) -> Reading:
        if self.kind == "choice":
            return read_choice(content, choices)
        return read_integer(content) if self.kind == "integer" else read_expression(content)


_REFERS = re.compile(
    r"\b(?:as (?:above|before|in (?:the )?(?:previous|first|solution))|continu(?:ing|e) from|solution \d"
    r"|(?:previous|above|first|other) solutions?|same as above)\b",
    re.IGNORECASE,
)
_REFERRING_WORDS = ("olution", "bove", "efore", "revious", "ontinu", "irst")


def refers_to_other(text: str) -> bool:
    """Whether a solution speaks of another one."""
    return any(word in text for word in _REFERRING_WORDS) and _REFERS.search(text) is not None


_EDITORS_WORDS = ("riginal", "ixed in the", "made a mistake", "he problem")


def editors_note(text: str) -> re.Match[str] | None:
    """Where an editor says that a text was changed or is in doubt."""
    return _EDITED.search(text) if any(word in text for word in _EDITORS_WORDS) else None


_STUB = re.compile(
    r"(?:coming soon\.?|\[?wip\]?|tba\.?|tbd\.?|to be (?:added|continued)\.?|in progress\.?|this (?:problem )?needs a solution.*)?",
    re.I | re.S,
)


def is_stub(text: str) -> bool:
    """Whether a solution's text only says that there is none yet."""
    return _STUB.fullmatch(text.strip()) is not None


def _answer_in_words(text: str, kind: Kind) -> str | None:
    """`The answer is \\textbf{(C)}`: the last such sentence, if it is clear."""
    said = [m["said"] for m in _SENTENCE.finditer(text)]
    if not said or kind == "expression":
        return None
    if kind == "choice":
        match = _ANSWER_LETTER.search(said[-1])
        return (match[1] or match[2]) if match else None
    match = _ANSWER_INTEGER.match(said[-1])
    return str(int(match[1])) if match else None


def _duplicates(names: Sequence[tuple[str, str]], text: str) -> Iterator[str]:
    """Problem pages named by {{duplicate|[[2099 AMC 12A Problems|2099 AMC 12A #2]] and ...}}."""
    for name, body in names:
        if name != "duplicate":
            continue
        for target, shown in _LINKED.findall(body or text):
            numbered = _NUMBERED.search(shown)
            if "/Problem" in target:
                yield normal_title(target)
            elif numbered:
                yield f"{normal_title(numbered[1])} Problems/Problem {numbered[2]}"
