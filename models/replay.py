"""`replay:` the ledger alone: what was asked before is answered again, anything else is an error. Starts no model, sends nothing.

The `Engine` looks into the ledger before it asks, so a backend sees the misses only: this one counts and refuses them.
"""

from collections.abc import Sequence

from models.engine import Identity, MissingCall, Prompt, Reply, Sampling
from storage.ids import digest


class ReplayBackend:
    """Refuses every call. `missing` holds a digest of each distinct question it was asked: what a real run would have to pay."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.seeded = False
        self.missing: set[str] = set()

    async def check(self) -> None:
        """Always there."""

    async def generate(self, prompt: Prompt, sampling: Sampling, seed: int) -> Reply:
        """Raises MissingCall."""
        raise self._miss(["generate", prompt.payload(), sampling.model_dump(mode="json"), seed], prompt.preview())

    async def score(self, prompt: Prompt, continuation: str) -> list[float]:
        """Raises MissingCall."""
        raise self._miss(["score", prompt.payload(), continuation], prompt.preview())

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Raises MissingCall, with every text counted."""
        misses = [self._miss(["embed", text], repr(text[:100])) for text in texts]
        raise misses[0]

    async def close(self) -> None:
        """Nothing is held."""

    def _miss(self, question: list[object], preview: str) -> MissingCall:
        self.missing.add(digest(question))
        who = f"{self.identity.model}@{self.identity.revision}"
        return MissingCall(f"not in the ledger: a {question[0]} of {who} for {preview}; run without replay to ask it")
