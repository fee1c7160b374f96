"""Where a person's data is: the store's folder, its catalog, and the environment that Prefect is started with."""

import os
from pathlib import Path

DEFAULT_STORE = "mathmill-data"


def store_root(given: str | Path | None = None) -> Path:
    """`--store`, else MATHMILL_STORE, else ./mathmill-data."""
    return Path(given or os.environ.get("MATHMILL_STORE") or DEFAULT_STORE).absolute()


def catalog_url() -> str | None:
    """MATHMILL_CATALOG (postgresql://...), else None: SQLite inside the store."""
    return os.environ.get("MATHMILL_CATALOG") or None


def prefect_environment(root: Path) -> None:
    """Settings for a run without a Prefect server of its own: an ephemeral one under the store. Call before importing prefect."""
    quiet = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    if not os.environ.get("PREFECT_API_URL"):
        quiet |= {
            "PREFECT_HOME": str(root / "prefect"),
            "PREFECT_PROFILES_PATH": str(root / "prefect" / "profiles.toml"),
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
