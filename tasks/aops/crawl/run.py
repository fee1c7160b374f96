"""A crawl: ask what is left of the frontier, keep what each reply says before the next request is sent, and say how it ended.

Every reply is one transaction over pages, frontier and log, so a crawl killed anywhere goes on without asking twice for what it has;
what was under way is asked again. The revision number decides which texts are fetched. It does not parse, and keeps no old revisions.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from storage.locks import file_lock
from tasks.aops.archive import Archive
from tasks.aops.contests import Schedule, schedule
from tasks.aops.crawl.access import Clock, CrawlConfig, is_local
from tasks.aops.crawl.client import Client, Stop
from tasks.aops.crawl.frontier import Frontier, Run, RunState
from tasks.aops.crawl.mediawiki import Query, QueryReply, Seen, read_reply
from tasks.aops.pages import RawPage, gone_page, page_url, raw_page


class CrawlError(Exception):
    """The crawl cannot begin."""


@dataclass
class CrawlReport:
    """How a crawl ended. `off`: it is not switched on and nothing was sent."""

    state: RunState | Literal["off"]
    reason: str = ""
    requests: int = 0
    """Sent in this run, with those of the process that was killed in it."""
    found: Counter[str] = field(default_factory=Counter)
    """Titles by what became of them: new, changed, unchanged, missing, hidden."""
    left: int = 0
    """Titles that the next run goes on with."""
    failed: dict[str, str] = field(default_factory=dict)
    """Titles given up, with reasons; the next run tries them again."""
    outcomes: dict[str, int] = field(default_factory=dict)
    """Requests by outcome."""
    evidence: str | None = None
    """For `blocked` and `refused`: status, headers and beginning of the reply, as JSON."""

    def summary(self) -> str:
        """One line."""
        found = ", ".join(f"{n} {what}" for what, n in sorted(self.found.items())) or "no page"
        why = f": {self.reason}" if self.reason else ""
        return f"{self.state}{why} ({self.requests} requests; {found}; {self.left} titles left, {len(self.failed)} given up)"


def crawl(
    archive: Archive,
    config: CrawlConfig,
    *,
    after_block: bool = False,
    contests: Schedule | None = None,
    clock: Clock | None = None,
    jitter: random.Random | None = None,
    watch: Callable[[int, int], None] = lambda requests, left: None,
) -> CrawlReport:
    """Crawl what `config` chooses into the archive. An archive whose last run was blocked is not crawled before a person has seen
    why and says `after_block`. `watch` is called after each good reply with (requests of the run, titles left).

    Raises CrawlError if another crawl of the archive is running or it holds pages of another kind of site, ValueError for contests or
    years that the schedule does not have.
    """
    if (off := config.off()) is not None:
        return CrawlReport("off", f"crawling is off: {off}")
    titles = config.titles(contests or schedule())
    with file_lock(archive.path.with_suffix(".lock"), on_wait=_refuse_second):
        frontier = Frontier(archive)
        _refuse_mixture(frontier, config)
        frontier.open(titles)
        last = frontier.last_run()
        if last is not None and last.state == "blocked" and not after_block:
            reason = f"the last run was blocked ({last.reason}): look at why, and say so (after_block) to try again"
            return CrawlReport("blocked", reason, left=frontier.left(), evidence=last.evidence)
        return _Crawl(archive, frontier, config, clock or Clock(), jitter or random.Random()).run(watch)


def _refuse_mixture(frontier: Frontier, config: CrawlConfig) -> None:
    """Invented contests and real ones never share an archive, or they would share data sets."""
    if other := [site for site in frontier.sites() if is_local(site) != config.local]:
        raise CrawlError(f"this archive holds pages of {other[0]}: crawl {config.site} into another store")


def _refuse_second() -> None:
    raise CrawlError("another crawl of this archive is running: wait for it to end")


class _Crawl:
    """One run."""

    def __init__(self, archive: Archive, frontier: Frontier, config: CrawlConfig, clock: Clock, jitter: random.Random) -> None:
        self._archive = archive
        self._frontier = frontier
        self._config = config
        self._clock = clock
        self._run = frontier.begin_run(config.site, config.agent, clock.now())
        self._client = Client(config, frontier, self._run, clock, jitter)
        self._found: Counter[str] = Counter()
        self._generator = self._run.generator

    def run(self, watch: Callable[[int, int], None]) -> CrawlReport:
        try:
            with self._client:
                while (query := self._frontier.next_query()) is not None:
                    self._ask(query)
                    watch(self._frontier.count(self._run, self._clock.now())[0], self._frontier.left())
        except Stop as stop:
            return self._end(stop.state, stop.reason, stop.evidence)
        return self._end("finished", "")

    def _end(self, state: RunState, reason: str, evidence: dict[str, Any] | None = None) -> CrawlReport:
        self._frontier.end_run(self._run, state, reason, self._clock.now(), evidence)
        if state == "blocked":  # perhaps by the token of a cut reply: the titles that are left are asked for anew
            self._frontier.ask_on(None)
        ended = _last(self._frontier)
        outcomes = self._frontier.outcomes(self._run)
        left, failed = self._frontier.left(), self._frontier.failed()
        return CrawlReport(state, reason, outcomes.total(), self._found, left, failed, dict(outcomes), ended.evidence)

    def _ask(self, query: Query) -> None:
        accepted = self._client.ask(query.url(self._config.site, siteinfo=self._generator is None))
        try:
            reply = read_reply(query, accepted.reply)
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # JSON in a shape that is not MediaWiki's
            self._client.reject(accepted, f"cannot read the reply: {error!a}"[:200])
            return
        with self._archive.write():
            now = self._clock.now()
            self._frontier.answered(accepted.request, now, query.step, 200, accepted.size, accepted.body_sha256, None)
            if reply.generator is not None and self._generator is None:
                self._frontier.note_generator(self._run, reply.generator)
            self._keep(query, reply)
        self._generator = self._generator or reply.generator

    def _keep(self, query: Query, reply: QueryReply) -> None:
        """Move every title of the query on, and keep the rest of a reply that was cut as the next thing to ask."""
        waiting = [reply.seen.get(title, Seen(title, "cut")) for title in self._frontier.still_open(query)]
        cut = [seen for seen in waiting if seen.what == "cut"]
        for seen in waiting:
            if seen.what == "known":
                self._compare(seen)
            elif seen.what != "cut":
                self._keep_page(seen)
        if cut and reply.more and len(cut) < len(waiting):  # a reply that brings nothing is not asked on: it could go on for ever
            self._frontier.ask_on(Query(query.step, query.titles, reply.more))
            return
        self._frontier.ask_on(None)
        for seen in cut:
            self._frontier.try_again(seen.title, "the wiki's replies leave it out")

    def _compare(self, seen: Seen) -> None:
        kept = self._archive.get(seen.title)
        same = kept is not None and kept.status != "missing" and kept.revid == seen.revid
        self._frontier.move(seen.title, "done" if same else "fetch")
        if same:
            self._found["unchanged"] += 1

    def _keep_page(self, seen: Seen) -> None:
        old = self._archive.get(seen.title)
        page = _page(seen, old, self._config.site)
        if page is None:
            self._frontier.try_again(seen.title, "its text has not the sha1 that the wiki gives")
            return
        gone = page.status if page.status in ("missing", "hidden") else None
        self._archive.put(page, current=True)
        self._frontier.move(seen.title, "done")
        self._found[gone or ("new" if old is None or old.status == "missing" else "changed")] += 1


def _page(seen: Seen, old: RawPage | None, site: str) -> RawPage | None:
    """What a reply says of a title as a page; None if its text is not what its hash says."""
    if seen.what == "missing":
        return gone_page(seen.title, "missing", old.page_id if old else None, old.revid if old else None)
    if seen.what == "hidden":
        return gone_page(seen.title, "hidden", seen.page_id, seen.revid)
    url = page_url(seen.title, site)
    page = raw_page(seen.title, seen.text, page_id=seen.page_id, revid=seen.revid, revised_at=seen.revised_at, source_url=url)
    return page if page.sha1 == seen.sha1 else None


def _last(frontier: Frontier) -> Run:
    run = frontier.last_run()
    assert run is not None
    return run
