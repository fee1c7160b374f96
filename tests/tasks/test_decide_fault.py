"""The decision over locators: policies, abstentions, people, and what waits for them."""

from dataclasses import replace

import pytest

from storage.ids import derived_id
from storage.schemas import Fault, Location, Rollout
from tasks.decide_fault import DecideFaultConfig, decide_fault, review_id
from tasks.stage import Rejected

ROLLOUT = Rollout("r1", "p1", 0, "Step 1: a\nStep 2: b", "stop", 8, None)


def said(locator: str, step: int | str | None) -> list[Location]:
    """One locator's row; `None` for no row, "abstains" and "none" for what they say."""
    if step is None:
        return []
    number = step if isinstance(step, int) else None
    own_id = review_id(ROLLOUT) if locator == "person" else f"{locator}-1"
    return [Location(own_id, "p1", "r1", locator, number, step == "abstains", 5, "")]


def decided(symbolic, judge, rollouts, person=None, **settings):
    rows = [said(name, step) for name, step in (("symbolic", symbolic), ("judge", judge), ("rollouts", rollouts), ("person", person))]
    foreign = Location("x", "p1", "r2", "judge", 4, False, 5, "")
    return decide_fault(ROLLOUT, rows[0], [*rows[1], foreign], rows[2], rows[3], DecideFaultConfig(**settings))


TOO_FEW, DISAGREE, NONE = "too few locators could decide", "locators disagree", "no step is wrong"
CASES = [
    ("any_two", (2, 2, 2), 2),
    ("any_two", (2, 2, 3), 2),
    ("any_two", (3, 2, 3), 3),
    ("any_two", ("abstains", 2, 2), 2),
    ("any_two", (2, None, 2), 2),
    ("any_two", (1, 2, 3), DISAGREE),
    ("any_two", ("abstains", 2, 3), DISAGREE),
    ("any_two", ("none", 2, "abstains"), DISAGREE),
    ("any_two", ("none", "none", 2), NONE),
    ("any_two", ("abstains", 2, None), TOO_FEW),
    ("any_two", (None, None, None), TOO_FEW),
    ("unanimous", (2, 2, 2), 2),
    ("unanimous", (2, 2, 3), DISAGREE),
    ("unanimous", (2, 2, "abstains"), TOO_FEW),
    ("unanimous", (2, 2, None), TOO_FEW),
    ("judge_only", (3, 2, 3), 2),
    ("judge_only", (3, None, 3), TOO_FEW),
    ("judge_only", (3, "none", 3), NONE),
    ("symbolic_only", (3, 2, 2), 3),
    ("symbolic_only", ("abstains", 2, 2), TOO_FEW),
]


@pytest.mark.parametrize(("policy", "votes", "outcome"), CASES)
def test_a_policy_takes_the_step_that_its_locators_agree_on_and_leaves_the_rest(policy, votes, outcome):
    found = decided(*votes, policy=policy)
    assert (found.step if isinstance(found, Fault) else found.reason) == outcome


def test_the_fault_says_who_said_what_and_whose_word_counted():
    assert decided(2, "abstains", 2) == Fault(
        derived_id("decide_fault", "r1"), "p1", "r1", 2, "any_two", ["symbolic 2", "judge abstained", "rollouts 2"]
    )


def test_a_disagreement_is_rejected_with_every_vote():
    assert decided(1, "none", None) == Rejected(DISAGREE, "symbolic 1; judge none; rollouts abstained")


def test_a_person_decides_alone_and_the_votes_are_kept():
    found = decided(1, 1, 1, person=4)
    assert (found.step, found.decided_by) == (4, "person")
    assert found.votes == ["symbolic 1", "judge 1", "rollouts 1", "person 4"]


@pytest.mark.parametrize(("answer", "reason"), [("none", NONE), ("abstains", "a person could not decide")])
def test_a_person_may_find_nothing_or_not_know(answer, reason):
    assert decided(1, 1, 1, person=answer).reason == reason


def test_unanimity_is_over_the_locators_that_are_asked():
    assert decided(2, None, 2, policy="unanimous", locators=["symbolic", "rollouts"]).step == 2


def test_a_person_s_answer_about_another_text_under_the_same_id_does_not_count():
    """Ids do not depend on prompts: after an edit the same rollout number holds another reply."""
    other = replace(ROLLOUT, text="Step 1: a\nStep 2: c")
    assert isinstance(decide_fault(other, said("symbolic", 1), said("person", 2), None, None, DecideFaultConfig()), Rejected)
