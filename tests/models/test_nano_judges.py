"""The two shipped nano judges through the stage: better than chance, not equal, and what they say unclearly is unknown."""

import json

import numpy as np
import pytest

from models.engine import Sampling
from models.nano import nano_path
from storage.schemas import Judgement, from_table
from tasks.judge_problem import JudgeProblemConfig, judge_problem
from tasks.nano.roles.judge import auc, deserved, judge_all, made_drafts
from tasks.nano.roles.playing import play

pytestmark = pytest.mark.slow
JUDGES = ("judge-a", "judge-b")


@pytest.fixture(scope="module")
def drafts():
    return made_drafts(0, 120)


@pytest.fixture(scope="module")
def said(drafts):
    return {name: judge_all(nano_path(name), drafts) for name in JUDGES}


@pytest.mark.parametrize("name", JUDGES)
def test_a_judge_tells_good_drafts_from_bad_ones_better_than_chance(drafts, said, name):
    good = np.array([deserved(d) == "perfect" for d in drafts])
    scores = np.array([j.verdict == "perfect" for j in said[name]], float)
    assert auc(scores, good) > 0.52


def test_the_judges_are_not_equal(said):
    same = [a.verdict == b.verdict for a, b in zip(said["judge-a"], said["judge-b"], strict=True)]
    assert 0.4 < sum(same) / len(same) < 1


@pytest.mark.parametrize("name", JUDGES)
def test_good_and_unclear_judgements_both_occur_and_an_unclear_one_is_never_perfect(drafts, name):
    config = JudgeProblemConfig(sampling=Sampling(temperature=1.2, max_tokens=60))
    found = from_table(play(judge_problem, config, nano_path(name), draft=drafts).rows, Judgement)
    unknown = [j for j in found if j.verdict == "unknown"]
    assert len(found) == len(drafts) and 0 < len(unknown) < len(drafts) / 2
    assert {j.why.split(" of ")[0] for j in unknown} <= {"no clear verdict", "cut off", "no rating"}
    assert all(j.call_id for j in found)


@pytest.mark.parametrize("name", JUDGES)
def test_a_reply_that_is_cut_off_is_unknown(drafts, name):
    config = JudgeProblemConfig(sampling=Sampling(temperature=0, max_tokens=3))
    found = from_table(play(judge_problem, config, nano_path(name), draft=drafts[:10]).rows, Judgement)
    assert {(j.verdict, j.why) for j in found} == {("unknown", "cut off")}


@pytest.mark.parametrize("name", JUDGES)
def test_its_card_states_what_was_measured(name):
    measured = json.loads((nano_path(name) / "measured.json").read_text())
    card = (nano_path(name) / "README.md").read_text()
    assert f"{measured['made_auc']:.3f}" in card and f"{measured['written_auc']:.3f}" in card
    assert measured["made_auc_low"] > 0.5
    assert 0 < measured.get("made_agreement", 0.5) < 1
    assert sum(p.stat().st_size for p in nano_path(name).iterdir()) < 3_000_000


def test_the_area_under_a_roc_counts_ties_half():
    good = np.array([True, True, False, False])
    assert auc(np.array([1.0, 1.0, 0.0, 0.0]), good) == 1
    assert auc(np.array([0.0, 1.0, 0.0, 1.0]), good) == 0.5
    assert auc(np.array([0.0, 0.0, 1.0, 1.0]), good) == 0
