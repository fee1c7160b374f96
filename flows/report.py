"""report.html: one page about a run - funnel, metrics, certificate, costs, samples - that stands alone, without scripts or network.

Everything on it is read from published versions and the ledger. Problem and reply texts are untrusted: the template escapes all of them.
"""

import os
import re
import shlex
import shutil
import sys
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from jinja2 import Environment, PackageLoader, StrictUndefined

from flows.config import RecipeConfig
from flows.make import Line
from flows.places import store_root
from storage.schemas import Checkpoint, Difficulty, Evaluation, Mark, Verdict, from_table
from storage.shards import lookup_many
from storage.store import Store
from storage.versions import Version
from storage.views import refresh_views

_SHOWN_HITS = 20


def wrap_up(store: Store, config: RecipeConfig, lines: list[Line]) -> Path:
    """What follows every finished run, from the command line or deployed: calls and versions are in DuckDB, the page is written."""
    store.ledger.export(store.root / "ledger")
    refresh_views(store)
    return write_report(store, config, lines)


def write_report(store: Store, config: RecipeConfig, lines: list[Line]) -> Path:
    """Write the page into the store's folder and return its path; a page of an earlier run is replaced whole."""
    page = store.root / "report.html"
    partial = store.root / f".report.html.{uuid.uuid4().hex[:8]}"  # two runs over one store may end at the same moment
    partial.write_text(render(store, config, lines), encoding="utf-8")
    os.replace(partial, page)
    return page


