"""A page of the wiki as it was found: text, revision, and where it comes from. Crawler and importers make them, the parser reads them."""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

PageStatus = Literal["ok", "redirect", "missing", "hidden"]

SITE = "https://artofproblemsolving.com"
LICENCE_NOTE = (
    "contest text: copyright of its authors (MAA where the page says so); solutions: wiki contributors; "
    "no free licence found: not redistributable"
)


@dataclass(frozen=True, slots=True)
class RawPage:
    """One page at one revision. `missing` and `hidden` are tombstones: the text is gone here too, `revid` says that it was there once."""

    title: str
    """Normal form: spaces, first letter upper case."""
    page_id: int | None
    revid: int | None
    """Revision; None where the source does not say."""
    revised_at: str | None
    """When that revision was saved, ISO 8601, UTC."""
    sha1: str | None
    """Of the UTF-8 text, 40 hex digits, as the wiki gives it."""
    sha256: str
    """Of the UTF-8 text, 64 hex digits: the name of its blob."""
    text: str
    """Wikitext as saved."""
    redirect_to: str | None
    """Target of a redirect, in normal form without its section."""
    status: PageStatus
    source_url: str
    licence_note: str


def raw_page(
    title: str,
    text: str,
    *,
    page_id: int | None = None,
    revid: int | None = None,
    revised_at: str | None = None,
    source_url: str | None = None,
    licence_note: str = LICENCE_NOTE,
) -> RawPage:
    """A page that was there, its hashes and redirect target computed from the text."""
    data = text.encode()
    target = redirect_target(text)
    return RawPage(
        title=normal_title(title),
        page_id=page_id,
        revid=revid,
        revised_at=revised_at,
        sha1=hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        sha256=hashlib.sha256(data).hexdigest(),
        text=text,
        redirect_to=target,
        status="redirect" if target is not None else "ok",
        source_url=source_url or page_url(title),
        licence_note=licence_note,
    )


def gone_page(title: str, status: Literal["missing", "hidden"], page_id: int | None = None, revid: int | None = None) -> RawPage:
    """The tombstone of a page that is missing, or whose text was hidden; `page_id` and `revid` are the last ones known."""
    empty = hashlib.sha256(b"").hexdigest()
    return RawPage(normal_title(title), page_id, revid, None, None, empty, "", None, status, page_url(title), LICENCE_NOTE)


_REDIRECT = re.compile(r"\s*#redirect\s*:?\s*\[\[([^\]|#]*)(?:#[^\]|]*)?(?:\|[^\]]*)?\]\]", re.IGNORECASE)


def redirect_target(text: str) -> str | None:
    """The page that a redirect stub leads to, None for other pages: `#redirect [[A_B#Part]]` gives `A B`."""
    found = _REDIRECT.match(text)
    return normal_title(found[1]) or None if found else None


def normal_title(title: str) -> str:
    """A title as the wiki writes it: `_` is a space, none at the ends, none doubled, the first letter upper case."""
    title = " ".join(title.replace("_", " ").split())
    return title[:1].upper() + title[1:]


def page_url(title: str, site: str = SITE) -> str:
    """The address of a page on the wiki."""
    path = quote(normal_title(title).replace(" ", "_"), safe="/:'(),!*")
    return f"{site}/wiki/index.php/{path}"


_PATH = re.compile(r"/wiki(?:/index\.php)?/(.+)", re.IGNORECASE)


def title_of_url(url: str) -> str | None:
    """The title that a wiki address names, in any of its spellings (path or `?title=`, `_`, `%2F`, old hosts); None if it names none."""
    try:
        parts = urlsplit(url)
    except ValueError:  # no address at all: links in saved pages can be anything
        return None
    host = (parts.hostname or "").rstrip(".")
    if host not in ("", "127.0.0.1", "artofproblemsolving.com", "www.artofproblemsolving.com", "wiki.artofproblemsolving.com"):
        return None
    if given := parse_qs(parts.query).get("title"):
        return normal_title(given[0]) or None
    path = unquote(parts.path)
    found = _PATH.fullmatch(path)
    return normal_title(found[1]) if found and path.lower().rstrip("/") not in ("/wiki/index.php", "/wiki/api.php") else None
