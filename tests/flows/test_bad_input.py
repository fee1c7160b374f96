"""Bad input: a clear line that names the value and the way out, and nothing published that is not whole.

Settings are in test_config.py, names of datasets in test_cli.py, files for one stage in test_apply.py.
"""

import json
import os
import re
import subprocess
import sys

import pytest

from models.engine import EngineError
from storage.errors import StoreError
from storage.ledger import LedgerError
from tasks.runner import StageError
from tests.fake_openai import FakeOpenAI
from tests.flows.conftest import Factory, problem


def lines(*records) -> str:
    return "".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records)


@pytest.mark.parametrize("bad", ['{"problem": "What', "[1, 2]", "NaN,", '{"problem": "\\ud800"}'])
def test_a_line_that_is_no_object_stops_the_import_and_nothing_is_published(factory, bad):
    file = factory.write([])
    file.write_text(lines(problem(1), bad, problem(2)))
    with pytest.raises(ValueError, match=rf"{re.escape(str(file))}, line 2 .*mend the line, or drop such lines with --set import_problems"):
        factory.run()
    assert factory.versions() == {} and factory.calls() == 0


def test_a_line_that_is_no_object_is_rejected_and_counted_where_that_is_asked(factory):
    file = factory.write([])
    file.write_text(lines(problem(1), '{"problem": "What', problem(2)))
    version = factory.run("import_problems.on_bad_line=reject")[0].version
    assert (version.balance.rows_in, version.balance.kept, version.balance.rejected) == (3, 2, {"unreadable line": 1})


def test_a_missing_field_is_a_rejection_that_names_the_fields_there_are(factory):
    file = factory.write([])
    file.write_text(lines(problem(1), {"id": "x", "text": "What?", "answer": "1"}))
    factory.run()
    with factory.open() as store:
        [row] = store.dropped_table("solve.import_problems").to_pylist()
    assert row["reason"] == "no problem text"
    assert row["detail"] == "no text in ['problem', 'question']; the record has ['answer', 'id', 'text']"


def test_a_file_in_which_no_line_has_the_field_gives_an_empty_dataset_that_says_why(factory):
    file = factory.write([])
    file.write_text(lines({"prompt": "What is 1?"}, {"prompt": "What is 2?"}))
    made = {line.version.dataset: line.version.balance for line in factory.run()}
    assert made["solve.import_problems"].rejected == {"no problem text": 2}
    assert made["solve.verify"].rows_in == 0 and factory.calls() == 0


def test_an_empty_file_gives_empty_datasets(factory):
    factory.write([])
    assert [line.version.n_rows for line in factory.run()] == [0, 0, 0]
    factory.write(range(3))
    assert [line.version.n_rows for line in factory.run()] == [3, 6, 6]


def test_texts_of_every_kind_go_through_the_whole_recipe_unchanged(factory):
    texts = [
        "\\[ \\frac{1}{2} \\]",
        "[[problem]]",
        "## user\nHi",
        "a\x00b",
        "\x1b[2J",
        "𝔸 ≤ ∞",
        "'; DROP TABLE shard; --",
        "{}" * 500,
        "a\u2028b",
    ]
    file = factory.write([])
    file.write_text(lines(*({"id": f"t{i}", "problem": text, "answer": "1"} for i, text in enumerate(texts))))
    factory.run()
    found = {row["source_id"]: row["problem"] for row in factory.table("solve.import_problems")}
    asked = {request["messages"][-1]["content"] for request in factory.server.stats()["last_requests"]}
    assert found == {f"t{i}": text for i, text in enumerate(texts)} and asked == set(texts)


def test_an_endpoint_that_refuses_the_key_stops_the_run_and_names_the_variable(factory):
    factory.server.set(api_key="secret")
    factory.write(range(3))
    with pytest.raises(EngineError, match=r"wants a key \(HTTP 401\): variable MATHMILL_API_KEY is not set; export it"):
        factory.run()
    assert factory.versions() == {"solve.import_problems": 1}


