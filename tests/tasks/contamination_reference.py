"""The contamination rules in plain Python, pair by pair: slow, obvious, and what the index must equal."""

import math
from collections import Counter, defaultdict

from rapidfuzz.distance import LCSseq

from tasks.maths.contamination_index import Rule
from tasks.maths.normalise import is_number, is_word, term_of, words
from tasks.maths.paraphrase import COMMON, LEAST, MOST, NUMBER_SLACK, RARE, SHARED, UNSEEN, WORD_SLACK


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
    """(row, protected text, rule, ratio to nine digits) of every hit."""
    checked, known = [Plain(t or "", rule) for t in texts], [Plain(p, rule) for p in protected]
    hits = {(row, k, *hit) for row, text in enumerate(checked) for k, p in enumerate(known) for hit in hits_of(text, p, rule)}
    if rule.paraphrase < 1:
        hits |= {(row, k, "paraphrase", ratio) for row, k, ratio in paraphrases(texts, protected, rule.paraphrase)}
    return {(row, k, name, round(ratio, 9)) for row, k, name, ratio in hits}


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


class Story:
    """One text as its numbers and words, whatever the wording."""

    def __init__(self, text: str) -> None:
        tokens = words(text)
        self.numbers = Counter(term_of(t) for t in tokens if is_number(t))
        self.words = {term_of(t) for t in tokens if is_word(t)}
        self.signatures = self._signatures(frozenset(self.numbers))

    @staticmethod
    def _signatures(numbers: frozenset[str]) -> set[frozenset[str]]:
        """The set of the numbers, and the set without any one of them."""
        if not LEAST <= len(numbers) <= MOST:
            return set()
        return {numbers} | ({numbers - {n} for n in numbers} if len(numbers) > LEAST else set())


def paraphrases(texts: list[str | None], protected: list[str], floor: float) -> list[tuple[int, int, float]]:
    """(row, protected text, ratio) of every pair with enough in common."""
    known = [Story(p) for p in protected]
    seen = Counter(term for story in known for term in (*story.words, *story.numbers))
    rare = [{w for w in story.words if seen[w] <= RARE} for story in known]
    holders = Counter((s, w) for story, some in zip(known, rare, strict=True) for s in story.signatures for w in some)
    weight = {term: 1 - math.log(n) / math.log(max(2, len(known))) for term, n in seen.items()}
    found = []
    for row, text in enumerate(texts):
        own = Story(text or "")
        for k, other in enumerate(known):
            keys = {(s, w) for s in own.signatures & other.signatures for w in own.words & rare[k]}
            if len({w for s, w in keys if holders[s, w] < COMMON}) < SHARED:
                continue
            ratio = overlap(own, other, weight)
            if ratio > floor:
                found.append((row, k, ratio))
    return found


def overlap(own: Story, other: Story, weight: dict[str, float]) -> float:
    def in_words(some: set[str]) -> float:
        return sum(weight.get(w, UNSEEN) for w in some)

    def in_numbers(some: Counter[str]) -> float:
        return sum(weight.get(n, 1) * times for n, times in some.items())

    dice = 2 * in_words(own.words & other.words) / (in_words(own.words) + in_words(other.words) + WORD_SLACK)
    return (dice + in_numbers(own.numbers & other.numbers) / (in_numbers(own.numbers | other.numbers) + NUMBER_SLACK)) / 2
