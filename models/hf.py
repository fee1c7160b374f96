"""`hf:` engines: a transformers model in this process, serving requests in one continuous batch (`models.hf_batch`).

Requests arrive one by one in the model loop; a worker thread keeps a batch going, lets waiting requests in as rows finish, and
answers each row the moment it ends. Decoder-only models with a plain key-value cache, safetensors only, no remote code.
Importing this module imports torch.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from models.engine import EngineError, Identity, Prompt, Reply, Sampling
from models.hf_batch import Batch, Row, left_padded, positions_of

_SMALL = 20_000_000
"""Parameters below which a model runs on one thread of a CPU: more threads would mostly wait for each other."""


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
        self._waiting: list[Row] = []
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
        # as stored on every device: the ledger's key does not say where a model ran
        model = AutoModelForCausalLM.from_pretrained(self._path, local_files_only=True, use_safetensors=True, dtype="auto")
        tokenizer = AutoTokenizer.from_pretrained(self._path, local_files_only=True)
        if self._device == "cpu" and model.num_parameters() < _SMALL:
            torch.set_num_threads(1)
        self._loaded = model.eval().to(torch.device(self._device)), tokenizer

    def _parts(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        if self._loaded is None:
            raise EngineError(f"engine {self.identity.model!r} is closed")
        return self._loaded

    def _row(self, prompt: Prompt, sampling: Sampling, seed: int, loop: asyncio.AbstractEventLoop) -> Row:
        ids = self._encode(prompt)
        room = self._window() - len(ids)
        if room < 1:
            raise EngineError(f"a prompt of {len(ids)} tokens leaves no room in the window of {self._window()} of {self.identity.model!r}")
        limit = min(sampling.max_tokens, room)
        draws = np.random.Generator(np.random.Philox(seed)).random(limit) if sampling.temperature > 0 else np.empty(0)
        return Row(ids, sampling, limit, draws, loop.create_future(), loop)

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
        batch: Batch | None = None
        try:
            model, tokenizer = self._parts()
            ends = _end_tokens(model, tokenizer)
            batch = Batch(model, self._window())
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

    def _admit(self, batch: Batch) -> bool:
        """Let waiting rows in when enough of them pay for a prefill. False when there is nothing left to do."""
        active = batch.active
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

    def _extend(self, row: Row, token: int, tokenizer: PreTrainedTokenizerBase, ends: frozenset[int]) -> None:
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
            tokens, mask = left_padded(ids[first : first + self._batch_size], self._device)
            states = model.base_model(input_ids=tokens, attention_mask=mask, position_ids=positions_of(mask)).last_hidden_state.float()
            weights = mask[:, :, None].float()
            vectors += ((states * weights).sum(1) / weights.sum(1)).tolist()
        return vectors


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


def _similar(waiting: list[Row], count: int) -> list[Row]:
    """The one that waits longest and those nearest to it in length, at most `count`."""
    oldest = len(waiting[0].prompt)
    return sorted(waiting, key=lambda row: abs(len(row.prompt) - oldest))[:count]


def _stopped(row: Row, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The reply cut before the first stop string, or None. Only the newest tokens can hold a new one."""
    reach = max(len(s.encode()) for s in row.sampling.stop) + 4
    tail = _text(tokenizer, row.made[-reach:])
    if not any(s in tail for s in row.sampling.stop):
        return None
    text = _text(tokenizer, row.made)
    return text[: min(i for s in row.sampling.stop if (i := text.find(s)) >= 0)]


def _answer(row: Row, text: str, reason: Any) -> None:
    row.done = True
    reply = Reply(text, reason, len(row.prompt), len(row.made))
    row.loop.call_soon_threadsafe(_settle, row.future, reply, None)


def _fail(row: Row, error: BaseException) -> None:
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
