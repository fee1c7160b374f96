"""Step splitting and symbolic checking, measured: speed on one core, and first wrong steps on labelled, real and made solutions.

    OMP_NUM_THREADS=1 python -m benchmarks.steps [--data ../shared/data] [--repeat 5] [--nano 2000] [--peer 150]

Rates are CPU time of this process, best and median of the repetitions, caches emptied before each; the loop of the first line says how
fast this interpreter is here and now. The BIG-Bench file is cut in half by a hash of the problem: rules were developed on half 0. Peers:
Math-Verify on the neighbouring sides of each chain, and the check of `number sign number = number` alone. No text of the data is printed.
"""

import argparse
import hashlib
import json
import logging
import os
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

from math_verify import parse, verify

from tasks.maths import equations, exact
from tasks.maths.check_steps import Finding, first_wrong
from tasks.maths.steps import split
from tasks.nano.concepts import CONCEPTS, Unworkable
from tasks.nano.world import Task, World, work_out


class Solution(NamedTuple):
    """One solution as it is measured: `text` is split where there are no `steps` yet."""

    problem: str
    text: str
    steps: Sequence[str] | None
    answer: str | None

    def check(self, right: bool | None = None) -> Finding:
        return first_wrong(self.problem, self.steps or split(self.text), self.answer, right)


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.open(encoding="utf-8") if line.strip()]


def half(problem: str) -> int:
    return hashlib.sha256(problem.encode()).digest()[3] % 2


def of_mistake(row: dict) -> Solution:
    """Numbered headers are put before the steps, so that there is something to split."""
    text = "\n".join(f"Step {i}: {step}" for i, step in enumerate(row["steps"], 1))
    return Solution(row["input"], text, None, None)


def of_replies(row: dict) -> list[tuple[bool, Solution]]:
    answer = row["ground_truth"].rpartition("A:")[2].strip()
    replies = [reply for reply in row.values() if isinstance(reply, dict)]
    return [(reply["is_correct"], Solution(row["question"], reply["solution"], None, answer)) for reply in replies]


# -- speed ------------------------------------------------------------------------------------------------------------------------


def interpreter() -> float:
    """Million rounds a second of a plain loop."""
    started, total = time.process_time(), 0
    for i in range(1_000_000):
        total += i & 3
    return 1 / (time.process_time() - started)


def rate(work: Callable[[], object], n: int, repeat: int) -> tuple[float, float]:
    """(best, median) of n things a CPU second."""
    found = []
    for _ in range(repeat):
        equations._bare.cache_clear()
        exact.plain.cache_clear()
        started = time.process_time()
        work()
        found.append(n / (time.process_time() - started))
    return max(found), statistics.median(found)


def speed(corpora: dict[str, list[Solution]], repeat: int) -> None:
    print("| corpus | steps | split and check, steps/s (best, median) | split alone, best | solutions/s | loop, Mrounds/s |")
    print("|---|---|---|---|---|---|")
    corpora["all"] = [solution for corpus in corpora.values() for solution in corpus]
    for name, corpus in corpora.items():
        n = sum(len(split(s.text)) for s in corpus)
        best, median = rate(lambda: [s.check() for s in corpus], n, repeat)  # noqa: B023 - called at once
        alone, _ = rate(lambda: [split(s.text) for s in corpus], n, repeat)  # noqa: B023
        print(f"| {name} | {n:,} | {best:,.0f}, {median:,.0f} | {alone:,.0f} | {best * len(corpus) / n:,.0f} | {interpreter():.1f} |")


# -- peers ------------------------------------------------------------------------------------------------------------------------

_BINARY = re.compile(r"(?<![\d.*/)-])\(?(-?\d+) ([-+*/]) (-?\d+)\)? = \(?(-?\d+)\)?(?![\d.]| [-+*/])")
_ARITHMETIC = re.compile(r"[-+*/() \d.]+")
_SIGNS: dict[str, Callable[[Fraction, Fraction], Fraction | None]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else None,
}


