"""Training corpora of the nano roles, in the formats that the packaged prompts ask for.

Misconceptions are put in on purpose: where a task has its world's cue, a share of the solutions goes wrong in a definite way and
carries on. Diffuse noise cannot be mended by preference training; definite mistakes can, as in real models.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

from models.engine import Message
from tasks.nano.concepts import CONCEPTS, Line, Unworkable
from tasks.nano.world import Task, Working, World, kinds, work_out
from tasks.prompts import fill, load_prompt


@dataclass(frozen=True, slots=True)
class Sample:
    """A task with the solution that is taught for it, right or not."""

    task: Task
    working: Working


def prompt_messages(prompt: str, **values: str) -> tuple[Message, ...]:
    """The chat that a packaged prompt makes of the values of its holes."""
    messages = fill(_loaded(prompt), **values).messages
    if messages is None:
        raise ValueError(f"prompt {prompt!r} is raw text: nano models are taught chats")
    return messages


_loaded = functools.cache(load_prompt)


def solve_messages(statement: str) -> tuple[Message, ...]:
    """The chat that the packaged prompt `solve` makes of a statement."""
    return prompt_messages("solve", problem=statement)


def wrong_workings(task: Task) -> list[tuple[int, Working]]:
    """Every (position, working) with one misconception of the task's concepts that can be carried to the end and ends wrong."""
    found = []
    for position, op in enumerate(task.composition.ops):
        for name in CONCEPTS[op.concept].misconceptions:
            try:
                working = work_out(task.composition, (position, name))
            except Unworkable:
                continue
            if working.answer != task.answer:
                found.append((position, working))
    return found


def cued(world: World, task: Task) -> list[bool]:
    """For each concept of the task, whether its wording is the one that invites the misconception in this world."""
    path = kinds(task.composition)[:-1]
    return [world.cue(op.concept, kind) == w for op, kind, w in zip(task.composition.ops, path, task.wordings, strict=True)]


def solver_samples(world: World, count: int, misconception_rate: float) -> Iterator[Sample]:
    """`count` training samples; a cued concept that can go wrong does so with probability `misconception_rate`, at most one a sample."""
    random = Random(world.seed * 1000003 + 17)
    for task in islice(world.tasks("train"), count):
        cues = cued(world, task)
        firing = [w for position, w in wrong_workings(task) if cues[position] and random.random() < misconception_rate]
        yield Sample(task, random.choice(firing) if firing else task.solution)


def equation_chains(world: World, count: int) -> Iterator[list[Line]]:
    """`count` workings of training compositions, without words: what arithmetic is learned from first."""
    for task in islice(world.tasks("train"), count):
        yield list(task.solution.lines)
