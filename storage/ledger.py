"""The ledger: one row per model call, written as soon as the reply arrives, before anything parses it.

A row is never changed or removed, and the first reply of a key wins: what was paid for once is never asked again.
Failures are no rows. It knows no models: what a key is made of is decided in `models.engine`.
"""

import fcntl
import hashlib
import json
import os
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.ids import canonical
from storage.ledger_rows import CHUNK, COLUMNS, LedgerError, PostgresRows, Rows, SqliteRows

__all__ = ["Call", "Cost", "Ledger", "LedgerError", "open_ledger"]


@dataclass(frozen=True, slots=True)
class Call:
    """One answered model call. `key` = sha256 over the canonical JSON of `request`; everything below `value` is recorded, never keyed."""

    key: str
    kind: str
    model: str
    request: dict[str, Any]
    value: dict[str, Any]
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seed: int | None = None
    run_id: str = ""
    stage: str = ""
    latency_s: float = 0.0
    cost: float | None = None
    """In the currency of the price list; null where nothing was paid or nothing is known."""
    at: float = field(default=0.0)
    """Unix time in seconds; 0 is replaced by the time of `put`."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one stage asked of one model. Sums are over the calls that say; `seconds` are those of the calls, many of which ran at once."""

    stage: str
    model: str
    kind: str
    calls: int
    cut_off: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cost: float | None


