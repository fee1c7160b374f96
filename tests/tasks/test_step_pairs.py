"""Step pairs: what is paired, and every fault of the published pipeline refused with a reason."""

from pathlib import Path

import pytest

from models.train.encode import Tokens
from storage.ids import derived_id
from storage.schemas import Fault, Location, Mark, Problem, Rollout, StepPair, Verdict
from tasks.continuing import to_continue
from tasks.maths.pair_quality import lengths_ratio, plain_step, result, same_result, same_step
from tasks.prompts import load_prompt
from tasks.stage import ModelFolder, Rejected
from tasks.step_pairs import StepPairsConfig, step_pairs

SOLVER = Path(__file__).parents[2] / "models" / "nano" / "solver"
FOLDER = ModelFolder(SOLVER, "nano:solver")
PROBLEM = Problem("a" * 16, "ours", None, "Eva has 3 figs. She gets 4 more, then sells 2. How many figs are left?", "5", "integer", True)
WRONG = "Step 1: Sum 3+4=7\nStep 2: Sum 7+2=9\nAnswer: \\boxed{9}"
RIGHT = "Step 1: Sum 3+4=7\nStep 2: Rest 7-2=5\nAnswer: \\boxed{5}"
CLEAN = [Mark("m", PROBLEM.id, PROBLEM.id, False, None, None, None, None, None)]
HIT = [Mark("m", PROBLEM.id, PROBLEM.id, True, "problem", "exact", "held_out", "7", 1.0)]


def reply(i: int, text: str) -> Rollout:
    return Rollout(f"wrong{i}", PROBLEM.id, i, text, "stop", 20, None)


def fault(step: int = 2, of: int = 0) -> Fault:
    return Fault(f"fault{of}", PROBLEM.id, f"wrong{of}", step, "any_two", [])


def going_on(*texts: str, of: str = "fault0") -> list[Rollout]:
    return [Rollout(f"{of}-{i}", PROBLEM.id, i, text, "stop", 20, f"call{i}", parent_id=of) for i, text in enumerate(texts)]


def verdicts(rollouts: list[Rollout], answer: str = "5") -> list[Verdict]:
    """A reply is right when it ends in the box with the answer."""
    return [
        Verdict(f"v-{r.id}", PROBLEM.id, r.id, "correct" if r.text.endswith(f"\\boxed{{{answer}}}") else "wrong", "x", "exact")
        for r in rollouts
    ]


def made(*texts: str, step: int = 2, wrong: str = WRONG, marks=CLEAN, sampled=None, faults=None, replies=None, problem=PROBLEM, **settings):
    """What becomes of a fault in `wrong` at `step` with these continuations."""
    continued = going_on(*texts)
    given = replies or [reply(0, wrong)]
    config = StepPairsConfig(**settings)
    one = fault(step)
    rows = step_pairs(one, problem, given, continued, verdicts(continued), marks, faults or [one], sampled, FOLDER, config)
    return list(rows)


def reason(rows) -> tuple[str, str]:
    [row] = rows
    assert isinstance(row, Rejected)
    return row.reason, row.detail


def test_a_pair_holds_the_two_steps_their_prefix_and_the_matched_whole_solutions():
    [pair] = made(RIGHT)
    assert pair == StepPair(
        id=derived_id("step_pairs", "fault0", ordinal=0),
        problem_id=PROBLEM.id,
        rollout_id="wrong0",
        fault_id="fault0",
        problem=PROBLEM.problem,
        answer="5",
        step=2,
        prefix="Step 1: Sum 3+4=7\nStep 2:",
        chosen=" Rest 7-2=5\nAnswer: \\boxed{5}",
        rejected=" Sum 7+2=9\nAnswer: \\boxed{9}",
        chosen_ends=True,
        rejected_ends=True,
        full_chosen=RIGHT,
        full_rejected=WRONG,
    )


def test_an_inner_step_ends_before_the_next_header_and_does_not_end_its_solution():
    longer = "Step 1: Sum 3+4=7\nStep 2: Twice 2*2=4\nStep 3: Rest 7-4=3\nAnswer: \\boxed{3}"
    [pair] = made(RIGHT, wrong=longer)
    assert (pair.rejected, pair.rejected_ends, pair.chosen_ends) == (" Twice 2*2=4", False, True)


