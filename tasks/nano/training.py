"""The training loop of the nano models: padded batches, Muon and AdamW, a linear schedule, checkpoints that a killed run goes on from.

It knows neither world nor roles. With one thread, one seed and one build of torch it makes the same weights.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen3ForCausalLM

Encoded = tuple[list[int], list[int]]
"""Token ids of one row, and its labels (-100 where there is no loss)."""

Rows = tuple[list[list[int]], list[list[int]]]
"""Token ids and labels of one batch, before padding."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids and labels (-100 where there is no loss), both (rows, tokens), and the learning-rate factor of the step."""

    ids: torch.Tensor
    labels: torch.Tensor
    scale: float


Loss = Callable[[Qwen3ForCausalLM, Batch], torch.Tensor]


def rows_of_like_length(encoded: Sequence[Encoded], batch: int, random: Random) -> Iterator[Rows]:
    """Batches of rows of about equal length, in random order."""
    window = batch * 16
    for first in range(0, len(encoded), window):
        part = sorted(encoded[first : first + window], key=lambda row: len(row[0]))
        batches = [part[i : i + batch] for i in range(0, len(part), batch)]
        for rows in random.sample(batches, len(batches)):
            yield [r[0] for r in rows], [r[1] for r in rows]


def schedule(rows: Sequence[Rows], pad: int) -> Iterator[Batch]:
    """Right-padded tensors with a warm-up over 20 steps, then a linear fall to zero."""
    for step, (ids, labels) in enumerate(rows):
        longest = max(map(len, ids))
        yield Batch(
            torch.tensor([r + [pad] * (longest - len(r)) for r in ids]),
            torch.tensor([r + [-100] * (longest - len(r)) for r in labels]),
            min(1.0, (step + 1) / 20) * (1 - step / len(rows)),
        )


def optimizers(model: Qwen3ForCausalLM, muon_lr: float, adam_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, Adam for the embeddings and norms."""
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    made: list[torch.optim.Optimizer] = [
        torch.optim.Muon(hidden, lr=muon_lr, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    return made


def next_token_loss(model: Qwen3ForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy (nats) over the labelled tokens; logits are made for those positions only."""
    hidden = model.model(input_ids=batch.ids).last_hidden_state[:, :-1]
    wanted = batch.labels[:, 1:] != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[wanted]), batch.labels[:, 1:][wanted])


def save_state(folder: Path, step: int, model: Qwen3ForCausalLM, opts: Sequence[torch.optim.Optimizer]) -> None:
    """Weights and optimizer state in one safetensors file, replaced by rename."""
    tensors = {f"model.{n}": p.detach().clone() for n, p in model.named_parameters()}
    for number, opt in enumerate(opts):
        for index, entries in opt.state_dict()["state"].items():
            tensors |= {f"opt{number}.{index}.{name}": torch.as_tensor(value).clone() for name, value in entries.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "state.tmp", metadata={"step": str(step)})
    os.replace(folder / "state.tmp", folder / f"state-{step:06d}.safetensors")
    for old in sorted(folder.glob("state-*.safetensors"))[:-1]:
        old.unlink()


def load_state(folder: Path, model: Qwen3ForCausalLM, opts: Sequence[torch.optim.Optimizer]) -> int:
    """The step to go on from; 0 where nothing was saved."""
    saved = sorted(folder.glob("state-*.safetensors"))
    if not saved:
        return 0
    tensors = load_file(saved[-1])
    for name, parameter in model.named_parameters():
        parameter.data.copy_(tensors[f"model.{name}"])
    for number, opt in enumerate(opts):
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            owner, _, rest = key.partition(".")
            if owner == f"opt{number}":
                index, _, name = rest.partition(".")
                state.setdefault(int(index), {})[name] = value
        opt.load_state_dict({"state": state, "param_groups": opt.state_dict()["param_groups"]})
    return int(saved[-1].stem.split("-")[1])


def train(
    model: Qwen3ForCausalLM,
    batches: Sequence[Batch],
    opts: Sequence[torch.optim.Optimizer],
    work: Path,
    save_every: int,
    loss_of: Loss = next_token_loss,
) -> list[float]:
    """Run the steps that are left; gives the loss of each."""
    start, losses = load_state(work, model, opts), list[float]()
    base = [group["lr"] for opt in opts for group in opt.param_groups]
    model.train()
    for step in range(start, len(batches)):
        for group, rate in zip((g for opt in opts for g in opt.param_groups), base, strict=True):
            group["lr"] = rate * batches[step].scale
        loss = loss_of(model, batches[step])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        losses.append(loss.item())
        if (step + 1) % 50 == 0:
            recent = losses[-50:]
            print(f"step {step + 1}/{len(batches)} loss {sum(recent) / len(recent):.3f} cpu {time.process_time():.0f} s", flush=True)
        if (step + 1) % save_every == 0 or step + 1 == len(batches):
            for group, rate in zip((g for opt in opts for g in opt.param_groups), base, strict=True):
                group["lr"] = rate
            save_state(work, step + 1, model, opts)
    return losses
