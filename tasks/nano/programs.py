"""Python programs that solve tasks of the nano world, and a reader that works them out without ever running them.

A program is one assignment a concept and a print; the formulas stand here, apart from the workings of `concepts`, so that each checks
the other. `run` interprets whole-number arithmetic on the syntax tree: what a model wrote is never handed to Python.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import gcd, lcm

from tasks.nano.world import Op, Task

FORMULAS: Mapping[str, str] = {
    "gain": "x + {a}",
    "loss": "x - {a}",
    "times": "x * {a}",
    "share": "x // {a}",
    "percent": "x - x * {a} // 100",
    "ratio": "x * {a} // ({a} + {b})",
    "rate": "x + {a} * {b}",
    "average": "(x + {a} + {b}) // 3",
    "remainder": "x % {a}",
    "gcd": "gcd(x, {a})",
    "lcm": "lcm(x, {a})",
    "sequence": "x + ({b} - 1) * {a}",
    "linear": "(x - {b}) // {a}",
    "perimeter": "2 * (x + {a})",
    "rectangle": "x * {a}",
    "triangle": "x * {a} // 2",
    "combinations": "x + {a} * {b}",
    "probability": "Fraction({a}, x + {a})",
    "gain_as_loss": "x - {a}",
    "loss_as_gain": "x + {a}",
    "times_as_plus": "x + {a}",
    "share_as_minus": "x - {a}",
    "percent_part_kept": "x * {a} // 100",
    "percent_as_number": "x - {a}",
    "ratio_other_part": "x * {b} // ({a} + {b})",
    "rate_forgets_start": "{a} * {b}",
    "rate_once": "x + {a}",
    "average_as_sum": "x + {a} + {b}",
    "remainder_as_shortfall": "(x // {a} + 1) * {a} - x",
    "gcd_as_lcm": "lcm(x, {a})",
    "lcm_as_product": "x * {a}",
    "lcm_as_gcd": "gcd(x, {a})",
    "fencepost": "x + {b} * {a}",
    "linear_subtracts_factor": "x - {b} - {a}",
    "half_perimeter": "x + {a}",
    "area_as_perimeter": "2 * (x + {a})",
    "triangle_without_half": "x * {a}",
    "combinations_added": "x + {a} + {b}",
    "odds_for_probability": "Fraction({a}, x)",
}
"""What each concept, and each misconception, does to x."""

IMPORTS = {"gcd": "from math import gcd", "lcm": "from math import lcm", "Fraction": "from fractions import Fraction"}
"""The line that each name comes from."""


def program(task: Task, wrong: tuple[int, str] | None = None, imported: bool = True) -> str:
    """A program that prints the answer, or what the misconception `wrong` = (position, name) leads to. Without imports it may fail."""
    names = [wrong[1] if wrong and wrong[0] == i else op.concept for i, op in enumerate(task.composition.ops)]
    lines = [f"x = {task.composition.start}"]
    lines += [f"x = {_formula(name, op)}" for name, op in zip(names, task.composition.ops, strict=True)]
    needed = [line for name, line in IMPORTS.items() if imported and any(f"{name}(" in text for text in lines)]
    return "\n".join([*needed, *lines, "print(x)"])


def _formula(name: str, op: Op) -> str:
    return FORMULAS[name].format(**dict(zip("ab", op.params, strict=False)))


_BLOCK = re.compile(r"```python[ \t]*\n(.*?)\n?```", re.DOTALL)


def last_program(reply: str) -> str | None:
    """The program of the last closed ```python block, None where there is none."""
    found = _BLOCK.findall(reply)
    return found[-1] if found else None


Value = int | Fraction
_LIMIT = 10**12
_OPERATORS: Mapping[type[ast.operator], Callable[[Value, Value], Value]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Div: lambda a, b: Fraction(a) / Fraction(b),
}
_CALLS: Mapping[str, Callable[..., Value]] = {"gcd": gcd, "lcm": lcm, "Fraction": Fraction}


class _Stop(Exception):
    """The last line that Python's traceback would have."""


def run(text: str) -> str:
    """What a program prints, or the last line of its traceback. Whole numbers and fractions, names, gcd, lcm, Fraction and print only;
    anything else is answered with a NotImplemented line, numbers beyond 10**12 with an OverflowError."""
    names: dict[str, Value] = {}
    imported: set[str] = set()
    printed: list[str] = []
    try:
        for statement in _parsed(text):
            _step(statement, names, imported, printed)
    except _Stop as stop:
        printed.append(str(stop))
    return "\n".join(printed)


def _parsed(text: str) -> Sequence[ast.stmt]:
    try:
        return ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _Stop(f"SyntaxError: {getattr(error, 'msg', None) or 'invalid syntax'}") from error


def _step(statement: ast.stmt, names: dict[str, Value], imported: set[str], printed: list[str]) -> None:
    match statement:
        case ast.ImportFrom(module="math" | "fractions", names=aliases):
            imported.update(alias.name for alias in aliases)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            names[name] = _value(value, names, imported)
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=arguments, keywords=[])):
            printed.append(" ".join(str(_value(a, names, imported)) for a in arguments))
        case _:
            raise _Stop(f"NotImplemented: {type(statement).__name__}")


def _value(node: ast.expr, names: Mapping[str, Value], imported: set[str]) -> Value:
    match node:
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            value: Value = number
        case ast.Name(id=name):
            if name not in names:
                raise _Stop(f"NameError: name '{name}' is not defined")
            value = names[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            value = _applied(_OPERATORS[type(op)], [_value(left, names, imported), _value(right, names, imported)])
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _CALLS:
            if name not in imported:
                raise _Stop(f"NameError: name '{name}' is not defined")
            value = _applied(_CALLS[name], [_value(a, names, imported) for a in arguments])
        case _:
            raise _Stop(f"NotImplemented: {type(node).__name__}")
    if not -_LIMIT <= value <= _LIMIT:
        raise _Stop(f"OverflowError: {float(value):.3e}")
    return value


def _applied(function: Callable[..., Value], arguments: list[Value]) -> Value:
    try:
        return function(*arguments)
    except (ZeroDivisionError, TypeError) as error:
        raise _Stop(f"{type(error).__name__}: {error}") from error
