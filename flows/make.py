"""Carry out a recipe: bind each call, make its shards, publish its version. How jobs are run (threads, Prefect tasks) is handed in."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from flows.graph import Call, InputFile, Ref, UsageError, bind, input_dataset, own_dataset
from flows.publish import publish, scope_of
from flows.session import Session
from flows.shard import Job, cached, jobs, run_job
from flows.sources import open_source
from storage.ids import digest
from storage.shards import Shard
from storage.versions import Version
from tasks.runner import Progress
from tasks.stage import Source, Stage


class Interrupted(Exception):
    """The run is being stopped: a job under way gives up what it has not committed. Replies are in the ledger."""


@dataclass(frozen=True)
class Line:
    """One stage of a finished run, for the summary."""

    dataset: str
    version: Version
    jobs: int
    cached: int
    calls: int
    """Model calls that were paid for in this run."""


class Watcher(Protocol):
    """Whoever shows a run to a person."""

    def start(self, dataset: str, jobs: int, cached: int) -> None: ...
    def progress(self, dataset: str, job: str, done: int, total: int) -> None: ...
    def say(self, line: str) -> None: ...
    def finish(self, line: Line) -> None: ...


class Silent:
    """Shows nothing."""

    def start(self, dataset: str, jobs: int, cached: int) -> None: ...
    def progress(self, dataset: str, job: str, done: int, total: int) -> None: ...
    def say(self, line: str) -> None: ...
    def finish(self, line: Line) -> None: ...


RunOne = Callable[[Job, Progress], list[Shard]]
MapJobs = Callable[[Call, list[Job], RunOne], list[list[Shard]]]
"""Run every job and give the results in order."""


def in_threads(workers: int) -> MapJobs:
    """Jobs in a thread pool of this process: what tests and small scripts use."""

    def mapped(call: Call, todo: list[Job], run_one: RunOne) -> list[list[Shard]]:
        with ThreadPoolExecutor(max_workers=workers) as pool:
            return list(pool.map(lambda job: run_one(job, lambda done, total: None), todo))

    return mapped


def _from_own_place(todo: list[Job], run_id: str) -> list[Job]:
    """The same jobs from one of the run's own on: runs that work on one store divide its parts and do not wait for each other's at each."""
    first = int(digest(run_id, 8), 16) % max(1, len(todo))
    return [*todo[first:], *todo[:first]]


class Make:
    """The `make` that a recipe is called with when it is to be carried out."""

    def __init__(self, session: Session, map_jobs: MapJobs, inputs: dict[str, str], watcher: Watcher) -> None:
        self._session = session
        self._map_jobs = map_jobs
        self._inputs = inputs
        self._sources: dict[str, Source] = {}
        self._watcher = watcher
        self._bases = {head.dataset: head for head in session.store.heads()}
        self.lines: list[Line] = []

    def input(self, name: str) -> InputFile:
        if name not in self._inputs:
            raise UsageError(f"recipe {self._session.config.recipe!r} needs --input {name}=FILE")
        if name not in self._sources:
            self._sources[name] = open_source(Path(self._inputs[name]))
        return InputFile(name, self._sources[name])

    def dataset(self, name: str, row: type) -> Ref:
        return input_dataset(self._session.store, self._session.config.recipe, self._inputs, name, row)

    def answers(self, name: str, row: type) -> Ref:
        return own_dataset(self._session.store, self._session.config.name, name, row)

    def __call__(self, stage: Stage, *rows: Ref, name: str | None = None, protected: Ref | None = None, **named: Any) -> Ref:
        call = bind(stage, rows, name, protected, named)
        session, dataset = self._session, self._session.dataset(call)
        todo = _from_own_place(jobs(session, call), session.run_id)
        done = sum(1 for job in todo if cached(session, job) is not None)
        self._watcher.start(dataset, len(todo), done)
        if done < len(todo):
            session.engines(call)  # an unreachable endpoint stops the run here, before any row is blamed
        results = self._map_jobs(call, todo, self._run_one(call))
        shards = {part: shard for job, found in zip(todo, results, strict=True) for part, shard in zip(job.keys, found, strict=True)}
        version = publish(session, call, shards, self._bases.get(dataset), self._watcher.say)
        line = Line(dataset, version, len(todo), done, session.paid(call))
        self.lines.append(line)
        self._watcher.finish(line)
        return self._made(call, version, shards)

    def _made(self, call: Call, version: Version, shards: dict[str, Shard]) -> Ref:
        """What later stages read: parts that this run made, even where somebody else published others of the same name meanwhile."""
        ref = Ref.of(self._session.store, version)
        theirs = ref.parts if scope_of(self._session, call, shards) else {}
        return replace(ref, contents={**theirs, **{part: shard.content for part, shard in shards.items()}})

    def finish(self) -> list[Line]:
        """Move the tag `good` on every dataset of the run in one transaction: the run is whole. Never backwards: a backfill that ran
        beside this run, and finished first, has tagged versions that hold its parts and ours."""
        store, run = self._session.store, self._session
        heads = {line.dataset: max(line.version.n, store.refs(line.dataset).get("good", 0)) for line in self.lines}
        store.tag_all(heads, "good", who=run.run_id, why=f"run of {run.config.recipe} finished")
        return self.lines

    def _run_one(self, call: Call) -> RunOne:
        dataset = self._session.dataset(call)

        def run_one(job: Job, progress: Progress) -> list[Shard]:
            self._go_on(dataset, job)

            def both(done: int, total: int) -> None:
                self._go_on(dataset, job)
                progress(done, total)
                self._watcher.progress(dataset, job.label, done, total)

            return run_job(self._session, call, job, both, self._watcher.say)

        return run_one

    def _go_on(self, dataset: str, job: Job) -> None:
        """Threads cannot be interrupted: they ask."""
        if self._session.stopping.is_set():
            raise Interrupted(f"{dataset} {job.label}: the run was interrupted")
