"""The factory's main job, as a newcomer runs it: every stage for real, on nano models alone."""

import json
import os
import subprocess
import sys

import pytest

from storage.schemas import Evaluation, from_table
from storage.store import Store

pytestmark = pytest.mark.slow


def mathmill(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows", *arguments], capture_output=True, text=True, env={**os.environ, **environment}, timeout=1500
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "store"
    done = mathmill("run", "tiny", "--store", str(folder), "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads(done.stdout.splitlines()[0])


@pytest.fixture
def store(run):
    with Store.open(run[0]) as opened:
        yield opened


def test_rows_add_up_at_every_stage(store):
    heads = store.heads()
    assert len(heads) == 15
    for head in heads:
        head.balance.check()
        assert head.complete


def test_planted_copies_are_caught_and_clean_problems_survive(store):
    marks = store.table("tiny.contamination").to_pylist()
    heldout = {row["problem"] for row in store.table("tiny.heldout").to_pylist()}
    copies = {row["id"] for row in store.table("tiny.problems").to_pylist() if row["problem"] in heldout}
    flagged = {row["problem_id"] for row in marks if row["contaminated"]}
    assert len(copies) == 10 and copies <= flagged
    clean = [row for row in marks if row["problem_id"] not in copies]
    assert sum(not row["contaminated"] for row in clean) >= 0.8 * len(clean)
    assert not copies & {row["problem_id"] for row in store.table("tiny.training_set").to_pylist()}


def test_the_training_set_carries_a_certificate_for_exactly_its_rows(store):
    version = store.resolve("tiny.training_set")
    certificate = version.meta["certificate"]
    assert certificate["version_digest"] == version.digest and certificate["hits"] == []


def test_the_student_was_trained_on_that_version_and_measured(store):
    checkpoint = store.table("tiny.sft").to_pylist()[0]
    assert checkpoint["trained_on"] == store.resolve("tiny.training_set").spec
    before, after = ({e.metric: e for e in from_table(store.table(f"tiny.{n}"), Evaluation)} for n in ("before", "after"))
    assert before.keys() == after.keys() >= {"pass@1", "pass@4", "maj@4"}
    assert all(e.low <= e.value <= e.high for e in (*before.values(), *after.values()))
    # 150 problems x 4 replies; the nano solver's systematic mistakes give way to its own correct replies
    assert after["pass@1"].value > before["pass@1"].value


def test_every_reply_is_in_the_ledger(store):
    for name in ("solve", "before_solve", "after_solve"):
        calls = store.table(f"tiny.{name}", columns=["call_id"]).column("call_id").to_pylist()
        assert store.ledger.has(calls) == set(calls)


def test_a_second_run_reuses_everything_and_publishes_nothing(run):
    folder, first = run
    done = mathmill("run", "tiny", "--store", str(folder), "--json")
    assert [row["dataset"] for row in json.loads(done.stdout.splitlines()[0])] == [row["dataset"] for row in first]
    assert all(row["calls"] == 0 for row in json.loads(done.stdout.splitlines()[0]))


def test_the_report_stands_beside_the_data(run):
    assert "tiny.training_set" in (run[0] / "report.html").read_text()
