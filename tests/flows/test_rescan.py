"""A benchmark that appears after training sets were published: what it affects is listed, and nothing is checked twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.rescan import rescan
from storage.balance import Balance
from storage.ids import digest
from storage.schemas import Checkpoint, Dropped, Example, Problem, Protected, StepPair, to_table
from storage.store import Store
from storage.versions import Version
from tasks.certificate import CHECKED, certify
from tasks.contamination import ContaminationConfig
from tasks.maths.protected import read_protected

OLD = "A baker packs 12 trays with 30 rolls each and drops 17 rolls on the way; how many rolls reach the market?"
NEW = "A farmer plants 12 rows of cabbages and 7 rows of carrots, with 30 plants in every row; how many plants are there?"
CLEAN = ["Kim folds paper boats, four in a minute. How long for nine dozen?", "Find the area of a square of side 8.", "What is 3 times 14?"]


def published(store: Store, name: str, rows: list[Any], row_type: type, part: str = "round=0/000", **meta: Any) -> Version:
    """Rows as the next version of a dataset, kept parts kept; training sets with a certificate against the old benchmark."""
    table = to_table(rows, row_type)
    key = digest([name, table.to_pylist()])
    store.commit(
        key=key, dataset=name, part=part, stage="make", recipe={"n": key}, rows=table, dropped=to_table([], Dropped),
        balance=Balance(len(rows), len(rows), {}, 0, len(rows)),
    )  # fmt: skip
    if getattr(row_type, "trains", False):
        version_digest, every = store.preview(name, {part: key}, "patch")
        old = to_table([Protected("p1", "old", "1", OLD)], Protected)
        meta["certificate"] = certify(every, version_digest, old, columns=CHECKED[row_type.__name__])
    return store.publish(name, {part: key}, "patch", meta=meta)


def example(number: int, problem: str, completion: str = "It is 9.") -> Example:
    return Example(f"e{number}", f"q{number}", f"s{number}", problem, completion)


def checkpoint(name: str, base: str, on: Version) -> Checkpoint:
    return Checkpoint(name, f"checkpoints/{name}", base, on.spec, on.digest, "sft", 1, 1.0, 1.0)


@pytest.fixture
def store(tmp_path: Path):
    """A training set of two versions, and checkpoints; only the second version repeats the new benchmark."""
    with Store.open(tmp_path / "store") as opened:
        first = published(opened, "a.examples", [example(0, CLEAN[0])], Example)
        second = published(opened, "a.examples", [example(1, CLEAN[1], f"See: {NEW}"), example(2, CLEAN[2])], Example, "round=0/001")
        published(opened, "a.problems", [Problem("q9", "x", None, NEW, None, "none", True)], Problem)
        published(opened, "a.sft", [checkpoint("c" * 40, "solver@sha256:00", first)], Checkpoint, "all")
        published(opened, "a.sft2", [checkpoint("d" * 40, "solver@sha256:00", second)], Checkpoint, "all")
        published(opened, "a.sft3", [checkpoint("e" * 40, f"m@sha256:{'d' * 40}", first)], Checkpoint, "all")
        yield opened


@pytest.fixture
def benchmarks(tmp_path: Path) -> Path:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "old.jsonl").write_text(json.dumps({"question": OLD}) + "\n")
    (folder / "new.jsonl").write_text(json.dumps({"question": NEW, "id": "n7"}) + "\n")
    return folder


def test_a_new_benchmark_names_the_versions_that_repeat_it_and_every_checkpoint_that_learned_from_them(store, benchmarks):
    found = rescan(store, read_protected(benchmarks), ContaminationConfig())
    assert found.rows() == [
        {
            "version": "a.examples@2",
            "rows": 1,
            "of": 3,
            "benchmarks": ["new"],
            "checkpoints": [f"a.sft2@1 {'d' * 40}", f"a.sft3@1 {'e' * 40}"],
        }
    ]
    assert (found.versions, found.objects, found.checked) == (2, 2, 2)


def test_the_marks_are_a_dataset_with_a_row_for_every_row_checked(store, benchmarks):
    version = rescan(store, read_protected(benchmarks), ContaminationConfig()).marks
    marks = {m["subject_id"]: m for m in store.table(version).to_pylist()}
    assert {s: m["contaminated"] for s, m in marks.items()} == {"e0": False, "e1": True, "e2": False}
    hit = marks["e1"]
    assert (hit["problem_id"], hit["column"], hit["benchmark"], hit["item"]) == ("q1", "completion", "new", "n7")
    assert f"See: {NEW}"[hit["span_start"] : hit["span_end"]] == NEW.rstrip("?")
    assert [b["name"] for b in version.meta["benchmarks"]] == ["new", "old"]


def test_only_what_was_not_checked_against_these_texts_by_this_rule_is_read(store, benchmarks):
    protected, config = read_protected(benchmarks), ContaminationConfig()
    first = rescan(store, protected, config)
    again = rescan(store, protected, config)
    assert (again.checked, again.marks, again.rows()) == (0, first.marks, first.rows())
    published(store, "a.examples", [example(3, "What is 5 plus 6?")], Example, "round=0/002")
    added = rescan(store, protected, config)
    assert (added.versions, added.objects, added.checked, added.marks.n) == (3, 3, 1, 2)
    assert [row["version"] for row in added.rows()] == ["a.examples@2", "a.examples@3"]
    assert rescan(store, protected, ContaminationConfig(preset="published")).checked == 3
    assert rescan(store, protected.slice(0, 1), config).checked == 3


def test_step_pairs_are_checked_in_every_text_that_is_learned_from(store, benchmarks):
    pair = StepPair("s1", "q1", "r1", "f1", CLEAN[0], "27", 2, "Step 2:", " Add.", " Go.", True, True, "Good.", "Bad.")
    published(store, "a.pairs", [pair], StepPair)
    assert rescan(store, read_protected(benchmarks), ContaminationConfig()).versions == 3
    [mark] = [m for m in store.table("rescan.marks").to_pylist() if m["subject_id"] == "s1"]
    assert not mark["contaminated"]


def test_the_command_lists_what_is_affected_and_says_so_by_its_exit_code(store, benchmarks, mathmill):
    done = mathmill("rescan", "--against", benchmarks, "--store", store.root, "--json")
    assert done.code == 4 and [row["version"] for row in done.json] == ["a.examples@2"]
    assert "2 training versions, 2 of 2 objects checked now; 1 versions affected; marks: rescan.marks@1" in done.err
    (benchmarks / "new.jsonl").unlink()
    assert mathmill("rescan", "--against", benchmarks, "--store", store.root).code == 0


def test_without_files_the_protected_datasets_of_the_store_are_meant(store, mathmill):
    refused = mathmill("rescan", "--store", store.root)
    assert refused.code == 2 and "has no dataset of Protected rows; say --against DIR" in refused.err
    published(store, "a.protect", [Protected("p2", "new", "1", NEW)], Protected, "all")
    assert mathmill("rescan", "--store", store.root).code == 4
    wrong = mathmill("rescan", "--store", store.root, "--set", "ngrams=3")
    assert wrong.code == 2 and "no field 'ngrams' in [rescan]" in wrong.err and "did you mean 'ngram'?" in wrong.err


def test_a_store_without_training_sets_has_nothing_to_check(tmp_path, benchmarks):
    with Store.open(tmp_path / "empty") as empty:
        found = rescan(empty, read_protected(benchmarks), ContaminationConfig())
    assert (found.marks, found.affected, found.summary()) == (None, [], "there is no training version to check")


@pytest.mark.slow
def test_the_scheduled_rescan_fails_where_something_is_affected_and_rests_where_nothing_is_protected(store, benchmarks):
    from prefect.logging import disable_run_logger

    from flows.scheduled_rescan import rescan as flow

    with disable_run_logger():
        nothing = flow.fn(store=str(store.root))
        affected = flow.fn(against=str(benchmarks), store=str(store.root))
        (benchmarks / "new.jsonl").unlink()
        clean = flow.fn(against=str(benchmarks), store=str(store.root))
    assert [(state.name, state.is_completed()) for state in (nothing, affected, clean)] == [
        ("Nothing", True), ("Affected", False), ("Clean", True),
    ]  # fmt: skip
    assert "1 versions affected" in affected.message


def test_the_rescan_starts_when_protected_texts_are_published():
    import yaml

    from flows.scheduled import version_event

    [entry] = [d for d in yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())["deployments"] if d["name"] == "rescan"]
    [trigger] = entry["triggers"]
    version = Version("a.protect", 2, 1, "replace", "d", "Protected", 1, 1, 1, Balance(1, 1, {}, 0, 1), True, {}, {}, "r", 0.0)
    event = version_event(version)
    assert event["event"] in trigger["expect"] and event["resource"]["mathmill.rows"] == trigger["match"]["mathmill.rows"]
    assert entry["schedules"]
