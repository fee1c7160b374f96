"""The reader of a judge's decision: the forms judges write, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.maths.decision import Decision, Unreadable, read_decision

READ = [
    ("Fine.\nFinal Decision:\nStep 1: correct; Step 2: neutral; Step 3: incorrect", 3, ["correct", "neutral", "incorrect"], 3),
    ("Final Decision: Step 1: correct, Step 2: incorrect", 4, ["correct", "incorrect"], 2),
    ("**Final Decision:**\n**Step 1:** correct; **Step 2:** **incorrect**", 2, ["correct", "incorrect"], 2),
    ("### Final Decision\n- Step 1: Correct\n- Step 2: Correct.\n- Step 3: Incorrect", 3, ["correct", "correct", "incorrect"], 3),
    ("Final Decision:\n1 + 1 is fine\nStep 1: correct (adds 3 and 4)\nStep 2: incorrect - it is 12", 5, ["correct", "incorrect"], 2),
    ("final decision: step 1: correct; step 2: correct", 2, ["correct", "correct"], None),
    ("Final Decision\n\n| Step | Label |\n| Step 1 | correct |\n| Step 2 | incorrect |", 2, ["correct", "incorrect"], 2),
    ("Final Decision: Step 1: correct;Step 2: correct;Step 3: incorrect;", 3, ["correct", "correct", "incorrect"], 3),
    ("Final Decision:Step 1:correct;Step 2:incorrect", 3, ["correct", "incorrect"], 2),
    ("Final Decision: Step 1 is correct; Step 2 is incorrect", 3, ["correct", "incorrect"], 2),
    ("Final Decision: Steps 1-2: correct; Step 3: incorrect", 3, ["correct", "correct", "incorrect"], 3),
    ("Final Decision:\r\nStep 1: correct\r\nStep 2: incorrect\r\n", 2, ["correct", "incorrect"], 2),
    ("Final Decision: Step 1: correct; Step 2: incorrect. The error in Step 1: correct sum, wrong use.", 2, ["correct", "incorrect"], 2),
    ("My final decision follows.\nFinal Decision: Step 1: incorrect\nThat is my final decision.", 1, ["incorrect"], 1),
]


@pytest.mark.parametrize(("reply", "n_steps", "labels", "first_wrong"), READ)
def test_a_decision_is_read_in_every_form_that_judges_write(reply, n_steps, labels, first_wrong):
    assert read_decision(reply, n_steps) == Decision(tuple(labels), first_wrong)


REFUSED = [
    ("Step 1: correct; Step 2: incorrect", 2, "no decision"),
    ("", 2, "no decision"),
    ("Final Decision: the second step is wrong", 2, "no decision"),
    ("Final Decision: Step 1: correct; Step 2:", 2, "unknown label"),
    ("Final Decision: Step 1: correct; Step 2: not correct", 2, "unknown label"),
    ("Final Decision: Step 1: correct; Step 2: incorr", 2, "unknown label"),
    ("Final Decision: Step 1: correct", 3, "steps left out"),
    ("Final Decision: Step 1: correct; Step 3: incorrect", 3, "steps left out"),
    ("Final Decision: Step 3: incorrect", 3, "steps left out"),
    ("Final Decision: Step 1: correct; Step 2: correct; Step 3: incorrect", 2, "a step beyond the answer"),
    ("Final Decision: Step 0: incorrect", 2, "a step is labelled twice"),
    ("Final Decision: Step 1: correct; Step 1: incorrect", 2, "a step is labelled twice"),
]


@pytest.mark.parametrize(("reply", "n_steps", "reason"), REFUSED)
def test_what_is_no_decision_is_refused_with_a_countable_reason(reply, n_steps, reason):
    found = read_decision(reply, n_steps)
    assert isinstance(found, Unreadable)
    assert found.reason == reason


NEUTRAL_FIRST = "Final Decision: Step 1: correct; Step 2: neutral; Step 3: incorrect"


def test_a_neutral_step_is_passed_by_default():
    assert read_decision(NEUTRAL_FIRST, 3).first_wrong == 3


def test_a_neutral_step_is_the_error_under_the_published_policy():
    assert read_decision(NEUTRAL_FIRST, 3, neutral="error").first_wrong == 2


labels = st.lists(st.sampled_from(["correct", "neutral"]), max_size=12)
joins = st.sampled_from(["; ", ", ", "\n", "\n- ", ";", " ;\n"])
forms = st.sampled_from(["Step {}: {}", "**Step {}:** {}", "Step {}: **{}**", "step {}: {}", "Step {} - {}", "`Step {}`: {}"])


@given(labels, st.booleans(), joins, forms, st.text(max_size=80))
def test_labels_written_in_any_form_come_back(passed, wrong, join, form, analysis):
    written = [*passed, *(["incorrect"] if wrong else [])]
    if not written:
        return
    block = join.join(form.format(i, label) for i, label in enumerate(written, 1))
    found = read_decision(f"{analysis}\nFinal Decision:\n{block}", len(written))
    assert found == Decision(tuple(written), len(written) if wrong else None)


@given(st.text(alphabet="stepSTEP 123:;,*\ncorectinutralFDdws", max_size=300), st.integers(1, 5))
def test_no_text_breaks_the_reader(noise, n_steps):
    found = read_decision(f"Final Decision: {noise}", n_steps)
    assert isinstance(found, Unreadable) or found.first_wrong is None or 1 <= found.first_wrong <= n_steps


def test_a_hostile_reply_is_read_in_linear_time():
    for filling in ("\n", " ", ";", "Step 1: ", "Final Decision:", "*", "Step 1"):
        assert isinstance(read_decision("Final Decision:" + filling * 100_000, 3), Unreadable)
