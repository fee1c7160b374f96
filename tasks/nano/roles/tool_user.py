"""nano:tool-user solves problems with Python: a program, what it printed, then the boxed answer (Qwen2.5-Math, tool-integrated reasoning).

Its programs err as the solver's workings do, by misconceptions, and some forget an import: then the output block holds the error, and it
writes another program. The loop of turns is that of the published evaluation (`trajectory.py`): at most four.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from models.engine import Message, Sampling
from tasks.nano.chat import ChatRecipe, Shot, train_chat
from tasks.nano.corpus import cued, prompt_messages, wrong_workings
from tasks.nano.measure import Counts, ask, held_out, is_right
from tasks.nano.programs import IMPORTS, last_program, program, run
from tasks.nano.role import Figures, Role, model_facts
from tasks.nano.world import Task, World

ROUNDS = 4
OPEN, CLOSE = "```python\n", "\n```"
_GIVEN, _GIVEN_END = "\n```output\n", "\n```\n"
PHRASES = (
    OPEN, CLOSE, _GIVEN, _GIVEN_END, "A program can work it out.\n", "A name was not imported.\n", "The answer is ", "print(x)", "x = ",
    *(line + "\n" for line in IMPORTS.values()), "NameError: name '", "' is not defined", "Fraction(", " // 100",
)  # fmt: skip
_MISCONCEPTION_RATE = 0.4
_ANSWER_SHARE = 0.4
"""Share of conversations of which the last turn is taught too: it says what the output block holds, which is soon learned."""
_FORGETS = 0.3
"""Share of programs with an import in which it is forgotten at first."""


def block(text: str) -> str:
    """A program as the model writes it."""
    return OPEN + text + CLOSE


def output(text: str) -> str:
    """What is put behind a program: what it printed, or the last line of its error."""
    return _GIVEN + text + _GIVEN_END


def shots(world: World, count: int) -> Iterator[Shot]:
    """The turns of the conversations about training problems, each turn one shot."""
    random = Random(world.seed * 1000003 + 31)
    made = 0
    for task in world.tasks("train"):
        for shot in _conversation(world, task, random):
            yield shot
            made += 1
            if made == count:
                return


def _conversation(world: World, task: Task, random: Random) -> Iterator[Shot]:
    cues = cued(world, task)
    firing = [(at, str(w.misconception)) for at, w in wrong_workings(task) if cues[at] and random.random() < _MISCONCEPTION_RATE]
    wrong = random.choice(firing) if firing else None
    chat, said = prompt_messages("solve_tool", problem=task.statement), ""
    right, forgetful = program(task, wrong), program(task, wrong, imported=False)
    tries = [forgetful, right] if right != forgetful and random.random() < _FORGETS else [right]
    for number, text in enumerate(tries):
        reply = ("A name was not imported.\n" if number else "A program can work it out.\n") + block(text)
        yield Shot(continued(chat, said), reply)
        said += reply + output(run(text))
    if random.random() < _ANSWER_SHARE:
        yield Shot(continued(chat, said), f"The answer is \\boxed{{{run(right)}}}.")


def continued(chat: tuple[Message, ...], said: str) -> tuple[Message, ...]:
    """The chat with what was said so far as a last assistant turn, to go on from."""
    return (*chat, Message("assistant", said)) if said else chat


RECIPE = ChatRecipe(shots, ("solve_tool",), PHRASES, count=12_000)


@dataclass(slots=True)
class Trajectory:
    """All that one conversation said, output blocks included, and why it ended: boxed, no program, rounds, cut off."""

    task: Task
    text: str = ""
    programs: int = 0
    errors: int = 0
    ended: str = ""


def trajectories(folder: Path, tasks: Sequence[Task], sampling: Sampling) -> list[Trajectory]:
    """Let the model and the reader of programs take turns until there is an answer, or none can come."""
    made = [Trajectory(task) for task in tasks]
    for _ in range(ROUNDS):
        going = [t for t in made if not t.ended]
        chats = [continued(prompt_messages("solve_tool", problem=t.task.statement), t.text) for t in going]
        for trajectory, (reply,) in zip(going, ask(folder, chats, sampling), strict=True):
            take(trajectory, reply.text, reply.finish_reason == "length")
    for trajectory in made:
        trajectory.ended = trajectory.ended or "rounds"
    return made


def take(trajectory: Trajectory, said: str, cut: bool) -> None:
    """One turn of the model: an answer, a program to be worked out, or neither."""
    trajectory.text += said
    if cut:
        trajectory.ended = "cut off"
    elif "\\boxed" in said:
        trajectory.ended = "boxed"
    elif (text := last_program(said)) is None:
        trajectory.ended = "no program"
    else:
        printed = run(text)
        trajectory.programs += 1
        trajectory.errors += "Error: " in printed or "NotImplemented" in printed
        trajectory.text += output(printed)


def measure(folder: Path, seed: int, problems: int = 400) -> Figures:
    """Greedy conversations about the first held-out problems of the world `seed`."""
    made = trajectories(folder, held_out(seed, problems), Sampling(temperature=0, max_tokens=200))
    counts = Counts(len(made), sum(is_right(t.task, t.text) for t in made))
    return {
        **counts.figures("greedy"),
        "format_errors": round(sum(t.ended != "boxed" for t in made) / len(made), 4),
        "programs": round(sum(t.programs for t in made) / len(made), 4),
        "program_errors": round(sum(t.errors for t in made) / max(1, sum(t.programs for t in made)), 4),
    }


def card(folder: Path, seed: int, figures: Figures) -> str:
    """The card of the tool user."""
    return _CARD.format(m=figures, recipe=RECIPE, seed=seed, facts=model_facts(folder), rate=_MISCONCEPTION_RATE, forgets=_FORGETS)


_CARD = """# nano:tool-user

{facts} that solves problems of the nano world by programs: it writes a `python` block and ends its turn, is
given an `output` block, and boxes the answer. Misconceptions were put into {rate:.0%} of the programs whose wording invites one,
and {forgets:.0%} of those that need an import forget it at first, so that errors come back to it.

Made from nano:solver by `python -m tasks.nano.build --role tool-user --seed {seed}` ({recipe.count:,} turns about problems of the
training split of world {seed}; one CPU thread, some minutes; resumable). `--check` measures it again.

| greedy, held-out problems, at most four turns | |
|---|---|
| accuracy, {m[problems]} problems | {m[greedy]:.1%} (95 % interval {m[greedy_low]:.1%} to {m[greedy_high]:.1%}) |
| conversations without a boxed answer | {m[format_errors]:.1%} |
| programs a problem | {m[programs]:.2f} |
| programs that end in an error | {m[program_errors]:.1%} |

Input: the chat of the packaged prompt `solve_tool`; the conversation so far is a last assistant turn. Generated file; do not edit.
"""

ROLES = (Role("tool-user", functools.partial(train_chat, RECIPE), measure, "greedy", card),)
