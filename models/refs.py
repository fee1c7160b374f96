"""Which model: a reference such as `http:URL#MODEL` in a config becomes a spec, an identity (nothing is started), and a backend on demand.

Identity decides what is paid again: weights on disk count by their content, a hub model by its commit, a server by the revision
declared for it. Where a model runs, and how fast, never counts.
"""

import functools
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.engine import Backend, Identity
from models.weights import find_folder, folder_digest
from storage.checkpoints import file_digest

log = logging.getLogger(__name__)

Scheme = Literal["http", "vllm", "hf", "nano", "replay", "ckpt"]
FORMS = "http:URL#MODEL, vllm:MODEL, hf:PATH, nano:NAME, replay:REF or ckpt:NAME[@n]"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A parsed reference. `target` is the URL, path, hub name, nano name, checkpoint, or (replay) the inner reference."""

    scheme: Scheme
    target: str
    model: str = ""
    """The name a server knows the model by; `http:` only."""

    def __str__(self) -> str:
        return f"{self.scheme}:{self.target}" + (f"#{self.model}" if self.model else "")

    @classmethod
    def parse(cls, text: str) -> "ModelRef":
        """Raises ValueError naming the choices and the way out."""
        scheme, colon, target = text.strip().partition(":")
        if not colon or scheme not in get_args(Scheme):
            raise ValueError(f"no engine for model {text!r}: write {FORMS}")
        if not target:
            raise ValueError(f"model {text!r} names nothing after {scheme!r}: write {FORMS}")
        if scheme == "http":
            return cls._parse_http(text, target)
        if scheme == "replay":
            inner = cls.parse(target)
            if inner.scheme == "replay":
                raise ValueError(f"model {text!r} replays a replay: write replay:{inner.target}")
            return cls("replay", str(inner))
        return cls(scheme, target)  # type: ignore[arg-type]  # one of Scheme, checked above

    @classmethod
    def _parse_http(cls, text: str, target: str) -> "ModelRef":
        url, _, model = target.partition("#")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"model {text!r} has no URL: write http:URL#MODEL, as in http:http://127.0.0.1:8000/v1#qwen")
        if parts.username or parts.password:
            raise ValueError(f"the URL of model '…#{model}' holds a password: put the key into the variable that api_key_env names")
        if not model:
            raise ValueError(f"model {text!r} does not say which model the server shall use: write http:{url}#MODEL")
        return cls("http", url.rstrip("/"), model)

    @property
    def asked(self) -> "ModelRef":
        """The model whose replies these are: what a replay replays, else this one."""
        return ModelRef.parse(self.target) if self.scheme == "replay" else self


class EngineSpec(BaseModel):
    """One engine of a recipe. Further keys are options of the vLLM server (`tensor_parallel_size = 4`) and allowed for `vllm:` only."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True, protected_namespaces=())

    ref: str
    """The model: http:URL#MODEL, vllm:MODEL, hf:PATH, nano:NAME, replay:REF or ckpt:NAME[@n]."""
    revision: str | None = None
    """Which revision of a hub or server model this is; part of what replies are kept under. A hub model's branch or tag is resolved to its
    commit; folders need none, they are digested."""
    api_key_env: str = "MATHMILL_API_KEY"
    """Name of the environment variable that holds the key of an http: endpoint. The key itself is stored nowhere."""
    send_seed: bool = True
    """Send a seed with each draw. Some servers refuse seeds, or serve each seed slowly."""
    max_in_flight: int = Field(default=256, ge=1)
    """Requests under way at one endpoint at most; the limit falls by itself when the server says it is too much."""
    attempts: int = Field(default=5, ge=1)
    """How often a call is tried when the server fails, times out or sends rubbish. Being told to wait (429) is not a failure."""
    backoff_s: float = Field(default=0.5, ge=0)
    """Seconds before the second attempt; doubles with each further one, up to a minute."""
    timeout_s: float = Field(default=600.0, gt=0)
    """Seconds one attempt may take."""
    patience_s: float = Field(default=600.0, ge=0)
    """Seconds a call may be put off by rate limits in all before it fails."""
    price_prompt: float | None = Field(default=None, ge=0)
    """What a million prompt tokens cost, in a currency of your own: recorded with each call, shown in the report, never part of a key."""
    price_reply: float | None = Field(default=None, ge=0)
    """What a million tokens of replies cost."""
    start_timeout_s: float = Field(default=600.0, gt=0)
    """Seconds a managed vLLM server may take until it answers."""

    @field_validator("ref")
    @classmethod
    def _normal_ref(cls, text: str) -> str:
        return str(ModelRef.parse(text))

    @model_validator(mode="after")
    def _only_vllm_passes_through(self) -> "EngineSpec":
        if self.model_extra and self.parsed.asked.scheme != "vllm":
            known = sorted(type(self).model_fields)
            raise ValueError(f"no option {sorted(self.model_extra)} for {self.ref}: have {known} (vllm: passes any other on to its server)")
        taken = sorted(_OURS & set(self.model_extra or ()))
        if taken:
            raise ValueError(f"the vLLM options {taken} are not for engine tables: address, key and name are chosen, models bring no code")
        return self

    @classmethod
    def parse(cls, text: str, roles: Sequence[str] = ()) -> "EngineSpec":
        """A spec from a bare reference. `roles` are the engines a recipe names, for the error."""
        try:
            return cls(ref=str(ModelRef.parse(text)))
        except ValueError as error:
            if ":" in text:
                raise
            raise ValueError(f"no engine {text!r}: have the roles {sorted(roles)}, or write {FORMS}") from error

    @property
    def parsed(self) -> ModelRef:
        return ModelRef.parse(self.ref)

    @property
    def price(self) -> tuple[float, float] | None:
        """Cost of one (prompt, reply) token; None where neither price is given."""
        if self.price_prompt is None and self.price_reply is None:
            return None
        return (self.price_prompt or 0.0) / 1e6, (self.price_reply or 0.0) / 1e6

    @property
    def server_options(self) -> dict[str, Any]:
        """What is handed to the vLLM server."""
        return dict(self.model_extra or {})


