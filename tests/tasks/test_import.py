import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.ids import problem_id
from storage.schemas import Problem, Rollout, from_table, to_table
from tasks.import_problems import ImportProblemsConfig, import_problems
from tasks.import_rollouts import ImportRolloutsConfig, import_rollouts
from tasks.maths.vote import vote_key
from tasks.runner import Inputs, Outcome, run_stage
from tasks.stage import Source

DATA = Path(os.environ.get("MATHMILL_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
real_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no test data in {DATA}: set MATHMILL_TEST_DATA")


def jsonl(path: Path) -> Source:
    """The lines of a file as records; a line that is not JSON as the error it gave."""

    def records() -> Iterator[tuple[str, Any]]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                yield f"{path.name}:{number}", json.loads(line)
            except json.JSONDecodeError as error:
                yield f"{path.name}:{number}", error

    return Source((path,), "", records)


def lines(*records: Any, name: str = "sums.jsonl") -> Source:
    return Source((Path(name),), "", lambda: iter([(f"{name}:{i}", r) for i, r in enumerate(records, 1)]))


def imported(*records: Any, **config: Any) -> tuple[list[Problem], list[tuple[str, str, str]]]:
    """(problems, (record, reason, detail) of the rejected ones), every record accounted for by the runner."""
    outcome = run_stage(import_problems, ImportProblemsConfig(**config), Inputs(sources={"records": lines(*records)}))
    return from_table(outcome.rows, Problem), rejected(outcome)


def rejected(outcome: Outcome) -> list[tuple[str, str, str]]:
    return [(d["id"], d["reason"], d["detail"]) for d in outcome.dropped.to_pylist()]


class Memory:
    """A published dataset of problems, as a stage sees it."""

    name, spec, digest, meta, files = "gsm8k.import_problems", "gsm8k.import_problems@1", "0" * 40, {}, []

    def __init__(self, rows: list[Problem]) -> None:
        self._table = to_table(rows, Problem)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        return self._table.select(columns) if columns else self._table


def test_a_record_becomes_a_problem_that_keeps_the_id_it_was_given():
    (row,), none = imported({"id": 7, "problem": " What is 2 + 3? ", "answer": 5})
    assert none == []
    assert row == Problem(problem_id("sums", "7", "-"), "sums", "7", "What is 2 + 3?", "5", "integer", True)


def test_without_an_id_the_text_gives_it_and_the_source_does_not():
    (one,), _ = imported({"question": "What is 2 + 3?"})
    (other,), _ = imported({"question": "What is 2 + 3?"}, source="elsewhere")
    assert one.id == other.id == problem_id("any", None, "What is 2 + 3?")
    assert (other.source, other.source_id) == ("elsewhere", None)


@pytest.mark.parametrize(
    ("record", "answer", "answer_type"),
    [
        ({"answer": "Two and three.\nThat is 2+3=<<2+3=5>>5.\n#### 5"}, "5", "integer"),
        ({"answer": "#### 1,234"}, "1,234", "integer"),
        ({"answer": "so it is \\boxed{\\frac{1}{2}}."}, "\\frac{1}{2}", "fraction"),
        ({"solution": "First \\boxed{3}, no: \\boxed{x^2+1}."}, "x^2+1", "expression"),
        ({"answer": "2.5", "solution": "\\boxed{3}"}, "2.5", "decimal"),
        ({"answer": 27.0}, "27.0", "decimal"),
        ({"final_answer": ["2"]}, "2", "integer"),
        ({"final_answer": ["2", "3"]}, "2, 3", "expression"),
        ({"answer": "(C)"}, "(C)", "choice"),
        ({"answer": None}, None, "none"),
        ({"answer": ""}, None, "none"),
    ],
)
def test_the_answer_is_found_and_typed(record: dict[str, Any], answer: str | None, answer_type: str):
    (row,), _ = imported({"problem": "?", **record})
    assert (row.answer, row.answer_type) == (answer, answer_type)


def test_a_statement_to_prove_without_an_answer_is_a_proof():
    rows, _ = imported({"problem": "Prove that $2$ is even."}, {"problem": "Show that x = 1 and give x.", "answer": "1"})
    assert sorted(r.answer_type for r in rows) == ["integer", "proof"]


def test_fields_are_mapped_by_name_also_inside_others():
    record = {"data": {"text": "What is 2 + 3?", "key": "k1"}, "gold": "Answer: 4; Answer: 5;"}
    (row,), _ = imported(record, problem="data.text", id="data.key", answer="gold", answer_pattern="Answer: ([^;]+)")
    assert (row.problem, row.source_id, row.answer) == ("What is 2 + 3?", "k1", "5")


def test_a_repeated_id_or_text_keeps_the_first():
    rows, dropped = imported(
        {"id": "a", "problem": "What is 2 + 3?", "answer": "5"},
        {"id": "b", "problem": "What is  2 + 3?", "answer": "5.0"},
        {"id": "b", "problem": "What is 3 + 2?"},
        {"id": "c", "problem": "What is 1 + 1?", "answer": "2"},
    )
    assert sorted(r.source_id or "" for r in rows) == ["a", "c"]
    assert dropped == [("sums.jsonl:2", "duplicate", "of record sums.jsonl:1"), ("sums.jsonl:3", "duplicate", "of record sums.jsonl:1")]


def test_differing_answers_to_one_problem_reject_all_of_them_and_equal_ones_in_two_notations_do_not():
    rows, dropped = imported(
        {"problem": "Half of 1?", "answer": "0.5"},
        {"problem": "Half of 1?", "answer": "\\frac{1}{2}"},
        {"problem": "Half of 3?", "answer": "1.5"},
        {"problem": "Half of 3?", "answer": "2"},
        {"problem": "Half of 3?", "answer": "1.5"},
    )
    assert [r.answer for r in rows] == ["0.5"]
    assert [(i, reason) for i, reason, _ in dropped if reason == "conflicting answers"] == [
        (f"sums.jsonl:{i}", "conflicting answers") for i in (3, 4, 5)
    ]
    assert "['1.5', '2'] among 3 records" in dropped[-1][2]


def test_a_missing_statement_is_a_rejection_that_lists_the_fields():
    rows, dropped = imported({"prompt": "What is 2 + 3?", "answer": "5"})
    assert rows == []
    assert dropped == [("sums.jsonl:1", "no problem text", "no text in ['problem', 'question']; the record has ['answer', 'prompt']")]


def test_a_line_that_is_not_json_stops_the_import_and_names_the_way_out(tmp_path: Path):
    file = tmp_path / "sums.jsonl"
    file.write_text('{"problem": "What is 2 + 3?"}\n{"problem": "What is\n[1, 2]\n', encoding="utf-8")
    inputs = Inputs(sources={"records": jsonl(file)})
    with pytest.raises(ValueError, match=r"sums.jsonl:2: .*--set import_problems.on_bad_line=reject"):
        run_stage(import_problems, ImportProblemsConfig(), inputs)
    outcome = run_stage(import_problems, ImportProblemsConfig(on_bad_line="reject"), inputs)
    assert outcome.rows.num_rows == 1
    assert [(i, reason) for i, reason, _ in rejected(outcome)] == [("sums.jsonl:2", "unreadable line"), ("sums.jsonl:3", "unreadable line")]


@pytest.mark.parametrize("pattern", ["####.*", "(a)(b)", "("])
def test_a_pattern_without_one_group_is_refused(pattern: str):
    with pytest.raises(ValidationError, match="answer_pattern"):
        ImportProblemsConfig(answer_pattern=pattern)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["p", "q", "r", "s"]), st.sampled_from([None, "1", "2"]))))
