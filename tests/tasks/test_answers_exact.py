"""The exact tier: numbers in every usual spelling, and nothing near is equal."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.maths.answers import answer_type_of, verify_answer
from tasks.maths.exact import chinese_number, plain

EQUAL = [
    ("13", "13 dollars"), ("13", "$13"), ("12.50", "$12.5$"), (r"\$32,\!348", "32348"), ("1000", "1,000"), ("10{,}000", "10000"),
    ("1 000", "1000"),
    ("3/2", "1 1/2"), ("3/2", r"1\frac{1}{2}"), ("20/3", r"6\frac23"), ("0.0015", "1.5e-3"), (r"5.784 \times 10^{11}", "578400000000"),
    ("0.5", r"\dfrac{1}{2}"), ("-0.5", r"-\frac{1}{2}"), ("32", "三十二"), ("105", "一百零五"), ("18", "18."), ("18", r"\boxed{18}"), ("18",
    "18.00"),
    ("023", "23"), ("７", "7"), ("90", r"90^\circ"), ("90", "90°"), (r"3 \text{ hours}", "3 hours"), ("5", r"5\mathrm{~m}"), ("5", "5 米"),
    ("-5", "-$5"), ("7", "seven"), ("2.5 million", "2500000"), ("50%", "50"), ("50%", "0.5"), ("9.8", r"9.8 \mathrm{~m}/\mathrm{s}^2"),
]  # fmt: skip
DIFFERENT = [
    ("42", "4200"), ("500", "5"), ("0.05", "5"), ("123456", "123457"), ("100001", "100000"), ("10001", "10000"), ("-8", "8"), ("1/3",
    "0.33"), ("1/3", "0.334"),
    ("2", "2.02"), ("18", "19"), ("3 cm", "3 km"), ("$5", "5 cents"), ("1.8 billion", "1.8"), ("50%", "5000%"), ("1,000", "1001"),
]  # fmt: skip
UNDECIDED = [("1/3", "0.3333"), ("50", "50%"), ("13 apples", "13 oranges"), ("", "5"), ("5", "")]


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_spellings_of_one_number_are_equal_both_ways(a, b):
    assert verify_answer(a, b).verdict == "correct"
    if "%" not in a:
        assert verify_answer(b, a).verdict == "correct"


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_different_numbers_are_wrong_both_ways(a, b):
    assert verify_answer(a, b).verdict == verify_answer(b, a).verdict == "wrong"


@pytest.mark.parametrize(("a", "b"), UNDECIDED)
def test_what_the_texts_do_not_settle_is_unknown_with_a_reason(a, b):
    judgement = verify_answer(a, b)
    assert judgement.verdict == "unknown"
    assert judgement.why


def test_a_percent_sign_counts_as_a_unit_only_where_question_or_reference_speak_of_percent():
    assert verify_answer("50", "50%", question="What percent of them are red?").verdict == "correct"
    assert verify_answer("50", "50%", question="How many are red?").verdict == "unknown"
    assert verify_answer("50", "0.5", question="What percent of them are red?").verdict == "wrong"


numbers = st.fractions(max_denominator=1000, min_value=-(10**6), max_value=10**6)


def _spellings(value: Fraction) -> list[str]:
    sign, n, d = "-" if value < 0 else "", abs(value.numerator), value.denominator
    if d == 1:
        return [f"{sign}{n}", f"{sign}{n:,}", f"{sign}{n}.00", f"${sign}{n}$", f"{sign}{n}.", f"{sign}{n} \\text{{ cm}}", f" {sign}{n} "]
    return [f"{sign}{n}/{d}", f"{sign}\\frac{{{n}}}{{{d}}}", f"{sign}\\dfrac{{{2 * n}}}{{{2 * d}}}", f"${sign}\\tfrac {{{n}}} {{{d}}}$"]


@given(numbers)
def test_every_spelling_of_a_rational_equals_every_other(value):
    forms = _spellings(value)
    assert {verify_answer(a, b).verdict for a in forms for b in forms} == {"correct"}


@given(numbers, st.sampled_from([Fraction(100), Fraction(1, 100), Fraction(101, 100), Fraction(100005, 100000)]))
def test_a_scaled_number_is_never_correct(value, factor):
    if value:
        assert {verify_answer(a, b).verdict for a in _spellings(value) for b in _spellings(value * factor)} <= {"wrong", "unknown"}


@given(st.integers(-(10**15), 10**15), st.sampled_from([-1, 1]))
def test_off_by_one_is_wrong(n, step):
    assert verify_answer(str(n), f"{n + step:,}").verdict == "wrong"


@given(st.text(max_size=60))
def test_any_text_equals_itself(text):
    if text:
        assert verify_answer(text, text).verdict == "correct"


def test_numbers_too_long_to_be_answers_are_not_evaluated():
    assert plain("9" * 5000).value is None
    assert plain("1e999999").value is None
    assert verify_answer("1/3", "0." + "3" * 5000).verdict != "correct"


@pytest.mark.parametrize(
    ("text", "value"), [("十", 10), ("二十", 20), ("一万二千", 12000), ("三亿", 3 * 10**8), ("两百", 200), ("奇函数", None), ("", None)]
)
def test_chinese_numerals(text, value):
    assert chinese_number(text) == value


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("42", "integer"), ("1,000", "integer"), ("3.5", "decimal"), ("1e3", "decimal"), (r"\frac{1}{2}", "fraction"), ("1/2",
        "fraction"), ("B", "choice"),
        ("(C)", "choice"), ("ABD", "choice"), (r"\sqrt{2}", "expression"), ("(1,2)", "expression"), ("", "none"), (None, "none"),
        ("Proof.", "proof"),
    ],
)  # fmt: skip
def test_the_type_of_an_answer(answer, kind):
    assert answer_type_of(answer) == kind
