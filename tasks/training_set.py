"""Select a training set: solutions whose contamination check found nothing (PromptCoT, decontamination before training).

The check itself is the stage `contamination`, which marks and never drops; this one drops, so its output is what trains.
Nothing is settable: unchecked rows go too.
"""

from storage.ids import derived_id
from storage.schemas import Example, Mark, Problem, Solution
from tasks.stage import Rejected, stage


@stage
def training_set(solution: Solution, problem: Problem, marks: list[Mark]) -> Example | Rejected:
    """The example, if the problem or this solution was checked and no mark on either says contaminated."""
    own = [m for m in marks if m.subject_id in (problem.id, solution.id)]
    if not own:
        return Rejected("not checked", f"no contamination mark for problem {problem.id} or solution {solution.id}")
    hit = next((m for m in own if m.contaminated), None)
    if hit is not None:
        return Rejected("contaminated", f"{hit.column} hits {hit.benchmark} item {hit.item} by rule {hit.rule}")
    return Example(derived_id("training_set", solution.id), problem.id, solution.id, problem.problem, solution.solution)
