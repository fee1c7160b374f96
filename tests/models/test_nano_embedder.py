"""The shipped nano embedder through `Engine.embed`: the same problem in other words is near, and nearer than before training."""

import json
from itertools import islice
from random import Random

import numpy as np
import pytest

from models.nano import nano_path
from tasks.nano.roles.author import concept_texts
from tasks.nano.roles.embedder import embed, twin
from tasks.nano.world import World

pytestmark = pytest.mark.slow


def held_out(count):
    return list(islice(World(0).tasks("test"), count))


def test_the_nearest_of_all_twins_is_mostly_the_own_one_and_more_often_than_before_training():
    tasks, random = held_out(150), Random(1)
    twins = [twin(t, random) for t in tasks]
    found = {}
    for name in ("embedder", "solver"):
        near = embed(nano_path(name), [t.statement for t in tasks]) @ embed(nano_path(name), twins).T
        found[name] = (near.argmax(axis=1) == np.arange(150)).mean()
    assert found["embedder"] >= 0.9 and found["embedder"] > found["solver"] + 0.1


def test_a_twin_has_the_composition_and_not_the_words():
    random = Random(2)
    for task in held_out(50):
        assert twin(task, random) != task.statement


def test_a_statement_is_near_its_own_concepts():
    tasks = held_out(60)
    near = (
        embed(nano_path("embedder"), [t.statement for t in tasks])
        @ embed(nano_path("embedder"), ["\n".join(concept_texts(t)) for t in tasks]).T
    )
    own = np.diag(near)
    assert (near <= own[:, None]).mean() > 0.95


def test_its_card_states_what_was_measured():
    folder = nano_path("embedder")
    measured = json.loads((folder / "measured.json").read_text())
    card = (folder / "README.md").read_text()
    assert f"{measured['twin_at_1']:.1%}" in card and f"{measured['twin_at_1, solver weights']:.1%}" in card
    assert measured["twin_at_1_low"] > measured["twin_at_1, solver weights"]
    assert sum(p.stat().st_size for p in folder.iterdir()) < 3_000_000
