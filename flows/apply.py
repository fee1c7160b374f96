"""One stage on a plain file, no store: a line out for every line in, in order. Model calls are kept in a ledger beside the output."""

import dataclasses
import functools
import importlib
import json
import pkgutil
import typing
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, TypeAdapter, ValidationError

import tasks
from flows.config import assign, did_you_mean, explained
from flows.graph import UsageError
from flows.sources import open_source
from models import loop
from models.engine import Backend, Engine, Ticket
from models.refs import EngineSpec, open_backend
from storage.ledger import open_ledger
from storage.schemas import Problem, to_table
from tasks.maths.records import pick
from tasks.runner import Inputs, StageError, run_stage
from tasks.stage import Stage, StageConfig


def stage_names() -> list[str]:
    return [s.name for s in all_stages()]


def all_stages() -> list[Stage]:
    """Every stage: the object of the module's own name in each module of `tasks`."""
    found = []
    for module in sorted(m.name for m in pkgutil.iter_modules(tasks.__path__)):
        candidate = getattr(importlib.import_module(f"tasks.{module}"), module, None)
        if isinstance(candidate, Stage):
            found.append(candidate)
    return found


def apply_stage(name: str, source: Path, target: Path, sets: Sequence[str]) -> dict[str, int]:
    """Counts by fate: kept, rejected, quarantined. The output appears whole or not at all."""
    stage = next((s for s in all_stages() if s.name == name), None)
    if stage is None:
        raise UsageError(f"no stage {name!r}: have {stage_names()}{did_you_mean(name, stage_names())}")
    _check_target(target)
    records = [_checked(record_id, record) for record_id, record in open_source(source).records()]
    lines = list(_plain(stage, records, sets) if stage.plain else _by_schema(stage, records, sets, target))
    _write(target, lines)
    return dict(Counter("rejected" if "rejected" in x else "quarantined" if "quarantined" in x else "kept" for x in lines))


def _check_target(target: Path) -> None:
    """Whether the output can be written, asked before any model is."""
    if target.suffix not in (".jsonl", ".json", ".parquet"):
        raise UsageError(f"cannot write {target}: give a file ending in .jsonl or .parquet")
    if target.is_dir() or not target.parent.is_dir():
        what = "it is a folder" if target.is_dir() else f"there is no folder {target.parent}"
        raise UsageError(f"cannot write {target}: {what}")


def _checked(record_id: str, record: Any) -> dict[str, Any]:
    """The record with an id: its own as text, or the number of its line."""
    if isinstance(record, Exception):
        raise ValueError(f"{record}; mend the line or leave it out")
    given = record.get("id")
    return {**record, "id": record_id.rpartition(":")[2] if given in (None, "") else str(given)}


def _config(stage: str, config_type: type[StageConfig], sets: Sequence[str]) -> StageConfig:
    values: dict[str, Any] = {}
    for text in sets:
        assign(values, text, "FIELD=VALUE")
    try:
        return config_type.model_validate(values)
    except ValidationError as error:
        raise UsageError("\n".join(explained(config_type, stage, e) for e in error.errors())) from error


# Stages with a plain form


def _plain(stage: Stage, records: list[dict[str, Any]], sets: Sequence[str]) -> Iterator[dict[str, Any]]:
    assert stage.plain
    hints = typing.get_type_hints(stage.plain)
    row_type, config_type = list(hints.values())[:2]
    config = _config(stage.name, config_type, sets)
    if row_type is pa.Table:
        yield from stage.plain(_table(records), config).to_pylist()
        return
    for record in records:
        row = _row(row_type, record)
        try:
            yield dataclasses.asdict(stage.plain(row, config))
        except ValueError:
            raise
        except Exception as error:
            raise StageError(f"stage {stage.name!r}, row {record['id']}: {type(error).__name__}: {error}") from error


def _table(records: list[dict[str, Any]]) -> pa.Table:
    """The records as columns; a column of several types is one of JSON texts."""
    columns: dict[str, pa.Array] = {}
    for name in dict.fromkeys(name for record in records for name in record):
        values = [record.get(name) for record in records]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            columns[name] = pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values])
    return pa.table(columns)


@functools.cache
def _columns(row_type: type) -> dict[str, TypeAdapter[Any]]:
    """What each column takes. Numbers where text is wanted are read as text: files write answers either way."""
    hints = typing.get_type_hints(row_type)
    return {f.name: TypeAdapter(hints[f.name], config=ConfigDict(coerce_numbers_to_str=True)) for f in dataclasses.fields(row_type)}


