"""`vllm:` a vLLM server of our own, in its own process (and environment): GPU memory comes back by exit, dependency pins never meet.

The server is started by the first call or check, on a free loopback port with a random key, and stopped at close, when another
managed server is wanted in its place, or by its supervisor when this process dies. Requests are those of `http:`.
"""

import asyncio
import contextlib
import functools
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

import httpx

import models.supervise
from models.engine import EngineError, Identity, Prompt, Reply, Sampling
from models.http import HttpBackend
from models.refs import EngineSpec
from models.vllm_host import command_of, free_port, gpus, lock_devices, vocabulary_size
from models.weights import find_folder

log = logging.getLogger(__name__)

_PORT_TRIES = 3
_STOP_S = 30.0


class _PortTaken(Exception):
    """Somebody else took the port between our choice and the server's start."""


@dataclass
class _Server:
    """A started server."""

    process: subprocess.Popen[bytes]
    url: str
    http: HttpBackend
    log_file: Path

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log_file.read_text(errors="replace").splitlines()
        return f"exit code {self.process.returncode}; the end of {self.log_file}:\n" + "\n".join(lines[-25:])


@dataclass
class _Place:
    """One managed server of this process runs at a time; `lock` is held while that changes."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    holder: "VllmBackend | None" = None


_places: WeakKeyDictionary[asyncio.AbstractEventLoop, _Place] = WeakKeyDictionary()


class VllmBackend:
    """A model behind a managed server. After `close` (or after it gave way to another) the next call starts it again."""

    def __init__(self, identity: Identity, spec: EngineSpec) -> None:
        self.identity = identity
        self.seeded = spec.send_seed
        self._spec = spec
        self._server: _Server | None = None
        self._failed: EngineError | None = None
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def check(self) -> None:
        """Start the server and wait until it answers. Raises EngineError with the end of its log when it does not come up."""
        async with self._in_use():
            pass

    async def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Reply:
        """One reply. Raises EngineError after the last attempt, or with the end of the log when the server died."""
        self._check_ids(prompt)
        async with self._in_use() as http:
            return await http.generate(prompt, sampling, seed)

    async def score(self, prompt: Prompt, continuation: str) -> list[float]:
        """Log-probability (nats) of each token of `continuation`, tokenised by itself, after `prompt`."""
        self._check_ids(prompt)
        async with self._in_use() as http:
            return await http.score(prompt, continuation)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text; the model must be one that vLLM serves for embedding (`runner = "pooling"`)."""
        async with self._in_use() as http:
            return await http.embed(texts)

    async def close(self) -> None:
        """Stop the server, give its memory and its GPUs back."""
        async with _place().lock:
            await self._stop()

    @contextlib.asynccontextmanager
    async def _in_use(self) -> AsyncIterator[HttpBackend]:
        server = await self._running()
        try:
            yield server.http
        except EngineError as error:
            if await _died(server):
                self._failed = EngineError(f"the vLLM server of {self.identity} died: {server.tail()}")
                raise self._failed from error
            raise
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def _running(self) -> _Server:
        """The server, counted as busy; started if need be, once the one in its place has fallen idle and is stopped."""
        place = _place()
        async with place.lock:
            if self._failed is not None:
                raise self._failed
            if self._server is None:
                if place.holder is not None:
                    await place.holder._idle.wait()
                    await place.holder._stop()
                try:
                    self._server = await self._start()
                except EngineError as error:
                    self._failed = error
                    raise
                place.holder = self
            self._busy += 1
            self._idle.clear()
            return self._server

    async def _start(self) -> _Server:
        command, environment = command_of(self._spec, self.identity)
        for attempt in range(_PORT_TRIES):
            server = self._launch(command, environment, await self._devices())
            try:
                await self._answering(server)
                return server
            except _PortTaken as error:
                log.warning("%s (attempt %d of %d)", error, attempt + 1, _PORT_TRIES)
                await _end(server)
            except BaseException:
                await asyncio.shield(_end(server))
                raise
        raise EngineError(f"the vLLM server of {self.identity} found its port taken {_PORT_TRIES} times running: {server.tail()}")

    async def _devices(self) -> list[int]:
        """Locks on this process's devices, waited for as long as it takes."""
        said = False
        while (held := lock_devices()) is None:
            if not said:
                log.warning("%s waits for %s: another server holds it", self.identity, gpus() or "the CPU")
            said = True
            await asyncio.sleep(0.5)
        return held

    def _launch(self, command: list[str], environment: dict[str, str], locks: list[int]) -> _Server:
        try:
            port, key = free_port(), secrets.token_urlsafe(24)
            folder = Path(tempfile.mkdtemp(prefix="mathmill-vllm-"))
            supervised = [sys.executable, str(Path(models.supervise.__file__)), "--", *command, "--port", str(port)]
            url = f"http://127.0.0.1:{port}/v1"
            http = HttpBackend(url, self.identity.model, self.identity, self._spec, api_key=key)
            with open(folder / "server.log", "wb") as out:
                process = subprocess.Popen(
                    supervised,
                    stdin=subprocess.PIPE,  # held open for as long as this process lives
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env={**environment, "VLLM_API_KEY": key},
                    cwd=folder,  # not ours: `-m` puts the current folder first in the server's path
                    pass_fds=locks,  # the supervisor alone keeps the devices locked, until the server's last process is gone
                    start_new_session=True,  # Ctrl-C is for the flow, which then stops the server in order
                )
        except OSError as error:
            raise EngineError(f"no vLLM server of {self.identity} can be started here: {error}") from error
        finally:
            for descriptor in locks:
                os.close(descriptor)
        log.info("starting vLLM for %s on port %d, log in %s", self.identity, port, out.name)
        return _Server(process, url, http, folder / "server.log")

    async def _answering(self, server: _Server) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._spec.start_timeout_s):
                while not server.ended:
                    try:
                        await server.http.check()
                        if await guarded(server.url):
                            return
                        log.warning("%s is answered by a server that takes any key: not the one started here", server.url)
                    except EngineError as error:  # nobody there yet, or a stranger on the port, over whom our server will stumble
                        log.debug("not yet: %s", error)
                    await asyncio.sleep(0.25)
        if not server.ended:
            limit = f"start_timeout_s = {self._spec.start_timeout_s:g}"
            raise EngineError(f"the vLLM server of {self.identity} did not answer within {limit}: {server.tail()}")
        if "address already in use" in server.log_file.read_text(errors="replace").lower():
            raise _PortTaken(f"the port of {server.log_file} was taken by another process")
        raise EngineError(f"the vLLM server of {self.identity} did not start: {server.tail()}")

    async def _stop(self) -> None:
        server, self._server = self._server, None
        place = _place()
        if place.holder is self:
            place.holder = None
        if server is not None:
            await asyncio.shield(_end(server))
            if self._failed is None:
                shutil.rmtree(server.log_file.parent, ignore_errors=True)
        self._failed = None

    @functools.cached_property
    def _vocabulary(self) -> int | None:
        folder, _ = find_folder(self._spec.parsed.asked.target, self._spec.revision)
        return None if folder is None else vocabulary_size(folder)

    def _check_ids(self, prompt: Prompt) -> None:
        """A token id beyond the vocabulary kills the engine instead of being refused."""
        if prompt.token_ids and self._vocabulary is not None:
            bad = [i for i in prompt.token_ids if not 0 <= i < self._vocabulary]
            if bad:
                raise EngineError(f"token ids {bad[:5]} are outside the vocabulary of {self.identity}: it has 0 to {self._vocabulary - 1}")


