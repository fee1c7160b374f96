"""The contest schedule: what it admits, what it refuses and why."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.aops.contests import Place, Refused, read_schedule, schedule

NAIVE = re.compile(r"\d{4} .* Problems/Problem [A-Z]?\d+")
LISTED = {*schedule().titles(), *schedule().titles(invented=True)}


def test_the_core_contests_have_7356_problems_and_a_list_each_year():
    titles = schedule().titles()
    kinds = Counter(place.kind for place in map(schedule().locate, titles) if isinstance(place, Place))
    assert kinds == {"problem": 7356, "list": 406, "key": 268}
    assert len(titles) == len(set(titles)) == 8030
    assert titles == sorted(titles)


@pytest.mark.parametrize(
    ("title", "reason"),
    [
        ("1985 AJHSME Problems/Problem 0", "no such problem"),
        ("2024 AMC 10A Problems/Problem 1434", "no such problem"),
        ("2000 AMC 12 Problems/Problem 200", "no such problem"),
        ("2019 USAJMO Problems/Problem 69", "no such problem"),
        ("1999 AHSME Problems/Problem 31", "no such problem"),
        ("1961 IMO Problems/Problem 7", "no such problem"),
        ("2016 AMC 10B Problems/Problem 26", "no such problem"),
        ("1995 AMC 12 Problems/Problem 1", "not held in that year"),
        ("2021 AMC 8 Problems/Problem 1", "not held in that year"),
        ("1980 IMO Problems/Problem 1", "not held in that year"),
        ("2026 AMC 10A Problems/Problem 1", "not held in that year"),
        ("2027 AMC 8 Problems/Problem 1", "not held in that year"),
        ("2022 Fall AMC 12A Problems/Problem 1", "not held in that year"),
        ("2025 AIME 10B Problems/Problem 1", "no such contest"),
        ("2011 Euclid Problems/Problem 5", "no such contest"),
        ("2024 USAMO Answer Key", "no answer key"),
        ("1983 AIME/Answer Key", "not spelled as contest pages are"),
        ("2000˙AIME˙II˙Problems/Problem˙3", "not a contest page"),
        ("2005 AMC 12B Problems/Problem20", "not spelled as contest pages are"),
        ("2016 AMC 10B Problems/Problem 26,27", "not spelled as contest pages are"),
        ("2023 AIME I Problems/Problem 01", "not spelled as contest pages are"),
        ("2023 AIME I Math Jam Transcript", "not a contest page"),
        ("Chicken McNugget Theorem", "not a contest page"),
        ("", "not a contest page"),
    ],
)
def test_titles_that_look_right_and_are_not_are_refused_with_a_reason(title: str, reason: str):
    refused = schedule().locate(title)
    assert isinstance(refused, Refused)
    assert refused.reason == reason


@pytest.mark.parametrize(
    ("title", "place"),
    [
        ("1962 IMO Problems/Problem 7", Place("problem", "IMO", 1962, 7, "proof")),
        ("1983 AIME Answer Key", Place("key", "AIME", 1983, None, "integer")),
        ("2002 AMC 12P Problems/Problem 25", Place("problem", "AMC 12P", 2002, 25, "choice")),
        ("2021 Fall AMC 10B Problems", Place("list", "Fall AMC 10B", 2021, None, "choice")),
        ("2021_AMC_10B_Problems/Problem_3", Place("problem", "AMC 10B", 2021, 3, "choice")),
        ("2095 AIME II Problems/Problem 15", Place("problem", "AIME II", 2095, 15, "integer")),
    ],
)
def test_a_page_of_a_contest_that_was_held_has_its_place(title: str, place: Place):
    assert schedule().locate(title) == place


@settings(deadline=None)
@given(st.text(max_size=40) | st.from_regex(NAIVE, fullmatch=True))
def test_a_title_is_admitted_exactly_if_the_schedule_lists_it(title: str):
    assert isinstance(schedule().locate(title), Place) == (" ".join(title.replace("_", " ").split()) in LISTED)


def test_invented_years_are_never_among_the_real_ones():
    assert not [t for t in schedule().titles() if t >= "2090"]
    assert {t[:4] for t in schedule().titles(["AMC 8"], invented=True)} == {str(y) for y in range(2090, 2100)}
    with pytest.raises(ValueError, match="cannot ask for 2095 there: the years 2090 to 2099 are invented"):
        schedule().titles(["AMC 8"], [2095])
    with pytest.raises(ValueError, match="cannot ask for 2005 there"):
        schedule().titles(["AMC 8"], [2005], invented=True)


def test_what_does_not_exist_is_an_error_that_names_the_choices():
    with pytest.raises(ValueError, match=r"no contest 'AMC 9': have \['AHSME', .*'USAMO'\]"):
        schedule().titles(["AMC 9"])
    with pytest.raises(ValueError, match=r"no such contest was held in 2021: AMC 8: 1999-2020, 2022-2026"):
        schedule().titles(["AMC 8"], [2021])


@pytest.mark.parametrize("years", ["[[2001, 2000, 5]]", "[[2000, 2001, 5], [2001, 2002, 5]]", "[[2000, 2001, 0]]", "[[2089, 2090, 5]]"])
def test_a_schedule_whose_years_overlap_or_run_backwards_is_refused(years: str):
    with pytest.raises(ValueError, match="contest 'X'"):
        read_schedule(f'invented = [2090, 2099]\n[[contest]]\nname = "X"\nanswer = "proof"\nkey = false\nyears = {years}\n')
