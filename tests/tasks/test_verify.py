"""The verify stage: one verdict for every reply that has a reference, a counted reason for every other."""

import pytest

from storage.schemas import Problem, Rollout
from tasks.stage import Rejected
from tasks.verify import GradeInput, VerifyConfig, grade, verify


def problem(answer="12", answer_type="integer"):
    return Problem(id="p", source="s", source_id=None, problem="How many?", answer=answer, answer_type=answer_type, redistributable=True)


def rollout(text, finish_reason="stop"):
    return Rollout(id="r", problem_id="p", ordinal=0, text=text, finish_reason=finish_reason, n_tokens=3, call_id=None)


@pytest.mark.parametrize(
    ("text", "verdict", "answer", "tier"),
    [(r"\boxed{12}", "correct", "12", "exact"), (r"\boxed{13}", "wrong", "13", "exact"), ("no idea", "wrong", None, "none")],
)
def test_a_complete_reply_gets_a_verdict(text, verdict, answer, tier):
    row = verify(rollout(text), problem(), VerifyConfig())
    assert (row.verdict, row.answer, row.tier, row.rollout_id, row.problem_id) == (verdict, answer, tier, "r", "p")


def test_a_reply_that_was_cut_off_is_unknown_even_with_a_box_in_it():
    row = verify(rollout(r"\boxed{12} but wait", "length"), problem(), VerifyConfig())
    assert (row.verdict, row.why, row.answer) == ("unknown", "cut off", None)


def test_a_problem_without_a_reference_is_rejected():
    assert verify(rollout("x"), problem(None, "none"), VerifyConfig()) == Rejected("no reference answer")
    assert verify(rollout("x"), problem("Proof.", "proof"), VerifyConfig()) == Rejected("proofs are not verified")


def test_the_id_depends_on_the_rollout_alone():
    a = verify(rollout(r"\boxed{12}"), problem(), VerifyConfig())
    b = verify(rollout(r"\boxed{13}"), problem(), VerifyConfig(last_number=True))
    assert a.id == b.id


def test_grade_takes_a_reply_or_an_answer():
    assert grade(GradeInput(gold="12", reply=r"so \boxed{12}", id="a"), VerifyConfig()).verdict == "correct"
    assert grade(GradeInput(gold="3 * 4 = 12\n#### 12", answer="12.0"), VerifyConfig()).verdict == "correct"
    assert grade(GradeInput(gold="12", reply="none"), VerifyConfig()).verdict == "wrong"


def test_grade_names_the_row_that_gives_both_or_neither():
    with pytest.raises(ValueError, match=r"row 'x': give exactly one of 'reply' and 'answer'"):
        grade(GradeInput(gold="1", id="x"), VerifyConfig())
