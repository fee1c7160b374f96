"""A crawl against a real server: how many requests, what is fetched again, what becomes of pages that change, vanish or do not fit."""

import threading
from dataclasses import replace

import pytest

from tasks.aops.archive import FILE, Archive
from tasks.aops.contests import schedule
from tasks.aops.crawl.access import CrawlConfig
from tasks.aops.crawl.frontier import Frontier
from tasks.aops.crawl.run import CrawlError
from tasks.aops.fixture.api import Limits
from tasks.aops.fixture.faults import Fault
from tasks.aops.pages import SITE, raw_page
from tests.aops.site import LARGE, SMALL, Skipping, batches, check_politeness, config, content_requests, contents, crawled, site

FIRST = "2099 AIME I Problems/Problem 1"


def test_a_few_hundred_pages_take_one_request_for_every_fifty_titles(tmp_path):
    with site(LARGE) as server:
        report = crawled(tmp_path, config(server, LARGE))
        pages = contents(tmp_path)
        titles = len(config(server, LARGE).titles(schedule()))
        assert titles == len(pages) == len(server.wiki.pages) > 300
        assert report.state == "finished" and report.left == 0
        assert len(server.log) == report.requests == 1 + batches(titles)
        assert {p.title: p.text for p in pages if p.status != "missing"} == {t: p.last.text for t, p in server.wiki.pages.items()}
        assert [p.title for p in pages] == sorted(p.title for p in pages)
        check_politeness(server.log)


def test_the_second_run_checks_revisions_and_fetches_no_text(tmp_path):
    with site(LARGE) as server:
        crawled(tmp_path, config(server, LARGE))
        first, before = len(server.log), contents(tmp_path)
        report = crawled(tmp_path, config(server, LARGE))
        second = server.log[first:]
        assert content_requests(second) == []
        assert len(second) == 1 + batches(len(before))
        assert report.found == {"unchanged": len(before)}
        assert contents(tmp_path) == before


def test_only_pages_with_a_new_revision_are_fetched_again(tmp_path):
    with site() as server:
        crawled(tmp_path, config(server))
        before = len(server.log)
        revid = server.wiki.edit(FIRST, "== Problem ==\nAnother text.")
        report = crawled(tmp_path, config(server))
        assert [asked.titles for asked in content_requests(server.log[before:])] == [[FIRST]]
        assert report.found == {"unchanged": 23, "changed": 1}
        with Archive.open(tmp_path) as archive:
            page = archive.get(FIRST)
        assert page is not None and (page.revid, page.text) == (revid, "== Problem ==\nAnother text.")


def test_a_page_that_is_missing_later_becomes_a_tombstone_and_its_text_leaves_the_file(tmp_path):
    secret = "a sentence that nobody may keep " * 20
    with site() as server:
        revid = server.wiki.edit(FIRST, secret)
        crawled(tmp_path, config(server))
        assert secret.encode() in (tmp_path / FILE).read_bytes()
        server.wiki.delete(FIRST)
        report = crawled(tmp_path, config(server))
        assert report.found == {"unchanged": 23, "missing": 1}
    with Archive.open(tmp_path) as archive:
        page = archive.get(FIRST)
        assert page is not None and (page.status, page.text, page.revid) == ("missing", "", revid)
        assert not archive.put(raw_page(FIRST, secret, revid=revid))  # an older copy does not bring it back
    assert b"a sentence that nobody may keep" not in (tmp_path / FILE).read_bytes()


def test_a_page_that_comes_back_is_fetched_even_at_the_same_revision(tmp_path):
    with site() as server:
        crawled(tmp_path, config(server))
        before = contents(tmp_path)
        kept = server.wiki.pages[FIRST]
        server.wiki.delete(FIRST)
        crawled(tmp_path, config(server))
        server.wiki.pages[FIRST] = kept
        report = crawled(tmp_path, config(server))
        assert report.found == {"unchanged": 23, "new": 1}
        assert contents(tmp_path) == before


def test_a_page_whose_revision_went_back_is_fetched(tmp_path):
    with site() as server:
        server.wiki.edit(FIRST, "an edit that is deleted later")
        crawled(tmp_path, config(server))
        server.wiki.pages[FIRST].revisions.pop()
        crawled(tmp_path, config(server))
        with Archive.open(tmp_path) as archive:
            page = archive.get(FIRST)
        assert page is not None and (page.revid, page.text) == (server.wiki.pages[FIRST].last.revid, server.wiki.pages[FIRST].last.text)


def test_hidden_text_is_a_tombstone_and_is_not_asked_for_again(tmp_path):
    with site() as server:
        crawled(tmp_path, config(server))
        server.wiki.edit(FIRST, "hidden", hidden=True)
        assert crawled(tmp_path, config(server)).found == {"unchanged": 23, "hidden": 1}
        before = len(server.log)
        assert crawled(tmp_path, config(server)).found == {"unchanged": 24}
        assert content_requests(server.log[before:]) == []


