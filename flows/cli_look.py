"""Commands that look at a store: datasets, rows, reasons, differences, origins."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import screen
from flows.graph import UsageError
from flows.places import catalog_url, store_root
from flows.trace import trace as trace_row
from storage.schemas import ROW_TYPES, columns_doc
from storage.store import Store
from storage.views import connect, refresh_views

StoreOption = Annotated[Path | None, typer.Option("--store", help="Folder of the datasets; else $MATHMILL_STORE, else ./mathmill-data")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Rows to show at most")]


def _open(store: Path | None) -> Store:
    root = store_root(store)
    if not root.exists():
        raise UsageError(f"no store at {root}: make one with mathmill run, or say --store DIR")
    return Store.open(root, catalog_url())


def datasets(store: StoreOption = None, json: JsonOption = False) -> None:
    """List the datasets and their latest versions."""
    with _open(store) as opened:
        rows = []
        for head in opened.heads():
            tags = [name for name, n in opened.refs(head.dataset).items() if n == head.n]
            line = {"dataset": head.spec, "rows": head.n_rows, "of": head.row_type, "complete": head.complete}
            rows.append({**line, "tags": ", ".join(tags)})
        screen.show(rows, json, empty="no dataset yet: mathmill run tiny")


def show(spec: str, store: StoreOption = None, json: JsonOption = False) -> None:
    """Show a version: its columns, balance, inputs, settings and certificate."""
    with _open(store) as opened:
        version = opened.resolve(spec)
        screen.facts(
            {
                "version": version.spec,
                "digest": version.digest,
                "rows": version.n_rows,
                "complete": version.complete,
                "balance": asdict(version.balance),
                "inputs": {role: f"{name}@{n}" for role, (name, n) in version.inputs.items()},
                "tags": opened.refs(version.dataset),
                "shards": version.n_shards,
                "bytes": version.n_bytes,
                **version.meta,
            },
            json,
        )
        if not json:
            columns = [{"column": c, "type": t, "meaning": d} for c, t, d in columns_doc(ROW_TYPES[version.row_type])]
            screen.show(columns, False, title=version.row_type)


def rows(spec: str, limit: LimitOption = 10, store: StoreOption = None, json: JsonOption = False) -> None:
    """Show rows of a version."""
    with _open(store) as opened:
        version = opened.resolve(spec)
        found: list[dict[str, Any]] = []
        for slot in opened.slots(version):
            if slot.n_rows and len(found) < limit:
                found += opened.table(version, parts=[slot.part]).slice(0, limit - len(found)).to_pylist()
        screen.show(found, json, empty=f"{spec} has no rows")


def rejected(
    spec: str,
    reason: Annotated[str | None, typer.Option("--reason", help="Only rows dropped for this reason")] = None,
    limit: LimitOption = 10,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show the input rows that gave no output, and why: rejected and quarantined ones."""
    with _open(store) as opened:
        version = opened.resolve(spec)
        found = opened.dropped_table(version).to_pylist()
        reasons = sorted({row["reason"] for row in found})
        if reason is not None and reason not in reasons:
            raise UsageError(f"no row of {version.spec} was dropped for {reason!r}: have {reasons}")
        chosen = [row for row in found if reason in (None, row["reason"])]
        screen.show(chosen[:limit], json, title=f"{len(chosen)} rows", empty=f"no row of {version.spec} was dropped")


def diff(a: str, b: str, limit: LimitOption = 20, store: StoreOption = None, json: JsonOption = False) -> None:
    """Compare two versions: rows added, removed and changed."""
    with _open(store) as opened:
        found = opened.diff_rows(a, b)
        changes: list[dict[str, Any]] = [{"change": "added", "id": i, "columns": ""} for i in found.added]
        changes += [{"change": "removed", "id": i, "columns": ""} for i in found.removed]
        changes += [{"change": "changed", "id": i, "columns": ", ".join(columns)} for i, columns in found.changed.items()]
        title, same = f"{a} -> {b}: {len(changes)} rows differ", f"{a} and {b} hold the same rows"
        screen.show(changes if json else changes[:limit], json, title=title, empty=same)


def explain(spec: str, store: StoreOption = None, json: JsonOption = False) -> None:
    """Say what made each part of a version that has rows: stage, settings, prompts, models and inputs."""
    with _open(store) as opened:
        version = opened.resolve(spec)
        parts = []
        for slot in (s for s in opened.slots(version) if s.n_rows):
            recipe = opened.recipe(slot.shard_key) or {}
            parts.append({"part": slot.part, "rows": slot.n_rows, "shard": slot.shard_key[:12], **{k: v for k, v in recipe.items() if v}})
        screen.show(parts, json)


def trace(row_id: str, store: StoreOption = None, json: JsonOption = False) -> None:
    """Follow a row backwards to its origin and forwards to everything made from it."""
    with _open(store) as opened:
        screen.show(trace_row(opened, row_id), json, empty=f"no row {row_id} in any latest version")


def export(
    spec: str,
    folder: Path,
    include_restricted: Annotated[bool, typer.Option("--include-restricted", help="Also rows that may not be redistributed")] = False,
    format: Annotated[str, typer.Option("--format", help="rows, or for training sets step_dpo, trl or llama_factory")] = "rows",
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Write a version as a Hugging Face folder with a dataset card, or in the form that a trainer reads."""
    from storage.export import export as export_version

    with _open(store) as opened:
        screen.facts(asdict(export_version(opened, spec, folder, include_restricted, format)), json)


def sql(query: str, store: StoreOption = None, json: JsonOption = False) -> None:
    """Ask the datasets in SQL: FROM tiny.difficulty, tiny."difficulty@3", ledger.calls, catalog.version."""
    with _open(store) as opened:
        refresh_views(opened)
        with connect(opened.root) as connection:
            result = connection.sql(query)
            screen.show(result.to_arrow_table().to_pylist() if result is not None else [], json)


def fsck(
    deep: Annotated[bool, typer.Option("--deep", help="Also read every object")] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> int:
    """Check that every object the catalog names is there and whole."""
    with _open(store) as opened:
        problems = opened.fsck(deep)
        screen.show([{"problem": p} for p in problems], json, empty="the store is whole")
        return 1 if problems else 0


def gc(
    keep_last: Annotated[int | None, typer.Option("--keep-last", min=1, help="First expire all but that many versions a dataset")] = None,
    cache_days: Annotated[float, typer.Option("--cache-days", min=0, help="Keep unused shards this long")] = 30,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Remove what no version needs."""
    with _open(store) as opened:
        if keep_last is not None:
            for name in opened.datasets():
                opened.expire(name, keep_last)
        screen.facts(asdict(opened.gc(cache_days=cache_days)), json)


def tag(
    spec: str,
    name: str,
    why: Annotated[str, typer.Option("--why", help="A reason, kept in the log of tags")] = "",
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Give a version a name: mathmill tag tiny.training_set@3 prod."""
    with _open(store) as opened:
        version = opened.resolve(spec)
        opened.tag(version.dataset, name, version.n, who="cli", why=why)
        screen.facts({"tag": f"{version.dataset}@{name}", "version": version.spec}, json)


def revert(spec: str, store: StoreOption = None, json: JsonOption = False) -> None:
    """Publish a new version equal to an old one."""
    with _open(store) as opened:
        old = opened.resolve(spec)
        new = opened.revert(old.dataset, old.n)
        screen.facts({"reverted_to": old.spec, "head": new.spec}, json)


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (datasets, show, rows, rejected, diff, explain, trace, export, sql, fsck, gc, tag, revert):
        app.command()(command)
