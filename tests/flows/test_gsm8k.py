"""Real input: the recipe `gsm8k` on the published files, every number of its rows known beforehand."""

import os
from pathlib import Path

import pytest

from flows.config import load_config
from flows.make import Make, Silent, in_threads
from flows.recipes.gsm8k import gsm8k
from flows.session import Session
from storage.store import Store

DATA = Path(os.environ.get("MATHMILL_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (DATA / "problems").is_dir(), reason=f"no test data in {DATA}: set MATHMILL_TEST_DATA"),
]

TRAIN, TEST = 7473, 1319
STEPS = 20


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The finished run: (store, lines by stage)."""
    with Store.open(tmp_path_factory.mktemp("gsm8k") / "store") as store:
        session = Session(store, load_config("gsm8k"))
        make = Make(session, in_threads(2), {"problems": str(DATA / "problems"), "benchmarks": str(DATA / "benchmarks")}, Silent())
        try:
            gsm8k(make)
        finally:
            session.close()
        yield store, {line.dataset.partition(".")[2]: line.version for line in make.finish()}


@pytest.fixture
def store(run):
    return run[0]


@pytest.fixture
def sides(store) -> tuple[set[str], set[str]]:
    """Ids of the training problems, which have one reply, and of the test problems, which have the labelled replies of four models."""
    replies: dict[str, int] = {}
    for problem in store.table("gsm8k.import_rollouts", ["problem_id"]).column("problem_id").to_pylist():
        replies[problem] = replies.get(problem, 0) + 1
    return {p for p, n in replies.items() if n == 1}, {p for p, n in replies.items() if n == 4}


def test_every_row_is_accounted_for_at_every_stage(run):
    for version in run[1].values():
        version.balance.check()
        assert version.complete and version.n == 1
    found = {name: (v.balance.rows_in, v.balance.kept, dict(v.balance.rejected), v.balance.rows_out) for name, v in run[1].items()}
    selected, contaminated = found["training_set"][3], found["training_set"][2]["contaminated"]
    assert found == {
        "import_problems": (TRAIN + TEST, TRAIN + TEST, {}, TRAIN + TEST),
        "import_rollouts": (TRAIN + TEST, TRAIN + TEST, {}, TRAIN + 4 * TEST),
        "verify": (TRAIN + 4 * TEST, TRAIN + 4 * TEST, {}, TRAIN + 4 * TEST),
        "difficulty": (TRAIN + TEST, TEST, {"too few replies could be verified": TRAIN}, TEST),
        "audit": (TRAIN + TEST, 234, {"no sign of a wrong gold": 1085, "too few replies": TRAIN}, 234),
        "dedup": (TRAIN + TEST, TRAIN + TEST, {}, TRAIN + TEST),
        "distill": (TRAIN + TEST, 8360, {"no correct reply": 432}, 9467),
        "protect": (15346, 15254, {"duplicate": 92}, 15254),
        "contamination": (TRAIN + TEST, TRAIN + TEST, {}, TRAIN + TEST),
        "training_set": (9467, selected, {"contaminated": contaminated}, selected),
        "sft": (1, 1, {}, 1),
    }


def test_verdicts_agree_with_the_published_labels_and_every_disagreement_is_known(store):
    verdicts = {row["rollout_id"]: row for row in store.table("gsm8k.verify").to_pylist()}
    rollouts = store.table("gsm8k.import_rollouts", ["id", "label"]).to_pylist()
    expected = {row["id"]: "correct" if row["label"] else "wrong" for row in rollouts}
    others = {i: (label, verdicts[i]["verdict"]) for i, label in expected.items() if verdicts[i]["verdict"] != label}
    assert len(others) <= 0.001 * len(rollouts)
    # a model's reply that ends in words where a number is asked for: not decided, and labelled wrong by its publisher
    assert others == {"6507f07e587c8271": ("wrong", "unknown")}


def test_difficulty_is_scored_for_exactly_the_test_problems(store, sides):
    scored = store.table("gsm8k.difficulty").to_pylist()
    assert {row["problem_id"] for row in scored} == sides[1]
    assert all(row["n_replies"] in (3, 4) and 0 <= row["pass_low"] <= row["pass_rate"] <= row["pass_high"] <= 1 for row in scored)
    assert sum(row["n_replies"] for row in scored) == 4 * TEST - 1


def test_exactly_the_test_set_is_contaminated_and_its_twins_among_the_training_problems_are_listed(store, sides):
    train, test = sides
    hits = {row["problem_id"]: row for row in store.table("gsm8k.contamination").to_pylist() if row["contaminated"]}
    assert hits.keys() & test == test
    assert {hits[problem]["benchmark"] for problem in test} == {"gsm8k"}
    twins = {problem: (hits[problem]["benchmark"], hits[problem]["item"]) for problem in hits.keys() & train}
    assert {problem: twin for problem, twin in twins.items() if hits[problem]["column"] == "problem"} == {
        "41fe8336bed976c9": ("gsm8k", "919"),
        "85408ecc0ee9417d": ("gsm8k", "603"),
        "cadf55454a693375": ("gsm8k", "603"),
        "60605fbafaac4528": ("gsm8k", "633"),
        "f0b6a7207c4a195d": ("gsm8k", "825"),
        "9677833e5417c245": ("gsm8k", "1115"),
        "0c3ccede13c68fb8": ("gsm8k", "449"),
        "a719f1e2c6778d51": ("college_math", "911"),
        "46c98b849604f87c": ("college_math", "517"),
        "14c6ebf215597b8a": ("math", "973"),
        "eb73bf98d2d224d2": ("mmlu_stem", "2754"),
        "ef87f294c62da4c4": ("mmlu_stem", "2754"),
    }
    assert {twins[p] for p in twins if hits[p]["column"] == "solution"} == {("math", item) for item in ("3263", "3970", "4141", "4274")}


def test_nothing_contaminated_is_trained_on_and_the_certificate_covers_exactly_what_is(run, store, sides):
    rows = store.table("gsm8k.training_set").to_pylist()
    marks = {row["problem_id"] for row in store.table("gsm8k.contamination").to_pylist() if row["contaminated"]}
    assert {row["problem_id"] for row in rows} == sides[0] - marks
    version = run[1]["training_set"]
    certificate = version.meta["certificate"]
    assert certificate["version_digest"] == version.digest and certificate["hits"] == [] and certificate["rows"] == len(rows)
    assert certificate["planted_recall"]["recall"] >= 0.97 and certificate["planted_recall"]["precision"] >= 0.97
    assert {b["name"] for b in certificate["benchmarks"]} == {path.stem for path in (DATA / "benchmarks").glob("*.jsonl")}
    assert len(certificate["benchmarks"]) == 17


def test_a_student_is_trained_for_the_steps_asked_on_that_version(run, store):
    [checkpoint] = store.table("gsm8k.sft").to_pylist()
    version = run[1]["training_set"]
    assert (checkpoint["steps"], checkpoint["trained_on"], checkpoint["trained_on_digest"]) == (STEPS, version.spec, version.digest)
    assert checkpoint["n_rows"] + checkpoint["n_too_long"] == version.n_rows
    assert (store.root / checkpoint["path"] / "model.safetensors").is_file()


def test_a_second_run_reuses_everything(run, store):
    session = Session(store, load_config("gsm8k"))
    make = Make(session, in_threads(2), {"problems": str(DATA / "problems"), "benchmarks": str(DATA / "benchmarks")}, Silent())
    gsm8k(make)
    assert all(line.cached == line.jobs for line in make.lines)
    assert {line.dataset: line.version.n for line in make.lines} == {version.dataset: 1 for version in run[1].values()}
