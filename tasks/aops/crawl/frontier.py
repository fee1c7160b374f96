"""What is still to be asked, and what has been: frontier, runs, request log; in the archive's file, so one transaction covers a reply.

The log is written before a request is sent and completed with the reply: intervals, caps and waits hold over kills and restarts.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tasks.aops.archive import Archive
from tasks.aops.crawl.mediawiki import MOST_TITLES, Query, Step

RunState = Literal["running", "interrupted", "finished", "capped", "waiting", "blocked", "refused"]

_TABLES = """
CREATE TABLE IF NOT EXISTS run (
  id INTEGER PRIMARY KEY, started_at REAL NOT NULL, ended_at REAL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
  site TEXT NOT NULL, agent TEXT NOT NULL, robots TEXT, robots_at REAL, generator TEXT, evidence TEXT
);
CREATE TABLE IF NOT EXISTS request (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run(id), sent_at REAL NOT NULL, ended_at REAL, url TEXT NOT NULL,
  status INTEGER, outcome TEXT, bytes INTEGER, body_sha256 TEXT, not_before REAL
);
CREATE INDEX IF NOT EXISTS request_by_time ON request (sent_at);
CREATE TABLE IF NOT EXISTS frontier (
  title TEXT PRIMARY KEY, step TEXT NOT NULL CHECK (step IN ('check', 'fetch', 'done', 'failed')),
  tries INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS frontier_by_step ON frontier (step, title);
CREATE TABLE IF NOT EXISTS unfinished (step TEXT NOT NULL, titles TEXT NOT NULL, more TEXT NOT NULL);
CREATE TEMP TABLE IF NOT EXISTS scope (title TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_IN_SCOPE = "title IN (SELECT title FROM scope)"
MOST_TRIES = 3
"""How often a title is asked for that gives no usable page."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run as it stands in the table."""

    id: int
    state: RunState
    reason: str
    site: str
    agent: str
    robots: str | None
    robots_at: float | None
    generator: str | None
    evidence: str | None


class Frontier:
    """The tables of one archive; `scope` is what this run is about."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._db = archive.connection
        self._db.executescript(f"BEGIN IMMEDIATE;{_TABLES}COMMIT;")

    # ---- runs

    def last_run(self) -> Run | None:
        """The latest run, None if there was none."""
        row = self._db.execute(
            "SELECT id, state, reason, site, agent, robots, robots_at, generator, evidence FROM run ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return Run(*row) if row else None

    def sites(self) -> list[str]:
        """The sites that runs have asked."""
        return [row[0] for row in self._db.execute("SELECT DISTINCT site FROM run ORDER BY site")]

    def begin_run(self, site: str, agent: str, now: float) -> Run:
        """A run: the last one if it was killed and asked the same way, else a new one."""
        last = self.last_run()
        if last is not None and last.state == "running":
            if (last.site, last.agent) == (site, agent):
                return last
            self.end_run(last, "interrupted", "went on with another site or agent", now)
        self._db.execute("INSERT INTO run (started_at, state, site, agent) VALUES (?, 'running', ?, ?)", (now, site, agent))
        begun = self.last_run()
        assert begun is not None
        return begun

    def end_run(self, run: Run, state: RunState, reason: str, now: float, evidence: dict[str, Any] | None = None) -> None:
        """How a run ended; `evidence` is kept for the person who looks at it."""
        kept = json.dumps(evidence, ensure_ascii=False) if evidence is not None else None
        self._db.execute("UPDATE run SET state=?, reason=?, ended_at=?, evidence=? WHERE id=?", (state, reason, now, kept, run.id))

    def note_robots(self, run: Run, text: str, now: float) -> None:
        self._db.execute("UPDATE run SET robots=?, robots_at=? WHERE id=?", (text, now, run.id))

    def note_generator(self, run: Run, generator: str) -> None:
        self._db.execute("UPDATE run SET generator=? WHERE id=?", (generator, run.id))

    # ---- requests

    def sent(self, run: Run, url: str, now: float) -> int:
        """Log a request that is about to be sent; its number."""
        made = self._db.execute("INSERT INTO request (run, sent_at, url) VALUES (?, ?, ?)", (run.id, now, url))
        assert made.lastrowid is not None
        return made.lastrowid

    def answered(
        self, request: int, now: float, outcome: str, status: int | None, size: int, body_sha256: str | None, not_before: float | None
    ) -> None:
        """Complete the log of a request. `not_before`: when the site wants to be asked again."""
        self._db.execute(
            "UPDATE request SET ended_at=?, outcome=?, status=?, bytes=?, body_sha256=?, not_before=? WHERE id=?",
            (now, outcome, status, size, body_sha256, not_before, request),
        )

    def count(self, run: Run, since: float) -> tuple[int, int]:
        """Requests sent: (in this run, in all runs since a time)."""
        of_run = self._db.execute("SELECT count(*) FROM request WHERE run = ?", (run.id,)).fetchone()[0]
        return of_run, self._db.execute("SELECT count(*) FROM request WHERE sent_at > ?", (since,)).fetchone()[0]

    def last_times(self) -> tuple[float | None, float | None]:
        """(when the last request ended, or was sent if its end is unknown; the latest `not_before`), over all runs."""
        row = self._db.execute("SELECT max(coalesce(ended_at, sent_at)), max(not_before) FROM request").fetchone()
        return row[0], row[1]

    # ---- titles

    def open(self, titles: Iterable[str]) -> None:
        """Set the scope. If the last walk over it is unfinished it goes on, else all of it is to be looked at anew.

        A page never seen is fetched at once; of one that was, the revision is checked first.
        """
        first = "CASE WHEN title IN (SELECT title FROM page) THEN 'check' ELSE 'fetch' END"
        with self._archive.write() as db:
            db.execute("DELETE FROM scope")
            db.executemany("INSERT INTO scope VALUES (?)", ((title,) for title in titles))
            if not self.left():
                db.execute(f"DELETE FROM frontier WHERE {_IN_SCOPE}")
            db.execute(f"INSERT OR IGNORE INTO frontier (title, step) SELECT title, {first} FROM scope")
            cut = self._unfinished()
            if cut is not None and not self.still_open(cut):
                self.ask_on(None)

    def left(self) -> int:
        """Titles in scope that are not done with."""
        return int(self._db.execute(f"SELECT count(*) FROM frontier WHERE step IN ('check', 'fetch') AND {_IN_SCOPE}").fetchone()[0])

    def failed(self) -> dict[str, str]:
        """Titles in scope that were given up: title -> reason."""
        return dict(self._db.execute(f"SELECT title, reason FROM frontier WHERE step = 'failed' AND {_IN_SCOPE} ORDER BY title").fetchall())

    def next_query(self) -> Query | None:
        """What to ask next: the rest of a reply that was cut, else up to 50 titles; checks before texts. None when all is done."""
        if (cut := self._unfinished()) is not None:
            return cut
        for step in ("check", "fetch"):
            query = f"SELECT title FROM frontier WHERE step = ? AND {_IN_SCOPE} ORDER BY title LIMIT {MOST_TITLES}"
            if titles := [row[0] for row in self._db.execute(query, (step,))]:
                return Query(step, tuple(titles))
        return None

    def _unfinished(self) -> Query | None:
        cut = self._db.execute("SELECT step, titles, more FROM unfinished").fetchone()
        return Query(cut[0], tuple(json.loads(cut[1])), tuple((k, v) for k, v in json.loads(cut[2]))) if cut else None

    def still_open(self, query: Query) -> list[str]:
        """The titles of a query that wait for its answer; none if one of them is out of scope."""
        marks = ", ".join("?" * len(query.titles))
        if self._db.execute(f"SELECT count(*) FROM scope WHERE title IN ({marks})", query.titles).fetchone()[0] < len(query.titles):
            return []
        rows = self._db.execute(f"SELECT title FROM frontier WHERE step = ? AND title IN ({marks})", (query.step, *query.titles))
        return sorted(row[0] for row in rows)

    def ask_on(self, query: Query | None) -> None:
        """Keep the rest of a cut reply as the next thing to ask for; None: there is none."""
        self._db.execute("DELETE FROM unfinished")
        if query is not None:
            row = (query.step, json.dumps(query.titles), json.dumps(query.more))
            self._db.execute("INSERT INTO unfinished VALUES (?, ?, ?)", row)

    def move(self, title: str, step: Step | Literal["done"]) -> None:
        self._db.execute("UPDATE frontier SET step = ?, reason = '' WHERE title = ?", (step, title))

    def try_again(self, title: str, reason: str) -> None:
        """Keep a title queued after an answer without use; after the third it is given up."""
        self._db.execute(
            f"UPDATE frontier SET tries = tries + 1, reason = ?, step = CASE WHEN tries + 1 >= {MOST_TRIES} THEN 'failed' ELSE step END "
            "WHERE title = ? AND step IN ('check', 'fetch')",
            (reason, title),
        )

    def outcomes(self, run: Run) -> Counter[str]:
        """Requests of a run by outcome; those without were under way when it was killed."""
        rows = self._db.execute("SELECT coalesce(outcome, 'no reply kept'), count(*) FROM request WHERE run = ? GROUP BY 1", (run.id,))
        return Counter(dict(rows.fetchall()))
