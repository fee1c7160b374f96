"""Every doubt about wiki pages, with its place: what a person should look at before trusting a row."""

from collections.abc import Iterator

from storage.schemas import Page, ParseIssue
from tasks.aops.assemble import assemble
from tasks.stage import Made, Rejected, stage


@stage(scope="dataset", tools=("rapidfuzz",))
def parse_issues(pages: list[Page]) -> Iterator[Made[ParseIssue] | Rejected]:
    """One row for each doubt; a page without any is rejected as `no doubt`."""
    issues = assemble(pages).issues
    for row, page_id in issues:
        yield Made(row, of=[page_id])
    doubted = {page_id for _, page_id in issues}
    for page in (p for p in pages if p.id not in doubted):
        yield Rejected("no doubt", of=page.id)