def test_different_better_steps_give_a_pair_each_up_to_the_limit_those_first_that_most_continuations_took():
    other = RIGHT.replace("Rest 7-2=5", "Left 7 - 2 = 5")
    third = RIGHT.replace("Rest 7-2=5", "So 5 figs: 5*1=5")
    rows = made(third, other, other.replace("Left 7 - 2", "left 7-2"), RIGHT, pairs_per_prefix=2)
    assert [r.chosen.strip().partition("\n")[0] for r in rows] == ["Left 7 - 2 = 5", "So 5 figs: 5*1=5"]
    assert len({r.id for r in rows}) == 2


FLAWED = [
    (RIGHT.replace("Rest 7-2=5", "Add 7+2=9"), "the same result"),
    (RIGHT.replace("Rest 7-2=5", "Rest 8-2=5"), "the better step holds a mistake"),
    ("Step 1: Sum 3+4=7\nStep 2:\nStep 3: Rest 7-2=5\nAnswer: \\boxed{5}", "an empty step"),
]


@pytest.mark.parametrize(("text", "flaw"), FLAWED)
def test_a_flawed_better_step_is_refused_and_the_flaw_is_counted(text, flaw):
    assert reason(made(text)) == ("no better step", f"1 of 1 continuations are right; {flaw}: 1")


@pytest.mark.parametrize("texts", [[WRONG], []])
def test_a_fault_that_no_continuation_mends_is_rejected_and_counted(texts):
    assert reason(made(*texts)) == ("no continuation is right", f"0 of {len(texts)} continuations are right")


def test_a_pair_of_equal_steps_is_never_made():
    """The published merge writes pairs with chosen == rejected. Here the same step led to the answer once of three times: no pair of it."""
    lucky = WRONG.replace("\\boxed{9}", "\\boxed{5}").replace("Sum 7+2=9", "Sum 7 + 2 = 9.")
    inner = "Step 1: Sum 3+4=7\nStep 2: Sum 7+2=9\nStep 3: Rest 9-4=5\nAnswer: \\boxed{5}"
    assert lucky != WRONG
    wrong = "Step 1: Sum 3+4=7\nStep 2: Sum 7+2=9\nStep 3: Sum 9+4=13\nAnswer: \\boxed{13}"
    assert reason(made(inner, wrong, wrong, wrong=wrong)) == ("no better step", "1 of 3 continuations are right; the same step: 1")


def test_a_whole_solution_without_headers_is_not_taken_for_a_step():
    """In the published code a solution whose continuation has no header becomes "the first step"."""
    essay = "Step 1: Sum 3+4=7\nStep 2: " + "We look at what is left and think it over again with care. " * 6 + "\\boxed{5}"
    assert reason(made(essay)) == ("no better step", "1 of 1 continuations are right; lengths differ too much: 1")


def test_a_step_called_wrong_that_mostly_leads_to_the_answer_is_not_rejected_in_a_pair():
    inner = "Step 1: Sum 3+4=7\nStep 2: Rest 7-2=5\nStep 3: So 5*1=5\nAnswer: \\boxed{5}"
    said = reason(made(inner, inner, RIGHT, wrong=inner.replace("5*1=5", "5+1=6").replace("\\boxed{5}", "\\boxed{6}")))
    assert said == ("the wrong step still leads to the answer", "2 of 2 continuations that take it are right")


def test_a_step_that_the_rollouts_locator_found_alive_is_not_rejected_in_a_pair():
    later = Location("l", PROBLEM.id, "wrong0", "rollouts", 3, False, 3, "4/4 after step 2")
    assert reason(made(RIGHT, sampled=[later])) == ("the wrong step still leads to the answer", "4/4 after step 2")
    same = Location("l", PROBLEM.id, "wrong0", "rollouts", 2, False, 3, "0/12 after step 2")
    assert isinstance(made(RIGHT, sampled=[same])[0], StepPair)


def test_two_replies_with_the_same_right_steps_give_their_prefix_pairs_once():
    again = WRONG.replace("Sum 7+2=9", "Sum 7+2=10").replace("9", "10")
    replies, faults = [reply(0, again), reply(1, WRONG)], [fault(), fault(of=1)]
    assert isinstance(made(RIGHT, replies=replies, faults=faults)[0], StepPair)
    continued = going_on(RIGHT, of="fault1")
    rows = step_pairs(faults[1], PROBLEM, replies, continued, verdicts(continued), CLEAN, faults, None, FOLDER, StepPairsConfig())
    assert reason(rows) == ("the prefix has its pairs", "from fault fault0")


