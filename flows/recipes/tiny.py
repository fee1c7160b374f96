"""The whole factory on a laptop: nano problems -> solve -> verify -> difficulty -> distill -> decontaminate -> train -> measure again."""

from flows.graph import Maker, Ref
from tasks.contamination import contamination
from tasks.difficulty import difficulty
from tasks.distill import distill
from tasks.evaluate import evaluate
from tasks.nano_problems import nano_problems
from tasks.solve import solve
from tasks.train_sft import train_sft
from tasks.training_set import training_set
from tasks.verify import verify


def tiny(make: Maker) -> None:
    problems = make(nano_problems, name="problems")
    heldout = make(nano_problems, name="heldout")
    rollouts = make(solve, problems)
    verdicts = make(verify, rollouts, problems)
    make(difficulty, problems, verdicts, rollouts)
    solutions = make(distill, problems, rollouts, verdicts)
    marks = make(contamination, problems, solutions, against=heldout)
    examples = make(training_set, solutions, problems, marks, protected=heldout)
    student = make(train_sft, name="sft", examples=examples)
    measure(make, "before", heldout)
    measure(make, "after", heldout, student)


def measure(make: Maker, name: str, heldout: Ref, student: Ref | None = None) -> Ref:
    """Solve the held-out problems with the recipe's solver, or with `student`, and count."""
    model = {"model": student} if student else {}
    replies = make(solve, heldout, name=f"{name}_solve", **model)
    verdicts = make(verify, replies, heldout, name=f"{name}_verify")
    return make(evaluate, verdicts, replies, name=name)
