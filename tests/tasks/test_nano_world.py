"""The nano world: everything computed, splits disjoint by composition, the same on every machine."""

import re
import subprocess
import sys
from fractions import Fraction
from itertools import islice
from math import gcd, lcm

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.schemas import Problem
from tasks.contamination import ContaminationConfig
from tasks.maths.contamination_index import Index
from tasks.nano.concepts import CONCEPTS, LIMIT
from tasks.nano.corpus import cued, solver_samples, wrong_workings
from tasks.nano.measure import left_value
from tasks.nano.world import LEVELS, World, work_out
from tasks.nano_problems import NanoProblemsConfig, nano_problems

seeds = st.integers(0, 10**6)


def independent_answer(start: int, ops: list[tuple[str, tuple[int, ...]]]) -> Fraction:
    """The answer of a composition from closed formulas, one a concept."""
    formulas = {
        "gain": lambda v, a: v + a,
        "loss": lambda v, a: v - a,
        "times": lambda v, a: v * a,
        "share": lambda v, a: v / a,
        "percent": lambda v, a: v * (100 - a) / 100,
        "ratio": lambda v, a, b: v * a / (a + b),
        "rate": lambda v, a, b: v + a * b,
        "average": lambda v, a, b: (v + a + b) / 3,
        "remainder": lambda v, a: v % a,
        "gcd": lambda v, a: Fraction(gcd(int(v), a)),
        "lcm": lambda v, a: Fraction(lcm(int(v), a)),
        "sequence": lambda v, a, b: v + (b - 1) * a,
        "linear": lambda v, a, b: (v - b) / a,
        "perimeter": lambda v, a: 2 * (v + a),
        "rectangle": lambda v, a: v * a,
        "triangle": lambda v, a: v * a / 2,
        "combinations": lambda v, a, b: v + a * b,
        "probability": lambda v, a: a / (v + a),
    }
    value = Fraction(start)
    for name, params in ops:
        value = formulas[name](value, *params)
    return value


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_every_equation_of_a_right_solution_holds_and_is_small(seed):
    for task in islice(World(seed).tasks("train"), 20):
        for line in task.solution.lines:
            assert left_value(line.left) == line.value
            assert 0 < line.value <= LIMIT


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_answers_match_an_independent_recomputation(seed):
    for task in islice(World(seed).tasks("test"), 20):
        ops = [(op.concept, op.params) for op in task.composition.ops]
        assert Fraction(task.answer) == independent_answer(task.composition.start, ops)


def test_statements_hold_every_number_that_the_solution_needs():
    for task in islice(World(5).tasks("train"), 500):
        numbers = [int(n) for n in re.findall(r"\d+", task.statement)]
        assert str(task.composition.start) in task.statement
        for op in task.composition.ops:
            assert all(p in numbers for p in op.params)
        assert "{" not in task.statement


def test_the_solution_text_numbers_its_steps_and_boxes_the_answer():
    task = next(World(0).tasks("test", levels=[3]))
    lines = task.solution.text.splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == [f"Step {i}" for i in range(1, len(lines))]
    assert lines[-1] == f"Answer: \\boxed{{{task.answer}}}"


def test_splits_are_disjoint_by_composition_across_worlds():
    taken = {"train": 2000, "validation": 150, "test": 300}
    keys = {split: {t.composition.key for seed in (0, 1) for t in islice(World(seed).tasks(split), n)} for split, n in taken.items()}
    assert not keys["train"] & keys["test"]
    assert not keys["train"] & keys["validation"]
    assert not keys["validation"] & keys["test"]


def test_the_composition_decides_the_split_whatever_the_words():
    task = next(World(3).tasks("test"))
    assert task.composition.split == "test"
    assert len(task.composition.key) == 24


def test_two_seeds_give_two_worlds_and_one_seed_one():
    first = [t.statement for t in islice(World(1).tasks("train"), 50)]
    assert first == [t.statement for t in islice(World(1).tasks("train"), 50)]
    assert not set(first) & {t.statement for t in islice(World(2).tasks("train"), 50)}
    assert any(World(1).cue(c.name, k) != World(2).cue(c.name, k) for c in CONCEPTS.values() for k in c.wordings)


