"""The certificate says what was checked, how, what was found, and how well the rule finds."""

import json

import pyarrow as pa
import pytest

from storage.schemas import Example, Problem, Protected, to_table
from tasks.certificate import certify
from tasks.contamination import ContaminationConfig
from tasks.maths.planting import KINDS, near_misses, plant

SECRETS = [
    "A farmer plants 12 rows of cabbages and 7 rows of carrots, with 30 plants in every row; how many plants are there?",
    r"Let $x$ be a number with $\frac{x+3}{5} \le 7$ and $x^2 = 16$. Find the sum of all possible values of $(x-1)^2$.",
    "Oskar buys 5 notebooks and then sells 3 of them to Lena for 4 coins each. What is the total that Oskar has left of his 40 coins?",
    "某工厂一共有36个工人，平均每天生产12个零件，工作5天，求他们一共生产多少个零件？",
    "Evaluate $2^{10} - 3$.",
    "Two bells ring together at noon, one rings every twelve minutes and the other every eighteen. When do they ring together again?",
]


def protected(*texts: str) -> pa.Table:
    return to_table([Protected(f"p{i}", "bench", str(i), text) for i, text in enumerate(texts)], Protected)


def examples(*pairs: tuple[str, str]) -> pa.Table:
    return to_table([Example(f"e{i}", f"q{i}", f"s{i}", problem, completion) for i, (problem, completion) in enumerate(pairs)], Example)


CLEAN = ("Kim folds paper boats, four in a minute. How long for nine dozen?", "She needs 27 minutes.")


def test_a_clean_set_is_certified_without_hits():
    certificate = certify(examples(CLEAN), "v1", protected(*SECRETS))
    assert (certificate["version_digest"], certificate["rows"], certificate["hits"]) == ("v1", 1, [])
    assert certificate["columns"] == ["problem", "completion"]
    assert [(b["name"], b["texts"]) for b in certificate["benchmarks"]] == [("bench", 6)]


def test_a_leak_in_either_column_is_listed_with_its_source():
    table = examples(CLEAN, (SECRETS[0], "510"), (CLEAN[0], f"It is known: {SECRETS[1]}"))
    hits = certify(table, "v1", protected(*SECRETS))["hits"]
    assert [(h["row"], h["column"], h["benchmark"], h["item"], h["rule"]) for h in hits] == [
        ("e1", "problem", "bench", "0", "exact"),
        ("e2", "completion", "bench", "1", "ngram_lcs"),
    ]


def test_the_same_rows_and_texts_give_the_same_json_whatever_their_order():
    table = examples(CLEAN, (SECRETS[0], "510"))
    first = certify(table, "v1", protected(*SECRETS))
    second = certify(table, "v1", protected(*SECRETS).take([5, 4, 3, 2, 1, 0]))
    assert json.dumps(first, allow_nan=False) == json.dumps(second)
    assert certify(table, "v1", protected(*SECRETS[:-1]))["index_digest"] != first["index_digest"]


def test_the_rule_that_was_asked_for_is_the_one_that_is_applied_and_recorded():
    table = examples((SECRETS[4], "1021"))
    assert len(certify(table, "v1", protected(*SECRETS))["hits"]) == 1
    published = certify(table, "v1", protected(*SECRETS), ContaminationConfig(preset="published"))
    assert (published["rule"]["ngram"], published["hits"]) == (13, [])


def test_recall_is_measured_on_disguised_copies_of_the_protected_texts():
    measured = certify(examples(CLEAN), "v1", protected(*SECRETS))["planted_recall"]
    assert set(measured["kinds"]) == set(KINDS)
    assert measured["kinds"]["verbatim"] == {"planted": 6, "found": 6}
    assert measured["recall"] > 0.8
    assert measured["precision"] > 0.9
    strict = ContaminationConfig(preset="published", ngram=60)
    blind = certify(examples(CLEAN), "v1", protected(*SECRETS), strict)["planted_recall"]
    assert (blind["recall"], blind["precision"]) == (0, None)


def test_the_floor_is_in_the_certificate_and_decides_no_mark():
    config = ContaminationConfig(recall_floor=0.25)
    assert certify(examples(CLEAN), "v1", protected(*SECRETS), config)["recall_floor"] == 0.25
    assert certify(examples(CLEAN), "v1", protected(*SECRETS))["recall_floor"] == 0.9
    assert config.identity() == ContaminationConfig().identity()


def test_held_out_problems_are_certified_against_too():
    held_out = to_table([Problem("h1", "held out", None, SECRETS[0], "570", "integer", True)], Problem)
    certificate = certify(examples((SECRETS[0], "570")), "v1", held_out)
    assert [(h["benchmark"], h["item"]) for h in certificate["hits"]] == [("held out", "h1")]


def test_nothing_protected_leaves_recall_unmeasured():
    assert certify(examples(CLEAN), "v1", protected())["planted_recall"] is None


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no column 'solution' to check"):
        certify(examples(CLEAN), "v1", protected(*SECRETS), columns=("solution",))


def test_every_disguise_changes_the_texts_that_it_is_planted_with():
    planted = plant(SECRETS, per_kind=5, seed=1)
    assert planted == plant(SECRETS, per_kind=5, seed=1)
    assert {kind for kind, _ in planted} == set(KINDS)
    assert all(copy not in SECRETS for kind, copy in planted if kind != "verbatim")
    assert len([kind for kind, _ in planted if kind == "Chinese spaced"]) == 1


def test_near_misses_are_made_of_three_texts_and_repeat_none():
    for text in near_misses(SECRETS, 20, seed=1):
        assert all(secret not in text for secret in SECRETS)
    assert near_misses(SECRETS[:2], 20, seed=1) == []