_OURS = {"model", "model_tag", "served_model_name", "host", "port", "uds", "api_key", "hf_token", "trust_remote_code", "config"}

# Options that say where and how fast a vLLM server runs. All others count as identity: better to pay again than a stale reply.
_HARDWARE_PREFIXES = (
    "tensor_parallel", "pipeline_parallel", "data_parallel", "prefill_context_parallel", "decode_context_parallel",
    "enable_expert_parallel", "distributed_", "cpu_offload", "offload_", "kv_offloading", "max_num_",
    "max_loras", "max_cpu_loras", "disable_log", "enable_log", "log_", "numa_", "cudagraph_", "otlp_", "uvicorn_",
)  # fmt: skip
_HARDWARE = {
    "gpu_memory_utilization", "kv_cache_memory_bytes", "block_size", "swap_space", "enable_prefix_caching", "prefix_caching_hash_algo",
    "enforce_eager", "enable_chunked_prefill", "max_parallel_loading_workers", "download_dir", "async_scheduling",
    "scheduling_policy", "disable_custom_all_reduce", "device_ids", "nnodes", "node_rank", "master_addr", "master_port", "max_logprobs",
    "api_server_count", "num_gpu_blocks_override", "safetensors_load_strategy", "optimization_level", "enable_eplb", "renderer_num_workers",
}  # fmt: skip


def identity(spec: EngineSpec) -> Identity:
    """Whose replies these are, without starting anything. Raises ValueError when the model cannot be told."""
    ref = spec.parsed.asked
    options = {k: _told(v) for k, v in spec.server_options.items() if k not in _HARDWARE and not k.startswith(_HARDWARE_PREFIXES)}
    return Identity(*_named(spec, ref), options=tuple(sorted(options.items())))


def _told(value: Any) -> str:
    """An option as it counts: a file (of a chat template, say) by what is in it, wherever it lies."""
    return f"sha256:{file_digest(Path(value))}" if isinstance(value, str) and os.path.isfile(value) else str(value)


def _named(spec: EngineSpec, ref: ModelRef) -> tuple[str, str]:
    """(model, revision)."""
    if ref.scheme == "http":
        if spec.revision is None:
            _warn_unversioned(ref.model)
        return ref.model, spec.revision or "unversioned"
    if ref.scheme in ("vllm", "hf"):
        _, commit = find_folder(ref.target, spec.revision)
        if commit is not None:
            return ref.target, commit
    folder = model_folder(spec)
    if spec.revision is not None:
        raise ValueError(f"{spec.ref} is a folder, its revision is the digest of its files: leave out revision = {spec.revision!r}")
    return folder.resolve().name, f"sha256:{folder_digest(folder)}"


@functools.cache
def _warn_unversioned(model: str) -> None:
    log.warning(
        "model %r has no declared revision: its replies are kept as those of %r for ever, even if the server changes the model; "
        'declare revision = "..." in its engine table',
        model,
        f"{model}@unversioned",
    )


def model_folder(spec: EngineSpec) -> Path:
    """The local folder with the weights, config and tokenizer of an hf:, nano: or vllm: model."""
    ref = spec.parsed.asked
    if ref.scheme == "nano":
        from models.nano import nano_path

        return nano_path(ref.target)
    if ref.scheme == "ckpt":
        raise ValueError(f"{ref} is a checkpoint of a store: only a run of a recipe can find it; give hf:FOLDER here")
    if ref.scheme == "http":
        raise ValueError(f"{ref} lives behind a server and has no folder here: give hf:PATH or nano:NAME")
    folder, _ = find_folder(ref.target, spec.revision)
    if folder is None:
        raise ValueError(f"{ref.target!r} is not on this machine: `hf download {ref.target}` fetches it, or give the path of a folder")
    return folder


def open_backend(spec: EngineSpec) -> Backend:
    """The backend of a spec. Opening starts nothing slow but the weights of `hf:` and `nano:`; torch is imported for these alone."""
    ref = spec.parsed
    who = identity(spec)
    if ref.scheme == "replay":
        from models.replay import ReplayBackend

        return ReplayBackend(who)
    if ref.scheme == "http":
        from models.http import HttpBackend

        return HttpBackend(ref.target, ref.model, who, spec)
    if ref.scheme == "vllm":
        from models.vllm import VllmBackend

        return VllmBackend(who, spec)
    from models.hf import HfBackend

    return HfBackend(model_folder(spec), who)
