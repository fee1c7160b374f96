"""Distil: choose correct replies to teach from (rejection sampling, Qwen2.5-Math section 3.1; short and long form, PromptCoT section 4).

It does not decide what is correct (`verify` does) and looks at no other problem than its own.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from storage.ids import derived_id
from storage.schemas import Problem, Rollout, Solution, Verdict
from tasks.stage import Rejected, StageConfig, stage

Form = Literal["long", "short"]


class DistillConfig(StageConfig):
    """Which correct replies are kept."""

    per_problem: int = Field(4, ge=1)
    """At most this many solutions a problem, so that easy problems do not fill the set."""
    order: Literal["shortest", "longest", "first"] = "shortest"
    """Which ones: by length of the kept text in characters, or in the order they were drawn."""
    form: Form = "long"
    """`long` keeps the reply whole; `short` keeps only what follows a reasoning block (`</think>`)."""


@stage
def distill(
    problem: Problem, rollouts: list[Rollout], verdicts: list[Verdict], config: DistillConfig
) -> Iterator[Solution | Rejected]:
    """The chosen ones among the correct replies; texts that differ only in white space count once."""
    correct = {v.rollout_id for v in verdicts if v.verdict == "correct"}
    right = sorted((r for r in rollouts if r.id in correct), key=lambda r: r.ordinal)
    if not right:
        yield Rejected("no correct reply", f"of {len(rollouts)}")
        return
    different: dict[str, tuple[str, Rollout]] = {}
    for rollout in right:
        text = in_form(rollout.text, config.form)
        if text is not None:
            different.setdefault(" ".join(text.split()), (text, rollout))
    if not different:
        yield Rejected("no correct reply in that form", f"{len(right)} correct, none with text after its reasoning block")
    sign = {"shortest": 1, "longest": -1, "first": 0}[config.order]
    for text, rollout in sorted(different.values(), key=lambda pair: (sign * len(pair[0]), pair[1].ordinal))[: config.per_problem]:
        yield Solution(derived_id("distill", rollout.id), problem.id, rollout.id, text, rollout.n_tokens)


def in_form(text: str, form: Form) -> str | None:
    """The reply, or for `short` what follows its reasoning; None where nothing is left.

    A template may open the block in the prompt, so a reply with `</think>` alone is a complete block; one never closed has no answer.
    """
    if form == "long":
        return text if text.strip() else None
    _, closed, after = text.rpartition("</think>")
    if not closed and "<think>" in text:
        return None
    return after.strip() or None
