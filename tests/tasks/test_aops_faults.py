"""What goes wrong on the way: a crawl through all of it ends with the same archive; where it is not welcome it stops and says why."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.aops.archive import Archive
from tasks.aops.crawl.mediawiki import Query, read_reply
from tasks.aops.crawl.verdict import judge, retry_after_s
from tasks.aops.fixture.faults import Fault
from tasks.aops.fixture.server import WikiServer
from tasks.aops.fixture.site import ROBOTS
from tests.aops.site import LARGE, Skipping, config, contents, crawled, site, wiki

ALL_KINDS = [
    Fault("429", at=1, retry_after="7"),
    Fault("503", at=3, retry_after="date:20"),
    Fault("500", at=5),
    Fault("reset", at=6),
    Fault("trunc", at=7),
    Fault("slow", at=9, delay_s=30),
    Fault("drip", at=10, delay_s=0.01),
    Fault("badjson", at=12),
    Fault("html_for_json", at=13),
    Fault("maxlag", at=15, retry_after="5"),
    Fault("ratelimited", at=17),
    Fault("sha1_mismatch", at=19),
    Fault("gzip_broken", at=20),
    Fault("wrong_charset", at=21),
    Fault("huge", at=22),
    Fault("apierror", at=24),
    Fault("old_shape", at=26),
]


def test_a_run_through_every_fault_ends_with_the_same_archive(tmp_path):
    with site(LARGE) as server:
        crawled(tmp_path / "calm", config(server, LARGE))
        port = server.port
    with WikiServer(wiki(LARGE), port=port) as server:
        server.limits = type(server.limits)(content_bytes=25_000)  # enough requests for every fault to fall on one
        server.faults.script = [Fault(**vars(fault)) for fault in ALL_KINDS]
        skipping = Skipping()
        report = crawled(tmp_path / "rough", config(server, LARGE, timeout_s=0.5), clock=skipping.clock())
        assert report.state == "finished" and not report.failed
        assert [asked.fault for asked in server.log if asked.fault] == [fault.kind for fault in ALL_KINDS]
        assert contents(tmp_path / "rough") == contents(tmp_path / "calm")
        with Archive.open(tmp_path / "rough") as rough, Archive.open(tmp_path / "calm") as calm:
            assert rough.digest() == calm.digest()
            assert {seen[0] for seen in rough.connection.execute("SELECT outcome FROM request")} > {
                "status 429",
                "status 503",
                "status 500",
            }
        for wanted in (7, 19, 5):  # what Retry-After asked for, in seconds and as a date, and maxlag
            assert any(wanted - 1 <= slept <= wanted + 1 for slept in skipping.slept), wanted


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("cf403", "the site shows a challenge to robots (status 403)"),
        ("cf200", "the site shows a challenge to robots (status 200)"),
        ("401", "the site refuses access (status 401)"),
    ],
)
def test_a_challenge_or_refusal_blocks_at_once_with_evidence(tmp_path, kind, reason):
    with site(LARGE) as server:
        server.faults.script.append(Fault(kind, at=3, times=100))
        report = crawled(tmp_path, config(server, LARGE))
        assert (report.state, report.reason) == ("blocked", reason)
        assert len(server.log) == 4  # not one more
        evidence = json.loads(str(report.evidence))
        assert set(evidence) == {"url", "status", "headers", "body_sha256", "body_start"}
        assert evidence["url"].startswith(server.url)
        assert "set-cookie" not in evidence["headers"]
        if kind != "401":
            assert "Just a moment" in evidence["body_start"] and evidence["headers"]["cf-mitigated"] == "challenge"


def test_a_blocked_archive_sends_nothing_until_a_person_says_so(tmp_path):
    with site() as server:
        server.faults.script.append(Fault("cf403", at=1))
        crawled(tmp_path, config(server))
        again = crawled(tmp_path, config(server))
        assert again.state == "blocked" and "look at why" in again.reason and "Just a moment" in str(again.evidence)
        assert len(server.log) == 2
        assert crawled(tmp_path, config(server), after_block=True).state == "finished"


@pytest.mark.parametrize(("kind", "requests"), [("429", 3), ("503", 3), ("maxlag", 3), ("500", 5), ("reset", 5), ("badjson", 5)])
def test_the_same_trouble_again_and_again_blocks_the_run(tmp_path, kind, requests):
    with site() as server:
        server.faults.script.append(Fault(kind, title="2099*", times=100))
        report = crawled(tmp_path, config(server))
        assert report.state == "blocked" and f"{requests} requests in a row failed" in report.reason
        assert len(server.log) == 1 + requests
        assert report.left == 24


def test_pauses_between_failures_double(tmp_path):
    skipping = Skipping()
    with site() as server:
        server.faults.script.append(Fault("500", title="2099*", times=100))
        crawled(tmp_path, config(server, min_interval_s=1.0), clock=skipping.clock())
    assert [round(slept) for slept in skipping.slept[1:]] == [2, 4, 8, 16]


@pytest.mark.parametrize(
    ("kind", "state"), [("500", "refused"), ("429", "refused"), ("reset", "refused"), ("cf403", "blocked"), ("cf200", "blocked")]
)
def test_without_a_readable_robots_txt_nothing_is_fetched(tmp_path, kind, state):
    with site() as server:
        server.faults.script.append(Fault(kind, at=0))
        report = crawled(tmp_path, config(server))
        assert report.state == state
        assert [asked.path for asked in server.log] == ["/robots.txt"]


def test_robots_txt_that_forbids_the_api_stops_the_run_before_it_asks(tmp_path):
    with site(robots="User-agent: *\nDisallow: /wiki/api.php\n") as server:
        report = crawled(tmp_path, config(server))
        assert report.state == "refused" and "robots.txt forbids" in report.reason
        assert [asked.path for asked in server.log] == ["/robots.txt"]


def test_new_rules_hold_from_the_next_run_on(tmp_path):
    with site(LARGE) as server:
        crawled(tmp_path, config(server, LARGE, max_requests_per_run=3))
        server.robots = ROBOTS + "\nUser-agent: mathmill-crawler\nDisallow: /\n"
        before = len(server.log)
        assert crawled(tmp_path, config(server, LARGE)).state == "refused"
        assert [asked.path for asked in server.log[before:]] == ["/robots.txt"]


def test_rules_older_than_a_day_are_fetched_again_within_a_run(tmp_path):
    skipping = Skipping()
    with site(LARGE) as server:

        def a_day_passes(asked):
            skipping.skipped += 25 * 3600 if asked.index == 3 else 0

        server.arrived = a_day_passes
        assert crawled(tmp_path, config(server, LARGE), clock=skipping.clock()).state == "finished"
        assert [asked.index for asked in server.log if asked.path == "/robots.txt"] == [0, 4]


@pytest.mark.parametrize(
    ("location", "state", "said"),
    [
        ("https://challenge.example/", "blocked", "redirects to another one"),
        ("/m/community/ajax.php", "refused", "robots.txt forbids"),
        ("http://[", "blocked", "a redirect to"),
    ],
)
def test_a_redirect_is_not_followed_where_the_crawler_may_not_go(tmp_path, location, state, said):
    with site() as server:
        server.faults.script.append(Fault("redirect_to", at=1, location=location))
        report = crawled(tmp_path, config(server))
        assert report.state == state and said in report.reason
        assert len(server.log) == 2


def test_a_redirect_on_the_site_is_a_request_of_its_own(tmp_path):
    with site() as server:
        target = "/wiki/api.php?action=query&meta=siteinfo"
        server.faults.script.append(Fault("redirect_to", at=1, location=target))
        report = crawled(tmp_path, config(server))
        assert report.state == "finished"
        assert report.outcomes[f"redirect to {target}"] == 1


def test_redirects_without_end_block_the_run(tmp_path):
    with site() as server:
        server.faults.script.append(Fault("redirect_loop", title="/wiki/api.php", times=100))
        server.faults.script.append(Fault("redirect_loop", title="2099*", times=100))
        report = crawled(tmp_path, config(server))
        assert report.state == "blocked" and "5 redirects in a row" in report.reason
        assert len(server.log) == 7


def test_a_long_retry_after_ends_the_run_and_holds_for_the_next(tmp_path):
    skipping = Skipping()
    with site() as server:
        server.faults.script.append(Fault("429", at=1, retry_after="7200"))
        settings = config(server)
        assert crawled(tmp_path, settings, clock=skipping.clock()).state == "waiting"
        assert crawled(tmp_path, settings, clock=skipping.clock()).state == "waiting"
        assert len(server.log) == 2
        skipping.skipped += 7200
        assert crawled(tmp_path, settings, clock=skipping.clock()).state == "finished"


SHAPES = [b"[]", b"1", b"null", b'{"query": []}', b'{"query": {"pages": {}}}', b'{"query": {"pages": [{"pageid": 1}]}}', b"[" * 100_000]


@pytest.mark.parametrize("body", SHAPES, ids=range(len(SHAPES)))
def test_json_in_another_shape_is_never_taken_for_pages(body):
    verdict = judge(200, {}, body)
    assert verdict.kind in ("trouble", "good")
    if verdict.kind == "good":
        with pytest.raises(ValueError, match=r"list of pages|without title"):
            read_reply(Query("fetch", ("A",)), verdict.reply)


FIELDS = st.sampled_from(["slots", "main", "content", "texthidden", "revid", "timestamp", "sha1"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(categories=None), max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(FIELDS, below, max_size=5),
    max_leaves=12,
)
PAGE = dict.fromkeys(("pageid", "lastrevid", "missing", "invalid", "revisions"), JSON)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {"query": st.fixed_dictionaries({"pages": st.lists(st.fixed_dictionaries({"title": st.just("A")}, optional=PAGE))})}
    )
)
def test_any_json_is_a_reply_that_can_be_kept_or_an_error_that_is_caught(reply):
    for step in ("check", "fetch"):
        try:
            seen = read_reply(Query(step, ("A",)), reply).seen
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        for entry in seen.values():
            entry.text.encode()
            assert entry.what in ("missing", "cut") or 0 <= (entry.revid or 0) < 2**63


def test_any_failure_may_say_when_to_ask_again():
    for status in (429, 500, 502, 503, 504):
        assert judge(status, {"retry-after": "90"}, b"").retry_after_s == 90


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Fri, 20 Nov 2026 10:02:00 GMT", "date": "Fri, 20 Nov 2026 10:00:00 GMT"}, 120.0),
        ({"retry-after": "Fri, 20 Nov 2026 09:00:00 GMT", "date": "Fri, 20 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_both_forms(headers, seconds):
    assert retry_after_s(headers) == seconds


def test_a_date_without_the_servers_own_counts_from_now():
    from email.utils import formatdate

    assert 55 <= (retry_after_s({"retry-after": formatdate(time.time() + 60, usegmt=True)}) or 0) <= 61


@settings(deadline=None)
@given(st.integers(0, 599), st.dictionaries(st.sampled_from(["retry-after", "content-type", "date"]), st.text()), st.binary(max_size=200))
def test_any_reply_has_a_verdict(status, headers, body):
    assert judge(status, headers, body).kind in ("good", "refused", "trouble", "blocked")


def test_text_that_no_file_can_hold_is_given_up_and_the_rest_is_kept(tmp_path):
    with site() as server:
        server.faults.script.append(Fault("surrogate", title="2099 USAMO Problems", times=3))
        report = crawled(tmp_path, config(server))
        assert report.state == "finished"
        assert report.failed == {"2099 USAMO Problems": "the wiki's replies leave it out"}
        assert report.found == {"new": 23}


def test_a_page_of_mathematics_that_speaks_of_captchas_is_no_challenge():
    body = json.dumps({"query": {"pages": [{"title": "A", "text": "Just a moment... captcha"}]}}).encode()
    assert judge(200, {"content-type": "application/json"}, body).kind == "good"
