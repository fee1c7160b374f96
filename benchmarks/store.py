"""The store: hashing rate, cost of a commit, and what publishing, looking up, comparing and viewing cost as shards grow.

`python -m benchmarks.store [--shards 2000] [--catalog postgresql://...]`; times are of this process.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.balance import Balance
from storage.objects import ROW_GROUP, ZSTD_LEVEL, content_hash
from storage.schemas import Dropped, Solution, to_table
from storage.shards import shard_key
from storage.store import Store
from storage.views import refresh_views


@contextmanager
def timed(what: str, per: int = 1, unit: str = "ms") -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what:<58} {1e3 * cpu / per:9.2f} {unit} cpu  {1e3 * wall / per:9.2f} {unit} wall")


def rate(what: str, n_bytes: int, work: Callable[[], object], repeats: int = 5) -> None:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    print(f"{what:<58} {n_bytes / 1e6 / float(np.median(times)):9.0f} MB/s of CPU (median of {repeats})")


def solutions(n: int, seed: int, words: int = 350) -> pa.Table:
    """About 2 kB of text a row, no two rows alike."""
    pick = np.random.default_rng(seed)
    vocabulary = np.array([f"w{i}" for i in range(5000)])
    texts = [" ".join(vocabulary[pick.integers(0, 5000, words)]) for _ in range(n)]
    return to_table([Solution(f"{seed:06d}{i:08d}", f"p{i}", f"r{i}", text, 100) for i, text in enumerate(texts)], Solution)


def hashing() -> None:
    table = solutions(20_000, 0)
    rate("content hash, 20,000 rows of 2 kB", table.nbytes, lambda: content_hash(table))
    sink = tempfile.TemporaryFile()  # noqa: SIM115
    rate("for comparison: writing them as Parquet, zstd 3", table.nbytes, lambda: _write(table, sink), 3)


def _write(table: pa.Table, sink: object) -> None:
    pq.write_table(table, sink, compression="zstd", compression_level=ZSTD_LEVEL, row_group_size=ROW_GROUP)


def shards(store: Store, n: int) -> dict[str, str]:
    keys = {}
    nothing = to_table([], Dropped)
    tables = [solutions(5, i, 20) for i in range(n)]
    with timed(f"commit of a shard of 5 rows (mean of {n})", n):
        for i, table in enumerate(tables):
            part, recipe = f"round={i // 1000}/{i % 1000:03d}", {"n": i}
            key = keys[part] = shard_key(recipe)
            balance = Balance(5, 5, {}, 0, 5)
            store.commit(key=key, dataset="t.rows", part=part, stage="bench", recipe=recipe, rows=table, dropped=nothing, balance=balance)
    return keys


def growth(store: Store, n: int) -> None:
    keys = shards(store, n)
    with timed(f"look up {n} keys at once"):
        store.lookup_many(list(keys.values()))
    with timed(f"publish {n} shards (views included)"):
        store.publish("t.rows", keys)
    with timed("publish the same again"):
        store.publish("t.rows", keys)
    fewer = dict(list(keys.items())[:-1])
    with timed("publish all but one (views included)"):
        store.publish("t.rows", fewer)
    with timed("diff of the two"):
        store.diff("t.rows@1", "t.rows@2")
    with timed("row diff of the two"):
        store.diff_rows("t.rows@1", "t.rows@2")
    (store.root / "warehouse.stamp").unlink()
    with timed("views alone"):
        refresh_views(store)
    with timed(f"read one column of {n} objects"):
        store.table("t.rows", ["id"])
    with timed("fsck"):
        store.fsck()
    print(f"warehouse.duckdb: {(store.root / 'warehouse.duckdb').stat().st_size / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=2000)
    parser.add_argument("--catalog", default=None)
    arguments = parser.parse_args()
    hashing()
    with tempfile.TemporaryDirectory() as folder, Store.open(folder, arguments.catalog) as store:
        growth(store, arguments.shards)


if __name__ == "__main__":
    main()
