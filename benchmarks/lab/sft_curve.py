"""SFT learning curves of the nano solver: accuracy against worked problems seen from scratch, and against rows of own right replies."""

import functools
from collections.abc import Sequence
from pathlib import Path

from benchmarks.lab.bases import MARKS, base, samples_seen, snapshot
from benchmarks.lab.cells import Cells
from benchmarks.lab.play import Lab, model_digest, tasks_of
from benchmarks.lab.plot import Line, plot
from benchmarks.lab.statistics import Estimate, difference, estimate
from benchmarks.lab.step_dpo import Experiment
from benchmarks.lab.training import BATCH, EPOCHS, train_replies
from tasks.nano.roles.solver import Recipe
from tasks.nano_problems import as_problem

ROWS = (100, 400)
LR = 1e-4
SNAPSHOT_PROBLEMS = 200


def run(work: Path, seeds: Sequence[int], plots: Path) -> None:
    """Do what is missing, then print the tables and write the plots."""
    cells, experiment = Cells(work / "sft-curve"), Experiment(work)
    seen = [samples_seen(mark) for mark in MARKS] + [Recipe().samples]
    scratch = [[_from_scratch(cells, experiment.lab, work, seed, mark) for mark in (*MARKS, None)] for seed in seeds]
    _report("worked problems seen", seen, scratch, plots / "2026-11-20-sft-curve-scratch.svg")
    rows = [0, *ROWS]
    greedy, avg = ([_own(cells, experiment, seed, metric) for seed in seeds] for metric in ("greedy", "avg"))
    _report("own right replies", rows, greedy, plots / "2026-11-20-sft-curve-own.svg")
    _report("own right replies (mean of 4 draws at 0.7)", rows, avg, plots / "2026-11-20-sft-curve-own-sampled.svg")


def _from_scratch(cells: Cells, lab: Lab, work: Path, seed: int, mark: int | None) -> list[float]:
    """Greedy score of each problem after `mark` steps, or after all."""
    base(work, seed)
    model = snapshot(work, seed, mark) if mark else base(work, seed)
    problems = [as_problem(t) for t in tasks_of(seed, "test", SNAPSHOT_PROBLEMS).values()]

    def make() -> list[float]:
        right = {v.problem_id: float(v.verdict == "correct") for v in lab.ask(model, problems, 1, 0.0, "greedy").verdicts}
        return [right[p.id] for p in problems]

    return cells.get(f"scratch-{seed}-{mark or 'all'}", [SNAPSHOT_PROBLEMS, model_digest(model)], make)


def _own(cells: Cells, experiment: Experiment, seed: int, metric: str) -> list[list[float]]:
    """For 0 and each of ROWS: the score of each test problem after training on so many own right replies."""
    start = base(experiment.work, seed)
    size = experiment.size
    decides = [model_digest(start), LR, BATCH, EPOCHS, size.problems, size.skip, size.test, size.draws]
    out = [experiment.base_scores(seed)[metric]]
    for count in ROWS:
        found = cells.get(f"own-{seed}-{count}", decides, functools.partial(_train_and_score, experiment, seed, count))
        out.append(found[metric])
    return out


def _train_and_score(experiment: Experiment, seed: int, count: int) -> dict[str, list[float]]:
    rows = experiment.right_replies(seed)
    if len(rows) < count:
        raise ValueError(f"seed {seed} has {len(rows)} right replies, {count} are wanted: raise Size.problems")
    model = train_replies(rows[:count], LR, seed, base(experiment.work, seed), experiment.work / "sft-curve" / "models" / f"{seed}-{count}")
    return experiment.scores(seed, model, "test")


def _report(what: str, x: Sequence[int], scores: Sequence[Sequence[Sequence[float]]], file: Path) -> None:
    """`scores`: for each seed, for each x, the score of each problem."""
    estimates = [estimate([seed[i] for seed in scores]) for i in range(len(x))]
    print(f"\n| {what} | accuracy | against the first row |\n|---|---|---|")
    for i, (n, found) in enumerate(zip(x, estimates, strict=True)):
        print(f"| {n:,} | {found} | {difference([s[i] for s in scores], [s[0] for s in scores]) if i else ''} |")
    plot(file, f"nano solver, {len(scores)} seeds", what, "accuracy", [_line(x, estimates)])


def _line(x: Sequence[int], values: Sequence[Estimate]) -> Line:
    return Line("mean, 95 % interval", x, [v.mean for v in values], [v.low for v in values], [v.high for v in values])
