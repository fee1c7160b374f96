"""prefect.yaml against the code, without a server: what `prefect deploy --all` and the run forms will see."""

from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from flows.config import form_of, load_config, recipe_names
from flows.graph import UsageError
from flows.services import POOLS

ROOT = Path(__file__).parents[2]
FILE = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
DEPLOYMENTS = {entry["name"]: entry for entry in FILE["deployments"]}


def flow(name: str):
    from prefect.flows import load_flow_from_entrypoint

    return load_flow_from_entrypoint(DEPLOYMENTS[name]["entrypoint"])


def schema(name: str) -> dict:
    from prefect.utilities.callables import parameter_schema

    return parameter_schema(flow(name)).model_dump()


def test_every_recipe_has_a_deployment_under_its_name():
    assert {*recipe_names(), "crawl", "reconcile", "rescan", "review"} == set(DEPLOYMENTS)
    for name in DEPLOYMENTS:
        assert DEPLOYMENTS[name]["entrypoint"] == f"flows.deployed.{name}"


def test_prefect_reads_the_file_as_it_is_meant():
    from prefect.cli.deploy._models import PrefectYamlModel
    from prefect.events import DeploymentTriggerTypes

    read = PrefectYamlModel.model_validate(FILE)
    assert read.pull == []  # absent or null, Prefect would invent a step that clones the remote
    for entry in read.deployments:
        assert entry.work_pool is not None and entry.work_pool.name in POOLS
        assert entry.concurrency_limit.collision_strategy == "ENQUEUE"
        for trigger in entry.triggers or []:
            TypeAdapter(DeploymentTriggerTypes).validate_python(trigger)
    assert any(schedule.cron for entry in read.deployments for schedule in entry.schedules or [])


@pytest.mark.parametrize("name", sorted(DEPLOYMENTS))
def test_an_entrypoint_loads_and_runs_with_the_parameters_of_its_deployment(name: str):
    loaded = flow(name)
    assert loaded.name == name
    loaded.validate_parameters(DEPLOYMENTS[name].get("parameters", {}) | defaults(name))


def defaults(name: str) -> dict:
    return {key: found["default"] for key, found in schema(name)["properties"].items() if "default" in found}


def test_an_unknown_entrypoint_names_the_flows():
    import flows.deployed

    with pytest.raises(AttributeError, match=r"no flow 'tinny': have \[.*'gsm8k', .*'tiny'.*'reconcile', 'rescan', 'review'\]"):
        flows.deployed.tinny  # noqa: B018


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_run_form_shows_every_stage_with_its_fields_and_what_they_mean(recipe: str):
    found = schema(recipe)
    form = found["definitions"][form_of(recipe).__name__]["properties"]
    assert set(form) == set(form_of(recipe).model_fields)
    for name, field in form_of(recipe).model_fields.items():
        if name == "engines":
            continue
        assert form[name]["title"] == name  # two stages of one class can be told apart
        reference = form[name].get("$ref") or form[name]["allOf"][0]["$ref"]
        shown = found["definitions"][reference.rpartition("/")[2]]["properties"]
        assert set(shown) == set(field.annotation.model_fields)  # type: ignore[union-attr]
        assert all(column.get("description") for column in shown.values()), f"{name} has fields without a description"


def test_the_form_says_what_each_parameter_is_for():
    assert all(found.get("description") for found in schema("solve")["properties"].values())


def test_a_value_out_of_range_is_refused_before_anything_runs():
    from prefect.exceptions import ParameterTypeError

    with pytest.raises(ParameterTypeError, match="samples"):
        flow("solve").validate_parameters(defaults("solve") | {"config": {"solve": {"samples": 0}}})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "No Name"}, "--name No Name: no dataset name"),
        ({"inputs": {"problem": "x.jsonl"}}, "no input 'problem': have \\['problems'\\]; did you mean 'problems'"),
        ({"inputs": {}}, "needs --input problems=FILE"),
    ],
)
def test_a_run_form_that_cannot_work_is_refused_before_a_store_is_made(tmp_path, given, said):
    arguments = {"config": form_of("solve")(), "inputs": {}, "store": str(tmp_path / "s"), "name": "", "partition": None}
    with pytest.raises(UsageError, match=said):
        flow("solve").fn(**{**arguments, **given})
    assert not (tmp_path / "s").exists()


def test_a_round_below_zero_is_refused():
    from prefect.exceptions import ParameterTypeError

    with pytest.raises(ParameterTypeError, match="partition"):
        flow("solve").validate_parameters(defaults("solve") | {"partition": -1})


def test_a_form_that_names_one_field_leaves_the_others_as_packaged():
    form = form_of("tiny")(solve={"samples": 3})  # type: ignore[call-arg]
    assert form == load_config("tiny", sets=["solve.samples=3"]).form
    assert form.model_dump() != form_of("tiny")().model_dump()


def test_a_published_training_set_starts_the_training_of_exactly_that_version():
    from flows.scheduled import version_event
    from storage.balance import Balance
    from storage.versions import Version

    version = Version("a.training_set", 7, 6, "replace", "d", "Example", 1, 1, 1, Balance(1, 1, {}, 0, 1), True, {}, {}, "r", 0.0)
    event = version_event(version)
    (trigger,) = DEPLOYMENTS["train"]["triggers"]
    assert event["event"] in trigger["expect"]
    assert event["resource"]["prefect.resource.id"].startswith(trigger["match"]["prefect.resource.id"].removesuffix("*"))
    assert event["resource"]["mathmill.rows"] == trigger["match"]["mathmill.rows"]
    assert trigger["parameters"] == {"inputs": {"examples": "{{ event.payload.spec }}"}}
    assert event["payload"]["spec"] == "a.training_set@7"
