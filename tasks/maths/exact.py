"""Answers that are plain numbers: one normal form of the text, and an exact rational value with its unit.

The unit rules keep variables: a bare letter is never a unit (`5m` is 5·m), `\\mathrm{m}` after a number is; see docs/decisions/0003.
"""

import re
import unicodedata
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from tasks.maths.units import CURRENCY, NOT_UNITS, SHORT_UNITS, UNITS, WORD_NUMBERS

MAX_LENGTH = 10_000
"""Characters: longer answers are compared as text only."""
MAX_DIGITS = 1_000
"""Digits of a number, and the largest decimal exponent, that are turned into a value."""

_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
_SPACES = re.compile(r"(?:(?<!\\)\\[,!;: ]|\\q?quad\b|\\(?:hspace|mspace)\*?\{[^{}]*\}|~|\s)+")
_SPACED = re.compile(r"[\\~\s]|\{,\}")
_INLINE = re.compile(r"(?<!\\)\$([^$]+)(?<!\\)\$")
_BRACES = re.compile(r"(?<!\\)[{}]")
_NO_NUMBER = re.compile(r"[=<>|&_]|\\(?:sqrt|pi|sin|cos|tan|ln|log|infty)")
_MAY_BE_NUMBER = re.compile(r"[-+.\d$€£¥₹]|\\frac|USD|R|[a-z]+$|[\u3007-\u9fff]+$")
_RENAMED = {
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\leqslant": r"\le", r"\geqslant": r"\ge", r"\leq": r"\le",
    r"\geq": r"\ge",
    r"\lt": "<", r"\gt": ">", r"\ne": r"\neq", r"\infin": r"\infty", r"\lbrack": "[", r"\rbrack": "]", r"\lbrace": r"\{", r"\rbrace": r"\}",
    r"\dots": r"\ldots", r"\cdots": r"\ldots", r"\times": r"\cdot", r"\degree": r"^\circ", r"\mathrm": r"\text", r"\textbf": r"\text",
    r"\textit": r"\text", r"\textrm": r"\text", r"\mbox": r"\text", r"\hbox": r"\text", r"\rm": "", r"\mathbf": "", r"\boldsymbol": "",
    r"\bm": "",
    r"\mathit": "", r"\bf": "", r"\lvert": "|", r"\rvert": "|", r"\vert": "|", r"\$": "$",
    r"\%": "%", r"\operatorname": r"\text", r"\div": "/",
}  # fmt: skip
_LAYOUT = "left right big Big bigl bigr bigm Bigl Bigr bigg Bigg biggl biggr displaystyle textstyle limits nolimits"
_RENAMED |= {f"\\{name}": "" for name in re.findall(r"\w+", _LAYOUT)}
_COMMAND = re.compile(r"\\(?:[a-zA-Z]+|[$%])")
_CHARACTERS = str.maketrans({"−": "-", "–": "-", "×": "\\cdot ", "·": "\\cdot ", "÷": "/", "≤": "\\le ", "≥": "\\ge ", "≠": "\\neq ",
    "∞": "\\infty ",
                             "π": "\\pi ", "°": "^\\circ ", "∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "±": "\\pm ", "，": ",", "、": ",",
                             "；": ";",
                             "（": "(", "）": ")", "：": ":", "。": ".", "⁄": "/", "′": "'", "∣": "|", "√": " sqrt ", "½": " 1/2",
                             "¼": " 1/4", "¾": " 3/4",
                             "⅓": " 1/3", "⅔": " 2/3", "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ", "θ": "\\theta ", "λ": "\\lambda ",
                             "μ": "\\mu ",
                             "φ": "\\phi ", "ω": "\\omega "})  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+")
_WIDE = re.compile(r"(?<![0-9A-Za-z\\]) +| +(?![0-9A-Za-z])")

