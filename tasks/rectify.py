"""Rectify: go on from the right steps before a fault, many times (Step-DPO, section 3.2: 20 continuations at temperature 0.8).

Every continuation becomes a rollout that knows its fault; whether it reaches the right answer says `verify`, what it is good for says
`step_pairs`.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import Field

from models.engine import Engine, Sampling
from storage.ids import derived_id
from storage.schemas import Fault, Problem, Rollout
from tasks.continuing import ContinuePrompt, to_continue
from tasks.prompts import load_prompt
from tasks.stage import Runtime, StageConfig, stage


class RectifyConfig(StageConfig):
    """How replies are continued."""

    prompt: ContinuePrompt = Field(default_factory=lambda: load_prompt("continue_steps"))
    """Prompt with the holes [[problem]] and [[prefix]]: that of the collection, with the right steps in place of its `Step 1:`."""
    model: str = "solver"
    """Role or reference of the model whose steps are to become better: the one that wrote the wrong replies."""
    samples: int = Field(20, ge=1)
    """Continuations a fault; asking for more later asks only for the new ones."""
    sampling: Sampling = Sampling(temperature=0.8, top_p=0.95, max_tokens=2048)
    """How they are drawn."""
    stream: str = "rectify"
    """Names an independent set of draws."""
    concurrency: Annotated[int, Runtime()] = Field(32, ge=1)
    """Faults under way at once."""


@stage
async def rectify(fault: Fault, problem: Problem, replies: list[Rollout], config: RectifyConfig, model: Engine) -> AsyncIterator[Rollout]:
    """`config.samples` whole replies that begin with the steps before the fault. Raises EngineError when any of them failed for good."""
    wrong = next(r for r in replies if r.id == fault.rollout_id)
    prompt = to_continue(config.prompt, problem.problem, wrong.text, fault.step)
    ordinal = 0
    async for reply in model.sample(prompt, n=config.samples, sampling=config.sampling):
        yield Rollout(
            id=derived_id("rectify", fault.id, ordinal=ordinal),
            problem_id=problem.id,
            ordinal=ordinal,
            text=prompt.prefill + reply.text,
            finish_reason=reply.finish_reason,
            n_tokens=reply.completion_tokens,
            call_id=reply.call_id,
            parent_id=fault.id,
        )
        ordinal += 1
