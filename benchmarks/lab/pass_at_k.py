"""pass@k and maj@k of the base models for k = 1 to 32: how much there is to gain by choosing among samples, and how much a vote gains."""

import functools
from collections.abc import Sequence
from pathlib import Path

from benchmarks.lab.bases import base
from benchmarks.lab.cells import Cells
from benchmarks.lab.play import Lab, model_digest, replies_by_problem, tasks_of
from benchmarks.lab.plot import Line, plot
from benchmarks.lab.statistics import Estimate, difference, estimate
from tasks.evaluate import majority_correct, pass_at_k
from tasks.nano_problems import as_problem

PROBLEMS, SAMPLES, TEMPERATURE = 100, 32, 1.0
KS = (1, 2, 4, 8, 16, 32)

Scores = dict[str, list[list[float]]]
"""pass and maj: for each k of KS the score of each problem."""


def measure(lab: Lab, model: Path, seed: int) -> Scores:
    """pass@k by the unbiased estimator; maj@k as the mean over the disjoint groups of k replies, in the order they were drawn."""
    problems = [as_problem(t) for t in tasks_of(seed, "test", PROBLEMS).values()]
    replies = replies_by_problem(lab.ask(model, problems, SAMPLES, TEMPERATURE, f"pass-at-k-{seed}"), problems)
    correct = [sum(v.verdict == "correct" for v in several) for several in replies]
    groups = {k: [[several[i : i + k] for i in range(0, SAMPLES, k)] for several in replies] for k in KS}
    return {
        "pass": [[pass_at_k(SAMPLES, c, k) for c in correct] for k in KS],
        "maj": [[sum(map(majority_correct, runs)) / len(runs) for runs in groups[k]] for k in KS],
    }


def run(work: Path, seeds: Sequence[int], plots: Path) -> None:
    """Do what is missing, then print the table and write the plot."""
    lab, cells = Lab(work), Cells(work / "pass-at-k")
    found: list[Scores] = []
    for seed in seeds:
        model = base(work, seed)
        decides = [PROBLEMS, SAMPLES, TEMPERATURE, model_digest(model)]
        found.append(cells.get(f"scores-{seed}", decides, functools.partial(measure, lab, model, seed)))
    table = {name: [estimate([scores[name][i] for scores in found]) for i in range(len(KS))] for name in ("pass", "maj")}
    print("\n| k | pass@k | maj@k | maj@k - pass@1 |\n|---|---|---|---|")
    for i, k in enumerate(KS):
        gain = difference([s["maj"][i] for s in found], [s["pass"][0] for s in found])
        print(f"| {k} | {table['pass'][i]} | {table['maj'][i]} | {gain} |")
    title = f"nano solvers, {len(seeds)} seeds x {PROBLEMS} problems, temperature {TEMPERATURE:g}"
    plot(plots / "2026-11-20-pass-at-k.svg", title, "k", "accuracy", [_line(f"{name}@k", table[name]) for name in table], log_x=True)


def _line(name: str, values: Sequence[Estimate]) -> Line:
    return Line(name, KS, [v.mean for v in values], [v.low for v in values], [v.high for v in values])
