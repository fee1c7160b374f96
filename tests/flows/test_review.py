"""The review queue: what waits, what an answer does, the command, and the form in a real Prefect flow run."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from flows.graph import UsageError
from flows.review import Answer, Queue, answer, questions
from storage.balance import Balance
from storage.schemas import Dropped, Fault, Location, Problem, Rollout, from_table, to_table
from storage.store import Store
from tasks.decide_fault import review_id

QUEUE = Queue.of("step_dpo")
PROBLEMS = [Problem(f"p{i}", "ours", None, f"Eva has {i} figs and gets 4. How many?", str(i + 4), "integer", True) for i in range(4)]
REPLIES = [Rollout(f"r{i}", f"p{i}", 0, f"Step 1: Has {i}\nStep 2: Sum {i}+4={i}\n\\boxed{{{i}}}", "stop", 9, None) for i in range(4)]
REASONS = {"r0": "locators disagree", "r1": "too few locators could decide", "r2": "no step is wrong"}


def publish(store: Store, dataset: str, row_type: type, rows: list, inputs: dict[str, str], dropped: list[Dropped]) -> None:
    """Two parts: those of even problems, and those of odd ones."""
    keys = {}
    for part, odd in (("round=0/000", False), ("round=0/001", True)):

        def here(key: str | None, odd: bool = odd) -> bool:
            return bool(int(str(key)[1:]) % 2) == odd

        kept = [r for r in rows if here(getattr(r, "problem_id", None) or r.id)]
        gone = [d for d in dropped if here(d.problem_id)]
        counts = {reason: sum(d.reason == reason for d in gone) for reason in {d.reason for d in gone}}
        key = f"{dataset}-{part}"
        balance = Balance(len(kept) + len(gone), len(kept), counts, 0, len(kept))
        table, drops = to_table(kept, row_type), to_table(gone, Dropped)
        store.commit(key=key, dataset=dataset, part=part, stage="s", recipe={"k": key}, rows=table, dropped=drops, balance=balance)
        keys[part] = key
    store.publish(dataset, keys, buckets=2, inputs={role: (name, 1) for role, name in inputs.items()})


@pytest.fixture
def store(tmp_path):
    """A store after a run that decided one of four replies."""
    with Store.open(tmp_path / "store") as opened:
        publish(opened, "step_dpo.problems", Problem, PROBLEMS, {}, [])
        publish(opened, "step_dpo.wrong_replies", Rollout, REPLIES, {"problem": "step_dpo.problems"}, [])
        dropped = [Dropped(i, f"p{i[1]}", "rejected", reason, "symbolic 1; judge 2") for i, reason in REASONS.items()]
        faults = [Fault("f3", "p3", "r3", 2, "any_two", ["symbolic 2", "judge 2"])]
        publish(opened, "step_dpo.decide_fault", Fault, faults, {"rollout": "step_dpo.wrong_replies"}, dropped)
        yield opened


def waiting(store: Store) -> list[str]:
    return [q.rollout.id for q in questions(store, QUEUE)]


def reviews(store: Store) -> dict[str, Location]:
    return {row.rollout_id: row for row in from_table(store.table("step_dpo.reviews"), Location)}


def test_what_the_locators_left_open_waits_with_problem_steps_and_votes(store):
    first, second = questions(store, QUEUE)
    assert (first.rollout.id, second.rollout.id) == ("r0", "r1")
    assert first.problem == PROBLEMS[0] and first.votes == "symbolic 1; judge 2" and first.reason == "locators disagree"
    assert [step.strip() for step in first.steps] == ["Step 1: Has 0", "Step 2: Sum 0+4=0\n\\boxed{0}"]


def test_an_answer_is_a_row_like_any_other_in_the_part_of_its_problem(store):
    version = answer(store, QUEUE, {"r0": Answer(2, why="0+4=4"), "r1": Answer(None)})
    assert (version.spec, version.inputs) == ("step_dpo.reviews@1", {"rollout": ("step_dpo.wrong_replies", 1)})
    assert {slot.part: slot.n_rows for slot in store.slots(version)} == {"round=0/000": 1, "round=0/001": 1}
    assert reviews(store)["r0"] == Location(review_id(REPLIES[0]), "p0", "r0", "person", 2, False, 2, "0+4=4")
    assert (reviews(store)["r1"].first_wrong_step, reviews(store)["r1"].abstained) == (None, False)
    assert waiting(store) == []


def test_a_later_answer_replaces_the_earlier_one_and_leaves_the_others(store):
    answer(store, QUEUE, {"r0": Answer(2), "r1": Answer(1)})
    assert answer(store, QUEUE, {"r0": Answer(None, unclear=True)}).n == 2
    assert (reviews(store)["r0"].abstained, reviews(store)["r1"].first_wrong_step) == (True, 1)


def test_the_same_answer_again_publishes_nothing(store):
    first = answer(store, QUEUE, {"r0": Answer(2)})
    assert answer(store, QUEUE, {"r0": Answer(2)}) == first


def test_a_reply_that_changed_under_its_id_waits_again(store):
    """An edited prompt gives other texts under the same ids."""
    answer(store, QUEUE, {"r0": Answer(2)})
    row = reviews(store)["r0"]
    assert row.id == review_id(REPLIES[0]) != review_id(Rollout("r0", "p0", 0, "Step 1: another", "stop", 3, None))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"r9": Answer(1)}, r"no reply 'r9' in step_dpo\.wrong_replies@1"),
        ({"r0": Answer(3)}, "no step 3 in reply r0: it has 2"),
    ],
)
def test_an_answer_that_does_not_fit_is_told_and_nothing_is_published(store, given, said):
    with pytest.raises(UsageError, match=said):
        answer(store, QUEUE, {"r1": Answer(1), **given})
    assert store.head("step_dpo.reviews") is None


def test_people_who_answer_at_once_all_count(store):
    """A publication that meets a moved head goes on top of it."""

    def one(reply: str) -> None:
        with Store.open(store.root) as own:
            answer(own, QUEUE, {reply: Answer(1)})

    with ThreadPoolExecutor(4) as people:
        list(people.map(one, [r.id for r in REPLIES]))
    assert set(reviews(store)) == {r.id for r in REPLIES}


def test_the_command_lists_what_waits_and_takes_answers(store, mathmill):
    where = ("--store", store.root, "--json")
    assert [row["reply"] for row in mathmill("review", "step_dpo", *where).json] == ["r0", "r1"]
    done = mathmill("review", "step_dpo", "--answer", "r0=2", "--answer", "r1=none", "--why", "seen", *where)
    assert done.json == {"answered": 2, "reviews": "step_dpo.reviews@1", "still open": 0}
    assert "mathmill run step_dpo" in done.err
    assert {i: (row.first_wrong_step, row.why) for i, row in reviews(store).items()} == {"r0": (2, "seen"), "r1": (None, "seen")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("step_dpo", "--answer", "r0"), "cannot read --answer 'r0': write REPLY=STEP, REPLY=none or REPLY=unclear"),
        (("step_dpo", "--answer", "r0=0"), "cannot read the answer '0': write the number of the first wrong step"),
        (("step_dpo", "--answer", "r0=two"), "cannot read the answer 'two'"),
        (("tiny",), "recipe 'tiny' leaves nothing to a person"),
        (("step_dpo", "--name", "other"), "no dataset 'other.decide_fault' yet: run the recipe first"),
    ],
)
def test_the_command_says_what_it_cannot_do(store, mathmill, arguments, said):
    done = mathmill("review", *arguments, "--store", store.root)
    assert done.code == 2 and said in done.err.replace("\n", " ")


FORM = """
import json, sys, threading, time
from pathlib import Path
from flows.services import prefect_api
root = Path(sys.argv[1])
with prefect_api(root):
    from prefect.client.orchestration import get_client
    from httpx import HTTPStatusError
    from flows.review_form import review
