"""Mark what repeats a protected text: problems and solutions against benchmarks (Qwen2.5-Math, section 3, decontamination).

It marks and never drops: `training_set` drops. Two presets: `published` is the paper's rule, `default` also finds short questions,
changed numbers, embedded copies and paraphrases (measured in docs/lab/2026-11-20-contamination.md).
"""

import functools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from storage.ids import derived_ids
from storage.schemas import Mark, Problem, Rollout, Solution, arrow_schema
from tasks.maths.contamination_index import RULES, Denominator, Hits, Index, Rule
from tasks.maths.normalise import in_original
from tasks.maths.protected import TEXT_FIELDS, read_protected
from tasks.stage import Dataset, Made, Runtime, StageConfig, stage

PRESETS: dict[str, dict[str, Any]] = {
    "default": {
        "ngram": 6, "mask_from": 2, "lcs_ratio": 0.65, "masked_ratio": 0.9, "near": True, "exact": True, "embedded": 5, "paraphrase": 0.5,
    },
    "published": {
        "ngram": 13, "mask_from": None, "lcs_ratio": 0.6, "masked_ratio": 1.0, "near": False, "exact": False, "embedded": 0,
        "paraphrase": 1.0,
    },
}  # fmt: skip


class ContaminationConfig(StageConfig):
    """The rule by which a text counts as a repetition. Lengths are in tokens: a run of letters, a run of digits, one CJK character."""

    preset: Literal["default", "published"] = "default"
    """What the fields below are where they are not given."""
    ngram: int = Field(6, ge=1)
    """A shared run of so many tokens makes a pair a candidate."""
    mask_from: int | None = Field(2, ge=0)
    """In a shared run with at least so many words (neither numbers nor single letters) any two numbers are alike; null for never."""
    lcs_ratio: float = Field(0.65, ge=0, le=1)
    """A candidate is a hit when its longest common subsequence is longer than this share of `denominator`."""
    masked_ratio: float = Field(0.9, ge=0, le=1)
    """Or when it is longer than this share with any two numbers alike; 1 for never."""
    near: bool = True
    """Look for the subsequence around the shared runs only, not in the whole text, where a long one has every word somewhere."""
    denominator: Denominator = "protected"
    """Length of the protected text, or of the shorter (min) or longer (max) of the two."""
    exact: bool = True
    """Equal token sequences are a hit, whatever their length."""
    embedded: int = Field(5, ge=0)
    """A protected text shorter than `ngram` but with at least so many tokens is a hit where it stands whole; 0: never."""
    paraphrase: float = Field(0.5, ge=0, le=1)
    """Two whole texts are a hit when the overlap of their numbers and of their words, weighted by rarity, is above this share; 1: never."""

    recall_floor: Annotated[float, Runtime()] = Field(0.9, ge=0, le=1)
    """A training set is not published when a smaller share of planted copies of the protected texts is found; it decides no mark."""

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        return {**PRESETS.get(given.get("preset", "default"), {}), **given} if isinstance(given, dict) else given

    @property
    def rule(self) -> Rule:
        return Rule(**self.model_dump(include=set(Rule.__dataclass_fields__)))


@stage(row=Problem, tools=("rapidfuzz",))
def contamination(
    problems: pa.Table,
    solutions: list[Solution] | None,
    against: Dataset,
    config: ContaminationConfig,
    replies: list[Rollout] | None = None,
    continued: list[Rollout] | None = None,
) -> Iterator[Made[Mark]]:
    """One Mark per problem, for its statement and for the texts of its solutions and replies; all come as tables, like the problems.

    `against` holds Protected rows, or Problem rows (a held-out set).
    """
    index = index_of(against, config.rule)
    ids = problems["id"].combine_chunks()
    found = [_Checked("problem", problems["problem"], ids, index.check(problems["problem"]), np.arange(len(ids)))]
    for name, column, rows in (("solution", "solution", solutions), ("reply", "text", replies), ("reply", "text", continued)):
        if isinstance(rows, pa.Table):
            texts, owner = rows[column], _problem_of(name, rows, ids)
            found.append(_Checked(name, texts, rows["id"].combine_chunks(), index.check(texts), owner))
    yield Made(_marks(ids, found, index), of=ids.to_pylist())


@dataclass(frozen=True)
class _Checked:
    """A column of texts and what was found in it."""

    column: str
    texts: pa.ChunkedArray
    ids: pa.Array
    """Of the rows that hold the texts."""
    hits: Hits
    subject: npt.NDArray[np.int64]
    """(texts,) place of the row that is marked for each text."""


@dataclass(frozen=True)
class _Wanted:
    """What an index is built from; equal where digest and rule are."""

    digest: str
    rule: Rule
    dataset: Dataset = field(compare=False)


_building = threading.Lock()


def index_of(against: Dataset, rule: Rule) -> Index:
    """The index of a dataset, built once in this process however many parts ask for it."""
    with _building:
        return _build(_Wanted(against.digest, rule, against))


