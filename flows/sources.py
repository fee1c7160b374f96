"""Outside files as records: JSONL, Parquet and Arrow files, pages of the AoPS wiki in any form, or a folder of them.

What cannot be read is a record too: an exception.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from flows.graph import UsageError
from tasks.aops.archive import FILE as ARCHIVE
from tasks.aops.archive import Archive
from tasks.aops.sources import SUFFIXES as PAGE_SUFFIXES
from tasks.aops.sources import is_page_file, read_pages
from tasks.stage import Source

_SUFFIXES = (".jsonl", ".json", ".parquet", ".arrow")
_CHOICES = ", ".join((*_SUFFIXES, *PAGE_SUFFIXES, ARCHIVE))


def open_source(path: Path) -> Source:
    """The records of a file, or of every data file below a folder (a Hugging Face `datasets` folder too), in the order of their names."""
    path = Path(os.path.abspath(path))  # "." has no name, and names of sources come from it
    files = data_files(path)
    return Source(tuple(files), _digest(path, files), lambda: _records(path, files))


def data_files(path: Path) -> list[Path]:
    """The files that are read. Raises UsageError when there are none, or none of a kind that can be read."""
    if path.is_file():
        if path.suffix not in _SUFFIXES and not is_page_file(path):
            raise UsageError(f"cannot read {path}: give a file ending in {_CHOICES}, or a folder of such files")
        return [path]
    if not path.is_dir():
        raise UsageError(f"no input file {path}: give a file ending in {_CHOICES}, or a folder of such files")
    skipped = {"dataset_info.json", "state.json", "dataset_dict.json", "version.json"}
    below = sorted(f for f in path.rglob("*") if f.is_file() and f.name not in skipped)
    files = [f for f in below if f.suffix in _SUFFIXES] or [f for f in below if is_page_file(f)]
    if not files:
        raise UsageError(f"no data file in {path}: looked for {_CHOICES}")
    return files


def _label(root: Path, file: Path) -> str:
    return file.name if root.is_file() else str(file.relative_to(root))


def _digest(root: Path, files: list[Path]) -> str:
    """sha256 over names (that of a folder of several files too: sources are called after it) and bytes; where they lie changes nothing."""
    whole = hashlib.sha256(f"{root.name}\0".encode() if len(files) > 1 else b"")
    for file in files:
        whole.update(f"{_label(root, file)}\0{_file_digest(file)}\n".encode())
    return whole.hexdigest()[:40]


def _file_digest(file: Path) -> str:
    if file.name == ARCHIVE:  # a database: equal contents may be other bytes
        with Archive.open(file.parent) as archive:
            return archive.digest()
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _records(root: Path, files: list[Path]) -> Iterator[tuple[str, Any]]:
    for file in files:
        for number, row in _rows(root, file):
            yield f"{_label(root, file)}:{number}", row


def _rows(root: Path, file: Path) -> Iterator[tuple[int, Any]]:
    if file.suffix in (".jsonl", ".json"):
        return _json_lines(file)
    return enumerate(_arrow_rows(file) if file.suffix in _SUFFIXES else read_pages(file, _label(root, file)), 1)


def _json_lines(file: Path) -> Iterator[tuple[int, Any]]:
    with file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            yield number, _json_object(file, number, line)


def _json_object(file: Path, number: int, line: bytes) -> Any:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        return ValueError(f"{file}, line {number} is not JSON: {error}")
    if b"\\u" in line and not _encodable(row):
        return ValueError(f"{file}, line {number} holds half of a surrogate pair (\\ud800 to \\udfff), which is no character")
    return row if isinstance(row, dict) else ValueError(f"{file}, line {number} is not a JSON object but {type(row).__name__}")


def _encodable(row: Any) -> bool:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _arrow_rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        for batch in _parquet_batches(file) if file.suffix == ".parquet" else _arrow_batches(file):
            yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise ValueError(f"cannot read {file}: {error}") from error


def _parquet_batches(file: Path) -> Iterator[pa.RecordBatch]:
    yield from pq.ParquetFile(file).iter_batches(batch_size=4096)


def _arrow_batches(file: Path) -> Iterator[pa.RecordBatch]:
    """Of the stream format, which `datasets` writes, or of the file format."""
    with pa.memory_map(str(file)) as mapped:
        try:
            stream = ipc.open_stream(mapped)
        except pa.ArrowInvalid:
            opened = ipc.open_file(mapped)
            yield from (opened.get_batch(i) for i in range(opened.num_record_batches))
        else:
            yield from stream
