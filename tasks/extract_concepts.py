"""Concept extraction: the few foundational concepts that a problem rests on (PromptCoT 1.0, both published prompt forms).

A reply in which the first form finds no list is asked again in the fallback form. Concepts are not compared between problems here.
"""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field, field_validator

from models.engine import Engine, Prompt, Sampling
from storage.ids import derived_id
from storage.schemas import Concepts, Problem
from tasks.maths.concept_list import read_lines, read_list
from tasks.prompts import PromptField, PromptText, fill, load_prompt
from tasks.stage import Rejected, Runtime, StageConfig, stage


class ExtractConceptsConfig(StageConfig):
    """How concepts are asked for."""

    prompt: PromptField = Field(default_factory=lambda: load_prompt("extract_concepts"))
    """Prompt for a Python list, with the holes [[problem]] and [[count]]: a packaged name or @file."""
    fallback: PromptField = Field(default_factory=lambda: load_prompt("extract_concepts_lines"))
    """Prompt for `Knowledge Point: ` lines, same holes; asked when the first reply holds no list."""
    model: str = "extractor"
    """Role or reference of the extractor."""
    count: int = Field(5, ge=1)
    """Concepts a problem at most; a reply with more is rejected, not cut."""
    sampling: Sampling = Sampling(temperature=0, max_tokens=1024)
    """How replies are drawn."""
    stream: str = "main"
    """Names an independent set of draws."""
    concurrency: Annotated[int, Runtime()] = Field(32, ge=1)
    """Problems under way at once."""

    @field_validator("prompt", "fallback")
    @classmethod
    def _problem_and_count(cls, prompt: PromptText) -> PromptText:
        fill(prompt, problem="", count="")  # a wrong hole is known before the first call
        return prompt


_READERS: dict[Literal["list", "lines"], Callable[[str], list[str]]] = {"list": read_list, "lines": read_lines}


@stage
async def extract_concepts(problem: Problem, config: ExtractConceptsConfig, model: Engine) -> Concepts | Rejected:
    """The concepts of one problem, after at most two calls. A reply that was cut off holds none."""
    call_ids: list[str] = []
    for form in _READERS:
        prompt = fill(config.prompt if form == "list" else config.fallback, problem=problem.problem, count=str(config.count))
        text, call_id = await _ask(model, prompt, config.sampling)
        call_ids.append(call_id)
        found = _READERS[form](text)
        if len(found) > config.count:
            return Rejected("too many concepts", f"{len(found)}, at most {config.count} were asked for")
        if found:
            return Concepts(derived_id("extract_concepts", problem.id), problem.id, found, form, call_ids)
    return Rejected("no concepts in the reply", text[:200])


async def _ask(model: Engine, prompt: Prompt, sampling: Sampling) -> tuple[str, str]:
    """(text, call) of one reply; no text where it was cut off."""
    [reply] = [r async for r in model.sample(prompt, n=1, sampling=sampling)]
    return ("" if reply.finish_reason == "length" else reply.text), reply.call_id
