"""Finished pieces of an experiment on disk: one JSON file a piece, named by what decides it, so that a stopped run goes on where it was."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage.ids import digest


class Cells:
    """The pieces of one experiment below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str, decides: Any, make: Callable[[], Any]) -> Any:
        """The JSON value of `make()`, from disk where it was made before under the same `decides` (a JSON value: settings, digests)."""
        file = self.folder / f"{name}-{digest(decides, 12)}.json"
        if not file.is_file():
            value = make()
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(value), encoding="utf-8")
            partial.rename(file)
        return json.loads(file.read_text(encoding="utf-8"))
