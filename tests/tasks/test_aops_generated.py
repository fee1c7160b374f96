"""Invented contests with known truth: parse(render(problem)) == problem, whole contests exact, damaged pages reported and never misread."""

import re
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.schemas import Page
from tasks.aops.assemble import assemble
from tasks.aops.fixture.contest import KINDS, NAMES, Contest, make_contest, render
from tasks.aops.fixture.problems import choice_problem, integer_problem, proof_problem
from tasks.aops.pages import raw_page
from tasks.aops.parse.page import parse_page
from tasks.import_pages import wiki_page
from tasks.stage import Rejected

MAKERS = {"AMC 12A": ("choice", choice_problem), "AIME I": ("integer", integer_problem), "IMO": ("proof", proof_problem)}
SEEDS = st.integers(0, 10**9)


def rows(pages: dict[str, str]) -> list[Page]:
    """Pages by title as rows, as the importing stage makes them."""
    found = [wiki_page(title, raw_page(title, text, revid=1)) for title, text in pages.items()]
    return [row for row in found if not isinstance(row, Rejected)]


def contests(year: int, seed: int) -> list[Contest]:
    return [make_contest(kind, year, seed) for kind in KINDS]


@given(kind=st.sampled_from(sorted(MAKERS)), seed=SEEDS)
@settings(max_examples=150, deadline=None)
def test_parsing_a_rendered_problem_gives_the_problem_back(kind, seed):
    asks, maker = MAKERS[kind]
    problem = maker(Random(seed))
    page = parse_page(render(problem, Random(seed + 1), kind=kind), asks)
    assert page.statement == problem.statement
    assert page.choices == problem.choices
    assert (page.asy, page.figure_required) == (problem.asy, problem.figure_required)
    assert tuple(s.text for s in page.solutions) == problem.solutions
    assert {s.answer for s in page.solutions} == {problem.letter or problem.answer}
    assert page.categories == (f"{problem.category} Problems",)
    assert page.doubts == ()


# Damaged pages

_TAG = re.compile(r"</?(?:math|imath|cmath|asy|nowiki)>")
_HEADING = re.compile(r"^=+[^\n]+=+$", re.MULTILINE)


def drop_tag(text: str, rng: Random) -> str:
    """Without one tag."""
    tag = rng.choice(list(_TAG.finditer(text)))
    return text[: tag.start()] + text[tag.end() :]


def drop_heading(text: str, rng: Random) -> str:
    """Without one heading."""
    heading = rng.choice(list(_HEADING.finditer(text)))
    return text[: heading.start()] + text[heading.end() :]


def swap_headings(text: str, rng: Random) -> str:
    """With two headings in each other's places."""
    first, second = sorted(rng.sample(list(_HEADING.finditer(text)), 2), key=lambda m: m.start())
    return text[: first.start()] + second[0] + text[first.end() : second.start()] + first[0] + text[second.end() :]


def cut(text: str, rng: Random) -> str:
    """Without its end."""
    return text[: rng.randrange(1, len(text))]


DAMAGES = {f.__name__: f for f in (drop_tag, drop_heading, swap_headings, cut)}


@given(kind=st.sampled_from(sorted(MAKERS)), damage=st.sampled_from(sorted(DAMAGES)), seed=SEEDS)
@settings(max_examples=300, deadline=None)
def test_a_damaged_page_is_reported_or_says_the_same_and_never_gives_a_wrong_answer(kind, damage, seed):
    _, maker = MAKERS[kind]
    problem, rng = maker(Random(seed)), Random(seed + 2)
    title = f"2099 {kind} Problems/Problem 1"
    text = DAMAGES[damage](render(problem, Random(seed + 1), kind=kind), rng)
    found = assemble(rows({title: text}))
    codes = {issue.code for issue, _ in found.issues} - {"key_missing"}
    if not found.problems:
        assert codes
        return
    [(row, _)] = found.problems
    same = (row.statement, tuple(row.choices)) == (problem.statement, problem.choices)
    same &= " ".join(s.text for s, _ in found.solutions).split() == " ".join(problem.solutions).split()
    assert codes or same
    right = problem.letter or problem.answer
    assert (row.answer_letter or row.answer_value) in (None, right)


