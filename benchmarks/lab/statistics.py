"""Means over seeds with intervals that count both seeds and problems (hierarchical bootstrap: seeds drawn, then problems within each).

With few seeds such intervals are on the narrow side; the standard deviation over seeds is given beside them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000


class Estimate(NamedTuple):
    """A mean over seeds and problems."""

    mean: float
    sd: float
    """Over the seeds' means (ddof 1)."""
    low: float
    """Lower end of the 95 % percentile interval."""
    high: float
    seeds: list[float]
    """Each seed's mean."""

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} ± {100 * self.sd:.1f} ({100 * self.low:.1f} to {100 * self.high:.1f})"


def estimate(scores: Sequence[Sequence[float]], resamples: int = RESAMPLES) -> Estimate:
    """`scores`: for each seed the score of each problem. Raises ValueError for fewer than two seeds."""
    if len(scores) < 2:
        raise ValueError(f"{len(scores)} seeds: a spread over seeds needs two or more")
    rows = [np.asarray(seed, dtype=float) for seed in scores]
    means = [float(row.mean()) for row in rows]
    low, high = np.percentile(_resampled(rows, resamples), [2.5, 97.5])
    return Estimate(float(np.mean(means)), float(np.std(means, ddof=1)), float(low), float(high), means)


def difference(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Estimate:
    """`ours - theirs`, paired by seed and problem: both are resampled together."""
    return estimate([np.subtract(a, b).tolist() for a, b in zip(ours, theirs, strict=True)])


def _resampled(rows: Sequence[np.ndarray], resamples: int) -> np.ndarray:
    """(resamples,) means: seeds drawn with replacement, and for each seed that is drawn its problems anew."""
    random = np.random.default_rng(0)
    total = np.zeros(resamples)
    for drawn in random.integers(len(rows), size=(len(rows), resamples)):
        for number, row in enumerate(rows):
            places = np.flatnonzero(drawn == number)
            values, counts = np.unique(row, return_counts=True)
            total[places] += random.multinomial(len(row), counts / len(row), size=len(places)) @ values / len(row)
    return total / len(rows)
