"""The archive of pages: one SQLite file of blobs named by the hash of their text, and of what each title was when last seen.

The blobs are in the database and not beside it, so that a page and the crawl's progress are one transaction. Deletions are honoured: a
tombstone takes the text with it. It does not keep old revisions.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from storage.ids import digest
from tasks.aops.pages import RawPage, normal_title

FILE = "aops.sqlite"

_TABLES = """
CREATE TABLE IF NOT EXISTS blob (sha256 TEXT PRIMARY KEY, text BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS page (
  title TEXT PRIMARY KEY, page_id INTEGER, revid INTEGER, revised_at TEXT, sha1 TEXT, sha256 TEXT NOT NULL REFERENCES blob(sha256),
  redirect_to TEXT, status TEXT NOT NULL CHECK (status IN ('ok', 'redirect', 'missing', 'hidden')),
  source_url TEXT NOT NULL, licence_note TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS page_by_blob ON page (sha256);
"""
_COLUMNS = "title, page_id, revid, revised_at, sha1, page.sha256, redirect_to, status, source_url, licence_note"


@dataclass
class Archive:
    """An open archive. `connection` is in autocommit mode; `write()` makes a transaction of what is done inside."""

    path: Path
    connection: sqlite3.Connection

    @classmethod
    def open(cls, folder: str | Path) -> "Archive":
        """The archive in `folder`, made if it is not there."""
        path = Path(folder) / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON")
        connection.executescript(f"BEGIN IMMEDIATE;{_TABLES}COMMIT;")
        return cls(path, connection)

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing. Inside another one it is part of that."""
        if self.connection.in_transaction:
            yield self.connection
            return
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def put(self, page: RawPage, *, current: bool = False) -> bool:
        """Keep a page unless what is there is of a later revision; a page of no known revision only replaces another such.

        True if the archive changed. A tombstone always replaces what is there, and so does a page that is `current`: what the site holds
        now, whatever the numbers say. What was deleted after its revision was saved is not brought back by older copies.
        """
        with self.write() as connection:
            old = self.get(page.title)
            wins = current or old is None or page.status in ("missing", "hidden") or _later(page, old)
            if old == page or not wins:
                return False
            connection.execute("INSERT OR IGNORE INTO blob VALUES (?, ?)", (page.sha256, page.text.encode()))
            row = astuple(replace(page, text=""))
            connection.execute(f"INSERT OR REPLACE INTO page VALUES ({', '.join('?' * 10)})", row[:6] + row[7:])
            if old is not None and old.sha256 != page.sha256:
                connection.execute("DELETE FROM blob WHERE sha256 = ? AND sha256 NOT IN (SELECT sha256 FROM page)", (old.sha256,))
        return True

    def put_all(self, pages: Iterable[RawPage]) -> int:
        """`put` each of them in one transaction; how many changed the archive."""
        with self.write():
            return sum(self.put(page) for page in pages)

    def get(self, title: str) -> RawPage | None:
        """The page of that title."""
        query = f"SELECT {_COLUMNS}, blob.text FROM page JOIN blob ON blob.sha256 = page.sha256 WHERE title = ?"
        row = self.connection.execute(query, (normal_title(title),)).fetchone()
        return _page(row) if row else None

    def pages(self) -> Iterator[RawPage]:
        """All pages in order of their titles, tombstones among them."""
        query = f"SELECT {_COLUMNS}, blob.text FROM page JOIN blob ON blob.sha256 = page.sha256 ORDER BY title"
        yield from map(_page, self.connection.execute(query))

    def digest(self) -> str:
        """What the archive holds in 40 hex digits; texts enter by their hashes."""
        return digest([list(row) for row in self.connection.execute(f"SELECT {_COLUMNS} FROM page ORDER BY title")])


def _later(new: RawPage, old: RawPage) -> bool:
    if old.status in ("missing", "hidden") and old.revid is not None:
        return new.revid is not None and new.revid > old.revid
    return old.revid is None or (new.revid is not None and new.revid >= old.revid)


def _page(row: Sequence[Any]) -> RawPage:
    title, page_id, revid, revised_at, sha1, sha256, redirect_to, status, source_url, licence_note, text = row
    return RawPage(title, page_id, revid, revised_at, sha1, sha256, text.decode(), redirect_to, status, source_url, licence_note)
