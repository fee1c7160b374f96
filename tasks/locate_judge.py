"""Locate the first wrong step by a judge that sees a right solution and labels the steps one by one (Step-DPO, section 3.2).

It says what the judge said: a reply that cannot be read is rejected with its reason, never guessed at; `decide_fault` hears others too.
"""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, field_validator

from models.engine import Engine, Sampling
from storage.ids import derived_id
from storage.schemas import Location, Problem, Rollout, Solution
from tasks.maths.decision import Neutral, Unreadable, read_decision
from tasks.maths.steps import spans
from tasks.prompts import PromptField, PromptText, fill, load_prompt
from tasks.stage import Rejected, Runtime, StageConfig, stage


class LocateJudgeConfig(StageConfig):
    """Who judges, and what a label means."""

    prompt: PromptField = Field(default_factory=lambda: load_prompt("locate_step"))
    """Prompt with the holes [[problem]], [[reference]] and [[answer]]."""
    model: str = "judge"
    """Role or reference of the judge."""
    sampling: Sampling = Sampling(temperature=0.0, max_tokens=1024)
    """How its verdict is drawn."""
    neutral: Neutral = "skip"
    """skip: a neutral step is no mistake. error: it is the first wrong one, as the published code has it."""
    stream: str = "main"
    """Names an independent set of draws."""
    concurrency: Annotated[int, Runtime()] = Field(32, ge=1)
    """Replies under way at once."""

    @field_validator("prompt")
    @classmethod
    def _holes(cls, prompt: PromptText) -> PromptText:
        fill(prompt, problem="", reference="", answer="")
        return prompt


@stage
async def locate_judge(
    rollout: Rollout, problem: Problem, solutions: list[Solution], config: LocateJudgeConfig, model: Engine
) -> Location | Rejected:
    """What the judge says, with the shortest right solution of the problem as reference."""
    if not solutions:
        return Rejected("no reference solution", "no reply to the problem was right, and none was given")
    reference = min(solutions, key=lambda s: (len(s.solution), s.id)).solution
    steps = numbered(rollout.text)
    asked = fill(config.prompt, problem=problem.problem, reference=_tight(reference), answer="\n".join(steps))
    [reply] = [r async for r in model.sample(asked, n=1, sampling=config.sampling)]
    if reply.finish_reason == "length":
        return Rejected("judge was cut off", f"{reply.completion_tokens} tokens")
    decision = read_decision(reply.text, len(steps), config.neutral)
    if isinstance(decision, Unreadable):
        return Rejected(f"judge: {decision.reason}", decision.detail)
    return Location(
        id=derived_id("locate_judge", rollout.id),
        problem_id=rollout.problem_id,
        rollout_id=rollout.id,
        locator="judge",
        first_wrong_step=decision.first_wrong,
        abstained=False,
        n_steps=len(steps),
        why=reply.text.strip(),
        labels=list(decision.labels),
        call_ids=[reply.call_id],
    )


def numbered(text: str) -> Sequence[str]:
    """The steps of a reply, each as `Step i: ...` on lines of its own, whatever its headers were."""
    return [f"Step {i}: {_tight(text[s.body : s.end])}" for i, s in enumerate(spans(text), 1)]


def _tight(text: str) -> str:
    return re.sub(r"\n[ \t\r]*\n\s*", "\n", text).strip()
