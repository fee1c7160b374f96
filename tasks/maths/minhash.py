"""Pairs of texts that probably share most of their token shingles: one-permutation MinHash with LSH bands (Li, Owen, Zhang 2012).

A text is the set of its token shingles. One hash a shingle fills all bins of its signature: the leading bits choose the bin, the least of
the other bits stays; an empty bin borrows from another one, in the same order for all texts (Shrivastava 2017). Texts that agree on all
bins of a band are a candidate pair. What a pair is worth is decided elsewhere: equal texts always meet, others only probably.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.maths.ngrams import Flags, Hashes, HashSet, Places, distinct, prefix_sums, ranges, spans
from tasks.maths.tokens import Tokens, tokenise

Signatures = npt.NDArray[np.uint32]

_EMPTY = np.uint32(0xFFFFFFFF)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_NEAR = 8  # a text meets so many neighbours in its bucket and the bucket's first: buckets of up to nine texts give all their pairs


@dataclass(frozen=True, slots=True)
class Scheme:
    """What makes two texts a candidate pair."""

    shingle: int
    """Tokens a shingle. A shorter text is one shingle."""
    bands: int
    rows: int
    """Bins of a band. A band agrees for a share J^rows of the pairs whose shingle sets overlap by J (Jaccard)."""
    mask_from: int | None
    """In a shingle with at least so many words (neither numbers nor single letters) any two numbers are alike; None for never."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The tokens of a column of texts, and their keys in each band."""

    tokens: npt.NDArray[np.int32]
    """(tokens,) number of each token, text by text, the texts in no particular order; equal tokens have equal numbers."""
    numbers: Flags
    """(different tokens,) true for those that are numbers."""
    starts: Places
    """(texts,) where in `tokens` each text begins."""
    lengths: Places
    """(texts,) tokens of each."""
    wholes: Hashes
    """(texts,) hash of each text's whole token sequence."""
    keys: Hashes
    """(bands, texts) hash of each text's bins in each band."""


def read(texts: pa.ChunkedArray | pa.Array, scheme: Scheme) -> Corpus:
    """Tokens and band keys of a column of strings: about 8 bytes a token while it reads, 4 after, and 8 a band."""
    starts, lengths, wholes = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64), np.zeros(len(texts), np.uint64)
    keys = np.zeros((scheme.bands, len(texts)), np.uint64)
    parts, before = [np.zeros(0, np.uint64)], 0
    numbers = [np.zeros(0, np.uint64)]
    for tokens in tokenise(texts):
        sums = prefix_sums(tokens.hashes)
        starts[tokens.rows] = before + tokens.bounds[:-1]
        lengths[tokens.rows] = np.diff(tokens.bounds)
        wholes[tokens.rows] = spans(sums, tokens.bounds[:-1], tokens.bounds[1:])
        keys[:, tokens.rows] = _band_keys(_signatures(tokens, sums, scheme), scheme)
        parts.append(tokens.hashes)
        numbers.append(distinct(tokens.hashes[tokens.numbers]))
        before += len(tokens.hashes)
    known = HashSet(distinct(np.concatenate([distinct(part) for part in parts])))
    flags = np.zeros(len(known.keys), np.bool_)
    flags[known.find(np.concatenate(numbers))[1]] = True
    numbered = np.concatenate([known.find(part)[1].astype(np.int32) for part in parts])
    return Corpus(numbered, flags, starts, lengths, wholes, keys)


def _shingles(tokens: Tokens, sums: Hashes, scheme: Scheme) -> tuple[Hashes, Places]:
    """(hash of each shingle, the text it is of)."""
    size, lengths = scheme.shingle, np.diff(tokens.bounds)
    counts = np.where(lengths >= size, lengths - size + 1, np.minimum(lengths, 1))
    owner = np.repeat(np.arange(len(counts)), counts)
    starts = ranges(tokens.bounds[:-1], counts)
    stops = np.minimum(starts + size, tokens.bounds[1:].take(owner))
    found = spans(sums, starts, stops)
    if scheme.mask_from is None:
        return found, owner
    words = np.zeros(len(sums), np.int32)
    np.cumsum(tokens.words, out=words[1:])
    wordy = words.take(stops) - words.take(starts) >= scheme.mask_from
    return np.where(wordy, spans(prefix_sums(tokens.masked()), starts, stops), found), owner


