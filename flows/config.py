"""A run's configuration: the recipe's packaged TOML, below a file, below `--set`; every key checked before anything runs."""

import difflib
import functools
import importlib
import pkgutil
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

import flows.recipes
from flows.graph import Outline, Recipe, UsageError
from flows.sources import data_files
from models.refs import EngineSpec, model_folder
from storage.errors import StoreError
from storage.publish import check_new_name
from tasks.fingerprint import code_identity
from tasks.stage import Runtime, StageConfig

_PACKAGED = Path(str(flows.recipes.__path__[0]))


class RunOptions(BaseModel):
    """The `[run]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    buckets: int = Field(8, ge=1, le=1000)
    """Parts a round is split into by problem id; fixed when a dataset is first published."""
    workers: Annotated[int, Runtime()] = Field(2, ge=1)
    """Parts worked on at once."""


class Form(BaseModel):
    """All settings of one recipe; `form_of` adds a field for every stage. Prefect shows it as the run form."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    engines: dict[str, EngineSpec] = {}
    """Roles that stages name, and the models behind them."""
    run: RunOptions = RunOptions()
    """How the rows are split and how many parts are worked on at once."""


@dataclass(frozen=True)
class RecipeConfig:
    """Everything a run was told, validated."""

    recipe: str
    name: str
    """Prefix of the datasets' names: the recipe's, unless `--name` replaced it."""
    form: Form

    @property
    def engines(self) -> dict[str, EngineSpec]:
        return self.form.engines

    @property
    def run(self) -> RunOptions:
        return self.form.run

    def stage(self, name: str) -> StageConfig:
        """The config of the stage that makes the dataset `name`."""
        config: StageConfig = getattr(self.form, name)
        return config


def recipe_names() -> list[str]:
    """Every recipe NAME, and NAME-SIZE where NAME-SIZE.toml holds other settings for the graph of NAME."""
    graphs = {m.name for m in pkgutil.iter_modules(flows.recipes.__path__)}
    sizes = {f.stem for f in _PACKAGED.glob("*-*.toml") if f.stem.partition("-")[0] in graphs}
    return sorted(graphs | sizes)


def load_recipe(name: str) -> Recipe:
    """The function NAME of flows/recipes/NAME.py; for NAME-SIZE its NAME_SIZE where it has one (other inputs), else NAME too."""
    if name not in recipe_names():
        raise UsageError(f"no recipe {name!r}: have {recipe_names()}{did_you_mean(name, recipe_names())}")
    graph = name.partition("-")[0]
    module = importlib.import_module(f"flows.recipes.{graph}")
    recipe: Recipe = getattr(module, prefix(name), None) or getattr(module, graph)
    return recipe


def prefix(recipe: str) -> str:
    """What the names of a recipe's datasets begin with: an SQL identifier."""
    return recipe.replace("-", "_")


def outline(name: str) -> Outline:
    """The recipe read without running it."""
    found = Outline(name)
    load_recipe(name)(found)
    for call in found.calls.values():
        code_identity(call.stage)  # kept from now on: a file edited while the run is under way is not the code that the run has loaded
    return found


@functools.cache
def form_of(recipe: str) -> type[Form]:
    """The recipe's settings as a pydantic model whose defaults are the packaged TOML."""
    tables = packaged(recipe)
    fields: dict[str, Any] = {}
    for name, call in outline(recipe).calls.items():
        if name in Form.model_fields:
            raise TypeError(f"recipe {recipe!r}: a stage cannot be called {name!r}")
        config = call.stage.config_type
        idea = call.stage.doc.split("\n")[0]
        fields[name] = (config, Field(_validated(config, name, tables.get(name, {})), title=name, description=idea))
    engines = {role: _validated(EngineSpec, f"engines.{role}", table) for role, table in tables.get("engines", {}).items()}
    fields["engines"] = (dict[str, EngineSpec], Field(engines, title="engines", description="Roles that stages name, their models."))
    options = _validated(RunOptions, "run", tables.get("run", {}))
    fields["run"] = (RunOptions, Field(options, title="run", description="How the rows are split."))

    def over_packaged(cls: type[Form], given: Any) -> Any:
        """A run form or a REST call may name a few fields only: the rest is as packaged, not as the stage's class has it."""
        if not isinstance(given, dict):
            return given
        whole = packaged(recipe)
        _merge(whole, given)
        return whole

    before: Any = model_validator(mode="before")
    checks = {"over_packaged": before(classmethod(over_packaged))}
    return create_model(f"{prefix(recipe).title().replace('_', '')}Form", __base__=Form, __validators__=checks, **fields)


def packaged(recipe: str) -> dict[str, Any]:
    """The tables of flows/recipes/RECIPE.toml."""
    load_recipe(recipe)
    return _read_toml(_PACKAGED / f"{recipe}.toml")


