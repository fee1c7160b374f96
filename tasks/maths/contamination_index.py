"""Which protected texts a text repeats: equal, contained, a shared n-gram AND a long common subsequence (Qwen2.5-Math, section 3), or the
same numbers in the same story (`tasks.maths.paraphrase`).

The n-grams of the protected texts are hashed once; a column of texts is checked against them without a Python loop per token, and the LCS
(rapidfuzz) runs on the pairs that share an n-gram only. It marks; what happens to a marked row is decided elsewhere.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc as ipc
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cpdist

from storage.ids import digest
from tasks.maths.ngrams import Hashes, HashSet, Places, Postings, owners, prefix_sums, ranges, spans, windows
from tasks.maths.paraphrase import Paraphrases
from tasks.maths.tokens import Tokens, tokenise

Denominator = Literal["protected", "min", "max"]
RULES = ("exact", "embedded", "ngram_lcs", "paraphrase")
"""What can fire, strongest first."""
Ratios = npt.NDArray[np.float64]
_SCHEMA = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("benchmark", "item", "text")])
_PAIRS = 1 << 18  # pairs compared at once: bounds the memory where an n-gram is common


@dataclass(frozen=True, slots=True)
class Rule:
    """When a text counts as a repetition of a protected one. Lengths are in tokens of `normalise`."""

    ngram: int
    """A shared run of so many tokens makes a pair a candidate."""
    mask_from: int | None
    """In a shared run with at least so many words (neither numbers nor single letters) any two numbers are alike; None for never."""
    lcs_ratio: float
    """A candidate is a hit when its longest common subsequence is longer than this share of the denominator."""
    masked_ratio: float
    """Or when it is longer than this share with any two numbers alike; 1 for never."""
    near: bool
    """The subsequence is looked for around the shared runs only: within the place where they put the protected text, a quarter of its
    length on either side. Otherwise in the whole text, where a long one has every word somewhere."""
    denominator: Denominator
    """Length of the protected text, or of the shorter or longer of the two."""
    exact: bool
    """Equal token sequences are a hit, whatever their length."""
    embedded: int
    """Protected texts shorter than `ngram`, but with at least so many tokens, are a hit where they stand whole; 0 for never."""
    paraphrase: float = 1.0
    """Whole texts are a hit when the overlap of their numbers and words, weighted by rarity, is above this share; 1 for never."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Pairs of a checked row and a protected text, as columns of one length."""

    rows: Places
    texts: Places
    """Number of the protected text in the index."""
    rules: npt.NDArray[np.int64]
    """Position in `RULES`."""
    ratios: npt.NDArray[np.float64]
    """LCS over the rule's denominator; 1 for equal and contained texts; for a paraphrase the overlap."""
    starts: Places
    """The hit is in the characters starts[k] to stops[k] - 1 of the row after NFKC (`normalise.in_original`): for `ngram_lcs` from the
    first to the last common token."""
    stops: Places

    @staticmethod
    def join(parts: Sequence["Hits"]) -> "Hits":
        """All hits in one, sorted by row, then strongest first: by rule, ratio and number of the text."""
        none = np.zeros(0, np.int64)
        columns = zip((none, none, none, np.zeros(0), none, none), *(p.columns() for p in parts), strict=True)
        whole = Hits(*(np.concatenate(column) for column in columns))
        return whole.take(np.lexsort((whole.texts, -whole.ratios, whole.rules, whole.rows)))

    def columns(self) -> tuple[npt.NDArray[Any], ...]:
        return self.rows, self.texts, self.rules, self.ratios, self.starts, self.stops

    def take(self, places: Places) -> "Hits":
        return Hits(*(column[places] for column in self.columns()))

    def best(self) -> "Hits":
        """The strongest hit of each row; `self` must be sorted as `join` does."""
        return self.take(np.flatnonzero(np.diff(self.rows, prepend=-1)))


