import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.schemas import Difficulty, Problem, Rollout, Verdict
from tasks.difficulty import DifficultyConfig, difficulty
from tasks.maths.jeffreys import beta_cdf, jeffreys_interval
from tasks.stage import Rejected

PROBLEM = Problem("a" * 16, "ours", None, "What is 2 + 3?", "5", "integer", True)


def replies(*verdicts: str) -> tuple[list[Verdict], list[Rollout]]:
    rows = [Rollout(f"r{i}", PROBLEM.id, i, "...", "stop", 10 * (i + 1), None) for i in range(len(verdicts))]
    return [Verdict(f"v{i}", PROBLEM.id, f"r{i}", v, None, "exact") for i, v in enumerate(verdicts)], rows  # type: ignore[arg-type]


def test_unknown_replies_are_left_out_of_the_pass_rate_but_not_of_the_mean_length():
    row = difficulty(PROBLEM, *replies("correct", "wrong", "unknown", "wrong", "wrong"), DifficultyConfig())
    assert isinstance(row, Difficulty)
    assert (row.n_replies, row.n_correct, row.pass_rate, row.mean_tokens) == (4, 1, 0.25, 30.0)
    assert row.pass_low < 0.25 < row.pass_high


def test_too_few_verified_replies_are_a_rejection_that_counts_them():
    row = difficulty(PROBLEM, *replies("correct", "unknown", "wrong"), DifficultyConfig(min_replies=3))
    assert row == Rejected("too few replies could be verified", "2 of 3, need 3")
    assert isinstance(difficulty(PROBLEM, [], [], DifficultyConfig()), Rejected)


def test_each_end_of_the_interval_cuts_off_a_fortieth_of_the_posterior():
    for k, n in [(1, 7), (3, 8), (4, 12), (15, 30), (63, 64), (2, 1000)]:
        low, high = jeffreys_interval(k, n)
        below = mpmath.betainc(k + 0.5, n - k + 0.5, 0, low, regularized=True)
        above = mpmath.betainc(k + 0.5, n - k + 0.5, high, 1, regularized=True)
        assert (float(below), float(above)) == pytest.approx((0.025, 0.025), rel=1e-9)


def test_none_and_all_correct_reach_the_border_and_still_say_how_little_is_known():
    assert jeffreys_interval(0, 8) == (0.0, pytest.approx(0.2622, abs=1e-4))
    assert jeffreys_interval(8, 8) == (pytest.approx(0.7378, abs=1e-4), 1.0)


@given(st.integers(1, 300), st.data())
def test_the_interval_holds_the_rate_and_mirrors(n: int, data: st.DataObject):
    k = data.draw(st.integers(0, n))
    low, high = jeffreys_interval(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert jeffreys_interval(n - k, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.001, 0.999))
def test_the_beta_function_agrees_with_mpmath(k: int, m: int, x: float):
    expected = float(mpmath.betainc(k + 0.5, m + 0.5, 0, x, regularized=True))
    assert beta_cdf(k + 0.5, m + 0.5, x) == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_a_hundred_thousand_replies_have_the_normal_interval():
    low, high = jeffreys_interval(50_000, 100_000)
    assert (low, high) == pytest.approx((0.5 - 1.959964 * 0.0015811, 0.5 + 1.959964 * 0.0015811), abs=1e-6)
