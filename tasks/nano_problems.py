"""Problems of the nano world (design section 6): generated, typed, with computed answers; test problems can be planted on purpose."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import Annotated

from annotated_types import Len
from pydantic import Field

from storage.ids import problem_id
from storage.schemas import Problem
from tasks.nano.world import LEVELS, Split, Task, World
from tasks.stage import StageConfig, stage

SOURCE = "nano"


class NanoProblemsConfig(StageConfig):
    count: int = Field(200, ge=1)
    """Rows, planted ones included."""
    seed: int = 0
    """The world; the same seed gives the same problems everywhere. Splits are the same in every world."""
    split: Split = "train"
    """train, validation or test: disjoint by composition."""
    levels: Annotated[tuple[int, ...], Len(min_length=1)] = LEVELS
    """Numbers of concepts in a problem, 1 to 4."""
    planted: int = Field(0, ge=0)
    """How many of the rows are copies of the world's first test problems: something for contamination checks to catch."""


@stage(scope="dataset")
def nano_problems(config: NanoProblemsConfig) -> Iterator[Problem]:
    """`count` problems; the planted ones come last."""
    if config.planted > config.count:
        raise ValueError(f"planted = {config.planted} of count = {config.count} rows: plant at most count")
    if config.planted and config.split == "test":
        raise ValueError("planted test problems in split 'test' would be repeats: plant them in 'train' or 'validation'")
    world = World(config.seed)
    for task in islice(world.tasks(config.split, config.levels), config.count - config.planted):
        yield as_problem(task)
    for task in islice(world.tasks("test", config.levels), config.planted):
        yield as_problem(task)


def as_problem(task: Task) -> Problem:
    """The row of a task; its composition is its source's id."""
    given = task.composition.key
    whole = Fraction(task.answer).denominator == 1
    return Problem(
        id=problem_id(SOURCE, given, task.statement),
        source=SOURCE,
        source_id=given,
        problem=task.statement,
        answer=task.answer,
        answer_type="integer" if whole else "fraction",
        redistributable=True,
    )
