import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from models.engine import Message, Prompt
from storage.ids import digest
from storage.schemas import Checkpoint, StepPair, from_table, to_table
from tasks.prompts import fill, load_prompt
from tasks.runner import Inputs, run_stage
from tasks.stage import ModelFolder, Workdir
from tasks.train_dpo import TrainDpoConfig, is_held_out, step_prompt, train_dpo
from tests.tasks.test_train_sft import ROOT, progress, result, wait_for
from tests.tiny_model import tiny_model

STEPS = 60
CONFIG = {"lr": 3e-3, "max_steps": STEPS, "batch_size": 8, "save_steps": 10, "beta": 0.3, "warmup": 0}


def sums(n: int) -> list[StepPair]:
    """Pairs of which every second differs in a first, inner step and the others in the last one."""
    return [_inner(i) if i % 2 else _last(i) for i in range(n)]


def _whole(i: int, first: int) -> str:
    return f"Step 1: Sum {i}+{i + 1}={first}\nStep 2: Twice 2*{first}={2 * first}\nAnswer: \\boxed{{{2 * first}}}"


def _inner(i: int) -> StepPair:
    right, wrong = 2 * i + 1, 2 * i + 2
    sides = (f" Sum {i}+{i + 1}={right}", f" Sum {i}+{i + 1}={wrong}", False, False)
    return _row(i, 1, "Step 1:", sides, _whole(i, right), _whole(i, wrong))


def _last(i: int) -> StepPair:
    right = 2 * i + 1
    sides = (f" Twice 2*{right}={2 * right}\nAnswer: \\boxed{{{2 * right}}}", f" Twice 2*{right}=0\nAnswer: \\boxed{{0}}", True, True)
    prefix = f"Step 1: Sum {i}+{i + 1}={right}\nStep 2:"
    return _row(i, 2, prefix, sides, _whole(i, right), prefix + sides[1])


def _row(i: int, step: int, prefix: str, sides: tuple[str, str, bool, bool], full: str, full_wrong: str) -> StepPair:
    statement = f"What is twice the sum of {i} and {i + 1}?"
    return StepPair(f"s{i:02}", f"p{i}", f"r{i}", f"f{i}", statement, "0", step, prefix, *sides, full, full_wrong)


class Files:
    """A published set of step pairs, as a stage sees it."""

    name, spec = "sums.step_pairs", "sums.step_pairs@2"

    def __init__(self, folder: Path, rows: list[StepPair]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.digest = digest([r.id for r in rows])
        self.meta: dict[str, Any] = {"certificate": {"version_digest": self.digest, "hits": []}}
        self.files = [folder / "a.parquet"]
        pq.write_table(to_table(rows, StepPair), self.files[0])

    def table(self, columns: Any = None) -> Any:
        return pq.read_table(self.files[0], columns=columns)


def trained(folder: Path, rows: int = 24, **config: Any) -> Checkpoint:
    """Train the tiny model below `folder`, as a flow does; what a killed call left there is found again."""
    base = folder / "base"
    if not base.is_dir():
        tiny_model(base)
    inputs = Inputs(
        datasets={"pairs": Files(folder / "data", sums(rows))},
        folders={"base": ModelFolder(base, "tiny@1")},
        workdir=Workdir(folder / "store" / "work" / "shard", folder / "store"),
    )
    (row,) = from_table(run_stage(train_dpo, TrainDpoConfig(**{**CONFIG, **config}), inputs).rows, Checkpoint)
    return row


def test_a_set_without_its_certificate_is_refused(tmp_path: Path):
    pairs = Files(tmp_path / "data", sums(4))
    pairs.meta = {}
    with pytest.raises(ValueError, match=r"sums.step_pairs@2 has no contamination certificate.*run `contamination`"):
        train_dpo(pairs, ModelFolder(tmp_path, "tiny@1"), Workdir(tmp_path / "work", tmp_path), TrainDpoConfig())
    assert not (tmp_path / "work").exists()


def test_the_micro_batch_is_part_of_the_recipe_since_the_likelihood_is_averaged_over_it():
    assert TrainDpoConfig(micro_batch=4).identity() != TrainDpoConfig(micro_batch=8).identity()
    assert TrainDpoConfig(save_steps=1).identity() == TrainDpoConfig().identity()
    with pytest.raises(ValidationError, match="micro_batch 3 does not divide batch_size 128"):
        TrainDpoConfig(micro_batch=3)


def test_a_loss_or_a_subject_that_does_not_exist_is_refused_with_the_choices():
    with pytest.raises(ValidationError, match="'sigmoid', 'sigmoid_norm', 'hinge', 'ipo' or 'apo_zero'"):
        TrainDpoConfig(loss="sigmoide")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="'step' or 'whole'"):
        TrainDpoConfig(what="token")  # type: ignore[arg-type]


def test_the_earlier_steps_become_the_beginning_of_the_reply():
    asked = fill(load_prompt("solve"), problem="2 + 2?")
    begun = step_prompt(asked, "Step 1: Sum 2+2=4\nStep 2:")
    assert begun.messages == (*(asked.messages or ()), Message("assistant", "Step 1: Sum 2+2=4\nStep 2:"))
    assert step_prompt(asked, "") == asked
    assert step_prompt(Prompt(text="Q: 2 + 2?\nA: "), "Step 1:").text == "Q: 2 + 2?\nA: Step 1:"


