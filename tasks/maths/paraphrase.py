"""Which protected texts a text tells in other words: nearly the same numbers, and the rare words of the story (idf-weighted overlap).

A paraphrase shares no run of tokens with its original, but a question that is to have the same answer keeps its numbers and its subject.
Pairs are found by the set of their numbers (one may be missing on either side) together with rare words; wording, order, endings and
whether a number is written in digits do not matter. Whole texts are compared: a paraphrase inside a long text is not found.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.maths.ngrams import Hashes, HashSet, Places, Postings, distinct, ranges
from tasks.maths.tokens import Tokens

Weights = npt.NDArray[np.float64]

RARE, COMMON = 100, 50
"""A word of at most RARE protected texts is rare; a set of numbers with a word that COMMON protected texts or more share finds nothing."""
LEAST, MOST = 2, 15
"""Different numbers of a text that is looked at: fewer say nothing, more are no question."""
SHARED = 2
"""Rare words in common that make a candidate."""
UNSEEN = 0.7
"""Weight of a word that no protected text has; an unseen number weighs 1."""
WORD_SLACK, NUMBER_SLACK = 1.0, 0.3
"""Added to the denominators, so that little in common is little evidence."""

_MIX = np.uint64(0xFF51AFD7ED558CCD)
_TERM_BITS = np.uint64(40)  # of a term's hash beside the number of its text: in one batch, two terms of a text never fall together


@dataclass(frozen=True, slots=True)
class _Bags:
    """The different terms of some texts, text by text, sorted in each; single letters are left out."""

    owner: Places
    """(entries,) place of the text among those asked for."""
    terms: Hashes
    """(entries,) the term's hash."""
    counts: Places
    """(entries,) how often: for numbers; words count once."""
    numbers: npt.NDArray[np.bool_]
    starts: Places
    """(texts + 1,)"""


class Paraphrases:
    """Protected texts by their numbers and rare words.

    A term weighs 1 - ln(texts that have it) / ln(texts): 1 where one protected text has it, 0 where all have.
    """

    def __init__(self, tokens: Tokens) -> None:
        """All protected texts in one batch, with terms."""
        self._texts = len(tokens.rows)
        bags = _bags(tokens, np.arange(self._texts))
        self._terms = HashSet(bags.terms)
        ids = self._terms.find(bags.terms)[1]
        seen = np.bincount(ids, minlength=len(self._terms.keys))
        self._weights = 1 - np.log(np.maximum(seen, 1)) / np.log(max(2, self._texts))
        self._entries = Postings(_mixed(bags.owner * len(seen) + ids))
        self._counts = bags.counts[self._entries.order]  # an entry stands once: its place among the keys
        self._words, self._numbers = _totals(bags, self._weights[ids])
        self._index_keys(tokens, bags, np.flatnonzero(~bags.numbers & (seen[ids] <= RARE)))

    def _index_keys(self, tokens: Tokens, bags: _Bags, rare: Places) -> None:
        owner, signatures = _signatures(tokens)
        self._signatures, self._rare = HashSet(signatures), HashSet(bags.terms[rare])
        words = self._rare.find(bags.terms[rare])[1]
        keys, self._key_texts, _ = self._keys(owner, self._signatures.find(signatures)[1], bags.owner[rare], words)
        self._keys_of = Postings(keys)

    def check(self, tokens: Tokens, floor: float) -> tuple[Places, Places, Weights]:
        """(text checked, protected text, ratio) of the pairs whose ratio is above `floor`.

        The ratio is the mean of two overlaps, each of weights: of different words (Dice), of numbers as often as they stand (Jaccard).
        """
        owner, texts = self._candidates(tokens)
        asked = distinct(owner)
        place = np.searchsorted(asked, owner)
        ratios = self._ratios(_bags(tokens, asked), place, texts)
        hit = ratios > floor
        return owner[hit], texts[hit], ratios[hit]

    def _rare_words(self, tokens: Tokens, some: Places) -> tuple[Places, Places]:
        """(text, number of the rare word) in their order, repeated where they are, of the texts numbered `some`."""
        wanted = np.zeros(len(tokens.rows), np.bool_)
        wanted[some] = True
        lengths = np.diff(tokens.bounds)
        at = np.flatnonzero(tokens.words & np.repeat(wanted, lengths))
        found, words = self._rare.find(tokens.terms.take(at))
        return np.repeat(np.arange(len(lengths)), lengths).take(at.take(found)), words

    def _keys(self, owner: Places, signatures: Places, word_owner: Places, words: Places) -> tuple[Hashes, Places, Places]:
        """(hash, text, word) of each pair of a signature and a rare word of the same text."""
        first = np.searchsorted(word_owner, owner)
        counts = np.searchsorted(word_owner, owner, side="right") - first
        chosen = words.take(ranges(first, counts))
        keys = _mixed(np.repeat(signatures, counts) * len(self._rare.keys) + chosen)
        return keys, np.repeat(owner, counts), chosen

    def _candidates(self, tokens: Tokens) -> tuple[Places, Places]:
        """Pairs that share a signature and, with it, SHARED rare words."""
        owner, signatures = _signatures(tokens)
        known, numbers = self._signatures.find(signatures)
        keys, owner, words = self._keys(owner[known], numbers, *self._rare_words(tokens, owner[known]))
        found, postings = self._keys_of.find(keys)
        few = self._keys_of.first[postings + 1] - self._keys_of.first[postings] < COMMON
        entries, owner, words = self._keys_of.expand(postings[few], owner[found[few]], words[found[few]])
        pair = owner * self._texts + self._key_texts[entries]
        pair = distinct(pair * len(self._rare.keys) + words) // max(1, len(self._rare.keys))
        heads = np.flatnonzero(np.diff(pair, prepend=-1))
        shared = np.diff(heads, append=len(pair))
        return np.divmod(pair[heads[shared >= SHARED]], max(1, self._texts))

    def _ratios(self, bags: _Bags, place: Places, texts: Places) -> Weights:
        weights, ids = np.where(bags.numbers, 1.0, UNSEEN), np.full(len(bags.terms), -1)
        known, numbered = self._terms.find(bags.terms)
        ids[known], weights[known] = numbered, self._weights[numbered]
        words, numbers = _totals(bags, weights)
        counts = np.diff(bags.starts)[place]
        entry, pair = ranges(bags.starts[place], counts), np.repeat(np.arange(len(place)), counts)
        entry, pair = entry[ids[entry] >= 0], pair[ids[entry] >= 0]
        found, there = self._entries.find(_mixed(texts[pair] * len(self._weights) + ids[entry]))
        entry, pair = entry[found], pair[found]
        common = weights[entry] * np.minimum(bags.counts[entry], self._counts[there])
        is_number = bags.numbers[entry]
        both_words = np.bincount(pair[~is_number], common[~is_number], len(place))
        both_numbers = np.bincount(pair[is_number], common[is_number], len(place))
        dice = 2 * both_words / (words[place] + self._words[texts] + WORD_SLACK)
        jaccard = both_numbers / (numbers[place] + self._numbers[texts] - both_numbers + NUMBER_SLACK)
        mean: Weights = (dice + jaccard) / 2
        return mean


