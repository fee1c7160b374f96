"""The contamination certificate of a training set: what its rows were checked against, how, what was found, and how well it finds.

No time and no host is in it: the same rows, protected texts and rule give the same certificate. A certificate with hits, or of a rule that
finds too few planted copies, is still one; publishing refuses it.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from storage.ids import digest
from tasks.contamination import ContaminationConfig, protected_texts
from tasks.maths.contamination_index import RULES, Index
from tasks.maths.planting import near_misses, plant

EXAMPLE_COLUMNS = ("problem", "completion")
CHECKED: dict[str, tuple[str, ...]] = {"Example": EXAMPLE_COLUMNS, "StepPair": ("problem", "chosen", "rejected", "full_chosen")}
"""Row class to train on -> columns with texts that a model learns from."""
_PER_KIND, _NEAR_MISSES = 50, 200


def certify(
    table: pa.Table,
    version_digest: str,
    protected: pa.Table,
    config: ContaminationConfig = ContaminationConfig(),
    columns: Sequence[str] = EXAMPLE_COLUMNS,
) -> dict[str, Any]:
    """Check every row of `table` (with an `id`) in each of `columns` and return the certificate as JSON values.

    `protected` holds Protected or Problem rows. Raises ValueError where a column to check is missing.
    """
    missing = [c for c in columns if c not in table.column_names]
    if missing:
        raise ValueError(f"no column {missing[0]!r} to check: have {table.column_names}")
    index = Index(protected_texts(protected, "the protected dataset"), config.rule)
    return {
        "version_digest": version_digest,
        "index_digest": index.digest,
        "rule": dataclasses.asdict(config.rule),
        "benchmarks": benchmarks_of(index.protected),
        "columns": list(columns),
        "rows": table.num_rows,
        "hits": [hit for column in columns for hit in _hits(table, column, index)],
        "planted_recall": planted_recall(index),
        "recall_floor": config.recall_floor,
    }


def benchmarks_of(protected: pa.Table) -> list[dict[str, Any]]:
    """Name, number of texts and hash of each protected set; their order does not matter."""
    protected = protected.sort_by([(name, "ascending") for name in ("benchmark", "item", "text")])
    names = protected["benchmark"].to_pylist()
    sets: dict[str, list[Any]] = {name: [] for name in sorted(set(names))}
    for name, row in zip(names, protected.select(["item", "text"]).to_pylist(), strict=True):
        sets[name].append(row)
    return [{"name": name, "texts": len(rows), "digest": digest(rows)} for name, rows in sets.items()]


def _hits(table: pa.Table, column: str, index: Index) -> list[dict[str, Any]]:
    """The strongest hit of each row that has one."""
    best = index.check(table[column]).best()
    found = index.protected.select(["benchmark", "item"]).take(best.texts).to_pylist()
    ids = table["id"].take(best.rows).to_pylist()
    rules, ratios = best.rules.tolist(), best.ratios.tolist()
    return [
        {"row": row, "column": column, **item, "rule": RULES[rule], "ratio": round(ratio, 4)}
        for row, item, rule, ratio in zip(ids, found, rules, ratios, strict=True)
    ]


def planted_recall(index: Index, per_kind: int = _PER_KIND, misses: int = _NEAR_MISSES) -> dict[str, Any] | None:
    """Disguised copies of the protected texts that the rule finds, by kind, and near misses that it flags; None without protected texts.

    Precision is over these: copies found / (copies found + near misses flagged), null where nothing is flagged.
    The seed comes from the index, so that measuring again gives the same numbers.
    """
    texts, seed = index.protected["text"].to_pylist(), int(index.digest[:8], 16)
    planted = plant(texts, per_kind, seed)
    if not planted:
        return None
    hit = set(index.check(pa.array([copy for _, copy in planted])).best().rows.tolist())
    tried = Counter(kind for kind, _ in planted)
    found = Counter(kind for place, (kind, _) in enumerate(planted) if place in hit)
    wrong = len(index.check(pa.array(near_misses(texts, misses, seed), pa.string())).best().rows)
    return {
        "kinds": {kind: {"planted": count, "found": found[kind]} for kind, count in tried.items()},
        "recall": round(len(hit) / len(planted), 4),
        "precision": round(len(hit) / (len(hit) + wrong), 4) if len(hit) + wrong else None,
        "near_misses": misses,
        "near_misses_flagged": wrong,
    }
