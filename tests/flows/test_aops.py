"""The recipe `aops` on invented contests: rows add up, a changed page costs one problem, changed parser code no page and no call."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.config import load_config, load_recipe
from flows.make import Line, Make, Silent, in_threads
from flows.session import Session
from storage.diff import diff_rows
from storage.export import export
from storage.ids import problem_id
from storage.store import Store
from tasks.aops.archive import Archive
from tasks.aops.fixture.contest import make_contest
from tasks.aops.pages import raw_page
from tests.fake_openai import FakeOpenAI

ROOT = Path(__file__).parents[2]
CONTESTS = [make_contest(kind, 2092, 5) for kind in ("AMC 10B", "AMC 12B", "AIME I", "USAMO")]
N_PROBLEMS = 20 + 25 + 15 + 6  # five of the AMC 10 are those of the AMC 12
N_PAGES = 25 + 25 + 15 + 6 + 4 + 3  # with list pages and keys
EDITED = "2092 AIME I Problems/Problem 4"


def run(store: Store, recipe: str, inputs: dict[str, str], *sets: str, round_: int | None = None) -> dict[str, Line]:
    """Carry a recipe out in this process; its lines by stage."""
    scope = None if round_ is None else f"round={round_}/"
    session = Session(store, load_config(recipe, sets=["run.buckets=4", *sets]), round_=round_ or 0, scope=scope)
    make = Make(session, in_threads(2), inputs, Silent())
    try:
        load_recipe(recipe)(make)
        return {line.dataset.partition(".")[2]: line for line in make.finish()}
    finally:
        session.close()


def crawl(folder: Path) -> Path:
    """An archive as a crawl leaves it."""
    with Archive.open(folder) as archive:
        archive.put_all(raw_page(title, text, revid=1) for contest in CONTESTS for title, text in contest.pages.items())
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return crawl(tmp_path / "archive")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


def edit(folder: Path) -> None:
    """Somebody changes the words of one problem."""
    with Archive.open(folder) as archive:
        page = archive.get(EDITED)
        assert page is not None
        heading = re.search(r"^==.*Problem.*==$", page.text, re.MULTILINE)
        assert heading is not None
        archive.put(raw_page(EDITED, f"{page.text[: heading.end()]}\nOn a fine day:{page.text[heading.end() :]}", revid=2))


def test_pages_become_problems_that_say_where_they_come_from(archive, store):
    lines = run(store, "aops", {"pages": str(archive)})
    for line in lines.values():
        line.version.balance.check()
        assert line.version.complete
    assert lines["pages"].version.n_rows == N_PAGES
    assert lines["contest_problems"].version.balance.rows_in == N_PAGES
    assert lines["contest_problems"].version.n_rows == N_PROBLEMS
    problems = {row["id"]: row for row in store.table("aops.problems").to_pylist()}
    contests = {row["problem_id"]: row for row in store.table("aops.contest_problems").to_pylist()}
    needs_figure = {i for i, row in contests.items() if row["figure_required"]}
    assert problems.keys() == contests.keys() - needs_figure and needs_figure
    assert lines["problems"].version.balance.rejected == {"needs its figure": len(needs_figure)}
    truth = {e.canonical: e.truth for c in CONTESTS for e in c.entries}
    for row in problems.values():
        told = truth[row["source_id"]]
        assert row["answer"] == (told.letter or told.answer)
        assert row["answer_type"] == ("choice" if told.letter else "integer" if told.answer else "proof")
        assert all(choice in row["problem"] for choice in told.choices) and not row["redistributable"]
    solutions = store.table("aops.solutions").to_pylist()
    assert {row["problem_id"] for row in solutions} == contests.keys()


def test_a_second_run_publishes_nothing_new(archive, store):
    run(store, "aops", {"pages": str(archive)})
    again = run(store, "aops", {"pages": str(archive)})
    assert all(line.cached == line.jobs and line.version.n == 1 for line in again.values())


@pytest.mark.slow
def test_one_changed_page_changes_one_problem_and_costs_one_problem_downstream(archive, store):
    with FakeOpenAI() as server:
        sets = (f"engines.solver.ref={server.ref}", "solve.samples=1")
        first = run(store, "aops", {"pages": str(archive)})
        run(store, "score", {"problems": "aops.problems"}, *sets)
        different = {row["problem"] for row in store.table("aops.problems").to_pylist()}
        assert server.stats()["calls"] == len(different)
        server.reset()
        edit(archive)
        second = run(store, "aops", {"pages": str(archive)})
        changes = diff_rows(store, first["problems"].version, second["problems"].version)
        assert (changes.added, changes.removed, list(changes.changed.values())) == ([], [], [["problem"]])
        [changed] = changes.changed
        assert changed == problem_id("aops", EDITED, "")
        assert diff_rows(store, first["solutions"].version, second["solutions"].version).changed == {}
        run(store, "score", {"problems": "aops.problems"}, *sets)
        assert server.stats()["calls"] == 1


@pytest.mark.slow
def test_records_of_a_data_set_join_the_pages_of_the_wiki_in_a_round_of_their_own(archive, store, tmp_path):
    first = run(store, "aops", {"pages": str(archive)})
    records = [{"problem": f"What is ${i}+{i}$?", "answer": str(2 * i), "source": "invented_forum"} for i in range(1, 6)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    second = run(store, "aops", {"pages": str(tmp_path / "rows.jsonl")}, round_=1)
    changes = diff_rows(store, first["problems"].version, second["problems"].version)
    assert (len(changes.added), changes.removed, changes.changed) == (5, [], {})
    added = [row for row in store.table("aops.problems").to_pylist() if row["source"] == "invented_forum"]
    assert {(row["problem"], row["answer"]) for row in added} == {(r["problem"], r["answer"]) for r in records}


def test_exports_leave_texts_of_contests_out_and_say_how_many(archive, store, tmp_path):
    lines = run(store, "aops", {"pages": str(archive)})
    for name in ("pages", "contest_problems", "solutions", "problems"):
        n = lines[name].version.n_rows
        done = export(store, f"aops.{name}", tmp_path / name)
        assert (done.n_rows, done.n_restricted) == (0, n)
        assert f"{n} rows are left out because they must not be redistributed" in (tmp_path / name / "README.md").read_text()
    assert export(store, "aops.problems", tmp_path / "mine", include_restricted=True).n_rows == lines["problems"].version.n_rows


@pytest.mark.slow
def test_choices_may_be_left_out_and_then_the_value_is_the_answer(archive, store):
    run(store, "aops", {"pages": str(archive)}, "problems.choices=without", "problems.figures=keep")
    truth = {e.canonical: e.truth for c in CONTESTS for e in c.entries}
    rows = store.table("aops.problems").to_pylist()
    assert len(rows) == N_PROBLEMS
    for row in rows:
        told = truth[row["source_id"]]
        assert row["answer"] == (told.answer.strip("$") if told.answer else None)
        assert "(A)" not in row["problem"] and row["answer_type"] != "choice"


RUN = """
import sys
from pathlib import Path
from flows.config import load_config
from flows.make import Make, Silent, in_threads
from flows.recipes.aops import aops
from flows.session import Session
from storage.store import Store

