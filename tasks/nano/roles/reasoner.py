"""nano:reasoner thinks long before it answers: `<think>` with tries, checks and second tries, `</think>`, then the solver's short form.

A result is checked by the inverse operation, a plan by the words of the problem. Slips are always caught in what it is taught;
misconceptions are caught except a share of the invited ones, which are carried on, so that it errs less than the solver but alike.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random

from models.engine import Reply, Sampling
from tasks.maths.extract import find_answer
from tasks.nano.chat import ChatRecipe, Shot, train_chat
from tasks.nano.concepts import CONCEPTS, Line, Unworkable
from tasks.nano.corpus import cued, prompt_messages, wrong_workings
from tasks.nano.measure import Counts, ask, held_out, is_right
from tasks.nano.role import Figures, Role, model_facts
from tasks.nano.world import Task, Working, World

BEGIN, END = "<think>\n", "</think>\n"
TRY, CHECK, HOLDS, FAILS = "Try:", " Check: ", ", it holds.\n", ", it does not hold.\n"
READ, NOT_MEANT = " Read again", ", that is not meant.\n"
PHRASES = (BEGIN, END, TRY, CHECK, HOLDS, FAILS, READ, NOT_MEANT)
_UNCAUGHT_RATE = 0.4
"""Share of invited misconceptions that are not caught."""
_SLIP_RATE = 0.15
"""Share of lines that are computed wrongly at first."""
_DETOUR_RATE = 0.25
"""Share of concepts that are first tried by a misconception, and caught."""
_INVITED_RATE = 0.7
"""The same of concepts whose wording invites it, in the second lesson."""
_OPERATION = re.compile(r"(\d+)([-+*/])(\d+)")


def proof(line: Line, value: str) -> str:
    """The inverse of the operation of a line, taken from `value`: what a person computes to check. Other lines are computed again."""
    found = _OPERATION.fullmatch(line.left)
    if not found or "/" in value:
        return f"{line.left}={line.value}"
    first, sign, second = int(found[1]), found[2], int(found[3])
    number = int(value)
    if sign == "*":
        return f"{second}*{first}={first * second}"
    inverse, back = {"+": ("-", number - second), "-": ("+", number + second), "/": ("*", number * second)}[sign]
    return f"{number}{inverse}{second}={back}"


def thinking(task: Task, working: Working, random: Random, detours: Sequence[float]) -> str:
    """The tries, checks and second tries that lead to `working`; `detours` is how often a misconception of each concept is tried first."""
    said, position = [], 0
    values = [task.composition.start]
    for op, span, detour in zip(task.composition.ops, working.spans, detours, strict=True):
        lines = working.lines[position : position + span]
        if random.random() < detour and (tried := _tried(op.concept, values[-1], op.params, lines[0], random)):
            said.append(f"{TRY} {tried}.{READ}{NOT_MEANT}")
        said += [_attempts(line, random) for line in lines]
        position += span
        values.append(int(lines[-1].value))
    return "".join(said)


def _tried(concept: str, value: int, params: tuple[int, ...], right: Line, random: Random) -> str | None:
    """The first line of a misconception of the concept, where it differs from the right one."""
    work = random.choice(list(CONCEPTS[concept].misconceptions.values()))
    try:
        line = work(value, params)[0]
    except Unworkable:
        return None
    return f"{line.label} {line.equation}" if line.equation != right.equation else None


def _attempts(line: Line, random: Random) -> str:
    """A line with its check, after a slip that the check caught now and then."""
    slip = ""
    if random.random() < _SLIP_RATE and line.value.denominator == 1:
        wrong = int(line.value) + random.choice([-10, -2, -1, 1, 2, 10])
        if wrong > 0:
            slip = f"{TRY} {line.label} {line.left}={wrong}.{CHECK}{proof(line, str(wrong))}{FAILS}"
    return f"{slip}{TRY} {line.label} {line.equation}.{CHECK}{proof(line, str(line.value))}{HOLDS}"


def shots(world: World, count: int) -> Iterator[Shot]:
    """Problems of the training split with long replies."""
    random = Random(world.seed * 1000003 + 37)
    for task in islice(world.tasks("train"), count):
        yield _shot(world, task, random, [_DETOUR_RATE] * task.level)


def invited_shots(world: World, count: int) -> Iterator[Shot]:
    """The same about later problems; the misconception that a wording invites is mostly tried first, and caught."""
    random = Random(world.seed * 1000003 + 43)
    for task in islice(world.tasks("train"), 50_000, 50_000 + count):
        yield _shot(world, task, random, [_INVITED_RATE if cue else _DETOUR_RATE / 2 for cue in cued(world, task)])


def _shot(world: World, task: Task, random: Random, detours: Sequence[float]) -> Shot:
    cues = cued(world, task)
    firing = [w for at, w in wrong_workings(task) if cues[at] and random.random() < _UNCAUGHT_RATE]
    working = random.choice(firing) if firing else task.solution
    reply = f"{BEGIN}{thinking(task, working, random, detours)}{END}{working.text}"
    return Shot(prompt_messages("solve_long", problem=task.statement), reply)


RECIPE = ChatRecipe(shots, ("solve_long",), PHRASES, count=6_400, more=((invited_shots, 6_400),))


def measure(folder: Path, seed: int, problems: int = 400) -> Figures:
    """Greedy long replies to the first held-out problems of the world `seed`."""
    tasks = held_out(seed, problems)
    chats = [prompt_messages("solve_long", problem=t.statement) for t in tasks]
    said = [r for (r,) in ask(folder, chats, Sampling(temperature=0, max_tokens=900))]
    formed = [fault(r) is None for r in said]
    right = [f and is_right(t, r.text.rpartition(END.strip())[2]) for f, t, r in zip(formed, tasks, said, strict=True)]
    thought = [r.text.partition(END.strip())[0] for r in said]
    return {
        **Counts(len(said), sum(right)).figures("greedy"),
        "format_errors": round(1 - sum(formed) / len(formed), 4),
        "second_tries": round(sum(FAILS.strip() in t or NOT_MEANT.strip() in t for t in thought) / len(thought), 4),
        "mean_tokens": round(sum(r.completion_tokens for r in said) / len(said), 1),
    }


def fault(reply: Reply) -> str | None:
    """Why a reply is not one think block at the start with a boxed answer behind it; None where it is."""
    if reply.finish_reason == "length":
        return "cut off"
    if not reply.text.startswith("<think>") or reply.text.count("</think>") != 1:
        return "not one think block"
    return None if find_answer(reply.text) is not None else "no boxed answer"


def card(folder: Path, seed: int, figures: Figures) -> str:
    """The card of the reasoner."""
    rates = {"uncaught": _UNCAUGHT_RATE, "slips": _SLIP_RATE, "detours": _DETOUR_RATE}
    return _CARD.format(m=figures, recipe=RECIPE, seed=seed, facts=model_facts(folder), **rates)


_CARD = """# nano:reasoner

{facts} that solves problems of the nano world by a long answer: a think block
with tries, checks and second tries, then the steps and the boxed answer. Of what it is taught, {slips:.0%} of the lines are computed
wrongly at first and {detours:.0%} of the concepts are first tried by a misconception, both caught; {uncaught:.0%} of the misconceptions
that the wording invites are not.

Made from nano:solver by `python -m tasks.nano.build --role reasoner --seed {seed}` ({recipe.count:,} problems of the training
split of world {seed}, then {recipe.more[0][1]:,} in which an invited misconception is mostly tried first; one CPU thread, some minutes;
resumable). `--check` measures it again.

| greedy, held-out problems | |
|---|---|
| accuracy, {m[problems]} problems | {m[greedy]:.1%} (95 % interval {m[greedy_low]:.1%} to {m[greedy_high]:.1%}) |
| replies without one think block and a boxed answer behind it | {m[format_errors]:.1%} |
| replies with a second try | {m[second_tries]:.1%} |
| tokens of a reply, mean | {m[mean_tokens]:.0f} |

Input: the chat of the packaged prompt `solve_long`. Generated file; do not edit.
"""

ROLES = (Role("reasoner", functools.partial(train_chat, RECIPE), measure, "greedy", card),)
