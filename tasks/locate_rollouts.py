"""Locate the first wrong step by Monte-Carlo continuations: the first after which going on hardly ever reaches the right answer.

The value of a prefix is the share of continuations that end right (Math-Shepherd, arXiv 2312.08935); the first step behind which it
collapses is found by bisection (OmegaPRM, arXiv 2406.06592), each prefix with no more draws than its interval asks for.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from models.engine import Engine, Reply, Sampling
from storage.ids import derived_id
from storage.schemas import Location, Problem, Rollout, VerdictName
from tasks.continuing import ContinuePrompt, to_continue
from tasks.maths.answers import verify_answer
from tasks.maths.extract import find_answer
from tasks.maths.jeffreys import jeffreys_interval
from tasks.maths.steps import spans
from tasks.prompts import load_prompt
from tasks.stage import Rejected, Runtime, StageConfig, stage


class LocateRolloutsConfig(StageConfig):
    """How prefixes are valued."""

    prompt: ContinuePrompt = Field(default_factory=lambda: load_prompt("continue_steps"))
    """Prompt with the holes [[problem]] and [[prefix]]."""
    model: str = "solver"
    """Role or reference of the model that goes on."""
    samples: int = Field(16, ge=1)
    """Continuations of one prefix at most."""
    batch: int = Field(4, ge=1)
    """Continuations between two looks at the interval; drawing ends with the look that decides."""
    dead: float = Field(0.2, gt=0, lt=1)
    """A prefix is behind the mistake when the upper end of its interval is below this success."""
    alive: float = Field(0.04, ge=0, lt=1)
    """A prefix can still be finished when the lower end is above this: one right continuation of four is enough, one of twelve is not."""
    level: float = Field(0.9, gt=0, lt=1)
    """Of the Jeffreys interval."""
    max_calls: int = Field(64, ge=1)
    """Continuations of one reply at most; past it the locator abstains."""
    sampling: Sampling = Sampling(temperature=0.8, top_p=0.95, max_tokens=2048)
    """How continuations are drawn."""
    stream: str = "locate"
    """Names an independent set of draws."""
    limit_s: float = Field(1.8, gt=0, le=60)
    """Seconds that the last tier of one verification may take."""
    concurrency: Annotated[int, Runtime()] = Field(32, ge=1)
    """Replies under way at once."""


class Undecided(Exception):
    """Whether a prefix can still be finished was not settled; the message says why."""


@dataclass
class _Search:
    """Values prefixes of one reply and remembers what was drawn."""

    reply: str
    problem: Problem
    config: LocateRolloutsConfig
    model: Engine
    call_ids: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)

    async def alive(self, steps: int) -> bool:
        """Whether the answer can be reached from the first `steps` steps. Raises Undecided."""
        right = known = 0
        async for verdicts in self._batches(steps + 1):
            right += verdicts.count("correct")
            known += len(verdicts) - verdicts.count("unknown")
            low, high = jeffreys_interval(right, known, self.config.level) if known else (0.0, 1.0)
            if low > self.config.alive or high < self.config.dead:
                self.values.append(f"{right}/{known} after step {steps}")
                return low > self.config.alive
        raise Undecided(f"{right} of {known} after step {steps} does not decide")

    async def _batches(self, step: int) -> AsyncIterator[list[VerdictName]]:
        """Verdicts on continuations from step `step` on; the next batch is drawn when it is taken."""
        config, seen = self.config, 0
        asked = to_continue(config.prompt, self.problem.problem, self.reply, step)
        while seen < config.samples:
            wanted = min(config.batch, config.samples - seen)
            if len(self.call_ids) + wanted > config.max_calls:
                raise Undecided(f"{len(self.call_ids)} continuations are spent, max_calls is {config.max_calls}")
            replies = [r async for r in self.model.sample(asked, n=seen + wanted, sampling=config.sampling)][seen:]
            seen += wanted
            self.call_ids += [r.call_id for r in replies]
            yield [await asyncio.to_thread(self._verdict, asked.prefill, reply) for reply in replies]

    def _verdict(self, begun: str, reply: Reply) -> VerdictName:
        if reply.finish_reason == "length":
            return "unknown"
        found, problem = find_answer(begun + reply.text), self.problem
        if found is None:
            return "wrong"
        gold, asked = str(problem.answer), problem.problem
        return verify_answer(gold, found, question=asked, answer_type=problem.answer_type, limit_s=self.config.limit_s).verdict

    async def first_wrong(self, n_steps: int) -> int:
        """The first step behind which success collapses, found by bisection: of `n_steps` steps, all of them together are wrong."""
        right, wrong = 0, n_steps
        while wrong - right > 1:
            middle = (right + wrong) // 2
            if await self.alive(middle):
                right = middle
            else:
                wrong = middle
        if right == 0 and not await self.alive(0):
            raise Undecided("the answer is not reached from the start either")
        return wrong


@stage(tools=("math-verify", "sympy"))
async def locate_rollouts(rollout: Rollout, problem: Problem, config: LocateRolloutsConfig, model: Engine) -> Location | Rejected:
    """The step of a wrong reply at which its value collapses; abstains where the draws do not settle it."""
    if problem.answer is None or not problem.answer.strip():
        return Rejected("no reference answer")
    n_steps = len(spans(rollout.text))
    if n_steps == 0:
        return Rejected("no steps", "the reply is empty")
    search = _Search(rollout.text, problem, config, model)
    step, why = None, ""
    try:
        step = await search.first_wrong(n_steps)
    except Undecided as undecided:
        why = str(undecided)
    return Location(
        id=derived_id("locate_rollouts", rollout.id),
        problem_id=rollout.problem_id,
        rollout_id=rollout.id,
        locator="rollouts",
        first_wrong_step=step,
        abstained=step is None,
        n_steps=n_steps,
        why="; ".join([*search.values, *([why] if why else [])]),
        call_ids=search.call_ids,
    )
