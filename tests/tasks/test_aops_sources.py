"""Importers: what people already hold of the wiki or its forum comes out as the same rows as a crawl."""

import bz2
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.sources import open_source
from storage.schemas import Page
from tasks.aops.archive import Archive
from tasks.aops.assemble import Assembled, assemble
from tasks.aops.fixture.contest import make_contest
from tasks.aops.pages import gone_page, page_url, raw_page
from tasks.aops.sources.bbcode import post_to_wikitext
from tasks.import_pages import ImportPagesConfig, import_pages
from tasks.runner import Inputs, Outcome, run_stage
from tests.tasks.aops_saved import dump, html_response, saved_html, warc

CONTESTS = [make_contest(kind, 2096, 3) for kind in ("AMC 12A", "AMC 10A", "AIME II", "IMO")]
PAGES = {title: text for contest in CONTESTS for title, text in contest.pages.items()}
ENTRIES = [entry for contest in CONTESTS for entry in contest.entries]


def imported(path: Path, **settings: object) -> Outcome:
    """The importing stage run over a file or folder, its row balance checked."""
    inputs = Inputs(sources={"records": open_source(path)})
    return run_stage(import_pages, ImportPagesConfig(**settings), inputs)


def rows(outcome: Outcome) -> list[Page]:
    return [Page(**row) for row in outcome.rows.to_pylist()]


def texts(found: Assembled) -> dict[str, tuple[object, ...]]:
    """What of each problem does not depend on how its page was kept; figures' line ends do."""
    return {
        row.title: (
            " ".join(row.statement.split()),
            row.choices,
            row.answer_letter,
            row.answer_value,
            row.appearances,
            row.categories,
            row.figure_required,
        )
        for row, _ in found.problems
    }


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> list[Page]:
    """The rows of a crawl's archive: what the others are measured against."""
    folder = tmp_path_factory.mktemp("crawl")
    with Archive.open(folder) as archive:
        archive.put_all(raw_page(title, text, page_id=1, revid=7) for title, text in PAGES.items())
    return rows(imported(folder))


def test_an_archive_gives_a_row_for_every_page(crawled):
    assert {p.title: p.text for p in crawled} == PAGES
    assert {p.revid for p in crawled} == {7}
    assert not any(p.redistributable for p in crawled) and all("not redistributable" in p.licence_note for p in crawled)


def test_the_file_of_an_archive_and_its_folder_are_the_same_source(tmp_path):
    with Archive.open(tmp_path / "a") as archive:
        archive.put(raw_page("2096 IMO Problems", "x"))
    assert rows(imported(tmp_path / "a" / "aops.sqlite")) == rows(imported(tmp_path / "a"))
    before = open_source(tmp_path / "a").digest
    with Archive.open(tmp_path / "a") as archive:
        archive.put(raw_page("2096 IMO Problems", "y"))
    assert open_source(tmp_path / "a").digest != before


@pytest.mark.parametrize(("name", "packed"), [("d.xml", bytes), ("d.xml.gz", gzip.compress), ("d.xml.bz2", bz2.compress)])
def test_a_dump_gives_the_same_rows_as_a_crawl(crawled, tmp_path, name, packed):
    (tmp_path / name).write_bytes(packed(dump(PAGES)))
    found = rows(imported(tmp_path / name))
    assert {p.title: (p.text, p.id, p.problem_id, p.sha256, p.revid) for p in found} == {
        p.title: (p.text, p.id, p.problem_id, p.sha256, p.revid) for p in crawled
    }
    assert found[0].revised_at == "2099-01-02T03:04:05Z"


def test_saved_wikitext_gives_the_same_rows_as_a_crawl(crawled, tmp_path):
    for title, text in PAGES.items():
        (tmp_path / f"{title.replace('/', '%2F').replace(' ', '_')}.wiki").write_text(text, encoding="utf-8")
    assert texts(assemble(rows(imported(tmp_path)))) == texts(assemble(crawled))


def test_saved_html_gives_the_same_problems_as_a_crawl(crawled, tmp_path):
    for i, (title, text) in enumerate(PAGES.items()):
        (tmp_path / f"{i}.html").write_text(saved_html(title, text), encoding="utf-8")
    found = rows(imported(tmp_path))
    assert texts(assemble(found)) == texts(assemble(crawled))
    assert {p.revid for p in found if p.status == "ok"} == {7}