# Whole contests


@pytest.mark.parametrize("seed", [1, 2])
def test_whole_contests_come_out_as_they_were_made(seed):
    made = contests(2090 + seed, seed)
    found = assemble(rows({title: text for contest in made for title, text in contest.pages.items()}))
    by_title = {title: row for row, _ in found.problems for title in row.appearances}
    entries = [(contest, entry) for contest in made for entry in contest.entries]
    assert {entry.title for _, entry in entries} == by_title.keys()
    statements = sum(by_title[e.title].statement == _canonical(entries, e).statement for _, e in entries)
    multiple = [e for _, e in entries if e.truth.choices]
    choices = sum(tuple(by_title[e.title].choices) == e.truth.choices for e in multiple)
    assert statements >= 0.995 * len(entries) and choices >= 0.99 * len(multiple)
    assert {e.title: (by_title[e.title].answer_letter, by_title[e.title].answer_value) for _, e in entries} == {
        e.title: (e.truth.letter, e.truth.answer) for _, e in entries
    }


def _canonical(entries, entry):
    """The entry whose page holds the text."""
    return next(e for _, e in entries if e.title == entry.canonical)


def test_redirects_of_shared_problems_keep_both_identities():
    ten, twelve = make_contest("AMC 10A", 2099, 4), make_contest("AMC 12A", 2099, 4)
    found = assemble(rows({**ten.pages, **twelve.pages}))
    assert len(ten.redirects) == 5
    for title, canonical in ten.redirects.items():
        [(row, _)] = [(r, p) for r, p in found.problems if title in r.appearances]
        assert row.title == canonical and row.appearances == sorted([title, canonical])
    assert len(found.problems) == 45


def test_data_for_several_problems_reach_the_problems_that_use_them():
    contest = make_contest("AMC 8", 2099, 5)
    for pages in (contest.pages, {t: p for t, p in contest.pages.items() if "/Problem" in t}):
        found = {row.number: row for row, _ in assemble(rows(pages)).problems}
        context = contest.entries[7].context
        assert context in found[8].statement and found[8].context == ""
        for number in (9, 10):
            assert context in found[number].context and found[number].context_from is not None
            assert "context_shared" in found[number].flags


def test_no_signature_of_an_editor_is_left_in_any_row():
    found = assemble(rows({t: p for c in contests(2095, 6) for t, p in c.pages.items()}))
    text = " ".join([str(row) for row, _ in found.problems] + [str(row) for row, _ in found.solutions])
    assert not [name for name in NAMES if name in text]


def test_key_and_votes_that_disagree_are_flagged_and_the_key_is_taken():
    contest = make_contest("AIME I", 2099, 7)
    pages = dict(contest.pages)
    lines = pages["2099 AIME I Answer Key"].splitlines()
    wrong = "999" if contest.entries[3].truth.answer != "999" else "998"
    lines[3] = re.sub(r"\d{3}", wrong, lines[3], count=1)
    pages["2099 AIME I Answer Key"] = "\n".join(lines)
    found = {row.number: row for row, _ in assemble(rows(pages)).problems}
    assert (found[4].answer_value, found[4].answer_source) == (wrong, "key")
    assert {n for n, row in found.items() if "key_mismatch" in row.flags} == {4}


def test_a_key_that_lacks_a_line_decides_nothing_and_votes_do():
    contest = make_contest("AMC 12B", 2099, 8)
    pages = dict(contest.pages)
    key = [re.sub("<!--.*?-->", "", line) for line in pages["2099 AMC 12B Answer Key"].splitlines()]
    pages["2099 AMC 12B Answer Key"] = "\n".join(key[:9] + key[10:])
    found = assemble(rows(pages))
    for row, _ in found.problems:
        assert row.answer_source == "votes" and "key_unusable" in row.flags
        assert row.answer_letter == contest.entries[row.number - 1].truth.letter
    assert [issue.code for issue, _ in found.issues if issue.title.endswith("Answer Key")] == ["key_unusable"]


