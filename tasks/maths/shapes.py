r"""Answers with a shape: tuples, intervals, sets, lists, matrices, equations, inequalities, words, read into one tree.

The leaves are expressions. Where every leaf has an exact image in GF(P) (`field`), a shape has a hashable `key`, so that two shapes are
compared by one comparison. `structural` compares the others part by part.
"""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from tasks.maths.exact import MAX_LENGTH, plain
from tasks.maths.field import P
from tasks.maths.latex import Node, Unparsed, parse
from tasks.maths.numeric import Expression, trivial
from tasks.maths.units import NOT_UNITS, UNITS

MAX_ITEMS = 2_000
MAX_NESTING = 60
"""Brackets in brackets; deeper texts are compared as text only."""


@dataclass(slots=True, eq=False)
class Shape:
    """kind: value | list | tuple | set | union | matrix | ratio | relation | words | opaque.

    `parts` are the elements (rows of a matrix, sides of a relation). `mark` is what else must agree: the brackets of a tuple or interval,
    a relation sign, the words, the unit of a value, `loose` for a list without order; for opaque the reason. An inequality in one variable
    is the interval it describes.
    """

    kind: str
    parts: tuple["Shape", ...] = ()
    mark: str = ""
    value: Expression | None = None
    label: str = ""
    """`x` in `x = 3`, `f(x)` in `f(x) = 2x`: a name for the answer, which may be left out."""
    key: Hashable = None
    """Equal keys: equal shapes. Where both of two shapes of a kind have one, different keys: different shapes."""


_NAME = r"(?:[A-Za-z]|\\[a-zA-Z]+)(?:_(?:\w|\{\w+\}))?'?"
_LABEL = re.compile(rf"({_NAME}(?: ?\({_NAME}(?:, ?{_NAME})*\))?|\({_NAME}(?:, ?{_NAME})+\)|\|[A-Za-z]{{1,2}}\||[A-Z]{{2,3}}) ?= ?(?=[^=])")
_MEMBER = re.compile(rf"({_NAME}) ?\\in ?(?=[\[({{\\])")
_JOIN = re.compile(r"(?:\\text ?\{ ?)?(?<![A-Za-z\\])(and|or)(?![A-Za-z])(?: ?\})?|或|和|\\lor(?![a-z])|\\vee(?![a-z])")
_RELATION = re.compile(r"(\\le(?![a-z])|\\ge(?![a-z])|\\neq(?![a-z])|<=|>=|!=|<|>|=)")
_SIGNS = {"\\le": "<=", "\\ge": ">=", "\\neq": "!="}
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_BUILDER = re.compile(rf"\\\{{ ?({_NAME})(?: ?\\in ?(?:\\mathbb ?\{{? ?R ?\}}?|R))? ?(?:\||\\mid(?![a-z])|:) ?(.*)\\\}}")
_MATRIX = re.compile(r"[\[(]? ?\\begin ?\{([pbBvV]?matrix|array)\}(?: ?\{[lcr| ]*\})?(.*)\\end ?\{\1\} ?[\])]?", re.DOTALL)
_TEXT_UNIT = re.compile(r" ?(?:\\text ?\{([^{}]*)\}(?:\^(?:\{-?[1-3]\}|[23]))?[ ./]*)+$")
_BARE_UNIT = re.compile(r"(?: [A-Za-z]{2,}\.?)+$")
_LETTERS = re.compile(r"[A-Za-z]{3,}|[\u3400-\u9fff]")
_STRUCTURE = re.compile(r"[()\[\]{},;]")
_CUP = re.compile(r"\\cup(?![a-z])|(?<=[)\]]) ?U ?(?=[(\[])")
_ROW = re.compile(r"\\\\(?:\[[^\]]*\])?")
_BRACKETS = re.compile(r"[()\[\]{}]")
_CONSTANTS = ("pi", "e", "i")
_SHORT_WORDS = ("no",)
_SIMPLE = re.compile(
    r"(?:[\w+\-*/^().!]|\\(?:frac|sqrt|pi|cdot|sin|cos|tan|ln|log)(?![a-zA-Z])|(?<!\\)[{}]| (?![A-Za-z]{2}|\d))+", re.ASCII
)
"""Certainly one expression, if anything."""
_EVERYTHING = ("\\mathbb{R}", "\\mathbb R", "\\R")
_NOTHING = ("\\emptyset", "\\varnothing", "\\{\\}")


