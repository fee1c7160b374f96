"""Pages put together: redirects and twins, answer keys against votes, shared data, list pages. What no page says alone.

A pure function of the rows of `Page`; the stages that call it each take their part. The key is the authority on answers, boxes are the
cross-check, and a page whose structure is in doubt gives no votes.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from rapidfuzz import fuzz

from storage.ids import derived_id, problem_id
from storage.schemas import AnswerSource, ContestProblem, Page, ParseIssue, WikiSolution
from tasks.aops.contests import schedule
from tasks.aops.parse.answer_key import KeyEntry, read_key
from tasks.aops.parse.boxes import read_choice, value_key
from tasks.aops.parse.doubts import BROKEN, Doubt
from tasks.aops.parse.lists import Listed, ListPage, read_list
from tasks.aops.parse.page import ParsedPage, ParsedSolution, parse_page
from tasks.maths.records import text_key
from tasks.maths.vote import vote_key

Year = tuple[str | None, int | None]
"""(contest, year)"""


@dataclass
class Assembled:
    """Every row that the pages give, with the ids of the pages it was made from; and why a page gave none."""

    problems: list[tuple[ContestProblem, list[str]]] = field(default_factory=list)
    solutions: list[tuple[WikiSolution, str]] = field(default_factory=list)
    issues: list[tuple[ParseIssue, str]] = field(default_factory=list)
    unused: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Page id -> (reason, detail), for pages that no problem was made from."""


def assemble(pages: Iterable[Page]) -> Assembled:
    """All rows of these pages. The order of the pages makes no difference."""
    return _Assembly(sorted(pages, key=lambda p: (p.source, p.title))).run()


@dataclass
class _Group:
    """One problem: the pages with its text, and those that lead there."""

    pages: list[Page]
    parsed: list[ParsedPage]
    redirects: list[Page] = field(default_factory=list)

    @property
    def page(self) -> Page:
        return self.pages[0]

    @property
    def appearances(self) -> list[Page]:
        return [*self.pages, *self.redirects]


