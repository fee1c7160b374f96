"""Drafts of the nano world, flawed on purpose, and the exact ratings that any draft of it deserves.

The ratings are computed from the draft with the reader of the world's wordings, so they hold for what a model wrote as well as for what
is made here: nano judges are taught them and measured against them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

from storage.schemas import Rating
from tasks.maths.judgement import CRITERIA, rule
from tasks.maths.tagged import TAGS, Malformed, read_tagged, write_tagged
from tasks.nano.rationale import rationale
from tasks.nano.read_back import ReadBack, read_back
from tasks.nano.roles.author import brief_of
from tasks.nano.roles.concept_texts import NAMES, TEXTS
from tasks.nano.world import LEVELS, Task, Words, work_out

_NUMBER = re.compile(r"\d+")
_OTHER = re.compile(r"So ([A-Z][a-z]+) can be part")


@dataclass(frozen=True, slots=True)
class Flawed:
    """A draft in pieces, with what it was asked for; `missing_tag` is left out when it is written."""

    concepts: tuple[str, ...]
    level: int
    rationale: str
    problem: str
    missing_tag: str = ""

    @property
    def text(self) -> str:
        """As a generator would have written it."""
        whole = write_tagged(self.rationale, self.problem)
        return whole.replace(f"<!-- {self.missing_tag} -->", "").strip() if self.missing_tag else whole


class Seen(NamedTuple):
    """A rating and its reason in a few words."""

    rating: Rating
    why: str


def rate(draft: Flawed) -> dict[str, Seen]:
    """What each criterion deserves, and why."""
    reading = read_back(draft.problem)
    seen = (_format(draft), _facts(draft, reading), _difficulty(draft, reading), _coverage(draft, reading), _solvable(reading))
    return dict(zip(CRITERIA, seen, strict=True))


def verdict(ratings: Mapping[str, Seen]) -> Rating:
    """The final judgement that these ratings lead to."""
    return rule({name: seen.rating for name, seen in ratings.items()})


def _format(draft: Flawed) -> Seen:
    try:
        found = read_tagged(draft.text).format
    except Malformed:
        return Seen("bad", f"{draft.missing_tag} is missing")
    return Seen(found, "all tags are there" if found == "perfect" else "END RATIONALE is missing")


def _facts(draft: Flawed, reading: ReadBack) -> Seen:
    if reading.reason == "another person or thing than before":
        return Seen("bad", "the problem contradicts itself")
    if reading.composition is None:  # the problem says too little to be compared as a whole: at least its numbers are the rationale's
        agree = set(_NUMBER.findall(draft.problem)) <= set(_NUMBER.findall(draft.rationale))
    else:
        agree = reading.answer is not None and draft.rationale == _expected(draft, reading)
    return Seen("perfect", "nothing is wrong") if agree else Seen("bad", "the rationale says otherwise")


def _expected(draft: Flawed, reading: ReadBack) -> str:
    """The rationale of the problem as read; who takes part is the rationale's to say where the problem does not name anybody."""
    assert reading.composition is not None
    named = _OTHER.search(draft.rationale)
    words = {"name": "", "other": named[1] if named else "", "item": "", **dict(reading.words)}
    return rationale(Task(reading.composition, Words(**words), draft.problem, (), work_out(reading.composition)))


def _difficulty(draft: Flawed, reading: ReadBack) -> Seen:
    steps = len(reading.concepts)
    ratings: dict[int, Rating] = {0: "perfect", 1: "acceptable"}
    used = ", ".join(TEXTS[name] for name in reading.concepts) or "nothing"
    return Seen(ratings.get(abs(steps - draft.level), "bad"), f"it uses {used}; that is level {steps}")


def _coverage(draft: Flawed, reading: ReadBack) -> Seen:
    used = {TEXTS[name] for name in reading.concepts}
    missing = [text for text in draft.concepts if text not in used]
    further = [TEXTS[name] for name in reading.concepts if TEXTS[name] not in draft.concepts]
    if missing:
        return Seen("bad", f"no use of {missing[0]}")
    return Seen("acceptable", f"nobody asked for {further[0]}") if further else Seen("perfect", "all are used")


def _solvable(reading: ReadBack) -> Seen:
    if reading.answer is not None:
        return Seen("perfect", "all is given")
    return Seen("bad", "there is no answer" if reading.reason.startswith("no answer") else "something is missing")


# Flaws


def sound(task: Task) -> Flawed:
    """The task as an author should have written it for its own brief."""
    brief = brief_of(task)
    return Flawed(tuple(brief.concepts), task.level, rationale(task), task.statement)


def flawed(task: Task, random: Random, weights: Mapping[str, float], sound_share: float) -> Flawed:
    """A sound draft in a share of the cases, else one with one to three flaws drawn by weight."""
    draft = sound(task)
    if random.random() < sound_share:
        return draft
    for name in random.choices(list(weights), list(weights.values()), k=random.randint(1, 3)):
        draft = FLAWS[name](draft, random)
    return draft


def _without_number(draft: Flawed, random: Random) -> Flawed:
    found = list(_NUMBER.finditer(draft.problem))
    if not found:
        return draft
    gone = random.choice(found)
    return replace(draft, problem=" ".join((draft.problem[: gone.start()] + draft.problem[gone.end() :]).split()))


def _contradicting(draft: Flawed, random: Random) -> Flawed:
    """One number of the problem or of the rationale is another one."""
    if random.random() < 0.5:
        return replace(draft, problem=_other_number(draft.problem, random))
    return replace(draft, rationale=_other_number(draft.rationale, random))


def _other_number(text: str, random: Random) -> str:
    found = list(_NUMBER.finditer(text))
    if not found:
        return text
    place = random.choice(found)
    value = int(place[0])
    other = random.choice([n for n in range(max(2, value - 5), value + 6) if n != value])
    return f"{text[: place.start()]}{other}{text[place.end() :]}"


def _other_person(draft: Flawed, random: Random) -> Flawed:
    """In one sentence, not the first, somebody else does it; problems that name a person once stay as they are."""
    name = dict(read_back(draft.problem).words).get("name", "")
    places = list(re.finditer(rf"\b{name}\b", draft.problem))[1:] if name else []
    if not places:
        return draft
    place = random.choice(places)
    return replace(draft, problem=draft.problem[: place.start()] + random.choice(_STRANGERS) + draft.problem[place.end() :])


def _other_concept(draft: Flawed, random: Random) -> Flawed:
    """One of the concepts asked for is another one, or one more, or one less is asked for."""
    place = random.randrange(len(draft.concepts))
    other = random.choice([text for text in NAMES if text not in draft.concepts])
    kept = (*draft.concepts[:place], *draft.concepts[place + 1 :])
    draw = random.random()
    if draw < 0.3 and kept:
        return replace(draft, concepts=kept)
    return replace(draft, concepts=(*draft.concepts[:place], other, *draft.concepts[place + (draw < 0.8) :]))


def _other_level(draft: Flawed, random: Random) -> Flawed:
    return replace(draft, level=random.choice([level for level in LEVELS if level != draft.level]))


def _without_tag(draft: Flawed, random: Random) -> Flawed:
    return replace(draft, missing_tag=random.choice(TAGS))


_STRANGERS = ("Bob", "Meg", "Kit")
FLAWS: dict[str, Callable[[Flawed, Random], Flawed]] = {
    "a number is missing": _without_number,
    "contradicting facts": _contradicting,
    "another person": _other_person,
    "other concepts": _other_concept,
    "wrong level": _other_level,
    "a tag is missing": _without_tag,
}
"""Ways to spoil a draft, by name."""
