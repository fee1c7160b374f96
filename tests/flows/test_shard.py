"""Shards: what is computed once, what is computed again, and what a kill leaves behind."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from flows.config import load_config
from flows.graph import Ref, bind
from flows.make import Make, Silent, in_threads
from flows.recipes.solve import solve as solve_recipe
from flows.session import Session
from flows.shard import Job, by_part, jobs, run_job, stage_inputs
from storage.schemas import Problem
from storage.store import Store
from tasks.import_problems import import_problems
from tasks.runner import StageError, run_stage
from tasks.solve import solve
from tasks.stage import Made, stage
from tests.fake_openai import Fault


@pytest.mark.parametrize(("concurrency", "workers"), [(1, 1), (8, 4)])
def test_rows_are_the_same_however_many_are_worked_on_at_once(factory, concurrency, workers):
    factory.write(range(30))
    factory.run("solve.concurrency=3", workers=2)
    first = factory.digests()
    assert factory.calls() == 60
    other = type(factory)(factory.server, factory.folder / "other", factory.sets, factory.input)
    other.run(f"solve.concurrency={concurrency}", f"run.workers={workers}", workers=workers)
    assert other.digests() == first and other.calls() == 60


def test_a_config_that_gives_equal_rows_recomputes_nothing_further_down(factory):
    factory.write(range(12))
    factory.run()
    factory.calls()
    lines = factory.run("import_problems.on_bad_line=reject")
    assert [(line.cached, line.jobs) for line in lines] == [(0, 1), (4, 4), (4, 4)]
    assert factory.calls() == 0
    assert factory.versions() == {"solve.import_problems": 2, "solve.solve": 1, "solve.verify": 1}


def test_runtime_settings_recompute_nothing(factory):
    factory.write(range(8))
    factory.run()
    lines = factory.run("solve.concurrency=1", "run.workers=1")
    assert all(line.cached == line.jobs for line in lines)


def test_more_samples_keep_the_rows_there_were(factory):
    factory.write(range(8))
    factory.run("solve.samples=1")
    factory.calls()
    before = {row["id"]: row for row in factory.table("solve.solve")}
    factory.run("solve.samples=3")
    after = {row["id"]: row for row in factory.table("solve.solve")}
    assert factory.calls() == 16 and len(after) == 24
    assert {i: after[i] for i in before} == before


def test_rows_of_a_problem_stay_in_its_part_at_every_stage(factory):
    factory.write(range(30))
    factory.run()
    with factory.open() as store:
        home = {}
        for slot in store.slots("solve.import_problems"):
            home |= dict.fromkeys(store.read(slot.content, ["id"]).column("id").to_pylist(), slot.part)
        for dataset in ("solve.solve", "solve.verify"):
            for slot in store.slots(dataset):
                assert {home[p] for p in store.read(slot.content, ["problem_id"]).column("problem_id").to_pylist()} == {slot.part}
    assert len(set(home.values())) == 4


def test_buckets_are_fixed_by_the_first_publication(factory):
    factory.write(range(12))
    factory.run()
    lines = factory.run("run.buckets=9")
    assert all(line.cached == line.jobs for line in lines)
    with factory.open() as store:
        assert len(store.slots("solve.verify")) == 4


def test_failing_rows_are_quarantined_with_the_reason_and_heal_by_themselves(factory):
    factory.write(range(12))
    factory.server.set(faults=[Fault("400", contains="Ada has 3 pears")])
    lines = {line.dataset: line.version for line in factory.run()}
    balance = lines["solve.solve"].balance
    assert (balance.rows_in, balance.kept, balance.quarantined, balance.rows_out) == (12, 11, 1, 22)
    assert not lines["solve.solve"].complete and lines["solve.verify"].complete
    with factory.open() as store:
        [dropped] = store.dropped_table("solve.solve").to_pylist()
    assert (dropped["fate"], dropped["reason"]) == ("quarantined", "engine failure")
    assert "HTTP 400" in dropped["detail"] and factory.server.url in dropped["detail"]
    factory.server.set(faults=[])
    factory.calls()
    lines = {line.dataset: line.version for line in factory.run()}
    assert factory.calls() == 2
    assert lines["solve.solve"].complete and lines["solve.solve"].balance.rows_out == 24


def test_one_failing_rollout_quarantines_its_whole_row_and_keeps_its_good_replies_in_the_ledger(factory):
    factory.write(range(4))
    factory.server.set(faults=[Fault("400", contains="Ada has 2 pears", times=1)])
    lines = {line.dataset: line for line in factory.run("solve.samples=3")}
    assert lines["solve.solve"].version.balance.quarantined == 1 and lines["solve.solve"].calls == 11
    factory.calls()
    factory.run("solve.samples=3")
    assert factory.calls() == 1


def die_before_publishing(folder: Path, file: Path, ref: str) -> None:
    """A run that is killed when all shards of `solve` are committed and its version is not published."""

    def mapped(call, todo, run_one):
        found = in_threads(2)(call, todo, run_one)
        if call.name == "solve":
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    with Store.open(folder) as store:
        config = load_config("solve", sets=[f"solve.model={ref}", "solve.samples=2", "run.buckets=4"])
        solve_recipe(Make(Session(store, config), mapped, {"problems": str(file)}, Silent()))


@pytest.mark.slow
def test_a_kill_between_commit_and_publish_shows_nothing_and_the_next_run_publishes_without_a_call(factory):
    factory.write(range(12))
    process = multiprocessing.get_context("spawn").Process(
        target=die_before_publishing, args=(factory.store, factory.input, factory.server.ref)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL and factory.calls() == 24
    assert factory.versions() == {"solve.import_problems": 1}
    with factory.open() as store:
        assert store.fsck(deep=True) == []
    lines = factory.run()
    assert factory.calls() == 0
    assert [(line.cached, line.jobs) for line in lines] == [(1, 1), (4, 4), (0, 4)]
    assert factory.versions() == {"solve.import_problems": 1, "solve.solve": 1, "solve.verify": 1}


def test_a_bug_in_a_stage_stops_the_run_naming_stage_and_row_and_publishes_nothing_of_it(factory):
    @stage(revision=1)
    def picky(problem: Problem) -> Problem:
        if problem.answer == "7":
            raise KeyError("no sevens")
        return problem

    factory.write(range(4))
    with factory.open() as store:
        session = factory.session(store)
        make = Make(session, in_threads(2), {"problems": str(factory.input)}, Silent())
        problems = make(import_problems, records=make.input("problems"))
        bad = next(row["id"] for row in store.table("solve.import_problems").to_pylist() if row["answer"] == "7")
        with pytest.raises(StageError, match=f"stage 'picky', row {bad}: KeyError: 'no sevens'"):
            make(picky, problems, name="verify")  # any name that the recipe has settings for
        assert store.datasets() == ["solve.import_problems"]


def test_a_job_that_somebody_else_made_meanwhile_is_not_made_again(factory):
    factory.write(range(8))
    factory.run()
    with factory.open() as store:
        session = factory.session(store)
        call = bind(solve, [Ref.of(store, store.resolve("solve.import_problems"))], None, None, {})
        made = [run_job(session, call, job) for job in jobs(session, call)]
        assert [shards[0].run_id for shards in made] != [session.run_id] * 4
    assert factory.calls() == 16


@pytest.mark.parametrize(("first", "second"), [(4, 8), (8, 4)])
def test_another_number_of_buckets_loses_and_repeats_no_row(factory, first, second):
    factory.write(range(40))
    factory.run(f"run.buckets={first}", name="one")
    factory.run(f"run.buckets={second}", name="two")
    assert len(factory.table("two.import_problems")) == 40
    assert {row["id"] for row in factory.table("two.import_problems")} == {row["id"] for row in factory.table("one.import_problems")}
    with factory.open() as store:
        assert len(store.slots("two.verify")) == second and store.resolve("two.verify").balance.kept == 80


def solve_with_nano(folder: Path, file: Path) -> None:
    with Store.open(folder) as store:
        session = Session(store, load_config("solve", sets=NANO))
        solve_recipe(Make(session, in_threads(2), {"problems": str(file)}, Silent()))


NANO = ["solve.samples=2", "run.buckets=2", "solve.concurrency=4", "solve.sampling.max_tokens=100"]


@pytest.mark.slow
def test_a_run_killed_while_the_model_of_this_process_generates_asks_again_only_what_the_ledger_lacks(factory):
    factory.write(range(60))
    process = multiprocessing.get_context("spawn").Process(target=solve_with_nano, args=(factory.store, factory.input))
    process.start()
    while process.is_alive() and asked(factory) < 20:
        time.sleep(0.05)
    process.kill()
    process.join()
    kept = asked(factory)
    assert 20 <= kept < 120
    with factory.open() as store:
        session = Session(store, load_config("solve", sets=NANO))
        make = Make(session, in_threads(2), {"problems": str(factory.input)}, Silent())
        solve_recipe(make)
        session.close()
        assert [line.calls for line in make.lines] == [0, 120 - kept, 0]
        assert [line.version.n_rows for line in make.lines] == [60, 120, 120]
        assert len({row["call_id"] for row in store.table("solve.solve").to_pylist()}) == 120


def asked(factory) -> int:
    """Replies in the ledger."""
    if not (factory.store / "ledger.sqlite").is_file():
        return 0
    with factory.open() as store:
        return sum(cost.calls for cost in store.ledger.cost_table())


def test_rows_of_parts_that_a_dataset_does_not_have_stop_it_instead_of_being_lost(factory):
    @stage(scope="dataset", revision=1)
    def remade(problems: list[Problem]) -> list[Made[Problem]]:
        return [Made(p, of=[p.id]) for p in problems]

    factory.write(range(12))
    factory.run()
    with factory.open() as store:
        session = factory.session(store)
        call = bind(remade, [Ref.of(store, store.resolve("solve.import_problems"))], "verify", None, {})
        job = Job({"round=0/000": {}, "round=0/001": {}}, {"round=0/000": "a", "round=0/001": "b"}, whole=True)
        outcome = run_stage(remade, session.config.stage("verify"), stage_inputs(session, call, job))
        assert outcome.rows.num_rows == 12
        with pytest.raises(StageError, match=r"verify: rows belong to parts that it does not have \(round=0/002\): solve.import_problems"):
            by_part(session, call, job, outcome)
