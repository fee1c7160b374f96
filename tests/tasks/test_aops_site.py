"""The invented wiki itself: it answers as MediaWiki does where a crawler or reader could tell the difference."""

import json
import os
import re
from pathlib import Path

import httpx
import pytest

from tasks.aops.fixture.api import Limits, answer
from tasks.aops.fixture.faults import Fault
from tasks.aops.fixture.wiki import Wiki
from tests.aops.site import site

PAGE = "2099 AIME I Problems/Problem 1"
WIKI = Wiki.invented((("AIME I", 2099),))


def query(**params: str):
    return answer(WIKI, {"action": "query", **params}, Limits())


def test_allpages_lists_by_prefix_and_goes_on_where_it_stopped():
    first = answer(WIKI, {"action": "query", "list": "allpages", "apprefix": "2099 AIME I Problems/", "aplimit": "10"}, Limits())
    rest = query(list="allpages", apprefix="2099 AIME I Problems/", aplimit="10", **first["continue"])
    titles = [page["title"] for reply in (first, rest) for page in reply["query"]["allpages"]]
    assert titles == sorted(f"2099 AIME I Problems/Problem {n}" for n in range(1, 16))
    assert "continue" not in rest


def test_more_than_fifty_titles_are_dropped_with_a_warning():
    reply = query(prop="info", titles="|".join(f"Page {n}" for n in range(60)))
    assert len(reply["query"]["pages"]) == 50
    assert reply["warnings"][0]["code"] == "toomanyvalues"


def test_titles_are_normalised_and_missing_ones_say_so():
    reply = query(prop="info", titles="2099_AIME_I Problems|nothing here")["query"]
    assert {"fromencoded": False, "from": "2099_AIME_I Problems", "to": "2099 AIME I Problems"} in reply["normalized"]
    assert {"ns": 0, "title": "Nothing here", "missing": True} in reply["pages"]


def test_redirects_are_followed_if_asked_for():
    wiki = Wiki.invented((("AIME I", 2099),))
    wiki.edit("Old name", f"#REDIRECT [[{PAGE}]]")
    reply = answer(wiki, {"action": "query", "prop": "info", "titles": "Old name", "redirects": "1"}, Limits())["query"]
    assert reply["redirects"] == [{"from": "Old name", "to": PAGE}]
    assert [page["title"] for page in reply["pages"]] == [PAGE]


def test_what_the_api_does_not_know_is_an_error_in_a_good_reply():
    assert answer(WIKI, {"action": "edit"}, Limits())["errors"][0]["code"] == "unknown_action"
    assert query(list="allusers")["errors"][0]["code"] == "badvalue"
    assert answer(WIKI, {"action": "parse", "page": "nothing"}, Limits())["errors"][0]["code"] == "missingtitle"


def test_recent_changes_and_categories_are_lists():
    wiki = Wiki()
    wiki.edit("A", "[[Category:Number Theory Problems]]")
    wiki.edit("B", "nothing")
    changes = answer(wiki, {"action": "query", "list": "recentchanges", "rclimit": "max"}, Limits())["query"]["recentchanges"]
    members = answer(wiki, {"action": "query", "list": "categorymembers", "cmtitle": "Category:Number Theory Problems"}, Limits())
    assert [change["title"] for change in changes] == ["B", "A"]
    assert [page["title"] for page in members["query"]["categorymembers"]] == ["A"]


def test_pages_have_validators_raw_text_and_no_editing():
    with site() as server, httpx.Client(base_url=server.url) as client:
        raw = client.get("/wiki/index.php", params={"title": PAGE, "action": "raw"})
        assert raw.text == server.wiki.pages[PAGE].last.text
        for name, validator in (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified")):
            again = client.get("/wiki/index.php", params={"title": PAGE, "action": "raw"}, headers={name: raw.headers[validator]})
            assert (again.status_code, again.content) == (304, b"")
        assert client.get("/wiki/index.php", params={"title": PAGE, "action": "edit"}).status_code == 403
        assert client.get("/wiki/index.php/No_such_page").status_code == 404
        assert client.get("/wiki/api.php?action=query&list=allpages&aplimit=max").headers["content-encoding"] == "gzip"
        assert PAGE in client.get(f"/wiki/index.php/{PAGE.replace(' ', '_')}").text
        assert client.get("/m/community/ajax.php").json() == {"error_code": "E_NO_PERMISSION"}


def test_html_shows_text_as_text():
    wiki = Wiki()
    wiki.edit("A", "== Problem ==\n<script>alert(1)</script> <math>a<b</math> [[B|<b>x</b>]]")
    with site() as server, httpx.Client(base_url=server.url) as client:
        server.wiki = wiki
        page = client.get("/wiki/index.php/A").text
    assert "<script>" not in page and "<b>x" not in page and "a&lt;b" in page


def test_the_controls_edit_delete_break_and_tell():
    with site() as server, httpx.Client(base_url=server.url) as client:
        client.post("/_ctl/edit", json={"title": "A new page", "text": "text"})
        assert client.get("/wiki/index.php/A_new_page").status_code == 200
        client.post("/_ctl/delete", json={"title": "A new page"})
        assert client.get("/wiki/index.php/A_new_page").status_code == 404
        client.post("/_ctl/faults", json=[{"kind": "503", "at": 2, "retry_after": "9"}])
        broken = client.get("/robots.txt")
        assert (broken.status_code, broken.headers["retry-after"]) == (503, "9")
        assert [asked["status"] for asked in client.get("/_ctl/log").json()] == [200, 404, 503]
        assert client.get("/_ctl/else").status_code == 404


def test_addresses_in_the_invented_pages_are_reserved_ones():
    texts = [page.last.text for page in Wiki.invented().pages.values()]
    hosts = {host for text in texts for host in re.findall(r"https?://([^/\s\]|]+)", text)}
    assert all(host.endswith((".example", ".invalid", "example.org")) for host in hosts), hosts


def test_the_invented_pages_share_no_eight_words_with_a_benchmark():
    data = Path(os.environ.get("MATHMILL_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
    benchmark = data / "benchmarks" / "gsm8k.jsonl"
    if not benchmark.is_file():
        pytest.skip(f"{benchmark} is absent: set MATHMILL_TEST_DATA")
    protected = {gram for line in benchmark.read_text(encoding="utf-8").splitlines() for gram in grams(" ".join(json.loads(line).values()))}
    assert len(protected) > 10_000
    assert not [gram for page in Wiki.invented().pages.values() for gram in grams(page.last.text) if gram in protected]


def grams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + 8]) for i in range(len(words) - 7)}


def test_a_fault_that_does_not_exist_names_those_that_do():
    with pytest.raises(ValueError, match=r"no fault 'flood': have \['401', "):
        Fault("flood", at=1)
    with pytest.raises(ValueError, match="say either at=REQUEST or title=GLOB"):
        Fault("500")


def test_the_same_edits_make_the_same_wiki():
    one, two = (json.dumps(query(prop="info|revisions", rvprop="ids|sha1|timestamp", titles=PAGE)) for _ in range(2))
    assert one == two
    assert Wiki.invented((("USAMO", 2099),)) == Wiki.invented((("USAMO", 2099),))
