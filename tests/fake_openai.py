"""A local OpenAI-compatible server for tests: it counts what is asked, answers by rule, and fails as told. No model behind it.

In a test:          with FakeOpenAI(latency_s=0.2) as server: ... server.url ... server.stats()
As a process:       python -m tests.fake_openai --port 0 --latency 0.2      (prints its URL on the first line)
While it runs:      GET /_stats, POST /_reset, POST /_rules {"latency_s": 0, "faults": [{"contains": "x", "kind": "500"}]}

A reply is `Reply N to ... The answer is \\boxed{A}` where A depends on the prompt alone and N on the seed too (not at temperature 0).
Words stand for tokens: max_tokens, stop strings, usage, echo and logprobs hold in words.
"""

import argparse
import collections
import contextlib
import hashlib
import json
import math
import re
import socket
import struct
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

FAULTS = ("500", "503", "429", "400", "401", "truncated", "slow", "reset", "bad_json", "empty", "no_choices", "hang", "content_filter")


@dataclass
class Fault:
    """What goes wrong with prompts that hold `contains` (empty: all)."""

    kind: str
    contains: str = ""
    times: int | None = None
    """How often in all; None: always."""
    each: int | None = None
    """How often for each distinct prompt; None: no such bound."""
    retry_after: str | None = None
    """The header of a 429 or 503; `date:N` is written as the HTTP date N seconds from now."""
    delay_s: float = 30.0
    """`slow` sends its body in as many seconds, `hang` sends nothing for as long."""

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ValueError(f"no fault {self.kind!r}: have {FAULTS}")


@dataclass
class Rules:
    """How the server behaves; all may be changed while it runs."""

    latency_s: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    """Substring of a prompt -> what stands in its box."""
    replies: dict[str, str] = field(default_factory=dict)
    """Substring of a prompt -> the whole text of the reply."""
    models: list[str] = field(default_factory=lambda: ["m"])
    api_key: str | None = None
    tokenize: bool = False
    """Have vLLM's /tokenize: words become their hashes."""


class Counter:
    """What was asked: thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self.calls = self.answered = self.running = self.most_running = 0
        self.prompts: collections.Counter[str] = collections.Counter()
        self.paths: collections.Counter[str] = collections.Counter()
        self.requests: list[dict[str, Any]] = []

    def stats(self) -> dict[str, Any]:
        with self.lock:
            return {
                "calls": self.calls,
                "answered": self.answered,
                "in_flight": self.running,
                "most_in_flight": self.most_running,
                "paths": dict(self.paths),
                "prompts": dict(self.prompts),
                "last_requests": self.requests[-20:],
            }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    rules: Rules
    counter: Counter

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed leave broken connections: no news."""


def prompt_of(body: dict[str, Any]) -> str:
    """The text that stands for a request in counts and rules."""
    if "messages" in body:
        return "\n".join(m["content"] for m in body["messages"])
    given = body.get("prompt", body.get("input", ""))
    return given if isinstance(given, str) else json.dumps(given)


def words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)


