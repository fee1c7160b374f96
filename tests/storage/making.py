"""Rows and shards for the tests of the store: problems whose ids and texts are chosen, committed the way a stage's runner does it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from storage.balance import Balance
from storage.schemas import Dropped, Problem, to_table
from storage.shards import Shard, shard_key
from storage.store import Store


def problem(row_id: str, text: str = "1 + 1 = ?", source: str = "here", **columns: Any) -> Problem:
    return Problem(row_id, source, None, text, "2", "integer", **{"redistributable": True, **columns})


def problems(texts: Mapping[str, str], source: str = "here") -> pa.Table:
    """A table of problems, id: text."""
    return to_table([problem(row_id, text, source) for row_id, text in texts.items()], Problem)


def dropped(rejected: Mapping[str, str] | None = None, quarantined: Sequence[str] = ()) -> pa.Table:
    """A table of dropped rows: {id: reason} of the rejected ones, ids of those in quarantine."""
    rows = [Dropped(i, i, "rejected", reason, "") for i, reason in (rejected or {}).items()]
    return to_table([*rows, *(Dropped(i, i, "quarantined", "EngineError", "HTTP 500") for i in quarantined)], Dropped)


def commit(
    store: Store,
    rows: pa.Table,
    recipe: Mapping[str, Any],
    *,
    dataset: str = "t.rows",
    part: str = "round=0/000",
    rejected: Mapping[str, str] | None = None,
    quarantined: Sequence[str] = (),
) -> Shard:
    """Commit rows, each made of one input row; the dropped ones come on top."""
    reasons = list((rejected or {}).values())
    counts = {reason: reasons.count(reason) for reason in reasons}
    n = rows.num_rows
    return store.commit(
        key=shard_key(recipe),
        dataset=dataset,
        part=part,
        stage="make",
        recipe=recipe,
        rows=rows,
        dropped=dropped(rejected, quarantined),
        balance=Balance(n + len(reasons) + len(quarantined), n, counts, len(quarantined), n),
    )


def put(store: Store, part: str, texts: Mapping[str, str], dataset: str = "t.rows") -> dict[str, str]:
    """Commit problems (id: text) as one part: {part: key}, as `publish` takes it."""
    recipe = {"stage": "make", "part": part, "texts": dict(texts)}
    return {part: commit(store, problems(texts), recipe, dataset=dataset, part=part).key}


def texts_of(table: pa.Table) -> dict[str, str]:
    """id: text of a table of problems."""
    return dict(zip(table.column("id").to_pylist(), table.column("problem").to_pylist(), strict=True))
