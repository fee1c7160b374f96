"""Step-DPO on the nano world, end to end and small: killed in the middle, finished, answered by a person, exported."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.config import load_config, load_recipe, outline
from flows.plan import plan_recipe
from flows.review import Answer, Queue, answer, questions
from flows.session import Session
from storage.schemas import Fault, Location, Rollout, StepPair, from_table
from storage.store import Store

pytestmark = pytest.mark.slow
SETS = (
    "problems.count=24",
    "heldout.count=10",
    "run.buckets=2",
    "solve.samples=4",
    "locate_rollouts.samples=8",
    "rectify.samples=4",
    "train_dpo.max_steps=2",
    "before_solve.samples=1",
    "after_solve.samples=1",
    *(f"{stage}.{field}" for stage in ("before", "after") for field in ("pass_at=[1]", "maj_at=[]")),
)


def start(store: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.flows.carry_out", "step_dpo-nano", str(store), *SETS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finished(store: Path) -> dict[str, int]:
    """Calls that each stage of a whole run paid for."""
    process = start(store)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out)


def calls(store: Path, stage: str = "%") -> int:
    """Replies in the ledger, of one stage or of all."""
    if not (store / "ledger.sqlite").exists():
        return 0
    with sqlite3.connect(f"file:{store / 'ledger.sqlite'}?mode=ro", uri=True, timeout=30) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ledger_call'").fetchone():
            return 0
        return int(connection.execute("SELECT count(*) FROM ledger_call WHERE stage LIKE ?", (stage,)).fetchone()[0])


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, int, dict[str, int]]:
    """A store in which a run was killed while continuations were drawn, what it had paid for, and what the next run paid for."""
    store = tmp_path_factory.mktemp("step_dpo") / "store"
    process = start(store)
    while not calls(store, "step_dpo_nano.locate_rollouts"):
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.02)
    process.kill()
    process.wait()
    return store, calls(store), finished(store)


@pytest.fixture
def store(run):
    with Store.open(run[0]) as opened:
        yield opened


def test_a_killed_run_goes_on_and_pays_for_nothing_twice(run):
    folder, before, paid = run
    assert paid["step_dpo_nano.solve"] == 0
    assert before > 24 * 4 and sum(paid.values()) == calls(folder) - before


def test_a_second_run_asks_nothing_and_publishes_nothing(run):
    folder = run[0]
    with Store.open(folder) as opened:
        before = {head.dataset: head.n for head in opened.heads()}
    assert set(finished(folder).values()) == {0}
    with Store.open(folder) as opened:
        assert {head.dataset: head.n for head in opened.heads()} == before


def test_a_plan_counts_continuations_that_hang_on_earlier_ones_from_below(store):
    """How many a prefix takes is known when the first are there."""
    settings = load_config("step_dpo-nano", sets=[*SETS, "locate_rollouts.stream=another"])
    lines = {line.dataset.partition(".")[2]: line for line in plan_recipe(Session(store, settings), load_recipe("step_dpo-nano"), {})}
    wrong = store.resolve("step_dpo_nano.wrong_replies").n_rows
    assert (lines["solve"].calls, lines["locate_rollouts"].calls[:3]) == ("0", ">= ")
    assert 1 <= int(lines["locate_rollouts"].calls[3:]) <= 4 * wrong
    assert lines["rectify"].calls == "unknown" and "decide_fault" in lines["rectify"].why


def test_a_run_without_any_earlier_output_makes_every_dataset_and_its_rows_add_up(store):
    """The published localisation dies where nothing was judged before (UnboundLocalError: visited_dirs)."""
    assert {head.dataset.partition(".")[2] for head in store.heads()} == set(outline("step_dpo-nano").calls)
    for head in store.heads():
        head.balance.check()
        assert head.complete


def test_every_reply_begins_with_the_header_that_it_was_forced_to(store):
    for name in ("solve", "rectify"):
        texts = store.table(f"step_dpo_nano.{name}", ["text"]).column("text").to_pylist()
        assert texts and all(text.startswith("Step 1:") and not text.startswith("Step 1: Step 1:") for text in texts)


def test_pairs_are_whole_and_their_parts_can_be_followed_back(store):
    pairs = from_table(store.table("step_dpo_nano.step_pairs"), StepPair)
    faults = {f.id: f for f in from_table(store.table("step_dpo_nano.decide_fault"), Fault)}
    wrong = {r.id: r for r in from_table(store.table("step_dpo_nano.wrong_replies"), Rollout)}
    mended = {r.text for r in from_table(store.table("step_dpo_nano.rectify"), Rollout)}
    assert pairs
    for pair in pairs:
        assert pair.prefix.endswith(f"Step {pair.step}:") and pair.step == faults[pair.fault_id].step
        assert pair.full_rejected == wrong[pair.rollout_id].text and pair.full_rejected.startswith(pair.prefix + pair.rejected)
        assert pair.full_chosen in mended and pair.full_chosen.startswith(pair.prefix + pair.chosen)
        assert pair.chosen_ends == (pair.prefix + pair.chosen == pair.full_chosen)


def test_the_pairs_carry_a_certificate_over_every_text_that_is_learned_from(store):
    version = store.resolve("step_dpo_nano.step_pairs")
    certificate = version.meta["certificate"]
    assert certificate["version_digest"] == version.digest and certificate["hits"] == []
    assert certificate["columns"] == ["problem", "chosen", "rejected", "full_chosen"]


def test_the_student_was_trained_on_the_pairs_and_measured(store):
    [checkpoint] = store.table("step_dpo_nano.train_dpo").to_pylist()
    assert (checkpoint["method"], checkpoint["trained_on"]) == ("step_dpo", store.resolve("step_dpo_nano.step_pairs").spec)
    assert checkpoint["n_rows"] + checkpoint["n_too_long"] == store.resolve("step_dpo_nano.step_pairs").n_rows
    for name in ("before", "after"):
        assert store.table(f"step_dpo_nano.{name}").column("metric").to_pylist() == ["pass@1"]


def test_every_reply_of_a_judge_or_solver_is_in_the_ledger(store):
    for name in ("locate_judge", "locate_rollouts"):
        for row in from_table(store.table(f"step_dpo_nano.{name}"), Location):
            assert row.call_ids and store.ledger.has(row.call_ids) == set(row.call_ids)


def test_a_person_s_answer_goes_into_the_next_run_and_only_its_fault_is_paid_for(run):
    """Last, because it changes the store."""
    folder = run[0]
    queue = Queue.of("step_dpo-nano")
    with Store.open(folder) as opened:
        chosen = next(q for q in questions(opened, queue) if len(q.steps) > 1)
        answer(opened, queue, {chosen.rollout.id: Answer(2, why="read it")})
        assert chosen.rollout.id not in {q.rollout.id for q in questions(opened, queue)}
    paid = finished(folder)
    with Store.open(folder) as opened:
        [fault] = [f for f in from_table(opened.table("step_dpo_nano.decide_fault"), Fault) if f.decided_by == "person"]
        assert (fault.rollout_id, fault.step) == (chosen.rollout.id, 2)
        assert fault.votes[-1] == "person 2"
        assert opened.resolve("step_dpo_nano.decide_fault").inputs["reviews"] == ("step_dpo_nano.reviews", 1)
    assert paid["step_dpo_nano.rectify"] <= 4
    assert paid["step_dpo_nano.locate_rollouts"] == paid["step_dpo_nano.locate_judge"] == paid["step_dpo_nano.solve"] == 0


def test_the_full_size_recipe_has_the_published_numbers():
    config = load_config("step_dpo")
    collected, mended, pairs, trained = (config.stage(name).model_dump() for name in ("solve", "rectify", "step_pairs", "train_dpo"))
    assert (collected["samples"], collected["sampling"]["temperature"], collected["sampling"]["top_p"]) == (2, 0.8, 0.95)
    assert (mended["samples"], mended["sampling"]["temperature"], mended["sampling"]["top_p"]) == (20, 0.8, 0.95)
    assert (trained["beta"], trained["lr"], trained["epochs"], trained["batch_size"]) == (0.4, 5e-7, 8, 128)
    assert (trained["warmup"], trained["schedule"], trained["max_length"], trained["nll"]) == (0.1, "cosine", 1024, 0)
    assert collected["prompt"]["name"] == "solve_steps" and pairs["pairs_per_prefix"] == 4
