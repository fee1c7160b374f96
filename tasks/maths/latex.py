r"""A small parser of LaTeX and ASCII mathematics: text to nested tuples, nothing evaluated.

Nodes: ("n", int or Fraction) · ("v", name) · ("+", a, b) · ("*", a, b) · ("/", a, b) · ("^", a, b) · ("-", a) · ("f", name, a).
What it does not know (integrals, sums, prose) or cannot read in one way only (`1/2x`) raises Unparsed: no guess is made.
Sizes are bounded before anything is built: MAX_TOKENS tokens, MAX_DEPTH levels,
MAX_DIGITS digits a number.
"""

import re
import string
from collections.abc import Callable
from fractions import Fraction
from typing import Any

Node = tuple[Any, ...]

MAX_TOKENS = 400
MAX_DEPTH = 40
MAX_DIGITS = 400

FUNCTIONS = frozenset(re.findall(r"\w+", "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp abs sqrt floor ceil"))
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
_GREEK = frozenset(
    re.findall(
        r"\w+",
        """alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon phi varphi chi
        psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar infty""",
    )
)
_TOKEN = re.compile(
    r"\d+(?:\.\d*)?|\.\d+|\\[a-zA-Z]+|arcsin|arccos|arctan|asin|acos|atan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|lg|exp|sqrt|abs|pi"
    r"|\*\*|[A-Za-z+\-*/^_!|(){}\[\],]|\\[{}|]|[^ ]",
    re.ASCII,
)
_DIGITS = frozenset("0123456789.")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_ENDS = frozenset(["", "+", "-", ")", "]", "}", "\\}", ",", "_", "\\rfloor", "\\rceil"])
_POSTFIX = frozenset(["^", "**", "!"])
_COMMON: dict[str, Node] = {str(n): ("n", n) for n in range(100)} | {letter: ("v", letter) for letter in string.ascii_letters}
"""Tokens that are nodes as they stand, unless one of _BINDS follows."""
_BINDS = frozenset(["_", "\\frac"])
_ARGUMENT = re.compile(r"[A-Za-z0-9]|\\pi$|\\frac$")
_CLOSED_BY = {"(": ")", "[": "]", "{": "}", "\\{": "\\}"}


class Unparsed(ValueError):
    """The text is not mathematics that this parser reads."""


def parse(text: str) -> Node:
    """The tree of a text in normal form (`exact.normalise`). Raises Unparsed."""
    for word in _WORD.findall(text):
        if not _is_symbols(word):
            raise Unparsed("words")
    found = _TOKEN.findall(text)
    if len(found) > MAX_TOKENS:
        raise Unparsed("too long")
    found.append("")
    reader = _Reader(found)
    tree = reader.sum()
    if reader.at < len(found) - 1:
        raise Unparsed(f"unexpected {reader.tokens[reader.at]!r}")
    return tree


def _is_symbols(word: str) -> bool:
    """Function names and products such as `abc`; any other run of letters is prose."""
    rest = re.sub(r"arc(?:sin|cos|tan)|a(?:sin|cos|tan)|sinh?|cosh?|tanh?|cot|sec|csc|ln|log|lg|exp|sqrt|abs|pi", " ", word).strip()
    return len(rest) < 3 or (len(rest) == 3 and rest.islower() and list(rest) == sorted(set(rest)))


