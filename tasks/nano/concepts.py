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

LIMIT = 100
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
                "{name} gets {a} more {item}.", "{other} brings {a} new {item}.", "{other} has {a} more {item} than that.",
                "That is {a} {item} fewer than {other} has.",
            ),
            "length": (
                "{name} joins {a} cm of {item} to it.", "The {item} of {other} is {a} cm longer.",
                "It is {a} cm shorter than the {item} of {other}.",
            ),
            "number": ("{name} adds {a}.", "{other} has a number {a} larger.", "It is {a} less than what {other} has."),
        },
        (_DIGITS,),
        _gain,
        {"gain_as_loss": _loss},
    ),
    Concept(
        "loss",
        {
            "count": (
                "{name} gives {a} {item} to {other}.", "{other} loses {a} of the {item}.", "{other} has {a} fewer {item} than that.",
                "That is {a} {item} more than {other} has.",
            ),
            "length": (
                "{name} cuts {a} cm off the {item}.", "The {item} of {other} is {a} cm shorter.",
                "It is {a} cm longer than the {item} of {other}.",
            ),
            "number": ("{name} subtracts {a}.", "{other} has a number {a} smaller.", "It is {a} more than what {other} has."),
        },
        (_DIGITS,),
        _loss,
        {"loss_as_gain": _gain},
    ),
    Concept(
        "times",
        {
            "count": (
                "{other} has {a} times as many {item}.", "{name} fills {a} bags with as many {item} each.",
                "As many {item} go to each of {a} friends of {name}: count all.",
            ),
            "length": ("{name} lays {a} such pieces of {item} in a row.", "The {item} of {other} is {a} times as long."),
            "area": ("{name} paints {a} such {item} fields.", "{other} has {a} times this area."),
            "number": ("{name} multiplies by {a}.", "{other} has {a} times that.", "It is one of {a} equal parts of what {other} has."),
        },
        (_DIGITS,),
        _times,
        {"times_as_plus": _gain},
    ),
    Concept(
        "share",
        {
            "count": (
                "{a} friends of {name} share the {item} equally: one share.", "{name} packs the {item} into {a} equal boxes: one box.",
                "That is {a} times the {item} of {other}.",
            ),
            "length": ("{name} cuts the {item} into {a} equal pieces: one piece.", "It is {a} times the {item} of {other}."),
            "area": ("{name} cuts it into {a} equal {item} fields: one field.", "It is {a} times the area that {other} has."),
            "number": ("{name} divides by {a}.", "{other} takes one of {a} equal parts.", "It is {a} times what {other} has."),
        },
        (_DIGITS,),
        _share,
        {"share_as_minus": _loss},
    ),
    Concept(
        "percent",
        {
            "count": (
                "{name} sells {a} % of the {item}.", "{other} breaks {a} % of the {item}.", "{name} keeps all but {a} % of the {item}.",
            ),
            "length": (
                "{name} cuts {a} % off the {item}.", "The {item} of {other} is {a} % shorter.",
                "{other} keeps all but {a} % of the {item}.",
            ),
            "number": ("{name} takes off {a} %.", "{other} has a number {a} % smaller.", "{name} keeps all but {a} %."),
        },
        ((10, 20, 25, 50),),
        _percent_off,
        {"percent_part_kept": lambda v, p: [_percent(v, p)], "percent_as_number": _loss},
    ),
    Concept(
        "ratio",
        {
            "count": (
                "{name} and {other} split the {item} {a} to {b}: the part of {name}.",
                "Red to blue {item} are {a} : {b}, and {name} keeps red.", "For {a} new {item} {name} has {b} old: the new ones.",
            ),
            "length": (
                "{name} and {other} cut the {item} {a} to {b}: the piece of {name}.",
                "{name} keeps the first part of the {item}, cut {a} : {b}.",
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
                "A shop sends {name} {a} {item} a day for {b} days.", "{name} buys {b} packs of {a} {item}.",
                "{b} times {other} brings {a} {item}.",
            ),
            "length": ("{name} joins {b} pieces of {item}, {a} cm each.", "For {b} weeks the {item} of {name} grows {a} cm a week."),
        },
        (_DIGITS, _DIGITS),
        _rate,
        {"rate_forgets_start": lambda v, p: [_mul("Product", p[0], p[1])], "rate_once": _gain},
    ),
    Concept(
        "average",
        {
            "count": (
                "{other} and a friend have {a} and {b} {item}: the average of all three.",
                "{name}, {other} with {a} and Bo with {b} {item} level out: one share.",
                "Then {name} sees {a} and {b} {item}: the average of the three.",
            ),
            "number": ("{name} averages it with {a} and {b}.", "{other} takes the mean of it, {a} and {b}."),
        },
        (_DIGITS, _DIGITS),
        _average,
        {"average_as_sum": lambda v, p: _chain(_add("Sum", v, p[0]), lambda s: _add("Sum", s, p[1]))},
    ),
    Concept(
        "remainder",
        {
            "count": (
                "{name} fills bags of {a} {item} and keeps the rest.", "{other} takes full rows of {a} {item} away.",
                "{a} friends of {name} get equally many {item}: what is left.",
            ),
            "number": ("{name} divides by {a} and keeps the remainder.", "{other} takes {a} away as often as possible."),
        },
        (range(3, 10),),
        _remainder,
        {"remainder_as_shortfall": _shortfall},
    ),
    Concept(
        "gcd",
        {
            "number": ("{name} takes the greatest common divisor with {a}.", "{other} finds the largest divisor shared with {a}."),
        },
        (_DIGITS,),
        _gcd,
        {"gcd_as_lcm": _lcm},
    ),
    Concept(
        "lcm",
        {
            "number": ("{name} takes the least common multiple with {a}.", "{other} finds the smallest multiple shared with {a}."),
            "count": ("{name} wants as few {item} as fill both such bags and bags of {a}.",),
        },
        (_DIGITS,),
        _lcm,
        {"lcm_as_product": _times, "lcm_as_gcd": _gcd},
    ),
    Concept(
        "sequence",
        {
            "number": (
                "It is term 1, and {name} adds {a} each time: term {b}.", "{other} lists numbers from it in steps of {a}: number {b}.",
            ),
            "count": (
                "It is row 1, and {name} sets {a} {item} more each row: row {b}.",
                "It is day 1, and {other} makes {a} {item} more each day: day {b}.",
            ),
        },
        (_DIGITS, range(3, 10)),
        _sequence,
        {"fencepost": _rate},
    ),
    Concept(
        "linear",
        {
            "number": ("It is {a} x + {b}, and {name} finds x.", "It is {b} more than {a} times what {other} has."),
            "count": ("That is {b} more than {a} times the {item} of {other}.",),
        },
        (_DIGITS, _DIGITS),
        _linear,
        {"linear_subtracts_factor": lambda v, p: _chain(_sub("Rest", v, p[1]), lambda r: _sub("Rest", r, p[0]))},
    ),
    Concept(
        "perimeter",
        {
            "length": (
                "{name} walks around a {item} field this long and {a} cm wide.",
                "Around a table this long, {a} cm wide, {name} lays {item}.",
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
                "{name} paints a {item} wall this long and {a} cm wide.", "{name} tiles a floor, as long as the {item}, {a} cm wide.",
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
                "{name} paints a triangle on the {item} as base, {a} cm high.", "On this base {name} sews a {item} triangle {a} cm high.",
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
                "{name} adds {item} in {a} colors and {b} sizes, one of each kind.",
                "For each of {a} shapes and {b} colors {other} adds one of the {item}.",
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
                "{other} mixes in {a} gold {item} and {name} draws a gold one.", "With {a} white {item} more, {name} draws one: white.",
            ),
        },
        (_DIGITS,),
        _probability,
        {"odds_for_probability": _odds},
        gives={"count": "chance"},
    ),
]


CONCEPTS: dict[str, Concept] = {c.name: c for c in _ALL}
