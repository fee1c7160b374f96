"""Wrong answers of the nano world: the first wrong step is where it was put."""

from collections import Counter
from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.nano.flawed import answered, flawed, same_equation
from tasks.nano.measure import is_right
from tasks.nano.world import World


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_before_the_first_wrong_step_an_answer_says_what_the_solution_says_and_there_it_does_not(seed):
    random = Random(seed)
    for task in islice(World(seed).tasks("train"), 20):
        answer = flawed(task, random)
        if answer is None:
            continue
        at = answer.first_wrong
        said, right = [step.split()[-1] for step in answer.steps], [line.equation for line in task.solution.lines]
        assert said[: at - 1] == right[: at - 1]
        assert said[at - 1 : at] != right[at - 1 : at] or len(said) < len(right)


def test_wrong_steps_lie_at_all_places():
    random = Random(0)
    places = Counter(a.first_wrong for t in islice(World(0).tasks("train"), 800) if (a := flawed(t, random)))
    assert all(places[k] > 20 for k in (1, 2, 3, 4, 5, 6))


def test_right_solutions_have_no_wrong_step():
    for task in islice(World(0).tasks("test"), 200):
        assert answered(task, task.solution.text).first_wrong is None
        assert is_right(task, task.solution.text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Sum 3+12=15", "Total 12+3=15", True),
        ("Product 3*5=15", "Product 5*3=15", True),
        ("Rest 12-3=9", "Rest 3-12=9", False),
        ("Sum 3+12=15", "Sum 3+12=16", False),
        ("no equation", "no equation", True),
    ],
)
def test_sums_and_products_may_be_turned_around(one, other, same):
    assert (same_equation(one) == same_equation(other)) == same


def test_an_answer_that_stops_too_early_is_wrong_in_its_last_step():
    task = next(t for t in World(0).tasks("train", [3]) if len(t.solution.lines) >= 4)
    steps = task.solution.text.splitlines()
    assert answered(task, "\n".join(steps[:2])).first_wrong == 2
    assert answered(task, "\n".join([*steps[:-1], "Step 9: Sum 1+1=2"])).first_wrong == len(steps)