def test_whatever_repeats_every_record_is_kept_or_rejected_once_and_kept_ones_differ(records: list[tuple[str, str, str | None]]):
    rows, dropped = imported(*({"id": i, "problem": p, "answer": a} for i, p, a in records))
    assert len(rows) + len(dropped) == len(records)
    assert len({r.problem for r in rows}) == len({r.source_id for r in rows}) == len(rows)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("0.5", "1/2", True), ("0.5", "\\frac{1}{2}", True), ("$1,000", "1000", True), ("x+1", "$x+1$", True),
        ("500", "5", False), ("x+1", "1+x", False),
    ],
)  # fmt: skip
def test_answers_vote_together_when_they_are_the_same_number_or_text(one: str, other: str, together: bool):
    assert (vote_key(one) == vote_key(other)) is together


# Replies


PROBLEMS = Memory(
    [
        Problem("a" * 16, "ours", "q1", "What is 2 + 3?", "5", "integer", True),
        Problem("b" * 16, "ours", None, "1 + 1?", "2", "integer", True),
    ]
)


def replies(*records: Any, **config: Any) -> tuple[list[Rollout], list[tuple[str, str, str]]]:
    inputs = Inputs(sources={"records": lines(*records)}, datasets={"problems": PROBLEMS})
    outcome = run_stage(import_rollouts, ImportRolloutsConfig(**config), inputs)
    return sorted(from_table(outcome.rows, Rollout), key=lambda r: (r.problem_id, r.ordinal)), rejected(outcome)


