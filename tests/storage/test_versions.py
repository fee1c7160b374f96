"""Versions: published whole or not at all, named, tagged, reverted; round trips against a plain model."""

import contextlib
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import commit, problems, put, texts_of

from storage import catalog as tables
from storage.balance import Balance
from storage.errors import CertificateError, HeadMoved, StoreError
from storage.schemas import Difficulty, Example, to_table
from storage.store import Store


def three(store: Store) -> dict[str, str]:
    return {k: v for i in range(3) for k, v in put(store, f"round=0/00{i}", {f"{i}a": "p", f"{i}b": "q"}).items()}


def test_a_version_holds_exactly_the_published_parts(store: Store) -> None:
    shards = three(store)
    version = store.publish("t.rows", shards, buckets=3, meta={"stage": "make"}, run_id="r1")
    assert (version.spec, version.parent, version.n_shards, version.n_rows, version.complete) == ("t.rows@1", None, 3, 6, True)
    assert version.balance == Balance(6, 6, {}, 0, 6) and version.meta == {"stage": "make"} and version.row_type == "Problem"
    assert {slot.part: slot.shard_key for slot in store.slots(version)} == shards
    assert store.table("t.rows").column("id").to_pylist() == ["0a", "0b", "1a", "1b", "2a", "2b"]
    assert store.table("t.rows", columns=["problem"], parts=["round=0/001", "round=9/000"]).to_pylist() == [
        {"problem": "p"},
        {"problem": "q"},
    ]
    assert [path.is_file() for path in store.files(version)] == [True] * 3
    assert store.buckets("t.rows") == 3 and store.head("t.rows") == version and store.heads() == [version]


def test_publishing_what_the_head_holds_returns_the_head(store: Store) -> None:
    shards = three(store)
    first = store.publish("t.rows", shards, expect_head=0)
    assert store.publish("t.rows", shards, expect_head=0, run_id="another") == first
    assert store.publish("t.rows", dict(list(shards.items())[:1]), kind="patch") == first
    assert [v.n for v in store.versions("t.rows")] == [1]


def test_a_patch_replaces_its_parts_and_a_scope_replaces_all_below_it(store: Store) -> None:
    store.publish("t.rows", {**three(store), **put(store, "round=1/000", {"x": "p"}), **put(store, "round=1/001", {"y": "p"})})
    patched = store.publish("t.rows", put(store, "round=0/001", {"1c": "new"}), kind="patch")
    assert patched.n_rows == 7 and patched.kind == "patch" and patched.parent == 1
    scoped = store.publish("t.rows", put(store, "round=1/002", {"z": "new"}), kind="patch", scope="round=1/")
    assert [slot.part for slot in store.slots(scoped)] == ["round=0/000", "round=0/001", "round=0/002", "round=1/002"]
    assert [slot.part for slot in store.slots("t.rows@1") if slot.part.startswith("round=1/")] == ["round=1/000", "round=1/001"]
    assert store.fsck(deep=True) == []


def test_a_healed_shard_of_the_same_key_makes_a_new_version(store: Store) -> None:
    sick = commit(store, problems({"a": "p"}), {"n": 1}, quarantined=["b", "c"], rejected={"d": "too short"})
    first = store.publish("t.rows", {"p": sick.key})
    assert not first.complete and first.n_quarantined == 2 and first.balance == Balance(4, 1, {"too short": 1}, 2, 1)
    assert store.dropped_table(first).column("fate").to_pylist() == ["quarantined", "quarantined", "rejected"]
    healed = commit(store, problems({"a": "p", "b": "p", "c": "p"}), {"n": 1}, rejected={"d": "too short"})
    second = store.publish("t.rows", {"p": healed.key})
    assert second.n == 2 and second.complete and second.n_rows == 3
    assert store.table("t.rows@1").num_rows == 1 and store.dropped_table("t.rows@1").num_rows == 3
    assert store.fsck(deep=True) == []


