"""Immutable Parquet objects named by a hash of their rows (content-addressed storage, as in Git and Metaflow).

The hash covers the schema and the rows in a form of our own, never the file's bytes: another pyarrow, codec, row group size
or chunking gives the same name, so equal rows made again stop a recomputation from going further down.
"""

import contextlib
import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import StoreError

ROW_GROUP = 20_000
"""Rows a row group: 10k to 50k is the knee for rows of about 2 kB."""
ZSTD_LEVEL = 3
"""Beyond 3, Parquet of mathematical text gets 10 % smaller at half the speed."""

_FIXED = {pa.int64(): "int64", pa.float64(): "double", pa.bool_(): "bool"}
_STRINGS = (pa.string(), pa.large_string(), pa.string_view())


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object: its name (40 hex digits), its rows and the bytes of its file."""

    content: str
    n_rows: int
    n_bytes: int


def schema_text(schema: pa.Schema) -> str:
    """The schema in a form that does not change with pyarrow: row class, then [name, type, nullable] of each column."""
    row = (schema.metadata or {}).get(b"mathmill.row", b"").decode()
    return json.dumps([row, [[f.name, _type_name(f.type), f.nullable] for f in schema]], separators=(",", ":"))


def content_hash(table: pa.Table) -> str:
    """The name of a table's rows: 40 hex digits of sha256 over schema, row count and a digest of each column."""
    whole = hashlib.sha256(schema_text(table.schema).encode())
    whole.update(table.num_rows.to_bytes(8, "little"))
    for column in table.columns:
        digest = hashlib.sha256()
        for piece in _canonical(column.chunks, column.type):
            digest.update(piece)
        whole.update(digest.digest())
    return whole.hexdigest()[:40]


class Objects:
    """The folder of objects: `objects/ab/ab12...parquet`, each written once under its final name and never changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tmp = root / "tmp"
        for folder in (root / "objects", self.tmp):
            folder.mkdir(parents=True, exist_ok=True)

    def relative(self, content: str) -> str:
        return f"objects/{content[:2]}/{content}.parquet"

    def path(self, content: str) -> Path:
        return self.root / self.relative(content)

    def exists(self, content: str) -> bool:
        return self.path(content).is_file()

    def write(self, table: pa.Table, footer: dict[str, str]) -> ObjectInfo:
        """Store a table; `footer` is kept in the file for people and for disaster recovery. Always written anew: a fresh mtime
        protects it from `gc` until the catalog knows it, and a damaged file of the same name is healed."""
        content = content_hash(table)
        final = self.path(content)
        with _writing(self.root):
            staged = self.tmp / f"{content}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
            try:
                _write_parquet(table, staged, footer)
                n_bytes = staged.stat().st_size
                if not final.parent.exists():
                    final.parent.mkdir(exist_ok=True)
                    sync_folder(final.parent.parent)
                os.replace(staged, final)
            except BaseException:
                staged.unlink(missing_ok=True)
                raise
            sync_folder(final.parent)
        return ObjectInfo(content, table.num_rows, n_bytes)

    def read(self, content: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of an object, only `columns` of them if given. Raises StoreError for a missing or damaged file."""
        try:
            with pq.ParquetFile(self.path(content)) as file:
                have = file.schema_arrow.names
                if columns is not None and not set(columns) <= set(have):
                    raise StoreError(f"no column {sorted(set(columns) - set(have))}: have {have}")
                table = file.read(columns=list(columns) if columns is not None else None)
        except FileNotFoundError:
            raise StoreError(f"object {content} is not in {self.root}: `mathmill fsck` lists what needs it") from None
        except (pa.ArrowException, OSError) as error:
            way_out = "remove that file and run again, and its shard is computed anew"
            raise StoreError(f"object {content}: {self.relative(content)} cannot be read: {error}; {way_out}") from error
        row = (table.schema.metadata or {}).get(b"mathmill.row")
        return table.replace_schema_metadata({"mathmill.row": row} if row else None)

    def verify(self, content: str) -> str | None:
        """What is wrong with an object, reading it whole; None where its rows still give its name."""
        if not self.exists(content):
            return f"object {content}: the file {self.relative(content)} is missing"
        try:
            found = content_hash(self.read(content))
        except StoreError as error:
            return str(error)
        except TypeError as error:
            return f"object {content}: {self.relative(content)} cannot be read: {error}"
        return None if found == content else f"object {content}: {self.relative(content)} holds other rows ({found})"


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_parquet(table: pa.Table, path: Path, footer: dict[str, str]) -> None:
    with open(path, "xb") as sink:
        with pq.ParquetWriter(sink, table.schema, compression="zstd", compression_level=ZSTD_LEVEL) as writer:
            writer.add_key_value_metadata(footer)
            writer.write_table(table, row_group_size=ROW_GROUP)
        sink.flush()
        os.fchmod(sink.fileno(), 0o444)  # exports are hard links: an edited one would corrupt the store
        os.fsync(sink.fileno())