class _Reader:
    """Recursive descent over the tokens."""

    __slots__ = ("at", "bars", "depth", "tokens")

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0

    def peek(self) -> str:
        return self.tokens[self.at]

    def take(self) -> str:
        token = self.tokens[self.at]
        if not token:
            raise Unparsed("ends too early")
        self.at += 1
        return token

    def expect(self, wanted: str) -> None:
        token = self.take()
        if token != wanted:
            raise Unparsed(f"{token!r} in place of {wanted!r}")

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unparsed("nested too deep")
        tree = self.signed()
        while (token := self.tokens[self.at]) == "+" or token == "-":
            self.at += 1
            right = self.signed()
            tree = ("+", tree, right if token == "+" else ("-", right))
        self.depth -= 1
        return tree

    def signed(self) -> Node:
        negative = False
        while (token := self.tokens[self.at]) == "-" or token == "+":
            self.at += 1
            negative ^= token == "-"
        tree = self.product()
        return ("-", tree) if negative else tree

    def product(self) -> Node:
        """Factors from left to right. A product without sign right after a division can be read in two ways and is refused."""
        tree = self.power()
        divided = False
        while True:
            token = self.tokens[self.at]
            if token in _ENDS or (token == "|" and self.bars):
                return tree
            if token in ("*", "\\cdot"):
                self.at += 1
                tree, divided = ("*", tree, self.factor()), False
            elif token == "/":
                self.at += 1
                tree, divided = ("/", tree, self.factor()), True
            elif divided:
                raise Unparsed("a/bc can be read in two ways")
            else:
                tree = ("*", tree, self.power())

    def factor(self) -> Node:
        """A factor after an explicit sign may carry its own minus: 3*-2."""
        if self.peek() == "-":
            self.at += 1
            return ("-", self.power())
        return self.power()

    def power(self) -> Node:
        token = self.tokens[self.at]
        if token in _COMMON and self.tokens[self.at + 1] not in _BINDS:
            self.at += 1
            base = _COMMON[token]
        else:
            base = self.atom()
        while (token := self.tokens[self.at]) in _POSTFIX:
            self.at += 1
            if token == "!":
                base = ("f", "factorial", base)
            elif self.circle():
                base = ("*", base, ("/", ("v", "pi"), ("n", 180)))
            else:
                base = ("^", base, self.exponent())
        return base

    def circle(self) -> bool:
        """Takes a degree sign, where one stands."""
        length = 1 if self.peek() == "\\circ" else 3 if self.tokens[self.at : self.at + 3] == ["{", "\\circ", "}"] else 0
        self.at += length
        return length > 0

    def exponent(self) -> Node:
        """What follows `^`; towers group to the right, and are as deep as brackets may be."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unparsed("nested too deep")
        if self.peek() == "-":
            self.at += 1
            tree: Node = ("-", self.exponent())
        else:
            tree = self.atom()
            if self.peek() in ("^", "**"):
                self.at += 1
                tree = ("^", tree, self.exponent())
        self.depth -= 1
        return tree

    def group(self) -> Node:
        r"""A braced argument, or the single token that TeX takes in its place (`\frac12`)."""
        token = self.peek()
        if token[:1].isdigit() and len(token) > 1:
            self.tokens[self.at : self.at + 1] = [token[0], token[1:]]
        return self.atom()

    def atom(self) -> Node:
        token = self.take()
        first = token[0]
        if first in _DIGITS and token != ".":
            return self.number(token)
        if token in _CLOSED_BY:
            tree = self.sum()
            self.expect(_CLOSED_BY[token])
            return tree
        if token == "|":
            return self.absolute()
        if first == "\\":
            return self.command(token[1:])
        if len(token) > 1:
            return ("v", "pi") if token == "pi" else self.function(token)
        if first.isascii() and first.isalpha():
            return self.name(token)
        raise Unparsed(f"unexpected {token!r}")

    def number(self, token: str) -> Node:
        r"""A number; `2\frac{1}{3}` is the mixed number, as everywhere in school texts."""
        if len(token) > MAX_DIGITS:
            raise Unparsed("a long number")
        if self.peek() == "_":
            return self.name(token)
        if not token.isdigit():
            return ("n", Fraction(token))
        following = self.tokens[self.at : self.at + 7] if self.peek() == "\\frac" else []
        if len(following) == 7:
            _, opened, top, *middle, bottom, closed = following
            braces = (opened, *middle, closed) == ("{", "}", "{", "}")
            if braces and top.isdigit() and bottom.isdigit() and int(top) < int(bottom):
                self.at += 7
                return ("n", int(token) + Fraction(int(top), int(bottom)))
        return ("n", int(token))

    def name(self, letter: str) -> Node:
        r"""A variable with its subscript; `4210_5` is a number in base 5 and stays a name."""
        if self.peek() != "_":
            return ("v", letter)
        self.at += 1
        token = self.take()
        if token != "{":
            return ("v", f"{letter}_{token}")
        end = self.tokens.index("}", self.at) if "}" in self.tokens[self.at :] else -1
        inner = "".join(self.tokens[self.at : end])
        if end < 0 or "{" in inner:
            raise Unparsed("a subscript that does not end")
        self.at = end + 1
        return ("v", f"{letter}_{inner}")

    def absolute(self) -> Node:
        self.bars += 1
        tree = self.sum()
        self.expect("|")
        self.bars -= 1
        return ("f", "abs", tree)

    def command(self, name: str) -> Node:
        if name == "frac":
            top = self.group()
            return ("/", top, self.group())
        if name == "binom":
            top = self.group()
            return ("f", "binom", top, self.group())
        if name == "text":
            return self.upright()
        if name in ("lfloor", "lceil"):
            tree = self.sum()
            self.expect("\\rfloor" if name == "lfloor" else "\\rceil")
            return ("f", name[1:], tree)
        if name == "pi":
            return ("v", "pi")
        if name in FUNCTIONS:
            return self.root(self.group) if name == "sqrt" else self.function(name)
        if name in _GREEK:
            return self.name("\\" + name)
        raise Unparsed(f"unknown command \\{name}")

    def upright(self) -> Node:
        r"""`\mathrm{i}` is i; longer text is not mathematics."""
        self.expect("{")
        letter = self.take()
        self.expect("}")
        if len(letter) > 1 or not letter.isalpha():
            raise Unparsed("text")
        return ("v", letter)

    def function(self, name: str) -> Node:
        name = _ALIASES.get(name, name)
        if name == "sqrt":
            return self.root(self.atom)
        base: Node | None = None
        power: Node | None = None
        if name == "log" and self.peek() == "_":
            self.at += 1
            base = self.group()
        if self.peek() == "^":
            self.at += 1
            power = self.exponent()
        tree: Node = ("f", name, self.argument())
        if base is not None:
            tree = ("/", ("f", "ln", tree[2]), ("f", "ln", base))
        if power == ("-", ("n", 1)) and name in ("sin", "cos", "tan"):
            return ("f", "arc" + name, tree[2])
        return ("^", tree, power) if power is not None else tree

    def argument(self) -> Node:
        r"""A bracketed group, or the factors up to the next sign or function: `\sin 2x \cos x` is sin(2x)·cos(x)."""
        if self.peek() in _CLOSED_BY:
            return self.power()
        tree = self.power()
        while (token := self.peek()) and (
            (token[0].isascii() and token[0].isalnum()) or token in ("\\pi", "\\frac") or token[1:] in _GREEK
        ):
            if token in FUNCTIONS or token in _ALIASES:
                break
            tree = ("*", tree, self.power())
        return tree

    def root(self, radicand: Callable[[], Node]) -> Node:
        r"""`\sqrt12` is √1·2 in TeX, `√12` and `sqrt12` in plain text are not: `radicand` reads what stands under the sign."""
        if self.peek() != "[":
            return ("f", "sqrt", radicand())
        self.at += 1
        degree = self.sum()
        self.expect("]")
        return ("f", "root", radicand(), degree)
