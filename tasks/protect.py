"""Import benchmark files as protected texts: what nothing may be trained on (Qwen2.5-Math protects its twelve evaluation sets).

Only questions are protected. Answers and options are not: they are short and common.
"""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import field_validator

from storage.ids import digest
from storage.schemas import Protected
from tasks.maths.protected import TEXT_FIELDS, benchmark_of, item_of, protected_text
from tasks.maths.records import text_key
from tasks.stage import Made, Rejected, Source, StageConfig, stage


class ProtectConfig(StageConfig):
    """Where the question is in the records."""

    fields: tuple[str, ...] = TEXT_FIELDS
    """Fields that may hold the question, the first with a value counts."""
    on_bad_line: Literal["error", "reject"] = "error"
    """A line that cannot be read stops the import, or is rejected and counted: what is not read is not protected."""

    @field_validator("fields", mode="before")
    @classmethod
    def _one_name(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


@stage(scope="dataset")
def protect(files: Source, config: ProtectConfig) -> Iterator[Made[Protected] | Rejected]:
    """One Protected row per different question of a file, whose name is the benchmark's. Raises ValueError at an unreadable line."""
    first: dict[tuple[str, str], str] = {}
    for record_id, record in files.records():
        file, _, line = record_id.rpartition(":")
        if isinstance(record, Exception) and config.on_bad_line == "error":
            raise ValueError(f"{record_id}: {record}; mend the line, or drop such lines with --set protect.on_bad_line=reject")
        text = protected_text(record, config.fields)
        key = (benchmark_of(file), text_key(text or ""))
        if isinstance(record, Exception):
            yield Rejected("unreadable line", str(record), of=record_id)
        elif text is None:
            yield Rejected("no text", f"no text in {list(config.fields)}; the record has {sorted(map(str, record))}", of=record_id)
        elif key in first:
            yield Rejected("duplicate", f"of record {first[key]}", of=record_id)
        else:
            first[key] = record_id
            yield Made(Protected(digest(key, 16), benchmark_of(file), item_of(record, line), text), of=[record_id])
