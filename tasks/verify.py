"""Verify: does the final answer of a reply equal the reference answer? Three verdicts; what cannot be decided is `unknown`, never wrong."""

from dataclasses import dataclass

from pydantic import Field

from storage.ids import derived_id
from storage.schemas import Problem, Rollout, Verdict, VerdictName
from tasks.maths.answers import Judgement, verify_answer
from tasks.maths.extract import find_answer
from tasks.stage import Rejected, StageConfig, stage


class VerifyConfig(StageConfig):
    """How answers are found and how long one comparison may take."""

    last_number: bool = False
    """Take the last number of a reply that states no answer. It turns working into answers; off by default."""
    limit_s: float = Field(1.8, gt=0, le=60)
    """Seconds of wall time one comparison may take in the last tier; past it the verdict is `unknown`."""


@stage(tools=("math-verify", "sympy"))
def verify(rollout: Rollout, problem: Problem, config: VerifyConfig) -> Verdict | Rejected:
    """A complete reply that states no answer is wrong (tier `none`); one that was cut off is unknown, whatever it contains."""
    if problem.answer_type == "proof":
        return Rejected("proofs are not verified")
    if problem.answer is None or not problem.answer.strip():
        return Rejected("no reference answer")
    if rollout.finish_reason == "length":
        found, judgement = None, Judgement("unknown", "none", "cut off")
    else:
        found = find_answer(rollout.text, last_number=config.last_number)
        judgement = _judge(problem.answer, found, problem, config)
    return Verdict(
        id=derived_id("verify", rollout.id),
        problem_id=rollout.problem_id,
        rollout_id=rollout.id,
        verdict=judgement.verdict,
        answer=found,
        tier=judgement.tier,
        why=judgement.why,
    )


def _judge(gold: str, found: str | None, problem: Problem, config: VerifyConfig) -> Judgement:
    if found is None:
        return Judgement("wrong", "none", "no answer found")
    return verify_answer(gold, found, question=problem.problem, answer_type=problem.answer_type, limit_s=config.limit_s)


@dataclass(frozen=True, slots=True)
class GradeInput:
    """A line of the file that `mathmill apply verify` reads: a reference with either the whole reply or the answer alone."""

    gold: str
    reply: str | None = None
    answer: str | None = None
    id: str | None = None
    question: str | None = None


@dataclass(frozen=True, slots=True)
class Graded:
    """A line that it writes."""

    id: str | None
    verdict: VerdictName
    answer: str | None
    tier: str


@verify.plain_form
def grade(row: GradeInput, config: VerifyConfig) -> Graded:
    """The verdict on one line. A gold that is itself a worked solution (`#### 5`, a box) gives its final answer."""
    if (row.reply is None) == (row.answer is None):
        raise ValueError(f"row {row.id!r}: give exactly one of 'reply' and 'answer'")
    found = row.answer if row.reply is None else find_answer(row.reply, last_number=config.last_number)
    if found is None:
        return Graded(row.id, "wrong", None, "none")
    gold = find_answer(row.gold) if "\\boxed" in row.gold or "####" in row.gold else None
    judgement = verify_answer(gold or row.gold, found, question=row.question, limit_s=config.limit_s)
    return Graded(row.id, judgement.verdict, found, judgement.tier)
