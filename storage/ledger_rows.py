"""Where the ledger's rows lie: one SQLite file or one Postgres database, the same table in both (docs/decisions/0002-ledger-layout.md)."""

import contextlib
import fcntl
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from storage.errors import StoreError

T = TypeVar("T")

FORMAT = 1
"""Of the table and of `body`; a ledger of another format is refused, never guessed at."""

BUSY_S = 60.0
"""How long a statement waits for a lock that another program holds. Our own writers queue on a lock file instead."""

CHUNK = 500
"""Keys in one look-up, and rows in one transaction: what others wait for at most."""

COLUMNS = "key, kind, model, stage, run_id, finish_reason, prompt_tokens, completion_tokens, seed, latency_s, cost, called_at, body"

TABLES = """
CREATE TABLE ledger_info (ledger_id TEXT NOT NULL, format INTEGER NOT NULL);
CREATE TABLE ledger_call (
  id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, model TEXT NOT NULL, stage TEXT NOT NULL,
  run_id TEXT NOT NULL, finish_reason TEXT, prompt_tokens BIGINT, completion_tokens BIGINT, seed BIGINT,
  latency_s DOUBLE PRECISION NOT NULL, cost DOUBLE PRECISION, called_at DOUBLE PRECISION NOT NULL, body BLOB NOT NULL
);
"""


class LedgerError(StoreError):
    """The ledger cannot be opened, read or written; the message names it and says what to do."""


