"""Import replies that people or other models gave to known problems, with their published labels (GSM8K solutions, Cobbe et al. 2021).

A reply is joined to its problem by the source's id or by the statement; a problem that the factory does not have is not made here.
Imported replies have no tokenizer: their `n_tokens` is the number of white-space separated words.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from storage.ids import derived_id
from storage.schemas import Rollout
from tasks.maths.records import as_text, pick, text_key
from tasks.stage import Dataset, Made, Rejected, Source, StageConfig, stage


class ReplyColumns(BaseModel):
    """Where one reply of a record is."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    reply: str
    """Field of the text; `a.b` is `b` inside `a`."""
    label: str | bool | None = None
    """Field of the published correctness, or one value for all records (`true` for human solutions)."""


class ImportRolloutsConfig(StageConfig):
    """Where replies, labels and the problem are in the records."""

    replies: tuple[ReplyColumns, ...] = Field((ReplyColumns(reply="reply", label="label"),), min_length=1)
    """The replies of one record, in order; empty ones are passed over."""
    id: tuple[str, ...] = ()
    """Fields that may hold the problem's id (ours or its source's); none: joined by the statement alone."""
    problem: tuple[str, ...] = ("problem", "question")
    """Fields that may hold the statement."""

    @field_validator("id", "problem", mode="before")
    @classmethod
    def _one_name(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


@stage(scope="dataset")
def import_rollouts(records: Source, problems: Dataset, config: ImportRolloutsConfig) -> Iterator[Made[Rollout] | Rejected]:
    """Each record's replies as rollouts of its problem. Raises ValueError at a line that cannot be read or a label that is none."""
    by_id, by_text = _known(problems)
    drawn: Counter[str] = Counter()
    for record_id, record in records.records():
        if not isinstance(record, Mapping):
            raise ValueError(f"{record_id}: {record}; mend the line or leave it out")
        given, text = as_text(pick(record, config.id)), as_text(pick(record, config.problem))
        problem = by_id.get(given or "") or by_text.get(text_key(text or ""))
        replies = [(reply, _label(record, c.label, record_id)) for c in config.replies if (reply := as_text(pick(record, [c.reply])))]
        if problem is None:
            yield Rejected("unknown problem", f"id {given!r}, statement {(text or '')[:80]!r} is not in {problems.spec}", of=record_id)
        elif not replies:
            yield Rejected("no reply", f"no text in {[c.reply for c in config.replies]}; has {sorted(map(str, record))}", of=record_id)
        else:
            for reply, label in replies:
                yield Made(_rollout(problem, drawn[problem], reply, label), of=[record_id])
                drawn[problem] += 1


def _known(problems: Dataset) -> tuple[dict[str, str], dict[str, str]]:
    """Problem id by given id (ours and the source's) and by statement."""
    table = problems.table(["id", "source_id", "problem"])
    ids, given, texts = (table.column(name).to_pylist() for name in ("id", "source_id", "problem"))
    by_id = {g: i for g, i in zip(given, ids, strict=True) if g} | {i: i for i in ids}
    return by_id, {text_key(t): i for t, i in zip(texts, ids, strict=True)}


def _label(record: Mapping[str, Any], column: str | bool | None, record_id: str) -> bool | None:
    value = pick(record, [column]) if isinstance(column, str) else column
    if value is None or isinstance(value, bool):
        return value
    if value in (0, 1):
        return bool(value)
    raise ValueError(f"{record_id}: label {value!r} in field {column!r} is neither true nor false")


def _rollout(problem: str, ordinal: int, text: str, label: bool | None) -> Rollout:
    return Rollout(
        id=derived_id("import_rollouts", problem, ordinal=ordinal),
        problem_id=problem,
        ordinal=ordinal,
        text=text,
        finish_reason="stop",
        n_tokens=len(text.split()),
        call_id=None,
        label=label,
    )
