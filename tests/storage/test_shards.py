"""Shards: committed once per key, quarantine heals, rows add up, locks die with their holder."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from making import commit, dropped, problems

from storage.balance import Balance
from storage.errors import StoreError, UnbalancedError
from storage.locks import file_lock, sweep
from storage.schemas import Difficulty, Dropped, arrow_schema, to_table
from storage.store import Store

SPAWN = multiprocessing.get_context("spawn")


def test_a_committed_shard_is_found_with_its_rows_and_balance(store: Store) -> None:
    recipe = {"stage": "make", "n": 1}
    made = commit(store, problems({"a": "p", "b": "q"}), recipe, rejected={"c": "too short", "d": "too short"})
    found = store.lookup(made.key)
    assert found == made and found is not None
    assert found.balance == Balance(4, 2, {"too short": 2}, 0, 2) and found.complete
    assert store.read(found.content).equals(problems({"a": "p", "b": "q"}))
    assert store.read(found.dropped).column("id").to_pylist() == ["c", "d"]
    assert store.recipe(made.key) == recipe


def test_nothing_dropped_is_no_object_and_reads_as_no_rows(local: Store) -> None:
    made = commit(local, problems({"a": "p"}), {"n": 1})
    assert made.dropped is None
    assert local.read(None).schema.equals(arrow_schema(Dropped)) and local.read(None, ["id"]).num_rows == 0


def test_the_first_commit_of_a_key_wins(store: Store) -> None:
    first = commit(store, problems({"a": "first"}), {"n": 1})
    assert commit(store, problems({"a": "second"}), {"n": 1}) == first


def test_a_shard_with_quarantined_rows_is_not_found_and_heals_by_fewer_of_them(store: Store) -> None:
    ten = commit(store, problems({"z": "p"}), {"n": 1}, quarantined=[f"{i}" for i in range(10)])
    assert not ten.complete and store.lookup(ten.key) is None
    assert commit(store, problems({"y": "p"}), {"n": 1}, quarantined=[f"{i}" for i in range(10)]).content == ten.content
    three = commit(store, problems({"y": "p"}), {"n": 1}, quarantined=["1", "2", "3"])
    assert three.balance.quarantined == 3 and store.lookup(ten.key) is None
    healed = commit(store, problems({"w": "p"}), {"n": 1})
    assert store.lookup(ten.key) == healed
    assert commit(store, problems({"v": "p"}), {"n": 1}, quarantined=["1"]) == healed


def test_many_keys_are_looked_up_at_once_and_unknown_ones_left_out(store: Store) -> None:
    made = {commit(store, problems({"a": f"{i}"}), {"n": i}).key for i in range(3)}
    assert set(store.lookup_many([*made, *(f"{i:040x}" for i in range(1200))])) == made
    assert store.lookup_many([]) == {}


def test_a_shard_whose_file_is_gone_is_a_miss_and_can_be_committed_again(store: Store) -> None:
    made = commit(store, problems({"a": "p"}), {"n": 1})
    store.objects.path(made.content).unlink()
    assert store.lookup(made.key) is None
    again = commit(store, problems({"a": "other"}), {"n": 1})
    assert store.lookup(made.key) == again and again.content != made.content


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        (Balance(3, 1, {}, 0, 1), "3 rows in, but 1 kept [+] 0 rejected .* lost or doubled"),
        (Balance(2, 1, {"short": 1}, 0, 1), "dropped rows are {'long': 1} rejected and 0 quarantined"),
        (Balance(2, 1, {}, 1, 1), "dropped rows are {'long': 1} rejected and 0 quarantined"),
        (Balance(2, 1, {"long": 1}, 0, 2), "the table has 1 rows, the balance says 2"),
        (Balance(1, 2, {"long": -1}, 0, 1), "negative count"),
    ],
)
def test_rows_that_do_not_add_up_are_refused(local: Store, balance: Balance, message: str) -> None:
    with pytest.raises(UnbalancedError, match=message):
        local.commit(
            key="k",
            dataset="t.rows",
            part="p",
            stage="s",
            recipe={},
            rows=problems({"a": "p"}),
            dropped=dropped({"b": "long"}),
            balance=balance,
        )
    assert local.lookup("k") is None and list((local.root / "objects").iterdir()) == []


def bad_tables() -> list[tuple[pa.Table, str]]:
    good = problems({"a": "p", "b": "q"})
    nulls = pa.table([pa.nulls(2, f.type) if f.name == "problem" else good[f.name] for f in good.schema], schema=good.schema)
    return [
        (good.drop_columns(["problem"]), "the columns are .*, Problem has"),
        (good.take([1, 0]), "id 'a' is repeated or out of order"),
        (good.take([0, 0, 1]), "id 'a' is repeated or out of order"),
        (nulls, "column 'problem' must not be null, 2 rows are"),
        (pa.table({"id": ["a"]}), "no row class ''"),
    ]


@pytest.mark.parametrize(("rows", "message"), bad_tables())
def test_tables_that_are_not_sorted_rows_of_a_class_are_refused(local: Store, rows: pa.Table, message: str) -> None:
    with pytest.raises((StoreError, ValueError), match=message):
        commit(local, rows, {"n": 1})


def test_rows_of_another_class_are_no_dropped_rows(local: Store) -> None:
    rows = problems({"a": "p"})
    with pytest.raises(StoreError, match="dropped rows are of class Dropped, not Difficulty"):
        local.commit(
            key="k",
            dataset="t",
            part="p",
            stage="s",
            recipe={},
            rows=rows,
            dropped=to_table([], Difficulty),
            balance=Balance(1, 1, {}, 0, 1),
        )


# ---- locks


def hold(root: Path, catalog: str | None, ready: "multiprocessing.synchronize.Event") -> None:
    with Store.open(root, catalog).lock("key"):
        ready.set()
        threading.Event().wait()


def test_a_lock_held_elsewhere_is_announced_once_and_comes_free_when_its_holder_is_killed(
    store: Store, place: tuple[Path, str | None]
) -> None:
    ready = SPAWN.Event()
    holder = SPAWN.Process(target=hold, args=(*place, ready))
    holder.start()
    assert ready.wait(60)
    waits: list[int] = []

    def on_wait() -> None:
        waits.append(1)
        os.kill(holder.pid or 0, signal.SIGKILL)

    with store.lock("key", on_wait):
        assert waits == [1]
    holder.join()
    with store.lock("key", on_wait):
        assert waits == [1]
    assert list((store.root / "locks").glob("key")) == []


def test_a_lock_excludes_threads_and_different_locks_do_not(store: Store) -> None:
    inside, most, together = [0], [0], threading.Barrier(4)

    def work() -> None:
        together.wait()
        for _ in range(10):
            with store.lock("one"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    never: Callable[[], None] = lambda: pytest.fail("waited for another lock")  # noqa: E731
    with store.lock("one"), store.lock("two", never):
        pass


def test_locks_may_be_taken_and_released_while_leftovers_are_swept(local: Store) -> None:
    def work(name: str) -> None:
        for _ in range(300):
            with local.lock(name):
                pass

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, f"lock{i}") for i in range(4)]
        while not all(future.done() for future in working):
            sweep(local.root / "locks")
        assert [future.result() for future in working] == [None] * 4
    assert list((local.root / "locks").iterdir()) == []


def test_a_lock_whose_file_was_removed_under_it_is_released_all_the_same(tmp_path: Path) -> None:
    probe = os.open(tmp_path, os.O_RDONLY)
    os.close(probe)
    with file_lock(tmp_path / "lock"):
        (tmp_path / "lock").unlink()
    again = os.open(tmp_path, os.O_RDONLY)
    os.close(again)
    assert again == probe  # the lowest free descriptor is the same: none is left open


def test_a_lock_whose_connection_breaks_does_not_undo_the_work_done_under_it(
    postgres_url: str, fresh_schema: Callable[[], str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    psycopg = pytest.importorskip("psycopg")
    with Store.open(tmp_path, f"{fresh_schema()}&application_name=broken") as store:
        with store.lock("key"), psycopg.connect(postgres_url, autocommit=True) as connection:
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'broken'"
            assert len(connection.execute(cut).fetchall()) >= 1
            made = commit(store, problems({"a": "p"}), {"n": 1})
        assert store.lookup(made.key) is not None
    assert "held the lock 'key' broke" in caplog.text


def test_more_threads_than_a_pool_has_connections_read_at_once(store: Store) -> None:
    together = threading.Barrier(24)

    def read() -> bool:
        with store.catalog.read():
            together.wait(60)
            return True

    with ThreadPoolExecutor(24) as pool:
        assert [future.result() for future in [pool.submit(read) for _ in range(24)]] == [True] * 24


def test_a_lock_name_that_is_a_path_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="no lock name 'round=0/000': use up to 200 letters"), store.lock("round=0/000"):
        pass