def test_a_warc_file_gives_the_same_problems_as_a_crawl(crawled, tmp_path):
    reply = {
        "query": {
            "pages": [
                {
                    "title": "2096 AIME II Problems",
                    "pageid": 3,
                    "revisions": [{"revid": 7, "slots": {"main": {"content": PAGES["2096 AIME II Problems"]}}}],
                },
                {"title": "2096 IMO Problems/Problem 6"},
            ]
        }
    }
    key = "2096 AIME II Answer Key"
    responses = [html_response(t, text) for t, text in PAGES.items() if t not in ("2096 AIME II Problems", key)]
    responses += [
        (page_url(key) + "?action=raw", "200 OK", "text/x-wiki", PAGES[key].encode()),
        ("https://artofproblemsolving.com/wiki/api.php?action=query", "200 OK", "application/json", json.dumps(reply).encode()),
        ("https://example.org/other", "200 OK", "text/html", b"<p>nothing of ours</p>"),
        (page_url("2095 IMO Problems"), "403 Forbidden", "text/html", b"<title>Just a moment...</title>"),
        (page_url("2094 IMO Problems"), "200 OK", "text/html", b"<html><head><title>Just a moment...</title></head></html>"),
        (page_url("2093 IMO Problems"), "404 Not Found", "text/html", b""),
    ]
    for name in ("c.warc.gz", "c.warc"):
        warc(tmp_path / name, responses)
        outcome = imported(tmp_path / name)
        found = rows(outcome)
        assert texts(assemble(found)) == texts(assemble(crawled))
        assert outcome.rejected == {"challenge page": 1, "no answer of the wiki": 1, "no text in the reply": 1}
        assert [p.status for p in found if p.title == "2093 IMO Problems"] == ["missing"]


def test_of_several_revisions_the_latest_is_taken_and_titles_out_of_schedule_are_refused_with_a_reason(tmp_path):
    good = "2096 IMO Problems/Problem 1"
    records = [
        (good, "old", 3),
        (good, "new", 9),
        (good, "older", 2),
        ("2096 IMO Problems/Problem 1434", "x", 1),
        ("Goat", "x", 1),
        ("1995 AMC 12 Problems/Problem 1", "x", 1),
    ]
    lines = [json.dumps({"title": t, "wikitext": text, "revid": r}) for t, text, r in records]
    (tmp_path / "pages.jsonl").write_text("\n".join(lines), encoding="utf-8")
    outcome = imported(tmp_path / "pages.jsonl")
    assert [(p.text, p.revid) for p in rows(outcome)] == [("new", 9)]
    assert outcome.rejected == {
        "older revision": 1,
        "duplicate": 1,
        "no such problem": 1,
        "not a contest page": 1,
        "not held in that year": 1,
    }


def test_tombstones_stay_and_hold_no_text(tmp_path):
    title = "2096 IMO Problems/Problem 2"
    with Archive.open(tmp_path) as archive:
        archive.put(raw_page(title, "text", revid=4))
        archive.put(gone_page(title, "hidden", revid=4))
    [page] = rows(imported(tmp_path))
    assert (page.status, page.text) == ("hidden", "")
    assert [reason for reason, _ in assemble([page]).unused.values()] == ["page is gone"]


# Damaged files

HEAD = b'<mediawiki xmlns="x"><page><title>2096 IMO Problems</title><ns>0</ns><id>1</id><revision><id>2</id>'


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cut.xml", HEAD, "is not XML, or is cut off"),
        ("other.xml", b"<rss><page/></rss>", "is no MediaWiki export: its root is <rss>"),
        ("bomb.xml", b'<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><mediawiki>&b;</mediawiki>', "declares a document type"),
        ("outside.xml", b'<!DOCTYPE m SYSTEM "file:///etc/passwd"><mediawiki/>', "declares a document type"),
        ("text.warc", b"this is no archive of anything", "is no WARC file, or is damaged"),
    ],
)
def test_a_damaged_file_stops_the_import_naming_it(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}.* {said}"):
        imported(tmp_path / name)


def test_a_response_that_ends_too_early_is_refused_and_those_before_it_stay(tmp_path):
    titles = ["2096 IMO Problems/Problem 1", "2096 IMO Problems/Problem 2"]
    warc(tmp_path / "c.warc", [html_response(t, PAGES[t]) for t in titles])
    whole = (tmp_path / "c.warc").read_bytes()
    (tmp_path / "c.warc").write_bytes(whole[:-300])
    outcome = imported(tmp_path / "c.warc")
    assert ([p.title for p in rows(outcome)], outcome.rejected) == (titles[:1], {"cut off": 1})


