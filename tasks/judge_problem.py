"""Judging drafts: five criteria and a verdict from one judge, who sees no solution (PromptCoT 1.0, rejection sampling).

Two judges are this stage run twice, joined by id. FORMAT is a parser's to decide: a draft whose tags are wrong costs no call.
"""

from typing import Annotated

from pydantic import Field, field_validator

from models.engine import Engine, Sampling
from storage.ids import derived_id
from storage.schemas import Draft, Judgement, Rating
from tasks.maths.concept_list import bulleted
from tasks.maths.judgement import CRITERIA, Judged, read_judgement
from tasks.maths.tagged import Malformed, read_tagged
from tasks.prompts import PromptField, PromptText, fill, load_prompt
from tasks.stage import Runtime, StageConfig, stage


class JudgeProblemConfig(StageConfig):
    """How one judge is asked."""

    prompt: PromptField = Field(default_factory=lambda: load_prompt("judge_problem"))
    """Prompt with the holes [[concepts]], [[level]] and [[draft]]: a packaged name or @file."""
    model: str = "judge"
    """Role or reference of the judge."""
    sampling: Sampling = Sampling(temperature=0.6, max_tokens=2048)
    """How the reply is drawn."""
    stream: str = "main"
    """Names an independent set of draws."""
    concurrency: Annotated[int, Runtime()] = Field(32, ge=1)
    """Drafts under way at once."""

    @field_validator("prompt")
    @classmethod
    def _concepts_level_draft(cls, prompt: PromptText) -> PromptText:
        fill(prompt, concepts="", level="", draft="")  # a wrong hole is known before the first call
        return prompt


@stage
async def judge_problem(draft: Draft, config: JudgeProblemConfig, model: Engine) -> Judgement:
    """One judgement of the draft. A reply that is cut off or unclear gives the verdict `unknown` and says why."""
    try:
        format_rating: Rating = read_tagged(draft.text).format
    except Malformed as error:
        judged = Judged({**dict.fromkeys(CRITERIA), "FORMAT": "bad"}, "bad", str(error))
        return _row(draft, "bad", judged, None)
    prompt = fill(config.prompt, concepts=bulleted(draft.concepts), level=draft.level, draft=draft.text.strip())
    [reply] = [r async for r in model.sample(prompt, n=1, sampling=config.sampling)]
    judged = read_judgement(reply.text, format_rating, cut_off=reply.finish_reason == "length")
    return _row(draft, format_rating, judged, reply.call_id)


def _row(draft: Draft, format_rating: Rating, judged: Judged, call_id: str | None) -> Judgement:
    return Judgement(
        id=derived_id("judge_problem", draft.id),
        problem_id=draft.problem_id,
        draft_id=draft.id,
        verdict=judged.verdict,
        format=format_rating,
        factual_accuracy=judged.ratings["FACTUAL ACCURACY"],
        difficulty_alignment=judged.ratings["DIFFICULTY ALIGNMENT"],
        concept_coverage=judged.ratings["CONCEPT COVERAGE"],
        solvability=judged.ratings["SOLVABILITY"],
        why=judged.why,
        call_id=call_id,
    )
