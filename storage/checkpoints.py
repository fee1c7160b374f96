"""Checkpoints of the factory's own trainings: immutable model folders, named by what decides their replies (as Git names trees)."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from storage.errors import StoreError
from storage.ids import digest
from storage.objects import sync_folder

MODEL_FILES = (
    "*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "adapter_config.json",
    "*quant*config.json", "tokenizer*.json", "*.model", "*.tiktoken", "vocab.json", "vocab.txt", "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "chat_template.*",
)  # fmt: skip
"""What makes a model: weights, configs (of quantisation too), tokenizer, template. Optimizer states, logs and the like stay behind."""


def adopt(store: Path, folder: Path) -> tuple[str, str]:
    """Take the model in `folder` into the store whose root is `store`: (its digest, 40 hex digits; its path relative to the root).

    The folder appears whole (rename) as `checkpoints/<digest>`, its files read-only; a model that is there already is kept.
    `folder` is left as it is: its owner removes it once the training's shard is committed.
    Raises StoreError for a folder without config or without safetensors weights.
    """
    files = model_files(folder)
    name = folder_digest(folder)
    final = store / "checkpoints" / name
    if final.is_dir():
        os.utime(final)  # until its row is committed only its age keeps `gc` away
    else:
        final.parent.mkdir(parents=True, exist_ok=True)
        staged = store / "tmp" / f"checkpoint.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        staged.mkdir(parents=True)
        try:
            for file in files:
                _copy(file, staged / file.name)
            sync_folder(staged)
            _place(staged, final)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        sync_folder(final.parent)
    return name, f"checkpoints/{name}"


def model_files(folder: Path) -> list[Path]:
    """The files of a model, sorted by name."""
    if not folder.is_dir():
        raise StoreError(f"no model folder {folder}")
    files = sorted(p for p in folder.iterdir() if p.is_file() and any(fnmatch(p.name, pattern) for pattern in MODEL_FILES))
    names = [p.name for p in files]
    if not {"config.json", "adapter_config.json"} & set(names) or not any(name.endswith(".safetensors") for name in names):
        raise StoreError(f"no model in {folder}: it needs a config.json and *.safetensors weights, it has {names}")
    return files


def file_digest(path: Path) -> str:
    """sha256 of a file, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path, of_file: Callable[[Path], str] = file_digest) -> str:
    """40 hex digits over the names and bytes of the model's files: the revision that engines know the model by.

    `of_file` may remember digests of files it has read.
    """
    return digest([[file.name, of_file(file)] for file in model_files(folder)])


def damage(root: Path, path: str, want: str, deep: bool) -> str | None:
    """What is wrong with the checkpoint at `path`; with `deep` every byte is read. None where nothing is."""
    try:
        found = folder_digest(root / path) if deep else want if model_files(root / path) else ""
    except StoreError as error:
        return f"checkpoint {want}: {error}"
    return None if found == want else f"checkpoint {want}: the files in {path} have changed (digest {found})"


def _copy(file: Path, to: Path) -> None:
    """A copy, never a hard link: a trainer that is started again overwrites its own files in place."""
    shutil.copyfile(file, to)
    with open(to, "rb") as stream:
        os.fchmod(stream.fileno(), 0o444)
        os.fsync(stream.fileno())


def _place(staged: Path, final: Path) -> None:
    try:
        os.rename(staged, final)
    except OSError:
        if not final.is_dir():  # else another process adopted the same model first
            raise