def test_a_prompt_that_begins_the_reply_itself_is_not_begun_twice():
    user = Message("user", "2 + 2?")
    asked = Prompt(messages=(user, Message("assistant", "Step 1:")))
    assert step_prompt(asked, "Step 1:") == asked
    assert step_prompt(asked, "").messages == (user,)
    with pytest.raises(ValueError, match="the prompt begins the reply with 'Step 1:', the reply begins with 'First,'"):
        step_prompt(asked, "First,")


def test_about_the_share_of_problems_is_held_out_and_always_the_same_ones():
    aside = {n for n in range(2000) if is_held_out(f"p{n}", 0.25)}
    assert 400 < len(aside) < 600
    assert aside == {n for n in range(2000) if is_held_out(f"p{n}", 0.25)}
    assert aside < {n for n in range(2000) if is_held_out(f"p{n}", 0.5)}
    assert not any(is_held_out(f"p{n}", 0.0) for n in range(2000))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Checkpoint]:
    """A training that nobody disturbed, with some pairs held out."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, trained(folder, held_out=0.25, nll=0.1)


@pytest.mark.slow
def test_a_training_gives_a_checkpoint_that_says_what_it_was_made_of_and_curves(finished: tuple[Path, Checkpoint]):
    folder, row = finished
    held_out = sum(is_held_out(pair.problem_id, 0.25) for pair in sums(24))
    assert (row.base, row.trained_on, row.method) == ("tiny@1", "sums.step_pairs@2", "step_dpo")
    assert (row.steps, row.n_rows, row.n_too_long) == (STEPS, 24 - held_out, 0)
    assert (row.path, result(folder)["n_held_out"]) == (f"checkpoints/{row.id}", held_out)
    steps = [p for p in progress(folder) if "loss" in p]
    assert [p["step"] for p in steps] == list(range(1, STEPS + 1))
    assert row.loss_last < row.loss_first
    assert sum(p["accuracy"] for p in steps[-10:]) / 10 > 0.9
    assert steps[-1]["margin"] > steps[0]["margin"]
    assert [p["step"] for p in progress(folder) if "held_out_accuracy" in p] == list(range(0, STEPS + 1, 10))


@pytest.mark.slow
def test_no_inner_step_that_was_trained_on_holds_an_end_token_and_every_last_one_ends_with_it(finished: tuple[Path, Checkpoint]):
    from models.train.encode import Tokens
    from models.train.pairs import encode_pairs
    from tasks.train_dpo import _pair

    folder, _ = finished
    spec = json.loads((folder / "store" / "work" / "shard" / "spec.json").read_text())
    rows = pq.read_table(spec["files"][0]).to_pylist()
    tokens = Tokens(folder / "base")
    encoded, _ = encode_pairs(tokens, [_pair(row, spec) for row in rows], 1024)
    for row, pair in zip(rows, encoded, strict=True):
        ends = [ids.count(tokens.end) for ids in (pair.chosen_ids, pair.rejected_ids)]
        assert ends == ([1, 1] if row["chosen_ends"] else [0, 0])
        assert tokens.end not in pair.prompt_ids


@pytest.mark.slow
def test_killed_and_run_again_it_goes_on_at_its_checkpoint_and_ends_as_if_undisturbed(finished: tuple[Path, Checkpoint], tmp_path: Path):
    whole, row = finished
    shutil.copytree(whole / "base", tmp_path / "base")
    code = "import sys; from pathlib import Path; from tests.tasks.test_train_dpo import trained; "
    code += "trained(Path(sys.argv[1]), held_out=0.25, nll=0.1)"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, start_new_session=True)
    wait_for(lambda: any(p["step"] >= 23 for p in progress(tmp_path)), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert max(p["step"] for p in progress(tmp_path)) < STEPS
    again = trained(tmp_path, held_out=0.25, nll=0.1)
    assert result(tmp_path)["resumed_from"] >= 10
    assert again.steps == row.steps
    ours, theirs = result(tmp_path)["history"], result(whole)["history"]
    assert [entry["step"] for entry in ours] == [entry["step"] for entry in theirs]
    for name in ("loss", "margin", "held_out_margin"):
        assert [e[name] for e in ours if name in e] == pytest.approx([e[name] for e in theirs if name in e], abs=1e-3)


@pytest.mark.slow
def test_the_matched_whole_solutions_are_trained_instead_where_the_config_says_so_and_long_ones_counted(tmp_path: Path):
    from models.train.encode import Tokens
    from models.train.pairs import encode_pair
    from tasks.train_dpo import _pair

    base = tiny_model(tmp_path / "base")
    spec = {"what": "whole", "prompt": load_prompt("solve").model_dump()}
    encoded = [encode_pair(Tokens(base), _pair(dataclasses.asdict(pair), spec)) for pair in sums(24)]
    lengths = [len(p.prompt_ids) + max(len(p.chosen_ids), len(p.rejected_ids)) for p in encoded]
    row = trained(tmp_path, what="whole", max_steps=2, max_length=min(lengths))
    assert row.method == "dpo"
    assert row.n_too_long == sum(n > min(lengths) for n in lengths) > 0
    assert row.n_rows == 24 - row.n_too_long > 0