class Rows(Protocol):
    """What the ledger needs of a database. All methods may be called from any thread and raise LedgerError."""

    name: str
    """The path, or the URL without its password: for messages."""
    ledger_id: str
    """Drawn when the ledger was made: tells its exports from those of another one."""

    def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """One transaction, durable against SIGKILL when it returns. A row whose key is there already changes nothing."""
        ...

    def find(self, columns: str, keys: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """The rows with these keys (any number), in no order."""
        ...

    def scan(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """A long read that holds up no look-up. Placeholders are `?`."""
        ...

    def settled(self) -> int:
        """An id below or at which no row will appear any more."""
        ...

    def close(self) -> None: ...


class SqliteRows:
    """One file in WAL mode with synchronous=NORMAL: a commit outlives the process at once, a power cut may take the last ones.

    One connection writes, one looks up, and each scan opens its own, so that none of them waits for another in this process.
    """

    def __init__(self, path: Path, read_only: bool) -> None:
        self.name = str(path)
        self._path = path
        self._read_only = read_only
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        if read_only and not path.is_file():
            raise LedgerError(f"no ledger at {path}: record one first with a run that asks its models, or name another file")
        with self._clear():
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._reader = self._connect()
            self.ledger_id = self._check(self._reader) if read_only else self._create()
            self._writer = self._reader if read_only else self._connect()

    def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if self._read_only:
            raise LedgerError(f"the ledger {self.name} is open for reading only: open it without read_only to record calls")
        sql = f"INSERT INTO ledger_call ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
        with self._clear(), self._turn(), self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.executemany(sql, rows)

    def find(self, columns: str, keys: Sequence[bytes]) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            sql = f"SELECT {columns} FROM ledger_call WHERE key IN ({','.join('?' * len(chunk))})"
            with self._clear(), self._read_lock:
                found += self._reader.execute(sql, chunk).fetchall()
        return found

    def scan(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        with self._clear(), contextlib.closing(self._connect()) as connection:
            return connection.execute(sql, args).fetchall()

    def settled(self) -> int:
        return int(self.scan("SELECT coalesce(max(id), 0) FROM ledger_call")[0][0])  # one writer at a time: ids follow the commits

    def close(self) -> None:
        with self._write_lock, self._read_lock:
            self._writer.close()
            self._reader.close()

    def _connect(self) -> sqlite3.Connection:
        uri = f"file:{quote(str(self._path.absolute()))}?mode={'ro' if self._read_only else 'rwc'}"
        if self._read_only and not os.access(self._path.parent, os.W_OK) and not Path(f"{self._path}-wal").exists():
            uri += "&immutable=1"  # SQLite cannot make the -shm file it wants beside a WAL database, and nobody writes here
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _create(self) -> str:
        with self._turn():
            if not self._reader.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                self._reader.execute("PRAGMA page_size=8192")
                self._reader.execute("PRAGMA journal_mode=WAL")
                self._reader.executescript(
                    f"BEGIN IMMEDIATE; {TABLES} INSERT INTO ledger_info VALUES ('{uuid.uuid4().hex}', {FORMAT}); COMMIT;"
                )
            return self._check(self._reader)

    def _check(self, connection: sqlite3.Connection) -> str:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ledger_info'").fetchone():
            raise LedgerError(f"{self.name} is an SQLite file but no ledger: name another file")
        ((ledger_id, found),) = connection.execute("SELECT ledger_id, format FROM ledger_info")
        return _check_format(self.name, ledger_id, found)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Writers queue on a lock file: SQLite's own wait sleeps and polls, and starves whoever sleeps longest.

        The file is opened for each turn, so that no child process holds a copy of the lock; the kernel frees it when its holder dies.
        """
        with self._write_lock:
            handle = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
            finally:
                os.close(handle)

    @contextlib.contextmanager
    def _clear(self) -> Iterator[None]:
        """SQLite's errors with the file's name and a way out."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(f"ledger {self.name}: {error}{_advice(str(error))}") from error


def _advice(error: str) -> str:
    known = {
        "not a database": ": it is some other file, or damaged; name another file",
        "malformed": ": the file is damaged; save what can be read with `sqlite3 FILE .recover`",
        "full": ": make room; every reply acknowledged so far is safe",
    }
    return next((advice for words, advice in known.items() if words in error), "")


def _check_format(name: str, ledger_id: str, found: int) -> str:
    if found != FORMAT:
        raise LedgerError(f"the ledger {name} has format {found}, this version of mathmill reads {FORMAT}: use the version that wrote it")
    return ledger_id


class PostgresRows:
    """One Postgres database, for several machines. A broken connection is opened again once: every statement here may be repeated."""

    def __init__(self, url: str, read_only: bool) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise LedgerError("a Postgres ledger needs psycopg: pip install 'mathmill[scale]'") from error
        self._psycopg = psycopg
        self._dsn = url.replace("postgresql+psycopg://", "postgresql://", 1)
        info = psycopg.conninfo.conninfo_to_dict(self._dsn)
        self.name = f"postgresql://{info.get('host', '')}:{info.get('port', 5432)}/{info.get('dbname', '')}"
        self._read_only = read_only
        self._locks = {"write": threading.Lock(), "find": threading.Lock(), "scan": threading.Lock()}
        self._connections: dict[str, Any] = {}
        if not read_only:
            self._on("write", self._create)
        self.ledger_id = self._on("find", self._check)

    def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        types = ["bytea", *["text"] * 5, *["bigint"] * 3, *["float8"] * 3, "bytea"]
        arrays = ", ".join(f"%s::{t}[]" for t in types)
        sql = f"INSERT INTO ledger_call ({COLUMNS}) SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"
        ordered = sorted(rows, key=lambda row: row[0])  # two writers of the same keys in two orders would wait for each other
        columns = [list(column) for column in zip(*ordered, strict=True)]
        self._on("write", lambda connection: connection.execute(sql, columns))

    def find(self, columns: str, keys: Sequence[bytes]) -> list[tuple[Any, ...]]:
        sql = f"SELECT {columns} FROM ledger_call WHERE key = ANY(%s)"
        found: list[tuple[Any, ...]] = []
        for start in range(0, len(keys), CHUNK):
            found += self._read("find", sql, [list(keys[start : start + CHUNK])])
        return found

    def scan(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        return self._read("scan", sql.replace("?", "%s"), args)

    def settled(self) -> int:
        return self._on("scan", self._settled)

    def close(self) -> None:
        for role, lock in self._locks.items():
            with lock:
                if role in self._connections:
                    self._connections.pop(role).close()

    def _read(self, role: str, sql: str, args: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self._on(role, lambda connection: connection.execute(sql, args, binary=True).fetchall())

    def _on(self, role: str, work: Callable[[Any], T]) -> T:
        with self._locks[role]:
            retried = False
            while True:
                try:
                    return work(self._connection(role))
                except self._psycopg.Error as error:
                    broken = role not in self._connections or self._connections[role].broken
                    if retried or not broken:
                        raise LedgerError(f"ledger {self.name}: {str(error).strip()}") from error
                    retried = True

    def _connection(self, role: str) -> Any:
        if role not in self._connections or self._connections[role].closed:
            self._connections.pop(role, None)
            self._connections[role] = self._psycopg.connect(self._dsn, autocommit=True)
            if self._read_only:
                self._connections[role].execute("SET default_transaction_read_only = on")
        return self._connections[role]

    def _create(self, connection: Any) -> None:
        tables = TABLES.replace("BLOB", "BYTEA").replace("id INTEGER PRIMARY", "id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY")
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('mathmill.ledger'))")  # several processes may start at once
            if connection.execute("SELECT to_regclass('ledger_info')").fetchone()[0] is None:
                connection.execute(tables)
                connection.execute("INSERT INTO ledger_info VALUES (%s, %s)", [uuid.uuid4().hex, FORMAT])

    def _check(self, connection: Any) -> str:
        if connection.execute("SELECT to_regclass('ledger_info')").fetchone()[0] is None:
            raise LedgerError(f"no ledger at {self.name}: record one first with a run that asks its models, or name another database")
        ledger_id, found = connection.execute("SELECT ledger_id, format FROM ledger_info").fetchone()
        return _check_format(self.name, ledger_id, found)

    def _settled(self, connection: Any) -> int:
        """Ids are drawn before commits: SHARE waits for the inserts under way, so that no lower id can still appear."""
        with connection.transaction():
            connection.execute("LOCK TABLE ledger_call IN SHARE MODE")
            return int(connection.execute("SELECT coalesce(max(id), 0) FROM ledger_call").fetchone()[0])
