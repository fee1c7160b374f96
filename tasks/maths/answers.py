"""Whether two final answers are equal: three verdicts, cheapest evidence first, never a silent False.

Tiers: `exact` (same normal text, or exact numbers), `structural` (own parser; sets, tuples, intervals, matrices, equations; values compared
exactly), `symbolic` (Math-Verify in killable processes). What none of them decides is `unknown`. An answer is never run as code.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from storage.schemas import AnswerType, VerdictName
from tasks.maths.exact import Plain, plain
from tasks.maths.structural import compare_answers, rounding
from tasks.maths.symbolic import equal_by_math_verify
from tasks.maths.units import KNOWN_UNITS

Tier = Literal["exact", "structural", "symbolic", "none"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, the tier that decided it, and for `unknown` (or a missing answer) the reason."""

    verdict: VerdictName
    tier: Tier
    why: str = ""


MAX_ASKED = 1_000
"""Characters of both answers together that the last tier is asked about."""

_CORRECT = Judgement("correct", "exact")
_WRONG = Judgement("wrong", "exact")
_ASKS_PERCENT = re.compile(r"percent|%|百分", re.IGNORECASE)
_CHOICE = re.compile(r"\(?([A-J])\)?(?:[.:)]?|[.:)]\s*(\S.*))", re.DOTALL)
_CHOICES = re.compile(r"\(?[A-J](?:(?: ?, ?| ?and ?| )?[A-J]){0,9}\)?")
_FRACTIONAL = re.compile(r"\D.*", re.DOTALL)
_NEVER_ASKED = re.compile(r"\\(?:overline|bar|dot|ldots|prime|mid|text|pm|quad)(?![a-z])|\d{40}|[^\x00-\x7f]|,| (?:and|or) |\$")
"""What Math-Verify 0.9.0 is known to read wrongly: repeating decimals, ellipses, conditions, words, long decimals, lists."""
_BOUNDS = re.compile(r"_\{[^{}]*\}")
_CHOICE_STARTS = frozenset("(ABCDEFGHIJ\\")
_UPRIGHT = re.compile(r"^\\text ?\{([^{}]*)\}")
_PROOF = re.compile(r"proof\b|q\.?e\.?d\b|\\blacksquare|证明", re.IGNORECASE)


def verify_answer(
    gold: str, given: str, *, question: str | None = None, answer_type: AnswerType | None = None, limit_s: float = 1.8
) -> Judgement:
    """Does `given` equal the reference `gold`?

    `question` settles what the answers alone do not: whether 50 may stand for 50 %, whether a list is ordered. `answer_type` "choice"
    makes capital letters options. `limit_s` bounds the last tier, in seconds of wall time.
    """
    if gold == given and gold:
        return _CORRECT
    a, b = plain(gold), plain(given)
    if a.value is not None and b.value is not None:
        return _numbers(a, b, question)
    if not a.text or not b.text:
        return Judgement("unknown", "none", "empty reference" if not a.text else "empty answer")
    if a.text == b.text:
        return _CORRECT
    return _options(a, b, answer_type) or _by_structure(a, b, gold, given, question, limit_s)


def _by_structure(a: Plain, b: Plain, gold: str, given: str, question: str | None, limit_s: float) -> Judgement:
    outcome = compare_answers(gold, given, question)
    if outcome is False and (rounding(a, given) or rounding(b, gold)):
        return Judgement("unknown", "structural", "equal only after rounding")
    if isinstance(outcome, bool):
        return Judgement("correct" if outcome else "wrong", "structural")
    if not outcome.ask or len(a.text) + len(b.text) > MAX_ASKED or _misread(a.text) or _misread(b.text):
        return Judgement("unknown", "none", outcome.why)
    verdict = equal_by_math_verify(a.text, b.text, limit_s)
    if verdict is None:
        return Judgement("unknown", "none", f"{outcome.why}; Math-Verify gave no verdict")
    return Judgement("correct" if verdict else "wrong", "symbolic")


