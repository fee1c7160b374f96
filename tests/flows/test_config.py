"""Settings: packaged TOML below a file below `--set`, every key checked, every mistake told with the choices."""

import re

import pytest

from flows.config import load_config, outline, recipe_names, scalar
from flows.graph import UsageError
from tasks.fingerprint import code_identity, source_digest


def test_set_beats_the_file_and_the_file_beats_what_is_packaged(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[solve]\nsamples = 3\nstream = 'mine'\n[solve.sampling]\ntop_p = 0.5\n")
    config = load_config("solve", file, ["solve.samples=5", "solve.sampling.temperature=0.25"]).stage("solve")
    assert (config.samples, config.stream, config.model) == (5, "mine", "solver")
    assert (config.sampling.top_p, config.sampling.temperature) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ("true", True), ("[1, 2]", [1, 2]), ("'3'", "3"), ("nano:solver", "nano:solver"),
     ("@my prompt.md", "@my prompt.md"), ("", ""), ("a=b", "a=b"), ("1e-4", 1e-4), ("True", "True")],
)  # fmt: skip
def test_a_value_is_toml_or_the_text_as_it_stands(text, value):
    assert scalar(text) == value


def test_an_engine_is_changed_by_role_and_its_options_pass_through():
    config = load_config("solve", sets=["engines.solver.ref=http:http://h:1/v1#m", "engines.solver.timeout_s=5"])
    assert (config.engines["solver"].ref, config.engines["solver"].timeout_s) == ("http:http://h:1/v1#m", 5)


def test_a_prompt_file_is_held_as_its_text_without_its_source_line(tmp_path):
    (tmp_path / "p.md").write_text("<!-- source: me -->\n## user\nNow: [[problem]]\n")
    assert load_config("solve", sets=[f"solve.prompt=@{tmp_path / 'p.md'}"]).stage("solve").prompt.text == "## user\nNow: [[problem]]"


def test_the_name_replaces_the_recipes_part_of_the_datasets_names():
    assert load_config("solve", name="mine").name == "mine"


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_is_whole_with_its_packaged_settings(recipe):
    config = load_config(recipe)
    assert all(config.stage(name).identity() is not None for name in outline(recipe).calls)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["solve.sampels=2"], r"no field 'sampels' in \[solve\]: have \['concurrency', .*'stream'\]; did you mean 'samples'\?"),
        (["slove.samples=2"], r"no section 'slove' in recipe 'solve': have \['engines', .*\]; did you mean 'solve'\?"),
        (
            ["solve.sampling.temprature=1"],
            r"no field 'sampling.temprature' in \[solve\]: have \['max_tok.*did you mean 'temperature'",
        ),
        (["solve.samples=two"], r"\[solve\] samples = 'two': Input should be a valid integer"),
        (["solve.samples=0"], r"\[solve\] samples = 0: Input should be greater than or equal to 1"),
        (["solve.sampling.temperature=-1"], r"\[solve\] sampling.temperature = -1: Input should be greater than or equal to 0"),
        (["run.buckets=0"], r"\[run\] buckets = 0"),
        (["run.bukets=4"], r"no field 'bukets' in \[run\]: have \['buckets', 'workers'\]; did you mean 'buckets'\?"),
        (["nonsense"], "cannot read --set 'nonsense': write STAGE.FIELD=VALUE, as in --set solve.samples=4"),
        (["samples=4"], "cannot read --set 'samples=4': write STAGE.FIELD=VALUE"),
        ([".samples=4"], "cannot read --set '.samples=4'"),
        (["solve.samples=4", "solve.samples.x=4"], "cannot read --set 'solve.samples.x=4': 'samples' is a value, not a table"),
        (["solve.prompt=sovle"], r"\[solve\] prompt = 'sovle': no prompt 'sovle': have \[.*'solve'.*\], or give a file as @path"),
        (["solve.prompt=@/no/p.md"], "no prompt '@/no/p.md'"),
        (["solve.model=sovler"], r"\[solve\] model = 'sovler': no engine 'sovler': have the roles \['solver'\], or write http:URL#MODEL"),
        (["solve.model=nano:nobody"], r"\[solve\] model = 'nano:nobody': no nano model 'nobody': have \["),
        (["solve.model=hf:/no/folder"], "no model folder '/no/folder'"),
        (["solve.model=http:localhost"], "has no URL: write http:URL#MODEL"),
        (["engines.solver=nano:solver"], r"\[engines.solver\] must be a table, got 'nano:solver': set its fields, have \['api_key_env'"),
        (["engines.judge.revision=x"], r"\[engines.judge\] needs 'ref'"),
        (["engines.solver.tensor_parallel_size=2"], r"no option \['tensor_parallel_size'\] for nano:solver"),
    ],
)
def test_a_wrong_setting_is_told_with_the_value_and_the_choices(sets, said):
    with pytest.raises(UsageError) as caught:
        load_config("solve", sets=sets)
    assert re.search(said, str(caught.value)), caught.value


def test_a_prompt_with_other_holes_is_told_with_both_sets(tmp_path):
    (tmp_path / "p.md").write_text("[[problem]] [[hint]]")
    with pytest.raises(UsageError, match=r"has the holes \['hint', 'problem'\], values were given for \['problem'\]"):
        load_config("solve", sets=[f"solve.prompt=@{tmp_path / 'p.md'}"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[solve\n", "is not TOML"),
        ("[sovle]\nx = 1\n", "no section 'sovle'"),
        ("solve = 3\n", r"\[solve\] must be a table, got 3"),
        (None, "cannot read the config file"),
    ],
)
def test_a_wrong_config_file_is_told(tmp_path, text, said):
    file = tmp_path / "c.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match=said):
        load_config("solve", file)


def test_a_config_file_that_is_no_text_or_a_folder_is_told(tmp_path):
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "c.toml", tmp_path):
        with pytest.raises(UsageError, match=re.escape(str(path))):
            load_config("solve", path)


@pytest.mark.parametrize("name", ["Bad Name", "a.b", "../x", "1st", "ledger", "catalog", "main"])
def test_a_name_that_datasets_cannot_have_is_told_before_anything_is_paid(name):
    with pytest.raises(UsageError, match=re.escape(f"--name {name}: no dataset")):
        load_config("solve", name=name)


def test_an_unknown_recipe_is_told_with_those_there_are():
    with pytest.raises(UsageError, match=r"no recipe 'sovle': have \[.*'gsm8k', .*'solve', .*'train'\]; did you mean 'solve'\?"):
        load_config("sovle")


def test_the_code_that_a_run_hashes_is_the_code_it_has_loaded_not_what_its_files_say_hours_later():
    source_digest.cache_clear()
    calls = outline("solve").calls.values()
    read = source_digest.cache_info().misses
    assert read == 3 and all(code_identity(call.stage) for call in calls)
    assert source_digest.cache_info().misses == read
