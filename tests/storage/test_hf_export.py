"""Export: a folder that `datasets` reads, without the rows that must not be redistributed."""

import json
import os
from pathlib import Path

import pytest
import yaml
from making import commit, problem, put

from storage.errors import StoreError
from storage.export import export
from storage.schemas import Evaluation, Example, Problem, Protected, Solution, to_table
from storage.store import Store


def mixed(store: Store) -> None:
    """Problems a, b (restricted), c in two parts, and a solution of each."""
    ours = {i: problem(i, f"text {i}", redistributable=i != "b") for i in "abc"}
    parts = {"round=0/000": [ours["a"], ours["b"]], "round=0/001": [ours["c"]], "round=0/002": []}
    keys = {p: commit(store, to_table(rows, Problem), {"p": p}, part=p, rejected={"z" + p: "too short"}).key for p, rows in parts.items()}
    store.publish("t.problems", keys)
    made = {p: to_table([Solution(f"s{r.id}", r.id, "r", f"solves {r.id}", 3) for r in rows], Solution) for p, rows in parts.items()}
    keys = {p: commit(store, table, {"s": p}, dataset="t.solutions", part=p).key for p, table in made.items()}
    store.publish("t.solutions", keys, inputs={"problems": ("t.problems", 1)})


def test_load_dataset_reads_an_export(local: Store, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the [local] extra")
    mixed(local)
    done = export(local, "t.problems@1", tmp_path / "out")
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert (done.n_rows, done.n_restricted, done.n_files) == (2, 1, 2)
    assert list(loaded["id"]) == ["a", "c"]
    assert loaded.column_names == local.table("t.problems").column_names


def test_files_without_restricted_rows_are_hard_links_and_the_others_are_not(local: Store, tmp_path: Path) -> None:
    mixed(local)
    export(local, "t.problems", tmp_path / "out")
    first, second = sorted((tmp_path / "out" / "data").iterdir())
    assert [first.name, second.name] == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    originals = {path.stat().st_ino for path in local.files("t.problems")}
    assert [path.stat().st_ino in originals for path in (first, second)] == [False, True]
    assert local.fsck(deep=True) == []


def test_restricted_problems_take_their_derived_rows_with_them_unless_told_otherwise(local: Store, tmp_path: Path) -> None:
    mixed(local)
    done = export(local, "t.solutions", tmp_path / "without")
    assert (done.n_rows, done.n_restricted) == (2, 1)
    assert export(local, "t.solutions", tmp_path / "with", include_restricted=True).n_rows == 3
    assert "1 rows are left out because they must not be redistributed." in (tmp_path / "without" / "README.md").read_text()


def test_rows_of_unknown_problems_are_not_exported_unless_told_so(local: Store, tmp_path: Path) -> None:
    key = commit(local, to_table([Solution("s", "a", "r", "text", 3)], Solution), {"n": 1}).key
    local.publish("t.solutions", {"p": key})
    with pytest.raises(StoreError, match="nothing tells which of its rows may be redistributed: export it with include_restricted"):
        export(local, "t.solutions", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert export(local, "t.solutions", tmp_path / "out", include_restricted=True).n_rows == 1
    metric = to_table([Evaluation("a", "pass@1", 0.5, None, 0.4, 0.6, 10, 1, 0)], Evaluation)
    local.publish("t.metrics", {"p": commit(local, metric, {"n": 2}).key})
    assert export(local, "t.metrics", tmp_path / "metrics").n_rows == 1  # rows of no problem


def test_texts_of_benchmarks_are_not_exported_unless_told_so(local: Store, tmp_path: Path) -> None:
    table = to_table([Protected("a", "bench", "1", "a question of somebody else")], Protected)
    local.publish("t.protected", {"p": commit(local, table, {"n": 1}).key})
    with pytest.raises(StoreError, match=r"t\.protected@1 holds the texts of benchmarks, .* export it with include_restricted if you may"):
        export(local, "t.protected", tmp_path / "out")
    assert export(local, "t.protected", tmp_path / "out", include_restricted=True).n_rows == 1


def test_the_card_and_version_json_say_what_it_is_and_where_it_comes_from(local: Store, tmp_path: Path) -> None:
    mixed(local)
    key = commit(local, to_table([Example("e", "a", "sa", "text a", "solves a")], Example), {"n": 1}).key
    certificate = {"version_digest": local.digest_of("t.train", {"p": key}), "hits": [], "index": "i1"}
    local.publish("t.train", {"p": key}, inputs={"solutions": ("t.solutions", 1)}, meta={"certificate": certificate})
    export(local, "t.train", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head == {"configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}]}
    for text in ("# t.train@1", "| `completion` | string | the text the loss is on |", "1 input rows = 1 kept", '"index": "i1"'):
        assert text in card
    facts = json.loads((tmp_path / "out" / "version.json").read_text())
    assert [v["spec"] for v in facts["lineage"]] == ["t.solutions@1", "t.problems@1"]
    assert facts["balance"]["kept"] == 1 and facts["meta"]["certificate"] == certificate


def test_an_export_never_overwrites_and_appears_whole(local: Store, tmp_path: Path) -> None:
    local.publish("t.rows", put(local, "p", {"a": "1"}))
    (tmp_path / "out").mkdir()
    export(local, "t.rows", tmp_path / "out")
    with pytest.raises(StoreError, match="out is there and not empty: choose another folder"):
        export(local, "t.rows", tmp_path / "out")
    local.files("t.rows")[0].unlink()
    with pytest.raises(StoreError, match=r"object [0-9a-f]{40} is not in .*store: "):
        export(local, "t.rows", tmp_path / "other")
    assert sorted(os.listdir(tmp_path)) == ["out", "store"]


def test_a_version_without_rows_is_exported_with_its_columns(local: Store, tmp_path: Path) -> None:
    local.publish("t.rows", {**put(local, "p", {}), **put(local, "q", {})})
    done = export(local, "t.rows", tmp_path / "out")
    assert (done.n_rows, done.n_files) == (0, 1)
