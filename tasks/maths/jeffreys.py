"""The Jeffreys interval: the equal-tailed posterior interval of a rate under a Beta(1/2, 1/2) prior.

Sensible at 0 of 8 and 8 of 8, where the normal approximation has width 0 (Brown, Cai and DasGupta 2001, section 4).
"""

import functools
import math


@functools.cache
def jeffreys_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Ends of the equal-tailed interval for k successes of n >= 1; the lower end is 0 at k = 0, the upper 1 at k = n."""
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else beta_quantile(k + 0.5, n - k + 0.5, tail)
    high = 1.0 if k == n else beta_quantile(k + 0.5, n - k + 0.5, 1 - tail)
    return low, high


def beta_quantile(a: float, b: float, p: float) -> float:
    """x with I_x(a, b) = p, by bisection down to neighbouring floats (the function is increasing, so nothing else is needed)."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        if beta_cdf(a, b, middle) < p:
            low = middle
        else:
            high = middle
    return high


def beta_cdf(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), 0 < x < 1, relative error about 1e-12 (Numerical Recipes, section 6.4)."""
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast only below the mean
        return 1 - beta_cdf(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return front * _continued_fraction(a, b, x) / a


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Lentz's evaluation of the continued fraction of I_x(a, b)."""
    d = 1 / (1 - (a + b) * x / (a + 1))
    c, value = 1.0, d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / (1 + term * d)
            c = 1 + term / c
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            return value
    raise ArithmeticError(f"incomplete beta function did not converge for a={a}, b={b}, x={x}")