@lru_cache(maxsize=65_536)
def shape_of(answer: str) -> Shape:
    """The shape of an answer; cached, because references and frequent answers come back in every rollout."""
    form = plain(answer)
    if form.value is not None:
        return _leaf(("n", form.value), form.unit)
    text = form.text
    if len(text) > MAX_LENGTH or _deepest(text) > MAX_NESTING:
        return Shape("words", mark=text)
    if text.casefold() in _SHORT_WORDS:
        return Shape("words", mark=text.casefold())
    try:
        return read(text)
    except Unparsed as error:
        prose = _LETTERS.search(re.sub(r"\\[a-zA-Z]+", "", text)) or "\\text" in text or "\\mid" in text
        return Shape("words", mark=_plain_words(text)) if prose else Shape("opaque", mark=str(error))


def _deepest(text: str) -> int:
    """How deep brackets stand in brackets; not looked at where there are too few to matter."""
    if text.count("(") + text.count("[") + text.count("{") <= MAX_NESTING:
        return 0
    depth = deepest = 0
    for bracket in _BRACKETS.findall(text):
        depth += 1 if bracket in "([{" else -1
        deepest = max(deepest, depth)
    return deepest


def _plain_words(text: str) -> str:
    words = re.sub(r"\\text ?\{([^{}]*)\}", r"\1", text).casefold()
    return re.sub(r"^(?:the|an?) |[\s.!]+$", "", words)


def read(text: str) -> Shape:
    """The shape of a text in normal form. Raises Unparsed."""
    if _SIMPLE.fullmatch(text):
        return _leaf(parse(text))
    number = plain(text)
    if number.value is not None:
        return _leaf(("n", number.value), number.unit)
    text = number.text
    if text in _EVERYTHING:
        return _interval(("-", ("v", "\\infty")), ("v", "\\infty"), "()")
    if text in _NOTHING:
        return Shape("words", mark="\\emptyset", key="\\emptyset")
    items, loose = _items(text)
    if len(items) > 1:
        return _list(items, loose)
    return _matrix(text) or _bracketed(text) or _related(text) or _scalar(text)


def _items(text: str) -> tuple[list[str], bool]:
    r"""Top-level elements, `\pm` written out, and whether the notation itself says that order does not matter."""
    joined = _JOIN.sub(", ", text)
    items = [part for part in split(joined, ",;") if part]
    if len(items) > MAX_ITEMS:
        raise Unparsed("too many elements")
    signed = [variant for part in items for variant in _signs(part)]
    return signed, len(signed) > len(items) or "or" in _JOIN.findall(text)


def _signs(text: str) -> tuple[str, ...]:
    if "\\pm" not in text:
        return (text,)
    return text.replace("\\pm", "+").replace("\\mp", "-"), text.replace("\\pm", "-").replace("\\mp", "+")


def split(text: str, separators: str) -> list[str]:
    """The text cut at separators that stand outside all brackets."""
    if not any(separator in text for separator in separators):
        return [text.strip()]
    parts, depth, start = [], 0, 0
    for match in _STRUCTURE.finditer(text):
        character = match[0]
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif depth == 0 and character in separators:
            parts.append(text[start : match.start()].strip())
            start = match.end()
    parts.append(text[start:].strip())
    return parts


def _list(items: list[str], loose: bool) -> Shape:
    """A bare list. The solutions of one unknown (`x = 1, 2`, `x = 1, x = 2`), several equations and several points have no order."""
    shapes = [read(item) for item in items]
    labels = {shape.label for shape in shapes}
    if len(labels - {""}) == 1 and shapes[0].label:
        label, bare = shapes[0].label, [replace(shape, label="") for shape in shapes]
        intervals = all(shape.kind in ("tuple", "union") and shape.label for shape in shapes)
        if intervals and not loose:
            raise Unparsed("inequalities that hold together")
        return replace(_collect("union" if intervals else "list", bare, "" if intervals else "loose"), label=label)
    if labels != {""}:
        if any(shape.kind in ("tuple", "union") for shape in shapes):
            raise Unparsed("inequalities that hold together")
        shapes = [_equation(s) if s.label else s for s in shapes]
    unordered = loose or all(shape.kind == "relation" for shape in shapes) or all(shape.kind == "tuple" for shape in shapes)
    return _collect("list", shapes, "loose" if unordered else "")


