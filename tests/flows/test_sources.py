"""Outside files as records: every format gives the same rows, and what cannot be read is a record that says so."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from flows.graph import UsageError
from flows.sources import open_source

ROWS = [{"problem": "What is 2 + 3?", "answer": "5"}, {"problem": "Wieviel ist 3·4?", "answer": "12"}]


def records(path: Path) -> list:
    return [record for _, record in open_source(path).records()]


def test_jsonl_parquet_and_arrow_files_give_the_same_rows(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS), encoding="utf-8")
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, tmp_path / "a.parquet")
    for name, new in (("stream.arrow", ipc.new_stream), ("file.arrow", ipc.new_file)):
        with new(str(tmp_path / name), table.schema) as writer:
            writer.write_table(table)
    assert [records(tmp_path / n) for n in ("a.jsonl", "a.parquet", "stream.arrow", "file.arrow")] == [ROWS] * 4


def test_a_folder_is_read_in_the_order_of_its_names_without_the_metadata_of_datasets(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/z.jsonl").write_text(json.dumps(ROWS[1]))
    (tmp_path / "a.jsonl").write_text(json.dumps(ROWS[0]))
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("not data")
    assert list(open_source(tmp_path).records()) == [("a.jsonl:1", ROWS[0]), ("b/z.jsonl:1", ROWS[1])]


def test_a_folder_written_by_datasets_is_read(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the extra `local` is not installed")
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "d"))
    assert records(tmp_path / "d") == ROWS


def test_blank_lines_and_a_byte_order_mark_are_no_rows(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(ROWS[0]).encode() + b"\n\n  \n" + json.dumps(ROWS[1]).encode())
    assert list(open_source(tmp_path / "a.jsonl").records()) == [("a.jsonl:1", ROWS[0]), ("a.jsonl:4", ROWS[1])]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"a": ', "line 2 is not JSON"),
        (b"\xff\xfe", "line 2 is not JSON"),
        (b"[1, 2]", "line 2 is not a JSON object but list"),
        (b'{"problem": "\\ud800"}', "line 2 holds half of a surrogate pair"),
    ],
)
def test_a_line_that_cannot_be_read_is_a_record_that_names_file_and_line(tmp_path, line, said):
    file = tmp_path / "a.jsonl"
    file.write_bytes(json.dumps(ROWS[0]).encode() + b"\n" + line + b"\n")
    good, bad = records(file)
    assert good == ROWS[0] and isinstance(bad, ValueError) and str(bad).startswith(f"{file}, {said}")


def test_moving_a_file_changes_nothing_and_changing_a_byte_does(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jsonl").write_text(json.dumps(ROWS[0]))
    before = open_source(tmp_path / "one").digest
    assert open_source(tmp_path / "two").digest == before
    (tmp_path / "two/a.jsonl").write_text(json.dumps(ROWS[1]))
    assert open_source(tmp_path / "two").digest != before


@pytest.mark.parametrize(("name", "said"), [("none.jsonl", "no input file"), ("a.csv", "cannot read"), ("empty", "no data file in")])
def test_what_is_no_input_is_wrong_usage_that_names_the_choices(tmp_path, name, said):
    (tmp_path / "a.csv").write_text("a,b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=rf"{said}.*{name}.*\.jsonl, \.json, \.parquet, \.arrow"):
        open_source(tmp_path / name)


def test_a_damaged_parquet_file_is_an_error_that_names_it(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 this is no parquet file PAR1")
    with pytest.raises(ValueError, match=r"a\.parquet"):
        records(tmp_path / "a.parquet")


def test_a_folder_counts_by_its_name_too_because_sources_are_called_after_it(tmp_path):
    for folder in ("one/gsm", "two/gsm", "two/math"):
        (tmp_path / folder).mkdir(parents=True)
        for file in ("a.jsonl", "b.jsonl"):
            (tmp_path / folder / file).write_text(json.dumps(ROWS[0]))
    one, two, other = (open_source(tmp_path / folder).digest for folder in ("one/gsm", "two/gsm", "two/math"))
    assert one == two != other
