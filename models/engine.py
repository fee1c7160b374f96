"""Engines: what a stage may ask of a model, and the one wrapper that makes every call a row in the ledger.

A `Backend` talks to a model and knows no ledger. `Engine` is what stages receive: it looks up each draw in the ledger,
asks the backend for the missing ones only, and writes each reply before anybody parses it. Stages cannot reach a backend.
"""

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from storage.ids import digest
from storage.ledger import Call, Ledger

T = TypeVar("T")
_EMBED_BATCH = 64


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

    def __post_init__(self) -> None:
        if sum(bool(given) for given in (self.messages, self.text, self.token_ids)) != 1:
            raise ValueError(f"a prompt is exactly one of messages, text and token ids, and not empty: got {self!r:.200}")

    def payload(self) -> dict[str, Any]:
        """The canonical JSON form, part of the ledger key."""
        if self.messages is not None:
            return {"messages": [list(m) for m in self.messages]}
        return {"text": self.text} if self.text is not None else {"token_ids": list(self.token_ids or ())}

    @property
    def prefill(self) -> str:
        """What the reply is made to begin with: the text of a last assistant turn. Backends reply with what follows it alone."""
        return self.messages[-1].content if self.messages and self.messages[-1].role == "assistant" else ""

    def preview(self) -> str:
        """The first 100 characters of what is asked, for messages."""
        if self.messages is not None:
            return repr(next((m.content for m in reversed(self.messages) if m.role == "user"), self.messages[-1].content)[:100])
        return repr(self.text[:100]) if self.text is not None else f"token ids {list(self.token_ids or ())[:20]}"


class Sampling(BaseModel):
    """How replies are drawn. Every field changes the reply, so every field is part of the ledger key."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    temperature: float = Field(default=1.0, ge=0, le=2)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus mass, 0 < top_p <= 1."""
    max_tokens: int = Field(default=512, ge=1)
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
        """The canonical JSON form, part of the ledger key. A digest of the content says all: the name of a folder must not count."""
        named = {} if self.revision.startswith("sha256:") else {"model": self.model}
        return {**named, "revision": self.revision, "options": [list(o) for o in self.options]}

    def __str__(self) -> str:
        return f"{self.model}@{self.revision}"


class Backend(Protocol):
    """A model behind some transport. All methods run in the process's one model loop (`models.loop`)."""

    identity: Identity
    seeded: bool
    """Whether a draw's seed reaches the model; recorded with the call."""

    async def check(self) -> None:
        """Asked once before a stage runs. Raises EngineError, quickly, when no call could succeed: nobody there, or no way in."""
        ...

    async def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Reply:
        """One reply. Raises EngineError when the call failed after the backend's own retries."""
        ...

    async def score(self, prompt: Prompt, continuation: str) -> list[float]:
        """Log-probability (nats) of each token of `continuation` (tokenised by itself) after `prompt`, in order."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text, in order."""
        ...

    async def close(self) -> None:
        """Give back what the backend holds: connections, weights, a server process."""
        ...


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a call is recorded with, never keyed by."""

    run_id: str
    stage: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend said, as the ledger keeps it."""

    value: dict[str, Any]
    seed: int | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


Ask = Callable[[int, int], Awaitable[Answer]]
"""(number of the request, seed) -> answer."""


