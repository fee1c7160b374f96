"""Boxes and answer keys: every spelling that was seen, and what must not be read as an answer."""

import pytest

from tasks.aops.parse.answer_key import read_key
from tasks.aops.parse.boxes import boxes, read_choice, read_expression, read_integer, value_key

CHOICES = ("$10$", "$11$", "$12$", "$\\frac{1}{2}$", "Monday")


@pytest.mark.parametrize(
    ("tex", "contents"),
    [
        (r"x=\boxed{12}", ["12"]),
        (r"\boxed {12} and \fbox{C}", ["12", "C"]),
        (r"\framebox[2cm]{C}", ["C"]),
        (r"\framebox[2cm][c]{C}", ["C"]),
        (r"\boxed{\frac{1}{\sqrt{2}}}", [r"\frac{1}{\sqrt{2}}"]),
        (r"\boxed{\boxed{3}}", [r"\boxed{3}"]),
        (r"\boxed{\{1,2\}}", [r"\{1,2\}"]),
        (r"\boxed 7", ["7"]),
        (r"\boxed\alpha", [r"\alpha"]),
        (r"\boxedtext{7} \unboxed", []),
        (r"\boxed{12", ["12"]),
        (r"\boxed{a}\\\boxed{b}", ["a", "b"]),
        (r"\boxed", []),
    ],
)
def test_boxes_are_found_by_their_braces(tex, contents):
    assert [b.content for b in boxes(tex)] == contents


def test_a_box_whose_braces_do_not_close_says_so():
    assert [b.closed for b in boxes(r"\boxed{1} \boxed{\frac{2}{3}")] == [True, False]


@pytest.mark.parametrize(
    "content",
    [
        r"\textbf{(C) } 12",
        r"(C)\ 12",
        r"\mathrm{(C)} 12",
        r"\mathrm{(C )} 12",
        r"\textbf C",
        "C",
        " C ",
        r"\text{(\textbf C) 12}",
        r"(\textbf{C})\ 12",
        "C(12)",
        r"\textbf{C} 12",
        r"\mathbf{C}",
        r"\textbf{(C)}",
        r"{(C)}",
        "12",
        r"\ 12\ ",
        "$12$",
        r"\text{C}",
        r"\textbf{(C)\ 12}",
        r"C) 12",
        r"\textbf{C. }12",
        r"\bf{(C)}~12",
        r"\textbf{(C)}\qquad 12",
        r"\boxed{\textbf{(C)}\ 12}",
        r"\text{(C)}\;",
    ],
)
def test_a_box_that_names_the_third_choice(content):
    assert read_choice(content, CHOICES).answer == "C"


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (r"\textbf{(D)}\ \frac12", "D"),
        (r"\tfrac{1}{2}", "D"),
        (r"\dfrac 1 2", "D"),
        ("1/2", "D"),
        (r"\text{Monday}", "E"),
        (r"\textbf{(E)}\ \text{Monday}", "E"),
        (r"\textbf{(A)}\ 10^\circ", "A"),
        (r"\textbf{(A)}\ \text{about ten}", "A"),
        (r"\textbf{(B)}", "B"),
    ],
)
def test_a_box_with_a_value_of_a_choice(content, answer):
    assert read_choice(content, CHOICES).answer == answer


@pytest.mark.parametrize(
    "content",
    ["A=3", r"\angle ABC", r"B\cdot 2", "AB", "A_1", "A^2", "A'", "13", "x", "", r"\triangle A", "Answer", "F", "B 2", "C \\ne 12"],
)
def test_false_friends_name_no_choice(content):
    assert read_choice(content, CHOICES) == read_choice(content, CHOICES).__class__(None, "box_unread")


