"""Where a person's data is: the store's folder and its catalog."""

import os
from pathlib import Path

DEFAULT_STORE = "mathmill-data"


def store_root(given: str | Path | None = None) -> Path:
    """`--store`, else MATHMILL_STORE, else ./mathmill-data."""
    return Path(given or os.environ.get("MATHMILL_STORE") or DEFAULT_STORE).absolute()


def aops_folder(root: Path) -> Path:
    """Where the pages that were crawled are."""
    return root / "aops"


def catalog_url() -> str | None:
    """MATHMILL_CATALOG (postgresql://...), else None: SQLite inside the store."""
    return os.environ.get("MATHMILL_CATALOG") or None
