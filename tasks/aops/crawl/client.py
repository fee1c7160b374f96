"""One connection that asks slowly: robots.txt, intervals, caps and Retry-After before every request, and a stop where it is refused.

No cookies are kept, no proxy is used, nothing is executed, and a challenge is never answered. Sources: RFC 9309, RFC 9110 (Retry-After),
MediaWiki's API etiquette.
"""

import functools
import hashlib
import http.cookiejar
import random
import ssl
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from tasks.aops.crawl.access import Clock, CrawlConfig
from tasks.aops.crawl.frontier import Frontier, Run, RunState
from tasks.aops.crawl.robots import FRESH_S, Robots
from tasks.aops.crawl.verdict import Verdict, judge, judge_robots

_JITTER = 0.2
_MOST_HOPS = 5
_MOST_REFUSALS = 3
_MOST_TROUBLES = 5
_LARGEST_REPLY = 12_000_000
"""MediaWiki's replies have at most 8 MiB of text."""
_LONGEST_WAIT_S = 900.0
"""What the site asks for beyond this ends the run; the next one keeps to it as well."""
_DAY_S = 24 * 3600.0
_EVIDENCE = 2000


class Stop(Exception):
    """The run ends here, for a reason."""

    def __init__(self, state: RunState, reason: str, evidence: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason
        self.evidence = evidence


@dataclass(frozen=True, slots=True)
class Fetched:
    """A reply as it came; `status` 0 with the error in `trouble` where none came."""

    url: str
    status: int
    headers: httpx.Headers
    body: bytes
    trouble: str = ""

    def evidence(self) -> dict[str, Any]:
        """What a person needs to see why a run stopped."""
        start = self.body[:_EVIDENCE].decode("utf-8", errors="replace")
        digest = hashlib.sha256(self.body).hexdigest()
        headers = {name: value for name, value in self.headers.items() if name != "set-cookie"}
        return {"url": self.url, "status": self.status, "headers": headers, "body_sha256": digest, "body_start": start}


@dataclass(frozen=True, slots=True)
class Accepted:
    """A good reply whose log entry is still open: the caller completes it in the transaction that keeps what it says."""

    request: int
    reply: dict[str, Any]
    size: int
    body_sha256: str


class Client:
    """What a run asks through; robots.txt is read before the first question, or taken from the run if it was killed."""

    def __init__(self, config: CrawlConfig, frontier: Frontier, run: Run, clock: Clock, jitter: random.Random) -> None:
        self._config = config
        self._frontier = frontier
        self._run = run
        self._clock = clock
        self._jitter = jitter
        self._robots = Robots(run.robots) if run.robots is not None else None
        self._robots_at = run.robots_at or 0.0
        self._refusals = self._troubles = 0
        self._http = httpx.Client(
            headers={"User-Agent": config.agent, "Accept-Encoding": "gzip"},
            cookies=http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,
            verify=_certificates(),
            timeout=config.timeout_s,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def ask(self, url: str) -> Accepted:
        """The reply to an API query, asked again where the site wants that. Raises Stop when the run must end."""
        while True:
            self._read_robots()
            request, fetched = self._follow(url)
            verdict = judge(fetched.status, fetched.headers, fetched.body, fetched.trouble)
            if verdict.kind == "good":
                self._refusals = self._troubles = 0
                return Accepted(request, verdict.reply, len(fetched.body), hashlib.sha256(fetched.body).hexdigest())
            self._log(request, fetched, verdict.reason, self._not_before(verdict))
            self._stop_if_enough(verdict, fetched)

    def reject(self, accepted: Accepted, reason: str) -> None:
        """A reply that looked good and is of no use: it counts as trouble."""
        self._troubles += 1
        wait = self._clock.now() + self._pause_s(self._troubles)
        self._frontier.answered(accepted.request, self._clock.now(), reason, 200, accepted.size, accepted.body_sha256, wait)
        if self._troubles >= _MOST_TROUBLES:
            raise Stop("blocked", f"{self._troubles} replies in a row were of no use, the last: {reason}")

    def _stop_if_enough(self, verdict: Verdict, fetched: Fetched) -> None:
        if verdict.kind == "blocked":
            raise Stop("blocked", verdict.reason, fetched.evidence())
        if verdict.kind == "refused":
            self._refusals += 1
        else:
            self._troubles += 1
        for count, most in ((self._refusals, _MOST_REFUSALS), (self._troubles, _MOST_TROUBLES)):
            if count >= most:
                raise Stop("blocked", f"{count} requests in a row failed, the last: {verdict.reason}", fetched.evidence())

    def _not_before(self, verdict: Verdict) -> float | None:
        """When to ask again after a failure: as the site says, else after a pause that doubles."""
        if verdict.kind == "blocked":
            return None
        if verdict.retry_after_s is not None:
            return self._clock.now() + verdict.retry_after_s
        return self._clock.now() + self._pause_s(self._refusals + self._troubles + 1)

    def _pause_s(self, failures: int) -> float:
        return self._interval_s() * 2.0**failures

    def _interval_s(self) -> float:
        return max(self._config.min_interval_s, self._robots.delay_s if self._robots is not None else 0.0)

    # ---- robots.txt

    def _read_robots(self) -> None:
        """Fetch robots.txt unless this run has a copy that may still be used. Raises Stop if nothing may be fetched."""
        if self._robots is not None and self._clock.now() - self._robots_at < FRESH_S:
            return
        self._robots = None
        request, fetched = self._follow(f"{self._config.site}/robots.txt")
        verdict = judge_robots(fetched.status, fetched.headers, fetched.body, fetched.trouble)
        rules = Robots.of_reply(fetched.status, fetched.body) if verdict.kind == "good" else verdict.reason
        wait = self._clock.now() + verdict.retry_after_s if verdict.retry_after_s is not None else None
        self._log(request, fetched, "robots.txt" if isinstance(rules, Robots) else rules, wait)
        if isinstance(rules, str):
            raise Stop("blocked" if verdict.kind == "blocked" else "refused", rules, fetched.evidence())
        self._robots, self._robots_at = rules, self._clock.now()
        self._frontier.note_robots(self._run, rules.text, self._robots_at)

    # ---- one request

    def _follow(self, url: str) -> tuple[int, Fetched]:
        """Send a request and follow redirects, each as a request of its own; the log entry of the last one is left open."""
        fetched = None
        for _ in range(_MOST_HOPS + 1):
            self._check(url, fetched)
            self._wait_for_turn()
            request = self._frontier.sent(self._run, url, self._clock.now())
            fetched = self._send(url)
            target = fetched.headers.get("location")
            if fetched.status not in (301, 302, 303, 307, 308) or target is None:
                return request, fetched
            self._log(request, fetched, f"redirect to {target}", None)
            url = _joined(url, target)
        raise Stop("blocked", f"{_MOST_HOPS} redirects in a row, the last to {url}", fetched.evidence() if fetched else None)

    def _check(self, url: str, sent_by: Fetched | None) -> None:
        """Whether an address may be asked at all: on this site, and allowed by its robots.txt. `sent_by` is the redirect that led there."""
        ours, theirs = urlsplit(self._config.site), urlsplit(url)
        evidence = sent_by.evidence() if sent_by is not None else None
        if (ours.scheme, ours.netloc) != (theirs.scheme, theirs.netloc):
            raise Stop("blocked", f"the site redirects to another one: {url}", evidence)
        if self._robots is not None and not self._robots.allows(url):
            raise Stop("refused", f"robots.txt forbids {url}", evidence)

    def _wait_for_turn(self) -> None:
        """Until the interval since the last request of any run is over, and what the site asked for. Raises Stop at a cap."""
        now = self._clock.now()
        of_run, of_day = self._frontier.count(self._run, now - _DAY_S)
        for count, most, what in (
            (of_run, self._config.max_requests_per_run, "run"),
            (of_day, self._config.max_requests_per_day, "24 hours"),
        ):
            if count >= most:
                raise Stop("capped", f"{count} requests in this {what} are all that are allowed; the next run goes on")
        last, not_before = self._frontier.last_times()
        interval = self._interval_s() * (1 + _JITTER * self._jitter.random())
        pause = min(interval, last + interval - now) if last is not None else 0.0
        asked_for = (not_before or 0.0) - now
        if asked_for > _LONGEST_WAIT_S:
            raise Stop("waiting", f"the site asks to be left alone for {asked_for / 60:.0f} minutes; a run after that goes on")
        if (wait := max(pause, asked_for)) > 0:
            self._clock.sleep(wait)

    def _send(self, url: str) -> Fetched:
        """One exchange, within size and time."""
        deadline, body, none = time.monotonic() + self._config.timeout_s, bytearray(), httpx.Headers()
        try:
            with self._http.stream("GET", url) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > _LARGEST_REPLY:
                        return Fetched(url, 0, none, b"", f"reply larger than {_LARGEST_REPLY} bytes")
                    if time.monotonic() > deadline:
                        return Fetched(url, 0, none, b"", f"reply slower than {self._config.timeout_s:g} s")
                return Fetched(url, response.status_code, response.headers, bytes(body))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Fetched(url, 0, none, b"", f"{type(error).__name__}: {error}"[:200])

    def _log(self, request: int, fetched: Fetched, outcome: str, not_before: float | None) -> None:
        digest = hashlib.sha256(fetched.body).hexdigest() if fetched.body else None
        self._frontier.answered(request, self._clock.now(), outcome, fetched.status or None, len(fetched.body), digest, not_before)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes a while, and settings of the environment have no say in it."""
    return httpx.create_ssl_context(trust_env=False)


def _joined(url: str, target: str) -> str:
    """Where a redirect leads. Raises Stop if it leads nowhere."""
    try:
        return urljoin(url, target)
    except ValueError as error:
        raise Stop("blocked", f"a redirect to {target!r:.200}: {error}") from error
