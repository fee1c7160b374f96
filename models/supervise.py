"""A command that cannot outlive its owner: `python supervise.py -- CMD ...` ends CMD and all it started when its own stdin ends.

The owner holds the other end of that pipe, so even SIGKILL of the owner is noticed. (The kernel's parent-death signal is not used: it
fires when the spawning *thread* ends.) Standard library only; runs by path, under any Python 3.11.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_LOOK_S = 0.5
"""How often the owner is looked for, besides its pipe: a fork of the owner may hold the pipe open after the owner's death."""
_ORDERLY_S = 15.0
"""Between SIGTERM and SIGKILL when the owner asks to stop: a killed server leaves its shared memory behind."""
_ORPHAN_S = 5.0
"""The same when the owner is gone and nobody waits."""
_KILLED_S = 3.0
"""How long what was killed is waited for."""
_PR_SET_CHILD_SUBREAPER = 36

_stop_asked = False


def main(arguments: list[str]) -> int:
    """Run the command after `--` until it ends or the owner does. Returns its exit code, 143 when it was stopped."""
    if arguments[:1] != ["--"] or len(arguments) < 2:
        print("usage: supervise.py -- COMMAND [ARGUMENT ...], with stdin a pipe that its owner holds", file=sys.stderr)
        return 2
    woken = _wake_on_signals()
    if sys.platform == "linux":  # orphans of the command become children here, where they can be found
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    owner = os.getppid()
    child = subprocess.Popen(arguments[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    while child.poll() is None and not _stop_asked and os.getppid() == owner:
        ready = select.select([0, woken], [], [], _LOOK_S)[0]
        if woken in ready:
            os.read(woken, 4096)
        if 0 in ready and not os.read(0, 4096):
            break
    stopped = child.poll() is None
    end(child.pid, _ORDERLY_S if _stop_asked else _ORPHAN_S)
    return 143 if stopped else child.returncode


def _wake_on_signals() -> int:
    """A descriptor that becomes readable when a signal arrives: a request to stop, or the end of a child."""
    woken, poke = os.pipe()
    os.set_blocking(poke, False)
    signal.set_wakeup_fd(poke, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _ask_to_stop)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return woken


def _ask_to_stop(number: int, frame: object) -> None:
    global _stop_asked
    _stop_asked = True


def end(group: int, grace_s: float) -> None:
    """SIGTERM to the process group, and after a grace SIGKILL to it and to every child that is left."""
    _signal_group(group, signal.SIGTERM)
    if _gone(time.monotonic() + grace_s):
        return
    _signal_group(group, signal.SIGKILL)
    deadline = time.monotonic() + _KILLED_S
    while not _gone(time.monotonic()) and time.monotonic() < deadline:
        for pid in _children():  # each death may hand down further orphans
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _gone(deadline: float) -> bool:
    """Reap children until none is left (True) or the deadline passes."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)


def _children() -> list[int]:
    listing = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(pid) for pid in listing.read_text().split()] if listing.is_file() else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
