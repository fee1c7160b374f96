"""Promise 3: every row says where it came from and what was made of it, with the model calls on the way."""

import pytest

from flows.trace import trace
from storage.store import Store
from tests.fake_openai import FakeOpenAI
from tests.flows.small import run_solve

PROBLEMS = [{"id": "a", "problem": "What is 2 + 3?", "answer": "5"}, {"id": "b", "problem": "What is 2 + 4?", "answer": "6"}]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trace")
    with FakeOpenAI() as server, Store.open(folder / "store") as opened:
        run_solve(opened, folder, PROBLEMS, server)
        yield opened


def test_a_verdict_leads_back_to_its_reply_its_problem_and_the_call_with_model_prompt_and_seed(store):
    verdict = store.table("solve.verify").to_pylist()[0]
    lines = {line["dataset"]: line for line in trace(store, verdict["id"]) if line["direction"] == "from"}
    assert lines["solve.solve@1"]["id"] == verdict["rollout_id"]
    problem = lines["solve.import_problems@1"]["row"]
    assert problem["id"] == verdict["problem_id"] and problem["source_id"] in ("a", "b")
    call = lines["solve.solve@1"]["row"]["call"]
    assert problem["problem"] in str(call["request"]) and call["model"] and isinstance(call["seed"], int)


def test_a_problem_leads_forward_to_everything_that_was_made_of_it_and_nothing_else(store):
    problem = next(row for row in store.table("solve.import_problems").to_pylist() if row["source_id"] == "b")
    made = [(line["dataset"], line["row"]["problem_id"]) for line in trace(store, problem["id"]) if line["direction"] == "made"]
    assert sorted(made) == [("solve.solve@1", problem["id"])] * 2 + [("solve.verify@1", problem["id"])] * 2


def test_an_id_that_nothing_has_gives_nothing(store):
    assert trace(store, "0" * 16) == []