class _Assembly:
    def __init__(self, pages: Sequence[Page]) -> None:
        self._pages = pages
        self._by_title = {p.title: p for p in pages if p.kind != "row"}
        self._doubts: dict[str, list[tuple[Page, Doubt]]] = {}
        """By problem: the page that is in doubt, and the doubt."""
        self._out = Assembled()
        self._keys: dict[Year, dict[int, KeyEntry]] = {}
        self._key_pages: dict[Year, Page] = {}
        self._lists: dict[Year, tuple[Page, ListPage]] = {}
        self._contexts: dict[tuple[Year, int], tuple[str, str]] = {}
        """(contest, year), number -> (data, title of the page they stand on)"""

    def run(self) -> Assembled:
        for page in self._pages:
            if page.status in ("missing", "hidden"):
                self._unused(page, "page is gone", page.status)
            elif page.kind == "key":
                self._read_key(page)
            elif page.kind == "list":
                self._read_list(page)
        groups = self._groups()
        self._share(groups)
        for group in groups:
            self._problem(group)
        self._from_lists({(p.contest, p.year, p.number) for g in groups for p in g.appearances})
        self._finish()
        return self._out

    def _unused(self, page: Page, reason: str, detail: str = "") -> None:
        self._out.unused[page.id] = (reason, detail)

    def _doubt(self, page: Page, code: str, detail: str = "", offset: int = 0) -> None:
        self._note(page, [Doubt(code, offset, detail)])

    def _note(self, page: Page, doubts: Iterable[Doubt]) -> None:
        self._doubts.setdefault(page.problem_id, []).extend((page, doubt) for doubt in doubts)

    def _codes(self, group: _Group) -> set[str]:
        return {doubt.code for page in group.pages for _, doubt in self._doubts.get(page.problem_id, [])}

    # Keys and lists

    def _read_key(self, page: Page) -> None:
        if page.status == "redirect" or page.contest is None or page.year is None or page.asks not in ("choice", "integer"):
            self._unused(page, "answer key of no problem here", f"status {page.status}")
            return
        entries, doubts = read_key(page.text, page.asks, schedule().contests[page.contest].counts[page.year])
        self._keys[page.contest, page.year] = entries
        self._key_pages[page.contest, page.year] = page
        self._note(page, doubts)

    def _read_list(self, page: Page) -> None:
        if page.status == "redirect" or page.asks == "expression":
            self._unused(page, "list page of no problem here", f"status {page.status}")
            return
        read = read_list(page.text, page.asks)
        self._lists[page.contest, page.year] = (page, read)
        for number, data in read.contexts.items():
            self._contexts[(page.contest, page.year), number] = (data, page.title)

    # Which pages are one problem

    def _groups(self) -> list[_Group]:
        groups: dict[str, _Group] = {}
        for page in self._pages:
            if page.kind in ("problem", "row") and page.status == "ok":
                parsed = parse_page(page.text, page.asks, page.kind == "row")
                self._note(page, parsed.doubts)
                if not parsed.statement:
                    self._unused(page, "no statement", f"{len(page.text)} characters")
                else:
                    groups[page.id] = _Group([page], [parsed])
        for page in self._pages:
            if page.kind == "problem" and page.status == "redirect":
                self._follow(page, groups)
        return self._merge_twins(groups)

    def _follow(self, page: Page, groups: dict[str, _Group]) -> None:
        seen, here = {page.title}, page
        while here.status == "redirect" and here.redirect_to is not None:
            target = self._by_title.get(here.redirect_to)
            if target is None or target.title in seen:
                break
            seen.add(target.title)
            here = target
        group = groups.get(here.id)
        if group is None:
            self._doubt(page, "redirect_broken", f"to {page.redirect_to!r}")
            self._unused(page, "redirect that leads to no problem", f"to {page.redirect_to!r}")
        else:
            group.redirects.append(page)

    def _merge_twins(self, groups: dict[str, _Group]) -> list[_Group]:
        """Pages that hold the same problem, said so by {{duplicate}} or by the same text, become one; the first by title stands for it."""
        first: dict[tuple[str, tuple[str, ...]], str] = {}
        into: dict[str, str] = {}
        for id_, group in groups.items():
            parsed = group.parsed[0]
            same = first.setdefault((text_key(parsed.statement), parsed.choices), id_)
            twins = [same] if same != id_ and not self._copied(group.page, groups[same].page) else []
            twins += [t for t in self._named_twins(group, groups) if t != id_]
            for twin in twins:
                a, b = sorted((_root(into, id_), _root(into, twin)), key=lambda i: groups[i].page.title)
                if a != b:
                    into[b] = a
        for id_ in groups:
            if (root := _root(into, id_)) != id_:
                groups[root].pages += groups[id_].pages
                groups[root].parsed += groups[id_].parsed
                groups[root].redirects += groups[id_].redirects
        return [g for id_, g in groups.items() if id_ not in into]

    def _copied(self, page: Page, other: Page) -> bool:
        """Whether the same text stands for two problems of one contest, which is somebody's mistake."""
        if page.kind == "row" or (page.contest, page.year) != (other.contest, other.year):
            return False
        self._doubt(page, "copied_text", f"the same as {other.title!r}")
        return True

    def _named_twins(self, group: _Group, groups: dict[str, _Group]) -> Iterator[str]:
        for title in group.parsed[0].duplicate_of:
            other = groups.get(self._by_title[title].id) if title in self._by_title else None
            if other is None or other is group:
                continue
            if _same_problem(group.parsed[0], other.parsed[0]):
                yield other.page.id
            else:
                self._doubt(group.page, "twins_differ", f"{title!r} has other text")

    # Data on the page of one problem for several

    def _share(self, groups: Sequence[_Group]) -> None:
        for group in groups:
            for page, parsed in zip(group.pages, group.parsed, strict=True):
                shared = parsed.shared
                if shared is None or not shared.context:
                    continue
                for number in shared.numbers:
                    self._contexts.setdefault(((page.contest, page.year), number), (shared.context, page.title))

    def _context(self, group: _Group) -> tuple[str, str | None]:
        """(data that stand on another page, its title)."""
        own = next((p.shared for p in group.parsed if p.shared), None)
        if own is not None and own.context:
            return "", None
        for page in group.appearances:
            data, title = self._contexts.get(((page.contest, page.year), page.number or 0), ("", ""))
            if data:
                self._doubt(group.page, "context_shared", f"on {title!r}")
                return data, title
        if own is not None:
            self._doubt(group.page, "context_missing", f"problems {own.numbers}")
        return "", None

    # One problem

    def _problem(self, group: _Group) -> None:
        page, parsed = group.page, group.parsed[0]
        context, context_from = self._context(group)
        self._compare_with_list(group)
        choices = next((p.choices for p in group.parsed if p.choices), ())
        raw, source, answer = self._answer(group)
        letter, value = _letter_and_value(page, choices, answer)
        solutions = self._solutions(group)
        row = ContestProblem(
            id=derived_id("contest_problems", page.problem_id),
            problem_id=page.problem_id,
            source=page.source,
            title=page.title,
            contest=page.contest,
            year=page.year,
            number=page.number,
            appearances=sorted(p.title for p in group.appearances),
            statement=parsed.statement,
            context=context,
            context_from=context_from,
            choices=list(choices),
            asks=page.asks,
            key_raw=raw,
            answer_letter=letter,
            answer_value=value,
            answer_source=source if answer is not None else "none",
            votes=[f"{a} {w}" for a, w in self._votes(group).most_common()],
            n_solutions=sum(not s.stub for s in solutions),
            has_figure=parsed.has_figure,
            figure_required=parsed.figure_required,
            asy=list(parsed.asy),
            n_files=parsed.n_files,
            categories=sorted({c for p in group.parsed for c in p.categories}),
            flags=sorted(self._codes(group)),
            revid=page.revid,
            source_url=page.source_url,
            licence_note=page.licence_note,
            redistributable=page.redistributable,
        )
        self._out.problems.append((row, self._parents(group)))

    def _parents(self, group: _Group) -> list[str]:
        """Ids of all pages that decided the row."""
        years = {(p.contest, p.year) for p in group.appearances}
        extra = [self._key_pages[y].id for y in years if y in self._key_pages] + [self._lists[y][0].id for y in years if y in self._lists]
        return [*(p.id for p in group.appearances), *sorted(extra)]

    def _solutions(self, group: _Group) -> list[ParsedSolution]:
        found = [(page, s) for page, parsed in zip(group.pages, group.parsed, strict=True) for s in parsed.solutions]
        for ordinal, (page, s) in enumerate(found):
            self._out.solutions.append((_solution_row(group.page, page, ordinal, s), page.id))
        return [s for _, s in found]

    # Answers

    def _votes(self, group: _Group) -> Counter[str]:
        """Weight of each answer among the solutions, broken pages included."""
        votes: Counter[str] = Counter()
        spelling: dict[str, str] = {}
        for solution in (s for parsed in group.parsed for s in parsed.solutions if s.answer is not None):
            assert solution.answer is not None
            key = spelling.setdefault(vote_key(solution.answer) if group.page.asks == "expression" else solution.answer, solution.answer)
            votes[key] += solution.weight
        return votes

    def _answer(self, group: _Group) -> tuple[str | None, AnswerSource, str | None]:
        """(what the keys say, where the answer comes from, the answer)."""
        page = group.page
        if page.asks == "proof":
            return None, "none", None
        votes = self._votes(group)
        if len(votes) > 1:
            self._doubt(page, "votes_split", ", ".join(f"{a}: {w}" for a, w in votes.most_common(4)))
        if page.given_answer is not None:
            return None, "given", page.given_answer
        entries = [e for p in group.appearances if (e := self._keys.get((p.contest, p.year), {}).get(p.number or 0)) is not None]
        raw = " / ".join(e.raw for e in entries) or None
        answers = {e.answer for e in entries if e.answer is not None}
        if len(answers) > 1:
            self._doubt(page, "keys_differ", raw or "")
            return raw, "none", None
        if not answers:
            return raw, "votes", self._answer_by_votes(group, votes, bool(entries))
        answer = answers.pop()
        if any(vote != answer for vote in votes):
            self._doubt(page, "key_mismatch", f"key {answer}, solutions {dict(votes)}")
        return raw, "key", answer

    def _answer_by_votes(self, group: _Group, votes: Counter[str], in_key: bool) -> str | None:
        if in_key:
            self._doubt(group.page, "key_unreadable")
            return None
        if group.page.kind != "row":
            year = (group.page.contest, group.page.year)
            self._doubt(group.page, "key_unusable" if year in self._key_pages else "key_missing", f"{group.page.year} {group.page.contest}")
        if not BROKEN.keys().isdisjoint(self._codes(group)):
            self._doubt(group.page, "votes_not_counted", ", ".join(votes))
            return None
        answer, weight = votes.most_common(1)[0] if votes else (None, 0)
        return answer if 2 * weight > votes.total() else None

    # List pages

    def _compare_with_list(self, group: _Group) -> None:
        for page in group.appearances:
            _, listed = self._lists.get((page.contest, page.year), (None, ListPage({}, {})))
            entry = listed.problems.get(page.number or 0)
            if entry is not None and not any(_same_text(entry, parsed) for parsed in group.parsed):
                self._doubt(group.page, "list_differs", f"problem {page.number} of {page.year} {page.contest}")

    def _from_lists(self, had: set[tuple[str | None, int | None, int | None]]) -> None:
        """Problems whose own page is not there, from the list page."""
        for (contest, year), (page, listed) in self._lists.items():
            for number, entry in listed.problems.items():
                title = f"{year} {contest} Problems/Problem {number}"
                own = self._by_title.get(title)
                if (contest, year, number) not in had and (own is None or own.status != "hidden"):
                    self._stand_in(page, title, number, entry)

    def _stand_in(self, page: Page, title: str, number: int, entry: Listed) -> None:
        own = replace(page, kind="problem", title=title, number=number, problem_id=problem_id(page.source, title, ""))
        heading = "== Problem ==\n"
        parsed = parse_page(heading + entry.wikitext, page.asks)
        if not parsed.statement:
            return
        doubts = [replace(d, offset=max(d.offset - len(heading), 0) + entry.offset) for d in parsed.doubts]
        self._note(own, (d for d in doubts if d.code not in ("no_end", "no_solution")))
        self._doubt(own, "from_list", f"of {page.title!r}", entry.offset)
        self._problem(_Group([own], [parsed]))

    def _finish(self) -> None:
        used = {id_ for _, parents in self._out.problems for id_ in parents}
        for page in self._pages:
            if page.id not in used and page.id not in self._out.unused:
                self._unused(page, f"{'answer key' if page.kind == 'key' else 'list page'} of no problem here")
        for doubts in self._doubts.values():
            counts: Counter[str] = Counter()
            for page, doubt in sorted(doubts, key=lambda d: (d[0].kind, d[1].offset, d[1].code, d[1].detail)):
                self._out.issues.append((_issue_row(page, doubt, counts[doubt.code]), page.id))
                counts[doubt.code] += 1


