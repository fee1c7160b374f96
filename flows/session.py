"""One run's open things: the store, the run's id, and the engines its stages ask for, each started once and closed at the end."""

import threading
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from flows.config import RecipeConfig
from flows.graph import Call, Ref, UsageError
from models import loop
from models.engine import Backend, Engine, Identity, SharedCall, Ticket
from models.refs import EngineSpec, identity, model_folder, open_backend
from storage.schemas import Checkpoint, from_table
from storage.store import Store
from storage.versions import Version
from tasks.stage import Dataset, ModelFolder


@dataclass
class Session:
    """`scope` limits a run to the parts below it (`round=3/`); `round_` is the round that importing stages write."""

    store: Store
    config: RecipeConfig
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    round_: int = 0
    scope: str | None = None
    replay: bool = False
    """Answer every model call from the ledger; a miss is an error."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the run was interrupted: jobs under way end with their next row, none begins."""
    _backends: dict[str, Backend] = field(default_factory=dict)
    _engines: dict[tuple[str, str], Engine] = field(default_factory=dict)
    _in_flight: dict[str, SharedCall] = field(default_factory=dict)

    def read(self, content: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of an object."""
        return self.store.read(content, columns)

    def whole(self, ref: Ref) -> Dataset:
        """A dataset handed to a stage whole."""
        return self.store.dataset(ref.published)

    def dataset(self, call: Call) -> str:
        return f"{self.config.name}.{call.name}"

    def spec(self, call: Call, parameter: str) -> EngineSpec:
        """The engine behind a stage's parameter: a checkpoint of this recipe, a role of the [engines] table, or a reference."""
        if parameter in call.checkpoints:
            spec = EngineSpec(ref=f"hf:{self._checkpoint_path(call.checkpoints[parameter].published)}")
        else:
            wanted = str(getattr(self.config.stage(call.name), parameter))
            spec = self.config.engines.get(wanted) or EngineSpec.parse(wanted, roles=sorted(self.config.engines))
        if (asked := spec.parsed.asked).scheme == "ckpt":
            path = self._checkpoint_path(self.store.resolve(asked.target))
            spec = spec.model_copy(update={"ref": spec.ref.replace(str(asked), f"hf:{path}")})
        return spec.model_copy(update={"ref": f"replay:{spec.ref}"}) if self.replay and not spec.ref.startswith("replay:") else spec

    def identity(self, call: Call, parameter: str) -> Identity:
        return identity(self.spec(call, parameter))

    def folder(self, call: Call, parameter: str) -> ModelFolder:
        spec = self.spec(call, parameter)
        found = identity(spec)
        return ModelFolder(model_folder(spec), f"{found.model}@{found.revision}")

    def _checkpoint_path(self, version: Version) -> Path:
        if version.row_type != Checkpoint.__name__:
            raise UsageError(f"{version.spec} holds {version.row_type} rows and no checkpoint: name what a training published")
        rows = from_table(self.store.table(version), Checkpoint)
        return self.store.root / rows[0].path

    def engines(self, call: Call) -> dict[str, Engine]:
        """The stage's engines, opened on first use; one Engine per call of `make`, so that its limit holds over all parts."""
        for parameter in call.stage.engines:
            if (call.name, parameter) not in self._engines:
                self._engines[call.name, parameter] = self._open(call, parameter)
        return {p: self._engines[call.name, p] for p in call.stage.engines}

    def paid(self, call: Call) -> int:
        """Model calls that this run paid for in this stage."""
        return sum(engine.paid for (name, _), engine in self._engines.items() if name == call.name)

    def _open(self, call: Call, parameter: str) -> Engine:
        config, spec = self.config.stage(call.name), self.spec(call, parameter)
        return Engine(
            self._backend(spec),
            self.store.ledger,
            stream=getattr(config, "stream", "main"),
            ticket=Ticket(self.run_id, self.dataset(call)),
            concurrency=getattr(config, "concurrency", 8),
            in_flight=self._in_flight,
            price=spec.price,
        )

    def _backend(self, spec: EngineSpec) -> Backend:
        key = spec.model_dump_json()
        if key not in self._backends:
            self._backends[key] = open_backend(spec)
            loop.run(self._backends[key].check())
        return self._backends[key]

    def close(self) -> None:
        """Stop what was started: servers, connections, weights; all of it, even where one fails to stop."""
        self._engines.clear()
        with ExitStack() as stack:
            while self._backends:
                stack.callback(_close, self._backends.popitem()[1])


def _close(backend: Backend) -> None:
    loop.run(backend.close())
