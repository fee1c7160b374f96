"""First wrong steps by arithmetic: what is read, what is a mistake, what is not, and how that does on labelled solutions."""

import json
import os
import random
import re
from collections import Counter
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.maths.check_steps import first_wrong
from tasks.maths.equations import chains
from tasks.maths.steps import split
from tasks.nano.corpus import wrong_workings
from tasks.nano.world import World

DATA = Path(os.environ.get("MATHMILL_TEST_DATA", Path(__file__).parents[2].parent / "shared/data"))

TRUE = [
    "2 + 3 = 5",
    "2 + 3 * 4 = 14 and (2 + 3) * 4 = 20",
    "A total of 3 x 4 = 12 pens, so 12 / 8 = 1.5 bags.",
    "He pays $1,200.50 + $3 = $1203.50, that is $25/month * 2 months = $50.",
    "They sell 16 - 3 - 4 = <<16-3-4=9>>9 eggs",
    "20% of 50 = 10 and 30 / 60 * 100 = 50% and 0.5 = 50%",
    "50 + 10% = 55",
    r"\frac{3}{4} \times 8 = 6, \(2^{3} = 8\), $\left(1+2\right) \cdot 3 = 9$, \boxed{4+4 = 8}",
    "3 times 5 equals 15, 15 divided by 3 = 5, 5 plus 5 minus 1 = 9",
    "10 / 3 = 3.33 and 10 / 3 = 3.3 and 2 / 3 ≈ 0.7 and 1/3 = 0.3333333333333333",
    "5 + 3 = 8 * 2 = 16",  # a calculation that goes on, as many write it
    "2 hours = 120 minutes and 3 hours * 2 = 360 minutes",
    "5 feet 3 inches + 2 inches = 70",
    "5 miles and 3 + 4 = 7",
    "half of 10 = 5, twice 4 = 8, 3 more than 5 = 8, the square root of 16 = 4",
    "1/4 of the tank = 18000 / 4 = 4500",
    "- 5 + 3 = 8\n* 2 + 2 = 4",
    "-5 + 3 = -2",
    "total - 5 = 3",
    "2x + 3 = 7, so x = 2",
    "x = 5 or x = 3",
    "The ratio is 2:3 = 10:15 at 10:30",
    "5 (3 + 4 = 7)",
    "gcd(12, 8) = 4, lcm(4, 6) = 12, sqrt(16) = 4",
    "-(-9 * 5) = 45, 2 - -3 = 5, 2 * -3^2 = -18",
    "((-1) * (27)) - ((-9) + (-45))) = (-27) - (-54) = 27",
    "(((-7 * -4) * (-4 * -3)) = 336",
    "3 加 4 等于 7，７×８＝５６。",
    "小明有3个苹果，3个 + 4个 = 7个",
    "7 > 3 + 3 = 6 and 3 <= 4",
    "1 1/2 + 1/2 = 2",
    "5! = 120",
    "17 / 5 = 3 remainder 2",
    "2 dozen + 1 = 25",
    "1 hour + 30 minutes = 90 minutes",
    "sin(30) = 1/2, log(100) = 2 and f(3) = 5",
    "5A - 5 = 30, 15 + 2a = 35",
    "9 / 21 * 100% = 42.857",
    "20 / 240 = 8.333...%",
    "1 + 2 + ... + 9 = 45",
    "He is 4 minutes/km faster = 10 - 4 = 6 minutes/km",
    "10 / 6 = 1.67 miles/hour",
    "21 x (1 and 1/3) = 28",
    "28 / 1/5 = 140",
    "13,2000 / 60 = 220",
    "195 - 51 = 144 = the miles that 3 runners ran",
    "z^2 = 4, so z = -2 = z^3 / 4",
    "60 students x 2/3 = 40",
]

FALSE = [
    "2 + 3 = 6",
    "So 2 + 3 * 4 = 20.",
    "They sell 16 - 3 - 4 = <<16-3-4=8>>8 eggs",
    "$5 + $3 = $9",
    "20% of 50 = 11",
    r"\frac{3}{4} \times 8 = 7",
    "3 times 5 equals 16",
    "10 / 3 = 3.4",
    "5 + 3 = 8 * 2 = 17",
    "7 - 9 = 2 and 1 + 1 = 3",
    "3 apples + 4 apples = 8 apples",
    "12 / 4 = 2",
    "2 + 2 = 4 = 5 + 1",
    "3 加 4 等于 8",
    "3个 + 4个 = 8个",
    "1,000 + 1 = 1,002",
    "2 - -3 = -1",
    "gcd(12, 8) = 2",
]


@pytest.mark.parametrize("step", TRUE)
def test_what_holds_or_is_not_understood_is_no_mistake(step):
    assert first_wrong("Tom has some pens. How many?", [step]).first_wrong_step is None


