"""Many processes at one store, some of them killed: each shard computed once, every publication survives, readers see whole versions."""

import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from making import texts_of
from workers import Place, collect, compute_all, publish_own_part, read_views

from storage.shards import shard_key
from storage.store import Store

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["workers"])

KEYS = 40


def start(target: Callable[..., None], *args: object) -> BaseProcess:
    process = FORK.Process(target=target, args=args)
    process.start()
    return process


def run_with_kills(works: list[tuple[Callable[..., None], tuple[object, ...]]], kills: int) -> None:
    """Run all works to their end at once; meanwhile kill a random one `kills` times and start it again."""
    running = {i: start(work, *args) for i, (work, args) in enumerate(works)}
    pick = random.Random(7)
    while running:
        time.sleep(0.25 if kills else 0.01)
        alive = [i for i, process in running.items() if process.is_alive()]
        if kills and alive:
            victim = pick.choice(alive)
            running[victim].kill()
            running[victim].join()
            work, args = works[victim]
            running[victim] = start(work, *args)
            kills -= 1
        for i in [i for i, process in running.items() if not process.is_alive()]:
            process = running.pop(i)
            process.join()
            assert process.exitcode == 0


@pytest.mark.slow
@pytest.mark.parametrize("kills", [0, 5])
def test_processes_that_want_the_same_shards_compute_each_once_but_for_those_killed_while_at_it(
    place: Place, tmp_path: Path, kills: int
) -> None:
    log = tmp_path / "computed"
    run_with_kills([(compute_all, (place, KEYS, log))] * 8, kills)
    computed = log.read_text().split()
    assert KEYS <= len(computed) <= KEYS + kills and {int(i) for i in computed} == set(range(KEYS))
    with Store.open(*place) as store:
        assert len(store.lookup_many([shard_key({"stage": "make", "n": i}) for i in range(KEYS)])) == KEYS
        assert list((store.root / "locks").iterdir()) == [] and store.fsck(deep=True) == []


@contextmanager
def beside(target: Callable[..., None], *args: object) -> Iterator[None]:
    """A process that works until the block ends and must then have ended well; it gets a stop event after its first argument(s)."""
    stop = FORK.Event()
    process = start(target, *[stop if a is STOP else a for a in args])
    yield
    stop.set()
    process.join(60)
    assert process.exitcode == 0


STOP = object()


@pytest.mark.slow
def test_publishers_a_collector_and_a_reader_at_once_lose_nothing_and_see_only_whole_versions(place: Place) -> None:
    publishers, revisions = 5, 6
    ours, theirs = FORK.Pipe()
    with beside(collect, place, 20.0, STOP), beside(read_views, place[0], STOP, theirs):
        run_with_kills([(publish_own_part, (place, who, revisions)) for who in range(publishers)], kills=8)
    opens, wrong = ours.recv()
    assert opens > 5 and wrong == []
    with Store.open(*place) as store:
        expected = {f"{who}-{i}": f"{revisions}" for who in range(publishers) for i in range(10)}
        assert texts_of(store.table("t.rows")) == expected
        store.expire("t.rows", 1)
        store.gc(cache_days=0, grace_s=0)
        assert store.fsck(deep=True) == [] and texts_of(store.table("t.rows")) == expected
        assert len(list((store.root / "objects").glob("*/*"))) == publishers and len(list((store.root / "tmp").iterdir())) <= 8


@pytest.mark.slow
def test_a_collector_without_any_grace_takes_nothing_that_is_then_published(place: Place) -> None:
    with beside(collect, place, 0.0, STOP):
        run_with_kills([(publish_own_part, (place, who, 6)) for who in range(3)], kills=0)
    with Store.open(*place) as store:
        assert texts_of(store.table("t.rows")) == {f"{who}-{i}": "6" for who in range(3) for i in range(10)}
        assert store.fsck(deep=True) == []
