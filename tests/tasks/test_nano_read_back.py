"""Statements of the nano world are read back into what they were made from; what the world cannot have written is refused with a reason."""

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.nano.read_back import read_back
from tasks.nano.world import World


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["train", "validation", "test"]))
def test_every_statement_is_read_back_into_its_composition_and_answer(seed, split):
    for task in islice(World(seed).tasks(split), 10):
        found = read_back(task.statement)
        assert (found.composition, found.answer, found.reason) == (task.composition, task.answer, "")
        assert found.concepts == tuple(op.concept for op in task.composition.ops)
        assert dict(found.words).items() <= task.words._asdict().items()


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("", "no sentence with a concept"),
        ("Mia has 8 pens. How many is that?", "no sentence with a concept"),
        ("Mia has pens. Mia gets 2 more pens. How many is that?", "opening not of the world"),
        ("Mia has 8 pens. Mia gets more pens. How many is that?", "sentence not of the world"),
        ("Mia has 8 pens. Mia gets 2 more cups. How many is that?", "another person or thing than before"),
        ("Mia has 8 pens. Tom gives 2 pens to Ana. How many is that?", "another person or thing than before"),
        ("Mia has 8 pens. Mia gets 2 more pens.", "question not of the world"),
        ("Mia has 8 pens. Mia gets 2 more pens. What is the area?", "question not of the world"),
        ("Mia has 8 pens. Mia packs the pens into 3 equal boxes: one box. How many is that?", "no answer in the world's numbers"),
        ("Mia has 8 pens. Mia gives 9 pens to Tom. How many is that?", "no answer in the world's numbers"),
        ("Mia has 8 pens. Mia gets 0 more pens. How many is that?", "sentence not of the world"),
        ("Mia thinks of 8. Mia gets 2 more pens. What is the result?", "sentence not of the world"),
        ("Find all primes p such that p + 2 is prime.", "no sentence with a concept"),
    ],
)
def test_what_cannot_be_solved_is_refused_with_its_reason(statement, reason):
    found = read_back(statement)
    assert (found.answer, found.reason) == (None, reason)


def test_concepts_are_counted_even_where_numbers_are_missing():
    found = read_back("Mia has pens. Mia gets more pens. Mia walks. Tom loses 3 of the pens. How many is that?")
    assert (found.concepts, found.answer) == (("gain", "loss"), None)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text):
    found = read_back(text)
    assert (found.answer is None) == bool(found.reason)
