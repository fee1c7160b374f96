"""Are two expressions the same function? Exact arithmetic in a prime field where it applies, else doubles, then 80 digits to confirm.

1. What is built from rationals, variables, i, pi, e, square roots of rationals with + - * / and integer powers is mapped into GF(P),
   variables to fixed pseudo-random residues. The map is a homomorphism, so different images prove a difference; equal images mean
   equality up to a chance of degree/P < 1e-15 (Schwartz 1980, Zippel 1979).
2. Everything else is evaluated in doubles at three points; what differs beyond rounding is different, and only what agrees is evaluated
   again with mpmath. Numbers that would be huge raise before they are computed.
"""

import cmath
import hashlib
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any, NamedTuple

import mpmath

from tasks.maths.latex import Node

P = 68_867_655_649_911_037_921
"""28 * (8 * 3 * 5 * ... * 47) + 1, a prime: -1 and every prime up to 47 have square roots modulo P, by reciprocity."""

MAX_BITS = 4_096
"""Size of exact intermediate results (exponents, radicands)."""
DIGITS = 80
_FAR, _NEAR = 1e-9, 1e-60
_POINTS = 3


class Unsupported(ArithmeticError):
    """The expression has no value here: outside the field, too large, or undefined at this point."""


@lru_cache(maxsize=1024)
def _seed(name: str, point: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{point}/{name}".encode()).digest()[:16], "big")


@lru_cache(maxsize=1024)
def _square_root(prime: int) -> int:
    """A fixed square root of a small prime (or -1) modulo P (Tonelli and Shanks). Unsupported where there is none."""
    n = prime % P
    if pow(n, (P - 1) // 2, P) != 1:
        raise Unsupported(f"sqrt({prime})")
    odd, twos = P - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    z = next(z for z in range(2, P) if pow(z, (P - 1) // 2, P) != 1)
    c, t, root = pow(z, odd, P), pow(n, odd, P), pow(n, (odd + 1) // 2, P)
    while t != 1:
        i = next(i for i in range(1, twos) if pow(t, 2**i, P) == 1)
        b = pow(c, 2 ** (twos - i - 1), P)
        twos, c, t, root = i, b * b % P, t * b * b % P, root * b % P
    return root


@lru_cache(maxsize=4096)
def _root_of_rational(value: Fraction) -> int:
    """The image of sqrt(value): the square roots of its prime factors fix it."""
    n = value.numerator * value.denominator
    image = _square_root(-1) if n < 0 else 1
    n = abs(n)
    if n > 10**9:
        raise Unsupported("a large radicand")
    divisor = 2
    while n > 1 and divisor * divisor <= n and divisor < 1000:
        while n % (divisor * divisor) == 0:
            n, image = n // divisor**2, image * divisor % P
        if n % divisor == 0:
            n, image = n // divisor, image * _square_root(divisor) % P
        divisor += 1
    if divisor >= 1000 and n > divisor:
        raise Unsupported("a radicand with large factors")
    return (image * _square_root(n) if n > 1 else image) * pow(value.denominator, -1, P) % P if value else 0


def exact(node: Node) -> Fraction:
    """The value of a rational constant. Raises Unsupported for anything else, and before a number of more than MAX_BITS bits is made."""
    op = node[0]
    if op == "n":
        return Fraction(node[1])
    if op == "-":
        return -exact(node[1])
    if op not in ("+", "*", "/", "^"):
        raise Unsupported("not a rational constant")
    a, b = exact(node[1]), exact(node[2])
    if op == "^":
        if b.denominator != 1 or abs(b) * max(a.numerator.bit_length(), a.denominator.bit_length()) > MAX_BITS or (not a and b <= 0):
            raise Unsupported("a large or irrational power")
        return a**b.numerator
    if op == "/":
        if not b:
            raise Unsupported("division by zero")
        return a / b
    result = a + b if op == "+" else a * b
    if result.numerator.bit_length() + result.denominator.bit_length() > 2 * MAX_BITS:
        raise Unsupported("a large number")
    return result


def residue(node: Node, point: int) -> int:
    """The image of an expression in GF(P). Raises Unsupported for what the field cannot hold."""
    op = node[0]
    if op == "n":
        value = node[1]
        return value % P if type(value) is int else value.numerator * pow(value.denominator, -1, P) % P
    if op == "v":
        name = node[1]
        if name == "i":
            return _square_root(-1)
        return _seed(name, 0 if name in ("pi", "e") else point) % P
    if op == "+":
        return (residue(node[1], point) + residue(node[2], point)) % P
    if op == "*":
        return residue(node[1], point) * residue(node[2], point) % P
    if op == "-":
        return -residue(node[1], point) % P
    if op == "/":
        return residue(node[1], point) * _inverse(residue(node[2], point)) % P
    if op == "^":
        return _power(node[1], node[2], point)
    if node[1] == "sqrt":
        return _root_of_rational(exact(node[2]))
    raise Unsupported(node[1])


def _inverse(image: int) -> int:
    if not image:
        raise Unsupported("division by zero")
    return pow(image, -1, P)


def _power(base: Node, exponent: Node, point: int) -> int:
    power = exact(exponent)
    if power.denominator == 2:
        image = _root_of_rational(exact(base))
    elif power.denominator == 1:
        image = residue(base, point)
    else:
        raise Unsupported("a root")
    if power <= 0 and not image:
        raise Unsupported("division by zero")
    return pow(image, power.numerator, P)


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
    seed = _seed(name, point + 10)
    size = Fraction(2**20 + seed % (3 * 2**20), 2**21)
    return -size if point == 1 or (point == 2 and seed >> 100 & 1) else size


class Expression:
    """A parsed expression with what has been computed of it so far."""

    __slots__ = ("_doubles", "_precise", "_residues", "huge", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.huge = False
        """Set when an evaluation overflowed: nothing else need try."""
        self._residues: tuple[int, int] | bool | None = False
        self._doubles: dict[int, tuple[complex, float] | None] = {}
        self._precise: dict[int, tuple[Any, Any]] = {}

    @property
    def residues(self) -> tuple[int, int] | None:
        """Images at two independent points, or None."""
        if self._residues is False:
            try:
                self._residues = (residue(self.node, 1), residue(self.node, 2))
            except Unsupported:
                self._residues = None
        return self._residues  # type: ignore[return-value]

    def double(self, point: int) -> tuple[complex, float] | None:
        """(value, largest magnitude met) in doubles, or None where it has none."""
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
        if point not in self._precise:
            scale = [_MP.mpf(1)]
            value = _value(self.node, _PRECISE, partial(_coordinate, point), scale)
            self._precise[point] = (value, scale[0])
        return self._precise[point]


def same(a: Expression, b: Expression) -> bool | None:
    """Are they equal for all values of their variables? None where it cannot be told, or depends on signs."""
    if a.node == b.node:
        return True
    if a.residues and b.residues:
        return a.residues == b.residues
    verdicts = {_same_at(a, b, point) for point in range(_POINTS)}
    return verdicts.pop() if len(verdicts) == 1 else None


def _same_at(a: Expression, b: Expression, point: int) -> bool | None:
    x, y = a.double(point), b.double(point)
    if x is None or y is None:
        return None
    if abs(x[0] - y[0]) > _FAR * max(x[1], y[1]):
        return False
    try:
        (p, big), (q, bigger) = a.precise(point), b.precise(point)
    except (ArithmeticError, ValueError):
        return None
    return bool(abs(p - q) <= _NEAR * max(big, bigger))


def proportional(a: Expression, b: Expression) -> bool | None:
    """Is a = c * b for one constant c other than 0 (then a = 0 and b = 0 are the same equation)? None where it cannot be told."""
    if a.residues and b.residues:
        (a0, a1), (b0, b1) = a.residues, b.residues
        return bool(a0 and a1 and b0 and b1) and (a0 * b1 - a1 * b0) % P == 0
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


def variables(node: Node) -> frozenset[str]:
    """The names in an expression that are no constants."""
    if node[0] == "v":
        return frozenset() if node[1] in ("pi", "e", "i") else frozenset((node[1],))
    return frozenset().union(*(variables(part) for part in node[1:] if isinstance(part, tuple)))


def differ_at_a_zero(a: Expression, b: Expression) -> bool:
    """Was a real point found where a is zero and b is clearly not? Then a = 0 and b = 0 are different equations; False says nothing."""
    for name in sorted(variables(a.node)):
        for start in (0.37, -0.61, 2.3, -3.1):
            zero = _zero(a, name, start)
            if zero is not None:
                there = _real_value(b, name, zero)
                return there is not None and abs(there[0]) > 1e-5 * there[1]
    return False


def _real_value(a: Expression, name: str, x: float) -> tuple[float, float] | None:
    """(value, largest magnitude met) with `name` at x and the other variables where they stand at point 0."""
    scale = [1.0]
    try:
        value = _value(a.node, _DOUBLE, lambda other: x if other == name else _coordinate(0, other), scale)
        return (_real(value), scale[0]) if cmath.isfinite(value) else None
    except (ArithmeticError, ValueError):
        return None


def _zero(a: Expression, name: str, x: float) -> float | None:
    """A real zero of a in one variable by the secant method, None where it does not settle."""
    y, previous = x + 0.1, _real_value(a, name, x)
    for _ in range(40):
        current = _real_value(a, name, y)
        if current is None or previous is None or abs(y) > 1e6:
            return None
        if abs(current[0]) < 1e-13 * current[1]:
            return y
        if current[0] == previous[0]:
            return None
        x, y, previous = y, y - current[0] * (y - x) / (current[0] - previous[0]), current
    return None
