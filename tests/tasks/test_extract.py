"""Final answers are found as written, and what was cut off is no answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.maths.extract import find_answer


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (r"so \boxed{12}.", "12"),
        (r"\boxed{1} then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"the set \boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"unbalanced inside: \boxed{\left\{x \mid x>0\right.}", r"\left\{x \mid x>0\right."),
        (r"\boxed 7", "7"),
        (r"\boxed{12} and then \boxed{3", None),
        (r"\boxed{", None),
        (r"\boxed{}", None),
        ("2 + 2 = 4\n#### 4", "4"),
        ("#### 1,234\n", "1,234"),
        ("Working.\nA: 18", "18"),
        ("Therefore the answer is 5.", "5"),
        ("The final answer is: $\\frac{3}{4}$. Done.", r"$\frac{3}{4}$"),
        ("The answer is 3.5. We are done.", "3.5"),
        ("The answer is $12.50 per kg.", "$12.50 per kg"),
        ("**Answer:** 42", "42"),
        ("答案是：12。", "12"),
        ("<think>\\boxed{1}</think> It is \\boxed{2}", "2"),
        ("<think>\\boxed{1}</think> nothing here", None),
        ("3 apples and 4 pears make 7", None),
        ("", None),
    ],
)
def test_the_final_answer_of_a_reply(reply, answer):
    assert find_answer(reply) == answer


def test_the_last_number_is_taken_only_when_asked_for():
    assert find_answer("3 and 4 make 7.") is None
    assert find_answer("3 and 4 make 7.", last_number=True) == "7"


@given(st.text(alphabet="ab1 \\{}+$\n", max_size=40))
def test_a_balanced_box_gives_back_what_was_put_in(text):
    inside = text.replace("\\", "").replace("{", "").replace("}", "").strip()
    assert find_answer("before \\boxed{" + inside + "} after") == (inside or None)


@given(st.text(max_size=200))
def test_no_text_breaks_it(text):
    found = find_answer(text)
    assert found is None or found.strip()
