"""Runs beside each other on one new store: each is a process with a Prefect server of its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.store import Store
from tests import processes
from tests.fake_openai import FakeOpenAI

pytestmark = pytest.mark.slow

GATE = [{"kind": "429", "retry_after": "1"}]
"""Every call is told to come again, until the test opens the gate by taking this away."""


def start(command: str, store: Path, problems: list[int], server: FakeOpenAI, *more: str) -> subprocess.Popen[str]:
    file = store.parent / f"{problems[0]}.jsonl"
    file.write_text("".join(json.dumps({"problem": f"What is {i} plus {3 * i}?", "answer": str(4 * i)}) + "\n" for i in problems))
    settings = [f"solve.model={server.ref}", "solve.samples=1", "run.buckets=4", "run.workers=4"]
    sets = [word for setting in settings for word in ("--set", setting)]
    line = [sys.executable, "-m", "flows", command, "solve", "--store", str(store), "--input", f"problems={file}", *sets, *more, "--json"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MATHMILL_"))}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean)


def hear(process: subprocess.Popen[str], words: str) -> None:
    """Read what the run says until a line holds these words."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if words in line:
            return
    raise AssertionError(f"the run ended without saying {words!r}: {''.join(said)}")


def summary(process: subprocess.Popen[str]) -> list[dict]:
    """A line a stage, of a run that ended well."""
    out, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return json.loads(out.splitlines()[0])


def test_the_second_of_two_equal_runs_waits_says_so_reuses_and_publishes_nothing_new(tmp_path: Path):
    with FakeOpenAI(faults=GATE) as server:
        first = start("run", tmp_path / "store", list(range(24)), server)
        hear(first, "solve.import_problems@1")
        second = start("run", tmp_path / "store", list(range(24)), server)
        hear(second, "another run is making this; waiting for it")
        server.set(faults=[])
        lines = [summary(first), summary(second)]
        assert server.stats()["answered"] == 24
    assert [sum(line["calls"] for line in found) for found in lines] == [24, 0]
    assert [line["dataset"] for line in lines[0]] == [line["dataset"] for line in lines[1]]
    with Store.open(tmp_path / "store") as store:
        assert [head.n for head in store.heads()] == [1, 1, 1]
        assert store.resolve("solve.verify").n_rows == 24


def test_a_full_run_and_a_backfill_beside_it_both_survive(tmp_path: Path):
    with FakeOpenAI(faults=GATE) as server:
        full = start("run", tmp_path / "store", list(range(24)), server)
        hear(full, "solve.import_problems@1")
        backfill = start("backfill", tmp_path / "store", list(range(50, 60)), server, "--partition", "round=1")
        hear(backfill, "solve.import_problems@2")
        server.set(faults=[])
        summary(full)
        summary(backfill)
        assert server.stats()["answered"] == 34
    with Store.open(tmp_path / "store") as store:
        for dataset in ("solve.import_problems", "solve.solve", "solve.verify"):
            rows = {part: store.table(f"{dataset}@good", parts=parts(store, dataset, part)).num_rows for part in ("round=0/", "round=1/")}
            assert rows == {"round=0/": 24, "round=1/": 10}, dataset
        assert store.fsck() == []


@pytest.mark.skipif(not processes.HERE, reason="looks for processes in /proc")
def test_the_server_of_a_killed_run_ends_by_itself(tmp_path: Path):
    with FakeOpenAI(faults=GATE) as server:
        run = start("run", tmp_path / "store", list(range(4)), server)
        hear(run, "solve.import_problems@1")
        below = processes.descendants(run.pid)
        assert len(below) == 2  # the server, and the supervisor that holds it
        run.kill()
        run.communicate()
        deadline = time.monotonic() + 30
        while processes.left(below):
            assert time.monotonic() < deadline, f"still there: {processes.left(below)}"
            time.sleep(0.1)


def parts(store: Store, dataset: str, scope: str) -> list[str]:
    return [slot.part for slot in store.slots(f"{dataset}@good") if slot.part.startswith(scope)]


def test_a_run_with_other_settings_is_told_when_another_published_first(tmp_path: Path):
    with FakeOpenAI(faults=GATE) as server:
        first = start("run", tmp_path / "store", list(range(24)), server)
        hear(first, "solve.import_problems@1")
        second = start("run", tmp_path / "store", list(range(24)), server, "--set", "solve.sampling.temperature=0.5")
        hear(second, "solve.import_problems@1")
        server.set(faults=[])
        told = [process.communicate(timeout=600)[1] for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], told
    overtaken = [said for said in told if "solve.solve: 4 of 4 parts stay as another run published them" in said]
    assert len(overtaken) == 1, told
