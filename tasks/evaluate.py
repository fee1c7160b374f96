"""Evaluate: pass@k by the unbiased estimator (Chen et al. 2021, equation 1) and maj@k, with spread over runs and over problems.

A run is k rollouts of every problem, in the order they were drawn: n rollouts give n // k runs, and the standard deviation is
over them (PromptCoT reports it over 8). The interval says what another sample of problems would give. Unknown counts as not correct.
"""

from collections.abc import Iterator, Sequence
from math import comb

import numpy as np
from pydantic import Field

from storage.ids import derived_id
from storage.schemas import Evaluation, Rollout, Verdict
from tasks.maths.vote import vote_key
from tasks.stage import Made, StageConfig, stage


class EvaluateConfig(StageConfig):
    """Which metrics, and how their intervals are drawn."""

    pass_at: tuple[int, ...] = (1, 8)
    """k of each pass@k; every problem needs that many rollouts."""
    maj_at: tuple[int, ...] = (8,)
    """k of each maj@k."""
    resamples: int = Field(10_000, ge=100)
    """Bootstrap samples of the problems."""
    seed: int = 0
    """Seed of the bootstrap."""


@stage(scope="dataset", tools=("numpy",))  # whose generators may draw other resamples in another version (NEP 19)
def evaluate(verdicts: list[Verdict], rollouts: list[Rollout], config: EvaluateConfig) -> Iterator[Made[Evaluation]]:
    """One row a metric. Raises ValueError when there is nothing to evaluate or a problem has fewer rollouts than a k."""
    problems = _in_order(verdicts, rollouts)
    _check(problems, config)
    fewest = min(map(len, problems))
    ids = [v.id for v in verdicts]
    unknown = sum(v.verdict == "unknown" for v in verdicts)
    for k in config.pass_at:
        values = [pass_at_k(len(replies), sum(map(_correct, replies)), k) for replies in problems]
        runs = [[float(any(map(_correct, run))) for run in _runs(replies, k, fewest)] for replies in problems]
        yield Made(_row(f"pass@{k}", np.array(values), np.array(runs), unknown, config), of=ids)
    for k in config.maj_at:
        won = np.array([[float(majority_correct(run)) for run in _runs(replies, k, fewest)] for replies in problems])
        yield Made(_row(f"maj@{k}", won.mean(axis=1), won, unknown, config), of=ids)


def _in_order(verdicts: list[Verdict], rollouts: list[Rollout]) -> list[list[Verdict]]:
    """The verdicts of each problem in the order its rollouts were drawn."""
    drawn = {r.id: r.ordinal for r in rollouts}
    by_problem: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.rollout_id not in drawn:
            missing = f"its rollout {verdict.rollout_id} is not among the {len(drawn)} given"
            raise ValueError(f"verdict {verdict.id}: {missing}: use versions made together")
        by_problem.setdefault(verdict.problem_id, []).append(verdict)
    return [sorted(by_problem[p], key=lambda v: drawn[v.rollout_id]) for p in sorted(by_problem)]


def _check(problems: list[list[Verdict]], config: EvaluateConfig) -> None:
    if not problems:
        raise ValueError("nothing to evaluate: there is no verdict; did every row end in quarantine?")
    fewest = min(problems, key=len)
    for metric, k in [("pass", k) for k in config.pass_at] + [("maj", k) for k in config.maj_at]:
        if not 1 <= k <= len(fewest):
            raise ValueError(
                f"{metric}@{k} needs {k} rollouts a problem, problem {fewest[0].problem_id} has {len(fewest)}: "
                f"raise solve.samples or set evaluate.{metric}_at to values from 1 to {len(fewest)}"
            )


def _correct(verdict: Verdict) -> bool:
    return verdict.verdict == "correct"


def _runs(replies: Sequence[Verdict], k: int, fewest: int) -> list[Sequence[Verdict]]:
    return [replies[start : start + k] for start in range(0, fewest // k * k, k)]


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Probability that k of n rollouts, drawn without replacement, hold one of the `correct` ones."""
    return 1 - comb(n - correct, k) / comb(n, k)


def majority_correct(run: Sequence[Verdict]) -> bool:
    """Whether the most frequent answer is right; of equally frequent ones the one drawn first stands. No answers: not right."""
    votes: dict[str, list[Verdict]] = {}
    for verdict in run:
        if verdict.answer is not None:
            votes.setdefault(vote_key(verdict.answer), []).append(verdict)
    return bool(votes) and _correct(max(votes.values(), key=len)[0])


def _row(metric: str, values: np.ndarray, runs: np.ndarray, unknown: int, config: EvaluateConfig) -> Evaluation:
    """`values`: (problems,) mean of each problem; `runs`: (problems, runs) outcome of each run."""
    low, high = bootstrap_interval(values, config.resamples, config.seed)
    return Evaluation(
        id=derived_id("evaluate", metric),
        metric=metric,
        value=float(values.mean()),
        sd=float(runs.mean(axis=0).std(ddof=1)) if runs.shape[1] > 1 else None,
        low=low,
        high=high,
        n_problems=len(values),
        n_runs=runs.shape[1],
        n_unknown=unknown,
    )


def bootstrap_interval(values: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean. Few values are different, so counts of each are drawn in place of single problems."""
    different, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=resamples)
    low, high = np.percentile(drawn @ different / len(values), [2.5, 97.5])
    return float(low), float(high)
