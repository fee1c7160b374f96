"""The commands of `mathmill`: what runs things stands here, what looks at things or serves them in `flows.cli_*`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from flows import cli_crawl, cli_look, cli_rescan, cli_review, cli_services, screen
from flows.config import RecipeConfig, check_inputs, load_config, load_recipe
from flows.graph import UsageError
from flows.make import Line
from flows.places import catalog_url, store_root
from flows.report import metrics, what_next, wrap_up
from flows.services import prefect_api
from flows.session import Session
from storage.store import Store

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="A data factory for mathematical-reasoning models.",
)

StoreOption = Annotated[Path | None, typer.Option("--store", help="Folder of the datasets; else $MATHMILL_STORE, else ./mathmill-data")]
InputOption = Annotated[list[str], typer.Option("--input", help="NAME=FILE (or NAME=DATASET) for an input the recipe names; repeatable")]
SetOption = Annotated[list[str], typer.Option("--set", help="STAGE.FIELD=VALUE over the recipe's settings; repeatable")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file over the packaged settings")]
NameOption = Annotated[str | None, typer.Option("--name", help="Prefix of the datasets' names in place of the recipe's")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables")]


@app.command()
def run(
    recipe: str,
    store: StoreOption = None,
    input: InputOption = [],  # noqa: B006
    set: SetOption = [],  # noqa: B006
    config: ConfigOption = None,
    name: NameOption = None,
    replay: Annotated[bool, typer.Option("--replay", help="Answer every model call from the ledger; a miss is an error")] = False,
    json: JsonOption = False,
) -> int:
    """Run a recipe. What is there already is reused; what was interrupted goes on."""
    return _carry_out(load_config(recipe, config, set, name), store, input, None, replay, json)


@app.command()
def backfill(
    recipe: str,
    partition: Annotated[str, typer.Option("--partition", help="round=R")],
    store: StoreOption = None,
    input: InputOption = [],  # noqa: B006
    set: SetOption = [],  # noqa: B006
    config: ConfigOption = None,
    name: NameOption = None,
    json: JsonOption = False,
) -> int:
    """Make or remake one round and publish it as a patch; may run beside a full run."""
    return _carry_out(load_config(recipe, config, set, name), store, input, _round(partition), False, json)


def _carry_out(config: RecipeConfig, store: Path | None, given: list[str], round_: int | None, replay: bool, as_json: bool) -> int:
    inputs = _inputs(config.recipe, given)
    root = store_root(store)
    scope = None if round_ is None else f"round={round_}/"
    with Store.open(root, catalog_url()) as opened:
        with prefect_api(root):
            from flows.scheduled import run_here  # imports prefect, which reads its settings from the environment

        session = Session(opened, config, round_=round_ or 0, scope=scope, replay=replay)
        with screen.watcher(as_json) as watcher:
            lines = run_here(session, inputs, watcher)
        _report(opened, config, lines, wrap_up(opened, config, lines), as_json)
    return 3 if _quarantined(lines) else 0


def _report(store: Store, config: RecipeConfig, lines: list[Line], page: Path, as_json: bool) -> None:
    screen.show(screen.summary_rows(lines), as_json, title=f"mathmill {config.recipe}")
    measured = screen.metric_rows(metrics(store, lines))
    if measured and not as_json:
        screen.show(measured, False, title="mean over problems, 95 % interval")
    screen.note(f"data:    {store.root}\nreport:  {page}")
    for command, meaning in what_next(store, config, lines):
        screen.note(f"next:    {command}    # {meaning}")


def _quarantined(lines: list[Line]) -> int:
    return sum(line.version.balance.quarantined for line in lines)


def _inputs(recipe: str, given: list[str]) -> dict[str, str]:
    """What `--input` gives, looked at before anything is started."""
    inputs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise UsageError(f"cannot read --input {text!r}: write NAME=FILE")
        inputs[name] = value
    check_inputs(recipe, inputs)
    return inputs


def _round(partition: str) -> int:
    key, _, number = partition.partition("=")
    if key != "round" or not number.isdecimal():
        raise UsageError(f"cannot read --partition {partition!r}: write round=R with a whole number R")
    return int(number)


@app.command()
def plan(
    recipe: str,
    store: StoreOption = None,
    input: InputOption = [],  # noqa: B006
    set: SetOption = [],  # noqa: B006
    config: ConfigOption = None,
    name: NameOption = None,
    json: JsonOption = False,
) -> None:
    """Say what a run would reuse, recompute and ask, and why, before it does. Asks no model and writes nothing."""
    from flows.plan import plan_recipe

    settings, inputs = load_config(recipe, config, set, name), _inputs(recipe, input)
    root = store_root(store)
    with TemporaryDirectory() as scratch, Store.open(root if root.exists() else scratch, catalog_url()) as opened:
        screen.plan(plan_recipe(Session(opened, settings), load_recipe(recipe), inputs), json)


@app.command()
def apply(
    stage: str,
    input: Annotated[Path, typer.Option("--input", help="JSONL or Parquet file of rows")],
    output: Annotated[Path, typer.Option("--output", help="JSONL or Parquet file to write")],
    set: SetOption = [],  # noqa: B006
    json: JsonOption = False,
) -> int:
    """Run one stage on a plain file, without a store: a line out for every line in, in order."""
    from flows.apply import apply_stage

    counts = apply_stage(stage, input, output, set)
    screen.counts(counts, json)
    return 3 if counts.get("quarantined") else 0


cli_look.add_to(app)
cli_review.add_to(app)
cli_services.add_to(app)
cli_crawl.add_to(app)
cli_rescan.add_to(app)
