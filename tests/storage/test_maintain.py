"""Explaining, expiring, collecting and checking: nothing that is needed goes, what is damaged is found."""

import errno
import multiprocessing
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from making import commit, problems, put, texts_of

from storage import catalog as tables
from storage.errors import StoreError
from storage.schemas import Evaluation, Problem, to_table
from storage.store import Store

SPAWN = multiprocessing.get_context("spawn")
PART = "round=0/000"


def test_explain_names_the_leaves_that_differ_from_the_recipe_that_filled_the_slot(store: Store) -> None:
    recipe = {"stage": "solve", "config": {"samples": 8, "stop": ["a", "b"]}, "prompts": {"prompt": "p1"}, "inputs": {}}
    assert store.explain("t.rows", PART, recipe) == "never computed"
    made = commit(store, problems({"a": "p"}), recipe)
    store.publish("t.rows", {PART: made.key})
    commit(store, problems({"a": "p"}), {**recipe, "prompts": {"prompt": "unpublished"}})
    assert store.explain("t.rows", PART, recipe) == "cached"
    changed = {
        "stage": "solve",
        "config": {"samples": 8, "stop": ["a"]},
        "prompts": {"prompt": "p2"},
        "inputs": {"problems": "ab"},
        "x": None,
    }
    assert store.explain("t.rows", PART, changed) == {
        "config.stop.1": ("b", "(absent)"),
        "prompts.prompt": ("p1", "p2"),
        "inputs": ({}, "(absent)"),
        "inputs.problems": ("(absent)", "ab"),
        "x": ("(absent)", None),
    }
    assert store.explain("t.rows", "round=0/001", changed) == "never computed"


def test_explain_tells_incomplete_and_evicted_shards_from_cached_ones(store: Store) -> None:
    sick = {"n": 1}
    commit(store, problems({"a": "p"}), sick, quarantined=["b"])
    assert store.explain("t.rows", PART, sick) == "incomplete"
    old = {"n": 2}
    commit(store, problems({"c": "p"}), old)
    store.gc(cache_days=0, grace_s=0)
    assert store.explain("t.rows", PART, old) == "evicted"
    commit(store, problems({"c": "p"}), old)
    assert store.explain("t.rows", PART, old) == "cached"


def test_a_row_diff_names_changed_columns_and_reads_only_changed_parts(store: Store) -> None:
    same = put(store, "round=0/001", {"x": "p"})
    a = store.publish("t.rows", {**same, **put(store, PART, {"a": "1", "b": "2", "c": "3"})})
    b = store.publish("t.rows", {**same, **put(store, PART, {"b": "two", "c": "3", "d": "4"})})
    store.objects.path(store.slots(a)[1].content).unlink()  # the unchanged part: reading it would fail
    changes = store.diff_rows(a, "t.rows@2")
    assert (changes.added, changes.removed, changes.changed) == (["d"], ["a"], {"b": ["problem"]})
    parts = store.diff("t.rows@1", b)
    assert (parts.added, parts.removed, parts.changed) == ([], [], [PART])


def test_rows_of_different_classes_are_not_compared(local: Store) -> None:
    local.publish("t.rows", put(local, PART, {"a": "1"}))
    metric = to_table([Evaluation("a", "pass@1", 0.5, None, 0.4, 0.6, 10, 1, 0)], Evaluation)
    local.publish("t.metrics", {PART: commit(local, metric, {"n": 1}).key})
    with pytest.raises(StoreError, match=r"t\.rows@1 holds Problem rows and t\.metrics@1 Evaluation"):
        local.diff_rows("t.rows", "t.metrics")


def five_versions(store: Store) -> None:
    for n in range(1, 6):
        store.publish("t.rows", put(store, PART, {"a": f"{n}"}))


def test_expiring_keeps_the_last_the_tagged_and_the_inputs_of_live_versions(store: Store) -> None:
    five_versions(store)
    store.tag("t.rows", "prod", 2)
    store.publish("t.child", put(store, PART, {"b": "p"}), inputs={"problems": ("t.rows", 3)})
    assert store.expire("t.rows", keep_last=1) == [1, 4]
    assert [v.n for v in store.versions("t.rows")] == [2, 3, 5]
    with pytest.raises(StoreError, match=r"expired version t\.rows@4: t\.rows has the versions \[2, 3, 5\]"):
        store.table("t.rows@4")
    with pytest.raises(StoreError, match="keep_last=0"):
        store.expire("t.rows", 0)
    with pytest.raises(StoreError, match=r"no dataset 't\.row': have \['t\.child', 't\.rows'\]"):
        store.expire("t.row", 1)


