"""Gold audit, measured: precision at k of the suspect queue on GSM8K with 2 % of its answers replaced by wrong ones.

    OMP_NUM_THREADS=1 python -m benchmarks.audit [--data ../shared/data] [--seeds 20]

Planted are, in equal shares and drawn by seed: another number of the worked solution, the answer +-1, ten times the answer, another
problem's answer. Replies are the four published model solutions of each test problem; the human working is a fifth reply where a setting
says so. A working is what the published answer was taken from, so it shows faults of copying; faults of its author are a setting of
their own. The limit is the precision of an order that knows how often each pattern of agreement was planted in these very runs: no
ranking by agreement alone exceeds it but by luck among equal patterns. Suspects of the published answers are printed by id; no text of
the data is printed.
"""

import argparse
import dataclasses
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from storage.ids import problem_id
from storage.schemas import Problem, Rollout, Suspect, Verdict
from tasks.audit import AuditConfig, audit
from tasks.maths.answers import answer_type_of
from tasks.maths.extract import find_answer
from tasks.maths.vote import vote_key
from tasks.stage import Made
from tasks.verify import VerifyConfig, verify

MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
SHARE = 0.02
AT = (10, 26, 50)
Item = tuple[Problem, list[Rollout]]


@dataclass(frozen=True)
class Setting:
    """Problems with the replies that are shown to the audit."""

    name: str
    items: Sequence[Item]
    config: AuditConfig
    author: bool = False
    """The fault is its author's: the working ends in the wrong answer too."""

    @property
    def planted(self) -> int:
        return round(SHARE * len(self.items))


