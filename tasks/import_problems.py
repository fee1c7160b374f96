"""Import problems from outside files: fields found by name, answers typed, one row a problem (design of GSM8K, MATH and their kin).

It translates nothing and checks no answer. The same problem twice keeps the first; two answers to one problem keep neither.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from pydantic import field_validator

from storage.ids import problem_id
from storage.schemas import AnswerType, Problem
from tasks.maths.answers import answer_type_of
from tasks.maths.extract import find_answer
from tasks.maths.records import as_text, pick, text_key
from tasks.maths.vote import vote_key
from tasks.stage import Made, Rejected, Source, StageConfig, stage


class ImportProblemsConfig(StageConfig):
    """Where the columns of a problem are in the records; the field `a.b` is `b` inside `a`."""

    source: str = ""
    """Name of the source, hashed with the ids it gives; empty: the file's name without suffix, or the folder's for several files."""
    id: tuple[str, ...] = ("id",)
    """Fields that may hold the source's own id, the first with a value counts; without one the id is made of the text."""
    problem: tuple[str, ...] = ("problem", "question")
    """Fields that may hold the statement."""
    answer: tuple[str, ...] = ("answer", "final_answer")
    """Fields that may hold the reference answer; of a worked one (`#### N`, a box, several lines) its final answer is taken."""
    answer_pattern: str = ""
    """Regular expression with one group for other forms: the group of the last match in the answer field is the answer."""
    solution: tuple[str, ...] = ("solution",)
    """Fields that may hold a worked solution, whose final answer counts where no answer field has a value."""
    redistributable: bool = True
    """Whether exports may contain the texts; false for contest texts under copyright."""
    on_bad_line: Literal["error", "reject"] = "error"
    """A line that cannot be read stops the import, or is rejected and counted."""

    @field_validator("id", "problem", "answer", "solution", mode="before")
    @classmethod
    def _one_name(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("answer_pattern")
    @classmethod
    def _one_group(cls, value: str) -> str:
        try:
            groups = re.compile(value).groups
        except re.error as error:
            raise ValueError(f"answer_pattern {value!r} is no regular expression: {error}") from error
        if value and groups != 1:
            raise ValueError(f"answer_pattern {value!r} needs exactly one group, the answer, as in 'Answer: (.+)'")
        return value


class _Candidate(NamedTuple):
    position: int
    record_id: str
    row: Problem

    @property
    def keys(self) -> tuple[str, str]:
        return self.row.id, "text " + text_key(self.row.problem)


@stage(scope="dataset")
def import_problems(records: Source, config: ImportProblemsConfig) -> Iterator[Made[Problem] | Rejected]:
    """One Problem for each different one. Raises ValueError at a line that cannot be read, unless those are to be rejected."""
    source = config.source or (records.paths[0].stem if len(records.paths) == 1 else records.paths[0].parent.name)
    candidates: list[_Candidate] = []
    for record_id, record in records.records():
        found = _read(record_id, record, source, config)
        if isinstance(found, Rejected):
            yield found
        else:
            candidates.append(_Candidate(len(candidates), record_id, found))
    for group in _same(candidates):
        yield from _settle(group)


def _read(record_id: str, record: Any, source: str, config: ImportProblemsConfig) -> Problem | Rejected:
    if not isinstance(record, Mapping):
        what = f"{record}" if isinstance(record, Exception) else f"a record is an object of fields, this is a {type(record).__name__}"
        if config.on_bad_line == "error":
            way_out = "mend the line, or drop such lines with --set import_problems.on_bad_line=reject"
            raise ValueError(f"{record_id}: {what}; {way_out}")
        return Rejected("unreadable line", what, of=record_id)
    text = as_text(pick(record, config.problem))
    if text is None:
        return Rejected("no problem text", f"no text in {list(config.problem)}; the record has {sorted(map(str, record))}", of=record_id)
    given = as_text(pick(record, config.id))
    answer = _answer(record, config)
    return Problem(
        id=problem_id(source, given, text),
        source=source,
        source_id=given,
        problem=text,
        answer=answer,
        answer_type=_type_of(answer, text),
        redistributable=config.redistributable,
    )


def _answer(record: Mapping[str, Any], config: ImportProblemsConfig) -> str | None:
    given = as_text(pick(record, config.answer))
    if given is None:
        solution = as_text(pick(record, config.solution))
        return find_answer(solution) if solution else None
    if config.answer_pattern:
        found = re.findall(config.answer_pattern, given, re.MULTILINE)
        return found[-1].strip() if found else given
    worked = any(sign in given for sign in ("####", "\\boxed", "\n"))
    return (find_answer(given) if worked else None) or given


_PROOF = re.compile(r"\b(prove|show) that\b", re.IGNORECASE)


def _type_of(answer: str | None, problem: str) -> AnswerType:
    return "proof" if answer is None and _PROOF.search(problem) else answer_type_of(answer)


def _same(candidates: list[_Candidate]) -> list[list[_Candidate]]:
    """Candidates that share an id or a text, directly or through others (union-find), in the order of their first."""
    leader = list(range(len(candidates)))

    def first_of(position: int) -> int:
        while leader[position] != position:
            leader[position] = position = leader[leader[position]]
        return position

    seen: dict[str, int] = {}
    for candidate in candidates:
        for key in candidate.keys:
            one, other = first_of(seen.setdefault(key, candidate.position)), first_of(candidate.position)
            leader[max(one, other)] = min(one, other)
    groups: dict[int, list[_Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(first_of(candidate.position), []).append(candidate)
    return list(groups.values())


def _settle(group: list[_Candidate]) -> Iterator[Made[Problem] | Rejected]:
    """The first of the same problem, unless their answers differ."""
    answers = {vote_key(c.row.answer): c.row.answer for c in group if c.row.answer is not None}
    if len(answers) > 1:
        detail = f"answers {list(answers.values())[:2]} among {len(group)} records, the first: {group[0].record_id}"
        yield from (Rejected("conflicting answers", detail, of=c.record_id) for c in group)
        return
    yield Made(group[0].row, of=[group[0].record_id])
    for candidate in group[1:]:
        yield Rejected("duplicate", f"of record {group[0].record_id}", of=candidate.record_id)
