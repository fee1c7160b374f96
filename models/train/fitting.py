"""What trainings with TRL share: settings, resume from the newest whole checkpoint, figures of each step, the model written whole.

One device; weights train in float32, with bf16 arithmetic on a GPU that has it.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from transformers import AutoModelForCausalLM, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils.logging import disable_progress_bar

from models.train.encode import Tokens

Schedule = Literal["constant", "constant_with_warmup", "linear", "cosine"]
Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each step with (step, steps in all, figures of the step: the loss and what else the trainer reports)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How a model is fitted; `tasks.training` documents the fields."""

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
    """A finished training: the figures of every step, restored ones included."""

    folder: Path
    history: list[dict[str, float]]
    """One entry a report of the trainer, each with `step`."""
    resumed_from: int
    """Step of the checkpoint it went on from, 0 for a fresh start."""

    @property
    def losses(self) -> list[float]:
        """The loss of every step."""
        return [entry["loss"] for entry in self.history if "loss" in entry]


def load(base: Path) -> Any:
    """The model to train, in float32, without a progress bar over its shards."""
    disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, use_safetensors=True)


def arguments(settings: Fit, folder: Path) -> dict[str, Any]:
    """What every TRL config is given; checkpoints go below `folder`."""
    gpu = torch.cuda.is_available()
    micro_batch = min(settings.micro_batch, settings.batch_size)
    return {
        "output_dir": str(folder),
        "learning_rate": settings.lr,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": settings.batch_size // micro_batch,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": settings.warmup,
        "weight_decay": settings.weight_decay,
        "seed": settings.seed,
        "save_strategy": "steps",
        "save_steps": settings.save_steps,
        "save_total_limit": 2,  # a kill while one is written leaves the other
        "gradient_checkpointing": settings.gradient_checkpointing,
        "bf16": gpu and torch.cuda.is_bf16_supported(),
        "fp16": False,
        "max_length": None,
        "logging_steps": 1,
        "logging_first_step": True,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": gpu,
        "optim": "adamw_torch",
    }


class Report(TrainerCallback):
    """Hands the figures of each step on, under the names of `shown` (the trainer's name -> ours)."""

    def __init__(self, progress: Progress, shown: Mapping[str, str]) -> None:
        self._progress = progress
        self._shown = shown

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        figures = renamed(logs or {}, self._shown)
        if figures:
            self._progress(state.global_step, state.max_steps, figures)


def renamed(logs: Mapping[str, Any], shown: Mapping[str, str]) -> dict[str, float]:
    """The figures of one report of the trainer that have a name of ours."""
    return {ours: float(logs[theirs]) for theirs, ours in shown.items() if theirs in logs}


def run(trainer: Any, base: Path, work: Path, shown: Mapping[str, str]) -> Fitted:
    """Train to the end, from the last whole checkpoint in `work/checkpoints` where there is one, and write `work/model`."""
    last = last_checkpoint(work / "checkpoints")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    entries = [{"step": float(entry["step"]), **renamed(entry, shown)} for entry in trainer.state.log_history]
    folder = _write(trainer.accelerator.unwrap_model(trainer.model), base, work)
    return Fitted(folder, [entry for entry in entries if len(entry) > 1], int(last.name.rpartition("-")[2]) if last else 0)


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