with Store.open(Path(sys.argv[1])) as store:
    session = Session(store, load_config("aops", sets=["run.buckets=4"]))
    make = Make(session, in_threads(2), {"pages": sys.argv[2]}, Silent())
    aops(make)
    print(*(f"{line.dataset}:{line.version.digest}" for line in make.finish()))
"""


def python(house: Path, *arguments: str) -> str:
    """What Python prints with a copy of the code."""
    environment = {**os.environ, "PYTHONPATH": str(house), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *arguments], cwd=house, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_changed_parser_code_reads_the_same_pages_again_and_diff_shows_which_rows_changed(archive, tmp_path):
    house, store = tmp_path / "house", tmp_path / "store"
    for package in ("flows", "tasks", "models", "storage"):
        shutil.copytree(ROOT / package, house / package, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    before = python(house, "-c", RUN, str(store), str(archive)).split()
    page = house / "tasks" / "aops" / "parse" / "page.py"
    code = page.read_text(encoding="utf-8")
    assert code.count(r"\b(?:figures?|") == 1
    page.write_text(code.replace(r"\b(?:figures?|", r"\b(?:figurines?|"), encoding="utf-8")
    after = python(house, "-c", RUN, str(store), str(archive)).split()
    assert sorted(row.partition(":")[0] for row in set(after) - set(before)) == ["aops.contest_problems", "aops.dedup", "aops.problems"]
    told = python(house, "-m", "flows", "diff", "aops.contest_problems@1", "aops.contest_problems@2", "--store", str(store), "--json")
    with Store.open(store) as opened:
        assert opened.resolve("aops.pages").n == 1, "pages are imported once"
        figures = {row["id"] for row in opened.table("aops.contest_problems@1").to_pylist() if row["asy"]}
    assert figures and {row["id"]: row["columns"] for row in json.loads(told)} == dict.fromkeys(figures, "figure_required")
