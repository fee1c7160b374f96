"""Score difficulty: how often a reference solver misses the known answer, and how long it thinks (PromptCoT, difficulty study)."""

from pydantic import Field

from storage.ids import derived_id
from storage.schemas import Difficulty, Problem, Rollout, Verdict
from tasks.maths.jeffreys import jeffreys_interval
from tasks.stage import Rejected, StageConfig, stage


class DifficultyConfig(StageConfig):
    """What a difficulty score needs."""

    min_replies: int = Field(4, ge=1)
    """Fewer verified replies than this say nothing about a problem."""


@stage
def difficulty(problem: Problem, verdicts: list[Verdict], rollouts: list[Rollout], config: DifficultyConfig) -> Difficulty | Rejected:
    """Pass rate over the replies with a verdict, its 95 % interval, and mean tokens over all replies. Unknown is never counted as wrong."""
    known = [v for v in verdicts if v.verdict != "unknown"]
    if len(known) < config.min_replies:
        return Rejected("too few replies could be verified", f"{len(known)} of {len(rollouts)}, need {config.min_replies}")
    correct = sum(v.verdict == "correct" for v in known)
    low, high = jeffreys_interval(correct, len(known))
    return Difficulty(
        id=derived_id("difficulty", problem.id),
        problem_id=problem.id,
        n_replies=len(known),
        n_correct=correct,
        pass_rate=correct / len(known),
        pass_low=low,
        pass_high=high,
        mean_tokens=sum(r.n_tokens for r in rollouts) / len(rollouts),
    )