def box_of(prompt: str) -> str:
    """The answer to a prompt for which no rule gives one."""
    return str(int(hashlib.sha256(prompt.encode()).hexdigest()[:6], 16) % 1000)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        if self.path == "/_stats":
            self._send(200, self.server.counter.stats())
        elif self.path == "/v1/models":
            if self._allowed():
                self._send(200, {"object": "list", "data": [{"id": m, "object": "model"} for m in self.server.rules.models]})
        else:
            self._send(404, {"error": {"message": f"no {self.path}"}})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        data = self.rfile.read(length)
        if len(data) < length:  # the client died while it asked: nothing was asked
            self.close_connection = True
            return
        body = json.loads(data or b"{}")
        if self.path == "/_reset":
            self.server.counter.reset()
            self._send(200, {})
        elif self.path == "/_rules":
            set_rules(self.server.rules, body)
            self._send(200, {})
        elif self.path == "/tokenize" and self.server.rules.tokenize:
            self._send(200, {"tokens": [int(hashlib.sha256(w.encode()).hexdigest()[:4], 16) for w in words(prompt_of(body))]})
        elif self.path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
            if self._allowed():
                self._counted(body)
        else:
            self._send(404, {"error": {"message": f"no {self.path}"}})

    def _allowed(self) -> bool:
        key = self.server.rules.api_key
        if key is None or self.headers.get("Authorization") == f"Bearer {key}":
            return True
        self._send(401, {"error": {"message": "wrong key"}})
        return False

    def _counted(self, body: dict[str, Any]) -> None:
        counter, prompt = self.server.counter, prompt_of(body)
        with counter.lock:
            counter.calls += 1
            counter.prompts[prompt] += 1
            counter.paths[self.path] += 1
            counter.requests.append(body)
            counter.running += 1
            counter.most_running = max(counter.most_running, counter.running)
            fault = self._fault(prompt)
        try:
            time.sleep(self.server.rules.latency_s)
            if fault is not None:
                self._fail(fault, body)
            else:
                self._send(200, answer(self.path, body, self.server.rules))
                with counter.lock:
                    counter.answered += 1
        finally:
            with counter.lock:
                counter.running -= 1

    def _fault(self, prompt: str) -> Fault | None:
        for fault in self.server.rules.faults:
            due = fault.contains in prompt and fault.times != 0
            if due and (fault.each is None or self.server.counter.prompts[prompt] <= fault.each):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def _fail(self, fault: Fault, body: dict[str, Any]) -> None:
        if fault.kind.isdigit():
            headers = {}
            if fault.retry_after is not None:
                given = fault.retry_after
                headers["Retry-After"] = formatdate(time.time() + float(given[5:]), usegmt=True) if given.startswith("date:") else given
            self._send(int(fault.kind), {"error": {"message": f"told to fail with {fault.kind}"}}, headers)
        elif fault.kind == "reset":  # closing with a zero linger time sends RST
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif fault.kind == "hang":
            time.sleep(fault.delay_s)
            self.close_connection = True
        elif fault.kind == "bad_json":
            self._send_bytes(200, b'{"choices": [{"message": {"content": "half', {})
        elif fault.kind in ("truncated", "slow"):
            self._send_part(fault, json.dumps(answer(self.path, body, self.server.rules)).encode())
        else:
            self._send(200, spoilt(fault.kind, answer(self.path, body, self.server.rules)))

    def _send_part(self, fault: Fault, payload: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.close_connection = True
        if fault.kind == "truncated":
            self.wfile.write(payload[: len(payload) // 2])
            return
        for i in range(len(payload)):
            self.wfile.write(payload[i : i + 1])
            time.sleep(fault.delay_s / len(payload))

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send_bytes(status, json.dumps(value).encode(), headers or {})

    def _send_bytes(self, status: int, payload: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)


def answer(path: str, body: dict[str, Any], rules: Rules) -> dict[str, Any]:
    """The right answer to a request."""
    if path == "/v1/embeddings":
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        return {"data": [{"index": i, "embedding": vector_of(t)} for i, t in reversed(list(enumerate(texts)))], "model": body["model"]}
    text, finish, count = generated(body, rules)
    asked = words(prompt_of(body))
    usage = {"prompt_tokens": len(asked), "completion_tokens": count, "total_tokens": len(asked) + count}
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
    if path == "/v1/chat/completions":
        choice["message"] = {"role": "assistant", "content": text}
    else:
        echoed = [str(t) for t in body["prompt"]] if isinstance(body.get("prompt"), list) else asked
        choice["text"] = ("".join(echoed) if body.get("echo") else "") + text
        if body.get("logprobs") is not None:
            tokens = (echoed if body.get("echo") else []) + words(text)
            choice["logprobs"] = {"tokens": tokens, "token_logprobs": [None, *(logprob_of(t) for t in tokens[1:])]}
    return {"id": "x", "object": "completion", "model": body["model"], "choices": [choice], "usage": usage}


def generated(body: dict[str, Any], rules: Rules) -> tuple[str, str, int]:
    """(text, finish_reason, tokens): a function of the prompt, the seed and the sampling parameters."""
    prompt = prompt_of(body)
    box = next((a for part, a in rules.answers.items() if part in prompt), box_of(prompt))
    drawn = 0 if body.get("temperature", 1) == 0 else body.get("seed", 0)
    number = int(hashlib.sha256(f"{drawn}|{prompt}".encode()).hexdigest()[:8], 16)
    text = f"Reply {number} to a prompt of {len(prompt)} characters. The answer is \\boxed{{{box}}}"
    text = next((t for part, t in rules.replies.items() if part in prompt), text)
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.partition(stop)[0]
    pieces = words(text)
    kept = pieces[: body.get("max_tokens", 512)]
    return "".join(kept), "length" if len(kept) < len(pieces) else "stop", max(1, len(kept))


def vector_of(text: str) -> list[float]:
    """Four numbers of unit length."""
    raw = [b + 1 for b in hashlib.sha256(text.encode()).digest()[:4]]
    return [x / math.hypot(*raw) for x in raw]


def logprob_of(token: str) -> float:
    return -1 - len(token) / 10


def spoilt(kind: str, value: dict[str, Any]) -> dict[str, Any]:
    """An answer with status 200 that is no reply."""
    choice = value["choices"][0]
    if kind == "content_filter":
        choice["finish_reason"] = "content_filter"
    elif kind == "empty":
        choice.update({"message": {"role": "assistant", "content": ""}, "text": ""})
        value["usage"]["completion_tokens"] = 0
    else:
        value["choices"] = []
    return value


def set_rules(rules: Rules, changes: dict[str, Any]) -> None:
    """Replace the named rules; a list of faults replaces all faults."""
    for name, value in changes.items():
        if not hasattr(rules, name):
            raise ValueError(f"no rule {name!r}: have {sorted(vars(rules))}")
        setattr(rules, name, [Fault(**f) if isinstance(f, dict) else f for f in value] if name == "faults" else value)


class FakeOpenAI:
    """The server in a thread of this process. Keyword arguments are `Rules`."""

    def __init__(self, port: int = 0, **rules: Any) -> None:
        self.rules = Rules()
        set_rules(self.rules, rules)
        self.counter = Counter()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.rules, self._server.counter = self.rules, self.counter
        self.port = self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def ref(self) -> str:
        return f"http:{self.url}#m"

    def stats(self) -> dict[str, Any]:
        return self.counter.stats()

    def reset(self) -> None:
        self.counter.reset()

    def set(self, **rules: Any) -> None:
        set_rules(self.rules, rules)

    def serve_forever(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def __enter__(self) -> "FakeOpenAI":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


def ask(url: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Control a server in another process: `ask(url, "/_stats")`, `ask(url, "/_rules", {"faults": []})`; `url` may end in /v1."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url.removesuffix("/v1") + path, data), timeout=30) as response:
        value: dict[str, Any] = json.load(response)
        return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    options = parser.parse_args()
    server = FakeOpenAI(options.port, latency_s=options.latency)
    print(server.url, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
