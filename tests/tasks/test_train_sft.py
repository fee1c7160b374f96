import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from storage.ids import digest
from storage.schemas import Checkpoint, Example, from_table, to_table
from tasks.runner import Inputs, run_stage
from tasks.stage import ModelFolder, Workdir
from tasks.train_sft import TrainSftConfig, train_sft
from tasks.training import TrainingError
from tests.tiny_model import tiny_model

ROOT = Path(__file__).parents[2]
STEPS = 120
CONFIG = {"lr": 1e-2, "max_steps": STEPS, "batch_size": 8, "save_steps": 10}


def sums(n: int) -> list[Example]:
    texts = [(f"What is {i} + {i + 1}?", f"Step 1: Sum {i}+{i + 1}={2 * i + 1}\nAnswer: \\boxed{{{2 * i + 1}}}") for i in range(n)]
    return [Example(f"e{i:02}", f"p{i}", f"s{i}", *text) for i, text in enumerate(texts)]


class Files:
    """A published training set in two Parquet files, as a stage sees it."""

    name, spec = "sums.training_set", "sums.training_set@3"

    def __init__(self, folder: Path, rows: list[Example]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.digest = digest([r.id for r in rows])
        self.meta: dict[str, Any] = {"certificate": {"version_digest": self.digest, "hits": []}}
        self.files = [folder / "a.parquet", folder / "b.parquet"]
        for file, half in zip(self.files, (rows[::2], rows[1::2]), strict=True):
            pq.write_table(to_table(half, Example), file)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        return pa.concat_tables([pq.read_table(f, columns=columns) for f in self.files])


def trained(folder: Path, rows: int = 24, **config: Any) -> Checkpoint:
    """Train the tiny model below `folder` on sums, as a flow does; what a killed call left there is found again."""
    base = folder / "base"
    if not base.is_dir():
        tiny_model(base)
    inputs = Inputs(
        datasets={"examples": Files(folder / "data", sums(rows))},
        folders={"base": ModelFolder(base, "tiny@1")},
        workdir=Workdir(folder / "store" / "work" / "shard", folder / "store"),
    )
    outcome = run_stage(train_sft, TrainSftConfig(**{**CONFIG, **config}), inputs)
    (row,) = from_table(outcome.rows, Checkpoint)
    return row


def progress(folder: Path) -> list[dict[str, Any]]:
    file = folder / "store" / "work" / "shard" / "progress.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")] if file.is_file() else []


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "store" / "work" / "shard" / "result.json").read_text())


@pytest.mark.parametrize(
    ("certificate", "fault"),
    [
        (None, "has no contamination certificate"),
        ({"version_digest": "0" * 40, "hits": []}, f"has a contamination certificate for other rows .digest {'0' * 40}"),
        ({"hits": [{"id": "e01"}]}, "has a contamination certificate with hits .*e01"),
        ({}, "has no contamination certificate"),
    ],
)
def test_a_set_without_its_certificate_is_refused_and_the_way_out_named(tmp_path: Path, certificate: dict[str, Any] | None, fault: str):
    examples = Files(tmp_path / "data", sums(4))
    examples.meta = {"certificate": {"version_digest": examples.digest, **certificate} if certificate else certificate}
    with pytest.raises(ValueError, match=rf"sums.training_set@3 {fault}.*run `contamination`"):
        train_sft(examples, ModelFolder(tmp_path, "tiny@1"), Workdir(tmp_path / "work", tmp_path), TrainSftConfig())
    assert not (tmp_path / "work").exists()


def test_a_micro_batch_must_divide_the_batch_and_says_how_to_run_not_what_comes_out():
    with pytest.raises(ValidationError, match="micro_batch 3 does not divide batch_size 8"):
        TrainSftConfig(batch_size=8, micro_batch=3)
    assert TrainSftConfig(batch_size=4, micro_batch=8).identity() == TrainSftConfig(batch_size=4, micro_batch=2, save_steps=1).identity()


def test_a_prompt_that_solve_would_refuse_is_refused_here_too(tmp_path: Path):
    (tmp_path / "mine.md").write_text("Solve [[problem]] for [[person]].")
    with pytest.raises(ValidationError, match="has the holes"):
        TrainSftConfig(prompt=f"@{tmp_path / 'mine.md'}")  # type: ignore[arg-type]


