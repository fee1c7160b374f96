"""Collect errors: complete replies with a wrong final answer, to problems of a given pass rate (Step-DPO, section 3.2).

Contaminated problems are left out here, before anything more is paid for them; `step_pairs` checks again. Steps are looked at later: a
reply that states no answer, or was cut off, is no error with a first wrong step and stays out.
"""

from collections.abc import Iterator

from pydantic import Field

from storage.schemas import Mark, Problem, Rollout, Verdict
from tasks.stage import Rejected, StageConfig, stage


class WrongRepliesConfig(StageConfig):
    """Which wrong replies are kept."""

    per_problem: int = Field(2, ge=1)
    """At most this many wrong replies a problem (the published cap); the same text counts once."""
    min_pass_rate: float = Field(0.0, ge=0, le=1)
    """Problems solved less often than this are left out: nothing may lead to their answer."""
    max_pass_rate: float = Field(1.0, ge=0, le=1)
    """Problems solved more often than this are left out."""


@stage
def wrong_replies(
    problem: Problem, rollouts: list[Rollout], verdicts: list[Verdict], marks: list[Mark] | None, config: WrongRepliesConfig
) -> Iterator[Rollout | Rejected]:
    """The first wrong replies in the order they were drawn, unchanged and under their own ids."""
    hit = next((m for m in marks or () if m.contaminated), None)
    if hit is not None:
        yield Rejected("contaminated", f"{hit.column} hits {hit.benchmark} item {hit.item} by rule {hit.rule}")
        return
    known = [v for v in verdicts if v.verdict != "unknown"]
    if not known:
        yield Rejected("no reply could be verified", f"{len(rollouts)} replies")
        return
    rate = sum(v.verdict == "correct" for v in known) / len(known)
    if not config.min_pass_rate <= rate <= config.max_pass_rate:
        yield Rejected("pass rate outside the window", f"{rate:.3f}, wanted {config.min_pass_rate} to {config.max_pass_rate}")
        return
    wrong = {v.rollout_id for v in known if v.verdict == "wrong" and v.answer is not None}
    different: dict[str, Rollout] = {}
    for rollout in sorted(rollouts, key=lambda r: r.ordinal):
        if rollout.id in wrong:
            different.setdefault(" ".join(rollout.text.split()), rollout)
    if not different:
        yield Rejected("no wrong reply", f"of {len(known)} verified ones, pass rate {rate:.3f}")
    yield from list(different.values())[: config.per_problem]
