"""Compute and commit shards: what one task of a run does. No Prefect here; tests and `flows.make` both call this."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flows.graph import Call, Ref
from flows.rounds import other_rounds, without_repeats
from flows.session import Session
from storage.ids import digest, part_name
from storage.schemas import arrow_schema, key_column
from storage.shards import Balance, Shard
from tasks.fingerprint import code_identity
from tasks.runner import Inputs, Outcome, Progress, StageError, run_stage
from tasks.stage import Source, Workdir

ALL = "all"
"""The part of rows that belong to no problem (metrics, checkpoints)."""


@dataclass(frozen=True)
class Job:
    """Parts that are computed together: one for stages that see a part at a time, all for dataset-wide ones."""

    recipes: dict[str, dict[str, Any]]
    """part -> what decides its rows"""
    keys: dict[str, str]
    """part -> digest of the recipe"""
    whole: bool

    @property
    def key(self) -> str:
        keys = list(self.keys.values())
        return keys[0] if len(keys) == 1 else digest(keys)

    @property
    def label(self) -> str:
        return next(iter(self.keys)) if len(self.keys) == 1 else f"{len(self.keys)} parts"


def jobs(session: Session, call: Call) -> list[Job]:
    """What has to exist for the call's dataset to be whole. Starts nothing and asks no model."""
    common = _common_recipe(session, call)
    if call.stage.scope == "dataset" or call.stage.primary is None:
        return [_whole_job(session, call, common)]
    contents = {p: ref.parts for p, ref in call.rows.items()}
    parts = [part for part in contents[call.stage.primary[0]] if part.startswith(session.scope or "")]
    return [_job({part: {**common, "inputs": {p: c.get(part) for p, c in contents.items()}}}, whole=False) for part in parts]


def _common_recipe(session: Session, call: Call) -> dict[str, Any]:
    stage, config = call.stage, session.config.stage(call.name)
    settings = config.identity()
    models = {p: session.identity(call, p).payload() for p in (*stage.engines, *stage.folders)}
    prompts = {f: v["text"] for f, v in settings.items() if isinstance(v, dict) and set(v) == {"name", "text"}}
    plain = {f: v for f, v in settings.items() if f not in models and f not in prompts}
    return {
        "stage": stage.name,
        "code": code_identity(stage),
        "config": plain,
        "prompts": prompts,
        "models": models,
        "datasets": {p: ref.digest for p, ref in call.datasets.items()},
        "sources": {p: _source(f.source).digest for p, f in call.sources.items()},
        "schema": digest(arrow_schema(stage.output).to_string(show_schema_metadata=False), 16),
    }


def _whole_job(session: Session, call: Call, common: dict[str, Any]) -> Job:
    inputs = {p: ref.parts for p, ref in call.rows.items()}
    parts = _whole_parts(session, call, inputs)
    base = {**common, "inputs": inputs, "parts": len(parts)}  # how many parts there are decides which rows each one gets
    others = other_rounds(session, call)
    if others:
        base["other_rounds"] = others
    return _job({part: {**base, "part": part} for part in parts}, whole=True)


def _whole_parts(session: Session, call: Call, inputs: dict[str, dict[str, str]]) -> list[str]:
    if key_column(call.stage.output) is None:
        return [ALL]
    rounds = {int(part.split("/")[0].removeprefix("round=")) for found in inputs.values() for part in found if part != ALL}
    buckets = _buckets(session, call)
    return [f"round={r}/{b:03d}" for r in sorted(rounds or {session.round_}) for b in range(buckets)]


def _buckets(session: Session, call: Call) -> int:
    """Fixed when the dataset was first published; a derived dataset has its input's."""
    read = [ref.dataset for ref in (*call.rows.values(), *call.datasets.values()) if key_column(ref.row) is not None]
    known = [session.store.buckets(name) for name in (session.dataset(call), *read)]
    return next((b for b in known if b), session.config.run.buckets)


def _job(recipes: dict[str, dict[str, Any]], whole: bool) -> Job:
    return Job(recipes, {part: digest(recipe) for part, recipe in recipes.items()}, whole)


def _source(source: Source | None) -> Source:
    assert source is not None
    return source


def cached(session: Session, job: Job) -> list[Shard] | None:
    """The job's shards if every one is committed and complete."""
    found = session.store.lookup_many(list(job.keys.values()))
    return [found[k] for k in job.keys.values()] if all(k in found for k in job.keys.values()) else None


