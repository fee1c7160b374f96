"""On what terms the wiki is asked: who, how slowly, how often. Off until a person has accepted the site's terms and gives a contact."""

import importlib.metadata
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from tasks.aops.contests import Schedule
from tasks.aops.pages import SITE
from tasks.stage import StageConfig

ROBOT = "mathmill-crawler"
"""The product token that robots.txt may name."""
SLOWEST_ALLOWED_S = 5.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")
EVERYTHING = "all"
_CONTACT = re.compile(r"[^\s@()<>;]+@[^\s@()<>;]+\.[^\s@()<>;]+|https://[^\s()<>;]+\.[^\s()<>;]+")


def is_local(site: str) -> bool:
    """Whether an address is one of this machine."""
    return urlsplit(site).hostname in LOOPBACK


class CrawlConfig(StageConfig):
    """What is crawled and on what terms."""

    contests: tuple[str, ...] = ()
    """Names of the schedule (tasks/aops/contests.toml), or `all` alone. None are crawled by default."""
    years: tuple[int, ...] = ()
    """Only these years of them; empty for all years."""
    contact: str = ""
    """E-mail address or https address under which the operator can be reached; it is part of the User-Agent."""
    accept_terms: bool = False
    """True once a person has read the site's terms of service and accepted them."""
    site: str = SITE
    """Where the wiki is: the real site, or a server on this machine (`mathmill demo-site`) that has the invented contests."""
    min_interval_s: float = Field(SLOWEST_ALLOWED_S, ge=0)
    """Seconds between the end of a reply and the next request, with up to 20 % on top. At least 5, except on this machine."""
    max_requests_per_run: int = Field(300, ge=1)
    """A run stops here; the next one goes on."""
    max_requests_per_day: int = Field(1000, ge=1)
    """Requests in any 24 hours, over all runs of an archive."""
    timeout_s: float = Field(60.0, gt=0)
    """A request fails when connecting takes longer, or any wait for data, or the whole body."""

    @field_validator("contact")
    @classmethod
    def _reachable(cls, contact: str) -> str:
        if contact and not _CONTACT.fullmatch(contact):
            raise ValueError(f"no contact {contact!r}: give an e-mail address or an https address")
        return contact

    @field_validator("site")
    @classmethod
    def _known(cls, site: str) -> str:
        parts = urlsplit(site)
        local = parts.scheme == "http" and is_local(site) and not (parts.path.strip("/") or parts.query or parts.username)
        if site.rstrip("/") != SITE and not local:
            raise ValueError(f"no site {site!r}: have {SITE} and servers on this machine (http://127.0.0.1:PORT)")
        return site.rstrip("/")

    @model_validator(mode="after")
    def _slow_enough(self) -> "CrawlConfig":
        if not self.local and self.min_interval_s < SLOWEST_ALLOWED_S:
            raise ValueError(f"min_interval_s={self.min_interval_s:g} is too fast for {self.site}: at least {SLOWEST_ALLOWED_S:g}")
        return self

    @property
    def local(self) -> bool:
        """The site is a server on this machine."""
        return is_local(self.site)

    @property
    def agent(self) -> str:
        """The User-Agent: what asks, and whom to write to about it."""
        return f"{ROBOT}/{importlib.metadata.version('mathmill')} (+{self.contact})"

    def off(self) -> str | None:
        """Why nothing is crawled; None if crawling is on."""
        missing = []
        if not self.accept_terms:
            missing.append("the terms of service of the site are not accepted (accept_terms)")
        if not self.contact:
            missing.append("there is no contact (contact)")
        if not self.contests:
            missing.append(f"no contest is chosen (contests; {EVERYTHING!r} for every one)")
        return "; ".join(missing) or None

    def check(self, schedule: Schedule) -> None:
        """Raises ValueError for contests or years that the schedule does not have, even while crawling is off."""
        if self.contests:
            self.titles(schedule)

    def titles(self, schedule: Schedule) -> list[str]:
        """What is to be crawled. Raises ValueError for what the schedule does not have."""
        names = () if self.contests == (EVERYTHING,) else self.contests
        return schedule.titles(names, self.years, invented=self.local)


@dataclass(frozen=True)
class Clock:
    """Seconds since 1970, and waiting: what a test may replace."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
