"""Gold audit: what makes a reference answer suspect, how suspects are ranked, and that every problem is accounted for."""

import random
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.schemas import Problem, Rollout, Suspect, Verdict, to_table
from tasks.audit import AuditConfig, audit
from tasks.maths.asked import type_clash
from tasks.runner import Inputs, run_stage
from tasks.stage import Made, Rejected
from tasks.verify import VerifyConfig, verify

AGREE = "replies agree on another answer"
INVERTED = "a weaker source is right where all stronger ones agree on another answer"
UNSETTLED = "the verifier cannot settle what replies agree on"
COUNT = "asks how many, the answer is no count"
CLEAN = "no sign of a wrong gold"


def problem(key: str, gold: str | None = "7", text: str = "What do they pay in all?") -> Problem:
    return Problem(key, "ours", None, text, gold, "none" if gold is None else "integer", True)


def replies(row: Problem, answers: Sequence[str | None], cut: Sequence[int] = ()) -> tuple[list[Rollout], list[Verdict]]:
    """Replies with these answers, in the order of their numbers, judged by the verify stage; `cut` were cut off."""
    texts = ["no idea" if a is None else rf"\boxed{{{a}}}" for a in answers]
    rollouts = [Rollout(f"{row.id}{i}", row.id, i, t, "length" if i in cut else "stop", 3, None) for i, t in enumerate(texts)]
    verdicts = [verify(r, row, VerifyConfig()) for r in rollouts]
    return rollouts, [v for v in verdicts if isinstance(v, Verdict)]


def run(pairs: Sequence[tuple[Problem, Sequence[str | None]]], config: AuditConfig | None = None):
    """(suspects in order of rank, rejection by problem id), through the runner, which checks that all rows are accounted for."""
    made = [replies(p, answers) for p, answers in pairs]
    tables: dict[str, pa.Table] = {
        "problems": to_table([p for p, _ in pairs], Problem),
        "rollouts": to_table([r for rollouts, _ in made for r in rollouts], Rollout),
        "verdicts": to_table([v for _, verdicts in made for v in verdicts], Verdict),
    }
    outcome = run_stage(audit, config or AuditConfig(), Inputs(tables=tables))
    suspects = sorted((Suspect(**row) for row in outcome.rows.to_pylist()), key=lambda s: s.rank)
    return suspects, {row["id"]: row["reason"] for row in outcome.dropped.to_pylist()}


def run_one(answers: Sequence[str | None], gold: str | None = "7", text: str = "What do they pay in all?"):
    suspects, rejected = run([(problem("p", gold, text), answers)])
    return suspects[0] if suspects else rejected["p"]


@pytest.mark.parametrize(
    ("answers", "majority", "votes"),
    [
        (["8", "8"], "8", (2, 0, 2)),
        (["8", "8", "8", "7"], "8", (3, 1, 4)),
        (["8", "9", "9", None], "9", (2, 0, 4)),
        (["1/2", "0.5", "3"], "0.5", (2, 0, 3)),
    ],
)
def test_replies_that_share_another_answer_make_a_suspect(answers, majority, votes):
    found = run_one(answers)
    assert (found.majority, (found.majority_votes, found.gold_votes, found.n_replies)) == (majority, votes)
    assert (found.gold, found.reasons, found.rank) == ("7", [AGREE], 1)


@pytest.mark.parametrize(
    ("answers", "gold", "reason"),
    [
        (["8", "9", "10", None], "7", CLEAN),
        (["8", "8", "7", "7"], "7", CLEAN),
        (["7", "7", "7", "8"], "7", CLEAN),
        ([None, None], "7", CLEAN),
        (["8"], "7", "too few replies"),
        ([], "7", "too few replies"),
        (["8", "8"], None, "no reference answer"),
        (["8", "8"], " ", "no reference answer"),
    ],
)
def test_without_a_sign_a_problem_is_rejected_with_the_reason(answers, gold, reason):
    assert run_one(answers, gold) == reason


def test_more_agreement_ranks_higher_and_equal_scores_are_ordered_by_id():
    rows = [
        (problem("d"), ["8", "8", "7", "9"]),
        (problem("c"), ["8", "8", "8", "9"]),
        (problem("b"), ["8", "8", "8", "8"]),
        (problem("a"), ["5", "5", "5", "9"]),
    ]
    suspects, _ = run(rows)
    assert [s.problem_id for s in suspects] == ["b", "a", "c", "d"]
    assert [s.rank for s in suspects] == [1, 2, 3, 4]


