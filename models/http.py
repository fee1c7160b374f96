"""`http:` any OpenAI-compatible server, through the real `openai` client; retries and the limit on requests under way are ours.

The client's own retries are off: they know nothing of other requests to the same endpoint, and hide how often a call was made.
Every answer is checked against the fields used here; what does not have them is a failed attempt, never a reply.
"""

import asyncio
import email.utils
import json
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import openai
from pydantic import BaseModel, FiniteFloat, ValidationError

from models.engine import EngineError, Identity, Prompt, Reply, Sampling
from models.limiter import Limiter, limiter_of
from models.refs import EngineSpec

log = logging.getLogger(__name__)
T = TypeVar("T")
A = TypeVar("A", bound=BaseModel)

_LONGEST_BACKOFF_S = 60.0
_SHORTEST_WAIT_S = 0.01
_CONNECT_S = 10.0


class Malformed(Exception):
    """An answer of the server that is no reply."""


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int | None = None


class _Message(BaseModel):
    content: str | None


class _Logprobs(BaseModel):
    tokens: list[str]
    token_logprobs: list[FiniteFloat | None]


class _Choice(BaseModel):
    finish_reason: str
    message: _Message | None = None
    text: str | None = None
    logprobs: _Logprobs | None = None


class _Answer(BaseModel):
    """What chat and completions endpoints have in common."""

    choices: list[_Choice]
    usage: _Usage | None = None


class _Vector(BaseModel):
    index: int
    embedding: list[FiniteFloat]


class _Vectors(BaseModel):
    data: list[_Vector]


class _Tokens(BaseModel):
    tokens: list[int]


@dataclass(frozen=True, slots=True)
class _Failure:
    """What went wrong in one attempt, and what follows from it."""

    reason: str
    then: Literal["give up", "try again", "wait"]
    refused: bool = False
    """The server said that it is too much."""
    wait_s: float | None = None
    """How long it asked to be left alone."""


