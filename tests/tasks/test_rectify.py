"""Error collection and rectification: which wrong replies are kept, and what goes on from their right steps."""

import pytest

from storage.ids import derived_id
from storage.schemas import Fault, Mark, Problem, Rollout, Verdict, from_table
from tasks.rectify import RectifyConfig, rectify
from tasks.stage import Rejected
from tasks.wrong_replies import WrongRepliesConfig, wrong_replies
from tests.scripted import Scripted, run

PROBLEM = Problem("a" * 16, "ours", None, "Eva has 3 figs and gets 4. How many?", "7", "integer", True)
WRONG = Rollout("r" * 16, PROBLEM.id, 0, "Step 1: Has 3\nStep 2: Sum 3+4=8\nStep 3: So \\boxed{8}", "stop", 9, None)
FAULT = Fault("f" * 16, PROBLEM.id, WRONG.id, 2, "any_two", [])


def continued(tmp_path, backend, **settings):
    return run(rectify, RectifyConfig(**settings), backend, tmp_path, fault=[FAULT], problem=[PROBLEM], replies=[WRONG])


def test_continuations_are_whole_replies_that_begin_with_the_right_steps_and_know_their_fault(tmp_path):
    backend = Scripted(lambda prompt: [" Sum 3+4=7\nAnswer: \\boxed{7}", " Sum 3+4=9\nAnswer: \\boxed{9}"])
    rows = sorted(from_table(continued(tmp_path, backend, samples=3).rows, Rollout), key=lambda r: r.ordinal)
    assert {p.prefill for p in backend.asked} == {"Step 1: Has 3\nStep 2:"}
    assert [r.text for r in rows] == [f"Step 1: Has 3\nStep 2: Sum 3+4={n}\nAnswer: \\boxed{{{n}}}" for n in (7, 9, 7)]
    assert [r.id for r in rows] == [derived_id("rectify", FAULT.id, ordinal=i) for i in range(3)]
    assert all(r.parent_id == FAULT.id and r.call_id for r in rows)


def test_the_numbers_are_the_published_ones_unless_told_otherwise():
    config = RectifyConfig()
    assert (config.samples, config.sampling.temperature, config.sampling.top_p, config.sampling.max_tokens) == (20, 0.8, 0.95, 2048)


def test_more_continuations_later_ask_only_for_the_new_ones(tmp_path):
    first, second = Scripted(lambda prompt: [" a"]), Scripted(lambda prompt: [" b"])
    continued(tmp_path, first, samples=2)
    rows = from_table(continued(tmp_path, second, samples=5).rows, Rollout)
    assert len(second.asked) == 3
    assert sorted(r.text[-1] for r in rows) == ["a", "a", "b", "b", "b"]


def test_a_failed_continuation_puts_the_fault_in_quarantine(tmp_path):
    assert continued(tmp_path, Scripted(lambda prompt: [])).quarantined == 1


def kept(*replies: tuple[str, str, str | None], marks: list[Mark] | None = None, **settings):
    """What is kept of (text, verdict, answer) replies."""
    rollouts = [Rollout(f"r{i}", PROBLEM.id, i, text, "stop", 9, None) for i, (text, _, _) in enumerate(replies)]
    verdicts = [Verdict(f"v{i}", PROBLEM.id, f"r{i}", verdict, answer, "exact") for i, (_, verdict, answer) in enumerate(replies)]
    return list(wrong_replies(PROBLEM, rollouts[::-1], verdicts, marks, WrongRepliesConfig(**settings)))


A, B, C = ("a", "wrong", "8"), ("b", "wrong", "9"), ("c", "correct", "7")


def test_wrong_replies_are_kept_as_they_are_in_the_order_they_were_drawn():
    rows = kept(A, C, B, ("d", "wrong", "1"))
    assert [(r.id, r.text) for r in rows] == [("r0", "a"), ("r2", "b")]


def test_the_same_text_counts_once():
    assert [r.text for r in kept(A, ("a ", "wrong", "8"), B)] == ["a", "b"]


@pytest.mark.parametrize(
    ("replies", "settings", "reason"),
    [
        ([C, C], {}, "no wrong reply"),
        ([("cut", "unknown", None)], {}, "no reply could be verified"),
        ([("no box", "wrong", None), C], {}, "no wrong reply"),
        ([A, A], {"min_pass_rate": 0.1}, "pass rate outside the window"),
        ([A, C, C, C], {"max_pass_rate": 0.6}, "pass rate outside the window"),
    ],
)
def test_a_problem_without_a_usable_error_is_rejected_with_its_reason(replies, settings, reason):
    [row] = kept(*replies, **settings)
    assert isinstance(row, Rejected) and row.reason == reason


def test_unknown_verdicts_do_not_count_in_the_pass_rate():
    assert [r.text for r in kept(A, C, ("cut", "unknown", None), min_pass_rate=0.5, max_pass_rate=0.5)] == ["a"]


@pytest.mark.parametrize("contaminated", [True, False])
def test_a_contaminated_problem_costs_no_more_calls(contaminated):
    [row] = kept(A, C, marks=[Mark("m", PROBLEM.id, PROBLEM.id, contaminated, "problem", "exact", "held_out", "7", 1.0)])
    assert isinstance(row, Rejected) == contaminated