def test_four_of_four_say_more_than_two_of_two():
    suspects, _ = run([(problem("a"), ["8", "8"]), (problem("b"), ["8"] * 4)])
    assert [s.problem_id for s in suspects] == ["b", "a"]
    assert suspects[0].score > suspects[1].score


def test_a_verdict_that_cannot_be_settled_weighs_half_and_is_its_own_reason():
    words = "14 minus the age of John"
    unsettled, wrong = run_one([words, words, words, "9"]), run_one(["8", "8", "8", "9"])
    assert unsettled.reasons == [UNSETTLED]
    assert unsettled.majority == words
    assert 0 < unsettled.score < wrong.score


def test_cut_off_replies_are_no_votes():
    row = problem("p")
    rollouts, verdicts = replies(row, ["8", "8", "8"], cut=[0, 1])
    assert list(audit([row], verdicts, rollouts, AuditConfig())) == [Rejected("too few replies", "1, need 2", of="p")]


def known_sources() -> list[tuple[Problem, Sequence[str | None]]]:
    """Forty problems: source 0 is right once, source 1 half the time, source 2 but for four, source 3 always; no two agree wrongly."""

    def said(source: int, i: int, right: bool) -> str:
        return "7" if right else str(1000 * (source + 1) + i)

    return [(problem(f"k{i:02}"), [said(s, i, right) for s, right in enumerate((i == 0, i % 2 == 0, i >= 4, True))]) for i in range(40)]


def test_a_weak_reply_that_is_right_against_all_stronger_ones_is_an_inversion():
    rows = [*known_sources(), (problem("p"), ["7", "8", "8", "8"]), (problem("q"), ["8", "8", "8", "7"])]
    suspects, rejected = run(rows, AuditConfig(sources=True))
    [found] = [s for s in suspects if s.problem_id == "p"]
    assert found.reasons == [AGREE, INVERTED]
    assert rejected["q"] == CLEAN  # three weaker sources against the strongest
    assert [s.reasons for s in run(rows)[0] if s.problem_id == "p"] == [[AGREE]]  # draws of one solver have no order


def test_the_votes_of_better_sources_weigh_more():
    rows = [*known_sources(), (problem("p"), ["5", "6", "8", "8"]), (problem("q"), ["8", "8", "5", "6"])]
    suspects, _ = run(rows, AuditConfig(sources=True))
    assert [s.problem_id for s in suspects[:1]] == ["p"]
    assert "q" in {s.problem_id for s in suspects}


def test_a_trusted_source_may_speak_alone_where_the_config_says_so():
    rows = [(problem(f"k{i}"), ["7"]) for i in range(20)] + [(problem("p"), ["8"])]
    suspects, rejected = run(rows, AuditConfig(sources=True, min_replies=1, min_votes=1))
    assert [s.problem_id for s in suspects] == ["p"]
    assert suspects[0].score > 0.8
    assert set(rejected.values()) == {CLEAN}
    assert run(rows)[1]["p"] == "too few replies"


@pytest.mark.parametrize(
    ("question", "gold", "clash"),
    [
        ("How many apples are left?", "2.5", COUNT),
        ("How many apples are left?", "-3", COUNT),
        ("How many more children came?", "1/2", COUNT),
        ("How many apples are left?", "12", None),
        ("How many apples are left?", "12.0", None),
        ("How many hours did it take?", "2.5", None),
        ("How many cups of flour?", r"\frac{1}{2}", None),
        ("How many apples are left?", "x+1", None),
        ("How many eggs are there? What does one cost?", "0.3", None),
        ("He asks how many. What percentage of them is red?", "20 dollars", "asks for a percentage, the answer has another unit"),
        ("What percentage of them is red?", "20", None),
        ("What percent is red?", "20%", None),
        ("What is the probability that both are red?", "3/2", "asks for a probability, the answer is not from 0 to 1"),
        ("What is the probability that both are red?", "30%", None),
        ("What is the probability, in percent, that both are red?", "30", None),
        ("What is the probability that both are red? Write it as m/n and find m + n.", "13", None),
        ("What fraction of the cake is left?", "3", "asks for a fraction of a whole, the answer is not from 0 to 1"),
        ("What fraction of the cake is left?", "1/3", None),
        ("Find x.", "-3.5", None),
        ("", "", None),
    ],
)
def test_the_answer_must_be_of_the_kind_asked_for(question, gold, clash):
    assert type_clash(question, gold) == clash