class HttpBackend:
    """One model of one endpoint. `api_key` overrides the environment (managed servers make their own)."""

    def __init__(self, url: str, model: str, identity: Identity, spec: EngineSpec, *, api_key: str | None = None) -> None:
        self.identity = identity
        self.seeded = spec.send_seed
        self._url = url
        self._model = model
        self._spec = spec
        # A server on this machine is never behind the proxy of the environment.
        local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
        timeout = openai.Timeout(spec.timeout_s, connect=min(_CONNECT_S, spec.timeout_s), pool=None)
        self._client = openai.AsyncOpenAI(
            base_url=url,
            api_key=api_key or os.environ.get(spec.api_key_env) or "none",
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(timeout=timeout, trust_env=not local),
        )

    async def check(self) -> None:
        """One look at the list of models. Raises EngineError when nobody answers or the key is refused; other answers are no verdict."""
        try:
            async with asyncio.timeout(min(3 * _CONNECT_S, self._spec.timeout_s)):
                raw = await self._client.models.with_raw_response.list()
        except (openai.APIConnectionError, TimeoutError) as error:
            way_out = f"start the server, or change the URL of {self._spec.ref!r}"
            raise EngineError(f"nobody answers at {self._url} ({_cause(error)}): {way_out}") from error
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                raise EngineError(self._keyless(error)) from error
            log.info("%s has no list of models (HTTP %d)", self._url, error.status_code)
        else:
            self._look_for_model(raw.text)

    def _look_for_model(self, listing: str) -> None:
        """Servers may know a model by names they do not list: a word of warning only."""
        try:
            names = [entry["id"] for entry in json.loads(listing)["data"]]
        except (ValueError, KeyError, TypeError) as error:
            log.info("the list of models of %s cannot be read: %s", self._url, error)
            return
        if names and self._model not in names:
            log.warning("%s does not list a model %r: it has %s", self._url, self._model, names[:10])

    def _keyless(self, error: openai.APIStatusError) -> str:
        name = self._spec.api_key_env
        state = "is set but was refused" if os.environ.get(name) else "is not set"
        return f"{self._url} wants a key (HTTP {error.status_code}): variable {name} {state}; export it, or name another (api_key_env)"

    async def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Reply:
        """One reply. Raises EngineError after the last attempt."""
        params: dict[str, Any] = {"model": self._model, **sampling.model_dump(exclude={"stop"})}
        if sampling.stop:
            params["stop"] = list(sampling.stop)
        if self._spec.send_seed:
            params["seed"] = seed
        if prompt.messages is None:
            params["prompt"] = prompt.text if prompt.text is not None else list(prompt.token_ids or ())
            return await self._ask(lambda: self._completion(params))
        params["messages"] = [{"role": m.role, "content": m.content} for m in prompt.messages]
        if prompt.messages[-1].role == "assistant":
            params["extra_body"] = {"add_generation_prompt": False, "continue_final_message": True}
        return await self._ask(lambda: self._chat(params))

    async def _chat(self, params: dict[str, Any]) -> Reply:
        raw = await self._client.chat.completions.with_raw_response.create(**params)
        choice, usage = _only_choice(raw.text)
        if choice.message is None:
            raise Malformed("the reply has no message")
        return _reply(choice.message.content, choice.finish_reason, usage)

    async def _completion(self, params: dict[str, Any]) -> Reply:
        raw = await self._client.completions.with_raw_response.create(**params)
        choice, usage = _only_choice(raw.text)
        return _reply(choice.text, choice.finish_reason, usage)

    async def score(self, prompt: Prompt, continuation: str) -> list[float]:
        """Log-probability (nats) of each token of `continuation` after `prompt`.

        Servers with `/tokenize` (vLLM) score any prompt, the continuation tokenised by itself; others raw text only, where a
        token across the border counts as the continuation's.
        """
        head = await self._ask(lambda: self._prompt_tokens(prompt))
        if head is not None:
            tail = await self._ask(lambda: self._tokenize({"prompt": continuation, "add_special_tokens": False}))
            scores = await self._ask(lambda: self._echo([*head, *tail]))
            return _known(scores.token_logprobs[len(head) : len(head) + len(tail)], len(tail))
        if prompt.text is None:
            raise EngineError(f"{self._url} has no /tokenize: there only raw text can be scored, not {prompt.preview()}")
        text = prompt.text + continuation
        scores = await self._ask(lambda: self._echo(text))
        first, last = _span(scores.tokens, len(prompt.text), text)
        return _known(scores.token_logprobs[first:last], last - first)

    async def _prompt_tokens(self, prompt: Prompt) -> list[int] | None:
        """The prompt as the model reads it, or None where the server cannot say."""
        if prompt.token_ids is not None:
            return list(prompt.token_ids)
        body: dict[str, Any] = {"prompt": prompt.text}
        if prompt.messages is not None:
            prefilled = prompt.messages[-1].role == "assistant"
            turns = [{"role": m.role, "content": m.content} for m in prompt.messages]
            body = {"messages": turns, "add_generation_prompt": not prefilled, "continue_final_message": prefilled}
        try:
            return await self._tokenize(body)
        except openai.NotFoundError:
            return None

    async def _tokenize(self, body: dict[str, Any]) -> list[int]:
        root = self._url.removesuffix("/v1")
        answer = await self._client.post(f"{root}/tokenize", body={"model": self._model, **body}, cast_to=object)
        return _checked(_Tokens, json.dumps(answer)).tokens

    async def _echo(self, prompt: str | list[int]) -> _Logprobs:
        # one token is generated and ignored: not every server allows none
        raw = await self._client.completions.with_raw_response.create(
            model=self._model, prompt=prompt, echo=True, logprobs=1, max_tokens=1, temperature=0
        )
        choice, _ = _only_choice(raw.text)
        if choice.logprobs is None or len(choice.logprobs.tokens) != len(choice.logprobs.token_logprobs):
            raise Malformed("echoed prompt without its log-probabilities")
        return choice.logprobs

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text, in order."""
        return await self._ask(lambda: self._embeddings(list(texts)))

    async def _embeddings(self, texts: list[str]) -> list[list[float]]:
        raw = await self._client.embeddings.with_raw_response.create(model=self._model, input=texts, encoding_format="float")
        rows = sorted(_checked(_Vectors, raw.text).data, key=lambda row: row.index)
        if [row.index for row in rows] != list(range(len(texts))):
            raise Malformed(f"{len(rows)} vectors for {len(texts)} texts")
        return [row.embedding for row in rows]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _ask(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """One call through the endpoint's limit, with retries. Raises EngineError naming the endpoint and the last failure."""
        limiter = limiter_of(self._url, self._spec.max_in_flight)
        tried, failed, waited = 0, 0, 0.0
        while True:
            tried += 1
            result = await self._attempt(limiter, attempt)
            if not isinstance(result, _Failure):
                return result
            failed += result.then != "wait"
            pause = self._pause(tried, result)
            waited += pause if result.refused else 0
            if result.then == "give up":
                raise EngineError(f"{self._url}: {result.reason}")
            if failed >= self._spec.attempts:
                raise EngineError(f"{self._url}: {result.reason}; given up after {failed} attempts")
            if waited > self._spec.patience_s:
                raise EngineError(f"{self._url}: {result.reason}; given up: to wait {waited:.0f} s is more than patience_s allows")
            await asyncio.sleep(pause)

    async def _attempt(self, limiter: Limiter, attempt: Callable[[], Awaitable[T]]) -> T | _Failure:
        async with limiter as let_through:
            try:
                async with asyncio.timeout(self._spec.timeout_s):
                    value = await attempt()
            except (openai.OpenAIError, Malformed, TimeoutError) as error:
                failure = self._judge(error)
                if failure.refused:  # a wait beyond patience fails this call, and must not hold up the others unasked
                    wait_s = failure.wait_s or 0.0
                    limiter.refused(let_through, wait_s if wait_s <= self._spec.patience_s else 0.0)
                return failure
            limiter.answered()
            return value

    def _judge(self, error: Exception) -> _Failure:
        """What an error means: some cannot be mended by asking again, some are a request to wait."""
        if isinstance(error, openai.APITimeoutError | TimeoutError):
            return _Failure(f"no complete answer within {self._spec.timeout_s:g} s (timeout_s)", "try again")
        if isinstance(error, openai.APIConnectionError):
            return _Failure(f"no answer ({_cause(error)}): is the server running?", "try again")
        if isinstance(error, Malformed):
            return _Failure(f"malformed answer: {error}", "try again")
        if not isinstance(error, openai.APIStatusError):
            return _Failure(str(error), "give up")
        status, wait = error.status_code, retry_after(error.response.headers)
        reason = f"HTTP {status}: {_said(error)}"
        if status in (401, 403):
            return _Failure(self._keyless(error), "give up")
        if status == 429 and error.code != "insufficient_quota":
            return _Failure(reason, "wait", refused=True, wait_s=wait)
        if status in (408, 409) or status >= 500:
            return _Failure(reason, "try again", refused=status == 503, wait_s=wait)
        return _Failure(reason, "give up")

    def _pause(self, tried: int, failure: _Failure) -> float:
        """Exponential backoff with jitter, on top of what the server asked for. Never nothing where only patience ends the waiting."""
        first = max(self._spec.backoff_s, _SHORTEST_WAIT_S if failure.refused else 0.0)
        backoff = min(_LONGEST_BACKOFF_S, first * 2.0 ** min(tried - 1, 16))
        return (failure.wait_s or 0.0) + backoff * random.uniform(0.5, 1.5)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for: a number, or the date until which to wait; None when absent or unreadable."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if seconds < float("inf") else None


