"""What people already hold, as pages: MediaWiki XML, WARC, saved HTML and wikitext, the crawler's archive. No server is asked."""

import bz2
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote

from tasks.aops.archive import FILE, Archive
from tasks.aops.contests import Refused
from tasks.aops.pages import RawPage, raw_page
from tasks.aops.sources.html import read_html
from tasks.aops.sources.warc import read_warc
from tasks.aops.sources.xml import read_xml

SUFFIXES = (".xml", ".xml.gz", ".xml.bz2", ".warc", ".warc.gz", ".html", ".htm", ".wiki")
"""Files that hold pages, beside the crawler's archive."""


def is_page_file(path: Path) -> bool:
    """Whether `read_pages` can read a file, by its name."""
    return path.name == FILE or path.name.endswith(SUFFIXES)


def read_pages(path: Path, label: str) -> Iterator[RawPage | Refused]:
    """The pages in a file; `label` is its name below the folder that was given, which titles a page that does not name itself."""
    if path.name == FILE:
        with Archive.open(path.parent) as archive:
            yield from archive.pages()
    elif path.suffix in (".html", ".htm"):
        yield read_html(path.read_text(encoding="utf-8", errors="replace"), label)
    elif path.suffix == ".wiki":
        yield raw_page(unquote(label.removesuffix(".wiki")), path.read_text(encoding="utf-8"))
    else:
        with _opened(path) as stream:
            yield from read_warc(stream, label) if ".warc" in path.suffixes else read_xml(stream, label)


def _opened(path: Path) -> BinaryIO:
    if path.suffix == ".bz2":
        return cast(BinaryIO, bz2.open(path))
    if path.suffix == ".gz" and ".xml" in path.suffixes:
        return cast(BinaryIO, gzip.open(path))
    return path.open("rb")  # warcio unpacks by itself
