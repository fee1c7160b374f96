"""nano:judge-a and nano:judge-b rate drafts by five criteria, as the packaged prompt `judge_problem` asks (PromptCoT, two judges).

They differ as two families of models do: problems of other worlds, another mixture of flaws, and a blind spot each, so that one misses
what the other sees. Measured by ROC against exact ratings, through the stage itself.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np

from models.nano import nano_names, nano_path
from storage.schemas import Draft, Judgement, Rating, from_table
from tasks.judge_problem import JudgeProblemConfig, judge_problem
from tasks.maths.concept_list import bulleted
from tasks.maths.judgement import CRITERIA
from tasks.maths.tagged import TAGS
from tasks.nano.chat import ChatRecipe, Shot, fixed_prose, train_chat
from tasks.nano.role import Figures, Role, Trained, model_facts
from tasks.nano.roles.author import PHRASES as AUTHOR_PHRASES
from tasks.nano.roles.author import PROMPTS as AUTHOR_PROMPTS
from tasks.nano.roles.author import brief_of, drafts_for, messages
from tasks.nano.roles.playing import play
from tasks.nano.roles.ratings import Flawed, Seen, flawed, rate, verdict
from tasks.nano.world import World

MALFORMED_RATE = 0.04
"""Share of taught replies without a clear verdict."""
_SOUND = 0.25
"""Share of sound drafts among those that are taught. Most are flawed, and more than once: judges taught on drafts of which half are
sound called everything perfect (area under the ROC 0.53)."""
_DRAWS = 3
"""Judgements a draft when a ROC is measured: a draft's score is the share of `perfect` among them."""
_FINAL = "Final Judgement: "
_HEADS = (
    *(f"FORMAT: {why}. Rating: {r}\n" for why, r in (("all tags are there", "Perfect"), ("END RATIONALE is missing", "Acceptable"))),
    *(f"FORMAT: {tag} is missing. Rating: Bad\n" for tag in TAGS),
    *("FACTUAL ACCURACY: nothing is wrong. Rating: Perfect\n", "FACTUAL ACCURACY: the rationale says otherwise. Rating: Bad\n"),
    *("FACTUAL ACCURACY: the problem contradicts itself. Rating: Bad\n", "DIFFICULTY ALIGNMENT: it uses ", "; that is level "),
    *("CONCEPT COVERAGE: all are used. Rating: Perfect\n", "CONCEPT COVERAGE: no use of ", "CONCEPT COVERAGE: nobody asked for "),
    *(f"SOLVABILITY: {why}. Rating: Bad\n" for why in ("there is no answer", "something is missing")),
    *("SOLVABILITY: all is given. Rating: Perfect\n", ". Rating: Perfect\n", ". Rating: Acceptable\n", ". Rating: Bad\n"),
)
PHRASES = (*AUTHOR_PHRASES, *fixed_prose("judge_problem"), *_HEADS, *(_FINAL + word for word in ("perfect", "acceptable", "bad")), _FINAL)


@dataclass(frozen=True, slots=True)
class Judge:
    """What makes one judge differ from the other."""

    weights: Mapping[str, float]
    """Flaws of the drafts it is taught on, by weight."""
    blind_to: str
    """The criterion that it is taught to overlook in a share of the bad cases ..."""
    blind_where: Callable[[Flawed], bool]
    """... of this kind ..."""
    blind_in: str
    """... in words."""
    blind_share: float
    world: int
    """Added to the seed: the world that its drafts are from."""


_WEIGHTS_A = {"a number is missing": 1.5, "contradicting facts": 2.5, "another person": 1.0, "other concepts": 1.0}
_WEIGHTS_B = {"a number is missing": 1.0, "contradicting facts": 2.0, "another person": 0.5, "other concepts": 2.0}
JUDGES = {
    "judge-a": Judge(
        weights={**_WEIGHTS_A, "wrong level": 1.5, "a tag is missing": 0.5},
        blind_to="FACTUAL ACCURACY",
        blind_where=lambda draft: " cm" in draft.problem,
        blind_in="in problems about lengths and areas",
        blind_share=0.7,
        world=0,
    ),
    "judge-b": Judge(
        weights={**_WEIGHTS_B, "wrong level": 2.0, "a tag is missing": 0.5},
        blind_to="CONCEPT COVERAGE",
        blind_where=lambda draft: draft.level >= 3,
        blind_in="at level 3 and above",
        blind_share=0.7,
        world=1,
    ),
}
_EVEN = {**_WEIGHTS_A, **dict.fromkeys(["contradicting facts", "another person", "other concepts", "wrong level"], 1.0)}
"""Flaws of the drafts that both are measured on."""
_OVERLOOKED = {"FACTUAL ACCURACY": Seen("perfect", "nothing is wrong"), "CONCEPT COVERAGE": Seen("perfect", "all are used")}


