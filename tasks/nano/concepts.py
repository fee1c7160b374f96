"""The concepts of the nano world: one declaration each, from which statements, workings and misconceptions are computed.

A concept turns a positive whole number into another one. Its working is a list of lines, one checkable equation a line;
a misconception is another working for the same wording: plausible, wrong, and carried on consistently. Error kinds follow
the catalogues of arithmetic "bugs" (Brown and Burton, 1978). Add a concept by adding one entry to `CONCEPTS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd, lcm
from typing import Literal

Kind = Literal["count", "length", "area", "number", "chance"]
"""What a number measures: things, cm, square cm, nothing, or a probability (which ends a problem)."""

LIMIT = 150
"""No line has a result above this: a small model cannot learn larger arithmetic in minutes."""


class Unworkable(Exception):
    """A working that leaves the world's numbers: not whole, below 1 or above LIMIT."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a working: what is computed, the left side, and its value."""

    label: str
    left: str
    value: Fraction

    @property
    def equation(self) -> str:
        return f"{self.left}={self.value}"


Params = tuple[int, ...]
Work = Callable[[int, Params], list[Line]]


@dataclass(frozen=True)
class Concept:
    """What one concept says, does, and how it is misunderstood."""

    name: str
    wordings: Mapping[Kind, tuple[str, ...]]
    """Sentences by kind of the number they start from; holes: {a}, {b} (parameters), {name}, {other}, {item}."""
    choices: tuple[Sequence[int], ...]
    """The values each parameter may take; draws that are unworkable are drawn again."""
    work: Work
    misconceptions: Mapping[str, Work]
    gives: Mapping[Kind, Kind] = field(default_factory=dict)
    """Kinds that the concept changes."""


def _whole(label: str, left: str, value: int | Fraction) -> Line:
    exact = Fraction(value)
    if exact.denominator != 1 or not 1 <= exact <= LIMIT:
        raise Unworkable(f"{left}={exact}")
    return Line(label, left, exact)


def _add(label: str, x: int, y: int) -> Line:
    return _whole(label, f"{x}+{y}", x + y)


def _sub(label: str, x: int, y: int) -> Line:
    return _whole(label, f"{x}-{y}", x - y)


def _mul(label: str, x: int, y: int) -> Line:
    return _whole(label, f"{x}*{y}", x * y)


def _div(label: str, x: int, y: int) -> Line:
    return _whole(label, f"{x}/{y}", Fraction(x, y))


def _chain(first: Line, *rest: Callable[[int], Line]) -> list[Line]:
    """Lines each of which takes the value of the one before."""
    lines = [first]
    for step in rest:
        lines.append(step(int(lines[-1].value)))
    return lines


def _gain(v: int, p: Params) -> list[Line]:
    return [_add("Sum", v, p[0])]


def _loss(v: int, p: Params) -> list[Line]:
    return [_sub("Rest", v, p[0])]


def _times(v: int, p: Params) -> list[Line]:
    return [_mul("Product", v, p[0])]


def _share(v: int, p: Params) -> list[Line]:
    return [_div("Share", v, p[0])]


def _percent(v: int, p: Params) -> Line:
    return _whole("Percent", f"{v}*{p[0]}/100", Fraction(v * p[0], 100))


def _percent_off(v: int, p: Params) -> list[Line]:
    return _chain(_percent(v, p), lambda part: _sub("Rest", v, part))


def _ratio(v: int, p: Params, wanted: int = 0) -> list[Line]:
    if p[0] == p[1]:
        raise Unworkable(f"equal parts {p[0]} : {p[1]} are a share")
    return _chain(_add("Parts", p[0], p[1]), lambda s: _div("One part", v, s), lambda u: _mul("Product", u, p[wanted]))


def _rate(v: int, p: Params) -> list[Line]:
    return _chain(_mul("Product", p[0], p[1]), lambda made: _add("Sum", v, made))


def _average(v: int, p: Params) -> list[Line]:
    return _chain(_add("Sum", v, p[0]), lambda s: _add("Sum", s, p[1]), lambda s: _div("Mean", s, 3))


