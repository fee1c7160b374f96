"""The DuckDB face: `warehouse.duckdb`, a generated file of views over the Parquet objects, replaced by rename.

`FROM tiny.difficulty` is the latest version, `tiny."difficulty@3"` a version or tag, `tiny."difficulty!dropped"` what was dropped;
schema `catalog` has the catalog's tables as they were at the last publication, `ledger.calls` the exported model calls. A reader keeps
the file it has opened, so nobody blocks anybody. The file is written in the oldest format, which duckdb 1.5 and 2.0 both read.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection

from storage import catalog as tables
from storage.errors import StoreError
from storage.ids import digest
from storage.locks import file_lock
from storage.schemas import ROW_TYPES, Dropped, arrow_schema
from storage.versions import Slot, dataset_names, live_numbers, slots_in, tags_of

if TYPE_CHECKING:
    from storage.store import Store

KEEP = 20
"""Versions of each dataset that have a view, beside the tagged ones: at 10,000 shards a file of them takes 2 s to make."""

FILE = "warehouse.duckdb"
_STAMP = "warehouse.stamp"
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "threads": 1,  # hundreds of tiny statements: more threads only wait for each other
}

_DUCKDB = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.bool_(): "BOOLEAN"}
_ARROW = {sa.Text: pa.string(), sa.BigInteger: pa.int64(), sa.Integer: pa.int64(), sa.Boolean: pa.bool_(), sa.Float: pa.float64()}


def connect(root: str | Path) -> duckdb.DuckDBPyConnection:
    """The views of the store in `root`, read-only. Open it again to see what was published since."""
    path = Path(root) / FILE
    if not path.is_file():
        raise StoreError(f"no {FILE} in {root}: it is made when the first dataset is published; is this the store you mean?")
    return duckdb.connect(str(path), read_only=True)


def refresh_views(store: Store) -> None:
    """Make `warehouse.duckdb` say what the catalog says. Does nothing if it already does; views never go back, whoever comes last."""
    with file_lock(store.root / "locks" / "views", keep=True), store.catalog.read() as connection:
        stamp = _stamp(store, connection)
        noted = store.root / _STAMP
        if (store.root / FILE).is_file() and noted.is_file() and noted.read_text() == stamp:
            return
        staged = store.root / "tmp" / f"{FILE}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        try:
            _build(store, connection, staged)
            os.replace(staged, store.root / FILE)
            staged.write_text(stamp)
            os.replace(staged, noted)
        finally:
            staged.unlink(missing_ok=True)
            Path(f"{staged}.wal").unlink(missing_ok=True)


def _stamp(store: Store, connection: Connection) -> str:
    """Changes with everything that a view depends on."""
    names = dataset_names(connection)
    state = [[name, live_numbers(connection, name), tags_of(connection, name)] for name in names]
    return digest([str(store.root), state, [path.name for path in _ledger_files(store)]])


def _build(store: Store, connection: Connection, path: Path) -> None:
    with duckdb.connect(config=_CONFIG) as duck:
        duck.execute(f"ATTACH '{_quoted(path)}' AS warehouse (STORAGE_VERSION 'v1.0.0', BLOCK_SIZE 16384)")
        duck.execute("USE warehouse")
        duck.execute("BEGIN")  # one commit to disk, not one a view
        _copy_tables(connection, duck)
        for name in dataset_names(connection):
            schema, _, short = name.rpartition(".")
            duck.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema or "main"}"')
            for suffix, sql in _views(store, connection, name):
                duck.execute(f'CREATE VIEW "{schema or "main"}"."{short}{suffix}" AS {sql}')
        duck.execute("CREATE SCHEMA ledger")
        if _ledger_files(store):
            pattern = _quoted(store.root / "ledger" / "*.parquet")
            read = f"read_parquet('{pattern}', union_by_name=true, hive_partitioning=false)"
            duck.execute(f"CREATE VIEW ledger.calls AS SELECT * FROM {read}")
        duck.execute("COMMIT")
        duck.execute("USE memory")
        duck.execute("DETACH warehouse")


def _views(store: Store, connection: Connection, dataset: str) -> Iterator[tuple[str, str]]:
    """(what follows the dataset's name, SELECT) of each view of one dataset."""
    numbers, tags = live_numbers(connection, dataset), tags_of(connection, dataset)
    row_type = connection.scalar(sa.select(tables.dataset.c.row_type).where(tables.dataset.c.name == dataset))
    select = {}
    for n in sorted({*numbers[-KEEP:], *tags.values()}):
        slots = slots_in(connection, dataset, n).values()
        select[n] = _select(store, [slot.content for slot in slots], ROW_TYPES[str(row_type)])
        yield f"@{n}", select[n]
    for tag, n in tags.items():
        yield f"@{tag}", select[n]
    yield "", select[numbers[-1]]
    yield "!dropped", _select(store, _dropped(slots_in(connection, dataset, numbers[-1]).values()), Dropped)


def _dropped(slots: Any) -> list[str]:
    found: list[Slot] = list(slots)
    return [slot.dropped for slot in found if slot.dropped is not None]


def _select(store: Store, contents: Sequence[str], row_type: type) -> str:
    if not contents:
        columns = (f'CAST(NULL AS {_duckdb_type(field.type)}) AS "{field.name}"' for field in arrow_schema(row_type))
        return f"SELECT {', '.join(columns)} WHERE false"
    files = ", ".join(f"'{_quoted(store.objects.path(content))}'" for content in contents)
    return f"SELECT * FROM read_parquet([{files}], hive_partitioning=false)"


def _duckdb_type(kind: pa.DataType) -> str:
    return f"{_duckdb_type(kind.value_type)}[]" if pa.types.is_list(kind) else _DUCKDB[kind]


def _copy_tables(connection: Connection, duck: duckdb.DuckDBPyConnection) -> None:
    """The catalog as plain tables; times as timestamps in UTC."""
    duck.execute("CREATE SCHEMA catalog")
    for table in tables.metadata.sorted_tables:
        if table.name in ("schema_version", "arrow_schema"):
            continue
        rows = connection.execute(sa.select(table)).all()
        columns = {}
        for i, column in enumerate(table.columns):
            array = pa.array([row[i] for row in rows], _ARROW[type(column.type)])
            columns[column.name] = _timestamps(array) if column.name == "at" or column.name.endswith("_at") else array
        duck.register("copied", pa.table(columns))
        duck.execute(f'CREATE TABLE catalog."{table.name}" AS SELECT * FROM copied')
        duck.unregister("copied")


def _timestamps(seconds: pa.Array) -> pa.Array:
    return pa.array([None if s is None else round(s * 1e6) for s in seconds.to_pylist()], pa.timestamp("us"))


def _ledger_files(store: Store) -> list[Path]:
    return sorted((store.root / "ledger").glob("*.parquet"))


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
