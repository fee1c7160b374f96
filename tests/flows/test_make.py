"""Recipes carried out: rounds beside each other, publications beside each other, replay, and two runs at once."""

import multiprocessing
from pathlib import Path

import pytest

from flows.config import load_config
from flows.make import Make, Silent, in_threads
from flows.recipes.solve import solve
from flows.session import Session
from models.engine import EngineError, MissingCall
from storage.store import Store
from tests.fake_openai import Fault


def rounds(factory, dataset: str) -> dict[str, int]:
    """Rows of each round."""
    found: dict[str, int] = {}
    with factory.open() as store:
        for slot in store.slots(dataset):
            name = slot.part.split("/")[0]
            found[name] = found.get(name, 0) + slot.n_rows
    return found


def backfill(factory, numbers, number: int, *sets: str):
    kept = factory.input
    factory.write(numbers, f"round{number}.jsonl")
    lines = factory.run(*sets, round_=number, scope=f"round={number}/")
    factory.input = kept
    return lines


def test_a_backfill_makes_its_round_and_leaves_the_others_alone(factory):
    factory.write(range(8))
    factory.run()
    factory.calls()
    before = factory.table("solve.solve")
    lines = backfill(factory, range(20, 25), 1)
    assert factory.calls() == 10 and [line.version.kind for line in lines] == ["patch"] * 3
    assert [rounds(factory, d) for d in ("solve.import_problems", "solve.solve", "solve.verify")] == [
        {"round=0": 8, "round=1": 5}, {"round=0": 16, "round=1": 10}, {"round=0": 16, "round=1": 10},
    ]  # fmt: skip
    assert [row for row in factory.table("solve.solve") if row in before] == before


def test_a_backfill_with_other_settings_remakes_its_round_alone(factory):
    factory.write(range(8))
    factory.run()
    backfill(factory, range(20, 25), 1)
    factory.calls()
    backfill(factory, range(20, 25), 1, "solve.samples=3")
    assert factory.calls() == 5
    assert rounds(factory, "solve.solve") == {"round=0": 16, "round=1": 15}


def test_a_full_run_after_a_backfill_keeps_the_round_it_did_not_import(factory):
    factory.write(range(8))
    factory.run()
    backfill(factory, range(20, 25), 1)
    factory.calls()
    factory.run("solve.samples=3")
    assert factory.calls() == 13
    assert rounds(factory, "solve.verify") == {"round=0": 24, "round=1": 15}


class Between:
    """Watches a run, and does something once when a stage is about to be published."""

    def __init__(self, dataset: str, act) -> None:
        self.dataset, self.act = dataset, act

    def mapped(self, call, todo, run_one):
        found = in_threads(2)(call, todo, run_one)
        if f"solve.{call.name}" == self.dataset:
            self.act()
        return found


def run_beside(factory, dataset: str, act, *sets: str):
    """A full run, `act` happening when the shards of `dataset` are made and not yet published."""
    with factory.open() as store:
        session = factory.session(store, *sets)
        make = Make(session, Between(dataset, act).mapped, {"problems": str(factory.input)}, Silent())
        try:
            solve(make)
        finally:
            session.close()
        return make.finish()


def test_a_round_that_a_backfill_published_during_a_full_run_survives_it(factory):
    factory.write(range(8))
    factory.run()
    run_beside(factory, "solve.solve", lambda: backfill(factory, range(20, 25), 1), "solve.samples=3")
    assert rounds(factory, "solve.solve") == {"round=0": 24, "round=1": 10}
    assert rounds(factory, "solve.verify") == {"round=0": 24, "round=1": 10}
    with factory.open() as store:
        good = store.refs("solve.verify")["good"]
        assert good == store.resolve("solve.verify").n and store.fsck() == []


def test_parts_that_a_backfill_of_the_same_round_remade_during_a_full_run_stay_as_the_backfill_made_them(factory):
    factory.write(range(8))
    factory.run()
    run_beside(factory, "solve.solve", lambda: backfill(factory, [*range(8), 8], 0), "solve.samples=3")
    problems = {row["id"] for row in factory.table("solve.import_problems")}
    replies = factory.table("solve.solve")
    assert len(problems) == 9 and {row["problem_id"] for row in replies} == problems
    with factory.open() as store:
        assert store.fsck() == []


