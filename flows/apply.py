"""One stage on a plain file, no store: a line out for every line in, in order. Model calls are kept in a ledger beside the output."""

import dataclasses
import importlib
import json
import pkgutil
import typing
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

import tasks
from flows.config import did_you_mean, explained, scalar
from flows.graph import UsageError
from flows.sources import open_source
from models import loop
from models.engine import Engine, Ticket
from models.refs import EngineSpec, open_backend
from storage.ids import problem_id
from storage.ledger import open_ledger
from storage.schemas import Problem, to_table
from tasks.runner import Inputs, run_stage
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
    records = [_checked(record_id, record) for record_id, record in open_source(source).records()]
    lines = list(_plain(stage, records, sets) if stage.plain else _by_schema(stage, records, sets, target))
    _write(target, lines)
    return dict(Counter("rejected" if "rejected" in x else "quarantined" if "quarantined" in x else "kept" for x in lines))


def _checked(record_id: str, record: Any) -> dict[str, Any]:
    if isinstance(record, Exception):
        raise ValueError(str(record))
    return {"id": record_id.rpartition(":")[2], **record}


def _config(config_type: type[StageConfig], sets: Sequence[str]) -> StageConfig:
    values: dict[str, Any] = {}
    for text in sets:
        path, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"cannot read --set {text!r}: write FIELD=VALUE")
        *tables, field = path.split(".")
        table = values
        for key in tables:
            table = table.setdefault(key, {})
        table[field] = scalar(value)
    try:
        return config_type.model_validate(values)
    except ValidationError as error:
        raise UsageError("\n".join(explained(config_type, "--set", e) for e in error.errors())) from error


# Stages with a plain form


def _plain(stage: Stage, records: list[dict[str, Any]], sets: Sequence[str]) -> Iterator[dict[str, Any]]:
    assert stage.plain
    hints = typing.get_type_hints(stage.plain)
    row_type, config_type = list(hints.values())[:2]
    config = _config(config_type, sets)
    if row_type is pa.Table:
        yield from stage.plain(pa.Table.from_pylist(records), config).to_pylist()
        return
    for record in records:
        yield dataclasses.asdict(stage.plain(_row(row_type, record), config))


def _row(row_type: type, record: dict[str, Any]) -> Any:
    fields = {f.name: f for f in dataclasses.fields(row_type)}
    needed = [n for n, f in fields.items() if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    missing = [n for n in needed if n not in record]
    if missing:
        raise ValueError(f"row {record['id']} has no {missing}: it has {sorted(record)}, {row_type.__name__} needs {needed}")
    return row_type(**{n: str(v) if n == "id" else v for n, v in record.items() if n in fields})


# Stages without one: their schemas apply, missing ids are filled


def _by_schema(stage: Stage, records: list[dict[str, Any]], sets: Sequence[str], target: Path) -> Iterator[dict[str, Any]]:
    if stage.primary is None or len(stage.row_inputs) > 1 or stage.datasets or stage.scope == "dataset":
        raise UsageError(f"stage {stage.name!r} needs more than the rows of one file: run it in a recipe (mathmill run)")
    parameter, row_type = stage.primary
    rows = [_filled(row_type, record) for record in records]
    config = _config(stage.config_type, sets)
    engines = {p: _engine(stage, config, p, target) for p in stage.engines}
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


def _engine(stage: Stage, config: StageConfig, parameter: str, target: Path) -> Engine:
    backend = open_backend(EngineSpec.parse(str(getattr(config, parameter))))
    loop.run(backend.check())
    ledger = open_ledger(target.with_name(f"{target.name}.ledger.sqlite"))
    return Engine(backend, ledger, ticket=Ticket("apply", stage.name), concurrency=getattr(config, "concurrency", 8))


def _filled(row_type: type, record: dict[str, Any]) -> Any:
    if row_type is Problem:
        text = record.get("problem", record.get("question"))
        defaults = {"source": "file", "source_id": None, "problem": text, "answer": None, "answer_type": "none", "redistributable": False}
        record = {**defaults, **record, "id": record.get("id") or problem_id("file", None, str(text))}
    return _row(row_type, record)


def _write(target: Path, lines: list[dict[str, Any]]) -> None:
    partial = target.with_name(f".{target.name}.part")
    if target.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(lines), partial)
    else:
        with partial.open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    partial.replace(target)
