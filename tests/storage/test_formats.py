"""Training sets in other projects' forms, and the loaders of those projects where they are installed."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from making import commit, problem

from storage.errors import StoreError
from storage.export import export
from storage.schemas import Example, Problem, StepPair, to_table
from storage.store import Store

PREFIX = "Step 1: Sum 3+4=7\nStep 2:"
FULL = (PREFIX + " Rest 7-2=5\nAnswer: \\boxed{5}", PREFIX + " Sum 7+2=9\nStep 3: So \\boxed{9}")
PUBLISHED = ["dataset", "prompt", "initial_reason_steps", "chosen", "rejected", "full_chosen", "full_rejected", "answer"]
"""The columns of Math-Step-DPO-10K in their order."""


def pair(of: str) -> StepPair:
    chosen, rejected = " Rest 7-2=5\nAnswer: \\boxed{5}", " Sum 7+2=9"
    return StepPair(f"p{of}", of, "r", "f", f"text {of}", "5", 2, PREFIX, chosen, rejected, True, False, *FULL)


@pytest.fixture
def filled(local: Store) -> Store:
    """Pairs and examples of problem a, and of b, which must not be redistributed."""
    problems = [problem(i, f"text {i}", redistributable=i == "a") for i in "ab"]
    local.publish("t.problems", {"p": commit(local, to_table(problems, Problem), {"p": 1}).key})
    examples = [Example(f"e{i}", i, "s", f"text {i}", f"solves {i}") for i in "ab"]
    for name, rows, row_type in (("t.pairs", [pair(i) for i in "ab"], StepPair), ("t.train", examples, Example)):
        key = commit(local, to_table(rows, row_type), {"n": name}, dataset=name).key
        certificate = {"version_digest": local.digest_of(name, {"p": key}), "hits": []}
        local.publish(name, {"p": key}, inputs={"problems": ("t.problems", 1)}, meta={"certificate": certificate})
    return local


def records(folder: Path) -> list[dict[str, str]]:
    return pq.read_table(folder / "data").to_pylist()


def test_pairs_become_the_eight_columns_that_the_published_trainer_reads(filled: Store, tmp_path: Path) -> None:
    """The published pipeline writes `prefix` and `original_chosen`; its trainer then fails with KeyError: 'initial_reason_steps'."""
    done = export(filled, "t.pairs", tmp_path / "out", form="step_dpo")
    [record] = records(tmp_path / "out")
    assert list(record) == PUBLISHED
    assert record["initial_reason_steps"].startswith("Let's think step by step.\nStep 1:")
    assert record["initial_reason_steps"].endswith("Step 2:")
    assert record["full_chosen"].startswith(record["chosen"]) and record["full_rejected"].startswith(record["rejected"])
    assert PREFIX + record["full_rejected"] == FULL[1]
    assert (done.n_rows, done.n_restricted, done.n_files) == (1, 1, 1)


def test_trl_reads_prompt_chosen_and_rejected_as_text(filled: Store, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the [local] extra")
    export(filled, "t.pairs", tmp_path / "out", include_restricted=True, form="trl")
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.column_names == ["prompt", "chosen", "rejected"]
    assert loaded[0] == {"prompt": f"text a\n{PREFIX}", "chosen": pair("a").chosen, "rejected": pair("a").rejected}
    assert "learns to stop" in (tmp_path / "out" / "README.md").read_text()


def test_llama_factory_finds_its_entry_and_the_file_that_it_names(filled: Store, tmp_path: Path) -> None:
    export(filled, "t.pairs", tmp_path / "out", form="llama_factory")
    entry = json.loads((tmp_path / "out" / "dataset_info.json").read_text())["t_pairs"]
    [record] = json.loads((tmp_path / "out" / entry["file_name"]).read_text())
    assert entry["ranking"] is True
    assert set(entry["columns"].values()) == set(record)
    assert record["instruction"] == f"text a\n{PREFIX}"


def test_examples_have_forms_for_fine_tuning(filled: Store, tmp_path: Path) -> None:
    export(filled, "t.train", tmp_path / "trl", form="trl")
    assert records(tmp_path / "trl") == [{"prompt": "text a", "completion": "solves a"}]
    export(filled, "t.train", tmp_path / "factory", form="llama_factory")
    entry = json.loads((tmp_path / "factory" / "dataset_info.json").read_text())["t_train"]
    assert "ranking" not in entry
    assert json.loads((tmp_path / "factory" / entry["file_name"]).read_text()) == [
        {"instruction": "text a", "input": "", "output": "solves a"}
    ]


@pytest.mark.parametrize(
    ("spec", "form", "said"),
    [
        ("t.pairs", "trll", r"no format 'trll': have \['rows', 'step_dpo', 'trl', 'llama_factory'\]"),
        ("t.train", "step_dpo", r"format 'step_dpo' takes \['StepPair'\] rows, not Example"),
    ],
)
def test_a_form_that_does_not_fit_is_told_before_anything_is_written(filled: Store, tmp_path: Path, spec, form, said) -> None:
    with pytest.raises(StoreError, match=said):
        export(filled, spec, tmp_path / "out", form=form)
    assert not (tmp_path / "out").exists()
