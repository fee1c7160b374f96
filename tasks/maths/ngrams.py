"""Hashes of runs by prefix sums, and sets of hashes that are asked millions of times (Rabin-Karp, modulo 2^64).

The hash of elements s..t-1 is (Q[t] - Q[s]) * C^-s with Q the running sum of element * C^i: a run of any length costs one subtraction.
"""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_BASE = 0xDA942042E4DD58B5  # odd, so that it has an inverse modulo 2^64


@functools.lru_cache(maxsize=64)
def _powers(base: int, size: int) -> Hashes:
    out = np.full(size, base, dtype=np.uint64)
    out[0] = 1
    return np.cumprod(out, dtype=np.uint64)


def powers(base: int, size: int) -> Hashes:
    """base^0 .. base^(size-1) modulo 2^64, from a table that grows by doubling."""
    return _powers(base, max(1 << 12, 1 << size.bit_length()))[:size]


def inverse(base: int) -> int:
    """The inverse of an odd number modulo 2^64."""
    return pow(base, -1, 1 << 64)


def prefix_sums(hashes: Hashes) -> Hashes:
    """(tokens + 1,) running sums for `windows` and `spans`."""
    sums = np.zeros(len(hashes) + 1, dtype=np.uint64)
    np.cumsum(hashes * powers(_BASE, len(hashes)), out=sums[1:])
    return sums


def windows(sums: Hashes, size: int) -> Hashes:
    """(tokens - size + 1,) hash of each window of `size` tokens, also of those that reach into the next text."""
    count = max(0, len(sums) - size)
    return (sums[size:] - sums[:count]) * powers(inverse(_BASE), count)


def spans(sums: Hashes, starts: Places, stops: Places) -> Hashes:
    """Hash of the tokens starts[k] to stops[k] - 1 for each k."""
    return (sums.take(stops) - sums.take(starts)) * powers(inverse(_BASE), len(sums)).take(starts)


def owners(bounds: Places, starts: Places, size: int) -> tuple[Places, Flags]:
    """(text that the token starts[k] is in, whether the window of `size` tokens from there ends in the same text)."""
    texts = np.searchsorted(bounds, starts, side="right") - 1
    return texts, starts + size <= bounds[texts + 1]


class HashSet:
    """Numbered hashes. Asking is a table of flags first; the few that pass go to a table of buckets by their leading bits."""

    def __init__(self, hashes: Hashes) -> None:
        self.keys = np.unique(hashes)
        """Sorted; a hash's number is its place here."""
        bits = (2 * len(self.keys)).bit_length() + 1
        self._bucket_shift, self._flag_shift = np.uint64(64 - bits), np.uint64(64 - bits - 2)
        buckets = (self.keys >> self._bucket_shift).view(np.int64)
        sizes = np.bincount(buckets, minlength=1 << bits)
        self._heads = (np.cumsum(sizes) - sizes).astype(np.int32)
        self._deepest = int(sizes.max(initial=0))
        self._padded = np.append(self.keys, np.zeros(self._deepest + 1, np.uint64))
        self._flags = np.zeros(1 << (bits + 2), dtype=np.bool_)
        self._flags[(self.keys >> self._flag_shift).view(np.int64)] = True

    def find(self, hashes: Hashes) -> tuple[Places, Places]:
        """(positions in `hashes` of those that are here, the number of each)."""
        passed = np.flatnonzero(self._flags.take((hashes >> self._flag_shift).view(np.int64)))
        wanted = hashes.take(passed)
        place = self._heads.take((wanted >> self._bucket_shift).view(np.int64)).astype(np.int64)
        rest = np.flatnonzero(self._padded.take(place) != wanted)
        for _ in range(self._deepest - 1):
            place[rest] += 1
            rest = rest[self._padded.take(place[rest]) != wanted[rest]]
        here = np.ones(len(passed), dtype=np.bool_)
        here[rest] = False
        if not len(self.keys):
            here[:] = False
        return passed[here], place[here]


class Postings(HashSet):
    """Hash -> the entries that have it; entry k is the k-th hash given."""

    def __init__(self, hashes: Hashes) -> None:
        super().__init__(hashes)
        self.order = np.argsort(hashes, kind="stable")
        """(entries,) the entries, those of the first key first."""
        self.first = np.searchsorted(hashes[self.order], self.keys)
        self.first = np.append(self.first, len(hashes))
        """(keys + 1,) where each key's entries begin."""

    def expand(self, keys: Places, *beside: npt.NDArray[Any]) -> tuple[Places, ...]:
        """Every entry of each key, with the values that stand beside the key repeated for each."""
        counts = self.first[keys + 1] - self.first[keys]
        return self.order[ranges(self.first[keys], counts)], *(np.repeat(values, counts) for values in beside)


def ranges(starts: Places, counts: Places) -> Places:
    """starts[0], starts[0] + 1, .. (counts[0] of them), starts[1], .."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts - starts, counts)


def distinct(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Each value once, sorted; several times as fast as `np.unique`, which hashes them first."""
    ordered = np.sort(values)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]
