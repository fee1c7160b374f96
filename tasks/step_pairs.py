"""Step pairs: the wrong step against a step that leads to the right answer, after the same right steps (Step-DPO, section 3.2, eq. 2).

Rows are joined by id alone. A pair is refused where it would prefer nothing or teach the wrong thing: equal steps, a step that is in
fact right, a whole solution as one step, another token at the boundary, a contaminated problem.
"""

import functools
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from models.train.encode import Tokens
from storage.ids import derived_id
from storage.schemas import Fault, Location, Mark, Problem, Rollout, StepPair, Verdict
from tasks.continuing import ContinuePrompt, boundary, to_continue
from tasks.maths.check_steps import first_wrong
from tasks.maths.pair_quality import lengths_ratio, plain_step, same_result, same_step
from tasks.maths.steps import spans
from tasks.prompts import load_prompt
from tasks.stage import ModelFolder, Rejected, StageConfig, stage

STILL_RIGHT = "the wrong step still leads to the answer"


class StepPairsConfig(StageConfig):
    """Which pairs are made."""

    prompt: ContinuePrompt = Field(default_factory=lambda: load_prompt("continue_steps"))
    """The prompt that the continuations were asked with."""
    tokenizer: str = "solver"
    """Role or reference of the model that will be trained: its tokenizer has to see the prefix alike with both steps. A local folder."""
    pairs_per_prefix: int = Field(4, ge=1)
    """Different better steps after one prefix at most, those first that most right continuations took."""
    max_ratio: float = Field(4.0, gt=1)
    """A step more than so many times as long as the other is another kind of step, or a whole solution."""
    check_winner: bool = True
    """Leave out better steps in which the exact check of equations finds a mistake."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A reply at the header of one of its steps."""

    prefix: str
    step: str
    ends: bool


def cut(text: str, k: int) -> Cut | None:
    """Step k (1-based) of a reply without its header; white space before the next header is not part of it. None where there is none."""
    begins = boundary(text, k)
    if begins is None:
        return None
    steps = spans(text)
    ends = k == len(steps)
    step = text[begins : steps[k - 1].end]
    return Cut(text[:begins], step if ends else step.rstrip(), ends)


@stage
def step_pairs(
    fault: Fault,
    problem: Problem,
    replies: list[Rollout],
    continued: list[Rollout],
    verdicts: list[Verdict],
    marks: list[Mark],
    faults: list[Fault],
    sampled: list[Location] | None,
    tokenizer: ModelFolder,
    config: StepPairsConfig,
) -> Iterator[StepPair | Rejected]:
    """Pairs of one fault, or why there is none. `replies` are the wrong ones, `continued` goes on from the right steps of each fault,
    `faults` are all of the problem, `sampled` is what the locator by rollouts found.
    """
    texts = {r.id: r.text for r in replies}
    wrong = cut(texts[fault.rollout_id], fault.step)
    if wrong is None:
        yield Rejected("no such step", f"step {fault.step} of reply {fault.rollout_id}")
        return
    own = sorted((r for r in continued if r.parent_id == fault.id), key=lambda r: r.ordinal)
    right = {v.rollout_id for v in verdicts if v.verdict == "correct"}
    why = _contaminated(problem, marks) or _taken(fault, wrong, faults, texts) or _still_right(fault, wrong, own, right, sampled or [])
    if why is not None:
        yield why
        return
    reasons: Counter[str] = Counter()
    made: list[StepPair] = []
    for rollout, better in _candidates(wrong, fault.step, [r for r in own if r.id in right]):
        pair = _pair(fault, problem, wrong, texts[fault.rollout_id], rollout, better, len(made))
        flaw = _flaw(pair, config) or _apart(pair, tokenizer, config)
        reasons[flaw] += 1
        if not flaw and len(made) < config.pairs_per_prefix:
            made.append(pair)
    yield from made
    if not made:
        tried = f"{sum(r.id in right for r in own)} of {len(own)} continuations are right"
        flaws = "".join(f"; {flaw}: {n}" for flaw, n in sorted(reasons.items()))
        yield Rejected("no better step" if reasons else "no continuation is right", tried + flaws)