def test_titles_without_a_page_are_recorded_and_checked_again(tmp_path):
    chosen = (("AIME I", 2099), ("AIME II", 2099))
    with site((("AIME I", 2099),)) as server:
        assert crawled(tmp_path, config(server, chosen)).found == {"new": 17, "missing": 17}
        server.wiki.edit("2099 AIME II Answer Key", "#007")
        assert crawled(tmp_path, config(server, chosen)).found == {"unchanged": 17, "missing": 16, "new": 1}


def test_a_reply_cut_by_its_size_is_asked_on_and_leaves_no_page_empty(tmp_path):
    with site(LARGE) as server:
        crawled(tmp_path / "whole", config(server, LARGE))
        whole, before = contents(tmp_path / "whole"), len(server.log)
        server.limits = Limits(content_bytes=30_000)
        report = crawled(tmp_path / "cut", config(server, LARGE))
        asked_on = [asked for asked in server.log[before:] if "rvcontinue" in asked.query]
        assert report.state == "finished" and len(asked_on) > 5
        assert contents(tmp_path / "cut") == whole
        check_politeness(server.log[before:])


def test_a_run_that_ends_inside_a_cut_reply_goes_on_with_its_token(tmp_path):
    with site(limits=Limits(content_bytes=3_000)) as server:
        whole = crawled(tmp_path / "whole", config(server)).requests
        before = len(server.log)
        runs = 0
        while crawled(tmp_path / "parts", config(server, max_requests_per_run=3)).state == "capped":
            runs += 1
        assert runs >= 2
        assert len(server.log) - before == whole + runs  # one robots.txt more for each further run
        assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_redirects_keep_both_identities(tmp_path):
    chosen = (("AMC 10A", 2099), ("AMC 12A", 2099))
    with site(chosen) as server:
        crawled(tmp_path, config(server, chosen))
        stubs = {page.title: page.redirect_to for page in contents(tmp_path) if page.status == "redirect"}
        assert stubs and stubs == {t: p.redirect_to for t, p in server.wiki.pages.items() if p.redirect_to}
        with Archive.open(tmp_path) as archive:
            targets = [archive.get(str(target)) for target in stubs.values()]
        assert all(page is not None and page.status == "ok" for page in targets)


def test_wiki_redirects_in_a_circle_are_two_pages(tmp_path):
    with site() as server:
        server.wiki.edit(FIRST, "#REDIRECT [[2099 AIME I Problems/Problem 2]]")
        server.wiki.edit("2099 AIME I Problems/Problem 2", f"#redirect [[{FIRST}]]")
        assert crawled(tmp_path, config(server)).found == {"new": 24}


def test_a_page_that_replies_leave_out_is_given_up_with_a_reason_and_tried_by_the_next_run(tmp_path):
    with site() as server:
        server.faults.script.append(Fault("omit", title=FIRST, times=3))
        report = crawled(tmp_path, config(server))
        assert report.state == "finished"
        assert report.failed == {FIRST: "the wiki's replies leave it out"}
        assert report.found == {"new": 23}
        assert crawled(tmp_path, config(server)).found == {"unchanged": 23, "new": 1}


def test_a_page_whose_text_never_has_its_sha1_is_given_up_and_never_kept(tmp_path):
    with site() as server:
        server.faults.script.append(Fault("sha1_mismatch", title=FIRST, times=3))
        report = crawled(tmp_path, config(server))
        assert report.failed == {FIRST: "its text has not the sha1 that the wiki gives"}
        assert FIRST not in {page.title for page in contents(tmp_path)}


def test_the_cap_of_a_run_ends_it_and_the_next_one_goes_on(tmp_path):
    with site(LARGE) as server:
        first = crawled(tmp_path, config(server, LARGE, max_requests_per_run=4))
        assert (first.state, first.requests, len(server.log)) == ("capped", 4, 4)
        assert first.left > 0
        second = crawled(tmp_path, config(server, LARGE))
        assert second.state == "finished" and second.left == 0
        assert len(server.log) == 2 + batches(len(contents(tmp_path)))


def test_the_cap_of_a_day_holds_over_runs_and_passes(tmp_path):
    skipping = Skipping()
    with site(LARGE) as server:
        settings = config(server, LARGE, max_requests_per_day=5)
        assert crawled(tmp_path, settings, clock=skipping.clock()).state == "capped"
        assert crawled(tmp_path, settings, clock=skipping.clock()).state == "capped"
        assert len(server.log) == 5
        skipping.skipped += 25 * 3600
        assert crawled(tmp_path, settings, clock=skipping.clock()).state == "finished"


def test_a_smaller_choice_of_contests_asks_for_nothing_else(tmp_path):
    with site(limits=Limits(content_bytes=3_000)) as server:
        crawled(tmp_path, config(server, max_requests_per_run=4))  # ends inside a cut reply over both contests
        before = len(server.log)
        report = crawled(tmp_path, config(server, (("USAMO", 2099),)))
        asked = {title for asked in server.log[before:] for title in asked.titles}
        assert report.state == "finished"
        assert asked and all("USAMO" in title for title in asked)


