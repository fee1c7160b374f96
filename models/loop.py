"""The process's one event loop for model calls, in a thread of its own: stages of many shards share engines, limits and connections."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def model_loop() -> asyncio.AbstractEventLoop:
    """The running loop, started on first use."""
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="model-loop", daemon=True).start()
        return _loop


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine there and wait for it, from any other thread. An interrupt of the waiting thread cancels it."""
    future = asyncio.run_coroutine_threadsafe(coroutine, model_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
