"""The locator by continuations against a model whose success after every prefix is known."""

import pytest
from pydantic import ValidationError

from models.engine import Prompt
from storage.ids import derived_id
from storage.schemas import Location, Problem, Rollout, from_table
from tasks.locate_rollouts import LocateRolloutsConfig, locate_rollouts
from tests.scripted import CUT_OFF, Scripted, run

PROBLEM = Problem("a" * 16, "ours", None, "Eva has 3 figs, gets 4, sells 2 and halves the rest. How many?", "5/2", "fraction", True)
REPLY = "Step 1: Sum 3+4=7\nStep 2: Rest 7-2=5\nStep 3: Half 5*2=10\nStep 4: Check 10\nStep 5: So \\boxed{10}"
WRONG = Rollout("r" * 16, PROBLEM.id, 0, REPLY, "stop", 20, None)
RIGHT, MISSED = " so \\boxed{5/2}", " so \\boxed{10}"


def steps_before(prompt: Prompt) -> int:
    """How many steps of the reply a prompt gives."""
    return prompt.prefill.count("Step ") - 1


def located(tmp_path, replies, **settings):
    backend = Scripted(lambda prompt: replies(steps_before(prompt)))
    outcome = run(locate_rollouts, LocateRolloutsConfig(**settings), backend, tmp_path, rollout=[WRONG], problem=[PROBLEM])
    [row] = from_table(outcome.rows, Location)
    return row, backend


@pytest.mark.parametrize("fault", [1, 2, 3, 4, 5])
def test_the_step_behind_which_success_collapses_is_found_wherever_it_is(tmp_path, fault):
    row, backend = located(tmp_path, lambda done: [RIGHT] if done < fault else [MISSED])
    assert (row.first_wrong_step, row.abstained, row.n_steps, row.locator) == (fault, False, 5, "rollouts")
    assert row.id == derived_id("locate_rollouts", WRONG.id)
    assert len(row.call_ids) == len(backend.asked) == len(set(row.call_ids))


def test_a_prefix_that_is_settled_early_is_not_drawn_again(tmp_path):
    row, backend = located(tmp_path, lambda done: [RIGHT] if done < 3 else [MISSED])
    drawn = {n: sum(steps_before(p) == n for p in backend.asked) for n in range(6)}
    assert drawn == {0: 0, 1: 0, 2: 4, 3: 12, 4: 0, 5: 0}
    assert row.why == "4/4 after step 2; 0/12 after step 3"


def test_a_sometimes_lucky_model_is_still_located(tmp_path):
    row, _ = located(tmp_path, lambda done: [MISSED, RIGHT] if done < 2 else [MISSED])
    assert row.first_wrong_step == 2


def test_continuations_go_on_from_the_header_without_a_space(tmp_path):
    _, backend = located(tmp_path, lambda done: [RIGHT] if done < 3 else [MISSED])
    assert {p.prefill for p in backend.asked} == {REPLY[: REPLY.index(f"Step {k}:") + 7] for k in (3, 4)}


ABSTENTIONS = [
    ("nothing leads to the answer", lambda done: [MISSED], {}, "the answer is not reached from the start either"),
    ("now and then", lambda done: [RIGHT, *[MISSED] * 11], {"samples": 12, "batch": 12}, "1 of 12 after step 2 does not decide"),
    ("all are cut off", lambda done: [RIGHT + CUT_OFF], {}, "0 of 0 after step 2 does not decide"),
    ("the calls are spent", lambda done: [MISSED], {"max_calls": 8}, "8 continuations are spent, max_calls is 8"),
]


@pytest.mark.parametrize(("replies", "settings", "why"), [case[1:] for case in ABSTENTIONS], ids=[case[0] for case in ABSTENTIONS])
def test_it_abstains_where_the_draws_settle_nothing_and_says_why(tmp_path, replies, settings, why):
    row, _ = located(tmp_path, replies, **settings)
    assert (row.first_wrong_step, row.abstained) == (None, True)
    assert row.why.endswith(why)


def test_a_failed_continuation_puts_the_reply_in_quarantine_and_nothing_is_paid_twice(tmp_path):
    def broken(prompt: Prompt) -> list[str]:
        return [] if steps_before(prompt) == 3 else [RIGHT]

    first, second = Scripted(broken), Scripted(lambda prompt: [MISSED] if steps_before(prompt) >= 3 else [RIGHT])
    rows = {"rollout": [WRONG], "problem": [PROBLEM]}
    assert run(locate_rollouts, LocateRolloutsConfig(), first, tmp_path, **rows).quarantined == 1
    healed = run(locate_rollouts, LocateRolloutsConfig(), second, tmp_path, **rows)
    assert from_table(healed.rows, Location)[0].first_wrong_step == 3
    assert {steps_before(p) for p in second.asked} == {3}


def test_a_problem_without_an_answer_or_a_reply_without_a_step_is_rejected(tmp_path):
    proof = Problem(PROBLEM.id, "ours", None, "Prove it.", None, "proof", True)
    empty = Rollout("e" * 16, PROBLEM.id, 1, "", "stop", 0, None)
    for rollout, problem, reason in ((WRONG, proof, "no reference answer"), (empty, PROBLEM, "no steps")):
        outcome = run(locate_rollouts, LocateRolloutsConfig(), Scripted(lambda p: [RIGHT]), tmp_path, rollout=[rollout], problem=[problem])
        assert outcome.rejected == {reason: 1}


def test_a_prompt_that_does_not_end_in_the_steps_is_refused(tmp_path):
    file = tmp_path / "mine.md"
    for text in ("## user\n[[problem]] [[prefix]]", "## user\n[[problem]]\n## assistant\n[[prefix]] Now:", "## user\n[[problem]]"):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ValidationError, match=r"prompt '@.*mine.md'"):
            LocateRolloutsConfig(prompt=f"@{file}")
