"""Rows that generate together: continuous batching (Orca, Yu et al. 2022) over a transformers key-value cache, and the choice of tokens.

Rows join and leave at any step. Each draws from random numbers of its own, so its tokens do not depend on its neighbours, up to
float noise. Nothing here knows prompts, texts or the loop that waits.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from models.engine import EngineError, Reply, Sampling

_ROOM = 64
"""Tokens by which a full cache grows."""


@dataclass(slots=True, eq=False)
class Row:
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

    def draw(self) -> float:
        """The number that decides its next token."""
        return float(self.draws[len(self.made)]) if len(self.made) < len(self.draws) else 0.0


class _Room(DynamicLayer):
    """Keys and values (rows, heads, tokens, size) at the start of a larger buffer: a step writes one token and copies none."""

    keys: torch.Tensor
    values: torch.Tensor

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.hold(key_states, value_states)
            return self.keys, self.values
        end = self.keys.shape[2] + key_states.shape[2]
        if end > self._key_room.shape[2]:
            self.hold(self.keys, self.values, room=key_states.shape[2] + _ROOM)
        self._key_room[:, :, self.keys.shape[2] : end] = key_states
        self._value_room[:, :, self.keys.shape[2] : end] = value_states
        self.keys, self.values = self._key_room[:, :, :end], self._value_room[:, :, :end]
        return self.keys, self.values

    def hold(self, keys: torch.Tensor, values: torch.Tensor, room: int = _ROOM) -> None:
        """Take these in place of what was held, with room for more tokens."""
        self._key_room, self._value_room = (torch.nn.functional.pad(t, (0, 0, 0, room)) for t in (keys, values))
        self.keys, self.values = self._key_room[:, :, : keys.shape[2]], self._value_room[:, :, : keys.shape[2]]


class Batch:
    """Rows that go together: their cache (left padded), its mask, and the logits of the next token."""

    def __init__(self, model: PreTrainedModel, window: int) -> None:
        self.rows: list[Row] = []
        self._model = model
        self._window = window
        self._layers: list[_Room] = []
        self._cache = DynamicCache()
        self._mask = torch.empty(0)
        self._logits = torch.empty(0)

    @property
    def active(self) -> int:
        return sum(not row.done for row in self.rows)

    def join(self, rows: list[Row]) -> None:
        """Prefill new rows and put them below the others; the shorter cache is padded on the left."""
        self._drop_done()
        first, self.rows = not self.rows, self.rows + rows
        tokens, mask = left_padded([r.prompt for r in rows], self._model.device)
        cache, layers = self._new_cache()
        out = self._model(input_ids=tokens, attention_mask=mask, position_ids=positions_of(mask), past_key_values=cache, logits_to_keep=1)
        logits = out.logits[:, -1].float()
        if first:
            self._cache, self._layers, self._mask, self._logits = cache, layers, mask, logits
            return
        length = max(mask.shape[1], self._mask.shape[1])
        for layer, new in zip(self._layers, layers, strict=True):
            keys = torch.cat([_pad_left(layer.keys, length, 2), _pad_left(new.keys, length, 2)])
            layer.hold(keys, torch.cat([_pad_left(layer.values, length, 2), _pad_left(new.values, length, 2)]))
        self._mask = torch.cat([_pad_left(self._mask, length, 1), _pad_left(mask, length, 1)])
        self._logits = torch.cat([self._logits, logits])

    def choose(self) -> list[tuple[Row, int]]:
        """The next token of each row that goes on."""
        device = self._logits.device
        temperature = torch.tensor([r.sampling.temperature for r in self.rows], device=device)
        top_p = torch.tensor([r.sampling.top_p for r in self.rows], device=device)
        draws = torch.tensor([r.draw() for r in self.rows], device=device)
        tokens = pick(self._logits, temperature, top_p, draws).tolist()
        return [(row, token) for row, token in zip(self.rows, tokens, strict=True) if not row.done]

    def advance(self) -> None:
        """Feed each row its newest token. Rows that ended are dropped when they are an eighth: dropping copies the cache."""
        if 8 * (len(self.rows) - self.active) >= len(self.rows):
            self._drop_done()
        if not self.rows:
            return
        newest = torch.tensor([[r.made[-1]] for r in self.rows], device=self._model.device)
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        positions = (self._mask.sum(1, keepdim=True) - 1).clamp(max=self._window - 1)
        out = self._model(input_ids=newest, attention_mask=self._mask, position_ids=positions, past_key_values=self._cache)
        self._logits = out.logits[:, -1].float()

    def _drop_done(self) -> None:
        """Keep the rows that go on, and cut off the columns that are padding in all of them."""
        keep = [i for i, row in enumerate(self.rows) if not row.done]
        if len(keep) == len(self.rows):
            return
        self.rows = [self.rows[i] for i in keep]
        if not self.rows:
            return
        chosen = torch.tensor(keep, device=self._mask.device)
        mask = self._mask[chosen]
        first = int(mask.any(0).int().argmax())
        self._mask, self._logits = mask[:, first:], self._logits[chosen]
        for layer in self._layers:
            layer.hold(layer.keys[chosen, :, first:], layer.values[chosen, :, first:])

    def _new_cache(self) -> tuple[DynamicCache, list[_Room]]:
        """An empty cache of plain layers. Other layers (recurrent, sliding) cannot have their rows moved."""
        cache = DynamicCache(config=self._model.config)
        odd = sorted({type(layer).__name__ for layer in cache.layers if type(layer) is not DynamicLayer})
        if odd:
            raise EngineError(f"this model's cache has {odd} layers: hf: serves models with plain key-value caches, use vllm: for others")
        layers = [_Room() for _ in cache.layers]
        cache.layers = list(layers)
        return cache, layers


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


def left_padded(rows: Sequence[Sequence[int]], device: torch.device | str) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (0 where padded) and mask, both (rows, longest)."""
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(r)) + list(r) for r in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows], device=device)
    return ids, mask


def positions_of(mask: torch.Tensor) -> torch.Tensor:
    return (mask.cumsum(-1) - 1).clamp(min=0)


def _pad_left(tensor: torch.Tensor, length: int, dim: int) -> torch.Tensor:
    """Zeros before the first entry along `dim`, up to `length`."""
    missing = length - tensor.shape[dim]
    if missing == 0:
        return tensor
    shape = list(tensor.shape)
    shape[dim] = missing
    return torch.cat([tensor.new_zeros(shape), tensor], dim=dim)
