"""Columns of text as hashed tokens, over the Arrow buffers: tables, masks and prefix sums, no Python loop per token.

The tokens are those of `tasks.maths.normalise`. ASCII texts are read as bytes where they lie; the others go through NFKC one by one and
are read as code points.
"""

import functools
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.maths.ngrams import Flags, Hashes, HashSet, Places, inverse, powers
from tasks.maths.normalise import CJK, DIGIT, DROPPED, LETTER, NUMERALS, RENAMED, STEM, SYMBOL, SYMBOLS, kind_of, lower, term_of


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a batch of texts, one after the other."""

    hashes: Hashes
    """(tokens,) 64-bit hash of each; equal tokens have equal hashes."""
    numbers: Flags
    """(tokens,) true for a run of digits and for `NUMERALS`."""
    words: Flags
    """(tokens,) true for what is neither a number nor a single letter."""
    bounds: Places
    """(texts + 1,) text k has the tokens bounds[k] to bounds[k + 1]."""
    rows: Places
    """(texts,) position of each text in the column it came from."""
    terms: Hashes
    """(tokens,) hash of what of each token counts where wording does not (`normalise.term_of`); empty unless it was asked for."""
    starts: Places
    """(tokens,) first character of each, counted over the batch after NFKC."""
    ends: Places
    """(tokens,) the character behind each."""
    offsets: Places
    """(texts + 1,) where each text begins in that count."""

    def masked(self) -> Hashes:
        """The hashes with all numbers alike."""
        return np.where(self.numbers, NUMBER, self.hashes)


NUMBER = np.uint64(0x9E3779B97F4A7C15)
"""The hash that stands for any number where numbers are masked."""
_BASE = 0xD1342543DE82EF95  # odd, so that it has an inverse modulo 2^64

_MIX = np.uint64(0xFF51AFD7ED558CCD)
BATCH_BYTES = 1 << 18
"""Text per batch: what its 8-byte intermediates take stays in a core's cache."""


def tokenise(column: pa.ChunkedArray | pa.Array, batch_bytes: int = BATCH_BYTES, terms: bool = False) -> Iterator[Tokens]:
    """The tokens of a column of strings in batches of about `batch_bytes` of text, ASCII texts first in each chunk; nulls are empty.

    `terms` asks for the terms of the tokens too.
    """
    first = 0
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        texts = (chunk if chunk.type in (pa.string(), pa.large_string()) else chunk.cast(pa.large_string())).fill_null("")
        rows = np.arange(first, first + len(texts))
        ascii_only = pc.string_is_ascii(texts)
        plain = ascii_only.to_numpy(zero_copy_only=False)
        for part, numbers, read in (
            (texts.filter(ascii_only), rows[plain], _ascii),
            (texts.filter(pc.invert(ascii_only)), rows[~plain], _unicode),
        ):
            for start, stop in _batches(part, batch_bytes):
                yield read(part.slice(start, stop - start), numbers[start:stop], terms)
        first += len(texts)


def _offsets(texts: pa.Array) -> Places:
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    if not len(texts):
        return np.zeros(1, dtype=np.int64)
    return np.frombuffer(texts.buffers()[1], width)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)


def _batches(texts: pa.Array, batch_bytes: int) -> Iterator[tuple[int, int]]:
    """Ranges of texts of about `batch_bytes`, at least one text each."""
    offsets, start = _offsets(texts), 0
    while start < len(texts):
        stop = max(start + 1, int(np.searchsorted(offsets, offsets[start] + batch_bytes)))
        stop = min(stop, len(texts))
        yield start, stop
        start = stop


def _fold_table() -> bytes:
    """Letters to lower case, digits as they are, the backslash to 1, everything else to 0."""
    table = bytearray(256)
    for code in range(128):
        table[code] = ord(chr(code).lower()) if chr(code).isalnum() else 0
    table[ord("\\")] = 1
    return bytes(table)


_FOLD = _fold_table()


def _ascii(texts: pa.Array, rows: Places, terms: bool) -> Tokens:
    offsets = _offsets(texts)
    data = texts.buffers()[2]
    raw = memoryview(data)[offsets[0] : offsets[-1]].tobytes() if data is not None else b""
    codes = np.frombuffer(raw.translate(_FOLD), np.uint8)
    kinds = (codes > 1).view(np.uint8) + (codes > 57).view(np.uint8)
    return _tokens(codes, kinds, offsets - offsets[0], rows, codes == 1 if b"\\" in raw else None, terms)


_TOP = 1 << 17  # the code points below have table entries of their own; above there are ideographs, up to 2^18, and nothing


@functools.cache
def _tables() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
    """(lower case, kind) by code point; the last two entries are for the ideographs and for the rest."""
    small = [lower(chr(point)) for point in range(_TOP)]
    return np.array([*map(ord, small), 0, 0], dtype=np.uint32), np.array([*map(kind_of, small), CJK, 0], dtype=np.uint8)


def _unicode(texts: pa.Array, rows: Places, terms: bool) -> Tokens:
    folded = [unicodedata.normalize("NFKC", text) for text in texts.to_pylist()]
    offsets = np.zeros(len(folded) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in folded], out=offsets[1:])
    codes = np.frombuffer("".join(folded).encode("utf-32-le", "surrogatepass"), np.uint32)
    small, kinds = _tables()
    slashes = codes == ord("\\")
    if codes.max(initial=0) < _TOP:
        return _tokens(small[codes], kinds[codes], offsets, rows, slashes, terms)
    entries = np.where(codes < _TOP, codes, np.where(codes < 0x40000, _TOP, _TOP + 1))
    return _tokens(np.where(codes < _TOP, small[entries], codes), kinds[entries], offsets, rows, slashes, terms)