def test_a_problem_without_a_page_is_taken_from_the_list_page_and_flagged():
    contest = make_contest("AMC 12A", 2098, 9)
    gone = contest.entries[10]
    blank = contest.entries[11]
    pages = {t: p for t, p in contest.pages.items() if t != gone.title} | {blank.title: "\n"}
    found = {row.number: row for row, _ in assemble(rows(pages)).problems}
    for entry in (gone, blank):
        row = found[entry.number]
        assert (row.statement, tuple(row.choices)) == (entry.truth.statement, entry.truth.choices)
        assert (row.answer_letter, row.answer_source) == (entry.truth.letter, "key")
        assert "from_list" in row.flags


def test_a_list_page_with_other_text_is_reported():
    contest = make_contest("IMO", 2098, 10)
    name = "2098 IMO Problems"
    pages = contest.pages | {name: contest.pages[name].replace("==Problem 2==\n", "==Problem 2==\nLong ago, ")}
    flags = {row.number: row.flags for row, _ in assemble(rows(pages)).problems}
    assert {n for n, codes in flags.items() if "list_differs" in codes} == {2}


def test_pages_that_hold_one_problem_without_a_redirect_become_one():
    contest = make_contest("AMC 12A", 2097, 11)
    entry = contest.entries[2]  # the page says that it is AMC 10A #5, too
    copy = "2097 AMC 10A Problems/Problem 5"
    twin = contest.pages[entry.title].replace("== ", "==").replace("?", " ?", 1)
    found = assemble(rows({entry.title: contest.pages[entry.title], copy: twin}))
    [(row, parents)] = found.problems
    assert row.appearances == sorted([entry.title, copy]) and len(parents) == 2
    other = contest.pages[contest.entries[4].title]
    apart = assemble(rows({entry.title: contest.pages[entry.title], copy: other}))
    assert len(apart.problems) == 2
    assert "twins_differ" in {issue.code for issue, _ in apart.issues}


def test_a_page_with_the_text_of_another_problem_of_its_contest_is_reported_and_kept_apart():
    contest = make_contest("AMC 12A", 2097, 12)
    pages = {entry.title: contest.pages[contest.entries[0].title] for entry in contest.entries[:2]}
    found = assemble(rows(pages))
    assert [row.number for row, _ in found.problems] == [1, 2]
    assert [issue.title for issue, _ in found.issues if issue.code == "copied_text"] == [contest.entries[1].title]


@pytest.mark.parametrize("target", ["2099 AMC 12A Problems/Problem 9", "2099 AMC 10A Problems/Problem 3", "2099 AMC 12A Problems", "Goat"])
def test_a_redirect_to_no_problem_is_reported(target):
    title = "2099 AMC 10A Problems/Problem 3"
    found = assemble(rows({title: f"#REDIRECT [[{target}]]"}))
    assert [issue.code for issue, _ in found.issues] == ["redirect_broken"]
    assert [reason for reason, _ in found.unused.values()] == ["redirect that leads to no problem"]


def test_the_order_of_the_pages_makes_no_difference():
    pages = rows({t: p for c in contests(2094, 12)[:4] for t, p in c.pages.items()})
    forward, backward = assemble(pages), assemble(list(reversed(pages)))
    assert forward.problems == backward.problems and forward.issues == backward.issues


@example(kind="AMC 8", year=1999)
@example(kind="AMC 9", year=2099)
@given(kind=st.sampled_from(KINDS), year=st.integers(1900, 2089))
@settings(max_examples=5, deadline=None)
def test_contests_are_never_made_for_real_years_or_unknown_contests(kind, year):
    with pytest.raises(ValueError, match=r"invented contests are of 2090 or later|no contest kind"):
        make_contest(kind, year)
