"""What a run would reuse, recompute and ask, and why, before it does: the stages run against the ledger alone, misses are counted.

Exact where a stage's inputs are known; below a stage that will change it is a bound (`<= n`) or unknown. A stage whose questions hang on
replies that are not there yet (its config has `max_calls`) is counted from below (`>= n`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from flows.graph import Call, InputFile, Recipe, Ref, UsageError, bind, input_dataset, own_dataset
from flows.session import Session
from flows.shard import Job, by_part, cached, jobs, stage_inputs
from flows.sources import open_source
from models.engine import Backend, EngineError, Identity, Prompt, Reply, Sampling
from models.refs import EngineSpec, identity
from storage.objects import content_hash
from storage.versions import digest_of_contents
from tasks.runner import run_stage
from tasks.stage import Dataset, Source, Stage


@dataclass(frozen=True)
class PlanLine:
    """One stage of a plan."""

    dataset: str
    shards: int | None
    """None: not known before an earlier stage has run."""
    cached: int
    calls: str
    """Model calls to pay for: `12`, `<= 1600`, `unknown`, or empty for a stage that asks no model."""
    why: str


class _Counting:
    """A backend that is only asked for what the ledger lacks: it counts, and fails every question."""

    seeded = False

    def __init__(self, who: Identity) -> None:
        self.identity = who
        self.missing = 0

    async def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Reply:
        raise self._miss()

    async def score(self, prompt: Prompt, continuation: str) -> list[float]:
        raise self._miss()

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.missing += len(texts) - 1
        raise self._miss()

    async def check(self) -> None:
        """Nothing to check: nothing is asked."""

    async def close(self) -> None:
        """Nothing to close."""

    def _miss(self) -> EngineError:
        self.missing += 1
        return EngineError("not in the ledger")


@dataclass(frozen=True)
class _Unpublished:
    """A dataset that a run would publish, as its stages would see it (`tasks.stage.Dataset`)."""

    name: str
    digest: str
    rows: pa.Table
    meta: dict[str, Any] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    @property
    def spec(self) -> str:
        return f"{self.name}@next"

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        return self.rows.select(list(columns)) if columns is not None else self.rows


class _PlanSession(Session):
    """A session whose engines count instead of asking, and which remembers the rows that a run would write."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.store, session.config, session.run_id, session.round_, session.scope)
        self._unwritten: dict[str, pa.Table] = {}

    def _backend(self, spec: EngineSpec) -> Backend:
        backend: Any = self._backends.setdefault(spec.model_dump_json(), _Counting(identity(spec)))
        return backend

    def missing(self) -> int:
        """Questions so far that the ledger could not answer."""
        return sum(getattr(b, "missing", 0) for b in self._backends.values())

    def remember(self, rows: pa.Table) -> str:
        """The name of the object that these rows would be written as."""
        name = content_hash(rows)
        self._unwritten[name] = rows
        return name

    def read(self, content: str, columns: Sequence[str] | None = None) -> pa.Table:
        if content not in self._unwritten:
            return super().read(content, columns)
        return self._unwritten[content].select(list(columns)) if columns is not None else self._unwritten[content]

    def whole(self, ref: Ref) -> Dataset:
        if ref.version is not None:
            return super().whole(ref)
        return _Unpublished(ref.dataset, ref.digest, pa.concat_tables([self.read(c) for c in ref.parts.values()]))