def _matrix(text: str) -> Shape | None:
    match = _MATRIX.fullmatch(text) if "\\begin" in text else None
    if not match or "\\begin" in match[2]:
        return None
    rows = [row for row in _ROW.split(match[2]) if row.strip()]
    mark = "determinant" if match[1] in ("vmatrix", "Vmatrix") else ""
    return _collect("matrix", [_collect("row", [read(cell) for cell in row.split("&")]) for row in rows], mark)


def _bracketed(text: str) -> Shape | None:
    """Sets, set builders, tuples, intervals, unions."""
    cups = _CUP.split(text) if "\\cup" in text or "U" in text else []
    if len(cups) > 1:
        return _collect("union", [read(_MEMBER.sub("", part)) for part in cups])
    if text.startswith("\\{") and (builder := _BUILDER.fullmatch(text)):
        return replace(_builder(builder[1], builder[2]), label="")
    if "\\in" in text and (member := _MEMBER.match(text)):
        return replace(read(text[member.end() :]), label=member[1])
    for opening, closing in (("\\{", "\\}"), ("{", "}")):
        if text.startswith(opening) and text.endswith(closing) and _encloses(text):
            inner = text[len(opening) : -len(closing)]
            items, _ = _items(inner)
            return _collect("set", [read(item) for item in items]) if opening == "\\{" or len(items) > 1 else read(inner)
    if len(text) > 2 and text[0] in "([" and text[-1] in ")]" and _encloses(text):
        items = split(text[1:-1], ",;")
        if len(items) > 1:
            return _collect("tuple", [read(item) for item in items], text[0] + text[-1])
    return None


def _encloses(text: str) -> bool:
    """Does the first bracket close with the last character?"""
    depth = 0
    for bracket in _BRACKETS.finditer(text):
        depth += 1 if bracket[0] in "([{" else -1
        if depth == 0:
            return bracket.end() == len(text)
    return False


def _builder(name: str, condition: str) -> Shape:
    """`{x | condition}` where the condition is an inequality in x."""
    parts = [part for part in _JOIN.split(condition) if part and part not in ("or", "and")]
    shapes = [read(part) for part in parts]
    if "and" in _JOIN.findall(condition) or any(s.kind not in ("tuple", "union") or s.label != name for s in shapes):
        raise Unparsed("a condition")
    return shapes[0] if len(shapes) == 1 else _collect("union", [replace(s, label="") for s in shapes])


def _related(text: str) -> Shape | None:
    """Equations, inequalities, chains; a name in front of one equals sign is a label."""
    pieces = [piece.strip() for piece in _RELATION.split(text)]
    signs = [_SIGNS.get(sign, sign) for sign in pieces[1::2]]
    if not signs:
        return None
    if not all(pieces[::2]) or len(signs) > 2:
        raise Unparsed("a chain of relations")
    if signs == ["="] and (label := _LABEL.match(text)):
        return replace(read(text[label.end() :]), label=re.sub(r"[ {}]", "", label[1]))
    sides = [parse(side) for side in pieces[::2]]
    return _as_interval(sides, signs) or _relation(sides, signs)


def _as_interval(sides: list[Node], signs: list[str]) -> Shape | None:
    """`a < x <= b` and `x > a`, in one variable, as the interval they describe, labelled with the variable."""
    if any(sign not in _FLIPPED for sign in signs):
        return None
    if signs[0][0] == ">":
        sides, signs = sides[::-1], [_FLIPPED[sign] for sign in reversed(signs)]
    if any(sign[0] == ">" for sign in signs):
        return None
    closed = [sign == "<=" for sign in signs]
    infinity = ("v", "\\infty")
    if len(sides) == 3 and _is_variable(sides[1]):
        low, name, high = sides
        marks = "(["[closed[0]] + ")]"[closed[1]]
    elif len(sides) == 2 and _is_variable(sides[1]):
        low, name, high, marks = sides[0], sides[1], infinity, "(["[closed[0]] + ")"
    elif len(sides) == 2 and _is_variable(sides[0]):
        low, name, high, marks = ("-", infinity), sides[0], sides[1], "(" + ")]"[closed[0]]
    else:
        return None
    return replace(_interval(low, high, marks), label=name[1])