def _tokens(
    codes: npt.NDArray[Any], kinds: npt.NDArray[np.uint8], offsets: Places, rows: Places, slashes: Flags | None, terms: bool
) -> Tokens:
    """Runs of one kind become tokens: the hash of a run is a difference of prefix sums of code * B^i, brought back by B^-start."""
    size = len(codes)
    edges = np.ones(size + 1, dtype=np.bool_)
    np.not_equal(kinds[1:], kinds[:-1], out=edges[1:size])
    edges[offsets] = True
    single = kinds >= CJK if codes.dtype == np.uint32 else None  # characters that are tokens by themselves
    if single is not None:
        edges[:size] |= single
    cuts = np.flatnonzero(edges)
    sums = np.zeros(size + 1, dtype=np.uint64)
    np.cumsum(codes * powers(_BASE, size), out=sums[1:])
    runs = kinds.take(cuts[:-1])
    chosen = np.flatnonzero(runs)
    starts, kind = cuts.take(chosen), runs.take(chosen)
    lengths = cuts.take(chosen + 1) - starts
    hashes = _mix(np.diff(sums.take(cuts)).take(chosen) * powers(inverse(_BASE), size).take(starts))
    if single is not None:
        symbols = np.flatnonzero(kind == SYMBOL)
        hashes[symbols] = _symbol_hashes(codes[starts[symbols]])
    numbers = kind == DIGIT
    numbers[_numerals().find(hashes)[0]] = True
    words = ((lengths > 1) | (kind >= CJK)) & ~numbers
    long = (lengths > STEM) & (kind == LETTER)
    ends = starts + lengths
    if slashes is not None:
        hashes, keep = _macros(starts, hashes, slashes, offsets)
        starts, hashes, numbers, words = starts.take(keep), hashes.take(keep), numbers.take(keep), words.take(keep)
        long, ends = long.take(keep), ends.take(keep)
    found = _terms(hashes, starts, np.flatnonzero(long), sums) if terms else hashes[:0]
    return Tokens(hashes, numbers, words, np.searchsorted(starts, offsets), rows, found, starts, ends, offsets)


def _terms(hashes: Hashes, starts: Places, long: Places, sums: Hashes) -> Hashes:
    """The hash of the term of each token; `long` numbers the tokens of which the first letters count."""
    at, terms = starts.take(long), hashes.copy()
    terms[long] = _mix((sums.take(at + STEM) - sums.take(at)) * powers(inverse(_BASE), len(sums)).take(at))
    special, others = _special_terms()
    found, number = special.find(hashes)
    terms[found] = others[number]
    return terms


def _mix(hashes: Hashes) -> Hashes:
    hashes = hashes ^ (hashes >> np.uint64(32))
    hashes *= _MIX
    hashes ^= hashes >> np.uint64(29)
    return hashes


def hash_of(word: str) -> int:
    """The hash of one token, as `tokenise` gives it."""
    total = sum(ord(char) * pow(_BASE, place, 1 << 64) for place, char in enumerate(word)) % (1 << 64)
    return int(_mix(np.array([total], dtype=np.uint64))[0])


@functools.cache
def _numerals() -> HashSet:
    return HashSet(np.array([hash_of(word) for word in sorted(NUMERALS)], dtype=np.uint64))


@functools.cache
def _special_terms() -> tuple[HashSet, Hashes]:
    """(hashes of the tokens that are not spelt like their terms, by their number the hash of each term)."""
    names = {*NUMERALS, *SYMBOLS.values(), *RENAMED.values()}
    terms = {hash_of(name): hash_of(term_of(name)) for name in names}
    known = HashSet(np.array(list(terms), dtype=np.uint64))
    return known, np.array([terms[key] for key in known.keys.tolist()], dtype=np.uint64)


@functools.cache
def _symbols() -> tuple[npt.NDArray[np.uint32], Hashes]:
    """(sorted code points of the symbols, the hash of each one's name)."""
    points = sorted(map(ord, SYMBOLS))
    return np.array(points, dtype=np.uint32), np.array([hash_of(SYMBOLS[chr(p)]) for p in points], dtype=np.uint64)


def _symbol_hashes(codes: npt.NDArray[Any]) -> Hashes:
    points, names = _symbols()
    return names[np.searchsorted(points, codes)]


@functools.cache
def _macro_table() -> tuple[HashSet, Hashes]:
    """(hashes of the macros that change, by their number what each becomes; 0 to drop it)."""
    change = {hash_of(name): hash_of(new) for name, new in RENAMED.items()} | dict.fromkeys(map(hash_of, DROPPED), 0)
    known = HashSet(np.array(list(change), dtype=np.uint64))
    return known, np.array([change[key] for key in known.keys.tolist()], dtype=np.uint64)


def _macros(starts: Places, hashes: Hashes, slashes: Flags, offsets: Places) -> tuple[Hashes, Places]:
    """(hashes, which to keep): what follows a backslash of its own text and is in the macro table is renamed or dropped."""
    after = np.flatnonzero(slashes.take(starts - 1))
    after = after[offsets[np.searchsorted(offsets, starts[after])] != starts[after]]
    macros, becomes = _macro_table()
    found, number = macros.find(hashes[after])
    changed = after[found]
    hashes[changed] = becomes[number]
    keep = np.ones(len(hashes), dtype=np.bool_)
    keep[changed[becomes[number] == 0]] = False
    return hashes, np.flatnonzero(keep)