def _signatures(tokens: Tokens, sums: Hashes, scheme: Scheme) -> Signatures:
    """(texts, bins): the least hash in each bin, borrowed where a bin is empty; a text without tokens has empty bins only."""
    hashes, owner = _shingles(tokens, sums, scheme)
    hashes = (hashes ^ (hashes >> np.uint64(32))) * _MIX
    bins = scheme.bands * scheme.rows
    place = owner * bins + ((hashes >> np.uint64(32)) * np.uint64(bins) >> np.uint64(32)).view(np.int64)
    least = np.full((len(tokens.rows), bins), _EMPTY)
    np.minimum.at(least.reshape(-1), place, np.minimum(hashes.astype(np.uint32), _EMPTY - np.uint32(1)))
    return _filled(least, np.diff(tokens.bounds) > 0)


@functools.lru_cache(maxsize=8)
def _lenders(bins: int) -> npt.NDArray[np.int64]:
    """(attempts, bins): which bin an empty one asks first, second, ..; row by row a permutation that is the same everywhere."""
    order = np.arange(1, bins * bins + 1, dtype=np.uint64) * _MIX
    order = (order ^ (order >> np.uint64(29))) * _MIX
    return np.argsort(order.reshape(bins, bins), axis=1, kind="stable")


def _filled(least: Signatures, some: Flags) -> Signatures:
    """Empty bins take what the first lender that had a shingle of its own holds; after the last attempt any bin is asked in turn."""
    bins = least.shape[1]
    text, empty = np.nonzero((least == _EMPTY) & some[:, None])
    own = least.copy()
    for attempt in range(2 * bins):
        if not len(text):
            break
        lender = _lenders(bins)[attempt].take(empty) if attempt < bins else (empty + attempt) % bins
        value = own[text, lender]
        least[text, empty] = value
        left = value == _EMPTY
        text, empty = text[left], empty[left]
    return least


def _band_keys(signatures: Signatures, scheme: Scheme) -> Hashes:
    """(bands, texts); a band takes bins that lie far apart."""
    keys = np.zeros((scheme.bands, len(signatures)), np.uint64)
    for row in signatures.reshape(len(signatures), scheme.rows, scheme.bands).transpose(1, 2, 0):
        keys = (keys ^ row) * _MIX
        keys ^= keys >> np.uint64(29)
    return keys


def candidates(corpus: Corpus) -> tuple[Places, Places]:
    """Pairs (first, second), first < second, each once and sorted: equal texts and texts that agree on a band.

    A text in a large bucket meets the eight before it and the bucket's first; texts added behind others take no pair from those.
    """
    some = np.flatnonzero(corpus.lengths > 0)
    first = _first_equal(corpus.wholes, some)
    others = some[first == some]
    copies = first != some
    pairs = [(first[copies] << np.int64(32)) | some[copies]]
    pairs += [distinct(_meeting(key.take(others), others)) for key in corpus.keys]
    both = distinct(np.concatenate(pairs))
    return both >> 32, both & 0xFFFFFFFF


def _first_equal(wholes: Hashes, some: Places) -> Places:
    """For each text of `some` the first text with the same whole."""
    _, first, which = np.unique(wholes[some], return_index=True, return_inverse=True)
    return some[first[which]]


def _meeting(keys: Hashes, texts: Places) -> Places:
    """first << 32 | second of the texts in one bucket; `texts` ascend. Only the leading bits of a key tell buckets apart: the rest numbers
    the texts, so that one sort of plain numbers brings buckets together in order."""
    bits = np.uint64(max(1, len(texts).bit_length()))
    ordered = np.sort((keys >> bits << bits) | np.arange(len(texts), dtype=np.uint64))
    bucket = ordered >> bits
    inside = np.flatnonzero(bucket[1:] == bucket[:-1])
    heads = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1]))
    number = texts.take((ordered & ((np.uint64(1) << bits) - np.uint64(1))).view(np.int64))
    found = [np.zeros(0, np.int64)]
    for first, second in _neighbours(bucket, heads, inside):
        found.append((number.take(first) << np.int64(32)) | number.take(second))
    return np.concatenate(found)


def _neighbours(bucket: Hashes, heads: Places, inside: Places) -> Iterator[tuple[Places, Places]]:
    """Places in one bucket: up to `_NEAR` apart, and each with the bucket's first; `inside` are those with a next one."""
    at = inside
    for apart in range(1, _NEAR + 1):
        yield at, at + apart
        at = at[at + apart + 1 < len(bucket)]
        at = at[bucket[at + apart + 1] == bucket[at]]
    second = inside + 1
    first = heads[np.searchsorted(heads, second, side="right") - 1]
    far = second - first > _NEAR
    yield first[far], second[far]
