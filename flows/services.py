"""The long-lived services of a store: a Prefect server, the deployments, and a worker for each pool, all below one process.

`up` starts that process; it holds the others by pipes (models/supervise.py), so however it ends, nothing is left running. It holds
a lock as long as it lives: the lock says whether it runs, `services.json` says under which pid and where the server listens.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from flows.prefect_server import (
    CHECKOUT,
    STARTUP_S,
    ServerError,
    last_line,
    settings,
    start_server,
    starting,
    stop,
    supervised,
    wait_until_ready,
)
from storage.locks import file_lock

POOLS = {"cpu": 2, "gpu": 1}
"""Work pools, and the flow runs that a worker carries out at once: one job at a time has the GPU."""
_RESTART_S = 5.0
_STOP_S = 30.0
_ATTEMPTS = 10


@dataclass(frozen=True)
class Services:
    """What services.json says."""

    pid: int
    url: str = ""
    """Address of Prefect's API; empty until everything is up."""

    @property
    def ui(self) -> str:
        return self.url.removesuffix("/api")


@contextmanager
def prefect_api(root: Path) -> Iterator[None]:
    """Let Prefect, imported in the body, talk to the server that PREFECT_API_URL names, else to the one that `mathmill up` runs for this
    store, else to one that lives as long as this process and starts while the body runs.
    """
    if os.environ.get("PREFECT_API_URL"):
        yield
        return
    found = running(root)
    os.environ.update({name: value for name, value in settings(root).items() if name not in os.environ})
    if found is not None and found.url:
        os.environ["PREFECT_API_URL"] = found.url
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # its lines go to the server; the terminal has ours
        yield
    else:
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
        with starting(root) as url:
            os.environ["PREFECT_API_URL"] = url
            yield


def running(root: Path) -> Services | None:
    """The services of this store, if their process is alive."""
    lock = _lock(root)
    if not lock.exists() or not _held(lock):
        return None
    try:
        return Services(**json.loads(_record(root).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def _lock(root: Path) -> Path:
    return root / "locks" / "services"


def _record(root: Path) -> Path:
    return root / "services.json"


def _held(lock: Path) -> bool:
    with lock.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def up(root: Path, port: int) -> tuple[Services, bool]:
    """(the services, whether they were started just now). Raises ServerError, with the reason, when they cannot be."""
    (root / "locks").mkdir(parents=True, exist_ok=True)
    with file_lock(root / "locks" / "up"):
        found = running(root)
        if found is not None and found.url:
            return found, False
        log = root / "services" / "services.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as out:
            line = [sys.executable, "-m", "flows.services", str(root), str(port)]
            process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=CHECKOUT, start_new_session=True)
        try:
            return _when_up(root, process, log), True
        except BaseException:
            process.terminate()
            raise


def _when_up(root: Path, process: subprocess.Popen[bytes], log: Path) -> Services:
    deadline = time.monotonic() + 3 * STARTUP_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"the services did not start: {last_line(log)} (logs: {log.parent})")
        found = running(root)
        if found is not None and found.url:
            if found.pid != process.pid:  # an `up` that was killed had left its process behind, still starting
                process.terminate()
            return found
        time.sleep(0.2)
    raise ServerError(f"the services did not start within {3 * STARTUP_S:.0f} s: see {log.parent}")


def down(root: Path) -> bool:
    """Stop what `up` started for this store; False if nothing was running."""
    found = running(root)
    if found is None:
        return False
    deadline, number = time.monotonic() + _STOP_S, signal.SIGTERM
    with contextlib.suppress(ProcessLookupError):
        os.kill(found.pid, number)
        while running(root) is not None:
            if time.monotonic() > deadline and number is signal.SIGTERM:
                number = signal.SIGKILL  # what it held ends at the end of its pipes
                os.kill(found.pid, number)
            time.sleep(0.1)
    return True


# The process that `up` starts


class _Stopped(Exception):
    """SIGTERM."""


def serve(root: Path, port: int) -> None:
    """Start everything, restart workers that end, and stop everything on SIGTERM."""
    signal.signal(signal.SIGTERM, _stop)
    children: dict[str, subprocess.Popen[bytes]] = {}
    with file_lock(_lock(root)):
        _write(root, Services(os.getpid()))
        try:
            url = _start(root, port, children)
            _write(root, Services(os.getpid(), url))
            _watch(root, url, children)
        except _Stopped:
            _say("stopping")
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            for child in reversed(children.values()):
                stop(child)
            _record(root).unlink(missing_ok=True)


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped


def _write(root: Path, services: Services) -> None:
    partial = root / f"services.json.{os.getpid()}"
    partial.write_text(json.dumps(asdict(services)) + "\n", encoding="utf-8")
    os.replace(partial, _record(root))


def _start(root: Path, port: int, children: dict[str, subprocess.Popen[bytes]]) -> str:
    log = root / "services" / "server.log"
    children["server"], url = start_server(root, port, log, {})
    _say(f"starting a Prefect server at {url}")
    wait_until_ready(children["server"], url, log)
    for pool in POOLS:
        if not any(found["name"] == pool for found in ask(url, "work_pools/filter", {})):
            ask(url, "work_pools/", {"name": pool, "type": "process"})
    _deploy(root, url)
    for pool in POOLS:  # one after the other: together they were seen to lock the database
        children[pool] = _worker(root, url, pool)
        _wait_for_worker(url, pool, children[pool])
    _say("up")
    return url


def _environment(root: Path, url: str) -> dict[str, str]:
    return {**os.environ, **settings(root), "PREFECT_API_URL": url, "MATHMILL_STORE": str(root)}


def _deploy(root: Path, url: str) -> None:
    log = root / "services" / "deploy.log"
    line = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    process = supervised(line, log, _environment(root, url))
    if process.wait() != 0:
        raise ServerError(f"`prefect deploy --all` failed with status {process.returncode}: {last_line(log)} (all of it: {log})")


def _worker(root: Path, url: str, pool: str) -> subprocess.Popen[bytes]:
    _bury_the_dead(url, pool)
    options = ["--pool", pool, "--type", "process", "--name", _name(pool), "--limit", str(POOLS[pool])]
    line = [sys.executable, "-m", "prefect", "worker", "start", *options]
    return supervised(line, root / "services" / f"worker-{pool}.log", _environment(root, url))


def _name(pool: str) -> str:
    return f"{pool}-{os.getpid()}"


def _wait_for_worker(url: str, pool: str, worker: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTUP_S
    while not any(found["name"] == _name(pool) for found in ask(url, f"work_pools/{pool}/workers/filter", {})):
        if worker.poll() is not None or time.monotonic() > deadline:
            raise ServerError(f"the worker of pool {pool!r} did not start: see services/worker-{pool}.log in the store")
        time.sleep(0.5)


def _bury_the_dead(url: str, pool: str) -> None:
    """Flow runs that died with their worker would hold their deployments' slots for ever: say that they crashed.

    Only where the database is the store's own: workers elsewhere may be at work on a shared one.
    """
    if os.environ.get("PREFECT_API_DATABASE_CONNECTION_URL"):
        return
    under_way = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    for run in ask(url, "flow_runs/filter", {"flow_runs": under_way, "work_pools": {"name": {"any_": [pool]}}}):
        state = {"type": "CRASHED", "name": "Crashed", "message": "its worker was stopped while it ran"}
        ask(url, f"flow_runs/{run['id']}/set_state", {"state": state})
        _say(f"flow run {run['name']} had crashed")


def _watch(root: Path, url: str, children: dict[str, subprocess.Popen[bytes]]) -> None:
    while True:
        time.sleep(_RESTART_S)
        if children["server"].poll() is not None:
            raise ServerError(f"the Prefect server ended: {last_line(root / 'services' / 'server.log')}")
        for pool in POOLS:
            if children[pool].poll() is not None:
                _say(f"the worker of pool {pool!r} ended with status {children[pool].returncode}: starting another")
                try:
                    children[pool] = _worker(root, url, pool)
                except (ServerError, OSError) as error:
                    _say(f"not yet: {error}")


def ask(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Prefect's answer over REST: a POST where there is a body, else a GET. 503 is how its server says that SQLite was busy."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/{path}", data, {"Content-Type": "application/json"})
    for attempt in range(_ATTEMPTS):
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code != 503 or attempt == _ATTEMPTS - 1:
                raise ServerError(f"Prefect at {url} refused {path}: {error} {error.read().decode(errors='replace'):.500}") from error
            time.sleep(1)


def _say(line: str) -> None:
    print(time.strftime("%Y-%m-%d %H:%M:%S"), line, flush=True)


if __name__ == "__main__":
    try:
        serve(Path(sys.argv[1]), int(sys.argv[2]))
    except ServerError as problem:
        sys.exit(str(problem))