class Ledger:
    """Model calls by key. Any method may be called from any thread, and any number of processes may have the same ledger open."""

    def __init__(self, rows: Rows) -> None:
        self._opened = rows
        self._pid = os.getpid()
        self._closed = False

    @property
    def _rows(self) -> Rows:
        if os.getpid() != self._pid:  # a connection used on both sides of a fork damages what it writes
            raise LedgerError(f"the ledger {self.name} was opened in another process: open it again in this one")
        if self._closed:
            raise LedgerError(f"the ledger {self.name} was closed before this call")
        return self._opened

    @property
    def name(self) -> str:
        """The path, or the URL without its password."""
        return self._opened.name

    def get(self, keys: Sequence[str]) -> dict[str, Call]:
        """The calls among `keys` (any number) that are recorded, by key."""
        return {row[0].hex(): _unpack(row, self.name) for row in self._rows.find(COLUMNS, _blobs(keys))}

    def has(self, keys: Sequence[str]) -> set[str]:
        """Which of `keys` (any number) are recorded; reads no payload."""
        return {key.hex() for (key,) in self._rows.find("key", _blobs(keys))}

    def put(self, call: Call) -> None:
        """Record a call; on return it outlives a SIGKILL of this process. A key that is there keeps its first reply.

        Raises ValueError for a key that is not the hash of the request, TypeError for a value without JSON form, LedgerError
        where it cannot be written.
        """
        self._rows.insert([_pack(call)])

    def put_many(self, calls: Iterable[Call]) -> None:
        """The same for many, in transactions of 500 so that other writers get their turn between them."""
        packed = (_pack(call) for call in calls)
        while chunk := list(islice(packed, CHUNK)):
            self._rows.insert(chunk)

    def count(self) -> int:
        """Calls recorded."""
        return int(self._rows.scan("SELECT count(*) FROM ledger_call")[0][0])

    def cost_table(self, run_id: str | None = None) -> list[Cost]:
        """Calls, tokens and seconds by stage, model and kind, of one run or of all, for reports."""
        where, args = ("", ()) if run_id is None else ("WHERE run_id = ?", (run_id,))
        sums = "count(*), sum(CASE WHEN finish_reason = 'length' THEN 1 ELSE 0 END), coalesce(sum(prompt_tokens), 0)"
        sums += ", coalesce(sum(completion_tokens), 0), sum(latency_s), sum(cost)"
        sql = f"SELECT stage, model, kind, {sums} FROM ledger_call {where} GROUP BY stage, model, kind ORDER BY stage, model, kind"
        return [
            Cost(stage, model, kind, int(n), int(cut), int(prompt), int(completion), seconds, cost)
            for stage, model, kind, n, cut, prompt, completion, seconds, cost in self._rows.scan(sql, *args)
        ]

    def export(self, folder: Path) -> int:
        """Write what was recorded since the last export to `folder/*.parquet` and return the number of rows written.

        A file's name says which rows of which ledger it holds, so the folder itself is the record of what is done; files
        appear whole (rename), hold about 64 MB of text each and are never changed. The view over them is `ledger.calls`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two exports at once would write the same rows under two names
            done = max((int(p.stem.split("-")[2]) for p in folder.glob(f"calls-{self._rows.ledger_id}-*.parquet")), default=0)
            return sum(_write(folder, self._rows.ledger_id, ids, rows) for ids, rows in self._since(done))

    def close(self) -> None:
        """Give the connections back; calls after this raise LedgerError."""
        self._closed = True
        self._opened.close()

    def _since(self, done: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """(last id, rows) of about 64 MB of text each, in the order they were recorded."""
        upto = self._rows.settled()
        pending: list[dict[str, Any]] = []
        size = 0
        sql = f"SELECT id, {COLUMNS} FROM ledger_call WHERE id > ? AND id <= ? ORDER BY id LIMIT {CHUNK}"
        while page := self._rows.scan(sql, done, upto):
            for done, *row in page:
                pending.append(_exported(tuple(row), self.name))
                size += len(pending[-1]["request"]) + len(pending[-1]["value"])
                if size >= _FILE_BYTES:
                    yield done, pending
                    pending, size = [], 0
        if pending:
            yield done, pending


def open_ledger(where: str | os.PathLike[str], *, read_only: bool = False) -> Ledger:
    """The ledger at a file path (SQLite, made if missing) or at `postgresql://...`.

    `read_only` is for replays: it makes nothing, and a ledger that does not exist is a LedgerError, as is a file that is none.
    """
    text = os.fspath(where)
    if text.startswith(("postgresql://", "postgresql+psycopg://", "postgres://")):
        return Ledger(PostgresRows(text, read_only))
    if "://" in text:
        raise LedgerError(f"no ledger at {text.split('://')[0]}://...: give a file path or postgresql://USER@HOST/DATABASE")
    return Ledger(SqliteRows(Path(text), read_only))


_FILE_BYTES = 64 << 20

_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        *(pa.field(name, pa.string(), nullable=False) for name in ("kind", "model", "stage", "run_id")),
        pa.field("finish_reason", pa.string()),
        *(pa.field(name, pa.int64()) for name in ("prompt_tokens", "completion_tokens", "seed")),
        pa.field("latency_s", pa.float64(), nullable=False),
        pa.field("cost", pa.float64()),
        pa.field("called_at", pa.timestamp("us"), nullable=False),  # UTC; `at` is a keyword in DuckDB
        pa.field("request", pa.string(), nullable=False),
        pa.field("value", pa.string(), nullable=False),
    ],
    metadata={"mathmill.row": "Call"},
)


def _blobs(keys: Sequence[str]) -> list[bytes]:
    return [_blob(key) for key in keys]


def _blob(key: str) -> bytes:
    """The 32 bytes of a key. Raises ValueError."""
    try:
        blob = bytes.fromhex(key)
    except ValueError:
        blob = b""
    if len(blob) != 32 or blob.hex() != key:
        raise ValueError(f"no ledger key {key!r:.100}: it is 64 lower-case hex digits, storage.ids.digest(request, 64)")
    return blob


def _pack(call: Call) -> tuple[Any, ...]:
    """The row of a call. `body` is 4 bytes of length and zstd over the request and the value, each a line of JSON."""
    request = canonical(call.request)
    key = _blob(call.key)
    if key != hashlib.sha256(request).digest():
        raise ValueError(f"key {call.key} is not the hash of its request: make it with storage.ids.digest(request, 64)")
    lines = request + b"\n" + _value_json(call.value)
    body = struct.pack("<I", len(lines)) + pa.compress(lines, codec="zstd", asbytes=True)
    recorded = (call.finish_reason, call.prompt_tokens, call.completion_tokens, call.seed, call.latency_s, call.cost)
    return (key, call.kind, call.model, call.stage, call.run_id, *recorded, call.at or time.time(), body)


def _value_json(value: dict[str, Any]) -> bytes:
    """Canonical JSON; a half surrogate pair, which a model may well reply, has no UTF-8 and is escaped."""
    try:
        return canonical(value)
    except TypeError as error:
        if not isinstance(error.__cause__, UnicodeEncodeError):
            raise
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _lines(body: bytes, key: bytes, name: str) -> tuple[bytes, bytes]:
    """The JSON texts (request, value) of a row. Raises LedgerError for a damaged one."""
    try:
        size = struct.unpack_from("<I", body)[0]
        request, value = pa.decompress(body[4:], decompressed_size=size, codec="zstd", asbytes=True).split(b"\n")
    except (struct.error, pa.ArrowException, OSError, ValueError) as error:
        raise LedgerError(f"ledger {name}: the call {key.hex()} is damaged ({error}); remove that row to have it asked again") from error
    return request, value


def _unpack(row: tuple[Any, ...], name: str) -> Call:
    key, kind, model, stage, run_id, finish_reason, prompt_tokens, completion_tokens, seed, latency_s, cost, at, body = row
    request, value = (json.loads(line) for line in _lines(body, key, name))
    recorded = (finish_reason, prompt_tokens, completion_tokens, seed, run_id, stage, latency_s, cost, at)
    return Call(key.hex(), kind, model, request, value, *recorded)


def _exported(row: tuple[Any, ...], name: str) -> dict[str, Any]:
    """A row as Parquet holds it: the key in hex, the payload as text, the time in microseconds."""
    request, value = _lines(row[-1], row[0], name)
    columns = dict(zip(COLUMNS.split(", "), row, strict=True))
    del columns["body"]
    return columns | {
        "key": row[0].hex(),
        "called_at": round(columns["called_at"] * 1e6),
        "request": request.decode(),
        "value": value.decode(),
    }


def _write(folder: Path, ledger_id: str, last: int, rows: list[dict[str, Any]]) -> int:
    """One file, whole or not there. Its last number is the last row id it holds."""
    final = folder / f"calls-{ledger_id}-{last:012d}.parquet"
    partial = folder / f".{final.name}.tmp"
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), partial, compression="zstd", row_group_size=10_000)
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, final)
    return len(rows)
