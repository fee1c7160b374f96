"""A dataset version handed to a stage whole: rows and files are read when asked for, not before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from storage.versions import Version

if TYPE_CHECKING:
    from storage.store import Store


@dataclass(frozen=True)
class StoredDataset:
    """One version with the store it is in."""

    store: Store
    version: Version

    @property
    def name(self) -> str:
        return self.version.dataset

    @property
    def spec(self) -> str:
        """`name@n`."""
        return self.version.spec

    @property
    def digest(self) -> str:
        return self.version.digest

    @property
    def meta(self) -> dict[str, Any]:
        """What was recorded at publication: checks, certificate."""
        return self.version.meta

    @property
    def files(self) -> list[Path]:
        """Its Parquet files, in order of the parts."""
        return self.store.files(self.version)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Its rows, only `columns` of them if given."""
        return self.store.table(self.version, columns)
