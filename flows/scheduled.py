"""The Prefect face of a run: one cached task a shard, whose stored results are the catalog itself.

Prefect schedules and shows; it is never a source of truth (its server may drop task-run events). A task's cache key is the
recipe hash and its result storage answers from the catalog, so *Cached* in the UI cannot disagree with the files.
"""

import inspect
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import CachePolicy
from prefect.events import emit_event
from prefect.filesystems import WritableFileSystem
from prefect.flows import Flow
from prefect.futures import as_completed
from prefect.results import ResultRecord, ResultRecordMetadata
from prefect.serializers import JSONSerializer
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from flows.config import Form, RecipeConfig, check_inputs, checked, form_of, load_recipe, prefix
from flows.graph import Call
from flows.make import Line, Make, RunOne, Silent, Watcher
from flows.places import catalog_url, store_root
from flows.report import wrap_up
from flows.session import Session
from flows.shard import Job, cached
from storage.shards import Shard
from storage.store import Store
from storage.versions import Version


@dataclass
class _Open:
    """A run of this process, as its tasks find it: tasks carry keys, never rows."""

    session: Session
    watcher: Watcher
    run_ones: dict[str, RunOne] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    made: dict[str, list[Shard]] = field(default_factory=dict)


_PROGRESS_S = 3.0
"""Between two updates of a progress artifact at least."""

_OPEN: dict[str, _Open] = {}


class CatalogStorage(WritableFileSystem):
    """Prefect asks this for results: the catalog knows them, and a collected shard is simply a miss."""

    _block_type_name = "mathmill catalog"
    _block_type_slug = "mathmill-catalog"

    def read_path(self, path: str, **_: Any) -> bytes:  # type: ignore[override]  # Prefect calls both forms, with a private keyword
        key = Path(path).name
        run = next((o for o in _OPEN.values() if key in o.jobs), None)
        if run is None or cached(run.session, run.jobs[key]) is None:
            raise ValueError(f"no shard {key}")
        return ResultRecord(result=key, metadata=ResultRecordMetadata(serializer=JSONSerializer(), storage_key=key)).serialize()

    def write_path(self, path: str, content: bytes, **_: Any) -> None:  # type: ignore[override]
        """Nothing to write: the shard was committed to the catalog before its task returned."""

    async def aread_path(self, path: str, **_: Any) -> bytes:
        return self.read_path(path)

    async def awrite_path(self, path: str, content: bytes, **_: Any) -> None:
        self.write_path(path, content)


class _JobKey(CachePolicy):
    def compute_key(self, task_ctx: Any, inputs: dict[str, Any], flow_parameters: dict[str, Any], **_: Any) -> str | None:
        return str(inputs["key"])


def _make_part(run: str, dataset: str, part: str, key: str) -> str:
    """Compute and commit one shard; the result is its key."""
    opened = _OPEN[run]
    opened.made[key] = opened.run_ones[dataset](opened.jobs[key], lambda done, total: None)
    return key


def _part_task() -> Any:
    block = CatalogStorage()
    block.save("mathmill-catalog", overwrite=True)
    return task(
        name="make-part",
        task_run_name="{dataset} {part}",
        cache_policy=_JobKey(),
        persist_result=True,
        result_storage=block,
        result_serializer="json",
    )(_make_part)


class _Mapper:
    """Maps jobs to task runs of the flow run that is under way."""

    def __init__(self, run: str) -> None:
        self._opened = _OPEN[run]
        self._run = run
        self._task = _part_task()

    def __call__(self, call: Call, todo: list[Job], run_one: RunOne) -> list[list[Shard]]:
        opened, dataset = self._opened, self._opened.session.dataset(call)
        opened.run_ones[dataset] = run_one
        opened.jobs.update({job.key: job for job in todo})
        distinct = {job.key: job for job in todo}.values()  # parts without rows share their shard
        progress = _Progress(dataset, len(distinct))
        runner: Any = ThreadPoolTaskRunner(max_workers=opened.session.config.run.workers)
        with runner:
            try:
                futures = [runner.submit(self._task, self._parameters(dataset, job)) for job in distinct]
                for done, future in enumerate(as_completed(futures), 1):
                    future.result()
                    progress.show(done)
            except Exception:
                raise
            except BaseException:  # Ctrl-C or SIGTERM: leaving the runner waits for its threads, which else would go on asking
                opened.session.stopping.set()
                raise
        return [self._shards(job) for job in todo]

    def _parameters(self, dataset: str, job: Job) -> dict[str, str]:
        return {"run": self._run, "dataset": dataset, "part": job.label, "key": job.key}

    def _shards(self, job: Job) -> list[Shard]:
        found = self._opened.made.get(job.key) or cached(self._opened.session, job)
        assert found is not None, f"Prefect reports {job.key} as cached, the catalog has no such shard"
        return found


class _Progress:
    """A progress artifact of a stage that takes its time: each update is a transaction of the server, and a cached stage needs none."""

    def __init__(self, dataset: str, total: int) -> None:
        self._dataset = dataset
        self._total = total
        self._shown = time.monotonic()
        self._artifact: UUID | None = None

    def show(self, done: int) -> None:
        percent = 100.0 * done / self._total
        last = done == self._total and self._artifact is not None
        if time.monotonic() - self._shown < _PROGRESS_S and not last:
            return
        self._shown = time.monotonic()
        if self._artifact is not None:
            update_progress_artifact(self._artifact, percent)
            return
        made = create_progress_artifact(percent, key=_slug(self._dataset), description=f"{self._dataset}: shards made")
        assert isinstance(made, UUID)  # the awaitable form is for async flows
        self._artifact = made


