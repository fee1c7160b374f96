"""The ledger: one row per model call, written as soon as the reply arrives, before anything parses it.

(contract; the implementation follows)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Call:
    """One answered model call. `key` = sha256 over the canonical JSON of `request`; everything below `value` is recorded, never keyed."""

    key: str
    kind: str
    model: str
    request: dict[str, Any]
    value: dict[str, Any]
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seed: int | None = None
    run_id: str = ""
    stage: str = ""
    latency_s: float = 0.0
    cost: float | None = None
    at: float = field(default=0.0)


class Ledger(Protocol):
    def get(self, keys: Sequence[str]) -> dict[str, Call]: ...
    def has(self, keys: Sequence[str]) -> set[str]: ...
    def put(self, call: Call) -> None: ...
    def put_many(self, calls: Iterable[Call]) -> None: ...
    def count(self) -> int: ...
    def export(self, path: Path) -> int: ...
    def close(self) -> None: ...
