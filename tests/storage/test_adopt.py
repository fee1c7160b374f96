"""Checkpoints in the store: whole, read-only, named by what decides their replies, checked by fsck."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest
from making import commit

from models.weights import folder_digest as engines_digest
from storage.checkpoints import adopt, folder_digest
from storage.errors import StoreError
from storage.schemas import Checkpoint, to_table
from storage.store import Store

SPAWN = multiprocessing.get_context("spawn")


def trained(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    for name, body in [
        ("model.safetensors", weights),
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("chat_template.jinja", b"{{ messages }}"),
        ("optimizer.pt", b"state"),
        ("trainer_state.json", b"{}"),
    ]:
        (folder / name).write_bytes(body)
    return folder


def test_a_model_is_taken_in_whole_and_read_only_without_the_trainers_own_files(tmp_path: Path) -> None:
    folder = trained(tmp_path / "run")
    digest, path = adopt(tmp_path / "store", folder)
    there = tmp_path / "store" / path
    assert path == f"checkpoints/{digest}" and folder_digest(there) == folder_digest(folder) == digest
    assert sorted(p.name for p in there.iterdir()) == ["chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"]
    assert {p.stat().st_mode & 0o777 for p in there.iterdir()} == {0o444}
    (folder / "model.safetensors").write_bytes(b"a trainer that is started again writes in place")
    assert folder_digest(there) == digest and list((tmp_path / "store" / "tmp").iterdir()) == []


def test_the_digest_depends_on_weights_and_names_but_not_on_the_trainers_files(tmp_path: Path) -> None:
    first = trained(tmp_path / "1")
    digest = folder_digest(first)
    (first / "optimizer.pt").write_bytes(b"another state")
    assert folder_digest(first) == digest != folder_digest(trained(tmp_path / "2", b"other weights"))
    (first / "tokenizer.json").rename(first / "tokenizer_config.json")
    assert folder_digest(first) != digest


def test_engines_know_the_model_by_the_same_digest(tmp_path: Path) -> None:
    folder = trained(tmp_path / "run")
    assert folder_digest(folder) == engines_digest(folder)


def test_the_same_model_is_kept_once_by_processes_at_once(tmp_path: Path) -> None:
    folder = trained(tmp_path / "run", b"w" * 5_000_000)
    processes = [SPAWN.Process(target=adopt, args=(tmp_path / "store", folder)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [p.exitcode for p in processes] == [0, 0, 0]
    assert [p.name for p in (tmp_path / "store" / "checkpoints").iterdir()] == [folder_digest(folder)]
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no model folder"):
        adopt(tmp_path, tmp_path / "nothing")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    (tmp_path / "run" / "pytorch_model.bin").write_text("")
    with pytest.raises(StoreError, match=r"it needs a config.json and \*.safetensors weights, it has \['config.json'\]"):
        adopt(tmp_path, tmp_path / "run")


def test_gc_removes_checkpoints_that_no_row_names_and_work_that_was_given_up(local: Store, tmp_path: Path) -> None:
    kept, path = adopt(local.root, trained(tmp_path / "run"))
    local.publish(
        "t.sft", {"all": commit(local, to_table([Checkpoint(kept, path, "b", "t", "d", "sft", 1, 2.0, 1.0)], Checkpoint), {}).key}
    )
    lost, _ = adopt(local.root, trained(tmp_path / "other", b"other weights"))
    state = local.root / "work" / "key" / "checkpoints" / "state.bin"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"half a training")
    week_ago = time.time() - 7 * 86_400
    for old in (local.root / "checkpoints" / kept, local.root / "checkpoints" / lost, local.root / "work" / "key", state.parent):
        os.utime(old, (week_ago, week_ago))
    assert local.gc(cache_days=3).files == 1, "the file in the work folder is new, so only the checkpoint goes"
    assert [p.name for p in (local.root / "checkpoints").iterdir()] == [kept] and state.exists()
    os.utime(state, (week_ago, week_ago))
    assert local.gc(cache_days=3).files == 1 and not (local.root / "work" / "key").exists()
    adopt(local.root, tmp_path / "run")
    assert (local.root / "checkpoints" / kept).stat().st_mtime > week_ago + 86_400, "adopted again, it is young again"
    assert local.fsck(deep=True) == []


def test_fsck_finds_a_checkpoint_that_changed_or_is_gone(local: Store, tmp_path: Path) -> None:
    digest, path = adopt(local.root, trained(tmp_path / "run"))
    row = Checkpoint(digest, path, "nano@1", "t.train@1", "d", "sft", 10, 2.0, 1.0)
    local.publish("t.sft", {"all": commit(local, to_table([row], Checkpoint), {"n": 1}).key})
    assert local.fsck(deep=True) == []
    weights = local.root / path / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"edited")
    assert local.fsck() == [] and f"the files in {path} have changed" in local.fsck(deep=True)[0]
    weights.unlink()
    assert f"no model in {local.root / path}" in local.fsck()[0]
    local.files("t.sft")[0].unlink()
    missing, unknown = local.fsck()
    assert "is missing" in missing and "t.sft@1: its checkpoints cannot be told" in unknown
