"""Going on from the right steps of a reply: one boundary, `Step k:` without a space, at collection, correction and training.

The published code collects after `Step 1: ` and corrects after `Step k:`: a space more or less gives other tokens.
"""

from typing import Annotated

from pydantic import AfterValidator

from models.engine import Prompt
from tasks.maths.steps import spans
from tasks.prompts import PromptField, PromptText, fill

_SAMPLE = "Step 1: one\nStep 2:"


def _begins_the_reply(prompt: PromptText) -> PromptText:
    if fill(prompt, problem="", prefix=_SAMPLE).prefill != _SAMPLE:
        raise ValueError(f"prompt {prompt.name!r} must end with an '## assistant' part that holds [[prefix]] and nothing else")
    return prompt


ContinuePrompt = Annotated[PromptField, AfterValidator(_begins_the_reply)]
"""Config field type: a prompt with the holes [[problem]] and [[prefix]], the latter alone in the assistant's part."""


def boundary(reply: str, step: int) -> int | None:
    """Where the header of step `step` (1-based) ends in a reply; None where it has no such step.

    Never behind white space: a tokenizer joins a space to the word behind it, and a prefix that ends in one has other tokens.
    """
    steps = spans(reply)
    return len(reply[: steps[step - 1].body].rstrip()) if 1 <= step <= len(steps) else None


def to_continue(prompt: PromptText, problem: str, reply: str, step: int) -> Prompt:
    """What asks for `reply` again from its step `step` (1-based) on. Raises ValueError where it has no such step."""
    end = boundary(reply, step)
    if end is None:
        raise ValueError(f"no step {step}: the reply has {len(spans(reply))}")
    return fill(prompt, problem=problem, prefix=reply[:end])
