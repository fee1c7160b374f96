"""What the processes of the race and crash tests do. Each opens its own store; any of them may be killed anywhere."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from making import commit, problems, put, texts_of

from storage.errors import StoreError
from storage.shards import shard_key
from storage.store import Store
from storage.views import connect

Place = tuple[Path, str | None]

# ---- the race: many processes want the same keys


def compute_all(place: Place, n_keys: int, log: Path) -> None:
    """Compute what is missing among the keys, in an order of its own; every computation gives other rows and one line in `log`."""
    with Store.open(*place) as store:
        for i in random.sample(range(n_keys), n_keys):
            recipe = {"stage": "make", "n": i}
            key = shard_key(recipe)
            if store.lookup(key):
                continue
            with store.lock(key):
                if store.lookup(key):
                    continue
                with open(log, "a") as lines:
                    lines.write(f"{i}\n")
                time.sleep(0.02)
                commit(store, problems({"a": f"{os.getpid()} {random.random()}"}), recipe, part=f"round=0/{i:03d}")


# ---- concurrent publishers, each with a part of its own


def publish_own_part(place: Place, who: int, revisions: int) -> None:
    """Publish revision after revision of one part, going on from the one that is there."""
    part = f"round={who}/000"
    with Store.open(*place) as store:
        there = texts_of(store.table("t.rows", parts=[part])) if store.head("t.rows") else {}
        for revision in range(max(map(int, there.values()), default=0) + 1, revisions + 1):
            rows = {f"{who}-{i}": f"{revision}" for i in range(10)}
            publish_again_if_collected(store, part, rows)


def publish_again_if_collected(store: Store, part: str, rows: dict[str, str]) -> None:
    while True:
        try:
            store.publish("t.rows", put(store, part, rows), kind="patch")
            return
        except StoreError as error:
            if "not in the store" not in str(error):  # gc was faster than publish: commit again
                raise


def collect(place: Place, grace_s: float, stop: Event) -> None:
    """Expire and collect, over and over."""
    with Store.open(*place) as store:
        while not stop.is_set():
            if store.head("t.rows") is not None:
                store.expire("t.rows", keep_last=2)
            store.gc(cache_days=0, grace_s=grace_s)
            time.sleep(0.02)


def read_views(root: Path, stop: Event, answer: "Connection[Any, Any]") -> None:
    """Open the views over and over; sends (number of opens, what was wrong)."""
    opens, wrong, newest = 0, [], {}
    while not stop.is_set():
        try:
            with connect(root) as duck:
                rows = duck.execute(
                    "SELECT split_part(id, '-', 1), count(*), min(problem::int), max(problem::int) FROM t.rows GROUP BY 1"
                ).fetchall()
        except StoreError:
            continue  # nothing published yet
        except Exception as error:
            wrong.append(repr(error))
            continue
        opens += 1
        for who, n_rows, lowest, highest in rows:
            if n_rows != 10 or lowest != highest or highest < newest.get(who, 0):
                wrong.append(f"{who}: {n_rows} rows of revisions {lowest} to {highest} after {newest.get(who)}")
            newest[who] = highest
    answer.send((opens, wrong))


# ---- hard exits

OLD = {"round=0/000": {"a": "old", "b": "old"}, "round=0/001": {"c": "kept"}}
NEW = {"round=0/000": {"a": "new", "d": "new"}, "round=0/001": {"c": "kept"}}


def publish_old(store: Store) -> None:
    store.publish("t.rows", {k: v for part, rows in OLD.items() for k, v in put(store, part, rows).items()}, buckets=2)


def publish_new(store: Store) -> None:
    """The work that is interrupted: a shard with a dropped row, then its publication with a tag."""
    recipe = {"stage": "make", "new": True}
    with store.lock(shard_key(recipe)):
        made = commit(store, problems(NEW["round=0/000"]), recipe, rejected={"b": "too short"})
    store.publish("t.rows", {"round=0/000": made.key}, kind="patch", tags=["good"])


def die_at(place: Place, point: int, log: Path | None = None) -> None:
    """Do the work and be killed before its `point`-th step that others could see: a file opened to write, renamed, removed, made or linked
    below the store, an SQL statement that writes, a commit. With `log`, the names of the steps are written there."""
    with Store.open(*place) as store:
        if store.head("t.rows") is None:
            publish_old(store)
        steps: list[str] = []

        def step(name: str) -> None:
            steps.append(name)
            if len(steps) == point:
                os.kill(os.getpid(), signal.SIGKILL)

        watch(str(place[0]), step)
        publish_new(store)
        if log is not None:
            log.write_text("\n".join(steps))
    os._exit(0)


def watch(root: str, step: Callable[[str], None]) -> None:
    """Call `step` before everything this process does to files below `root` or to a database, for the rest of its life."""

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in ("os.rename", "os.remove", "os.mkdir", "os.link", "os.truncate")
        writes |= event == "open" and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes and str(arguments[0]).startswith(root):
            step(f"{event} {Path(str(arguments[0])).relative_to(root)}")

    sys.addaudithook(audit)
    sa.event.listen(sa.Engine, "before_cursor_execute", lambda c, cursor, sql, *_: sql.startswith(("SELECT", "BEGIN")) or step(sql[:40]))
    sa.event.listen(sa.Engine, "commit", lambda c: step("COMMIT"))
