"""Locate the first wrong step of a wrong reply by arithmetic alone (Step-DPO, step localisation, without a judge).

It abstains where arithmetic cannot decide. The judge and the rollouts are locators of their own, with rows of the same kind.
"""

from dataclasses import dataclass
from typing import Literal

from storage.ids import derived_id
from storage.schemas import Location, Problem, Rollout, Verdict
from tasks.maths.check_steps import first_wrong
from tasks.maths.steps import body, spans
from tasks.stage import Rejected, StageConfig, stage


class LocateConfig(StageConfig):
    """Which locator; those that ask a model are stages of their own."""

    locators: Literal["symbolic"] = "symbolic"
    """symbolic: every equation is checked exactly, every quantity followed to where it is from."""


@stage
def locate(rollout: Rollout, problem: Problem, verdicts: list[Verdict] | None, config: LocateConfig) -> Location | Rejected:
    """One Location per reply that is verified as wrong; without verdicts, per reply."""
    verdict = next((v.verdict for v in verdicts or () if v.rollout_id == rollout.id), None)
    if verdicts is not None and verdict != "wrong":
        return Rejected("not verified as wrong")
    if not rollout.text.strip():
        return Rejected("empty reply")
    steps = [rollout.text[step.body : step.end] for step in spans(rollout.text)]
    found = first_wrong(problem.problem, steps, problem.answer, right=False if verdict == "wrong" else None)
    return Location(
        id=derived_id("locate", rollout.id),
        problem_id=rollout.problem_id,
        rollout_id=rollout.id,
        locator=config.locators,
        first_wrong_step=found.first_wrong_step,
        abstained=found.abstained,
        n_steps=len(steps),
        why=found.why,
    )


@dataclass(frozen=True, slots=True)
class LocateInput:
    """A line of the file that `mathmill apply locate` reads: a problem with the steps of one solution, headers or not."""

    problem: str
    steps: list[str]
    answer: str | None = None
    """The reference answer."""
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """A line that it writes."""

    id: str | None
    first_wrong_step: int | None
    abstained: bool
    why: str


@locate.plain_form
def locate_line(row: LocateInput, config: LocateConfig) -> Located:
    """The finding on one line."""
    found = first_wrong(row.problem, [body(step) for step in row.steps], row.answer)
    return Located(row.id, found.first_wrong_step, found.abstained, found.why)
