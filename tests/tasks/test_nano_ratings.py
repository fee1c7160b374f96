"""What nano judges are taught: sound drafts are perfect in everything, each flaw shows in its own criterion, and ratings are computed."""

from dataclasses import replace
from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.maths.judgement import CRITERIA, read_judgement
from tasks.maths.tagged import TAGS
from tasks.nano.concepts import CONCEPTS
from tasks.nano.roles.author import shots as author_shots
from tasks.nano.roles.concept_texts import NAMES, TEXTS
from tasks.nano.roles.judge import JUDGES, made_drafts
from tasks.nano.roles.judge import shots as judge_shots
from tasks.nano.roles.ratings import FLAWS, Flawed, rate, sound, verdict
from tasks.nano.world import World


def task(seed=0, level=3):
    return next(World(seed).tasks("train", levels=[level]))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_a_sound_draft_is_perfect_in_everything(seed):
    for made in islice(World(seed).tasks("train"), 5):
        ratings = rate(sound(made))
        assert {seen.rating for seen in ratings.values()} == {"perfect"}
        assert verdict(ratings) == "perfect"


@pytest.mark.parametrize(
    ("flaw", "criterion"),
    [
        ("a number is missing", "SOLVABILITY"),
        ("contradicting facts", "FACTUAL ACCURACY"),
        ("another person", "FACTUAL ACCURACY"),
        ("other concepts", "CONCEPT COVERAGE"),
        ("wrong level", "DIFFICULTY ALIGNMENT"),
        ("a tag is missing", "FORMAT"),
    ],
)
def test_each_flaw_shows_in_its_own_criterion(flaw, criterion):
    random, seen = Random(3), 0
    for made in islice(World(1).tasks("train"), 60):
        draft = FLAWS[flaw](sound(made), random)
        ratings = {name: found.rating for name, found in rate(draft).items()}
        assert draft == sound(made) or ratings[criterion] != "perfect", draft
        seen += ratings[criterion] == "bad"
    assert seen >= 10


def test_the_level_may_be_one_off_and_not_two():
    draft = sound(task(level=2))
    assert [rate(replace(draft, level=level))["DIFFICULTY ALIGNMENT"].rating for level in (1, 2, 3, 4)] == [
        "acceptable",
        "perfect",
        "acceptable",
        "bad",
    ]


def test_a_problem_that_needs_more_than_was_asked_is_acceptable_and_one_that_needs_less_is_bad():
    draft = sound(task())
    other = next(text for text in NAMES if text not in draft.concepts)
    assert rate(replace(draft, concepts=draft.concepts[1:]))["CONCEPT COVERAGE"].rating == "acceptable"
    assert rate(replace(draft, concepts=(*draft.concepts, other)))["CONCEPT COVERAGE"] == ("bad", f"no use of {other}")


def test_a_text_that_is_not_of_the_world_is_bad():
    ratings = rate(Flawed((TEXTS["gain"],), 1, "Because.", "Prove that there are infinitely many primes."))
    assert verdict(ratings) == "bad"
    assert ratings["SOLVABILITY"].rating == ratings["CONCEPT COVERAGE"].rating == "bad"


def test_drafts_to_measure_on_are_held_out_and_have_whole_tags():
    drafts = made_drafts(0, 60)
    assert len({d.id for d in drafts}) == 60
    assert all(tag in d.text for d in drafts for tag in TAGS)
    assert made_drafts(0, 60) == drafts


@pytest.mark.parametrize("name", JUDGES)
def test_a_judge_is_taught_clear_judgements_and_a_few_unclear_ones_and_overlooks_what_it_is_blind_to(name):
    taught = list(judge_shots(JUDGES[name], World(0), 300))
    read = [read_judgement(shot.reply, "perfect") for shot in taught]
    unclear = sum(judged.verdict == "unknown" for judged in read)
    assert 0 < unclear < 30
    assert all(None not in judged.ratings.values() for judged in read)
    assert {judged.ratings[name] for judged in read for name in CRITERIA[1:]} == {"perfect", "acceptable", "bad"}


def test_the_judges_are_taught_different_things_about_the_same_world():
    a, b = (list(judge_shots(JUDGES[name], World(0), 100)) for name in JUDGES)
    assert sum(x == y for x, y in zip(a, b, strict=True)) < 70


def test_an_author_is_taught_all_four_forms():
    openings = {shot.messages[-1].content.split(".")[0][:40] for shot in author_shots(World(0), 100)}
    assert len(openings) == 4


def test_every_concept_of_the_world_has_one_text():
    assert set(TEXTS) == set(CONCEPTS) and len(NAMES) == len(TEXTS)
