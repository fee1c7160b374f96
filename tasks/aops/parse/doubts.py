"""Everything the parser can be in doubt about, by name. A doubt is reported with its place; nothing is guessed in silence."""

from dataclasses import dataclass

BROKEN = {
    "unclosed_tag": "a maths, figure or nowiki tag, or a comment, has no end",
    "stray_tag": "a closing tag without an opening one",
    "unclosed_template": "{{ without }}, or the other way round",
    "unclosed_link": "[[ without ]], or the other way round",
    "unclosed_box": "a \\boxed whose braces do not close: the text may be cut",
    "broken_heading": "a line starts like a heading and does not end like one",
    "headings_order": "headings stand in an order that a page does not have",
    "no_end": "the page has no navigation box at its end: it may be cut",
    "no_statement": "no statement was found",
    "two_problems": "more than one section is called Problem",
    "box_in_problem": "the statement contains a boxed answer",
    "private_use": "characters that no text should hold",
    "huge": "the page is far longer than a page of a contest is",
}
"""Doubts about the page's structure: its votes decide no answer."""

NOTED = {
    "lone_dollar": "a dollar sign that may or may not open maths: taken as a dollar",
    "text_before_problem": "text above the problem's heading, left out",
    "unknown_section": "a section of an unknown kind, left out",
    "unknown_template": "a template of an unknown kind in the statement, left out",
    "table": "the statement holds a wiki table, kept as it is",
    "choices_missing": "no five choices were found",
    "choices_partial": "markers of choices are not exactly A to E",
    "choices_twice": "more than one run of choices A to E: the last one is taken",
    "choices_equal": "two choices are the same",
    "choices_unbalanced": "braces of a choice do not match",
    "choices_are_figures": "choices are figures, or have no text",
    "no_solution": "no solution was found",
    "left_out": "a section that is left out (video, links) holds maths or prose, as a solution does",
    "solutions_gap": "a number is missing among the solutions: two of them may have become one",
    "no_box": "a solution without a boxed answer",
    "answer_unboxed": "the answer was read from a sentence, not from a box",
    "box_unread": "the last box of a solution is no answer of this kind",
    "box_contradicts": "a box whose letter and value belong to different choices",
    "figure_missing": "the statement speaks of a figure, and there is none",
    "shared_setup": "a set-up before the single solutions, put before each of them",
    "editors_note": "an editor says that the statement was changed or the solution is in doubt",
    "context_unclear": "data for several problems whose end is not marked",
    "context_shared": "data for several problems stand on the page of one of them",
    "context_missing": "the problem uses data that stand on no page",
}
"""Doubts about one thing on a page."""

ACROSS = {
    "redirect_broken": "a redirect that leads to no problem page of the archive",
    "key_missing": "the contest has no answer key page",
    "key_unusable": "the answer key has not one line for each problem",
    "key_unreadable": "an entry of the answer key is no answer of this kind",
    "key_mismatch": "the key and the solutions give different answers: the key is taken",
    "keys_differ": "the keys of the contests that share the problem differ: no answer is taken",
    "votes_split": "solutions give different answers",
    "votes_not_counted": "the page is in doubt, so its solutions decide no answer",
    "list_differs": "the list page has other text for this problem",
    "from_list": "the problem's own page is not there: the statement is that of the list page",
    "copied_text": "the page has the text of another problem of the same contest: both are kept",
    "twins_differ": "two pages that are said to hold one problem do not: kept apart",
}
"""Doubts that show only when pages are put together."""

DOUBTS = BROKEN | NOTED | ACROSS


@dataclass(frozen=True, slots=True)
class Doubt:
    """One doubt: its name (a key of DOUBTS), its place in the page's wikitext, and what exactly."""

    code: str
    offset: int
    """Characters from the start of the page's text."""
    detail: str = ""