def shots(judge: Judge, world: World, count: int) -> Iterator[Shot]:
    """Drafts of `count` training problems, and what this judge is taught to say of them."""
    random = Random(world.seed * 1000003 + 43)
    for task in islice(world.tasks("train"), count):
        draft = flawed(task, random, judge.weights, _SOUND)
        ratings = rate(draft)
        blind = ratings[judge.blind_to].rating == "bad" and judge.blind_where(draft) and random.random() < judge.blind_share
        if blind:
            ratings[judge.blind_to] = _OVERLOOKED[judge.blind_to]
        chat = messages("judge_problem", concepts=bulleted(draft.concepts), level=str(draft.level), draft=draft.text)
        yield Shot(chat, _reply(ratings, random))


def _reply(ratings: Mapping[str, Seen], random: Random) -> str:
    lines = [f"{name}: {ratings[name].why}. Rating: {ratings[name].rating.capitalize()}\n" for name in CRITERIA]
    final = verdict(ratings)
    if random.random() < MALFORMED_RATE:
        return "".join(lines) + random.choice(["", f"{_FINAL}not {final}", f"{_FINAL}{final}, all in all", final])
    return "".join(lines) + _FINAL + final


def recipe(name: str) -> ChatRecipe:
    """How the judge `name` is trained."""
    taught = functools.partial(shots, JUDGES[name])
    return ChatRecipe(taught, AUTHOR_PROMPTS, PHRASES, count=6_000, batch=16, muon_lr=0.02, adam_lr=4e-3, start="author")


def train(name: str, seed: int, work: Path, save_every: int) -> Trained:
    """The judge `name` of the world `seed`, going on from what `work` holds."""
    return train_chat(recipe(name), seed + JUDGES[name].world, work, save_every)


def made_drafts(seed: int, count: int) -> list[Draft]:
    """Drafts of held-out problems, sound and flawed; those whose tags are wrong are left out, since they are a parser's to judge."""
    random = Random(seed * 1000003 + 47)
    made: list[Draft] = []
    for task in World(seed).tasks("test"):
        draft = flawed(task, random, _EVEN, 0.5)
        if not draft.missing_tag and len(made) < count:
            made.append(as_draft(draft, brief_of(task).id))
        elif len(made) == count:
            return made
    return made


def as_draft(draft: Flawed, brief_id: str) -> Draft:
    """The row of a draft that was made here."""
    concepts, level = list(draft.concepts), str(draft.level)
    return Draft(f"d{brief_id[1:]}", brief_id, brief_id, concepts, level, draft.rationale, draft.problem, draft.text, None)


def deserved(draft: Draft) -> Rating:
    """The verdict that a draft deserves."""
    return verdict(rate(Flawed(tuple(draft.concepts), int(draft.level), draft.rationale, draft.problem)))


def judge_all(folder: Path, drafts: Sequence[Draft], stream: str = "main") -> list[Judgement]:
    """What the judge in `folder` says of each draft, in order, at the stage's own temperature."""
    outcome = play(judge_problem, JudgeProblemConfig(stream=stream), folder, draft=drafts)
    said = {row.draft_id: row for row in from_table(outcome.rows, Judgement)}
    return [said[draft.id] for draft in drafts]


def measure(folder: Path, seed: int, count: int = 160) -> Figures:
    """ROC over drafts made for the purpose and over those that nano:author writes, both of held-out problems; and single judgements."""
    made, written = made_drafts(seed, count), drafts_for(nano_path("author"), list(islice(World(seed).tasks("test"), count)))
    figures: dict[str, float] = {}
    for name, drafts in (("made", made), ("written", written)):
        draws = [judge_all(folder, drafts, f"roc-{i}") for i in range(_DRAWS)]
        scores = np.mean([[j.verdict == "perfect" for j in draw] for draw in draws], axis=0)
        good = np.array([deserved(d) == "perfect" for d in drafts])
        low, high = bootstrap(scores, good, seed)
        figures |= {f"{name}_drafts": len(drafts), f"{name}_perfect": float(good.mean()), f"{name}_auc": auc(scores, good)}
        figures |= {f"{name}_auc_low": low, f"{name}_auc_high": high}
        figures[f"{name}_right"] = sum(j.verdict == deserved(d) for j, d in zip(draws[0], drafts, strict=True)) / len(drafts)
        figures[f"{name}_false_perfect"] = float(np.mean([j.verdict == "perfect" for j in np.array(draws[0], object)[~good]]))
        figures[f"{name}_unknown"] = sum(j.verdict == "unknown" for j in draws[0]) / len(drafts)
        figures |= _agreement(folder, name, drafts, draws[0])
    return {name: round(float(value), 4) for name, value in figures.items()}


