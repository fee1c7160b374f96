"""The contamination rules in plain Python, pair by pair: slow, obvious, and what the index must equal."""

from rapidfuzz.distance import LCSseq

from tasks.maths.contamination_index import Rule
from tasks.maths.normalise import words


class Plain:
    """One text: its tokens as the n-grams see them and as the common subsequence does."""

    def __init__(self, text: str, rule: Rule) -> None:
        self.tokens = words(text)
        masked = ["<number>" if t.isdigit() else t for t in self.tokens]
        for_grams = masked if rule.mask_numbers else self.tokens
        self.grams = {tuple(for_grams[i : i + rule.ngram]) for i in range(len(self.tokens) - rule.ngram + 1)}
        self.for_lcs = masked if rule.lcs_masked else self.tokens

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
    if own.grams & known.grams:
        lengths = len(known.tokens), len(own.tokens)
        below = {"protected": lengths[0], "min": min(lengths), "max": max(lengths)}[rule.denominator]
        ratio = LCSseq.similarity(own.for_lcs, known.for_lcs) / below
        if ratio > rule.lcs_ratio:
            hits.append(("ngram_lcs", ratio))
    return hits