def read(path: Path) -> list[tuple[Item, str]]:
    """Each problem with its replies (the human working last, as source 4), and the working."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        working = record.get("ground_truth") or record["answer"]
        gold = find_answer(working)
        assert gold is not None
        key = problem_id("gsm8k", None, record["question"])
        problem = Problem(key, "gsm8k", None, record["question"], gold, answer_type_of(gold), True)
        texts = {i: record[name]["solution"] for i, name in enumerate(MODELS) if name in record} | {len(MODELS): working}
        replies = [Rollout(f"{key}/{i}", key, i, text, "stop", len(text.split()), None) for i, text in texts.items()]
        found.append(((problem, replies), working))
    return found


def judge(problem: Problem, replies: Sequence[Rollout]) -> list[Verdict]:
    found = [verify(reply, problem, VerifyConfig()) for reply in replies]
    return [v for v in found if isinstance(v, Verdict)]


def wrong_answer(gold: str, working: str, others: Sequence[str], kind: int, rng: random.Random) -> str | None:
    """A plausible answer that is not the gold, None where this kind has none."""
    value = gold.replace(",", "")
    if kind == 0:
        choices = [n.replace(",", "") for n in re.findall(r"\d[\d,]*(?:\.\d+)?", working.rpartition("\n")[0])]
    elif kind == 1:
        choices = [str(int(value) + d) for d in (-1, 1)] if re.fullmatch(r"-?\d+", value) else []
    elif kind == 2:
        choices = [f"{value}0"] if re.fullmatch(r"-?[1-9]\d*", value) else []
    else:
        choices = [rng.choice(others)]
    choices = sorted({c for c in choices if c and vote_key(c) != vote_key(gold)})
    return rng.choice(choices) if choices else None


def plant(setting: Setting, workings: dict[str, str], seed: int) -> dict[str, Problem]:
    """The problems whose answer is replaced, by id."""
    rng = random.Random(seed)
    golds = [p.answer for p, _ in setting.items if p.answer]
    order = rng.sample([p for p, _ in setting.items], len(setting.items))
    found: dict[str, Problem] = {}
    for problem in order:
        if len(found) == setting.planted:
            break
        wrong = wrong_answer(problem.answer or "", workings[problem.id], golds, len(found) % 4, rng)
        if wrong is not None:
            found[problem.id] = dataclasses.replace(problem, answer=wrong)
    return found


@dataclass
class Run:
    """One seed: the queue, what was planted, and the pattern of agreement of every problem."""

    queue: list[Suspect]
    planted: set[str]
    patterns: dict[str, tuple[int, ...]]

    def precision(self, k: int) -> float:
        return sum(s.problem_id in self.planted for s in self.queue[:k]) / k


def one_run(setting: Setting, base: dict[str, list[Verdict]], changed: dict[str, Problem]) -> Run:
    problems = [changed.get(p.id, p) for p, _ in setting.items]
    replies = {p.id: shown for p, shown in setting.items}
    if setting.author:
        replies |= {key: [misled(r, wrong) for r in replies[key]] for key, wrong in changed.items()}
    verdicts = {p.id: judge(p, replies[p.id]) if p.id in changed else base[p.id] for p in problems}
    rollouts = [r for p in problems for r in replies[p.id]]
    made = audit(problems, [v for found in verdicts.values() for v in found], rollouts, setting.config)
    queue = sorted((item.rows for item in made if isinstance(item, Made)), key=lambda s: s.rank)
    return Run(queue, set(changed), {key: pattern(found) for key, found in verdicts.items()})


def misled(reply: Rollout, wrong: Problem) -> Rollout:
    """The working with the planted answer at its end; replies of models as they are."""
    return dataclasses.replace(reply, text=f"{reply.text}\n#### {wrong.answer}") if reply.ordinal == len(MODELS) else reply


def pattern(verdicts: Sequence[Verdict]) -> tuple[int, ...]:
    """Who agrees with whom: 0 the gold, -1 no answer, others numbered as they come."""
    names: dict[str, int] = {}
    out = []
    for verdict in verdicts:
        key = "" if verdict.answer is None else vote_key(verdict.answer)
        out.append(0 if verdict.verdict == "correct" else names.setdefault(key, len(names) + 1) if key else -1)
    return tuple(out)


def limit(runs: Sequence[Run], k: int) -> float:
    """Mean precision at k of the best order of the patterns, ties inside a pattern broken by chance."""
    planted: Counter = Counter()
    total: Counter = Counter()
    for run in runs:
        total.update(run.patterns.values())
        planted.update(run.patterns[i] for i in run.planted)
    best = sorted(total, key=lambda p: planted[p] / total[p], reverse=True)
    found = []
    for run in runs:
        here, hits, left = Counter(run.patterns.values()), 0.0, k
        good = Counter(run.patterns[i] for i in run.planted)
        for p in best:
            taken = min(left, here[p])
            hits += good[p] * taken / here[p] if here[p] else 0
            left -= taken
        found.append(hits / k)
    return mean(found)


def report(setting: Setting, workings: dict[str, str], seeds: int) -> None:
    base = {p.id: judge(p, replies) for p, replies in setting.items}
    runs = [one_run(setting, base, plant(setting, workings, seed)) for seed in range(seeds)]
    print(f"\n{setting.name}: {len(setting.items)} problems, {setting.planted} planted, {seeds} seeds, {setting.config}")
    print("   k   precision (mean, sd, least)   most possible   limit of agreement patterns")
    for k in sorted({*AT, setting.planted}):
        values = [run.precision(k) for run in runs]
        note = "  (R-precision)" if k == setting.planted else ""
        most = min(k, setting.planted) / k
        print(f"{k:4} {mean(values):10.3f} {stdev(values):7.3f} {min(values):7.3f} {most:14.3f} {limit(runs, k):18.3f}{note}")
    lengths = [len(run.queue) for run in runs]
    found = [len(run.planted & {s.problem_id for s in run.queue}) / len(run.planted) for run in runs]
    print(f"queue {mean(lengths):.0f} rows, {mean(found):.3f} of the planted in it")
    clean = one_run(setting, base, {})
    reasons = Counter(reason for suspect in clean.queue for reason in suspect.reasons)
    print(f"nothing planted: queue {len(clean.queue)} rows, reasons {dict(reasons)}")
    print(f"its head: {', '.join(f'{suspect.problem_id} {suspect.score:.2f}' for suspect in clean.queue[:12])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    test, train = (read(options.data / "problems" / f"gsm8k_{name}.jsonl") for name in ("model_solutions", "train"))
    workings = {item[0].id: working for item, working in [*test, *train]}
    models = [(p, [r for r in replies if r.ordinal < len(MODELS)]) for (p, replies), _ in test]
    trusted = AuditConfig(sources=True, min_replies=1, min_votes=1)
    for setting in (
        Setting("test, model replies, one solver", models, AuditConfig()),
        Setting("test, model replies, four sources", models, AuditConfig(sources=True)),
        Setting("test, model replies and working", [item for item, _ in test], trusted),
        Setting("test, model replies and working, the fault in the working too", [item for item, _ in test], trusted, author=True),
        Setting("test and train, model replies where there are, and working", [item for item, _ in [*test, *train]], trusted),
    ):
        report(setting, workings, options.seeds)


if __name__ == "__main__":
    main()
