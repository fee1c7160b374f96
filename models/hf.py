"""`hf:` engines: a transformers model in this process, with continuous batching (Orca, Yu et al. 2022) over its key-value cache.

Requests arrive one by one in the model loop; a worker thread keeps a batch of rows going, lets waiting requests in as rows
finish, and answers each row the moment it ends. A row draws from its own random numbers, made from its seed, so a reply does not
depend on its neighbours, up to float noise. Decoder-only models with a plain key-value cache, safetensors only, no remote code.
Importing this module imports torch.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer
from transformers.utils.logging import disable_progress_bar

from models.engine import EngineError, Identity, Prompt, Reply, Sampling

_SMALL = 20_000_000
"""Parameters below which a model runs on one thread of a CPU: more threads would mostly wait for each other."""


@dataclass(slots=True, eq=False)
class _Row:
    """One request: what it asks, what was made so far, and who waits for it."""

    prompt: list[int]
    sampling: Sampling
    limit: int
    """Tokens it may make: max_tokens, or what is left of the window."""
    draws: np.ndarray
    """One uniform number a token, from the request's seed."""
    future: asyncio.Future[Reply]
    loop: asyncio.AbstractEventLoop
    made: list[int] = field(default_factory=list)
    done: bool = False


class HfBackend:
    """A causal language model of a local folder behind the `Backend` protocol. Weights are loaded at the first request."""

    def __init__(self, path: Path, identity: Identity, *, batch_size: int = 64, gather_s: float = 0.02, device: str | None = None) -> None:
        """At most `batch_size` rows together; an idle engine waits `gather_s` seconds for company; `device` None: a GPU if seen."""
        if not (path / "config.json").is_file() or not list(path.glob("*.safetensors")):
            raise ValueError(f"no model in {path}: expected config.json and *.safetensors there")
        self.identity = identity
        self.seeded = True
        self._path = path
        self._batch_size = batch_size
        self._gather_s = gather_s
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hf")
        self._lock = threading.Lock()
        self._waiting: list[_Row] = []
        self._serving = False
        self._closed = False
        self._loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None

    async def check(self) -> None:
        """Raises EngineError when the folder has gone, or the engine is closed. Loads nothing."""
        if self._closed or not (self._path / "config.json").is_file():
            raise EngineError(f"engine {self.identity.model!r}: {'closed' if self._closed else f'no model in {self._path} any more'}")

    async def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Reply:
        """One reply. `completion_tokens` counts all that was generated, the end token included."""
        await self._ready()
        row = self._row(prompt, sampling, seed, asyncio.get_running_loop())
        with self._lock:
            if self._closed:
                raise EngineError(f"engine {self.identity.model!r} is closed")
            self._waiting.append(row)
            if not self._serving:
                self._serving = True
                self._pool.submit(self._serve)
        return await row.future

    async def score(self, prompt: Prompt, continuation: str) -> list[float]:
        """Log-probability (nats) of each token of `continuation`, tokenised by itself, after `prompt`."""
        _, tokenizer = await self._ready()
        before, after = self._encode(prompt), tokenizer.encode(continuation, add_special_tokens=False)
        if len(before) + len(after) > self._window():
            raise EngineError(
                f"a prompt of {len(before)} and a continuation of {len(after)} tokens exceed the window of {self._window()} "
                f"of {self.identity.model!r}"
            )
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._score, before, after)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The last hidden state, averaged over the tokens of each text; not normalised."""
        await self._ready()
        ids = [self._encode(Prompt(text=text)) for text in texts]
        for tokens in ids:
            if len(tokens) > self._window():
                raise EngineError(f"a text of {len(tokens)} tokens exceeds the window of {self._window()} of {self.identity.model!r}")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._embed, ids)

    async def close(self) -> None:
        """Let rows under way end, fail those that wait, free the weights."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, []
        for row in waiting:
            _fail(row, EngineError(f"engine {self.identity.model!r} was closed"))
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
        self._loaded = None

    async def _ready(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Model and tokenizer, loaded in the worker thread so that the loop stays free."""
        if self._closed:
            raise EngineError(f"engine {self.identity.model!r} is closed")
        if self._loaded is None:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._load)
        return self._parts()

    def _load(self) -> None:
        if self._loaded is not None:
            return
        disable_progress_bar()  # a bar over the shards of a small model would only break into the run's own
        dtype = torch.float32 if self._device == "cpu" else "auto"
        model = AutoModelForCausalLM.from_pretrained(self._path, local_files_only=True, use_safetensors=True, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(self._path, local_files_only=True)
        if self._device == "cpu" and model.num_parameters() < _SMALL:
            torch.set_num_threads(1)
        self._loaded = model.eval().to(torch.device(self._device)), tokenizer

    def _parts(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        if self._loaded is None:
            raise EngineError(f"engine {self.identity.model!r} is closed")
        return self._loaded

    def _row(self, prompt: Prompt, sampling: Sampling, seed: int, loop: asyncio.AbstractEventLoop) -> _Row:
        ids = self._encode(prompt)
        room = self._window() - len(ids)
        if room < 1:
            raise EngineError(f"a prompt of {len(ids)} tokens leaves no room in the window of {self._window()} of {self.identity.model!r}")
        limit = min(sampling.max_tokens, room)
        draws = np.random.Generator(np.random.Philox(seed)).random(limit) if sampling.temperature > 0 else np.empty(0)
        return _Row(ids, sampling, limit, draws, loop.create_future(), loop)

    def _window(self) -> int:
        return int(self._parts()[0].config.get_text_config().max_position_embeddings)

    def _encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt. A last assistant turn is left open, to be continued."""
        model, tokenizer = self._parts()
        vocabulary = int(torch.as_tensor(model.get_input_embeddings().weight).shape[0])
        if prompt.messages is not None:
            ids = _render(tokenizer, prompt, self.identity.model)
        elif prompt.text is not None:
            ids = list(tokenizer.encode(prompt.text))
        else:
            ids = list(prompt.token_ids or ())
        if not ids:
            raise EngineError(f"the prompt is no token at all for {self.identity.model!r}: {prompt!r}")
        if not 0 <= min(ids) <= max(ids) < vocabulary:
            bad = next(i for i in ids if not 0 <= i < vocabulary)
            raise EngineError(f"token id {bad} is outside the vocabulary of {vocabulary} of {self.identity.model!r}")
        return ids

    @torch.inference_mode()
    def _serve(self) -> None:
        """Worker thread: run until nobody waits. A failure here is a bug: it reaches everyone who waits."""
        time.sleep(self._gather_s)
        batch: _Batch | None = None
        try:
            model, tokenizer = self._parts()
            ends = _end_tokens(model, tokenizer)
            batch = _Batch(model)
            while self._admit(batch):
                for row, token in batch.choose():
                    self._extend(row, token, tokenizer, ends)
                batch.advance()
        except BaseException as error:
            with self._lock:
                self._serving = False
                waiting, self._waiting = self._waiting, []
            for row in [*waiting, *(batch.rows if batch else [])]:
                _fail(row, error)
            if not isinstance(error, Exception):
                raise

    def _admit(self, batch: "_Batch") -> bool:
        """Let waiting rows in when enough of them pay for a prefill. False when there is nothing left to do."""
        active = len(batch.rows)
        with self._lock:
            self._waiting = [row for row in self._waiting if not row.future.cancelled()]
            free = self._batch_size - active
            if self._waiting and free > 0 and (active == 0 or 4 * min(len(self._waiting), free) >= active):
                arriving = _similar(self._waiting, free)
                self._waiting = [row for row in self._waiting if row not in arriving]
            else:
                arriving = []
            if not arriving and not active:
                self._serving = False
                return False
        if arriving:
            batch.join(arriving)
        return True

    def _extend(self, row: _Row, token: int, tokenizer: PreTrainedTokenizerBase, ends: frozenset[int]) -> None:
        """Add a token to a row, and answer it if that ends it."""
        row.made.append(token)
        if token in ends:
            _answer(row, _text(tokenizer, row.made[:-1]), "stop")
        elif row.sampling.stop and (cut := _stopped(row, tokenizer)) is not None:
            _answer(row, cut, "stop")
        elif len(row.made) >= row.limit:
            _answer(row, _text(tokenizer, row.made), "length")
        elif row.future.cancelled():
            row.done = True

    @torch.inference_mode()
    def _score(self, before: list[int], after: list[int]) -> list[float]:
        model, _ = self._parts()
        ids = torch.tensor([before + after], device=self._device)
        logits = model(input_ids=ids).logits[0, len(before) - 1 : -1].float()
        wanted = ids[0, len(before) :, None]
        return [float(x) for x in torch.log_softmax(logits, dim=-1).gather(1, wanted)[:, 0]]

    @torch.inference_mode()
    def _embed(self, ids: list[list[int]]) -> list[list[float]]:
        model, _ = self._parts()
        vectors: list[list[float]] = []
        for first in range(0, len(ids), self._batch_size):
            tokens, mask = _left_padded(ids[first : first + self._batch_size], self._device)
            states = model.base_model(input_ids=tokens, attention_mask=mask, position_ids=_positions(mask)).last_hidden_state.float()
            weights = mask[:, :, None].float()
            vectors += ((states * weights).sum(1) / weights.sum(1)).tolist()
        return vectors


class _Batch:
    """Rows that go together: their cache (left padded), its mask, and the logits of the next token."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.rows: list[_Row] = []
        self._model = model
        self._cache = DynamicCache()
        self._mask = torch.empty(0)
        self._logits = torch.empty(0)

    def join(self, rows: list[_Row]) -> None:
        """Prefill new rows and put them below the others; the shorter cache is padded on the left."""
        first, self.rows = not self.rows, self.rows + rows
        tokens, mask = _left_padded([r.prompt for r in rows], self._model.device)
        cache = DynamicCache()
        out = self._model(input_ids=tokens, attention_mask=mask, position_ids=_positions(mask), past_key_values=cache, logits_to_keep=1)
        logits = out.logits[:, -1].float()
        if first:
            self._cache, self._mask, self._logits = cache, mask, logits
            return
        length = max(mask.shape[1], self._mask.shape[1])
        for layer, new in zip(_layers(self._cache), _layers(cache), strict=True):
            layer.keys = torch.cat([_pad_left(layer.keys, length, 2), _pad_left(new.keys, length, 2)])
            layer.values = torch.cat([_pad_left(layer.values, length, 2), _pad_left(new.values, length, 2)])
        self._mask = torch.cat([_pad_left(self._mask, length, 1), _pad_left(mask, length, 1)])
        self._logits = torch.cat([self._logits, logits])

    def choose(self) -> list[tuple[_Row, int]]:
        """The next token of each row."""
        temperature = torch.tensor([r.sampling.temperature for r in self.rows], device=self._logits.device)
        top_p = torch.tensor([r.sampling.top_p for r in self.rows], device=self._logits.device)
        draws = torch.tensor([float(r.draws[len(r.made)]) if len(r.draws) else 0.0 for r in self.rows], device=self._logits.device)
        tokens = pick(self._logits, temperature, top_p, draws)
        return list(zip(self.rows, tokens.tolist(), strict=True))

    def advance(self) -> None:
        """Drop the rows that ended, and feed the others their newest token."""
        keep = [i for i, row in enumerate(self.rows) if not row.done]
        if len(keep) < len(self.rows):
            self._select(keep)
        if not self.rows:
            return
        newest = torch.tensor([[r.made[-1]] for r in self.rows], device=self._model.device)
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        positions = self._mask.sum(1, keepdim=True) - 1
        out = self._model(input_ids=newest, attention_mask=self._mask, position_ids=positions, past_key_values=self._cache)
        self._logits = out.logits[:, -1].float()

    def _select(self, keep: list[int]) -> None:
        """Keep these rows, and cut off the columns that are padding in all of them."""
        self.rows = [self.rows[i] for i in keep]
        if not self.rows:
            return
        chosen = torch.tensor(keep, device=self._mask.device)
        mask = self._mask[chosen]
        first = int(mask.any(0).int().argmax())
        self._mask = mask[:, first:]
        for layer in _layers(self._cache):
            layer.keys = layer.keys[chosen, :, first:]
            layer.values = layer.values[chosen, :, first:]


def pick(logits: torch.Tensor, temperature: torch.Tensor, top_p: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """One token a row from logits (rows, vocabulary): the largest where temperature is 0, else by inverse transform of `draws` in [0, 1).

    Tokens below the nucleus get no mass but keep their places, so that a row with top_p 1 gives the same token in any company.
    """
    greedy = logits.argmax(-1)
    if not bool((temperature > 0).any()):
        return greedy
    probabilities = torch.softmax(logits.double() / temperature.clamp(min=1e-6)[:, None], dim=-1)
    if bool((top_p < 1).any()):
        ordered = probabilities.sort(dim=-1, descending=True).values
        outside = ordered.cumsum(-1) - ordered >= top_p[:, None]
        least = ordered.masked_fill(outside, 2.0).min(-1, keepdim=True).values
        probabilities = torch.where((probabilities < least) & (top_p < 1)[:, None], 0.0, probabilities)
    mass = probabilities.cumsum(-1)
    drawn = torch.searchsorted(mass, draws[:, None].double() * mass[:, -1:], right=True)[:, 0]
    last = (probabilities > 0).int().cumsum(-1).argmax(-1)  # a draw that rounds up to the whole mass must not leave the nucleus
    return torch.where(temperature > 0, torch.minimum(drawn, last), greedy)


def _layers(cache: DynamicCache) -> list[Any]:
    """The layers, which must all hold plain keys and values: rows cannot be moved between recurrent states."""
    odd = sorted({type(layer).__name__ for layer in cache.layers if type(layer) is not DynamicLayer})
    if odd:
        raise EngineError(f"this model's cache has {odd} layers: hf: serves models with plain key-value caches, use vllm: for others")
    return list(cache.layers)


def _render(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, model: str) -> list[int]:
    messages: list[dict[str, Any]] = [m._asdict() for m in prompt.messages or ()]
    if tokenizer.chat_template is None:
        raise EngineError(f"{model!r} has no chat template: use a '## raw' prompt")
    prefill = messages[-1]["role"] == "assistant"
    try:
        return list(
            tokenizer.apply_chat_template(
                messages, tokenize=True, return_dict=False, add_generation_prompt=not prefill, continue_final_message=prefill
            )
        )
    except jinja2.TemplateError as error:
        raise EngineError(f"the chat template of {model!r} refuses the turns {[m['role'] for m in messages]}: {error}") from error


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token that ends a reply: the generation config's, and the tokenizer's."""
    configured = model.generation_config.eos_token_id if model.generation_config else None
    several = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*several, tokenizer.eos_token_id] if i is not None)


