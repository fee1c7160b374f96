"""Right and wrong workings of a task with the first wrong step known: what a judge of steps is taught on and measured against.

Kinds of faults: a misconception at any position, a slip in a result, a number copied wrongly, a line left out, an end too early.
A step is right when it says what the right solution says there; a working that merely stops too early is wrong in its last step.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from tasks.nano.concepts import CONCEPTS, Line, Unworkable
from tasks.nano.corpus import wrong_workings
from tasks.nano.measure import left_value
from tasks.nano.world import Task, Working

STEP = re.compile(r"^Step (\d+): (.*)$", re.MULTILINE)
_EQUATION = re.compile(r"(\S+)=(\S+)$")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to a task: its steps (what stands behind `Step i:`), and the first wrong one, 1-based, None in a right answer."""

    task: Task
    steps: tuple[str, ...]
    text: str
    first_wrong: int | None


def answered(task: Task, text: str) -> Answered:
    """Judge a text of `Step i:` lines against the right solution of its task."""
    steps = tuple(m[2] for m in STEP.finditer(text))
    return Answered(task, steps, text, first_wrong(task, steps))


def first_wrong(task: Task, steps: Sequence[str]) -> int | None:
    """The first step that says another equation than the right solution there; the last one where all agree but some are missing."""
    right = [same_equation(line.equation) for line in task.solution.lines]
    for number, step in enumerate(steps, 1):
        if number > len(right) or same_equation(step) != right[number - 1]:
            return number
    return None if len(steps) == len(right) else len(steps)


def same_equation(step: str) -> str:
    """The equation that ends a step, with the operands of a sum or a product in order; the step itself where it has none."""
    found = _EQUATION.search(step.strip())
    if not found:
        return step
    for sign in "+*":
        terms = found[1].split(sign)
        if len(terms) > 1 and all(t.isdigit() for t in terms):
            return f"{sign.join(sorted(terms))}={found[2]}"
    return found[0]


def flawed(task: Task, random: Random, cut_short: int = 2) -> Answered | None:
    """A wrong answer with a fault of a random kind, None where the draw leads nowhere; `cut_short` of 20 + `cut_short` end too early."""
    fault = random.choices([_misconception, _slip, _miscopied, _left_out, _cut_short], [9, 6, 3, 2, cut_short])[0]
    lines = fault(task, random)
    if not lines:
        return None
    text = Working(tuple(lines), ()).text
    made = answered(task, text)
    return made if made.first_wrong is not None else None


Fault = Callable[[Task, Random], list[Line]]


def _misconception(task: Task, random: Random) -> list[Line]:
    found = wrong_workings(task)
    return list(random.choice(found)[1].lines) if found else []


def _slip(task: Task, random: Random) -> list[Line]:
    """A result that is off by little, or has its digits exchanged."""
    at = random.randrange(len(task.solution.lines))
    line = task.solution.lines[at]
    if line.value.denominator != 1:
        return _changed(task, at, Line(line.label, line.left, Fraction(line.value.numerator, line.value.denominator + 1)))
    wrong = int(line.value) + random.choice([-10, -2, -1, 1, 2, 10])
    if random.random() < 0.2:
        wrong = int(str(int(line.value))[::-1])
    return _changed(task, at, Line(line.label, line.left, Fraction(wrong))) if wrong > 0 else []


def _miscopied(task: Task, random: Random) -> list[Line]:
    """One number of a line is another, and the line computed with it."""
    at = random.randrange(len(task.solution.lines))
    line = task.solution.lines[at]
    number = random.choice(list(_NUMBER.finditer(line.left)))
    other = int(number[0]) + random.choice([-3, -2, -1, 1, 2, 3])
    left = f"{line.left[: number.start()]}{other}{line.left[number.end() :]}"
    value = left_value(left) if other > 0 else None
    return _changed(task, at, Line(line.label, left, value)) if value is not None and value > 0 else []


def _left_out(task: Task, random: Random) -> list[Line]:
    lines = list(task.solution.lines)
    del lines[random.randrange(len(lines))]
    return lines


def _cut_short(task: Task, random: Random) -> list[Line]:
    lines = list(task.solution.lines)
    return lines[: random.randrange(1, len(lines))] if len(lines) > 1 else []


def _changed(task: Task, at: int, line: Line) -> list[Line]:
    """The solution with one line changed: within its concept the rest stays, what follows is worked out from the changed value."""
    lines = [*task.solution.lines[:at], line]
    position, end = 0, task.solution.spans[0]
    while end <= at:
        position += 1
        end += task.solution.spans[position]
    if at + 1 < end or line.value.denominator != 1:
        return [*lines, *task.solution.lines[at + 1 :]]
    value = int(line.value)
    for op in task.composition.ops[position + 1 :]:
        try:
            made = CONCEPTS[op.concept].work(value, op.params)
        except Unworkable:
            return [*lines, *task.solution.lines[len(lines) :]]
        lines += made
        value = int(made[-1].value)
    return lines
