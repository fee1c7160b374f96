"""Export of a version as a folder that `datasets.load_dataset` reads: Parquet files, a dataset card, and where every row comes from.

Rows that must not be redistributed stay behind unless told otherwise; for derived rows their problem decides, found through the lineage.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage import formats
from storage.errors import StoreError
from storage.objects import ROW_GROUP, ZSTD_LEVEL
from storage.schemas import ROW_TYPES, Protected, columns_doc, key_column
from storage.versions import Version

if TYPE_CHECKING:
    from storage.store import Store


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written where."""

    folder: Path
    spec: str
    n_rows: int
    n_restricted: int
    """Rows left out because they must not be redistributed."""
    n_files: int


def export(store: Store, spec: str, folder: str | Path, include_restricted: bool = False, form: str = "rows") -> Exported:
    """Write a version to a new `folder`: README.md, version.json, data/train-*.parquet (hard links to the store where possible).

    `form` gives another shape to training sets (`storage.formats`). Raises StoreError if the folder is there and not empty, if nothing
    tells which rows may be redistributed, or for a form that these rows do not have.
    """
    version, folder = store.resolve(spec), Path(folder).absolute()
    if form != "rows":
        formats.shape_of(form, ROW_TYPES[version.row_type])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} is there and not empty: choose another folder, or remove it")
    restricted = pa.array([], pa.string()) if include_restricted else _restricted_problems(store, version)
    staged = folder.with_name(f".{folder.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        staged.mkdir(parents=True)
        written = _write_data if form == "rows" else functools.partial(_write_form, form)
        counts = written(store, version, staged, restricted)
        done = Exported(folder, version.spec, sum(counts), version.n_rows - sum(counts), len(counts))
        lineage = _lineage(store, version)
        facts = json.dumps(_facts(version, done, lineage), indent=1, sort_keys=True, ensure_ascii=False)
        (staged / "version.json").write_text(facts, encoding="utf-8")
        (staged / "README.md").write_text(_card(version, done, lineage, form), encoding="utf-8")
        os.replace(staged, folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return done


def _lineage(store: Store, version: Version) -> list[Version]:
    """Every version that this one was made from, directly or not, nearest first."""
    found: dict[str, Version] = {}
    waiting = [version]
    while waiting:
        for name, n in waiting.pop(0).inputs.values():
            if f"{name}@{n}" not in found:
                found[f"{name}@{n}"] = store.resolve(f"{name}@{n}")
                waiting.append(found[f"{name}@{n}"])
    return list(found.values())


def _restricted_problems(store: Store, version: Version) -> pa.Array:
    """Ids of the problems whose rows must stay behind."""
    if ROW_TYPES[version.row_type] is Protected:
        raise StoreError(f"{version.spec} holds the texts of benchmarks, which are others': export it with include_restricted if you may")
    if key_column(ROW_TYPES[version.row_type]) is None:
        return pa.array([], pa.string())
    sources = [v for v in (version, *_lineage(store, version)) if _says(ROW_TYPES[v.row_type])]
    if not sources:
        raise StoreError(
            f"{version.spec} has no problems among the versions it was made from, so nothing tells which of its rows may be redistributed: "
            "export it with include_restricted if you may"
        )
    return pa.concat_tables([_restricted_keys(store, v) for v in sources]).column("key").combine_chunks()


def _says(row_type: type) -> bool:
    """Whether rows of this class tell what may be redistributed: problems, and the pages they were read from."""
    return {"redistributable", key_column(row_type)} <= row_type.__dataclass_fields__.keys()  # type: ignore[attr-defined]


def _restricted_keys(store: Store, version: Version) -> pa.Table:
    column = key_column(ROW_TYPES[version.row_type]) or "id"
    rows = store.table(version, [column, "redistributable"])
    return rows.filter(pc.invert(rows.column("redistributable"))).select([column]).rename_columns(["key"])


def _write_form(form: str, store: Store, version: Version, folder: Path, restricted: pa.Array) -> list[int]:
    """Rows of the one file written."""
    row_type = ROW_TYPES[version.row_type]
    rows = store.table(version)
    column = key_column(row_type)
    if column and len(restricted):
        rows = rows.filter(pc.invert(pc.is_in(rows.column(column), restricted)))
    formats.write(form, rows, row_type, version.dataset, folder)
    return [rows.num_rows]


def _write_data(store: Store, version: Version, root: Path, restricted: pa.Array) -> list[int]:
    """Rows of each file written. Empty parts give no file, unless there is nothing else."""
    folder = root / "data"
    folder.mkdir()
    slots = [slot for slot in store.slots(version) if slot.n_rows] or store.slots(version)[:1]
    column = key_column(ROW_TYPES[version.row_type])
    counts: list[int] = []
    for i, slot in enumerate(slots):
        target = folder / f"train-{i:05d}-of-{len(slots):05d}.parquet"
        keys = store.objects.read(slot.content, [column]).column(column) if column and len(restricted) else None
        allowed = pc.invert(pc.is_in(keys, restricted)) if keys is not None else None
        if allowed is None or pc.all(allowed, min_count=0).as_py():
            _link(store.objects.path(slot.content), target)
            counts.append(slot.n_rows)
        else:
            rows = store.objects.read(slot.content).filter(allowed)
            pq.write_table(rows, target, compression="zstd", compression_level=ZSTD_LEVEL, row_group_size=ROW_GROUP)
            counts.append(rows.num_rows)
    return counts


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise StoreError(f"object {source.stem} is not in the store: `mathmill fsck` lists what needs it") from None
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _facts(version: Version, done: Exported, lineage: Sequence[Version]) -> dict[str, Any]:
    """What version.json says."""
    return {
        **asdict(version),
        "spec": version.spec,
        "rows_exported": done.n_rows,
        "rows_left_out": done.n_restricted,
        "lineage": [{"spec": v.spec, "digest": v.digest, "n_rows": v.n_rows, "inputs": v.inputs} for v in lineage],
    }


def _card(version: Version, done: Exported, lineage: Sequence[Version], form: str) -> str:
    """The dataset card: configs for `load_dataset`, then what a person wants to know."""
    row_type = ROW_TYPES[version.row_type]
    balance = version.balance
    files = ["configs:", "- config_name: default", "  data_files:", "  - split: train", "    path: data/train-*.parquet"]
    lines = ["---", *files, "---"] if form != "llama_factory" else []
    lines += [f"# {version.spec}", "", (row_type.__doc__ or "").strip(), ""]
    lines += [f"{done.n_rows} rows of class `{version.row_type}`; digest `{version.digest}`."]
    lines += [f"{done.n_restricted} rows are left out because they must not be redistributed."] if done.n_restricted else []
    lines += ["", formats.NOTES[form], "", "## Columns of the rows in the store", ""] if form != "rows" else ["", "## Columns", ""]
    lines += ["| column | type | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {kind} | {meaning.replace('|', chr(92) + '|')} |" for name, kind, meaning in columns_doc(row_type)]
    lines += ["", "## Row balance", "", f"{balance.rows_in} input rows = {balance.kept} kept + {sum(balance.rejected.values())} rejected"]
    lines[-1] += f" + {balance.quarantined} in quarantine; {balance.rows_out} rows out."
    lines += [f"- rejected, {reason}: {n}" for reason, n in balance.rejected.items()]
    lines += ["", "## Lineage", ""]
    lines += [f"- `{v.spec}` ({v.row_type}, {v.n_rows} rows, digest `{v.digest}`)" for v in lineage] or ["Made from no other dataset."]
    certificate = version.meta.get("certificate")
    if certificate:
        lines += ["", "## Contamination certificate", "", "```json", json.dumps(certificate, indent=1, ensure_ascii=False), "```"]
    return "\n".join(lines) + "\n"