def test_a_seed_gives_the_same_problems_in_every_process():
    program = "from tasks.nano.world import World; tasks = World(7).tasks('test'); print([next(tasks).statement for _ in range(20)])"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": str(salt), "PATH": "/usr/bin"}, capture_output=True, check=True
        ).stdout
        for salt in (0, 1)
    }
    assert len(outputs) == 1
    assert outputs == {(str([t.statement for t in islice(World(7).tasks("test"), 20)]) + "\n").encode()}


def test_every_concept_and_level_occurs():
    tasks = list(islice(World(0).tasks("train"), 2000))
    assert {op.concept for t in tasks for op in t.composition.ops} == set(CONCEPTS)
    assert {t.level for t in tasks} == set(LEVELS)


def test_a_misconception_ends_wrong_and_its_carried_lines_hold():
    found: set[str] = set()
    for task in islice(World(0).tasks("train"), 1500):
        for position, working in wrong_workings(task):
            assert working.answer != task.answer
            assert all(left_value(line.left) == line.value for line in working.lines)
            before = sum(working.spans[:position])
            assert working.lines[:before] == task.solution.lines[:before]
            found.add(str(working.misconception))
    assert found == {name for c in CONCEPTS.values() for name in c.misconceptions}


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_the_misconception_rate_decides_how_many_samples_go_wrong(rate):
    world = World(0)
    samples = list(solver_samples(world, 400, rate))
    for sample in samples:
        cues = cued(world, sample.task)
        can_fail = any(cues[position] for position, _ in wrong_workings(sample.task))
        assert (sample.working.misconception is not None) == (can_fail and rate == 1.0)


def test_wrong_positions_are_carried_on_or_refused():
    task = next(t for t in World(0).tasks("train", levels=[4]) if wrong_workings(t))
    position, working = wrong_workings(task)[0]
    assert work_out(task.composition, (position, str(working.misconception))) == working


@pytest.mark.parametrize(
    ("split", "levels", "message"),
    [("tests", (1,), r"no split 'tests': have \['train', 'validation', 'test'\]"), ("test", (5,), r"no levels \[5\]: have \[1, 2, 3, 4\]")],
)
def test_unknown_splits_and_levels_are_named(split, levels, message):
    with pytest.raises(ValueError, match=message):
        next(World(0).tasks(split, levels))


def test_the_stage_makes_count_rows_with_unique_ids():
    rows = list(nano_problems(NanoProblemsConfig(count=120, seed=4)))
    assert len({r.id for r in rows}) == 120
    assert all(isinstance(r, Problem) and r.redistributable and r.source == "nano" for r in rows)
    assert {r.answer_type for r in rows} == {"integer", "fraction"}


def test_planted_rows_are_verbatim_held_out_problems_and_the_rest_are_not():
    held_out = list(nano_problems(NanoProblemsConfig(count=300, split="test")))
    rows = list(nano_problems(NanoProblemsConfig(count=50, planted=10)))
    assert [(r.problem, r.answer) for r in rows[-10:]] == [(r.problem, r.answer) for r in held_out[:10]]
    assert not {r.source_id for r in rows[:-10]} & {r.source_id for r in held_out}


@pytest.mark.parametrize(
    ("wrong", "message"), [({"count": 5, "planted": 6}, "at most count"), ({"split": "test", "planted": 1}, "repeats")]
)
def test_planting_that_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        list(nano_problems(NanoProblemsConfig(**wrong)))


def test_levels_are_kept_to():
    assert {len(t.composition.ops) for t in islice(World(0).tasks("validation", levels=[2, 4]), 60)} == {2, 4}


def test_the_default_contamination_rule_catches_planted_statements_and_keeps_most_others():
    held_out = [t.statement for t in islice(World(0).tasks("test"), 150)]
    items = [f"{i:04d}" for i in range(150)]
    index = Index(pa.table({"benchmark": ["nano"] * 150, "item": items, "text": held_out}), ContaminationConfig().rule)
    clean = [t.statement for t in islice(World(0).tasks("train"), 400)]
    flagged = set(index.check(pa.array(clean + held_out)).rows.tolist())
    assert flagged >= set(range(400, 550))
    assert len(flagged & set(range(400))) < 0.2 * 400
