"""Read the solutions that people wrote off wiki pages: text without names, what their boxes say, whether they lean on other solutions."""

from collections.abc import Iterator

from storage.schemas import Page, WikiSolution
from tasks.aops.assemble import assemble
from tasks.stage import Made, Rejected, stage


@stage(scope="dataset", tools=("rapidfuzz",))
def wiki_solutions(pages: list[Page]) -> Iterator[Made[WikiSolution] | Rejected]:
    """One row for each solution, stubs among them."""
    found = assemble(pages)
    for row, page_id in found.solutions:
        yield Made(row, of=[page_id])
    having = {page_id for _, page_id in found.solutions}
    for page in (p for p in pages if p.id not in having):
        reason, detail = found.unused.get(page.id, ("no solution on the page", page.kind))
        yield Rejected(reason, detail, of=page.id)
