"""A Prefect server in a process of ours. It binds its port first, so that clients may connect at once and simply wait for the answer.

Prefect's own temporary server is an unsupervised child: SIGKILL of a flow leaves it running. This one ends with its owner.
"""

import gc
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import models.supervise
from storage.locks import file_lock

STARTUP_S = 120.0
"""A new database on a loaded machine was seen to take 33 s."""
PORT_S = 8.0
CHECKOUT = Path(__file__).resolve().parents[1]


class ServerError(ValueError):
    """A Prefect server could not be started, or does not answer."""


def settings(root: Path) -> dict[str, str]:
    """What every Prefect process of a store is started with: nothing is sent anywhere, nothing of another Prefect is touched."""
    home = root / "prefect"
    return {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # leases in memory: a slot whose holder dies after a server restart is never freed
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }


_EPHEMERAL = {
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
}


_OURS: list[subprocess.Popen[bytes]] = []
"""Kept until this process ends: the end of their pipe is what ends them, after Prefect's client has sent its last events."""


def supervised(command: list[str], log: Path, env: Mapping[str, str], read: bool = False) -> subprocess.Popen[bytes]:
    """Start a command that ends, with all it started, when this process does. Output goes to `log`; `read` keeps stdout for the caller."""
    log.parent.mkdir(parents=True, exist_ok=True)
    line = [sys.executable, str(Path(models.supervise.__file__)), "--", *command]
    with log.open("ab") as out:
        stdout = subprocess.PIPE if read else out
        return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=stdout, stderr=out, env=dict(env), cwd=CHECKOUT, start_new_session=True)


def start_server(root: Path, port: int, log: Path, extra: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], str]:
    """(process, API address) of a server that is bound but may still be starting. `port` 0 takes a free one."""
    env = {**os.environ, **settings(root), **extra}
    env.pop("PREFECT_API_URL", None)
    process = supervised([sys.executable, "-m", "flows.prefect_server", str(port)], log, env, read=True)
    assert process.stdout is not None
    number = process.stdout.readline().strip().decode()
    if not number:
        stop(process)
        raise ServerError(f"no Prefect server on port {port}: {last_line(log)}; choose another with --port N, or --port 0 for any free one")
    return process, f"http://127.0.0.1:{number}/api"


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path, timeout_s: float = STARTUP_S) -> None:
    """Raises ServerError when the server ends or does not answer in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"the Prefect server ended with status {process.returncode}: {last_line(log)} (all of it: {log})")
        if healthy(url, 1.0):
            return
    raise ServerError(f"the Prefect server at {url} did not answer within {timeout_s:.0f} s: see {log}")


def healthy(url: str, timeout_s: float) -> bool:
    """Whether a Prefect API answers there."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=timeout_s) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the supervisor to end what it supervises, and wait for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


@contextmanager
def starting(root: Path) -> Iterator[str]:
    """The address of a server for this process alone: it comes up while the body runs, answers once the body is left.

    Servers of one store come up one after the other: two may not migrate a new database at once.
    """
    log = root / "prefect" / "server.log"
    (root / "locks").mkdir(parents=True, exist_ok=True)
    with file_lock(root / "locks" / "prefect-start"):
        process, url = start_server(root, 0, log, _EPHEMERAL)
        try:
            yield url
            wait_until_ready(process, url, log)
        except BaseException:
            stop(process)
            raise
    _OURS.append(process)


def last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def main(port: int) -> NoReturn:
    """The server's process: print the port that is bound, then serve."""
    listener = _bind(port)
    number = listener.getsockname()[1]
    os.environ["PREFECT_SERVER_UI_API_URL"] = f"http://127.0.0.1:{number}/api"  # else the pages of another port ask 4200
    print(number, flush=True)
    os.dup2(2, 1)
    gc.disable()  # the import makes a million objects that stay: collecting among them was a sixth of the start-up
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(ephemeral="PREFECT__SERVER_EPHEMERAL" in os.environ, final=True)
    gc.freeze()
    gc.enable()
    uvicorn.Server(uvicorn.Config(app, lifespan="on", log_level="error")).run(sockets=[listener])
    sys.exit(0)


def _bind(port: int) -> socket.socket:
    """Loopback only. A server of ours that was killed a moment ago may still hold the port."""
    deadline = time.monotonic() + PORT_S
    while True:
        try:
            return socket.create_server(("127.0.0.1", port), backlog=512)
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


if __name__ == "__main__":
    main(int(sys.argv[1]))
