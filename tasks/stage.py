"""A stage: a plain function of one row and what belongs to it. Its annotations are its declaration; it runs nothing by itself."""

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from models.engine import Engine
from storage.schemas import ROW_TYPES

Scope = Literal["part", "dataset"]
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A verdict on a row: it is dropped, and `reason` (short, fixed) is counted. `of` names the input row in dataset-wide stages."""

    reason: str
    detail: str = ""
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Made(Generic[R]):
    """`Made[RowClass]`: an output of a dataset-wide stage with the ids of the input rows it was made from.

    `rows` is a row, or a table beside one id each.
    """

    rows: Any
    of: Sequence[str]


class Dataset(Protocol):
    """A whole dataset version handed to a stage: read lazily."""

    @property
    def name(self) -> str: ...
    @property
    def spec(self) -> str:
        """`name@n`."""
        ...

    @property
    def digest(self) -> str: ...
    @property
    def meta(self) -> dict[str, Any]:
        """What was recorded at publication: checks, certificate."""
        ...

    @property
    def files(self) -> list[Path]: ...
    def table(self, columns: Sequence[str] | None = None) -> pa.Table: ...


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of outside files, for importing stages: (id of the record, the record or the error that reading it gave)."""

    paths: tuple[Path, ...]
    digest: str
    records: Callable[[], Iterator[tuple[str, Any]]]


@dataclass(frozen=True, slots=True)
class Workdir:
    """A folder that belongs to this shard and outlives a kill: a trainer's checkpoints. `store` is the store's root."""

    path: Path
    store: Path


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """The local folder of a model that a trainer starts from; the parameter is named like the config field that holds its ref."""

    path: Path
    identity: str


class Runtime:
    """Marks a config field that says how to run, never what comes out: it is left out of every hash."""


class StageConfig(BaseModel):
    """Config of a stage: frozen, unknown keys are errors, every field documented by the string below it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    def identity(self) -> dict[str, Any]:
        """What of the config decides the rows: every field but the `Runtime` ones, as JSON values."""
        cls = type(self)
        runtime = {name for name, f in cls.model_fields.items() if any(isinstance(m, Runtime) for m in f.metadata)}
        return self.model_dump(mode="json", exclude=runtime)


@dataclass
class Stage:
    """What `@stage` read off a function. Calling it calls the function."""

    name: str
    fn: Callable[..., Any]
    doc: str
    scope: Scope
    config_type: type[StageConfig]
    output: type
    primary: tuple[str, type] | None = None
    """(parameter, row class) of the row that is counted."""
    as_table: bool = False
    """The primary parameter is the part's table at once."""
    one: dict[str, type] = field(default_factory=dict)
    """Parameters that take the one row of that class it belongs to (same problem id)."""
    many: dict[str, type] = field(default_factory=dict)
    """Parameters that take all rows of that class with the same problem id."""
    optional: tuple[str, ...] = ()
    """Parameters that a recipe may leave out: of `many`, annotated `list[Row] | None`, and of `datasets`, `Dataset | None = None`."""
    engines: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    workdir: str | None = None
    folders: tuple[str, ...] = ()
    """Parameters that take the folder of the model whose ref the config field of the same name holds."""
    config_param: str | None = None
    plain: Callable[..., Any] | None = None
    """Stage over plain file rows, for `mathmill apply` (see `plain_form`)."""
    tools: tuple[str, ...] = ()
    """Distributions whose version decides the result."""
    revision: int | None = None
    """Explicit revision in place of the source hash (trainings: nobody burns GPU days for a log line)."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **kwargs)

    @property
    def row_inputs(self) -> dict[str, type]:
        """Parameters that take rows, in order, the primary one first."""
        head = {self.primary[0]: self.primary[1]} if self.primary else {}
        return {**head, **self.one, **self.many}

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.fn) or inspect.isasyncgenfunction(self.fn)

    @property
    def is_generator(self) -> bool:
        return inspect.isasyncgenfunction(self.fn) or inspect.isgeneratorfunction(self.fn)

    def plain_form(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: `fn(row, config, ...)` over plain input and output dataclasses is what `mathmill apply` runs for this stage."""
        self.plain = fn
        return fn


def stage(
    fn: Callable[..., Any] | None = None,
    *,
    scope: Scope = "part",
    row: type | None = None,
    tools: Sequence[str] = (),
    revision: int | None = None,
) -> Any:
    """Declare a stage. `row` names the primary row class when the first parameter is a `pa.Table`."""

    def declare(function: Callable[..., Any]) -> Stage:
        return _read(function, scope, row, tuple(tools), revision)

    return declare(fn) if fn is not None else declare


def _read(function: Callable[..., Any], scope: Scope, row: type | None, tools: tuple[str, ...], revision: int | None) -> Stage:
    hints = typing.get_type_hints(function)
    returned = hints.pop("return", None)
    name = getattr(function, "__name__", "?")
    made = Stage(
        name=name,
        fn=function,
        doc=inspect.getdoc(inspect.getmodule(function)) or "",
        scope=scope,
        config_type=StageConfig,
        output=_output_row(name, returned),
        tools=tools,
        revision=revision,
    )
    rows = set(ROW_TYPES.values())
    for position, parameter in enumerate(inspect.signature(function).parameters):
        hint = hints.get(parameter)
        if get_origin(hint) is types.UnionType and position and types.NoneType in get_args(hint):
            hint = get_args(hint)[0]
            made.optional += (parameter,)
        if hint is Engine:
            made.engines += (parameter,)
        elif hint is Dataset:
            made.datasets += (parameter,)
        elif hint is Source:
            made.sources += (parameter,)
        elif hint is Workdir:
            made.workdir = parameter
        elif hint is ModelFolder:
            made.folders += (parameter,)
        elif inspect.isclass(hint) and issubclass(hint, StageConfig):
            made.config_type, made.config_param = hint, parameter
        elif hint is pa.Table and position == 0 and row is not None:
            made.primary, made.as_table = (parameter, row), True
        elif get_origin(hint) is list and get_args(hint)[0] in rows:
            if position == 0:
                made.primary = (parameter, get_args(hint)[0])
            else:
                made.many[parameter] = get_args(hint)[0]
        elif inspect.isclass(hint) and hint in rows:
            if position == 0:
                made.primary = (parameter, hint)
            else:
                made.one[parameter] = hint
        else:
            raise TypeError(
                f"stage {name!r}: parameter {parameter!r} is annotated {hint!r}: a stage takes row classes, list[row class], "
                "Engine, Dataset, Source, Workdir, ModelFolder, a StageConfig, or (first, with row=...) a pa.Table"
            )
    _look_like(made, function)
    return made


def _look_like(made: Stage, function: Callable[..., Any]) -> None:
    """Let tools that read functions (help, docs) see the wrapped one."""
    for attribute in ("__module__", "__qualname__", "__doc__"):
        setattr(made, attribute, getattr(function, attribute))
    made.__wrapped__ = function  # type: ignore[attr-defined]


def _output_row(name: str, hint: Any) -> type:
    """The one row class among the annotated results."""
    found = sorted({t for t in _leaves(hint) if t in set(ROW_TYPES.values())}, key=lambda t: t.__name__)
    if len(found) != 1:
        raise TypeError(f"stage {name!r}: its return annotation must name exactly one row class, found {[t.__name__ for t in found]}")
    return found[0]


def _leaves(hint: Any) -> list[Any]:
    origin = get_origin(hint)
    if origin is not None:
        return [leaf for arg in get_args(hint) for leaf in _leaves(arg)]
    return [hint]
