"""nano:author extracts concepts, explains how a problem was designed, and writes new ones: the prompt selects the task (PromptCoT).

Its replies are in the forms that the packaged prompts ask for. A share of what it is taught is malformed, as the replies of real models
are, so that parsers and rejects have work. Measured through the stages themselves.
"""

import functools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

from models.engine import Message
from storage.ids import derived_id
from storage.schemas import Brief, Concepts, Draft, Level, from_table
from tasks.extract_concepts import ExtractConceptsConfig, extract_concepts
from tasks.generate_problem import GenerateProblemConfig, generate_problem
from tasks.maths.concept_list import numbered
from tasks.maths.tagged import TAGS, write_tagged
from tasks.nano.chat import ChatRecipe, Shot, train_chat
from tasks.nano.concepts import CONCEPTS
from tasks.nano.measure import wilson
from tasks.nano.rationale import rationale
from tasks.nano.read_back import read_back
from tasks.nano.role import Figures, Role, model_facts
from tasks.nano.roles.concept_texts import NAMES, TEXTS
from tasks.nano.roles.playing import play
from tasks.nano.world import NAMES as WORLD_NAMES
from tasks.nano.world import Task, Words, World
from tasks.nano_problems import as_problem
from tasks.prompts import fill, load_prompt
from tasks.write_rationale import WriteRationaleConfig, write_rationale

MALFORMED_RATE = 0.04
"""Share of taught replies with something of their form left out."""
_MARKER = "Thinking Process: "
_LIST = ('```python\n["', '", "', '"]\n```')
_POINT = "Knowledge Point: "

PROSE = (
    *("Level ", " links", ". Begin with", " can be part of it, and the question asks for", ". So", " turns", " into", " square cm"),
    *(" the area in square cm:", " the length in cm:", " the number of", " the number:", " the chance:"),
    *(text.format(name) for name in CONCEPTS for text in (" concept: {}", " concepts: {}", ", then {}", " {} with")),
    *(f"<!-- {TAGS[0]} -->\n", f"\n<!-- {TAGS[1]} -->\n", f"<!-- {TAGS[2]} -->\n", f"\n<!-- {TAGS[3]} -->"),
    *TEXTS.values(),
    *WORLD_NAMES,
)
"""What rationales and drafts are full of, one token each for those who write or read them. None but "Level " ends in a space, and names
are tokens wherever they stand: a model this small copies a word only if it has the same tokens in both places."""
_TAGS = tuple(phrase for phrase in PROSE if "<!--" in phrase)
PHRASES = (*PROSE, _MARKER, *_LIST, "\n" + _POINT, _POINT)
CASTS = (
    *(("Mia", "Tom", "pens", "rope"), ("Ana", "Ben", "books", "wire"), ("Lea", "Max", "cards", "ribbon"), ("Eva", "Sam", "coins", "cable")),
    *(
        ("Zoe", "Leo", "shells", "pipe"),
        ("Ida", "Jon", "stamps", "chain"),
        ("Kim", "Ray", "apples", "cloth"),
        ("Amy", "Dan", "cups", "tape"),
    ),
)
"""(name, other, thing, stuff): whom and what the author's own problems are about. Free choice among 48 names and 44 things was not
learned in minutes: in nine of ten drafts somebody else went on."""
PROMPTS = ("extract_concepts", "extract_concepts_lines", "rationale", "generate_problem")


def messages(prompt: str, **holes: str) -> tuple[Message, ...]:
    """The chat that a packaged prompt makes."""
    made = fill(load_prompt(prompt), **holes).messages
    if made is None:
        raise ValueError(f"prompt {prompt!r} is raw text: nano models are taught chats")
    return made


def concept_texts(task: Task) -> list[str]:
    """The texts of a task's concepts, in its order."""
    return [TEXTS[op.concept] for op in task.composition.ops]


def brief_of(task: Task) -> Brief:
    """What asks for a problem like `task`: its concepts, in an order that says nothing, and its level."""
    made = derived_id("nano_brief", task.composition.key)
    texts = concept_texts(task)
    return Brief(made, made, Random(made).sample(texts, len(texts)), str(task.level))


