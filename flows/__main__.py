"""The command `mathmill`. Exit codes: 0 done; 3 done with rows in quarantine; 4 a rescan found affected versions;
2 wrong usage; 1 failure."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
_INTERRUPTED = 130
"""What typer makes of Ctrl-C."""


def check_checkout() -> None:
    """`models`, `tasks`, `storage` and `flows` are plain names: make sure that they are ours and not somebody else's."""
    import flows
    import models
    import storage
    import tasks

    for package in (flows, models, storage, tasks):
        found = Path(str(package.__file__)).resolve().parents[1]
        if found != CHECKOUT:
            way_out = "another project of that name shadows it: run in an environment of its own (make install)"
            sys.exit(f"the package {package.__name__!r} comes from {found}, not from {CHECKOUT}; {way_out}")


def main() -> None:
    """Entry point of the console script."""
    check_checkout()
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Carry out one command line and return its exit code. Errors are lines on stderr, tracebacks only with MATHMILL_DEBUG."""
    import sqlite3

    import duckdb
    import sqlalchemy
    import typer

    from flows.cli import app
    from flows.graph import UsageError
    from flows.make import Interrupted
    from models.engine import EngineError
    from storage.errors import StoreError
    from tasks.runner import StageError

    wrong_usage: Any = typer.BadParameter.__bases__[0]  # click's UsageError, which newer typers carry under a name of their own
    try:
        code = app(list(arguments), standalone_mode=False, prog_name="mathmill")
    except UsageError as error:
        return _complain(str(error), 2)
    except wrong_usage as error:
        said, command = error.format_message(), error.ctx.command_path if error.ctx else "mathmill"
        return _complain(said and f"{said} (see {command} --help)", 2)
    except (StoreError, StageError, EngineError, ValueError, OSError, sqlite3.Error, duckdb.Error, sqlalchemy.exc.DBAPIError) as error:
        if os.environ.get("MATHMILL_DEBUG"):
            raise
        return _complain(str(error), 1)
    except (KeyboardInterrupt, typer.Abort, Interrupted):
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        return _complain("interrupted; what was committed is kept, the same command goes on from there", 1)
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    if message:  # without arguments the help was printed and there is nothing to add
        print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
