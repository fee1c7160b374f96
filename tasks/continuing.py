"""Going on from the right steps of a reply: one boundary, `Step k:` without a space, at collection, correction and training.

The published code collects after `Step 1: ` and corrects after `Step k:`: a space more or less gives other tokens.
"""

from typing import Annotated

from pydantic import AfterValidator

from models.engine import Prompt
from tasks.maths.steps import prefix_to
from tasks.prompts import PromptField, PromptText, fill

_SAMPLE = "Step 1: one\nStep 2:"


def _begins_the_reply(prompt: PromptText) -> PromptText:
    if fill(prompt, problem="", prefix=_SAMPLE).prefill != _SAMPLE:
        raise ValueError(f"prompt {prompt.name!r} must end with an '## assistant' part that holds [[prefix]] and nothing else")
    return prompt


ContinuePrompt = Annotated[PromptField, AfterValidator(_begins_the_reply)]
"""Config field type: a prompt with the holes [[problem]] and [[prefix]], the latter alone in the assistant's part."""


def to_continue(prompt: PromptText, problem: str, reply: str, step: int) -> Prompt:
    """What asks for `reply` again from its step `step` (1-based) on. Raises ValueError where it has no such step."""
    return fill(prompt, problem=problem, prefix=prefix_to(reply, step))
