"""A stand-in for vLLM's server behind the same command line, for tests of what starts, watches and stops it. It serves `FakeOpenAI`.

`make_python(folder)` writes a "Python" that runs it in place of `-m vllm.entrypoints.openai.api_server`; set MATHMILL_VLLM_PYTHON to it.
How it behaves comes from the option --load-format (vLLM has one too): `die` at the start, `stubborn` ignores SIGTERM and has a child.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.fake_openai import FakeOpenAI


def make_python(folder: Path) -> Path:
    path = folder / "python"
    root = Path(__file__).resolve().parents[1]
    path.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} -m tests.fake_vllm "$@"\n')
    path.chmod(0o755)
    return path


def main(arguments: list[str]) -> None:
    assert arguments[:2] == ["-m", "vllm.entrypoints.openai.api_server"], arguments
    options = {arguments[i]: arguments[i + 1] for i in range(2, len(arguments) - 1) if arguments[i].startswith("--")}
    behaviour = options.get("--load-format")
    print("arguments", arguments, "offline", os.environ.get("HF_HUB_OFFLINE"), flush=True)
    if behaviour == "die":
        print("ValueError: this model cannot be served", flush=True)
        sys.exit(1)
    if behaviour == "hang":
        time.sleep(600)
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sleep", "600"], start_new_session=True)
    server = FakeOpenAI(
        int(options["--port"]), models=[options["--served-model-name"]], api_key=os.environ["VLLM_API_KEY"], tokenize=True, latency_s=0.02
    )
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
