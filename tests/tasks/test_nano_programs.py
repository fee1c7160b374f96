"""Programs of the nano world: they print the answer under the real Python, and our reader agrees with it."""

import subprocess
import sys
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.nano.concepts import CONCEPTS
from tasks.nano.corpus import wrong_workings
from tasks.nano.programs import FORMULAS, last_program, program, run
from tasks.nano.world import World


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_a_program_prints_the_answer(seed):
    for task in islice(World(seed).tasks("train"), 20):
        assert run(program(task)) == task.answer


def test_the_program_of_a_misconception_prints_what_its_working_ends_with():
    seen = set()
    for task in islice(World(0).tasks("train"), 1000):
        for position, working in wrong_workings(task):
            assert run(program(task, (position, str(working.misconception)))) == working.answer
            seen.add(working.misconception)
    assert seen | set(CONCEPTS) == set(FORMULAS)


def test_python_prints_what_our_reader_prints():
    tasks = list(islice(World(3).tasks("test"), 25))
    programs = [program(task, imported=number % 4 > 0) for number, task in enumerate(tasks)]
    for text in [*programs, "print(7 // 0)", "x = 2\nprint(x, x % 2)"]:
        ran = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, text=True)
        said = ran.stdout.strip() if ran.returncode == 0 else ran.stderr.strip().splitlines()[-1]
        assert said.startswith(run(text))  # Python may add `Did you mean ...?`


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("import os\nos.remove('x')", "NotImplemented: Import"),
        ("x = 2 ** 999", "NotImplemented: BinOp"),
        ("print('a' * 3)", "NotImplemented"),
        ("print(y)", "NameError: name 'y' is not defined"),
        ("print(gcd(4, 6))", "NameError: name 'gcd' is not defined"),
        ("x = = 3", "SyntaxError"),
        ("x = 999999\nx = x * x\nx = x * x", "OverflowError"),
        ("from fractions import Fraction\nx = 9999999 * 9999999 * Fraction(1, 2)", "OverflowError"),
        ("print(1)\nprint(1 // 0)", "1\nZeroDivisionError"),
        ("print(Fraction(1, 2))", "NameError"),
        ("from fractions import Fraction\nprint(Fraction(2, 0))", "ZeroDivisionError"),
        ("print(" + "(" * 500 + "1" + ")" * 500 + ")", "SyntaxError"),
    ],
)
def test_what_is_not_arithmetic_is_named_and_never_run(text, start):
    assert run(text).startswith(start)


@given(st.text(alphabet="x =+*/%()0123456789\nprintgcdFraction,.'", max_size=80))
def test_no_text_breaks_the_reader(text):
    assert isinstance(run(text), str)


def test_the_last_closed_block_counts():
    assert last_program("a\n```python\nx = 1\n```\n```output\n1\n```\n```python\nprint(2)\n```") == "print(2)"
    assert last_program("```python\nprint(2)") is None