def test_a_checkpoint_without_its_last_file_is_passed_over_and_removed(tmp_path: Path):
    from models.train.fitting import last_checkpoint

    for step, state in ((10, "{}"), (9, "{}"), (20, '{"cut'), (30, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-9"]
    assert last_checkpoint(tmp_path / "nothing") is None


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Checkpoint]]:
    """A training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("finished")
    yield folder, trained(folder)


@pytest.mark.slow
def test_a_training_gives_a_checkpoint_that_says_what_it_was_made_of(finished: tuple[Path, Checkpoint]):
    folder, row = finished
    assert (row.base, row.trained_on, row.method) == ("tiny@1", "sums.training_set@3", "sft")
    assert (row.steps, row.n_rows, row.n_too_long) == (STEPS, 24, 0)
    assert row.trained_on_digest == digest([r.id for r in sums(24)])
    assert row.loss_last < row.loss_first / 4
    assert row.path == f"checkpoints/{row.id}"
    assert not (folder / "store" / "work" / "shard" / "checkpoints").exists()
    assert [p["step"] for p in progress(folder)] == list(range(1, STEPS + 1))


@pytest.mark.slow
def test_the_trained_model_writes_what_it_was_taught_and_stops(finished: tuple[Path, Checkpoint]):
    import torch
    from transformers import AutoModelForCausalLM

    from models.train.encode import Row, Tokens
    from tasks.prompts import fill, load_prompt

    folder, row = finished
    store = folder / "store" / row.path
    assert sorted(p.name for p in store.glob("*.safetensors")) == ["model.safetensors"]
    tokens, model = Tokens(store), AutoModelForCausalLM.from_pretrained(store).eval()
    for example in sums(24)[5:8]:
        taught = Row(example.id, fill(load_prompt("solve"), problem=example.problem), example.completion)
        encoded = tokens.encode(taught)
        assert encoded == Tokens(folder / "base").encode(taught)
        with torch.no_grad():
            chances = model(input_ids=torch.tensor([encoded.input_ids])).logits[0].softmax(-1)
        assert chances[-2, tokens.end] > 0.5
        assert chances[:-2, tokens.end].max() < 0.5


@pytest.mark.slow
def test_a_finished_training_is_not_run_again(finished: tuple[Path, Checkpoint]):
    folder, row = finished
    before = (folder / "store" / "work" / "shard" / "log.txt").read_bytes()
    assert trained(folder) == row
    assert (folder / "store" / "work" / "shard" / "log.txt").read_bytes() == before


def start(folder: Path) -> subprocess.Popen[bytes]:
    """A flow's process that trains below `folder`, in a process group of its own."""
    code = "import sys; from pathlib import Path; from tests.tasks.test_train_sft import trained; trained(Path(sys.argv[1]))"
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT, start_new_session=True)


def wait_for(condition: Any, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, "waited three minutes in vain"
        assert process is None or process.poll() is None, "the process ended too early"
        time.sleep(0.005)


@pytest.mark.slow
def test_killed_and_run_again_it_goes_on_at_its_checkpoint_and_ends_as_if_undisturbed(finished: tuple[Path, Checkpoint], tmp_path: Path):
    from safetensors.torch import load_file

    whole, row = finished
    shutil.copytree(whole / "base", tmp_path / "base")
    process = start(tmp_path)
    wait_for(lambda: len(progress(tmp_path)) >= 33, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = len(progress(tmp_path))
    assert done < STEPS
    again = trained(tmp_path)
    resumed = result(tmp_path)["resumed_from"]
    assert resumed >= done // 10 * 10 - 10 > 0
    assert [p["step"] for p in progress(tmp_path)][done:] == list(range(resumed + 1, STEPS + 1))
    assert result(tmp_path)["losses"] == pytest.approx(result(whole)["losses"], abs=1e-3)
    one, other = (load_file(f / "store" / r.path / "model.safetensors") for f, r in ((whole, row), (tmp_path, again)))
    assert one.keys() == other.keys()
    assert max((one[name] - other[name]).abs().max().item() for name in one) < 1e-4


@pytest.mark.slow
def test_it_trains_from_any_folder_even_one_with_another_package_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").write_text("raise ImportError('not these tasks')")
    monkeypatch.chdir(tmp_path)
    assert trained(Path("here"), max_steps=2).steps == 2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for the training process in /proc")
def test_the_training_ends_with_the_flow_that_started_it(tmp_path: Path):
    spec = str(tmp_path / "store" / "work" / "shard" / "spec.json").encode()

    def training() -> list[str]:
        return [p.parent.name for p in Path("/proc").glob("[0-9]*/cmdline") if spec in _read(p)]

    process = start(tmp_path)
    wait_for(training, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not training())
    assert not (tmp_path / "store" / "work" / "shard" / "result.json").exists()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process has gone
        return b""


@pytest.mark.slow
def test_a_learning_rate_that_only_spoils_the_model_fails_in_the_smoke_fit(tmp_path: Path):
    with pytest.raises(Exception, match=r"(?s)did not fall in 8 steps at lr 1000") as caught:
        trained(tmp_path, lr=1000.0)
    assert isinstance(caught.value.__cause__, TrainingError)
    assert progress(tmp_path) == []


@pytest.mark.slow
def test_the_micro_batch_does_not_change_the_model_beyond_rounding(tmp_path: Path):
    from models.train.encode import Row, Tokens, encode_all
    from models.train.fitting import Fit
    from models.train.sft import fit
    from tasks.prompts import fill, load_prompt

    base = tiny_model(tmp_path / "base")
    rows, _ = encode_all(Tokens(base), [Row(e.id, fill(load_prompt("solve"), problem=e.problem), e.completion) for e in sums(24)], 512)
    losses = []
    for micro_batch in (8, 2):
        config = TrainSftConfig(**{**CONFIG, "max_steps": 6, "micro_batch": micro_batch})
        settings = Fit(**config.settings())
        losses.append(fit(rows, settings, base, tmp_path / str(micro_batch)).losses)
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert losses[0][-1] < losses[0][0] - 0.1
