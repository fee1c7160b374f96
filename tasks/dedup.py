"""Mark near-duplicates: MinHash proposes pairs, an LCS over tokens decides, chains of pairs are clusters (Broder 1997; Lee et al. 2022).

It marks and never drops: of each cluster the smallest id is kept (the shorter id, then the smaller as text), whatever the order of the
rows. Measured in docs/lab/2026-11-20-dedup.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cpdist

from storage.ids import derived_ids
from storage.schemas import Cluster, Problem, arrow_schema
from tasks.maths.minhash import Corpus, Scheme, candidates, read
from tasks.maths.ngrams import Flags, Places, ranges
from tasks.stage import Dataset, Made, StageConfig, stage

Ratios = npt.NDArray[np.float64]
Spelling = Literal["plain", "masked", "numbers"]
"""A text's tokens; with all numbers alike; its numbers alone, sorted, so that a common subsequence is what two multisets share."""
_SLICE = 1 << 19  # tokens compared at once: half of what Unicode has characters for, so that each different token can be one


class DedupConfig(StageConfig):
    """When two texts are duplicates. Lengths are in tokens: a run of letters, a run of digits, one CJK character."""

    ratio: float = Field(0.7, ge=0, le=1)
    """Two texts are duplicates when their longest common subsequence is at least this share of the longer one."""
    numbers: Literal["same", "distinct"] = "distinct"
    """`distinct`: two texts are two problems where a number of one stands in place of another one of the other, or where each has a number
    that the other lacks (what was given is now asked); `same`: numbers are words like any other."""
    shingle: int = Field(3, ge=1)
    """Pairs to compare are found by shared runs of so many tokens."""
    bands: int = Field(20, ge=1)
    """Chances of a pair to be found: more find less similar pairs and cost more."""
    rows: int = Field(3, ge=1)
    """Hashes that must agree for one chance: more pass over less similar pairs."""

    @property
    def scheme(self) -> Scheme:
        return Scheme(self.shingle, self.bands, self.rows, 2 if self.numbers == "same" else None)


@dataclass(frozen=True, slots=True)
class Clusters:
    """What became of each text of a column."""

    of: Places
    """(texts,) the first text of its cluster: itself where it is kept."""
    ratios: Ratios
    """(texts,) LCS over the longer of the two, with that first text; 1 for the first itself."""


def find_clusters(texts: pa.ChunkedArray | pa.Array, config: DedupConfig) -> Clusters:
    """Clusters of a column of texts whose first texts are kept; a text without tokens is nobody's duplicate."""
    corpus = read(texts, config.scheme)
    compare = _Comparison(corpus)
    first, second = candidates(corpus)
    same = compare.ratios(first, second) >= config.ratio
    first, second = first[same], second[same]
    if config.numbers == "distinct":
        same = ~compare.other_numbers(first, second)
        first, second = first[same], second[same]
    of = _united(len(texts), first, second)
    removed = np.flatnonzero(of != np.arange(len(of)))
    ratios = np.ones(len(of))
    ratios[removed] = compare.ratios(of[removed], removed)
    return Clusters(of, ratios)


