import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.schemas import Problem, Rollout, Solution, Verdict
from tasks.distill import DistillConfig, distill, in_form
from tasks.stage import Rejected

PROBLEM = Problem("a" * 16, "ours", None, "What is 2 + 3?", "5", "integer", True)


def chosen(texts: list[str], verdicts: list[str], **config: object) -> list[Solution | Rejected]:
    rows = [Rollout(f"r{i}", PROBLEM.id, i, t, "stop", len(t.split()), None) for i, t in enumerate(texts)]
    checks = [Verdict(f"v{i}", PROBLEM.id, f"r{i}", v, None, "exact") for i, v in enumerate(verdicts)]  # type: ignore[arg-type]
    return list(distill(PROBLEM, rows[::-1], checks, DistillConfig(**config)))  # type: ignore[arg-type]


def test_only_correct_replies_are_kept_the_shortest_first():
    rows = chosen(["a long way to 5", "5!", "6", "it is 5", "5?"], ["correct", "correct", "wrong", "correct", "unknown"], per_problem=2)
    assert [(r.rollout_id, r.solution, r.n_tokens) for r in rows if isinstance(r, Solution)] == [("r1", "5!", 1), ("r3", "it is 5", 3)]


@pytest.mark.parametrize(("order", "ids"), [("shortest", ["r1", "r2"]), ("longest", ["r0", "r2"]), ("first", ["r0", "r1"])])
def test_the_order_is_settable(order: str, ids: list[str]):
    rows = chosen(["five, five", "5", "five"], ["correct"] * 3, per_problem=2, order=order)
    assert [r.rollout_id for r in rows if isinstance(r, Solution)] == ids


def test_texts_that_differ_in_white_space_count_once_and_the_first_drawn_stands_for_them():
    rows = chosen(["2 + 3\n= 5", "2 + 3 = 5", " 2 + 3 =  5\n"], ["correct"] * 3)
    assert [(r.rollout_id, r.solution) for r in rows if isinstance(r, Solution)] == [("r0", "2 + 3\n= 5")]


def test_the_short_form_is_what_follows_the_reasoning():
    rows = chosen(["<think>2, then 3</think>\nIt is 5.", "<think>let me see: 5", "<think>5</think>  ", "5."], ["correct"] * 4, form="short")
    assert [(r.rollout_id, r.solution) for r in rows if isinstance(r, Solution)] == [("r3", "5."), ("r0", "It is 5.")]


def test_a_problem_without_correct_replies_says_so():
    assert chosen(["6"], ["wrong"]) == [Rejected("no correct reply", "of 1")]
    assert chosen([], []) == [Rejected("no correct reply", "of 0")]


def test_correct_replies_that_are_all_reasoning_have_a_reason_of_their_own():
    (row,) = chosen(["<think>5"], ["correct"], form="short")
    assert isinstance(row, Rejected)
    assert row.reason == "no correct reply in that form"


@given(st.text(alphabet=st.characters(exclude_characters="<"), min_size=1), st.text(alphabet=st.characters(exclude_characters="<")))
def test_the_short_form_needs_no_opening_tag_and_never_holds_the_reasoning(reasoning: str, answer: str):
    for reply in (f"<think>{reasoning}</think>{answer}", f"{reasoning}</think>{answer}"):
        assert in_form(reply, "short") == (answer.strip() or None)
    assert in_form(f"<think>{reasoning}", "short") is None
