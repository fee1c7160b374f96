"""Asking and grading models in the laboratory with the factory's own stages, every call in a ledger."""

import functools
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from models import loop
from models.engine import Engine, Sampling, Ticket
from models.refs import EngineSpec, identity, open_backend
from storage.ids import digest
from storage.ledger import Ledger, open_ledger
from storage.schemas import Problem, Rollout, Verdict, from_table, to_table
from tasks.evaluate import majority_correct
from tasks.nano.world import Split, Task, World
from tasks.nano_problems import as_problem
from tasks.prompts import load_prompt
from tasks.runner import Inputs, run_stage
from tasks.solve import SolveConfig, solve
from tasks.stage import Stage, StageConfig
from tasks.verify import VerifyConfig, verify

MAX_TOKENS = 200


@functools.lru_cache(maxsize=8)
def tasks_of(seed: int, split: Split, count: int, skip: int = 0) -> dict[str, Task]:
    """Problems of the seed's world by id, `skip` of the split's first ones left out."""
    return {as_problem(task).id: task for task in islice(World(seed).tasks(split), skip, skip + count)}


class Asked(NamedTuple):
    """Replies and their verdicts."""

    rollouts: list[Rollout]
    verdicts: list[Verdict]


class Lab:
    """A work folder and its ledger."""

    def __init__(self, work: Path) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.work = work
        self._ledger: Ledger = open_ledger(work / "ledger.sqlite")

    def run(self, stage: Stage, config: StageConfig, model: Path, **rows: Sequence[Any]) -> list[Any]:
        """Output rows of a stage that asks `model`, in the order of their ids. Raises StageError, and RuntimeError for quarantined rows."""
        spec = EngineSpec(ref=f"hf:{model.absolute()}")
        backend = open_backend(spec)
        try:
            engine = Engine(
                backend, self._ledger, stream=getattr(config, "stream", "main"), ticket=Ticket("lab", stage.name), concurrency=512
            )
            tables = {name: to_table(given, stage.row_inputs[name]) for name, given in rows.items()}
            outcome = run_stage(stage, config, Inputs(tables=tables, engines={"model": engine}))
        finally:
            loop.run(backend.close())
        if outcome.quarantined:
            raise RuntimeError(f"{outcome.quarantined} rows of {stage.name} in quarantine: {outcome.dropped.to_pylist()[0]}")
        return from_table(outcome.rows, stage.output)

    def ask(self, model: Path, problems: Sequence[Problem], samples: int, temperature: float, stream: str) -> Asked:
        """`samples` verified replies a problem, begun with `Step 1:` as Step-DPO collects them."""
        config = SolveConfig(
            prompt=load_prompt("solve_steps"),
            samples=samples,
            sampling=Sampling(temperature=temperature, max_tokens=MAX_TOKENS),
            stream=stream,
            concurrency=512,
        )
        rollouts = self.run(solve, config, model, problem=problems)
        return Asked(rollouts, verified(rollouts, problems))

    def scores(self, model: Path, problems: Sequence[Problem], samples: int, stream: str) -> dict[str, list[float]]:
        """For each problem, in the order given: greedy (0 or 1), avg (mean over samples at temperature 0.7), maj (majority vote)."""
        greedy = replies_by_problem(self.ask(model, problems, 1, 0.0, "greedy"), problems)
        drawn = replies_by_problem(self.ask(model, problems, samples, 0.7, stream), problems)
        return {
            "greedy": [float(v[0].verdict == "correct") for v in greedy],
            "avg": [sum(v.verdict == "correct" for v in several) / samples for several in drawn],
            "maj": [float(majority_correct(several)) for several in drawn],
        }


def verified(rollouts: Sequence[Rollout], problems: Sequence[Problem]) -> list[Verdict]:
    """The verdict on each reply."""
    tables = {"rollout": to_table(rollouts, Rollout), "problem": to_table(problems, Problem)}
    return from_table(run_stage(verify, VerifyConfig(), Inputs(tables=tables)).rows, Verdict)


def replies_by_problem(asked: Asked, problems: Sequence[Problem]) -> list[list[Verdict]]:
    """The verdicts of each problem in the order its replies were drawn."""
    ordinal = {r.id: r.ordinal for r in asked.rollouts}
    found: dict[str, list[Verdict]] = {p.id: [] for p in problems}
    for verdict in asked.verdicts:
        found[verdict.problem_id].append(verdict)
    return [sorted(several, key=lambda v: ordinal[v.rollout_id]) for several in found.values()]


def model_digest(model: Path) -> str:
    """What replies of the model in a folder are kept under."""
    return digest(identity(EngineSpec(ref=f"hf:{model.absolute()}")).payload(), 16)
