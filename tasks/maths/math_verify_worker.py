"""One Math-Verify worker: a process of its own (`python -m tasks.maths.math_verify_worker`) that answers JSON lines.

It imports Math-Verify once and forks a child for every pair, so that a pair that runs away is killed exactly on time and the next one
still finds everything imported. In: `[gold, given, limit in seconds]`; out: true, false, or null for no verdict. A child may take MEMORY
bytes, write no file, and dies by its own alarm should this process be gone.
"""

import json
import logging
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from typing import Any

MEMORY = 4 * 2**30
_GRACE_S = 0.5

Compare = Callable[[str, str], bool | None]


def serve(compare: Compare) -> None:
    """Answer until standard input ends. The first line out says that the imports are done."""
    _say("ready")
    for line in sys.stdin:
        gold, given, limit_s = json.loads(line)
        _say(_in_child(compare, gold, given, limit_s))


def _say(message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _in_child(compare: Compare, gold: str, given: str, limit_s: float) -> bool | None:
    """The child's verdict, None when it is not there in time."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(compare, gold, given, limit_s, write_end)
    os.close(write_end)
    ready, _, _ = select.select([read_end], [], [], limit_s)
    said = os.read(read_end, 1) if ready else b""
    os.close(read_end)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return {b"1": True, b"0": False}.get(said)


def _answer(compare: Compare, gold: str, given: str, limit_s: float, write_end: int) -> None:
    """In the child: one byte with the verdict, then the end. Whatever goes wrong in Math-Verify is no verdict."""
    try:
        signal.setitimer(signal.ITIMER_REAL, limit_s + _GRACE_S)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        verdict = compare(gold, given)
        os.write(write_end, b"?" if verdict is None else b"1" if verdict else b"0")
    finally:
        os._exit(0)


def math_verify_compare() -> Compare:
    """Math-Verify's verdict where it is the same in both directions; None where it is not, or a text does not parse."""
    from math_verify import LatexExtractionConfig, parse, verify

    config = [LatexExtractionConfig()]

    def compare(gold: str, given: str) -> bool | None:
        a, b = (parse(f"${text}$", extraction_config=config, fallback_mode="no_fallback", parsing_timeout=None) for text in (gold, given))
        if not a or not b:
            return None
        forth = verify(a, b, numeric_precision=30, timeout_seconds=None)
        return forth if forth == verify(b, a, numeric_precision=30, timeout_seconds=None) else None

    compare("x+1", "1+x")  # grammars and caches that are made on first use
    return compare


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    serve(math_verify_compare())
