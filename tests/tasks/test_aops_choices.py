"""Choices: markers in every setting, where they end, and when there are none."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.aops.parse.choices import find_choices
from tasks.aops.parse.tokens import mask

FORMS = (
    r"\textbf{(%s)}\ ",
    r"\textbf{(%s) }",
    r"\textbf{(%s)} ",
    r"\textbf {(%s) }",
    r"\textbf{(%s)\ }",
    r"\mathrm{(%s)\ }",
    r"\mathrm{(%s)} ",
    r"\text{(%s)} ",
    r"\text{(%s) }",
    r"(\mathrm {%s}) ",
    r"(\mathrm{%s})\ ",
    r"(\textbf{%s})\ ",
    r"{(%s)} ",
    r"(%s) ",
    r"(%s)\ ",
    r"\mathrm{(\textbf{%s})}\ ",
    r"\text{(\textbf %s) }",
    r"\textbf{(%s)}~",
    r"\textbf{%s)} ",
    r"\textbf{%s. }",
    r"\mathbf{(%s)}\ ",
    r"\rm{(%s)}\ ",
)
GAPS = (r" \qquad ", r"\quad", r" \hspace{1cm} ", " ~ ", r" \\ ", "\n", r"\ ", r"\qquad\qquad ", r" & ", r",\ ")
VALUES = st.one_of(
    st.integers(-999, 999).map(str),
    st.tuples(st.integers(1, 99), st.integers(2, 99)).map(lambda f: rf"\frac{{{f[0]}}}{{{f[1]}}}"),
    st.integers(2, 99).map(lambda n: rf"2\sqrt{{{n}}}"),
    st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda p: f"({p[0]},{p[1]})"),
    st.sampled_from([r"x^{2}+1", r"f(A)", r"\{1,2\}", "a<b", r"30^\circ", r"\pi"]),
)


def found(text: str) -> tuple[str, ...] | None:
    page = mask(text)
    choices, _ = find_choices(page, 0, len(page.text))
    return choices.values if choices else None


@pytest.mark.parametrize(("form", "gap"), list(itertools.product(FORMS, GAPS)))
def test_every_form_of_marker_with_every_gap(form, gap):
    body = gap.join(form % letter + value for letter, value in zip("ABCDE", "12345", strict=True))
    assert found(f"What?\n\n<math>{body}</math>") == tuple(f"${v}$" for v in "12345")


@given(st.lists(VALUES, min_size=5, max_size=5, unique=True), st.sampled_from(FORMS), st.sampled_from(GAPS[:4]))
@settings(max_examples=200, deadline=None)
def test_values_come_back_as_they_were_set(values, form, gap):
    body = gap.join(form % letter + value for letter, value in zip("ABCDE", values, strict=True))
    assert found(f"<math>{body}</math>") == tuple(f"${v}$" for v in values)


def test_a_marker_that_is_set_with_its_whole_choice_leaves_no_brace():
    body = r" \qquad ".join(rf"\textbf{{({x}) {v}}}" for x, v in zip("ABCDE", "12345", strict=True))
    assert found(f"<math>{body}</math>") == tuple(f"${v}$" for v in "12345")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("(A) 1 (B) 2 (C) 3 (D) 4 (E) 5", ("1", "2", "3", "4", "5")),
        ("A. one\nB. two\nC. three\nD. four\nE. five", ("one", "two", "three", "four", "five")),
        ("* (A) one\n* (B) two\n* (C) three\n* (D) four\n* (E) five\nMore text.", ("one", "two", "three", "four", "five")),
        ("'''(A)''' 1 '''(B)''' 2 '''(C)''' 3 '''(D)''' 4 '''(E)''' 5", ("1", "2", "3", "4", "5")),
    ],
)
def test_choices_in_plain_text(text, values):
    assert found(text) == values


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no choices",
        "(A) 1 (B) 2 (C) 3 (D) 4",
        "(E) 1 (D) 2 (C) 3 (B) 4 (A) 5",
        "<math>f(A)+f(B)</math>",
        "<asy>(A) (B) (C) (D) (E)</asy>",
    ],
)
def test_no_run_from_a_to_e_is_no_choices(text):
    assert found(text) is None


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("<math>(A) 1 (B) 2 (C) 3 (D) 3 (E) 5</math>", ["choices_equal"]),
        ("<math>(A) 1 (B) \\frac{1}{2 (C) 3 (D) 4 (E) 5</math>", ["choices_unbalanced"]),
        ("<math>(A) 1 (B) 2 (C) 3 (D) 4</math>", ["choices_partial"]),
        ("nothing", ["choices_missing"]),
    ],
)
def test_doubts_about_choices(text, codes):
    page = mask(text)
    assert [d.code for d in find_choices(page, 0, len(page.text))[1]] == codes
