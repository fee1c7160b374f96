"""Records of outside files: fields found by name, values as text. Every source names its columns differently."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any


def text_key(text: str) -> str:
    """What two statements share when they are the same text: NFC, white space collapsed."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def pick(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The first of the named fields that has a value, else None. `a.b` is `b` inside `a`, where no field is called `a.b`."""
    for name in names:
        value = _field(record, name)
        if value is not None and value != "":
            return value
    return None


def _field(record: Mapping[str, Any], name: str) -> Any:
    if name in record:
        return record[name]
    head, dot, rest = name.partition(".")
    inner = record.get(head)
    return _field(inner, rest) if dot and isinstance(inner, Mapping) else None


def as_text(value: Any) -> str | None:
    """A field's value as text, stripped: strings, numbers, and lists of them joined by commas (several answers); None for all else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str | int | float):
        return str(value).strip() or None
    if isinstance(value, list):
        parts = [as_text(v) for v in value]
        return ", ".join(p for p in parts if p) or None if None not in parts else None
    return None
