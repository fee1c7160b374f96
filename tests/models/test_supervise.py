"""A supervised command cannot outlive its owner."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import models.supervise
from tests.processes import wait_until_gone

SUPERVISED = [sys.executable, str(Path(models.supervise.__file__)), "--"]
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"],
                         start_new_session=os.environ.get("APART") == "1")
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


def start(script: str, **environment: str) -> tuple[subprocess.Popen, list[int]]:
    process = subprocess.Popen(
        [*SUPERVISED, sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **environment}, start_new_session=True,
    )  # fmt: skip
    return process, [int(pid) for pid in process.stdout.readline().split()]


@pytest.mark.parametrize("how", ["its pipe ends", "SIGTERM", "SIGINT"])
def test_everything_ends_when_the_owner_says_so(how):
    process, pids = start("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    if how == "its pipe ends":
        process.stdin.close()
    else:
        process.send_signal(getattr(signal, how))
    assert process.wait(10) == 143
    wait_until_gone(pids, 1)


@pytest.mark.slow
@pytest.mark.parametrize("apart", ["0", "1"])
def test_what_ignores_sigterm_is_killed_with_its_children_even_in_sessions_of_their_own(apart):
    process, pids = start(STUBBORN, APART=apart)
    assert len(pids) == 2
    process.stdin.close()
    process.wait(15)
    wait_until_gone(pids, 1)


def test_the_exit_code_of_the_command_is_passed_on_and_what_it_left_behind_ends():
    process, [left] = start(
        "import subprocess, sys; child = subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True); sys.exit(7)"
    )
    assert process.wait(10) == 7
    wait_until_gone([left], 1)


OWNER = """
import os, subprocess, sys, time
pipe = subprocess.Popen({command!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
if os.fork() == 0:
    time.sleep(30)  # holds the pipe open after the owner's death
    os._exit(0)
print(pipe.stdout.readline().strip(), pipe.pid, flush=True)
time.sleep(600)
"""


def test_sigkill_of_the_owner_ends_all_even_if_a_fork_holds_the_pipe():
    command = [*SUPERVISED, sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
    script = OWNER.format(command=command)
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    os.kill(owner.pid, signal.SIGKILL)
    try:
        wait_until_gone(pids, 10)
    finally:
        os.killpg(owner.pid, signal.SIGKILL)
        owner.wait()


def test_wrong_use_is_explained():
    done = subprocess.run([*SUPERVISED[:2], "sleep"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage: supervise.py -- COMMAND" in done.stderr