class _Announcing:
    """Passes everything on to another watcher; a finished stage becomes a table artifact, a new version an event."""

    def __init__(self, inner: Watcher, run_id: str) -> None:
        self._inner = inner
        self._run_id = run_id

    def start(self, dataset: str, jobs: int, cached: int) -> None:
        self._inner.start(dataset, jobs, cached)

    def progress(self, dataset: str, job: str, done: int, total: int) -> None:
        self._inner.progress(dataset, job, done, total)

    def say(self, line: str) -> None:
        self._inner.say(line)

    def finish(self, line: Line) -> None:
        balance, version = line.version.balance, line.version
        rows = [{"fate": "in", "rows": balance.rows_in}, {"fate": "kept", "rows": balance.kept}]
        rows += [{"fate": f"rejected: {reason}", "rows": n} for reason, n in balance.rejected.items()]
        rows += [{"fate": "quarantined", "rows": balance.quarantined}, {"fate": "out", "rows": balance.rows_out}]
        about = f"{version.spec}: {line.cached} of {line.jobs} jobs cached"
        create_table_artifact(rows, key=f"{_slug(line.dataset)}-funnel", description=about)
        if version.run_id == self._run_id:  # else it was there before
            announce(version)
        self._inner.finish(line)


class _Logging(Silent):
    """Writes to the log of the flow run."""

    def say(self, line: str) -> None:
        get_run_logger().info(line)

    def finish(self, line: Line) -> None:
        rows = line.version.balance.to_json()
        get_run_logger().info("%s: %s, %d calls, %d of %d jobs cached", line.version.spec, rows, line.calls, line.cached, line.jobs)


def announce(version: Version) -> None:
    """Tell Prefect that a version was published; deployments with a trigger on it (prefect.yaml) start."""
    emit_event(**version_event(version))


def version_event(version: Version) -> dict[str, Any]:
    """The event as Prefect takes it; its resource says what rows the version holds, its payload which version it is."""
    name = version.dataset
    return {
        "event": "mathmill.dataset.published",
        "resource": {"prefect.resource.id": f"mathmill.dataset.{name}", "prefect.resource.name": name, "mathmill.rows": version.row_type},
        "payload": {"dataset": name, "version": version.n, "spec": version.spec},
    }


def _slug(dataset: str) -> str:
    """Artifact keys allow lower-case letters, digits and dashes."""
    return dataset.replace(".", "-").replace("_", "-")


def run_in_prefect(session: Session, inputs: dict[str, str], watcher: Watcher) -> list[Line]:
    """Carry out the session's recipe inside the flow run that is under way, and tag its datasets `good`."""
    _OPEN[session.run_id] = _Open(session, watcher)
    try:
        make = Make(session, _Mapper(session.run_id), inputs, _Announcing(watcher, session.run_id))
        load_recipe(session.config.recipe)(make)
        return make.finish()
    finally:
        del _OPEN[session.run_id]
        session.close()


def run_here(session: Session, inputs: dict[str, str], watcher: Watcher) -> list[Line]:
    """Carry out the session's recipe in a flow run of this process."""
    lines: list[Line] = []

    def body(recipe: str) -> str:
        lines.extend(run_in_prefect(session, inputs, watcher))
        return recipe

    # heartbeats tell a worker's zombies; there is no worker here, and ending their thread takes up to a second
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), _interruptible(session):
        flow(name=session.config.recipe, persist_result=False, validate_parameters=False)(body)(session.config.recipe)
    return lines


@contextmanager
def _interruptible(session: Session) -> Iterator[None]:
    """Ctrl-C is noted before it is raised: a KeyboardInterrupt that arrives amid a library's callback may be swallowed there.
    Where it is ignored, as for a shell's background job, it stays so.
    """

    def note(number: int, frame: Any) -> None:
        session.stopping.set()
        signal.default_int_handler(number, frame)

    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_ARGUMENTS = """Args:
    config: Models and settings, stage by stage; what is left out is as packaged.
    inputs: Files by the names that the recipe uses, or datasets (DATASET@VERSION).
    store: Folder of the datasets; empty for the worker's.
    name: Prefix of the datasets' names in place of the recipe's.
    partition: Make or remake this round only, and publish it as a patch.
"""


def flow_of(recipe: str) -> Flow[..., Any]:
    """The recipe as a Prefect flow whose parameters are its typed settings."""
    form = form_of(recipe)

    def body(config: Form, inputs: dict[str, str], store: str, name: str, partition: int | None) -> dict[str, int]:
        settings = checked(RecipeConfig(recipe, name or prefix(recipe), config))
        check_inputs(recipe, inputs)
        with Store.open(store_root(store), catalog_url()) as opened:
            session = Session(opened, settings, round_=partition or 0, scope=None if partition is None else f"round={partition}/")
            lines = run_in_prefect(session, inputs, _Logging())
            wrap_up(opened, settings, lines)
        return {line.dataset: line.version.n for line in lines}

    parameters = [
        ("config", form, form()),
        ("inputs", dict[str, str], {}),
        ("store", str, ""),
        ("name", str, ""),
        ("partition", Annotated[int, Field(ge=0)] | None, None),
    ]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    body.__signature__ = inspect.Signature([inspect.Parameter(n, kind, default=d, annotation=a) for n, a, d in parameters])  # type: ignore[attr-defined]
    body.__annotations__ = {n: a for n, a, _ in parameters} | {"return": dict[str, int]}
    body.__name__ = body.__qualname__ = recipe
    body.__doc__ = f"{inspect.getdoc(inspect.getmodule(load_recipe(recipe)))}\n\n{_ARGUMENTS}"
    return flow(name=recipe, persist_result=False)(body)
