"""How right the locators of the first wrong step are, and the pairs made of what they agree on: the nano world computes the truth.

python -m benchmarks.locators STORE [--name step_dpo_nano] [--count 700] [--seed 0]     after `mathmill run step_dpo-nano --store STORE`
"""

import argparse
from collections.abc import Iterable, Iterator
from itertools import islice

from storage.schemas import Fault, Location, Rollout, StepPair, from_table
from storage.store import Store
from tasks.maths.jeffreys import jeffreys_interval
from tasks.nano.flawed import answered, same_equation
from tasks.nano.world import Task, World
from tasks.nano_problems import as_problem


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("--name", default="step_dpo_nano")
    parser.add_argument("--count", type=int, default=700)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tasks = {as_problem(task).id: task for task in islice(World(args.seed).tasks("train"), args.count)}
    with Store.open(args.store) as store:
        for line in report(store, args.name, tasks):
            print(line)


def report(store: Store, name: str, tasks: dict[str, Task]) -> Iterator[str]:
    """Lines of a Markdown table: what was decided, and what of it names the true step."""
    wrong = {r.id: r for r in from_table(store.table(f"{name}.wrong_replies"), Rollout)}
    truth = {i: answered(tasks[r.problem_id], r.text).first_wrong for i, r in wrong.items()}
    yield f"{len(wrong)} wrong replies\n\n| who | decides | of these the true step (95 %) |\n|---|---|---|"
    for stage in ("locate", "locate_judge", "locate_rollouts"):
        found = from_table(store.table(f"{name}.{stage}"), Location)
        yield _line(stage, [x.first_wrong_step == truth[x.rollout_id] for x in found if not x.abstained], len(wrong))
    faults = from_table(store.table(f"{name}.decide_fault"), Fault)
    yield _line("decide_fault", [f.step == truth[f.rollout_id] for f in faults], len(wrong))
    pairs = from_table(store.table(f"{name}.step_pairs"), StepPair)
    yield _line("step_pairs: the rejected step is the first wrong one", [p.step == truth[p.rollout_id] for p in pairs], len(faults))
    yield _line("step_pairs: the chosen step is right", [_right(tasks[p.problem_id], p) for p in pairs], len(faults))


def _right(task: Task, pair: StepPair) -> bool:
    """Whether all steps up to the better one say what the right solution says there."""
    steps = [same_equation(step) for step in answered(task, pair.prefix + pair.chosen).steps]
    return steps == [same_equation(line.equation) for line in task.solution.lines][: pair.step]


def _line(who: str, hits: Iterable[bool], among: int) -> str:
    hits = list(hits)
    low, high = jeffreys_interval(sum(hits), len(hits)) if hits else (0.0, 1.0)
    share = sum(hits) / len(hits) if hits else 0.0
    return f"| {who} | {len(hits)} of {among} ({len(hits) / max(among, 1):.1%}) | {share:.1%} ({low:.1%} to {high:.1%}) |"


if __name__ == "__main__":
    main()
