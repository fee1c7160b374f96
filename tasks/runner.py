"""Run one stage over rows in memory: join, order, run many at once, catch, count. It knows no store and no scheduler."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from models import loop
from models.engine import Engine, EngineError, MissingCall
from storage.schemas import Dropped, Row, arrow_schema, from_table, problem_key, to_table
from tasks.stage import Dataset, Made, ModelFolder, Rejected, Source, Stage, StageConfig, Workdir

Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all)."""


class StageError(Exception):
    """A stage broke its contract or failed on a row; the message names stage and row. Nothing of the part is kept."""


@dataclass
class Inputs:
    """What one run of a stage is given, by parameter name."""

    tables: dict[str, pa.Table] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    engines: dict[str, Engine] = field(default_factory=dict)
    folders: dict[str, ModelFolder] = field(default_factory=dict)
    workdir: Workdir | None = None


@dataclass
class Outcome:
    """What became of the input rows."""

    rows: pa.Table
    """Output rows, sorted by id."""
    dropped: pa.Table
    """`Dropped` rows: rejected and quarantined ones."""
    parents: dict[str, list[str]]
    """Input id -> ids of the output rows made from it, for every kept input row."""

    @property
    def quarantined(self) -> int:
        return self.dropped.column("fate").to_pylist().count("quarantined")

    @property
    def rejected(self) -> dict[str, int]:
        fates = zip(self.dropped.column("fate").to_pylist(), self.dropped.column("reason").to_pylist(), strict=True)
        return dict(sorted(Counter(reason for fate, reason in fates if fate == "rejected").items()))


def run_stage(stage: Stage, config: StageConfig, inputs: Inputs, progress: Progress = lambda done, total: None) -> Outcome:
    """Run `stage` over everything in `inputs` and account for every input row. Raises StageError, or MissingCall under replay."""
    if stage.primary and stage.scope == "part" and not stage.as_table:
        return _run_rows(stage, config, inputs, progress)
    return _run_bulk(stage, config, inputs, progress)


# One row at a time


@dataclass
class _RowResult:
    made: list[Any]
    dropped: Dropped | None


def _run_rows(stage: Stage, config: StageConfig, inputs: Inputs, progress: Progress) -> Outcome:
    assert stage.primary
    parameter, row_type = stage.primary
    rows = from_table(inputs.tables[parameter], row_type)
    fixed = _fixed_arguments(stage, config, inputs)
    belongs = _Belongings(stage, inputs)
    calls = [(row, {parameter: row, **belongs.of(row), **fixed}) for row in rows]
    if stage.is_async:
        results = loop.run(_gather(stage, calls, getattr(config, "concurrency", 8), progress))
    else:
        results = []
        for row, arguments in calls:
            results.append(_one_row(stage, row, arguments))
            progress(len(results), len(calls))
    return _collect(stage, rows, results)


def _fixed_arguments(stage: Stage, config: StageConfig, inputs: Inputs) -> dict[str, Any]:
    """The arguments that are the same for every row."""
    fixed: dict[str, Any] = {**inputs.engines, **inputs.datasets, **inputs.sources, **inputs.folders}
    if stage.config_param:
        fixed[stage.config_param] = config
    if stage.workdir:
        fixed[stage.workdir] = inputs.workdir
    return fixed


class _Belongings:
    """The rows of other inputs, by the problem they belong to."""

    def __init__(self, stage: Stage, inputs: Inputs) -> None:
        self._stage = stage
        self._given = set(inputs.tables)
        self._by_problem: dict[str, dict[str | None, list[Any]]] = {}
        for parameter, row_type in {**stage.one, **stage.many}.items():
            grouped: dict[str | None, list[Any]] = {}
            for row in from_table(inputs.tables[parameter], row_type) if parameter in inputs.tables else []:
                grouped.setdefault(problem_key(row), []).append(row)
            self._by_problem[parameter] = grouped

    def of(self, row: Row) -> dict[str, Any]:
        key = problem_key(row)
        found: dict[str, Any] = {p: self._by_problem[p].get(key, []) for p in self._stage.many if p in self._given}
        found |= {p: None for p in self._stage.many if p not in self._given}
        for parameter, row_type in self._stage.one.items():
            rows = self._by_problem[parameter].get(key, [])
            if len(rows) != 1:
                what = f"needs one {row_type.__name__} of problem {key}, found {len(rows)}"
                raise StageError(f"stage {self._stage.name!r}, row {row.id}: {what}")
            found[parameter] = rows[0]
        return found


