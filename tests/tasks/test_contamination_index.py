"""The index against the plain definition, and what each rule is there to find."""

import dataclasses
import json
import random
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from contamination_reference import all_hits
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.maths.contamination_index import RULES, Index, Rule
from tasks.maths.normalise import RENAMED, SYMBOLS, fold, in_original, term_of, words
from tasks.maths.tokens import hash_of, tokenise

STRICT = Rule(ngram=5, mask_from=None, lcs_ratio=0.6, masked_ratio=1, near=False, denominator="protected", exact=False, embedded=0)
LOOSE = Rule(ngram=4, mask_from=2, lcs_ratio=0.5, masked_ratio=0.7, near=True, denominator="protected", exact=True, embedded=2)


def protected(*texts: str) -> pa.Table:
    return pa.table({"benchmark": ["bench"] * len(texts), "item": [f"{i:04d}" for i in range(len(texts))], "text": list(texts)})


def hit_set(index: Index, texts: list[str | None] | pa.Array | pa.ChunkedArray) -> set[tuple[int, int, str, float]]:
    hits = index.check(pa.array(texts, pa.string()) if isinstance(texts, list) else texts)
    return {
        (int(r), int(t), RULES[k], round(float(x), 9)) for r, t, k, x in zip(hits.rows, hits.texts, hits.rules, hits.ratios, strict=True)
    }


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Find x, if 3x + 12 = 0.", "find x if 3 x 12 0"),
        (r"$\dfrac{1}{2}\left(x+1\right)$", "1 2 x 1"),
        (r"\frac12", "12"),
        (r"\text{cm}^2 \, \mathrm{~kg}", "cm 2 kg"),
        (r"\begin{align*} a &\leq b \\ x \end{align*}", "begin align a b x end align"),
        (r"A\cap B", "a cap b"),
        ("A∩B", "a cap b"),
        (r"2\pi r \le 5 \times 3", "2 pi r 5 3"),
        ("2πr ≤ 5 × 3", "2 pi r 5 3"),
        ("已知集合Ａ＝１２，求它。", "已 知 集 合 a 12 求 它"),
        ("Zoë’s naïve café", "zoë s naïve café"),
        ("ﬁve x² ½", "five x 2 1 2"),
        ("left 5 text", "left 5 text"),
        ("", ""),
        ("!? ...", ""),
    ],
)
def test_a_text_becomes_the_tokens_that_the_table_says(text, tokens):
    assert " ".join(words(text)) == tokens


PARTS = "find Find x 12 3 7 \\frac { } \\left ( \\ π \\pi 求 集合 ， é ² ≤ the sum of three 三 $ Ａ 𠀀 ͏ İ Σ 1,000"
MATHS = st.lists(st.sampled_from([*PARTS.split(" "), " ", " ", "\n"]), max_size=40).map("".join)
TEXT = st.one_of(MATHS, st.text(max_size=30), st.text(alphabet="ab1 \\", max_size=30))


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), TEXT), max_size=8), st.integers(1, 60))
def test_tokens_of_a_column_are_the_words_of_each_text(texts, batch_bytes):
    got: list[list[int] | None] = [None] * len(texts)
    for tokens in tokenise(pa.array(texts, pa.string()), batch_bytes):
        for k, row in enumerate(tokens.rows):
            got[row] = tokens.hashes[tokens.bounds[k] : tokens.bounds[k + 1]].tolist()
    assert got == [[hash_of(w) for w in words(text or "")] for text in texts]


@settings(deadline=None)
@given(st.lists(TEXT, max_size=8), st.integers(1, 60))
def test_terms_of_a_column_are_those_of_its_tokens(texts, batch_bytes):
    for tokens in tokenise(pa.array(texts, pa.string()), batch_bytes, terms=True):
        for k, row in enumerate(tokens.rows):
            got = tokens.terms[tokens.bounds[k] : tokens.bounds[k + 1]].tolist()
            assert got == [hash_of(term_of(w)) for w in words(texts[row])]


OWN_NAMES = {*RENAMED.values(), *SYMBOLS.values()}


