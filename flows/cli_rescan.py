"""The command `mathmill rescan`."""

from pathlib import Path
from typing import Annotated

import typer

from flows import screen
from flows.graph import UsageError
from flows.places import catalog_url, store_root
from flows.rescan import protected_of, rescan, rule_of
from storage.store import Store

AFFECTED = 4
"""Exit code where a training version repeats protected texts."""


def command(
    against: Annotated[
        Path | None, typer.Option("--against", help="Folder of benchmark files (JSONL); else the datasets of protected texts in the store")
    ] = None,
    set: Annotated[list[str], typer.Option("--set", help="FIELD=VALUE over the default contamination rule; repeatable")] = [],  # noqa: B006
    store: Annotated[
        Path | None, typer.Option("--store", help="Folder of the datasets; else $MATHMILL_STORE, else ./mathmill-data")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables")] = False,
) -> int:
    """Check every published training version against protected texts, new ones too, and list versions and checkpoints that are affected.

    What was checked against the same texts by the same rule is not read again. Exit code 4 where anything is affected.
    """
    config, root = rule_of(set), store_root(store)
    if not root.exists():
        raise UsageError(f"no store at {root}: make one with mathmill run, or say --store DIR")
    with Store.open(root, catalog_url()) as opened:
        found = rescan(opened, protected_of(opened, against), config, say=screen.note)
    screen.show(found.rows(), json, title="affected", empty="no training version is affected")
    screen.note(found.summary())
    return AFFECTED if found.affected else 0


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command("rescan")(command)
