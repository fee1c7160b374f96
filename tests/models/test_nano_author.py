"""The shipped nano author through stages, engine and parsers: mostly good replies, and malformed ones that are counted with a reason."""

import json
from itertools import islice

import pytest

from models.engine import Sampling
from models.nano import nano_path
from storage.schemas import Concepts, Draft, Level, Rationale, from_table
from tasks.extract_concepts import ExtractConceptsConfig, extract_concepts
from tasks.generate_problem import GenerateProblemConfig, generate_problem
from tasks.nano.rationale import rationale
from tasks.nano.read_back import read_back
from tasks.nano.roles.author import brief_of, concept_texts
from tasks.nano.roles.playing import play
from tasks.nano.world import World
from tasks.nano_problems import as_problem
from tasks.write_rationale import WriteRationaleConfig, write_rationale

pytestmark = pytest.mark.slow
AUTHOR = nano_path("author")
WILD = Sampling(temperature=1.3, max_tokens=300)


def held_out(count):
    return list(islice(World(0).tasks("test"), count))


def test_it_names_the_concepts_of_held_out_problems():
    tasks = held_out(80)
    outcome = play(extract_concepts, ExtractConceptsConfig(), AUTHOR, problem=[as_problem(t) for t in tasks])
    found = {row.problem_id: set(row.concepts) for row in from_table(outcome.rows, Concepts)}
    pairs = [(set(concept_texts(t)), found.get(as_problem(t).id, set())) for t in tasks]
    assert 2 * sum(len(a & b) for a, b in pairs) / sum(len(a) + len(b) for a, b in pairs) >= 0.8


def test_its_rationales_start_from_level_and_concepts_and_those_without_the_marker_are_rejects():
    tasks = held_out(120)
    problems = [as_problem(t) for t in tasks]
    concepts = [Concepts(p.id, p.id, brief_of(t).concepts, "list") for t, p in zip(tasks, problems, strict=True)]
    levels = [Level(p.id, p.id, str(t.level)) for t, p in zip(tasks, problems, strict=True)]
    config = WriteRationaleConfig(sampling=Sampling(temperature=1, max_tokens=300))
    outcome = play(write_rationale, config, AUTHOR, concepts=concepts, problem=problems, levels=levels)
    said = {row.problem_id: row.rationale for row in from_table(outcome.rows, Rationale)}
    plans = [said.get(p.id, "").partition(".")[0] == rationale(t).partition(".")[0] for t, p in zip(tasks, problems, strict=True)]
    assert sum(plans) >= 36
    assert "no thinking process" in outcome.rejected
    assert len(said) + sum(outcome.rejected.values()) == 120


def test_most_of_its_drafts_are_well_formed_and_many_are_solvable():
    outcome = play(generate_problem, GenerateProblemConfig(), AUTHOR, brief=[brief_of(t) for t in held_out(100)])
    drafts = from_table(outcome.rows, Draft)
    assert len(drafts) >= 70
    assert sum(read_back(d.problem).answer is not None for d in drafts) >= 40


def test_malformed_drafts_are_rejects_with_a_reason_and_unsolvable_ones_are_known():
    config = GenerateProblemConfig(sampling=WILD)
    outcome = play(generate_problem, config, AUTHOR, brief=[brief_of(t) for t in held_out(100)])
    readings = [read_back(d.problem) for d in from_table(outcome.rows, Draft)]
    tags = {"no BEGIN RATIONALE tag", "no BEGIN PROBLEM tag", "no END PROBLEM tag", "a tag is there twice", "tags out of order"}
    assert set(outcome.rejected) & tags and set(outcome.rejected) <= tags | {"cut off", "empty rationale", "empty problem"}
    assert len(readings) + sum(outcome.rejected.values()) == 100
    assert any(r.reason for r in readings) and any(r.answer for r in readings)


def test_its_problems_are_new_texts():
    tasks = held_out(40)
    outcome = play(generate_problem, GenerateProblemConfig(), AUTHOR, brief=[brief_of(t) for t in tasks])
    assert not {d.problem for d in from_table(outcome.rows, Draft)} & {t.statement for t in tasks}


def test_its_card_states_what_was_measured_and_meets_the_targets():
    measured = json.loads((AUTHOR / "measured.json").read_text())
    card = (AUTHOR / "README.md").read_text()
    assert all(f"{measured[name]:.1%}" in card for name in ("extraction_f1", "well_formed", "solvable"))
    assert measured["extraction_f1"] >= 0.8 and measured["well_formed"] >= 0.7 and measured["solvable"] >= 0.5
    assert sum(p.stat().st_size for p in AUTHOR.iterdir()) < 3_000_000
