"""The runner accounts for every input row, whatever a stage does, and gives the same rows at any concurrency."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engine import Engine, EngineError, Identity, MissingCall, Prompt, Reply, Sampling
from storage.ids import derived_id
from storage.ledger import open_ledger
from storage.objects import content_hash
from storage.schemas import Mark, Problem, Rollout, Verdict, arrow_schema, to_table
from tasks.runner import Inputs, StageError, run_stage
from tasks.stage import Made, Rejected, Runtime, Source, StageConfig, stage


def problem(i: int) -> Problem:
    return Problem(f"p{i:03d}", "test", None, f"What is {i} + {i}?", str(2 * i), "integer", True)


def problems(n: int) -> pa.Table:
    return to_table([problem(i) for i in range(n)], Problem)


class NoConfig(StageConfig):
    concurrency: Annotated[int, Runtime()] = 4
    """Rows at once."""


def mark(of: Problem, ordinal: int = 0) -> Mark:
    return Mark(derived_id("t", of.id, ordinal=ordinal), of.id, of.id, False, None, None, None, None, None)


@stage
def by_number(problem: Problem, config: NoConfig) -> Iterator[Mark | Rejected]:
    """0 mod 3: rejected; 1 mod 3: one row; 2 mod 3: two rows."""
    number = int(problem.id[1:])
    if number % 3 == 0:
        yield Rejected("multiple of three", str(number))
    for ordinal in range(number % 3):
        yield mark(problem, ordinal)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60))
def test_every_row_is_kept_or_rejected_with_its_reason(n):
    outcome = run_stage(by_number, NoConfig(), Inputs(tables={"problem": problems(n)}))
    thirds = len(range(0, n, 3))
    assert outcome.rejected == ({"multiple of three": thirds} if thirds else {})
    assert len(outcome.parents) == n - thirds
    assert outcome.rows.num_rows == len(range(1, n, 3)) + 2 * len(range(2, n, 3))
    assert outcome.rows.column("id").to_pylist() == sorted(outcome.rows.column("id").to_pylist())


@stage
def silent(problem: Problem, config: NoConfig) -> Iterator[Mark | Rejected]:
    yield from ()


@stage
def undecided(problem: Problem, config: NoConfig) -> Iterator[Mark | Rejected]:
    yield mark(problem)
    yield Rejected("no")


@pytest.mark.parametrize("broken", [silent, undecided])
def test_a_stage_that_gives_no_row_and_no_reason_or_both_is_stopped_by_name(broken):
    with pytest.raises(StageError, match=f"stage '{broken.name}', row p000: gave . rows and . rejections"):
        run_stage(broken, NoConfig(), Inputs(tables={"problem": problems(1)}))


@stage
def twice_the_same(problem: Problem, config: NoConfig) -> Mark:
    return Mark("same", problem.id, problem.id, False, None, None, None, None, None)


def test_two_rows_with_one_id_are_an_error():
    with pytest.raises(StageError, match="two rows with the id same"):
        run_stage(twice_the_same, NoConfig(), Inputs(tables={"problem": problems(2)}))


@stage
def explodes(problem: Problem, config: NoConfig) -> Mark:
    raise KeyError("nope")


def test_an_unexpected_exception_names_stage_and_row():
    with pytest.raises(StageError, match="stage 'explodes', row p000: KeyError: 'nope'"):
        run_stage(explodes, NoConfig(), Inputs(tables={"problem": problems(1)}))


@stage
def joined(problem: Problem, verdict: Verdict, rollouts: list[Rollout], config: NoConfig) -> Mark | Rejected:
    assert all(r.problem_id == problem.id for r in rollouts) and verdict.problem_id == problem.id
    return Rejected("counted", str(len(rollouts)))


def rollout(problem_id: str, ordinal: int) -> Rollout:
    return Rollout(f"{problem_id}r{ordinal}", problem_id, ordinal, "t", "stop", 1, None)


def test_rows_that_belong_to_a_row_are_joined_by_problem():
    verdicts = [Verdict(f"v{i}", f"p{i:03d}", "r", "correct", "1", "exact") for i in range(3)]
    rollouts = [rollout("p001", 0), rollout("p001", 1), rollout("p002", 0), rollout("elsewhere", 0)]
    tables = {"problem": problems(3), "verdict": to_table(verdicts, Verdict), "rollouts": to_table(rollouts, Rollout)}
    outcome = run_stage(joined, NoConfig(), Inputs(tables=tables))
    assert outcome.dropped.column("detail").to_pylist() == ["0", "2", "1"]


def test_a_row_that_lacks_the_one_row_it_needs_is_named():
    tables = {"problem": problems(1), "verdict": to_table([], Verdict), "rollouts": to_table([], Rollout)}
    with pytest.raises(StageError, match="row p000: needs one Verdict of problem p000, found 0"):
        run_stage(joined, NoConfig(), Inputs(tables=tables))


class Unsteady:
    """A backend that answers after random waits, and fails prompts that hold a word of `fails`."""

    identity = Identity("unsteady", "1")
    seeded = True

    def __init__(self, fails: str = "\0", error: type[EngineError] = EngineError) -> None:
        self.fails, self.error, self.running, self.most = fails, error, 0, 0

    async def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Reply:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(random.random() / 200)
        self.running -= 1
        if self.fails in (prompt.text or ""):
            raise self.error("told to fail")
        return Reply(f"{prompt.text} -> {seed}", "stop", 1, 1)

    async def close(self) -> None:
        """Nothing to close."""


@stage
async def ask(problem: Problem, config: NoConfig, model: Engine) -> AsyncIterator[Rollout]:
    ordinal = 0
    async for reply in model.sample(Prompt(text=problem.problem), 3, Sampling()):
        yield Rollout(derived_id("ask", problem.id, ordinal=ordinal), problem.id, ordinal, reply.text, "stop", 1, reply.call_id)
        ordinal += 1


def asked(folder, backend, n=20, concurrency=8):
    ledger = open_ledger(folder / f"{random.random()}.sqlite")
    engine = Engine(backend, ledger, concurrency=concurrency)
    return run_stage(ask, NoConfig(concurrency=concurrency), Inputs(tables={"problem": problems(n)}, engines={"model": engine}))


def test_the_same_rows_come_out_at_concurrency_one_and_eight(tmp_path):
    one, eight = asked(tmp_path, Unsteady(), concurrency=1), asked(tmp_path, Unsteady(), concurrency=8)
    assert content_hash(one.rows) == content_hash(eight.rows)
    assert one.rows.num_rows == 60


def test_calls_under_way_stay_within_the_limit(tmp_path):
    backend = Unsteady()
    asked(tmp_path, backend, concurrency=5)
    assert 1 < backend.most <= 5


def test_an_engine_failure_quarantines_its_row_alone(tmp_path):
    outcome = asked(tmp_path, Unsteady(fails="is 7 +"))
    assert (outcome.quarantined, outcome.rejected, len(outcome.parents)) == (1, {}, 19)
    assert outcome.dropped.to_pylist()[0]["id"] == "p007"


def test_a_miss_under_replay_stops_the_run(tmp_path):
    with pytest.raises(MissingCall):
        asked(tmp_path, Unsteady(fails="is 7 +", error=MissingCall))


# Dataset-wide stages


@stage(scope="dataset")
def imported(records: Source, config: NoConfig) -> Iterator[Made[Problem] | Rejected]:
    for record_id, record in records.records():
        if record == "forgotten":
            continue
        yield Rejected("bad", of=record_id) if record == "bad" else Made(problem(record), of=[record_id])


def source(*records) -> Source:
    return Source((), "d", lambda: iter((f"f:{i}", r) for i, r in enumerate(records, 1)))


def test_records_of_a_file_are_counted_as_input_rows():
    outcome = run_stage(imported, NoConfig(), Inputs(sources={"records": source(1, "bad", 2)}))
    assert (len(outcome.parents), outcome.rejected) == (2, {"bad": 1})


def test_a_dataset_wide_stage_that_forgets_a_row_is_stopped():
    with pytest.raises(StageError, match="1 rows are neither kept nor rejected, the first: f:2"):
        run_stage(imported, NoConfig(), Inputs(sources={"records": source(1, "forgotten")}))


class CountConfig(StageConfig):
    count: int = 5
    """Rows asked for."""
    gives: int = 5
    """Rows given."""


@stage(scope="dataset")
def generated(config: CountConfig) -> Iterator[Problem]:
    yield from (problem(i) for i in range(config.gives))


def test_a_generator_balances_against_the_count_it_was_asked_for():
    assert len(run_stage(generated, CountConfig(), Inputs()).parents) == 5
    with pytest.raises(StageError, match="was asked for 5 rows: gave 4"):
        run_stage(generated, CountConfig(gives=4), Inputs())


@stage(row=Problem)
def at_once(table: pa.Table, rollouts: list[Rollout] | None, config: NoConfig) -> Iterator[Made[Mark]]:
    assert rollouts is None
    rows = [mark(problem(int(i[1:]))) for i in table.column("id").to_pylist()]
    yield Made(
        pa.table({n: [getattr(r, n) for r in rows] for n in arrow_schema(Mark).names}, schema=arrow_schema(Mark)),
        of=table.column("id").to_pylist(),
    )


def test_a_table_stage_takes_a_part_at_once_and_may_go_without_optional_rows():
    outcome = run_stage(at_once, NoConfig(), Inputs(tables={"table": problems(5)}))
    assert outcome.rows.num_rows == len(outcome.parents) == 5