def recast(task: Task, random: Random) -> Task:
    """The same problem about the people and things of one of `CASTS`."""
    name, other, thing, stuff = random.choice(CASTS)
    words = Words(name, other, stuff if task.composition.kind == "length" else thing)
    swap = dict(zip(task.words, words, strict=True))
    statement = re.sub(rf"\b({'|'.join(swap)})\b", lambda found: swap[found[0]], task.statement)
    return replace(task, words=words, statement=statement)


def shots(world: World, count: int) -> Iterator[Shot]:
    """Of `count` training problems 75 % are written, 15 % explained, and from 10 % concepts are extracted, half of them as lines."""
    random = Random(world.seed * 1000003 + 41)
    for task in islice(world.tasks("train"), count):
        draw = random.random()
        teach = _written if draw < 0.75 else _explained if draw < 0.9 else _listed if draw < 0.95 else _lined
        yield teach(task, random)


def _written(task: Task, random: Random) -> Shot:
    task, brief = recast(task, random), brief_of(task)
    chat = messages("generate_problem", concepts=numbered(brief.concepts), level=brief.level)
    return Shot(chat, _spoilt(write_tagged(rationale(task), task.statement), _TAGS, random))


def _explained(task: Task, random: Random) -> Shot:
    brief = brief_of(task)
    chat = messages("rationale", concepts=numbered(brief.concepts), level=brief.level, problem=task.statement)
    return Shot(chat, _spoilt(_MARKER + rationale(task), (_MARKER,), random))


def _listed(task: Task, random: Random) -> Shot:
    chat = messages("extract_concepts", problem=task.statement, count=str(random.randint(4, 6)))
    return Shot(chat, _spoilt(_LIST[0] + _LIST[1].join(concept_texts(task)) + _LIST[2], (_LIST[0], _LIST[2]), random))


def _lined(task: Task, random: Random) -> Shot:
    chat = messages("extract_concepts_lines", problem=task.statement, count=str(random.randint(4, 6)))
    return Shot(chat, _spoilt("\n".join(_POINT + text for text in concept_texts(task)), (_POINT,), random))


def _spoilt(reply: str, parts: tuple[str, ...], random: Random) -> str:
    """Now and then without one of the parts that its form needs."""
    return reply.replace(random.choice(parts), "") if random.random() < MALFORMED_RATE else reply


RECIPE = ChatRecipe(shots, PROMPTS, PHRASES, count=28_000, muon_lr=0.02, adam_lr=4e-3)


def measure(folder: Path, seed: int, problems: int = 400) -> Figures:
    """Each of the three stages once on held-out problems of the world `seed`, replies counted as the stages count them."""
    tasks = list(islice(World(seed).tasks("test"), problems))
    figures = {"problems": float(len(tasks)), **_extraction(folder, tasks), **_explanation(folder, tasks), **_generation(folder, tasks)}
    return {name: round(value, 4) for name, value in figures.items()}


def _extraction(folder: Path, tasks: list[Task]) -> dict[str, float]:
    rows = [as_problem(t) for t in tasks]
    outcome = play(extract_concepts, ExtractConceptsConfig(), folder, problem=rows)
    found = {row["problem_id"]: set(row["concepts"]) for row in outcome.rows.to_pylist()}
    pairs = [(set(concept_texts(t)), found.get(row.id, set())) for t, row in zip(tasks, rows, strict=True)]
    shared = sum(len(right & said) for right, said in pairs)
    return {
        "extraction_f1": 2 * shared / sum(len(right) + len(said) for right, said in pairs),
        "extraction_exact": sum(right == said for right, said in pairs) / len(pairs),
        "extraction_rejected": sum(outcome.rejected.values()) / len(tasks),
    }


