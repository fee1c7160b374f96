"""Real vLLM servers: ended with their owner, heard when they do not start. A file of its own: a device serves one model at a time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models import loop
from models.engine import EngineError
from models.refs import EngineSpec, open_backend
from models.vllm_host import vllm_python
from tests.processes import wait_until_gone

pytestmark = [pytest.mark.slow, pytest.mark.vllm]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    from tests.tiny_model import tiny_model

    try:
        vllm_python()
    except EngineError as error:
        pytest.skip(str(error))
    return tiny_model(tmp_path_factory.mktemp("tiny") / "tiny", hidden=64, layers=2)


OWNER = """
import sys
from models import loop
from models.engine import Prompt, Sampling
from models.refs import EngineSpec, open_backend
backend = open_backend(EngineSpec(ref=sys.argv[1], dtype="float32", max_model_len=512))
loop.run(backend.generate(Prompt(text="a"), Sampling(max_tokens=2), 1))
print(backend._server.process.pid, flush=True)
input()
"""


def descendants(pid: int) -> list[int]:
    children = [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [pid, *(d for c in children for d in descendants(c))]


def test_sigkill_of_the_owner_leaves_nothing_of_a_real_server_after_ten_seconds(folder):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, f"vllm:{folder}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    pids = descendants(int(owner.stdout.readline()))
    assert len(pids) >= 3  # supervisor, server, engine
    os.killpg(owner.pid, signal.SIGKILL)
    owner.wait()
    wait_until_gone(pids, 10)


def test_a_model_that_vllm_refuses_shows_vllms_own_words(folder):
    backend = open_backend(EngineSpec(ref=f"vllm:{folder}", max_model_len=10**7))
    with pytest.raises(EngineError, match="max_model_len"):
        loop.run(backend.check())
    loop.run(backend.close())
