"""What a nano solver can do on held-out problems: accuracy, pass@k (Chen et al. 2021), and whether its errors are systematic."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import islice
from math import gcd, lcm, prod, sqrt
from pathlib import Path

from models.engine import Identity, Message, Prompt, Reply, Sampling
from tasks.nano.corpus import solve_messages, wrong_workings
from tasks.nano.world import Task, World

_BOXED = re.compile(r"\\boxed\{(\d+(?:/[1-9]\d*)?)\}")
_CALL = re.compile(r"(gcd|lcm)\((\d+),(\d+)\)")
_EQUATION = re.compile(r"(\S+)=(\d+(?:/[1-9]\d*)?)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of one model on one set of problems; shares are of all greedy replies."""

    problems: int
    greedy: float
    greedy_low: float
    """Lower end of the 95 % Wilson interval."""
    greedy_high: float
    format_errors: float
    """No boxed number."""
    misconceptions: float
    """Wrong, and word for word the working of one misconception."""
    slips: float
    """Wrong, with an equation that does not hold."""
    other_errors: float
    """Wrong in another way: several misconceptions, or a plan of its own."""
    sampled_problems: int
    pass_1: float
    """Mean accuracy at temperature 1."""
    pass_8: float
    mean_tokens: float

    def as_json(self) -> dict[str, float]:
        return {k: round(v, 4) for k, v in asdict(self).items()}


def measure(folder: Path, seed: int = 0, problems: int = 600, sampled: int = 200, samples: int = 8) -> Measured:
    """Greedy on the first `problems` held-out problems of the world `seed`; `samples` draws at temperature 1 on the first `sampled`."""
    tasks = list(islice(World(seed).tasks("test"), problems))
    chats = [solve_messages(t.statement) for t in tasks]
    greedy = [r for (r,) in ask(folder, chats, Sampling(temperature=0, max_tokens=200))]
    drawn = ask(folder, chats[:sampled], Sampling(temperature=1, max_tokens=200), samples)
    kinds = [classify(task, reply.text) for task, reply in zip(tasks, greedy, strict=True)]
    right = [[is_right(task, r.text) for r in several] for task, several in zip(tasks, drawn, strict=False)]
    low, high = wilson(kinds.count("right"), len(kinds))
    share = {kind: kinds.count(kind) / len(kinds) for kind in ("right", "format", "misconception", "slip", "other")}
    return Measured(
        problems=len(tasks),
        greedy=share["right"],
        greedy_low=low,
        greedy_high=high,
        format_errors=share["format"],
        misconceptions=share["misconception"],
        slips=share["slip"],
        other_errors=share["other"],
        sampled_problems=len(right),
        pass_1=sum(map(sum, right)) / sum(map(len, right)),
        pass_8=sum(map(any, right)) / len(right),
        mean_tokens=sum(r.completion_tokens for r in greedy) / len(greedy),
    )


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of the problems were solved."""

    problems: int
    solved: int

    def figures(self, name: str) -> dict[str, float]:
        """The share as `name`, with `name_low` and `name_high`, its 95 % Wilson interval."""
        low, high = wilson(self.solved, self.problems)
        shares = {name: self.solved / self.problems, f"{name}_low": low, f"{name}_high": high}
        return {"problems": self.problems, **{key: round(value, 4) for key, value in shares.items()}}


def held_out(seed: int, problems: int) -> list[Task]:
    """The first held-out problems of the world `seed`."""
    return list(islice(World(seed).tasks("test"), problems))


def ask(folder: Path, chats: Sequence[tuple[Message, ...]], sampling: Sampling, samples: int = 1) -> list[list[Reply]]:
    """`samples` replies to each chat by the model in `folder`, through the `hf:` backend; the same at each call."""
    return asyncio.run(_ask(folder, chats, sampling, samples))


async def _ask(folder: Path, chats: Sequence[tuple[Message, ...]], sampling: Sampling, samples: int) -> list[list[Reply]]:
    from models.hf import HfBackend  # torch only where a model runs

    backend = HfBackend(folder, Identity(folder.name, "measured"), batch_size=128)
    try:
        prompts = [Prompt(messages=chat) for chat in chats]
        asked = [backend.generate(p, sampling, i * samples + k) for i, p in enumerate(prompts) for k in range(samples)]
        flat = await asyncio.gather(*asked)
    finally:
        await backend.close()
    return [flat[i : i + samples] for i in range(0, len(flat), samples)]


def is_right(task: Task, text: str) -> bool:
    """Whether the last boxed number is the answer."""
    found = _BOXED.findall(text)
    return bool(found) and Fraction(found[-1]) == Fraction(task.answer)


def classify(task: Task, text: str) -> str:
    """right, format (no boxed number), misconception, slip or other."""
    if not _BOXED.search(text):
        return "format"
    if is_right(task, text):
        return "right"
    if any(text.strip() == working.text for _, working in wrong_workings(task)):
        return "misconception"
    return "slip" if not all(left == right for left, right in equations(text)) else "other"


def equations(text: str) -> Iterator[tuple[Fraction | None, Fraction]]:
    """(value of the left side, right side) of each equation that ends a line; None where the left side cannot be read."""
    for left, right in _EQUATION.findall(text):
        yield left_value(left), Fraction(right)


def left_value(left: str) -> Fraction | None:
    """The value of sums and differences of products and quotients of whole numbers, or of gcd(a,b) and lcm(a,b); None for other text."""
    if called := _CALL.fullmatch(left):
        return Fraction({"gcd": gcd, "lcm": lcm}[called[1]](int(called[2]), int(called[3])))
    if not re.fullmatch(r"\d+([-+*/]\d+)*", left):
        return None
    total = Fraction(0)
    for sign, term in re.findall(r"([+-]?)([\d*/]+)", left):
        factors = re.findall(r"([*/]?)(\d+)", term)
        if any(o == "/" and int(n) == 0 for o, n in factors):
            return None
        value = prod((Fraction(int(n)) if o != "/" else Fraction(1, int(n)) for o, n in factors), start=Fraction(1))
        total += -value if sign == "-" else value
    return total


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share."""
    z, p = 1.96, hits / n
    middle, reach = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n)
