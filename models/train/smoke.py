"""A smoke fit before a long training: a few steps on one small batch must lower its loss, else hours would go to waste."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from models.train.encode import IGNORED, Encoded
from models.train.pairs import EncodedPair

STEPS = 8
_Loss = Callable[[Any], torch.Tensor]


def smoke_fit(base: Path, rows: Sequence[Encoded], lr: float, batch: int = 4) -> list[float]:
    """Loss of `batch` rows before each of 8 AdamW steps on them and after the last. Raises ValueError unless it fell."""
    model = _load(base, max(max(r.input_ids) for r in rows))
    ids, labels = _pad(rows[:batch], model.device)
    # padding stands at the end, where causal attention does not see it
    return _steps(model, lambda m: m(input_ids=ids, labels=labels, use_cache=False).loss, lr, f"{len(ids)} rows")


def smoke_pairs(base: Path, pairs: Sequence[EncodedPair], lr: float, beta: float, batch: int = 4) -> list[float]:
    """The same for pairs: their DPO loss must fall, whatever variant of it is going to be trained."""
    model = _load(base, max(max(max(ids) for ids in pair) for pair in pairs))
    few = pairs[:batch]
    chosen = _pad([_row(p.prompt_ids, p.chosen_ids) for p in few], model.device)
    rejected = _pad([_row(p.prompt_ids, p.rejected_ids) for p in few], model.device)
    with torch.no_grad():
        reference = _log_probability(model, *chosen) - _log_probability(model, *rejected)

    def loss(m: Any) -> torch.Tensor:
        ratio = _log_probability(m, *chosen) - _log_probability(m, *rejected) - reference
        return -torch.nn.functional.logsigmoid(beta * ratio).mean()

    return _steps(model, loss, lr, f"{len(few)} pairs")


def _load(base: Path, largest: int) -> Any:
    """The model in float32. Raises ValueError where `largest`, a token id, is beyond its vocabulary."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, use_safetensors=True)
    vocabulary = model.get_input_embeddings().num_embeddings
    if largest >= vocabulary:
        raise ValueError(f"token {largest} of the tokenizer in {base} is beyond the model's {vocabulary}")
    return model.to(device).train()


def _steps(model: Any, loss_of: _Loss, lr: float, what: str) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    losses = []
    for _ in range(STEPS):
        loss = loss_of(model)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        losses.append(loss_of(model).item())
    if not (math.isfinite(losses[-1]) and losses[-1] < losses[0]):
        shown = ", ".join(f"{x:.4g}" for x in losses)
        raise ValueError(f"smoke fit: the loss of {what} did not fall in {STEPS} steps at lr {lr:g}: {shown}; try a lower lr")
    return losses


def _row(prompt: list[int], continuation: list[int]) -> Encoded:
    return Encoded(prompt + continuation, [IGNORED] * len(prompt) + continuation)


def _log_probability(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Log-probability (nats) of the labelled tokens of each row, summed."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    wanted = labels[:, 1:]
    each = torch.log_softmax(logits, -1).gather(-1, wanted.clamp(min=0)[..., None])[..., 0]
    return (each * (wanted != IGNORED)).sum(-1)


def _pad(rows: Sequence[Encoded], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, labels), both (rows, longest)."""
    longest = max(len(r.input_ids) for r in rows)
    ids = [r.input_ids + [0] * (longest - len(r.input_ids)) for r in rows]
    labels = [r.labels + [IGNORED] * (longest - len(r.labels)) for r in rows]
    return torch.tensor(ids, device=device), torch.tensor(labels, device=device)