_NUMBER = re.compile(
    r"""(?P<sign>[+-]?)\s*(?P<money>(?:[$€£¥₹]|USD|Rs\.?|RMB)?)\s*(?P<minus>-?)
    (?: (?P<int>\d{1,3}(?:(?:,|\{,\})\s?\d{3})+(?!\d)|\d{1,3}(?:[ ]\d{3})+(?!\d)|\d+)? (?P<dec>\.\d*)?
        (?: \s*(?:\\cdot|\*)\s*10\s*\^\s*(?:\{\s*(?P<exp>[+-]?\d{1,6})\s*\}|(?P<exp1>\d)) | [eE](?P<e>[+-]?\d{1,6}) )?
    )""",
    re.VERBOSE | re.ASCII,
)
_FRACTION = re.compile(
    r"""(?P<sign>[+-]?)\s*(?P<money>[$€£¥₹]?)\s*(?P<minus>-?)
    (?: (?:(?P<whole>\d+)[ ]?)?\\frac[ ]?(?:\{[ ]?(?P<num>-?\d+)[ ]?\}|(?P<num1>\d))[ ]?(?:\{[ ]?(?P<den>-?\d+)[ ]?\}|(?P<den1>\d))
      | (?:(?P<whole2>\d+)[ ])?(?P<num2>\d+)[ ]?/[ ]?(?P<den2>\d+)(?![.\d]) )""",
    re.VERBOSE | re.ASCII,
)
_REPEATING = re.compile(r"(-?)(\d{0,30})\.(\d{0,30})\\(?:overline|bar|dot) ?\{?(\d{1,30})\}?", re.ASCII)
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "万": 10**4, "亿": 10**8}
_SCALE = re.compile(r" ?(?:\\text ?\{ ?)?(" + "|".join(_SCALES) + r")(?![a-zA-Z])(?: ?\})?", re.IGNORECASE)
_UNIT_WORD = re.compile(r"[A-Za-z][A-Za-z.]*|[$€£¥₹%°]|[㐀-鿿]+|\^\\circ|\^\{\\circ\}")


class Plain(NamedTuple):
    """An answer in normal form. `value` is None where it is no plain number; `unit` is "" where none is written."""

    text: str
    value: Fraction | int | None = None
    unit: str = ""
    decimal: bool = False
    """Written with a decimal point or exponent."""


@lru_cache(maxsize=65_536)
def plain(answer: str) -> Plain:
    """The normal form of an answer; cached, because the same few answers come back in every rollout."""
    if _INTEGER.fullmatch(answer):
        return Plain(answer, int(answer))
    if len(answer) > MAX_LENGTH:
        return Plain(answer)
    text = normalise(answer)
    if _INTEGER.fullmatch(text):
        return Plain(text, int(text))
    number = _number_and_unit(text)
    return Plain(text, *number) if number else Plain(text)


def normalise(answer: str) -> str:
    r"""One spelling for what is only typography: math delimiters, spacing, `\left`, `\dfrac`, full-width characters, a final full stop."""
    text = (answer if answer.isascii() else _to_latex(answer)).strip()
    if text.startswith("$") and text.endswith("$") and text.count("$") == 2:
        text = text[1:-1].strip()
    if text and (text[0] in "$*\\" or text[-1] == "."):
        text = _unwrap(text)
    if text.count("$") > 1:
        text = _INLINE.sub(r" \1 ", text)
    if "\\" in text:
        text = _COMMAND.sub(_rename, text)
    if _SPACED.search(text):
        text = _WIDE.sub("", _SPACES.sub(" ", text.replace("{,}", ",").replace("\\!", ""))).strip()
    while text and text[-1] in ".;,":
        text = text[:-1].rstrip()
    return text


def _to_latex(answer: str) -> str:
    """Mathematical characters as commands; NFKC for the rest, after the superscripts, which it would turn into plain digits."""
    raised = _RAISED.sub(lambda match: "^{" + match[0].translate(_SUPERSCRIPTS) + "}", answer)
    return unicodedata.normalize("NFKC", raised.translate(_CHARACTERS)).translate(_CHARACTERS)


def _rename(match: re.Match[str]) -> str:
    return _RENAMED.get(match[0], match[0])


_WRAPPERS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"))
_BOXES = re.compile(r"\\(?:boxed|text|mathrm|textbf) ?\{")


def _unwrap(text: str) -> str:
    r"""The text without delimiters that enclose all of it: `$...$`, `\(...\)`, `\[...\]`, `\boxed{...}`, a final full stop."""
    while True:
        before = text
        if text.endswith("."):
            text = text.rstrip(".").strip()
        for left, right in _WRAPPERS:
            inner = text[len(left) : -len(right)]
            if text.startswith(left) and text.endswith(right) and inner and left not in inner and right not in inner:
                text = inner.strip()
        box = _BOXES.match(text)
        if box and text.endswith("}") and _closes_last(text, box.end()):
            text = text[box.end() : -1].strip()
        if text == before:
            return text


def _closes_last(text: str, start: int) -> bool:
    """Is the last character the partner of the brace before `start`?"""
    depth = 1
    for brace in _BRACES.finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.end() == len(text)
    return False


