"""Whether processes are gone."""

import contextlib
import time
from pathlib import Path


def alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until_gone(pids: list[int], limit_s: float = 10) -> None:
    deadline = time.monotonic() + limit_s
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, f"still there: {[p for p in pids if alive(p)]}"
        time.sleep(0.05)
