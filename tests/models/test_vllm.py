"""Managed servers: how one is found, started, watched, shared, replaced and ended. (Real vLLM: test_engine_contract.py.)"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engine import EngineError, Prompt, Sampling
from models.refs import EngineSpec, identity, open_backend
from models.vllm import guarded
from models.vllm_host import arguments, check_vocabulary, command_of, gpus, lock_devices, vllm_python
from tests.fake_openai import FakeOpenAI
from tests.fake_vllm import make_python
from tests.processes import wait_until_gone


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host without GPU, with a stand-in for vLLM's Python and a lock folder of its own."""
    monkeypatch.setenv("MATHMILL_VLLM_PYTHON", str(make_python(tmp_path)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tempfile.tempdir = None  # read TMPDIR again
    yield tmp_path
    tempfile.tempdir = None


def folder_of(path: Path, vocabulary: int = 10, largest: int = 9) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"vocab_size": vocabulary}))
    (path / "model.safetensors").write_text(path.name)
    tokenizer = {"model": {"vocab": {f"t{i}": i for i in range(largest)}}, "added_tokens": [{"id": largest, "content": "<end>"}]}
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    return path


def spec_of(folder: Path, **options) -> EngineSpec:
    return EngineSpec(ref=f"vllm:{folder}", attempts=2, backoff_s=0.01, **options)


def ask(backend, text="hello"):
    return backend.generate(Prompt(text=text), Sampling(), 1)


def servers(backend) -> list[int]:
    """Process ids of the supervisor and the server."""
    supervisor = backend._server.process.pid
    return [supervisor, *map(int, Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split())]


def test_a_server_is_started_at_the_first_call_and_gone_after_close(host):
    async def go():
        backend = open_backend(spec_of(folder_of(host / "m")))
        replies = await asyncio.gather(*(ask(backend, f"p{i}") for i in range(5)))
        pids = servers(backend)
        await backend.close()
        return replies, pids

    replies, pids = asyncio.run(go())
    assert len({r.text for r in replies}) == 5
    assert len(pids) == 2
    wait_until_gone(pids, 1)
    assert not list(host.glob("mathmill-vllm-*"))


def test_a_server_that_does_not_start_shows_the_end_of_its_log_and_is_not_tried_again(host):
    async def go():
        backend = open_backend(spec_of(folder_of(host / "m"), load_format="die"))
        said = []
        for attempt in (backend.check, lambda: ask(backend), backend.check):
            with pytest.raises(EngineError) as caught:
                await attempt()
            said.append(str(caught.value))
        await backend.close()
        return said

    said = asyncio.run(go())
    assert "did not start: exit code 1" in said[0]
    assert "ValueError: this model cannot be served" in said[0]
    assert said[0] == said[1] == said[2]
    assert len(list(host.glob("mathmill-vllm-*"))) == 1


def test_a_server_that_never_answers_is_given_up_after_start_timeout(host):
    async def go():
        backend = open_backend(spec_of(folder_of(host / "m"), load_format="hang", start_timeout_s=0.5))
        with pytest.raises(EngineError, match=r"did not answer within start_timeout_s = 0.5"):
            await backend.check()
        await backend.close()

    asyncio.run(go())


