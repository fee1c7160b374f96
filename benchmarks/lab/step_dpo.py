"""Does Step-DPO beat DPO at equal pairs, and what does the likelihood term do? (Step-DPO, tables 3 and 4, figure 2, on nano models.)

Each arm trains on the same problems and pairs of a seed, at the learning rate that was best for it on validation problems of one seed.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmarks.lab.bases import base
from benchmarks.lab.cells import Cells
from benchmarks.lab.pairs import CONTINUATIONS, SAMPLES, make_pairs
from benchmarks.lab.play import Lab, model_digest, tasks_of
from benchmarks.lab.plot import Line, plot
from benchmarks.lab.statistics import difference, estimate
from benchmarks.lab.training import ARMS, BATCH, BETA, EPOCHS, TRAP, Arm, train_arm
from storage.schemas import StepPair
from tasks.nano_problems import as_problem

SWEEP_SEED = 0
METRICS = ("greedy", "avg", "maj")
Scored = Literal["validation", "test"]
REVISION = 1
"""Raised when the code changes what a finished cell would hold."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large the experiment is."""

    problems: int = 1_300
    """Training problems asked."""
    skip: int = 33_600
    """Those before them, on which the base was trained."""
    pairs: int = 448
    """Pairs that every arm of a seed trains on."""
    held_out: int = 48
    """Pairs of other problems, for the reward curves."""
    test: int = 200
    validation: int = 150
    draws: int = 4
    """Replies a problem at temperature 0.7, beside the greedy one."""
    rates: tuple[float, ...] = (3e-5, 1e-4, 3e-4)
    """Learning rates that each arm is tried with."""


class SeedPairs(NamedTuple):
    """What the arms of one seed train on."""

    train: list[StepPair]
    reworded: list[StepPair]
    held_out: list[StepPair]
    counts: dict[str, int]


