import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from models.engine import Engine, EngineError, Identity, Prompt, Reply, Sampling
from storage.ids import derived_id
from storage.ledger import Call
from storage.schemas import Problem, Rollout
from tasks.solve import SolveConfig, solve

PROBLEM = Problem("a" * 16, "ours", None, "What is 2 + 3?", "5", "integer", True)


class DictLedger:
    """The ledger's contract over a dict."""

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}

    def get(self, keys: Sequence[str]) -> dict[str, Call]:
        return {k: self.calls[k] for k in keys if k in self.calls}

    def put(self, call: Call) -> None:
        self.calls[call.key] = call


class Adder:
    """A backend that solves sums it can read, cuts off every third reply, and fails where it is told to."""

    identity = Identity("adder", "1")
    seeded = True

    def __init__(self, failing: bool = False) -> None:
        self.prompts: list[Prompt] = []
        self.failing = failing

    async def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Reply:
        self.prompts.append(prompt)
        if self.failing and len(self.prompts) == 2:
            raise EngineError("HTTP 500")
        text = "2 + 3 = 5, so \\boxed{5}"[: sampling.max_tokens]
        return Reply(text, "length" if len(self.prompts) % 3 == 0 else "stop", 4, len(text.split()))


def rollouts(config: SolveConfig, backend: Adder, ledger: DictLedger) -> list[Rollout]:
    engine = Engine(backend, ledger, stream=config.stream)  # type: ignore[arg-type]

    async def collect() -> list[Rollout]:
        return [r async for r in solve(PROBLEM, config, engine)]

    return asyncio.run(collect())


def test_each_rollout_has_its_ordinal_its_call_and_how_it_finished():
    ledger = DictLedger()
    rows = rollouts(SolveConfig(samples=3), Adder(), ledger)
    assert [r.ordinal for r in rows] == [0, 1, 2]
    assert [r.id for r in rows] == [derived_id("solve", PROBLEM.id, ordinal=i) for i in range(3)]
    assert sorted(r.finish_reason for r in rows) == ["length", "stop", "stop"]
    assert {r.call_id for r in rows} == set(ledger.calls)
    assert all(r.problem_id == PROBLEM.id and r.label is None and r.n_tokens == 7 for r in rows)


def test_more_samples_later_ask_only_for_the_new_ones():
    ledger, backend = DictLedger(), Adder()
    first = rollouts(SolveConfig(samples=2), backend, ledger)
    second = rollouts(SolveConfig(samples=5), backend, ledger)
    assert len(backend.prompts) == 5
    assert second[:2] == first


def test_another_stream_draws_anew():
    ledger, backend = DictLedger(), Adder()
    main = rollouts(SolveConfig(samples=2), backend, ledger)
    other = rollouts(SolveConfig(samples=2, stream="evaluation"), backend, ledger)
    assert len(backend.prompts) == 4
    assert {r.call_id for r in main}.isdisjoint(r.call_id for r in other)


def test_one_failed_rollout_fails_the_row_and_keeps_the_good_replies_in_the_ledger():
    ledger = DictLedger()
    with pytest.raises(EngineError, match="HTTP 500"):
        rollouts(SolveConfig(samples=4), Adder(failing=True), ledger)
    assert len(ledger.calls) == 3


def test_the_prompt_may_be_a_file_and_is_filled_with_the_problem(tmp_path: Path):
    file = tmp_path / "mine.md"
    file.write_text("<!-- source: ours -->\nSolve: [[problem]]\n", encoding="utf-8")
    backend = Adder()
    rollouts(SolveConfig(prompt=f"@{file}", samples=1), backend, DictLedger())  # type: ignore[arg-type]
    assert backend.prompts[0].messages == (("user", "Solve: What is 2 + 3?"),)


@pytest.mark.parametrize("text", ["Solve it.", "Solve [[problem]] as [[person]]."])
def test_a_prompt_with_other_holes_is_refused_before_any_call(tmp_path: Path, text: str):
    file = tmp_path / "mine.md"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValidationError, match="has the holes"):
        SolveConfig(prompt=f"@{file}")  # type: ignore[arg-type]


def test_an_unknown_prompt_names_the_choices():
    with pytest.raises(ValidationError, match="no prompt 'sovle': have"):
        SolveConfig(prompt="sovle")  # type: ignore[arg-type]


def test_concurrency_is_not_part_of_what_is_hashed():
    assert SolveConfig(concurrency=1).identity() == SolveConfig(concurrency=8).identity()
    assert SolveConfig(samples=1).identity() != SolveConfig(samples=8).identity()


def test_a_reply_that_was_begun_for_the_model_is_kept_with_its_beginning():
    backend = Adder()
    row, *_ = rollouts(SolveConfig(prompt="solve_steps", samples=1), backend, DictLedger())  # type: ignore[arg-type]
    assert backend.prompts[0].prefill == "Step 1:"
    assert row.text == "Step 1:2 + 3 = 5, so \\boxed{5}"
