"""The ledger: what was acknowledged is there, first replies win, many processes, and clear words for files that are no ledger."""

import concurrent.futures
import hashlib
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.ids import digest
from storage.ledger import Call, Ledger, LedgerError, open_ledger


def made(i: Any, text: str = "reply", **recorded: Any) -> Call:
    request = {"kind": "generate", "input": {"text": f"question {i}"}, "draw": ["main", 0]}
    return Call(digest(request, 64), "generate", "nano@1", request, {"text": text}, **recorded)


WRITER = """
import itertools, sys
from storage.ids import digest
from storage.ledger import Call, open_ledger
where, who, n_shared, n_own = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def made(i):
    request = {"kind": "generate", "input": {"text": f"question {i}"}, "draw": ["main", 0]}
    return Call(digest(request, 64), "generate", "nano@1", request, {"text": f"reply of {who} " + "x" * 2000})
sys.stdin.readline()
ledger = open_ledger(where)
for call in itertools.chain(map(made, range(n_shared)), (made(f"{who}/{i}") for i in range(n_own))):
    ledger.put(call)
    print(call.key, ledger.get([call.key])[call.key].value["text"][:20].split("x")[0], flush=True)
"""


def writer(where: str, who: str, n_shared: int, n_own: int) -> "subprocess.Popen[str]":
    """A process that puts calls and prints each key, with the text it then finds, once `put` has returned. It waits for a line first."""
    arguments = [sys.executable, "-c", WRITER, where, who, str(n_shared), str(n_own)]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def start(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for a new ledger: a file, or an empty schema of a Postgres database."""
    if request.param == "postgres":
        return request.getfixturevalue("fresh_schema")()
    return str(tmp_path / "new folder" / "ledger.sqlite")


@pytest.fixture
def ledger(where: str) -> Iterator[Ledger]:
    opened = open_ledger(where)
    yield opened
    opened.close()


def test_a_call_comes_back_with_everything_that_was_recorded(ledger: Ledger) -> None:
    call = made(
        1,
        finish_reason="length",
        prompt_tokens=3,
        completion_tokens=5,
        seed=2**31 - 1,
        run_id="r",
        stage="solve",
        latency_s=0.25,
        cost=0.001,
        at=1.5e9,
    )
    bare = made(2, at=2.5)
    ledger.put_many([call, bare])
    assert ledger.get([call.key, bare.key]) == {call.key: call, bare.key: bare}


def test_the_time_of_put_is_recorded_where_the_call_gives_none(ledger: Ledger) -> None:
    ledger.put(made(1))
    assert ledger.get([made(1).key])[made(1).key].at > 1.7e9


def test_the_first_reply_of_a_key_wins_within_a_batch_and_between_puts(ledger: Ledger) -> None:
    ledger.put_many([made(1, "first"), made(1, "second"), made(2, "other")])
    ledger.put(made(1, "third"))
    found = ledger.get([made(1).key, made(2).key])
    assert [found[made(i).key].value["text"] for i in (1, 2)] == ["first", "other"]
    assert ledger.count() == 2


def test_any_number_of_keys_is_looked_up_at_once(ledger: Ledger) -> None:
    calls = [made(i) for i in range(2_300)]
    ledger.put_many(calls[::2])
    keys = [call.key for call in calls]
    assert ledger.has(keys) == {call.key for call in calls[::2]}
    assert ledger.has([*keys[:1], *keys[:1]]) == {keys[0]}
    assert set(ledger.get(keys)) == ledger.has(keys)
    assert ledger.get([]) == {} and ledger.has([]) == set()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
HALVES = st.text(st.characters())  # half surrogate pairs too, which UTF-8 cannot hold


def test_every_json_request_and_reply_survives_the_round_trip(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l")

    @settings(max_examples=150, deadline=None)
    @given(asked=JSON, replied=st.dictionaries(HALVES, JSON | HALVES, max_size=4))
    def check(asked: Any, replied: dict[str, Any]) -> None:
        request = {"asked": asked, "nonce": uuid.uuid4().hex}
        key = digest(request, 64)
        ledger.put(Call(key, "generate", "m", request, replied))
        found = ledger.get([key])[key]
        assert (found.request, found.value) == (request, replied)
        assert digest(found.request, 64) == key

    check()
    assert ledger.export(tmp_path / "calls") == ledger.count() >= 150
    ledger.close()


def test_a_reply_of_many_megabytes_survives_the_round_trip(ledger: Ledger) -> None:
    long = "".join(hashlib.sha256(b"%d" % i).hexdigest() for i in range(100_000))
    ledger.put(made(1, long))
    assert ledger.get([made(1).key])[made(1).key].value == {"text": long}


@pytest.mark.parametrize("key", ["", "k1", "0" * 63, "g" * 64, "A" * 64, "0 " * 32])
def test_a_key_that_is_no_sha256_in_hex_is_refused_by_name(tmp_path: Path, key: str) -> None:
    ledger = open_ledger(tmp_path / "l")
    with pytest.raises(ValueError, match="64 lower-case hex digits"):
        ledger.has([key])


def test_a_key_that_is_not_the_hash_of_its_request_is_refused(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l")
    with pytest.raises(ValueError, match="is not the hash of its request"):
        ledger.put(Call("0" * 64, "generate", "m", {"a": 1}, {}))


def test_a_value_without_json_form_is_refused(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l")
    for value in (float("nan"), b"bytes", object()):
        with pytest.raises(TypeError, match="no stable serialisation"):
            ledger.put(Call(digest({}, 64), "score", "m", {}, {"x": value}))
    assert ledger.count() == 0


def test_kill_9_of_a_writer_loses_no_acknowledged_call(where: str) -> None:
    acknowledged: set[str] = set()
    for turn in range(3):
        process = writer(where, f"turn {turn}", 0, 1_000_000)
        start(process)
        assert process.stdout is not None
        for _ in range(150):
            acknowledged.add(process.stdout.readline().split()[0])
        process.send_signal(signal.SIGKILL)
        acknowledged |= {line.split()[0] for line in process.stdout.read().splitlines() if len(line.split()) > 1}
        process.wait()
        ledger = open_ledger(where)
        assert ledger.has(list(acknowledged)) == acknowledged
        assert len(acknowledged) <= ledger.count() <= len(acknowledged) + turn + 1  # at most the one in flight of each
        assert set(ledger.get(list(acknowledged))) == acknowledged
        ledger.close()
    assert len(acknowledged) >= 450


def test_four_processes_that_start_at_once_agree_on_the_first_reply_of_every_key(where: str) -> None:
    processes = [writer(where, f"w{i}", 100, 100) for i in range(4)]
    for process in processes:
        start(process)
    seen: dict[str, set[str]] = {}
    for process in processes:
        out, _ = process.communicate()
        assert process.returncode == 0
        for line in out.splitlines():
            key, text = line.split(" ", 1)
            seen.setdefault(key, set()).add(text)
    ledger = open_ledger(where)
    assert ledger.count() == len(seen) == 100 + 4 * 100
    assert all(len(texts) == 1 for texts in seen.values())
    found = ledger.get(list(seen))
    assert all(found[key].value["text"].startswith(text) for key, (text,) in seen.items())
    ledger.close()


def test_threads_share_one_ledger(ledger: Ledger) -> None:
    def work(who: int) -> int:
        for i in range(60):
            ledger.put(made(f"{who}/{i}"))
            assert ledger.has([made(f"{who}/{i}").key, made("never").key]) == {made(f"{who}/{i}").key}
            ledger.put(made(i, f"of {who}"))
        return len(ledger.get([made(i).key for i in range(60)]))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [60] * 8
    assert ledger.count() == 60 + 8 * 60


def test_a_reader_sees_what_another_process_wrote_meanwhile(where: str, ledger: Ledger) -> None:
    reader = open_ledger(where, read_only=True)
    process = writer(where, "other", 1, 0)
    process.communicate("go\n")
    assert reader.get([made(0).key])[made(0).key].value["text"].startswith("reply of other")
    reader.close()


def test_a_read_only_ledger_refuses_to_write(where: str, ledger: Ledger) -> None:
    reader = open_ledger(where, read_only=True)
    with pytest.raises(LedgerError, match=r"read.only"):
        reader.put(made(1))
    assert ledger.count() == 0
    reader.close()


def test_a_read_only_ledger_that_does_not_exist_is_an_error_and_is_not_made(where: str) -> None:
    with pytest.raises(LedgerError, match=r"no ledger at .*record one first"):
        open_ledger(where, read_only=True)
    if "://" not in where:
        assert not Path(where).parent.exists()


def _replay_unprivileged(path: Path, out: Any) -> None:
    if os.geteuid() == 0:
        os.setuid(65534)  # root may write into every folder
    try:
        open(path.parent / "probe", "w").close()
    except PermissionError:
        out.send(open_ledger(path, read_only=True).has([made(1).key, made(2).key]))


def test_a_recording_in_a_folder_that_one_may_not_write_is_replayed() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        path = Path(folder) / "recording" / "ledger.sqlite"
        ledger = open_ledger(path)
        ledger.put(made(1))
        ledger.close()
        Path(folder).chmod(0o755)
        path.parent.chmod(0o555)
        here, there = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(target=_replay_unprivileged, args=(path, there))
        child.start()
        child.join(30)
        path.parent.chmod(0o755)
        assert here.poll() and here.recv() == {made(1).key}


def test_files_that_are_no_ledger_are_refused_by_name_and_left_alone(tmp_path: Path) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_bytes(b"not a database, surely" * 100)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE friends (name TEXT)")
    before = other.read_bytes()
    for path, words in ((text, "file is not a database"), (other, "no ledger"), (tmp_path, "no ledger|unable to open")):
        for read_only in (False, True):
            with pytest.raises(LedgerError, match=words) as caught:
                open_ledger(path, read_only=read_only)
            assert str(path) in str(caught.value)
    assert other.read_bytes() == before


def test_a_ledger_of_another_format_is_refused(tmp_path: Path) -> None:
    open_ledger(tmp_path / "l").close()
    with sqlite3.connect(tmp_path / "l") as connection:
        connection.execute("UPDATE ledger_info SET format = 99")
    with pytest.raises(LedgerError, match="has format 99, this version of mathmill reads"):
        open_ledger(tmp_path / "l")


def test_an_unknown_url_is_refused_with_the_choices_and_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"no ledger at mysql://.*a file path or postgresql://") as caught:
        open_ledger("mysql://user:secret@host/db")
    assert "secret" not in str(caught.value)


def test_a_damaged_file_and_a_damaged_reply_are_named(tmp_path: Path) -> None:
    path = tmp_path / "l"
    ledger = open_ledger(path)
    ledger.put_many(made(i, hashlib.sha256(b"%d" % i).hexdigest() * 40) for i in range(300))
    ledger.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE ledger_call SET body = substr(body, 1, 30) WHERE id = 7")
    ledger = open_ledger(path)
    with pytest.raises(LedgerError, match=f"the call {made(6).key} is damaged"):
        ledger.get([made(6).key])
    assert len(ledger.get([made(i).key for i in range(6)])) == 6
    ledger.close()
    with open(path, "r+b") as file:
        file.seek(2 * 8192)
        file.write(os.urandom(path.stat().st_size - 3 * 8192))
    with pytest.raises(LedgerError, match=r"malformed.*is damaged"):
        open_ledger(path).get([made(i).key for i in range(300)])


FILLER = """
import resource, signal, sys
from storage.ledger import LedgerError, open_ledger
sys.path.insert(0, sys.argv[2])
from test_ledger import made
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
ledger = open_ledger(sys.argv[1])
n = 0
try:
    while True:
        ledger.put(made(n, str(n) * 5000))
        n += 1
except LedgerError as error:
    print(n, error, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.put(made("after"))
print(ledger.count())
"""


def test_a_file_that_cannot_grow_is_an_error_that_loses_nothing_and_ends_with_the_shortage(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", FILLER, str(tmp_path / "l"), str(Path(__file__).parent)]
    first, last = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()
    n, words = first.split(" ", 1)
    assert int(n) > 10 and str(tmp_path / "l") in words
    assert int(last) == int(n) + 1
    assert open_ledger(tmp_path / "l").has([made(i).key for i in range(int(n))]) == {made(i).key for i in range(int(n))}


def test_a_closed_ledger_says_so(where: str) -> None:
    ledger = open_ledger(where)
    ledger.close()
    ledger.close()
    for call in (lambda: ledger.get([made(1).key]), lambda: ledger.put(made(1)), ledger.count, ledger.cost_table):
        with pytest.raises(LedgerError, match="closed before this call"):
            call()


def _try_in_child(ledger: Ledger, out: Any) -> None:
    try:
        out.send(ledger.count())
    except LedgerError as error:
        out.send(str(error))


def test_a_ledger_carried_over_a_fork_is_refused(where: str, ledger: Ledger) -> None:
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_try_in_child, args=(ledger, there))
    child.start()
    child.join(30)
    assert "opened in another process" in here.recv()
    ledger.put(made(1))
    assert ledger.count() == 1


def calls_in(folder: Path, sql: str) -> list[Any]:
    with duckdb.connect() as connection:
        return connection.execute(sql.replace("calls", f"read_parquet('{folder}/*.parquet')")).fetchall()


def test_an_export_writes_only_what_is_new_and_duckdb_reads_the_texts(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "calls"
    assert ledger.export(folder) == 0 and not list(folder.glob("*.parquet"))
    ledger.put(made(1, "é\n$x^2$", stage="solve", at=86_400.5, prompt_tokens=7))
    assert ledger.export(folder) == 1
    first = {p: p.read_bytes() for p in folder.glob("*.parquet")}
    ledger.put_many(made(i) for i in range(4))
    assert ledger.export(folder) == 3
    assert ledger.export(folder) == 0
    assert {p: p.read_bytes() for p in first} == first
    columns = "value->>'text', request->>'$.input.text', stage, prompt_tokens, cost, called_at::VARCHAR"
    rows = calls_in(folder, f"SELECT {columns} FROM calls WHERE key = '{made(1).key}'")
    assert rows == [("é\n$x^2$", "question 1", "solve", 7, None, "1970-01-02 00:00:00.5")]
    assert sorted(calls_in(folder, "SELECT key FROM calls")) == sorted((made(i).key,) for i in range(4))


def test_exports_at_once_write_every_call_once(where: str, ledger: Ledger, tmp_path: Path) -> None:
    def put(who: int) -> int:
        return sum(ledger.put(made(f"{who}/{i}")) is None for i in range(150))

    def export(_: int) -> int:
        other = open_ledger(where)
        written = sum(other.export(tmp_path / "calls") for _ in range(10))
        other.close()
        return written

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        puts, exports = pool.map(put, range(3)), pool.map(export, range(3))
        assert sum(puts) == 450
        written = sum(exports) + ledger.export(tmp_path / "calls")
    assert written == 450
    assert calls_in(tmp_path / "calls", "SELECT count(*), count(DISTINCT key) FROM calls") == [(450, 450)]


def test_a_large_export_is_split_into_files_and_goes_on_after_the_last_whole_one(ledger: Ledger, tmp_path: Path) -> None:
    ledger.put_many(made(i, "long " * 4_000_000) for i in range(9))
    assert ledger.export(tmp_path) == 9
    files = sorted(tmp_path.glob("*.parquet"))
    assert len(files) == 3
    files[-1].unlink()  # as if killed before the last one was renamed
    assert ledger.export(tmp_path) == 1
    assert calls_in(tmp_path, "SELECT count(*), count(DISTINCT key) FROM calls") == [(9, 9)]


def test_a_ledger_made_anew_is_exported_beside_the_old_one(tmp_path: Path) -> None:
    for name in ("old", "new"):
        ledger = open_ledger(tmp_path / name)
        ledger.put(made(name))
        assert ledger.export(tmp_path / "calls") == 1
        ledger.close()
    assert calls_in(tmp_path / "calls", "SELECT count(*) FROM calls") == [(2,)]


def test_the_cost_table_sums_by_stage_model_and_kind_of_all_runs_or_one(ledger: Ledger) -> None:
    ledger.put(made(1, stage="solve", run_id="a", finish_reason="stop", prompt_tokens=10, completion_tokens=20, latency_s=1.5, cost=0.5))
    ledger.put(made(2, stage="solve", run_id="b", finish_reason="length", prompt_tokens=1, completion_tokens=2, latency_s=0.5, cost=0.25))
    ledger.put(made(3, stage="judge", run_id="b", latency_s=2.0))
    judge, solve = ledger.cost_table()
    assert (judge.stage, judge.calls, judge.prompt_tokens, judge.seconds, judge.cost) == ("judge", 1, 0, 2.0, None)
    assert (solve.calls, solve.cut_off, solve.prompt_tokens, solve.completion_tokens) == (2, 1, 11, 22)
    assert (solve.model, solve.kind, solve.seconds, solve.cost) == ("nano@1", "generate", 2.0, 0.75)
    assert [(c.stage, c.calls) for c in ledger.cost_table("a")] == [("solve", 1)]


def test_a_broken_connection_to_postgres_is_opened_again(fresh_schema: Callable[[], str]) -> None:
    psycopg = pytest.importorskip("psycopg")
    where = fresh_schema()
    ledger = open_ledger(f"{where}&application_name=cut")
    ledger.put(made(1))
    with psycopg.connect(where, autocommit=True) as connection:
        cut = connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut'").fetchall()
    assert len(cut) == 2
    assert ledger.has([made(1).key]) == {made(1).key}
    ledger.put(made(2))
    assert ledger.count() == 2
    ledger.close()


def test_postgres_errors_name_the_server_but_not_the_password() -> None:
    with pytest.raises(LedgerError, match=r"127\.0\.0\.1:1/mill") as caught:
        open_ledger("postgresql://user:secret@127.0.0.1:1/mill")
    assert "secret" not in str(caught.value)
