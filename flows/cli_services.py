"""Commands for the services of a store: `mathmill up`, `mathmill down`."""

from pathlib import Path
from typing import Annotated

import typer

from flows import screen, services
from flows.places import store_root

StoreOption = Annotated[Path | None, typer.Option("--store", help="Folder of the datasets; else $MATHMILL_STORE, else ./mathmill-data")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON too")]


def up(
    store: StoreOption = None,
    port: Annotated[int, typer.Option("--port", help="Port of the Prefect server on this machine; 0 takes a free one")] = 4200,
    json: JsonOption = False,
) -> None:
    """Start a Prefect server, the deployments and a worker for each pool, and leave them running."""
    root = store_root(store)
    if services.running(root) is None:
        screen.note(f"starting Prefect for {root}; about 20 s on an idle machine")
    found, new = services.up(root, port)
    screen.note(f"{'up' if new else 'running already'}: {found.ui}    store: {root}    logs: {root / 'services'}")
    screen.note(f"runs and forms: {found.ui}/v2/deployments    stop with: mathmill down --store {root}")
    screen.note("next: choose a deployment and press Run, or type: mathmill run RECIPE (it appears there too)")
    if json:
        screen.facts({"ui": found.ui, "new": new, "store": root, "logs": root / "services"}, True)


def down(store: StoreOption = None, json: JsonOption = False) -> None:
    """Stop what `mathmill up` started for this store. Flow runs under way end; the next run goes on where they were."""
    root = store_root(store)
    stopped = services.down(root)
    screen.note(f"stopped the services of {root}" if stopped else f"no services are running for {root}")
    if json:
        screen.facts({"stopped": stopped, "store": root}, True)


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (up, down):
        app.command()(command)
