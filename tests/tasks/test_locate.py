"""The symbolic locator as a stage, and on plain files by the real command."""

import json
import re
import subprocess
import sys

import pytest

from flows.apply import apply_stage
from flows.graph import UsageError
from storage.schemas import Location, Problem, Rollout, Verdict
from tasks.locate import LocateConfig, LocateInput, locate, locate_line
from tasks.stage import Rejected

PROBLEM = Problem("p", "file", "1", "Tom has 12 pens and buys 5 boxes of 3.", "27", "integer", True)
WRONG = "Step 1: 5*3=15\nStep 2: 12+15=28\nAnswer: \\boxed{28}"


def rollout(text: str, id: str = "r") -> Rollout:
    return Rollout(id, "p", 0, text, "stop", 9, None)


def verdict(name: str, of: str = "r") -> Verdict:
    return Verdict(f"v{of}", "p", of, name, None, "exact")


def run(text: str, *verdicts: Verdict):
    return locate(rollout(text), PROBLEM, list(verdicts), LocateConfig())


def test_a_wrong_reply_gets_a_location_with_the_evidence():
    found = run(WRONG, verdict("correct", "other"), verdict("wrong"))
    assert isinstance(found, Location)
    assert (found.rollout_id, found.locator, found.first_wrong_step, found.abstained, found.n_steps) == ("r", "symbolic", 2, False, 2)
    assert found.why == "12+15 (27) is not 28"


@pytest.mark.parametrize("verdicts", [[verdict("correct")], [verdict("unknown")], [verdict("wrong", "other")], []])
def test_a_reply_that_is_not_verified_as_wrong_is_rejected(verdicts):
    assert run(WRONG, *verdicts) == Rejected("not verified as wrong")


def test_an_empty_reply_is_rejected():
    assert run(" \n", verdict("wrong")) == Rejected("empty reply")


def test_without_verdicts_every_reply_is_looked_at_and_a_right_one_is_cleared():
    found = locate(rollout(WRONG.replace("28", "27")), PROBLEM, None, LocateConfig())
    assert (found.first_wrong_step, found.abstained) == (None, False)


def test_a_verdict_says_that_the_result_is_wrong_where_the_answers_cannot_be_compared():
    text = "Step 1: 5*3=15\nStep 2: 12+915=927\nSo the answer is many"
    assert run(text, verdict("wrong")).first_wrong_step == 2
    assert locate(rollout(text), PROBLEM, None, LocateConfig()).abstained


def test_the_plain_form_takes_steps_with_and_without_headers():
    for steps in (["5*3=15", "12+15=28"], ["Step 1: 5*3=15\n", "Step 2: 12+15=28"], ["**Step 1:** 5*3=15", "2. 12+15=28"]):
        assert locate_line(LocateInput(PROBLEM.problem, steps), LocateConfig()).first_wrong_step == 2


@pytest.mark.slow
def test_the_command_writes_a_line_for_every_line_in_order(tmp_path):
    lines = [
        {"id": 7, "problem": "What is 2 * (3 + 4)?", "steps": ["3 + 4 = 7", "2 * 7 = 15"], "answer": "15"},
        {"problem": "What is 2 * (3 + 4)?", "steps": ["3 + 4 = 7", "2 * 7 = 14. The answer is 14"], "note": "passed over"},
        {"id": "c", "problem": "Tom buys 2 pens at 3 each.", "steps": ["2 + 3 = 5"], "answer": 6},
        {"id": "d", "problem": "Nothing", "steps": []},
    ]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    command = [sys.executable, "-m", "flows", "apply", "locate", "--input", source, "--output", target, "--set", "locators=symbolic"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "4 kept"), done.stderr
    made = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [list(line) for line in made] == [["id", "first_wrong_step", "abstained", "why"]] * 4
    assert [tuple(line.values())[:3] for line in made] == [("7", 2, False), ("2", None, False), ("c", None, True), ("d", None, True)]
    assert made[0]["why"] == "2 * 7 (14) is not 15"


@pytest.mark.parametrize(
    ("line", "sets", "said"),
    [
        ({"problem": "x"}, [], "row 1 has no ['steps']: it has ['id', 'problem']"),
        ({"problem": "x", "steps": "3 + 4 = 7"}, [], "row 1: steps = '3 + 4 = 7': Input should be a valid list"),
        ({"problem": "x", "steps": []}, ["locators=rollouts"], "locators = 'rollouts': Input should be 'symbolic'"),
    ],
)
def test_a_bad_line_or_setting_is_named_and_nothing_is_written(tmp_path, line, sets, said):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises((ValueError, UsageError), match=re.escape(said)):
        apply_stage("locate", source, target, sets)
    assert not target.exists()
