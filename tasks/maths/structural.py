"""Comparing two shapes: equal, different, or undecided with the reason. Other brackets and other lengths are differences, not noise."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from tasks.maths.exact import Plain
from tasks.maths.numeric import Expression, differ_at_a_zero, functions, proportional, same, trivial, variables
from tasks.maths.shapes import Shape, as_equation, shape_of

MAX_MATCHED = 24
"""Unordered collections without keys are matched pair by pair up to this size."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """No verdict from this tier, and why. `ask`: the next tier may know."""

    why: str
    ask: bool = False


Outcome = bool | Undecided

_ORDER_FREE = re.compile(r"\ball\b|\bsolve\b|\bsolutions?\b|\broots?\b|\bzeros?\b|\bvalues\b|commas|方程|所有", re.IGNORECASE)
_INTERVALS = re.compile(r"interval|domain|\brange\b|inequalit|区间|范围|定义域|值域|不等式", re.IGNORECASE)
_OPPOSED = ({"yes", "no"}, {"true", "false"}, {"even", "odd", "neither"}, {"increasing", "decreasing"}, {"convergent", "divergent"},
            {"converges", "diverges"}, {"positive", "negative"}, {"rational", "irrational"}, {"independent", "dependent"})  # fmt: skip
_DEGREE = ("/", ("v", "pi"), ("n", 180))


@lru_cache(maxsize=65_536)
def compare_answers(gold: str, given: str, question: str | None) -> Outcome:
    """Do two answers (neither pair of plain numbers nor equal texts) mean the same? Cached: rollouts of one problem repeat few answers."""
    return _Comparison(question or "", asked=question is not None).shapes(shape_of(gold), shape_of(given))


@dataclass(frozen=True, slots=True)
class _Comparison:
    question: str
    asked: bool

    def shapes(self, a: Shape, b: Shape) -> Outcome:
        if a.kind in ("words", "opaque") or b.kind in ("words", "opaque"):
            return _words(a, b)
        if a.label and b.label and a.label != b.label:
            return self._renamed(a, b)
        if a.key is not None and a.key == b.key:
            return _units_agree(a, b)
        if "relation" in (a.kind, b.kind):
            return self._relations(as_equation(a), as_equation(b))
        if a.kind == "value" and b.kind == "value":
            return _values(a, b)
        if a.kind == b.kind:
            return self._alike(a, b)
        return self._unlike(a, b) if _rank(a) <= _rank(b) else self._unlike(b, a)

    def _renamed(self, a: Shape, b: Shape) -> Outcome:
        """`y = 3 - x` and `x = 3 - y` are one equation; otherwise two names are left to a person."""
        p, q = as_equation(a), as_equation(b)
        if p.kind == q.kind == "relation" and self._relations(p, q) is True:
            return True
        return Undecided(f"names differ: {a.label} and {b.label}")

    def _alike(self, a: Shape, b: Shape) -> Outcome:
        if a.kind in ("set", "union"):
            return self._unordered(a, b)
        if len(a.parts) != len(b.parts):
            return False
        in_order = self._in_order(a, b)
        if a.kind == "list" and in_order is not True:
            return self._reordered(a, b)
        if in_order is True and a.mark != b.mark:
            return False if len(a.parts) == 2 or a.kind == "matrix" else Undecided(f"brackets differ: {a.mark} and {b.mark}")
        return in_order

    def _in_order(self, a: Shape, b: Shape) -> Outcome:
        if len(a.parts) != len(b.parts):
            return False
        outcomes = [self.shapes(x, y) for x, y in zip(a.parts, b.parts, strict=True)]
        return False if False in outcomes else next((o for o in outcomes if o is not True), True)

    def _reordered(self, a: Shape, b: Shape) -> Outcome:
        """The same elements in another order are equal where notation or question say that order is free."""
        outcome = self._unordered(a, b)
        if outcome is not True or "loose" in (a.mark, b.mark) or _ORDER_FREE.search(self.question):
            return outcome
        return Undecided("the same elements in another order")

    def _unordered(self, a: Shape, b: Shape) -> Outcome:
        keys_a, keys_b = [p.key for p in a.parts], [p.key for p in b.parts]
        if None not in keys_a and None not in keys_b:
            once = "set" in (a.kind, b.kind) or "union" in (a.kind, b.kind)
            return set(keys_a) == set(keys_b) if once else Counter(keys_a) == Counter(keys_b)
        if len(a.parts) != len(b.parts):
            return False if a.kind == b.kind == "list" else Undecided("sets of different length that may hold equal elements")
        if len(a.parts) > MAX_MATCHED:
            return Undecided("many elements without an exact form")
        return self._matched(a, b)

    def _matched(self, a: Shape, b: Shape) -> Outcome:
        left = list(b.parts)
        for part in a.parts:
            outcomes = [self.shapes(part, other) for other in left]
            if True in outcomes:
                del left[outcomes.index(True)]
            else:
                return next((o for o in outcomes if o is not False), False)
        return True

    def _relations(self, a: Shape, b: Shape) -> Outcome:
        if a.kind != b.kind:
            return Undecided("a relation against another kind of answer")
        if a.mark != b.mark:
            return False if {a.mark, b.mark} <= {"<", "<="} and self._in_order(a, b) is True else Undecided("relations of different signs")
        outcome = self._in_order(a, b)
        if outcome is True or a.mark not in ("=", "!="):
            return outcome if outcome is True else Undecided("relations whose sides differ")
        outcome = _equations(_difference(a), _difference(b))
        if outcome is True and trivial(*_sides(a)):
            return Undecided("an equation that holds for zeros only, or whatever the variables are")
        return outcome

    def _unlike(self, a: Shape, b: Shape) -> Outcome:
        """Shapes of two kinds, ordered by `_rank`."""
        kinds = (a.kind, b.kind)
        if kinds == ("list", "set"):
            return self._unordered(a, b)
        if kinds == ("list", "tuple"):
            outcome = self._in_order(a, b)
            if outcome is not True or (len(a.parts) > 2 and b.mark == "()"):
                return outcome
            plainly = self.asked and b.mark == "()" and not _INTERVALS.search(self.question)
            return True if plainly else Undecided("a list against a pair or an interval")
        if a.kind == "value" and len(b.parts) == 1:
            return Undecided("an element against a collection of one")
        if {"ratio", "matrix", "row"} & set(kinds) and kinds != ("value", "matrix"):
            return Undecided(f"a {a.kind} against a {b.kind}")
        if kinds in (("tuple", "set"), ("tuple", "union"), ("set", "union")):
            return Undecided(f"a {a.kind} against a {b.kind}")
        return False


def _equations(a: Expression, b: Expression) -> Outcome:
    if not variables(a.node) and not variables(b.node):
        return False
    if proportional(a, b):
        return True
    if differ_at_a_zero(a, b) or differ_at_a_zero(b, a):
        return False
    return Undecided("equations that are no multiples of each other", ask=not (a.huge or b.huge))


_RANKS = ("value", "list", "ratio", "tuple", "set", "union", "row", "matrix", "relation")


def _rank(shape: Shape) -> int:
    return _RANKS.index(shape.kind)


def _sides(shape: Shape) -> tuple[Expression, Expression]:
    left, right = (part.value for part in shape.parts)
    assert left is not None and right is not None
    return left, right


def _difference(shape: Shape) -> Expression:
    left, right = _sides(shape)
    return Expression(("+", left.node, ("-", right.node)))


def _units_agree(a: Shape, b: Shape) -> Outcome:
    if a.kind == "value" and a.mark and b.mark and a.mark != b.mark:
        return Undecided(f"units differ: {a.mark!r} and {b.mark!r}")
    return True


def _values(a: Shape, b: Shape) -> Outcome:
    assert a.value is not None and b.value is not None
    outcome = same(a.value, b.value)
    if outcome:
        return _units_agree(a, b)
    if "°" in (a.mark, b.mark) and a.mark != b.mark and same(*(_radians(s) for s in (a, b))):
        return True
    if outcome is None:
        if a.value.huge or b.value.huge:
            return Undecided("too large to evaluate")
        return Undecided("not evaluated, or equal for some signs of the variables only", ask=True)
    if a.mark and b.mark and a.mark != b.mark:
        return Undecided(f"units differ: {a.mark!r} and {b.mark!r}")
    if _may_be_unit(a, b) or _may_be_unit(b, a):
        return Undecided("a letter that may be a unit")
    if "log" in functions(a.value.node) ^ functions(b.value.node):
        return Undecided("a logarithm without its base")
    return _renamed_variables(variables(a.value.node), variables(b.value.node))


def _renamed_variables(a: set[str], b: set[str]) -> Outcome:
    """Different expressions are wrong, unless they speak of other things: n·pi and k·pi, a number and the same in another base."""
    if a != b and len(a) == len(b):
        return Undecided("the variables have other names")
    if any(name[0].isdigit() for name in a | b):
        return Undecided("a number with its base")
    return False


def _may_be_unit(number: Shape, product: Shape) -> bool:
    """5 against 5·m: metres, or a variable?"""
    assert number.value is not None and product.value is not None
    node = product.value.node
    return node[0] == "*" and node[2][0] == "v" and number.value.node == node[1]


def _radians(shape: Shape) -> Expression:
    assert shape.value is not None
    return Expression(("*", shape.value.node, _DEGREE)) if shape.mark == "°" else shape.value


def _words(a: Shape, b: Shape) -> Outcome:
    if a.kind == b.kind == "words":
        if a.mark == b.mark:
            return True
        return False if any({a.mark, b.mark} <= group for group in _OPPOSED) else Undecided("words")
    if "words" in (a.kind, b.kind):
        return Undecided("words against mathematics")
    return Undecided((a if a.kind == "opaque" else b).mark, ask=True)


def rounding(gold: Plain, given: str) -> bool:
    """Is one a decimal (three significant digits or more) that is the other's value rounded? For plain `gold` against an expression."""
    if not gold.decimal or gold.value is None:
        return False
    other = shape_of(given)
    if other.kind != "value" or other.value is None or variables(other.value.node):
        return False
    found = other.value.double(0)
    digits = len(re.sub(r"\D.*", "", gold.text.partition(".")[2]))
    close = found is not None and abs(found[0] - complex(gold.value)) <= 0.5000001 * 10.0**-digits
    return close and abs(gold.value) * 10**digits >= 100
