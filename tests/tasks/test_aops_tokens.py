"""Masking: what is taken out, what stays, and that every place in the masked text is a place on the page."""

import re
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.aops.fixture.problems import choice_problem, integer_problem
from tasks.aops.parse.tokens import HOLE, mask
from tasks.aops.parse.wikitext import plain, sections

PIECES = st.sampled_from(
    [
        "word ",
        "\n",
        "\n\n",
        "== Problem ==\n",
        "=",
        "''",
        "[[",
        "]]",
        "{{",
        "}}",
        "|",
        "<math>",
        "</math>",
        "<imath>",
        "</imath>",
        "<cmath>",
        "</cmath>",
        "<asy>",
        "</asy>",
        "[asy]",
        "[/asy]",
        "<nowiki>",
        "</nowiki>",
        "<!--",
        "-->",
        "$",
        "$$",
        "\\$",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "x<y",
        "&lt;",
        "\\boxed{7}",
        "\ue100",
        "\uf8ff",
        "~name",
        "<br/>",
        "<sub>2</sub>",
        "#",
        "*",
        "é",
    ]
)
TEXTS = st.lists(PIECES, max_size=40).map("".join)


@pytest.mark.parametrize(
    ("text", "masked", "kinds"),
    [
        ("a <math>x</math> b", "a # b", ["inline"]),
        ("<imath>x</imath><cmath>y</cmath>", "##", ["inline", "display"]),
        ("<MATH>x</Math >", "#", ["inline"]),
        ('<math display="block">x</math>', "#", ["inline"]),
        ("<math>a<b</math> and <math>c</math>", "# and #", ["inline", "inline"]),
        ("$x$, $$y$$, \\(z\\), \\[w\\]", "#, #, #, #", ["inline", "display", "inline", "display"]),
        ("[asy]\ndraw(A);\n[/asy]", "#", ["asy"]),
        ("<nowiki>$2.40</nowiki> \\$3 \\textdollar 4", "# #3 #4", ["literal", "literal", "literal"]),
        ("$5 and $7", "#5 and #7", ["literal", "literal"]),
        ("$5$-element sets", "#-element sets", ["inline"]),
        ("from $a to $b", "from #a to #b", ["literal", "literal"]),
        ("a<!-- == x == -->b", "ab", []),
        ("<nowiki/>a<math/>", "a", []),
        ("<pre>x == y</pre>", "#", ["literal"]),
        ("<geogebra>id</geogebra>", "#", ["figure"]),
        ("so \\begin{align*}a&=1\\end{align*} holds", "so # holds", ["display"]),
        ("$ a > 0,$ we can", "# we can", ["inline"]),
        ("$ m $ and $\\$$1500", "# and #1500", ["inline", "inline"]),
        ("$.5 each, apples are $.75 each", "#.5 each, apples are #.75 each", ["literal", "literal"]),
    ],
)
def test_regions_become_holes(text, masked, kinds):
    found = mask(text)
    assert re.sub(HOLE, "#", found.text) == masked
    assert [r.kind for r in found.regions] == kinds


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("<math>x", ["unclosed_tag"]),
        ("<math>x <math>y</math>", ["unclosed_tag"]),
        ("<math>x\n== Solution ==\n</math>", ["unclosed_tag", "stray_tag"]),
        ("<imath>x</math>", ["unclosed_tag", "stray_tag"]),
        ("x</asy>", ["stray_tag"]),
        ("[asy]draw(A);", ["unclosed_tag"]),
        ("x[/asy]", ["stray_tag"]),
        ("<!-- never ends", ["unclosed_tag"]),
        ("\\(x", ["unclosed_tag"]),
        ("\\begin{align}x", ["unclosed_tag"]),
        ("x\\]", ["stray_tag"]),
        ("a $ b", ["lone_dollar"]),
        ("ends with 5$", ["lone_dollar"]),
        ("\ue123", ["private_use"]),
    ],
)
def test_what_does_not_close_is_reported_and_stays_text(text, codes):
    assert [d.code for d in mask(text).doubts] == codes


def test_equals_signs_and_braces_inside_figures_open_nothing():
    page = mask("== Problem ==\n<asy>\nif (a == b) draw({{(0,0)}});\n</asy>\n== Solution ==\n")
    assert [s.title for s in sections(page)] == ["", "Problem", "Solution"]
    assert page.doubts == []


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_every_place_outside_a_region_is_the_same_character_on_the_page(text):
    page = mask(text)
    source = re.sub("[\ue000-\uf8ff]", "\ufffd", text)
    for place, character in enumerate(page.text):
        if re.match(HOLE, character):
            assert page.region(character).start >= 0
        else:
            assert source[page.offset(place)] == character
    assert page.offset(len(page.text)) == len(source)


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_any_text_can_be_masked_cut_into_sections_and_shown_with_doubts_inside_it(text):
    page = mask(text)
    found = sections(page)
    assert "".join(page.text[s.start : s.end] for s in found) == page.text
    shown = plain(page, page.text, signed=True)
    assert not re.search("[\ue000-\uf8ff]", shown)
    assert all(0 <= d.offset <= len(text) for d in page.doubts)


@given(st.integers(0, 10**9), st.sampled_from([choice_problem, integer_problem]))
@settings(max_examples=50, deadline=None)
def test_plain_text_with_maths_shows_as_itself(seed, maker):
    statement = maker(Random(seed)).statement
    assert plain(mask(statement), mask(statement).text) == statement


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A ''[[triangle|triangular]]'' '''prism'''", "A triangular prism"),
        ("See [[#Solution 2]] and [[:Goat]]", "See #Solution 2 and Goat"),
        ("{{a|{{b}}}}x", "x"),
        ("x<sub>1</sub><sup>2</sup>", "x$_{1}$$^{2}$"),
        ("a<br>b<br />c", "a\nb\nc"),
        ("* one\n* two", "- one\n- two"),
        ("# one\n# two\ntext\n# one", "1. one\n2. two\ntext\n1. one"),
        (":indented", "indented"),
        ("__TOC__\n----\nx", "x"),
        ("[https://example.org/x see there], or https://example.org/y", "see there, or https://example.org/y"),
        ("5 &lt; 6 &amp; so&nbsp;on", "5 < 6 & so on"),
        ("[[File:a.png|a [[b]] c]] x [[Category:Goats]]", "x"),
        ("<cmath>\\begin{align*}a&=b\\end{align*}</cmath>", "\\begin{align*}a&=b\\end{align*}"),
        ("<nowiki>$5 {{x}}</nowiki>", "\\$5 {{x}}"),
    ],
)
def test_markup_as_plain_text(text, shown):
    assert plain(mask(text), mask(text).text) == shown
