"""Pages and their archive: titles, addresses, redirects; what is kept is what was put, whatever the order."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.aops.archive import Archive
from tasks.aops.pages import gone_page, normal_title, page_url, raw_page, redirect_target, title_of_url

TITLES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12).filter(str.strip)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)


@settings(deadline=None, max_examples=25)
@given(st.dictionaries(TITLES.map(normal_title), TEXTS, max_size=6), st.randoms())
def test_pages_come_back_as_they_were_put_in_order_of_title_whatever_the_order(tmp_path_factory, texts, order):
    pages = [raw_page(title, text, page_id=7, revid=len(text), revised_at="2099-01-01T00:00:00Z") for title, text in texts.items()]
    shuffled = list(pages)
    order.shuffle(shuffled)
    digests = set()
    for given_order in (pages, shuffled):
        with Archive.open(tmp_path_factory.mktemp("archive")) as archive:
            assert archive.put_all(given_order) == len({page.title for page in pages})
            assert list(archive.pages()) == sorted(pages, key=lambda page: page.title.encode())
            assert archive.put_all(given_order) == 0
            digests.add(archive.digest())
    assert len(digests) == 1


def test_a_text_that_two_pages_have_is_kept_until_both_are_gone(tmp_path):
    with Archive.open(tmp_path) as archive:
        archive.put_all(raw_page(title, "the same text", revid=1) for title in "AB")
        blobs = archive.connection.execute("SELECT count(*) FROM blob WHERE text = CAST('the same text' AS BLOB)")
        assert blobs.fetchone() == (1,)
        archive.put(gone_page("A", "missing", revid=1))
        kept = archive.get("B")
        assert kept is not None and kept.text == "the same text"
        archive.put(gone_page("B", "hidden", revid=1))
        assert archive.connection.execute("SELECT text FROM blob").fetchall() == [(b"",)]


def test_pages_that_fail_half_way_are_not_there_at_all(tmp_path):
    def pages():
        yield raw_page("A", "text")
        raise OSError("the disk is gone")

    with Archive.open(tmp_path) as archive:
        with pytest.raises(OSError, match="the disk is gone"):
            archive.put_all(pages())
        assert list(archive.pages()) == []


def test_an_archive_may_be_opened_first_by_many_at_once(tmp_path):
    def put(name: str) -> bool:
        with Archive.open(tmp_path) as archive:
            return archive.put(raw_page(name, "text"))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(put, "ABCDEFGH"))
    with Archive.open(tmp_path) as archive:
        assert [page.title for page in archive.pages()] == list("ABCDEFGH")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("#redirect [[2099 AMC 12A Problems/Problem 2]]", "2099 AMC 12A Problems/Problem 2"),
        ("#REDIRECT:[[2099_AMC_12A_Problems/Problem_2]]", "2099 AMC 12A Problems/Problem 2"),
        ("\n#Redirect[[ aMC 8 Problems#Solution 2|here]]\n[[Category:X]]", "AMC 8 Problems"),
        ("#redirect [[#Solution]]", None),
        ("Text first\n#redirect [[A]]", None),
        ("#redirect A", None),
    ],
)
def test_redirects_are_read_in_every_spelling(text, target):
    assert redirect_target(text) == target
    assert raw_page("X", text).status == ("ok" if target is None else "redirect")


@pytest.mark.parametrize(
    ("url", "title"),
    [
        ("https://artofproblemsolving.com/wiki/index.php/2099_AIME_I_Problems/Problem_1", "2099 AIME I Problems/Problem 1"),
        ("https://artofproblemsolving.com/wiki/index.php?title=2099_AIME_I_Problems/Problem_1&oldid=3", "2099 AIME I Problems/Problem 1"),
        ("https://artofproblemsolving.com./wiki/index.php/2099_AIME_I_Problems%2FProblem_1", "2099 AIME I Problems/Problem 1"),
        ("http://www.artofproblemsolving.com/Wiki/index.php/2099_AIME_I_Problems", "2099 AIME I Problems"),
        ("https://wiki.artofproblemsolving.com/wiki/2099_AIME_I_Problems#Problem_2", "2099 AIME I Problems"),
        ("/wiki/index.php/2099_AIME_I", "2099 AIME I"),
        ("https://artofproblemsolving.com/wiki/api.php?action=query", None),
        ("https://artofproblemsolving.com/community/c6h1", None),
        ("https://[not-an-address/wiki/index.php/A", None),
        ("https://artofproblemsolving.com/wiki/index.php/", None),
        ("https://example.org/wiki/index.php/2099_AIME_I", None),
    ],
)
def test_the_title_in_an_address_is_found_in_every_spelling(url, title):
    assert title_of_url(url) == title


@given(TITLES)
def test_a_normal_title_stays_as_it_is_and_leads_back_from_its_address(title):
    assert normal_title(normal_title(title)) == normal_title(title)
    assert title_of_url(page_url(title)) == (normal_title(title) or None)