def test_the_digest_is_known_before_and_depends_on_rows_and_parts_alone(store: Store) -> None:
    shards = three(store)
    digest, rows = store.preview("t.rows", shards)
    first = store.publish("t.rows", shards)
    assert digest == first.digest == store.digest_of("t.rows", shards) and rows.equals(store.table(first))
    same_rows = commit(store, problems({"0a": "p", "0b": "q"}), {"other": "recipe"})
    second = store.publish("t.rows", {"round=0/000": same_rows.key}, kind="patch")
    assert (second.n, second.digest) == (2, first.digest)
    moved = store.publish("t.moved", {f"x{part}": key for part, key in shards.items()})
    assert moved.digest != first.digest


def test_a_head_that_moved_is_refused_by_whoever_expected_another(store: Store) -> None:
    store.publish("t.rows", three(store), expect_head=0)
    other = put(store, "round=0/000", {"n": "new"})
    with pytest.raises(HeadMoved, match=r"t\.rows is at @1, expected not to exist: another run"):
        store.publish("t.rows", other, expect_head=0)
    with pytest.raises(HeadMoved, match=r"t\.none is at no version, expected @4"):
        store.publish("t.none", other, expect_head=4)
    assert store.head("t.none") is None and store.publish("t.rows", other, expect_head=1).n == 2


def refused(store: Store) -> list[tuple[str, Any, str]]:
    a, b = put(store, "round=0/000", {"a": "p"}), put(store, "round=1/000", {"b": "p"})
    number = Difficulty("a", "a", 4, 2, 0.5, 0.1, 0.9, 10.0)
    other = commit(store, to_table([number], Difficulty), {"n": 5}, part="round=0/001").key
    gone = commit(store, problems({"gone": "p"}), {"n": 6})
    store.objects.path(gone.content).unlink()
    return [
        ("missing", lambda: store.publish("t.x", {"p": "0" * 40}), r"1 shards are not in the store: \['p \(0{40}\)'\]: compute"),
        ("gone", lambda: store.publish("t.x", {"p": gone.key}), "1 shards are not in the store"),
        ("mixed", lambda: store.publish("t.x", {**a, "round=0/001": other}), r"have 2 schemas \(\['Difficulty', 'Problem'\]\)"),
        ("class", lambda: store.publish("t.rows", {"round=0/000": other}), "t.rows holds Problem rows, not Difficulty"),
        ("nothing", lambda: store.publish("t.x", {}), "nothing to publish as t.x"),
        ("scope", lambda: store.publish("t.x", {**a, **b}, kind="patch", scope="round=1/"), r"\['round=0/000'\] are outside the scope"),
        ("replace", lambda: store.publish("t.x", a, scope="round=0/"), "scope 'round=0/' goes with kind 'patch'"),
        ("kind", lambda: store.publish("t.x", a, kind="append"), r"'append': have \['replace', 'patch'\]"),  # type: ignore[arg-type]
        ("name", lambda: store.publish("T-1", a), "no dataset name 'T-1'"),
        ("schema", lambda: store.publish("catalog.rows", a), "'catalog.rows': .* choose another --name"),
        ("buckets", lambda: store.publish("t.rows", a, buckets=7), "first published with 3 buckets a round, not 7"),
        ("input", lambda: store.publish("t.x", a, inputs={"in": ("t.rows", 9)}), r"no version t\.rows@9: .* the versions \[1\]"),
        ("tag", lambda: store.publish("t.x", a, tags=["latest"]), "no tag name 'latest'"),
    ]


def test_what_cannot_be_published_is_refused_with_the_reason_and_leaves_no_trace(store: Store) -> None:
    store.publish("t.rows", three(store), buckets=3)
    for name, attempt, message in refused(store):
        with pytest.raises((StoreError, ValueError)) as caught:
            attempt()
        assert re.search(message, str(caught.value)), f"{name}: {caught.value}"
    assert store.datasets() == ["t.rows"] and [v.n for v in store.versions("t.rows")] == [1]


def example(row_id: str) -> Example:
    return Example(row_id, "p", "s", "1 + 1 = ?", "It is 2.")