def _one_row(stage: Stage, row: Row, arguments: dict[str, Any]) -> _RowResult:
    try:
        result = stage(**arguments)
        items = list(result) if stage.is_generator else [result]
    except Exception as error:
        return _failed(stage, row, error)
    return _sorted_out(stage, row, items)


async def _one_row_async(stage: Stage, row: Row, arguments: dict[str, Any]) -> _RowResult:
    try:
        result = stage(**arguments)
        items = [item async for item in result] if stage.is_generator else [await result]
    except Exception as error:
        return _failed(stage, row, error)
    return _sorted_out(stage, row, items)


def _failed(stage: Stage, row: Row, error: Exception) -> _RowResult:
    """An engine failure may heal: quarantine. Anything else is a bug or bad data: stop, naming the row."""
    if isinstance(error, EngineError) and not isinstance(error, MissingCall):
        return _RowResult([], Dropped(row.id, problem_key(row), "quarantined", "engine failure", str(error)))
    if isinstance(error, MissingCall):
        raise error
    raise StageError(f"stage {stage.name!r}, row {row.id}: {type(error).__name__}: {error}") from error


def _sorted_out(stage: Stage, row: Row, items: list[Any]) -> _RowResult:
    rejections = [i for i in items if isinstance(i, Rejected)]
    made = [i for i in items if not isinstance(i, Rejected)]
    if len(rejections) + bool(made) != 1:
        what = f"gave {len(made)} rows and {len(rejections)} rejections; it must give rows or one reason"
        raise StageError(f"stage {stage.name!r}, row {row.id}: {what}")
    if rejections:
        return _RowResult([], Dropped(row.id, problem_key(row), "rejected", rejections[0].reason, rejections[0].detail))
    return _RowResult(made, None)


