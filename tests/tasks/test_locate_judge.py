"""The locator that asks a judge: what it is shown, and what becomes of its reply."""

import pytest
from pydantic import ValidationError

from storage.ids import derived_id
from storage.schemas import Location, Problem, Rollout, Solution, from_table
from tasks.locate_judge import LocateJudgeConfig, locate_judge
from tests.scripted import CUT_OFF, Scripted, run

PROBLEM = Problem("a" * 16, "ours", None, "Eva has 3 figs and gets 4. How many?", "7", "integer", True)
ROLLOUT = Rollout("r" * 16, PROBLEM.id, 0, "**Step 1:** Eva has 3.\n\n\n**Step 2:** Sum 3+4=8\n\n\\boxed{8}", "stop", 9, None)
LONG = Solution("s1", PROBLEM.id, "r1", "We take the three figs and the four figs.\n\nTogether 3+4=7, so \\boxed{7}", 9)
SHORT = Solution("s2", PROBLEM.id, "r2", "3+4=7\n\n\\boxed{7}", 9)


def judged(tmp_path, *replies: str, solutions=(LONG, SHORT), **settings):
    backend = Scripted(lambda prompt: replies)
    rows = {"rollout": [ROLLOUT], "problem": [PROBLEM], "solutions": solutions}
    return run(locate_judge, LocateJudgeConfig(**settings), backend, tmp_path, **rows), backend


def test_the_judge_sees_the_problem_the_shortest_solution_and_the_steps_numbered_without_gaps(tmp_path):
    _, backend = judged(tmp_path, "")
    [prompt] = backend.asked
    assert prompt.messages[-1].content == (
        "Problem:\nEva has 3 figs and gets 4. How many?\n\nReference solution:\n3+4=7\n\\boxed{7}\n\n"
        "Answer:\nStep 1: Eva has 3.\nStep 2: Sum 3+4=8\n\\boxed{8}"
    )


def test_what_the_judge_says_is_a_location_with_its_labels_its_words_and_its_call(tmp_path):
    said = "3 + 4 is 7.\nFinal Decision:\nStep 1: neutral; Step 2: incorrect"
    outcome, _ = judged(tmp_path, said)
    [row] = from_table(outcome.rows, Location)
    assert row.call_ids and row == Location(
        id=derived_id("locate_judge", ROLLOUT.id),
        problem_id=PROBLEM.id,
        rollout_id=ROLLOUT.id,
        locator="judge",
        first_wrong_step=2,
        abstained=False,
        n_steps=2,
        why=said,
        labels=["neutral", "incorrect"],
        call_ids=row.call_ids,
    )


def test_the_published_policy_for_neutral_steps_can_be_chosen(tmp_path):
    outcome, _ = judged(tmp_path, "Final Decision: Step 1: neutral; Step 2: incorrect", neutral="error")
    assert from_table(outcome.rows, Location)[0].first_wrong_step == 1


def test_an_answer_without_a_wrong_step_is_located_nowhere_and_nobody_abstained(tmp_path):
    outcome, _ = judged(tmp_path, "Final Decision: Step 1: correct; Step 2: correct")
    [row] = from_table(outcome.rows, Location)
    assert (row.first_wrong_step, row.abstained) == (None, False)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Step 2 looks wrong.", "judge: no decision"),
        ("Final Decision: Step 1: correct", "judge: steps left out"),
        ("Final Decision: Step 1: correct; Step 2: correct; Step 3: incorrect", "judge: a step beyond the answer"),
        ("Final Decision: Step 1: correct; Step 2: incorrect" + CUT_OFF, "judge was cut off"),
    ],
)
def test_a_reply_that_cannot_be_read_is_counted_by_reason(tmp_path, reply, reason):
    outcome, _ = judged(tmp_path, reply)
    assert outcome.rejected == {reason: 1}


def test_without_a_reference_nobody_is_asked(tmp_path):
    outcome, backend = judged(tmp_path, "", solutions=())
    assert outcome.rejected == {"no reference solution": 1}
    assert backend.asked == []


def test_a_prompt_with_other_holes_is_refused_before_any_call(tmp_path):
    file = tmp_path / "mine.md"
    file.write_text("Judge [[problem]] and [[answer]].", encoding="utf-8")
    with pytest.raises(ValidationError, match="has the holes"):
        LocateJudgeConfig(prompt=f"@{file}")
