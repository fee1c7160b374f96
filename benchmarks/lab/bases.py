"""Base models of the laboratory: one nano solver a seed, by the shipped recipe, with snapshots along its way."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from models.nano.architecture import save
from tasks.nano.roles.solver import Recipe, prepare
from tasks.nano.training import optimizers, train

MARKS = (50, 100, 200, 350, 500, 700, 900)
"""Steps on worked problems after which a snapshot is kept; the last step gives the base itself."""
_SAVE_EVERY = 50


def base(work: Path, seed: int, recipe: Recipe = Recipe(), marks: Sequence[int] = MARKS) -> Path:
    """The folder of the base model of `seed`, trained where it is not there yet (some minutes of CPU, resumable)."""
    folder = work / "bases" / str(seed)
    if not (folder / "model").is_dir():
        _train(folder, seed, recipe, marks)
    return folder / "model"


def snapshot(work: Path, seed: int, mark: int) -> Path:
    """The model after `mark` steps on worked problems."""
    return work / "bases" / str(seed) / f"after-{mark}"


def samples_seen(mark: int) -> int:
    """Worked problems that a model has seen after `mark` steps."""
    return mark * Recipe().batch


def _train(folder: Path, seed: int, recipe: Recipe, marks: Sequence[int]) -> None:
    """Leaves `after-<mark>` for each mark, and last `model`."""
    torch.set_num_threads(1)
    start = prepare(seed, recipe)
    batches, opts = [*start.arithmetic, *start.solutions], optimizers(start.model, recipe.muon_lr, recipe.adam_lr)
    for mark in (*marks, len(start.solutions)):
        name = f"after-{mark}" if mark in marks else "model"
        train(start.model, batches[: len(start.arithmetic) + mark], opts, folder / "work", _SAVE_EVERY)
        if not (folder / name).is_dir():
            save(start.model, start.tokenizer, folder / "partial")
            (folder / "partial").rename(folder / name)
    shutil.rmtree(folder / "work")
