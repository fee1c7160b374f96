"""How many requests one endpoint bears: additive increase, multiplicative decrease (Chiu and Jain 1989), as TCP does.

One limiter per endpoint and event loop, shared by all engines of the process: a server counts requests, not the engines they come from.
"""

import asyncio
from collections import deque
from types import TracebackType
from weakref import WeakKeyDictionary


class Limiter:
    """Holds back requests above `limit`, first come first served. Enter it for each request; tell it how the request went."""

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.limit = float(ceiling)
        self.running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed_until = 0.0
        self._cut_at = 0.0

    async def __aenter__(self) -> float:
        """The moment (loop time) the request was let through, to be handed to `refused`."""
        loop = asyncio.get_running_loop()
        if self._has_room() and not self._waiting:
            self.running += 1
            return loop.time()
        turn = loop.create_future()
        self._waiting.append(turn)
        try:
            await turn  # whoever ends it has counted this request as running
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.running -= 1
                self._wake()
            raise
        return loop.time()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.running -= 1
        self._wake()

    def answered(self) -> None:
        """A request went well: one more may run at once, after about as many answers as are allowed to run."""
        self.limit = min(self.ceiling, self.limit + 1 / self.limit)

    def refused(self, let_through: float, wait_s: float) -> None:
        """The server said it is too much: half as many from now on, and none for `wait_s` seconds. Refusals of one burst count once."""
        loop = asyncio.get_running_loop()
        if let_through >= self._cut_at:
            self.limit = max(1.0, self.limit / 2)
            self._cut_at = loop.time()
        until = loop.time() + wait_s
        if until > self._closed_until:
            self._closed_until = until
            loop.call_at(until, self._reopen, until)

    def _reopen(self, until: float) -> None:
        if until >= self._closed_until:  # else a later refusal closed it for longer
            self._closed_until = 0.0
            self._wake()

    def _has_room(self) -> bool:
        return not self._closed_until and self.running < int(self.limit)

    def _wake(self) -> None:
        while self._waiting and self._has_room():
            turn = self._waiting.popleft()
            if not turn.done():  # it may have been cancelled while it waited
                self.running += 1
                turn.set_result(None)


_limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Limiter]] = WeakKeyDictionary()


def limiter_of(endpoint: str, ceiling: int) -> Limiter:
    """The running loop's limiter of an endpoint; of several ceilings given for it, the lowest holds."""
    mine = _limiters.setdefault(asyncio.get_running_loop(), {})
    limiter = mine.setdefault(endpoint, Limiter(ceiling))
    if ceiling < limiter.ceiling:
        limiter.ceiling, limiter.limit = ceiling, min(limiter.limit, float(ceiling))
    return limiter
