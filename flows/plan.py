"""What a run would reuse, recompute and ask, and why, before it does: the stages run against the ledger alone, misses are counted.

Exact where a stage's inputs are known; below a stage that will change it is a bound (`<= n`) or unknown.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.graph import Call, InputFile, Recipe, Ref, UsageError, bind
from flows.session import Session
from flows.shard import Job, cached, jobs, stage_inputs
from flows.sources import open_source
from models.engine import Backend, EngineError, Identity, Prompt, Reply, Sampling
from models.refs import EngineSpec, identity
from storage.schemas import Checkpoint
from tasks.runner import run_stage
from tasks.stage import Source, Stage


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


class _PlanSession(Session):
    """A session whose engines count instead of asking."""

    def _backend(self, spec: EngineSpec) -> Backend:
        backend: Any = self._backends.setdefault(spec.model_dump_json(), _Counting(identity(spec)))
        return backend

    def missing(self) -> int:
        return sum(getattr(b, "missing", 0) for b in self._backends.values())


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
        return Ref.of(self._session.store, self._session.store.resolve(self._inputs[name]))

    def __call__(self, stage: Stage, *rows: Ref, name: str | None = None, protected: Ref | None = None, **named: Any) -> Ref:
        call = bind(stage, rows, name, protected, named)
        dataset = self._session.dataset(call)
        unknown = [ref.dataset for ref in call.inputs.values() if ref.contents is None or (ref.version is None and ref.row is Checkpoint)]
        if unknown:
            self.lines.append(PlanLine(dataset, None, 0, self._bound(call), f"after {', '.join(sorted(set(unknown)))}"))
            return Ref(dataset, stage.output)
        todo = jobs(self._session, call)
        missing = [job for job in todo if cached(self._session, job) is None]
        shards = sum(len(job.keys) for job in todo)
        done = shards - sum(len(job.keys) for job in missing)
        self.lines.append(PlanLine(dataset, shards, done, self._calls(call, missing), self._why(call, missing)))
        return Ref(dataset, stage.output) if missing else self._known(call, todo)

    def _known(self, call: Call, todo: list[Job]) -> Ref:
        """The dataset as the run would find it: every shard is there already."""
        store, dataset = self._session.store, self._session.dataset(call)
        shards = {p: s for job in todo for p, s in zip(job.keys, cached(self._session, job) or [], strict=True)}
        head = store.head(dataset)
        if head and {s.part: s.shard_key for s in store.slots(head)} == {p: s.key for p, s in shards.items()}:
            return Ref.of(store, head)
        digest = store.digest_of(dataset, {p: s.key for p, s in shards.items()})
        return Ref(dataset, call.stage.output, {p: s.content for p, s in shards.items()}, digest)

    def _calls(self, call: Call, missing: list[Job]) -> str:
        """Exactly how many calls the missing shards lack: each row is run, each question looked up."""
        if not call.stage.engines:
            return ""
        before = self._session.missing()
        for job in missing:
            run_stage(call.stage, self._session.config.stage(call.name), stage_inputs(self._session, call, job))
        return str(self._session.missing() - before)

    def _bound(self, call: Call) -> str:
        """At most rows times samples, where the rows that will come are known."""
        if not call.stage.engines:
            return ""
        primary = next(iter(call.rows.values()), None)
        if primary is None or primary.version is None:
            return "unknown"
        return f"<= {primary.version.n_rows * getattr(self._session.config.stage(call.name), 'samples', 1)}"

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
    changes = (f"{path}: {_short(old)} -> {_short(new)}" for path, (old, new) in sorted(explained.items()))
    return ", ".join(changes)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def plan_recipe(session: Session, recipe: Recipe, inputs: dict[str, str]) -> list[PlanLine]:
    """One line a stage, in the recipe's order. Writes nothing and asks no model."""
    planned = _Plan(_PlanSession(session.store, session.config, session.run_id, session.round_, session.scope), inputs)
    recipe(planned)
    return planned.lines
