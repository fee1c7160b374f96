"""What tests of the crawler share: a wiki on this machine, terms on which it is crawled quickly, and a clock that does not wait."""

import functools
import itertools
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.aops.archive import Archive
from tasks.aops.crawl.access import Clock, CrawlConfig
from tasks.aops.crawl.run import CrawlReport, crawl
from tasks.aops.fixture.server import Asked, WikiServer
from tasks.aops.fixture.wiki import Wiki

CONTACT = "crawl-test@example.org"
SMALL = (("AIME I", 2099), ("USAMO", 2099))
"""17 + 7 pages."""
LARGE = tuple((kind, year) for year in (2098, 2099) for kind in ("AMC 8", "AMC 10A", "AMC 10B", "AMC 12A", "AMC 12B", "AIME I", "USAMO"))
"""318 pages."""


def config(server: WikiServer, contests: tuple[tuple[str, int], ...] = SMALL, **more: Any) -> CrawlConfig:
    """Crawling those contests from that server, as fast as a loopback server allows."""
    years = tuple(sorted({year for _, year in contests}))
    given = {"contests": tuple(dict.fromkeys(kind for kind, _ in contests)), "years": years, "contact": CONTACT, "accept_terms": True}
    return CrawlConfig(**({**given, "site": server.url, "min_interval_s": 0.0, "timeout_s": 60.0, "max_requests_per_run": 1000} | more))


@dataclass
class Skipping:
    """A clock that goes on by itself and jumps where it is told to sleep."""

    skipped: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> Clock:
        return Clock(lambda: time.time() + self.skipped, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.skipped += seconds


@contextmanager
def site(contests: tuple[tuple[str, int], ...] = SMALL, **more: Any) -> Iterator[WikiServer]:
    with WikiServer(wiki(contests), **more) as server:
        yield server


_made = functools.cache(Wiki.invented)


def wiki(contests: tuple[tuple[str, int], ...]) -> Wiki:
    """A wiki of its own with these contests; their texts are made once."""
    fresh = Wiki()
    for title, revision in _made(contests).changes:
        fresh.edit(title, revision.text)
    return fresh


def crawled(folder: Path, settings: CrawlConfig, **more: Any) -> CrawlReport:
    """One crawl into the archive of a folder; waits are skipped unless a clock is given."""
    with Archive.open(folder) as archive:
        return crawl(archive, settings, **{"clock": Skipping().clock(), **more})


def contents(folder: Path) -> list[Any]:
    with Archive.open(folder) as archive:
        return list(archive.pages())


def batches(titles: int) -> int:
    return math.ceil(titles / 50)


def content_requests(log: list[Asked]) -> list[Asked]:
    return [asked for asked in log if "content" in asked.query.get("rvprop", "")]


def check_politeness(log: list[Asked], min_gap_s: float = 0.0) -> None:
    """What holds for every crawl, read from the server's log."""
    assert log[0].path == "/robots.txt"
    for asked in log:
        assert asked.method == "GET"
        assert asked.in_flight == 1, f"request {asked.index} came while another was under way"
        assert CONTACT in asked.agent and asked.agent.startswith("mathmill-crawler/")
        assert "cookie" not in asked.headers and "authorization" not in asked.headers
        assert asked.path in ("/robots.txt", "/wiki/api.php")
        assert len(asked.titles) <= 50
        assert not {"user", "userid", "comment"} & set(asked.query.get("rvprop", "").split("|"))  # nobody's name is asked for
        if asked.path == "/wiki/api.php":
            assert (asked.query["maxlag"], asked.query["formatversion"]) == ("5", "2")
    for one, two in itertools.pairwise(log):
        assert two.at - one.at >= min_gap_s - 0.001  # the client's clock is another one
