"""Publishing: one write transaction turns committed shards into the next version of a dataset, whole or not at all.

Publishers of a catalog serialise; publishing what the head already holds returns the head.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import Connection

from storage import catalog as tables
from storage.balance import Balance
from storage.errors import CertificateError, HeadMoved, StoreError
from storage.ids import canonical, check_dataset_name
from storage.schemas import ROW_TYPES
from storage.shards import BATCH, on_disk, shard_rows
from storage.versions import Kind, Slot, Version, digest_of_slots, fetch, head_number, slots_in, tags_of

if TYPE_CHECKING:
    from storage.store import Store

RESERVED = ("catalog", "information_schema", "ledger", "main", "memory", "pg_catalog", "system", "temp", "warehouse")
"""First parts of a dataset name that mean something else in DuckDB: schemas of its own and ours, and names of databases."""

_TAG = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Request:
    """What a publisher asks for, beside the shards."""

    dataset: str
    kind: Kind
    scope: str | None = None
    buckets: int | None = None
    expect_head: int | None = None
    inputs: Mapping[str, tuple[str, int]] | None = None
    meta: Mapping[str, Any] | None = None
    run_id: str = ""


def wanted(store: Store, connection: Connection, request: Request, shards: Mapping[str, str]) -> dict[str, Slot]:
    """The slots that publishing `shards` (part: shard key) would give. Raises StoreError for shards that are not there."""
    if request.kind not in ("replace", "patch"):
        raise StoreError(f"no kind of publication {request.kind!r}: have ['replace', 'patch']")
    if request.scope is not None and request.kind != "patch":
        raise StoreError(f"scope {request.scope!r} goes with kind 'patch': kind 'replace' takes every part of {request.dataset}")
    outside = [part for part in shards if not part.startswith(request.scope or "")]
    if outside:
        raise StoreError(f"parts {outside[:5]} are outside the scope {request.scope!r}")
    kept: dict[str, Slot] = {}
    head = head_number(connection, request.dataset)
    if request.kind == "patch" and head is not None:
        kept = slots_in(connection, request.dataset, head)
        if request.scope is not None:
            kept = {part: slot for part, slot in kept.items() if not part.startswith(request.scope)}
    want = {**kept, **_slots_of(store, connection, request.dataset, shards)}
    if not want:
        raise StoreError(f"nothing to publish as {request.dataset}: no parts were given")
    return dict(sorted(want.items()))


def _slots_of(store: Store, connection: Connection, dataset: str, shards: Mapping[str, str]) -> dict[str, Slot]:
    rows = {row.shard_key: row for row in shard_rows(connection, sorted(set(shards.values())))}
    sizes = _sizes(connection, [row.content for row in rows.values() if row.content])
    slots, missing = {}, []
    for part, key in shards.items():
        row = rows.get(key)
        if row is None or row.content is None or not on_disk(store, row):
            missing.append(f"{part} ({key})")
            continue
        balance = Balance.from_json(row.balance)
        balance.check()
        slots[part] = Slot(part, key, row.content, row.dropped, row.n_rows, sizes[row.content], balance)
    if missing:
        raise StoreError(f"{dataset}: {len(missing)} shards are not in the store: {missing[:5]}: compute and commit them first")
    return slots


def _sizes(connection: Connection, contents: Sequence[str]) -> dict[str, int]:
    o, found = tables.stored, {}
    for start in range(0, len(contents), BATCH):
        query = sa.select(o.c.content, o.c.n_bytes).where(o.c.content.in_(contents[start : start + BATCH]))
        found.update({row.content: row.n_bytes for row in connection.execute(query)})
    return found


def publish_in(store: Store, connection: Connection, request: Request, shards: Mapping[str, str]) -> Version:
    """Publish inside a write transaction."""
    check_new_name(request.dataset)
    want = wanted(store, connection, request, shards)
    return write_version(connection, request, want)


def write_version(connection: Connection, request: Request, want: dict[str, Slot]) -> Version:
    """Make `want` the head of the dataset, or return the head that already holds exactly that."""
    schema_id, row_type = _one_schema(connection, request.dataset, want)
    _enter_dataset(connection, request, row_type)
    head = head_number(connection, request.dataset)
    have = slots_in(connection, request.dataset, head) if head is not None else {}
    meta = dict(request.meta or {})
    if head is not None and have == want:
        current = fetch(connection, request.dataset, head)
        if meta.get("certificate") in (None, current.meta.get("certificate")):
            return current
    if request.expect_head is not None and request.expect_head != (head or 0):
        expected = f"@{request.expect_head}" if request.expect_head else "not to exist"
        raise HeadMoved(
            f"{request.dataset} is at {f'@{head}' if head else 'no version'}, expected {expected}: "
            "another run published in between; run again on its result, or publish a patch of your own parts"
        )
    _check_certificate(request.dataset, row_type, digest_of_slots(want), meta)
    n = (head or 0) + 1
    _enter_version(connection, request, want, schema_id, n, head)
    _move_slots(connection, request.dataset, have, want, n)
    _enter_inputs(connection, request, n)
    return fetch(connection, request.dataset, n)


def check_new_name(dataset: str) -> None:
    """Whether a dataset can be published under this name. Raises ValueError or StoreError."""
    check_dataset_name(dataset)
    if dataset.partition(".")[0] in RESERVED and "." in dataset:
        raise StoreError(f"no dataset can be named {dataset!r}: {RESERVED} mean something else in DuckDB; choose another --name")


def _one_schema(connection: Connection, dataset: str, want: Mapping[str, Slot]) -> tuple[str, str]:
    """(schema id, row class) of all objects of a version."""
    o, a = tables.stored, tables.arrow_schema
    contents = sorted({slot.content for slot in want.values()})
    found: dict[str, str] = {}
    for start in range(0, len(contents), BATCH):
        query = sa.select(a.c.schema_id, a.c.row_type).join(o, o.c.schema_id == a.c.schema_id).distinct()
        query = query.where(o.c.content.in_(contents[start : start + BATCH]))
        found.update({row.schema_id: row.row_type for row in connection.execute(query)})
    if len(found) != 1:
        raise StoreError(
            f"{dataset}: its shards have {len(found)} schemas ({sorted(found.values())}), a version has one: "
            "recompute the other parts, or publish under a new name"
        )
    return next(iter(found.items()))


def _enter_dataset(connection: Connection, request: Request, row_type: str) -> None:
    d = tables.dataset
    there = connection.execute(sa.select(d).where(d.c.name == request.dataset)).one_or_none()
    if there is None:
        row = {"name": request.dataset, "buckets": request.buckets, "row_type": row_type, "created_at": time.time()}
        connection.execute(d.insert().values(row))
        return
    if there.row_type != row_type:
        raise StoreError(f"{request.dataset} holds {there.row_type} rows, not {row_type}: publish under a new name")
    if request.buckets is not None and there.buckets is None:
        connection.execute(d.update().where(d.c.name == request.dataset).values(buckets=request.buckets))
    elif request.buckets not in (None, there.buckets):
        raise StoreError(
            f"{request.dataset} was first published with {there.buckets} buckets a round, not {request.buckets}: "
            f"use {there.buckets}, or publish under a new name"
        )


def _check_certificate(dataset: str, row_type: str, version_digest: str, meta: Mapping[str, Any]) -> None:
    """Nothing trains on what it will be tested on: rows to train on need proof that covers exactly these rows."""
    if not getattr(ROW_TYPES[row_type], "trains", False):
        return
    certificate = meta.get("certificate")
    way_out = "run the contamination stage on exactly these rows and publish with its certificate in meta['certificate']"
    if not isinstance(certificate, Mapping):
        raise CertificateError(f"{dataset} holds rows to train on ({row_type}) and has no contamination certificate: {way_out}")
    if certificate.get("version_digest") != version_digest:
        found = certificate.get("version_digest")
        raise CertificateError(f"{dataset}: the certificate is for digest {found}, these rows have {version_digest}: {way_out}")
    if certificate.get("hits") != []:
        hits = certificate.get("hits", "no `hits` at all")
        raise CertificateError(f"{dataset}: the certificate lists hits ({hits!r:.200}): reject the contaminated rows, then {way_out}")
    recall, floor = (certificate.get("planted_recall") or {}).get("recall", 1), certificate.get("recall_floor", 0)
    if recall < floor:
        raise CertificateError(
            f"{dataset}: the rule finds {recall:.1%} of planted copies of the protected texts, which is below the floor of {floor:.1%}: "
            'use a stronger rule (preset = "default"), or lower recall_floor in the settings of the contamination stage'
        )


def _enter_version(connection: Connection, request: Request, want: Mapping[str, Slot], schema_id: str, n: int, head: int | None) -> None:
    balance = Balance.total([slot.balance for slot in want.values()])
    row = {
        "dataset": request.dataset,
        "n": n,
        "parent": head,
        "kind": request.kind,
        "digest": digest_of_slots(want),
        "schema_id": schema_id,
        "n_shards": len(want),
        "n_rows": sum(slot.n_rows for slot in want.values()),
        "n_bytes": sum(slot.n_bytes for slot in want.values()),
        "balance": balance.to_json(),
        "n_quarantined": balance.quarantined,
        "complete": balance.quarantined == 0,
        "meta": canonical(dict(request.meta or {})).decode(),
        "run_id": request.run_id,
        "created_at": time.time(),
    }
    connection.execute(tables.version.insert().values(row))


def _move_slots(connection: Connection, dataset: str, have: Mapping[str, Slot], want: Mapping[str, Slot], n: int) -> None:
    """End the slots that version n no longer holds, begin the new ones."""
    s = tables.slot
    ended = [part for part, slot in have.items() if want.get(part) != slot]
    for start in range(0, len(ended), BATCH):
        batch = ended[start : start + BATCH]
        connection.execute(s.update().where(s.c.dataset == dataset, s.c.n_to.is_(None), s.c.part.in_(batch)).values(n_to=n))
    begun = [
        {
            "dataset": dataset,
            "part": slot.part,
            "shard_key": slot.shard_key,
            "content": slot.content,
            "dropped": slot.dropped,
            "n_rows": slot.n_rows,
            "n_bytes": slot.n_bytes,
            "balance": slot.balance.to_json(),
            "n_from": n,
        }
        for part, slot in want.items()
        if have.get(part) != slot
    ]
    if begun:
        connection.execute(s.insert(), begun)


def _enter_inputs(connection: Connection, request: Request, n: int) -> None:
    for role, (name, number) in (request.inputs or {}).items():
        fetch(connection, name, number)
        row = {"dataset": request.dataset, "n": n, "role": role, "in_dataset": name, "in_n": number}
        connection.execute(tables.version_input.insert().values(row))


def set_tag(connection: Connection, dataset: str, name: str, n: int, who: str, why: str) -> None:
    """Point a tag at a version and log who moved it, from where, and why."""
    if not _TAG.fullmatch(name) or name == "latest":
        raise StoreError(f"no tag name {name!r}: use lower-case letters, digits, _ and -, beginning with a letter; `latest` is the head")
    fetch(connection, dataset, n)
    old = tags_of(connection, dataset).get(name)
    if old == n:
        return
    r = tables.ref
    if old is None:
        connection.execute(r.insert().values(dataset=dataset, name=name, n=n))
    else:
        connection.execute(r.update().where(r.c.dataset == dataset, r.c.name == name).values(n=n))
    row = {"dataset": dataset, "name": name, "n_old": old, "n_new": n, "who": who, "why": why, "at": time.time()}
    connection.execute(tables.ref_log.insert().values(row))


def revert_in(connection: Connection, dataset: str, n: int, run_id: str) -> Version:
    """Make a new version that holds what version n holds, with its metadata."""
    old = fetch(connection, dataset, n)
    request = Request(dataset, "revert", inputs=old.inputs, meta={**old.meta, "reverted_to": n}, run_id=run_id)
    return write_version(connection, request, slots_in(connection, dataset, n))
