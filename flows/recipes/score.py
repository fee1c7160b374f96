"""Solve, verify and score the problems of a dataset that is there already (`aops.problems`): what was solved before costs nothing."""

from flows.graph import Maker
from storage.schemas import Problem
from tasks.difficulty import difficulty
from tasks.solve import solve
from tasks.verify import verify


def score(make: Maker) -> None:
    problems = make.dataset("problems", Problem)
    rollouts = make(solve, problems)
    verdicts = make(verify, rollouts, problems)
    make(difficulty, problems, verdicts, rollouts)
