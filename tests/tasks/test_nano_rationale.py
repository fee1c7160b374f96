"""Design rationales: computed from the composition, precise, and natural to follow from the concepts."""

import re
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.nano.rationale import rationale
from tasks.nano.world import World


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_a_rationale_names_level_concepts_numbers_and_answer_in_order(seed):
    for task in islice(World(seed).tasks("train"), 20):
        text = rationale(task)
        assert text.startswith(f"Level {task.level} links")
        assert re.findall(r"(\w+) with [\d and]+ turns", text) == [op.concept for op in task.composition.ops]
        turned = re.findall(r"with ([\d and]+) turns (\d+)[\w ]* into ([\d/]+)", text)
        assert [tuple(map(int, re.findall(r"\d+", params))) for params, _, _ in turned] == [op.params for op in task.composition.ops]
        assert [before for _, before, _ in turned] == [str(task.composition.start), *(after for _, _, after in turned[:-1])]
        assert turned[-1][2] == task.answer and text.endswith(f": {task.answer}.")


def test_a_rationale_all_but_determines_its_problem():
    tasks = list(islice(World(0).tasks("train"), 1500))
    told = {}
    for task in tasks:
        told.setdefault(rationale(task), set()).add((task.composition, task.words))
    assert all(len(found) == 1 for found in told.values())
