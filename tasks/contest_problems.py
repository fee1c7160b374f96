"""Read contest problems off wiki pages: statement, choices, figures, shared data, and the answer by key and votes (AoPS wiki).

All pages are read at once, because a key decides 25 answers and a redirect belongs to two contests; it takes seconds for the whole wiki,
and rows that come out as before cost nothing further down.
"""

from collections.abc import Iterator

from storage.schemas import ContestProblem, Page
from tasks.aops.assemble import assemble
from tasks.stage import Made, Rejected, stage


@stage(scope="dataset", tools=("rapidfuzz",))
def contest_problems(pages: list[Page]) -> Iterator[Made[ContestProblem] | Rejected]:
    """One row for each problem, made from its page and every redirect, key and list page that speaks of it."""
    found = assemble(pages)
    for row, parents in found.problems:
        yield Made(row, of=parents)
    for page, (reason, detail) in found.unused.items():
        yield Rejected(reason, detail, of=page)
