"""Engines: what a stage may ask of a model, and the one wrapper that makes every call a row in the ledger.

A `Backend` talks to a model and knows no ledger. `Engine` is what stages receive: it looks up each draw in the ledger,
asks the backend for the missing ones only, and writes each reply before anybody parses it. Stages cannot reach a backend.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from storage.ids import digest
from storage.ledger import Call, Ledger


class EngineError(Exception):
    """A call failed for good (after retries): the row it was for is quarantined. Never stored as a reply."""


class MissingCall(EngineError):
    """A replay was asked something that is not in the ledger."""


class Message(NamedTuple):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked: exactly one of chat messages (a last assistant turn is a prefill), raw text, or token ids."""

    messages: tuple[Message, ...] | None = None
    text: str | None = None
    token_ids: tuple[int, ...] | None = None

    def payload(self) -> dict[str, Any]:
        """The canonical JSON form, part of the ledger key."""
        if self.messages is not None:
            return {"messages": [list(m) for m in self.messages]}
        return {"text": self.text} if self.text is not None else {"token_ids": list(self.token_ids or ())}


class Sampling(BaseModel):
    """How replies are drawn. Every field changes the reply, so every field is part of the ledger key."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    """Nucleus mass, 0 < top_p <= 1."""
    max_tokens: int = 512
    """Longest reply in tokens; a longer one ends with finish_reason `length`."""
    stop: tuple[str, ...] = ()
    """Strings that end the reply (not included in it)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of a model."""

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    call_id: str = ""
    """Key of the row in the ledger; empty until it is there."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which model, exactly: known without starting anything."""

    model: str
    revision: str
    """Digest of weights, config, tokenizer and template; a declared revision; or `unversioned`."""
    options: tuple[tuple[str, str], ...] = ()
    """What else changes replies: dtype, quantisation, adapter."""

    def payload(self) -> dict[str, Any]:
        return {"model": self.model, "revision": self.revision, "options": [list(o) for o in self.options]}


class Backend(Protocol):
    """A model behind some transport. All methods run in the process's one model loop (`models.loop`)."""

    identity: Identity

    async def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Reply:
        """One reply. Raises EngineError when the call failed after the backend's own retries."""
        ...

    async def score(self, prompt: Prompt, continuation: str) -> list[float]:
        """Log-probability (nats) of each token of `continuation` after `prompt`."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text."""
        ...

    async def close(self) -> None:
        """Give back what the backend holds: connections, weights, a server process."""
        ...


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a call is recorded with, never keyed by."""

    run_id: str
    stage: str


class Engine:
    """A model as stages see it: every draw is looked up in the ledger first, and written there before it is returned."""

    def __init__(
        self,
        backend: Backend,
        ledger: Ledger,
        *,
        stream: str = "main",
        ticket: Ticket = Ticket("", ""),
        concurrency: int = 8,
        in_flight: dict[str, asyncio.Future[Reply]] | None = None,
    ) -> None:
        """`stream` names independent draws; `concurrency` bounds the calls under way; `in_flight` is shared in a process."""
        self._backend = backend
        self._ledger = ledger
        self._stream = stream
        self._ticket = ticket
        self._slots = asyncio.Semaphore(concurrency)
        self._in_flight = {} if in_flight is None else in_flight
        self._model = backend.identity.payload()

    @property
    def identity(self) -> Identity:
        return self._backend.identity

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> AsyncIterator[Reply]:
        """Draws 0..n-1 of the stream, in order. If any draw fails all others are still asked (and kept), then EngineError is raised."""
        requests = [self._request("generate", prompt.payload(), sampling.model_dump(mode="json"), i) for i in range(n)]
        keys = [digest(r, 64) for r in requests]
        known = self._ledger.get(keys)
        results = await asyncio.gather(
            *(
                _reply(known[key], key) if key in known else self._shared(key, request, prompt, sampling)
                for key, request in zip(keys, requests, strict=True)
            ),
            return_exceptions=True,
        )
        for failure in results:
            if isinstance(failure, BaseException):
                raise failure
        for reply in results:
            if isinstance(reply, Reply):
                yield reply

    def _request(self, kind: str, payload: dict[str, Any], params: dict[str, Any], draw: int) -> dict[str, Any]:
        return {"kind": kind, "input": payload, "params": params, "model": self._model, "draw": [self._stream, draw]}

    async def _shared(self, key: str, request: dict[str, Any], prompt: Prompt, sampling: Sampling) -> Reply:
        """Identical questions that are under way at the same moment share one call."""
        waiting = self._in_flight.get(key)
        if waiting is not None:
            return await asyncio.shield(waiting)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._in_flight[key] = future
        try:
            reply = await self._ask(key, request, prompt, sampling)
        except BaseException as error:
            future.set_exception(error)
            future.exception()  # read once: nobody may be waiting
            raise
        else:
            future.set_result(reply)
            return reply
        finally:
            del self._in_flight[key]

    async def _ask(self, key: str, request: dict[str, Any], prompt: Prompt, sampling: Sampling) -> Reply:
        async with self._slots:
            seed = int(key[:8], 16) & 0x7FFFFFFF
            started = time.monotonic()
            reply = await self._backend.generate(prompt, sampling, seed)
            value = {"text": reply.text, "finish_reason": reply.finish_reason}
            self._ledger.put(
                Call(
                    key=key,
                    kind="generate",
                    model=f"{self.identity.model}@{self.identity.revision}",
                    request=request,
                    value=value,
                    finish_reason=reply.finish_reason,
                    prompt_tokens=reply.prompt_tokens,
                    completion_tokens=reply.completion_tokens,
                    seed=seed,
                    run_id=self._ticket.run_id,
                    stage=self._ticket.stage,
                    latency_s=time.monotonic() - started,
                )
            )
        return replace(reply, call_id=key)


async def _reply(call: Call, key: str) -> Reply:
    return Reply(call.value["text"], call.value["finish_reason"], call.prompt_tokens or 0, call.completion_tokens or 0, key)