class _Comparison:
    """LCS of pairs of texts, each different token one character."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    def ratios(self, first: Places, second: Places) -> Ratios:
        """LCS of texts first[k] and second[k] over the longer one."""
        lengths = self._corpus.lengths
        return self._common(first, second) / np.maximum(np.maximum(lengths[first], lengths[second]), 1)

    def other_numbers(self, first: Places, second: Places) -> Flags:
        """Whether a number stands where the other text has another one, or each text has a number that the other one lacks."""
        before = np.append(0, np.cumsum(self._corpus.numbers[self._corpus.tokens]))
        count = before[self._corpus.starts + self._corpus.lengths] - before[self._corpus.starts]
        other: Flags = self._common(first, second, "numbers") < np.minimum(count[first], count[second])
        rest = np.flatnonzero(~other)
        other[rest] = self._common(first[rest], second[rest], "masked") > self._common(first[rest], second[rest])
        return other

    def _common(self, first: Places, second: Places, what: Spelling = "plain") -> Places:
        """Length of the LCS of each pair."""
        out = np.zeros(len(first), np.int64)
        lengths = self._corpus.lengths
        done = np.cumsum(lengths[first] + lengths[second])
        cuts = np.flatnonzero(np.diff(done // _SLICE, prepend=-1, append=-1)).tolist()
        for start, stop in pairwise(cuts):
            which, place = np.unique(np.concatenate([first[start:stop], second[start:stop]]), return_inverse=True)
            spelt = self._spelt(which, what)
            left, right = np.split(place, 2)
            pair = [spelt[k] for k in left.tolist()], [spelt[k] for k in right.tolist()]
            out[start:stop] = cpdist(*pair, scorer=LCSseq.similarity, dtype=np.int32)
        return out

    def _spelt(self, which: Places, what: Spelling) -> list[str]:
        """The texts numbered `which`, in characters that hold among these texts only."""
        counts = self._corpus.lengths[which]
        chosen = ranges(self._corpus.starts[which], counts)
        tokens = self._corpus.tokens.take(chosen)
        code = np.zeros(len(self._corpus.numbers), np.uint32)
        code[tokens] = 1
        np.cumsum(code, out=code, dtype=np.uint32)
        code += (code >= 0xD800) * np.uint32(0x800)  # no character is a surrogate
        if what != "plain":
            code[self._corpus.numbers == (what == "masked")] = 0
        whole, ends = code.take(tokens).tobytes().decode("utf-32-le"), np.cumsum(counts)
        texts = [whole[a:b] for a, b in zip((ends - counts).tolist(), ends.tolist(), strict=True)]
        return ["".join(sorted(text.replace("\0", ""))) for text in texts] if what == "numbers" else texts


def _united(count: int, first: Places, second: Places) -> Places:
    """(count,) the least member of the cluster that each is in; pairs unite clusters."""
    of = list(range(count))

    def root(text: int) -> int:
        while of[text] != text:
            of[text] = text = of[of[text]]
        return text

    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        low, high = sorted((root(a), root(b)))
        of[high] = low
    out = np.array(of, dtype=np.int64)
    while (out != out[out]).any():
        out = out[out]
    return out


@stage(scope="dataset", row=Problem, tools=("rapidfuzz",))
def dedup(problems: pa.Table, config: DedupConfig, against: Dataset | None = None) -> Iterator[Made[Cluster]]:
    """One Cluster per problem. `against` holds Problem rows, an earlier version: they come before all others whatever their ids."""
    rows = problems.select(["id", "problem"]).append_column("late", pa.array(np.ones(len(problems), np.int8)))
    if against is not None:
        rows = _behind(against.table(["id", "problem"]), rows)
    rows = _in_order(rows)
    found = find_clusters(rows["problem"], config)
    asked = pc.is_in(rows["id"], value_set=problems["id"].combine_chunks())
    table = _clusters(rows["id"].combine_chunks(), found).filter(asked)
    yield Made(table, of=table["problem_id"].to_pylist())


def _behind(earlier: pa.Table, rows: pa.Table) -> pa.Table:
    """Rows that are in both stay once, with the earlier ones but with their own text."""
    known = pc.is_in(rows["id"], value_set=earlier["id"].combine_chunks())
    late = pc.invert(known).cast(pa.int8())
    own = rows.set_column(rows.column_names.index("late"), "late", late)
    gone = earlier.filter(pc.invert(pc.is_in(earlier["id"], value_set=rows["id"].combine_chunks())))
    return pa.concat_tables([gone.append_column("late", pa.array(np.zeros(len(gone), np.int8))), own])


def _in_order(rows: pa.Table) -> pa.Table:
    """Earlier version first, then the shorter id, so that 9 comes before 10, then the smaller as text."""
    keyed = rows.append_column("size", pc.binary_length(rows["id"]))
    return keyed.sort_by([("late", "ascending"), ("size", "ascending"), ("id", "ascending")])


def _clusters(ids: pa.Array, found: Clusters) -> pa.Table:
    kept = found.of == np.arange(len(ids))
    values: dict[str, Any] = {
        "id": pa.array(derived_ids("dedup", ids.to_pylist()), pa.string()),
        "problem_id": ids,
        "cluster": ids.take(pa.array(found.of)),
        "keep": pa.array(kept),
        "ratio": pa.array(found.ratios, mask=kept),
    }
    return pa.table(values, schema=arrow_schema(Cluster))


@dedup.plain_form
def mark_file(table: pa.Table, config: DedupConfig) -> pa.Table:
    """`id, text` -> `id, cluster, keep`, in order. Raises ValueError where ids or texts are missing or an id stands twice."""
    for column in ("id", "text"):
        if column not in table.column_names:
            raise ValueError(f"no column {column!r} to compare by: the file has {table.column_names}")
    ids = table["id"].cast(pa.string())
    counts = pc.value_counts(ids)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise ValueError(f"id {twice[0]['values'].as_py()!r} stands {twice[0]['counts']} times: no row to name a cluster by")
    rows = pa.table({"id": ids, "text": table["text"], "late": pa.array(np.zeros(len(table), np.int8))})
    rows = _in_order(rows.append_column("line", pa.array(np.arange(len(table)))))
    marked = _clusters(rows["id"].combine_chunks(), find_clusters(rows["text"], config))
    marked = marked.append_column("line", rows["line"]).sort_by("line")
    return marked.select(["problem_id", "cluster", "keep"]).rename_columns(["id", "cluster", "keep"]).replace_schema_metadata(None)