def test_a_server_that_dies_fails_its_calls_with_the_end_of_its_log(host):
    async def go():
        backend = open_backend(spec_of(folder_of(host / "m")))
        await ask(backend)
        os.kill(servers(backend)[1], signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(EngineError, match=r"the vLLM server of m@sha256:.* died: exit code"):
                await ask(backend)
        await backend.close()
        reply = await ask(backend)
        await backend.close()
        return reply

    assert "boxed" in asyncio.run(go()).text


def test_another_model_waits_until_the_running_one_is_idle_and_takes_its_place(host):
    async def go():
        one, other = open_backend(spec_of(folder_of(host / "a"))), open_backend(spec_of(folder_of(host / "b")))
        await ask(one)
        first = servers(one)
        replies = await asyncio.gather(*(ask(one, f"a{i}") for i in range(4)), *(ask(other, f"b{i}") for i in range(4)))
        wait_until_gone(first, 1)
        assert one._server is None
        again = await ask(one)
        last = servers(one)
        await one.close()
        await other.close()
        wait_until_gone(last, 1)
        return [*replies, again]

    assert len(asyncio.run(go())) == 9


OWNER = """
import asyncio, sys
from models.engine import Prompt, Sampling
from models.refs import EngineSpec, open_backend

async def main(folder, options):
    backend = open_backend(EngineSpec(ref=f"vllm:{folder}", **dict(o.split("=") for o in options)))
    await backend.check()
    supervisor = backend._server.process.pid
    children = open(f"/proc/{supervisor}/task/{supervisor}/children").read()
    print(supervisor, children, flush=True)
    await asyncio.sleep(600)

asyncio.run(main(sys.argv[1], sys.argv[2:]))
"""


def owner_of(folder: Path, *options: str) -> tuple[subprocess.Popen, list[int]]:
    """A process that runs a server, and the process ids of supervisor and server."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(folder), *options], stdout=subprocess.PIPE, text=True)
    return owner, [int(pid) for pid in owner.stdout.readline().split()]


@pytest.mark.parametrize("behaviour", ["auto", pytest.param("stubborn", marks=pytest.mark.slow)])
def test_sigkill_of_the_owner_leaves_no_server_after_ten_seconds(host, behaviour):
    owner, pids = owner_of(folder_of(host / "m"), f"load_format={behaviour}")
    assert len(pids) == 2
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    wait_until_gone(pids, 10)


@pytest.mark.slow
def test_a_second_process_waits_for_the_device_until_the_first_server_is_gone(host):
    owner, pids = owner_of(folder_of(host / "m"))
    assert lock_devices() is None

    async def go():
        backend = open_backend(spec_of(host / "m"))
        task = asyncio.create_task(backend.check())
        await asyncio.sleep(1)
        assert not task.done()
        owner.send_signal(signal.SIGKILL)
        await asyncio.wait_for(task, 30)
        wait_until_gone(pids, 0.5)
        await backend.close()

    asyncio.run(go())
    owner.wait()
    held = lock_devices()
    assert held is not None
    for descriptor in held:
        os.close(descriptor)


def test_a_cancelled_start_leaves_no_server(host):
    async def go():
        backend = open_backend(spec_of(folder_of(host / "m"), load_format="hang"))
        task = asyncio.create_task(backend.check())
        while not (logs := list(host.glob("mathmill-vllm-*/server.log"))) or "arguments" not in logs[0].read_text():
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held = lock_devices()
        assert held is not None
        for descriptor in held:
            os.close(descriptor)
        await backend.close()

    asyncio.run(go())


def test_a_command_line_that_cannot_be_run_is_said_and_leaves_the_device_free(host):
    async def go():
        backend = open_backend(spec_of(folder_of(host / "m"), hf_overrides="x" * 200_000))
        with pytest.raises(EngineError, match=r"no vLLM server of m@.* can be started here: .*Argument list too long"):
            await backend.check()
        await backend.close()

    asyncio.run(go())
    held = lock_devices()
    assert held is not None
    for descriptor in held:
        os.close(descriptor)


@pytest.mark.parametrize(("key", "ours"), [("secret", True), (None, False)])
def test_a_server_that_takes_any_key_is_not_taken_for_ours(key, ours):
    with FakeOpenAI(api_key=key) as server:
        assert asyncio.run(guarded(server.url)) is ours
    assert asyncio.run(guarded(server.url)) is False


def test_a_cancelled_close_ends_the_server_all_the_same(host):
    async def go():
        backend = open_backend(spec_of(folder_of(host / "m")))
        await ask(backend)
        pids = servers(backend)
        task = asyncio.create_task(backend.close())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pids

    wait_until_gone(asyncio.run(go()), 10)


def test_token_ids_beyond_the_vocabulary_never_reach_the_server(host):
    backend = open_backend(spec_of(folder_of(host / "m", vocabulary=10)))
    with pytest.raises(EngineError, match=r"token ids \[10\] are outside the vocabulary of m@.*: it has 0 to 9"):
        asyncio.run(backend.generate(Prompt(token_ids=(3, 10)), Sampling(), 1))


def test_a_tokenizer_with_more_ids_than_the_model_is_refused_before_the_start(host):
    check_vocabulary(folder_of(host / "fits", vocabulary=10, largest=9))
    spec = spec_of(folder_of(host / "m", vocabulary=9, largest=9))
    with pytest.raises(EngineError, match="token id 9, its model only 9 ids: they do not belong together"):
        command_of(spec, identity(spec))


def test_options_of_the_engine_table_reach_the_command_line(host):
    spec = spec_of(
        folder_of(host / "m"), tensor_parallel_size=4, enforce_eager=True, enable_prefix_caching=False, hf_overrides={"a": 1},
        allowed_media_domains=["x", "y"], quantization=None, block_size=64,
    )  # fmt: skip
    command, environment = command_of(spec, identity(spec))
    assert " ".join(command[3:]) == (
        f"--model {host}/m --served-model-name m --host 127.0.0.1 --generation-config vllm --max-num-batched-tokens 65536 --block-size 64 "
        '--tensor-parallel-size 4 --enforce-eager --no-enable-prefix-caching --hf-overrides {"a": 1} --allowed-media-domains x y'
    )
    assert {environment[k] for k in ("HF_HUB_OFFLINE", "VLLM_CPU_KVCACHE_SPACE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK")} == {"1"}
    assert "PYTHONPATH" not in environment


def test_a_host_with_gpus_keeps_vllms_own_sizes(host, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    assert gpus() == ["2", "0"]
    spec = spec_of(folder_of(host / "m"))
    command, environment = command_of(spec, identity(spec))
    assert not {"--max-num-batched-tokens", "--block-size"} & set(command)
    assert environment.get("VLLM_CPU_KVCACHE_SPACE") == os.environ.get("VLLM_CPU_KVCACHE_SPACE")


def test_device_sets_that_overlap_exclude_each_other_and_others_do_not(host, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    first = lock_devices()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,1")
    assert lock_devices() is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,2")
    second = lock_devices()
    assert first and second
    for descriptor in [*first, *second]:
        os.close(descriptor)


@given(st.dictionaries(st.text("abc_", min_size=1), st.one_of(st.integers(), st.text(), st.floats(allow_nan=False), st.none())))
def test_each_option_with_a_value_is_one_flag_and_one_word(options):
    line = arguments(options)
    given_values = {k: v for k, v in options.items() if v is not None}
    assert line[1::2] == [str(v) for v in given_values.values()]
    assert line[::2] == ["--" + k.replace("_", "-") for k in given_values]


def test_a_python_that_cannot_be_run_is_named(monkeypatch):
    monkeypatch.setenv("MATHMILL_VLLM_PYTHON", "/no/such/python")
    with pytest.raises(EngineError, match="MATHMILL_VLLM_PYTHON is '/no/such/python', which cannot be run"):
        vllm_python()