def _totals(bags: _Bags, weights: Weights) -> tuple[Weights, Weights]:
    """(weight of the words, weight of the numbers) of each text."""
    weights, numbers, texts = weights * bags.counts, bags.numbers, len(bags.starts) - 1
    words = np.bincount(bags.owner[~numbers], weights[~numbers], texts).astype(np.float64)
    return words, np.bincount(bags.owner[numbers], weights[numbers], texts).astype(np.float64)


def _short(terms: Hashes) -> Hashes:
    return terms >> (np.uint64(64) - _TERM_BITS)


def _mixed(values: Hashes | Places) -> Hashes:
    """Spread over all bits, as HashSet wants them."""
    values = values.astype(np.uint64) * _MIX
    return values ^ (values << np.uint64(32))


def _bags(tokens: Tokens, which: Places) -> _Bags:
    counts = tokens.bounds[which + 1] - tokens.bounds[which]
    at, owner = ranges(tokens.bounds[which], counts), np.repeat(np.arange(len(which)), counts)
    kept = np.flatnonzero(tokens.words.take(at) | tokens.numbers.take(at))
    at, owner = at[kept], owner[kept]
    key = (owner.astype(np.uint64) << _TERM_BITS) | _short(tokens.terms.take(at))
    order = np.argsort(key)
    key = key[order]
    heads = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if len(key) else np.zeros(0, np.int64)
    numbers = tokens.numbers.take(at[order[heads]])
    times = np.where(numbers, np.diff(heads, append=len(key)), 1)
    owner = (key[heads] >> _TERM_BITS).astype(np.int64)
    terms = tokens.terms.take(at[order[heads]])
    return _Bags(owner, terms, times, numbers, np.searchsorted(owner, np.arange(len(which) + 1)))


def _signatures(tokens: Tokens) -> tuple[Places, Hashes]:
    """(text, hash) of the set of numbers of each text, and of that set without one of them where it has more than LEAST."""
    at = np.flatnonzero(tokens.numbers)
    owner = np.repeat(np.arange(len(tokens.rows)), np.diff(tokens.bounds)).take(at)
    key = distinct((owner.astype(np.uint64) << _TERM_BITS) | _short(tokens.terms.take(at)))
    owner = (key >> _TERM_BITS).astype(np.int64)
    each = _mixed(key & ((np.uint64(1) << _TERM_BITS) - np.uint64(1)))
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    texts, count = owner[first], np.diff(first, append=len(owner))
    sums = np.append(np.uint64(0), np.cumsum(each, dtype=np.uint64))
    whole = sums[first + count] - sums[first]
    fit = (count >= LEAST) & (count <= MOST)
    shrink = np.repeat(fit & (count > LEAST), count)
    owners = np.concatenate([texts[fit], owner[shrink]])
    return owners, _mixed(np.concatenate([whole[fit], (np.repeat(whole, count) - each)[shrink]]))
