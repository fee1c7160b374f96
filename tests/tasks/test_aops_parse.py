"""Every page of tests/tasks/aops/pages, one for each trap of the wiki's markup, against what it is known to hold."""

import tomllib
from pathlib import Path

import pytest

from tasks.aops.parse.doubts import BROKEN, DOUBTS
from tasks.aops.parse.page import parse_page
from tasks.aops.parse.wikitext import without_names

PAGES = Path(__file__).parent / "aops" / "pages"
EXPECTED = tomllib.loads((PAGES / "expected.toml").read_text(encoding="utf-8"))
PEOPLE = (
    "problemposer",
    "quickfox",
    "LazyDog",
    "Brownbear",
    "hedgehog",
    "hedge.hog",
    "greyseal",
    "walrus",
    "Nobody",
    "brushfeather",
    "somebody_else",
)


def read(name: str) -> str:
    return (PAGES / f"{name}.wiki").read_text(encoding="utf-8")


def place(text: str, offset: int) -> str:
    """What stands at a place: up to twelve characters of its line."""
    rest = text[offset : offset + 12].splitlines()
    return rest[0] if text[offset:].strip() and rest else ""


def test_there_is_an_expectation_for_every_page_and_a_page_for_every_expectation():
    assert {path.stem for path in PAGES.glob("*.wiki")} == EXPECTED.keys()
    assert len(EXPECTED) >= 45


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_page_gives_its_statement_choices_and_answers(name):
    wanted, page = EXPECTED[name], parse_page(read(name), EXPECTED[name]["asks"])
    assert page.statement == wanted["statement"]
    assert page.choices == tuple(wanted.get("choices", ()))
    assert [s.answer or "" for s in page.solutions] == wanted["answers"]
    for column, found in (("headings", [s.heading for s in page.solutions]), ("solutions", [s.text for s in page.solutions])):
        assert found == wanted.get(column, found)
    assert [s.stub for s in page.solutions] == wanted.get("stubs", [False] * len(page.solutions))
    assert [s.refers_to_other for s in page.solutions] == wanted.get("refers", [False] * len(page.solutions))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_page_gives_its_figures_shared_data_and_categories(name):
    wanted, page = EXPECTED[name], parse_page(read(name), EXPECTED[name]["asks"])
    assert (list(page.asy), page.n_files, page.figure_required) == (
        wanted.get("asy", []),
        wanted.get("n_files", 0),
        wanted.get("figure_required", False),
    )
    shared = (list(page.shared.numbers), page.shared.context) if page.shared else ([], "")
    assert shared == (wanted.get("shared_numbers", []), wanted.get("shared", ""))
    assert list(page.categories) == wanted.get("categories", [])
    assert list(page.duplicate_of) == wanted.get("duplicate_of", [])


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_page_gives_exactly_its_doubts_each_at_its_place(name):
    text = read(name)
    page = parse_page(text, EXPECTED[name]["asks"])
    assert [[d.code, place(text, d.offset)] for d in page.doubts] == EXPECTED[name].get("doubts", [])


def test_every_doubt_that_a_single_page_can_raise_is_documented_and_most_occur_here():
    seen = {code for wanted in EXPECTED.values() for code, _ in wanted.get("doubts", [])}
    assert seen <= DOUBTS.keys()
    assert len(seen) >= 25 and len(seen & BROKEN.keys()) >= 8


def test_no_name_of_a_person_is_left_anywhere():
    for name, wanted in EXPECTED.items():
        page = parse_page(read(name), wanted["asks"])
        text = " ".join((page.statement, *page.asy, *(f"{s.heading} {s.text}" for s in page.solutions)))
        assert not [person for person in PEOPLE if person in text], name


@pytest.mark.parametrize(
    "text",
    [
        "The sum is ~5 apples.",
        "It is well-known that a-b is not b-a.",
        "Take a look at the\n- first case\n- second case of three",
        "x - y is what we want",
        "a ratio of 3:4, at 5:30 in the morning",
    ],
)
def test_what_is_no_signature_stays(text):
    assert without_names(text) == text


def test_a_page_of_megabytes_is_cut_and_reported_and_does_not_take_minutes():
    page = parse_page("== Problem ==\n" + "{{[[<math>((a$" * 15_000, "integer")
    assert "huge" in {d.code for d in page.doubts}
