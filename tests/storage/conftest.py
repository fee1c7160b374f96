"""Stores on SQLite and on a real Postgres: a temporary cluster of this machine's binaries, on a free port of loopback."""

import contextlib
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings

from storage.store import Store

settings.register_profile("mathmill", deadline=None)  # tests do not assert wall time
settings.load_profile("mathmill")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _binaries() -> Path:
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres")) + [p for p in [shutil.which("postgres")] if p]
    if not found:
        pytest.skip("no Postgres on this machine: apt-get install postgresql")
    return Path(found[-1]).parent


def _unprivileged() -> list[str]:
    """What to put before a command so that it does not run as root (Postgres refuses) and dies with these tests."""
    if not shutil.which("setpriv"):
        pytest.skip("no setpriv (util-linux): cannot start Postgres as another user")
    if os.geteuid() != 0:
        return ["setpriv", "--pdeathsig=INT"]
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("running as root, and there is no user `postgres` to run the server as")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig=INT"]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of the database `postgres` of a cluster that lives as long as the tests."""
    binaries, prefix, port = _binaries(), _unprivileged(), _free_port()
    folder = Path(tempfile.mkdtemp(prefix="mathmill-postgres-"))
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    data = str(folder / "data")
    try:
        initdb = [*prefix, str(binaries / "initdb"), "-D", data, "-U", "mathmill", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, text=True, cwd=folder)
        command = [*prefix, str(binaries / "postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
        with open(folder / "log", "wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            url = f"postgresql://mathmill@127.0.0.1:{port}/postgres"
            _wait_for(url, server, folder / "log")
            yield url
        finally:
            server.send_signal(2)  # fast shutdown: sessions are ended
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    deadline = time.monotonic() + 60
    while True:
        try:
            engine.connect().close()
            engine.dispose()
            return
        except sa.exc.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Postgres did not start: {log.read_text()}") from None
            time.sleep(0.05)


@pytest.fixture
def fresh_schema(postgres_url: str) -> Iterator[Callable[[], str]]:
    """Makes an empty schema, where a catalog has a database to itself, and returns the URL that leads there."""
    engine = sa.create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")

    def make() -> str:
        name = f"store_{uuid.uuid4().hex[:12]}"
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE SCHEMA {name}"))
        return f"{postgres_url}?options=-csearch_path%3D{name}"

    yield make
    engine.dispose()


Place = tuple[Path, str | None]
"""What `Store.open` takes: (root, catalog URL)."""


@pytest.fixture(params=["sqlite", "postgres"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Place]:
    """Gives a place for another empty store at each call."""
    make = request.getfixturevalue("fresh_schema") if request.param == "postgres" else lambda: None
    return lambda: (tmp_path / f"store-{uuid.uuid4().hex[:8]}", make())


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    return new_place()


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with contextlib.closing(Store.open(*place)) as opened:
        yield opened


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Store]:
    """A store on SQLite alone, for what does not touch the catalog's dialect."""
    with contextlib.closing(Store.open(tmp_path / "store")) as opened:
        yield opened