def load_config(recipe: str, config_file: Path | None = None, sets: Sequence[str] = (), name: str | None = None) -> RecipeConfig:
    """Merge and check. Raises UsageError naming the key, the choices and the way out."""
    tables = packaged(recipe)
    if config_file:
        _merge(tables, _read_toml(config_file))
    for assignment in sets:
        assign(tables, assignment)
    form = form_of(recipe)
    for section in tables:
        if section not in form.model_fields:
            have = sorted(form.model_fields)
            raise UsageError(f"no section {section!r} in recipe {recipe!r}: have {have}{did_you_mean(section, have)}")
    values: dict[str, Any] = {n: _validated(c.stage.config_type, n, tables.get(n, {})) for n, c in outline(recipe).calls.items()}
    values["engines"] = {role: _validated(EngineSpec, f"engines.{role}", table) for role, table in tables.get("engines", {}).items()}
    values["run"] = _validated(RunOptions, "run", tables.get("run", {}))
    return checked(RecipeConfig(recipe, name or prefix(recipe), form(**values)))


def checked(config: RecipeConfig) -> RecipeConfig:
    """The same, once its datasets' names are names and its models are there. Raises UsageError."""
    _check_names(config)
    _check_models(config)
    return config


def check_inputs(recipe: str, inputs: Mapping[str, str]) -> None:
    """Raises UsageError for an input that the recipe does not have, one that is missing, and a file that cannot be read."""
    known = outline(recipe).inputs
    for name in inputs:
        if name not in known:
            raise UsageError(f"recipe {recipe!r} has no input {name!r}: have {sorted(known)}{did_you_mean(name, known)}")
    for name, kind in known.items():
        if name not in inputs:
            raise UsageError(f"recipe {recipe!r} needs --input {name}={kind}")
        if kind == "FILE":
            data_files(Path(inputs[name]))


def _check_names(config: RecipeConfig) -> None:
    for stage in outline(config.recipe).calls:
        try:
            check_new_name(f"{config.name}.{stage}")
        except (ValueError, StoreError) as error:
            raise UsageError(f"--name {config.name}: {error}") from error


def _check_models(config: RecipeConfig) -> None:
    """A model that does not exist is told now, not when its stage's turn comes. Checkpoints are found when they are needed."""
    for name, call in outline(config.recipe).calls.items():
        for parameter in {*call.stage.engines, *call.stage.folders} - call.checkpoints.keys():
            wanted = str(getattr(config.stage(name), parameter))
            try:
                spec = config.engines.get(wanted) or EngineSpec.parse(wanted, roles=sorted(config.engines))
                if spec.parsed.asked.scheme in ("hf", "nano"):
                    model_folder(spec)
            except ValueError as error:
                raise UsageError(f"[{name}] {parameter} = {wanted!r}: {error}") from error


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the config file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error


def _merge(below: dict[str, Any], above: dict[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _merge(below[key], value)
        else:
            below[key] = value


def assign(tables: dict[str, Any], assignment: str, form: str = "STAGE.FIELD=VALUE, as in --set solve.samples=4") -> None:
    """Apply `solve.sampling.temperature=0.7`. `form` is what has to be written, with as many keys as there must be."""
    path, equals, text = assignment.partition("=")
    keys = path.split(".")
    if not equals or len(keys) < len(form.partition("=")[0].split(".")) or not all(keys):
        raise UsageError(f"cannot read --set {assignment!r}: write {form}")
    table = tables
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise UsageError(f"cannot read --set {assignment!r}: {key!r} is a value, not a table")
    table[keys[-1]] = scalar(text)


def scalar(text: str) -> Any:
    """A TOML value (number, true, list, quoted string), or the text as it stands."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _validated(model: type[Any], section: str, table: Any) -> Any:
    if not isinstance(table, dict):
        raise UsageError(f"[{section}] must be a table, got {table!r}: set its fields, have {sorted(model.model_fields)}")
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise UsageError("\n".join(explained(model, section, e) for e in error.errors())) from error


def explained(model: type[BaseModel], section: str, error: Any) -> str:
    """One pydantic complaint as a sentence that names the key, the value and the choices."""
    where = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        choices = sorted(_model_at(model, error["loc"][:-1]).model_fields)
        return f"no field {where!r} in [{section}]: have {choices}{did_you_mean(str(error['loc'][-1]), choices)}"
    if error["type"] == "missing":
        return f"[{section}] needs {where!r}"
    return f"[{section}] {where} = {error['input']!r:.120}: {error['msg'].removeprefix('Value error, ')}"


def _model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel]:
    """The model that the fields at `path` belong to; positions in lists are passed over."""
    for name in path:
        field = model.model_fields.get(str(name))
        model = next(iter(_models_in(field.annotation)), model) if field else model
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
