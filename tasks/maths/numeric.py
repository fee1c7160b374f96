"""Are two expressions the same function? By their images in a prime field (`field`), else by doubles, with 80 digits to confirm.

Doubles are taken at three points; what differs there beyond rounding is different, and only what agrees is evaluated again with mpmath.
Numbers that would be huge raise before they are computed.
"""

import cmath
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any, NamedTuple

import mpmath

from tasks.maths.field import Image, P, Unsupported, image_of, seed
from tasks.maths.latex import Node

DIGITS = 80
_FAR, _NEAR = 1e-9, 1e-60
_POINTS = 3


class _Algebra(NamedTuple):
    number: Callable[[Any], Any]
    constants: Mapping[str, Any]
    functions: Mapping[str, Callable[..., Any]]


def _real(x: complex) -> float:
    if abs(x.imag) > 1e-12 * max(1.0, abs(x.real)):
        raise Unsupported("a real number is needed")
    return x.real


def _factorial(x: complex) -> complex:
    n = _real(x)
    if n > 170:
        raise OverflowError("factorial")
    if n != int(n) or n < 0:
        raise Unsupported("factorial")
    return complex(math.factorial(int(n)))


def _binom(a: complex, b: complex) -> complex:
    n, k = _real(a), _real(b)
    if n != int(n) or k != int(k) or not 0 <= k <= n <= 1000:
        raise Unsupported("binomial")
    return complex(math.comb(int(n), int(k)))


def _root(x: Any, degree: Any) -> Any:
    """The real root where there is one: the cube root of -8 is -2."""
    n = complex(degree).real
    if n != int(n) or n == 0:
        raise Unsupported("root")
    if n % 2 and complex(x).imag == 0 and complex(x).real < 0:
        return -((-x) ** (1 / degree))
    return x ** (1 / degree)


_DOUBLE = _Algebra(
    complex,
    {"pi": complex(math.pi), "e": complex(math.e), "i": 1j},
    {
        "sqrt": cmath.sqrt, "ln": cmath.log, "log": cmath.log10, "lg": cmath.log10, "exp": cmath.exp, "abs": lambda x: complex(abs(x)),
        "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "cot": lambda x: 1 / cmath.tan(x), "sec": lambda x: 1 / cmath.cos(x),
        "csc": lambda x: 1 / cmath.sin(x), "arcsin": cmath.asin, "arccos": cmath.acos, "arctan": cmath.atan, "sinh": cmath.sinh,
        "cosh": cmath.cosh, "tanh": cmath.tanh, "floor": lambda x: complex(math.floor(_real(x))),
        "ceil": lambda x: complex(math.ceil(_real(x))),
        "factorial": _factorial, "binom": _binom, "root": _root,
    },
)  # fmt: skip

_MP = mpmath.MPContext()
_MP.dps = DIGITS


def _mp_number(value: Fraction | int) -> Any:
    return _MP.mpc(_MP.mpf(value.numerator) / value.denominator)


_PRECISE = _Algebra(
    _mp_number,
    {"pi": _MP.mpc(_MP.pi), "e": _MP.mpc(_MP.e), "i": _MP.mpc(0, 1)},
    {
        "sqrt": _MP.sqrt, "ln": _MP.ln, "log": _MP.log10, "lg": _MP.log10, "exp": _MP.exp, "abs": lambda x: _MP.mpc(abs(x)), "sin": _MP.sin,
        "cos": _MP.cos, "tan": _MP.tan, "cot": _MP.cot, "sec": _MP.sec, "csc": _MP.csc, "arcsin": _MP.asin, "arccos": _MP.acos,
        "arctan": _MP.atan, "sinh": _MP.sinh, "cosh": _MP.cosh, "tanh": _MP.tanh, "floor": _MP.floor, "ceil": _MP.ceil, "root": _root,
        "factorial": lambda x: _MP.mpc(math.factorial(int(x.real))), "binom": lambda a, b: _MP.mpc(math.comb(int(a.real), int(b.real))),
    },
)  # fmt: skip


def _value(node: Node, algebra: _Algebra, at: Callable[[str], Fraction | float], scale: list[Any]) -> Any:
    """The value where the variables stand at `at`; scale[0] becomes the largest magnitude met on the way, a bound for rounding."""
    op = node[0]
    if op == "n":
        result = algebra.number(node[1])
    elif op == "v":
        result = algebra.constants.get(node[1])
        if result is None:
            result = algebra.number(at(node[1]))
    elif op == "-":
        return -_value(node[1], algebra, at, scale)
    elif op == "f":
        result = algebra.functions[node[1]](*(_value(part, algebra, at, scale) for part in node[2:]))
    else:
        a, b = _value(node[1], algebra, at, scale), _value(node[2], algebra, at, scale)
        result = a + b if op == "+" else a * b if op == "*" else a / b if op == "/" else a**b
    size = abs(result)
    if size > scale[0]:
        scale[0] = size
    return result


@lru_cache(maxsize=1024)
def _coordinate(point: int, name: str) -> Fraction:
    """Where a variable stands: positive at point 0, negative at 1, of a sign of its own at 2; magnitudes between 0.5 and 2."""
    draw = seed(name, point + 10)
    size = Fraction(2**20 + draw % (3 * 2**20), 2**21)
    return -size if point == 1 or (point == 2 and draw >> 100 & 1) else size