def test_gc_removes_what_only_expired_versions_and_old_caches_hold_and_nothing_else(store: Store) -> None:
    five_versions(store)
    cached = commit(store, problems({"z": "cached"}), {"n": 1})
    store.tag("t.rows", "prod", 2)
    store.expire("t.rows", 1)
    young = store.gc(cache_days=1, grace_s=3600)
    assert (young.slots, young.shards, young.files) == (0, 0, 0)
    done = store.gc(cache_days=1, grace_s=0)
    assert (done.slots, done.shards, done.objects, done.files) == (3, 0, 0, 0)  # their shards are still a cache
    done = store.gc(cache_days=0, grace_s=0)
    assert (done.shards, done.objects, done.files) == (4, 4, 4) and done.n_bytes > 4000
    assert store.lookup(cached.key) is None
    assert texts_of(store.table("t.rows@prod")) == {"a": "2"} and texts_of(store.table("t.rows")) == {"a": "5"}
    assert store.fsck(deep=True) == [] and len(list((store.root / "objects").glob("*/*"))) == 2


def test_gc_sweeps_leftovers_of_killed_processes_once_they_are_old(local: Store) -> None:
    leftover = local.root / "tmp" / "abc.1.2"
    leftover.write_bytes(b"half")
    orphan = local.objects.write(problems({"a": "never committed"}), {}).content
    held, left = local.root / "locks" / "held", local.root / "locks" / "left"
    left.touch()
    with local.lock("held"):
        assert local.gc(0, grace_s=3600).files == 0 and leftover.exists() and local.objects.exists(orphan)
        hour_ago = time.time() - 3700
        for path in (leftover, local.objects.path(orphan)):
            os.utime(path, (hour_ago, hour_ago))
        assert local.gc(0, grace_s=1800).files == 2
        assert held.exists() and not left.exists() and not leftover.exists() and not local.objects.exists(orphan)


def test_fsck_finds_each_planted_damage(store: Store) -> None:
    parts = {k: v for i in range(3) for k, v in put(store, f"round=0/00{i}", {f"{i}": "p"}).items()}
    version = store.publish("t.rows", parts, tags=["good"])
    assert store.fsck(deep=True) == []
    damaged, missing, writable = (store.objects.path(slot.content) for slot in store.slots(version))
    body = bytearray(damaged.read_bytes())
    body[len(body) // 3] ^= 1
    for path in (damaged, writable):
        path.chmod(0o644)
    damaged.write_bytes(body)
    damaged.chmod(0o444)
    missing.unlink()
    with store.catalog.write() as connection:
        connection.execute(tables.version.update().values(n_rows=99))
        connection.execute(tables.ref.insert().values(dataset="t.rows", name="lost", n=7))
        wrong = tables.shard.c.shard_key == parts["round=0/002"]
        connection.execute(
            tables.shard.update().where(wrong).values(balance='{"kept":1,"quarantined":0,"rejected":{},"rows_in":2,"rows_out":1}')
        )
    shallow, deep = store.fsck(), store.fsck(deep=True)
    assert len(shallow) == 5 and len(deep) == 6
    for name, what in [(missing, "is missing"), (writable, "is writable"), (damaged, "cannot be read|holds other rows")]:
        found = [line for line in deep if name.stem in line]
        assert len(found) == 1 and any(w in found[0] for w in what.split("|"))
    assert any("its slots have rows 3, the version says 99" in line for line in shallow)
    assert any("tag t.rows@lost: version 7 is gone" in line for line in shallow)
    assert any("(t.rows round=0/002): 2 rows in, but 1 kept" in line for line in shallow)


# ---- stores that cannot be


def test_a_store_at_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match=r"cannot be a folder: .*file is a file; choose another --store"):
            Store.open(path)


