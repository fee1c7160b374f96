"""Verdicts of judges are read strictly: what is in doubt is unknown, never perfect."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.maths.judgement import CRITERIA, read_judgement, read_ratings, read_verdict, rule

RATINGS = ("perfect", "acceptable", "bad")


def reply(verdict: str, *ratings: str) -> str:
    given = ratings or ("Perfect",) * 5
    lines = [f"{name}: for a reason. Rating: {rating}" for name, rating in zip(CRITERIA, given, strict=True)]
    return "\n".join([*lines, f"Final Judgement: {verdict}"])


@pytest.mark.parametrize(
    "verdict",
    [
        "not perfect",
        "imperfect",
        "acceptable (not perfect)",
        "bad. to be perfect it needs a question",
        "perfect?",
        "perfect, nearly",
        "perfect or acceptable",
        "<perfect|acceptable|bad>",
        "good",
        "",
    ],
)
def test_what_the_published_parser_takes_for_perfect_is_not(verdict):
    judged = read_judgement(reply(verdict), "perfect")
    assert (judged.verdict, judged.why) == ("unknown", "no clear verdict")


@pytest.mark.parametrize("text", ["perfect", "Perfect.", "**Perfect**", "`perfect`", '"Perfect"', "\nperfect\n\n"])
def test_one_whole_word_is_a_verdict_however_it_is_dressed(text):
    assert read_verdict(f"Final Judgement: {text}") == "perfect"


@pytest.mark.parametrize(
    "text",
    [
        "It is perfect.",
        "Final Judgement: perfect\nOn second thought it is bad.",
        "Final Judgement: bad\nFinal Judgement: perfect",
        "Final Judgement: perfect or what?\nFinal Judgement: perfect",
        "perfect\nFinal Judgement:",
    ],
)
def test_a_verdict_that_is_not_the_last_line_or_not_the_only_one_is_none(text):
    assert read_verdict(text) is None


def test_american_spelling_and_repeated_verdicts_that_agree_are_read():
    assert read_verdict("Final Judgment: Bad\nso\n**Final Judgement**: bad") == "bad"


def test_a_reply_that_was_cut_off_is_unknown_whatever_it_contains():
    judged = read_judgement(reply("perfect"), "perfect", cut_off=True)
    assert (judged.verdict, judged.why) == ("unknown", "cut off")


@pytest.mark.parametrize("ratings", list(itertools.product(RATINGS, repeat=5)))
def test_the_verdict_follows_from_the_ratings(ratings):
    fact, solvable = ratings[1], ratings[4]
    others = [ratings[0], ratings[2], ratings[3]]
    if "bad" in ratings:
        expected = "bad"
    elif fact == solvable == "perfect" and others.count("perfect") >= 2:
        expected = "perfect"
    else:
        expected = "acceptable"
    assert rule(dict(zip(CRITERIA, ratings, strict=True))) == expected
    assert read_judgement(reply(expected, *ratings), ratings[0]).verdict == expected


@given(st.tuples(*[st.sampled_from(RATINGS)] * 5), st.sampled_from(RATINGS), st.sampled_from(RATINGS))
def test_perfect_needs_both_the_verdict_and_the_ratings(ratings, stated, format_rating):
    judged = read_judgement(reply(stated, *ratings), format_rating)
    if judged.verdict == "perfect":
        assert "bad" not in ratings[1:] and format_rating != "bad"
        assert stated == "perfect" or ratings[0] != format_rating
    assert judged.ratings["FORMAT"] == format_rating


@pytest.mark.parametrize(
    ("stated", "own_format", "format_rating", "verdict"),
    [
        ("perfect", "Perfect", "bad", "bad"),
        ("bad", "Bad", "perfect", "perfect"),
        ("acceptable", "Bad", "perfect", "acceptable"),
        ("perfect", "Bad", "perfect", "perfect"),
    ],
)
def test_format_is_what_the_parser_says_whatever_the_judge_thinks(stated, own_format, format_rating, verdict):
    text = reply(stated, own_format, *["Perfect"] * 4)
    assert read_judgement(text, format_rating).verdict == verdict


def test_a_verdict_that_contradicts_its_ratings_is_not_believed_and_says_so():
    judged = read_judgement(reply("perfect", "Perfect", "Bad", "Perfect", "Perfect", "Perfect"), "perfect")
    assert (judged.verdict, judged.why) == ("bad", "stated perfect, rated bad")


def test_perfect_without_all_ratings_is_unknown_and_bad_stays_bad():
    text = "FACTUAL ACCURACY: fine. Rating: Perfect\nFinal Judgement: "
    assert read_judgement(text + "perfect", "perfect").verdict == "unknown"
    assert "SOLVABILITY" in read_judgement(text + "perfect", "perfect").why
    assert read_judgement(text + "acceptable", "perfect").verdict == "acceptable"
    assert read_judgement(text + "bad", "perfect").verdict == "bad"
    assert read_judgement(text.replace("Perfect", "Bad") + "acceptable", "perfect").verdict == "bad"


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("SOLVABILITY: yes. Rating: Perfect", "perfect"),
        ("5. **Solvability**: yes.\n   - **Rating:** Acceptable.", "acceptable"),
        ("### SOLVABILITY: Rating: bad", "bad"),
        ("SOLVABILITY: yes. Rating: not perfect", None),
        ("SOLVABILITY: Rating: Perfect or Bad", None),
        ("SOLVABILITY: Rating: Perfect\nSOLVABILITY: Rating: Bad", None),
        ("SOLVABILITY: perfect", None),
        ("Its solvability: Rating: Perfect", None),
    ],
)
def test_a_rating_is_one_word_behind_its_own_marker(text, rating):
    assert read_ratings(text)["SOLVABILITY"] == rating


@given(st.text())
def test_no_text_breaks_the_reader_and_none_without_the_marker_is_accepted(text):
    judged = read_judgement(text, "perfect")
    assert judged.verdict == "unknown" or "final judg" in text.lower()