def _misread(text: str) -> bool:
    """Is the text of a kind that Math-Verify judges by a part of it? Of an equation it may compare the last sides alone."""
    return bool(_NEVER_ASKED.search(text)) or "=" in _BOUNDS.sub("", text)


def _options(a: Plain, b: Plain, answer_type: AnswerType | None) -> Judgement | None:
    """Options of a multiple-choice question: `(B)`, `B.`, `B. text`, `A, C`. None where neither answer is one."""
    wanted, chosen = _letters(a.text), _letters(b.text)
    if wanted and chosen:
        return _texts_of_options(a.text, b.text) or Judgement("correct" if wanted == chosen else "wrong", "structural")
    if wanted or chosen or answer_type == "choice":
        return Judgement("unknown", "none", "an option against a text")
    return None


def _texts_of_options(a: str, b: str) -> Judgement | None:
    """`C. 1` against `C. 2`: the letter says yes, the text no."""
    texts = [match[2].strip() for match in (_CHOICE.fullmatch(a), _CHOICE.fullmatch(b)) if match and match[2]]
    if len(texts) == 2 and a[:2] == b[:2] and compare_answers(texts[0], texts[1], None) is not True:
        return Judgement("unknown", "none", "the same option with another text")
    return None


def _letters(text: str) -> str:
    """The chosen letters, "" where the text is no choice; letters out of order are a word or a product."""
    if text[0] not in _CHOICE_STARTS:
        return ""
    text = _UPRIGHT.sub(r"\1", text)
    if match := _CHOICE.fullmatch(text):
        return match[1]
    letters = re.findall(r"[A-J]", text) if _CHOICES.fullmatch(text) else []
    return "".join(letters) if letters == sorted(set(letters)) else ""


def _numbers(a: Plain, b: Plain, question: str | None) -> Judgement:
    """Exact comparison of two plain numbers. A unit may be left out by either side; two different known units are never equal."""
    if a.unit == b.unit or not a.unit or not b.unit:
        if "%" in (a.unit, b.unit) and a.unit != b.unit:
            return _percent(a, b, question)
        if a.value == b.value:
            return _CORRECT
        return Judgement("unknown", "none", "equal only after rounding") if _rounds(a, b) or _rounds(b, a) else _WRONG
    if a.value == b.value and {a.unit, b.unit} <= KNOWN_UNITS:
        return _WRONG
    return Judgement("unknown", "none", f"units differ: {a.unit!r} and {b.unit!r}")


def _percent(a: Plain, b: Plain, question: str | None) -> Judgement:
    """One side has a percent sign. 50 % is 0.5; it is also 50 where the reference or the question speaks of percent."""
    assert a.value is not None and b.value is not None
    hundredth = Fraction(1, 100)
    if a.value * (hundredth if a.unit == "%" else 1) == b.value * (hundredth if b.unit == "%" else 1):
        return _CORRECT
    if a.value != b.value:
        return _WRONG
    if a.unit == "%" or (question and _ASKS_PERCENT.search(question)):
        return _CORRECT
    return Judgement("unknown", "none", "a percent sign that neither the question nor the reference asks for")


def _rounds(decimal: Plain, exact: Plain) -> bool:
    """Is `decimal` the rounding of a fraction to three or more significant digits? Then it may be meant, and may not: unknown."""
    assert decimal.value is not None and exact.value is not None
    if not decimal.decimal or exact.decimal or exact.value.denominator == 1:
        return False
    digits = len(_FRACTIONAL.sub("", decimal.text.partition(".")[2]))
    return round(exact.value, digits) == decimal.value and abs(decimal.value) * 10**digits >= 100


def answer_type_of(answer: str | None) -> AnswerType:
    """The kind of a reference answer, read off its text."""
    if answer is None or not answer.strip():
        return "none"
    form = plain(answer)
    if form.value is not None:
        if form.decimal:
            return "decimal"
        return "integer" if form.value.denominator == 1 and "/" not in form.text and "\\frac" not in form.text else "fraction"
    if _CHOICES.fullmatch(form.text):
        return "choice"
    return "proof" if _PROOF.match(form.text) else "expression"
