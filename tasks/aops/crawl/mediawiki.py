"""The action API of MediaWiki: addresses of queries, and what their replies say of each title. Pure; it sends nothing.

Redirects are not resolved by the wiki: a stub is a page with a revision of its own, so both identities of a shared problem stay.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from tasks.aops.pages import normal_title

MOST_TITLES = 50
"""Titles in a request: more are dropped by the wiki without an error."""
_ALWAYS = {"format": "json", "formatversion": "2", "errorformat": "plaintext", "maxlag": "5", "assert": "anon"}
_PROPS = {
    "check": {"prop": "info"},
    "fetch": {"prop": "info|revisions", "rvprop": "ids|timestamp|sha1|content", "rvslots": "main"},
}
_SITEINFO = {"meta": "siteinfo", "siprop": "general"}

Step = Literal["check", "fetch"]


@dataclass(frozen=True, slots=True)
class Query:
    """One question: `check` asks for revision numbers, `fetch` for text. `more` is the token of a reply that was cut."""

    step: Step
    titles: tuple[str, ...]
    more: tuple[tuple[str, str], ...] = ()

    def url(self, site: str, siteinfo: bool = False) -> str:
        """Its address; `siteinfo` asks for the wiki's version too."""
        if len(self.titles) > MOST_TITLES:
            raise ValueError(f"{len(self.titles)} titles in one request: at most {MOST_TITLES}")
        asked = {"action": "query", **_ALWAYS, **_PROPS[self.step], **(_SITEINFO if siteinfo else {}), "titles": "|".join(self.titles)}
        return f"{site}/wiki/api.php?{urlencode(asked | dict(self.more))}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a reply says of one title. `cut`: nothing yet, the reply was full before its text."""

    title: str
    what: Literal["missing", "known", "text", "hidden", "cut"]
    page_id: int | None = None
    revid: int | None = None
    revised_at: str | None = None
    sha1: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class QueryReply:
    """A reply, read."""

    seen: dict[str, Seen]
    """By the title that was asked for; a title without entry was not answered."""
    more: tuple[tuple[str, str], ...]
    """Token to ask on with; empty if the reply is whole."""
    generator: str | None


def read_reply(query: Query, reply: dict[str, Any]) -> QueryReply:
    """What a reply to `query` says. Raises ValueError, TypeError, KeyError or AttributeError if it has not the shape of one."""
    found = reply.get("query")
    pages = found.get("pages", []) if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(pages, list):
        raise ValueError("the reply has no list of pages")
    asked_as = {entry["to"]: entry["from"] for entry in found.get("normalized", ())}
    seen = {entry.title: entry for entry in _entries(query.step, pages, asked_as) if entry.title in query.titles}
    more = tuple(sorted((_text(k), _text(str(v))) for k, v in reply.get("continue", {}).items()))
    generator = found.get("general", {}).get("generator")
    return QueryReply(seen, more, _text(generator) if generator is not None else None)


def _entries(step: Step, pages: list[dict[str, Any]], asked_as: dict[str, str]) -> Iterator[Seen]:
    for page in pages:
        if not isinstance(page, dict) or not isinstance(page.get("title"), str):
            raise ValueError(f"a page without title: {page!r:.80}")
        if "invalid" not in page:
            yield _entry(step, normal_title(asked_as.get(page["title"], page["title"])), page)


def _entry(step: Step, title: str, page: dict[str, Any]) -> Seen:
    if page.get("missing"):
        return Seen(title, "missing")
    page_id, revisions = _number(page.get("pageid")), page.get("revisions") or ()
    if step == "check":
        return Seen(title, "known", page_id, _number(page.get("lastrevid")))
    if not revisions:
        return Seen(title, "cut", page_id)
    revision = revisions[0]
    slot = revision.get("slots", {}).get("main", {})
    text = slot.get("content")
    what: Literal["text", "hidden", "cut"] = "hidden" if slot.get("texthidden") else "text" if _is_text(text) else "cut"
    stamp, sha1 = _text(revision.get("timestamp", "")), _text(revision.get("sha1", ""))
    return Seen(title, what, page_id, _number(revision.get("revid")), stamp or None, sha1 or None, text if what == "text" else "")


def _number(value: Any) -> int:
    """A page id or revision number. Raises ValueError for what no database holds as one."""
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f"no page or revision number: {value!r:.40}")
    return value


def _text(value: Any) -> str:
    """Raises ValueError for what is no text: JSON can hold halves of surrogate pairs."""
    if not _is_text(value):
        raise ValueError(f"no text: {value!r:.40}")
    return str(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value if c > "\ud7ff")
