"""Rationale and problem between tags; the rationale behind its marker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.maths.tagged import TAGS, Malformed, Tagged, read_rationale, read_tagged, write_tagged

BR, ER, BP, EP = (f"<!-- {tag} -->" for tag in TAGS)
blocks = st.text(min_size=1, max_size=60).map(str.strip).filter(lambda t: t and "<!--" not in t)


@given(blocks, blocks)
def test_what_is_written_is_read_back(rationale, problem):
    assert read_tagged(write_tagged(rationale, problem)) == Tagged(rationale, problem)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{BR}why{BP}what{EP}", Tagged("why", "what", "acceptable")),
        (f"Sure!\n{BR}\nwhy\n{ER}\n{BP}\nwhat\n{EP}", Tagged("why", "what", "acceptable")),
        (f"{BR}why{ER} and so {BP}what{EP}", Tagged("why", "what", "acceptable")),
        (f"{BR}why{ER}{BP}what{EP}\nI hope this helps.", Tagged("why", "what", "acceptable")),
        (f"{BR}why{ER}\n\n{BP} $a<b$ & <b> {EP}\n", Tagged("why", "$a<b$ & <b>")),
        ("<!--BEGIN RATIONALE-->why<!--  END RATIONALE -->\n<!--BEGIN PROBLEM-->what<!--END PROBLEM-->", Tagged("why", "what")),
    ],
)
def test_certain_bounds_are_enough_and_only_the_whole_form_is_perfect(text, expected):
    assert read_tagged(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no BEGIN RATIONALE tag"),
        ("A problem without tags.", "no BEGIN RATIONALE tag"),
        (f"{BP}what{EP}", "no BEGIN RATIONALE tag"),
        (f"{BR}why{ER}what{EP}", "no BEGIN PROBLEM tag"),
        (f"{BR}why{ER}{BP}what", "no END PROBLEM tag"),
        (f"{BR}why{ER}{BP}what{EP}{BP}another{EP}", "a tag is there twice"),
        (f"{BP}what{EP}{BR}why{ER}", "tags out of order"),
        (f"{BR}why{BP}what{ER}{EP}", "tags out of order"),
        (f"{BR} {ER}{BP}what{EP}", "empty rationale"),
        (f"{BR}why{ER}{BP}\n{EP}", "empty problem"),
        (f"{BR}why{ER}<!-- begin problem -->what{EP}", "no BEGIN PROBLEM tag"),
    ],
)
def test_a_malformed_reply_is_refused_with_its_reason(text, reason):
    with pytest.raises(Malformed, match=f"^{reason}$"):
        read_tagged(text)


@given(st.text(), st.lists(st.sampled_from([BR, ER, BP, EP, "why", "what", "\n"]), max_size=10))
def test_any_arrangement_of_tags_is_either_read_or_refused(text, pieces):
    try:
        found = read_tagged(text + "".join(pieces))
    except Malformed:
        return
    assert found.rationale and found.problem
    assert not any(tag in found.rationale + found.problem for tag in (BR, ER, BP, EP))


@pytest.mark.parametrize(
    ("text", "rationale"),
    [
        ("Thinking Process: First a ratio.\nThen a mean.", "First a ratio.\nThen a mean."),
        ("The words are Thinking Process: \n**Thinking Process:** First a ratio.", "First a ratio."),
    ],
)
def test_the_rationale_stands_behind_the_last_marker(text, rationale):
    assert read_rationale(text) == rationale


@pytest.mark.parametrize(
    ("text", "reason"), [("First a ratio.", "no thinking process"), ("Thinking Process: \n", "empty thinking process")]
)
def test_a_reply_without_the_marker_is_no_rationale(text, reason):
    with pytest.raises(Malformed, match=reason):
        read_rationale(text)