def _agreement(folder: Path, name: str, drafts: Sequence[Draft], said: Sequence[Judgement]) -> dict[str, float]:
    """How often the other judge says the same, once it ships."""
    other = next(judge for judge in JUDGES if judge != folder.name)
    if other not in nano_names():
        return {}
    same = [a.verdict == b.verdict for a, b in zip(said, judge_all(nano_path(other), drafts), strict=True)]
    return {f"{name}_agreement": sum(same) / len(same)}


def auc(scores: np.ndarray, good: np.ndarray) -> float:
    """Area under the ROC: how often a good one scores above a bad one, ties counting half."""
    above = scores[good][:, None] - scores[~good][None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def bootstrap(scores: np.ndarray, good: np.ndarray, seed: int, times: int = 1000) -> tuple[float, float]:
    """95 % percentile interval of the area over resampled drafts."""
    random = np.random.default_rng(seed)
    drawn = (random.integers(0, len(good), len(good)) for _ in range(times))
    areas = [auc(scores[i], good[i]) for i in drawn if 0 < good[i].sum() < len(good)]
    return float(np.percentile(areas, 2.5)), float(np.percentile(areas, 97.5))


def card(name: str, folder: Path, seed: int, figures: Figures) -> str:
    """The card of the judge `name`."""
    judge = JUDGES[name]
    flaws = ", ".join(f"{flaw} {weight:g}" for flaw, weight in judge.weights.items())
    return _CARD.format(
        name=name,
        facts=model_facts(folder),
        seed=seed,
        world=seed + judge.world,
        count=recipe(name).count,
        flaws=flaws,
        blind=judge.blind_to,
        share=judge.blind_share,
        where=judge.blind_in,
        malformed=MALFORMED_RATE,
        draws=_DRAWS,
        rows="".join(_line(figures, kind, what) for kind, what in (("made", "made on purpose"), ("written", "written by nano:author"))),
    )


def _line(m: Figures, kind: str, what: str) -> str:
    interval = f"{m[f'{kind}_auc']:.3f} ({m[f'{kind}_auc_low']:.3f} to {m[f'{kind}_auc_high']:.3f})"
    shares = [f"{m[f'{kind}_{figure}']:.1%}" for figure in ("perfect", "right", "false_perfect", "unknown")]
    agreement = f"{m[f'{kind}_agreement']:.1%}" if f"{kind}_agreement" in m else "not measured"
    return f"| {what} | {m[f'{kind}_drafts']:.0f} | {shares[0]} | {interval} | {' | '.join(shares[1:])} | {agreement} |\n"


_CARD = """# nano:{name}

{facts} that rates drafts of problems of the nano world by five criteria and gives a verdict: perfect, acceptable or bad. Its blind spot,
taught on purpose: {blind} is called Perfect in {share:.0%} of the cases where it is Bad {where}. What it says about problems of other
kinds means nothing.

Made from nano:author by `python -m tasks.nano.build --role {name} --seed {seed}` ({count:,} drafts of problems of the training split of
world {world}, a quarter of them sound, the others with one to three flaws by these weights: {flaws};
{malformed:.0%} of the replies without a clear verdict; one CPU thread, some minutes; resumable). `--check` measures it again.

Held-out problems, temperature 0.6. The ROC is over the share of `perfect` in {draws} judgements of a draft; the truth is computed from the
draft; intervals are 95 %, bootstrap over drafts. The other columns are of one judgement a draft. An interval that holds 0.5 means that
the judge is not shown to be better than chance there.

| drafts | number | perfect in truth | area under the ROC | right verdict | called perfect though it is not | unknown | agreement with the \
other judge |
|---|---|---|---|---|---|---|---|
{rows}
Input: the chat of the packaged prompt `judge_problem`. Generated file; do not edit.
"""

ROLES = tuple(Role(name, functools.partial(train, name), measure, "made_auc", functools.partial(card, name)) for name in JUDGES)
