"""Looking at real processes in tests, by what Linux says in /proc."""

import contextlib
import time
from pathlib import Path

HERE = Path("/proc/self/task").exists()
"""Whether this system has such a /proc."""


def alive(pid: int) -> bool:
    """Whether it runs; one that has ended and waits for its parent does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def left(pids: list[int]) -> list[int]:
    """Those that still run."""
    return [pid for pid in pids if alive(pid)]


def wait_until_gone(pids: list[int], limit_s: float = 10) -> None:
    deadline = time.monotonic() + limit_s
    while left(pids):
        assert time.monotonic() < deadline, f"still there: {left(pids)}"
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """The processes that a process started, with those that they started."""
    children = [int(child) for thread in Path(f"/proc/{pid}/task").iterdir() for child in (thread / "children").read_text().split()]
    return [*children, *(below for child in children for below in descendants(child))]
