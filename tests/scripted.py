"""A model that says what a test wrote for it, behind the real engine and the real ledger."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from models.engine import Engine, EngineError, Identity, Prompt, Reply, Sampling
from storage.ledger import open_ledger
from storage.schemas import to_table
from tasks.runner import Inputs, Outcome, run_stage
from tasks.stage import Stage, StageConfig

CUT_OFF = "…"
"""A text that ends so was cut off."""


class Scripted:
    """A backend: `replies(prompt)` are the texts that a prompt gets, in turn. No text: the call fails."""

    identity = Identity("scripted", "1")
    seeded = True

    def __init__(self, replies: Callable[[Prompt], Sequence[str]]) -> None:
        self.replies = replies
        self.asked: list[Prompt] = []
        self._turn: Counter[Prompt] = Counter()

    async def check(self) -> None:
        """Always there."""

    async def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Reply:
        self.asked.append(prompt)
        texts = self.replies(prompt)
        if not texts:
            raise EngineError("HTTP 500")
        text = texts[self._turn[prompt] % len(texts)]
        self._turn[prompt] += 1
        return Reply(text, "length" if text.endswith(CUT_OFF) else "stop", 1, len(text.split()))

    async def score(self, prompt: Prompt, continuation: str) -> list[float]:
        raise EngineError("it only writes")

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise EngineError("it only writes")

    async def close(self) -> None:
        """Nothing to close."""


def run(stage: Stage, config: StageConfig, backend: Scripted, folder: Path, **rows: Sequence[Any]) -> Outcome:
    """What becomes of `rows` (by parameter) when the stage asks `backend`; replies are kept in `folder` from call to call."""
    ledger = open_ledger(folder / "ledger.sqlite")
    try:
        engines = {p: Engine(backend, ledger, stream=getattr(config, "stream", "main")) for p in stage.engines}
        tables = {p: to_table(given, stage.row_inputs[p]) for p, given in rows.items()}
        return run_stage(stage, config, Inputs(tables=tables, engines=engines))
    finally:
        ledger.close()
