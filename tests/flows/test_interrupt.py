"""Ctrl-C: a run stops asking at once, keeps what it paid for, and goes on from there."""

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow
ROWS, IN_FLIGHT = 60, 4


def start(factory) -> subprocess.Popen[str]:
    """The command with two parts of two problems under way at once."""
    store, file = ("--store", str(factory.store)), ("--input", f"problems={factory.input}")
    sets = [f"solve.model={factory.server.ref}", "solve.samples=1", "solve.concurrency=2", "run.buckets=2"]
    command = [sys.executable, "-m", "flows", "run", "solve", *store, *file, *(word for text in sets for word in ("--set", text))]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_an_interrupted_run_asks_no_more_says_so_and_goes_on_from_there(factory):
    factory.write(range(ROWS))
    factory.server.set(latency_s=0.5)
    process = start(factory)
    while factory.server.stats()["calls"] < 8:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    asked = factory.calls()
    assert process.returncode == 1 and "interrupted; what was committed is kept" in said
    assert asked <= 8 + 3 * IN_FLIGHT and factory.versions() == {"solve.import_problems": 1}
    factory.server.set(latency_s=0.0)
    again = start(factory)
    assert again.wait(timeout=120) == 0
    assert factory.calls() <= ROWS - asked + IN_FLIGHT and len(factory.table("solve.solve")) == ROWS
