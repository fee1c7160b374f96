"""Decide the first wrong step of a reply from what independent locators say; the rest waits for a person (Step-DPO, section 3.2).

A person's answer decides alone, as long as the reply is the one that the person saw. It looks at no text: locators do.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from storage.ids import derived_id, digest
from storage.schemas import Fault, Location, LocatorName, Rollout
from tasks.stage import Rejected, StageConfig, stage

DISAGREE = "locators disagree"
TOO_FEW = "too few locators could decide"
UNDECIDED = (DISAGREE, TOO_FEW)
"""Reasons for which a reply waits for a person."""

Policy = Literal["any_two", "unanimous", "judge_only", "symbolic_only"]


class DecideFaultConfig(StageConfig):
    """Whose word counts."""

    policy: Policy = "any_two"
    """any_two: two locators name the same step. unanimous: all of `locators` do. judge_only, symbolic_only: that one alone."""
    locators: tuple[LocatorName, ...] = Field(("symbolic", "judge", "rollouts"), min_length=1)
    """Who is heard under any_two and unanimous; one that is missing for a reply has abstained."""


@stage
def decide_fault(
    rollout: Rollout,
    symbolic: list[Location],
    judged: list[Location] | None,
    sampled: list[Location] | None,
    reviews: list[Location] | None,
    config: DecideFaultConfig,
) -> Fault | Rejected:
    """The fault, or why there is none. Every location names its locator, so their order does not matter; `reviews` are people's."""
    own = [found for given in (symbolic, judged, sampled, reviews) for found in given or () if found.rollout_id == rollout.id]
    seen = review_id(rollout)
    person = next((found for found in own if found.id == seen), None)
    if person is not None:
        return _by_person(rollout, person, _votes(own, config.locators))
    heard = {"judge_only": ("judge",), "symbolic_only": ("symbolic",)}.get(config.policy, config.locators)
    votes = _votes(own, heard)
    named = Counter(found.first_wrong_step for found in own if found.locator in heard and not found.abstained)
    needed = 2 if config.policy == "any_two" else len(heard)
    agreed = [step for step, count in named.items() if count >= needed]
    if len(agreed) != 1:
        return Rejected(DISAGREE if len(named) > 1 else TOO_FEW, "; ".join(votes))
    return _fault(rollout, agreed[0], config.policy, votes)


def review_id(rollout: Rollout) -> str:
    """Id of a person's answer about this very text: another reply under the same id, of a changed prompt, has to be looked at anew."""
    return derived_id("review", rollout.id, digest(rollout.text, 16))


def _by_person(rollout: Rollout, answer: Location, votes: list[str]) -> Fault | Rejected:
    if answer.abstained:
        return Rejected("a person could not decide", answer.why)
    return _fault(rollout, answer.first_wrong_step, "person", votes)


def _fault(rollout: Rollout, step: int | None, decided_by: str, votes: list[str]) -> Fault | Rejected:
    if step is None:
        return Rejected("no step is wrong", f"by {decided_by}: {'; '.join(votes)}")
    return Fault(derived_id("decide_fault", rollout.id), rollout.problem_id, rollout.id, step, decided_by, votes)


def _votes(own: Sequence[Location], heard: Sequence[str]) -> list[str]:
    """What each locator said, those first that are heard."""
    said = {found.locator: vote(found) for found in own}
    return [said.get(name, f"{name} abstained") for name in dict.fromkeys([*heard, *said])]  # type: ignore[call-overload]


def vote(found: Location) -> str:
    """`symbolic 3`, `judge none`, `rollouts abstained`."""
    step = "abstained" if found.abstained else found.first_wrong_step or "none"
    return f"{found.locator} {step}"