class Experiment:
    """The cells of the experiment in a work folder."""

    def __init__(self, work: Path, size: Size = Size(), arms: Sequence[Arm] = ARMS) -> None:
        self.work = work
        self.size = size
        self.arms = arms
        self.lab = Lab(work)
        self.cells = Cells(work / "step-dpo")

    def pairs(self, seed: int) -> SeedPairs:
        """The pairs of a seed: the first `size.pairs` train, the next `size.held_out` give the reward curves."""
        found = self._found(seed)
        own, other = ([StepPair(**row) for row in found[name]] for name in ("pairs", "reworded"))
        train, all_in_all = self.size.pairs, self.size.pairs + self.size.held_out
        if len(own) < all_in_all:
            raise ValueError(f"seed {seed} gives {len(own)} pairs, {all_in_all} are needed: raise Size.problems")
        return SeedPairs(own[:train], other[:train], own[train:all_in_all], found["counts"])

    def _found(self, seed: int) -> dict[str, Any]:
        return self._cell(
            f"pairs-{seed}", seed, [self.size.problems, self.size.skip, SAMPLES, CONTINUATIONS], lambda: self._make_pairs(seed)
        )

    def _make_pairs(self, seed: int) -> dict[str, Any]:
        tasks = tasks_of(seed, "train", self.size.problems, self.size.skip)
        made = make_pairs(self.lab, base(self.work, seed), [as_problem(t) for t in tasks.values()], tasks)
        rows = {name: [dataclasses.asdict(row) for row in getattr(made, name)] for name in ("pairs", "reworded", "right")}
        return {**rows, "counts": made.counts}

    def right_replies(self, seed: int) -> list[tuple[str, str]]:
        """(statement, reply) of right replies of the base that were collected on the way, one a problem at most."""
        statements = {as_problem(t).id: t.statement for t in tasks_of(seed, "train", self.size.problems, self.size.skip).values()}
        return [(statements[row["problem_id"]], row["text"]) for row in self._found(seed)["right"]]

    def trained(self, seed: int, arm: Arm, lr: float) -> Path:
        """The model of an arm; its curves are in the cell `curve`."""
        self.curve(seed, arm, lr)
        return self._folder(seed, arm, lr)

    def curve(self, seed: int, arm: Arm, lr: float) -> list[dict[str, float]]:
        """The figures of each step of a training."""
        return self._cell(f"curve-{seed}-{_slug(arm)}-{lr:g}", seed, self._decides(arm, lr), lambda: self._train(seed, arm, lr))

    def _train(self, seed: int, arm: Arm, lr: float) -> list[dict[str, float]]:
        pairs = self.pairs(seed)
        ended = [dataclasses.replace(pair, chosen_ends=True, rejected_ends=True) for pair in pairs.train]
        rows = {"own": pairs.train, "reworded": pairs.reworded, "ended": ended}[arm.winners]
        print(f"seed {seed}: training {arm.name} at {lr:g}", flush=True)
        return train_arm(arm, lr, seed, base(self.work, seed), rows, pairs.held_out, self._folder(seed, arm, lr))

    def _folder(self, seed: int, arm: Arm, lr: float) -> Path:
        return self.cells.folder / "models" / f"{seed}-{_slug(arm)}-{lr:g}"

    def scores(self, seed: int, model: Path, split: Scored) -> dict[str, list[float]]:
        """Scores of a model on problems that nothing was trained on: `validation` chooses the rates, `test` is reported."""
        problems = [as_problem(t) for t in tasks_of(seed, split, getattr(self.size, split)).values()]
        return self.lab.scores(model, problems, self.size.draws, f"{split}-{seed}")

    def arm_scores(self, seed: int, arm: Arm, lr: float, split: Scored) -> dict[str, list[float]]:
        """Scores of an arm's model."""
        decides = [self._decides(arm, lr), getattr(self.size, split), self.size.draws]
        name = f"{split}-{seed}-{_slug(arm)}-{lr:g}"
        return self._cell(name, seed, decides, lambda: self.scores(seed, self.trained(seed, arm, lr), split))

    def base_scores(self, seed: int) -> dict[str, list[float]]:
        """Scores of the base on the test problems."""
        decides = ["base", self.size.test, self.size.draws]
        return self._cell(f"test-{seed}-base", seed, decides, lambda: self.scores(seed, base(self.work, seed), "test"))

    def sweep(self) -> dict[str, dict[float, float]]:
        """Arm -> rate -> mean of greedy and sampled accuracy on the validation problems of the sweep's seed."""
        return {arm.name: {lr: self._validated(arm, lr) for lr in self.size.rates} for arm in self.arms}

    def _validated(self, arm: Arm, lr: float) -> float:
        scores = self.arm_scores(SWEEP_SEED, arm, lr, "validation")
        return sum(sum(scores[name]) / self.size.validation for name in ("greedy", "avg")) / 2

    def _decides(self, arm: Arm, lr: float) -> Any:
        size = self.size
        rows = [size.problems, size.skip, size.pairs, size.held_out, SAMPLES, CONTINUATIONS]
        return [dataclasses.asdict(arm), lr, *rows, BATCH, EPOCHS, BETA]

    def _cell(self, name: str, seed: int, decides: Any, make: Callable[[], Any]) -> Any:
        return self.cells.get(name, [REVISION, model_digest(base(self.work, seed)), decides], make)


def _slug(arm: Arm) -> str:
    return "".join(c if c.isalnum() else "-" for c in arm.name.lower())


def run(work: Path, seeds: Sequence[int], plots: Path, size: Size = Size(), arms: Sequence[Arm] = ARMS) -> None:
    """Do what is missing, then print the tables (two seeds or more) and write the plots."""
    experiment = Experiment(work, size, arms)
    sweep = experiment.sweep()
    best = {name: max(rates, key=lambda lr: rates[lr]) for name, rates in sweep.items()}
    print_sweep(sweep, best)
    scores = {"SFT base": [experiment.base_scores(seed) for seed in seeds]}
    scores |= {arm.name: [experiment.arm_scores(seed, arm, best[arm.name], "test") for seed in seeds] for arm in arms}
    if "Step-DPO + NLL" in best:
        print_trap(experiment, best["Step-DPO + NLL"])
    print("\npairs:", *(f"seed {seed}: {experiment.pairs(seed).counts}" for seed in seeds), sep="\n")
    if len(seeds) < 2:
        return
    print_results(scores)
    print_differences(scores)
    curves = {arm: [experiment.curve(seed, arm, best[arm.name]) for seed in seeds] for arm in arms if arm.method == "dpo"}
    print_rewards(curves)
    plot_curves(curves, plots)


