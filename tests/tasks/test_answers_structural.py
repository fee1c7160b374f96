"""The structural tier: shapes are compared by what they mean, and by nothing less."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.maths.answers import verify_answer
from tasks.maths.field import MAX_POWER, P, image_of
from tasks.maths.latex import Unparsed, parse
from tasks.maths.numeric import Expression, same
from tasks.maths.structural import compare_answers

EQUAL = [
    ("x+1", "1+x"),
    ("(x+1)^2", "x^2+2x+1"),
    (r"\sqrt{12}", r"2\sqrt3"),
    (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
    (r"\ln 8", r"3\ln 2"),
    (r"\sin^2 x+\cos^2 x", "1"),
    (r"\sqrt{2+\sqrt3}", r"\frac{\sqrt6+\sqrt2}{2}"),
    (r"\sqrt[3]{-8}", "-2"),
    ("-8i", r"$-8\mathrm{i}$"),
    (r"\binom{10}{3}", "120"),
    ("2^{2024}", r"2 \cdot 2^{2023}"),
    ("√27-√3", r"2\sqrt{3}"),
    ("x²+1", "x^2+1"),
    (r"\{1, 2, 3\}", r"\{3, 1, 2\}"),
    ("{2,3,4}", r"\{4,3,2\}"),
    (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}"),
    ("x=-2,6", "x=6,-2"),
    (r"$x=\frac{1}{2}$ or $x=3$", "x=3, x=0.5"),
    ("(45,2),(-10,-9)", "(-10,-9),(45,2)"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac\pi2)"),
    ("x>3", r"(3,\infty)"),
    ("3<m<4", "(3,4)"),
    (r"\{x \mid 1 \le x<2\}", "[1,2)"),
    (r"(-\infty,-2)\cup(1,\infty)", "x<-2 or x>1"),
    (r"x \in [0,1)", "[0,1)"),
    (r"\mathbb{R}", r"(-\infty,\infty)"),
    ("x=5", "5"),
    ("f(x)=x^2", "x^2"),
    ("y=2x+3", "2x-y+3=0"),
    (r"\frac{x^2}{16}+\frac{y^2}{4}=1", "x^2+4y^2=16"),
    ("x=1, y=2", "y=2, x=1"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix} 1 & 2 \\ 3 & \frac{8}{2} \end{bmatrix}"),
    ("1:9", "2:18"),
    (r"\frac{\pi}{3}", r"60^\circ"),
    (r"3\sqrt{2}\text{ cm}", r"3\sqrt2"),
    ("B", "(B)"),
    ("B", r"\text{B. } 5"),
    ("ABD", "A, B, D"),
    ("yes", "Yes."),
]
DIFFERENT = [
    ("[0,1)", "(0,1)"),
    ("(1,2)", "[1,2]"),
    ("(1,2)", "(2,1)"),
    ("-2,-2", "-2"),
    (r"\{1,2,3\}", r"\{1,2\}"),
    (r"\tan(a-b)=-1", r"\tan(a-b)=1"),
    (r"\{x|x\ge1\}", r"\{x|1\le x<2\}"),
    ("-8", r"$-8\mathrm{i}$"),
    ("a+b", "b"),
    ("3x^2", "3x^3"),
    ("B", "C"),
    ("yes", "no"),
    (r"3\sqrt{2+2\cdot10^{-24}}", r"3\sqrt{2}"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}"),
    (r"\sqrt{3}", "1.72"),
    (r"$x=\frac{13}{8}$ or $x=3$", r"$x=\frac{13}{9}$ or $x=3$"),
    ("x^2+y^2=1", "x^2+y^2=2"),
    ("1:9", "1:8"),
]
UNDECIDED = [
    ("62,34", "34,62"),
    ("函数f(x)=x是奇函数", "函数f(x)=x是偶函数"),
    ("5", "5 m"),
    (r"2\pi", "6.283"),
    ("Evelyn", "Evelyn Smith"),
    (r"n\pi", r"k\pi"),
    ("(0,1)", "0,1"),
    ("4210_5", "4210"),
    ("a^{10}=3a^{10}", "a^{10}=4a^{10}"),
    (r"\ln 2", r"\log 2"),
    ("9^{9^{9^9}}", "1"),
    ("x>1 and x<3", "x>1"),
]


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_two_ways_to_write_one_answer_are_equal_both_ways(a, b):
    assert verify_answer(a, b).verdict == verify_answer(b, a).verdict == "correct"


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_answers_that_only_look_alike_are_wrong_both_ways(a, b):
    assert verify_answer(a, b).verdict == verify_answer(b, a).verdict == "wrong"


@pytest.mark.parametrize(("a", "b"), UNDECIDED)
def test_what_cannot_be_told_is_unknown_both_ways_and_says_why(a, b):
    for judgement in (verify_answer(a, b), verify_answer(b, a)):
        assert judgement.verdict == "unknown"
        assert judgement.why


def test_the_question_settles_whether_order_and_brackets_matter():
    assert verify_answer("62,34", "34,62", question="Find all solutions.").verdict == "correct"
    assert verify_answer("(1,2)", "1,2", question="Find the point (x, y).").verdict == "correct"
    assert verify_answer("(1,2)", "1,2", question="On which interval does f increase?").verdict == "unknown"


@pytest.mark.parametrize(
    "text", ["1/2x", "the cat", "__import__('os')", "(lambda:open('x','w'))()", "2^", "(1", "²", "x" * 500, "(" * 50 + "1" + ")" * 50]
)
def test_the_parser_refuses_what_it_cannot_read_in_one_way(text):
    with pytest.raises(Unparsed):
        parse(text)


def test_images_do_not_wrap_around_the_field():
    assert image_of(parse(f"x^{{{P - 1}}}"), 1) is None
    assert image_of(parse(f"x+{P}"), 1) is None
    assert verify_answer("1+x-x", f"2^{{{P - 1}}}").verdict != "correct"
    assert MAX_POWER < P


leaves = st.sampled_from(["x", "y", "2", "3", "7", r"\pi", r"\sqrt{2}", r"\frac{1}{3}", "i"])
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda t: f"({t[0]}+{t[1]})"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]}-{t[1]})"),
        st.tuples(inner, inner).map(lambda t: f"{{{t[0]}}}\\cdot{{{t[1]}}}"),
        st.tuples(inner, st.sampled_from(["2", "3"])).map(lambda t: f"({t[0]})^{t[1]}"),
        inner.map(lambda t: f"\\sin({t})"),
    ),
    max_leaves=6,
)


@given(expressions)
@settings(max_examples=60, deadline=None)
def test_rewriting_an_expression_never_changes_the_verdict(text):
    for form in (f"$ {text} $", f"({text})+1-1", f"\\dfrac{{2({text})}}{{2}}", text.replace("(", r"\left(").replace(")", r"\right)")):
        assert verify_answer(text, form).verdict == verify_answer(form, text).verdict == "correct"


@given(expressions)
@settings(max_examples=60, deadline=None)
def test_an_expression_plus_a_number_is_never_equal_to_it(text):
    for form in (f"({text})+1", f"({text})\\cdot1.01+0.001", f"({text})-\\frac{{1}}{{1000000}}"):
        assert verify_answer(text, form).verdict != "correct"


@given(st.lists(expressions, min_size=2, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_does_not_matter_in_sets_and_does_in_tuples(items, random):
    shuffled = random.sample(items, len(items))
    assert verify_answer("\\{" + ",".join(items) + "\\}", "\\{" + ",".join(shuffled) + "\\}").verdict == "correct"
    a, b = "(" + ",".join(items) + ")", "(" + ",".join(shuffled) + ")"
    everywhere_equal = all(same(Expression(parse(x)), Expression(parse(y))) for x, y in zip(items, shuffled, strict=True))
    assert (verify_answer(a, b).verdict == "correct") == everywhere_equal


@given(st.text(alphabet="x12+-*/^(){}[]\\,=<|$_. fracsqtpm", max_size=40), st.text(alphabet="x12+-*/^(){}[]\\,=<|$_. ", max_size=40))
@settings(max_examples=300, deadline=None)
def test_verdicts_are_symmetric_without_the_last_tier(a, b):
    forth, back = compare_answers(a, b, None), compare_answers(b, a, None)
    assert (forth is True) == (back is True)
    assert (forth is False) == (back is False)


@given(st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_no_text_breaks_the_reader(text):
    compare_answers(text, "x+1", None)