def test_hidden_text_of_a_dump_is_a_tombstone_and_other_namespaces_are_passed_over(tmp_path):
    talk = HEAD.replace(b"<ns>0</ns>", b"<ns>1</ns>").removeprefix(b'<mediawiki xmlns="x">') + b"<text>secret</text></revision></page>"
    (tmp_path / "d.xml").write_bytes(HEAD + b'<text deleted="deleted" /></revision></page>' + talk + b"</mediawiki>")
    assert [(p.status, p.text, p.revid) for p in rows(imported(tmp_path / "d.xml"))] == [("hidden", "", 2)]


def test_saved_html_that_is_no_page_of_the_wiki_is_refused(tmp_path):
    (tmp_path / "a.html").write_text("<html><head><title>Just a moment...</title></head><body>wait</body></html>", encoding="utf-8")
    (tmp_path / "b.html").write_text("<html><body><p>My blog</p></body></html>", encoding="utf-8")
    assert imported(tmp_path).rejected == {"challenge page": 1, "no page of the wiki": 1}


HTML_BODIES = [
    ('<div class="mw-heading mw-heading2"><h2 id="Problem">Problem</h2></div><p>What is \\(1+1\\)?</p>', "What is $1+1$?"),
    ("<h2>Problem</h2><p>Find [mathjax]x&lt;y[/mathjax] &amp; [mathjax display=true]z[/mathjax].</p>", "Find $x<y$ & $z$."),
    ('<h2>Problem</h2><pre class="asy">\ndraw(A);\n</pre><p>See.</p>', "[asy]\ndraw(A);\n[/asy]\n\nSee."),
    ("<h2>Problem</h2><ol><li>one</li><li>two</li></ol><dl><dd>three</dd></dl>", "1. one\n2. two\n\nthree"),
    (
        "<h2>Problem</h2><p>x<sub>1</sub> costs <b>$5</b><br/>{{not}} [[a]] ''template''</p>",
        "x$_{1}$ costs \\$5\n{{not}} [[a]] ''template''",
    ),
    ('<h2>Problem</h2><img class="latexcenter" alt="\\begin{align*}a&amp;=1\\end{align*}"/>', "\\begin{align*}a&=1\\end{align*}"),
]


@pytest.mark.parametrize(("body", "statement"), HTML_BODIES)
def test_renderings_of_saved_pages(tmp_path, body, statement):
    page = f'<html><body><div class="mw-parser-output">{body}</div></body></html>'
    (tmp_path / "2096_IMO_Problems%2FProblem_1.html").write_text(page, encoding="utf-8")
    [(row, _)] = assemble(rows(imported(tmp_path))).problems
    assert row.statement == statement


# Data sets made from the forum

NUMINA = [
    {
        "problem": "What is $2+3$?",
        "solution": "Add: $\\boxed{5}$.",
        "answer": "5",
        "question_type": "math-word-problem",
        "problem_is_valid": "Yes",
        "source": "invented",
    },
    {
        "problem": "Prove that $n^2\\ge n$ for integers.",
        "solution": "Clear.",
        "answer": "proof",
        "question_type": "proof",
        "source": "invented",
    },
    {
        "problem": "Pick: $" + "\\qquad".join(f"\\textbf{{({x}) }}{i}" for i, x in enumerate("ABCDE", 1)) + "$ for $1+1$.",
        "solution": "$\\boxed{B}$",
        "answer": "B",
        "question_type": "MCQ",
        "source": "invented",
    },
    {"problem": "Broken", "solution": "", "answer": "notfound", "problem_is_valid": "Incomplete", "source": "invented"},
    {
        "problem": "Find $x$ with $2x=7$.",
        "solution": "$\\boxed{\\frac72}$",
        "answer": "notfound",
        "question_type": "other",
        "source": "invented",
    },
]


def written(tmp_path: Path, records: list[dict[str, object]], form: str) -> Path:
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(records), tmp_path / "rows.parquet")
        return tmp_path / "rows.parquet"
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return tmp_path / "rows.jsonl"


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_rows_like_those_of_numina_math(tmp_path, form):
    outcome = imported(written(tmp_path, NUMINA, form))
    assert outcome.rejected == {"question marked as invalid": 1}
    found = {row.statement: row for row, _ in assemble(rows(outcome)).problems}
    assert {(row.asks, row.answer_source, row.answer_letter, row.answer_value) for row in found.values()} == {
        ("expression", "given", None, "5"),
        ("proof", "none", None, None),
        ("choice", "given", "B", "$2$"),
        ("expression", "votes", None, "\\frac72"),
    }
    assert {row.source for row in found.values()} == {"invented"}