@functools.lru_cache(maxsize=2)
def _build(wanted: _Wanted) -> Index:
    return Index(protected_texts(wanted.dataset.table(), wanted.dataset.name), wanted.rule)


def protected_texts(table: pa.Table, name: str) -> pa.Table:
    """Columns benchmark, item and text of Protected rows or of Problem rows. Raises ValueError for rows of another class."""
    for columns in (("benchmark", "item", "text"), ("source", "id", "problem")):
        if set(columns) <= set(table.column_names):
            return table.select(columns).rename_columns(["benchmark", "item", "text"])
    raise ValueError(f"{name} holds no protected texts: it needs the columns of Protected or of Problem rows, it has {table.column_names}")


def _problem_of(name: str, rows: pa.Table, problem_ids: pa.Array) -> npt.NDArray[np.int64]:
    """Place of each row's problem. Raises ValueError for a row of a problem that is not there."""
    owner = pc.index_in(rows["problem_id"].combine_chunks(), value_set=problem_ids)
    if owner.null_count:
        stray = rows.filter(pc.is_null(owner)).slice(0, 1).to_pylist()[0]
        raise ValueError(f"{name} {stray['id']} is of problem {stray['problem_id']}, which is not among the problems")
    return owner.to_numpy(zero_copy_only=False).astype(np.int64)


def _marks(ids: pa.Array, found: list[_Checked], index: Index) -> pa.Table:
    """A Mark for each id with the strongest hit on it; of equal ones the one in the first column."""
    hits = [checked.hits for checked in found]
    columns = np.repeat(np.arange(len(found)), [len(h.rows) for h in hits])
    rows, texts, rules, ratios, starts, stops = (np.concatenate(c) for c in zip(*(h.columns() for h in hits), strict=True))
    subjects = np.concatenate([checked.subject[checked.hits.rows] for checked in found])
    order = np.lexsort((texts, columns, -ratios, rules, subjects))
    best = order[np.flatnonzero(np.diff(subjects[order], prepend=-1))]
    place = np.full(len(ids), -1)
    place[subjects[best]] = np.arange(len(best))
    pick = pa.array(place, mask=place < 0)
    protected = index.protected.take(texts[best])
    chosen = [found[c] for c in columns[best].tolist()]
    spots = list(zip(chosen, rows[best].tolist(), starts[best].tolist(), stops[best].tolist(), strict=True))
    spans = [in_original(c.texts[row].as_py(), start, stop) for c, row, start, stop in spots]
    values = {
        "id": pa.array(derived_ids("contamination", ids.to_pylist()), pa.string()),
        "problem_id": ids,
        "subject_id": ids,
        "contaminated": pick.is_valid(),
        "column": pa.array([c.column for c in chosen], pa.string()).take(pick),
        "rule": pa.array(RULES).take(rules[best]).take(pick),
        "benchmark": protected["benchmark"].combine_chunks().take(pick),
        "item": protected["item"].combine_chunks().take(pick),
        "ratio": pa.array(ratios[best]).take(pick),
        "found_in": pa.array([c.ids[row].as_py() for c, row, _, _ in spots], pa.string()).take(pick),
        "span_start": pa.array([start for start, _ in spans], pa.int64()).take(pick),
        "span_end": pa.array([end for _, end in spans], pa.int64()).take(pick),
    }
    return pa.table(values, schema=arrow_schema(Mark))


def marks_of(rows: pa.Table, columns: Sequence[str], index: Index) -> pa.Table:
    """A Mark for each of `rows`, which have ids and belong to problems, with the strongest hit in any of `columns`; sorted by id."""
    ids, places = rows["id"].combine_chunks(), np.arange(rows.num_rows)
    marks = _marks(ids, [_Checked(column, rows[column], ids, index.check(rows[column]), places) for column in columns], index)
    return marks.set_column(1, marks.schema.field("problem_id"), rows["problem_id"]).sort_by("id")


class ApplyContaminationConfig(ContaminationConfig):
    """The same rule, for `mathmill apply contamination` on a plain file."""

    against: Path
    """Folder of JSONL files with the protected texts, or one such file."""
    fields: tuple[str, ...] = TEXT_FIELDS
    """Fields of those files that may hold the text, the first with a value counts."""


@contamination.plain_form
def check_file(table: pa.Table, config: ApplyContaminationConfig) -> pa.Table:
    """`id, text` -> `id, contaminated, rule, benchmark, item, ratio`, in order. Raises ValueError where columns or texts are missing."""
    if "text" not in table.column_names:
        raise ValueError(f"no column 'text' to check: the file has {table.column_names}")
    index = Index(read_protected(config.against, config.fields), config.rule)
    numbers = pa.array([str(n) for n in range(1, table.num_rows + 1)])
    found = _Checked("text", table["text"], numbers, index.check(table["text"]), np.arange(table.num_rows))
    marks = _marks(numbers, [found], index)
    ids = table["id"] if "id" in table.column_names else pa.nulls(table.num_rows, pa.string())
    return marks.select(["contaminated", "rule", "benchmark", "item", "ratio"]).add_column(0, "id", ids).replace_schema_metadata(None)
