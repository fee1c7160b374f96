"""Expressions in a prime field: exact, fast images whose equality means equality (Schwartz 1980, Zippel 1979).

What is built from rationals, variables, i, pi, e, square roots of rationals with + - * / and integer powers is mapped into GF(P), variables
to fixed pseudo-random residues. The map is a homomorphism, so different images prove a difference; equal images mean equality up to a
chance of degree/P < 1e-13. Other functions stand in as symbols named by their arguments: equal images still mean equality, different ones
nothing. Who knows P can write different numbers with equal images; integers and exponents are bounded so that this takes a whole formula.
"""

import hashlib
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from tasks.maths.latex import Node

P = 68_867_655_649_911_037_921
"""28 * (8 * 3 * 5 * ... * 47) + 1, a prime: -1 and every prime up to 47 have square roots modulo P, by reciprocity."""

MAX_BITS = 4_096
"""Size of exact intermediate results (exponents, radicands)."""
MAX_INTEGER = 10**18
MAX_POWER = 10**6


class Unsupported(ArithmeticError):
    """The expression has no value here: outside the field, too large, or undefined at this point."""


class _Transcendental(Unsupported):
    """No element of the field: it can only stand for itself."""


@lru_cache(maxsize=4096)
def seed(name: str, point: int) -> int:
    """128 pseudo-random bits for a name, others at each point."""
    return int.from_bytes(hashlib.sha256(f"{point}/{name}".encode()).digest()[:16], "big")


@lru_cache(maxsize=1024)
def _square_root(prime: int) -> int:
    """A fixed square root of a small prime (or -1) modulo P (Tonelli and Shanks). Unsupported where there is none."""
    n = prime % P
    if pow(n, (P - 1) // 2, P) != 1:
        raise _Transcendental
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
def root_of_rational(value: Fraction) -> int:
    """The image of sqrt(value): the square roots of its prime factors fix it."""
    n = value.numerator * value.denominator
    image = _square_root(-1) if n < 0 else 1
    n = abs(n)
    if n > 10**9:
        raise _Transcendental
    divisor = 2
    while n > 1 and divisor * divisor <= n and divisor < 1000:
        while n % (divisor * divisor) == 0:
            n, image = n // divisor**2, image * divisor % P
        if n % divisor == 0:
            n, image = n // divisor, image * _square_root(divisor) % P
        divisor += 1
    if divisor >= 1000 and n > divisor:
        raise _Transcendental
    return (image * _square_root(n) if n > 1 else image) * pow(value.denominator, -1, P) % P if value else 0


def exact(node: Node) -> Fraction:
    """The value of a rational constant. Raises Unsupported for anything else, and before a number of more than MAX_BITS bits is made."""
    op = node[0]
    if op == "n":
        return Fraction(node[1])
    if op == "-":
        return -exact(node[1])
    if op not in ("+", "*", "/", "^"):
        raise _Transcendental
    a, b = exact(node[1]), exact(node[2])
    if op == "^":
        if b.denominator != 1 or abs(b) * max(a.numerator.bit_length(), a.denominator.bit_length()) > MAX_BITS or (not a and b <= 0):
            raise _Transcendental
        return a**b.numerator
    if op == "/":
        if not b:
            raise Unsupported("division by zero")
        return a / b
    result = a + b if op == "+" else a * b
    if result.numerator.bit_length() + result.denominator.bit_length() > 2 * MAX_BITS:
        raise _Transcendental
    return result


class Image(NamedTuple):
    """Of an expression in GF(P). `pure`: no function had to stand in as a symbol, so that different images prove a difference."""

    value: int
    pure: bool


def image_of(node: Node, point: int) -> Image | None:
    """The image with the variables at pseudo-random residues (another set for each point), None for division by zero and the like."""
    functions: list[str] = []
    try:
        return Image(_residue(node, point, functions), not functions)
    except Unsupported:
        return None


def _residue(node: Node, point: int, functions: list[str]) -> int:
    """sin, ln, roots and powers that are no integers become symbols named by their arguments' images; `functions` collects them."""
    op = node[0]
    if op == "n":
        value = node[1]
        if type(value) is int and -MAX_INTEGER < value < MAX_INTEGER:
            return value % P
        if max(abs(value.numerator), value.denominator) > MAX_INTEGER:
            raise Unsupported("a large number")
        return value.numerator * pow(value.denominator, -1, P) % P
    if op == "v":
        name = node[1]
        if name == "i":
            return _square_root(-1)
        return seed(name, 0 if name in ("pi", "e") else point) % P
    if op == "+":
        return (_residue(node[1], point, functions) + _residue(node[2], point, functions)) % P
    if op == "*":
        return _residue(node[1], point, functions) * _residue(node[2], point, functions) % P
    if op == "-":
        return -_residue(node[1], point, functions) % P
    if op == "/":
        return _residue(node[1], point, functions) * _inverse(_residue(node[2], point, functions)) % P
    try:
        return _power(node[1], node[2], point, functions) if op == "^" else root_of_rational(_radicand(node))
    except _Transcendental:
        name = node[1] if op == "f" else op
        functions.append(name)
        parts = [_residue(part, point, functions) for part in node[1:] if isinstance(part, tuple)]
        return seed(f"{name}{parts}", point) % P


def _radicand(node: Node) -> Fraction:
    if node[1] != "sqrt":
        raise _Transcendental
    return exact(node[2])


def _inverse(image: int) -> int:
    if not image:
        raise Unsupported("division by zero")
    return pow(image, -1, P)


def _power(base: Node, exponent: Node, point: int, functions: list[str]) -> int:
    power = exact(exponent)
    if power.denominator == 2:
        image = root_of_rational(exact(base))
    elif power.denominator == 1:
        image = _residue(base, point, functions)
    else:
        raise _Transcendental
    if (power <= 0 and not image) or abs(power) > MAX_POWER:
        raise Unsupported("division by zero, or a large power")
    return pow(image, power.numerator, P)
