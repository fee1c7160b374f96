"""Politeness, read from the server's log: one at a time, slowly, with a name, nothing forbidden, waits kept over restarts."""

import itertools
import re
import tomllib
from pathlib import Path

import pytest

from tasks.aops.archive import Archive
from tasks.aops.crawl.access import Clock
from tasks.aops.fixture.faults import Fault
from tests.aops.site import LARGE, Skipping, check_politeness, config, crawled, site

ROOT = Path(__file__).parents[2]
GAP_S = 0.03


def test_requests_come_one_at_a_time_and_no_faster_than_the_interval(tmp_path):
    with site(LARGE) as server:
        crawled(tmp_path, config(server, LARGE, min_interval_s=GAP_S), clock=Clock())
        crawled(tmp_path, config(server, LARGE, min_interval_s=GAP_S), clock=Clock())  # between two runs as well
        check_politeness(server.log, min_gap_s=GAP_S)
        assert server.log[-1].connection <= 2  # one connection a run
    with Archive.open(tmp_path) as archive:  # the client's own log says more: from the end of a reply to the next request
        log = archive.connection.execute("SELECT sent_at, ended_at FROM request ORDER BY id").fetchall()
    assert all(two[0] - one[1] >= GAP_S - 0.001 for one, two in itertools.pairwise(log))


def test_no_address_outside_the_api_is_ever_asked_even_where_everything_fails(tmp_path):
    with site(LARGE) as server:
        server.faults.script += [Fault(kind, at=at) for at, kind in enumerate(("500", "reset", "trunc", "html_for_json"), 1)]
        crawled(tmp_path, config(server, LARGE))
        check_politeness(server.log)
        assert not [asked for asked in server.log if "ajax" in asked.path]


@pytest.mark.parametrize(("retry_after", "least_s"), [("1", 1.0), ("date:2", 1.0)])
def test_retry_after_is_kept_to_the_second(tmp_path, retry_after, least_s):
    with site() as server:
        server.faults.script.append(Fault("503", at=1, retry_after=retry_after))
        crawled(tmp_path, config(server), clock=Clock())
        failed, again = server.log[1:3]
        assert again.at - failed.at >= least_s - 0.001


def test_the_interval_and_what_the_site_asked_for_hold_over_restarts(tmp_path):
    first = Skipping()
    with site(LARGE) as server:
        server.faults.script.append(Fault("429", at=2, retry_after="300"))
        crawled(tmp_path, config(server, LARGE, max_requests_per_run=3, min_interval_s=5.0), clock=first.clock())
        second = Skipping(first.skipped)
        crawled(tmp_path, config(server, LARGE, min_interval_s=5.0), clock=second.clock())
    assert 290 <= second.slept[0] <= 301


def test_waits_are_the_interval_and_up_to_a_fifth_more(tmp_path):
    skipping = Skipping()
    with site(LARGE) as server:
        crawled(tmp_path, config(server, LARGE, min_interval_s=5.0), clock=skipping.clock())
    assert len(skipping.slept) > 5
    assert all(4.9 <= slept <= 6.0 for slept in skipping.slept)
    assert len({round(slept, 3) for slept in skipping.slept}) > 3


def test_a_longer_crawl_delay_of_the_site_wins(tmp_path):
    skipping = Skipping()
    with site(LARGE, robots="User-agent: *\nCrawl-delay: 40\n") as server:
        crawled(tmp_path, config(server, LARGE, min_interval_s=5.0), clock=skipping.clock())
    assert all(39 <= slept <= 48 for slept in skipping.slept)


def test_a_clock_that_was_set_back_does_not_stall_the_crawl(tmp_path):
    late, early = Skipping(skipped=7 * 24 * 3600.0), Skipping()
    with site() as server:
        crawled(tmp_path, config(server, min_interval_s=5.0), clock=late.clock())
        assert crawled(tmp_path, config(server, min_interval_s=5.0), clock=early.clock()).state == "finished"
    assert max(early.slept) <= 6.0


def test_cookies_are_not_kept(tmp_path):
    with site(LARGE) as server:
        plain = server._answer

        def with_cookie(asked):
            found = plain(asked)
            return type(found)(found.status, found.content_type, found.body, {**found.headers, "Set-Cookie": "cf_clearance=x; Path=/"})

        server._answer = with_cookie
        crawled(tmp_path, config(server, LARGE))
        check_politeness(server.log)
        assert len(server.log) > 3


def test_every_request_is_in_the_log_with_its_outcome(tmp_path):
    with site(LARGE) as server:
        server.faults.script.append(Fault("500", at=2))
        report = crawled(tmp_path, config(server, LARGE))
        with Archive.open(tmp_path) as archive:
            rows = archive.connection.execute("SELECT url, status, outcome, sent_at, ended_at FROM request ORDER BY id").fetchall()
        assert len(rows) == len(server.log) == report.requests
        assert [row[2] for row in rows[:4]] == ["robots.txt", "fetch", "status 500", "fetch"]
        assert all(one[4] <= two[3] for one, two in itertools.pairwise(rows))


BYPASSES = re.compile(
    r"cloudscraper|curl.?cffi|curl.?impersonate|tls.?client|undetected|stealth|playwright|selenium|puppeteer|pyppeteer|nodriver"
    r"|flaresolverr|anti.?captcha|2captcha|capsolver|cfscrape|fake.?useragent|patchright|camoufox|requests.?html|zyte|scraperapi",
    re.IGNORECASE,
)


def test_nothing_that_gets_round_a_block_is_a_dependency_or_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    assert any(name.startswith("protego") for name in required)
    assert not [name for name in required if BYPASSES.search(name)]
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tasks" / "aops").rglob("*.py")]
    imports = [line for text in sources for line in re.findall(r"^\s*(?:import|from) .*", text, re.MULTILINE)]
    assert imports and not [line for line in imports if BYPASSES.search(line)]
