"""Model folders: where they are and what is in them. The digest covers all that decides a reply: weights, config, tokenizer, template."""

import functools
import json
import logging
import os
import re
import tempfile
from pathlib import Path
from urllib.parse import quote

import httpx

from storage import checkpoints
from storage.errors import StoreError
from storage.ids import digest

log = logging.getLogger(__name__)

_COMMIT = re.compile("[0-9a-f]{40}")
_LARGE = 100 << 20
"""Bytes from which a file's digest is remembered on disk: below, reading it again is as fast."""


def folder_digest(folder: Path) -> str:
    """40 hex digits over the names and contents of the deciding files. Raises ValueError for a folder that holds no model."""
    try:
        return checkpoints.folder_digest(folder, _file_digest)
    except StoreError as error:
        raise ValueError(str(error)) from error


def _file_digest(path: Path) -> str:
    stat = path.stat()
    return _digest_of(path.resolve(), stat.st_size, stat.st_mtime_ns)


@functools.cache
def _digest_of(path: Path, size: int, mtime_ns: int) -> str:
    """sha256 of a file, taken once per (path, size, modification time); of large files also once per user."""
    if size < _LARGE:
        return checkpoints.file_digest(path)
    note = _cache_folder() / digest([str(path), size, mtime_ns])
    try:
        return note.read_text()
    except OSError:
        found = checkpoints.file_digest(path)
    try:
        _note(note, found)
    except OSError as error:  # a home that cannot be written costs time only
        log.info("the digest of %s is not remembered: %s", path, error)
    return found


def _note(note: Path, text: str) -> None:
    """Whole or not there, whatever else is noting the same."""
    note.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=note.parent, delete=False) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, note)


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
    if pointer.is_file():
        commit = pointer.read_text().strip()
    elif revision is not None and (_COMMIT.fullmatch(revision) or (cache / "snapshots" / revision).is_dir()):
        commit = revision
    else:  # a branch or tag is no identity: it may move, and once it is in the cache it has a commit
        commit = _ask_hub(target, revision or "main")
    snapshot = cache / "snapshots" / commit
    return (snapshot if snapshot.is_dir() else None), commit


def _hub_cache() -> Path:
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


@functools.cache
def _ask_hub(name: str, revision: str) -> str:
    """The commit that a branch or tag of a hub model stands at."""
    url = f"{os.environ.get('HF_ENDPOINT', 'https://huggingface.co').rstrip('/')}/api/models/{name}/revision/{quote(revision, safe='')}"
    way_out = f'give a folder, or the commit (40 hex digits): revision = "..." in the engine table of {name!r}'
    try:
        answer = httpx.get(url, timeout=20, follow_redirects=True).raise_for_status()
        return str(answer.json()["sha"])
    except (httpx.HTTPError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{name!r} is no folder and not in the local cache, and {url} did not tell: {error}; {way_out}") from error
