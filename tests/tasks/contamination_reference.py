"""The contamination rules in plain Python, pair by pair: slow, obvious, and what the index must equal."""

from collections import defaultdict

from rapidfuzz.distance import LCSseq

from tasks.maths.contamination_index import Rule
from tasks.maths.normalise import is_number, is_word, words


class Plain:
    """One text: its tokens as the n-grams see them and as the common subsequence does."""

    def __init__(self, text: str, rule: Rule) -> None:
        self.tokens = words(text)
        self.masked = ["<number>" if is_number(t) else t for t in self.tokens]
        self.places = defaultdict(list)
        for start in range(len(self.tokens) - rule.ngram + 1):
            stop = start + rule.ngram
            wordy = rule.mask_from is not None and sum(map(is_word, self.tokens[start:stop])) >= rule.mask_from
            self.places[tuple((self.masked if wordy else self.tokens)[start:stop])].append(start)

    def contains(self, part: list[str]) -> bool:
        return any(self.tokens[i : i + len(part)] == part for i in range(len(self.tokens) - len(part) + 1))


def all_hits(texts: list[str | None], protected: list[str], rule: Rule) -> set[tuple[int, int, str, float]]:
    """(row, protected text, rule, ratio) of every hit."""
    checked, known = [Plain(t or "", rule) for t in texts], [Plain(p, rule) for p in protected]
    return {(row, k, *hit) for row, text in enumerate(checked) for k, p in enumerate(known) for hit in hits_of(text, p, rule)}


def hits_of(own: Plain, known: Plain, rule: Rule) -> list[tuple[str, float]]:
    hits = []
    if rule.exact and own.tokens and own.tokens == known.tokens:
        hits.append(("exact", 1.0))
    if rule.embedded and rule.embedded <= len(known.tokens) < rule.ngram and own.contains(known.tokens):
        hits.append(("embedded", 1.0))
    begins = [i - j for gram in own.places.keys() & known.places.keys() for i in own.places[gram] for j in known.places[gram]]
    if begins:
        lengths = len(known.tokens), len(own.tokens)
        below = {"protected": lengths[0], "min": min(lengths), "max": max(lengths)}[rule.denominator]
        slack = lengths[0] // 4
        near = slice(max(0, min(begins) - slack), max(begins) + lengths[0] + slack) if rule.near else slice(None)
        plain = LCSseq.similarity(own.tokens[near], known.tokens) / below
        masked = LCSseq.similarity(own.masked[near], known.masked) / below
        if plain > rule.lcs_ratio:
            hits.append(("ngram_lcs", plain))
        elif masked > rule.masked_ratio:
            hits.append(("ngram_lcs", masked))
    return hits
