"""robots.txt by RFC 9309, read by Protego. `urllib.robotparser` ends a group at a blank line and knows no `*`: it gets this site wrong."""

from dataclasses import dataclass
from functools import cached_property

from protego import Protego

from tasks.aops.crawl.access import ROBOT

FRESH_S = 24 * 3600.0
"""How long a copy may be used (RFC 9309, 2.4)."""
_LONGEST = 512_000


@dataclass(frozen=True)
class Robots:
    """The rules of one site for this crawler."""

    text: str

    @classmethod
    def of_reply(cls, status: int, body: bytes) -> "Robots | str":
        """The rules that a reply gives, or why nothing may be fetched: no rules (404, 410) allow everything, an error allows nothing."""
        if status in (404, 410):
            return cls("")
        if status != 200:
            return f"robots.txt cannot be read (status {status}), so nothing may be fetched"
        text = body[:_LONGEST].decode("utf-8", errors="replace").lstrip("\ufeff")
        if text.lstrip().startswith("<"):
            return "in place of robots.txt there is a web page, so nothing may be fetched"
        return cls(text)

    @cached_property
    def _rules(self) -> Protego:
        return Protego.parse(self.text)

    def allows(self, url: str) -> bool:
        """Whether this crawler may fetch an address."""
        return bool(self._rules.can_fetch(url, ROBOT))

    @cached_property
    def delay_s(self) -> float:
        """Seconds between requests that the rules ask for; 0 if they say nothing."""
        rate = self._rules.request_rate(ROBOT)
        return max(float(self._rules.crawl_delay(ROBOT) or 0.0), rate.seconds / rate.requests if rate and rate.requests else 0.0)
