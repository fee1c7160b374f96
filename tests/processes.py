"""Looking at real processes in tests, by what Linux says in /proc."""

from pathlib import Path

HERE = Path("/proc/self/task").exists()
"""Whether this system has such a /proc."""


def descendants(pid: int) -> list[int]:
    """The processes that a process started, with those that they started."""
    children = [int(child) for thread in Path(f"/proc/{pid}/task").iterdir() for child in (thread / "children").read_text().split()]
    return [*children, *(below for child in children for below in descendants(child))]


def left(pids: list[int]) -> list[int]:
    """Those that are still there."""
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]
