"""Shards: the rows that one stage made of one part, found again by the hash of the recipe that made them (exactly once, first commit wins).

Crash-safe by order: objects are whole on disk before the one transaction that names them; a kill before it leaves an orphan file for `gc`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy import Connection

from storage import catalog as tables
from storage.balance import Balance
from storage.errors import StoreError, UnbalancedError
from storage.ids import canonical, digest
from storage.objects import ObjectInfo, schema_text
from storage.schemas import Dropped, arrow_schema, row_type_of

if TYPE_CHECKING:
    from storage.store import Store

BATCH = 500
"""Keys a query: below the parameter limit of every SQLite."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A committed shard. `content` and `dropped` name objects; `dropped` is None where every input row was kept."""

    key: str
    dataset: str
    part: str
    stage: str
    content: str
    dropped: str | None
    n_rows: int
    balance: Balance
    complete: bool
    stats: dict[str, Any]
    run_id: str
    seconds: float
    created_at: float


def shard_key(recipe: Mapping[str, Any]) -> str:
    """The key of a shard: 40 hex digits of sha256 over the canonical JSON of everything that decides its rows."""
    return digest(recipe)


def lookup_many(store: Store, keys: Sequence[str], complete_only: bool = True) -> dict[str, Shard]:
    """The shards among `keys` that need not be computed: complete, their objects on disk; without `complete_only`, the incomplete too."""
    found = {}
    with store.catalog.read() as connection:
        for row in shard_rows(connection, keys):
            if row.content is not None and (row.complete or not complete_only) and on_disk(store, row):
                found[row.shard_key] = _shard(row)
    return found


def shard_rows(connection: Connection, keys: Sequence[str]) -> Iterator[sa.Row[Any]]:
    """The catalog's rows of `keys`, evicted and incomplete ones too."""
    for start in range(0, len(keys), BATCH):
        yield from connection.execute(sa.select(tables.shard).where(tables.shard.c.shard_key.in_(keys[start : start + BATCH])))


def recipe_of(store: Store, key: str) -> dict[str, Any] | None:
    """The recipe stored for a key."""
    with store.catalog.read() as connection:
        text = connection.scalar(sa.select(tables.shard.c.recipe).where(tables.shard.c.shard_key == key))
    return json.loads(text) if text is not None else None


def commit(
    store: Store,
    *,
    key: str,
    dataset: str,
    part: str,
    stage: str,
    recipe: Mapping[str, Any],
    rows: pa.Table,
    dropped: pa.Table,
    balance: Balance,
    stats: Mapping[str, Any],
    run_id: str,
    seconds: float,
) -> Shard:
    """Store a computed shard and return the one that holds the key from now on (see `Store.commit`)."""
    where = f"{dataset} {part}"
    balance.check()
    check_rows(rows, where)
    check_rows(dropped, f"{where} dropped")
    _check_counts(where, rows, dropped, balance)
    footer = {
        "mathmill.key": key,
        "mathmill.dataset": dataset,
        "mathmill.part": part,
        "mathmill.recipe": canonical(recipe).decode(),
    }
    values = {
        "shard_key": key,
        "dataset": dataset,
        "part": part,
        "stage": stage,
        "recipe": footer["mathmill.recipe"],
        "n_rows": rows.num_rows,
        "balance": balance.to_json(),
        "quarantined": balance.quarantined,
        "complete": balance.quarantined == 0,
        "run_id": run_id,
        "seconds": seconds,
        "stats": canonical(stats).decode(),
    }
    while True:  # a second time only if `gc` took the files in between
        made = [(rows, store.objects.write(rows, footer))]
        if dropped.num_rows:
            made.append((dropped, store.objects.write(dropped, footer)))
        with store.catalog.write() as connection:
            if all(store.objects.exists(info.content) for _, info in made):
                return _enter(store, connection, values, made)


