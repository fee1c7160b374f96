"""Audit reference answers: which golds do the replies speak against? A ranked queue for a person to look at, nothing is changed.

Four signals, each from 0 to 1 and each a counted reason: replies that agree on another answer (majority against gold; a vote weighs the
odds that its source is right, measured over the whole dataset), a weaker source right where all stronger ones agree on another answer
(the faulty references that difficulty estimates trip over), a verifier that cannot settle what replies agree on, and an answer that is
not of the kind asked for. Score = 1 - product of (1 - weight x signal). It cannot see a wrong gold that the replies share.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import Field

from storage.ids import derived_id
from storage.schemas import Problem, Rollout, Suspect, Verdict
from tasks.maths.asked import type_clash
from tasks.maths.vote import vote_key
from tasks.stage import Made, Rejected, StageConfig, stage

MAJORITY, INVERSION, UNSETTLED, KIND = 1.0, 0.2, 0.5, 0.3
"""Weights of the signals: votes decide; an inversion has a reply on the gold's side, an unsettled verdict may be the verifier's fault,
and a question is read by a few patterns only."""


class AuditConfig(StageConfig):
    """How replies vote."""

    sources: bool = False
    """Each rollout number is a source of its own (a person, a model), the same for all problems; false: replies are draws of one solver."""
    min_replies: int = Field(2, ge=1)
    """Fewer complete replies than this say nothing about an answer."""
    min_votes: int = Field(2, ge=1)
    """Replies that must share another answer. 1 is for sources that are trusted alone, such as worked solutions."""


@dataclass(frozen=True, slots=True)
class _Vote:
    verdict: Verdict
    weight: float

    @property
    def key(self) -> str:
        """Equal for votes that count together, empty for a reply without an answer."""
        return "" if self.verdict.answer is None else vote_key(self.verdict.answer)


@dataclass(frozen=True, slots=True)
class _Evidence:
    problem: Problem
    signals: dict[str, float]
    """Reason -> weight x signal."""
    rival: list[_Vote]
    gold_votes: int
    n_replies: int

    @property
    def score(self) -> float:
        clean = 1.0
        for strength in sorted(self.signals.values()):
            clean *= 1 - strength
        return 1 - clean


@stage(scope="dataset")
def audit(
    problems: list[Problem], verdicts: list[Verdict], rollouts: list[Rollout], config: AuditConfig
) -> Iterator[Made[Suspect] | Rejected]:
    """A Suspect for each problem with any sign, ranked over all of them; the others are rejected, saying why. Raises ValueError for a
    verdict whose rollout is not given."""
    votes = _votes(verdicts, rollouts, config)
    queue: list[_Evidence] = []
    for problem in problems:
        found = _examine(problem, votes.get(problem.id, []), config)
        if isinstance(found, Rejected):
            yield found
        else:
            queue.append(found)
    queue.sort(key=lambda e: (-e.score, e.problem.id))
    for rank, evidence in enumerate(queue, 1):
        yield Made(_row(rank, evidence), of=[evidence.problem.id])


def _votes(verdicts: list[Verdict], rollouts: list[Rollout], config: AuditConfig) -> dict[str, list[_Vote]]:
    """The complete replies of each problem, in an order that does not depend on how the rows came."""
    by_id = {r.id: r for r in rollouts}
    known: list[tuple[int, Verdict]] = []
    for verdict in sorted(verdicts, key=lambda v: v.id):
        if verdict.rollout_id not in by_id:
            what = f"its rollout {verdict.rollout_id} is not among the {len(by_id)} given"
            raise ValueError(f"verdict {verdict.id}: {what}: use versions made together")
        rollout = by_id[verdict.rollout_id]
        if rollout.finish_reason != "length":
            known.append((rollout.ordinal if config.sources else 0, verdict))
    odds = _odds(known)
    found: dict[str, list[_Vote]] = {}
    for source, verdict in known:
        found.setdefault(verdict.problem_id, []).append(_Vote(verdict, odds[source]))
    return found


def _odds(known: list[tuple[int, Verdict]]) -> dict[int, float]:
    """Odds that a source is right, (correct + 1) / (wrong + 1) over the dataset: few golds are wrong, so they measure it well enough."""
    right: dict[int, int] = {}
    wrong: dict[int, int] = {}
    for source, verdict in known:
        right[source] = right.get(source, 0) + (verdict.verdict == "correct")
        wrong[source] = wrong.get(source, 0) + (verdict.verdict == "wrong")
    return {source: (right[source] + 1) / (wrong[source] + 1) for source in right}


def _examine(problem: Problem, votes: list[_Vote], config: AuditConfig) -> _Evidence | Rejected:
    if problem.answer is None or not problem.answer.strip() or problem.answer_type == "proof":
        return Rejected("no reference answer", of=problem.id)
    gold = [v for v in votes if v.verdict.verdict == "correct"]
    if votes and len(gold) == len(votes) >= config.min_replies:
        return Rejected("no sign of a wrong gold", "all replies give it", of=problem.id)
    signals: dict[str, float] = {}
    if clash := type_clash(problem.problem, problem.answer):
        signals[clash] = KIND
    enough = len(votes) >= config.min_replies
    rival = _rival([v for v in votes if v.verdict.verdict != "correct"], config.min_votes)
    if enough:
        signals |= _signals_of_votes(votes, gold, rival, config)
    if signals:
        return _Evidence(problem, signals, rival, len(gold), len(votes))
    if not enough:
        return Rejected("too few replies", f"{len(votes)}, need {config.min_replies}", of=problem.id)
    return Rejected("no sign of a wrong gold", of=problem.id)


def _rival(votes: list[_Vote], min_votes: int) -> list[_Vote]:
    """The votes of the answer with the greatest weight among those with enough votes, else among all; equal ones by their text."""
    groups: dict[str, list[_Vote]] = {}
    for vote in votes:
        if vote.key:
            groups.setdefault(vote.key, []).append(vote)
    return min(groups.values(), key=lambda group: (len(group) < min_votes, -_weight(group), group[0].key), default=[])


def _weight(votes: list[_Vote]) -> float:
    return sum(sorted(v.weight for v in votes))


def _signals_of_votes(votes: list[_Vote], gold: list[_Vote], rival: list[_Vote], config: AuditConfig) -> dict[str, float]:
    """The margin is taken over all replies and one more of even odds, so that four of four say more than two of two."""
    signals: dict[str, float] = {}
    if len(rival) < config.min_votes:
        return signals
    margin = (_weight(rival) - _weight(gold)) / (_weight(votes) + 1)
    unknown = sum(v.verdict.verdict == "unknown" for v in rival) / len(rival)
    if margin > 0 and unknown < 1:
        signals["replies agree on another answer"] = MAJORITY * margin * (1 - unknown)
    if margin > 0 and unknown:
        signals["the verifier cannot settle what replies agree on"] = UNSETTLED * margin * unknown
    stronger = _stronger_than_gold(votes, gold)
    if len(stronger) >= 2 and len({v.key for v in stronger}) == 1 and stronger[0].key == rival[0].key:
        signals["a weaker source is right where all stronger ones agree on another answer"] = INVERSION * len(stronger) / len(votes)
    return signals


def _stronger_than_gold(votes: list[_Vote], gold: list[_Vote]) -> list[_Vote]:
    """Replies of sources stronger than the strongest that gives the gold; none where no reply gives it or all are of one solver."""
    best = max((v.weight for v in gold), default=None)
    return [] if best is None else [v for v in votes if v.weight > best]


def _row(rank: int, evidence: _Evidence) -> Suspect:
    problem, answers = evidence.problem, sorted(v.verdict.answer or "" for v in evidence.rival)
    assert problem.answer is not None
    return Suspect(
        id=derived_id("audit", problem.id),
        problem_id=problem.id,
        score=evidence.score,
        rank=rank,
        gold=problem.answer,
        majority=answers[0] if answers else None,
        majority_votes=len(answers),
        gold_votes=evidence.gold_votes,
        n_replies=evidence.n_replies,
        reasons=sorted(evidence.signals, key=lambda reason: (-evidence.signals[reason], reason)),
    )
