"""Real input: GSM8K problems with human solutions and labelled replies of real models, checked against real benchmarks, and trained on."""

from flows.graph import Maker
from tasks.audit import audit
from tasks.contamination import contamination
from tasks.dedup import dedup
from tasks.difficulty import difficulty
from tasks.distill import distill
from tasks.import_problems import import_problems
from tasks.import_rollouts import import_rollouts
from tasks.protect import protect
from tasks.train_sft import train_sft
from tasks.training_set import training_set
from tasks.verify import verify


def gsm8k(make: Maker) -> None:
    records = make.input("problems")
    problems = make(import_problems, records=records)
    rollouts = make(import_rollouts, records=records, problems=problems)
    verdicts = make(verify, rollouts, problems)
    make(difficulty, problems, verdicts, rollouts)
    make(audit, problems, verdicts, rollouts)
    make(dedup, problems)
    solutions = make(distill, problems, rollouts, verdicts)
    protected = make(protect, files=make.input("benchmarks"))
    marks = make(contamination, problems, solutions, against=protected)
    examples = make(training_set, solutions, problems, marks, protected=protected)
    make(train_sft, name="sft", examples=examples)
