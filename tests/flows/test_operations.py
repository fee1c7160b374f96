"""The factory as a service: `mathmill up`, deployments, a killed flow, a training that a publication starts. Real servers and processes.

What is asserted comes from Prefect's REST API and from the catalog.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.services import ask, running
from storage.store import Store
from tests import processes
from tests.fake_openai import FakeOpenAI

pytestmark = pytest.mark.slow


def mathmill(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "flows", *arguments], capture_output=True, text=True, env=environment(), timeout=600)


def environment() -> dict[str, str]:
    """A person's, without a Prefect of their own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MATHMILL_"))} | {"OMP_NUM_THREADS": "1"}


def wait_for(condition: Callable[[], Any], seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)
    return found


def problems(folder: Path, first: int, n: int) -> Path:
    """A file of n problems; other ones for another `first`."""
    file = folder / f"{n}.jsonl"
    rows = [{"problem": f"What is {i} plus {3 * i}?", "answer": str(4 * i)} for i in range(first, first + n)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@dataclass
class Up:
    """The services of a store, asked over REST."""

    root: Path
    url: str

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return ask(self.url, path, body)

    def start(self, deployment: str, **parameters: Any) -> str:
        """A new flow run's id."""
        known = self.ask(f"deployments/name/{deployment}/{deployment}")["id"]
        return str(self.ask(f"deployments/{known}/create_flow_run", {"parameters": parameters})["id"])

    def state(self, run: str) -> str:
        return str(self.ask(f"flow_runs/{run}")["state"]["type"])

    def end(self, run: str) -> str:
        return str(wait_for(lambda: (state := self.state(run)) in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") and state))

    def tasks(self, run: str, prefix: str) -> list[str]:
        """States of the run's tasks whose names begin so."""
        found = self.ask("task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return sorted((task["state"] or {"name": "Pending"})["name"] for task in found if task["name"].startswith(prefix))

    def runs_of(self, deployment: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("flow_runs/filter", {"deployments": {"name": {"any_": [deployment]}}})
        return found

    def log(self, run: str) -> str:
        return "\n".join(line["message"] for line in self.ask("logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}}))


@pytest.fixture(scope="module")
def up(tmp_path_factory) -> Iterator[Up]:
    root = tmp_path_factory.mktemp("operations") / "store"
    done = mathmill("up", "--store", str(root), "--port", "0")
    assert done.returncode == 0, done.stderr
    found = running(root)
    assert found is not None and found.ui in done.stderr
    yield Up(root, found.url)
    assert mathmill("down", "--store", str(root)).returncode == 0
    assert running(root) is None


def test_up_again_starts_nothing(up: Up):
    before = running(up.root)
    again = mathmill("up", "--store", str(up.root), "--port", "0")
    assert again.returncode == 0 and "running already" in again.stderr
    assert running(up.root) == before


def test_a_killed_flow_run_crashes_and_the_next_one_takes_its_finished_shards_from_the_cache(up: Up, tmp_path: Path):
    with FakeOpenAI(latency_s=0.2) as server:
        config = {"run": {"buckets": 4, "workers": 1}, "solve": {"model": server.ref, "samples": 1, "concurrency": 2}}
        asked = {"config": config, "inputs": {"problems": str(problems(tmp_path, 0, 40))}}
        first = up.start("solve", **asked)
        wait_for(lambda: len(up.tasks(first, "solve.solve")) >= 3)  # two parts are whole, the third is under way
        os.kill(int(str(up.ask(f"flow_runs/{first}")["infrastructure_pid"]).rpartition(":")[2]), signal.SIGKILL)
        assert up.end(first) == "CRASHED"
        with Store.open(up.root) as store:
            assert "solve.solve" not in store.datasets()
        second = up.start("solve", **asked)
        assert up.end(second) == "COMPLETED", up.log(second)
        assert server.stats()["calls"] <= 40 + 2
    assert wait_for(lambda: len(up.tasks(second, "solve.solve")) == 4)
    assert up.tasks(second, "solve.solve").count("Cached") >= 2
    with Store.open(up.root) as store:
        assert store.resolve("solve.verify@good").n_rows == 40
        assert store.resolve("solve.verify").n == 1


def test_a_deployed_run_of_one_partition_publishes_a_patch(up: Up, tmp_path: Path):
    with FakeOpenAI() as server:
        asked = {"config": {"solve": {"model": server.ref, "samples": 1}}, "inputs": {"problems": str(problems(tmp_path, 300, 9))}}
        run = up.start("solve", partition=1, **asked)
        assert up.end(run) == "COMPLETED", up.log(run)
    with Store.open(up.root) as store:
        patched = store.resolve("solve.verify")
        rounds = {slot.part.partition("/")[0]: 0 for slot in store.slots(patched)}
        for slot in store.slots(patched):
            rounds[slot.part.partition("/")[0]] += slot.n_rows
        assert (patched.kind, rounds) == ("patch", {"round=0": 40, "round=1": 9})


def test_a_command_line_run_appears_on_the_server_that_is_up_and_publishes_nothing_new(up: Up, tmp_path: Path):
    with FakeOpenAI() as server:
        arguments = ["--input", f"problems={problems(tmp_path, 100, 6)}", "--set", f"solve.model={server.ref}", "--set", "solve.samples=1"]
        for _ in range(2):
            done = mathmill("run", "solve", "--store", str(up.root), "--name", "typed", *arguments)
            assert done.returncode == 0, done.stderr
        assert server.stats()["calls"] == 6
    typed = [run for run in up.ask("flow_runs/filter", {"sort": "START_TIME_DESC"}) if run["deployment_id"] is None]
    assert [run["state"]["type"] for run in typed] == ["COMPLETED"] * 2
    with Store.open(up.root) as store:
        assert [v.n for v in store.versions("typed.solve")] == [1]


def farm(folder: Path) -> dict[str, str]:
    """Problems with worked solutions, and a benchmark that none of them is in."""
    for name in ("farm", "held"):
        (folder / name).mkdir()
    text = "A farmer named F{0} has {1} cows and buys {2} more at the village market on day {0}. How many cows has he in the end?"
    rows = [(i, 3 * i + 7, 5 * i + 2) for i in range(24)]
    lines = [{"question": text.format(*row), "answer": f"{row[1]} + {row[2]} = {sum(row[1:])}\n#### {sum(row[1:])}"} for row in rows]
    (folder / "farm" / "farm.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    held = [{"question": f"Which day comes {i} days after Monday on planet number {7 * i}, where a week has nine days?"} for i in range(5)]
    (folder / "held" / "held.jsonl").write_text("".join(json.dumps(line) + "\n" for line in held))
    return {"problems": str(folder / "farm"), "benchmarks": str(folder / "held")}


def test_a_published_training_set_is_trained_on_in_exactly_that_version_and_only_once(up: Up, tmp_path: Path):
    run = up.start("gsm8k", config={"run": {"buckets": 2}, "sft": {"max_steps": 1}}, inputs=farm(tmp_path))
    (training,) = wait_for(lambda: up.runs_of("train"))
    assert training["created_by"]["type"] == "AUTOMATION"
    assert training["parameters"]["inputs"] == {"examples": "gsm8k.training_set@1"}
    assert up.end(run) == "COMPLETED", up.log(run)
    assert up.end(training["id"]) == "COMPLETED", up.log(training["id"])
    with Store.open(up.root) as store:
        trained = store.resolve("train.sft")
        assert trained.inputs == {"examples": ("gsm8k.training_set", 1)}
        (checkpoint,) = store.table(trained).to_pylist()
        assert (checkpoint["trained_on"], checkpoint["n_rows"]) == ("gsm8k.training_set@1", 24)
        assert store.fsck() == []
    check = up.start("reconcile")
    assert up.end(check) == "COMPLETED", up.log(check)
    assert len(up.runs_of("train")) == 1


def test_a_training_whose_event_was_lost_is_started_by_reconcile_once(up: Up):
    with Store.open(up.root) as store:
        store.publish(
            "lost.training_set",
            {slot.part: slot.shard_key for slot in store.slots("gsm8k.training_set")[:1]},
            meta={"certificate": certificate(store)},
        )
    for _ in range(2):
        check = up.start("reconcile")
        assert up.end(check) == "COMPLETED", up.log(check)
    (training,) = [run for run in up.runs_of("train") if run["parameters"]["inputs"] == {"examples": "lost.training_set@1"}]
    assert training["idempotency_key"] == "lost.training_set@1"
    assert up.end(training["id"]) == "COMPLETED", up.log(training["id"])


def certificate(store: Store) -> dict[str, Any]:
    """What the contamination check says of the first part of the farm's training set."""
    from tasks.certificate import certify

    first = store.slots("gsm8k.training_set")[:1]
    digest, rows = store.preview("lost.training_set", {slot.part: slot.shard_key for slot in first})
    return certify(rows, digest, store.table("gsm8k.protect"))


@pytest.mark.skipif(not processes.HERE, reason="looks for processes in /proc")
def test_after_a_crash_of_everything_nothing_is_left_and_the_next_up_says_what_crashed(up: Up, tmp_path: Path):
    with FakeOpenAI(latency_s=2) as server:
        config = {"solve": {"model": server.ref, "samples": 1, "concurrency": 1}}
        run = up.start("solve", config=config, inputs={"problems": str(problems(tmp_path, 200, 30))}, name="crashed")
        wait_for(lambda: server.stats()["calls"])
        before = running(up.root)
        assert before is not None
        started = processes.descendants(before.pid)
        assert len(started) >= 7  # a server and two workers, each below its supervisor, and a flow
        os.kill(before.pid, signal.SIGKILL)
        wait_for(lambda: not processes.left(started), 30)
    assert mathmill("down", "--store", str(up.root)).stderr.startswith("no services are running")
    assert mathmill("up", "--store", str(up.root), "--port", before.url.split(":")[2].removesuffix("/api")).returncode == 0
    assert up.state(run) == "CRASHED"
    assert sum(limit["active_slots"] for limit in up.ask("v2/concurrency_limits/filter", {})) == 0


def test_a_port_that_is_taken_is_named_with_the_way_out(tmp_path: Path):
    with FakeOpenAI() as server:
        done = mathmill("up", "--store", str(tmp_path / "store"), "--port", str(server.port))
    assert done.returncode == 1
    assert f"no Prefect server on port {server.port}" in done.stderr and "choose another with --port N" in done.stderr
    assert running(tmp_path / "store") is None