def _root(into: dict[str, str], id_: str) -> str:
    while id_ in into:
        id_ = into[id_]
    return id_


def _same_problem(a: ParsedPage, b: ParsedPage) -> bool:
    """The same choices and much the same words; without choices the same numbers and almost the same words."""
    alike = fuzz.ratio(text_key(a.statement), text_key(b.statement))
    if a.choices and b.choices:
        return alike >= 60 and [*map(value_key, a.choices)] == [*map(value_key, b.choices)]
    return alike >= 85 and re.findall(r"\d+", a.statement) == re.findall(r"\d+", b.statement)


def _same_text(entry: Listed, parsed: ParsedPage) -> bool:
    """Whether a list page says what the problem's own page says, which may begin with data for several problems."""
    same = text_key(parsed.statement).endswith(text_key(entry.statement))
    return same and [*map(value_key, entry.choices)] == [*map(value_key, parsed.choices)]


def _letter_and_value(page: Page, choices: Sequence[str], answer: str | None) -> tuple[str | None, str | None]:
    if page.asks != "choice" or answer is None:
        return None, answer
    letter = read_choice(answer, choices).answer
    if letter is None:
        return None, answer
    return letter, choices["ABCDE".index(letter)] or None if choices else None


def _solution_row(owner: Page, page: Page, ordinal: int, solution: ParsedSolution) -> WikiSolution:
    return WikiSolution(
        id=derived_id("wiki_solutions", owner.problem_id, ordinal=ordinal),
        problem_id=owner.problem_id,
        ordinal=ordinal,
        title=page.title,
        heading=solution.heading,
        text=solution.text,
        boxed=list(solution.boxed),
        answer=solution.answer,
        refers_to_other=solution.refers_to_other,
        stub=solution.stub,
        weight=solution.weight,
    )


def _issue_row(page: Page, doubt: Doubt, ordinal: int) -> ParseIssue:
    return ParseIssue(
        id=derived_id("parse_issues", page.problem_id, doubt.code, ordinal=ordinal),
        problem_id=page.problem_id,
        title=page.title,
        code=doubt.code,
        offset=doubt.offset,
        detail=doubt.detail,
        revid=page.revid,
    )
