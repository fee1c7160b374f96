"""Objects: the name is a hash of schema and rows alone, files are read-only, damage is found."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import problems, put, texts_of

from storage.errors import StoreError
from storage.objects import Objects, content_hash
from storage.store import Store

ROWS = st.lists(
    st.tuples(
        st.none() | st.text(max_size=5),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(),
        st.none() | st.booleans(),
        st.none() | st.lists(st.text(max_size=3), max_size=3),
    ),
    max_size=8,
)
TYPES = (pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.list_(pa.field("item", pa.string(), nullable=False)))


def table(rows: list[tuple]) -> pa.Table:
    return pa.table([pa.array([row[i] for row in rows], kind) for i, kind in enumerate(TYPES)], names=["s", "i", "f", "b", "l"])


def as_written(rows: list[tuple]) -> str:
    """Equal for equal rows: every NaN alike, 0.0 and -0.0 apart."""
    return repr([tuple("nan" if isinstance(v, float) and math.isnan(v) else v for v in row) for row in rows])


@given(ROWS, st.integers(0, 8), st.integers(0, 3), st.integers(0, 3))
def test_the_name_does_not_depend_on_chunks_or_on_what_lies_around_a_slice(rows: list[tuple], cut: int, before: int, after: int) -> None:
    whole = table(rows)
    noise = table([("noise", 7, 7.0, True, ["noise"])] * 3)
    around = pa.concat_tables([noise.slice(0, before), whole, noise.slice(0, after)]).combine_chunks().slice(before, len(rows))
    assert content_hash(pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])) == content_hash(whole)
    assert content_hash(around) == content_hash(whole)


@given(ROWS, ROWS)
def test_equal_names_are_given_to_equal_rows_only(a: list[tuple], b: list[tuple]) -> None:
    assert (content_hash(table(a)) == content_hash(table(b))) == (as_written(a) == as_written(b))


@given(ROWS)
@settings(max_examples=30)
def test_the_name_does_not_depend_on_how_arrow_holds_a_string(rows: list[tuple]) -> None:
    usual = table(rows)
    for kind in (pa.large_string(), pa.string_view()):
        assert content_hash(usual.set_column(0, "s", usual.column("s").cast(kind))) == content_hash(usual)


def test_the_name_is_the_same_for_ever() -> None:
    assert content_hash(problems({"a": "1 + 1 = ?", "b": "x² = 4"})) == "6c53439a4f12d6a3e6156d2bb2d56cc58795171d"


def test_column_names_nullability_and_row_class_are_part_of_the_name() -> None:
    base = pa.table({"id": ["a"]})
    others = [
        pa.table({"di": ["a"]}),
        base.cast(pa.schema([pa.field("id", pa.string(), nullable=False)])),
        base.replace_schema_metadata({"mathmill.row": "Problem"}),
    ]
    assert len({content_hash(t) for t in [base, *others]}) == 4


def test_a_column_type_without_canonical_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no canonical form for a column of type timestamp"):
        content_hash(pa.table({"at": pa.array([0], pa.timestamp("us"))}))


@given(rows=ROWS)
@settings(max_examples=30)
def test_rows_come_back_from_the_file_as_they_were(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple]) -> None:
    objects = Objects(tmp_path_factory.mktemp("objects"))
    info = objects.write(table(rows), {"mathmill.key": "k"})
    back = objects.read(info.content)
    assert back.schema.equals(table(rows).schema)
    assert as_written([tuple(r.values()) for r in back.to_pylist()]) == as_written(rows)
    assert objects.verify(info.content) is None


def test_a_file_is_read_only_says_what_it_was_made_by_and_leaves_nothing_in_tmp(tmp_path: Path) -> None:
    objects = Objects(tmp_path)
    info = objects.write(problems({"a": "p"}), {"mathmill.recipe": '{"stage":"x"}'})
    path = objects.path(info.content)
    assert path.stat().st_mode & 0o777 == 0o444
    assert pq.read_metadata(path).metadata[b"mathmill.recipe"] == b'{"stage":"x"}'
    assert info.n_bytes == path.stat().st_size and list(objects.tmp.iterdir()) == []


def test_columns_are_read_alone_and_unknown_ones_are_named(tmp_path: Path) -> None:
    objects = Objects(tmp_path)
    content = objects.write(problems({"a": "p"}), {}).content
    assert objects.read(content, ["problem", "id"]).column_names == ["problem", "id"]
    with pytest.raises(StoreError, match=r"no column \['solution'\]: have \['id', 'source'"):
        objects.read(content, ["solution"])


@pytest.mark.parametrize("at", [100, -100])
def test_a_flipped_byte_is_found(tmp_path: Path, at: int) -> None:
    objects = Objects(tmp_path)
    content = objects.write(problems({f"{i:03d}": f"text {i}" for i in range(50)}), {}).content
    body = bytearray(objects.path(content).read_bytes())
    body[at] ^= 0xFF
    objects.path(content).chmod(0o644)
    objects.path(content).write_bytes(body)
    assert objects.verify(content) is not None


def test_a_damaged_object_is_named_with_the_way_out_which_heals_it(local: Store) -> None:
    keys = put(local, "p", {"a": "1"})
    local.publish("t.rows", keys)
    [path] = local.files("t.rows")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match=rf"object {path.stem}: .* cannot be read: .*; remove that file and run again"):
        local.table("t.rows")
    path.unlink()
    assert local.lookup(keys["p"]) is None and put(local, "p", {"a": "1"}) == keys
    assert texts_of(local.table("t.rows")) == {"a": "1"} and local.fsck(deep=True) == []


def test_a_file_with_other_rows_and_a_missing_file_are_found(tmp_path: Path) -> None:
    objects = Objects(tmp_path)
    one, two = (objects.write(problems({"a": text}), {}).content for text in ("one", "two"))
    objects.path(one).unlink()
    objects.path(one).write_bytes(objects.path(two).read_bytes())
    objects.path(two).unlink()
    assert "holds other rows" in str(objects.verify(one)) and "is missing" in str(objects.verify(two))
