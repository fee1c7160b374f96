"""Model folders: where they are and what is in them. The digest covers all that decides a reply: weights, config, tokenizer, template."""

import functools
import hashlib
import json
import os
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import httpx

from storage.ids import digest

_DECIDING = (
    "*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "adapter_config.json",
    "tokenizer*.json", "tokenizer.model", "*.tiktoken", "vocab.json", "vocab.txt", "merges.txt", "special_tokens_map.json",
    "added_tokens.json", "chat_template.*",
)  # fmt: skip
_LARGE = 100 << 20
"""Bytes from which a file's digest is remembered on disk: below, reading it again is as fast."""


def folder_digest(folder: Path) -> str:
    """40 hex digits over the names and contents of the deciding files. Raises ValueError for a folder that holds no model."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and any(fnmatch(p.name, pattern) for pattern in _DECIDING))
    names = [p.name for p in files]
    if "config.json" not in names and "adapter_config.json" not in names:
        raise ValueError(f"no model in {folder}: it has no config.json, only {sorted(p.name for p in folder.iterdir())[:8]}")
    if not any(name.endswith(".safetensors") for name in names):
        raise ValueError(f"no weights in {folder}: only safetensors are read, found {names}")
    return digest([[p.name, _file_digest(p)] for p in files])


def _file_digest(path: Path) -> str:
    stat = path.stat()
    return _digest_of(str(path.resolve()), stat.st_size, stat.st_mtime_ns)


@functools.cache
def _digest_of(path: str, size: int, mtime_ns: int) -> str:
    """sha256 of a file, taken once per (path, size, modification time); of large files also once per user."""
    if size < _LARGE:
        return _read_digest(path)
    note = _cache_folder() / digest([path, size, mtime_ns])
    if note.is_file():
        return note.read_text()
    found = _read_digest(path)
    note.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=note.parent, delete=False) as file:
        file.write(found)
    os.replace(file.name, note)
    return found


def _read_digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mathmill" / "digests"


def find_folder(target: str, revision: str | None) -> tuple[Path | None, str | None]:
    """(folder, commit) of a path or hub name: a folder of the user's has no commit, a hub model not yet downloaded has no folder.

    Raises ValueError when it is neither a folder nor a name whose commit can be told.
    """
    path = Path(target).expanduser()
    if path.is_dir():
        return path, None
    if target.count("/") != 1 or target.startswith((".", "/", "~")):
        raise ValueError(f"no model folder {target!r}")
    cache = _hub_cache() / f"models--{target.replace('/', '--')}"
    pointer = cache / "refs" / (revision or "main")
    commit = pointer.read_text().strip() if pointer.is_file() else revision or _ask_hub(target)
    snapshot = cache / "snapshots" / commit
    return (snapshot if snapshot.is_dir() else None), commit


def _hub_cache() -> Path:
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


@functools.cache
def _ask_hub(name: str) -> str:
    """The commit that a hub model's main branch stands at."""
    url = f"{os.environ.get('HF_ENDPOINT', 'https://huggingface.co').rstrip('/')}/api/models/{name}"
    way_out = f"give a folder, or the commit: revision = \"...\" in the engine table of {name!r}"
    try:
        answer = httpx.get(url, timeout=20, follow_redirects=True).raise_for_status()
        return str(answer.json()["sha"])
    except (httpx.HTTPError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{name!r} is no folder and not in the local cache, and {url} did not tell: {error}; {way_out}") from error
