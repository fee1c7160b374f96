"""Hashes of token n-grams by prefix sums, and a set of hashes that is asked millions of times (Rabin-Karp, modulo 2^64).

The hash of tokens s..t-1 is (Q[t] - Q[s]) * C^-s with Q the running sum of hash * C^i: any window of any length costs one subtraction.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.maths.normalise import Hashes, Places, inverse, powers_from

_BASE = 0xDA942042E4DD58B5


def prefix_sums(hashes: Hashes) -> Hashes:
    """(tokens + 1,) running sums for `windows` and `spans`."""
    sums = np.zeros(len(hashes) + 1, dtype=np.uint64)
    np.cumsum(hashes * powers_from(_BASE, len(hashes))[: len(hashes)], out=sums[1:])
    return sums


def windows(sums: Hashes, size: int) -> Hashes:
    """(tokens - size + 1,) hash of each window of `size` tokens, also of those that reach into the next text."""
    count = max(0, len(sums) - size)
    return (sums[size:] - sums[:count]) * powers_from(inverse(_BASE), count)[:count]


def spans(sums: Hashes, starts: Places, stops: Places) -> Hashes:
    """Hash of the tokens starts[k] to stops[k] - 1 for each k."""
    return (sums[stops] - sums[starts]) * powers_from(inverse(_BASE), len(sums))[starts]


def owners(bounds: Places, starts: Places, size: int) -> tuple[Places, npt.NDArray[np.bool_]]:
    """(text that the token starts[k] is in, whether the window of `size` tokens from there ends in the same text)."""
    texts = np.searchsorted(bounds, starts, side="right") - 1
    return texts, starts + size <= bounds[texts + 1]


class Postings:
    """Hash -> the entries it stands for. Looking up is a bit table first, then a binary search for the few that pass."""

    def __init__(self, hashes: Hashes) -> None:
        """Entry k has the hash hashes[k]."""
        self.order = np.argsort(hashes, kind="stable")
        """Entries sorted by hash, then by number."""
        self.keys, self.first = np.unique(hashes[self.order], return_index=True)
        self.first = np.append(self.first, len(hashes))
        bits = max(12, (16 * len(self.keys)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, dtype=np.bool_)
        self._table[(self.keys >> self._shift).view(np.int64)] = True

    def find(self, hashes: Hashes) -> tuple[Places, Places]:
        """(positions in `hashes` of those that are here, the number of their key)."""
        passed = np.flatnonzero(self._table[(hashes >> self._shift).view(np.int64)])
        wanted = hashes[passed]
        place = np.searchsorted(self.keys, wanted)
        place[place == len(self.keys)] = 0
        here = self.keys[place] == wanted if len(self.keys) else np.zeros(0, dtype=np.bool_)
        return passed[here], place[here]

    def expand(self, keys: Places, *beside: npt.NDArray[Any]) -> tuple[Places, ...]:
        """Every entry of each key, with the values that stand beside the key repeated for each."""
        counts = self.first[keys + 1] - self.first[keys]
        ends = np.cumsum(counts)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        return self.order[np.repeat(self.first[keys], counts) + within], *(np.repeat(values, counts) for values in beside)
