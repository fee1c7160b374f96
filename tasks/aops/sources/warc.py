"""WARC files (ISO 28500), as archives of the web keep them: the wiki's responses as pages (HTML, raw wikitext, API replies).

Other addresses are passed over; a challenge page or an error under an address of the wiki is refused and counted.
"""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed

from tasks.aops.contests import Refused
from tasks.aops.pages import RawPage, gone_page, raw_page, title_of_url
from tasks.aops.sources.html import read_html

_MOST_BYTES = 8 << 20
"""A body longer than this is no page of a contest."""


def read_warc(stream: BinaryIO, name: str) -> Iterator[RawPage | Refused]:
    """Every response of the wiki. Raises ValueError, naming the file, where it is no WARC."""
    try:
        for record in ArchiveIterator(stream):
            if record.format != "warc":  # what begins like nothing else is taken for the older ARC
                raise ValueError(f"{name} is no WARC file, or is damaged: it does not begin with WARC/1")
            url = record.rec_headers.get_header("WARC-Target-URI") or ""
            if record.rec_type == "response" and _of_wiki(url):
                yield from _response(record, url)
    except ArchiveLoadFailed as error:
        raise ValueError(f"{name} is no WARC file, or is damaged: {error}") from error


def _of_wiki(url: str) -> bool:
    return title_of_url(url) is not None or urlsplit(url).path.endswith("/wiki/api.php")


def _response(record: Any, url: str) -> Iterator[RawPage | Refused]:
    title = title_of_url(url)
    status = record.http_headers.get_statuscode() if record.http_headers else "?"
    body = record.content_stream().read(_MOST_BYTES + 1)
    kind = (record.http_headers.get_header("Content-Type") or "").lower() if record.http_headers else ""
    if record.raw_stream.limit > 0 and len(body) <= _MOST_BYTES:
        yield Refused(title or url, "cut off", f"{record.raw_stream.limit} bytes are missing at the end of the file")
    elif len(body) > _MOST_BYTES:
        yield Refused(title or url, "too large", f"more than {_MOST_BYTES} bytes")
    elif status == "404" and title:
        yield gone_page(title, "missing")
    elif status != "200":
        yield Refused(title or url, "no answer of the wiki", f"status {status}")
    elif title is None:
        yield from _reply(body, url)
    elif "html" in kind:
        yield read_html(body.decode("utf-8", errors="replace"), url, title)
    elif parse_qs(urlsplit(url).query).get("action") == ["raw"]:
        yield raw_page(title, body.decode("utf-8", errors="replace"))
    else:
        yield Refused(title, "no answer of the wiki", f"content type {kind!r}")


def _reply(body: bytes, url: str) -> Iterator[RawPage | Refused]:
    """Pages of a reply of the API (`prop=revisions`, `formatversion=2`). A page without text there was cut off, not empty."""
    try:
        pages = json.loads(body).get("query", {}).get("pages", [])
    except (ValueError, AttributeError):
        yield Refused(url, "no answer of the wiki", "not a reply of its API")
        return
    for page in pages if isinstance(pages, list) else []:
        title, revisions = page.get("title", ""), page.get("revisions")
        if page.get("missing"):
            yield gone_page(title, "missing")
        elif not revisions:
            yield Refused(title, "no text in the reply", url)
        else:
            yield _revision(page, revisions[0])


def _revision(page: dict[str, Any], revision: dict[str, Any]) -> RawPage | Refused:
    slot = revision.get("slots", {}).get("main", revision)
    if slot.get("texthidden"):
        return gone_page(page["title"], "hidden", page.get("pageid"), revision.get("revid"))
    text = slot.get("content")
    if not isinstance(text, str):
        return Refused(page["title"], "no text in the reply", "")
    return raw_page(page["title"], text, page_id=page.get("pageid"), revid=revision.get("revid"), revised_at=revision.get("timestamp"))
