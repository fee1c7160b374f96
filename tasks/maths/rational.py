"""Arithmetic on exact rationals, bounded in size: numbers as they are written, and + - * / with brackets."""

import re
from collections.abc import Sequence
from fractions import Fraction

Number = int | Fraction
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+")
MAX_DIGITS = 30
"""Digits of a number that is read; a longer one is unknown."""
MAX_SIZE = 10**60
"""Largest value, and largest denominator of a sum, that is computed."""
_LEAST = -MAX_SIZE


def number_of(token: str) -> tuple[Number | None, int]:
    """(value, digits behind the point) of `12`, `1,200.50`, `.5`, `2 1/2`; None for ratios, times, `1,23` and very long ones."""
    if len(token) > MAX_DIGITS or ":" in token:
        return None, 0
    if token.isdecimal():
        return int(token), 0
    if "/" in token:
        whole, top, bottom = map(int, re.split(r"[ /]", token))
        return (whole + ratio(top, bottom) if bottom else None), 0
    before, _, behind = token.partition(".")
    if "," in before and not _GROUPED.fullmatch(before):
        return None, 0
    before = before.replace(",", "")
    return ratio(int((before or "0") + behind), 10 ** len(behind)), len(behind)


def ratio(top: Number, bottom: Number) -> Number:
    """The exact quotient, an int where it is whole."""
    if type(top) is int and type(bottom) is int and top % bottom == 0:
        return top // bottom
    value = Fraction(top) / bottom
    return value.numerator if value.denominator == 1 else value


def distance(a: Number, b: Number) -> Number:
    """|a - b|."""
    return a - b if a >= b else b - a


def power(base: Number, exponent: Number) -> Number | None:
    """base ** exponent; None for exponents that are not whole, for large results and for 0 ** 0."""
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if exponent.denominator != 1 or abs(exponent.numerator) * bits > 200 or (exponent <= 0 and not base):
        return None
    return ratio(1, base**-exponent.numerator) if exponent < 0 else base**exponent.numerator


def evaluate(items: Sequence[Number | str]) -> Number | None:
    """The value of operands and signs in order: a sum as total + term, a stack of these for brackets. None where it has none, or too large.

    A sign where an operand is awaited is unary. Brackets that never open are passed over.
    """
    total: Number = 0
    term: Number = 0
    operator, waiting, minus = "+", True, False
    stack: list[tuple[Number, Number, str, bool]] = []
    for item in items:
        if isinstance(item, str):
            if item == "(":
                stack.append((total, term, operator, minus))
                total, term, operator, waiting, minus = 0, 0, "+", True, False
                continue
            if item != ")":
                minus ^= waiting and item == "-"
                operator, waiting = operator if waiting else item, True
                continue
            if not stack:
                continue
            value = total + term
            total, term, operator, minus = stack.pop()
        else:
            value = item
        if minus:
            value, minus = -value, False
        waiting = False
        if operator == "*":
            term *= value
        elif operator != "/":
            total, term = total + term, value if operator == "+" else -value
        elif value:
            term = ratio(term, value)
        else:
            return None
        if not _LEAST < term < MAX_SIZE or total.denominator > MAX_SIZE:
            return None
    return total + term
