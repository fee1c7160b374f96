"""Housekeeping: expire old versions, collect what nothing refers to (mark and sweep), and check that the store is what its catalog says."""

from __future__ import annotations

import bisect
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy import Connection

from storage import catalog as tables
from storage.balance import Balance
from storage.checkpoints import damage
from storage.errors import StoreError, UnbalancedError
from storage.locks import sweep
from storage.shards import BATCH
from storage.versions import Version, dataset_names, digest_of_slots, fetch, head_number, live_numbers, slots_in, tags_of

if TYPE_CHECKING:
    from storage.store import Store


TMP_SECONDS = 3600
"""A file in `tmp` is a killed process's when it is older than this: a writer on a busy disk may be slow, but not that slow."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What `gc` removed."""

    slots: int
    """Rows of expired versions in the catalog."""
    shards: int
    """Cached shards whose rows were given up; asked for again they are computed again (the ledger makes that free of calls)."""
    objects: int
    """Objects no longer in the catalog."""
    files: int
    """Files removed, and folders of checkpoints and of killed trainings."""
    n_bytes: int
    """Their size."""


def expire(store: Store, dataset: str, keep_last: int) -> list[int]:
    """Expire all but the last `keep_last` versions; returns their numbers. Tagged ones and inputs of live versions are kept."""
    if keep_last < 1:
        raise StoreError(f"keep_last={keep_last}: at least the head is kept")
    with store.catalog.write() as connection:
        numbers = live_numbers(connection, dataset)
        if not numbers:
            raise StoreError(f"no dataset {dataset!r}: have {dataset_names(connection)}")
        needed = {*numbers[-keep_last:], *tags_of(connection, dataset).values(), *_used_as_input(connection, dataset)}
        old = [n for n in numbers if n not in needed]
        v = tables.version
        for start in range(0, len(old), BATCH):
            batch = old[start : start + BATCH]
            connection.execute(v.update().where(v.c.dataset == dataset, v.c.n.in_(batch)).values(expired_at=time.time()))
    return old


def _used_as_input(connection: Connection, dataset: str) -> list[int]:
    v, i = tables.version, tables.version_input
    live = sa.and_(v.c.dataset == i.c.dataset, v.c.n == i.c.n, v.c.expired_at.is_(None))
    return list(connection.scalars(sa.select(i.c.in_n).join(v, live).where(i.c.in_dataset == dataset)))


# ---- collecting


def gc(store: Store, cache_days: float, grace_s: float) -> Collected:
    """Remove what no live version holds: slots of expired versions, cached shards and work of killed trainings older than
    `cache_days`, then objects, files and checkpoints that nothing names.

    Rows of a version that expired less than `grace_s` ago are kept, for whoever is reading it, and so are files younger than that: they may
    be of a commit that is under way (which would write them again: the grace saves work, not data).
    """
    now = time.time()
    with store.catalog.write() as connection:
        slots = _drop_slots(connection, now - grace_s)
        shards = _evict_shards(connection, now - cache_days * 86_400)
        objects = _drop_objects(connection)
    files, n_bytes = _sweep_files(store, now - grace_s)
    folders = [*_unknown_models(store, now - grace_s), *_abandoned_work(store, now - cache_days * 86_400)]
    n_bytes += sum(_remove(folder) for folder in folders)
    sweep(store.root / "locks")
    return Collected(slots, shards, objects, files + len(folders), n_bytes)


def _drop_slots(connection: Connection, before: float) -> int:
    """Remove the slots that no version holds but those that expired before the given time."""
    s, dead = tables.slot, []
    for dataset in dataset_names(connection):
        numbers = live_numbers(connection, dataset, before)
        for row in connection.execute(sa.select(s.c.part, s.c.n_from, s.c.n_to).where(s.c.dataset == dataset, s.c.n_to.is_not(None))):
            if bisect.bisect_left(numbers, row.n_from) == bisect.bisect_left(numbers, row.n_to):
                dead.append({"d": dataset, "p": row.part, "f": row.n_from})
    if dead:
        where = (s.c.dataset == sa.bindparam("d"), s.c.part == sa.bindparam("p"), s.c.n_from == sa.bindparam("f"))
        connection.execute(s.delete().where(*where), dead)
    return len(dead)


def _evict_shards(connection: Connection, before: float) -> int:
    """Forget the rows, not the recipe, of old shards that fill no slot."""
    s = tables.shard
    unused = ~sa.exists().where(tables.slot.c.shard_key == s.c.shard_key)
    old = sa.and_(s.c.created_at < before, s.c.content.is_not(None), unused)
    return connection.execute(s.update().where(old).values(content=None, dropped=None)).rowcount


def _drop_objects(connection: Connection) -> int:
    o = tables.stored
    columns = (tables.shard.c.content, tables.shard.c.dropped, tables.slot.c.content, tables.slot.c.dropped)
    used = sa.union(*(sa.select(column).where(column.is_not(None)) for column in columns))
    return connection.execute(o.delete().where(o.c.content.not_in(used))).rowcount


