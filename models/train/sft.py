"""Supervised fine-tuning with TRL's SFTTrainer: loss on the completions, exact resume from its own checkpoints.

Rows come encoded (`models.train.encode`), so TRL neither renders, nor cuts, nor appends. One device; its weights train in float32,
with bf16 arithmetic on a GPU that has it.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils.logging import disable_progress_bar
from trl import SFTConfig, SFTTrainer

from models.train.encode import Encoded, Tokens

Schedule = Literal["constant", "constant_with_warmup", "linear", "cosine"]
Progress = Callable[[int, int, float], None]
"""Called after each step with (step, steps in all, loss)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sft:
    """What a fit is; `tasks.train_sft` documents the fields."""

    lr: float
    epochs: float
    max_steps: int
    batch_size: int
    micro_batch: int
    schedule: Schedule
    warmup: float
    weight_decay: float
    seed: int
    save_steps: int
    gradient_checkpointing: bool


class Fitted(NamedTuple):
    """A finished training: the loss of every step, restored ones included."""

    folder: Path
    losses: list[float]
    resumed_from: int
    """Step of the checkpoint it went on from, 0 for a fresh start."""


def fit(rows: Sequence[Encoded], settings: Sft, base: Path, work: Path, progress: Progress = lambda step, steps, loss: None) -> Fitted:
    """Train `base` on the rows and write the model to `work/model`. Killed and called again, it goes on at its last whole checkpoint."""
    disable_progress_bar()
    tokens = Tokens(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, use_safetensors=True)
    data = Dataset.from_dict({"input_ids": [r.input_ids for r in rows], "labels": [r.labels for r in rows]})
    trainer = SFTTrainer(
        model=model,
        args=_arguments(settings, work / "checkpoints"),
        train_dataset=data,
        processing_class=tokens.tokenizer,
        callbacks=[_Report(progress)],
    )
    last = last_checkpoint(work / "checkpoints")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    folder = _write(trainer.accelerator.unwrap_model(trainer.model), base, work)
    return Fitted(folder, losses, int(last.name.rpartition("-")[2]) if last else 0)


def _arguments(settings: Sft, folder: Path) -> SFTConfig:
    gpu = torch.cuda.is_available()
    micro_batch = min(settings.micro_batch, settings.batch_size)
    return SFTConfig(
        output_dir=str(folder),
        learning_rate=settings.lr,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=settings.batch_size // micro_batch,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        seed=settings.seed,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=2,  # a kill while one is written leaves the other
        gradient_checkpointing=settings.gradient_checkpointing,
        bf16=gpu and torch.cuda.is_bf16_supported(),
        fp16=False,
        max_length=None,
        packing=False,
        logging_steps=1,
        logging_first_step=True,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=gpu,
        optim="adamw_torch",
    )


class _Report(TrainerCallback):
    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if logs and "loss" in logs:
            self._progress(state.global_step, state.max_steps, float(logs["loss"]))


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; broken ones are removed. The trainer's state is written last, so a checkpoint with it is whole."""
    whole: dict[int, Path] = {}
    for checkpoint in folder.glob("checkpoint-*"):
        if _is_whole(checkpoint):
            whole[int(checkpoint.name.rpartition("-")[2])] = checkpoint
        else:
            shutil.rmtree(checkpoint)
    return whole[max(whole)] if whole else None


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return True


def _write(model: Any, base: Path, work: Path) -> Path:
    """The trained model with the tokenizer of its base, in `work/model`, which appears whole or not at all."""
    partial, folder = work / "model.partial", work / "model"
    for old in (partial, folder):
        shutil.rmtree(old, ignore_errors=True)
    model.save_pretrained(partial)
    Tokens(base).tokenizer.save_pretrained(partial)
    os.replace(partial, folder)
    return folder
