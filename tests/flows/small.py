"""A small finished run of the recipe `solve` for tests, in this process, against the counting server."""

import json
from pathlib import Path

from flows.config import RecipeConfig, load_config
from flows.make import Line, Make, Silent, in_threads
from flows.recipes.solve import solve
from flows.session import Session
from storage.store import Store
from tests.fake_openai import FakeOpenAI


def run_solve(
    store: Store, folder: Path, problems: list[dict[str, str]], server: FakeOpenAI, *sets: str
) -> tuple[RecipeConfig, list[Line]]:
    """Run import -> solve -> verify, two rollouts a problem, and return what a report is made of."""
    file = folder / "problems.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in problems), encoding="utf-8")
    config = load_config("solve", sets=[f"solve.model={server.ref}", "solve.samples=2", "run.buckets=2", *sets])
    session = Session(store, config)
    make = Make(session, in_threads(2), {"problems": str(file)}, Silent())
    try:
        solve(make)
    finally:
        session.close()
    return config, make.finish()
