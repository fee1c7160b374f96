"""The nano world: a seeded generator of typed multi-step word problems in which everything is computed (design section 6).

A composition (a start, then concepts with their parameters) decides the split, the answer and the right solution; a world
adds names and wordings. Nothing here depends on `hash()`, time or host: a seed gives the same problems everywhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from random import Random
from typing import Literal, NamedTuple, get_args

from storage.ids import digest
from tasks.nano.concepts import CONCEPTS, Concept, Kind, Line, Params, Unworkable, Work

Split = Literal["train", "validation", "test"]
LEVELS = (1, 2, 3, 4)
"""The level of a problem is the number of concepts in it."""

CUE_SHARE = 0.65
"""Share of concepts (by kind) that have a wording which invites their misconception."""

NAMES = (
    "Mia", "Tom", "Ana", "Ben", "Lea", "Max", "Eva", "Sam", "Zoe", "Leo", "Ida", "Jon", "Kim", "Ray", "Amy", "Dan",
    "Liz", "Joe", "Sue", "Rob", "May", "Ned", "Pia", "Gus", "Ada", "Cal", "Dora", "Eli", "Fay", "Hal", "Ivy", "Jack",
    "Kate", "Lou", "Mona", "Nia", "Otto", "Paul", "Rosa", "Sid", "Tess", "Uma", "Vera", "Will", "Yann", "Zack", "Nora", "Hugo",
)  # fmt: skip
_THINGS = (
    "pens", "books", "cards", "coins", "shells", "stamps", "apples", "cups", "stones", "beads", "plums", "keys", "nuts", "balls",
    "hats", "pears", "dolls", "cakes", "flags", "seeds", "bricks", "roses", "lamps", "tiles", "masks", "ducks", "forks", "maps",
    "kites", "tents", "bells", "drums",
)  # fmt: skip
_STUFFS = ("rope", "wire", "ribbon", "board", "cable", "pipe", "chain", "cloth", "string", "rail", "tape", "fence")
OPENINGS: dict[Kind, tuple[str, ...]] = {
    "count": (
        "{name} has {v} {item}.",
        "{v} {item} lie before {name}.",
        "{name} starts with {v} {item}.",
        "A box of {name} holds {v} {item}.",
        "One day {name} counts {v} {item}.",
    ),
    "length": (
        "{name} has {v} cm of {item}.",
        "The {item} of {name} is {v} cm long.",
        "{name} measures a {item}: {v} cm.",
        "A {item} that {name} bought has {v} cm.",
    ),
    "number": (
        "{name} thinks of {v}.",
        "{name} starts with the number {v}.",
        "On a card {name} reads {v}.",
        "{v} is the number of {name}.",
    ),
}
QUESTIONS: dict[Kind, tuple[str, ...]] = {
    "count": ("How many is that?", "How many {item} are there?", "What is the number of {item}?", "How many does that make?"),
    "length": ("How many cm is that?", "How long is it in cm?", "What is the length in cm?"),
    "area": ("How many square cm is that?", "How large is it in square cm?", "What is the area?"),
    "number": ("What is the result?", "What number is it now?", "Which number is that?", "What comes out?"),
    "chance": ("What is the chance?", "How likely is that?", "What is the probability?"),
}


@dataclass(frozen=True, slots=True)
class Op:
    """One concept applied with its parameters."""

    concept: str
    params: Params


@dataclass(frozen=True, slots=True)
class Composition:
    """What a problem is about, without its words."""

    kind: Kind
    start: int
    ops: tuple[Op, ...]

    @property
    def key(self) -> str:
        """24 hex digits that name the composition; they decide its split in every world."""
        return digest([self.kind, self.start, [[op.concept, list(op.params)] for op in self.ops]], 24)

    @property
    def split(self) -> Split:
        """85 % train, 5 % validation, 10 % test, by hash: what is held out is held out in every world."""
        bucket = int(self.key[:8], 16) % 20
        return "test" if bucket < 2 else "validation" if bucket == 2 else "train"


@dataclass(frozen=True, slots=True)
class Working:
    """A solution: its lines, the number of lines that each concept took, and the misconception in it, if any."""

    lines: tuple[Line, ...]
    spans: tuple[int, ...]
    misconception: str | None = None

    @property
    def answer(self) -> str:
        return str(self.lines[-1].value)

    @property
    def text(self) -> str:
        """`Step i:` lines with one equation each, then the boxed answer."""
        steps = [f"Step {i}: {line.label} {line.equation}" for i, line in enumerate(self.lines, 1)]
        return "\n".join([*steps, f"Answer: \\boxed{{{self.answer}}}"])


class Words(NamedTuple):
    """What fills the holes of a problem's sentences, its numbers aside."""

    name: str
    other: str
    item: str


@dataclass(frozen=True, slots=True)
class Task:
    """A problem of the world: composition, words, and the right solution."""

    composition: Composition
    words: Words
    statement: str
    wordings: tuple[int, ...]
    """Which wording each concept has."""
    solution: Working

    @property
    def level(self) -> int:
        return len(self.composition.ops)

    @property
    def answer(self) -> str:
        return self.solution.answer