def test_replay_gives_the_same_rows_without_a_call_or_a_server(factory):
    factory.write(range(6))
    factory.run()
    other = type(factory)(factory.server, factory.folder / "other", factory.sets, factory.input)
    with factory.open() as one, other.open() as two:
        two.ledger.put_many(one.ledger.get([row["call_id"] for row in one.table("solve.solve").to_pylist()]).values())
    factory.calls()
    factory.server.set(faults=[Fault("500")])
    other.run(replay=True)
    assert other.digests() == factory.digests()
    assert factory.server.stats()["calls"] == 0


def test_a_replay_that_misses_a_call_is_an_error_naming_stage_and_problem_and_publishes_nothing_of_it(factory):
    factory.write(range(6))
    with pytest.raises(MissingCall, match=r"stage 'solve.solve': not in the ledger: a generate of m@unversioned for '.*pears"):
        factory.run(replay=True)
    assert factory.calls() == 0 and factory.versions() == {"solve.import_problems": 1}


def test_an_endpoint_without_a_server_stops_the_run_before_any_row_is_blamed(factory):
    factory.write(range(6))
    with pytest.raises(EngineError, match=r"nobody answers at http://127.0.0.1:9/v1 .*start the server, or change the URL"):
        factory.run("solve.model=http:http://127.0.0.1:9/v1#m")
    assert factory.versions() == {"solve.import_problems": 1}
    factory.run()
    assert factory.versions() == {"solve.import_problems": 1, "solve.solve": 1, "solve.verify": 1}


def test_a_finished_run_moves_the_tag_good_on_all_its_datasets_and_an_interrupted_one_on_none(factory):
    factory.write(range(6))
    factory.run()
    factory.write(range(7))
    with pytest.raises(EngineError):
        factory.run("solve.model=http:http://127.0.0.1:9/v1#n")
    with factory.open() as store:
        assert {d: store.refs(d) for d in store.datasets()} == {f"solve.{n}": {"good": 1} for n in ("import_problems", "solve", "verify")}
        assert store.resolve("solve.import_problems").n == 2


def test_the_head_of_the_run_names_the_versions_it_was_made_from(factory):
    factory.write(range(6))
    lines = {line.dataset: line.version for line in factory.run()}
    assert lines["solve.verify"].inputs == {"rollout": ("solve.solve", 1), "problem": ("solve.import_problems", 1)}
    assert lines["solve.verify"].meta["stage"] == "verify" and lines["solve.solve"].meta["config"]["samples"] == 2


# Two processes on one store


class Saying(Silent):
    def __init__(self, said) -> None:
        self.said = said

    def say(self, line: str) -> None:
        self.said.append(line)


def one_of_two(folder: Path, file: Path, ref: str, results, start) -> None:
    said: list[str] = []
    with Store.open(folder) as store:
        config = load_config("solve", sets=[f"solve.model={ref}", "solve.samples=2", "run.buckets=4"])
        session = Session(store, config)
        start.wait()
        make = Make(session, in_threads(2), {"problems": str(file)}, Saying(said))
        solve(make)
        results.put((said, [(line.version.spec, line.calls) for line in make.finish()]))
        session.close()


@pytest.mark.slow
def test_of_two_equal_runs_at_once_one_waits_and_says_so_and_nothing_is_asked_or_published_twice(factory):
    factory.server.set(latency_s=0.05)
    factory.write(range(12))
    context = multiprocessing.get_context("spawn")
    results, start = context.Queue(), context.Event()
    arguments = (factory.store, factory.input, factory.server.ref, results, start)
    both = [context.Process(target=one_of_two, args=arguments) for _ in range(2)]
    for process in both:
        process.start()
    start.set()
    found = [results.get(timeout=120) for _ in both]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert factory.calls() == 24 == sum(calls for _, lines in found for _, calls in lines)
    assert [spec for spec, _ in found[0][1]] == [spec for spec, _ in found[1][1]] == [
        "solve.import_problems@1", "solve.solve@1", "solve.verify@1",
    ]  # fmt: skip
    said = [line for lines, _ in found for line in lines]
    assert any("another run is making this; waiting for it" in line for line in said)
