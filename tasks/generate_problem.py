"""Problem generation: a rationale and a problem from concepts and a level (PromptCoT 1.0, concepts -> rationale -> problem).

Whether the format holds is decided here, by a parser; whether the draft is any good is for judges. Another draft of the same brief is
another brief or another `stream`.
"""

from typing import Annotated

from pydantic import Field, field_validator

from models.engine import Engine, Sampling
from storage.ids import derived_id
from storage.schemas import Brief, Draft
from tasks.maths.concept_list import numbered
from tasks.maths.tagged import Malformed, read_tagged
from tasks.prompts import PromptField, PromptText, fill, load_prompt
from tasks.stage import Rejected, Runtime, StageConfig, stage


class GenerateProblemConfig(StageConfig):
    """How problems are asked for."""

    prompt: PromptField = Field(default_factory=lambda: load_prompt("generate_problem"))
    """Prompt with the holes [[concepts]] and [[level]]: a packaged name or @file."""
    model: str = "author"
    """Role or reference of the generator."""
    sampling: Sampling = Sampling(temperature=0.6, max_tokens=4096)
    """How replies are drawn."""
    stream: str = "main"
    """Names an independent set of draws."""
    concurrency: Annotated[int, Runtime()] = Field(32, ge=1)
    """Briefs under way at once."""

    @field_validator("prompt")
    @classmethod
    def _concepts_and_level(cls, prompt: PromptText) -> PromptText:
        fill(prompt, concepts="", level="")  # a wrong hole is known before the first call
        return prompt


@stage
async def generate_problem(brief: Brief, config: GenerateProblemConfig, model: Engine) -> Draft | Rejected:
    """One draft of the brief, or the first thing that is wrong with its format."""
    prompt = fill(config.prompt, concepts=numbered(brief.concepts), level=brief.level)
    [reply] = [r async for r in model.sample(prompt, n=1, sampling=config.sampling)]
    if reply.finish_reason == "length":
        return Rejected("cut off")
    try:
        tagged = read_tagged(reply.text)
    except Malformed as error:
        return Rejected(str(error), reply.text[:200])
    return Draft(
        id=derived_id("generate_problem", brief.id),
        problem_id=brief.problem_id,
        brief_id=brief.id,
        concepts=brief.concepts,
        level=brief.level,
        rationale=tagged.rationale,
        problem=tagged.problem,
        text=reply.text,
        call_id=reply.call_id,
    )