async def guarded(url: str) -> bool:
    """Whether the server at `url` refuses a wrong key, as ours does. Replies of a stranger on its port would be kept as the model's."""
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        try:
            answer = await client.get(f"{url}/models", headers={"Authorization": "Bearer none of yours"})
        except httpx.HTTPError as error:
            log.debug("no answer to a wrong key: %s", error)
            return False
    return answer.status_code == 401


async def _died(server: _Server) -> bool:
    """Whether it is the server that failed and not the call. Its supervisor ends last, after what the server left behind."""
    if server.ended:
        return True
    try:
        await server.http.check()
        return False
    except EngineError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(server.process.wait, _STOP_S)
        return server.ended


async def _end(server: _Server) -> None:
    """Have the supervisor end the server, and wait until it has."""
    server.process.terminate()  # closing the pipe would do, were it not that a fork of this process may hold it open
    await server.http.close()
    try:
        await asyncio.to_thread(server.process.wait, _STOP_S)
    except subprocess.TimeoutExpired:
        log.warning("the supervisor of %s does not end: killed", server.log_file)
        server.process.kill()
        await asyncio.to_thread(server.process.wait)
    if server.process.stdin is not None:
        server.process.stdin.close()


def _place() -> _Place:
    return _places.setdefault(asyncio.get_running_loop(), _Place())