class Expression:
    """A parsed expression with what has been computed of it so far."""

    __slots__ = ("_doubles", "_precise", "_second", "huge", "image", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.image = image_of(node, 1)
        self._second: Image | None = None
        self._doubles: dict[int, tuple[complex, float] | None] | None = None
        self._precise: dict[int, tuple[Any, Any]] | None = None
        self.huge = False
        """Set when an evaluation overflowed: nothing else need try."""

    @property
    def second_image(self) -> Image | None:
        """The image with the variables at other residues."""
        if self._second is None and self.image is not None:
            self._second = image_of(self.node, 2)
        return self._second

    def double(self, point: int) -> tuple[complex, float] | None:
        """(value, largest magnitude met) in doubles, or None where it has none."""
        if self._doubles is None:
            self._doubles = {}
        if point not in self._doubles:
            scale = [1.0]
            try:
                value = _value(self.node, _DOUBLE, partial(_coordinate, point), scale)
                self._doubles[point] = (value, scale[0]) if cmath.isfinite(value) and math.isfinite(scale[0]) else None
            except (ArithmeticError, ValueError) as error:
                self.huge |= isinstance(error, OverflowError)
                self._doubles[point] = None
        return self._doubles[point]

    def precise(self, point: int) -> tuple[Any, Any]:
        """The same with DIGITS digits. Only asked for where the double is finite, so that sizes are known to be modest."""
        if self._precise is None:
            self._precise = {}
        if point not in self._precise:
            scale = [_MP.mpf(1)]
            value = _value(self.node, _PRECISE, partial(_coordinate, point), scale)
            self._precise[point] = (value, scale[0])
        return self._precise[point]


def same(a: Expression, b: Expression) -> bool | None:
    """Are they equal for all values of their variables? None where it cannot be told, or depends on signs."""
    if a.image and b.image:
        if a.image.value == b.image.value:
            return True
        if a.image.pure and b.image.pure:
            return False
    at_positive = _near(a, b, 0)
    if not at_positive:
        return at_positive
    if not all(_near(a, b, point) for point in range(1, _POINTS)):
        return None
    return _same_precisely(a, b)


def _near(a: Expression, b: Expression, point: int) -> bool | None:
    """Do the doubles agree within rounding?"""
    x, y = a.double(point), b.double(point)
    return None if x is None or y is None else abs(x[0] - y[0]) <= _FAR * max(x[1], y[1])


def _same_precisely(a: Expression, b: Expression) -> bool | None:
    try:
        (p, big), (q, bigger) = a.precise(0), b.precise(0)
    except (ArithmeticError, ValueError):
        return None
    return bool(abs(p - q) <= _NEAR * max(big, bigger))


def proportional(a: Expression, b: Expression) -> bool | None:
    """Is a = c * b for one constant c other than 0 (then a = 0 and b = 0 are the same equation)? None where it cannot be told."""
    if a.image and b.image and a.image.pure and b.image.pure and a.second_image and b.second_image:
        (p, _), (q, _), (r, _), (s, _) = a.image, b.image, a.second_image, b.second_image
        return bool(p and q) and (p * s - q * r) % P == 0
    ratios = []
    for point in range(_POINTS):
        x, y = a.double(point), b.double(point)
        if x is None or y is None or not abs(y[0]) or not abs(x[0]):
            return None
        ratios.append(x[0] / y[0])
    far = max(abs(r - ratios[0]) for r in ratios) > _FAR * abs(ratios[0])
    return False if far else _proportional_precisely(a, b)


def _proportional_precisely(a: Expression, b: Expression) -> bool | None:
    try:
        ratios = [a.precise(point)[0] / b.precise(point)[0] for point in range(_POINTS)]
    except (ArithmeticError, ValueError):
        return None
    return bool(max(abs(r - ratios[0]) for r in ratios) <= _NEAR * abs(ratios[0]))


def variables(node: Node) -> set[str]:
    """The names in an expression that are no constants."""
    return {name for kind, name in _leaves(node) if kind == "v"} - {"pi", "e", "i"}


def functions(node: Node) -> set[str]:
    """The names of the functions in an expression."""
    return {name for kind, name in _leaves(node) if kind == "f"}


def _leaves(node: Node) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current[0] in ("v", "f"):
            found.add((current[0], current[1]))
        waiting += [part for part in current[1:] if type(part) is tuple]
    return found


def differ_at_a_zero(a: Expression, b: Expression) -> bool:
    """Was a real point found where a is zero and b is clearly not? Then a = 0 and b = 0 are different equations; False says nothing."""
    for name in sorted(variables(a.node)):
        for start, others in ((0.37, 0.25), (-2.3, 0.25), (0.37, 1.0)):
            zero = _zero(a, name, start, others)
            if zero is not None:
                there = _real_value(b, name, zero, others)
                return there is not None and abs(there[0]) > 1e-5 * there[1]
    return False


def _real_value(a: Expression, name: str, x: float, others: float) -> tuple[float, float] | None:
    """(value, largest magnitude met) with `name` at x and the other variables at `others` times where they stand at point 0."""
    scale = [1.0]
    try:
        value = _value(a.node, _DOUBLE, lambda other: x if other == name else others * float(_coordinate(0, other)), scale)
        return (_real(value), scale[0]) if cmath.isfinite(value) else None
    except (ArithmeticError, ValueError):
        return None


def _zero(a: Expression, name: str, x: float, others: float) -> float | None:
    """A real zero of a in one variable by the secant method, None where it does not settle."""
    y, previous = x + 0.1, _real_value(a, name, x, others)
    for _ in range(15):
        current = _real_value(a, name, y, others)
        if current is None or previous is None or abs(y) > 1e6:
            return None
        if abs(current[0]) < 1e-13 * current[1]:
            return y
        if current[0] == previous[0]:
            return None
        x, y, previous = y, y - current[0] * (y - x) / (current[0] - previous[0]), current
    return None


def trivial(a: Expression, b: Expression) -> bool:
    """Is a = b, read as an equation, true or false whatever the variables are, but for zeros (`2x = 3x`, `1 + 1 = 2`)?"""
    return a.node == ("n", 0) == b.node or proportional(a, b) is True
