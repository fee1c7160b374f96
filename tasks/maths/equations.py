r"""Equations in prose: chains `a = b = c` of arithmetic with exact values, read from a step of a solution in one pass.

Own grammar, nothing is evaluated but + - * / ^ and a few functions on rationals: prose ends an expression, words behind a number are its
unit, `\frac`, `\times`, `5 x 3`, `20% of 50`, `$1,200.50` are read. What is not understood (a variable without a value, a ratio, a range)
makes its side unknown, never wrong. Brackets that do not match are closed where the side ends, as their writers mean them.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import gcd, isqrt, lcm
from typing import NamedTuple

from tasks.maths.units import UNITS

Number = int | Fraction
MAX_DIGITS = 30
"""Digits of a number that is read; a longer one is unknown."""
MAX_SIZE = 10**60
"""Largest numerator or denominator of a result."""
MAX_DEPTH = 200
"""Deepest nesting of brackets that is read."""


class Side(NamedTuple):
    """One side of a chain. `value` is None where it is not understood."""

    value: Number | None
    operands: tuple[Number, ...]
    """The numbers as written, in order, without the signs before them; a percentage as its hundredth part."""
    name: str
    """The one name that the side consists of, or empty."""
    named: bool
    """A name with a value occurs in it."""
    digits: int
    """Digits behind the decimal point of a side that is one number; -1 for any other side."""
    percent: bool
    unit: str
    """The first word behind a number in it, lower case; empty without."""
    tokens: list[str]

    @property
    def literal(self) -> bool:
        """One number and nothing else."""
        return self.digits >= 0


class Chain(NamedTuple):
    """Sides that are said to be equal; `about[i]` says that sides i and i + 1 are equal only nearly."""

    sides: list[Side]
    about: list[bool]


_TOKEN = re.compile(
    r"""\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+\ \d+/\d+(?![\d./])|\d+(?::\d+)+|\d*\.?\d+|[ ]?\(|[A-Za-z]+(?:['’][a-z]+)?|"""
    r"""[<>!~]=|=+>|[-=]+>|=+|[-+*/)^%≈]|\n[ \t]*(?:[-*+•][ \t]+)?|[.,;:?!"“”<>→⇒&|_±√#@\\{}\[\]'´`]|[^\s\x00-\x7f$]""",
    re.VERBOSE,
)
_CALCULATOR = re.compile(r"<<[^<>\n]{0,200}>>")
_BULLET = re.compile(r"[ \t]*[-*+•][ \t]+")
_BOLD = re.compile(r"(?<!\d)\*\*|\*\*(?!\d)")
_LATEX = re.compile(
    r"\\(?P<frac>[dtc]?frac)\s*(?:\{(?P<num>[^{}]{0,80})\}\s*\{(?P<den>[^{}]{0,80})\}|(?P<n1>\d)\s*(?P<d1>\d))"
    r"|\\(?:text|mathrm|textbf|mathbf|mbox|operatorname)\s*\{(?P<words>[^{}]{0,200})\}|\\(?P<name>(?![dtc]?frac)[a-zA-Z]+)|\\\\|\\(?P<sign>[^a-zA-Z])"
)
_COMMANDS = {
    "times": "*", "cdot": "*", "ast": "*", "div": "/", "approx": "≈", "sim": "≈", "simeq": "≈", "left": "", "right": "", "quad": " ", "qquad": " ",
    "boxed": "", "displaystyle": "", "dots": "…", "ldots": "…", "cdots": "…", "implies": "⇒", "Rightarrow": "⇒", "to": "→", "rightarrow": "→",
    "therefore": ".", "big": "", "Big": "", "bigl": "", "bigr": "", "sqrt": " sqrt", "gcd": "gcd", "lcm": "lcm", "equiv": "_", "pmod": "_",
}  # fmt: skip
_SIGNS = {"$": " ", "%": "%", "(": " ", ")": " ", "[": "\n", "]": "\n", ",": "", "!": "", ";": " ", " ": " ", ":": " ", "{": "(", "}": ")"}
_CHARACTERS = str.maketrans({
    "−": "-", "–": "-", "—": " . ", "×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "⁄": "/", "∕": "/", "≒": "≈", "≃": "≈", "‚": ",", "，": ", ",
    "、": ", ", "。": ". ", "：": ": ", "；": "; ", "（": "(", "）": ")", "½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3",
    "²": "^2", "³": "^3", "€": "", "£": "", "¥": "", "₹": "", "¢": " cents", "°": " degrees",
})  # fmt: skip
_CHINESE = re.compile("等于|等於|乘以|乘|加上|加|减去|減去|减|減|除以|約等於|约等于|约为|約為|平方|的")
_CHINESE_WORDS = {
    "等于": "=", "等於": "=", "乘以": "*", "乘": "*", "加上": "+", "加": "+", "减去": "-", "減去": "-", "减": "-", "減": "-", "除以": "/",
    "约等于": "≈", "約等於": "≈", "约为": "≈", "約為": "≈",
}  # fmt: skip
_WORD_SIGNS = {"times": "*", "plus": "+", "minus": "-", "equals": "=", "x": "*", "X": "*", "of": "*"}
_SPOILS = frozenset(
    """dozen dozens hundred hundreds thousand thousands million millions billion billions trillion squared cubed half halves third thirds
    quarter quarters fourth fourths fifth fifths k K M B mod remainder R r pm am""".split()
)
"""Words that change the number before them: the side is unknown."""
_SCALES = frozenset("half twice double triple thrice third quarter fourth fifth sixth tenth root square cube than".split())
"""Words that change the number behind them, at once or with `of` between: the side is unknown."""
_FUNCTION = re.compile(r"\b(gcd|lcm|gcf|hcf|sqrt) ?\( ?(\d{1,18}) ?(?:, ?(\d{1,18}) ?)?\)|√ ?(\d{1,18})(?![\d.])", re.IGNORECASE | re.ASCII)
_START, _OPERAND, _OPERATOR, _UNIT = range(4)
"""What is awaited: the first operand, another one, an operator; or, behind words that follow an operand, an operator."""


def chains(text: str, names: Mapping[str, Number]) -> list[Chain]:
    """All chains of one or more sides with arithmetic in a step, in order; `names` are the values of single letters."""
    reader = _Reader(_TOKEN.findall(_plain(text)), names)
    return reader.read()


def _plain(text: str) -> str:
    """One spelling for signs; calculator annotations `<<1+1=2>>`, bold marks and bullets are dropped."""
    if "<<" in text:
        text = _CALCULATOR.sub("", text)
    if not text.isascii():
        text = _CHINESE.sub(lambda m: _CHINESE_WORDS.get(m[0], " "), text)
        text = unicodedata.normalize("NFKC", text.translate(_CHARACTERS)).translate(_CHARACTERS)
    if "\\" in text:
        text = _from_latex(text)
    if "**" in text:
        text = _BOLD.sub(" ", text)
    if "(" in text or "√" in text:
        text = _FUNCTION.sub(_computed, text)
    if bullet := _BULLET.match(text):
        text = text[bullet.end() :]
    return text


def _from_latex(text: str) -> str:
    """Fractions inside out, at most four deep; then commands and braces as signs."""
    for _ in range(4):
        text, found = _LATEX.subn(_command, text)
        if not found:
            break
    return text.replace("{,}", ",").replace("{", "(").replace("}", ")").replace("\\", " _ ")


def _command(match: re.Match[str]) -> str:
    if match["frac"]:
        top, bottom = (match["num"], match["den"]) if match["num"] is not None else (match["n1"], match["d1"])
        return f"(({top})/({bottom}))" if top is not None else "_"
    if match["words"] is not None:
        return f" {match['words']} "
    if match["name"]:
        return _COMMANDS.get(match["name"], " _ ")
    return _SIGNS.get(match["sign"], " ") if match["sign"] else "\n"


def _computed(match: re.Match[str]) -> str:
    """The value of a function of whole numbers, in brackets; unknown for roots that are not whole."""
    name, first, second = (match[1] or "sqrt").lower(), int(match[2] or match[4]), match[3]
    if name == "sqrt":
        root = isqrt(first)
        return f"({root})" if root * root == first and second is None else " _ "
    if second is None:
        return " _ "
    return f"({lcm(first, int(second)) if name == 'lcm' else gcd(first, int(second))})"


def number_of(token: str) -> tuple[Number | None, int]:
    """(value, digits behind the point) of a token that begins with a digit or a point; None for ratios, times and very long ones."""
    if len(token) > MAX_DIGITS or ":" in token:
        return None, 0
    if token.isdecimal():
        return int(token), 0
    if "/" in token:
        whole, top, bottom = map(int, re.split(r"[ /]", token))
        return (whole + ratio(top, bottom) if bottom else None), 0
    whole_part, _, part = token.replace(",", "").partition(".")
    return ratio(int((whole_part or "0") + part), 10 ** len(part)), len(part)


def ratio(top: Number, bottom: Number) -> Number:
    """The exact quotient, an int where it is whole."""
    value = Fraction(top) / bottom
    return value.numerator if value.denominator == 1 else value


def _small(value: Number) -> bool:
    if type(value) is int:
        return -MAX_SIZE < value < MAX_SIZE
    return abs(value.numerator) < MAX_SIZE and value.denominator < MAX_SIZE


class _Reader:
    """One pass over the tokens. A side is kept as total + term; brackets put these, and what stood before them, on a stack."""

    __slots__ = (
        "about", "after_word", "applied", "base", "digits", "found", "i", "name", "named", "names", "negative", "operands", "operator",
        "percent", "prior", "scaled", "sides", "sign", "spoilt", "stack", "start", "state", "term", "tokens", "total", "unit", "words",
    )  # fmt: skip

    def __init__(self, tokens: list[str], names: Mapping[str, Number]) -> None:
        self.tokens = tokens
        self.names = names
        self.found: list[Chain] = []
        self.sides: list[Side] = []
        self.about: list[bool] = []
        self.i = 0
        self.fresh(0)

    def read(self) -> list[Chain]:
        handlers = _HANDLERS
        for i, token in enumerate(self.tokens):
            self.i = i
            if token in handlers:
                handlers[token](self, token)
            elif token[0] in ".0123456789":
                self.number(token) if token != "." else self.stop(token)
            elif token[0].isalpha():
                self.word(token)
            elif token[0] == "\n":
                self.newline(token)
            elif token[0].isdecimal():
                self.number(token)
            else:
                self.stop(token)
        self.i = len(self.tokens)
        self.finish()
        return self.found

    def fresh(self, start: int, spoilt: bool = False) -> None:
        """Begin a side at token `start`."""
        self.start, self.spoilt, self.state = start, spoilt, _START
        self.total: Number = 0
        self.term: Number = 0
        self.operator, self.negative = "+", False
        self.applied, self.sign = "+", 1
        self.base: Number | None = None
        self.prior: Number = 0
        self.stack: list[tuple[Number, Number, str, bool, str, int, Number | None, Number]] = []
        self.operands: list[Number] = []
        self.name = self.unit = ""
        self.named = self.percent = self.after_word = self.scaled = False
        self.digits = -1
        self.words: list[str] = []

    # Operands

    def number(self, token: str) -> None:
        if self.state >= _OPERATOR:
            self.part(two_units=self.state == _UNIT and self.unit in UNITS and (len(self.words) == 1 or self.words[-1] == "and"))
        value, digits = (int(token), 0) if token.isdecimal() and len(token) < MAX_DIGITS else number_of(token)
        if value is None:
            self.spoilt, value = True, 0
        if self.state == _START:
            self.digits = digits
        self.operands.append(value)
        self.operand(value)

    def part(self, two_units: bool) -> None:
        """A number behind a complete side begins another one. Two numbers side by side and `5 feet 3 inches` are not understood."""
        unclear = two_units or self.state == _OPERATOR
        self.spoilt |= two_units
        self.finish()
        self.spoilt = unclear

    def operand(self, value: Number) -> None:
        if self.operator == "^":
            self.power(-value if self.negative else value)
        else:
            self.base, self.applied, self.sign = value, self.operator, -1 if self.negative else 1
            self.apply(value)
        self.negative = False
        self.state = _OPERATOR

    def apply(self, value: Number) -> None:
        """Take an operand into the sum."""
        value *= self.sign
        if self.applied == "*":
            self.prior = self.term
            self.term = self.term * value
        elif self.applied == "/":
            self.prior = self.term
            self.spoilt |= not value
            self.term = ratio(self.term, value or 1)
        else:
            self.total += self.term
            self.term = value if self.applied == "+" else -value
        if not _small(self.term) or not _small(self.total):
            self.total, self.term, self.spoilt = 0, 0, True

    def power(self, exponent: Number) -> None:
        """Put base ** exponent in place of the base, which has been taken in already."""
        base, self.base = self.base, None
        bits = 0 if base is None else max(base.numerator.bit_length(), base.denominator.bit_length())
        if base is None or exponent.denominator != 1 or abs(exponent) * bits > 200 or (exponent <= 0 and not base):
            self.spoilt = True
            return
        self.term = self.prior if self.applied in "*/" else 0
        self.apply(ratio(1, base**-exponent.numerator) if exponent < 0 else base**exponent.numerator)

    # Signs

    def plus_minus(self, token: str) -> None:
        if self.state >= _OPERATOR:
            self.operator, self.state, self.digits = token, _OPERAND, -1
            return
        self.spoilt |= self.state == _START and self.after_word  # `total - 5`: of a quantity in words
        self.negative ^= token == "-"

    def times(self, token: str) -> None:
        self.spoilt |= self.state < _OPERATOR
        self.operator, self.state, self.digits = token, _OPERAND, -1

    def hat(self, token: str) -> None:
        self.spoilt |= self.state != _OPERATOR
        self.operator, self.state, self.digits = "^", _OPERAND, -1

    def per_cent(self, _: str) -> None:
        if self.state != _OPERATOR or self.base is None:
            self.spoilt = True
            return
        self.percent, self.base = True, ratio(self.base, 100)
        self.term = self.term * 100 if self.applied == "/" else ratio(self.term, 100)
        if self.operands:
            self.operands[-1] = ratio(self.operands[-1], 100)

    def opening(self, token: str) -> None:
        if self.state == _UNIT or (self.state == _OPERATOR and token[0] == " "):
            self.part(two_units=False)
        elif self.state == _OPERATOR:
            self.operator = "*"
        if len(self.stack) < MAX_DEPTH:
            kept = (self.total, self.term, self.operator, self.negative, self.applied, self.sign, self.base, self.prior)
            self.stack.append(kept)
        else:
            self.spoilt = True
        self.total = self.term = 0
        self.operator, self.negative, self.state, self.digits = "+", False, _OPERAND, -1

    def closing(self, token: str) -> None:
        if self.state < _OPERATOR:
            self.stop(token)
        elif self.stack:
            value = self.total + self.term
            self.total, self.term, self.operator, self.negative, self.applied, self.sign, self.base, self.prior = self.stack.pop()
            self.operand(value)

    def equals(self, token: str) -> None:
        self.side()
        self.about.append(token in ("≈", "~="))
        self.fresh(self.i + 1)

    # Words

    def word(self, token: str) -> None:
        if len(token) == 1 and self.letter(token):
            return
        if self.state == _START:
            self.after_word, self.start = True, self.i + 1
            self.scaled = token.lower() in _SCALES or (self.scaled and token in ("of", "the"))
        elif self.state == _OPERAND:
            self.spoilt |= self.operator != "/" or not self.operands  # `30 miles / hour` has a unit of two words
            self.state = _UNIT
        elif not self.sign_in_words(token):
            self.spoilt |= token in _SPOILS or token == "times"
            self.unit = self.unit or token.lower()
            self.words.append(token)
            self.state = _UNIT

    def sign_in_words(self, token: str) -> bool:
        """`5 times 3`, `20% of 50`, `6 divided by 2`: where a number follows."""
        following = self.following()
        sign = _WORD_SIGNS.get(token)
        if token == "by" and self.words:
            sign = {"divided": "/", "multiplied": "*"}.get(self.words[-1])
        if sign is None or not (following[:1].isdecimal() or following.strip() == "("):
            return False
        if token == "of" and not self.percent and self.applied != "/":
            self.spoilt = True
        _HANDLERS[sign](self, sign)
        return True

    def letter(self, token: str) -> bool:
        """A single letter as a name; False where it is a word (`a`, `I`)."""
        following = self.following()
        if self.state in (_START, _UNIT) and following not in _AFTER_NAME:
            return False
        if self.state == _UNIT:
            self.finish()
        value = self.names.get(token)
        if self.state == _OPERATOR:
            if token in "xX" and (following[:1].isdecimal() or following.strip() == "("):
                self.times("*")
                return True
            if value is None and token in "aAI":
                return False
            self.operator = "*"
        self.spoilt |= value is None
        self.named |= value is not None
        self.name, self.digits = token, -1
        self.operand(0 if value is None else value)
        return True

    def following(self) -> str:
        return self.tokens[self.i + 1] if self.i + 1 < len(self.tokens) else ""

    # Ends

    def newline(self, _: str) -> None:
        if self.following() not in ("=", "≈"):
            self.finish()

    def stop(self, token: str) -> None:
        """Punctuation ends a chain; behind a relation, or in the middle of a ratio, comes nothing that can be checked."""
        spoils = token in _RELATIONS or (token == ":" and self.state == _OPERATOR and self.following()[:1].isdecimal())
        self.finish()
        self.fresh(self.i + 1, spoils)

    def unknown(self, _: str) -> None:
        """Something that is not understood, in the place of an operand or behind one."""
        self.spoilt, self.state, self.digits = True, _OPERATOR, -1

    def side(self) -> None:
        """Add the side that ends here, with its brackets closed."""
        self.spoilt |= self.state == _OPERAND or self.scaled
        while self.stack and self.state >= _OPERATOR:
            self.closing("")
        value = None if self.spoilt or self.state < _OPERATOR else self.total + self.term
        name = self.name if self.i - self.start == 1 else ""
        tokens = self.tokens[self.start : self.i]
        self.sides.append(Side(value, tuple(self.operands), name, self.named, self.digits, self.percent, self.unit, tokens))

    def finish(self) -> None:
        """The chain ends here."""
        if self.state >= _OPERATOR or self.sides:
            self.side()
            if len(self.sides) > 1 or self.named or len(self.operands) > 1:
                self.found.append(Chain(self.sides, self.about))
            self.sides, self.about = [], []
        self.fresh(self.i)


_HANDLERS: dict[str, Callable[[_Reader, str], None]] = {
    "+": _Reader.plus_minus, "-": _Reader.plus_minus, "*": _Reader.times, "/": _Reader.times, "^": _Reader.hat, "%": _Reader.per_cent,
    "(": _Reader.opening, " (": _Reader.opening, "[": _Reader.opening, ")": _Reader.closing, "]": _Reader.closing, "=": _Reader.equals,
    "==": _Reader.equals, "≈": _Reader.equals, "~=": _Reader.equals, "_": _Reader.unknown, "√": _Reader.unknown, "|": _Reader.unknown,
    "±": _Reader.unknown, "…": _Reader.unknown,
}  # fmt: skip
_AFTER_NAME = frozenset(["+", "-", "*", "/", "^", "=", "≈", ")", "==", "~="])
_RELATIONS = frozenset(["<", ">", "<=", ">=", "!=", "≤", "≥", "≠"])
