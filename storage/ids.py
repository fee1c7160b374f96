"""Identity: canonical JSON and the digests made of it. An id never depends on time, host, run or config."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable
from json.encoder import encode_basestring as _quoted
from typing import Any


def canonical(value: Any) -> bytes:
    """One byte string per value: sorted keys, no spaces, UTF-8. Raises TypeError for what has no stable JSON form."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise TypeError(f"no stable serialisation for {value!r:.200}: {error}") from error


def digest(value: Any, length: int = 40) -> str:
    """The first `length` hex digits of sha256 over the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value)).hexdigest()[:length]


def problem_id(source: str, given: str | None, text: str) -> str:
    """16 hex digits of (source, given id), or of the NFC problem text where the source gives no id."""
    return digest([source, given], 16) if given else digest(unicodedata.normalize("NFC", text), 16)


def derived_id(stage: str, *parents: str, ordinal: int = 0) -> str:
    """16 hex digits of (stage, parent ids, ordinal): stable when the config changes, so that versions can be compared row by row."""
    return digest([stage, list(parents), ordinal], 16)


def derived_ids(stage: str, parents: Iterable[str]) -> list[str]:
    """`derived_id` of each parent alone, four times as fast: what it hashes is written out, not serialised anew for each row."""
    head, quoted = f"[{_quoted(stage)},[", (_quoted(parent) for parent in parents)
    return [hashlib.sha256(f"{head}{parent}],0]".encode()).hexdigest()[:16] for parent in quoted]


def part_name(round_: int, key: str, buckets: int) -> str:
    """The part (`round=R/NNN`) that the row with problem id `key` lives in, for ever, once `buckets` is fixed."""
    return f"round={round_}/{int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % buckets:03d}"


_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?")


def check_dataset_name(name: str) -> str:
    """`recipe.stage` or `name`, lower case: such names are safe as SQL identifiers and folder names."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"no dataset name {name!r}: use lower-case letters, digits and _, as in 'tiny.difficulty'")
    return name