Scores = dict[str, list[dict[str, list[float]]]]
"""Arm -> for each seed: metric -> score of each problem."""


def print_sweep(sweep: dict[str, dict[float, float]], best: dict[str, float]) -> None:
    rates = next(iter(sweep.values()))
    print(f"\n| arm, validation of seed {SWEEP_SEED} | " + " | ".join(f"{lr:g}" for lr in rates) + " | chosen |")
    print("|---" * (len(rates) + 2) + "|")
    for name, rates in sweep.items():
        print(f"| {name} | " + " | ".join(f"{100 * value:.1f}" for value in rates.values()) + f" | {best[name]:g} |")


def print_trap(experiment: Experiment, lr: float) -> None:
    """What an end token on every step does, on the sweep's seed."""
    found = experiment.arm_scores(SWEEP_SEED, TRAP, lr, "validation")
    shares = ", ".join(f"{metric} {100 * sum(found[metric]) / len(found[metric]):.1f}" for metric in ("greedy", "avg"))
    print(f"\n{TRAP.name}, seed {SWEEP_SEED}, validation, at {lr:g}: {shares}")


def print_results(scores: Scores) -> None:
    print("\n| arm | " + " | ".join(METRICS) + " |\n|---" + "|---" * len(METRICS) + "|")
    for name, seeds in scores.items():
        print(f"| {name} | " + " | ".join(str(estimate([s[m] for s in seeds])) for m in METRICS) + " |")


COMPARED = (
    ("Step-DPO", "DPO"),
    ("Step-DPO + NLL", "DPO + NLL"),
    ("Step-DPO + NLL", "Step-DPO"),
    ("DPO + NLL", "DPO"),
    ("Step-DPO", "SFT base"),
    ("DPO", "SFT base"),
    ("Step-DPO + NLL", "SFT on winning steps"),
    ("Step-DPO + NLL", "rejection-sampling SFT"),
    ("DPO + NLL", "rejection-sampling SFT"),
    ("Step-DPO", "Step-DPO, reworded winners"),
)


def print_differences(scores: Scores) -> None:
    print("\n| difference, paired by seed and problem | greedy | avg | seeds in which it is above 0 (greedy, avg) |\n|---|---|---|---|")
    for ours, theirs in COMPARED:
        if not {ours, theirs} <= set(scores):
            continue
        found = [difference([s[m] for s in scores[ours]], [s[m] for s in scores[theirs]]) for m in ("greedy", "avg")]
        above = ", ".join(f"{sum(value > 0 for value in f.seeds)} of {len(f.seeds)}" for f in found)
        print(f"| {ours} - {theirs} | {found[0]} | {found[1]} | {above} |")


Curves = dict[Arm, list[list[dict[str, float]]]]


def held_out(curves: list[list[dict[str, float]]], figure: str) -> tuple[list[float], list[float]]:
    """(steps, mean over seeds) of a figure on the held-out pairs."""
    rows = [{entry["step"]: entry[figure] for entry in curve if figure in entry} for curve in curves]
    steps = sorted(set.intersection(*(set(row) for row in rows)) - {0.0})
    return steps, [sum(row[step] for row in rows) / len(rows) for step in steps]


def print_rewards(curves: Curves) -> None:
    print("\n| arm | held-out pairs: reward accuracy, first and last | margin, first and last |\n|---|---|---|")
    for arm, seeds in curves.items():
        accuracy, margin = (held_out(seeds, f"held_out_{figure}")[1] for figure in ("accuracy", "margin"))
        print(f"| {arm.name} | {accuracy[0]:.2f}, {accuracy[-1]:.2f} | {margin[0]:.2f}, {margin[-1]:.2f} |")


def plot_curves(curves: Curves, plots: Path) -> None:
    """Reward accuracy and margin on held-out pairs over the steps (figure 2)."""
    for figure, label in (("accuracy", "share of pairs"), ("margin", "reward margin")):
        lines = [Line(arm.name, *held_out(seeds, f"held_out_{figure}")) for arm, seeds in curves.items()]
        title = f"Reward {figure} on held-out pairs, mean of seeds"
        plot(plots / f"2026-11-20-step-dpo-{figure}.svg", title, "optimizer steps", label, lines)
