"""A kill before any step of commit and publish leaves the old version or the new one, whole, and the work can be done again."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from making import texts_of
from workers import NEW, OLD, Place, die_at, publish_new

from storage.store import Store
from storage.views import connect

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["workers"])


def flat(parts: dict[str, dict[str, str]]) -> dict[str, str]:
    return {row_id: text for rows in parts.values() for row_id, text in rows.items()}


def check_and_go_on(place: Place) -> None:
    """What the next process finds, and does."""
    with Store.open(*place) as store:
        version = store.resolve("t.rows")
        assert texts_of(store.table(version)) == flat(OLD if version.n == 1 else NEW)
        assert store.refs("t.rows") == ({} if version.n == 1 else {"good": 2})
        with connect(store.root) as duck:
            assert dict(duck.execute("SELECT id, problem FROM t.rows").fetchall()) in (flat(OLD), flat(NEW))
        assert store.fsck(deep=True) == []
        leftovers = list((store.root / "tmp").iterdir())
        assert len(leftovers) <= 2
        publish_new(store)
        assert store.resolve("t.rows@good").n == 2 and texts_of(store.table("t.rows")) == flat(NEW)
        with connect(store.root) as duck:
            assert dict(duck.execute("SELECT id, problem FROM t.rows").fetchall()) == flat(NEW)
        for leftover in leftovers:
            os.utime(leftover, (0, 0))
        store.expire("t.rows", 1)
        store.gc(cache_days=0, grace_s=0)
        assert list((store.root / "tmp").iterdir()) == [] and store.fsck(deep=True) == []


@pytest.mark.slow
def test_a_hard_exit_at_any_step_leaves_one_whole_version_and_the_work_can_be_done_again(
    new_place: Callable[[], Place], tmp_path: Path
) -> None:
    point, exits, log = 0, [], tmp_path / "steps"
    while not log.exists():
        point += 1
        place = new_place()
        process = FORK.Process(target=die_at, args=(place, point, log))
        process.start()
        process.join()
        exits.append(process.exitcode)
        check_and_go_on(place)
    assert exits == [-9] * (point - 1) + [0]
    steps = log.read_text()
    for step in ("os.rename tmp/", "INSERT INTO object", "INSERT INTO shard", "INSERT INTO version", "INSERT INTO slot", "COMMIT"):
        assert step in steps