def test_a_catalog_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_text("not a database " * 100)
    with pytest.raises(StoreError, match=r"catalog sqlite:///.*catalog.sqlite: the file is no SQLite database"):
        Store.open(tmp_path)
    with pytest.raises(StoreError, match=r"no catalog of kind 'mysql': give sqlite:///FILE or postgresql://"):
        Store.open(tmp_path / "other", "mysql://there/db")
    with pytest.raises(StoreError, match=r"no catalog URL 'catalog': give sqlite:///FILE"):
        Store.open(tmp_path / "other", "catalog")
    for unreadable in ("postgresql//u:secret@there/db", "postgresql://u:secret@there:port/db", "postgresql//there/db?password=secret"):
        with pytest.raises(StoreError, match=r"no catalog URL '[^?]*there[^?]*/db': give sqlite:///FILE") as caught:
            Store.open(tmp_path / "other", unreadable)
        assert "secret" not in str(caught.value)
    with pytest.raises(StoreError, match=r"catalog postgresql.*://u:\*\*\*@127\.0\.0\.1:1/db: no connection to the server"):
        Store.open(tmp_path / "other", "postgresql://u:secret@127.0.0.1:1/db")


def test_a_catalog_of_another_layout_is_refused(store: Store, place: tuple[Path, str | None]) -> None:
    with store.catalog.write() as connection:
        connection.execute(tables.schema_version.update().values(layout=99))
    with pytest.raises(StoreError, match="has table layout 99, this code reads layout 1: use the mathmill that made it"):
        Store.open(*place)


def as_nobody(root: Path, answer: "multiprocessing.queues.Queue[list[str]]") -> None:
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    said = []
    for attempt in (lambda: Store.open(root / "new"), lambda: put(Store.open(root / "old"), PART, {"a": "p"})):
        try:
            attempt()
            said.append("no error")
        except StoreError as error:
            said.append(str(error))
    answer.put(said)


def test_a_store_of_somebody_else_is_refused_in_words(tmp_path: Path) -> None:
    root = tmp_path / "theirs"
    with Store.open(root / "old") as store:
        put(store, PART, {"b": "p"})
    for folder, _, files in os.walk(root):
        os.chmod(folder, 0o555)
        for name in files:
            os.chmod(Path(folder, name), 0o444)
    for parent in (tmp_path, *list(tmp_path.parents)[:2]):
        os.chmod(parent, 0o755)
    answer = SPAWN.Queue()
    process = SPAWN.Process(target=as_nobody, args=(root, answer))
    process.start()
    new, old = answer.get(timeout=60)
    process.join()
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o755)
    assert "cannot be made (Permission denied): choose a --store that you can write" in new
    assert "cannot be written" in old or "cannot be opened" in old


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, check=False)
    if not done or done.returncode != 0:
        pytest.skip("no small file system can be mounted here (it takes root)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_leaves_the_published_version_whole(small_disk: Path) -> None:
    with Store.open(small_disk / "store") as store:
        store.publish("t.rows", put(store, PART, {"a": "p"}))
        big = to_table([Problem(f"{i:04d}", "s", None, os.urandom(1000).hex(), None, "proof", True) for i in range(3000)], Problem)
        with pytest.raises(StoreError, match=r"the disk of the store .* is full: nothing was committed; free space and run again"):
            commit(store, big, {"n": 1})
        assert list((store.root / "tmp").iterdir()) == [] and texts_of(store.table("t.rows")) == {"a": "p"}
        fill(small_disk / "filler")
        with pytest.raises(StoreError, match=r"full|brought up to date"):
            for i in range(100):
                store.publish("t.rows", put(store, PART, {"a": f"{i}"}))
        (small_disk / "filler").unlink()
        assert store.fsck(deep=True) == []
        store.publish("t.rows", put(store, PART, {"a": "after"}))
        assert texts_of(store.table("t.rows")) == {"a": "after"}


def fill(path: Path) -> None:
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError as error:
            assert error.errno == errno.ENOSPC


def test_values_in_the_catalog_are_what_sql_users_expect(store: Store) -> None:
    store.publish("t.rows", put(store, PART, {"a": "p"}), meta={"k": "ü"}, run_id="r")
    with store.catalog.read() as connection:
        row = connection.execute(sa.select(tables.version)).one()
    assert (row.dataset, row.n, row.kind, row.complete, row.meta) == ("t.rows", 1, "replace", True, '{"k":"ü"}')