@pytest.mark.parametrize("content", [r"\textbf{(B)}\ 12", "B(12)", r"\textbf{(A)}\ \frac{1}{2}", r"\textbf{B} 12"])
def test_a_letter_beside_the_value_of_another_choice_is_a_contradiction(content):
    assert read_choice(content, CHOICES).problem == "box_contradicts"


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("007", "7"),
        ("7", "7"),
        (r"\textbf{023}", "23"),
        ("0", "0"),
        (r"\textbf{(073) }", "73"),
        (r"\ 999.", "999"),
        (r"\mathrm{ 042 }", "42"),
    ],
)
def test_integers_lose_their_leading_zeros(content, answer):
    assert read_integer(content).answer == answer


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (r"\textbf{(55) }", "55"),
        (r"\mathbf{127} ", "127"),
        (r"\ \frac{1}{2}\ ", r"\frac{1}{2}"),
        (r"(1,2)", "(1,2)"),
        (r"\textbf{x} + \textbf{y}", r"\textbf{x} + \textbf{y}"),
        (r"\text{even}", r"\text{even}"),
        (" ", None),
    ],
)
def test_an_expression_loses_only_a_font_around_the_whole_and_brackets_around_a_number(content, answer):
    assert read_expression(content).answer == answer


@pytest.mark.parametrize("content", ["x=3", "1000", "-7", "3.5", "m+n", "", r"\frac12", "7, 8", "seven", "10^3"])
def test_what_is_no_integer_from_0_to_999_is_not_read(content):
    assert read_integer(content).problem == "box_unread"


@pytest.mark.parametrize(
    ("a", "b"),
    [(r"\frac{1}{2}", r"\dfrac12"), ("$12$", "12"), (r"\$12", "12"), (r"\text{Monday}", "monday"), ("1,000", "1,000"), (r"30^\circ", "30")],
)
def test_spellings_of_one_value_are_equal(a, b):
    assert value_key(a) == value_key(b)


@pytest.mark.parametrize(
    ("a", "b"), [("12", "21"), ("-12", "12"), (r"\frac12", r"\frac21"), ("1/12", "11/2"), ("x", "y"), (r"\sqrt2", "2")]
)
def test_different_values_are_not(a, b):
    assert value_key(a) != value_key(b)


# Answer keys

FIVE = "#A\n#B\n#C\n#D\n#E\n"


@pytest.mark.parametrize(
    "text",
    [
        FIVE,
        "#A<!--1-->\n#B<!--2-->\n#C<!-- 3 -->\n#D<!--4-->\n#E<!--5-->\n",
        "# A\n#  B\n# C \n\n# D\n# E\n\n[[Category:Keys]]\n{{MAA Notice}}\n",
        "<ol><li>A</li>\n<li>B</li><li>C</li><li>D</li><li>E</li></ol>",
        "<p>1. A\n2. B\n3. C\n4. D\n5. E</p>",
        "#'''A'''\n#<math>B</math>\n#(C)\n#$\\textbf{D}$\n#E\n",
    ],
)
def test_spellings_of_a_key(text):
    entries, doubts = read_key(text, "choice", 5)
    assert ([entries[n].answer for n in range(1, 6)], doubts) == (list("ABCDE"), [])


def test_integers_of_a_key_are_read_with_their_raw_form_kept():
    entries, doubts = read_key("#007<!--1-->\n#012\n# 13\n", "integer", 3)
    assert [(e.raw, e.answer) for e in entries.values()] == [("007", "7"), ("012", "12"), ("13", "13")]
    assert doubts == []


@pytest.mark.parametrize(
    "text", ["", "#A\n#B\n#C\n#D\n", FIVE + "#A\n", "#A\n#B<!--3-->\n#C\n#D\n#E\n", "1. A\n2. B\n4. C\n5. D\n6. E\n", "Just a moment..."]
)
def test_a_key_of_another_length_or_order_gives_nothing(text):
    entries, doubts = read_key(text, "choice", 5)
    assert (entries, [d.code for d in doubts]) == ({}, ["key_unusable"])


@pytest.mark.parametrize("entry", ["B or C", "void", "", "F", "AB", "A, D", "12"])
def test_an_entry_that_is_no_letter_stays_raw(entry):
    entries, doubts = read_key(FIVE.replace("C", entry, 1), "choice", 5)
    assert (entries[3].raw, entries[3].answer) == (entry, None)
    assert [(d.code, FIVE.replace("C", entry, 1)[d.offset]) for d in doubts] == [("key_unreadable", "#")]
