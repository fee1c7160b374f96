"""Step pairs of one seed: wrong replies of the base, their first wrong step as the world knows it, right continuations by the base itself.

The exact step is taken so that trainings are compared, not locators (those are measured by themselves). Every pair carries its matched
whole-solution twin, and a winner that the base did not write: the right line in other words (Step-DPO, table 4).
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from benchmarks.lab.play import MAX_TOKENS, Asked, Lab, verified
from models.engine import Sampling
from storage.ids import derived_id
from storage.schemas import Fault, Mark, Problem, Rollout, StepPair, Verdict
from tasks.maths.steps import body, split
from tasks.nano.flawed import first_wrong
from tasks.nano.world import Task
from tasks.rectify import RectifyConfig, rectify
from tasks.stage import ModelFolder, Rejected
from tasks.step_pairs import StepPairsConfig, step_pairs
from tasks.wrong_replies import WrongRepliesConfig, wrong_replies

SAMPLES = 4
CONTINUATIONS = 8


class Made(NamedTuple):
    """The pairs of one seed, at most one a problem, and how many rows each stage left."""

    pairs: list[StepPair]
    reworded: list[StepPair]
    """The same pairs in the same order, with the winner in words that the base does not use."""
    right: list[Rollout]
    """Right replies that were collected on the way, at most one a problem."""
    counts: dict[str, int]


def make_pairs(lab: Lab, base: Path, problems: Sequence[Problem], tasks: dict[str, Task]) -> Made:
    """Collect, locate, rectify, pair."""
    asked = lab.ask(base, problems, SAMPLES, 1.0, "collect")
    wrong = _wrong(problems, asked)
    faults = [fault for reply in wrong if (fault := _fault(reply, tasks[reply.problem_id]))]
    config = RectifyConfig(samples=CONTINUATIONS, sampling=Sampling(temperature=0.8, top_p=0.95, max_tokens=MAX_TOKENS), concurrency=512)
    with_faults = [p for p in problems if p.id in {f.problem_id for f in faults}]
    continued = lab.run(rectify, config, base, fault=faults, problem=with_faults, replies=wrong)
    pairs = _pairs(base, faults, with_faults, wrong, continued, verified(continued, with_faults))
    correct = {v.rollout_id for v in asked.verdicts if v.verdict == "correct"}
    right = {r.problem_id: r for r in reversed(asked.rollouts) if r.id in correct}
    counts = {
        "problems": len(problems),
        "replies": len(asked.rollouts),
        "right replies": len(correct),
        "wrong replies kept": len(wrong),
        "with a first wrong step": len(faults),
        "continuations": len(continued),
        "pairs": len(pairs),
        "pairs whose step ends the solution": sum(p.chosen_ends for p in pairs),
    }
    return Made(pairs, [reworded(p, tasks[p.problem_id]) for p in pairs], list(right.values()), counts)


def _wrong(problems: Sequence[Problem], asked: Asked) -> list[Rollout]:
    """The first wrong reply to each problem that has one."""
    config, found = WrongRepliesConfig(per_problem=1), list[Rollout]()
    for problem in problems:
        rollouts = [r for r in asked.rollouts if r.problem_id == problem.id]
        verdicts = [v for v in asked.verdicts if v.problem_id == problem.id]
        found += [row for row in wrong_replies(problem, rollouts, verdicts, None, config) if isinstance(row, Rollout)]
    return found


def _fault(reply: Rollout, task: Task) -> Fault | None:
    """The first step that says another equation than the world's solution; None where the reply has none, or only has one too many."""
    steps = [body(piece).split("\nAnswer:")[0].strip() for piece in split(reply.text)]
    step = first_wrong(task, steps)
    if step is None or step > len(task.solution.lines):
        return None
    return Fault(derived_id("decide_fault", reply.id), reply.problem_id, reply.id, step, "the world", [])


def _pairs(
    base: Path,
    faults: Sequence[Fault],
    problems: Sequence[Problem],
    wrong: Sequence[Rollout],
    continued: Sequence[Rollout],
    verdicts: Sequence[Verdict],
) -> list[StepPair]:
    """One pair a fault at most. Splits are disjoint by composition, so no problem is contaminated."""
    config, folder, by_id = StepPairsConfig(pairs_per_prefix=1), ModelFolder(base, "base"), {p.id: p for p in problems}
    made: list[StepPair] = []
    for fault in faults:
        own = [[row for row in rows if row.problem_id == fault.problem_id] for rows in (wrong, continued, verdicts)]
        mark = Mark(derived_id("lab", fault.problem_id), fault.problem_id, fault.problem_id, False, None, None, None, None, None)
        found = step_pairs(fault, by_id[fault.problem_id], own[0], own[1], own[2], [mark], [fault], None, folder, config)
        made += [row for row in found if not isinstance(row, Rejected)]
    return made


_WORDS = ("We now get {left}, that is {value}, so {equation}", "Here the computation is {equation}", "From this it follows that {equation}")


def reworded(pair: StepPair, task: Task) -> StepPair:
    """The pair with the right line as its winner, said as the base never says it."""
    line = task.solution.lines[pair.step - 1]
    words = Random(pair.id).choice(_WORDS).format(left=line.left, value=line.value, equation=line.equation)
    end = f"\nAnswer: \\boxed{{{task.answer}}}" if pair.step == len(task.solution.lines) else ""
    return dataclasses.replace(pair, chosen=f" {words}{end}", chosen_ends=bool(end))