@contextlib.contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Say what to do when the disk is full or the folder read-only; nothing was changed then."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(f"the disk of the store {root} is full: nothing was committed; free space and run again") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StoreError(f"the store {root} cannot be written ({error.strerror}): check its owner or choose another --store") from error
        raise


def _type_name(kind: pa.DataType) -> str:
    if kind in _STRINGS:
        return "string"
    if kind in _FIXED:
        return _FIXED[kind]
    if pa.types.is_list(kind):
        return f"list<{_type_name(kind.value_type)}{'?' if kind.value_field.nullable else ''}>"
    raise TypeError(f"no canonical form for a column of type {kind}: rows are made of string, int64, double, bool and lists of them")


def _canonical(chunks: list[pa.Array], kind: pa.DataType) -> Iterator[bytes | memoryview]:
    """The bytes of a column, chunks joined: which values are null (one byte each, if any are), then lengths, then values."""
    if any(chunk.null_count for chunk in chunks):
        yield b"\1"
        yield from (_bytes(chunk.is_valid().to_numpy(zero_copy_only=False)) for chunk in chunks)
    else:
        yield b"\0"
    if kind in _STRINGS:
        parts = [_string_parts(chunk) for chunk in chunks if len(chunk)]
        yield from (_bytes(lengths) for lengths, _ in parts)
        yield from (data for _, data in parts)
    elif pa.types.is_list(kind):
        yield from (_bytes(c.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype("<i8")) for c in chunks)
        yield from _canonical([chunk.flatten() for chunk in chunks], kind.value_type)
    else:
        yield from (_bytes(_fixed(chunk)) for chunk in chunks)


def _string_parts(chunk: pa.Array) -> tuple[npt.NDArray[np.int64], memoryview]:
    """(length of each string in bytes, all bytes) of a chunk; a null is an empty string here."""
    if chunk.null_count or pa.types.is_string_view(chunk.type):
        chunk = chunk.cast(pa.large_string()).fill_null("")
    _, offset_buffer, data = chunk.buffers()
    width: npt.DTypeLike = np.int64 if pa.types.is_large_string(chunk.type) else np.int32
    offsets = np.frombuffer(offset_buffer, width)[chunk.offset : chunk.offset + len(chunk) + 1]
    lengths = np.diff(offsets).astype("<i8")
    return lengths, memoryview(data or b"").cast("B")[offsets[0] : offsets[-1]]


def _fixed(chunk: pa.Array) -> npt.NDArray[np.generic]:
    """Little-endian values; a null is 0, every NaN the same NaN."""
    if pa.types.is_boolean(chunk.type):
        return chunk.fill_null(False).to_numpy(zero_copy_only=False)
    values = chunk.fill_null(0).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(chunk.type):
        return np.where(np.isnan(values), np.nan, values).astype("<f8")
    return values.astype("<i8")


def _bytes(values: npt.NDArray[np.generic]) -> memoryview:
    return np.ascontiguousarray(values).view(np.uint8).data
