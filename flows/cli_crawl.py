"""Commands of the AoPS wiki: `mathmill crawl`, and `mathmill demo-site`, which serves an invented one on this machine."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from flows import screen
from flows.graph import UsageError
from flows.places import aops_folder, store_root
from flows.report import own_command
from tasks.aops.archive import Archive
from tasks.aops.contests import schedule
from tasks.aops.crawl.access import EVERYTHING, CrawlConfig
from tasks.aops.crawl.run import CrawlError, CrawlReport
from tasks.aops.crawl.run import crawl as crawl_pages
from tasks.aops.pages import SITE

StoreOption = Annotated[Path | None, typer.Option("--store", help="Folder of the datasets; else $MATHMILL_STORE, else ./mathmill-data")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables")]
_DEFAULTS = CrawlConfig()
_SAY_EVERY = 10
"""Replies between two lines of progress."""


def crawl(
    contest: Annotated[list[str], typer.Option("--contest", help=f"As in the titles (AIME I), or {EVERYTHING}; repeatable")] = [],  # noqa: B006
    year: Annotated[list[int], typer.Option("--year", help="Only this year; repeatable")] = [],  # noqa: B006
    contact: Annotated[str, typer.Option("--contact", help="E-mail or https address of who crawls, sent with every request")] = "",
    accept_terms: Annotated[bool, typer.Option("--accept-terms", help="You have read the site's terms of service and accept them")] = False,
    site: Annotated[str, typer.Option("--site", help="The wiki, or one on this machine (mathmill demo-site)")] = SITE,
    interval: Annotated[float, typer.Option("--interval", help="Seconds between requests, at least 5")] = _DEFAULTS.min_interval_s,
    max_requests: Annotated[int, typer.Option("--max-requests", help="End the run there")] = _DEFAULTS.max_requests_per_run,
    after_block: Annotated[bool, typer.Option("--after-block", help="The last run was blocked, and you have seen why")] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> int:
    """Fetch what is new of contests on the AoPS wiki, slowly. What is there already is not fetched again."""
    try:
        config = CrawlConfig(
            contests=tuple(contest),
            years=tuple(year),
            contact=contact,
            accept_terms=accept_terms,
            site=site,
            min_interval_s=interval,
            max_requests_per_run=max_requests,
        )
        config.check(schedule())
    except ValidationError as error:
        raise UsageError("; ".join(str(found["msg"]).removeprefix("Value error, ") for found in error.errors())) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    if (off := config.off()) is not None:
        raise UsageError(f"crawling is off: {off}")
    with Archive.open(aops_folder(store_root(store))) as archive:
        try:
            report = crawl_pages(archive, config, after_block=after_block, watch=_watch)
        except CrawlError as error:
            raise UsageError(str(error)) from error
        _show(report, archive.path, json)
    if report.state in ("blocked", "refused"):
        return 1
    return 3 if report.failed else 0


def _watch(requests: int, left: int) -> None:
    if requests % _SAY_EVERY == 0:
        screen.note(f"{requests} requests, {left} titles left")


def _show(report: CrawlReport, archive: Path, as_json: bool) -> None:
    facts = {
        "state": report.state,
        "reason": report.reason,
        "requests": report.requests,
        "found": dict(report.found),
        "left": report.left,
        "given up": report.failed,
        "archive": archive,
    }
    screen.facts(facts | ({"evidence": report.evidence} if report.evidence else {}), as_json)
    if report.state == "finished":
        screen.note(f"next:    {own_command()} run aops --input pages={shlex.quote(str(archive))}")


def demo_site(
    port: Annotated[int, typer.Option("--port", help="Port on this machine; 0 takes a free one")] = 8099,
    year: Annotated[list[int], typer.Option("--year", help="Year of the invented contests, 2090 or later; repeatable")] = [2099],  # noqa: B006
    seed: Annotated[int, typer.Option("--seed", help="Other seeds give other problems")] = 0,
) -> None:
    """Serve a wiki of invented contests on this machine, to look at and to crawl, until Ctrl-C."""
    from tasks.aops.fixture.contest import KINDS
    from tasks.aops.fixture.server import WikiServer
    from tasks.aops.fixture.wiki import Wiki

    wiki = Wiki.invented([(kind, y) for y in year for kind in KINDS], seed)
    with WikiServer(wiki, port=port) as server:
        screen.note(f"{len(wiki.pages)} pages at {server.url}/wiki/index.php    stop with Ctrl-C")
        contests = " ".join(f'--contest "{kind}"' for kind in KINDS[:2])
        crawling = f"{own_command()} crawl --site {server.url} {contests} --year {year[0]} --interval 0.1"
        screen.note(f"next:    {crawling} --contact you@example.org --accept-terms")
        try:
            server.wait()
        except KeyboardInterrupt:  # the way it is stopped
            screen.note("stopped")


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (crawl, demo_site):
        app.command()(command)
