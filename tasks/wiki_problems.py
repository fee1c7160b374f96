"""Contest problems as problems that every recipe takes: shared data, statement and choices in one text, one answer.

What cannot be asked as text alone is rejected: problems that need a picture, choices that were not found.
"""

import re
from typing import Literal

from storage.schemas import AnswerType, ContestProblem, Problem
from tasks.maths.answers import answer_type_of
from tasks.stage import Rejected, StageConfig, stage


class WikiProblemsConfig(StageConfig):
    """How a contest problem is asked."""

    choices: Literal["with", "without"] = "with"
    """`with`: the choices are part of the text and the answer is a letter; `without`: the answer is the value, and a question that only
    makes sense with its choices is rejected."""
    figures: Literal["drop", "keep"] = "drop"
    """Problems that need their figure are dropped, or kept with its code in the text (pictures are not kept)."""
    answers: Literal["all", "undisputed"] = "all"
    """`undisputed`: a problem is dropped where key, votes or pages disagree about its answer."""


_NEEDS_CHOICES = re.compile(
    r"\bwhich (?:one )?(?:of )?(?:the|these|those)?\b[^?.]*\b(?:following|these|choices|below)\b|\bof the following\b|\bclosest to\b"
    r"|\bfollowing\b[^?.]*\?|\bbest (?:approximat|estimat|describ)\w*|\bmust be (?:true|false)\b|\bcan ?not be\b",
    re.IGNORECASE,
)
_DISPUTED = {"key_mismatch", "keys_differ", "votes_split", "twins_differ", "editors_note"}


@stage
def wiki_problems(row: ContestProblem, config: WikiProblemsConfig) -> Problem | Rejected:
    """The problem as one text. Its id is the contest problem's `problem_id`."""
    if row.figure_required and (config.figures == "drop" or not row.asy):
        return Rejected("needs its figure", f"{len(row.asy)} figures in code, {row.n_files} pictures")
    if row.asks == "choice" and len(row.choices) != 5:
        return Rejected("choices not found")
    if config.answers == "undisputed" and (disputed := _DISPUTED & set(row.flags)):
        return Rejected("answer in dispute", ", ".join(sorted(disputed)))
    if row.asks != "proof" and row.answer_source == "none":
        return Rejected("no answer", ", ".join(row.flags))
    if row.asks == "choice" and config.choices == "without":
        if _NEEDS_CHOICES.search(row.statement):
            return Rejected("needs its choices")
        if not row.answer_value:
            return Rejected("no answer", "the right choice has no text")
        return _problem(row, _text(row, with_choices=False), row.answer_value)
    if row.asks == "choice" and row.answer_letter is None:
        return Rejected("no answer", f"{row.answer_value!r} is no letter")
    return _problem(row, _text(row, with_choices=True), row.answer_letter or row.answer_value)


def _text(row: ContestProblem, with_choices: bool) -> str:
    lines = [f"({letter}) {choice}" for letter, choice in zip("ABCDE", row.choices, strict=False)] if with_choices else []
    return "\n\n".join(piece for piece in (row.context, row.statement, "\n".join(lines)) if piece)


def _problem(row: ContestProblem, text: str, answer: str | None) -> Problem:
    answer = None if row.asks == "proof" or answer is None else _bare(answer)
    return Problem(
        id=row.problem_id,
        source=row.source,
        source_id=row.title,
        problem=text,
        answer=answer,
        answer_type=_type(row, answer),
        redistributable=row.redistributable,
    )


def _type(row: ContestProblem, answer: str | None) -> AnswerType:
    if row.asks == "proof":
        return "proof"
    return "choice" if row.answer_letter is not None and answer == row.answer_letter else answer_type_of(answer)


def _bare(answer: str) -> str:
    """A value that is one formula, without its dollars."""
    formula = re.fullmatch(r"\$([^$]+)\$", answer)
    return formula[1] if formula else answer
