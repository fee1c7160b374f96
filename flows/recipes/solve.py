"""Solve problems with a model and verify the answers: the smallest useful factory, and a grader's test bench."""

from flows.graph import Maker
from tasks.import_problems import import_problems
from tasks.solve import solve as solve_stage
from tasks.verify import verify


def solve(make: Maker) -> None:
    problems = make(import_problems, records=make.input("problems"))
    rollouts = make(solve_stage, problems)
    make(verify, rollouts, problems)
