"""What a reply means: good, ask again later, trouble on the way, or not welcome. A status of 200 alone proves nothing.

A challenge page comes with status 403 or 503, and sometimes with 200. It is recognised in order to stop.
"""

import email.utils
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

_BUSY = ("maxlag", "ratelimited", "readonly")
"""Errors of the API that ask for patience."""
_CHALLENGE = (
    b"just a moment",
    b"challenge-platform",
    b"cf-chl",
    b"cf_chl",
    b"attention required! | cloudflare",
    b"enable javascript and cookies to continue",
    b"verify you are human",
    b"captcha",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`refused`: the site wants to be asked later (`retry_after_s` where it says when). `trouble`: no usable reply. `blocked`: stop."""

    kind: Literal["good", "refused", "trouble", "blocked"]
    reason: str = ""
    retry_after_s: float | None = None
    reply: dict[str, Any] = field(default_factory=dict)
    """The JSON of a good reply."""


def judge(status: int, headers: Mapping[str, str], body: bytes, trouble: str = "") -> Verdict:
    """What a reply to an API query means; `trouble` is the error of a request without reply. Header names as httpx has them."""
    plain = _judge_status(status, headers, body, trouble)
    if plain is not None:
        return plain
    if status != 200:
        return Verdict("trouble", f"status {status}", retry_after_s(headers))
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError) as error:
        return Verdict("trouble", _plain(f"no JSON: {error}"))
    if not isinstance(reply, dict):
        return Verdict("trouble", "JSON that is no object")
    return _judge_errors(reply, headers)


def judge_robots(status: int, headers: Mapping[str, str], body: bytes, trouble: str = "") -> Verdict:
    """What a reply to the request for robots.txt means; `good` leaves its status to be looked at."""
    plain = _judge_status(status, headers, body, trouble)
    if plain is None:
        return Verdict("good")
    return plain if plain.kind == "blocked" else Verdict(plain.kind, f"robots.txt cannot be read ({plain.reason})", plain.retry_after_s)


def _judge_status(status: int, headers: Mapping[str, str], body: bytes, trouble: str) -> Verdict | None:
    if trouble:
        return Verdict("trouble", trouble)
    if is_challenge(headers, body):
        return Verdict("blocked", f"the site shows a challenge to robots (status {status})")
    if status in (401, 403):
        return Verdict("blocked", f"the site refuses access (status {status})")
    if status in (429, 503):
        return Verdict("refused", f"status {status}", retry_after_s(headers))
    return None


def is_challenge(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a reply is a page that wants to see a person or a browser."""
    if headers.get("cf-mitigated", "").lower() == "challenge":
        return True
    page = "html" in headers.get("content-type", "").lower() or body.lstrip()[:1] == b"<"
    start = body[:65536].lower()
    return page and any(mark in start for mark in _CHALLENGE)


def _judge_errors(reply: dict[str, Any], headers: Mapping[str, str]) -> Verdict:
    """Errors of MediaWiki in a reply of status 200, in the old form (`error`) and the new one (`errors`)."""
    found = reply.get("errors") or ([reply["error"]] if "error" in reply else [])
    if not found:
        return Verdict("good", reply=reply)
    first = found[0] if isinstance(found, list) and isinstance(found[0], dict) else {}
    code, said = str(first.get("code", "?")), str(first.get("text") or first.get("info") or "")
    if code in _BUSY:
        return Verdict("refused", f"API error {code}", retry_after_s(headers))
    return Verdict("trouble", _plain(f"API error {code}: {said}"))


def _plain(text: str) -> str:
    """What a log can hold: JSON may bring halves of surrogate pairs."""
    return text.encode("utf-8", "backslashreplace").decode()[:200]


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for, given as seconds or as a date (counted from the server's own `Date`); None if it is not there."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    wanted = _time(text)
    if wanted is None:
        return None
    server = _time(headers.get("date", ""))
    return max(0.0, wanted - (server if server is not None else time.time()))


def _time(text: str) -> float | None:
    """An HTTP date as seconds since 1970; None for anything else."""
    parsed = email.utils.parsedate_tz(text)
    try:
        return float(email.utils.mktime_tz(parsed)) if parsed is not None else None
    except (ValueError, OverflowError):
        return None