@dataclass(slots=True)
class SharedCall:
    """A call under way and how many wait for it: it is cancelled with the last of them, not with the first."""

    task: asyncio.Task[Call]
    waiting: int = 0


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
        in_flight: dict[str, SharedCall] | None = None,
        price: tuple[float, float] | None = None,
    ) -> None:
        """`stream` names independent draws; `concurrency` bounds the calls under way; `in_flight` is shared in a process; `price` is the
        cost of one (prompt, reply) token."""
        self._backend = backend
        self._ledger = ledger
        self._stream = stream
        self._ticket = ticket
        self._slots = asyncio.Semaphore(concurrency)
        self._in_flight = {} if in_flight is None else in_flight
        self._price = price
        self._model = backend.identity.payload()
        self.paid = 0
        """Calls that were made and not found in the ledger."""

    @property
    def identity(self) -> Identity:
        return self._backend.identity

    async def sample(self, prompt: Prompt, n: int, sampling: Sampling) -> AsyncIterator[Reply]:
        """Draws 0..n-1 of the stream, in order. If any draw fails all others are still asked (and kept), then EngineError is raised."""
        params = sampling.model_dump(mode="json")
        requests = [self._request("generate", prompt.payload(), params, [self._stream, i]) for i in range(n)]
        for call in await self._calls(requests, lambda _, seed: self._generate(prompt, sampling, seed)):
            yield _reply(call)

    async def score(self, prompt: Prompt, continuation: str) -> list[float]:
        """Log-probability (nats) of each token of `continuation` after `prompt`; asked once, whatever the stream."""
        request = self._request("score", prompt.payload(), {"continuation": continuation}, None)

        async def ask(_: int, seed: int) -> Answer:
            return Answer({"logprobs": await self._backend.score(prompt, continuation)})

        [call] = await self._calls([request], ask)
        return [float(x) for x in call.value["logprobs"]]

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text, in order; each text is asked once, whatever the stream, and batches are kept as they arrive."""
        requests = {text: self._request("embed", {"text": text}, {}, None) for text in texts}
        keys = {text: digest(request, 64) for text, request in requests.items()}
        known = self._ledger.get(list(keys.values()))
        missing = [text for text, key in keys.items() if key not in known]
        batches = [missing[i : i + _EMBED_BATCH] for i in range(0, len(missing), _EMBED_BATCH)]
        asked = await _all(self._embed_batch(batch, keys, requests) for batch in batches)
        known |= {call.key: call for calls in asked for call in calls}
        return [known[keys[text]].value["vector"] for text in texts]

    async def _embed_batch(self, texts: list[str], keys: dict[str, str], requests: dict[str, dict[str, Any]]) -> list[Call]:
        async with self._slots:
            started = time.monotonic()
            vectors = await self._backend.embed(texts)
            if len(vectors) != len(texts):
                raise EngineError(f"{self.identity}: {len(vectors)} vectors for {len(texts)} texts")
            pairs = zip(texts, vectors, strict=True)
            self.paid += len(vectors)
            self._ledger.put_many(self._record(keys[text], requests[text], Answer({"vector": vector}), started) for text, vector in pairs)
        return list(self._ledger.get([keys[text] for text in texts]).values())

    def _request(self, kind: str, payload: dict[str, Any], params: dict[str, Any], draw: list[Any] | None) -> dict[str, Any]:
        return {"kind": kind, "input": payload, "params": params, "model": self._model, "draw": draw}

    async def _generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Answer:
        reply = await self._backend.generate(prompt, sampling, seed)
        value = {"text": reply.text, "finish_reason": reply.finish_reason}
        return Answer(value, seed if self._backend.seeded else None, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens)

    async def _calls(self, requests: list[dict[str, Any]], ask: Ask) -> list[Call]:
        """The answers in order, from the ledger where it has them."""
        keys = [digest(request, 64) for request in requests]
        known = self._ledger.get(keys)
        missing = {key: i for i, key in enumerate(keys) if key not in known}
        asked = await _all(self._shared(key, requests[i], functools.partial(ask, i)) for key, i in missing.items())
        known |= {call.key: call for call in asked}
        return [known[key] for key in keys]

    async def _shared(self, key: str, request: dict[str, Any], ask: Callable[[int], Awaitable[Answer]]) -> Call:
        """Identical questions that are under way at the same moment share one call."""
        shared = self._in_flight.get(key)
        if shared is None:
            shared = self._in_flight[key] = SharedCall(asyncio.create_task(self._ask(key, request, ask)))
            shared.task.add_done_callback(functools.partial(self._settle, key, shared))
        shared.waiting += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if not shared.waiting and not shared.task.done():
                self._forget(key, shared)  # who asks from now on must not get a call that is being cancelled
                shared.task.cancel()

    def _settle(self, key: str, shared: SharedCall, task: asyncio.Task[Call]) -> None:
        self._forget(key, shared)
        if not task.cancelled():
            task.exception()  # read, so that asyncio does not report a failure whose waiters were all cancelled

    def _forget(self, key: str, shared: SharedCall) -> None:
        if self._in_flight.get(key) is shared:
            del self._in_flight[key]

    async def _ask(self, key: str, request: dict[str, Any], ask: Callable[[int], Awaitable[Answer]]) -> Call:
        async with self._slots:
            started = time.monotonic()
            try:
                answer = await ask(int(key[:8], 16) & 0x7FFFFFFF)
            except MissingCall as error:
                raise MissingCall(f"stage {self._ticket.stage!r}: {error}") from error
            self.paid += 1
            self._ledger.put(self._record(key, request, answer, started))  # no await since the answer: what was paid is kept
        return self._ledger.get([key])[key]  # another process may have been first, and the first reply is the one that stays

    def _record(self, key: str, request: dict[str, Any], answer: Answer, started: float) -> Call:
        return Call(
            key=key,
            kind=request["kind"],
            model=str(self.identity),
            request=request,
            value=answer.value,
            finish_reason=answer.finish_reason,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            seed=answer.seed,
            run_id=self._ticket.run_id,
            stage=self._ticket.stage,
            latency_s=time.monotonic() - started,
            cost=self._cost(answer),
            at=time.time(),
        )

    def _cost(self, answer: Answer) -> float | None:
        """Of a call whose tokens were counted; None where they or the price are not known."""
        if self._price is None or answer.prompt_tokens is None:
            return None
        return self._price[0] * answer.prompt_tokens + self._price[1] * (answer.completion_tokens or 0)


async def _all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Every result in order. All are awaited to their end before the first failure is raised, a bug before an EngineError."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for failure in sorted((f for f in found if isinstance(f, BaseException)), key=lambda f: isinstance(f, EngineError)):
        raise failure
    return [f for f in found if not isinstance(f, BaseException)]


def _reply(call: Call) -> Reply:
    return Reply(call.value["text"], call.value["finish_reason"], call.prompt_tokens or 0, call.completion_tokens or 0, call.key)
