"""Commands that look at a store: what they print for people and what `--json` gives programs are the same facts."""

import inspect
import json
import os
import re
from pathlib import Path

import pytest

from flows import screen
from flows.cli import app
from storage.store import Store
from tests.fake_openai import FakeOpenAI, Fault
from tests.flows.conftest import Factory, problem

MARKUP = "[bold]Ada[/bold] has [/] [3] pears and [red"
WIDE = "Count: " + " ".join(str(i) for i in range(2000))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two versions of everything: one problem in quarantine at first, one rejected, one with markup, one very wide."""
    with FakeOpenAI(faults=[Fault("400", contains="Ada has 3 pears")], answers={"Ada has 5 pears": "16"}) as server:
        factory = Factory(server, tmp_path_factory.mktemp("cli"))
        file = factory.write(range(6))
        odd = [
            {"id": "m", "problem": MARKUP, "answer": "3"},
            {"id": "w", "problem": WIDE, "answer": "2000"},
            {"id": "n", "problem": "Why?"},
            {**problem(1), "id": "again"},
        ]
        file.write_text(file.read_text() + "".join(json.dumps(row) + "\n" for row in odd))
        factory.run()
        server.set(faults=[])
        factory.run()
        yield factory.store


def test_datasets_lists_each_head_with_its_tags(mathmill, store):
    done = mathmill("datasets", "--store", store, "--json")
    assert done.json[1] == {"dataset": "solve.solve@2", "rows": 18, "of": "Rollout", "complete": True, "tags": "good"}
    text = mathmill("datasets", "--store", store)
    assert text.code == 0 and "solve.verify@2" in text.out and "Verdict" in text.out


def test_show_tells_balance_inputs_settings_and_columns(mathmill, store):
    found = mathmill("show", "solve.solve@1", "--store", store, "--json").json
    assert found["balance"] == {"rows_in": 9, "kept": 8, "rejected": {}, "quarantined": 1, "rows_out": 16}
    assert (found["version"], found["complete"], found["inputs"]) == ("solve.solve@1", False, {"problem": "solve.import_problems@1"})
    assert found["config"]["samples"] == 2 and found["tags"] == {"good": 2}
    text = mathmill("show", "solve.solve@1", "--store", store).out
    assert '"quarantined": 1' in text and "key of the model call in the ledger" in text


def test_rows_prints_brackets_as_they_are_and_wide_cells_whole(mathmill, store):
    rows = mathmill("rows", "solve.import_problems", "--limit", 50, "--store", store, "--json").json
    assert {row["problem"] for row in rows} >= {MARKUP, WIDE, "Why?"}
    text = mathmill("rows", "solve.import_problems", "--limit", 50, "--store", store)
    assert text.code == 0 and MARKUP in text.out and "1999" in text.out
    assert len(mathmill("rows", "solve.solve", "--limit", 3, "--store", store, "--json").json) == 3


@pytest.mark.parametrize("text", ["[", "]", "\\", "\\[", "[/", "[link=x]", "\\\\[a]", "[[1,2]]", "a\\"])
def test_any_text_comes_out_of_the_terminal_as_it_went_in(mathmill, capsys, text):
    screen.show([{"x": text}], False, title=text)
    screen.facts({"x": text}, False)
    screen.note(text)
    said = capsys.readouterr()
    assert said.out.count(text) == 3 and text in said.err


def test_a_text_commands_no_terminal(mathmill, capsys):
    screen.show([{"x": "a\x1b[2Jb\x07\x9b31m\tc"}], False)
    said = capsys.readouterr().out
    assert "a␛[2Jb␇\ufffd31m" in said and not {"\x1b", "\x07", "\x9b"} & set(said)


def test_rejected_counts_and_filters_by_reason(mathmill, store):
    found = mathmill("rejected", "solve.verify", "--store", store, "--json").json
    assert [(row["fate"], row["reason"]) for row in found] == [("rejected", "no reference answer")] * 2
    [row] = mathmill("rejected", "solve.solve@1", "--reason", "engine failure", "--store", store, "--json").json
    assert row["fate"] == "quarantined" and "HTTP 400" in row["detail"]
    [row] = mathmill("rejected", "solve.import_problems", "--store", store, "--json").json
    assert row["reason"] == "duplicate"
    assert "duplicate" in mathmill("rejected", "solve.import_problems", "--store", store).out
    done = mathmill("rejected", "solve.verify", "--reason", "boring", "--store", store)
    assert (done.code, done.err) == (2, "error: no row of solve.verify@2 was dropped for 'boring': have ['no reference answer']\n")


def test_diff_names_the_rows_that_came_with_the_healing(mathmill, store):
    changes = mathmill("diff", "solve.solve@1", "solve.solve@2", "--store", store, "--json").json
    assert [c["change"] for c in changes] == ["added"] * 2
    assert "solve.solve@1 -> solve.solve@2: 2 rows differ" in mathmill("diff", "solve.solve@1", "solve.solve@2", "--store", store).out
    assert mathmill("diff", "solve.solve@2", "solve.solve", "--store", store).out == "solve.solve@2 and solve.solve hold the same rows\n"
    done = mathmill("diff", "solve.solve", "solve.verify", "--store", store)
    assert done.code == 1 and "only rows of one class can be compared" in done.err


def test_explain_names_what_decided_each_part(mathmill, store):
    parts = mathmill("explain", "solve.solve", "--store", store, "--json").json
    assert 0 < len(parts) <= 4 and all(part["rows"] for part in parts) and sum(part["rows"] for part in parts) == 18
    assert all(part["models"]["model"]["revision"] == "unversioned" and part["config"]["samples"] == 2 for part in parts)
    assert "unversioned" in mathmill("explain", "solve.solve", "--store", store).out


def test_sql_sees_datasets_versions_drops_and_nothing_else_is_written(mathmill, store):
    query = """SELECT verdict, count(*) AS n FROM solve.verify JOIN solve.import_problems p ON problem_id = p.id
               WHERE p.source_id = 'p5' GROUP BY 1"""
    assert mathmill("sql", query, "--store", store, "--json").json == [{"verdict": "correct", "n": 2}]
    assert mathmill("sql", 'SELECT count(*) AS n FROM solve."solve@1"', "--store", store, "--json").json == [{"n": 16}]
    assert (
        mathmill("sql", 'SELECT reason FROM solve."verify!dropped"', "--store", store, "--json").json
        == [{"reason": "no reference answer"}] * 2
    )
    assert mathmill("sql", "FROM solve.solve LIMIT 0", "--store", store).out == "nothing to show\n"
    for bad in ("SELEKT 1", "FROM solve.slove", "DROP VIEW solve.solve", "CREATE TABLE main.x (i INTEGER)"):
        done = mathmill("sql", bad, "--store", store)
        assert done.code == 1 and done.err.startswith("error: ") and "Traceback" not in done.err, bad


def test_trace_follows_a_verdict_to_its_problem(mathmill, store):
    [row] = mathmill("rows", "solve.verify", "--limit", 1, "--store", store, "--json").json
    lines = mathmill("trace", row["id"], "--store", store, "--json").json
    assert sorted((line["direction"], line["dataset"]) for line in lines) == [
        ("from", "solve.import_problems@1"), ("from", "solve.solve@2"), ("row", "solve.verify@2"),
    ]  # fmt: skip
    assert mathmill("trace", row["id"], "--store", store).code == 0


def test_fsck_says_whether_the_store_is_whole(mathmill, store):
    assert mathmill("fsck", "--deep", "--store", store, "--json").json == []
    assert mathmill("fsck", "--store", store).out == "the store is whole\n"


def test_fsck_of_a_damaged_store_fails_and_names_the_object(mathmill, factory):
    factory.write(range(3))
    factory.run()
    with factory.open() as opened:
        path = opened.files("solve.verify")[0]
        os.chmod(path, 0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    done = mathmill("fsck", "--deep", "--store", factory.store, "--json")
    assert done.code == 1 and any(path.stem in line["problem"] for line in done.json)


def test_tag_revert_export_and_gc_say_what_they_did(mathmill, factory):
    factory.write(range(3))
    factory.run()
    factory.write(range(4))
    factory.run()
    where = ["--store", factory.store, "--json"]
    assert mathmill("tag", "solve.verify@1", "prod", "--why", "before the fourth", *where).json == {
        "tag": "solve.verify@prod", "version": "solve.verify@1",
    }  # fmt: skip
    assert mathmill("show", "solve.verify@prod", *where).json["rows"] == 6
    assert mathmill("revert", "solve.verify@prod", *where).json == {"reverted_to": "solve.verify@1", "head": "solve.verify@3"}
    assert mathmill("show", "solve.verify", *where).json["rows"] == 6
    exported = mathmill("export", "solve.import_problems", factory.folder / "out", *where).json
    assert (exported["spec"], exported["n_rows"], exported["n_restricted"]) == ("solve.import_problems@2", 4, 0)
    assert (factory.folder / "out/README.md").is_file() and list((factory.folder / "out/data").glob("*.parquet"))
    again = mathmill("export", "solve.import_problems", factory.folder / "out", *where)
    assert again.code == 1 and "is there and not empty: choose another folder" in again.err
    done = mathmill("gc", "--keep-last", 1, "--cache-days", 0, *where)
    assert done.code == 0 and all(isinstance(n, int | float) for n in done.json.values())
    assert mathmill("show", "solve.verify@prod", *where).json["rows"] == 6
    assert mathmill("fsck", "--deep", *where).json == []


COMMANDS = {c.name or c.callback.__name__.replace("_", "-"): c.callback for c in app.registered_commands}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help_with_a_sentence_for_every_option(mathmill, command):
    done = mathmill(command, "--help")
    assert done.code == 0 and "Usage: mathmill" in done.out


def test_without_arguments_the_commands_are_listed(mathmill):
    done = mathmill()
    assert done.code == 2 and "backfill" in done.out and done.err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["rows", "solve.slove"], 1, "no dataset 'solve.slove' (did you mean 'solve.solve'?): have ['solve.import_problems', "),
        (["rows", "solve.solve@9"], 1, "no version solve.solve@9: solve.solve has the versions [1, 2] and the tags ['latest', 'good']"),
        (["rows", "solve.solve@goood"], 1, "no tag 'solve.solve@goood' (did you mean solve.solve@good?): solve.solve has the versions"),
        (["show", "solve"], 1, "no dataset 'solve'"),
        (["tag", "solve.solve", "Prod"], 1, "no tag name 'Prod': use lower-case letters"),
        (["rows", "solve.solve", "--limit", "many"], 2, "Invalid value for '--limit'"),
        (["rows", "solve.solve@99999999999999999999"], 1, "no tag 'solve.solve@99999999999999999999': solve.solve has the versions"),
        (["rows", "solve.solve", "--limit", "-1"], 2, "Invalid value for '--limit'"),
        (["gc", "--keep-last", "0"], 2, "Invalid value for '--keep-last'"),
        (["plan", "train", "--input", "examples=solve.solve"], 2, "--input examples=solve.solve: needs Example rows, it holds Rollout"),
        (["plan", "train", "--input", "examples=solve.nope"], 1, "no dataset 'solve.nope'"),
        (["rows"], 2, "Missing argument 'spec'. (see mathmill rows --help)"),
        (["roows", "x"], 2, "No such command 'roows'. Did you mean 'rows'? (see mathmill --help)"),
        (["rows", "solve.solve", "--jsn"], 2, "No such option: --jsn"),
    ],
)
def test_names_that_do_not_exist_are_told_with_the_choices(mathmill, store, arguments, code, said):
    done = mathmill(*arguments, *(["--store", store] if len(arguments) > 1 and arguments[0] != "roows" else []))
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(f"error: {said}"), done.err


def test_a_store_that_is_not_there_is_not_made_by_looking(mathmill, tmp_path):
    for command in (["datasets"], ["rows", "a.b"], ["sql", "SELECT 1"], ["fsck"], ["gc"], ["revert", "a.b@1"]):
        done = mathmill(*command, "--store", tmp_path / "none")
        assert (done.code, done.err) == (2, f"error: no store at {tmp_path / 'none'}: make one with mathmill run, or say --store DIR\n")
    assert not (tmp_path / "none").exists()


def test_an_empty_store_says_what_to_type(mathmill, tmp_path):
    Store.open(tmp_path / "store").close()
    assert mathmill("datasets", "--store", tmp_path / "store").out == "no dataset yet: mathmill run tiny\n"
    assert mathmill("datasets", "--store", tmp_path / "store", "--json").json == []


def documented() -> dict[str, set[str]]:
    """Keys by command, from docs/json.md."""
    found = {}
    for line in (Path(__file__).parents[2] / "docs/json.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 4:
            found |= {command: set(re.findall(r"`(.+?)`", cells[2])) for command in re.findall(r"`(\w+)`", cells[1])}
    return found


def test_the_keys_that_json_has_are_those_of_the_docs(mathmill, store):
    [first, *_] = mathmill("rows", "solve.verify", "--limit", 1, "--store", store, "--json").json
    commands = {
        "datasets": [],
        "rejected": ["solve.verify"],
        "diff": ["solve.solve@1", "solve.solve@2"],
        "explain": ["solve.solve"],
        "trace": [first["id"]],
        "show": ["solve.solve"],
        "gc": [],
        "plan": ["tiny"],
        "down": [],
    }
    for command, arguments in commands.items():
        found = mathmill(command, *arguments, "--store", store, "--json").json
        for thing in found if isinstance(found, list) else [found]:
            assert set(thing) == documented()[command], command


def test_the_docs_name_every_command_that_prints_json():
    with_json = {name for name, callback in COMMANDS.items() if "json" in inspect.signature(callback).parameters}
    assert set(documented()) == with_json