AOPS_INSTRUCT = {
    "original_question": "[b]Problem.[/b] What is $3+4$?\r\n[hide=Solution]It is $\\boxed{7}$.[/hide]",
    "original_answers": [
        "[quote=goatherd]What is $3+4$? Is it $\\boxed{8}$?[/quote]No, [hide]$\\boxed{7}$[/hide] :)",
        "[quote=a][quote=b]deep $\\boxed{1}$[/quote] less[/quote]I say $\\boxed{8}$",
        "count: $\\boxed{7}$",
    ],
    "metadata": {"post_date": 1700000000, "username": "hash", "thanks_received": [0, 0, 5]},
}


def test_rows_like_those_of_aops_instruct_vote_with_their_thanks(tmp_path):
    found = assemble(rows(imported(written(tmp_path, [AOPS_INSTRUCT], "jsonl"), source="forum")))
    [(row, _)] = found.problems
    assert row.statement == "Problem. What is $3+4$?"
    assert (row.answer_value, row.answer_source, row.votes) == ("7", "votes", ["7 8", "8 1"])
    assert "votes_split" in row.flags
    assert [s.text for s, _ in found.solutions] == [
        "It is $\\boxed{7}$.",
        "No, \n\n$\\boxed{7}$".replace(", \n", ",\n"),
        "I say $\\boxed{8}$",
        "count: $\\boxed{7}$",
    ]
    assert rows(imported(written(tmp_path, [AOPS_INSTRUCT], "jsonl")))[0].revised_at == "2023-11-14T22:13:20Z"


def test_topics_and_numbered_discussions(tmp_path):
    topic = {
        "topic_id": 12,
        "posts": [
            {"post_canonical": "Evaluate $\\plus{}5\\minus{}3$.", "post_time": 1700000000, "thanks_received": 3, "username": "goatherd"},
            {"post_canonical": "[b]2[/b], that is $\\boxed{2}$", "thanks_received": 2, "username": "shepherd"},
        ],
    }
    discussion = {"forum_post": "Evaluate $6-1$.", "forum_discussions": "Post 1:\nIt is $\\boxed{5}$.\nPost 2:\nYes, $\\boxed{5}$."}
    found = {row.statement: row for row, _ in assemble(rows(imported(written(tmp_path, [topic, discussion], "jsonl")))).problems}
    assert {s: (row.answer_value, row.votes) for s, row in found.items()} == {
        "Evaluate $+5-3$.": ("2", ["2 3"]),
        "Evaluate $6-1$.": ("5", ["5 2"]),
    }
    assert not any("goatherd" in str(row) or "shepherd" in str(row) for row in found.values())


@pytest.mark.parametrize(
    ("post", "wikitext"),
    [
        ("[i]a[/i] [color=red][size=150]b[/size][/color] [u]c[/u]", "a b c"),
        ("[list][*]one[*]two[/list]", "* one\n* two"),
        ("[url=https://example.org]here[/url]", "here"),
        ("[img]https://example.org/a.png[/img] see", "see\n[[File:picture]]"),
        ("[tex]x^2[/tex] and [asy]draw(A);[/asy]", "<math>x^2</math> and <asy>draw(A);</asy>"),
        ("x:^4: and y:_2:", "x<sup>4</sup> and y<sub>2</sub>"),
        ("well :blush: done :P", "well  done"),
        ("== not a heading ==\n* nor a list", "&#61;= not a heading ==\n&#42; nor a list"),
        ("a<b and {{x}} and [[y]]", "a&lt;b and &#123;&#123;x&#125;&#125; and &#91;&#91;y&#93;&#93;"),
        ("$a\\equal{}b$ [code]x[/code]", "<math>a=b</math> \nx"),
        ("[youtube]abc[/youtube]ratio 3:4:5", "ratio 3:4:5"),
    ],
)
def test_bbcode_as_wikitext(post, wikitext):
    assert post_to_wikitext(post)[0] == wikitext


def test_hidden_text_is_handed_over_apart_from_the_inside_out():
    assert post_to_wikitext("Q [hide=A]one [hide]two[/hide][/hide] R") == ("Q \n R", ["two", "one"])


def test_a_file_that_is_no_source_is_named_with_what_can_be_read(tmp_path):
    (tmp_path / "x.csv").write_text("a", encoding="utf-8")
    with pytest.raises(Exception, match=r"cannot read .*x\.csv: give a file ending in \.jsonl.*\.warc\.gz.*aops\.sqlite"):
        open_source(tmp_path / "x.csv")


def test_every_entry_of_the_contests_was_imported(crawled):
    assert {entry.title for entry in ENTRIES} <= {p.title for p in crawled}