def _contaminated(problem: Problem, marks: Sequence[Mark]) -> Rejected | None:
    own = [m for m in marks if m.subject_id == problem.id]
    if not own:
        return Rejected("not checked", f"no contamination mark for problem {problem.id}")
    hit = next((m for m in own if m.contaminated), None)
    return Rejected("contaminated", f"{hit.column} hits {hit.benchmark} item {hit.item} by rule {hit.rule}") if hit else None


def _taken(fault: Fault, wrong: Cut, faults: Sequence[Fault], texts: dict[str, str]) -> Rejected | None:
    """Of faults behind the same steps the one with the smallest id stands for all: a prefix has its pairs once."""
    earlier = [f for f in faults if f.id < fault.id and f.step == fault.step]
    same = next((f.id for f in earlier if (c := cut(texts[f.rollout_id], f.step)) and c.prefix == wrong.prefix), None)
    return Rejected("the prefix has its pairs", f"from fault {same}") if same else None


def _still_right(fault: Fault, wrong: Cut, own: Sequence[Rollout], right: set[str], sampled: Sequence[Location]) -> Rejected | None:
    """Evidence that the step called wrong is right: it was taken again and mostly led to the answer, or replies going on from it do."""
    again = [r.id for r in own if (c := cut(r.text, fault.step)) and same_step(c.step, wrong.step)]
    if sum(i in right for i in again) * 2 > len(again):
        return Rejected(STILL_RIGHT, f"{sum(i in right for i in again)} of {len(again)} continuations that take it are right")
    later = next((s for s in sampled if s.rollout_id == fault.rollout_id and (s.first_wrong_step or 0) > fault.step), None)
    return Rejected(STILL_RIGHT, later.why) if later else None


def _candidates(wrong: Cut, k: int, right: Sequence[Rollout]) -> list[tuple[Rollout, Cut]]:
    """One right continuation for each different step k, those first that most continuations took."""
    steps = [(r, c) for r in right if (c := cut(r.text, k)) and c.prefix == wrong.prefix]
    taken = Counter(plain_step(c.step) for _, c in steps)
    different = {plain_step(c.step): (r, c) for r, c in reversed(steps)}
    return sorted(different.values(), key=lambda pair: (-taken[plain_step(pair[1].step)], pair[0].ordinal))


def _pair(fault: Fault, problem: Problem, wrong: Cut, reply: str, rollout: Rollout, better: Cut, ordinal: int) -> StepPair:
    return StepPair(
        id=derived_id("step_pairs", fault.id, ordinal=ordinal),
        problem_id=problem.id,
        rollout_id=fault.rollout_id,
        fault_id=fault.id,
        problem=problem.problem,
        answer=problem.answer or "",
        step=fault.step,
        prefix=wrong.prefix,
        chosen=better.step,
        rejected=wrong.step,
        chosen_ends=better.ends,
        rejected_ends=wrong.ends,
        full_chosen=rollout.text,
        full_rejected=reply,
    )


def _flaw(pair: StepPair, config: StepPairsConfig) -> str:
    """Why two steps make no pair; empty where they do."""
    if not pair.chosen.strip() or not pair.rejected.strip():
        return "an empty step"
    if same_step(pair.chosen, pair.rejected):
        return "the same step"
    if same_result(pair.chosen, pair.rejected):
        return "the same result"
    if lengths_ratio(pair.chosen, pair.rejected) > config.max_ratio:
        return "lengths differ too much"
    if config.check_winner:
        steps = [pair.full_chosen[s.body : s.end] for s in spans(pair.full_chosen)]
        found = first_wrong(pair.problem, steps, pair.answer, right=True).first_wrong_step
        if found is not None and found <= pair.step:
            return "the better step holds a mistake"
    return ""


def _apart(pair: StepPair, tokenizer: ModelFolder, config: StepPairsConfig) -> str:
    """Whether prefix and step are the same token ids together as apart: what the continuations went on from is what is trained."""
    with _loading:
        tokens = _tokens(tokenizer.path)
    asked = to_continue(config.prompt, pair.problem, pair.full_rejected, pair.step)
    before = tokens.joined(asked, "") or []
    joined = [tokens.joined(asked, step) or [] for step in (pair.chosen, pair.rejected)]
    return "" if all(ids[: len(before)] == before for ids in joined) else "other tokens at the boundary"


_loading = threading.Lock()
"""Parts are made in threads, and two threads that import transformers for the first time see half of it."""


@functools.lru_cache(maxsize=2)
def _tokens(folder: Path) -> Tokens:
    return Tokens(folder)
