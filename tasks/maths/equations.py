r"""Equations in prose: chains `a = b = c` of arithmetic with exact values, read from a step of a solution in one pass.

Own grammar, nothing is evaluated but + - * / ^ on rationals: prose ends an expression, words behind a number are its unit, `5 x 3`,
`20% of 50`, `$1,200.50`, `6 divided by 2` are read. What is not understood (a variable without a value, a ratio, a range) makes its
side unknown, never wrong. Brackets that do not match are closed where the side ends, as their writers mean them.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from tasks.maths.notation import plain_signs
from tasks.maths.rational import MAX_DIGITS, Number, evaluate, number_of, power, ratio
from tasks.maths.units import SHORT_UNITS, UNITS

MAX_LENGTH = 50_000
"""Characters: in a longer text nothing is read."""
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
    """Empty for what stands before an equals sign that the text begins with."""

    @property
    def number(self) -> Number:
        """The value of a side that is understood."""
        if self.value is None:
            raise ValueError(f"no value for {' '.join(self.tokens)!r:.80}: ask whether `value` is None")
        return self.value

    @property
    def literal(self) -> bool:
        """One number and nothing else."""
        return self.digits >= 0


class Chain(NamedTuple):
    """Sides that are said to be equal; `about[i]` says that sides i and i + 1 are equal only nearly."""

    sides: list[Side]
    about: list[bool]


_WORD = r"[A-Za-z㐀-鿿]+(?:['’][a-z]+)?"
_TERM = r"[-(]{0,8}\d{1,15}\){0,8}"
_TOKEN = re.compile(
    rf"""{_WORD}(?:[ ]{_WORD})*|=++(?!>)|(?>[ ]?{_TERM}(?:[ ]?[-+*/][ ]?{_TERM}){{1,40}})(?=[ ]?(?:=|\.(?:\s|$)|[,;"]\D|\n|$))|"""
    r"""\d+(?:(?:,\d+)+(?:\.\d+)?|\.\d+|\ \d+/\d+(?![\d./])|(?::\d+)+)?|\.\d+|[ ]?\(|[<>!~]=|[-=]+>|"""
    r"""[-+*/)^%≈]|\n[ \t]*(?:[-*+•][ \t]+)?|[.,;:?!"“”<>→⇒&|_±√#@\\{}\[\]'´`]|[^\s\x00-\x7f$]""",
    re.VERBOSE,
)
"""Words come as phrases. The third alternative is a whole side of bare arithmetic, the common case, read at once."""
_NUMERAL = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+|\d+ \d+/\d+|\d+(?::\d+)+")
_PART = re.compile(r"\d+|[-+*/()]")
_TIGHT = re.compile(r"\d/\d")
_DIGITS = re.compile(r"\d+")
_WORD_SIGNS = {"times": "*", "plus": "+", "minus": "-", "equals": "=", "x": "*", "X": "*", "of": "*"}
_SPOILS = frozenset(
    re.findall(
        r"\w+",
        """times dozen dozens hundred hundreds thousand thousands million millions billion billions trillion squared cubed half halves third
        thirds quarter quarters fourth fourths fifth fifths k K M B mod remainder R r pm am""",
    )
)
"""Words that change the number before them: the side is unknown."""
_VERBS = frozenset(re.findall(r"\w+", "is are was were be has have had gets gives makes costs leaves then so to from that which"))
"""Words that are no unit of the number before them: the side ends."""
_SHARES = ("half", "third", "thirds", "quarter", "quarters", "fourth", "fifth", "sixth", "tenth", "root", "square", "cube")
_SCALING = tuple(
    [f" {word}{link}" for word in ("twice", "double", "triple", "thrice", "than", "times") for link in ("", " of", " the", " of the")]
    + [f" {word}{link}" for word in _SHARES for link in (" of", " of the")]
)
"""Endings of phrases that change the number behind them: the side is unknown."""
_SHORT = SHORT_UNITS | frozenset(
    re.findall(
        r"\w+", "and or for per now off all too if as at by on in an a new old her his she he it we of the but who can may one two big"
    )
)
"""Words of fewer than four letters that may stand behind a number; others are taken for products of variables."""
_MAX_UNIT = 3
"""More words than these are no unit."""
_START, _OPERAND, _OPERATOR, _UNIT = range(4)
"""What is awaited: the first operand, another one, an operator; or, behind words that follow an operand, an operator."""


def chains(text: str, names: Mapping[str, Number]) -> list[Chain]:
    """All chains of one or more sides with arithmetic in a step, in order; `names` are the values of single letters."""
    if len(text) > MAX_LENGTH:
        return []
    return _Reader(_TOKEN.findall(plain_signs(text)), names).read()


@lru_cache(maxsize=4096)
def _bare(text: str) -> tuple[Number | None, tuple[Number, ...]]:
    """(value, operands) of a side of bare arithmetic; cached, because a solution writes the same terms again and again."""
    items = [int(part) if part.isdecimal() else part for part in _PART.findall(text)]
    if " / " in text and _TIGHT.search(text):
        return None, ()  # `28 / 1/5`
    items += ")" * (text.count("(") - text.count(")"))
    return evaluate(items), tuple(map(int, _DIGITS.findall(text)))


class _Reader:
    """One pass over the tokens: which of them belong to a side, as items for `evaluate`."""

    __slots__ = (
        "about", "after_word", "depth", "digits", "found", "i", "items", "listed", "measure", "name", "named", "names", "operands",
        "percent", "raised", "scaled", "shown", "sides", "spoilt", "start", "state", "tokens", "unit", "words",
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
        handlers, take = _HANDLERS, self.take
        for i, token in enumerate(self.tokens):
            self.i = i
            if token in handlers:
                handlers[token](self, token)
            else:
                take(token)
        self.i = len(self.tokens)
        self.finish()
        return self.found

    def take(self, token: str) -> None:
        if token[0].isalpha():
            self.phrase(token)
        elif token.isdecimal():
            self.number(token)
        elif token[-1] not in "0123456789)":
            self.newline(token) if token[0] == "\n" else self.stop(token)
        elif _NUMERAL.fullmatch(token):
            self.number(token)
        else:
            self.arithmetic(token)

    def fresh(self, start: int) -> None:
        """Begin a side at token `start`."""
        self.start, self.state, self.depth = start, _START, 0
        self.items: list[Number | str] = []
        self.operands: list[Number] = []
        self.words: list[str] = []
        self.name = self.unit = self.measure = ""
        self.spoilt = self.named = self.percent = self.raised = self.after_word = self.scaled = False
        self.digits = self.shown = -1
        self.listed = False

    # Operands

    def arithmetic(self, token: str) -> None:
        if self.state != _START or self.items or (self.after_word and token.lstrip()[0] == "-"):
            if token.startswith(" (") and self.state >= _OPERATOR:
                self.part(two_units=False)
            for part in _PART.findall(token):
                _HANDLERS.get(part, _Reader.number)(self, part)
            return
        self.spoilt |= token[0] == "(" and self.is_call()
        value, operands = _bare(token)
        self.operands += operands
        self.operand(value)

    def number(self, token: str) -> None:
        if self.state >= _OPERATOR:
            self.part(two_units=self.state == _UNIT and self.goes_on_in_words())
        value, digits = (int(token), 0) if len(token) < MAX_DIGITS and token.isdecimal() else number_of(token)
        if self.state == _START:
            self.digits = self.shown = digits
        if value is not None:
            self.operands.append(value)
        self.operand(value)

    def goes_on_in_words(self) -> bool:
        """`5 feet 3`, `2 hours and 30`, `1 and 1/4`: one quantity in two parts."""
        last_and = self.words[-1] == "and"
        return (self.unit in UNITS and (last_and or len(self.words) == 1)) or (last_and and self.following() == "/")

    def part(self, two_units: bool) -> None:
        """A number behind a complete side begins another one. Two numbers side by side and `5 feet 3 inches` are not understood."""
        unclear = two_units or self.state == _OPERATOR or self.depth > 0
        self.spoilt |= two_units
        self.finish()
        self.spoilt = unclear

    def operand(self, value: Number | None) -> None:
        self.state = _OPERATOR
        if self.raised:
            self.raised = False
            base = self.items.pop()
            value = power(base, value) if type(base) is not str and value is not None else None  # type: ignore[arg-type]
        self.spoilt |= value is None
        self.items.append(0 if value is None else value)

    # Signs

    def plus_minus(self, token: str) -> None:
        if len(self.words) > _MAX_UNIT:
            self.finish()
            self.after_word = True
        if self.state >= _OPERATOR:
            self.state, self.digits = _OPERAND, -1
        self.spoilt |= self.raised or (self.state == _START and self.after_word)  # `total - 5`: of a quantity in words
        self.items.append(token)

    def times(self, token: str) -> None:
        self.spoilt |= self.state < _OPERATOR
        self.state, self.digits = _OPERAND, -1
        self.items.append(token)

    def hat(self, _: str) -> None:
        self.raised = self.state == _OPERATOR and bool(self.items) and not isinstance(self.items[-1], str)
        self.spoilt |= not self.raised
        self.state, self.digits, self.name = _OPERAND, -1, ""

    def per_cent(self, _: str) -> None:
        last = self.items[-1] if self.items else ""
        if self.state != _OPERATOR or isinstance(last, str):
            self.spoilt = True
            return
        self.percent = True
        self.items[-1] = ratio(last, 100)
        if self.operands:
            self.operands[-1] = ratio(self.operands[-1], 100)

    def opening(self, token: str) -> None:
        if self.state == _UNIT or (self.state == _OPERATOR and token[0] == " "):
            self.part(two_units=False)
        elif self.state == _OPERATOR:
            self.items.append("*")
        self.spoilt |= self.raised or (token in ("(", "[") and self.is_call())
        self.depth += 1
        self.state, self.digits = _OPERAND, -1
        self.items.append("(")

    def is_call(self) -> bool:
        """Whether the bracket at hand follows a word without a space: `sin(30)`, `f(3)`."""
        return self.i > 0 and self.tokens[self.i - 1][-1].isalpha() and self.tokens[self.i - 1] not in self.names

    def closing(self, token: str) -> None:
        if self.state < _OPERATOR:
            self.stop(token)
        elif self.depth:
            self.depth -= 1
            self.state = _OPERATOR
            self.items.append(")")
        elif self.listed:
            self.spoilt = True  # `(1, 2)`

    def equals(self, token: str) -> None:
        if "and" in self.words or "or" in self.words:
            self.finish()  # `x + y = 14 and xy = 49`
        self.side()
        self.about.append(token in ("≈", "~="))
        self.fresh(self.i + 1)

    # Words

    def phrase(self, token: str) -> None:
        """Words between single spaces; only the last one stands before the next token."""
        if self.state == _START:
            self.leading(token)
            return
        words = token.split(" ")
        for k, word in enumerate(words, 1):
            self.word(word, self.following() if k == len(words) else " ")
            if self.state == _START and k < len(words):
                self.leading(" ".join(words[k:]))
                return

    def leading(self, token: str) -> None:
        """Words before a side; the last one may be a name in it."""
        last = token[token.rfind(" ") + 1 :]
        if len(last) == 1 and last.isascii() and self.letter(last, self.following()):
            return
        self.after_word, self.start = True, self.i + 1
        self.scaled = f" {token.lower()}".endswith(_SCALING)

    def word(self, token: str, following: str) -> None:
        """A word behind an operator or an operand."""
        if len(token) == 1 and token.isascii() and self.letter(token, following):
            return
        if self.state == _OPERAND:
            self.unit_of_two(token)
        elif token in _VERBS:
            self.finish()
            self.after_word, self.start = True, self.i + 1
        elif not self.sign_in_words(token, following):
            measure = UNITS.get(token.lower())
            mixed = measure and self.measure and measure != self.measure and ("+" in self.items or "-" in self.items)
            product = len(token) < 4 and token.isascii() and not measure and token not in _SHORT  # `2xy`
            self.spoilt |= token in _SPOILS or bool(mixed) or product  # `1 hour + 30 minutes`
            self.measure = measure or self.measure
            self.unit = self.unit or token.lower()
            self.words.append(token)
            self.state = _UNIT

    def unit_of_two(self, token: str) -> None:
        """`30 miles / hour`: the sign belongs to the unit. Any other word in the place of an operand is an unknown."""
        if self.items[-1:] == ["/"] and self.operands:
            self.items.pop()
            self.digits = self.shown if len(self.items) == 1 else -1
        else:
            self.spoilt = True
        self.words.append(token)
        self.state = _UNIT

    def sign_in_words(self, token: str, following: str) -> bool:
        """`5 times 3`, `20% of 50`, `6 divided by 2`: where a number follows."""
        sign = _WORD_SIGNS.get(token)
        if token == "of" and not (self.state == _OPERATOR and (self.percent or "/" in self.items) and following.lstrip()[:1].isdecimal()):
            self.spoilt |= self.state == _OPERATOR  # `1/4 of the tank`
            return False
        if token == "by" and self.words:
            sign = {"divided": "/", "multiplied": "*"}.get(self.words[-1])
        if sign is None or not _begins_number(following):
            return False
        _HANDLERS[sign](self, sign)
        return True

    def letter(self, token: str, following: str) -> bool:
        """A single letter as a name; False where it is a word (`a`, `I`)."""
        if token in "xX" and self.state >= _OPERATOR and _begins_number(following):
            self.times("*")
            return True
        if self.state in (_START, _UNIT) and following not in _AFTER_NAME:
            return False
        if self.state == _UNIT:
            self.finish()
        self.start = self.i if self.state == _START else self.start
        value = self.names.get(token)
        if self.state == _OPERATOR:
            if value is None and following == " ":
                return False  # `5 a day`
            self.items.append("*")
        self.named |= value is not None
        self.name, self.digits = token, -1
        self.operand(value)
        return True

    def following(self) -> str:
        return self.tokens[self.i + 1] if self.i + 1 < len(self.tokens) else ""

    # Ends

    def newline(self, _: str) -> None:
        if self.following() not in ("=", "≈"):
            self.finish()

    def stop(self, token: str) -> None:
        """Punctuation ends a chain; behind a relation, or in the middle of a ratio, comes nothing that can be checked."""
        listed = token == "," and (self.listed or self.depth > 0)
        self.spoilt |= listed
        spoils = token in _RELATIONS or (token == ":" and self.state == _OPERATOR and self.following()[:1].isdecimal())
        self.finish()
        self.start = self.i + 1
        self.spoilt, self.listed = spoils, listed

    def unknown(self, _: str) -> None:
        """Something that is not understood, in the place of an operand or behind one."""
        self.spoilt, self.state, self.digits = True, _OPERATOR, -1

    def side(self) -> None:
        """Add the side that ends here, with its brackets closed."""
        value: Number | None = None
        told = self.scaled or (self.after_word and self.sides)  # `144 = miles that 3 runners ran`
        if self.state >= _OPERATOR and not self.spoilt and not told and self.depth < MAX_DEPTH:
            only = self.items[0] if len(self.items) == 1 else ""
            value = evaluate([*self.items, *")" * self.depth]) if isinstance(only, str) else only
        name = self.name if len(self.items) == 1 else ""
        tokens = self.tokens[self.start : self.i] or (["?"] if self.i else [])
        self.sides.append(Side(value, tuple(self.operands), name, self.named, self.digits, self.percent, self.unit, tokens))

    def finish(self) -> None:
        """The chain ends here."""
        if self.state >= _OPERATOR or self.sides:
            self.side()
            if len(self.sides) > 1 or self.name or len(self.operands) > 1:
                self.found.append(Chain(self.sides, self.about))
            self.sides, self.about = [], []
        elif self.state == _START and not self.items:
            self.start = self.i
            self.spoilt = self.after_word = self.scaled = False
            return
        self.fresh(self.i)


_HANDLERS: dict[str, Callable[[_Reader, str], None]] = {
    "+": _Reader.plus_minus, "-": _Reader.plus_minus, "*": _Reader.times, "/": _Reader.times, "^": _Reader.hat, "%": _Reader.per_cent,
    "(": _Reader.opening, " (": _Reader.opening, "[": _Reader.opening, ")": _Reader.closing, "]": _Reader.closing, "=": _Reader.equals,
    "==": _Reader.equals, "≈": _Reader.equals, "~=": _Reader.equals, "_": _Reader.unknown, "√": _Reader.unknown, "|": _Reader.unknown,
    "±": _Reader.unknown, "…": _Reader.unknown,
}  # fmt: skip


def _begins_number(token: str) -> bool:
    first = token.lstrip()[:1]
    return first.isdecimal() or first == "("


_AFTER_NAME = frozenset(["+", "-", "*", "/", "^", "=", "≈", ")", "==", "~="])
_RELATIONS = frozenset(["<", ">", "<=", ">=", "!=", "≤", "≥", "≠"])
