"""A plan is a promise: what it says is what the run then does, to the call; and it writes nothing."""

from pathlib import Path

import pytest

from tests.fake_openai import Fault

PROMPT = "## user\nSay it in one line: [[problem]]\n"


@pytest.fixture
def ran(factory):
    """A finished run of 8 problems with two samples each."""
    factory.write(range(8))
    factory.run()
    factory.calls()
    return factory


def promised_and_paid(factory, *sets: str) -> tuple[str, int]:
    plan = factory.plan(*sets)
    assert factory.calls() == 0
    factory.run(*sets)
    return plan["solve"].calls, factory.calls()


def test_of_a_fresh_run(factory):
    factory.write(range(8))
    assert promised_and_paid(factory) == ("16", 16)


def test_of_a_run_in_which_nothing_changed(ran):
    assert {name: (line.shards, line.cached, line.calls, line.why) for name, line in ran.plan().items()} == {
        "import_problems": (4, 4, "", "nothing changed"),
        "solve": (4, 4, "0", "nothing changed"),
        "verify": (4, 4, "", "nothing changed"),
    }


def test_of_new_rows_at_the_front(ran):
    ran.write([20, 21, 22, *range(8)])
    assert promised_and_paid(ran) == ("6", 6)


def test_of_rows_that_were_taken_away(ran):
    ran.write(range(5))
    assert promised_and_paid(ran) == ("0", 0)
    assert len(ran.table("solve.verify")) == 10


def test_of_an_edited_prompt(ran):
    prompt = ran.folder / "mine.md"
    prompt.write_text(PROMPT, encoding="utf-8")
    assert promised_and_paid(ran, f"solve.prompt=@{prompt}") == ("16", 16)


def test_of_more_and_of_fewer_samples(ran):
    assert promised_and_paid(ran, "solve.samples=5") == ("24", 24)
    assert promised_and_paid(ran, "solve.samples=1") == ("0", 0)


def test_of_the_same_question_twice_in_two_problems(factory):
    """Equal texts with their own ids are one problem, whatever their ids."""
    file = factory.write([1, 2])
    file.write_text(file.read_text() + file.read_text().replace('"p1"', '"q1"').replace('"p2"', '"q2"'))
    assert promised_and_paid(factory) == ("4", 4)


def test_of_an_interrupted_run_counts_only_what_is_not_in_the_ledger(ran):
    with ran.open() as store:
        store.gc(cache_days=0, grace_s=0)
        kept = store.ledger.get([row["call_id"] for row in store.table("solve.solve").to_pylist()[:5]])
    other = type(ran)(ran.server, ran.folder / "other", ran.sets, ran.input)
    with other.open() as store:
        store.ledger.put_many(kept.values())
    assert promised_and_paid(other) == ("11", 11)


def test_below_a_stage_that_will_change_it_is_unknown_and_says_after_what(factory):
    factory.write(range(3))
    plan = factory.plan()
    assert (plan["verify"].shards, plan["verify"].calls, plan["verify"].why) == (None, "", "after solve.solve")


def test_it_says_what_changed(ran):
    prompt = ran.folder / "mine.md"
    prompt.write_text(PROMPT, encoding="utf-8")
    assert ran.plan("solve.samples=3")["solve"].why == "config.samples: 2 -> 3"
    assert ran.plan("solve.sampling.temperature=0.5")["solve"].why == "config.sampling.temperature: 1.0 -> 0.5"
    assert ran.plan(f"solve.prompt=@{prompt}")["solve"].why.startswith("prompts.prompt: ## system")
    assert ran.plan("verify.last_number=true")["verify"].why == "config.last_number: False -> True"
    ran.write(range(9))
    plan = ran.plan()
    assert plan["import_problems"].why == "sources.records changed"
    assert set(plan["solve"].why.split("; ")) <= {"inputs.problem changed", "nothing changed"}


def test_it_says_that_rows_are_in_quarantine(factory):
    factory.write(range(6))
    factory.server.set(faults=[Fault("400", contains="Ada has 3 pears")])
    factory.run()
    factory.calls()
    line = factory.plan()["solve"]
    assert (line.calls, line.why, line.shards - line.cached) == ("2", "incomplete", 1)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file but SQLite's own notes beside its databases."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


def test_it_writes_nothing(ran):
    with ran.open() as store:
        versions = [store.versions(d) for d in store.datasets()]
    before = snapshot(ran.store)
    ran.plan("solve.samples=9")
    ran.write(range(20))
    ran.plan()
    assert snapshot(ran.store) == before
    with ran.open() as store:
        assert [store.versions(d) for d in store.datasets()] == versions
    assert ran.calls() == 0


def test_the_command_makes_no_store_where_there_is_none(factory, mathmill):
    file, none = factory.write(range(4)), factory.folder / "none"
    sets = ["--set", f"solve.model={factory.server.ref}", "--set", "solve.samples=1"]
    done = mathmill("plan", "solve", "--store", none, "--input", f"problems={file}", *sets, "--json")
    assert done.code == 0 and not none.exists()
    assert done.json == [
        {"dataset": "solve.import_problems", "shards": 8, "cached": 0, "calls": "", "why": "never computed"},
        {"dataset": "solve.solve", "shards": 8, "cached": 0, "calls": "4", "why": "never computed"},
        {"dataset": "solve.verify", "shards": None, "cached": 0, "calls": "", "why": "after solve.solve"},
    ]


def test_of_the_whole_factory_bounds_the_calls_of_a_model_that_is_still_to_be_trained(factory):
    plan = factory.plan("problems.count=12", "problems.planted=2", "heldout.count=5", recipe="tiny", name="t")
    assert (plan["solve"].calls, plan["before_solve"].calls) == ("24", "20")
    assert (plan["sft"].shards, plan["sft"].why) == (None, "after t.training_set")
    assert (plan["after_solve"].calls, plan["after_solve"].why) == ("<= 20", "after t.sft")
