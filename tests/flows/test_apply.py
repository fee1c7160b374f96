"""One stage on a plain file: a line out for every line in, in order, in either format, with every fate told."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.apply import all_stages
from tests.fake_openai import FakeOpenAI, Fault

GRADES = [
    {"id": "a", "gold": "1/2", "reply": "half, that is \\boxed{0.5}"},
    {"gold": "5", "reply": "I cannot say"},
    {"id": 9, "gold": 12, "answer": 13},
    {"id": "d", "gold": "We add.\n#### 7", "answer": "7", "note": "other fields are passed over"},
]
GRADED = [("a", "correct", "0.5"), ("2", "wrong", None), ("9", "wrong", "13"), ("d", "correct", "7")]
PROBLEMS = [{"id": "x", "problem": "What is 2 + 3? [/]"}, {"question": "What is 2 + 4?", "answer": 6}, {"id": "z", "problem": "What is 9?"}]


def write(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".parquet":
        names = dict.fromkeys(name for row in rows for name in row)
        texts = [{n: None if row.get(n) is None else str(row[n]) for n in names} for row in rows]
        pq.write_table(pa.Table.from_pylist(texts), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("given", ["in.jsonl", "in.parquet"])
@pytest.mark.parametrize("made", ["out.jsonl", "out.parquet"])
def test_verify_grades_a_file_line_by_line(tmp_path, mathmill, given, made):
    source, target = write(tmp_path / given, GRADES), tmp_path / made
    done = mathmill("apply", "verify", "--input", source, "--output", target, "--json")
    assert (done.code, done.json) == (0, {"kept": 4})
    lines = read(target)
    assert [(x["id"], x["verdict"], x["answer"]) for x in lines] == GRADED
    assert list(lines[0]) == ["id", "verdict", "answer", "tier"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([given, made])


def test_solve_asks_once_and_a_second_run_asks_nothing(tmp_path, mathmill):
    source, target = write(tmp_path / "in.jsonl", PROBLEMS), tmp_path / "out.jsonl"
    with FakeOpenAI() as server:
        command = ["apply", "solve", "--input", source, "--output", target, "--set", f"model={server.ref}", "--set", "samples=2"]
        assert mathmill(*command, "--json").json == {"kept": 3}
        first = target.read_bytes()
        assert mathmill(*command).code == 0
        assert server.stats()["calls"] == 6 and target.read_bytes() == first
    lines = read(target)
    assert [x["id"] for x in lines] == ["x", "2", "z"]
    assert [[(r["problem_id"], r["ordinal"]) for r in x["rows"]] for x in lines] == [[(i, 0), (i, 1)] for i in ("x", "2", "z")]
    assert (tmp_path / "out.jsonl.ledger.sqlite").is_file()


@pytest.mark.parametrize("made", ["out.jsonl", "out.parquet"])
def test_failed_rows_keep_their_line_with_the_reason_and_the_exit_code_says_so(tmp_path, mathmill, made):
    source, target = write(tmp_path / "in.jsonl", PROBLEMS), tmp_path / made
    with FakeOpenAI(faults=[Fault("400", contains="2 + 4")]) as server:
        command = ["apply", "solve", "--input", source, "--output", target, "--set", f"model={server.ref}", "--set", "samples=1"]
        done = mathmill(*command)
        assert (done.code, done.err.splitlines()[-1]) == (3, "2 kept, 1 quarantined")
        lines = read(target)
        assert [bool(x.get("quarantined")) for x in lines] == [False, True, False]
        assert lines[1]["id"] == "2" and lines[1]["quarantined"] == "engine failure" and "HTTP 400" in lines[1]["detail"]
        assert lines[0]["text"].startswith("Reply")
        server.set(faults=[])
        server.reset()
        assert mathmill(*command).code == 0 and server.stats()["calls"] == 1
    assert [x["problem_id"] for x in read(target)] == ["x", "2", "z"]


def test_contamination_checks_texts_against_a_folder_of_files(tmp_path, mathmill):
    known = "Ada has thirteen green pears and eats four of them while it rains. How many pears does Ada have left over?"
    (tmp_path / "benchmarks").mkdir()
    write(tmp_path / "benchmarks/pears.jsonl", [{"id": "k", "question": known}])
    rows = [{"text": "Nothing of the kind."}, {"id": 4, "text": known.upper()}, {"id": "c", "text": f"Hello. {known} Thank you.", "n": 1}]
    source, target = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    done = mathmill("apply", "contamination", "--input", source, "--output", target, "--set", f"against={tmp_path / 'benchmarks'}")
    assert done.code == 0, done.err
    lines = read(target)
    assert [(x["id"], x["contaminated"], x["benchmark"], x["item"]) for x in lines] == [
        ("1", False, None, None), ("4", True, "pears", "k"), ("c", True, "pears", "k"),
    ]  # fmt: skip


def test_dedup_marks_all_but_the_first_of_a_files_near_duplicates(tmp_path, mathmill):
    pears = "Ada has thirteen green pears and eats four of them while it rains. How many pears does Ada have left over?"
    rows = [{"text": pears.upper()}, {"text": "Nothing of the kind.", "n": 1}, {"id": "a", "text": f"Question: {pears}"}]
    source, target = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    done = mathmill("apply", "dedup", "--input", source, "--output", target)
    assert done.code == 0, done.err
    assert read(target) == [
        {"id": "1", "cluster": "1", "keep": True}, {"id": "2", "cluster": "2", "keep": True}, {"id": "a", "cluster": "1", "keep": False},
    ]  # fmt: skip


def test_an_empty_file_gives_an_empty_file(tmp_path, mathmill):
    source, target = write(tmp_path / "in.jsonl", []), tmp_path / "out.jsonl"
    assert mathmill("apply", "verify", "--input", source, "--output", target, "--json").json == {}
    assert read(target) == []


def test_every_stage_works_on_a_file_or_says_why_not(tmp_path, mathmill):
    source, target = write(tmp_path / "in.jsonl", GRADES), tmp_path / "out.jsonl"
    works = {"verify", "solve", "contamination", "dedup", "locate"}
    said = {}
    for stage in all_stages():
        if stage.name not in works:
            done = mathmill("apply", stage.name, "--input", source, "--output", target)
            assert done.code in (1, 2) and not target.exists(), stage.name
            if done.code == 2:
                said[stage.name] = done.err.strip()
            else:
                assert done.err.startswith("error: row a has no "), "it takes rows of one class, and these are of another"
    assert said["difficulty"] == (
        "error: stage 'difficulty' takes Problem, Verdict, Rollout rows that belong together: run it in a recipe (mathmill run)"
    )
    assert said["import_problems"].startswith("error: stage 'import_problems' brings files into a store")
    assert said["nano_problems"].startswith("error: stage 'nano_problems' makes rows of its own")
    assert all(line.endswith("run it in a recipe (mathmill run)") for line in said.values())


ONE = {"id": "a", "gold": "5", "answer": "5"}


@pytest.mark.parametrize(
    ("stage", "rows", "more", "code", "said"),
    [
        ("verfy", [ONE], [], 2, r"no stage 'verfy': have \[.*'contamination', .*\]; did you mean 'verify'\?"),
        ("verify", [ONE], ["--set", "last_numbers=true"], 2, r"no field 'last_numbers' in \[verify\].*did you mean 'last_number'\?"),
        ("verify", [ONE], ["--set", "last_number"], 2, "cannot read --set 'last_number': write FIELD=VALUE"),
        ("verify", [ONE], ["--set", "limit_s=1", "--set", "limit_s.x=1"], 2, "cannot read --set 'limit_s.x=1': 'limit_s' is a value"),
        ("verify", [ONE], ["--set", "limit_s=0"], 2, r"\[verify\] limit_s = 0: Input should be greater than 0"),
        ("verify", [{"id": "a", "reply": "5"}], [], 1, r"row a has no \['gold'\]: it has \['id', 'reply'\]"),
        ("verify", [{**ONE, "gold": None}], [], 1, "row a: gold = None: Input should be a valid string"),
        ("verify", [{**ONE, "answer": True}], [], 1, "row a: answer = True: Input should be a valid string"),
        ("verify", [{**ONE, "reply": "5"}], [], 1, "row 'a': give exactly one of 'reply' and 'answer'"),
        ("solve", [{"id": "a", "text": "?"}], [], 1, r"row a has no 'problem' \(or 'question'\): it has \['id', 'text'\]"),
        ("solve", [{"id": "a", "problem": "?"}] * 2, [], 1, "two rows have the id 'a': give each its own"),
        ("solve", [{"problem": "?"}], ["--set", "model=solver"], 2, "stage 'solve' needs a model, --set model=REF: no engine 'solver'"),
        ("solve", [{"problem": "?"}], [], 1, "nobody answers at http://127.0.0.1:9/v1 .*start the server, or change the URL"),
        ("contamination", [{"text": "?"}], [], 2, r"\[contamination\] needs 'against'"),
        ("contamination", [{"id": 1}], ["--set", "against=IN"], 1, r"no column 'text' to check: the file has \['id'\]"),
        ("contamination", [{"text": "?"}], ["--set", "against=/nowhere"], 1, "no protected texts at /nowhere"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_and_no_output_is_left(tmp_path, mathmill, stage, rows, more, code, said):
    source, target = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    write(tmp_path / "known.jsonl", [{"question": "What is known?"}])
    model = ["--set", "model=http:http://127.0.0.1:9/v1#m"] if stage == "solve" else []
    more = [word.replace("IN", str(tmp_path / "known.jsonl")) for word in more]
    done = mathmill("apply", stage, "--input", source, "--output", target, *model, *more)
    assert done.code == code and re.match(f"error: {said}", done.err.splitlines()[-1]), done.err
    assert not target.exists() and done.out == ""


@pytest.mark.parametrize("bad", ['{"gold": "5", "answer"', "[1]", '"text"'])
def test_a_line_that_is_no_object_is_named_by_file_and_number(tmp_path, mathmill, bad):
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(ONE) + "\n" + bad + "\n")
    done = mathmill("apply", "verify", "--input", source, "--output", tmp_path / "out.jsonl")
    assert done.code == 1 and f"{source}, line 2 is not" in done.err and "mend the line" in done.err
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "said"), [("out.csv", "give a file ending in"), ("none/out.jsonl", "there is no folder"), ("dir.jsonl", "it is a folder")]
)
def test_an_output_that_cannot_be_written_is_told_before_any_model_is_asked(tmp_path, mathmill, name, said):
    (tmp_path / "dir.jsonl").mkdir()
    source = write(tmp_path / "in.jsonl", PROBLEMS)
    with FakeOpenAI() as server:
        done = mathmill("apply", "solve", "--input", source, "--output", tmp_path / name, "--set", f"model={server.ref}")
        assert done.code == 2 and said in done.err and server.stats()["calls"] == 0
