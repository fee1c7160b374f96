"""What a person sees: rich tables and progress bars on a terminal, plain lines elsewhere, JSON where asked."""

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from flows.make import Line, Silent, Watcher
from flows.plan import PlanLine
from storage.schemas import Evaluation

_out = Console(width=None if sys.stdout.isatty() else 200)
_err = Console(stderr=True)


def show(rows: Sequence[Mapping[str, Any]], as_json: bool, title: str = "", empty: str = "nothing to show") -> None:
    """Rows as a table, or as a JSON list."""
    if as_json:
        print(json.dumps([dict(r) for r in rows], ensure_ascii=False, default=str))
        return
    if not rows:
        _out.print(_plain(empty), soft_wrap=True)
        return
    if title:
        _out.print(_plain(title), soft_wrap=True)
    table = Table(header_style="bold")
    for name, value in rows[0].items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        table.add_column(_plain(name), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(v) for v in row.values()))
    _out.print(table)


def facts(values: Mapping[str, Any], as_json: bool) -> None:
    """One thing with its properties."""
    if as_json:
        print(json.dumps(dict(values), ensure_ascii=False, default=str))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in values.items():
        table.add_row(Text(name, "bold"), _cell(value))
    _out.print(table)


def _cell(value: Any) -> Text:
    if isinstance(value, float):
        return Text(f"{value:.4g}")
    if isinstance(value, dict | list):
        return _plain(json.dumps(value, ensure_ascii=False, default=str))
    return _plain("" if value is None else str(value))


_CONTROL = {c: 0x2400 + c for c in range(32) if chr(c) not in "\t\n"} | dict.fromkeys(range(127, 160), 65533)


def _plain(text: str) -> Text:
    """Untrusted text as it is: its brackets are no markup here, its control characters are signs and command no terminal."""
    return Text(text.translate(_CONTROL))


class _Bars:
    """A progress bar a stage, counting rows."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._rows: dict[str, dict[str, tuple[int, int]]] = {}

    def start(self, dataset: str, jobs: int, cached: int) -> None:
        self._tasks[dataset] = self._progress.add_task(dataset, total=None, note="" if cached < jobs else "cached")
        self._rows[dataset] = {}

    def progress(self, dataset: str, job: str, done: int, total: int) -> None:
        rows = self._rows[dataset]
        rows[job] = (done, total)
        sums = [sum(x) for x in zip(*rows.values(), strict=True)]
        self._progress.update(self._tasks[dataset], completed=sums[0], total=sums[1])

    def say(self, line: str) -> None:
        self._progress.console.print(_plain(line))

    def finish(self, line: Line) -> None:
        rows = line.version.balance.rows_in
        note = "cached" if line.cached == line.jobs else f"{line.calls} calls" if line.calls else ""
        self._progress.update(self._tasks[line.dataset], completed=rows, total=rows, note=note)


class _Lines(Silent):
    """One line a stage, for logs."""

    def say(self, line: str) -> None:
        _err.print(_plain(line), highlight=False, soft_wrap=True)

    def finish(self, line: Line) -> None:
        balance = line.version.balance
        rows = f"{balance.rows_in} in, {balance.kept} kept, {balance.rows_out} out"
        _err.print(
            f"{line.version.spec}: {rows}; {line.calls} calls, {line.cached} of {line.jobs} jobs cached", highlight=False, soft_wrap=True
        )


@contextmanager
def watcher(as_json: bool) -> Iterator[Watcher]:
    """Bars on a terminal, lines in a log; both go to stderr, stdout is for results."""
    if as_json or not _err.is_terminal:
        yield _Lines()
        return
    text = (SpinnerColumn(), TextColumn("{task.description}"))
    numbers = (MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*text, BarColumn(), *numbers, console=_err) as progress:
        yield _Bars(progress)


def summary_rows(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """The funnel: what became of the rows, a stage a line."""
    rows = []
    for line in lines:
        balance = line.version.balance
        rows.append(
            {
                "dataset": line.version.spec,
                "in": balance.rows_in,
                "kept": balance.kept,
                "rejected": sum(balance.rejected.values()),
                "quarantined": balance.quarantined,
                "out": balance.rows_out,
                "cached": f"{line.cached}/{line.jobs}",
                "calls": line.calls,
                "why rejected": ", ".join(f"{reason} {n}" for reason, n in balance.rejected.items()),
            }
        )
    return rows


def metric_rows(metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A line a metric and a column a measured dataset, from `flows.report.metrics`."""
    return [{"metric": m["metric"], **{v.dataset.split(".")[-1]: _interval(row) for v, row in m["points"]}} for m in metrics]


def _interval(row: Evaluation) -> str:
    return f"{100 * row.value:.1f} % [{100 * row.low:.1f}, {100 * row.high:.1f}]"


def plan(lines: Sequence[PlanLine], as_json: bool) -> None:
    """A plan as a table."""
    unknown = None if as_json else "?"
    rows = [{k: unknown if v is None else v for k, v in dataclasses.asdict(line).items()} for line in lines]
    show(rows, as_json, empty="the recipe has no stages")


def counts(found: Mapping[str, int], as_json: bool) -> None:
    """Counts by fate."""
    if as_json:
        print(json.dumps(dict(found)))
    else:
        _err.print(", ".join(f"{n} {fate}" for fate, n in sorted(found.items())) or "no rows", highlight=False)


def note(text: str) -> None:
    """A line for the person, beside the results."""
    _err.print(_plain(text), highlight=False, soft_wrap=True)