@settings(deadline=None)
@given(st.lists(TEXT, max_size=8), st.integers(1, 60))
def test_tokens_stand_where_they_say(texts, batch_bytes):
    for tokens in tokenise(pa.array(texts, pa.string()), batch_bytes):
        for k, row in enumerate(tokens.rows):
            own, folded = slice(tokens.bounds[k], tokens.bounds[k + 1]), fold(texts[row])
            starts, ends = tokens.starts[own] - tokens.offsets[k], tokens.ends[own] - tokens.offsets[k]
            found = [folded[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
            assert all(a == b or b in OWN_NAMES for a, b in zip(found, words(texts[row]), strict=True))


@settings(deadline=None)
@given(TEXT, st.data())
def test_characters_after_nfkc_are_found_in_the_original(text, data):
    after = unicodedata.normalize("NFKC", text)
    if after:
        start = data.draw(st.integers(0, len(after) - 1))
        end = data.draw(st.integers(start + 1, len(after)))
        a, b = in_original(text, start, end)
        assert 0 <= a < b <= len(text)
        assert after[start:end] in unicodedata.normalize("NFKC", text[a:b])


@settings(deadline=None)
@given(
    st.lists(TEXT, min_size=1, max_size=6),
    st.lists(st.one_of(st.none(), TEXT), max_size=6),
    st.builds(
        Rule,
        ngram=st.integers(1, 6),
        mask_from=st.one_of(st.none(), st.integers(0, 3)),
        lcs_ratio=st.sampled_from([0.0, 0.4, 0.6, 0.8, 1.0]),
        masked_ratio=st.sampled_from([0.3, 0.7, 1.0]),
        near=st.booleans(),
        denominator=st.sampled_from(["protected", "min", "max"]),
        exact=st.booleans(),
        embedded=st.integers(0, 4),
        paraphrase=st.sampled_from([0.2, 1.0]),
    ),
)
def test_hits_equal_those_of_the_plain_definition(known, texts, rule):
    index = Index(protected(*known), rule)
    assert hit_set(index, [*texts, *known]) == all_hits([*texts, *known], index.protected["text"].to_pylist(), rule)


NAMES, NOUNS = ["Ann", "Bo", "Kim", "Zoë", "李明"], ["apples", "boxes", "coins", "苹果", "tickets"]


def generated(rng: random.Random) -> str:
    """A word problem, a formula or a Chinese sentence, of few enough parts for texts to share runs."""
    name, noun = rng.choice(NAMES), rng.choice(NOUNS)
    sentences = [
        f"{name} has {rng.randint(2, 40)} {noun} and buys {rng.randint(2, 9)} more {noun} every day.",
        f"How many {noun} does {name} have after {rng.randint(2, 9)} days?",
        rf"Compute $\frac{{{rng.randint(1, 9)}}}{{x+{rng.randint(1, 9)}}} \leq \left({rng.choice('abc')}\right)$.",
        f"{name}有{rng.randint(2, 40)}个{noun}，又买了{rng.randint(2, 9)}个，现在有多少个？",
        f"The price of each of the {noun} is ${rng.randint(1, 20)}.",
        f"Find {rng.choice('xyz')}.",
    ]
    return " ".join(rng.sample(sentences, rng.randint(1, 4)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule", [dataclasses.replace(STRICT, ngram=9), dataclasses.replace(LOOSE, ngram=6, embedded=3, lcs_ratio=0.7, paraphrase=0.4)]
)
def test_hits_on_twenty_thousand_texts_equal_those_of_the_plain_definition(rule):
    rng = random.Random(5)
    index = Index(protected(*{generated(rng) for _ in range(30)}), rule)
    texts = [generated(rng) for _ in range(20_000)]
    expected = all_hits(texts, index.protected["text"].to_pylist(), rule)
    assert min(Counter(name for _, _, name, _ in expected).values()) > 100
    assert hit_set(index, texts) == expected


LONG = "A farmer plants 12 rows of cabbages and 7 rows of carrots, with 30 plants in every row; how many plants are there?"


def fires(rule: Rule, text: str, known: str = LONG) -> list[str]:
    hits = Index(protected(known), rule).check(pa.array([text])).best()
    return [RULES[k] for k in hits.rules]


def test_a_long_copy_is_found_by_a_shared_run_and_the_common_subsequence():
    assert fires(STRICT, LONG.upper().replace(",", " -")) == ["ngram_lcs"]


def test_a_shared_phrase_alone_is_no_hit():
    assert fires(STRICT, "Nine bees visit the field. With 30 plants in every row it is a large one.") == []


def test_changed_numbers_hide_a_copy_from_plain_ngrams_but_not_from_masked_ones():
    changed = "A farmer plants 5 rows of 6 cabbages"
    known = "A farmer plants 12 rows of 7 cabbages"
    assert fires(STRICT, changed, known) == []
    assert fires(LOOSE, changed, known) == ["ngram_lcs"]


def test_a_copy_inside_a_long_text_counts_by_the_protected_length_and_not_by_the_longer_one():
    text = "Here is something else altogether. " * 5 + LONG
    assert fires(STRICT, text) == ["ngram_lcs"]
    assert fires(dataclasses.replace(STRICT, denominator="max"), text) == []


def test_a_ratio_of_exactly_the_threshold_is_no_hit():
    rule = dataclasses.replace(STRICT, ngram=2, lcs_ratio=0.5)
    assert fires(rule, "a b", "a b c d") == []
    assert fires(dataclasses.replace(rule, lcs_ratio=0.49), "a b", "a b c d") == ["ngram_lcs"]


def test_short_texts_are_found_equal_or_whole_inside_a_longer_one():
    assert fires(STRICT, "Find x.", "find $x$") == []
    assert fires(LOOSE, "Find x.", "find $x$") == ["exact"]
    assert fires(LOOSE, "Now find x please", "find $x$") == ["embedded"]
    assert fires(dataclasses.replace(LOOSE, embedded=3), "Now find x please", "find $x$") == []


def test_a_run_does_not_reach_from_one_text_into_the_next():
    rule = dataclasses.replace(STRICT, ngram=2, lcs_ratio=0.0)
    index = Index(protected("alpha beta"), rule)
    assert len(index.check(pa.array(["x alpha", "beta y"])).rows) == 0


def test_texts_without_tokens_never_hit_each_other():
    assert fires(LOOSE, "", "?!") == []
    assert fires(LOOSE, "...", "?!") == []


def test_the_best_hit_of_a_row_is_the_strongest_rule_then_the_highest_ratio():
    index = Index(protected("one two three four five six", "one two three four", "one two"), LOOSE)
    best = index.check(pa.array(["one two three four", "one two three four five seven", "nothing"])).best()
    assert best.rows.tolist() == [0, 1]
    assert [RULES[k] for k in best.rules] == ["exact", "embedded"]


def test_runs_that_many_protected_texts_share_are_compared_in_slices_with_the_same_hits():
    rule = dataclasses.replace(LOOSE, ngram=3, mask_from=0, lcs_ratio=0.6, near=False)
    index = Index(protected(*(f"there are {n} blue hats in shop number {n * n}" for n in range(300))), rule)
    texts = [f"there are {n} red hats in shop number {n}" for n in range(300)]
    together = hit_set(index, texts)
    assert together == {(row, *hit[1:]) for row, text in enumerate(texts) for hit in hit_set(index, [text])}
    assert len(together) == 300 * 300


def test_the_hit_is_looked_for_around_the_shared_run():
    scattered = "find the " + "filler " * 40 + "of a b c and d e f and two numbers"
    known = "find the sum of a b c and d e f and two numbers"
    rule = dataclasses.replace(STRICT, ngram=2, lcs_ratio=0.95 * 13 / 14)
    assert fires(rule, scattered, known) == ["ngram_lcs"]
    far = "sum " * 3 + "of a " + "filler " * 60 + "b c and d e f"
    assert fires(dataclasses.replace(rule, lcs_ratio=0.5), far, known) == ["ngram_lcs"]
    assert fires(dataclasses.replace(rule, lcs_ratio=0.5, near=True, ngram=4), "of b and e a c d f " * 2, known) == []


def test_chunks_and_string_types_do_not_change_the_hits():
    index = Index(protected(LONG, "Find x."), LOOSE)
    texts = ["Find x.", None, LONG, "é " + LONG, "no"]
    whole = hit_set(index, texts)
    for column in (
        pa.chunked_array([texts[:2], texts[2:]], pa.large_string()),
        pa.chunked_array([pa.array(["skipped", *texts])[1:]]),
        pa.array(texts).dictionary_encode(),
    ):
        assert hit_set(index, column) == whole


def test_an_index_does_not_depend_on_the_order_of_its_texts_and_survives_saving(tmp_path):
    one, other = protected(LONG, "Find x."), protected(LONG, "Find x.").take([1, 0])
    first, second = Index(one, LOOSE), Index(other, LOOSE)
    assert first.digest == second.digest
    first.save(tmp_path / "a.arrow")
    second.save(tmp_path / "b.arrow")
    assert (tmp_path / "a.arrow").read_bytes() == (tmp_path / "b.arrow").read_bytes()
    again = Index.load(tmp_path / "a.arrow")
    assert again.digest == first.digest
    assert hit_set(again, [LONG, "Find x"]) == hit_set(first, [LONG, "Find x"])


def test_an_extended_index_is_the_index_of_all_the_texts():
    both = protected(LONG, "Find x.")
    assert Index(both.slice(0, 1), LOOSE).extended(both).digest == Index(both, LOOSE).digest


def test_another_rule_or_text_gives_another_digest():
    digests = {Index(protected(LONG), LOOSE).digest, Index(protected(LONG), STRICT).digest, Index(protected("Find x."), LOOSE).digest}
    assert len(digests) == 3


def test_an_empty_index_and_an_empty_column_give_no_hits():
    assert len(Index(protected(), LOOSE).check(pa.array(["Find x."])).rows) == 0
    assert len(Index(protected(LONG), LOOSE).check(pa.array([], pa.string())).rows) == 0


def test_a_file_without_a_rule_is_no_index(tmp_path):
    with pa.OSFile(str(tmp_path / "x.arrow"), "wb") as sink, pa.ipc.new_file(sink, protected(LONG).schema) as writer:
        writer.write_table(protected(LONG))
    with pytest.raises(ValueError, match="no contamination index"):
        Index.load(tmp_path / "x.arrow")


def test_ratios_are_shares_of_the_protected_text():
    hits = Index(protected("a b c d"), dataclasses.replace(STRICT, ngram=2, lcs_ratio=0.1)).check(pa.array(["a b x d"]))
    assert np.allclose(hits.ratios, [0.75])


ROBE = (
    "Grandma knits 14 scarves and sells each of them for $6 at the winter fair, after she paid 25 dollars for the wool. What is her profit?"
)
RETOLD = "At a fair in winter, wool for 25 dollars is turned into fourteen scarves by a grandma who asks $6 apiece. How much does she gain?"
OTHERS = [
    "A train of 14 coaches leaves at 6 and has 25 seats in each. How many people can sit?",
    "Wool comes in balls of 25 grams. How many balls are in 6 kilos?",
    "The winter fair has 300 guests, 120 of them children. What share is grown up?",
]
TELLS = dataclasses.replace(STRICT, ngram=9, paraphrase=0.5)


def test_a_question_told_in_other_words_with_the_same_numbers_is_a_paraphrase():
    index = Index(protected(ROBE, *OTHERS), TELLS)
    assert {(t, name) for _, t, name, _ in hit_set(index, [RETOLD])} == {(index.protected["text"].to_pylist().index(ROBE), "paraphrase")}
    assert hit_set(Index(protected(ROBE, *OTHERS), dataclasses.replace(TELLS, paraphrase=1.0)), [RETOLD]) == set()


def test_the_same_story_with_other_numbers_and_other_stories_with_the_same_numbers_are_no_paraphrases():
    index = Index(protected(ROBE, *OTHERS), TELLS)
    other_numbers = RETOLD.replace("25", "31").replace("fourteen", "nine").replace("$6", "$8")
    other_story = "A ladder with 14 rungs stands 6 feet from a wall. It leans at 25 degrees. How high does it reach?"
    assert hit_set(index, [other_numbers, other_story]) == set()


def test_a_number_that_only_one_side_tells_does_not_hide_a_paraphrase():
    index = Index(protected(ROBE, *OTHERS), dataclasses.replace(TELLS, paraphrase=0.4))
    assert {name for _, _, name, _ in hit_set(index, ["Since 1999: " + RETOLD])} == {"paraphrase"}


def spans(rule: Rule, text: str, *known: str) -> list[str]:
    """The characters of each best hit."""
    best = Index(protected(*known), rule).check(pa.array([text])).best()
    places = zip(best.starts.tolist(), best.stops.tolist(), strict=True)
    return [text[start:end] for start, end in (in_original(text, *place) for place in places)]


def test_a_hit_says_where_in_the_text_it_is():
    before, after = "As was asked in class (２ｎｄ ﬁfth): ", " I have no idea."
    assert spans(STRICT, before + LONG + after, LONG) == [LONG.rstrip("?")]
    assert spans(LOOSE, "Now ﬁnd x, please", "find $x$") == ["ﬁnd x"]
    assert spans(LOOSE, "¿Find x?", "find $x$") == ["Find x"]
    assert spans(TELLS, RETOLD, ROBE, *OTHERS) == [RETOLD.rstrip("?")]
    changed = "Well: a farmer plants 5 rows of 6 cabbages today"
    assert spans(LOOSE, changed, "A farmer plants 12 rows of 7 cabbages") == ["a farmer plants 5 rows of 6 cabbages"]


def test_an_index_saved_before_there_were_paraphrases_does_not_look_for_them(tmp_path):
    table = protected(ROBE).replace_schema_metadata(
        {"mathmill.rule": json.dumps({k: v for k, v in dataclasses.asdict(TELLS).items() if k != "paraphrase"})}
    )
    with pa.OSFile(str(tmp_path / "old.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    assert Index.load(tmp_path / "old.arrow").rule.paraphrase == 1