def test_rows_to_train_on_need_a_certificate_for_exactly_them_without_hits(store: Store) -> None:
    shards = {"p": commit(store, to_table([example("a")], Example), {"n": 1}).key}
    certificate = {"version_digest": store.digest_of("t.train", shards), "hits": [], "index": "i1"}
    for bad, message in [
        (None, "has no contamination certificate: run the contamination stage"),
        ({**certificate, "version_digest": "0"}, "the certificate is for digest 0, these rows have [0-9a-f]{40}"),
        ({**certificate, "hits": None}, r"lists hits \(None\)"),
        ({**certificate, "hits": [{"id": "a"}]}, "lists hits .*reject the contaminated rows"),
        ({"version_digest": certificate["version_digest"]}, "no `hits` at all"),
        (
            {**certificate, "planted_recall": {"recall": 0.84}, "recall_floor": 0.9},
            r"finds 84\.0% of planted .*floor of 90\.0%: use a stronger rule",
        ),
    ]:
        with pytest.raises(CertificateError, match=message):
            store.publish("t.train", shards, meta={"certificate": bad} if bad else {})
    assert store.publish("t.train", shards, meta={"certificate": certificate}).n == 1
    assert store.publish("t.train", shards, meta={"certificate": certificate}).n == 1
    found = {"planted_recall": {"recall": 0.84}, "recall_floor": 0.8}
    assert store.publish("t.found", shards, meta={"certificate": {**certificate, **found}}).n == 1
    assert store.publish("t.nothing", shards, meta={"certificate": {**certificate, "planted_recall": None, "recall_floor": 0.9}}).n == 1
    assert store.publish("t.train", shards, meta={"certificate": {**certificate, "index": "i2"}}).n == 2
    with pytest.raises(CertificateError):
        store.publish("t.train", {"p": commit(store, to_table([example("b")], Example), {"n": 2}).key}, meta={"certificate": certificate})


def test_names_are_resolved_and_errors_name_what_there_is(store: Store) -> None:
    store.publish("tiny.difficulty", put(store, "p", {"a": "1"}), tags=["prod"])
    store.publish("tiny.difficulty", put(store, "p", {"a": "2"}))
    assert [store.resolve(f"tiny.difficulty{at}").n for at in ("", "@latest", "@2", "@1", "@prod")] == [2, 2, 2, 1, 1]
    for spec, message in [
        ("tiny.dificulty", "no dataset 'tiny.dificulty' (did you mean 'tiny.difficulty'?): have ['tiny.difficulty']"),
        ("tiny.difficulty@7", "no version tiny.difficulty@7: tiny.difficulty has the versions [1, 2] and the tags ['latest', 'prod']"),
        ("tiny.difficulty@prd", "no tag 'tiny.difficulty@prd' (did you mean tiny.difficulty@prod?): tiny.difficulty has the versions"),
    ]:
        with pytest.raises(StoreError) as caught:
            store.resolve(spec)
        assert message in str(caught.value)


def test_tags_move_together_or_not_at_all_and_every_move_is_logged(store: Store) -> None:
    for text in ("1", "2"):
        store.publish("t.a", put(store, "p", {"a": text}))
        store.publish("t.b", put(store, "p", {"b": text}))
    store.tag_all({"t.a": 1, "t.b": 1}, "good", who="ann", why="first run")
    with pytest.raises(StoreError, match=r"no version t\.b@9"):
        store.tag_all({"t.a": 2, "t.b": 9}, "good")
    assert store.refs("t.a") == store.refs("t.b") == {"good": 1}
    store.tag("t.a", "good", 2, who="bob", why="checked")
    store.tag("t.a", "good", 2, who="bob", why="again")
    with store.catalog.read() as connection:
        log = [tuple(r)[:6] for r in connection.execute(tables.ref_log.select()) if r.dataset == "t.a"]
    assert log == [("t.a", "good", None, 1, "ann", "first run"), ("t.a", "good", 1, 2, "bob", "checked")]
    for name in ("3", "Good", "latest", ""):
        with pytest.raises(StoreError, match="no tag name"):
            store.tag("t.a", name, 1)