def _text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True))


def _similar(waiting: list[_Row], count: int) -> list[_Row]:
    """The one that waits longest and those nearest to it in length, at most `count`."""
    oldest = len(waiting[0].prompt)
    return sorted(waiting, key=lambda row: abs(len(row.prompt) - oldest))[:count]


def _stopped(row: _Row, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The reply cut before the first stop string, or None. Only the newest tokens can hold a new one."""
    reach = max(map(len, row.sampling.stop)) + 4
    tail = _text(tokenizer, row.made[-reach:])
    if not any(s in tail for s in row.sampling.stop):
        return None
    text = _text(tokenizer, row.made)
    return text[: min(i for s in row.sampling.stop if (i := text.find(s)) >= 0)]


def _answer(row: _Row, text: str, reason: Any) -> None:
    row.done = True
    reply = Reply(text, reason, len(row.prompt), len(row.made))
    row.loop.call_soon_threadsafe(_settle, row.future, reply, None)


def _fail(row: _Row, error: BaseException) -> None:
    row.done = True
    row.loop.call_soon_threadsafe(_settle, row.future, None, error)


def _settle(future: asyncio.Future[Reply], reply: Reply | None, error: BaseException | None) -> None:
    """In the loop: a caller that gave up has cancelled its future already."""
    if future.done():
        return
    if reply is not None:
        future.set_result(reply)
    elif error is not None:
        future.set_exception(error)


def _left_padded(rows: Sequence[Sequence[int]], device: torch.device | str) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (0 where padded) and mask, both (rows, longest)."""
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(r)) + list(r) for r in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows], device=device)
    return ids, mask


def _positions(mask: torch.Tensor) -> torch.Tensor:
    return (mask.cumsum(-1) - 1).clamp(min=0)


def _pad_left(tensor: torch.Tensor, length: int, dim: int) -> torch.Tensor:
    """Zeros before the first entry along `dim`, up to `length`."""
    missing = length - tensor.shape[dim]
    if missing == 0:
        return tensor
    shape = list(tensor.shape)
    shape[dim] = missing
    return torch.cat([tensor.new_zeros(shape), tensor], dim=dim)
