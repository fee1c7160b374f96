"""A stage's annotations are its declaration; importing stages costs nothing."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import pyarrow as pa
import pytest
from pydantic import ValidationError

from flows.apply import all_stages
from models.engine import Engine
from storage.schemas import Mark, Problem, Rollout, Solution, Verdict
from tasks.stage import Dataset, Made, Rejected, Runtime, Source, StageConfig, stage


class Config(StageConfig):
    """Settings."""

    samples: int = 1
    """How many."""
    concurrency: Annotated[int, Runtime()] = 8
    """Calls at once."""


def test_the_declaration_is_read_off_the_annotations():
    @stage
    async def solve(
        problem: Problem, marks: list[Mark], verdict: Verdict, against: Dataset, config: Config, model: Engine
    ) -> AsyncIterator[Rollout]:
        yield  # type: ignore[misc]

    assert solve.primary == ("problem", Problem)
    assert (solve.many, solve.one) == ({"marks": Mark}, {"verdict": Verdict})
    assert (solve.datasets, solve.engines, solve.config_type) == (("against",), ("model",), Config)
    assert solve.output is Rollout and solve.is_async and solve.is_generator


def test_a_table_parameter_takes_the_part_at_once_and_rows_may_be_optional():
    @stage(row=Problem)
    def check(table: pa.Table, solutions: list[Solution] | None, config: Config) -> Iterator[Made[Mark]]:
        yield  # type: ignore[misc]

    assert check.as_table and check.primary == ("table", Problem)
    assert check.optional == ("solutions",) and check.output is Mark


def test_an_importing_stage_takes_a_source():
    @stage(scope="dataset")
    def load(records: Source, config: Config) -> Iterator[Made[Problem] | Rejected]:
        yield  # type: ignore[misc]

    assert load.sources == ("records",) and load.primary is None and load.output is Problem


def test_a_parameter_of_no_known_kind_is_named():
    with pytest.raises(TypeError, match="stage 'odd': parameter 'path' is annotated"):

        @stage
        def odd(problem: Problem, path: str) -> Mark: ...


def test_a_stage_gives_exactly_one_row_class():
    with pytest.raises(TypeError, match=r"must name exactly one row class, found \['Mark', 'Verdict'\]"):

        @stage
        def torn(problem: Problem) -> Mark | Verdict: ...


def test_runtime_fields_are_no_part_of_what_decides_the_rows():
    assert Config(concurrency=1).identity() == Config(concurrency=9).identity() == {"samples": 1}
    assert Config(samples=2).identity() != Config().identity()


def test_configs_are_frozen_and_refuse_unknown_keys():
    with pytest.raises(ValidationError):
        Config(sampels=2)
    with pytest.raises(ValidationError):
        Config().samples = 3


def test_importing_every_stage_loads_neither_torch_nor_prefect():
    program = (
        "import sys, pkgutil, importlib, tasks\n"
        "for m in pkgutil.iter_modules(tasks.__path__): importlib.import_module('tasks.' + m.name)\n"
        "print([m for m in ('torch', 'prefect', 'transformers', 'vllm') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("found", all_stages(), ids=lambda s: s.name)
def test_every_stage_of_the_project_says_its_idea_and_documents_its_fields(found):
    assert found.doc.split("\n")[0].endswith((".", ")")), "the module's first line is the idea and its source"
    assert all(f.description for f in found.config_type.model_fields.values())