def _remainder(v: int, p: Params) -> list[Line]:
    return _chain(_mul("Full", v // p[0], p[0]), lambda full: _sub("Rest", v, full))


def _shortfall(v: int, p: Params) -> list[Line]:
    return _chain(_mul("Full", v // p[0] + 1, p[0]), lambda full: _sub("Rest", full, v))


def _gcd(v: int, p: Params) -> list[Line]:
    return [_whole("Divisor", f"gcd({v},{p[0]})", gcd(v, p[0]))]


def _lcm(v: int, p: Params) -> list[Line]:
    return [_whole("Multiple", f"lcm({v},{p[0]})", lcm(v, p[0]))]


def _sequence(v: int, p: Params) -> list[Line]:
    return _chain(_sub("Gaps", p[1], 1), lambda n: _mul("Product", n, p[0]), lambda grown: _add("Sum", v, grown))


def _linear(v: int, p: Params) -> list[Line]:
    return _chain(_sub("Rest", v, p[1]), lambda r: _div("Share", r, p[0]))


def _perimeter(v: int, p: Params) -> list[Line]:
    return _chain(_add("Sum", v, p[0]), lambda half: _mul("Around", half, 2))


def _rectangle(v: int, p: Params) -> list[Line]:
    return [_mul("Area", v, p[0])]


def _triangle(v: int, p: Params) -> list[Line]:
    return _chain(_mul("Product", v, p[0]), lambda both: _div("Half", both, 2))


def _combinations(v: int, p: Params) -> list[Line]:
    return _chain(_mul("Pairs", p[0], p[1]), lambda pairs: _add("Sum", v, pairs))


def _probability(v: int, p: Params) -> list[Line]:
    return _chain(_add("Sum", v, p[0]), lambda s: Line("Chance", f"{p[0]}/{s}", Fraction(p[0], s)))


def _odds(v: int, p: Params) -> list[Line]:
    return [Line("Chance", f"{p[0]}/{v}", Fraction(p[0], v))]


_DIGITS = range(2, 10)

_ALL = [
    Concept(
        "gain",
        {
            "count": (
                "{name} gets {a} more {item}.",
                "Then {name} finds {a} {item}.",
                "{other} has {a} more {item} than that; take the number of {other}.",
                "That is {a} fewer than {other} has; take the number of {other}.",
            ),
            "length": (
                "A piece of {a} cm is joined to it.",
                "It grows by {a} cm.",
                "It is {a} cm shorter than another one; take the other one.",
            ),
            "number": ("Add {a}.", "Increase it by {a}.", "It is {a} less than a second number; take the second number."),
        },
        (_DIGITS,),
        _gain,
        {"gain_as_loss": _loss},
    ),
    Concept(
        "loss",
        {
            "count": (
                "{name} gives {a} {item} to {other}.",
                "Then {a} {item} get lost.",
                "{other} has {a} fewer {item} than that; take the number of {other}.",
                "That is {a} more than {other} has; take the number of {other}.",
            ),
            "length": (
                "A piece of {a} cm is cut off.",
                "It shrinks by {a} cm.",
                "It is {a} cm longer than another one; take the other one.",
            ),
            "number": ("Subtract {a}.", "Decrease it by {a}.", "It is {a} more than a second number; take the second number."),
        },
        (_DIGITS,),
        _loss,
        {"loss_as_gain": _gain},
    ),
    Concept(
        "times",
        {
            "count": (
                "{other} has {a} times as many {item}; take the number of {other}.",
                "The number of {item} grows to {a} times as many.",
                "In each of {a} rooms there are that many {item}; count them all.",
            ),
            "length": ("{a} such pieces are laid in a row.", "It is stretched to {a} times its length."),
            "area": ("{a} such tiles cover a wall; take the wall.", "It is enlarged to {a} times its area."),
            "number": (
                "Multiply by {a}.",
                "Take {a} times as much.",
                "It is one of {a} equal parts of a second number; take the second number.",
            ),
        },
        (_DIGITS,),
        _times,
        {"times_as_plus": _gain},
    ),
    Concept(
        "share",
        {
            "count": (
                "{a} friends share the {item} equally; take one share.",
                "They are packed into {a} equal boxes; take one box.",
                "That is {a} times as many as {other} has; take the number of {other}.",
            ),
            "length": ("It is cut into {a} equal pieces; take one piece.", "It is {a} times as long as another one; take the other one."),
            "area": ("It is cut into {a} equal parts; take one part.", "It is {a} times as large as another one; take the other one."),
            "number": ("Divide by {a}.", "Take one of {a} equal parts.", "It is {a} times a second number; take the second number."),
        },
        (_DIGITS,),
        _share,
        {"share_as_minus": _loss},
    ),
    Concept(
        "percent",
        {
            "count": (
                "{name} sells {a} % of the {item}.",
                "Then {a} % of the {item} break.",
                "All but {a} % of the {item} are kept.",
            ),
            "length": ("It shrinks by {a} %.", "{a} % of it is cut off.", "All but {a} % of it is kept."),
            "number": ("Decrease it by {a} %.", "Take away {a} % of it.", "Keep all but {a} % of it."),
        },
        ((10, 20, 25, 50),),
        _percent_off,
        {"percent_part_kept": lambda v, p: [_percent(v, p)], "percent_as_number": _loss},
    ),
    Concept(
        "ratio",
        {
            "count": (
                "The ratio of red to blue {item} is {a} : {b}; keep the red {item}.",
                "For {a} new {item} there are {b} old {item}; take the new {item}.",
                "{name} and {other} divide the {item} as {a} to {b}; take the share of {name}.",
            ),
            "length": (
                "It is cut in the ratio {a} : {b}; take the first piece.",
                "It is cut into two pieces, {a} cm to {b} cm; take the first piece.",
            ),
        },
        (_DIGITS, _DIGITS),
        _ratio,
        {"ratio_other_part": lambda v, p: _ratio(v, p, wanted=1)},
    ),
    Concept(
        "rate",
        {
            "count": (
                "A machine makes {a} {item} an hour for {b} hours.",
                "{name} buys {b} packs of {a} {item}.",
                "For {b} days {name} collects {a} {item} a day.",
            ),
            "length": ("It grows {a} cm a week for {b} weeks.", "{b} pieces of {a} cm are joined to it."),
        },
        (_DIGITS, _DIGITS),
        _rate,
        {"rate_forgets_start": lambda v, p: [_mul("Product", p[0], p[1])], "rate_once": _gain},
    ),
    Concept(
        "average",
        {
            "count": (
                "Two friends have {a} and {b} {item}; take the average of all three.",
                "{name}, {other} and a friend with that many, {a} and {b} {item} level them out; take one share.",
                "On the next two days it is {a} and {b} {item}; take the average of the three days.",
            ),
            "number": ("Take the average of it, {a} and {b}.", "Take the mean of this number with {a} and {b}."),
        },
        (_DIGITS, _DIGITS),
        _average,
        {"average_as_sum": lambda v, p: _chain(_add("Sum", v, p[0]), lambda s: _add("Sum", s, p[1]))},
    ),
    Concept(
        "remainder",
        {
            "count": (
                "{name} fills bags of {a} {item}; take the {item} left over.",
                "They stand in rows of {a}; take the {item} outside the full rows.",
                "Each of {a} friends gets as many as possible; take the {item} left.",
            ),
            "number": ("Take the remainder after division by {a}.", "Take what is left when it is divided by {a}."),
        },
        (range(3, 10),),
        _remainder,
        {"remainder_as_shortfall": _shortfall},
    ),
    Concept(
        "gcd",
        {"number": ("Take the greatest common divisor with {a}.", "Take the largest number that divides both it and {a}.")},
        (_DIGITS,),
        _gcd,
        {"gcd_as_lcm": _lcm},
    ),
    Concept(
        "lcm",
        {
            "number": ("Take the least common multiple with {a}.", "Take the smallest number that both it and {a} divide."),
            "count": ("A light flashes after that many seconds, another every {a} seconds; take the seconds until both flash together.",),
        },
        (_DIGITS,),
        _lcm,
        {"lcm_as_product": _times, "lcm_as_gcd": _gcd},
    ),
    Concept(
        "sequence",
        {
            "number": (
                "It starts a sequence with steps of {a}; take term {b}.",
                "It is term 1 of a list and each term is {a} more; take term {b}.",
            ),
            "count": (
                "Each row has {a} {item} more than the row before; take row {b}.",
                "That is day 1, and each day it is {a} {item} more; take day {b}.",
            ),
        },
        (_DIGITS, range(3, 10)),
        _sequence,
        {"fencepost": _rate},
    ),
    Concept(
        "linear",
        {
            "number": (
                "It equals {a} x + {b}; take x.",
                "It is {b} more than {a} times a second number; take the second number.",
            ),
            "count": ("That is {b} more than {a} times the {item} of {other}; take the number of {other}.",),
        },
        (_DIGITS, _DIGITS),
        _linear,
        {"linear_subtracts_factor": lambda v, p: _chain(_sub("Rest", v, p[1]), lambda r: _sub("Rest", r, p[0]))},
    ),
    Concept(
        "perimeter",
        {
            "length": (
                "It is the side of a rectangle {a} cm wide; take the perimeter.",
                "With a side of {a} cm it makes a rectangle; take the way around it.",
            ),
        },
        (_DIGITS,),
        _perimeter,
        {"half_perimeter": _gain},
    ),
    Concept(
        "rectangle",
        {
            "length": (
                "It is the side of a rectangle {a} cm wide; take the area.",
                "With a side of {a} cm it makes a rectangle; take the space inside it.",
            ),
        },
        (_DIGITS,),
        _rectangle,
        {"area_as_perimeter": _perimeter},
        gives={"length": "area"},
    ),
    Concept(
        "triangle",
        {
            "length": (
                "It is the base of a triangle {a} cm high; take the area.",
                "A triangle stands on it with a height of {a} cm; take the space inside it.",
            ),
        },
        (_DIGITS,),
        _triangle,
        {"triangle_without_half": _rectangle},
        gives={"length": "area"},
    ),
    Concept(
        "combinations",
        {
            "count": (
                "From {a} colors and {b} sizes {name} orders one of each kind.",
                "{name} adds one for each pair of {a} shapes and {b} colors.",
            ),
        },
        (_DIGITS, _DIGITS),
        _combinations,
        {"combinations_added": lambda v, p: _chain(_add("Pairs", p[0], p[1]), lambda pairs: _add("Sum", v, pairs))},
    ),
    Concept(
        "probability",
        {
            "count": (
                "With {a} white {item} they go into a bag and one is drawn; take the probability of white.",
                "{other} mixes in {a} gold {item} and draws one; take the chance that it is gold.",
            ),
        },
        (_DIGITS,),
        _probability,
        {"odds_for_probability": _odds},
        gives={"count": "chance"},
    ),
]


CONCEPTS: dict[str, Concept] = {c.name: c for c in _ALL}
