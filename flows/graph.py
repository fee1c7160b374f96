"""A recipe is a function of a `make`; this module says what one call of `make` means, whoever executes it.

Row inputs are given by position and matched to the stage's parameters by their row class; whole datasets, source files,
models and folders are given by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from storage.ids import check_dataset_name
from storage.schemas import ROW_TYPES
from storage.store import Store
from storage.versions import Version
from tasks.stage import Source, Stage


class UsageError(Exception):
    """The person asked for something that does not exist or does not fit: exit code 2, no traceback."""


@dataclass(frozen=True)
class Ref:
    """A dataset in a recipe: its name and row class, and what it holds once that is known."""

    dataset: str
    row: type
    contents: dict[str, str] | None = None
    """part -> object; None while a recipe is only read, or where a plan cannot know."""
    digest: str = ""
    version: Version | None = None

    @classmethod
    def of(cls, store: Store, version: Version) -> "Ref":
        """A published version."""
        contents = {slot.part: slot.content for slot in store.slots(version)}
        return cls(version.dataset, ROW_TYPES[version.row_type], contents, version.digest, version)

    @property
    def parts(self) -> dict[str, str]:
        """Its contents, which must be known by now."""
        if self.contents is None:
            raise ValueError(f"{self.dataset} is not made yet")
        return self.contents

    @property
    def published(self) -> Version:
        if self.version is None:
            raise ValueError(f"{self.dataset} is not published yet")
        return self.version


def own_dataset(store: Store, prefix: str, name: str, row: type) -> Ref:
    """The latest version of PREFIX.NAME, or no rows where nothing was published."""
    head = store.head(f"{prefix}.{name}")
    return Ref.of(store, head) if head else Ref(f"{prefix}.{name}", row, {})


def input_dataset(store: Store, recipe: str, inputs: Mapping[str, str], name: str, row: type) -> Ref:
    """The version that `--input NAME=DATASET[@VERSION]` names. Raises UsageError where it is not given or holds other rows."""
    if name not in inputs:
        raise UsageError(f"recipe {recipe!r} needs --input {name}=DATASET[@VERSION]")
    version = store.resolve(inputs[name])
    if version.row_type != row.__name__:
        raise UsageError(f"--input {name}={inputs[name]}: needs {row.__name__} rows, it holds {version.row_type}")
    return Ref.of(store, version)


@dataclass(frozen=True)
class InputFile:
    """An outside file by the name that `--input NAME=FILE` uses; `source` is None while a recipe is only being read."""

    name: str
    source: Source | None = None


class Maker(Protocol):
    """What a recipe is written against."""

    def __call__(self, stage: Stage, *rows: Ref, name: str | None = None, protected: Ref | None = None, **named: Any) -> Ref:
        """Make the dataset `name` (default: the stage's name) with `stage`. `protected` names what a training set is certified against."""
        ...

    def input(self, name: str) -> InputFile:
        """An outside file, `--input NAME=FILE`."""
        ...

    def dataset(self, name: str, row: type) -> Ref:
        """A dataset that is there already, `--input NAME=DATASET[@VERSION]`."""
        ...

    def answers(self, name: str, row: type) -> Ref:
        """The recipe's own dataset `name`, which people fill between its runs (`mathmill review`); without rows until they do."""
        ...


Recipe = Callable[[Maker], None]


@dataclass(frozen=True)
class Call:
    """One call of `make`, with every input bound to its parameter."""

    name: str
    stage: Stage
    rows: dict[str, Ref] = field(default_factory=dict)
    datasets: dict[str, Ref] = field(default_factory=dict)
    sources: dict[str, InputFile] = field(default_factory=dict)
    checkpoints: dict[str, Ref] = field(default_factory=dict)
    """Engines and model folders that are given by a checkpoint made earlier in the recipe."""
    protected: Ref | None = None

    @property
    def inputs(self) -> dict[str, Ref]:
        """Every dataset the call reads, by role."""
        extra = {"protected": self.protected} if self.protected else {}
        return {**self.rows, **self.datasets, **self.checkpoints, **extra}


def bind(stage: Stage, rows: Sequence[Ref], name: str | None, protected: Ref | None, named: dict[str, Any]) -> Call:
    """Match what a recipe hands over with what the stage declares. A TypeError names what is missing or too much."""
    free = dict(stage.row_inputs)
    bound: dict[str, Ref] = {}
    for ref in rows:
        fits = [p for p, row_type in free.items() if row_type is ref.row]
        if not fits:
            raise TypeError(f"stage {stage.name!r} takes {_names(stage.row_inputs)}, got {ref.dataset} of {ref.row.__name__} rows")
        bound[fits[0]] = ref
        del free[fits[0]]
    free = {p: t for p, t in free.items() if p not in stage.optional}
    if free:
        raise TypeError(f"stage {stage.name!r} also needs {_names(free)}")
    wanted = {*stage.datasets, *stage.sources}
    optional = {*stage.engines, *stage.folders}
    if not wanted - {*stage.optional} <= named.keys() or not named.keys() <= wanted | optional:
        raise TypeError(f"stage {stage.name!r} takes by name {sorted(wanted)} and, as checkpoints, {sorted(optional)}; got {sorted(named)}")
    return Call(
        name=check_dataset_name(name or stage.name),
        stage=stage,
        rows=bound,
        datasets={p: named[p] for p in stage.datasets if p in named},
        sources={p: named[p] for p in stage.sources},
        checkpoints={p: named[p] for p in optional if p in named},
        protected=protected,
    )


def _names(parameters: dict[str, type]) -> str:
    return ", ".join(f"{p} ({t.__name__})" for p, t in parameters.items()) or "no rows"


class Outline:
    """Reads a recipe without running it: which stages under which names, from which inputs."""

    def __init__(self, recipe: str) -> None:
        self.recipe = recipe
        self.calls: dict[str, Call] = {}
        self.inputs: dict[str, Literal["FILE", "DATASET"]] = {}
        """What `--input NAME=...` has to give."""

    def __call__(self, stage: Stage, *rows: Ref, name: str | None = None, protected: Ref | None = None, **named: Any) -> Ref:
        call = bind(stage, rows, name, protected, named)
        if call.name in self.calls:
            raise TypeError(f"recipe {self.recipe!r} makes {call.name!r} twice: give one of them another name=")
        self.calls[call.name] = call
        return Ref(f"{self.recipe}.{call.name}", stage.output)

    def input(self, name: str) -> InputFile:
        self.inputs[name] = "FILE"
        return InputFile(name)

    def dataset(self, name: str, row: type) -> Ref:
        self.inputs[name] = "DATASET"
        return Ref(name, row)

    def answers(self, name: str, row: type) -> Ref:
        return Ref(f"{self.recipe}.{name}", row)
