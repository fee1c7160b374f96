"""The level of a nano problem is computed from its text."""

from itertools import islice

from storage.schemas import Level, Problem, from_table, to_table
from tasks.nano.world import World
from tasks.nano_levels import nano_levels
from tasks.nano_problems import as_problem
from tasks.runner import Inputs, run_stage
from tasks.stage import StageConfig


def test_levels_are_numbers_of_concepts_and_problems_of_other_kinds_are_rejected_with_a_reason():
    tasks = list(islice(World(0).tasks("test"), 50))
    foreign = Problem("f" * 16, "ours", None, "How many primes are below 30?", "10", "integer", True)
    problems = to_table([foreign, *map(as_problem, tasks)], Problem)
    outcome = run_stage(nano_levels, StageConfig(), Inputs(tables={"problem": problems}))
    found = {row.problem_id: row.level for row in from_table(outcome.rows, Level)}
    assert found == {as_problem(t).id: str(t.level) for t in tasks}
    assert outcome.rejected == {"no sentence with a concept": 1}
