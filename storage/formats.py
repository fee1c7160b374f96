"""Training sets in the forms that other projects read: Math-Step-DPO-10K, TRL, LLaMA-Factory. `storage.export` writes our own rows.

Source: the dataset card of xinlai/Math-Step-DPO-10K; the dataset formats of TRL; data/README.md of LLaMA-Factory.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import StoreError
from storage.schemas import Example, StepPair

COT = "Let's think step by step.\n"
"""What stands before the first step in the published records."""

Record = dict[str, str]
Shape = Callable[[dict[str, Any], str], Record]
"""(row, name of the dataset) -> record."""


def _published(row: dict[str, Any], dataset: str) -> Record:
    """The eight columns of Math-Step-DPO-10K: the steps end with the header `Step k:`, the solutions go on from it."""
    begun = len(row["prefix"])
    return {
        "dataset": dataset,
        "prompt": row["problem"],
        "initial_reason_steps": COT + row["prefix"],
        "chosen": row["chosen"],
        "rejected": row["rejected"],
        "full_chosen": row["full_chosen"][begun:],
        "full_rejected": row["full_rejected"][begun:],
        "answer": row["answer"],
    }


def _trl_pair(row: dict[str, Any], _: str) -> Record:
    return {"prompt": f"{row['problem']}\n{row['prefix']}", "chosen": row["chosen"], "rejected": row["rejected"]}


def _trl_example(row: dict[str, Any], _: str) -> Record:
    return {"prompt": row["problem"], "completion": row["completion"]}


def _alpaca_pair(row: dict[str, Any], dataset: str) -> Record:
    record = _trl_pair(row, dataset)
    return {"instruction": record["prompt"], "input": "", "chosen": record["chosen"], "rejected": record["rejected"]}


def _alpaca_example(row: dict[str, Any], _: str) -> Record:
    return {"instruction": row["problem"], "input": "", "output": row["completion"]}


SHAPES: dict[str, dict[type, Shape]] = {
    "step_dpo": {StepPair: _published},
    "trl": {StepPair: _trl_pair, Example: _trl_example},
    "llama_factory": {StepPair: _alpaca_pair, Example: _alpaca_example},
}
FORMATS = ("rows", *SHAPES)

_PAIR_COLUMNS = {"prompt": "instruction", "query": "input", "chosen": "chosen", "rejected": "rejected"}
_EXAMPLE_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output"}

NOTES = {
    "step_dpo": "The columns of Math-Step-DPO-10K. Steps that do not end their solution must be trained without an end token.",
    "trl": "For TRL. Its DPO trainer puts an end token behind `chosen` and `rejected`: a model trained so on single steps learns to stop "
    "after one. Train pairs with `mathmill run`, or with a trainer that leaves it out.",
    "llama_factory": "Give this folder to LLaMA-Factory as `dataset_dir`. It puts an end token behind `chosen` and `rejected`: a model "
    "trained so on single steps learns to stop after one.",
}


def shape_of(form: str, row_type: type) -> Shape:
    """Raises StoreError for an unknown format, and for rows that it has no place for."""
    if form not in SHAPES:
        raise StoreError(f"no format {form!r}: have {list(FORMATS)}")
    if row_type not in SHAPES[form]:
        raise StoreError(f"format {form!r} takes {[t.__name__ for t in SHAPES[form]]} rows, not {row_type.__name__}: leave --format out")
    return SHAPES[form][row_type]


def write(form: str, rows: pa.Table, row_type: type, dataset: str, folder: Path) -> None:
    """Write the rows below `folder`: one Parquet file in `data`, or the JSON files of LLaMA-Factory."""
    shape = shape_of(form, row_type)
    records = [shape(row, dataset) for row in rows.to_pylist()]
    if form == "llama_factory":
        name = dataset.replace(".", "_")
        columns = _PAIR_COLUMNS if row_type is StepPair else _EXAMPLE_COLUMNS
        info = {name: {"file_name": f"{name}.json", **({"ranking": True} if row_type is StepPair else {}), "columns": columns}}
        _json(folder / f"{name}.json", records)
        _json(folder / "dataset_info.json", info)
        return
    names = list(records[0]) if records else []
    table = pa.table({n: pa.array([r[n] for r in records], pa.string()) for n in names})
    (folder / "data").mkdir()
    pq.write_table(table, folder / "data" / "train-00000-of-00001.parquet", compression="zstd")


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
