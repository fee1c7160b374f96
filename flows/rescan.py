"""Check every published training version against protected texts that may be newer than it is, and say what is affected.

An object that was checked against the same texts by the same rule is not read again: its marks are a shard in the catalog. No Prefect here.
"""

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from flows.config import assign, explained
from flows.graph import UsageError
from storage.balance import Balance
from storage.ids import digest
from storage.schemas import ROW_TYPES, Checkpoint, Dropped, Protected, arrow_schema, from_table
from storage.shards import Shard
from storage.store import Store
from storage.versions import Version
from tasks.certificate import CHECKED, benchmarks_of
from tasks.contamination import ContaminationConfig, contamination, marks_of, protected_texts
from tasks.fingerprint import code_identity
from tasks.maths.contamination_index import Index, Rule, index_digest
from tasks.maths.protected import read_protected

DATASET = "rescan.marks"
"""The dataset of marks, one for every row that was checked."""


@dataclass(frozen=True)
class Affected:
    """A training version with rows that repeat protected texts, and the checkpoints that learned from it."""

    version: Version
    rows: int
    """Rows of it with a hit."""
    benchmarks: list[str]
    checkpoints: list[str]
    """`dataset@version id`, also of those that went on from such a checkpoint."""


@dataclass(frozen=True)
class Rescan:
    """What a rescan did and found."""

    marks: Version | None
    """None where there is no training version."""
    versions: int
    objects: int
    checked: int
    """Objects that were read now; the others had been checked before."""
    affected: list[Affected]

    def rows(self) -> list[dict[str, object]]:
        """A row for each affected version, to be shown."""
        return [
            {"version": a.version.spec, "rows": a.rows, "of": a.version.n_rows, "benchmarks": a.benchmarks, "checkpoints": a.checkpoints}
            for a in self.affected
        ]

    def summary(self) -> str:
        """The whole in one line."""
        if self.marks is None:
            return "there is no training version to check"
        counts = f"{self.versions} training versions, {self.checked} of {self.objects} objects checked now"
        return f"{counts}; {len(self.affected)} versions affected; marks: {self.marks.spec}"


def rule_of(sets: Sequence[str]) -> ContaminationConfig:
    """The rule that `--set FIELD=VALUE` describes, over the default one. Raises UsageError."""
    values: dict[str, object] = {}
    for text in sets:
        assign(values, text, "FIELD=VALUE")
    try:
        return ContaminationConfig.model_validate(values)
    except ValidationError as error:
        raise UsageError("\n".join(explained(ContaminationConfig, "rescan", e) for e in error.errors())) from error


def protected_of(store: Store, against: Path | None) -> pa.Table:
    """The texts of benchmark files, or of the latest version of every dataset of protected texts in the store. Raises UsageError."""
    if against is not None:
        return read_protected(against)
    found = [protected_texts(store.table(head), head.dataset) for head in store.heads() if head.row_type == Protected.__name__]
    if not found:
        raise UsageError(f"nothing to check against: {store.root} has no dataset of Protected rows; say --against DIR with benchmark files")
    return pa.concat_tables(found)


def rescan(
    store: Store, protected: pa.Table, config: ContaminationConfig, run_id: str = "rescan", say: Callable[[str], None] = lambda line: None
) -> Rescan:
    """Check what was not checked before, publish the marks, and list what is affected."""
    check = _Check(protected, config.rule)
    versions = _training_versions(store)
    objects = {slot.content: _Object(version, slot.content) for version in versions for slot in store.slots(version)}
    shards: dict[str, Shard] = {}
    checked = 0
    for content, item in objects.items():
        shards[content], new = _shard(store, item, check, run_id)
        checked += new
        if new:
            say(f"{item.part}: {shards[content].n_rows} rows checked")
    marks = _publish(store, {item.part: shards[content].key for content, item in objects.items()}, check, config, run_id)
    hits = {content: _hits(store, shard) for content, shard in shards.items()}
    return Rescan(marks, len(versions), len(objects), checked, _affected(store, versions, hits))


