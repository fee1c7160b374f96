"""Levels of nano problems: how many concepts a problem has, read back from its text (contests name theirs, here it is computed)."""

from storage.ids import derived_id
from storage.schemas import Level, Problem
from tasks.nano.read_back import read_back
from tasks.stage import Rejected, stage


@stage
def nano_levels(problem: Problem) -> Level | Rejected:
    """The level of one problem, whoever wrote it, as long as it has an answer in this world."""
    found = read_back(problem.problem)
    if found.reason:
        return Rejected(found.reason)
    return Level(derived_id("nano_levels", problem.id), problem.id, str(len(found.concepts)))