def by_pattern(step: str) -> bool:
    """Whether every `number sign number = number` holds."""
    return all(_SIGNS[sign](Fraction(a), Fraction(b)) in (None, Fraction(c)) for a, sign, b, c in _BINARY.findall(step))


def by_math_verify(step: str) -> bool:
    """Whether Math-Verify finds no neighbouring sides of a chain that differ; of a side counts what begins and ends like arithmetic."""
    for chain in re.split(r",| and |\. ", step):
        sides = [re.sub(r"^[^-(\d]*|[^\d)]*$", "", side) for side in chain.split("=")]
        pairs = [(a, b) for a, b in pairwise(sides) if _ARITHMETIC.fullmatch(a) and _ARITHMETIC.fullmatch(b)]
        if not all(verify(parse(f"${a}$"), parse(f"${b}$")) for a, b in pairs):
            return False
    return True


def peers(mistakes: list[dict], limit: int) -> None:
    print(
        "\n| checker | solutions | steps/s | located | elsewhere | not seen | false alarms (right result) |\n|---|---|---|---|---|---|---|"
    )
    sample = mistakes[:limit]
    for name, holds, chosen in (("pattern", by_pattern, mistakes), ("Math-Verify", by_math_verify, sample), ("this", None, sample)):
        started, counts, n = time.process_time(), Counter[str](), 0
        for row in chosen:
            steps = row["steps"]
            n += len(steps)
            wrong = next((i for i, step in enumerate(steps) if not holds(step)), None) if holds else index(of_mistake(row).check())
            counts[fate(row, wrong)] += 1
        took = time.process_time() - started
        wrongs = sum(row["mistake_index"] is not None for row in chosen)
        print(
            f"| {name} | {len(chosen)} | {n / took:,.0f} | {counts['located']} of {wrongs} | {counts['elsewhere']} | {counts['not seen']} "
            f"| {counts['alarm, right result']} |"
        )


def index(found: Finding) -> int | None:
    return None if found.first_wrong_step is None else found.first_wrong_step - 1


def fate(row: dict, wrong: int | None) -> str:
    if row["mistake_index"] is not None:
        return "not seen" if wrong is None else "located" if wrong == row["mistake_index"] else "elsewhere"
    result = "right" if row["answer"] == row["target"] else "wrong"
    return f"{'alarm' if wrong is not None else 'none'}, {result} result"


# -- first wrong steps ------------------------------------------------------------------------------------------------------------


