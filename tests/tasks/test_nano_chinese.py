"""Chinese renderings of nano tasks say the same as the English ones."""

import re
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.maths.extract import find_answer
from tasks.maths.steps import body, split
from tasks.nano import chinese
from tasks.nano.world import World, kinds


def numbers(text):
    return sorted(re.findall(r"\d+", text))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_statement_and_steps_hold_the_same_numbers_in_both_languages(seed):
    for task in islice(World(seed).tasks("train"), 20):
        text = chinese.statement(task)
        if text is None:
            continue
        assert numbers(text) == numbers(
            " ".join(str(n) for op in task.composition.ops for n in (*op.params,)) + f" {task.composition.start}"
        )
        assert not re.search("[A-Za-z{}]", text)
        solution = chinese.solution(task)
        assert [body(s).split()[-1] for s in split(solution.rpartition("\n")[0])] == [line.equation for line in task.solution.lines]
        assert find_answer(solution) == task.answer


def test_a_good_part_of_the_problems_has_a_rendering_and_every_wording_occurs():
    tasks = list(islice(World(0).tasks("train"), 1000))
    rendered = [task for task in tasks if chinese.statement(task)]
    assert 0.3 < len(rendered) / len(tasks) < 0.9
    pairs = (zip(task.composition.ops, kinds(task.composition), strict=False) for task in rendered)
    assert {(op.concept, kind) for pair in pairs for op, kind in pair} == {(c, k) for c, w in chinese.WORDINGS.items() for k in w}
