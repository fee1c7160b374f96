"""What is measured of locators and pairs: agreement with intervals, and length bias."""

import pytest

from storage.schemas import Location, StepPair
from tasks.agreement import agreement
from tasks.maths.jeffreys import jeffreys_interval
from tasks.pair_lengths import pair_lengths


def said(locator: str, *steps: int | str | None) -> list[Location]:
    """A locator on replies r0, r1, ...: a step, "none", "abstains", or None for no row."""
    rows = []
    for i, step in enumerate(steps):
        if step is not None:
            number = step if isinstance(step, int) else None
            rows.append(Location(f"{locator}{i}", f"p{i}", f"r{i}", locator, number, step == "abstains", 5, ""))
    return rows


def test_agreement_is_over_the_replies_that_both_locators_decided():
    symbolic, judge = said("symbolic", 1, 2, "none", "abstains"), said("judge", 1, 3, "none", 2)
    rollouts = said("rollouts", "abstains", None, None, 2)
    rows = {made.rows.metric: made.rows for made in agreement(symbolic, judge, rollouts)}
    values = {metric: (row.value, row.n_problems, row.n_unknown) for metric, row in rows.items()}
    assert values == {
        "decides judge": (1.0, 4, 0),
        "decides rollouts": (0.25, 4, 0),
        "decides symbolic": (0.75, 4, 0),
        "agree judge-rollouts": (1.0, 1, 3),
        "agree judge-symbolic": (pytest.approx(2 / 3), 3, 1),
    }
    assert (rows["agree judge-symbolic"].low, rows["agree judge-symbolic"].high) == jeffreys_interval(2, 3)


def test_every_reply_is_accounted_for_in_every_metric():
    symbolic = said("symbolic", 1, 2)
    assert all(made.of == ["symbolic0", "symbolic1"] for made in agreement(symbolic, None, None))


def pair(i: int, chosen: str, rejected: str, ends: bool) -> StepPair:
    return StepPair(f"p{i}", "q", "r", "f", "text", "5", 1, "Step 1:", chosen, rejected, ends, False, chosen + " and so on", rejected)


def test_length_bias_is_the_share_of_pairs_whose_better_step_is_longer():
    pairs = [pair(0, " a longer step", " short", True), pair(1, "  ab ", "cd", False), pair(2, "x", "a long wrong step, on and on", False)]
    values = {made.rows.metric: made.rows.value for made in pair_lengths(pairs)}
    third = pytest.approx(1 / 3)
    assert values == {
        "chosen longer": third,
        "rejected longer": third,
        "full chosen longer": pytest.approx(2 / 3),
        "full rejected longer": third,
        "chosen ends": third,
        "rejected ends": 0.0,
    }


def test_without_pairs_there_is_nothing_to_measure():
    assert list(pair_lengths([])) == []
