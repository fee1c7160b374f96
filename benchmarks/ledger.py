"""The ledger at size: insert rate with 1 and 4 writer processes, bytes a call, look-ups while 4 write, cost table, export.

Run by hand: `python -m benchmarks.ledger --calls 1000000 --folder /somewhere/with/6GB`. Numbers go to docs/lab/.
Texts are random words with formulas, 4 kB of JSON a call, which zstd halves; real solutions repeat themselves more.
"""

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage.ids import digest
from storage.ledger import Call, Ledger, open_ledger

VOCABULARY = ["".join(random.Random(i).choices("abcdefghijklmnopqrstuvwxyz", k=2 + i % 8)) for i in range(3000)]


def text(rng: random.Random, size: int) -> str:
    """Words with Zipf's frequencies and a product on every line."""
    lines: list[str] = []
    while sum(map(len, lines)) < size:
        words = " ".join(rng.choices(VOCABULARY, weights=[1 / (i + 1) for i in range(3000)], k=12))
        lines.append(f"{words} ${rng.randint(2, 999)} \\times {rng.randint(2, 999)} = {rng.randint(2, 99999)}$\n")
    return "".join(lines)[:size]


def texts() -> list[tuple[str, str]]:
    """A stock of (prompt, reply), 4 kB of JSON together."""
    rng = random.Random(0)
    return [(text(rng, 1300), text(rng, 2400)) for _ in range(200)]


def request(writer: int, i: int, prompt: str) -> dict[str, Any]:
    return {
        "kind": "generate",
        "input": {"messages": [["user", f"{writer}-{i} {prompt}"]]},
        "params": {"temperature": 1.0, "top_p": 0.95, "max_tokens": 2048, "stop": []},
        "model": {"model": "nano:solver", "revision": "0123456789abcdef0123456789abcdef01234567", "options": []},
        "draw": ["main", i % 8],
    }


def call(writer: int, i: int, stock: list[tuple[str, str]]) -> Call:
    prompt, reply = stock[i % len(stock)]
    asked = request(writer, i, prompt)
    return Call(
        key=digest(asked, 64),
        kind="generate",
        model="nano:solver@0123456789abcdef0123456789abcdef01234567",
        request=asked,
        value={"text": f"{i} {reply}", "finish_reason": "stop"},
        finish_reason="stop",
        prompt_tokens=325,
        completion_tokens=600,
        seed=i,
        run_id="run-20261120-091500",
        stage="tiny.solve",
        latency_s=1.25,
    )


def percentile(waits: list[float], share: float) -> float:
    return sorted(waits)[int(share * (len(waits) - 1))] * 1e3


def write(where: str, writer: int, n: int, out: Any) -> None:
    """`n` calls, each committed by itself as the engine does it."""
    ledger, stock, waits = open_ledger(where), texts(), []
    started, cpu_started, cpu = time.perf_counter(), time.process_time(), 0.0
    for i in range(n):
        one = call(writer, i, stock)
        before, cpu_before = time.perf_counter(), time.process_time()
        ledger.put(one)
        waits.append(time.perf_counter() - before)
        cpu += time.process_time() - cpu_before
    ledger.close()
    out.put({"wall": time.perf_counter() - started, "cpu_all": time.process_time() - cpu_started, "cpu": cpu, "waits": waits})


def insert(where: str, first: int, writers: int, n: int, beside: Callable[[], dict[str, Any]] | None = None) -> dict[str, Any]:
    """`n` inserts by `writers` processes together; `beside` runs here meanwhile."""
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    processes = [context.Process(target=write, args=(where, first + w, n // writers, out)) for w in range(writers)]
    for process in processes:
        process.start()
    seen = beside() if beside else {}
    results = [out.get() for _ in processes]
    for process in processes:
        process.join()
    waits = [w for r in results for w in r["waits"]]
    wall = max(r["wall"] for r in results)
    return {
        "inserts_per_s": round(n / wall),
        "inserts_per_cpu_s": round(n / sum(r["cpu_all"] for r in results)),
        "cpu_us_per_put": round(sum(r["cpu"] for r in results) / n * 1e6, 1),
        "put_ms_p50_p99_max": [round(percentile(waits, s), 2) for s in (0.5, 0.99, 1.0)],
        **seen,
    }


def look_up(ledger: Ledger, writer: int, n_written: int, n: int) -> dict[str, Any]:
    """Batched `has` and `get`, and single `get`s, of random calls that are there."""
    rng, stock = random.Random(1), texts()
    chosen = [rng.randrange(n_written) for _ in range(n)]
    keys = [digest(request(writer, i, stock[i % len(stock)][0]), 64) for i in chosen]
    out: dict[str, Any] = {}
    for name, batch, method in (("has", keys, ledger.has), ("get", keys[: n // 4], ledger.get)):
        started, cpu = time.perf_counter(), time.process_time()
        found = sum(len(method(batch[s : s + 500])) for s in range(0, len(batch), 500))
        out[f"{name}_per_s"] = round(len(batch) / (time.perf_counter() - started))
        out[f"{name}_per_cpu_s"] = round(len(batch) / (time.process_time() - cpu))
        assert found >= len(set(batch)), "a recorded call was not found"
    waits = []
    for key in keys[:5000]:
        started = time.perf_counter()
        ledger.get([key])
        waits.append(time.perf_counter() - started)
    return out | {"single_get_ms_p50_p99": [round(percentile(waits, s), 3) for s in (0.5, 0.99)]}


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return round(time.perf_counter() - started, 2), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=None, help="where the ledger is made (about 5 kB a call with the export)")
    parser.add_argument("--url", default=None, help="an empty Postgres database instead of a file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        where = options.url or f"{folder}/ledger.sqlite"
        one = options.calls // 5
        report: dict[str, Any] = {"calls": options.calls, "load_before": os.getloadavg()[0]}
        report["1 writer"] = insert(where, 0, 1, one)
        report["4 writers"] = insert(where, 1, 4, options.calls - 2 * one)
        ledger = open_ledger(where)
        report["4 writers and a reader"] = insert(where, 5, 4, one, lambda: look_up(ledger, 0, one, 20_000))
        report["a reader alone"] = look_up(ledger, 0, one, 100_000)
        report["count_s"], report["count"] = timed(ledger.count)
        report["cost_table_s"], _ = timed(ledger.cost_table)
        report["export_s"], report["exported"] = timed(lambda: ledger.export(Path(folder) / "calls"))
        ledger.close()
        if not options.url:
            report["bytes_per_call"] = round(Path(where).stat().st_size / report["count"])
        report["parquet_bytes_per_call"] = round(sum(p.stat().st_size for p in Path(folder).glob("calls/*.parquet")) / report["count"])
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
