"""robots.txt: the shape of the site's file, which the standard library gets wrong, and what follows from replies that are no rules."""

import urllib.robotparser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.aops.crawl.mediawiki import Query
from tasks.aops.crawl.robots import Robots
from tasks.aops.fixture.site import ROBOTS
from tasks.aops.pages import SITE

FORUM = f"{SITE}/m/community/ajax.php"


def rules(text: str) -> Robots:
    found = Robots.of_reply(200, text.encode())
    assert isinstance(found, Robots)
    return found


def test_the_standard_library_allows_what_the_file_forbids_and_we_do_not():
    stdlib = urllib.robotparser.RobotFileParser()
    stdlib.parse(ROBOTS.splitlines())
    assert stdlib.can_fetch("mathmill-crawler", FORUM)  # wrong: the group goes on after a blank line, and * is a wildcard
    assert not rules(ROBOTS).allows(FORUM)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/wiki/index.php/2099_AIME_I", True),
        ("/wiki/index.php?title=2099_AIME_I&action=raw", True),
        ("/wiki/api.php?action=query&titles=2099%20AIME%20I", True),
        ("/wiki/images/a.png", True),
        ("/community/c6h123", True),
        ("/m/community/ajax.php", False),
        ("/m/anything", False),
        ("/wiki/index.php/ajax_x", False),
        ("/wiki/api.php?titles=an ajax page", False),
        ("/m/store/book", False),
        ("/admin", False),
        ("/private/x", False),
    ],
)
def test_every_address_is_judged_by_the_whole_file(path: str, allowed: bool):
    assert rules(ROBOTS).allows(SITE + path) is allowed


def test_what_the_crawler_asks_of_the_api_is_allowed():
    titles = tuple(f"2099 AMC 10A Problems/Problem {n}" for n in range(1, 26))
    assert rules(ROBOTS).allows(Query("fetch", titles).url(SITE))


def test_rules_for_this_crawler_by_name_win_over_those_for_everybody():
    named = "User-agent: *\nDisallow:\n\nUser-agent: mathmill-crawler\nDisallow: /wiki/\n"
    assert not rules(named).allows(f"{SITE}/wiki/api.php")
    assert rules(named).allows(f"{SITE}/community")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (ROBOTS, 0.0),
        ("User-agent: *\nCrawl-delay: 12\n", 12.0),
        ("User-agent: *\nRequest-rate: 1/30\n", 30.0),
        ("User-agent: mathmill-crawler\nCrawl-delay: 2.5\n", 2.5),
        ("User-agent: msnbot\nCrawl-delay: 20\n", 0.0),
    ],
)
def test_a_crawl_delay_is_read_if_it_is_meant_for_us(text: str, seconds: float):
    assert rules(text).delay_s == seconds


@pytest.mark.parametrize("status", [404, 410])
def test_a_site_without_rules_allows_everything(status: int):
    found = Robots.of_reply(status, b"not found")
    assert isinstance(found, Robots) and found.allows(FORUM)


@pytest.mark.parametrize("status", [400, 418, 500, 502, 503])
def test_rules_that_cannot_be_read_allow_nothing(status: int):
    assert Robots.of_reply(status, b"") == f"robots.txt cannot be read (status {status}), so nothing may be fetched"


def test_a_web_page_in_place_of_the_rules_allows_nothing():
    assert "web page" in str(Robots.of_reply(200, b"\n<!doctype html><html>Welcome</html>"))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_rules_or_a_refusal(body: bytes):
    found = Robots.of_reply(200, body)
    if isinstance(found, Robots):
        assert found.allows(FORUM) in (True, False)
        assert found.delay_s >= 0