asked, described = [], []
run = threading.Thread(target=lambda: asked.append(review("step_dpo", store=str(root), patience_s=300)), daemon=True)
run.start()

def form(client):
    # (run, text) of the form that waits; a run is paused a moment before its form is there
    for found in client.read_flow_runs():
        if found.state and found.state.is_paused():
            try:
                return found.id, client.read_flow_run_input(found.id, found.state.state_details.run_input_keyset["description"])
            except HTTPStatusError as error:
                assert error.response.status_code == 404, error
                return None

with get_client(sync_client=True) as client:
    for given in json.loads(sys.argv[2]):
        while (there := form(client)) is None:
            assert run.is_alive(), "the run ended before it asked"
            time.sleep(0.2)
        described.append(there[1])
        client.resume_flow_run(there[0], run_input=given)
run.join()
print(json.dumps({"asked": asked, "described": described}))
"""


@pytest.mark.slow
def test_a_paused_run_asks_in_the_ui_and_an_answer_that_does_not_fit_is_asked_again(store):
    given = [{"first_wrong_step": 9}, {"first_wrong_step": 2, "why": "seen"}, {"unclear": True}]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MATHMILL_"))}
    done = subprocess.run(
        [sys.executable, "-c", FORM, str(store.root), json.dumps(given)], capture_output=True, text=True, env=environment, timeout=400
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["asked"] == [2]
    first, again, second = (json.loads(text) if text.startswith('"') else text for text in said["described"])
    assert "Reply 1 of 2" in first and "Eva has 0 figs" in first and "2| Step 2: Sum 0+4=0" in first
    assert "no step 9 in reply r0: it has 2" in again and "Reply 2 of 2" in second
    assert {i: (row.first_wrong_step, row.abstained, row.why) for i, row in reviews(store).items()} == {
        "r0": (2, False, "seen"),
        "r1": (None, True, ""),
    }
