"""Near-duplicates: clusters against a slow obvious reference, what the order of rows may not change, and the form for plain files."""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rapidfuzz.distance import LCSseq

from storage.ids import derived_id
from storage.schemas import Cluster, Problem, arrow_schema, from_table, to_table
from tasks.dedup import DedupConfig, dedup, find_clusters, mark_file
from tasks.maths.minhash import Scheme, candidates, read
from tasks.maths.normalise import is_number, words
from tasks.runner import Inputs, run_stage

FARM = "A farmer plants 12 rows of cabbages and 7 rows of carrots, with 30 plants in every row; how many plants are there?"
BOATS = "Kim folds paper boats. She folds four in a minute and sells them by the dozen. How long does she work for nine dozen?"
ALWAYS = {"bands": 64, "rows": 1}
"""Finds every pair at the floor, for tests that are about what comes after."""

_SENTENCES = [
    "Ada buys {} pears for the market", "Each crate holds {} bottles of juice", "A train leaves the valley at {} in the morning",
    "The tailor cuts {} metres of blue cloth", "Half of the {} guests drink tea", "Let $x + {} = 2y$ and $y > {}$",
    "How many are left over at the end", "What is the sum of all of them", "Find the area of the larger garden", "求 {} 个苹果的总价",
]  # fmt: skip


def made_texts(count: int, seed: int) -> list[str]:
    """Invented problems, two fifths of them earlier ones with words dropped, numbers changed or sentences moved."""
    rng = random.Random(seed)
    texts: list[str] = []
    for _ in range(count):
        if texts and rng.random() < 0.4:
            texts.append(_disguised(rng.choice(texts), rng))
        else:
            chosen = rng.sample(_SENTENCES, rng.randint(2, 4))
            texts.append(". ".join(s.format(rng.randint(2, 99), rng.randint(2, 9)) for s in chosen) + "?")
    return texts


