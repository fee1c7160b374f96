"""Dataset versions: numbered, immutable lists of shards (interval rows as in DuckLake, tags as in Git). Reading them.

Version n holds the slots with n_from <= n < n_to, so a patch of k parts costs O(k) rows.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from storage import catalog as tables
from storage.balance import Balance
from storage.errors import StoreError
from storage.ids import digest

Kind = Literal["replace", "patch", "revert"]


@dataclass(frozen=True, slots=True)
class Version:
    """A published version."""

    dataset: str
    n: int
    parent: int | None
    kind: Kind
    digest: str
    """Hash of (part, content) of all slots: equal digests, equal rows in equal parts."""
    row_type: str
    n_shards: int
    n_rows: int
    n_bytes: int
    balance: Balance
    """Sum over the shards."""
    complete: bool
    """False while rows of it are in quarantine."""
    meta: dict[str, Any]
    inputs: dict[str, tuple[str, int]]
    """role: (dataset, version) it was made from."""
    run_id: str
    created_at: float

    @property
    def spec(self) -> str:
        return f"{self.dataset}@{self.n}"

    @property
    def n_quarantined(self) -> int:
        return self.balance.quarantined


@dataclass(frozen=True, slots=True)
class Slot:
    """What one part of a version holds."""

    part: str
    shard_key: str
    content: str
    dropped: str | None
    n_rows: int
    n_bytes: int
    balance: Balance


def head_number(connection: Connection, dataset: str) -> int | None:
    return connection.scalar(sa.select(sa.func.max(tables.version.c.n)).where(tables.version.c.dataset == dataset))


def fetch(connection: Connection, dataset: str, n: int) -> Version:
    """One version. Raises StoreError if it does not exist or has expired."""
    v = tables.version
    row = connection.execute(
        sa.select(v, tables.arrow_schema.c.row_type).join(tables.arrow_schema).where(v.c.dataset == dataset, v.c.n == n)
    ).one_or_none()
    if row is None or row.expired_at is not None:
        raise StoreError(f"{'no' if row is None else 'expired'} version {dataset}@{n}: {_available(connection, dataset)}")
    i = tables.version_input
    inputs = connection.execute(sa.select(i).where(i.c.dataset == dataset, i.c.n == n))
    return Version(
        dataset=dataset,
        n=n,
        parent=row.parent,
        kind=row.kind,
        digest=row.digest,
        row_type=row.row_type,
        n_shards=row.n_shards,
        n_rows=row.n_rows,
        n_bytes=row.n_bytes,
        balance=Balance.from_json(row.balance),
        complete=bool(row.complete),
        meta=json.loads(row.meta),
        inputs={r.role: (r.in_dataset, r.in_n) for r in inputs},
        run_id=row.run_id,
        created_at=row.created_at,
    )


def live_numbers(connection: Connection, dataset: str, since: float | None = None) -> list[int]:
    """The versions that have not expired, oldest first; with `since` also those that expired later than that."""
    v = tables.version
    live = v.c.expired_at.is_(None) if since is None else sa.or_(v.c.expired_at.is_(None), v.c.expired_at >= since)
    return list(connection.scalars(sa.select(v.c.n).where(v.c.dataset == dataset, live).order_by(v.c.n)))


def tags_of(connection: Connection, dataset: str) -> dict[str, int]:
    r = tables.ref
    return {row.name: row.n for row in connection.execute(sa.select(r).where(r.c.dataset == dataset).order_by(r.c.name))}


def dataset_names(connection: Connection) -> list[str]:
    return list(connection.scalars(sa.select(tables.dataset.c.name).order_by(tables.dataset.c.name)))


def buckets_of(connection: Connection, dataset: str) -> int | None:
    return connection.scalar(sa.select(tables.dataset.c.buckets).where(tables.dataset.c.name == dataset))


def resolve_in(connection: Connection, spec: str) -> Version:
    """`tiny.difficulty` (latest), `tiny.difficulty@3` or `tiny.difficulty@prod`."""
    name, at, pick = spec.partition("@")
    head = head_number(connection, name)
    if head is None:
        have = dataset_names(connection)
        close = difflib.get_close_matches(name, have, 1)
        raise StoreError(f"no dataset {name!r}{f' (did you mean {close[0]!r}?)' if close else ''}: have {have}")
    if not at or pick == "latest":
        return fetch(connection, name, head)
    if pick.isdecimal() and len(pick) < 10:  # no catalog counts further
        return fetch(connection, name, int(pick))
    tags = tags_of(connection, name)
    if pick not in tags:
        close = difflib.get_close_matches(pick, tags, 1)
        raise StoreError(f"no tag {spec!r}{f' (did you mean {name}@{close[0]}?)' if close else ''}: {_available(connection, name)}")
    return fetch(connection, name, tags[pick])


def _available(connection: Connection, dataset: str) -> str:
    numbers, tags = live_numbers(connection, dataset), tags_of(connection, dataset)
    shown = numbers if len(numbers) <= 12 else [*numbers[:3], "...", *numbers[-8:]]
    return f"{dataset} has the versions {shown} and the tags {['latest', *tags]}"


def slots_in(connection: Connection, dataset: str, n: int) -> dict[str, Slot]:
    """The slots of a version by part, in order of their names."""
    s = tables.slot
    query = sa.select(s).where(s.c.dataset == dataset, s.c.n_from <= n, sa.or_(s.c.n_to.is_(None), s.c.n_to > n))
    found = [
        Slot(r.part, r.shard_key, r.content, r.dropped, r.n_rows, r.n_bytes, Balance.from_json(r.balance))
        for r in connection.execute(query)
    ]
    return {slot.part: slot for slot in sorted(found, key=lambda slot: slot.part)}


def digest_of_slots(slots: Mapping[str, Slot]) -> str:
    return digest_of_contents({part: slot.content for part, slot in slots.items()})


def digest_of_contents(contents: Mapping[str, str]) -> str:
    """The digest of a version that holds these objects (part: object), published or not."""
    return digest([[part, contents[part]] for part in sorted(contents)])