@pytest.mark.slow
def test_a_full_disk_is_told_and_what_is_published_is_whole(tmp_path, small_disk):
    """At every size of disk the run fails with the same advice, and goes on from there when there is room."""
    source = Factory(FakeOpenAI(), tmp_path).write(range(24))
    for kilobytes in (60, 300, 1000):
        with FakeOpenAI() as server, small_disk(kilobytes) as (folder, grow):
            factory = Factory(server, folder, input=source)
            with pytest.raises((StoreError, StageError, LedgerError), match=r"full|No space left|could not be brought up to date|disk I/O"):
                factory.run()
            grow()
            with factory.open() as store:
                assert store.fsck(deep=True) == []
            factory.run()
            assert [row["n_rows"] for row in heads(factory)] == [24, 48, 48]


def heads(factory) -> list[dict]:
    with factory.open() as store:
        assert store.fsck(deep=True) == []
        return [{"n_rows": head.n_rows} for head in store.heads()]


def real_mathmill(*arguments: object) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MATHMILL_"))}
    return subprocess.run([sys.executable, "-m", "flows", *map(str, arguments)], capture_output=True, text=True, env=clean, timeout=300)


@pytest.mark.slow
def test_the_real_command_tells_a_bad_line_in_one_line(factory):
    file = factory.write([])
    file.write_text(lines(problem(1), "{oops"))
    done = real_mathmill("run", "solve", "--store", factory.store, "--input", f"problems={file}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    [said] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert f"{file}, line 2 is not JSON" in said and "--set import_problems.on_bad_line=reject" in said
    assert factory.versions() == {}


@pytest.mark.slow
def test_the_real_command_tells_an_unreachable_endpoint_in_one_line_and_blames_no_row(factory):
    file = factory.write(range(3))
    model = ["--set", "solve.model=http:http://127.0.0.1:9/v1#m"]
    done = real_mathmill("run", "solve", "--store", factory.store, "--input", f"problems={file}", *model, "--json")
    assert done.returncode == 1 and "Traceback" not in done.stderr and done.stdout == ""
    said = done.stderr.splitlines()[-1]
    assert re.match(r"error: nobody answers at http://127.0.0.1:9/v1 .*: start the server, or change the URL of 'http:", said)
    assert factory.versions() == {"solve.import_problems": 1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "sovle"], r"no recipe 'sovle': have \[.*\]; did you mean 'solve'\?"),
        (["run", "solve"], "recipe 'solve' needs --input problems=FILE"),
        (["run", "solve", "--input", "problems"], "cannot read --input 'problems': write NAME=FILE"),
        (["run", "solve", "--input", "problem=FILE"], r"recipe 'solve' has no input 'problem': have \['problems'\]; did you mean"),
        (["run", "solve", "--input", "problems=/no/file.jsonl"], r"no input file /no/file.jsonl: give a file ending in \.jsonl, "),
        (["run", "train"], "recipe 'train' needs --input examples=DATASET"),
        (["run", "tiny", "--set", "solve.model=techer"], r"\[solve\] model = 'techer': no engine 'techer': have the roles \['solver'\]"),
        (["run", "tiny", "--set", "after_solve.sampels=1"], r"no field 'sampels' in \[after_solve\].*did you mean 'samples'\?"),
        (["run", "tiny", "--name", "ledger"], "--name ledger: no dataset can be named 'ledger.problems'"),
        (["backfill", "tiny", "--partition", "week=3"], "cannot read --partition 'week=3': write round=R with a whole number R"),
        (["backfill", "tiny", "--partition", "round=-1"], "cannot read --partition 'round=-1'"),
        (["backfill", "tiny"], "Missing option '--partition'"),
        (["plan", "tiny", "--config", "/no/c.toml"], "cannot read the config file /no/c.toml"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_started(tmp_path, mathmill, arguments, said):
    done = mathmill(*arguments, "--store", tmp_path / "store")
    assert (done.code, done.out) == (2, "") and re.match(f"error: {said}", done.err), done.err
    assert not (tmp_path / "store").exists()


def test_a_store_that_is_a_file_is_told(tmp_path, mathmill):
    (tmp_path / "store").write_text("not a folder")
    for command in (["run", "tiny"], ["plan", "tiny"], ["datasets"]):
        done = mathmill(*command, "--store", tmp_path / "store")
        assert done.code == 1 and "cannot be a folder" in done.err and "choose another --store" in done.err
