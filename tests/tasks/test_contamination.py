"""The stages that protect texts and mark repetitions, and the form for plain files."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.ids import derived_id, derived_ids
from storage.schemas import Mark, Problem, Protected, Rollout, Solution, arrow_schema, from_table, to_table
from tasks.contamination import ApplyContaminationConfig, ContaminationConfig, check_file, contamination
from tasks.protect import ProtectConfig, protect
from tasks.stage import Made, Rejected, Source

SECRET = "A farmer plants 12 rows of cabbages and 7 rows of carrots, with 30 plants in every row; how many plants are there?"
CLEAN = "Kim folds paper boats. She folds four in a minute and sells them by the dozen. How long does she work for nine dozen?"
SHORT = "Simplify $3x + 4x - 2y$."


@dataclass(frozen=True)
class Rows:
    """A dataset in memory."""

    rows: pa.Table
    digest: str
    name: str = "bench.protect"
    spec: str = "bench.protect@1"
    files: tuple[Path, ...] = ()

    @property
    def meta(self) -> dict[str, Any]:
        return {}

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        return self.rows.select(columns) if columns else self.rows


def problem(name: str, text: str, source: str = "mine") -> Problem:
    return Problem(name, source, None, text, None, "none", True)


def solution(name: str, of: str, text: str) -> Solution:
    return Solution(name, of, f"r-{name}", text, 1)


PROTECTED = Rows(to_table([Protected("p1", "farm", "17", SECRET), Protected("p2", "algebra", "x", SHORT)], Protected), "d1")


def marks(problems: list[Problem], solutions: list[Solution] | None = None, against: Rows = PROTECTED, **settings: Any) -> dict[str, Mark]:
    belonging = None if solutions is None else to_table(solutions, Solution)
    (made,) = contamination(to_table(problems, Problem), belonging, against, ContaminationConfig(**settings))
    assert made.rows.schema.equals(arrow_schema(Mark), check_metadata=True)
    assert list(made.of) == made.rows["problem_id"].to_pylist()
    return {m.subject_id: m for m in from_table(made.rows, Mark)}


def test_every_problem_gets_one_mark_and_only_repetitions_are_contaminated():
    found = marks([problem("a", CLEAN), problem("b", SECRET.upper()), problem("c", "simplify: 3x+4x-2y")])
    assert {k: (m.contaminated, m.column, m.rule, m.benchmark, m.item, m.ratio) for k, m in found.items()} == {
        "a": (False, None, None, None, None, None),
        "b": (True, "problem", "exact", "farm", "17", 1.0),
        "c": (True, "problem", "exact", "algebra", "x", 1.0),
    }
    assert {m.id for m in found.values()} == {derived_id("contamination", k) for k in "abc"}


def test_a_leak_in_any_solution_marks_its_problem_and_names_the_column():
    rows = [solution("s1", "a", "Four."), solution("s2", "a", "As in: " + SECRET), solution("s3", "b", "Five.")]
    found = marks([problem("a", CLEAN), problem("b", CLEAN + " And why?")], rows)
    assert (found["a"].contaminated, found["a"].column, found["a"].benchmark) == (True, "solution", "farm")
    assert not found["b"].contaminated


def test_a_mark_says_in_which_row_and_where_in_its_text_the_hit_is():
    rows = [solution("s1", "b", "Four."), solution("s2", "b", "As in: " + SECRET)]
    found = marks([problem("a", f"Why? {SECRET} {CLEAN}"), problem("b", CLEAN), problem("c", CLEAN)], rows)
    assert [(m.found_in, m.span_start, m.span_end) for m in found.values()] == [
        ("a", 5, 4 + len(SECRET)),
        ("s2", 7, 6 + len(SECRET)),
        (None,) * 3,
    ]


def test_the_strongest_hit_wins_whatever_its_column():
    found = marks([problem("a", SECRET + " " + CLEAN)], [solution("s", "a", SHORT)])
    assert (found["a"].column, found["a"].rule) == ("solution", "exact")


def test_a_leak_in_any_reply_marks_its_problem_and_names_the_reply():
    replies = to_table([Rollout("r1", "a", 0, "Nine.", "stop", 1, None)], Rollout)
    continued = to_table([Rollout("r2", "a", 0, "Nine.", "stop", 1, None), Rollout("r3", "b", 0, SECRET, "stop", 1, None)], Rollout)
    problems = to_table([problem("a", CLEAN), problem("b", CLEAN)], Problem)
    (made,) = contamination(problems, None, PROTECTED, ContaminationConfig(), replies, continued)
    assert [(m.contaminated, m.column, m.found_in) for m in from_table(made.rows, Mark)] == [(False, None, None), (True, "reply", "r3")]


def test_a_solution_of_an_unknown_problem_is_an_error_that_names_both():
    with pytest.raises(ValueError, match="solution s is of problem z"):
        marks([problem("a", CLEAN)], [solution("s", "z", "4")])


def test_held_out_problems_protect_like_a_benchmark():
    held_out = Rows(to_table([problem("h1", SECRET, source="held out")], Problem), "d2")
    found = marks([problem("a", SECRET)], against=held_out)
    assert (found["a"].benchmark, found["a"].item) == ("held out", "h1")


def test_rows_without_protected_texts_are_an_error_that_says_what_is_needed():
    with pytest.raises(ValueError, match="Protected or of Problem rows"):
        marks([problem("a", SECRET)], against=Rows(pa.table({"n": [1]}), "d3"))


def test_no_problems_give_no_marks():
    assert marks([], []) == {}


def test_the_published_preset_cannot_see_short_questions_and_the_default_can():
    short = [problem("a", SHORT), problem("b", SECRET)]
    assert [m.contaminated for m in marks(short, preset="published").values()] == [False, True]
    assert [m.contaminated for m in marks(short).values()] == [True, True]


def test_a_field_given_by_hand_beats_its_preset():
    config = ContaminationConfig(preset="published", exact=True)
    assert (config.ngram, config.lcs_ratio, config.exact) == (13, 0.6, True)
    assert config.identity()["ngram"] == 13


@pytest.mark.parametrize("wrong", [{"ngrams": 3}, {"lcs_ratio": 1.5}, {"preset": "strict"}, {"denominator": "longest"}, {"ngram": 0}])
def test_a_setting_that_does_not_exist_or_fit_is_refused(wrong):
    with pytest.raises(ValidationError):
        ContaminationConfig(**wrong)


@given(st.lists(st.text()))
def test_ids_made_together_equal_ids_made_one_by_one(parents):
    parents = [p for p in parents if p.isprintable()]
    assert derived_ids("contamination", parents) == [derived_id("contamination", p) for p in parents]


# protect


def source(*records: tuple[str, Any]) -> Source:
    return Source((Path("f.jsonl"),), "digest", lambda: iter(records))


def test_questions_under_any_usual_name_are_protected_once_per_file():
    rows = list(
        protect(
            source(
                ("b/one.jsonl:1", {"question": SECRET, "idx": 7}),
                ("b/one.jsonl:2", {"problem": SHORT, "question": "?"}),
                ("b/one.jsonl:3", {"problem": f" {SHORT} "}),
                ("two.jsonl:1", {"text": SHORT}),
                ("two.jsonl:2", {"answer": "4"}),
            ),
            ProtectConfig(),
        )
    )
    kept = [r.rows for r in rows if isinstance(r, Made)]
    assert [(r.benchmark, r.item, r.text) for r in kept] == [("one", "7", SECRET), ("one", "2", SHORT), ("two", "1", SHORT)]
    assert len({r.id for r in kept}) == 3
    assert [(r.reason, r.of) for r in rows if isinstance(r, Rejected)] == [("duplicate", "b/one.jsonl:3"), ("no text", "two.jsonl:2")]


def test_an_unreadable_line_stops_the_import_unless_it_is_to_be_rejected():
    records = source(("a.jsonl:1", ValueError("not JSON")))
    with pytest.raises(ValueError, match=r"a\.jsonl:1: not JSON; mend the line"):
        list(protect(records, ProtectConfig()))
    assert [r.reason for r in protect(records, ProtectConfig(on_bad_line="reject"))] == ["unreadable line"]


# plain files


def write_lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def test_a_plain_file_is_checked_line_by_line_in_order(tmp_path):
    write_lines(tmp_path / "farm.jsonl", {"question": SECRET})
    write_lines(tmp_path / "algebra.jsonl", {"problem": SHORT, "id": 5})
    table = pa.table({"id": ["z", "a", None], "text": [SECRET, CLEAN, SHORT]})
    assert check_file(table, ApplyContaminationConfig(against=tmp_path)).to_pylist() == [
        {"id": "z", "contaminated": True, "rule": "exact", "benchmark": "farm", "item": "1", "ratio": 1.0},
        {"id": "a", "contaminated": False, "rule": None, "benchmark": None, "item": None, "ratio": None},
        {"id": None, "contaminated": True, "rule": "exact", "benchmark": "algebra", "item": "5", "ratio": 1.0},
    ]


def test_what_is_missing_for_a_plain_file_is_named(tmp_path):
    table = pa.table({"text": [SECRET]})
    with pytest.raises(FileNotFoundError, match="no protected texts at"):
        check_file(table, ApplyContaminationConfig(against=tmp_path / "none"))
    write_lines(tmp_path / "farm.jsonl", {"question": SECRET}, {"prompt": SECRET})
    with pytest.raises(ValueError, match=r"farm\.jsonl, line 2 has no text in"):
        check_file(table, ApplyContaminationConfig(against=tmp_path))
    with pytest.raises(ValueError, match="no column 'text'"):
        check_file(pa.table({"problem": [SECRET]}), ApplyContaminationConfig(against=tmp_path, fields=("question", "prompt")))


# real benchmarks

DATA = Path(os.environ.get("MATHMILL_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))
real = pytest.mark.skipif(not (DATA / "benchmarks").is_dir(), reason=f"no benchmark files in {DATA}: set MATHMILL_TEST_DATA")


@real
@pytest.mark.parametrize("preset", ["published", "default"])
def test_the_gsm8k_test_set_is_found_whole_and_its_training_set_hardly_at_all(preset):
    config = ApplyContaminationConfig(against=DATA / "benchmarks", preset=preset)
    texts = {
        name: [json.loads(line)["question"] for line in (DATA / name).read_text(encoding="utf-8").splitlines()]
        for name in ("benchmarks/gsm8k.jsonl", "problems/gsm8k_train.jsonl")
    }
    test, train = (check_file(pa.table({"text": t}), config)["contaminated"].to_pylist() for t in texts.values())
    assert len(test) == sum(test) == 1319
    assert len(train) == 7473
    assert sum(train) < 60
