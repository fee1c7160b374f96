"""What orchestration costs: the recipe `solve` on 30 shards that wait 10 s each for their model, against the waiting alone.

Everything a run does is counted as overhead: Prefect, catalog, ledger, HTTP, import and verification of the rows (61 tasks in all).
The server's start-up stands apart, and so does a first run of the same shape without waiting, which a new server answers slowly: a run
beside `mathmill up` pays neither. `python -m benchmarks.overhead [--workers 2]`
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flows.config import load_config
from flows.make import Silent
from flows.services import prefect_api
from flows.session import Session
from storage.ids import part_name, problem_id
from storage.store import Store
from tests.fake_openai import ask

SHARDS, SECONDS, ROWS = 30, 10.0, 240


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    line = [sys.executable, "-m", "tests.fake_openai", "--port", "0"]
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url, root = server.stdout.readline().strip(), Path(folder) / "store"
        started = time.monotonic()
        with prefect_api(root):
            import flows.scheduled  # noqa: F401
        print(json.dumps({"start-up s": round(time.monotonic() - started, 1), "of a new store": True, "load": os.getloadavg()[0]}))
        for what, topic, latency in (("first", "tins", 0.0), ("timed", "jars", SECONDS), ("cached", "jars", 0.0)):
            ask(url, "/_rules", {"latency_s": latency})
            waiting = SHARDS * latency / options.workers
            print(json.dumps({what: measured(root, problems(Path(folder), topic), url, options.workers, waiting)}), flush=True)
        server.terminate()


def problems(folder: Path, topic: str) -> Path:
    """As many rows, that fill every shard."""
    file = folder / f"{topic}.jsonl"
    rows = [{"problem": f"Bo has {i} rows of {i % 7 + 2} {topic}. How many is that?", "answer": str(i * (i % 7 + 2))} for i in range(ROWS)]
    assert len({part_name(0, problem_id("", None, row["problem"]), SHARDS) for row in rows}) == SHARDS
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def measured(root: Path, file: Path, url: str, workers: int, waiting: float) -> dict[str, object]:
    """Wall and CPU seconds of one run, and what of the wall is not waiting."""
    from flows.scheduled import run_here

    sets = [f"solve.model=http:{url}#m", "solve.samples=1", "solve.concurrency=64", f"run.buckets={SHARDS}", f"run.workers={workers}"]
    client, prefect, started = cpu(), server_cpu(), time.monotonic()
    with Store.open(root) as store:
        lines = run_here(Session(store, load_config("solve", None, sets, name=file.stem)), {"problems": str(file)}, Silent())
    wall = time.monotonic() - started
    return {
        "tasks": sum(line.jobs for line in lines),
        "cached": sum(line.cached for line in lines),
        "wall s": round(wall, 2),
        "waiting s": waiting,
        "overhead s": round(wall - waiting, 2),
        "overhead %": round(100 * (wall - waiting) / waiting, 2) if waiting else None,
        "cpu s of the run": round(cpu() - client, 2),
        "cpu s of prefect's server": round(server_cpu() - prefect, 2),
        "load": os.getloadavg()[0],
    }


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def server_cpu() -> float:
    """Of the Prefect server that this process started, below its supervisor (Linux)."""
    ticks = 0
    for supervisor in children(os.getpid()):
        for child in children(supervisor):
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    return [int(child) for thread in Path(f"/proc/{pid}/task").iterdir() for child in (thread / "children").read_text().split()]


if __name__ == "__main__":
    main()
