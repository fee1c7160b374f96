"""Follow one row through the factory: backwards to its origin, forwards to all that was made of it, with the model calls on the way.

Works on the latest versions, along the inputs that each version records, so that equal ids of unrelated datasets never mix.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as pads

from storage.store import Store
from storage.versions import Version

_NOT_PARENTS = {"source_id", "call_id"}


def trace(store: Store, row_id: str) -> list[dict[str, Any]]:
    """One line a row met: direction, dataset, id, the row itself, and the ledger's record where the row is a model's reply."""
    heads = store.heads()
    lines: list[dict[str, Any]] = []
    for head in heads:
        for row in _rows(store, head, "id", {row_id}):
            lines.append(_line(store, "row", head, row))
            lines += _backwards(store, head, row, set())
            lines += _forwards(store, heads, head, {row_id}, set())
    return lines


def _line(store: Store, direction: str, version: Version, row: dict[str, Any]) -> dict[str, Any]:
    line: dict[str, Any] = {"direction": direction, "dataset": version.spec, "id": row["id"], "row": row}
    if row.get("call_id"):
        call = store.ledger.get([row["call_id"]]).get(row["call_id"])
        if call:
            asked = {"model": call.model, "seed": call.seed, "request": call.request, "at": call.at, "run": call.run_id}
            line["row"] = {**row, "call": asked}
    return line


def _rows(store: Store, version: Version, column: str, values: set[str]) -> list[dict[str, Any]]:
    """The rows of a version whose `column` is one of `values`; list columns match by any element."""
    files = [str(f) for f in store.files(version)]
    if not files:
        return []
    data = pads.dataset(files, format="parquet")
    if column not in data.schema.names:
        return []
    if data.schema.field(column).type == "string":
        return data.to_table(filter=pc.field(column).isin(sorted(values))).to_pylist()
    return [row for row in data.to_table().to_pylist() if values & set(row[column])]


def _parents(row: dict[str, Any]) -> set[str]:
    single = {v for k, v in row.items() if k.endswith("_id") and k not in _NOT_PARENTS and v}
    return single | set(row.get("parent_ids") or ())


def _backwards(store: Store, version: Version, row: dict[str, Any], seen: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    wanted = _parents(row)
    for name, n in sorted(set(version.inputs.values())):
        parent_version = store.resolve(f"{name}@{n}")
        for parent in _rows(store, parent_version, "id", wanted) if wanted else []:
            if (name, parent["id"]) not in seen:
                seen.add((name, parent["id"]))
                yield _line(store, "from", parent_version, parent)
                yield from _backwards(store, parent_version, parent, seen)


def _forwards(store: Store, heads: list[Version], version: Version, ids: set[str], seen: set[str]) -> Iterator[dict[str, Any]]:
    for head in heads:
        if version.dataset not in {name for name, _ in head.inputs.values()} or head.dataset in seen:
            continue
        children: dict[str, dict[str, Any]] = {}
        for column in _reference_columns(store, head):
            children |= {row["id"]: row for row in _rows(store, head, column, ids)}
        if children:
            seen.add(head.dataset)
            yield from (_line(store, "made", head, row) for row in children.values())
            yield from _forwards(store, heads, head, set(children), seen)


def _reference_columns(store: Store, version: Version) -> list[str]:
    files = store.files(version)
    names = pads.dataset([str(files[0])], format="parquet").schema.names if files else []
    return [n for n in names if (n.endswith("_id") and n not in _NOT_PARENTS) or n == "parent_ids"]
