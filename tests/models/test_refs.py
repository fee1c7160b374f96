"""References, specs and identities."""

import json
import logging
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.refs import EngineSpec, ModelRef, identity, model_folder, open_backend
from models.vllm_host import command_of
from models.weights import folder_digest

names = st.text("abcXYZ019-_./", min_size=1, max_size=20)


def folder_of(path, **files):
    path.mkdir(parents=True, exist_ok=True)
    contents = {"config__json": "{}", "model__safetensors": "weights", "tokenizer__json": "{}"} | files
    for name, text in contents.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


@given(st.one_of(
    st.builds(lambda host, model: f"http:http://{host}/v1#{model}", st.sampled_from(["127.0.0.1:9", "example.org", "[::1]:80"]), names),
    st.builds(lambda s, n: f"{s}:{n}", st.sampled_from(["vllm", "hf", "nano", "ckpt", "replay:hf", "replay:vllm"]), names),
))  # fmt: skip
def test_a_reference_reads_back_as_it_was_written(text):
    assert str(ModelRef.parse(text)) == text


@pytest.mark.parametrize(("text", "said"), [
    ("Qwen/Qwen3", "write http:URL#MODEL"),
    ("gguf:x", "write http:URL#MODEL"),
    ("hf:", "names nothing after 'hf'"),
    ("http://127.0.0.1:9/v1#m", "as in http:http://"),
    ("http:http://127.0.0.1:9/v1", "write http:http://127.0.0.1:9/v1#MODEL"),
    ("http:ftp://host#m", "has no URL"),
    ("http:http://me:secret@host/v1#m", "api_key_env"),
    ("replay:replay:hf:x", "write replay:hf:x"),
    ("replay:foo", "write http:URL#MODEL"),
])  # fmt: skip
def test_a_reference_that_cannot_be_read_says_what_to_write(text, said):
    with pytest.raises(ValueError, match=said.replace("[", r"\[")) as caught:
        ModelRef.parse(text)
    assert "secret" not in str(caught.value)


def test_a_word_that_is_no_role_lists_the_roles():
    with pytest.raises(ValueError, match=r"no engine 'techer': have the roles \['judge', 'teacher'\]"):
        EngineSpec.parse("techer", roles=["teacher", "judge"])


def test_a_trailing_slash_of_the_url_is_dropped():
    assert EngineSpec(ref="http:http://h/v1/#m").ref == "http:http://h/v1#m"


def test_only_vllm_takes_options_of_its_own():
    assert EngineSpec(ref="vllm:x", tensor_parallel_size=4).server_options == {"tensor_parallel_size": 4}
    assert EngineSpec(ref="replay:vllm:x", tensor_parallel_size=4).server_options == {"tensor_parallel_size": 4}
    with pytest.raises(ValidationError, match=r"no option \['tensor_parallel_size'\] for hf:x: have .*'revision'"):
        EngineSpec(ref="hf:x", tensor_parallel_size=4)


@pytest.mark.parametrize("name", ["model", "port", "api_key", "trust_remote_code"])
def test_what_is_chosen_for_the_server_cannot_be_passed_through(name):
    with pytest.raises(ValidationError, match=rf"\['{name}'\] are not for engine tables"):
        EngineSpec(ref="vllm:x", **{name: "y"})


def test_the_address_of_a_server_is_not_its_identity_but_model_and_revision_are():
    here = identity(EngineSpec(ref="http:http://a:1/v1#m", revision="r1"))
    assert here == identity(EngineSpec(ref="http:https://b/v1#m", revision="r1", timeout_s=3, max_in_flight=2, attempts=1))
    assert here != identity(EngineSpec(ref="http:http://a:1/v1#m", revision="r2"))
    assert here != identity(EngineSpec(ref="http:http://a:1/v1#n", revision="r1"))


def test_a_server_without_declared_revision_is_unversioned_and_warned_of_once(caplog):
    spec = EngineSpec(ref="http:http://a:1/v1#some-model-of-this-test")
    with caplog.at_level(logging.WARNING):
        assert [identity(spec).revision for _ in range(3)] == ["unversioned"] * 3
    assert sum("some-model-of-this-test" in r.getMessage() for r in caplog.records) == 1


def test_a_replay_has_the_identity_of_what_it_replays(tmp_path):
    folder = folder_of(tmp_path / "m")
    for ref in ("http:http://a:1/v1#m", f"hf:{folder}"):
        assert identity(EngineSpec(ref=f"replay:{ref}")) == identity(EngineSpec(ref=ref))


def test_a_folder_is_known_by_its_content_wherever_it_lies(tmp_path):
    a, b = folder_of(tmp_path / "a", chat_template__jinja="x"), folder_of(tmp_path / "deep/b", chat_template__jinja="x")
    (b / "trainer_state.json").write_text("{}")
    (b / "README.md").write_text("words")
    ids = [identity(EngineSpec(ref=f"{scheme}:{f}")) for scheme in ("hf", "vllm") for f in (a, b)]
    assert len({json.dumps(i.payload()) for i in ids}) == 1
    assert ids[0].revision.startswith("sha256:")


@pytest.mark.parametrize(
    "name",
    [
        "config.json", "model.safetensors", "tokenizer.json", "spiece.model", "chat_template.jinja", "generation_config.json",
        "quantize_config.json", "hf_quant_config.json",
    ],
)  # fmt: skip
def test_each_deciding_file_changes_the_identity(tmp_path, name):
    before = folder_digest(folder_of(tmp_path))
    (tmp_path / name).write_text("changed!")
    assert folder_digest(tmp_path) != before