def _number_and_unit(text: str) -> tuple[Fraction, str, bool] | None:
    """(value, unit, written as a decimal) of a text that is one number, with or without a unit."""
    if not _MAY_BE_NUMBER.match(text) or _NO_NUMBER.search(text):
        return None
    patterns = _BOTH if "/" in text or "frac" in text else _BOTH[1:]
    for pattern, value_of in patterns:
        match = pattern.match(text)
        if match and match.end() <= MAX_DIGITS and (value := value_of(match)) is not None:
            end = match.end()
            if scale := _SCALE.match(text, end):
                value, end = value * _SCALES[scale[1].lower()], scale.end()
            unit = _unit(text[end:], match["money"])
            if unit is not None:
                negative = "-" in (match["sign"], match["minus"])
                return (-value if negative else value), unit, pattern is _NUMBER and not _is_integer(match)
    if repeating := _REPEATING.fullmatch(text):
        return _repeating(repeating), "", False
    spelled = WORD_NUMBERS.get(text.lower())
    if spelled is None:
        spelled = chinese_number(text)
    return (Fraction(spelled), "", False) if spelled is not None else None


def _is_integer(match: re.Match[str]) -> bool:
    return match["dec"] is None and match["exp"] is None and match["exp1"] is None and match["e"] is None


def _fraction(match: re.Match[str]) -> Fraction | None:
    top, bottom = int(match["num"] or match["num1"] or match["num2"]), int(match["den"] or match["den1"] or match["den2"])
    whole = match["whole"] or match["whole2"]
    if bottom == 0 or (whole and (top < 0 or bottom < 0)):
        return None
    return Fraction(top, bottom) + int(whole or 0)


def _decimal(match: re.Match[str]) -> Fraction | None:
    whole, part = match["int"], match["dec"]
    digits = (part or ".")[1:]
    if whole is None and not digits:
        return None
    exponent = int(match["exp"] or match["exp1"] or match["e"] or 0)
    if abs(exponent) > MAX_DIGITS:
        return None
    value = Fraction(int(re.sub(r"\D", "", whole or "0") + digits), 10 ** len(digits))
    return value * 10**exponent if exponent >= 0 else value / 10**-exponent


_BOTH = ((_FRACTION, _fraction), (_NUMBER, _decimal))


def _repeating(match: re.Match[str]) -> Fraction:
    r"""`0.1\overline{6}` is 1/6."""
    whole, fixed, period = match[2] or "0", match[3], match[4]
    value = Fraction(int(whole + fixed), 10 ** len(fixed)) + Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(fixed))
    return -value if match[1] else value


def _unit(rest: str, money: str) -> str | None:
    r"""The normal name of the unit in `rest` ("" for none), or None where `rest` is not a unit and so the text is no plain number."""
    if not rest:
        return CURRENCY.get(money, "")
    in_text = "\\text" in rest
    spaced = rest[0] == " "
    words = _UNIT_WORD.sub("", re.sub(r"\\text ?\{([^{}]*)\}", r" \1 ", rest).strip())
    if re.sub(r"[\s./^23{}()-]|\\cdot", "", words):
        return None
    found = re.findall(_UNIT_WORD, rest.replace("\\text", " ").replace("\\cdot", " "))
    if not found or len(found) > 5 or not all(_may_be_unit(w, in_text, spaced) for w in found):
        return None
    powers = "".join(re.findall(r"\^\{?(-?[23])\}?", rest))
    name = " ".join(UNITS.get(w, UNITS.get(w.lower().rstrip("."), w.lower().rstrip("s."))) for w in found) + powers
    return name if not money or name == CURRENCY.get(money) else None


def _may_be_unit(word: str, in_text: bool, spaced: bool) -> bool:
    r"""Symbols and known words always; any other word only in `\text{}` or, of four letters and more, after a space."""
    if word.lower() in NOT_UNITS:
        return False
    if not word[0].isalpha() or not word.isascii() or in_text or word.lower().rstrip(".") in UNITS:
        return True
    return spaced and (len(word) >= 4 or word in SHORT_UNITS)


_CHINESE_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_CHINESE_POWERS = {"十": 10, "百": 100, "千": 1000}
_CHINESE_GROUPS = {"万": 10**4, "亿": 10**8}


def chinese_number(text: str) -> int | None:
    """The value of a number written in Chinese characters (三十二 is 32), None for any other text."""
    if not 0 < len(text) <= 20:
        return None
    total = group = digit = 0
    for character in text:
        if character in _CHINESE_DIGITS:
            digit = digit * 10 + _CHINESE_DIGITS[character]
        elif character in _CHINESE_POWERS:
            group, digit = group + (digit or 1) * _CHINESE_POWERS[character], 0
        elif character in _CHINESE_GROUPS:
            total, group, digit = (total + group + digit) * _CHINESE_GROUPS[character], 0, 0
        else:
            return None
    return total + group + digit
