"""Concept lists: literals in a fenced block, or lines; nothing is ever evaluated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.maths.concept_list import bulleted, numbered, read_lines, read_list, tidy

printable = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), max_size=40)


def fenced(code: str) -> str:
    return f"They are these.\n```python\n{code}\n```\nDone."


@pytest.mark.parametrize(
    ("reply", "concepts"),
    [
        (fenced('["ratio", "percent"]'), ["ratio", "percent"]),
        (fenced("concepts = ['ratio',\n    'percent',\n]"), ["ratio", "percent"]),
        (fenced("concepts: list[str] = ['ratio']"), ["ratio"]),
        (fenced("import os\n['ratio']"), ["ratio"]),
        ("```\n['ratio']\n```", ["ratio"]),
        (fenced("1 +") + fenced("['second block']"), ["second block"]),
        (fenced("[]\n['not the empty one']"), ["not the empty one"]),
        (fenced(r"['the quotient \frac{a}{b}', 'n \\times n', 'it\'s']"), [r"the quotient \frac{a}{b}", r"n \times n", "it's"]),
        (fenced("['Ratio', 'ratio ', ' ratio', '', 'per  cent']"), ["Ratio", "per cent"]),
        (fenced("['百分比', '比']"), ["百分比", "比"]),
    ],
)
def test_the_first_list_of_strings_in_a_fenced_block_is_read(reply, concepts):
    assert read_list(reply) == concepts


@pytest.mark.parametrize(
    "reply",
    [
        "['ratio']",
        "```python\n['ratio', 'perc",
        fenced("['ratio', 'percent'"),
        fenced("['ratio', 3]"),
        fenced("['ratio' 'percent']"),
        fenced("['ratio',\n 'percent'\n 'mean']"),
        fenced("[f'ratio']"),
        fenced("['a' + 'b']"),
        fenced("[x for x in ('a', 'b')]"),
        fenced("[str(1)]"),
        fenced("('ratio', 'percent')"),
        fenced("print(['ratio'])"),
        fenced("\x00['ratio']"),
        fenced("[" * 5000),
        fenced("['ratio', " + "'x'," * 20_000 + "]"),
        "",
    ],
)
def test_anything_but_a_whole_list_of_string_literals_is_no_list(reply):
    assert read_list(reply) == []


def test_code_in_a_reply_is_read_and_never_run(tmp_path):
    target = tmp_path / "ran"
    assert read_list(fenced(f"open({str(target)!r}, 'w').write('x')\n['ratio', __import__('os').sep]")) == []
    assert not target.exists()


@given(st.lists(printable, max_size=6))
def test_a_list_that_python_prints_is_read_back(concepts):
    assert read_list(fenced(repr(concepts))) == tidy(concepts)


@given(st.text(max_size=300))
def test_no_text_breaks_the_readers(text):
    assert isinstance(read_list(text), list)
    assert isinstance(read_list(fenced(text)), list)
    assert all(c and "\n" not in c for c in read_lines(text))


@pytest.mark.parametrize(
    ("reply", "concepts"),
    [
        ("Knowledge Point: ratio\nKnowledge Point: percent", ["ratio", "percent"]),
        ("1. **Knowledge Point:** ratio\n\nnothing here\nknowledge point: percent ", ["ratio", "percent"]),
        ("Knowledge Point: the Knowledge Point: ratio", ["ratio"]),
        ("Knowledge Point:\nKnowledge Point: ratio", ["ratio"]),
        ("ratio, percent", []),
    ],
)
def test_lines_give_what_follows_the_last_marker(reply, concepts):
    assert read_lines(reply) == concepts


@given(st.lists(printable.filter(lambda c: "knowledge point" not in c.casefold() and "*" not in c), max_size=6))
def test_lines_of_the_form_asked_for_are_read_back(concepts):
    assert read_lines("".join(f"Knowledge Point: {c}\n" for c in concepts)) == tidy(concepts)


def test_prompts_show_concepts_numbered_to_writers_and_bulleted_to_judges():
    assert numbered(["ratio", "mean"]) == "1. ratio\n2. mean"
    assert bulleted(["ratio", "mean"]) == "- ratio\n- mean"