@pytest.mark.parametrize("step", FALSE)
def test_a_false_equation_is_a_mistake_whatever_the_result(step):
    assert first_wrong("Tom has some pens. How many?", ["Nothing here.", step, "1 + 1 = 3"])[:2] == (2, False)


def test_a_header_is_no_part_of_the_arithmetic():
    steps = split("Step 1: 12+3=15\n**Step 2:** 15*2=30\n### Step 3\n30-1=28")
    assert first_wrong("Tom has 12 pens.", steps).first_wrong_step == 3


CASES = {
    "right result, everything holds": ("What is 3 + 4 * 5?", ["4 * 5 = 20", "3 + 20 = 23. The answer is 23"], None, (None, False)),
    "right by the reference": ("Tom has 3 pens and buys 4.", ["3 + 4 = 7. The answer is 7"], "7", (None, False)),
    "nothing says that the plan is right": ("Tom has 3 pens and buys 4.", ["3 * 4 = 12. The answer is 12"], None, (None, True)),
    "a wrong plan without a slip": ("Tom has 3 pens and buys 4.", ["3 * 4 = 12. The answer is 12"], "7", (None, True)),
    "no arithmetic": ("Prove it.", ["Clear.", "Done."], None, (None, True)),
    "no steps": ("Prove it.", [], "7", (None, True)),
    "a term copied wrongly": ("What is 3 + 4 * 5 - 2?", ["4 * 5 = 20", "3 - 20 = -17", "-17 - 2 = -19"], None, (2, False)),
    "a term of the problem": ("What is 3 + 4 * 5 - 2?", ["4 * 5 = 20", "20 - 2 = 18", "The answer is 18"], None, (None, True)),
    "goes on from another value": ("Compute 2 + 3 * 4.", ["2 + 3 * 4 = 2 + 12", "= 13. The answer is 13"], None, (2, False)),
    "a name changes": ("What is (1 + 2) * (3 + 4)?", ["A = (1 + 2), B = (3 + 4).", "A = (1 + 3) = 4", "A * B = 28"], None, (2, False)),
    "a wrong formula": ("What is (1 + 2) * (3 + 4)?", ["It is A + B, A = (1 + 2) and B = (3 + 4).", "3 + 7 = 10"], None, (1, False)),
    "a wrong substitution": ("What is (1 + 2) * (3 + 4)?", ["A = (1 + 2), B = (3 + 4).", "A * B = 3 * 8 = 24"], None, (2, False)),
    "a number from nowhere": ("Tom has 13 pens and buys 41.", ["13 + 41 = 54", "54 * 977 = 52758"], "54", (2, False)),
    "the same where the result is right": ("Tom has 13 pens and buys 41.", ["977 - 923 = 54. The answer is 54"], "54", (None, False)),
    "told in words": ("Nine boys have thirteen pens each.", ["9 * 13 = 117", "117 / 2 = 58.5"], "117", (None, True)),
    "doubt before proof": ("What is (1 + 2) * 3?", ["(1 + 5) * 3 = 18", "18 = 18", "1 + 1 = 3"], None, (1, False)),
    "verified elsewhere": ("Tom has 13 pens.", ["977 + 13 = 990"], None, (None, True)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_doubtful_counts_only_where_the_result_is_wrong(name):
    problem, steps, answer, wanted = CASES[name]
    assert first_wrong(problem, steps, answer)[:2] == wanted


def test_a_verdict_given_beforehand_is_believed():
    assert first_wrong("Tom has 13 pens.", ["977 + 13 = 990"], right=False)[:2] == (1, False)
    assert first_wrong("Tom has 13 pens.", ["977 + 13 = 990"], right=True)[:2] == (None, False)


# Expressions made with their value


@st.composite
def expressions(draw, depth=3):
    """(text, value): whole numbers, four signs, brackets where they are needed and sometimes where not."""
    if depth == 0 or draw(st.booleans()):
        n = draw(st.integers(-20, 40))
        return (str(n), Fraction(n), 9) if n >= 0 else (f"({n})", Fraction(n), 9)
    sign = draw(st.sampled_from("+-*/"))
    rank = 1 if sign in "+-" else 2
    (left, a, left_rank), (right, b, right_rank) = draw(expressions(depth=depth - 1)), draw(expressions(depth=depth - 1))
    if sign == "/" and b == 0:
        return left, a, left_rank
    left = f"({left})" if left_rank < rank or draw(st.booleans()) else left
    right = f"({right})" if right_rank <= rank else right
    space = " " if sign == "/" else draw(st.sampled_from(["", " "]))  # `6 / 1/2` may mean either
    written = draw(st.sampled_from({"*": ["*", "×", "\\times ", "·"], "/": ["/", "÷"], "-": ["-", "−"], "+": ["+"]}[sign]))
    return f"{left}{space}{written}{space}{right}", {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else a}[sign], rank


@given(expressions())
def test_an_expression_has_its_value(made):
    text, value, _ = made
    [chain] = chains(f"Therefore {text} = {value.numerator} / {value.denominator}.", {})
    assert [side.value for side in chain.sides if not side.literal] == [value] * sum(not side.literal for side in chain.sides)


@given(st.lists(expressions(depth=2), min_size=1, max_size=6), st.data())
def test_the_step_that_was_changed_is_the_one_found(made, data):
    steps = [f"So {text} = {value.numerator}/{value.denominator}" for text, value, rank in made if rank < 9]
    assert first_wrong("How many?", steps).first_wrong_step is None
    if steps:
        k = data.draw(st.integers(0, len(steps) - 1))
        steps[k] = steps[k].replace("= ", "= (") + f" + {data.draw(st.integers(2, 9))})"
        assert first_wrong("How many?", steps).first_wrong_step == k + 1


@given(
    st.text(max_size=80), st.lists(st.text(alphabet="0123456789+-*/=()^%., xyA\\frac{}[]\n<>:;≈$的等于٣|_…√!&²a", max_size=60), max_size=4)
)
def test_no_text_makes_it_raise(problem, steps):
    found = first_wrong(problem, steps, "5")
    assert found.first_wrong_step is None or (1 <= found.first_wrong_step <= len(steps) and not found.abstained)


HOSTILE = {
    "digits": "x = " + "1" * 10**6 + " + 1 = 2",
    "brackets": "(" * 10**6 + "1 + 2" + ")" * 10**6 + " = 3",
    "open brackets": "(1 + " * 9_000 + "1 = 3",
    "a long sum": "1+" * 20_000 + "1 x",
    "many fractions": " + ".join(f"1/{i}" for i in range(2, 5_000)) + " = 7",
    "powers of powers": "9^9^9^9 = 1, 9^999999999 = 3, " + "2^2" * 10_000,
    "a long product": "999999999*" * 4_000 + "9 = 7",
    "equals signs": "1 = " * 12_000 + "2",
    "open LaTeX": "\\frac{" * 8_000 + "1}{2}" * 400,
    "null bytes": "3 + 4\x00 = 8\x00" * 4_000,
    "unicode digits": "٣ + ٤ = ٨ " * 5_000,
    "backslashes": "\\" * 10**6,
    "annotations": "<<" * 400_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_steps_are_read_in_linear_time(name):
    found = first_wrong(HOSTILE[name], [HOSTILE[name], "3 + 4 = 7"], "7")
    assert found.why


def test_ten_thousand_steps_are_checked_each_by_itself():
    steps = [f"Step {i}: {i}+{i + 1}={2 * i + 1}" for i in range(10_000)] + ["1+1=3"]
    assert first_wrong("Tom has 5 pens.", steps).first_wrong_step == 10_001


# Labelled solutions


def test_no_right_solution_of_the_nano_world_is_suspected_and_every_slip_is_found():
    rng = random.Random(5)
    for task in islice(World(0).tasks("train"), 300):
        steps = split(task.solution.text)
        assert first_wrong(task.statement, steps, task.answer)[:2] == (None, False)
        k = rng.randrange(len(steps))
        if match := re.search(r"=(\d+)(?!.*=)(?!\d*/)", steps[k]):
            steps[k] = f"{steps[k][: match.start(1)]}{int(match[1]) + rng.choice((-1, 1, 10))}{steps[k][match.end(1) :]}"
            assert first_wrong(task.statement, steps, task.answer).first_wrong_step == k + 1


def test_a_misconception_worked_out_without_a_slip_is_never_called_right():
    for task in islice(World(1).tasks("train"), 100):
        for _, wrong in wrong_workings(task):
            assert first_wrong(task.statement, split(wrong.text), task.answer)[:2] == (None, True)


def real(path):
    if not (DATA / path).is_file():
        pytest.skip(f"no {DATA / path}: set MATHMILL_TEST_DATA")
    return [json.loads(line) for line in (DATA / path).open(encoding="utf-8") if line.strip()]


def test_first_mistakes_in_real_arithmetic_are_located():
    counts: Counter[str] = Counter()
    for row in real("steps/bigbench_mistake_arithmetic.jsonl"):
        found = first_wrong(row["input"], row["steps"]).first_wrong_step
        if row["mistake_index"] is not None:
            counts["wrong"] += 1
            counts["located"] += found == row["mistake_index"] + 1
        elif row["answer"] == row["target"]:
            counts["false alarms"] += found is not None
    assert counts["located"] >= 0.95 * counts["wrong"] > 0
    assert counts["false alarms"] == 0


def test_real_right_solutions_in_words_are_rarely_suspected():
    rows = real("problems/gsm8k_model_solutions.jsonl")[:300]
    replies = [(row["question"], reply) for row in rows for reply in row.values() if isinstance(reply, dict)]
    right = [(question, reply["solution"]) for question, reply in replies if reply["is_correct"]]
    alarms = sum(first_wrong(question, split(text)).first_wrong_step is not None for question, text in right)
    assert len(right) > 300 and alarms <= 0.015 * len(right)
