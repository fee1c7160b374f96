"""Benchmark files as protected texts: JSONL whose question is called `problem`, `question` or `text`; real files differ."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa

from tasks.maths.records import as_text, pick

TEXT_FIELDS = ("problem", "question", "text")
ID_FIELDS = ("id", "unique_id", "idx")


def protected_text(record: Any, fields: Sequence[str]) -> str | None:
    """The protected text of a record, None where it has none."""
    return as_text(pick(record, fields)) if isinstance(record, Mapping) else None


def item_of(record: Mapping[str, Any], line: str) -> str:
    """The id that the file gives, else the line number."""
    return as_text(pick(record, ID_FIELDS)) or line


def benchmark_of(file: str) -> str:
    """The name of the benchmark in a file: the file's name without suffix."""
    return PurePath(file).stem


def read_protected(path: Path, fields: Sequence[str] = TEXT_FIELDS) -> pa.Table:
    """Columns benchmark, item and text of the JSONL files in a folder. Raises ValueError naming file and line for a line without a text."""
    files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path] if path.is_file() else []
    if not files:
        raise FileNotFoundError(f"no protected texts at {path}: give a JSONL file or a folder of *.jsonl files")
    rows = [row for file in files for row in _read(file, fields)]
    return pa.table(dict(zip(("benchmark", "item", "text"), zip(*rows, strict=True) if rows else ([], [], []), strict=True)))


def _read(file: Path, fields: Sequence[str]) -> list[tuple[str, str, str]]:
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{file}, line {number} is not JSON: {error}") from error
        text = protected_text(record, fields)
        if text is None:
            raise ValueError(f"{file}, line {number} has no text in {list(fields)}: name its field with --set fields=NAME")
        rows.append((benchmark_of(file.name), item_of(record, str(number)), text))
    return rows
