"""The DuckDB face: views by version and tag, tables of the catalog, readers that block nobody."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import commit, problems, put

from storage.errors import StoreError
from storage.store import Store
from storage.views import FILE, KEEP, connect, refresh_views

SPAWN = multiprocessing.get_context("spawn")


def ask(store: Store, sql: str) -> list[tuple]:
    with connect(store.root) as duck:
        return duck.execute(sql).fetchall()


def test_the_latest_each_version_each_tag_and_dropped_rows_have_a_view(store: Store) -> None:
    sick = commit(store, problems({"a": "1"}), {"n": 1}, dataset="tiny.difficulty", rejected={"b": "too short"})
    store.publish("tiny.difficulty", {"p": sick.key}, tags=["good"])
    store.publish("tiny.difficulty", put(store, "p", {"a": "2", "c": "2"}))
    store.publish("plain", put(store, "p", {"x": "plain"}))
    assert ask(store, "SELECT id, problem FROM tiny.difficulty ORDER BY id") == [("a", "2"), ("c", "2")]
    assert ask(store, 'SELECT problem FROM tiny."difficulty@1"') == ask(store, 'SELECT problem FROM tiny."difficulty@good"') == [("1",)]
    assert ask(store, 'SELECT count(*) FROM tiny."difficulty!dropped"') == [(0,)]
    assert ask(store, "SELECT problem, parent_ids FROM plain") == [("plain", [])]
    store.revert("tiny.difficulty", 1)
    assert ask(store, 'SELECT id, fate, reason FROM tiny."difficulty!dropped"') == [("b", "rejected", "too short")]
    assert ask(store, 'DESCRIBE tiny."difficulty!dropped"') == ask(store, 'DESCRIBE SELECT * FROM "plain!dropped"')


def test_the_catalog_is_there_as_tables(store: Store) -> None:
    version = store.publish("t.rows", put(store, "p", {"a": "1"}), inputs={}, tags=["good"], meta={"recipe": "tiny"})
    assert ask(store, "SELECT dataset, n, digest, n_rows, complete, meta->>'recipe' FROM catalog.version") == [
        ("t.rows", 1, version.digest, 1, True, "tiny")
    ]
    assert ask(store, "SELECT s.part, o.n_rows FROM catalog.slot s JOIN catalog.object o USING (content)") == [("p", 1)]
    assert ask(store, "SELECT stage, recipe->>'part', complete FROM catalog.shard") == [("make", "p", True)]
    assert ask(store, "SELECT dataset, name, n FROM catalog.ref") == [("t.rows", "good", 1)]
    assert ask(store, "SELECT name, row_type FROM catalog.dataset") == [("t.rows", "Problem")]
    assert ask(store, "SELECT typeof(created_at), year(created_at) > 2000 FROM catalog.version") == [("TIMESTAMP", True)]


def test_exported_model_calls_are_ledger_calls(local: Store) -> None:
    local.publish("t.rows", put(local, "p", {"a": "1"}))
    assert ask(local, "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'ledger'") == [(0,)]
    (local.root / "ledger").mkdir()
    pq.write_table(pa.table({"key": ["k1", "k2"]}), local.root / "ledger" / "one.parquet")
    refresh_views(local)
    assert ask(local, "SELECT count(*) FROM ledger.calls") == [(2,)]


@pytest.mark.slow
def test_only_the_last_versions_and_the_tagged_ones_keep_a_view(local: Store) -> None:
    shards = [put(local, "p", {"a": f"{n}"}) for n in range(KEEP + 3)]
    for n, parts in enumerate(shards):
        local.publish("t.rows", parts, tags=["first"] if n == 0 else [])
    views = {name for (name,) in ask(local, "SELECT table_name FROM information_schema.tables WHERE table_schema = 't'")}
    kept = {f"rows@{n}" for n in range(4, KEEP + 4)} | {"rows@1"}
    assert views == {"rows", "rows@first", "rows!dropped"} | kept


@pytest.mark.parametrize("folder", ["env=prod", "o'brien", "100%20sure #1", "[ab]*{c,d}"])
def test_a_store_whose_path_looks_like_a_partition_a_pattern_or_has_quotes_reads_the_same(tmp_path: Path, folder: str) -> None:
    with Store.open(tmp_path / folder) as store:
        store.publish("t.rows", put(store, "p", {"a": "1"}))
        assert [row[0] for row in ask(store, "DESCRIBE t.rows")] == store.table("t.rows").column_names
        assert (tmp_path / folder / "catalog.sqlite").is_file()


def test_a_path_that_duckdb_cannot_open_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"DuckDB takes what follows a \? for options; choose another --store"):
        Store.open(tmp_path / "a?b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["warehouse.rows", "memory.rows", "temp.rows", "ledger.calls"])
def test_a_name_that_means_something_else_in_duckdb_is_refused(local: Store, name: str) -> None:
    with pytest.raises(StoreError, match="mean something else in DuckDB; choose another --name"):
        local.publish(name, put(local, "p", {"a": "1"}))


def test_an_open_reader_keeps_what_it_opened_and_stops_no_publisher(local: Store) -> None:
    local.publish("t.rows", put(local, "p", {"a": "old"}))
    with connect(local.root) as reader:
        local.publish("t.rows", put(local, "p", {"a": "new"}))
        assert reader.execute("SELECT problem FROM t.rows").fetchall() == [("old",)]
    assert ask(local, "SELECT problem FROM t.rows") == [("new",)]


def test_the_file_is_not_made_again_when_nothing_changed_and_is_when_it_is_lost(local: Store) -> None:
    shards = put(local, "p", {"a": "1"})
    local.publish("t.rows", shards)
    before = (local.root / FILE).stat().st_ino
    local.publish("t.rows", shards)
    assert (local.root / FILE).stat().st_ino == before
    (local.root / FILE).unlink()
    local.publish("t.rows", shards)
    assert ask(local, "SELECT problem FROM t.rows") == [("1",)]


def test_a_store_without_a_publication_has_no_views_and_says_so(local: Store) -> None:
    with pytest.raises(StoreError, match=r"no warehouse\.duckdb in .*: it is made when the first dataset is published"):
        connect(local.root)


def test_the_file_is_plain_duckdb_for_another_process(local: Store) -> None:
    local.publish("tiny.rows", put(local, "p", {"a": "1"}))
    code = "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).sql('SELECT problem FROM tiny.rows').fetchall())"
    with duckdb.connect(str(local.root / FILE), read_only=True):
        done = subprocess.run([sys.executable, "-c", code, str(local.root / FILE)], capture_output=True, text=True, check=True)
    assert done.stdout == "[('1',)]\n"


# ---- a reader beside a publisher

ROWS = 20


def publish_revisions(root: Path, revisions: int) -> None:
    with Store.open(root) as store:
        for revision in range(1, revisions + 1):
            parts = {}
            for part in ("p", "q"):
                parts |= put(store, part, {f"{part}{i:02d}": f"{revision:04d}" for i in range(ROWS)})
            store.publish("t.rows", parts)


@pytest.mark.slow
def test_a_reader_during_publishes_sees_whole_versions_that_never_go_back(local: Store) -> None:
    publish_revisions(local.root, 1)
    publisher = SPAWN.Process(target=publish_revisions, args=(local.root, 8))
    publisher.start()
    seen = [1]
    while publisher.is_alive() or seen[-1] < 8:
        ((n_rows, lowest, highest),) = ask(local, "SELECT count(*), min(problem), max(problem) FROM t.rows")
        assert (n_rows, lowest) == (2 * ROWS, highest)
        assert int(highest) >= seen[-1] or seen == [1]
        seen.append(int(highest))
    publisher.join()
    assert publisher.exitcode == 0 and len(set(seen)) > 2
