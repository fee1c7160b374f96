"""The store: one folder of immutable objects and one catalog. The only object that the rest of the factory uses for data at rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from storage import diff as diff_
from storage import maintain as maintain_
from storage import publish as publish_
from storage import shards as shards_
from storage import versions as versions_
from storage.balance import Balance
from storage.catalog import Catalog
from storage.dataset import StoredDataset
from storage.diff import Explanation, PartsDiff, RowsDiff
from storage.errors import StoreError
from storage.ledger import Ledger, open_ledger
from storage.maintain import Collected
from storage.mirror import mirror
from storage.objects import Objects
from storage.publish import Request
from storage.schemas import ROW_TYPES, Dropped, arrow_schema
from storage.shards import Shard
from storage.versions import Slot, Version
from storage.views import FILE, refresh_views


class Store:
    """Open with `Store.open`. Safe to share among threads; every process opens its own (never across a fork)."""

    def __init__(self, root: Path, catalog: Catalog) -> None:
        self.root = root
        self.catalog = catalog
        self.objects = Objects(root)
        self._ledger: Ledger | None = None
        self._opening = threading.Lock()

    @classmethod
    def open(cls, root: str | Path, catalog: str | None = None) -> Store:
        """The store in folder `root`, made if it is not there. `catalog`: `postgresql://...`; default: `catalog.sqlite` in the folder."""
        root = Path(root).expanduser().absolute()
        if "?" in str(root):
            raise StoreError(f"the store {root} cannot be there: DuckDB takes what follows a ? for options; choose another --store")
        try:
            for folder in (root, root / "locks", root / "log", root / "objects", root / "tmp"):
                folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            file = next(path for path in (root, *root.parents) if path.exists())
            raise StoreError(f"the store {root} cannot be a folder: {file} is a file; choose another --store") from error
        except OSError as error:
            raise StoreError(f"the store {root} cannot be made ({error.strerror}): choose a --store that you can write") from error
        own = sa.URL.create("sqlite", database=str(root / "catalog.sqlite"))  # which quotes what a URL must not hold
        return cls(root, Catalog(catalog or own.render_as_string(), root / "locks"))

    @property
    def ledger(self) -> Ledger:
        """The ledger of model calls, opened on first use: `ledger.sqlite` in the folder, or the Postgres database of the catalog."""
        with self._opening:
            if self._ledger is None:
                self._ledger = open_ledger(self.catalog.url if self.catalog.is_postgres else self.root / "ledger.sqlite")
            return self._ledger

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
        self.catalog.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- shards

    def lookup(self, key: str) -> Shard | None:
        """The complete shard of a key whose objects are on disk, else None."""
        return self.lookup_many([key]).get(key)

    def lookup_many(self, keys: Sequence[str]) -> dict[str, Shard]:
        """The same for many keys; keys that must be computed are left out."""
        return shards_.lookup_many(self, keys)

    def lock(self, key: str, on_wait: Callable[[], None] | None = None) -> AbstractContextManager[None]:
        """Hold a key while its shard is computed; freed when its holder dies. `on_wait` is called once if somebody else holds it.

        Look the key up again after taking it.
        """
        return self.catalog.lock(key, on_wait)

    def commit(
        self,
        *,
        key: str,
        dataset: str,
        part: str,
        stage: str,
        recipe: Mapping[str, Any],
        rows: pa.Table,
        dropped: pa.Table,
        balance: Balance,
        stats: Mapping[str, Any] | None = None,
        run_id: str = "",
        seconds: float = 0.0,
    ) -> Shard:
        """Store a computed shard and return the one that holds the key from now on: the first commit wins, unless it has more rows in
        quarantine than this one. `rows` and `dropped` (class Dropped) are tables sorted by id; nothing is visible in any version.

        Raises UnbalancedError if the rows do not add up, StoreError for other columns than the row class has, or a full disk.
        """
        return shards_.commit(
            self,
            key=key,
            dataset=dataset,
            part=part,
            stage=stage,
            recipe=recipe,
            rows=rows,
            dropped=dropped,
            balance=balance,
            stats=stats or {},
            run_id=run_id,
            seconds=seconds,
        )

    def recipe(self, key: str) -> dict[str, Any] | None:
        """What decided the rows of a shard."""
        return shards_.recipe_of(self, key)

    def read(self, content: str | None, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one object (`Shard.content`, `Slot.content`); None (`Shard.dropped` where nothing was dropped) has no rows."""
        if content is None:
            empty = arrow_schema(Dropped).empty_table()
            return empty.select(list(columns)) if columns is not None else empty
        return self.objects.read(content, columns)

    # ---- publishing

    def publish(
        self,
        dataset: str,
        shards: Mapping[str, str],
        kind: Literal["replace", "patch"] = "replace",
        scope: str | None = None,
        *,
        buckets: int | None = None,
        expect_head: int | None = None,
        inputs: Mapping[str, tuple[str, int]] | None = None,
        meta: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        run_id: str = "",
    ) -> Version:
        """Make committed shards (part: shard key) the next version of a dataset, whole or not at all.

        `replace`: exactly these parts. `patch`: the head with these parts; with `scope` (`round=3/`) the parts below it are exactly these.
        `expect_head`: the version this was computed on top of, 0 for none. If the head already holds exactly these shards it is returned.
        `buckets`: buckets a round, fixed by the first publication. `inputs`: role: (dataset, version). `tags` are moved to it as well.

        Raises HeadMoved, CertificateError (rows to train on) or StoreError (missing shards, mixed schemas, another row class or bucket
        count).
        """
        request = Request(dataset, kind, scope, buckets, expect_head, inputs, meta, run_id)
        with self.catalog.write() as connection:
            version = publish_.publish_in(self, connection, request, shards)
            for tag in tags:
                publish_.set_tag(connection, dataset, tag, version.n, run_id, "published")
        self._show(f"{version.spec} is published", dataset)
        return version

    def digest_of(
        self, dataset: str, shards: Mapping[str, str], kind: Literal["replace", "patch"] = "replace", scope: str | None = None
    ) -> str:
        """The digest that `publish` with the same arguments would give now: what a certificate must name."""
        with self.catalog.read() as connection:
            return versions_.digest_of_slots(publish_.wanted(self, connection, Request(dataset, kind, scope), shards))

    def preview(
        self, dataset: str, shards: Mapping[str, str], kind: Literal["replace", "patch"] = "replace", scope: str | None = None
    ) -> tuple[str, pa.Table]:
        """(digest, rows) of the version that `publish` with the same arguments would make now: what a certificate is computed from."""
        with self.catalog.read() as connection:
            slots = publish_.wanted(self, connection, Request(dataset, kind, scope), shards)
        return versions_.digest_of_slots(slots), pa.concat_tables([self.objects.read(slot.content) for slot in slots.values()])

    def revert(self, dataset: str, n: int, run_id: str = "") -> Version:
        """Publish a new version that holds what version n holds, so that the next patch builds on it."""
        with self.catalog.write() as connection:
            version = publish_.revert_in(connection, dataset, n, run_id)
        self._show(f"{version.spec} is published", dataset)
        return version

    def tag(self, dataset: str, name: str, n: int, who: str = "", why: str = "") -> None:
        """Point a tag at a version; the move is logged."""
        self.tag_all({dataset: n}, name, who, why)

    def tag_all(self, versions: Mapping[str, int], name: str, who: str = "", why: str = "") -> None:
        """Point the same tag at a version of each dataset (dataset: version), all or none."""
        with self.catalog.write() as connection:
            for dataset, n in versions.items():
                publish_.set_tag(connection, dataset, name, n, who, why)
        self._show(f"tag {name!r} is set", *versions)

    def _show(self, done: str, *datasets: str) -> None:
        """Bring the log and the DuckDB views up to date, after the transaction: they may lag behind, never run ahead."""
        try:
            for dataset in datasets:
                mirror(self, dataset)
            refresh_views(self)
        except (OSError, duckdb.Error) as error:
            raise StoreError(
                f"{done}, but {FILE} could not be brought up to date ({error}): free space in {self.root}; the next publication does it"
            ) from error

    # ---- reading

    def resolve(self, spec: str) -> Version:
        """`tiny.difficulty` (latest), `tiny.difficulty@3` or `tiny.difficulty@prod` (a tag)."""
        with self.catalog.read() as connection:
            return versions_.resolve_in(connection, spec)

    def head(self, dataset: str) -> Version | None:
        """The latest version, None if nothing was published."""
        with self.catalog.read() as connection:
            n = versions_.head_number(connection, dataset)
            return versions_.fetch(connection, dataset, n) if n is not None else None

    def heads(self) -> list[Version]:
        """The latest version of every dataset, by name."""
        return [version for name in self.datasets() if (version := self.head(name)) is not None]

    def versions(self, dataset: str) -> list[Version]:
        """The versions of a dataset that have not expired, oldest first."""
        with self.catalog.read() as connection:
            return [versions_.fetch(connection, dataset, n) for n in versions_.live_numbers(connection, dataset)]

    def datasets(self) -> list[str]:
        """Names of all datasets, sorted."""
        with self.catalog.read() as connection:
            return versions_.dataset_names(connection)

    def buckets(self, dataset: str) -> int | None:
        """Buckets a round, fixed by the dataset's first publication; None for an unknown dataset or one without."""
        with self.catalog.read() as connection:
            return versions_.buckets_of(connection, dataset)

    def refs(self, dataset: str) -> dict[str, int]:
        """Its tags: name: version."""
        with self.catalog.read() as connection:
            return versions_.tags_of(connection, dataset)

    def dataset(self, version: Version | str) -> StoredDataset:
        """A version as stages take it: name, digest, meta, files and rows."""
        return StoredDataset(self, self._version(version))

    def slots(self, version: Version | str) -> list[Slot]:
        """What each part of a version holds, in order of the parts' names."""
        version = self._version(version)
        with self.catalog.read() as connection:
            return list(versions_.slots_in(connection, version.dataset, version.n).values())

    def table(self, version: Version | str, columns: Sequence[str] | None = None, parts: Sequence[str] | None = None) -> pa.Table:
        """The rows of a version, part by part, sorted by id within each; only some columns or parts if given
        (a part that the version does not have has no rows)."""
        version = self._version(version)
        contents = [slot.content for slot in self._parts(version, parts)]
        empty = arrow_schema(ROW_TYPES[version.row_type]).empty_table()
        tables = [self.objects.read(content, columns) for content in contents]
        return pa.concat_tables(tables) if tables else (empty.select(list(columns)) if columns is not None else empty)

    def dropped_table(self, version: Version | str, parts: Sequence[str] | None = None) -> pa.Table:
        """The input rows that gave no output in a version, and why (class Dropped)."""
        contents = [slot.dropped for slot in self._parts(self._version(version), parts) if slot.dropped is not None]
        return pa.concat_tables([arrow_schema(Dropped).empty_table(), *(self.objects.read(content) for content in contents)])

    def files(self, version: Version | str) -> list[Path]:
        """The Parquet files of a version, in order of the parts."""
        return [self.objects.path(slot.content) for slot in self.slots(version)]

    def _version(self, version: Version | str) -> Version:
        return self.resolve(version) if isinstance(version, str) else version

    def _parts(self, version: Version, parts: Sequence[str] | None) -> list[Slot]:
        slots, among = self.slots(version), set(parts or ())
        return slots if parts is None else [slot for slot in slots if slot.part in among]

    # ---- comparing

    def diff(self, a: Version | str, b: Version | str) -> PartsDiff:
        """Parts that are only in b (added), only in a (removed), or hold other rows (changed)."""
        return diff_.diff_parts(self, self._version(a), self._version(b))

    def diff_rows(self, a: Version | str, b: Version | str) -> RowsDiff:
        """Ids of rows that are only in b, only in a, or in both with other values, with the columns; reads only parts that differ."""
        return diff_.diff_rows(self, self._version(a), self._version(b))

    def explain(self, dataset: str, part: str, recipe: Mapping[str, Any]) -> Explanation:
        """Why a shard would be computed: "cached" (it would not), "incomplete", "never computed", "evicted", or the leaves in which the
        recipe differs from the last one that filled the slot, as path: (old, new)."""
        return diff_.explain(self, dataset, part, recipe)

    # ---- housekeeping

    def expire(self, dataset: str, keep_last: int) -> list[int]:
        """Expire all but the last versions; returns their numbers. Tagged ones and inputs of live versions are kept."""
        expired = maintain_.expire(self, dataset, keep_last)
        self._show(f"{len(expired)} versions of {dataset} are expired", dataset)
        return expired

    def gc(self, cache_days: float = 30, grace_s: float = 86_400) -> Collected:
        """Remove what no live version holds and no shard younger than `cache_days` caches; files younger than `grace_s` stay."""
        return maintain_.gc(self, cache_days, grace_s)

    def fsck(self, deep: bool = False) -> list[str]:
        """What is wrong, one line each. `deep` reads all rows and checkpoints."""
        return maintain_.fsck(self, deep)