class Index:
    """Protected texts, hashed for one rule."""

    def __init__(self, protected: pa.Table, rule: Rule) -> None:
        """`protected` has the columns benchmark, item and text; their order does not matter."""
        self.protected = _in_order(protected)
        self.rule = rule
        self.digest = index_digest(protected, rule)
        tokens = _one_batch(self.protected["text"], terms=rule.paraphrase < 1)
        self.lengths = np.diff(tokens.bounds)
        self._numbers = np.diff(np.append(0, np.cumsum(tokens.numbers))[tokens.bounds])
        self._index_whole_texts(tokens)
        self._index_ngrams(tokens)
        self._spell = _Spelling(tokens)
        every = np.arange(len(self.lengths))
        self._spelt = self._spell.texts(tokens, every)
        self._spelt_masked = self._spell.texts(tokens, every, masked=True) if rule.masked_ratio < 1 else []
        self._paraphrases = Paraphrases(tokens) if rule.paraphrase < 1 else None

    def _index_whole_texts(self, tokens: Tokens) -> None:
        sums, starts = prefix_sums(tokens.hashes), tokens.bounds[:-1]
        self._whole = spans(sums, starts, tokens.bounds[1:])
        self._full = np.flatnonzero(self.lengths > 0)
        self._exact = Postings(self._whole[self._full])
        size = self.rule.embedded
        self._short = np.flatnonzero((self.lengths >= size) & (self.lengths < self.rule.ngram)) if size else np.zeros(0, np.int64)
        self._anchors = Postings(spans(sums, starts[self._short], starts[self._short] + size))

    def _index_ngrams(self, tokens: Tokens) -> None:
        grams = self._runs(tokens, prefix_sums(tokens.hashes))
        texts, inside = owners(tokens.bounds, np.arange(len(grams)), self.rule.ngram)
        kept = np.flatnonzero(inside)
        self._gram_texts, self._gram_places = texts[kept], kept - tokens.bounds[texts[kept]]
        self._grams = Postings(grams[kept])

    def _runs(self, tokens: Tokens, sums: Hashes) -> Hashes:
        """The hash of each run of `ngram` tokens, with numbers masked where it has the words for that."""
        plain, size = windows(sums, self.rule.ngram), self.rule.ngram
        if self.rule.mask_from is None:
            return plain
        words = np.zeros(len(sums), np.int32)
        np.cumsum(tokens.words, out=words[1:])
        wordy = words[size:] - words[: len(plain)] >= self.rule.mask_from
        return np.where(wordy, windows(prefix_sums(tokens.masked()), size), plain)

    def check(self, column: pa.ChunkedArray | pa.Array) -> Hits:
        """All hits of a column of texts."""
        return Hits.join([hits for tokens in self._tokens(column) for hits in self._check(tokens)])

    def _tokens(self, column: pa.ChunkedArray | pa.Array) -> Iterator[Tokens]:
        return tokenise(column, terms=self._paraphrases is not None)

    def _check(self, tokens: Tokens) -> Iterator[Hits]:
        sums = prefix_sums(tokens.hashes)
        if self.rule.exact:
            yield self._equal(tokens, sums)
        if len(self._short):
            yield self._contained(tokens, sums)
        yield from self._sharing(tokens, sums)
        if self._paraphrases is not None:
            owner, texts, ratios = self._paraphrases.check(tokens, self.rule.paraphrase)
            yield _whole(tokens, owner, texts, ratios, "paraphrase")

    def _equal(self, tokens: Tokens, sums: Hashes) -> Hits:
        found, keys = self._exact.find(spans(sums, tokens.bounds[:-1], tokens.bounds[1:]))
        entries, found = self._exact.expand(keys, found)
        return _whole(tokens, found, self._full[entries], np.ones(len(found)), "exact")

    def _contained(self, tokens: Tokens, sums: Hashes) -> Hits:
        starts, keys = self._anchors.find(windows(sums, self.rule.embedded))
        entries, starts = self._anchors.expand(keys, starts)
        texts = self._short[entries]
        owner, _ = owners(tokens.bounds, starts, 0)
        stops = starts + self.lengths[texts]
        inside = stops <= tokens.bounds[owner + 1]
        owner, texts, starts, stops = owner[inside], texts[inside], starts[inside], stops[inside]
        same = spans(sums, starts, stops) == self._whole[texts]
        pair, first = np.unique(owner[same] * len(self.lengths) + texts[same], return_index=True)
        owner, texts = np.divmod(pair, max(1, len(self.lengths)))
        begin, end = starts[same][first] - tokens.bounds[owner], stops[same][first] - tokens.bounds[owner]
        return _hits(tokens, owner, texts, np.ones(len(texts)), "embedded", begin, end)

    def _sharing(self, tokens: Tokens, sums: Hashes) -> Iterator[Hits]:
        starts, keys = self._grams.find(self._runs(tokens, sums))
        owner, inside = owners(tokens.bounds, starts, self.rule.ngram)
        owner, keys, places = owner[inside], keys[inside], starts[inside] - tokens.bounds[owner[inside]]
        group, (first, last) = _grouped(owner * len(self._grams.keys) + keys, places, places)
        owner, keys = np.divmod(group, max(1, len(self._grams.keys)))
        for part in self._slices(owner, keys):
            entries, of, low, high = self._grams.expand(keys[part], owner[part], first[part], last[part])
            texts, place = self._gram_texts[entries], self._gram_places[entries]
            pairs, (low, high) = _grouped(of * len(self.lengths) + texts, low - place, high - place)
            yield self._compare(tokens, *np.divmod(pairs, max(1, len(self.lengths))), low, high)

    def _slices(self, owner: Places, keys: Places) -> Iterator[slice]:
        """Ranges of shared n-grams that stand for about `_PAIRS` entries; those of one text stay together."""
        before = np.cumsum(self._grams.first[keys + 1] - self._grams.first[keys])
        heads = np.flatnonzero(np.diff(owner, prepend=-1))
        cuts = heads[np.flatnonzero(np.diff(before[heads] // _PAIRS, prepend=-1))]
        for start, stop in pairwise(np.append(cuts, len(owner)).tolist()):
            yield slice(start, stop)

    def _compare(self, tokens: Tokens, owner: Places, texts: Places, low: Places, high: Places) -> Hits:
        """Hits among the pairs; a protected text that fits the shared runs would begin between tokens `low` and `high` of its partner."""
        lengths, own = self.lengths[texts], np.diff(tokens.bounds)[owner]
        below = {"protected": lengths, "min": np.minimum(lengths, own), "max": np.maximum(lengths, own)}[self.rule.denominator]
        slack = lengths // 4
        starts, stops = (np.maximum(low - slack, 0), high + lengths + slack) if self.rule.near else (np.zeros_like(own), own)
        asked, place = np.unique(owner, return_inverse=True)
        plain = self._spell.texts(tokens, asked)
        ratios = self._common(plain, self._spelt, place, texts, starts, stops) / below
        hit = ratios > self.rule.lcs_ratio
        # Masking adds at most the protected text's numbers to what is common: the others cannot pass and are not compared again.
        again = np.flatnonzero(~hit & (np.minimum(ratios + self._numbers[texts] / below, 1) > self.rule.masked_ratio))
        spelt = self._spell.texts(tokens, asked, masked=True) if len(again) else []
        ratios[again] = self._common(spelt, self._spelt_masked, place[again], texts[again], starts[again], stops[again]) / below[again]
        exactly = np.flatnonzero(hit)
        hit[again] = ratios[again] > self.rule.masked_ratio
        alike = again[hit[again]]
        for which, checked, known in ((exactly, plain, self._spelt), (alike, spelt, self._spelt_masked)):
            starts[which], stops[which] = _common_spans(checked, known, place[which], texts[which], starts[which], stops[which])
        return _hits(tokens, owner[hit], texts[hit], ratios[hit], "ngram_lcs", starts[hit], stops[hit])

    @staticmethod
    def _common(
        checked: list[str], protected: list[str], which: Places, texts: Places, starts: Places, stops: Places
    ) -> npt.NDArray[np.int32]:
        """Length of the longest common subsequence of tokens starts[k]..stops[k] of checked[which[k]] and of protected[texts[k]]."""
        cut = _cut(checked, which, starts, stops)
        return cpdist(cut, [protected[t] for t in texts.tolist()], scorer=LCSseq.similarity, dtype=np.int32)

    def save(self, path: Path) -> None:
        """One Arrow file of the rule and the texts; what is derived from them is made again in `load` (a fraction of a second)."""
        table = self.protected.replace_schema_metadata({"mathmill.rule": json.dumps(dataclasses.asdict(self.rule), sort_keys=True)})
        with ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)

    @staticmethod
    def load(path: Path) -> "Index":
        with pa.OSFile(str(path)) as file:
            table = ipc.open_file(file).read_all()
        rule = (table.schema.metadata or {}).get(b"mathmill.rule")
        if rule is None:
            raise ValueError(f"{path} is no contamination index: it names no rule")
        return Index(table.replace_schema_metadata(None), Rule(**json.loads(rule)))

    def extended(self, protected: pa.Table) -> "Index":
        """An index of these texts and those of `protected`."""
        more = protected.select(_SCHEMA.names).cast(_SCHEMA)
        return Index(pa.concat_tables([self.protected, more]).group_by(_SCHEMA.names).aggregate([]), self.rule)


def _in_order(protected: pa.Table) -> pa.Table:
    table = protected.select(_SCHEMA.names).cast(_SCHEMA).combine_chunks()
    return table.sort_by([(name, "ascending") for name in _SCHEMA.names])


def index_digest(protected: pa.Table, rule: Rule) -> str:
    """40 hex digits of the rule and the protected texts, whatever their order: known without making the index."""
    return digest([dataclasses.asdict(rule), _in_order(protected).to_pylist()])


def _hits(tokens: Tokens, owner: Places, texts: Places, ratios: Ratios, rule: str, starts: Places, stops: Places) -> Hits:
    """`starts` and `stops` are tokens of the texts."""
    before, first = tokens.offsets[owner], tokens.bounds[owner]
    places = tokens.starts[first + starts] - before, tokens.ends[first + stops - 1] - before
    return Hits(tokens.rows[owner], texts, np.full(len(owner), RULES.index(rule)), ratios, *places)


def _whole(tokens: Tokens, owner: Places, texts: Places, ratios: Ratios, rule: str) -> Hits:
    """Hits of whole texts."""
    return _hits(tokens, owner, texts, ratios, rule, np.zeros_like(owner), np.diff(tokens.bounds)[owner])


def _cut(checked: list[str], which: Places, starts: Places, stops: Places) -> list[str]:
    return [checked[k][a:b] for k, a, b in zip(which.tolist(), starts.tolist(), stops.tolist(), strict=True)]


def _common_spans(
    checked: list[str], protected: list[str], which: Places, texts: Places, starts: Places, stops: Places
) -> tuple[Places, Places]:
    """Places of the first common token and behind the last one of a longest common subsequence, in those of the texts checked."""
    pairs = zip(_cut(checked, which, starts, stops), texts.tolist(), strict=True)
    found = [LCSseq.editops(own, protected[t]).as_matching_blocks() for own, t in pairs]
    first, last = np.array([b[0].a for b in found], np.int64), np.array([b[-2].a + b[-2].size for b in found], np.int64)
    return starts + first, starts + last


def _one_batch(texts: pa.ChunkedArray, terms: bool) -> Tokens:
    """The tokens of all texts in their order."""
    parts = list(tokenise(texts, terms=terms))
    counts = np.zeros(len(texts), np.int64)
    for part in parts:
        counts[part.rows] = np.diff(part.bounds)
    bounds = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(counts, out=bounds[1:])
    hashes, numbers, words = (np.zeros(bounds[-1], kind) for kind in (np.uint64, np.bool_, np.bool_))
    stems = np.zeros(bounds[-1] if terms else 0, np.uint64)
    for part in parts:
        to = ranges(bounds[part.rows], np.diff(part.bounds))
        hashes[to], numbers[to], words[to] = part.hashes, part.numbers, part.words
        if terms:
            stems[to] = part.terms
    none = np.zeros(0, np.int64)  # nobody asks where in a protected text
    return Tokens(hashes, numbers, words, bounds, np.arange(len(texts)), stems, none, none, none)


def _grouped(keys: Places, low: Places, high: Places) -> tuple[Places, tuple[Places, Places]]:
    """Each key once, sorted, with the least `low` and the greatest `high` that stand beside it."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    heads = np.flatnonzero(np.diff(keys, prepend=-1))
    if not len(heads):
        return keys, (low, high)
    return keys[heads], (np.minimum.reduceat(low[order], heads), np.maximum.reduceat(high[order], heads))


class _Spelling:
    """Token sequences as strings of one character a token, for rapidfuzz: one for each protected token, one for all others."""

    _OTHER, _NUMBER = 0, 1

    def __init__(self, tokens: Tokens) -> None:
        self._known = HashSet(tokens.hashes)
        if len(self._known.keys) > 0x10F000:
            raise ValueError(f"{len(self._known.keys)} different protected tokens: one index takes {0x10F000}; split the sets")

    def texts(self, tokens: Tokens, which: Places, masked: bool = False) -> list[str]:
        """The texts numbered `which`, all numbers alike if `masked`."""
        counts = tokens.bounds[which + 1] - tokens.bounds[which]
        chosen = ranges(tokens.bounds[which], counts)
        code = np.full(len(chosen), self._OTHER)
        found, number = self._known.find(tokens.hashes[chosen])
        code[found] = number + 2
        if masked:
            code[tokens.numbers[chosen]] = self._NUMBER
        code += (code >= 0xD800) * 0x800  # no character is a surrogate
        whole = code.astype(np.uint32).tobytes().decode("utf-32-le")
        ends = np.cumsum(counts)
        return [whole[a:b] for a, b in zip((ends - counts).tolist(), ends.tolist(), strict=True)]