def _cause(error: BaseException) -> str:
    inner = error.__cause__ or error
    return str(inner) or type(inner).__name__


def _said(error: openai.APIStatusError) -> str:
    """The server's own words, short."""
    body = error.body
    words = body.get("message") if isinstance(body, dict) else body
    return f"{words or error.response.text or 'no explanation'!s:.300}"


def _checked(shape: type[A], text: str) -> A:
    try:
        return shape.model_validate_json(text)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        where = ".".join(map(str, wrong["loc"])) or "answer"
        raise Malformed(f"{where}: {wrong['msg']}, in {text[:200]!r}") from error


def _only_choice(text: str) -> tuple[_Choice, _Usage]:
    answer = _checked(_Answer, text)
    if len(answer.choices) != 1:
        raise Malformed(f"{len(answer.choices)} choices, one was asked for")
    return answer.choices[0], answer.usage or _Usage()


def _reply(text: str | None, finish_reason: str, usage: _Usage) -> Reply:
    """A reply may be an empty text, if the model spoke: an end-of-text token alone, or thoughts the server keeps to itself."""
    if finish_reason not in ("stop", "length"):
        raise Malformed(f"finish_reason {finish_reason!r}: only stop and length end a reply")
    if not text and not usage.completion_tokens:
        raise Malformed("an empty reply")
    return Reply(text or "", finish_reason, usage.prompt_tokens, usage.completion_tokens or 0)  # type: ignore[arg-type]  # one of two, checked above


def _span(tokens: list[str], head: int, text: str) -> tuple[int, int]:
    """(first, last) of the tokens that hold `text[head:]`. Raises EngineError when the tokens do not spell the text."""
    start = next((i for i in (0, 1) if "".join(tokens[i:]).startswith(text)), None)  # a first token may stand for the beginning
    if start is None:
        raise EngineError(f"the server's tokens do not spell the scored text: {tokens[:8]}")
    first, last, at = None, start, 0
    while at < len(text):
        at += len(tokens[last])
        last += 1
        if first is None and at > head:
            first = last - 1
    return (last if first is None else first), last


def _known(logprobs: Sequence[float | None], count: int) -> list[float]:
    known = [x for x in logprobs if x is not None]
    if len(known) != count:
        raise EngineError(f"{len(known)} log-probabilities for {count} tokens: the first token of a text has none, give it a prompt")
    return known
