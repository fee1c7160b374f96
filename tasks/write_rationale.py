"""Rationales: the thinking by which a teacher could have designed a known problem from its concepts and level (PromptCoT 1.0).

Such rows teach a generator to think before it writes. Nothing here measures how likely the problem is under its rationale.
"""

from typing import Annotated

from pydantic import Field, field_validator

from models.engine import Engine, Sampling
from storage.ids import derived_id
from storage.schemas import Concepts, Level, Problem, Rationale
from tasks.maths.concept_list import numbered
from tasks.maths.tagged import Malformed, read_rationale
from tasks.prompts import PromptField, PromptText, fill, load_prompt
from tasks.stage import Rejected, Runtime, StageConfig, stage


class WriteRationaleConfig(StageConfig):
    """How rationales are asked for."""

    prompt: PromptField = Field(default_factory=lambda: load_prompt("rationale"))
    """Prompt with the holes [[concepts]], [[level]] and [[problem]]: a packaged name or @file."""
    model: str = "author"
    """Role or reference of the writer."""
    sampling: Sampling = Sampling(temperature=0.6, max_tokens=4096)
    """How replies are drawn."""
    stream: str = "main"
    """Names an independent set of draws."""
    concurrency: Annotated[int, Runtime()] = Field(32, ge=1)
    """Problems under way at once."""

    @field_validator("prompt")
    @classmethod
    def _concepts_level_problem(cls, prompt: PromptText) -> PromptText:
        fill(prompt, concepts="", level="", problem="")  # a wrong hole is known before the first call
        return prompt


@stage
async def write_rationale(
    concepts: Concepts, problem: Problem, levels: list[Level], config: WriteRationaleConfig, model: Engine
) -> Rationale | Rejected:
    """The rationale of one problem. A problem without a level is rejected: difficulty is half of what is to be explained."""
    if not levels:
        return Rejected("no level")
    level = levels[0].level
    prompt = fill(config.prompt, concepts=numbered(concepts.concepts), level=level, problem=problem.problem)
    [reply] = [r async for r in model.sample(prompt, n=1, sampling=config.sampling)]
    if reply.finish_reason == "length":
        return Rejected("cut off")
    try:
        rationale = read_rationale(reply.text)
    except Malformed as error:
        return Rejected(str(error), reply.text[:200])
    return Rationale(derived_id("write_rationale", concepts.id), problem.id, concepts.id, level, rationale, reply.call_id)