def test_going_back_is_a_new_version_that_patches_build_on(store: Store) -> None:
    store.publish("t.rows", three(store), meta={"config": 1})
    store.publish("t.rows", put(store, "round=0/000", {"bad": "rows"}), kind="patch", meta={"config": 2})
    back = store.revert("t.rows", 1)
    assert (back.n, back.kind, back.digest) == (3, "revert", store.resolve("t.rows@1").digest)
    assert back.meta == {"config": 1, "reverted_to": 1}
    patched = store.publish("t.rows", put(store, "round=0/001", {"1z": "p"}), kind="patch")
    assert sorted(texts_of(store.table(patched))) == ["0a", "0b", "1z", "2a", "2b"]
    assert store.revert("t.rows", 4) == patched


def test_every_published_version_is_mirrored_as_a_file(local: Store) -> None:
    local.publish("t.rows", three(local))
    local.publish("t.rows", put(local, "round=0/001", {"x": "p"}), kind="patch")
    files = sorted((local.root / "log" / "t.rows").iterdir())
    assert [file.name for file in files] == ["00000001.json", "00000002.json"]
    assert '"ended": [\n   "round=0/001"' in files[1].read_text()


PARTS = st.dictionaries(
    st.sampled_from(["round=0/000", "round=0/001", "round=1/000"]),
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["p", "q"]), max_size=3),
    min_size=1,
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["replace", "patch", "round=0/", "round=1/", "revert"]), PARTS, st.integers(0, 9)), min_size=1, max_size=5
)
Model = dict[str, dict[str, str]]


def apply(store: Store, name: str, history: list[Model], step: tuple[str, Model, int]) -> Model:
    """Publish one step; what the head should hold then."""
    kind, parts, pick = step
    head = history[-1] if history else {}
    if kind == "revert" and history:
        n = pick % len(history) + 1
        store.revert(name, n)
        return history[n - 1]
    scope = kind if kind.startswith("round") else None
    parts = {p: {f"{p}{i}": t for i, t in rows.items()} for p, rows in parts.items() if p.startswith(scope or "")}
    shards = {k: v for p, rows in parts.items() for k, v in put(store, p, rows, name).items()}
    kept = {} if kind == "replace" or kind == "revert" else {p: r for p, r in head.items() if not (scope and p.startswith(scope))}
    if not kept and not parts:
        return head
    store.publish(name, shards, kind="replace" if kind in ("replace", "revert") else "patch", scope=scope)
    return {**kept, **parts}


@given(STEPS)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_version_stays_what_it_was_and_differences_lead_from_one_to_the_other(
    local: Store, steps: list[tuple[str, Model, int]]
) -> None:
    name = f"t.d{len(local.datasets())}"
    history: list[Model] = []
    for step in steps:
        now = apply(local, name, history, step)
        if now and (not history or now != history[-1]):
            history.append(now)
    for n, model in enumerate(history, 1):
        rows = {i: t for part in model.values() for i, t in part.items()}
        assert texts_of(local.table(f"{name}@{n}")) == rows
        parts = local.diff(f"{name}@1", f"{name}@{n}")
        assert {*parts.added, *parts.changed} == {p for p, r in model.items() if history[0].get(p) != r}
        assert parts.removed == sorted(history[0].keys() - model.keys())
        changes = local.diff_rows(f"{name}@1", f"{name}@{n}")
        before = texts_of(local.table(f"{name}@1"))
        after = {i: t for i, t in before.items() if i not in changes.removed}
        after.update({i: rows[i] for i in [*changes.added, *changes.changed]})
        assert after == rows and all(columns == ["problem"] for columns in changes.changed.values())
    assert local.fsck() == []


def test_two_stores_opened_on_one_place_see_each_others_versions(place: Any) -> None:
    with contextlib.closing(Store.open(*place)) as one, contextlib.closing(Store.open(*place)) as two:
        version = one.publish("t.rows", put(one, "p", {"a": "1"}))
        assert two.resolve("t.rows") == version
        assert two.publish("t.rows", put(two, "p", {"a": "2"}), kind="patch").n == 2
        assert one.head("t.rows") == two.head("t.rows")
