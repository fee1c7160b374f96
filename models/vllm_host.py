"""What a managed vLLM server needs of its host: a Python that has vLLM, a command line, free devices, a model and tokenizer that agree."""

import contextlib
import fcntl
import importlib.util
import json
import logging
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from models.engine import EngineError, Identity
from models.refs import EngineSpec
from models.weights import find_folder

log = logging.getLogger(__name__)


def command_of(spec: EngineSpec, identity: Identity) -> tuple[list[str], dict[str, str]]:
    """(command without port, environment) of the server. Raises EngineError when there is no vLLM or the model cannot be served."""
    target = spec.parsed.asked.target
    folder, commit = find_folder(target, spec.revision)
    if folder is not None:
        check_vocabulary(folder)
    options: dict[str, Any] = {
        "model": str(folder.resolve() if folder else target),
        "served_model_name": identity.model,
        "host": "127.0.0.1",
        # sampling is what the ledger's key says, not what a generation_config.json adds to it
        "generation_config": "vllm",
    }
    if folder is None:
        options["revision"] = commit
    else:
        options["dtype"] = stored_dtype(folder)
    environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    environment.pop("PYTHONPATH", None)
    if folder is not None:
        environment["HF_HUB_OFFLINE"] = "1"
    if not gpus():
        # a seed with a chunked prefill kills the CPU engine: room for every batch of prompts in one piece
        options |= {"max_num_batched_tokens": 65536, "block_size": 32}
        environment.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    # the server has a working folder of its own
    options |= {k: os.path.abspath(v) if isinstance(v, str) and os.path.isfile(v) else v for k, v in spec.server_options.items()}
    return [vllm_python(), "-m", "vllm.entrypoints.openai.api_server", *arguments(options)], environment


def stored_dtype(folder: Path) -> str | None:
    """The number type of the weights, as config.json says: vLLM's own choice would turn float32 into halves, and `hf:` keeps it."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config.get("dtype") or config.get("torch_dtype")


def arguments(options: dict[str, Any]) -> list[str]:
    """Command line form: True and False are flags, lists several values, tables JSON, None leaves an option out."""
    line: list[str] = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if value is True or value is False:
            line.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, list | tuple):
            line += [f"--{flag}", *map(str, value)]
        elif value is not None:
            line += [f"--{flag}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return line


def vllm_python() -> str:
    """The Python that has vLLM: MATHMILL_VLLM_PYTHON, the checkout's .venv-vllm, or this one."""
    named = os.environ.get("MATHMILL_VLLM_PYTHON")
    if named:
        if shutil.which(named) is None:
            raise EngineError(f"MATHMILL_VLLM_PYTHON is {named!r}, which cannot be run: name the Python of an environment with vLLM")
        return named
    beside = Path(__file__).resolve().parents[1] / ".venv-vllm" / "bin" / "python"
    if beside.is_file():
        return str(beside)
    if importlib.util.find_spec("vllm") is not None:
        return sys.executable
    raise EngineError("no vLLM here: `make vllm` installs it into .venv-vllm, or set MATHMILL_VLLM_PYTHON to a Python that has it")


def gpus() -> list[str]:
    """NVIDIA devices this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [d.strip() for d in visible.split(",") if d.strip() not in ("", "-1")]
    return sorted(p.name.removeprefix("nvidia") for p in Path("/dev").glob("nvidia[0-9]*"))


def lock_devices() -> list[int] | None:
    """Descriptors that lock every device of this process (`cpu` where there is none) against all processes of the host; None: one is taken.

    A lock lasts until each process that was handed the descriptor is gone.
    """
    held: list[int] = []
    for device in sorted(gpus()) or ["cpu"]:
        path = Path(tempfile.gettempdir()) / f"mathmill-device-{device}.lock"
        with contextlib.suppress(FileExistsError):  # O_CREAT alone is refused on other users' files in a shared folder
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDONLY, 0o644))
        held.append(os.open(path, os.O_RDONLY))
        try:
            fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.debug("%s is held", path)
            for descriptor in held:
                os.close(descriptor)
            return None
    return held


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_vocabulary(folder: Path) -> None:
    """Raises EngineError when the tokenizer knows ids that the model does not: one such prompt would kill the server."""
    size = vocabulary_size(folder)
    tokenizer = folder / "tokenizer.json"
    if size is None or not tokenizer.is_file():
        return
    known = json.loads(tokenizer.read_text(encoding="utf-8"))
    vocabulary = known.get("model", {}).get("vocab", {})
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else [len(vocabulary) - 1]
    largest = max([*ids, *(token["id"] for token in known.get("added_tokens", []))], default=-1)
    if largest >= size:
        raise EngineError(f"the tokenizer of {folder} has token id {largest}, its model only {size} ids: they do not belong together")


def vocabulary_size(folder: Path) -> int | None:
    """Number of token ids a model knows; None where its config does not say."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    size = config.get("vocab_size", config.get("text_config", {}).get("vocab_size"))
    return int(size) if size is not None else None