def kinds(composition: Composition) -> list[Kind]:
    """The kind of the number before each concept, and after the last."""
    out = [composition.kind]
    for op in composition.ops:
        out.append(CONCEPTS[op.concept].gives.get(out[-1], out[-1]))
    return out


def work_out(composition: Composition, wrong: tuple[int, str] | None = None) -> Working:
    """The right solution, or the one with the misconception `wrong` = (position, name) carried on. Raises Unworkable."""
    value, lines, spans = composition.start, list[Line](), list[int]()
    for position, op in enumerate(composition.ops):
        concept = CONCEPTS[op.concept]
        work: Work = concept.misconceptions[wrong[1]] if wrong and wrong[0] == position else concept.work
        made = work(value, op.params)
        lines += made
        spans.append(len(made))
        if position + 1 < len(composition.ops):
            value = _carried(made[-1].value)
    return Working(tuple(lines), tuple(spans), wrong[1] if wrong else None)


def _carried(value: Fraction) -> int:
    if value.denominator != 1:
        raise Unworkable(f"{value} cannot be carried on")
    return int(value)


class World:
    """All problems of one seed. The seed also picks, for each concept and kind, the wording that invites its misconception."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def cue(self, concept: str, kind: Kind) -> int | None:
        """The number of the wording that invites the misconception of `concept` in this world; None where none does."""
        random = self._random("cue", concept, kind)
        return random.randrange(len(CONCEPTS[concept].wordings[kind])) if random.random() < CUE_SHARE else None

    def tasks(self, split: Split, levels: Sequence[int] = LEVELS) -> Iterator[Task]:
        """Problems of the split without end, no composition twice; the first n are the same however many are taken."""
        _check(split, levels)
        seen: set[str] = set()
        for number in _forever():
            random = self._random("task", split, number)
            composition = _compose(random, random.choice(list(levels)))
            if composition is not None and composition.split == split and composition.key not in seen:
                seen.add(composition.key)
                yield phrase(composition, random)

    def _random(self, *names: object) -> Random:
        return Random(int.from_bytes(sha256(repr((self.seed, *names)).encode()).digest()[:8], "big"))


def _check(split: Split, levels: Sequence[int]) -> None:
    if split not in get_args(Split):
        raise ValueError(f"no split {split!r}: have {list(get_args(Split))}")
    if not levels or not set(levels) <= set(LEVELS):
        raise ValueError(f"no levels {list(levels)}: have {list(LEVELS)}, give at least one")


def _forever() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def _compose(random: Random, level: int) -> Composition | None:
    """A composition of `level` different concepts, or None where the draw leads nowhere."""
    kind = first = random.choice(list(OPENINGS))
    value = start = random.randint(2, 9) if random.random() < 0.7 else random.randint(10, 40)
    ops: list[Op] = []
    for position in range(level):
        last = position + 1 == level
        fitting = [c for c in CONCEPTS.values() if _fits(c, kind, last) and all(op.concept != c.name for op in ops)]
        op = _apply(random, fitting, value)
        if op is None:
            return None
        ops.append(op)
        kind = CONCEPTS[op.concept].gives.get(kind, kind)
        if not last:
            value = int(CONCEPTS[op.concept].work(value, op.params)[-1].value)
    return Composition(first, start, tuple(ops))


def _fits(concept: Concept, kind: Kind, last: bool) -> bool:
    return kind in concept.wordings and (last or concept.gives.get(kind) != "chance")


def _apply(random: Random, concepts: Sequence[Concept], value: int) -> Op | None:
    """The first of the concepts, in random order, that finds parameters it can work with."""
    for concept in random.sample(concepts, len(concepts)):
        for _ in range(12):
            params = tuple(random.choice(c) for c in concept.choices)
            try:
                concept.work(value, params)
            except Unworkable:
                continue
            return Op(concept.name, params)
    return None


def phrase(composition: Composition, random: Random) -> Task:
    """Put a composition into words; another state of `random` gives the same problem in other words."""
    name, other = random.sample(NAMES, 2)
    words = Words(name, other, random.choice(_STUFFS if composition.kind == "length" else _THINGS))
    holes = words._asdict()
    path = kinds(composition)
    sentences = [random.choice(OPENINGS[composition.kind]).format(v=composition.start, **holes)]
    chosen: list[int] = []
    for op, kind in zip(composition.ops, path[:-1], strict=True):
        wordings = CONCEPTS[op.concept].wordings[kind]
        chosen.append(random.randrange(len(wordings)))
        sentences.append(wordings[chosen[-1]].format(**dict(zip("ab", op.params, strict=False)), **holes))
    sentences.append(random.choice(QUESTIONS[path[-1]]).format(**holes))
    return Task(composition, words, " ".join(sentences), tuple(chosen), work_out(composition))
