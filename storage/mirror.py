"""The log: one JSON file per published version, for disaster recovery by a person. Never read by the factory, never the truth."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from storage.versions import Version, fetch, live_numbers, slots_in

if TYPE_CHECKING:
    from storage.store import Store


def mirror(store: Store, dataset: str) -> None:
    """Write `log/DATASET/00000012.json` for every version that has none yet: what it is, and the slots it began and ended."""
    folder = store.root / "log" / dataset
    folder.mkdir(parents=True, exist_ok=True)
    there = {int(path.stem) for path in folder.glob("*.json")}
    with store.catalog.read() as connection:
        for n in live_numbers(connection, dataset):
            if n not in there:
                version = fetch(connection, dataset, n)
                now = slots_in(connection, dataset, n)
                before = slots_in(connection, dataset, version.parent) if version.parent else {}
                begun = {part: asdict(slot) for part, slot in now.items() if before.get(part) != slot}
                ended = [part for part, slot in before.items() if now.get(part) != slot]
                _write(store, folder / f"{n:08d}.json", version, {"begun": begun, "ended": ended})


def _write(store: Store, path: Path, version: Version, slots: dict[str, object]) -> None:
    staged = store.root / "tmp" / f"log.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    try:
        staged.write_text(json.dumps({**asdict(version), "slots": slots}, indent=1, sort_keys=True), encoding="utf-8")
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)
