"""Differences: between two versions (parts, then rows of the changed parts only), and between a recipe and the one that filled a slot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import sqlalchemy as sa

from storage import catalog as tables
from storage.errors import StoreError
from storage.shards import on_disk, shard_key
from storage.versions import Version, head_number, slots_in

if TYPE_CHECKING:
    from storage.store import Store

Explanation = Literal["cached", "incomplete", "never computed", "evicted"] | dict[str, tuple[Any, Any]]

ABSENT = "(absent)"
"""Stands for a leaf that one of two recipes does not have."""


@dataclass(frozen=True, slots=True)
class PartsDiff:
    """Names of parts, sorted: only in the second version, only in the first, in both with other rows."""

    added: list[str]
    removed: list[str]
    changed: list[str]


@dataclass(frozen=True, slots=True)
class RowsDiff:
    """Ids of rows, sorted: only in the second version, only in the first, in both with the columns that differ."""

    added: list[str]
    removed: list[str]
    changed: dict[str, list[str]]


def diff_parts(store: Store, a: Version, b: Version) -> PartsDiff:
    """What changes from version a to version b, by parts; reads no rows."""
    old = {slot.part: slot.content for slot in store.slots(a)}
    new = {slot.part: slot.content for slot in store.slots(b)}
    return PartsDiff(
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        changed=sorted(part for part in old.keys() & new.keys() if old[part] != new[part]),
    )


def diff_rows(store: Store, a: Version, b: Version) -> RowsDiff:
    """What changes from version a to version b, by rows; reads only the parts that differ."""
    if a.row_type != b.row_type:
        raise StoreError(f"{a.spec} holds {a.row_type} rows and {b.spec} {b.row_type}: only rows of one class can be compared")
    parts = diff_parts(store, a, b)
    old = store.table(a, parts=parts.removed + parts.changed)
    new = store.table(b, parts=parts.added + parts.changed)
    old_at = {row_id: i for i, row_id in enumerate(old.column("id").to_pylist())}
    new_at = {row_id: i for i, row_id in enumerate(new.column("id").to_pylist())}
    return RowsDiff(
        added=sorted(new_at.keys() - old_at.keys()),
        removed=sorted(old_at.keys() - new_at.keys()),
        changed=_changed(old, new, [(row_id, old_at[row_id], new_at[row_id]) for row_id in sorted(old_at.keys() & new_at.keys())]),
    )


def _changed(old: pa.Table, new: pa.Table, pairs: list[tuple[str, int, int]]) -> dict[str, list[str]]:
    """Row id: names of the columns that differ, for rows (id, index in old, index in new)."""
    found: dict[str, list[str]] = {}
    for name in [*old.column_names, *(n for n in new.column_names if n not in old.column_names)]:
        one_sided = name not in old.column_names or name not in new.column_names
        before = None if one_sided else old.column(name).to_pylist()
        after = None if one_sided else new.column(name).to_pylist()
        for row_id, i, j in pairs:
            if before is None or after is None or not _same(before[i], after[j]):
                found.setdefault(row_id, []).append(name)
    return found


def _same(a: Any, b: Any) -> bool:
    """Equality as the content hash has it: NaN equals NaN, and 0.0 differs from -0.0."""
    if isinstance(a, float) and isinstance(b, float):
        return repr(a) == repr(b)
    return bool(a == b)


def explain(store: Store, dataset: str, part: str, recipe: Mapping[str, Any]) -> Explanation:
    """Why a shard would be computed: the leaves in which `recipe` differs from the last one that filled the slot, as path: (old, new).

    "cached": it would not. "incomplete": it has rows in quarantine. "evicted": it was computed, gc has removed it.
    """
    s = tables.shard
    with store.catalog.read() as connection:
        row = connection.execute(sa.select(s).where(s.c.shard_key == shard_key(recipe))).one_or_none()
        if row is not None:
            if row.content is None or not on_disk(store, row):
                return "evicted"
            return "cached" if row.complete else "incomplete"
        head = head_number(connection, dataset)
        slot = slots_in(connection, dataset, head).get(part) if head is not None else None
        query = sa.select(s.c.recipe).where(s.c.dataset == dataset, s.c.part == part).order_by(s.c.created_at.desc()).limit(1)
        if slot is not None:
            query = sa.select(s.c.recipe).where(s.c.shard_key == slot.shard_key)
        last = connection.scalar(query)
    return _leaf_diff(json.loads(last), dict(recipe)) if last is not None else "never computed"


def _leaf_diff(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    before, after = dict(_leaves(old)), dict(_leaves(new))
    paths = [*before, *(path for path in after if path not in before)]
    pairs = {path: (before.get(path, ABSENT), after.get(path, ABSENT)) for path in paths}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """(dotted path, value) of everything below that is no container."""
    if isinstance(value, Mapping):
        items = [(str(key), child) for key, child in value.items()]
    elif isinstance(value, list | tuple):
        items = [(str(i), child) for i, child in enumerate(value)]
    else:
        return [(path, value)]
    return [leaf for key, child in items for leaf in _leaves(child, f"{path}.{key}" if path else key)] or [(path, type(value)())]