def _enter(store: Store, connection: Connection, values: dict[str, Any], made: list[tuple[pa.Table, ObjectInfo]]) -> Shard:
    """The one transaction of a commit: objects, then the shard unless somebody else's holds the key."""
    now = time.time()
    for table, info in made:
        _enter_object(store, connection, table, info, now)
    by_key = tables.shard.c.shard_key == values["shard_key"]
    there = connection.execute(sa.select(tables.shard).where(by_key)).one_or_none()
    values = {**values, "content": made[0][1].content, "dropped": made[1][1].content if len(made) > 1 else None, "created_at": now}
    if there is None:
        connection.execute(tables.shard.insert().values(values))
    elif there.content is None or not on_disk(store, there) or values["quarantined"] < there.quarantined:
        connection.execute(tables.shard.update().where(by_key).values(values))
    return _shard(connection.execute(sa.select(tables.shard).where(by_key)).one())


def _enter_object(store: Store, connection: Connection, table: pa.Table, info: ObjectInfo, now: float) -> None:
    body = schema_text(table.schema)
    schema_id = digest(body)
    if connection.scalar(sa.select(tables.arrow_schema.c.schema_id).where(tables.arrow_schema.c.schema_id == schema_id)) is None:
        row_type = row_type_of(table.schema).__name__
        connection.execute(tables.arrow_schema.insert().values(schema_id=schema_id, row_type=row_type, body=body))
    if connection.scalar(sa.select(tables.stored.c.content).where(tables.stored.c.content == info.content)) is None:
        connection.execute(
            tables.stored.insert().values(
                content=info.content,
                path=store.objects.relative(info.content),
                n_rows=info.n_rows,
                n_bytes=info.n_bytes,
                schema_id=schema_id,
                created_at=now,
            )
        )


def check_rows(table: pa.Table, where: str) -> None:
    """Raises StoreError unless the table has exactly the columns of its row class, no forbidden null, and ids in strictly rising order."""
    want = arrow_schema(row_type_of(table.schema))
    if not table.schema.equals(want):
        raise StoreError(f"{where}: the columns are {_columns(table.schema)}, {row_type_of(table.schema).__name__} has {_columns(want)}")
    for column, field in zip(table.columns, want, strict=True):
        if not field.nullable and column.null_count:
            raise StoreError(f"{where}: column {field.name!r} must not be null, {column.null_count} rows are")
    ids = table.column("id")
    rising = pc.greater(ids.slice(1), ids.slice(0, max(len(ids) - 1, 0)))
    if not pc.all(rising, min_count=0).as_py():
        bad = ids[pc.index(rising, False).as_py() + 1].as_py()
        raise StoreError(f"{where}: id {bad!r} is repeated or out of order: rows are sorted by id, one an id (storage.schemas.to_table)")


def _check_counts(where: str, rows: pa.Table, dropped: pa.Table, balance: Balance) -> None:
    if row_type_of(dropped.schema) is not Dropped:
        raise StoreError(f"{where}: dropped rows are of class Dropped, not {row_type_of(dropped.schema).__name__}")
    if rows.num_rows != balance.rows_out:
        raise UnbalancedError(f"{where}: the table has {rows.num_rows} rows, the balance says {balance.rows_out}")
    rejected: dict[str, int] = {}
    quarantined = 0
    for fate, reason in zip(dropped.column("fate").to_pylist(), dropped.column("reason").to_pylist(), strict=True):
        if fate == "quarantined":
            quarantined += 1
        else:
            rejected[reason] = rejected.get(reason, 0) + 1
    if rejected != {reason: n for reason, n in balance.rejected.items() if n} or quarantined != balance.quarantined:
        raise UnbalancedError(
            f"{where}: the dropped rows are {rejected} rejected and {quarantined} quarantined, "
            f"the balance says {dict(balance.rejected)} and {balance.quarantined}"
        )


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{f.name} {f.type}{'?' if f.nullable else ''}" for f in schema)


def on_disk(store: Store, row: sa.Row[Any]) -> bool:
    return all(store.objects.exists(content) for content in (row.content, row.dropped) if content is not None)


def _shard(row: sa.Row[Any]) -> Shard:
    return Shard(
        key=row.shard_key,
        dataset=row.dataset,
        part=row.part,
        stage=row.stage,
        content=row.content,
        dropped=row.dropped,
        n_rows=row.n_rows,
        balance=Balance.from_json(row.balance),
        complete=bool(row.complete),
        stats=json.loads(row.stats),
        run_id=row.run_id,
        seconds=row.seconds,
        created_at=row.created_at,
    )
