from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.schemas import Evaluation, Rollout, Verdict, from_table, to_table
from tasks.evaluate import EvaluateConfig, bootstrap_interval, evaluate, majority_correct, pass_at_k
from tasks.runner import Inputs, run_stage

NAMES = {"c": "correct", "w": "wrong", "u": "unknown"}


def verdict(problem: str, ordinal: int, name: str, answer: str | None = None) -> Verdict:
    return Verdict(f"v-{problem}-{ordinal}", problem, f"r-{problem}-{ordinal}", NAMES[name], answer, "exact")  # type: ignore[arg-type]


def scored(replies: dict[str, str | list[tuple[str, str | None]]], **config: object) -> dict[str, Evaluation]:
    """Evaluation rows by metric; `replies` maps a problem to its verdicts' first letters in the order drawn."""
    verdicts = [verdict(p, i, r[0], r[1] if isinstance(r, tuple) else None) for p, rs in replies.items() for i, r in enumerate(rs)]
    rollouts = [Rollout(v.rollout_id, v.problem_id, int(v.id.split("-")[2]), "...", "stop", 1, None) for v in verdicts]
    tables = {"verdicts": to_table(verdicts, Verdict), "rollouts": to_table(rollouts, Rollout)}
    outcome = run_stage(evaluate, EvaluateConfig(**config), Inputs(tables=tables))  # type: ignore[arg-type]
    assert outcome.parents.keys() == {v.id for v in verdicts}
    return {row.metric: row for row in from_table(outcome.rows, Evaluation)}


def test_pass_at_k_is_the_mean_over_problems_and_its_spread_is_over_runs():
    rows = scored({"a": "cwcw", "b": "wwww", "c": "ccwu"}, pass_at=(1, 2, 4), maj_at=())
    one, two, four = rows["pass@1"], rows["pass@2"], rows["pass@4"]
    assert one.value == pytest.approx((2 + 0 + 2) / 12)
    assert (one.n_problems, one.n_runs, one.n_unknown) == (3, 4, 1)
    assert one.sd == pytest.approx(np.std([2 / 3, 1 / 3, 1 / 3, 0], ddof=1))
    assert two.value == pytest.approx((5 / 6 + 0 + 5 / 6) / 3)
    assert (two.n_runs, two.sd) == (2, pytest.approx(np.std([2 / 3, 1 / 3], ddof=1)))
    assert (four.value, four.sd, four.n_runs) == (pytest.approx(2 / 3), None, 1)


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_the_estimator_is_the_share_of_all_choices_of_k_rollouts_that_hold_a_correct_one(replies: list[bool], data: st.DataObject):
    k = data.draw(st.integers(1, len(replies)))
    choices = list(combinations(replies, k))
    assert pass_at_k(len(replies), sum(replies), k) == pytest.approx(sum(map(any, choices)) / len(choices))


def test_the_majority_votes_by_value_not_by_spelling():
    run = [verdict("a", 0, "w", "3"), verdict("a", 1, "c", "0.5"), verdict("a", 2, "w", "3"), verdict("a", 3, "c", "1/2")]
    assert not majority_correct(run)  # two each: the one drawn first stands
    assert majority_correct([*run, verdict("a", 4, "c", "\\frac{1}{2}")])
    assert majority_correct(run[1:])


def test_replies_without_an_answer_do_not_vote_and_none_at_all_is_not_right():
    assert majority_correct([verdict("a", 0, "u"), verdict("a", 1, "u"), verdict("a", 2, "c", "5")])
    assert not majority_correct([verdict("a", 0, "u")])


def test_maj_at_k_is_the_mean_over_runs_of_k():
    right, wrong = ("c", "5"), ("w", "6")
    rows = scored({"a": [right, right, wrong] * 2, "b": [right, wrong, wrong, right, right, right]}, pass_at=(1,), maj_at=(3, 6))
    assert rows["maj@3"].value == pytest.approx(0.75)
    assert rows["maj@3"].sd == pytest.approx(np.std([0.5, 1.0], ddof=1))
    assert (rows["maj@6"].value, rows["maj@6"].sd) == (1.0, None)


def test_the_interval_has_the_width_of_the_binomial_and_is_the_same_every_time():
    values = np.array([1.0] * 60 + [0.0] * 40)
    low, high = bootstrap_interval(values, 20_000, 7)
    assert (low, high) == pytest.approx((0.6 - 1.96 * 0.049, 0.6 + 1.96 * 0.049), abs=0.011)
    assert bootstrap_interval(values[::-1], 20_000, 7) == (low, high)
    assert bootstrap_interval(np.ones(5), 100, 0) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("config", "what"),
    [({"pass_at": (4,)}, r"pass@4 .* problem b has 2"), ({"pass_at": (0,)}, "pass@0"), ({"pass_at": (1,)}, "maj@8")],
)
def test_a_k_that_some_problem_has_too_few_rollouts_for_is_an_error_that_names_it(config: dict[str, object], what: str):
    with pytest.raises(ValueError, match=what):
        scored({"a": "cwcw", "b": "ww"}, **config)


def test_no_verdicts_are_an_error_and_so_is_a_verdict_without_its_rollout():
    with pytest.raises(ValueError, match="nothing to evaluate"):
        scored({})
    with pytest.raises(ValueError, match="its rollout r-a-0 is not among the 0 given"):
        list(evaluate([verdict("a", 0, "c")], [], EvaluateConfig()))
