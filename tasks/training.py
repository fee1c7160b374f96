"""What the training stages share: settings, the demand for a certificate, and the process that a training runs in.

The process writes its checkpoints into the shard's folder, so that a killed training goes on where it was, and exits with its parent.
Importing this loads no torch.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from storage.checkpoints import adopt
from storage.schemas import Checkpoint
from tasks.prompts import PromptField, PromptText, fill, load_prompt
from tasks.stage import Dataset, ModelFolder, Runtime, StageConfig, Workdir

_CHECKOUT = Path(__file__).parents[1]
"""Where the process runs: `-m` looks in its folder first, and the caller's may hold another package `tasks`."""

Result = dict[str, Any]
"""What a training leaves as JSON: folder of the model, losses, resumed_from, n_rows, too_long, and what else it has to say."""


class TrainingError(Exception):
    """The training process failed; the message ends with its last lines."""


class TrainConfig(StageConfig):
    """Settings that all trainings have."""

    base: str = "solver"
    """Role or reference of the model to start from; it needs a local folder."""
    prompt: PromptField = Field(default_factory=lambda: load_prompt("solve"))
    """The prompt that the model will be asked with, hole [[problem]]: the same as in `solve`."""
    lr: float = Field(2e-5, gt=0)
    """Peak learning rate (AdamW)."""
    epochs: float = Field(3.0, gt=0)
    """Passes over the rows."""
    max_steps: int = Field(0, ge=0)
    """Optimizer steps, in place of `epochs` where not 0."""
    batch_size: int = Field(128, ge=1)
    """Rows an optimizer step."""
    max_length: int = Field(4096, ge=1)
    """Longest row in tokens, prompt included; longer ones are left out and counted, never cut."""
    schedule: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "cosine"
    """Learning rate over time."""
    warmup: float = Field(0.0, ge=0)
    """Steps of linear warm-up; a share of all steps where below 1."""
    weight_decay: float = Field(0.0, ge=0)
    """Of AdamW."""
    seed: int = 0
    """Order of the rows."""
    micro_batch: Annotated[int, Runtime()] = Field(8, ge=1)
    """Rows on the device at once; divides `batch_size`."""
    gradient_checkpointing: Annotated[bool, Runtime()] = False
    """Recompute activations in the backward pass: less memory, a third slower."""
    save_steps: Annotated[int, Runtime()] = Field(100, ge=1)
    """Steps between checkpoints: what a kill costs at most."""

    @field_validator("prompt")
    @classmethod
    def _only_the_problem(cls, prompt: PromptText) -> PromptText:
        fill(prompt, problem="")
        return prompt

    @model_validator(mode="after")
    def _whole_batches(self) -> "TrainConfig":
        if self.batch_size % min(self.micro_batch, self.batch_size):
            raise ValueError(f"micro_batch {self.micro_batch} does not divide batch_size {self.batch_size}")
        return self

    def settings(self) -> dict[str, Any]:
        """The fields that a fit (`models.train.fitting.Fit`) takes."""
        names = (
            "lr", "epochs", "max_steps", "batch_size", "micro_batch", "schedule", "warmup", "weight_decay", "seed", "save_steps",
            "gradient_checkpointing",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


def train(
    module: str, method: str, rows: Dataset, base: ModelFolder, work: Workdir, config: TrainConfig, settings: dict[str, Any], **more: Any
) -> Checkpoint:
    """The model that `module`, run as a process, trains on `rows`, adopted into the store. `more` goes into its spec.

    Raises ValueError for a set without its certificate, TrainingError when training fails.
    """
    _demand_certificate(rows)
    spec = {
        "files": [str(f.absolute()) for f in rows.files],
        "base": str(base.path.absolute()),
        "work": str(work.path.absolute()),
        "prompt": config.prompt.model_dump(),
        "max_length": config.max_length,
        "settings": settings,
        **more,
    }
    result = _in_process(module, spec)
    checkpoint_id, path = adopt(work.store, Path(result["folder"]))
    losses = result["losses"]
    few = min(10, max(1, len(losses) // 4))
    return Checkpoint(
        id=checkpoint_id,
        path=path,
        base=base.identity,
        trained_on=rows.spec,
        trained_on_digest=rows.digest,
        method=method,
        steps=len(losses),
        loss_first=sum(losses[:few]) / few,
        loss_last=sum(losses[-few:]) / few,
        n_rows=result["n_rows"],
        n_too_long=len(result["too_long"]),
    )


def _demand_certificate(rows: Dataset) -> None:
    """Publishing demands the same; a trainer does not rely on it."""
    certificate = rows.meta.get("certificate")
    if not certificate:
        fault = "has no contamination certificate"
    elif certificate.get("version_digest") != rows.digest:
        fault = f"has a contamination certificate for other rows (digest {certificate.get('version_digest')}, not {rows.digest})"
    elif certificate.get("hits", ["not listed"]):
        fault = f"has a contamination certificate with hits ({certificate.get('hits', 'not listed')!r:.200})"
    else:
        return
    raise ValueError(
        f"{rows.spec} {fault}, and nothing trains on what it may be tested on: "
        "run `contamination` on its rows, select with `training_set`, and train on the version that publishes"
    )


def _in_process(module: str, spec: dict[str, Any]) -> Result:
    """The result of the process for `spec`; one that has finished before is not started again."""
    folder = Path(spec["work"])
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / "result.json"
    if not result.is_file():
        (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        _run(module, folder)
    found: Result = json.loads(result.read_text(encoding="utf-8"))
    return found


def _run(module: str, folder: Path) -> None:
    """Run `module` as a process on the folder's spec; its standard input stays open as long as this process lives."""
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]  # on several, the trainer would multiply the batch
    environment = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **os.environ, "CUDA_VISIBLE_DEVICES": device}
    command = [sys.executable, "-m", module, str(folder / "spec.json")]
    log = folder / "log.txt"
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=_CHECKOUT)
        try:
            status = process.wait()
        finally:
            process.kill()
    if status != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise TrainingError(f"training ended with status {status}; the end of {log}:\n" + "\n".join(lines[-12:]))


# In the process


def serve(fit: Callable[[dict[str, Any], Path], Result], spec_file: str) -> None:
    """Train as the spec says and leave `result.json` in its folder, last of all."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    spec = json.loads(Path(spec_file).read_text(encoding="utf-8"))
    folder = Path(spec["work"])
    result = fit(spec, folder)
    partial = folder / "result.json.partial"
    partial.write_text(json.dumps(result), encoding="utf-8")
    os.replace(partial, folder / "result.json")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _exit_with_parent() -> None:
    os.read(0, 1)  # nothing is ever written: returns when the parent is gone
    os._exit(3)


def rows_of(spec: dict[str, Any], columns: list[str]) -> list[dict[str, Any]]:
    """The rows to train on, in the order of their ids."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(f, columns=columns) for f in spec["files"]]
    if not tables:
        raise ValueError("nothing to train on: the version has no files")
    return pa.concat_tables(tables).sort_by("id").to_pylist()


def progress_into(file: Path) -> Callable[[int, int, dict[str, float]], None]:
    """A report that appends each step's figures to `file`, one JSON object a line, there to be read at once."""

    def report(step: int, steps: int, figures: dict[str, float]) -> None:
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"step": step, "steps": steps, **figures}) + "\n")

    return report
