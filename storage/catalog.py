"""The catalog: which shard was made by which recipe, and what each dataset version holds. SQLite by default, Postgres by URL.

One SQLAlchemy Core code for both. Writers queue, one at a time per catalog: `BEGIN IMMEDIATE` behind a file lock (SQLite's own busy
handler is unfair) or a transaction-scoped advisory lock (Postgres). Never a DuckDB file: a second process could not open it.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, Connection, Float, ForeignKey, Integer, Text

from storage.errors import StoreError
from storage.locks import advisory_key, advisory_lock, check_lock_name, file_lock

LAYOUT = 1
"""Number of the table layout below; a catalog of another layout is refused."""

BUSY_SECONDS = 60
"""How long SQLite waits for readers and checkpoints of other processes before it reports `database is locked`."""

_URLS = "give sqlite:///FILE or postgresql://USER@HOST/DATABASE"

metadata = sa.MetaData()


def _table(name: str, *columns: Any) -> sa.Table:
    return sa.Table(name, metadata, *columns)


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _text(name: str, *more: Any) -> Column[str]:
    return Column(name, Text, *more, nullable=False)


def _int(name: str, **options: Any) -> Column[int]:
    return Column(name, BigInteger, **{"nullable": False, **options})


def _at(name: str, nullable: bool = False) -> Column[float]:
    """Seconds since 1970, or a duration in seconds; double precision in both."""
    return Column(name, Float(53), nullable=nullable)


schema_version = _table("schema_version", Column("layout", Integer, primary_key=True, autoincrement=False))

arrow_schema = _table("arrow_schema", _key("schema_id"), _text("row_type"), _text("body"))

stored = _table(  # the table `object`
    "object",
    _key("content"),
    _text("path"),
    _int("n_rows"),
    _int("n_bytes"),
    _text("schema_id", ForeignKey("arrow_schema.schema_id")),
    _at("created_at"),
)

shard = _table(
    "shard",
    _key("shard_key"),
    _text("dataset"),
    _text("part"),
    _text("stage"),
    _text("recipe"),  # JSON; `explain` compares its leaves
    Column("content", Text, ForeignKey("object.content")),  # null: evicted by gc, the recipe is kept to say so
    Column("dropped", Text, ForeignKey("object.content")),  # null: no input row was dropped
    _int("n_rows"),
    _text("balance"),  # JSON, see storage.balance
    _int("quarantined"),
    Column("complete", Boolean, nullable=False),
    _text("run_id"),
    _at("seconds"),
    _text("stats"),
    _at("created_at"),
    sa.Index("shard_of_part", "dataset", "part", "created_at"),
)

dataset = _table("dataset", _key("name"), Column("buckets", Integer), _text("row_type"), _at("created_at"))

version = _table(
    "version",
    Column("dataset", Text, ForeignKey("dataset.name"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("parent", Integer),
    _text("kind"),  # replace, patch or revert
    _text("digest"),
    _text("schema_id", ForeignKey("arrow_schema.schema_id")),
    _int("n_shards"),
    _int("n_rows"),
    _int("n_bytes"),
    _text("balance"),
    _int("n_quarantined"),
    Column("complete", Boolean, nullable=False),
    _text("meta"),
    _text("run_id"),
    _at("created_at"),
    _at("expired_at", nullable=True),
)

slot = _table(  # version n holds the slots with n_from <= n and (n_to is null or n_to > n)
    "slot",
    _key("dataset"),
    _key("part"),
    _text("shard_key"),
    _text("content", ForeignKey("object.content")),
    Column("dropped", Text, ForeignKey("object.content")),
    _int("n_rows"),
    _int("n_bytes"),
    _text("balance"),
    Column("n_from", Integer, primary_key=True, autoincrement=False),
    Column("n_to", Integer),
)

version_input = _table(
    "version_input",
    _key("dataset"),
    Column("n", Integer, primary_key=True, autoincrement=False),
    _key("role"),
    _key("in_dataset"),
    Column("in_n", Integer, primary_key=True, autoincrement=False),
)

ref = _table("ref", _key("dataset"), _key("name"), Column("n", Integer, nullable=False))

ref_log = _table(
    "ref_log",
    _text("dataset"),
    _text("name"),
    Column("n_old", Integer),
    Column("n_new", Integer, nullable=False),
    _text("who"),
    _text("why"),
    _at("at"),
)


class Catalog:
    """The open catalog. `read()` and `write()` give connections inside a transaction; `lock()` holds a named lock while work is done."""

    def __init__(self, url: str, locks: Path) -> None:
        """`url` is `sqlite:///FILE` or `postgresql://...`; `locks` is the folder of lock files (unused with Postgres)."""
        self.url = url
        self._locks = locks
        self._engine = _engine(url, max_overflow=-1)  # threads wait for each other's writes, never for a free connection
        self._sessions = _engine(url, poolclass=sa.NullPool) if self.is_postgres else self._engine
        self._create()

    @property
    def is_postgres(self) -> bool:
        return self._engine.dialect.name == "postgresql"

    def close(self) -> None:
        self._engine.dispose()
        self._sessions.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction."""
        with self._clear_errors(), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """The write transaction: one at a time per catalog; commits at the end of the block, undoes everything on an exception."""
        options = {"mathmill_write": True}
        with self._clear_errors(), self._queue(), self._engine.connect() as connection, connection.execution_options(**options).begin():
            if self.is_postgres:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(advisory_key("write"))))
            yield connection

    @contextlib.contextmanager
    def lock(self, name: str, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the lock `name`; it is freed when its holder dies. `on_wait` is called once if somebody else holds it."""
        check_lock_name(name)
        lock = advisory_lock(self._sessions, name, on_wait) if self.is_postgres else file_lock(self._locks / name, on_wait)
        with self._clear_errors(), lock:
            yield

    def _queue(self) -> contextlib.AbstractContextManager[None]:
        if self.is_postgres:
            return contextlib.nullcontext()
        return file_lock(Path(f"{self._engine.url.database}.lock"), keep=True)

    def _create(self) -> None:
        with self.read() as connection:
            there = sa.inspect(connection).has_table("schema_version")
        if not there:
            self._make_tables()
        with self.read() as connection:
            layout = connection.scalar(sa.select(schema_version.c.layout))
        if layout != LAYOUT:
            raise StoreError(
                f"catalog {self._shown()} has table layout {layout}, this code reads layout {LAYOUT}: "
                "use the mathmill that made it, or start a new store"
            )

    def _make_tables(self) -> None:
        if not self.is_postgres:
            with self._clear_errors(), self._queue(), contextlib.closing(self._engine.raw_connection()) as raw:
                raw.cursor().execute("PRAGMA journal_mode=WAL")  # kept in the file; cannot be set inside a transaction
        with self.write() as connection:
            metadata.create_all(connection)
            if connection.scalar(sa.select(schema_version.c.layout)) is None:
                connection.execute(schema_version.insert().values(layout=LAYOUT))

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.IntegrityError:
            raise
        except sa.exc.DBAPIError as error:
            raise StoreError(f"catalog {self._shown()}: {_advice(str(error.orig))}") from error

    def _shown(self) -> str:
        return self._engine.url.render_as_string(hide_password=True)


def _advice(message: str) -> str:
    for sign, advice in (
        ("disk is full", "the disk is full: nothing was committed; free space and run again"),
        ("No space left", "the disk is full: nothing was committed; free space and run again"),
        ("readonly", "it cannot be written: check its owner or choose another --store"),
        ("unable to open", "it cannot be opened: check that its folder exists and is yours, or choose another --store"),
        ("not a database", "the file is no SQLite database: choose another --store or restore it from a backup"),
        ("onnection", "no connection to the server: check MATHMILL_CATALOG and that the server runs"),
    ):
        if sign in message:
            return f"{advice} ({message.strip()})"
    return message.strip()


def _engine(url: str, **options: Any) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        shown = url.rpartition("@")[2].partition("?")[0]  # without what may be a password
        raise StoreError(f"no catalog URL {shown!r}: {_URLS}") from None
    if parsed.drivername in ("postgresql", "postgresql+psycopg", "postgres"):
        try:
            return sa.create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True, **options)
        except ModuleNotFoundError as error:
            raise StoreError("a catalog on Postgres needs psycopg: pip install -e '.[scale]'") from error
    if parsed.drivername != "sqlite":
        raise StoreError(f"no catalog of kind {parsed.drivername!r}: {_URLS}")
    engine = sa.create_engine(parsed, **options)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # sqlite3 must not start transactions by itself: _begin_sqlite does
    connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")  # an acknowledged commit survives a power cut


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("mathmill_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
