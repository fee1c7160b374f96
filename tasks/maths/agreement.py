"""Do two sides of an equation agree? Exactly, or apart by no more than writers mean: rounding, per cents, units, running calculations."""

from fractions import Fraction

from tasks.maths.equations import Side
from tasks.maths.rational import Number, distance, ratio

_CONVERSIONS = frozenset(map(Fraction, [2, 3, 4, 7, 8, 10, 12, 16, 24, 30, 36, 52, 60, 100, 144, 365, 1000, 1440, 1760, 3600, 5280]))
"""Factors between units."""
_BINARY_DIGITS = 9
"""More digits behind the point than these are a binary fraction printed in full."""


def goes_on(a: Side, b: Side) -> bool:
    """Whether b is a calculation that starts from the value of a, as in `1 + 2 = 3 * 4 = 12`."""
    return len(b.operands) > 1 and b.operands[0] == a.value and b.tokens[0].lstrip()[:1].isdecimal()


def converts(a: Side, b: Side) -> bool:
    """Whether the sides have different units and may be the same quantity in both."""
    x, y = a.number, b.number
    return bool(a.unit and b.unit and a.unit != b.unit and x and y and {abs(Fraction(x) / y), abs(Fraction(y) / x)} & _CONVERSIONS)


def per_cent(a: Side, b: Side) -> bool:
    """Whether one side counts per cents (`30 / 60 * 100 = 50%`), or adds some of what it is added to (`50 + 10%`)."""
    if not (a.percent or b.percent):
        return False
    adds = any(side.percent and ("+" in side.tokens or "-" in side.tokens) for side in (a, b))
    return (
        adds or rounds(a._replace(value=ratio(a.number * 100, 1)), b, False) or rounds(a, b._replace(value=ratio(b.number * 100, 1)), False)
    )


def rounds(a: Side, b: Side, nearly: bool) -> bool:
    """Whether one side is the other to the digits that it shows, rounded or cut off, or within 2 % of it where that is said (`≈`)."""
    apart = distance(a.number, b.number)
    if not apart:
        return True
    if nearly and (apart < 1 or _within(apart, a, 50)):
        return True
    return _shows(apart, a, b) or _shows(apart, b, a)


def near(a: Side, b: Side) -> bool:
    """Within 2 %: what is left of earlier rounding."""
    return _within(distance(a.number, b.number), a, 50)


def certainly_differ(a: Side, b: Side) -> bool:
    """Not so where a name stands for a number, a rest was left out of a number of things, or a difference has lost its sign."""
    x, y = a.number, b.number
    whole = (a.literal or b.literal) and (x.denominator == 1) != (y.denominator == 1) and distance(x, y) < 1
    turned = b.literal and x == -y and y > 0  # `5 - 8 = 3 fewer`
    return not (a.named or b.named or whole or turned)


def _shows(apart: Number, exact: Side, shown: Side) -> bool:
    """Whether `shown` has the digits of `exact`, rounded to the nearest or cut off."""
    if shown.digits > _BINARY_DIGITS:
        return _within(apart, shown, 10**_BINARY_DIGITS)
    steps = apart * 10**shown.digits
    return shown.digits > 0 and (2 * steps <= 1 or (steps < 1 and distance(exact.number, 0) > distance(shown.number, 0)))


def _within(apart: Number, side: Side, part: int) -> bool:
    return apart * part <= distance(side.number, 0)