def _is_variable(node: Node) -> bool:
    return node[0] == "v" and node[1] not in _CONSTANTS and node[1] != "\\infty"


def _interval(low: Node, high: Node, marks: str) -> Shape:
    return _collect("tuple", [_leaf(low), _leaf(high)], marks)


def _relation(sides: list[Node], signs: list[str]) -> Shape:
    """Of two sides with `=` or `!=` only the difference counts, up to a constant factor; its two images' ratio is the key."""
    if signs[0][0] == ">":
        sides, signs = sides[::-1], [_FLIPPED.get(sign, sign) for sign in reversed(signs)]
    parts = tuple(_leaf(side) for side in sides)
    key = _equation_key(*parts, signs[0]) if len(parts) == 2 and signs[0] in ("=", "!=") else None
    return Shape("relation", parts, " ".join(signs), key=key)


def _equation_key(left: Shape, right: Shape, sign: str) -> Hashable:
    """The same for `a = b` and any multiple of it. None where both sides are multiples of one expression: such a line says too little."""
    a, b = left.value, right.value
    if a is None or b is None or left.key is None or right.key is None or trivial(a, b):
        return None
    (a1, _), (b1, _), a2, b2 = a.image, b.image, a.second_image, b.second_image  # type: ignore[misc]
    if not a2 or not b2 or a1 == b1 or a2.value == b2.value:
        return None
    return ("relation", sign, (a1 - b1) * pow(a2.value - b2.value, -1, P) % P)


def _equation(shape: Shape) -> Shape:
    """A labelled value as the equation it was written as, where the label is a plain name."""
    if shape.kind != "value" or shape.value is None:
        return shape
    try:
        return _relation([parse(shape.label), shape.value.node], ["="])
    except Unparsed:
        return shape


def as_equation(shape: Shape) -> Shape:
    """The shape itself, or for `y = 2x` the equation in place of the labelled value."""
    return _equation(shape) if shape.label else shape


def _scalar(text: str) -> Shape:
    if ":" in text:
        return _ratio(text)
    unit = ""
    if match := _TEXT_UNIT.search(text):
        words = re.findall(r"[A-Za-z]+", match[0].replace("\\text", ""))
        if match.start() and not any(word.lower() in NOT_UNITS for word in words):
            text, unit = text[: match.start()], " ".join(UNITS.get(word.lower(), word) for word in words)
    elif (match := _BARE_UNIT.search(text)) and all(word.lower().rstrip(".") in UNITS for word in match[0].split()):
        text, unit = text[: match.start()], " ".join(UNITS[word.lower().rstrip(".")] for word in match[0].split())
    return _leaf(parse(text.rstrip("$ ").lstrip("$ ")), unit)


def _ratio(text: str) -> Shape:
    """`2:4` is the ratio 1:2: every term over the first."""
    terms = [parse(term) for term in text.split(":")]
    return _collect("ratio", [_leaf(("/", term, terms[0])) for term in terms[1:]])


def _leaf(node: Node, unit: str = "") -> Shape:
    expression = Expression(node)
    image = expression.image
    return Shape("value", (), unit, expression, "", ("value", image.value) if image and image.pure else None)


def _collect(kind: str, parts: Sequence[Shape], mark: str = "") -> Shape:
    """A shape of parts with its key: order counts in all but sets and unions."""
    keys = [part.key for part in parts]
    key: Hashable = None
    if all(k is not None for k in keys):
        inner: Hashable = frozenset(keys) if kind in ("set", "union") else tuple(keys)
        key = (kind, "" if mark == "loose" else mark, inner)
    return Shape(kind, tuple(parts), mark, key=key)