def _sweep_files(store: Store, before: float) -> tuple[int, int]:
    """Remove old files that the catalog does not know, and old leftovers in `tmp`: (files, bytes)."""
    candidates = [path for path in (store.root / "objects").glob("*/*.parquet") if _older(path, before)]
    files = n_bytes = 0
    for start in range(0, len(candidates), BATCH):
        batch = {path.stem: path for path in candidates[start : start + BATCH]}
        with store.catalog.write() as connection:  # commits look whether their files are there in the same queue
            known = set(connection.scalars(sa.select(tables.stored.c.content).where(tables.stored.c.content.in_(batch))))
            for content, path in batch.items():
                if content not in known and _older(path, before):
                    files, n_bytes = files + 1, n_bytes + path.stat().st_size
                    path.unlink()
    for path in (store.root / "tmp").iterdir():
        if _older(path, min(before, time.time() - TMP_SECONDS)):
            files, n_bytes = files + 1, n_bytes + _remove(path)
    return files, n_bytes


def _unknown_models(store: Store, before: float) -> list[Path]:
    """Old checkpoint folders that no row of any version or cached shard names."""
    o, a = tables.stored, tables.arrow_schema
    with store.catalog.read() as connection:
        query = sa.select(o.c.content).join(a, o.c.schema_id == a.c.schema_id).where(a.c.row_type == "Checkpoint")
        contents = list(connection.scalars(query))
    known = {id_ for content in contents for id_ in pq.read_table(store.objects.path(content), columns=["id"])["id"].to_pylist()}
    return [folder for folder in (store.root / "checkpoints").glob("*") if folder.name not in known and _older(folder, before)]


def _abandoned_work(store: Store, before: float) -> list[Path]:
    """What killed trainings left to go on from, where nothing was written since."""
    folders = (store.root / "work").glob("*")
    return [folder for folder in folders if all(_older(path, before) for path in (folder, *folder.rglob("*")))]


def _older(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime < before
    except FileNotFoundError:  # its owner was faster
        return False


def _remove(path: Path) -> int:
    """Remove a file or folder; returns its bytes, 0 if another `gc` is removing it too."""
    try:
        files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
        size = sum(p.stat().st_size for p in files)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return 0
    return size


# ---- checking


def fsck(store: Store, deep: bool = False) -> list[str]:
    """What is wrong with the store, one line each; empty if nothing is. `deep` reads every row and every checkpoint's bytes."""
    with store.catalog.read() as connection:
        objects = connection.execute(sa.select(tables.stored).order_by(tables.stored.c.content)).all()
        problems = [*_shard_problems(connection)]
        for dataset in dataset_names(connection):
            for n in live_numbers(connection, dataset):
                problems += _version_problems(connection, fetch(connection, dataset, n))
            problems += _tag_problems(connection, dataset)
    # outside the transaction: hours of reading must not keep the catalog from cleaning up after its writers
    damaged = [line for row in objects for line in _object_problems(store, row, deep)]
    return [*damaged, *problems, *_checkpoint_problems(store, deep)]


def _object_problems(store: Store, row: sa.Row[Any], deep: bool) -> Iterator[str]:
    path = store.objects.path(row.content)
    if not path.is_file():
        yield f"object {row.content}: the file {row.path} is missing"
        return
    if path.stat().st_mode & 0o222:
        yield f"object {row.content}: the file {row.path} is writable: chmod 0444 it after checking it with a deep fsck"
    if deep:
        damaged = store.objects.verify(row.content)
        if damaged:
            yield damaged
        elif (n_rows := pq.read_metadata(path).num_rows) != row.n_rows:
            yield f"object {row.content}: the file has {n_rows} rows, the catalog says {row.n_rows}"


def _shard_problems(connection: Connection) -> Iterator[str]:
    s = tables.shard
    for row in connection.execute(sa.select(s.c.shard_key, s.c.dataset, s.c.part, s.c.balance)):
        try:
            Balance.from_json(row.balance).check()
        except UnbalancedError as error:
            yield f"shard {row.shard_key} ({row.dataset} {row.part}): {error}"


def _version_problems(connection: Connection, version: Version) -> Iterator[str]:
    slots = slots_in(connection, version.dataset, version.n)
    found = (
        len(slots),
        sum(slot.n_rows for slot in slots.values()),
        digest_of_slots(slots),
        Balance.total([s.balance for s in slots.values()]),
    )
    want = (version.n_shards, version.n_rows, version.digest, version.balance)
    for what, is_, should in zip(("shards", "rows", "digest", "balance"), found, want, strict=True):
        if is_ != should:
            yield f"version {version.spec}: its slots have {what} {is_}, the version says {should}"
    head = head_number(connection, version.dataset)
    for name, n in version.inputs.values():
        if n not in live_numbers(connection, name):
            yield f"version {version.spec}: its input {name}@{n} is gone"
    if head is None or version.n > head:
        yield f"version {version.spec} lies beyond the head {head}"


def _tag_problems(connection: Connection, dataset: str) -> Iterator[str]:
    numbers = live_numbers(connection, dataset)
    for tag, n in tags_of(connection, dataset).items():
        if n not in numbers:
            yield f"tag {dataset}@{tag}: version {n} is gone"


def _checkpoint_problems(store: Store, deep: bool) -> Iterator[str]:
    seen = set()
    for dataset in store.datasets():
        for version in store.versions(dataset):
            if version.row_type != "Checkpoint" or version.digest in seen:
                continue
            seen.add(version.digest)
            try:
                rows = store.table(version, ["id", "path"]).to_pylist()
            except StoreError as error:
                yield f"{version.spec}: its checkpoints cannot be told: {error}"
                continue
            for row in rows:
                if problem := damage(store.root, row["path"], row["id"], deep):
                    yield f"{version.spec}: {problem}"