def test_a_wiki_that_asks_to_go_on_and_brings_nothing_is_not_asked_for_ever(tmp_path):
    with site() as server:
        server.faults.script.append(Fault("empty_continue", title="2099*", times=1000))
        report = crawled(tmp_path, config(server))
        assert report.state == "finished" and len(report.failed) == 24
        assert len(server.log) == 1 + 3


def test_a_token_that_the_wiki_refuses_does_not_block_the_runs_after_it(tmp_path):
    with site(limits=Limits(content_bytes=3_000)) as server:
        server.faults.script.append(Fault("apierror", at=2, times=1))
        server.faults.script += [Fault("apierror", at=at) for at in range(3, 7)]
        assert crawled(tmp_path, config(server)).state == "blocked"
        assert "rvcontinue" in server.log[-1].query
        server.limits = Limits()
        before = len(server.log)
        assert crawled(tmp_path, config(server), after_block=True).state == "finished"
        assert not [asked for asked in server.log[before:] if "rvcontinue" in asked.query]


def test_invented_and_real_contests_never_share_an_archive(tmp_path):
    with Archive.open(tmp_path) as archive:
        Frontier(archive).begin_run(SITE, "somebody", 0.0)
    with site() as server, pytest.raises(CrawlError, match=f"this archive holds pages of {SITE}: crawl {server.url} into another store"):
        crawled(tmp_path, config(server))
    assert server.log == []


def test_the_version_of_the_wiki_is_recorded_once_a_run(tmp_path):
    with site() as server:
        crawled(tmp_path, config(server))
        assert [asked.index for asked in server.log if asked.query.get("meta")] == [1]
        with Archive.open(tmp_path) as archive:
            assert archive.connection.execute("SELECT generator FROM run").fetchall() == [("MediaWiki 1.43.0",)]


@pytest.mark.parametrize(
    ("missing", "said"),
    [({"accept_terms": False}, "accept_terms"), ({"contact": ""}, "there is no contact"), ({"contests": ()}, "no contest is chosen")],
)
def test_crawling_is_off_until_terms_contact_and_contests_are_given(tmp_path, missing, said):
    with site() as server:
        report = crawled(tmp_path, config(server).model_copy(update=missing))
        assert report.state == "off" and said in report.reason
        assert server.log == []


def test_nothing_is_crawled_by_default():
    assert CrawlConfig().off() is not None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"min_interval_s": 4.9}, "min_interval_s=4.9 is too fast for https://artofproblemsolving.com: at least 5"),
        ({"site": "https://example.org"}, "no site 'https://example.org': have"),
        ({"site": "http://artofproblemsolving.com"}, "no site"),
        ({"site": "http://127.0.0.1@evil.example"}, "no site"),
        ({"contact": "nobody"}, "no contact 'nobody': give an e-mail address or an https address"),
        ({"contact": "a@b.org\r\nX: y"}, "no contact"),
        ({"max_requests_per_run": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_are_impolite_or_make_no_sense_are_refused(given, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        CrawlConfig(**given)


def test_real_years_are_not_asked_of_a_server_on_this_machine_nor_invented_ones_of_the_real_site():
    local = CrawlConfig(site="http://127.0.0.1:1", contests=("AMC 8",), years=(2005,))
    real = CrawlConfig(site=SITE, contests=("AMC 8",), years=(2095,))
    for settings in (local, real):
        with pytest.raises(ValueError, match="cannot ask for"):
            settings.titles(schedule())


def test_imports_and_crawls_share_an_archive_and_the_later_revision_wins(tmp_path):
    with site() as server:
        current = server.wiki.pages[FIRST].last
        with Archive.open(tmp_path) as archive:
            assert archive.put(raw_page(FIRST, "an old copy", revid=5))
            assert archive.put(
                raw_page("2099 USAMO Problems", server.wiki.pages["2099 USAMO Problems"].last.text, revid=current.revid + 99)
            )
        report = crawled(tmp_path, config(server))
        assert report.found == {"new": 22, "changed": 2}
        with Archive.open(tmp_path) as archive:
            kept = archive.get(FIRST)
            assert kept is not None and kept.text == current.text
            assert not archive.put(raw_page(FIRST, "an old copy", revid=5))
            assert not archive.put(raw_page(FIRST, "a copy of unknown age"))
            assert archive.put(replace(kept, revid=current.revid + 1, text=kept.text))


def test_a_second_crawl_of_an_archive_is_refused_while_one_runs(tmp_path):
    with site() as server:
        server.faults.script.append(Fault("hold", at=0))
        came = threading.Event()
        server.arrived = lambda asked: came.set()
        first = threading.Thread(target=crawled, args=(tmp_path, config(server)))
        first.start()
        came.wait()
        with pytest.raises(CrawlError, match="another crawl of this archive is running"):
            crawled(tmp_path, config(server, SMALL))
        server.release.set()
        first.join()
        assert len(contents(tmp_path)) == 24