def test_large_files_are_digested_once_per_size_and_time(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = folder_of(tmp_path / "m")
    with open(folder / "model.safetensors", "wb") as file:
        file.truncate(101 << 20)
    first = folder_digest(folder)
    notes = list((tmp_path / "cache/mathmill/digests").iterdir())
    assert len(notes) == 1
    notes[0].write_text("what the cache says is believed")
    script = f"from pathlib import Path; from models.weights import folder_digest; print(folder_digest(Path({str(folder)!r})))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() != first
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert folder_digest(folder) == first


def test_a_home_that_cannot_be_written_costs_no_digest(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("no folder")
    folder = folder_of(tmp_path / "m")
    with open(folder / "model.safetensors", "wb") as file:
        file.truncate(101 << 20)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert len(folder_digest(folder)) == 40


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_a_model_says_what_it_needs(tmp_path, missing):
    (folder_of(tmp_path) / missing).unlink()
    with pytest.raises(ValueError, match=r"no model in .*: it needs a config\.json and \*\.safetensors weights, it has \['"):
        identity(EngineSpec(ref=f"hf:{tmp_path}"))


def test_options_that_change_replies_are_identity_and_hardware_is_not(tmp_path):
    folder = folder_of(tmp_path)
    plain = identity(EngineSpec(ref=f"vllm:{folder}"))
    assert plain == identity(EngineSpec(ref=f"vllm:{folder}", tensor_parallel_size=8, gpu_memory_utilization=0.5, max_num_seqs=4))
    assert identity(EngineSpec(ref=f"vllm:{folder}", quantization="fp8")).options == (("quantization", "fp8"),)
    assert identity(EngineSpec(ref=f"vllm:{folder}", dtype="float32")) != plain
    assert identity(EngineSpec(ref=f"vllm:{folder}", load_format="dummy")) != plain  # random weights


def test_a_template_given_to_the_server_counts_by_its_content_and_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MATHMILL_VLLM_PYTHON", sys.executable)
    folder = folder_of(tmp_path / "m")
    (tmp_path / "chat.jinja").write_text("one")
    spec = EngineSpec(ref=f"vllm:{folder}", chat_template="chat.jinja")
    before = identity(spec)
    assert before == identity(EngineSpec(ref=f"vllm:{folder}", chat_template=str(tmp_path / "chat.jinja")))
    assert str(tmp_path / "chat.jinja") in command_of(spec, before)[0]
    (tmp_path / "chat.jinja").write_text("two")
    assert identity(spec) != before
    written_out = "{{ messages }}" * 1000
    assert identity(EngineSpec(ref=f"vllm:{folder}", chat_template=written_out)).options == (("chat_template", written_out),)


def test_a_folder_takes_no_declared_revision(tmp_path):
    with pytest.raises(ValueError, match="leave out revision = 'v1'"):
        identity(EngineSpec(ref=f"hf:{folder_of(tmp_path)}", revision="v1"))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no model folder '.*nowhere'"):
        identity(EngineSpec(ref=f"vllm:{tmp_path}/nowhere"))


def test_a_checkpoint_must_have_been_resolved_by_a_recipe():
    with pytest.raises(ValueError, match=r"ckpt:solver@3 is a checkpoint of a store"):
        open_backend(EngineSpec(ref="ckpt:solver@3"))


def test_an_unknown_nano_model_lists_those_there_are():
    with pytest.raises(ValueError, match=r"no nano model 'nope': have \["):
        identity(EngineSpec(ref="nano:nope"))


def test_a_cached_hub_model_is_known_by_its_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    home = tmp_path / "models--org--model"
    snapshot = folder_of(home / "snapshots" / "c0ffee")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("c0ffee")
    spec = EngineSpec(ref="vllm:org/model")
    assert (identity(spec).model, identity(spec).revision) == ("org/model", "c0ffee")
    assert identity(EngineSpec(ref="hf:org/model")) == identity(spec)
    assert model_folder(spec) == snapshot


class Hub(BaseHTTPRequestHandler):
    def do_GET(self):
        known = {"/api/models/org/known/revision/main": "abc123", "/api/models/org/known/revision/a%2Fb": "def456"}.get(self.path)
        body = json.dumps({"sha": known} if known else {"error": "no such model"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Silent."""


def test_the_commit_of_a_hub_model_that_is_not_here_is_asked_for_or_demanded(tmp_path, monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    try:
        assert identity(EngineSpec(ref="vllm:org/known")).revision == "abc123"
        assert identity(EngineSpec(ref="vllm:org/known", revision="a/b")).revision == "def456"
        assert identity(EngineSpec(ref="vllm:org/unknown", revision="0" * 40)).revision == "0" * 40
        for revision in (None, "main", "v1"):
            with pytest.raises(ValueError, match=r"the commit \(40 hex digits\): revision = "):
                identity(EngineSpec(ref="vllm:org/unknown", revision=revision))
    finally:
        server.shutdown()
        server.server_close()


def test_opening_a_server_or_a_replay_imports_no_torch():
    script = (
        "import sys; from models.refs import EngineSpec, open_backend\n"
        "for ref in ('http:http://h/v1#m', 'replay:http:http://h/v1#m'): open_backend(EngineSpec(ref=ref))\n"
        "import models.vllm; assert not {'torch', 'transformers', 'prefect'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
