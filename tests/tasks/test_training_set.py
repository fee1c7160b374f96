from storage.ids import derived_id
from storage.schemas import Example, Mark, Problem, Solution
from tasks.stage import Rejected
from tasks.training_set import training_set

PROBLEM = Problem("a" * 16, "ours", None, "What is 2 + 3?", "5", "integer", True)
SOLUTION = Solution("s1", PROBLEM.id, "r1", "2 + 3 = 5", 5)


def mark(subject: str, contaminated: bool) -> Mark:
    hit = ("problem", "exact", "held_out", "7", 1.0) if contaminated else (None, None, None, None, None)
    return Mark(f"m{subject}", PROBLEM.id, subject, contaminated, *hit)


def test_a_clean_solution_becomes_an_example_with_the_problem_it_answers():
    row = training_set(SOLUTION, PROBLEM, [mark("s1", False)])
    assert row == Example(derived_id("training_set", "s1"), PROBLEM.id, "s1", "What is 2 + 3?", "2 + 3 = 5")


def test_a_mark_on_the_problem_or_on_the_solution_drops_it_and_says_what_it_hit():
    for marks in ([mark(PROBLEM.id, True)], [mark("s1", True)], [mark(PROBLEM.id, True), mark("s1", False)]):
        row = training_set(SOLUTION, PROBLEM, marks)
        assert row == Rejected("contaminated", "problem hits held_out item 7 by rule exact")


def test_a_hit_of_another_solution_of_the_problem_drops_only_that_one():
    assert isinstance(training_set(SOLUTION, PROBLEM, [mark("s1", False), mark("s2", True)]), Example)


def test_an_unchecked_solution_is_not_clean():
    for marks in ([], [mark("s2", False)]):
        row = training_set(SOLUTION, PROBLEM, marks)
        assert isinstance(row, Rejected)
        assert row.reason == "not checked"
