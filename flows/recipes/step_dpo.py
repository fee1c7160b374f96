"""Step-DPO: wrong replies, their first wrong step, better steps, preference pairs, training, and accuracy before and after (2406.18629)."""

from flows.graph import Maker, Ref
from storage.schemas import Location
from tasks.agreement import agreement
from tasks.contamination import contamination
from tasks.decide_fault import decide_fault
from tasks.distill import distill
from tasks.evaluate import evaluate
from tasks.import_problems import import_problems
from tasks.locate import locate
from tasks.locate_judge import locate_judge
from tasks.locate_rollouts import locate_rollouts
from tasks.nano_problems import nano_problems
from tasks.pair_lengths import pair_lengths
from tasks.rectify import rectify
from tasks.solve import solve
from tasks.step_pairs import step_pairs
from tasks.train_dpo import train_dpo
from tasks.verify import verify
from tasks.wrong_replies import wrong_replies


def step_dpo(make: Maker) -> None:
    """At full size: problems with answers to learn from, and others to be measured on, from files."""
    problems = make(import_problems, records=make.input("problems"), name="problems")
    heldout = make(import_problems, records=make.input("heldout"), name="heldout")
    learn(make, problems, heldout)


def step_dpo_nano(make: Maker) -> None:
    """On a laptop: the nano world."""
    learn(make, make(nano_problems, name="problems"), make(nano_problems, name="heldout"))


def learn(make: Maker, problems: Ref, heldout: Ref) -> None:
    rollouts = make(solve, problems)
    verdicts = make(verify, rollouts, problems)
    clean = make(contamination, problems, against=heldout)
    wrong = make(wrong_replies, problems, rollouts, verdicts, clean)
    faults, sampled = first_wrong_steps(make, problems, rollouts, verdicts, wrong)
    continued = make(rectify, faults, problems, wrong)
    reached = make(verify, continued, problems, name="rectify_verify")
    marks = make(contamination, problems, wrong, continued, against=heldout, name="reply_contamination")
    pairs = make(step_pairs, faults, problems, wrong, continued, reached, marks, faults, sampled, protected=heldout)
    make(pair_lengths, pairs)
    student = make(train_dpo, pairs=pairs)
    measure(make, "before", heldout)
    measure(make, "after", heldout, student)


def first_wrong_steps(make: Maker, problems: Ref, rollouts: Ref, verdicts: Ref, wrong: Ref) -> tuple[Ref, Ref]:
    """The faults that the locators agree on, or that a person named; and what the locator by rollouts said."""
    symbolic = make(locate, wrong, problems, verdicts)
    sampled = make(locate_rollouts, wrong, problems)
    references = make(distill, problems, rollouts, verdicts, name="references")
    judged = make(locate_judge, wrong, problems, references)
    make(agreement, symbolic, judged, sampled)
    reviews = make.answers("reviews", Location)
    return make(decide_fault, wrong, symbolic, judged, sampled, reviews), sampled


def measure(make: Maker, name: str, heldout: Ref, student: Ref | None = None) -> Ref:
    """Solve the held-out problems with the recipe's solver, or with `student`, and count."""
    model = {"model": student} if student else {}
    replies = make(solve, heldout, name=f"{name}_solve", **model)
    verdicts = make(verify, replies, heldout, name=f"{name}_verify")
    return make(evaluate, verdicts, replies, name=name)
