"""Locks that die with their holder: flock on a file, or a session advisory lock of Postgres. No leases, no heartbeats.

Leases were tried first: kill -9 of a holder left waits of 42 s. The kernel (or the server) frees these at once.
Several machines need the Postgres kind. Session locks do not work through pgbouncer in transaction mode: connect directly.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]{0,199}")


def check_lock_name(name: str) -> str:
    """A name that can be a file's. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"no lock name {name!r}: use up to 200 letters, digits and _.=-")
    return name


@contextlib.contextmanager
def file_lock(path: Path, on_wait: Callable[[], None] | None = None, keep: bool = False) -> Iterator[None]:
    """Hold the lock file `path`, among threads and processes of this machine. `on_wait` is called once if somebody else holds it.

    The file is removed on release unless `keep` (locks that are taken all the time). A child made by fork without exec shares the lock.
    """
    descriptor = _acquire(path, on_wait)
    try:
        yield
    finally:
        try:
            if not keep:
                path.unlink(missing_ok=True)  # still holding it: whoever waits on this file sees that it is gone and starts over
        finally:
            os.close(descriptor)


def _acquire(path: Path, on_wait: Callable[[], None] | None) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is not None:
                    on_wait()
                    on_wait = None
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _same_file(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _same_file(descriptor: int, path: Path) -> bool:
    """Whether the locked file is still the one under that name: the last holder may have removed it."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def sweep(folder: Path) -> int:
    """Remove lock files that killed holders left behind and nobody holds; returns how many."""
    removed = 0
    for path in folder.iterdir():
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:  # its holder released it since the folder was listed
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same_file(descriptor, path):
                os.unlink(path)
                removed += 1
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
    return removed


@contextlib.contextmanager
def advisory_lock(engine: sa.Engine, name: str, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a Postgres advisory lock on a connection of its own; the server frees it when that connection dies."""
    key = advisory_key(name)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key))):
            if on_wait is not None:
                on_wait()
            connection.execute(sa.select(sa.func.pg_advisory_lock(key)))
        try:
            yield
        finally:
            _unlock(connection, key, name)


def _unlock(connection: sa.Connection, key: int, name: str) -> None:
    try:
        connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))
    except sa.exc.DBAPIError as error:
        if not error.connection_invalidated:
            raise
        log.warning("the connection that held the lock %r broke, and the server freed it early: work may have been done twice", name)


def advisory_key(name: str) -> int:
    """The signed 64-bit number Postgres knows the lock by."""
    return int.from_bytes(hashlib.sha256(f"mathmill:{name}".encode()).digest()[:8], "big", signed=True)
