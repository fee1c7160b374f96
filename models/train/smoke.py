"""A smoke fit before a long training: a few steps on one small batch must lower its loss, else hours would go to waste."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from models.train.encode import IGNORED, Encoded

STEPS = 8


def smoke_fit(base: Path, rows: Sequence[Encoded], lr: float, batch: int = 4) -> list[float]:
    """Loss of `batch` rows before each of 8 AdamW steps on them and after the last. Raises ValueError unless it fell."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, use_safetensors=True)
    model.to(device).train()
    beyond = max(max(r.input_ids) for r in rows)
    if beyond >= model.get_input_embeddings().num_embeddings:
        raise ValueError(f"token {beyond} of the tokenizer in {base} is beyond the model's {model.get_input_embeddings().num_embeddings}")
    ids, labels = _pad(rows[:batch], device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    losses = []
    for _ in range(STEPS):
        loss = _loss(model, ids, labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        losses.append(_loss(model, ids, labels).item())
    if not (math.isfinite(losses[-1]) and losses[-1] < losses[0]):
        shown = ", ".join(f"{x:.4g}" for x in losses)
        raise ValueError(f"smoke fit: the loss of {len(ids)} rows did not fall in {STEPS} steps at lr {lr:g}: {shown}; try a lower lr")
    return losses


def _loss(model: torch.nn.Module, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of the labelled tokens. Padding stands at the end, where causal attention does not see it."""
    return model(input_ids=ids, labels=labels, use_cache=False).loss


def _pad(rows: Sequence[Encoded], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, labels), both (rows, longest)."""
    longest = max(len(r.input_ids) for r in rows)
    ids = [r.input_ids + [0] * (longest - len(r.input_ids)) for r in rows]
    labels = [r.labels + [IGNORED] * (longest - len(r.labels)) for r in rows]
    return torch.tensor(ids, device=device), torch.tensor(labels, device=device)