def _explanation(folder: Path, tasks: list[Task]) -> dict[str, float]:
    rows = [as_problem(t) for t in tasks]
    concepts = [Concepts(f"c{p.id}", p.id, brief_of(t).concepts, "list") for t, p in zip(tasks, rows, strict=True)]
    levels = [Level(f"l{p.id}", p.id, str(t.level)) for t, p in zip(tasks, rows, strict=True)]
    outcome = play(write_rationale, WriteRationaleConfig(), folder, concepts=concepts, problem=rows, levels=levels)
    said = {row["problem_id"]: row["rationale"] for row in outcome.rows.to_pylist()}
    return {
        "rationale_well_formed": len(said) / len(tasks),
        "rationale_exact": sum(said.get(p.id) == rationale(t) for t, p in zip(tasks, rows, strict=True)) / len(tasks),
    }


def _generation(folder: Path, tasks: list[Task]) -> dict[str, float]:
    drafts = drafts_for(folder, tasks)
    readings = [(row, read_back(row.problem)) for row in drafts]
    solvable = sum(not r.reason for _, r in readings)
    low, high = wilson(solvable, len(tasks))
    wanted = [sorted(NAMES[c] for c in row.concepts) == sorted(r.concepts) for row, r in readings if not r.reason]
    reasons = Counter(r.reason for _, r in readings)
    return {
        "well_formed": len(drafts) / len(tasks),
        "solvable": solvable / len(tasks),
        "solvable_low": low,
        "solvable_high": high,
        "solvable_with_the_concepts": sum(wanted) / len(tasks),
        **{f"unsolvable, {reason}": n / len(tasks) for reason, n in sorted(reasons.items()) if reason},
    }


def drafts_for(folder: Path, tasks: list[Task]) -> list[Draft]:
    """What the author in `folder` writes for the briefs of these tasks at the stage's own temperature, malformed replies left out."""
    outcome = play(generate_problem, GenerateProblemConfig(), folder, brief=[brief_of(t) for t in tasks])
    return list(from_table(outcome.rows, Draft))


def card(folder: Path, seed: int, figures: Figures) -> str:
    """The card of the author."""
    unsolvable = "".join(f"| drafts that are {name} | {value:.1%} |\n" for name, value in figures.items() if name.startswith("unsolvable"))
    return _CARD.format(
        m=figures, recipe=RECIPE, seed=seed, facts=model_facts(folder), malformed=MALFORMED_RATE, unsolvable=unsolvable, casts=len(CASTS)
    )


_CARD = """# nano:author

{facts} with three roles in the nano world, chosen by the prompt: it names the concepts of a problem (`extract_concepts` and its fallback),
explains how a problem could have been designed (`rationale`), and writes new problems from concepts and a level (`generate_problem`).
It is weak: the arithmetic of its rationales slips, so that many of its problems have no answer; explaining a given problem it often takes
other names and another order; and its own problems are about {casts} casts of people and things only.

Made from nano:solver by `python -m tasks.nano.build --role author --seed {seed}` ({recipe.count:,} tasks on problems of the training split
of world {seed}, {malformed:.0%} of the replies malformed on purpose; one CPU thread, some minutes; resumable). `--check` measures it again.

| through the stages, {m[problems]:.0f} held-out problems (compositions that no training split of any world has) | |
|---|---|
| concept extraction, greedy: F1 over all concepts | {m[extraction_f1]:.1%} |
| problems whose concepts are all right | {m[extraction_exact]:.1%} |
| problems rejected, after list and lines | {m[extraction_rejected]:.1%} |
| rationales, temperature 0.6: well-formed | {m[rationale_well_formed]:.1%} |
| rationales that are right in every number, in the world's own words | {m[rationale_exact]:.1%} |
| drafts, temperature 0.6: well-formed | {m[well_formed]:.1%} |
| drafts that are solvable (read back into a composition that has an answer) | {m[solvable]:.1%} (95 % interval {m[solvable_low]:.1%} \
to {m[solvable_high]:.1%}) |
| drafts that are solvable and have exactly the concepts asked for | {m[solvable_with_the_concepts]:.1%} |
{unsolvable}
Briefs are the concepts and levels of held-out problems. Generated file; do not edit.
"""

ROLES = (Role("author", functools.partial(train_chat, RECIPE), measure, "solvable", card),)