def _row(row_type: type, record: dict[str, Any]) -> Any:
    fields = {f.name: f for f in dataclasses.fields(row_type)}
    needed = [n for n, f in fields.items() if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    missing = [n for n in needed if n not in record]
    if missing:
        raise ValueError(f"row {record['id']} has no {missing}: it has {sorted(record)}")
    values: dict[str, Any] = {}
    for name, takes in _columns(row_type).items():
        try:
            values |= {name: takes.validate_python(record[name])} if name in record else {}
        except ValidationError as error:
            raise ValueError(f"row {record['id']}: {name} = {record[name]!r:.80}: {error.errors()[0]['msg']}") from error
    return row_type(**values)


# Stages without one: their schemas apply, missing ids are filled


def _by_schema(stage: Stage, records: list[dict[str, Any]], sets: Sequence[str], target: Path) -> Iterator[dict[str, Any]]:
    why = _why_not(stage)
    if why or stage.primary is None:
        raise UsageError(f"stage {stage.name!r} {why}: run it in a recipe (mathmill run)")
    parameter, row_type = stage.primary
    config = _config(stage.name, stage.config_type, sets)
    rows = [_filled(row_type, record) for record in records]
    _check_ids(row.id for row in rows)
    with _engines(stage, config, target) as engines:
        outcome = run_stage(stage, config, Inputs(tables={parameter: to_table(rows, row_type)}, engines=engines))
    made = {row["id"]: row for row in outcome.rows.to_pylist()}
    dropped = {row["id"]: row for row in outcome.dropped.to_pylist()}
    for row in rows:
        if row.id in dropped:
            fate = dropped[row.id]
            yield {"id": row.id, fate["fate"]: fate["reason"], "detail": fate["detail"]}
        else:
            results = [made[child] for child in outcome.parents[row.id]]
            yield results[0] if len(results) == 1 else {"id": row.id, "rows": results}


def _why_not(stage: Stage) -> str:
    """Why a stage cannot work on one file of rows; empty where it can."""
    if stage.sources:
        return "brings files into a store"
    if stage.datasets:
        return "takes a whole published dataset"
    if len(stage.row_inputs) > 1:
        return f"takes {', '.join(t.__name__ for t in stage.row_inputs.values())} rows that belong together"
    return "makes rows of its own" if stage.primary is None else "looks at all rows of a dataset" if stage.scope == "dataset" else ""


def _check_ids(ids: Iterable[str]) -> None:
    twice = next((i for i, n in Counter(ids).items() if n > 1), None)
    if twice is not None:
        raise ValueError(f"two rows have the id {twice!r}: give each its own, or none (rows without one take the number of their line)")


@contextmanager
def _engines(stage: Stage, config: StageConfig, target: Path) -> Iterator[dict[str, Engine]]:
    """The stage's models, checked, with a ledger beside the output."""
    backends = {parameter: _backend(stage, parameter, str(getattr(config, parameter))) for parameter in stage.engines}
    ledger = open_ledger(target.with_name(f"{target.name}.ledger.sqlite")) if backends else None
    ticket, concurrency = Ticket("apply", stage.name), getattr(config, "concurrency", 8)
    try:
        for backend in backends.values():
            loop.run(backend.check())
        yield {p: Engine(backend, ledger, ticket=ticket, concurrency=concurrency) for p, backend in backends.items() if ledger}
    finally:
        for backend in backends.values():
            loop.run(backend.close())
        if ledger:
            ledger.close()


def _backend(stage: Stage, parameter: str, ref: str) -> Backend:
    try:
        return open_backend(EngineSpec.parse(ref))
    except ValueError as error:
        raise UsageError(f"stage {stage.name!r} needs a model, --set {parameter}=REF: {error}") from error


def _filled(row_type: type, record: dict[str, Any]) -> Any:
    if row_type is not Problem:
        return _row(row_type, record)
    defaults = {"source": "file", "source_id": None, "answer": None, "answer_type": "none", "redistributable": False}
    text = pick(record, ("problem", "question"))
    if text is None:
        raise ValueError(f"row {record['id']} has no 'problem' (or 'question'): it has {sorted(record)}")
    return _row(row_type, {**defaults, **record, "problem": text})


def _write(target: Path, lines: list[dict[str, Any]]) -> None:
    partial = target.with_name(f".{target.name}.part")
    if target.suffix == ".parquet":
        pq.write_table(_table(lines), partial)
    else:
        with partial.open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    partial.replace(target)