class _Plan:
    """The `make` that a recipe is called with when it is only to be planned."""

    def __init__(self, session: _PlanSession, inputs: dict[str, str]) -> None:
        self._session = session
        self._inputs = inputs
        self._sources: dict[str, Source] = {}
        self.lines: list[PlanLine] = []

    def input(self, name: str) -> InputFile:
        if name not in self._inputs:
            raise UsageError(f"recipe {self._session.config.recipe!r} needs --input {name}=FILE")
        source = self._sources.setdefault(name, open_source(Path(self._inputs[name])))
        return InputFile(name, source)

    def dataset(self, name: str, row: type) -> Ref:
        return input_dataset(self._session.store, self._session.config.recipe, self._inputs, name, row)

    def answers(self, name: str, row: type) -> Ref:
        return own_dataset(self._session.store, self._session.config.name, name, row)

    def __call__(self, stage: Stage, *rows: Ref, name: str | None = None, protected: Ref | None = None, **named: Any) -> Ref:
        call = bind(stage, rows, name, protected, named)
        dataset = self._session.dataset(call)
        unknown = {ref.dataset for ref in call.inputs.values() if ref.contents is None}
        if unknown:
            self.lines.append(PlanLine(dataset, None, 0, self._bound(call), f"after {', '.join(sorted(unknown))}"))
            return Ref(dataset, stage.output)
        todo = jobs(self._session, call)
        missing = [job for job in todo if cached(self._session, job) is None]
        why = self._why(call, missing)
        contents = self._cached_contents(todo)
        before = self._session.missing()
        known = sum(self._dry_run(call, job, contents) for job in missing) == len(missing)
        calls = self._asked(call, self._session.missing() - before)
        shards = sum(len(job.keys) for job in todo)
        self.lines.append(PlanLine(dataset, shards, shards - sum(len(job.keys) for job in missing), calls, why))
        return self._ref(dataset, stage, contents) if known else Ref(dataset, stage.output)

    def _cached_contents(self, todo: list[Job]) -> dict[str, str]:
        return {part: s.content for job in todo for part, s in zip(job.keys, cached(self._session, job) or [], strict=False)}

    def _dry_run(self, call: Call, job: Job, contents: dict[str, str]) -> bool:
        """Run the job against the ledger; True when its rows are known exactly (nothing to ask, nothing to train)."""
        if call.stage.workdir:
            return False
        before = self._session.missing()
        outcome = run_stage(call.stage, self._session.config.stage(call.name), stage_inputs(self._session, call, job))
        if self._session.missing() > before:
            return False
        for part, piece in by_part(self._session, call, job, outcome).items():
            contents[part] = self._session.remember(piece.rows)
        return True

    def _ref(self, dataset: str, stage: Stage, contents: dict[str, str]) -> Ref:
        """The dataset as the run would leave it."""
        head = self._session.store.head(dataset)
        found = Ref.of(self._session.store, head) if head else None
        return found if found and found.contents == contents else Ref(dataset, stage.output, contents, digest_of_contents(contents))

    def _asked(self, call: Call, missing: int) -> str:
        """What a dry run has counted."""
        more = ">= " if missing and hasattr(self._session.config.stage(call.name), "max_calls") else ""
        return f"{more}{missing}" if call.stage.engines else ""

    def _bound(self, call: Call) -> str:
        """At most rows times samples, where the rows that will come are known."""
        if not call.stage.engines:
            return ""
        primary = next(iter(call.rows.values()), None)
        if primary is None or primary.contents is None:
            return "unknown"
        rows = sum(self._session.read(content, ["id"]).num_rows for content in primary.contents.values())
        config = self._session.config.stage(call.name)
        return f"<= {rows * getattr(config, 'max_calls', getattr(config, 'samples', 1))}"

    def _why(self, call: Call, missing: list[Job]) -> str:
        """The most frequent reasons why shards are not cached."""
        if not missing:
            return "nothing changed"
        reasons: Counter[str] = Counter()
        for job in missing:
            for part, recipe in job.recipes.items():
                reasons[_said(self._session.store.explain(self._session.dataset(call), part, recipe))] += 1
        return "; ".join(reason for reason, _ in reasons.most_common(3))


def _said(explained: Any) -> str:
    if isinstance(explained, str):
        return explained
    return ", ".join(_change(path, old, new) for path, (old, new) in sorted(explained.items()))


def _change(path: str, old: Any, new: Any) -> str:
    """Digests say nothing to a person: that rows or code changed is enough."""
    if path.split(".")[0] in ("inputs", "sources", "datasets", "code"):
        return f"{path} changed"
    return f"{path}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def plan_recipe(session: Session, recipe: Recipe, inputs: dict[str, str]) -> list[PlanLine]:
    """One line a stage, in the recipe's order. Writes nothing and asks no model."""
    planned = _Plan(_PlanSession(session), inputs)
    recipe(planned)
    return planned.lines