def test_continuations_are_joined_by_id_and_not_by_their_text():
    """The published merge looks a continuation's problem up by its text: equal prefixes of two faults mix there."""
    config, one = StepPairsConfig(), fault()
    foreign = going_on(RIGHT, of="another")
    rows = list(step_pairs(one, PROBLEM, [reply(0, WRONG)], foreign, verdicts(foreign), CLEAN, [one], None, FOLDER, config))
    assert reason(rows) == ("no continuation is right", "0 of 0 continuations are right")


def test_a_contaminated_problem_and_one_that_was_not_checked_give_no_pair():
    assert reason(made(RIGHT, marks=HIT)) == ("contaminated", "problem hits held_out item 7 by rule exact")
    assert reason(made(RIGHT, marks=[]))[0] == "not checked"


def test_a_fault_in_a_step_that_the_reply_does_not_have_is_rejected():
    assert reason(made(RIGHT, step=4)) == ("no such step", "step 4 of reply wrong0")


def test_the_prefix_is_the_same_token_ids_before_both_steps_and_before_the_continuations():
    [pair] = made(RIGHT)
    tokens = Tokens(SOLVER)
    asked = to_continue(load_prompt("continue_steps"), PROBLEM.problem, WRONG, 2)
    before = tokens.joined(asked, "")
    assert asked.prefill == pair.prefix and not pair.prefix.endswith(" ")
    for step in (pair.chosen, pair.rejected):
        assert tokens.joined(asked, step)[: len(before)] == before


def test_a_step_that_a_tokenizer_joins_to_its_header_gives_no_pair():
    """`)=` is one token of this tokenizer, so a prefix that ends in `(2)` is not how `(2)= ...` begins."""
    listed = "(1) Sum 3+4=7\n(2)= 7+2=9 so \\boxed{9}"
    continued = "(1) Sum 3+4=7\n(2) Rest 7-2=5 so \\boxed{5}"
    assert reason(made(continued, wrong=listed)) == ("no better step", "1 of 1 continuations are right; other tokens at the boundary: 1")
    assert isinstance(made(continued, wrong=listed.replace("(2)=", "(2) so"))[0], StepPair)


def test_a_reply_without_headers_is_cut_before_the_space_between_its_sentences():
    wrong, right = "We add 3+4=7. Then we add 7+2=9 so \\boxed{9}", "We add 3+4=7. Then we take 7-2=5 so \\boxed{5}"
    [pair] = made(right, wrong=wrong)
    assert (pair.prefix, pair.chosen) == ("We add 3+4=7.", " Then we take 7-2=5 so \\boxed{5}")
    assert pair.prefix + pair.chosen == pair.full_chosen


SAME = [
    (" Rest 7-2=5", "rest 7 - 2 = 5.", True),
    ("**Rest** 7-2=5", "Rest $7-2=5$", True),
    ("Rest 7-2=5", "Rest 7-2=6", False),
    ("3*4=12", "34=12", False),
    ("x_1 = 2", "x1 = 2", False),
    ("1.5+1=2.5", "15+1=2.5", False),
    ("two pens", "twopens", False),
]


@pytest.mark.parametrize(("a", "b", "same"), SAME)
def test_steps_are_the_same_where_no_reader_would_see_a_difference(a, b, same):
    assert same_step(a, b) is same


@pytest.mark.parametrize(
    ("step", "value"),
    [
        ("Sum 3+4=7", 7),
        ("= 3/4", 0.75),
        ("a = 2, b = 1,250.5 km", 1250.5),
        ("x = y", None),
        ("so 7", None),
        ("= 3 + 4", None),
        ("=-2.", -2),
    ],
)
def test_the_result_of_a_step_is_the_number_behind_its_last_equals_sign(step, value):
    assert result(step) == value


def test_two_steps_without_a_result_do_not_have_the_same_one():
    assert not same_result("Let x be it.", "Let y be it.")
    assert same_result("7-2=5", "10/2=5")
    assert lengths_ratio("ab", "abcd") == 2 and lengths_ratio(" ", "a") == float("inf")
    assert plain_step(" A  b ,c. ") == "a b,c"
