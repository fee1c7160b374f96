"""A stage played by a nano model in some folder: the real stage, runner, engine, ledger and backend, on rows in memory."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models import loop
from models.engine import Engine, Identity
from storage.ledger import open_ledger
from storage.schemas import to_table
from tasks.runner import Inputs, Outcome, run_stage
from tasks.stage import Stage, StageConfig


def play(stage: Stage, config: StageConfig, folder: Path, **rows: Sequence[Any]) -> Outcome:
    """The stage's outcome on `rows` (by parameter); the model in `folder` plays whatever engine it asks for. The same at each call."""
    from models.hf import HfBackend  # torch only where a model runs

    tables = {name: to_table(given, stage.row_inputs[name]) for name, given in rows.items()}
    backend = HfBackend(folder, Identity(folder.name, "measured"), batch_size=128)
    with tempfile.TemporaryDirectory() as place:
        ledger = open_ledger(Path(place) / "ledger.sqlite")
        try:
            engine = Engine(backend, ledger, concurrency=256)
            wide = config.model_copy(update={"concurrency": 256})
            return run_stage(stage, wide, Inputs(tables=tables, engines=dict.fromkeys(stage.engines, engine)))
        finally:
            loop.run(backend.close())
            ledger.close()
