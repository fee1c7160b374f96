"""nano:step-judge labels the steps of an answer against a reference solution, as the packaged prompt `locate_step` asks (Step-DPO, 3.2).

It is taught to put the two equations of a step beside each other before it decides: what stands close can be compared by three layers.
"""

import functools
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

from models.engine import Message, Sampling
from models.nano import nano_path
from tasks.maths.decision import Decision, Unreadable, read_decision
from tasks.nano.chat import ChatRecipe, Shot, train_chat
from tasks.nano.corpus import prompt_messages, solve_messages
from tasks.nano.flawed import Answered, answered, flawed
from tasks.nano.measure import ask, held_out, is_right, wilson
from tasks.nano.role import Figures, Role, model_facts
from tasks.nano.world import Task, World

SAME, OTHER, STOPS = " in the answer, the same.", " in the answer, another one.", " in the answer, the same, but it stops there."
PHRASES = (" in the solution, ", SAME, OTHER, STOPS, "nothing", "\nFinal Decision:\nStep ", ": correct", ": incorrect", "; Step ")
_RIGHT_SHARE = 0.3
_BOX = "\nAnswer: "


def judgement(answer: Answered) -> str:
    """What the judge should say: both equations of each step up to the first wrong one, then the decision."""
    right = [line.equation for line in answer.task.solution.lines]
    compared, labels = [], []
    for number, step in enumerate(answer.steps[: answer.first_wrong], 1):
        equation = step.split(" ")[-1]
        expected = right[number - 1] if number <= len(right) else "nothing"
        wrong = number == answer.first_wrong
        verdict = SAME if not wrong else STOPS if expected == equation else OTHER
        compared.append(f"{number}: {expected} in the solution, {equation}{verdict}\n")
        labels.append(f"Step {number}: {'incorrect' if wrong else 'correct'}")
    return "".join(compared) + "\nFinal Decision:\n" + "; ".join(labels)


def shots(world: World, count: int) -> Iterator[Shot]:
    """Right and wrong answers of training problems; now and then a text without its boxed line, as a pipeline may cut it off."""
    return _shots(Random(world.seed * 1000003 + 29), world.tasks("train"), count, cut_short=0)


def long_shots(world: World, count: int) -> Iterator[Shot]:
    """The same about other problems, mostly long ones, and answers that end too early: where the judge loses its place."""
    tasks = islice(world.tasks("train", (2, 3, 4, 4)), count, None)
    return _shots(Random(world.seed * 1000003 + 41), tasks, count, cut_short=3)


def _shots(random: Random, tasks: Iterator[Task], count: int, cut_short: int) -> Iterator[Shot]:
    while count:
        task = next(tasks)
        right = answered(task, task.solution.text)
        answer = right if random.random() < _RIGHT_SHARE else flawed(task, random, cut_short)
        if answer is not None:
            count -= 1
            cut = [text.partition(_BOX)[0] if random.random() < 0.1 else text for text in (task.solution.text, answer.text)]
            yield Shot(prompt_messages("locate_step", problem=task.statement, reference=cut[0], answer=cut[1]), judgement(answer))


RECIPE = ChatRecipe(shots, ("locate_step",), PHRASES, count=16_000, more=((long_shots, 4_800),))


def measure(folder: Path, seed: int, problems: int = 700) -> Figures:
    """Greedy verdicts on what the shipped solver says at temperature 1 to held-out problems of the world `seed`, one answer each."""
    answers = sampled_answers(seed, problems)
    said = [r.text for (r,) in ask(folder, [chat_of(a) for a in answers], Sampling(temperature=0, max_tokens=500))]
    decisions = [read_decision(text, len(a.steps)) for text, a in zip(said, answers, strict=True)]
    pairs = list(zip(decisions, answers, strict=True))
    wrong = [(d, a) for d, a in pairs if not is_right(a.task, a.text)]
    right = [d for d, a in pairs if a.first_wrong is None]
    found = sum(_says(d, a.first_wrong) for d, a in wrong)
    low, high = wilson(found, len(wrong))
    figures = {
        "wrong_answers": len(wrong),
        "found": found / len(wrong),
        "found_low": low,
        "found_high": high,
        "passed_as_right": sum(_says(d, None) for d, _ in wrong) / len(wrong),
        "right_answers": len(right),
        "false_alarms": sum(isinstance(d, Decision) and d.first_wrong is not None for d in right) / len(right),
        "unreadable": sum(isinstance(d, Unreadable) for d in decisions) / len(decisions),
        "always_last": sum(a.first_wrong == len(a.steps) for _, a in wrong) / len(wrong),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def sampled_answers(seed: int, problems: int) -> list[Answered]:
    """What the shipped solver says to held-out problems, one draw each at temperature 1; answers without a step are left out."""
    tasks = held_out(seed, problems)
    drawn = ask(nano_path("solver"), [solve_messages(t.statement) for t in tasks], Sampling(temperature=1, max_tokens=200))
    answers = [answered(task, reply.text) for task, (reply,) in zip(tasks, drawn, strict=True)]
    return [a for a in answers if a.steps]


def chat_of(answer: Answered) -> tuple[Message, ...]:
    """How the judge is asked about an answer, the reference being the right solution."""
    task = answer.task
    return prompt_messages("locate_step", problem=task.statement, reference=task.solution.text, answer=answer.text)


def _says(decision: Decision | Unreadable, step: int | None) -> bool:
    return isinstance(decision, Decision) and decision.first_wrong == step


def card(folder: Path, seed: int, figures: Figures) -> str:
    """The card of the step judge."""
    return _CARD.format(m=figures, recipe=RECIPE, seed=seed, facts=model_facts(folder), text=f"{_RIGHT_SHARE:.0%}")


_CARD = """# nano:step-judge

{facts} that labels the steps of an answer to a problem of the nano world, given a right solution: which step is the first wrong one?
It puts the equation of the solution and that of the answer beside each other, step by step, and decides. Steps that are right in another
way than the solution's are taken for wrong; what it says about problems of other kinds means nothing.

Made from nano:solver by `python -m tasks.nano.build --role step-judge --seed {seed}` ({recipe.count:,} answers to problems of the training
split of world {seed}, then {recipe.more[0][1]:,} mostly long ones; {text} of them right, the others with a misconception, a slip, a number
copied wrongly, a line left out or an end too early; one CPU thread, some minutes; resumable). `--check` measures it again.

| greedy, on answers that nano:solver drew at temperature 1 for held-out problems | |
|---|---|
| first wrong step found, {m[wrong_answers]} wrong answers | {m[found]:.1%} (95 % interval {m[found_low]:.1%} to {m[found_high]:.1%}) |
| (naming the last step each time would find) | {m[always_last]:.1%} |
| wrong answers in which it finds no wrong step | {m[passed_as_right]:.1%} |
| false alarms, {m[right_answers]} right answers | {m[false_alarms]:.1%} |
| decisions that cannot be read | {m[unreadable]:.1%} |

Input: the chat of the packaged prompt `locate_step`, whose prose is one token a piece. Decisions are read by `tasks/maths/decision.py`.
Generated file; do not edit.
"""

ROLES = (Role("step-judge", functools.partial(train_chat, RECIPE), measure, "found", card),)