def _disguised(text: str, rng: random.Random) -> str:
    parts = text.split(" ")
    how = rng.randrange(4)
    if how == 0:
        return text.upper()
    if how == 1:
        return " ".join(p for p in parts if rng.random() > 0.15)
    if how == 2:
        return " ".join(str(rng.randint(2, 99)) if p.isdigit() else p for p in parts)
    return " ".join(parts[len(parts) // 5 :] + parts[: len(parts) // 5])


def similarity(a: str, b: str) -> float:
    return LCSseq.normalized_similarity(words(a), words(b))


def reference_pairs(texts: Sequence[str], config: DedupConfig) -> set[tuple[int, int]]:
    """Every pair that is a duplicate, by comparing all."""
    tokens = [words(text) for text in texts]
    masked = [["#" if is_number(word) else word for word in found] for found in tokens]
    pairs = set()
    for a, b in combinations(range(len(texts)), 2):
        common = LCSseq.similarity(tokens[a], tokens[b])
        if not tokens[a] or not tokens[b] or common / max(len(tokens[a]), len(tokens[b])) < config.ratio:
            continue
        own, other = (Counter(word for word in tokens[k] if is_number(word)) for k in (a, b))
        other_numbers = LCSseq.similarity(masked[a], masked[b]) > common or bool(own - other and other - own)
        if config.numbers == "same" or not other_numbers:
            pairs.add((a, b))
    return pairs


def united(count: int, pairs: set[tuple[int, int]]) -> list[int]:
    """The least member of each one's connected component, by repeated passes."""
    of, before = list(range(count)), None
    while of != before:
        before = list(of)
        for a, b in pairs:
            of[a] = of[b] = min(of[a], of[b])
    return of


def clusters_of(texts: Sequence[str], **given: Any) -> list[int]:
    return find_clusters(pa.array(texts, pa.string()), DedupConfig(**given)).of.tolist()


def problem(name: str, text: str) -> Problem:
    return Problem(name, "mine", None, text, None, "none", True)


def marks(rows: dict[str, str], against: Any = None, **given: Any) -> dict[str, Cluster]:
    problems = to_table([problem(name, text) for name, text in rows.items()], Problem)
    (made,) = dedup(problems, DedupConfig(**given), against)
    assert made.rows.schema.equals(arrow_schema(Cluster), check_metadata=True)
    assert list(made.of) == made.rows["problem_id"].to_pylist()
    return {row.problem_id: row for row in from_table(made.rows, Cluster)}


class Earlier:
    """A dataset in memory."""

    name, spec, digest, files = "mine.problems", "mine.problems@1", "d", ()
    meta: dict[str, Any]

    def __init__(self, rows: dict[str, str]) -> None:
        self.meta = {}
        self._rows = to_table([problem(name, text) for name, text in rows.items()], Problem)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        return self._rows.select(columns) if columns else self._rows


# what is a duplicate


@pytest.mark.parametrize("numbers", ["same", "distinct"])
def test_clusters_equal_those_of_comparing_all_pairs(numbers):
    texts = [*made_texts(300, 1), "", "?!", "7", "7."]
    config = DedupConfig(numbers=numbers, **ALWAYS)
    expected = united(len(texts), reference_pairs(texts, config))
    assert clusters_of(texts, numbers=numbers, **ALWAYS) == expected
    assert 20 < len(set(expected)) < 280


@pytest.mark.parametrize("numbers", ["same", "distinct"])
def test_the_default_bands_find_nine_tenths_and_never_a_false_one(numbers):
    texts = made_texts(400, 2)
    pairs = reference_pairs(texts, DedupConfig(numbers=numbers))
    true, found = united(len(texts), pairs), clusters_of(texts, numbers=numbers)
    kept, wanted = len(set(found)), len(set(true))
    assert 0 <= kept - wanted <= 0.1 * (len(texts) - wanted)
    partners = {number for pair in pairs for number in pair}
    assert all(number in partners for number, first in enumerate(found) if first != number)
    assert all(true[number] == true[first] for number, first in enumerate(found))


def test_ratios_are_those_with_the_representative():
    texts = made_texts(200, 3)
    found = find_clusters(pa.array(texts), DedupConfig(numbers="same"))
    for number, (first, ratio) in enumerate(zip(found.of.tolist(), found.ratios.tolist(), strict=True)):
        assert ratio == pytest.approx(similarity(texts[first], texts[number]) if first != number else 1)


def test_other_numbers_make_another_problem_unless_told_otherwise():
    other = FARM.replace("12", "14").replace("30", "25")
    assert clusters_of([FARM, other, FARM.lower()]) == [0, 1, 0]
    assert clusters_of([FARM, other, FARM.lower()], numbers="same") == [0, 0, 0]


def test_a_problem_asked_backwards_is_another_problem_unless_told_otherwise():
    story = "stamps in his red album. A third of them are blue. Jo has five times as many blue ones."
    forwards, backwards = f"Rob has 24 {story} How many has Jo?", f"Rob has some {story} If Jo has 40, how many has Rob?"
    assert similarity(forwards, backwards) > 0.7
    assert clusters_of([forwards, backwards]) == [0, 1]
    assert clusters_of([forwards, backwards], numbers="same") == [0, 0]


def test_a_lost_number_or_word_is_no_other_number():
    assert clusters_of([FARM, FARM.replace("7 rows of ", ""), FARM.replace(" every", "")]) == [0, 0, 0]


def test_the_floor_is_a_share_of_the_longer_text():
    texts = ["a b c d e f g", "a b c d e f g h i j", "k l m n"]
    assert clusters_of(texts, ratio=0.7, **ALWAYS) == [0, 0, 2]
    assert clusters_of(texts, ratio=0.71, **ALWAYS) == [0, 1, 2]


def test_chains_of_pairs_are_one_cluster():
    step = [" ".join("abcdefghijklmnop"[k : k + 10]) for k in (0, 3, 6)]
    assert similarity(step[0], step[2]) < 0.7
    found = find_clusters(pa.array(step), DedupConfig(**ALWAYS))
    assert found.of.tolist() == [0, 0, 0]
    assert found.ratios.tolist() == [1, 0.7, 0.4]


def test_texts_without_tokens_are_nobodys_duplicates():
    assert clusters_of(["", "", "?", "!!", FARM, FARM]) == [0, 1, 2, 3, 4, 4]
    assert find_clusters(pa.array([None, None], pa.string()), DedupConfig()).of.tolist() == [0, 1]


def test_no_texts_have_no_clusters():
    assert clusters_of([]) == []
    assert marks({}) == {}


def test_a_crowd_of_equal_and_of_similar_texts_is_one_cluster_each():
    similar = [f"{BOATS} Remark of a reader called {a}{b}." for a in "abcdefghij" for b in "klmnopqrst"]
    assert set(clusters_of([FARM] * 3000 + similar)) == {0, 3000}


# what the order may not change

TEXTS = st.lists(st.one_of(st.sampled_from(made_texts(60, 4)), st.text(alphabet="ab 12.é中", max_size=12)), max_size=25)
FEW = settings(max_examples=40, deadline=None)


@FEW
@given(TEXTS, st.randoms(use_true_random=False), st.sampled_from(["same", "distinct"]))
def test_the_order_of_the_rows_changes_nothing(texts, rng, numbers):
    rows = {f"{number:03d}": text for number, text in enumerate(texts)}
    plain = pa.table({"id": pa.array(rows, pa.string()), "text": pa.array(rows.values(), pa.string())})
    order = rng.sample(range(len(texts)), len(texts))
    config = DedupConfig(numbers=numbers)
    shuffled = {row["id"]: row for row in mark_file(plain.take(pa.array(order, pa.int64())), config).to_pylist()}
    assert [shuffled[row["id"]] for row in mark_file(plain, config).to_pylist()] == mark_file(plain, config).to_pylist()


@FEW
@given(TEXTS, st.integers(1, 7))
def test_how_the_column_is_cut_into_chunks_changes_nothing(texts, size):
    whole = pa.array(texts, pa.string())
    cut = pa.chunked_array([whole.slice(start, size) for start in range(0, len(whole), size)], pa.string())
    one, other = (find_clusters(column, DedupConfig()) for column in (whole, cut))
    assert np.array_equal(one.of, other.of) and np.array_equal(one.ratios, other.ratios)


@FEW
@given(TEXTS)
def test_what_is_kept_has_no_exact_copies(texts):
    of = clusters_of(texts)
    kept = [words(text) for number, text in enumerate(texts) if of[number] == number]
    full = [tuple(found) for found in kept if found]
    assert len(set(full)) == len(full)


@FEW
@given(TEXTS, TEXTS)
def test_rows_added_behind_never_part_a_cluster_nor_represent_it(texts, more):
    before, after = clusters_of(texts), clusters_of([*texts, *more])
    for number, first in enumerate(before):
        assert after[number] == after[first] <= first


@FEW
@given(st.lists(st.sampled_from(made_texts(30, 5)), max_size=9), st.sampled_from(["same", "distinct"]))
def test_marking_the_kept_rows_again_keeps_them_all(texts, numbers):
    """Of nine texts all that share a bucket meet; in larger buckets two may meet only once those between them are gone."""
    of = clusters_of(texts, numbers=numbers)
    kept = [text for number, text in enumerate(texts) if of[number] == number]
    assert clusters_of(kept, numbers=numbers) == list(range(len(kept)))


def test_texts_in_large_buckets_meet_the_first_and_their_neighbours():
    scheme = Scheme(shingle=3, bands=1, rows=1, mask_from=None)
    texts = [f"{'same words here ' * 5}{'x ' * number}" for number in range(40)]
    first, second = candidates(read(pa.array(texts), scheme))
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    assert pairs and all(a < b and (b - a <= 8 or a in (0, 1, 2, 3)) for a, b in pairs)


# the stage


def test_every_problem_gets_one_row_and_the_smallest_id_is_kept():
    found = marks({"c": FARM, "b": FARM.upper(), "a": BOATS, "d": f"{FARM} Show your work."})
    assert {k: (row.cluster, row.keep) for k, row in found.items()} == {
        "a": ("a", True), "b": ("b", True), "c": ("b", False), "d": ("b", False),
    }  # fmt: skip
    assert found["b"].ratio is None and found["c"].ratio == 1
    assert found["d"].ratio == pytest.approx(23 / 26)
    assert {row.id for row in found.values()} == {derived_id("dedup", k) for k in "abcd"}


def test_a_shorter_id_comes_first_so_that_line_9_is_before_line_10():
    assert marks({"10": FARM, "9": FARM})["10"].cluster == "9"


def test_rows_of_an_earlier_version_win_whatever_their_ids():
    found = marks({"a": FARM, "b": BOATS, "z": BOATS.upper()}, Earlier({"y": FARM, "z": BOATS, "x": "Gone since."}))
    assert {k: (row.cluster, row.keep) for k, row in found.items()} == {"a": ("y", False), "b": ("z", False), "z": ("z", True)}


def test_a_row_that_is_in_both_versions_is_no_duplicate_of_itself():
    rows = {"a": FARM, "b": BOATS}
    assert all(row.keep and row.ratio is None for row in marks(rows, Earlier(rows)).values())


def test_the_runner_accounts_for_every_problem():
    problems = to_table([problem("a", FARM), problem("b", FARM), problem("c", "")], Problem)
    outcome = run_stage(dedup, DedupConfig(), Inputs(tables={"problems": problems}))
    assert set(outcome.parents) == {"a", "b", "c"} and not len(outcome.dropped)
    assert sorted(row.cluster for row in from_table(outcome.rows, Cluster)) == ["a", "a", "c"]


@pytest.mark.parametrize("wrong", [{"ratio": 1.5}, {"numbers": "masked"}, {"shingle": 0}, {"bands": 0}, {"band": 3}])
def test_a_setting_that_does_not_exist_or_fit_is_refused(wrong):
    with pytest.raises(ValidationError):
        DedupConfig(**wrong)


# plain files


def test_a_plain_file_is_marked_line_by_line_in_order():
    table = pa.table({"id": ["z", "b", "c"], "text": [FARM, BOATS, f"{FARM}!"], "more": [1, 2, 3]})
    assert mark_file(table, DedupConfig()).to_pylist() == [
        {"id": "z", "cluster": "c", "keep": False}, {"id": "b", "cluster": "b", "keep": True}, {"id": "c", "cluster": "c", "keep": True},
    ]  # fmt: skip


def test_what_is_wrong_with_a_plain_file_is_named():
    with pytest.raises(ValueError, match="no column 'text'"):
        mark_file(pa.table({"id": ["a"], "problem": [FARM]}), DedupConfig())
    with pytest.raises(ValueError, match="no column 'id'"):
        mark_file(pa.table({"text": [FARM]}), DedupConfig())
    with pytest.raises(ValueError, match="id 'a' stands 2 times"):
        mark_file(pa.table({"id": ["a", "b", "a"], "text": [FARM, FARM, BOATS]}), DedupConfig())