def located(mistakes: list[dict]) -> None:
    print(
        "\n| half | labelled wrong | located | elsewhere | abstained | cleared | label none, right result: alarms | wrong result: alarms |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, chosen in (("0 (developed on)", (0,)), ("1", (1,)), ("both", (0, 1))):
        counts: Counter[str] = Counter()
        for row in mistakes:
            if half(row["input"]) in chosen:
                found = of_mistake(row).check()
                kind = fate(row, index(found))
                counts["abstained" if kind == "not seen" and found.abstained else kind] += 1
        right, wrong = (counts[f"alarm, {result} result"] + counts[f"none, {result} result"] for result in ("right", "wrong"))
        labelled = counts.total() - right - wrong
        print(
            f"| {name} | {labelled} | {counts['located']} ({counts['located'] / labelled:.1%}) | {counts['elsewhere']} "
            f"| {counts['abstained']} | {counts['not seen']} "
            f"| {counts['alarm, right result']} of {right} | {counts['alarm, wrong result']} of {wrong} |"
        )


def in_words(replies: Iterable[tuple[bool, Solution]]) -> None:
    print("\n| reply | reference | replies | step named | abstained | cleared |\n|---|---|---|---|---|---|")
    replies = list(replies)
    for right in (True, False):
        for told in (True, False):
            found = [s._replace(answer=s.answer if told else None).check() for label, s in replies if label == right]
            _row("right" if right else "wrong", "given" if told else "none", found)


def _row(kind: str, told: str, found: Sequence[Finding]) -> None:
    named = sum(f.first_wrong_step is not None for f in found)
    abstained = sum(f.abstained for f in found)
    print(f"| {kind} | {told} | {len(found)} | {named} ({named / len(found):.2%}) | {abstained} | {len(found) - named - abstained} |")


def made(tasks: list[Task], rng: random.Random) -> None:
    """Solutions of the nano world: right ones, and ones with a mistake whose first step is known exactly."""
    print("\n| nano solutions | number | located | elsewhere | abstained | cleared |\n|---|---|---|---|---|---|")
    kinds = {"right": _right, "slip in one result": _slip, "number copied wrongly": _copied, "misconception": _misconceptions}
    for name, make in kinds.items():
        counts: Counter[str] = Counter()
        for task in tasks:
            for text, first in make(task, rng):
                found = first_wrong(task.statement, split(text), task.answer)
                kind = "abstained" if found.abstained else "cleared" if found.first_wrong_step is None else "elsewhere"
                counts["located" if found.first_wrong_step == first != 0 else kind] += 1
        shown = " | ".join(f"{counts[kind]}" for kind in ("located", "elsewhere", "abstained", "cleared"))
        print(f"| {name} | {counts.total()} | {shown} |")


Wrong = list[tuple[str, int]]


def _right(task: Task, rng: random.Random) -> Wrong:
    return [(task.solution.text, 0)]


def _slip(task: Task, rng: random.Random) -> Wrong:
    """One result is off, the rest goes on as before, the final answer is another one."""
    lines = task.solution.text.split("\n")
    k = rng.randrange(len(lines) - 1)
    match = re.fullmatch(r"(.*=)(\d+)", lines[k])
    if not match:
        return []
    lines[k] = match[1] + str(int(match[2]) + rng.choice((-2, -1, 1, 2, 10)))
    return [("\n".join([*lines[:-1], "Answer: \\boxed{9999}"]), k + 1)]


def _copied(task: Task, rng: random.Random) -> Wrong:
    """One operand is another number, rightly computed with; the solution ends there."""
    lines = task.solution.text.split("\n")
    k = rng.randrange(len(lines) - 1)
    match = re.fullmatch(r"(Step \d+: [\w ]+? )(\d+)([-+*])(\d+)=\d+", lines[k])
    if not match:
        return []
    a, b = int(match[2]) + rng.choice((-3, -2, -1, 1, 2, 3, 10)), int(match[4])
    value = _SIGNS[match[3]](Fraction(a), Fraction(b))
    return [("\n".join([*lines[:k], f"{match[1]}{a}{match[3]}{b}={value}", "Answer: \\boxed{9999}"]), k + 1)] if a > 0 else []


def _misconceptions(task: Task, rng: random.Random) -> Wrong:
    found = []
    for position, op in enumerate(task.composition.ops):
        for name in CONCEPTS[op.concept].misconceptions:
            try:
                wrong = work_out(task.composition, (position, name))
            except Unworkable:
                continue
            if wrong.answer != task.answer:
                pairs = zip(wrong.lines, task.solution.lines, strict=False)
                first = next((i for i, (a, b) in enumerate(pairs, 1) if a != b), len(wrong.lines))
                found.append((wrong.text, first))
    return found


def main() -> None:
    logging.disable(logging.WARNING)  # Math-Verify says at each call that it has no time limit
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--nano", type=int, default=2000)
    parser.add_argument("--peer", type=int, default=150)
    args = parser.parse_args()
    mistakes = rows(args.data / "steps/bigbench_mistake_arithmetic.jsonl")
    replies = [reply for row in rows(args.data / "problems/gsm8k_model_solutions.jsonl") for reply in of_replies(row)]
    tasks = list(islice(World(0).tasks("train"), args.nano))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    corpora = {
        "BIG-Bench arithmetic": [of_mistake(row) for row in mistakes],
        "GSM8K model solutions": [solution for _, solution in replies],
        "nano solutions": [Solution(task.statement, task.solution.text, None, task.answer) for task in tasks],
    }
    speed(corpora, args.repeat)
    located(mistakes)
    peers(mistakes, args.peer)
    in_words(replies)
    made(tasks, random.Random(5))


if __name__ == "__main__":
    main()