class _Check:
    """Protected texts and a rule; the index is made when there is something to check."""

    def __init__(self, protected: pa.Table, rule: Rule) -> None:
        self.protected = protected
        self.digest = index_digest(protected, rule)
        self._rule = rule

    @functools.cached_property
    def index(self) -> Index:
        return Index(self.protected, self._rule)


@dataclass(frozen=True)
class _Object:
    """Rows to check: an object, and a version that holds it."""

    version: Version
    content: str

    @property
    def part(self) -> str:
        return f"{self.version.dataset}/{self.content}"

    @property
    def columns(self) -> tuple[str, ...]:
        return CHECKED[self.version.row_type]


def _training_versions(store: Store) -> list[Version]:
    """Every version of rows to train on that has not expired."""
    names = [head.dataset for head in store.heads() if getattr(ROW_TYPES[head.row_type], "trains", False)]
    return [version for name in names for version in store.versions(name)]


def _shard(store: Store, item: _Object, check: _Check, run_id: str) -> tuple[Shard, bool]:
    """(marks of one object, whether they were made now). Two rescans never check the same object: the second waits."""
    what = {"inputs": {"rows": item.content}, "columns": list(item.columns)}
    recipe = {"stage": "rescan", "code": code_identity(contamination), "index": check.digest, **what}
    key = digest(recipe)
    with store.lock(key):
        found = store.lookup(key)
        if found is not None:
            return found, False
        started = time.monotonic()
        rows = store.read(item.content)
        marks = marks_of(rows, item.columns, check.index)
        made = store.commit(
            key=key,
            dataset=DATASET,
            part=item.part,
            stage="rescan",
            recipe=recipe,
            rows=marks,
            dropped=arrow_schema(Dropped).empty_table(),
            balance=Balance(rows.num_rows, rows.num_rows, {}, 0, marks.num_rows),
            run_id=run_id,
            seconds=time.monotonic() - started,
        )
        return made, True


def _publish(store: Store, keys: dict[str, str], check: _Check, config: ContaminationConfig, run_id: str) -> Version | None:
    if not keys:
        return None
    meta = {
        "stage": "rescan",
        "recipe": "rescan",
        "config": config.identity(),
        "index_digest": check.digest,
        "benchmarks": benchmarks_of(check.protected),
    }
    return store.publish(DATASET, keys, meta=meta, run_id=run_id)


def _hits(store: Store, shard: Shard) -> pa.Table:
    marks = store.read(shard.content, ["contaminated", "benchmark"])
    return marks.filter(marks["contaminated"])


def _affected(store: Store, versions: list[Version], hits: dict[str, pa.Table]) -> list[Affected]:
    found = []
    for version in versions:
        tables = [hits[slot.content] for slot in store.slots(version)]
        rows = sum(table.num_rows for table in tables)
        if rows:
            names = sorted({name for table in tables for name in pc.unique(table["benchmark"]).to_pylist()})
            found.append(Affected(version, rows, names, _trained_on(store, version.digest)))
    return found


def _trained_on(store: Store, version_digest: str) -> list[str]:
    """Checkpoints that learned from these rows, and all that went on from one of them."""
    every = [(version.spec, row) for version in _checkpoint_versions(store) for row in from_table(store.table(version), Checkpoint)]
    tainted = {row.id for _, row in every if row.trained_on_digest == version_digest}
    while True:
        more = {row.id for _, row in every if any(id_ in row.base for id_ in tainted)} - tainted
        if not more:
            return [f"{spec} {row.id}" for spec, row in every if row.id in tainted]
        tainted |= more


def _checkpoint_versions(store: Store) -> Iterable[Version]:
    for head in store.heads():
        if head.row_type == Checkpoint.__name__:
            yield from store.versions(head.dataset)
