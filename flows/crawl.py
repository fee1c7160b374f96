"""The crawl of the AoPS wiki as a Prefect flow: weekly, one at a time (prefect.yaml). Off until its parameters say who asks and what.

The deployment's concurrency limit keeps two flow runs apart, the lock of the archive two processes; a slot of a global concurrency limit
besides was seen to leak when its holder was killed.
"""

from pathlib import Path

from prefect import flow, get_run_logger
from prefect.events import emit_event
from prefect.states import Completed, Failed, State

from flows.places import aops_folder, store_root
from tasks.aops.archive import Archive
from tasks.aops.crawl.access import CrawlConfig
from tasks.aops.crawl.run import CrawlReport
from tasks.aops.crawl.run import crawl as crawl_pages

_SAY_EVERY = 10
"""Replies between two lines in the log."""


def crawl_event(report: CrawlReport, archive: Path) -> dict[str, object] | None:
    """What is announced when a crawl found anything new, so that a deployment may go on with the pages; None if it did not."""
    found = {what: n for what, n in report.found.items() if what in ("new", "changed", "hidden")}
    if not found:
        return None
    resource = {"prefect.resource.id": "mathmill.archive.aops", "prefect.resource.name": "aops"}
    return {"event": "mathmill.archive.changed", "resource": resource, "payload": {"archive": str(archive), **found}}


@flow
def crawl(config: CrawlConfig = CrawlConfig(), store: str = "", after_block: bool = False) -> State[None]:
    """Bring the pages of the chosen contests up to date.

    Args:
        config: What is crawled and on what terms; off by default.
        store: Folder of the datasets, below which the pages are kept; empty for the worker's.
        after_block: The last run was blocked, a person has seen why, and it may be tried again.
    """
    log = get_run_logger()

    def watch(requests: int, left: int) -> None:
        if requests % _SAY_EVERY == 0:
            log.info("%d requests, %d titles left", requests, left)

    with Archive.open(aops_folder(store_root(store))) as archive:
        report = crawl_pages(archive, config, after_block=after_block, watch=watch)
        if (event := crawl_event(report, archive.path)) is not None:
            emit_event(**event)  # type: ignore[arg-type]
    log.info("%s", report.summary())
    for title, reason in report.failed.items():
        log.warning("%s was given up: %s", title, reason)
    ended = Failed if report.state in ("blocked", "refused") else Completed
    return ended(name=report.state.capitalize(), message=report.summary())