def render(store: Store, config: RecipeConfig, lines: Sequence[Line]) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("flows"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(shortened=_shortened, percent=_percent, number=_number, seconds=_seconds)
    return environment.get_template("report.html.j2").render(facts(store, config, lines))


def facts(store: Store, config: RecipeConfig, lines: Sequence[Line]) -> dict[str, Any]:
    """What the template shows, section by section; a section without datasets is empty."""
    versions = [line.version for line in lines]
    return {
        "recipe": config.recipe,
        "store": str(store.root),
        "when": datetime.fromtimestamp(max(v.created_at for v in versions), UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "run_ids": sorted({v.run_id for v in versions}),
        "funnel": [_funnel_line(store, line) for line in lines],
        "quarantined": sum(v.balance.quarantined for v in versions),
        "costs": _costs(store, lines),
        "verdicts": [_verdicts(store, v) for v in _of(versions, Verdict)],
        "difficulties": [_difficulty(store, v) for v in _of(versions, Difficulty)],
        "metrics": metrics(store, lines),
        "marks": [_marks(store, v) for v in _of(versions, Mark)],
        "certificates": [(v, v.meta["certificate"]) for v in versions if "certificate" in v.meta],
        "trainings": [(v, row) for v in _of(versions, Checkpoint) for row in from_table(store.table(v), Checkpoint)],
        "samples": samples(store, versions),
        "lineage": versions,
        "next": what_next(store, config, lines),
    }


def _of(versions: Sequence[Version], row: type) -> list[Version]:
    return [v for v in versions if v.row_type == row.__name__ and v.n_rows]


# Sections


def _funnel_line(store: Store, line: Line) -> dict[str, Any]:
    """What became of the rows of one stage; `shares` are widths in percent of the rows that came in."""
    balance = line.version.balance
    counts = {"kept": balance.kept, "rejected": sum(balance.rejected.values()), "quarantined": balance.quarantined}
    shards = lookup_many(store, [slot.shard_key for slot in store.slots(line.version)], complete_only=False)
    return {
        "version": line.version,
        "balance": balance,
        "counts": counts,
        "bars": _stack(counts),
        "failures": _failures(store, line.version) if balance.quarantined else [],
        "seconds": sum(shard.seconds for shard in shards.values()),
        "cached": line.cached,
        "jobs": line.jobs,
        "calls": line.calls,
    }


def _failures(store: Store, version: Version) -> list[tuple[str, int]]:
    """(what failed, rows) of the rows in quarantine."""
    dropped = store.dropped_table(version).select(["fate", "reason", "detail"]).to_pylist()
    return Counter(f"{row['reason']}: {row['detail']:.120}" for row in dropped if row["fate"] == "quarantined").most_common(3)


def _stack(counts: dict[str, int]) -> list[tuple[str, float, float]]:
    """(name, start, width) of each count in a stacked bar, in percent."""
    whole, start, bars = sum(counts.values()) or 1, 0.0, []
    for name, count in counts.items():
        bars.append((name, 100 * start / whole, 100 * count / whole))
        start += count
    return bars


def _costs(store: Store, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """What the ledger holds for these datasets, of this run and those before it, and how much of it this run paid."""
    paid = {line.dataset: line.calls for line in lines}
    return [{"cost": cost, "paid": paid[cost.stage]} for cost in store.ledger.cost_table() if cost.stage in paid]


def _verdicts(store: Store, version: Version) -> dict[str, Any]:
    rows = store.table(version, columns=["verdict", "tier"])
    found = Counter(rows.column("verdict").to_pylist())
    counts = {name: found[name] for name in ("correct", "unknown", "wrong")}
    tiers = Counter(rows.column("tier").to_pylist()).most_common()
    return {"version": version, "counts": counts, "bars": _stack(counts), "tiers": tiers}


def _difficulty(store: Store, version: Version) -> dict[str, Any]:
    """Problems by pass rate: a bar for each possible rate where replies are few, ten intervals where they are many."""
    table = store.table(version, columns=["n_replies", "pass_rate", "mean_tokens"])
    steps = min(int(pc.max(table.column("n_replies")).as_py()), 10)
    counts = Counter(round(rate * steps) for rate in table.column("pass_rate").to_pylist())
    most = max(counts.values())
    bars = [{"rate": i / steps, "count": counts[i], "height": 100 * counts[i] / most} for i in range(steps + 1)]
    return {"version": version, "bars": bars, "mean": pc.mean(table.column("pass_rate")).as_py(), "n": table.num_rows}


def metrics(store: Store, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Every metric that the run measured, the same ones of different models one below the other."""
    found = [(v, row) for v in _of([line.version for line in lines], Evaluation) for row in from_table(store.table(v), Evaluation)]
    names = list(dict.fromkeys(row.metric for _, row in found))
    return [{"metric": name, "points": [(v, row) for v, row in found if row.metric == name]} for name in sorted(names, key=_metric_order)]


def _metric_order(name: str) -> tuple[int, int]:
    kind, _, k = name.partition("@")
    return (["pass", "maj"].index(kind) if kind in ("pass", "maj") else 2, int(k) if k.isdecimal() else 0)


def _marks(store: Store, version: Version) -> dict[str, Any]:
    table = store.table(version)
    hits = table.filter(table.column("contaminated")).to_pylist()
    by = Counter((hit["benchmark"], hit["rule"], hit["column"]) for hit in hits)
    least = sorted(hits, key=lambda hit: (hit["ratio"], hit["id"]))[:_SHOWN_HITS]
    return {"version": version, "checked": table.num_rows, "contaminated": len(hits), "by": by.most_common(_SHOWN_HITS), "least": least}


def samples(store: Store, versions: Sequence[Version]) -> list[dict[str, Any]]:
    """One reply of each verdict with its problem, from one part of the run's first verdicts: what belongs to a problem is in its part."""
    found = _of(versions, Verdict)
    parents = {v.row_type: v for v in (store.resolve(f"{name}@{n}") for name, n in found[0].inputs.values())} if found else {}
    if not {"Rollout", "Problem"} <= parents.keys():
        return []
    part = [next(slot.part for slot in store.slots(found[0]) if slot.n_rows)]
    rollouts, problems = ({row["id"]: row for row in store.table(parents[t], parts=part).to_pylist()} for t in ("Rollout", "Problem"))
    chosen = {row["verdict"]: row for row in reversed(store.table(found[0], parts=part).to_pylist())}
    return [
        {"verdict": row, "rollout": rollouts[row["rollout_id"]], "problem": problems[row["problem_id"]]}
        for row in (chosen.get(name) for name in ("correct", "wrong", "unknown"))
        if row is not None
    ]


def what_next(store: Store, config: RecipeConfig, lines: Sequence[Line]) -> list[tuple[str, str]]:
    """(command, what it shows): what a person may want to type after this run, with names and ids that exist."""
    where = "" if store.root == store_root() else f" --store {shlex.quote(str(store.root))}"
    mathmill = own_command()
    versions = [line.version for line in lines]
    best = next((v for v in versions if v.row_type == "Example"), versions[-1])
    lost = next((v for v in versions if v.balance.quarantined), None) or next((v for v in versions if v.balance.rejected), None)
    commands = [(f"{mathmill} rows {best.dataset}{where}", "its rows")]
    if lost is not None:
        commands.append((f"{mathmill} rejected {lost.dataset}{where}", "rows that gave nothing, and why"))
    first = store.table(best, columns=["id"]).slice(0, 1).column("id").to_pylist()
    commands += [(f"{mathmill} trace {row_id}{where}", "where a row came from and what was made of it") for row_id in first]
    commands.append((f"{mathmill} sql 'FROM {best.dataset} LIMIT 5'{where}", "any question, in SQL"))
    if any(v.balance.quarantined for v in versions):
        commands.append((f"{mathmill} run {config.recipe} ...", "the same command again asks only what is in quarantine"))
    return commands


def own_command() -> str:
    """How this person can type the command: its name, or its path where no shell would find it (`make demo` activates nothing)."""
    own = Path(sys.executable).with_name("mathmill")
    if shutil.which("mathmill") or not own.exists():
        return "mathmill"
    return str(own.relative_to(Path.cwd())) if own.is_relative_to(Path.cwd()) else str(own)


# Numbers as people read them


def _shortened(model: str) -> str:
    """A model's name with digests cut to twelve digits, as people compare them."""
    return re.sub(r"[0-9a-f]{20,}", lambda found: found[0][:12], model)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"


def _number(value: float) -> str:
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else f"{value:.4g}"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min" if value < 6000 else f"{value / 3600:.1f} h"
