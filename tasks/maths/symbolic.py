"""The last tier: Math-Verify in a few processes that are killed and replaced as needed.

Math-Verify 0.9.0 times itself with signals (main thread only) and can take seconds or gigabytes, so it never runs in this process. Each
worker (`math_verify_worker`) has its own pipe: nothing is shared that a killed one could leave locked. Workers start with the first
question, serve any thread, and end with this process.
"""

import atexit
import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tasks.maths import math_verify_worker

WORKERS = max(1, min(4, os.cpu_count() or 1))
_START_S = 120.0
_GRACE_S = 1.0
_ATTEMPTS = 2
_ROOT = Path(__file__).parents[2]


class WorkerDied(Exception):
    """A worker was killed from outside, or did not answer."""


class _Worker:
    """A worker process and its two pipes. Used by one thread at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", math_verify_worker.__name__]
        self.process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            self._hear(_START_S)  # "ready"
        except BaseException:
            self.end()
            raise

    def ask(self, gold: str, given: str, limit_s: float) -> bool | None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write((json.dumps([gold, given, limit_s]) + "\n").encode())
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerDied(str(error)) from error
        verdict = self._hear(limit_s + _GRACE_S)
        return verdict if isinstance(verdict, bool) else None

    def _hear(self, within_s: float) -> Any:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], within_s)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            raise WorkerDied(f"worker {self.process.pid} gave no answer")
        return json.loads(line)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # closing flushes what a dead worker never read
                    pipe.close()


class _Pool:
    """Slots for workers; an empty slot is filled by the thread that takes it."""

    def __init__(self) -> None:
        self.slots: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self.workers: set[_Worker] = set()
        for _ in range(WORKERS):
            self.slots.put(None)

    def ask(self, gold: str, given: str, limit_s: float) -> bool | None:
        worker = self.slots.get()
        try:
            if worker is None:
                worker = _Worker()
                self.workers.add(worker)
            return worker.ask(gold, given, limit_s)
        except BaseException:  # an interrupted question leaves its answer in the pipe, where the next one would read it
            if worker is not None:
                worker.end()
                self.workers.discard(worker)
                worker = None
            raise
        finally:
            self.slots.put(worker)

    def end(self) -> None:
        for worker in list(self.workers):
            worker.end()


_pool = _Pool()


def equal_by_math_verify(gold: str, given: str, limit_s: float) -> bool | None:
    """Math-Verify's verdict where it gives the same one in both directions; None where it does not, cannot parse, or takes too long.

    `limit_s`: seconds of wall time from the moment a worker is free.
    """
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(WorkerDied):  # killed from outside: a new one is asked once more
            return _pool.ask(gold, given, limit_s)
    return None


def warm() -> None:
    """Start every worker and wait until it is ready. Optional: questions do it as they come."""
    threads = [threading.Thread(target=equal_by_math_verify, args=("1", "1", 10.0)) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def worker_pids() -> list[int]:
    """Process ids of the workers that run now."""
    return [worker.process.pid for worker in _pool.workers]


def _end() -> None:
    _pool.end()


def _forget() -> None:
    """A forked child shares no worker with its parent: it starts its own."""
    global _pool
    _pool = _Pool()


atexit.register(_end)
os.register_at_fork(after_in_child=_forget)
