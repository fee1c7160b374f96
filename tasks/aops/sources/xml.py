"""MediaWiki XML (dump or Special:Export), streamed: one revision in memory at a time. A document type is refused, entities with it."""

from collections.abc import Iterator
from typing import BinaryIO
from xml.parsers import expat

from tasks.aops.pages import RawPage, gone_page, raw_page

_FIELDS = {"title", "ns", "id", "timestamp", "text"}
_CHUNK = 1 << 16


def read_xml(stream: BinaryIO, name: str) -> Iterator[RawPage]:
    """Every revision of every page of the main namespace. Raises ValueError, naming the place, for what is no such file."""
    reader = _Reader(name)
    while chunk := stream.read(_CHUNK):
        reader.feed(chunk)
        yield from reader.taken()
    reader.feed(b"", last=True)
    yield from reader.taken()


class _Reader:
    def __init__(self, name: str) -> None:
        self._name = name
        self._path: list[str] = []
        self._text: list[str] = []
        self._page: dict[str, str] = {}
        self._revision: dict[str, str] = {}
        self._hidden = False
        self._pages: list[RawPage] = []
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text.append
        self._parser.StartDoctypeDeclHandler = self._refuse

    def feed(self, chunk: bytes, last: bool = False) -> None:
        try:
            self._parser.Parse(chunk, last)
        except expat.ExpatError as error:
            raise ValueError(f"{self._name} is not XML, or is cut off: {error}; fetch it again") from error

    def taken(self) -> list[RawPage]:
        pages, self._pages = self._pages, []
        return pages

    def _refuse(self, *declaration: object) -> None:
        raise ValueError(
            f"{self._name} declares a document type ({declaration[0]!r}): MediaWiki's files have none, and entities are refused"
        )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._path and tag != "mediawiki":
            raise ValueError(f"{self._name} is no MediaWiki export: its root is <{tag}>, not <mediawiki>")
        self._path.append(tag)
        if tag == "page":
            self._page = {}
        elif tag == "revision":
            self._revision, self._hidden = {}, False
        elif tag == "text":
            self._hidden = "deleted" in attributes
        self._text.clear()

    def _end(self, tag: str) -> None:
        self._path.pop()
        if tag in _FIELDS and self._path:
            place = self._page if self._path[-1] == "page" else self._revision if self._path[-1] == "revision" else {}
            place[tag] = "".join(self._text)
        if tag == "revision" and self._page.get("ns", "0") == "0":
            self._pages.append(self._made())
        self._text.clear()

    def _made(self) -> RawPage:
        page_id, revid = (int(v) if (v := d.get("id", "")).isdigit() else None for d in (self._page, self._revision))
        title = self._page.get("title", "")
        if self._hidden:
            return gone_page(title, "hidden", page_id, revid)
        return raw_page(title, self._revision.get("text", ""), page_id=page_id, revid=revid, revised_at=self._revision.get("timestamp"))
