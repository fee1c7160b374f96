"""Pay once: what a kill, an edited prompt, new rows and failing rows cost, beside seven peers measured at the same job.

200 problems, one call each, a local server that takes 0.2 s an answer, 8 in flight, SIGKILL of the whole process group at about 100 served.
Run by `make bench-resume`; the same functions are asserted in tests/flows/test_pay_once.py.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.fake_openai import FakeOpenAI, Fault

PROBLEMS = 200
PROMPT_V2 = "## system\nThink first. Box the final answer.\n## user\nSecond wording: [[problem]]\n"

# Measured at the same job with the same server (versions: see docs/peers.md).
PEERS = [
    ("open-r1 generate_reasoning.py", "7", "0 (stale)", "20, 220", "190, exit 0", "10", "100/100"),
    ("NeMo-Skills generate.py", "8", "0 (stale)", "0, 200", "run dies, exit 1", "67", "99/101"),
    ("distilabel 1.5.3", "never finishes", "200", "0, 200", "200 (all None), exit 0", "0", "-"),
    ("curator 0.1.31", "8", "200", "220", "exit 1", "10", "-"),
    ("datatrove 0.10.1", "7", "0 (stale)", "0, 200", "stops after 8, exit 1", "200", "52/148"),
    ("DataDesigner 0.9.6", "106", "200", "220", "190, exit 0", "0", "-"),
    ("DataFlow PipelineABC", "107", "200", "220", "200 (10 None), exit 0", "200", "-"),
]


@dataclass
class Bench:
    """One store, one server, one input file."""

    server: FakeOpenAI
    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def write(self, first: int, last: int, name: str = "problems.jsonl") -> Path:
        """Problems `first`..`last`-1; a larger number is put further to the front."""
        path = self.folder / name
        rows = [
            {"id": f"b{i}", "problem": f"Bo stacks {i} rows of {i % 7 + 2} tins. How many tins?", "answer": str(i * (i % 7 + 2))}
            for i in range(first, last)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in reversed(rows)), encoding="utf-8")
        return path

    def command(self, problems: Path, *more: str) -> list[str]:
        model = ["--set", f"solve.model={self.server.ref}", "--set", "solve.samples=1", "--set", "solve.concurrency=8"]
        return [sys.executable, "-m", "flows", "run", "solve", "--store", str(self.store), "--input", f"problems={problems}", *model, *more]

    def run(self, problems: Path, *more: str) -> int:
        """Run to the end; the exit code."""
        return subprocess.run(self.command(problems, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

    def run_and_kill(self, problems: Path, *more: str, at: int = PROBLEMS // 2) -> None:
        """SIGKILL the whole process group once `at` answers were served."""
        devnull = subprocess.DEVNULL
        process = subprocess.Popen(self.command(problems, *more), stdout=devnull, stderr=devnull, start_new_session=True)
        while self.server.stats()["answered"] < at:
            if process.poll() is not None:
                raise RuntimeError(f"the run ended by itself with {process.returncode} before {at} answers were served")
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while self.server.stats()["in_flight"]:
            time.sleep(0.05)

    def table(self, spec: str) -> list[dict[str, Any]]:
        """Rows of a published version."""
        from storage.store import Store

        with Store.open(self.store) as store:
            return store.table(spec).to_pylist()

    def dropped(self, spec: str) -> list[dict[str, Any]]:
        from storage.store import Store

        with Store.open(self.store) as store:
            return store.dropped_table(spec).to_pylist()

    def calls(self) -> int:
        return int(self.server.stats()["calls"])


def killed(bench: Bench) -> dict[str, Any]:
    """A: calls asked twice after SIGKILL at half."""
    problems = bench.write(0, PROBLEMS)
    bench.run_and_kill(problems)
    code = bench.run(problems)
    return {"exit": code, "repeated": bench.calls() - PROBLEMS, "rows": len(bench.table("solve.solve"))}


def edited(bench: Bench) -> dict[str, Any]:
    """B: new calls after the prompt was edited; bench has a finished run."""
    prompt = bench.folder / "v2.md"
    prompt.write_text(PROMPT_V2, encoding="utf-8")
    bench.server.reset()
    code = bench.run(bench.folder / "problems.jsonl", "--set", f"solve.prompt=@{prompt}")
    return {"exit": code, "calls": bench.calls()}


def extended(bench: Bench) -> dict[str, Any]:
    """C: new calls after 20 problems were put at the front; bench has a finished run."""
    bench.server.reset()
    code = bench.run(bench.write(0, PROBLEMS + 20))
    return {"exit": code, "calls": bench.calls(), "rows": len(bench.table("solve.solve"))}


def failing(bench: Bench) -> dict[str, Any]:
    """D: ten rows always answer 500. E: calls to heal."""
    problems = bench.write(0, PROBLEMS)
    bench.server.rules.faults = [Fault("500", contains=f"stacks {i} rows") for i in range(10)]
    code = bench.run(problems)
    found = {"exit": code, "rows": len(bench.table("solve.solve")), "quarantined": bench.dropped("solve.solve")}
    bench.server.rules.faults = []
    bench.server.reset()
    return {**found, "heal_exit": bench.run(problems), "heal_calls": bench.calls(), "heal_rows": len(bench.table("solve.solve"))}


def mixed(bench: Bench) -> dict[str, Any]:
    """MIX: killed on prompt v1, restarted on v2; rows of each in the published version."""
    problems = bench.write(0, PROBLEMS)
    prompt = bench.folder / "v2.md"
    prompt.write_text(PROMPT_V2, encoding="utf-8")
    bench.run_and_kill(problems)
    code = bench.run(problems, "--set", f"solve.prompt=@{prompt}")
    from storage.store import Store

    with Store.open(bench.store) as store:
        calls = store.ledger.get([row["call_id"] for row in store.table("solve.solve").to_pylist()])
    second = sum("Second wording" in json.dumps(call.request) for call in calls.values())
    return {"exit": code, "v1": len(calls) - second, "v2": second}


def fresh(folder: Path) -> Bench:
    folder.mkdir(parents=True, exist_ok=True)
    return Bench(FakeOpenAI(latency_s=0.2).__enter__(), folder)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        bench = fresh(Path(scratch) / "a")
        a, b, c = killed(bench), edited(bench), extended(bench)
        d = failing(fresh(Path(scratch) / "d"))
        mix = mixed(fresh(Path(scratch) / "mix"))
    ours = (
        "mathmill",
        str(a["repeated"]),
        str(b["calls"]),
        f"{c['calls']}, {c['rows']}",
        f"{d['rows']} + {len(d['quarantined'])} in quarantine, exit {d['exit']}",
        str(d["heal_calls"]),
        f"{mix['v1']}/{mix['v2']}",
    )
    table = Table(
        "", "A: repeated after kill -9", "B: prompt edited", "C: 20 new: calls, rows", "D: 10 rows fail", "E: to heal", "MIX v1/v2"
    )
    for row in (*PEERS, ours):
        table.add_row(*row)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