async def _gather(stage: Stage, calls: list[tuple[Any, dict[str, Any]]], concurrency: int, progress: Progress) -> list[_RowResult]:
    """All rows, at most `concurrency` under way, results in the order of the rows. The first error cancels the rest."""
    results: list[_RowResult | None] = [None] * len(calls)
    queue = iter(enumerate(calls))
    done = 0

    async def work() -> None:
        nonlocal done
        for position, (row, arguments) in queue:
            results[position] = await _one_row_async(stage, row, arguments)
            done += 1
            progress(done, len(calls))

    workers = [asyncio.create_task(work()) for _ in range(min(concurrency, len(calls)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
    return [r for r in results if r is not None]


def _collect(stage: Stage, rows: list[Any], results: list[_RowResult]) -> Outcome:
    parents = {row.id: [m.id for m in result.made] for row, result in zip(rows, results, strict=True) if result.made}
    table = _rows_table(stage, [m for r in results for m in r.made])
    dropped = to_table([r.dropped for r in results if r.dropped], Dropped)
    return Outcome(table, dropped, parents)


def _rows_table(stage: Stage, rows: Iterable[Any]) -> pa.Table:
    rows = list(rows)
    for row in rows:
        if not isinstance(row, stage.output):
            raise StageError(f"stage {stage.name!r} is declared to give {stage.output.__name__} rows, it gave a {type(row).__name__}")
    table = to_table(rows, stage.output)
    _check_unique(stage, table)
    return table


def _check_unique(stage: Stage, table: pa.Table) -> None:
    ids = table.column("id").to_pylist()
    if len(set(ids)) != len(ids):
        twice = next(i for i, n in Counter(ids).items() if n > 1)
        raise StageError(f"stage {stage.name!r} gave two rows with the id {twice}")


# All rows at once


def _run_bulk(stage: Stage, config: StageConfig, inputs: Inputs, progress: Progress) -> Outcome:
    seen: list[str] = []
    arguments = _fixed_arguments(stage, config, inputs)
    for parameter, row_type in stage.row_inputs.items():
        table = inputs.tables.get(parameter)
        arguments[parameter] = table if stage.as_table or table is None else from_table(table, row_type)
    if stage.primary:
        seen = inputs.tables[stage.primary[0]].column("id").to_pylist()
    for parameter in stage.sources:
        arguments[parameter] = _counted(inputs.sources[parameter], seen)
    tally = _Tally(stage)
    try:
        for item in _items(stage, arguments):
            tally.add(item)
    except (StageError, MissingCall, ValueError):
        raise
    except Exception as error:
        raise StageError(f"stage {stage.name!r}: {type(error).__name__}: {error}") from error
    progress(1, 1)
    counted = seen if stage.primary or stage.sources else None
    return tally.outcome(counted, getattr(config, "count", None), _problem_keys(stage, inputs))


def _counted(source: Source, seen: list[str]) -> Source:
    def records() -> Iterator[tuple[str, Any]]:
        for record_id, record in source.records():
            seen.append(record_id)
            yield record_id, record

    return Source(source.paths, source.digest, records)


def _items(stage: Stage, arguments: dict[str, Any]) -> Iterable[Any]:
    result = stage(**arguments)
    if stage.is_async:
        return loop.run(_drain(result))
    return result if stage.is_generator or isinstance(result, list) else [result]


async def _drain(result: Any) -> list[Any]:
    if isinstance(result, AsyncIterator):
        return [item async for item in result]
    value = await result
    return value if isinstance(value, list) else [value]


def _problem_keys(stage: Stage, inputs: Inputs) -> dict[str, str | None]:
    if not stage.primary or stage.as_table:
        return {}
    return {row.id: problem_key(row) for row in from_table(inputs.tables[stage.primary[0]], stage.primary[1])}


class _Tally:
    """Collects what a bulk stage yields and proves that every input row is accounted for exactly once."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rows: list[Any] = []
        self._tables: list[pa.Table] = []
        self._parents: dict[str, list[str]] = {}
        self._rejected: dict[str, Rejected] = {}

    def add(self, item: Any) -> None:
        if isinstance(item, Rejected):
            key = item.of if item.of is not None else f"{self._stage.name}/{len(self._rejected)}"
            if key in self._rejected:
                raise StageError(f"stage {self._stage.name!r} rejected row {key} twice")
            self._rejected[key] = item
        elif isinstance(item, Made) and isinstance(item.rows, pa.Table):
            self._tables.append(item.rows)
            for parent, child in zip(item.of, item.rows.column("id").to_pylist(), strict=True):
                self._parents.setdefault(parent, []).append(child)
        elif isinstance(item, Made):
            self._rows.append(item.rows)
            for parent in item.of:
                self._parents.setdefault(parent, []).append(item.rows.id)
        else:
            self._rows.append(item)

    def outcome(self, counted: list[str] | None, asked: int | None, problems: dict[str, str | None]) -> Outcome:
        """`counted`: ids of the input rows, or None for a stage that has none and owes `asked` rows."""
        table = _rows_table(self._stage, self._rows)
        if self._tables:
            schema = arrow_schema(self._stage.output)
            cast = [t.cast(schema).replace_schema_metadata(schema.metadata) for t in self._tables]
            table = pa.concat_tables([table, *cast]).sort_by("id")
            _check_unique(self._stage, table)
        if counted is None:
            counted = self._owed(table, asked)
        self._account(counted)
        dropped = [Dropped(i, problems.get(i), "rejected", r.reason, r.detail) for i, r in self._rejected.items()]
        return Outcome(table, to_table(dropped, Dropped), self._parents)

    def _owed(self, table: pa.Table, asked: int | None) -> list[str]:
        """A stage without input rows: each output is its own parent, and the sum must be what was asked for."""
        ids = table.column("id").to_pylist()
        if asked is not None and len(ids) + len(self._rejected) != asked:
            raise StageError(f"stage {self._stage.name!r} was asked for {asked} rows: gave {len(ids)} and {len(self._rejected)} rejections")
        self._parents = {i: [i] for i in ids}
        return [*ids, *self._rejected]

    def _account(self, counted: list[str]) -> None:
        known = set(counted)
        if len(known) != len(counted):
            raise StageError(f"stage {self._stage.name!r}: input ids are not unique")
        both = self._parents.keys() & self._rejected.keys()
        lost = known - self._parents.keys() - self._rejected.keys()
        foreign = (self._parents.keys() | self._rejected.keys()) - known
        for what, ids in (("kept and rejected", both), ("neither kept nor rejected", lost), ("not among its input", foreign)):
            if ids:
                raise StageError(f"stage {self._stage.name!r}: {len(ids)} rows are {what}, the first: {min(ids)}")