def test_a_clash_of_kinds_needs_no_replies_and_adds_to_votes():
    alone = run_one([], "2.5", "How many apples?")
    both = run_one(["3", "3"], "2.5", "How many apples?")
    votes = run_one(["3", "3"], "2.5")
    assert (alone.reasons, alone.majority, alone.n_replies) == ([COUNT], None, 0)
    assert both.reasons == [AGREE, COUNT]
    assert alone.score < votes.score < both.score < 1


def test_a_verdict_of_unknown_replies_names_both_and_the_way_out():
    row = problem("p")
    _, verdicts = replies(row, ["8"])
    with pytest.raises(ValueError, match=r"rollout p0 is not among the 0 given: use versions made together"):
        list(audit([row], verdicts, [], AuditConfig()))


ANSWERS = st.lists(st.sampled_from(["7", "8", "9", "7.0", "14/2", "a few", None]), max_size=6)
QUESTIONS = st.sampled_from(["How many apples?", "What is the sum?"])
SETS = st.lists(st.tuples(ANSWERS, QUESTIONS, st.sampled_from(["7", "2.5", "8"])), max_size=6)


def judged(rows: list[tuple[list[str | None], str, str]]) -> tuple[list[Problem], list[Verdict], list[Rollout]]:
    problems = [problem(f"p{i}", gold, text) for i, (_, text, gold) in enumerate(rows)]
    made = [replies(p, answers) for p, (answers, _, _) in zip(problems, rows, strict=True)]
    return problems, [v for _, verdicts in made for v in verdicts], [r for rollouts, _ in made for r in rollouts]


@given(SETS, st.booleans(), st.integers(1, 3), st.integers(1, 3))
@settings(deadline=None, max_examples=50)
def test_scores_are_from_0_to_1_in_order_of_rank_and_every_problem_is_accounted_for(rows, sources, min_replies, min_votes):
    problems, verdicts, rollouts = judged(rows)
    config = AuditConfig(sources=sources, min_replies=min_replies, min_votes=min_votes)
    made = list(audit(problems, verdicts, rollouts, config))
    queue = [item.rows for item in made if isinstance(item, Made)]
    scores = [s.score for s in queue]
    assert all(0 < s <= 1 for s in scores)
    assert scores == sorted(scores, reverse=True)
    assert [s.rank for s in queue] == list(range(1, len(queue) + 1))
    assert all(s.reasons and s.majority_votes + s.gold_votes <= s.n_replies for s in queue)
    assert sorted(item.of[0] if isinstance(item, Made) else item.of for item in made) == sorted(p.id for p in problems)


@given(SETS, st.integers(1, 6), st.booleans())
@settings(deadline=None, max_examples=50)
def test_a_gold_that_all_replies_agree_with_is_never_suspect(rows, n, sources):
    problems, verdicts, rollouts = judged([(["7"] * n, "How many apples?", "7"), (["2.5"] * n, "How many apples?", "2.5"), *rows])
    made = audit(problems, verdicts, rollouts, AuditConfig(sources=sources, min_replies=1))
    assert not {"p0", "p1"} & {item.rows.problem_id for item in made if isinstance(item, Made)}


@given(SETS, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_the_order_of_rows_changes_nothing_and_the_order_of_replies_nothing_where_they_are_of_one_solver(rows, rng: random.Random):
    def audited(given, config: AuditConfig, shuffled: bool) -> list[Made[Suspect]]:
        parts = [list(part) for part in judged(given)]
        if shuffled:
            for part in parts:
                rng.shuffle(part)
        return [item for item in audit(*parts, config) if isinstance(item, Made)]  # type: ignore[arg-type]

    for config in (AuditConfig(sources=True), AuditConfig()):
        assert audited(rows, config, False) == audited(rows, config, True)
    turned = [(rng.sample(answers, len(answers)), text, gold) for answers, text, gold in rows]
    assert audited(rows, AuditConfig(), False) == audited(turned, AuditConfig(), False)
