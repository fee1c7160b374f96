"""What tests of recipes share: a store, the counting server, recipes carried out in this process without Prefect, and the command line."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flows.__main__ import execute
from flows.config import load_config, load_recipe
from flows.make import Line, Make, Silent, Watcher, in_threads
from flows.plan import PlanLine, plan_recipe
from flows.session import Session
from storage.store import Store
from tests.fake_openai import FakeOpenAI


def problem(i: int) -> dict[str, str]:
    """Problem number i; the server's answer to it is whatever its rules say."""
    return {"id": f"p{i}", "problem": f"Ada has {i} pears and picks {2 * i + 1} more. How many pears?", "answer": str(3 * i + 1)}


@dataclass
class Factory:
    """One store and one server. `run` and `plan` work on the recipe `solve` with two samples unless told otherwise."""

    server: FakeOpenAI
    folder: Path
    sets: list[str] = field(default_factory=lambda: ["solve.samples=2", "run.buckets=4"])
    input: Path | None = None

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def open(self) -> Store:
        return Store.open(self.store)

    def write(self, numbers: Any, name: str = "problems.jsonl") -> Path:
        """Problems in this order; the last file written is the input of `run` and `plan`."""
        self.input = self.folder / name
        self.input.write_text("".join(json.dumps(problem(i)) + "\n" for i in numbers), encoding="utf-8")
        return self.input

    def session(self, store: Store, *sets: str, recipe: str = "solve", name: str | None = None, **more: Any) -> Session:
        model = [f"solve.model={self.server.ref}"] if recipe == "solve" else []
        return Session(store, load_config(recipe, sets=[*model, *self.sets, *sets], name=name), **more)

    def run(self, *sets: str, workers: int = 2, watcher: Watcher | None = None, **more: Any) -> list[Line]:
        """Carry the recipe out; `more` goes to the session (round_, scope, replay)."""
        with self.open() as store:
            session = self.session(store, *sets, **more)
            make = Make(session, in_threads(workers), {"problems": str(self.input)}, watcher or Silent())
            try:
                load_recipe(session.config.recipe)(make)
                return make.finish()
            finally:
                session.close()

    def plan(self, *sets: str, **more: Any) -> dict[str, PlanLine]:
        """The plan by stage."""
        with self.open() as store:
            session = self.session(store, *sets, **more)
            lines = plan_recipe(session, load_recipe(session.config.recipe), {"problems": str(self.input)})
            return {line.dataset.partition(".")[2]: line for line in lines}

    def calls(self) -> int:
        """Calls since this was last asked."""
        found = int(self.server.stats()["calls"])
        self.server.reset()
        return found

    def digests(self) -> dict[str, str]:
        with self.open() as store:
            return {head.dataset: head.digest for head in store.heads()}

    def versions(self) -> dict[str, int]:
        with self.open() as store:
            return {head.dataset: head.n for head in store.heads()}

    def table(self, spec: str) -> list[dict[str, Any]]:
        with self.open() as store:
            rows: list[dict[str, Any]] = store.table(spec).to_pylist()
            return rows


@pytest.fixture
def factory(tmp_path: Path) -> Iterator[Factory]:
    with FakeOpenAI() as server:
        yield Factory(server, tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """`with small_disk(kilobytes) as (folder, grow)`: a disk of its own, in memory; `grow()` gives it 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options: str) -> bool:
        return subprocess.run(["mount", *options, str(folder)], capture_output=True).returncode == 0

    @contextmanager
    def mounted(kilobytes: int) -> Iterator[tuple[Path, Any]]:
        if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs"):
            pytest.skip("a small disk can only be mounted by root, where mounts are allowed")
        try:
            yield folder, lambda: mount("-o", "remount,size=64m")
        finally:
            subprocess.run(["umount", str(folder)], check=True)

    return mounted


@dataclass(frozen=True)
class Done:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def mathmill(capsys: pytest.CaptureFixture[str]) -> Any:
    """`mathmill("rows", "solve.solve", "--store", folder)` in this process."""

    def command(*arguments: object) -> Done:
        capsys.readouterr()
        code = execute([str(a) for a in arguments])
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return command
