"""Which table, page size and lock the ledger's SQLite file should have: the same rows, one commit each, by several processes.

Run by hand: `python -m benchmarks.ledger_layouts --rows 100000`. Payloads are 2 kB of noise, what zstd leaves of 4 kB, so that
this measures the storage alone. The decision is docs/decisions/0002-ledger-layout.md.
"""

import argparse
import contextlib
import fcntl
import hashlib
import multiprocessing
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FACTS = "kind TEXT, model TEXT, stage TEXT, run_id TEXT, finish_reason TEXT, prompt_tokens INT, completion_tokens INT, seed INT, at REAL"
TABLES = {
    "rowid, key blob": f"CREATE TABLE call (id INTEGER PRIMARY KEY, key BLOB UNIQUE, {FACTS}, body BLOB)",
    "rowid, key text": f"CREATE TABLE call (id INTEGER PRIMARY KEY, key TEXT UNIQUE, {FACTS}, body BLOB)",
    "without rowid": f"CREATE TABLE call (key BLOB PRIMARY KEY, {FACTS}, body BLOB) WITHOUT ROWID",
    "body apart": f"CREATE TABLE call (id INTEGER PRIMARY KEY, key BLOB UNIQUE, {FACTS});"
    " CREATE TABLE payload (id INTEGER PRIMARY KEY, body BLOB)",
}
NOISE = [random.Random(i).randbytes(1100 + 9 * i) for i in range(200)]


@dataclass(frozen=True)
class Layout:
    """`queue`: writers take turns by flock; otherwise by SQLite's busy handler. `files`: rows go to one of them by their key."""

    table: str
    page: int = 8192
    queue: bool = True
    files: int = 1
    writers: int = 4

    def path(self, folder: str, i: int) -> str:
        return f"{folder}/{i}.sqlite"

    def key(self, writer: int, i: int) -> bytes | str:
        found = hashlib.sha256(b"%d-%d" % (writer, i)).digest()
        return found.hex() if self.table.endswith("text") else found


@contextlib.contextmanager
def turn(path: str, queue: bool) -> Iterator[None]:
    if not queue:
        yield
        return
    handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield
    os.close(handle)


def insert(layout: Layout, connection: sqlite3.Connection, key: bytes | str, i: int) -> None:
    facts = (
        "generate",
        "nano:solver@0123456789abcdef0123456789abcdef01234567",
        "tiny.solve",
        "run-20261120-091500",
        "stop",
        325,
        600,
        i,
        1.7e9,
    )
    body = NOISE[i % 200]
    connection.execute("BEGIN IMMEDIATE")
    if layout.table == "body apart":
        made = connection.execute("INSERT INTO call VALUES (NULL,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING", (key, *facts))
        if made.rowcount:
            connection.execute("INSERT INTO payload VALUES (?,?)", (made.lastrowid, body))
    else:
        first = "" if layout.table == "without rowid" else "NULL,"
        connection.execute(f"INSERT INTO call VALUES ({first}?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING", (key, *facts, body))
    connection.execute("COMMIT")


def write(layout: Layout, folder: str, writer: int, n: int, out: Any) -> None:
    paths = [layout.path(folder, i) for i in range(layout.files)]
    connections = [sqlite3.connect(path, isolation_level=None, timeout=60) for path in paths]
    for connection in connections:
        connection.execute("PRAGMA synchronous=NORMAL")
    waits, started, cpu = [], time.perf_counter(), time.process_time()
    for i in range(n):
        key = layout.key(writer, i)
        at = hash(key) % layout.files
        before = time.perf_counter()
        with turn(paths[at], layout.queue):
            insert(layout, connections[at], key, i)
        waits.append(time.perf_counter() - before)
    out.put((time.perf_counter() - started, time.process_time() - cpu, waits))


def measure(layout: Layout, n: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for i in range(layout.files):
            with contextlib.closing(sqlite3.connect(layout.path(folder, i))) as connection:
                connection.execute(f"PRAGMA page_size={layout.page}")
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(TABLES[layout.table])
        context = multiprocessing.get_context("fork")
        out = context.Queue()
        each = n // layout.writers
        processes = [context.Process(target=write, args=(layout, folder, w, each, out)) for w in range(layout.writers)]
        for process in processes:
            process.start()
        results = [out.get() for _ in processes]
        for process in processes:
            process.join()
        waits = sorted(w for r in results for w in r[2])
        size = sum(os.path.getsize(layout.path(folder, i)) for i in range(layout.files))
        print(
            f"| {layout.table} | {layout.page} | {'flock' if layout.queue else 'busy'} | {layout.files} | {layout.writers} "
            f"| {n / max(r[0] for r in results):.0f} | {sum(r[1] for r in results) / n * 1e6:.0f} "
            f"| {waits[len(waits) * 99 // 100] * 1e3:.1f} | {waits[-1] * 1e3:.0f} | {size / n:.0f} | {read(layout, folder, each)} |",
            flush=True,
        )


def read(layout: Layout, folder: str, n: int) -> str:
    """CPU microseconds a key of looking up (key only, whole row) 500 at a time; CPU seconds of a GROUP BY. One file only."""
    if layout.files > 1:
        return "| |"
    rng, marks = random.Random(1), ",".join("?" * 500)
    keys = [layout.key(rng.randrange(layout.writers), rng.randrange(n)) for _ in range(50_000)]
    whole = "call JOIN payload USING (id)" if layout.table == "body apart" else "call"
    out = []
    with contextlib.closing(sqlite3.connect(layout.path(folder, 0))) as connection:
        for sql in (f"SELECT key FROM call WHERE key IN ({marks})", f"SELECT * FROM {whole} WHERE key IN ({marks})"):
            cpu = time.process_time()
            for start in range(0, len(keys), 500):
                connection.execute(sql, keys[start : start + 500]).fetchall()
            out.append(f"{(time.process_time() - cpu) / len(keys) * 1e6:.1f}")
        cpu = time.process_time()
        connection.execute("SELECT stage, model, count(*), sum(prompt_tokens) FROM call GROUP BY stage, model").fetchall()
        out.append(f"{time.process_time() - cpu:.2f}")
    return " | ".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    n = parser.parse_args().rows
    print("| table | page | lock | files | writers | inserts/s | CPU us a row ", end="")
    print("| p99 ms | max ms | bytes a row | has us | row us | group by s |")
    print("|---" * 13 + "|")
    tables = list(TABLES)
    for table in tables:
        measure(Layout(table), n)
    for page in (4096, 16384):
        measure(Layout(tables[0], page=page), n)
    for changed in (Layout(tables[0], queue=False), Layout(tables[0], files=4), Layout(tables[0], writers=1)):
        measure(changed, n)
    for queue in (True, False):
        measure(Layout(tables[0], writers=8, queue=queue), n)


if __name__ == "__main__":
    main()
