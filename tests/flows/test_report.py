"""The report of a run: everything on it is true, hostile texts are only text, and the page asks nothing of anybody."""

import http.server
import re
import shlex
import shutil
import subprocess
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flows import screen
from flows.config import load_config
from flows.make import Line
from flows.report import metrics, render, what_next, write_report
from storage.balance import Balance
from storage.ids import digest
from storage.objects import content_hash
from storage.schemas import Checkpoint, Difficulty, Dropped, Evaluation, Example, Mark, Protected, to_table
from storage.store import Store
from storage.versions import digest_of_contents
from tasks.certificate import certify
from tests.fake_openai import FakeOpenAI, Fault
from tests.flows.small import run_solve

HOSTILE = (
    "</pre></style><script>document.title = 'taken'; fetch('ADDRESS/fetched')</script>"
    "<img src=ADDRESS/image onerror=\"document.title='taken'\"><svg onload=\"document.title='taken'\">"
    "<link rel=stylesheet href=ADDRESS/sheet>' \" & {{ 7 * 7 }} What is 2 + 3?"
)


class Listener(http.server.BaseHTTPRequestHandler):
    """Remembers every path that is asked for."""

    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        """Nothing on the screen."""


@pytest.fixture(scope="module")
def listener():
    handler = type("Handler", (Listener,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler.asked
        server.shutdown()


@pytest.fixture(scope="module")
def page(tmp_path_factory, listener):
    """The report of a real run of four problems: one hostile, one without a reference answer, one that the server refuses."""
    folder = tmp_path_factory.mktemp("report")
    text = HOSTILE.replace("ADDRESS", listener[0])
    problems = [{"id": "a", "problem": text, "answer": "5"}, {"id": "b", "problem": "Is it?"}, {"id": "c", "problem": "1?", "answer": "2"}]
    problems.append({"id": "d", "problem": "This one fails.", "answer": "0"})
    with FakeOpenAI() as server, Store.open(folder / "store") as store:
        server.rules.replies = {"2 + 3": text + " \\boxed{5}"}
        server.rules.faults = [Fault("400", contains="This one fails")]
        config, lines = run_solve(store, folder, problems, server)
        path = write_report(store, config, lines)
        commands = what_next(store, config, lines)
    return path, text, commands


class Tags(HTMLParser):
    """The elements and attributes of a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += f"{data}|"


def test_hostile_texts_are_shown_letter_by_letter_and_make_no_element(page):
    path, text, _ = page
    found = Tags(path.read_text(encoding="utf-8"))
    assert text in found.text and text + " \\boxed{5}" in found.text
    assert not found.tags & {"script", "img", "link", "iframe", "object", "embed", "form", "base", "a"}
    assert not {name for name in found.attributes if name.startswith("on") or name in ("src", "href")}


def test_the_page_shows_every_stage_with_its_counts_reasons_and_calls(page):
    text = re.sub(r"[\s|]+", " ", Tags(page[0].read_text(encoding="utf-8")).text)
    assert "solve.import_problems@1 4 4 0 0 4" in text
    assert "solve.solve@1 4 3 0 1 6" in text and re.search(r"1 in quarantine: .*400", text)
    assert "solve.verify@1 no reference answer: 2 6 4 2 0 4" in text
    assert "6 model calls in this run" in text


def test_what_to_type_next_names_things_that_exist(page):
    path, _, said = page
    commands = [(f"mathmill {c.partition('mathmill ')[2]}", meaning) for c, meaning in said]
    trace = next(command for command, _ in commands if command.startswith("mathmill trace"))
    with Store.open(path.parent) as store:
        assert trace.split()[2] in store.table("solve.verify").column("id").to_pylist()
    assert [c for c, _ in commands if f"--store {path.parent}" not in c] == ["mathmill run solve ..."]
    assert [c for c, _ in commands if c.startswith("mathmill rejected solve.solve ")]
    program = shlex.split(said[0][0])[0]
    assert shutil.which(program) or Path(program).is_file(), "the command can be typed as it is printed"


def chromium(page: Path, folder: Path, *options: str) -> str:
    """The page's elements after it was loaded and everything that could run has run."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}"]
    command = [browser, *flags, "--virtual-time-budget=5000", *options, "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_a_browser_executes_nothing_and_sends_no_request(page, listener, tmp_path):
    seen = chromium(page[0], tmp_path)
    assert "<title>mathmill solve" in seen and "solve.verify@1" in seen
    assert listener[1] == []


def test_the_browser_test_would_see_a_script_and_a_request(page, listener, tmp_path):
    """The same texts put into a page as they are do run: the test above can fail."""
    broken = tmp_path / "broken.html"
    broken.write_text(f"<!doctype html><title>mine</title><body><pre>{page[1]}</pre>", encoding="utf-8")
    seen = chromium(broken, tmp_path / "profile")
    assert "<title>taken</title>" in seen
    assert "/image" in listener[1]
    listener[1].clear()


def published(store: Store, name: str, row: type, rows: list, **meta) -> Line:
    """A dataset of given rows, as a finished stage would leave it."""
    key = digest([name])
    balance = Balance(len(rows), len(rows), {}, 0, len(rows))
    tables = {"rows": to_table(rows, row), "dropped": to_table([], Dropped)}
    store.commit(key=key, dataset=name, part="all", stage=name, recipe={}, balance=balance, run_id="r", seconds=1.0, **tables)
    version = store.publish(name, {"all": key}, meta={"stage": name.split(".")[-1], **meta}, run_id="r")
    return Line(name, version, 1, 0, 0)


def test_a_training_set_is_shown_with_its_certificate(tmp_path):
    examples = [Example("e1", "p1", "s1", "Tim has 5 apples and buys 7 more. How many has he?", "5 + 7 = \\boxed{12}")]
    question = "A train leaves at noon and travels 60 km in each hour. How far is it after 3 hours and a half?"
    table, protected = to_table(examples, Example), to_table([Protected("q1", "held", "1", question)], Protected)
    certificate = certify(table, digest_of_contents({"all": content_hash(table)}), protected)
    with Store.open(tmp_path / "store") as store:
        line = published(store, "tiny.training_set", Example, examples, certificate=certificate)
        text = re.sub(r"[\s|]+", " ", Tags(render(store, load_config("tiny"), [line])).text)
    assert "1 rows checked in problem and completion: 0 hits" in text
    assert "held (1 texts" in text and "verbatim" in text and certificate["index_digest"][:12] in text


def test_hits_are_shown_with_the_row_the_place_and_what_it_repeats(tmp_path):
    clean = Mark("m0", "p0", "p0", False, None, None, None, None, None)
    weak = Mark("m1", "p1", "p1", True, "solution", "ngram_lcs", "held", "i7", 0.6667, "s9", 12, 345)
    strong = Mark("m2", "p2", "p2", True, "problem", "exact", "held", "i8", 1.0, "p2", 0, 99)
    with Store.open(tmp_path / "store") as store:
        line = published(store, "tiny.contamination", Mark, [clean, weak, strong])
        text = re.sub(r"[\s|]+", " ", Tags(render(store, load_config("tiny"), [line])).text)
    assert "2 of 3 rows repeat a protected text" in text
    assert "s9 solution 12-345 held i7 ngram_lcs 0.67 p2 problem 0-99 held i8 exact 1.00" in text


def evaluation(metric: str, value: float) -> Evaluation:
    return Evaluation(digest([metric], 16), metric, value, 0.01, value - 0.08, value + 0.07, 150, 4, 3)


@pytest.fixture
def measured(tmp_path):
    """Metrics of two models, a checkpoint and a difficulty score."""
    with Store.open(tmp_path / "store") as store:
        scores = [Difficulty(f"d{i}", f"p{i}", 8, i, i / 8, 0.0, 1.0, 20.0) for i in (0, 4, 8)]
        checkpoint = Checkpoint("c", "checkpoints/c", "solver@sha256:0", "tiny.training_set@1", "0" * 40, "sft", 61, 2.5, 0.75, 480, 2)
        lines = [
            published(store, "tiny.difficulty", Difficulty, scores),
            published(store, "tiny.sft", Checkpoint, [checkpoint]),
            published(store, "tiny.before", Evaluation, [evaluation("maj@4", 0.6), evaluation("pass@4", 0.8), evaluation("pass@1", 0.5)]),
            published(store, "tiny.after", Evaluation, [evaluation("maj@4", 0.7), evaluation("pass@4", 0.9), evaluation("pass@1", 0.625)]),
        ]
        yield store, lines


def test_metrics_of_two_models_stand_side_by_side_with_their_intervals(measured):
    rows = screen.metric_rows(metrics(*measured))
    assert [row["metric"] for row in rows] == ["pass@1", "pass@4", "maj@4"]
    assert rows[0] == {"metric": "pass@1", "before": "50.0 % [42.0, 57.0]", "after": "62.5 % [54.5, 69.5]"}


def test_the_page_plots_metrics_difficulty_and_training_at_their_values(measured):
    store, lines = measured
    text = render(store, load_config("tiny"), lines)
    assert re.findall(r'cx="([\d.]+)%"', text)[:2] == ["50.00", "62.50"]
    assert 'x1="42.00%" x2="57.00%"' in text
    assert "50.0 → 62.5\u00a0%" in text and "2.5 → 0.75" in text
    assert re.findall(r'aria-label="(\d+) problems at', text) == ["1", "0", "0", "0", "1", "0", "0", "0", "1"]


def test_writing_the_page_again_replaces_it_whole(measured):
    store, lines = measured
    first = write_report(store, load_config("tiny"), lines).read_text(encoding="utf-8")
    page = write_report(store, load_config("tiny"), lines[:1])
    assert page.read_text(encoding="utf-8") != first
    assert [p.name for p in store.root.glob("*report*")] == ["report.html"]