def test_each_reply_of_a_record_is_a_rollout_with_its_label():
    columns = [{"reply": "small.text", "label": "small.ok"}, {"reply": "large.text", "label": "large.ok"}]
    record = {"question": "What is  2 + 3?", "small": {"text": "It is 6.", "ok": False}, "large": {"text": "It is 5.", "ok": 1}}
    rows, none = replies(record, replies=columns)
    assert none == []
    assert [(r.problem_id, r.ordinal, r.text, r.label, r.n_tokens, r.call_id) for r in rows] == [
        ("a" * 16, 0, "It is 6.", False, 3, None),
        ("a" * 16, 1, "It is 5.", True, 3, None),
    ]


def test_replies_are_joined_by_the_id_of_the_source_or_ours_and_numbered_on_across_records():
    records = {"pid": "q1", "reply": "x"}, {"pid": "a" * 16, "reply": "y", "label": None}, {"pid": "b" * 16, "reply": "z"}
    rows, none = replies(*records, id="pid")
    assert none == []
    assert [(r.problem_id[0], r.ordinal, r.text, r.label) for r in rows] == [("a", 0, "x", None), ("a", 1, "y", None), ("b", 0, "z", None)]


def test_a_label_may_be_the_same_for_all_records():
    rows, _ = replies({"problem": "1 + 1?", "answer": "Two.\n#### 2"}, replies=[{"reply": "answer", "label": True}])
    assert [(r.text, r.label) for r in rows] == [("Two.\n#### 2", True)]


def test_an_unknown_problem_and_a_record_without_a_reply_are_rejected():
    rows, dropped = replies({"problem": "9 + 9?", "reply": "18"}, {"problem": "1 + 1?", "reply": ""})
    assert rows == []
    assert [(i, reason) for i, reason, _ in dropped] == [("sums.jsonl:1", "unknown problem"), ("sums.jsonl:2", "no reply")]
    assert "gsm8k.import_problems@1" in dropped[0][2]


def test_a_label_that_is_no_truth_value_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"sums.jsonl:1: label 'maybe' in field 'label'"):
        replies({"problem": "1 + 1?", "reply": "2", "label": "maybe"})


@real_data
def test_the_labelled_model_replies_to_gsm8k_all_find_their_problem():
    problems = run_stage(import_problems, ImportProblemsConfig(), Inputs(sources={"records": jsonl(DATA / "benchmarks" / "gsm8k.jsonl")}))
    assert (problems.rows.num_rows, problems.dropped.num_rows) == (1319, 0)
    assert set(problems.rows.column("answer_type").to_pylist()) <= {"integer", "decimal"}
    models = [f"{size}_{kind}" for size in ("6b", "175b") for kind in ("finetuning", "verification")]
    columns = [{"reply": f"{m}.solution", "label": f"{m}.is_correct"} for m in models]
    source = jsonl(DATA / "problems" / "gsm8k_model_solutions.jsonl")
    inputs = Inputs(sources={"records": source}, datasets={"problems": Memory(from_table(problems.rows, Problem))})
    outcome = run_stage(import_rollouts, ImportRolloutsConfig(replies=columns), inputs)  # type: ignore[arg-type]
    assert (outcome.rows.num_rows, outcome.dropped.num_rows) == (4 * 1319, 0)
    assert outcome.rows.column("label").null_count == 0


@real_data
def test_every_human_solution_of_gsm8k_is_a_problem_with_an_answer_and_a_rollout():
    source = jsonl(DATA / "problems" / "gsm8k_train.jsonl")
    problems = run_stage(import_problems, ImportProblemsConfig(), Inputs(sources={"records": source}))
    assert problems.rows.num_rows + problems.dropped.num_rows == 7473
    assert problems.rows.column("answer").null_count == 0
    config = ImportRolloutsConfig(replies=[{"reply": "answer", "label": True}])  # type: ignore[list-item]
    inputs = Inputs(sources={"records": source}, datasets={"problems": Memory(from_table(problems.rows, Problem))})
    outcome = run_stage(import_rollouts, config, inputs)
    assert outcome.rows.num_rows + outcome.dropped.num_rows == 7473