def run_job(
    session: Session,
    call: Call,
    job: Job,
    progress: Progress = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Shard]:
    """The job's shards, from the cache or computed and committed. Two runs never compute the same job: the second waits and says so."""

    def waiting() -> None:
        say(f"{session.dataset(call)} {job.label}: another run is making this; waiting for it")

    found = cached(session, job)
    if found is not None:
        return found
    with session.store.lock(job.key, on_wait=waiting):
        found = cached(session, job)
        if found is not None:
            return found
        started = time.monotonic()
        outcome = run_stage(call.stage, session.config.stage(call.name), stage_inputs(session, call, job), progress)
        shards = _commit(session, call, job, outcome, time.monotonic() - started)
        shutil.rmtree(_workdir(session, job), ignore_errors=True)
        return shards


def stage_inputs(session: Session, call: Call, job: Job) -> Inputs:
    """What the stage is given for this job."""
    store, stage = session.store, call.stage
    workdir = Workdir(_workdir(session, job), store.root) if stage.workdir else None
    return Inputs(
        tables={p: _table(session, ref, job) for p, ref in call.rows.items()},
        datasets={p: session.whole(ref) for p, ref in call.datasets.items()},
        sources={p: _source(f.source) for p, f in call.sources.items()},
        engines=session.engines(call),
        folders={p: session.folder(call, p) for p in stage.folders},
        workdir=workdir,
    )


def _workdir(session: Session, job: Job) -> Path:
    """Where a stage may keep what should outlive a kill, until the job is committed."""
    return session.store.root / "work" / job.key


def _table(session: Session, ref: Ref, job: Job) -> pa.Table:
    """The rows of the job's parts; a dataset that lacks a part has no rows there."""
    contents = [content for part, content in ref.parts.items() if job.whole or part in job.keys]
    return pa.concat_tables([arrow_schema(ref.row).empty_table(), *(session.read(content) for content in contents)])


def _commit(session: Session, call: Call, job: Job, outcome: Outcome, seconds: float) -> list[Shard]:
    shards = []
    pieces = by_part(session, call, job, outcome)
    for part, piece in pieces.items():
        shards.append(
            session.store.commit(
                key=job.keys[part],
                dataset=session.dataset(call),
                part=part,
                stage=call.stage.name,
                recipe=job.recipes[part],
                rows=piece.rows,
                dropped=piece.dropped,
                balance=balance_of(piece),
                run_id=session.run_id,
                seconds=seconds / len(pieces),
            )
        )
    return shards


def balance_of(outcome: Outcome) -> Balance:
    kept, rejected, quarantined = len(outcome.parents), outcome.rejected, outcome.quarantined
    return Balance(kept + sum(rejected.values()) + quarantined, kept, rejected, quarantined, outcome.rows.num_rows)


def by_part(session: Session, call: Call, job: Job, outcome: Outcome) -> dict[str, Outcome]:
    """The outcome of each part: rows go where their problem lives, input rows are counted where their first output is."""
    parts = list(job.keys)
    outcome = without_repeats(session, job.recipes[parts[0]].get("other_rounds", {}), outcome)
    if len(parts) == 1:
        return {parts[0]: outcome}
    known = _part_of_problems(session, call)
    buckets = sum(1 for p in parts if p.split("/")[0] == parts[0].split("/")[0])

    first_round = int(parts[0].split("/")[0].removeprefix("round="))

    def place(key: str) -> str:
        return known.get(key) or part_name(first_round, key, buckets)

    keys = outcome.rows.column(key_column(call.stage.output) or "id").to_pylist()
    row_parts = [place(k) for k in keys]
    part_of_row = dict(zip(outcome.rows.column("id").to_pylist(), row_parts, strict=True))
    dropped_keys = zip(outcome.dropped.column("problem_id").to_pylist(), outcome.dropped.column("id").to_pylist(), strict=True)
    dropped_parts = [place(problem or own) for problem, own in dropped_keys]
    _check_places({*row_parts, *dropped_parts} - {*parts}, call)
    parents: dict[str, dict[str, list[str]]] = {part: {} for part in parts}
    for parent, children in outcome.parents.items():
        parents[part_of_row[children[0]]][parent] = children
    return {
        part: Outcome(_where(outcome.rows, row_parts, part), _where(outcome.dropped, dropped_parts, part), parents[part]) for part in parts
    }


def _check_places(strays: set[str], call: Call) -> None:
    """Rows outside the parts that are made would be lost without a word."""
    if strays:
        inputs = ", ".join(ref.dataset for ref in call.rows.values())
        raise StageError(f"{call.name}: rows belong to parts that it does not have ({min(strays)}): {inputs} differ in their buckets")


def _part_of_problems(session: Session, call: Call) -> dict[str, str]:
    found: dict[str, str] = {}
    for parameter, ref in call.rows.items():
        column = key_column(call.stage.row_inputs[parameter])
        if column is None:
            continue
        for part, content in ref.parts.items():
            for key in session.read(content, [column]).column(column).to_pylist():
                found[key] = part
    return found


def _where(table: pa.Table, parts: list[str], part: str) -> pa.Table:
    return table.filter(pc.equal(pa.array(parts, pa.string()), part))
