"""Solve: k independent rollouts of one solver for each problem (Qwen2.5-Math, sections 3 and 4: sampling before verification).

Says nothing about correctness (`verify` does) and keeps replies that were cut off: `finish_reason` tells them apart.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import Field, field_validator

from models.engine import Engine, Sampling
from storage.ids import derived_id
from storage.schemas import Problem, Rollout
from tasks.prompts import PromptField, PromptText, fill, load_prompt
from tasks.stage import Runtime, StageConfig, stage


class SolveConfig(StageConfig):
    """How problems are solved."""

    prompt: PromptField = Field(default_factory=lambda: load_prompt("solve"))
    """Prompt with the hole [[problem]]: a packaged name or @file."""
    model: str = "solver"
    """Role or reference of the solver."""
    samples: int = Field(8, ge=1)
    """Rollouts a problem; asking for more later asks only for the new ones."""
    sampling: Sampling = Sampling()
    """How replies are drawn."""
    stream: str = "main"
    """Names an independent set of draws: evaluation and selection use different ones."""
    concurrency: Annotated[int, Runtime()] = Field(32, ge=1)
    """Problems under way at once."""

    @field_validator("prompt")
    @classmethod
    def _only_the_problem(cls, prompt: PromptText) -> PromptText:
        fill(prompt, problem="")  # a wrong hole is known before the first call
        return prompt


@stage
async def solve(problem: Problem, config: SolveConfig, model: Engine) -> AsyncIterator[Rollout]:
    """`config.samples` rollouts of the problem, ordinals from 0; each begins with what the prompt forces on it (an `## assistant` part).

    Raises EngineError when any of them failed for good.
    """
    ordinal, prompt = 0, fill(config.prompt, problem=problem.problem)
    async for reply in model.sample(prompt, n=config.samples, sampling=config.sampling):
        yield Rollout(
            id=derived_id("solve", problem.id, ordinal=ordinal),
            problem_id=problem.id,
            ordinal=ordinal,
            text=prompt.prefill + reply.text,
            finish_reason=reply.finish_reason,
            n_tokens=reply.completion_tokens,
            call_id=reply.call_id,
        )
        ordinal += 1
