"""Concept lists in replies: a fenced Python list, read as literals and never evaluated, or `Knowledge Point: ` lines (PromptCoT).

Both readers give the concepts in order, each once; an empty list where there is nothing to read. They judge no concept.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterable

_BLOCK = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
_ESCAPE = re.compile(r"\\([\\'\"\n])|\\")
_POINT = re.compile("knowledge point:", re.IGNORECASE)
_LONGEST = 20_000
"""Characters of a block beyond which it is no concept list: the parser's own limits are never met."""


def read_list(reply: str) -> list[str]:
    """The strings of the first list literal of strings that stands in a fenced block, as a statement or as what a name is set to."""
    for block in _BLOCK.findall(reply):
        if found := _listed(block):
            return found
    return []


def _listed(block: str) -> list[str]:
    if len(block) > _LONGEST:
        return []
    # models write LaTeX unescaped: "\frac" must not become a form feed
    source = _ESCAPE.sub(lambda m: m[0] if m[1] else r"\\", block)
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    for statement in statements:
        value = statement.value if isinstance(statement, ast.Expr | ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.List) and (found := _strings(value, source)):
            return found
    return []


def _strings(literal: ast.List, source: str) -> list[str]:
    """The elements if all are strings, one literal each: a forgotten comma would join two concepts into one."""
    values = [e.value for e in literal.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
    segment = ast.get_source_segment(source, literal) or ""
    written = sum(token.type == tokenize.STRING for token in tokenize.generate_tokens(io.StringIO(segment).readline))
    return tidy(values) if len(values) == len(literal.elts) == written else []


def read_lines(reply: str) -> list[str]:
    """What follows the last `Knowledge Point:` of each line that has one."""
    found = (_POINT.split(line) for line in reply.splitlines())
    return tidy(pieces[-1].strip().strip("*") for pieces in found if len(pieces) > 1)


def tidy(concepts: Iterable[str]) -> list[str]:
    """Spaces made single, empty ones left out, the first of those that differ in case or spaces alone."""
    found: dict[str, str] = {}
    for concept in (" ".join(c.split()) for c in concepts):
        if concept:
            found.setdefault(concept.casefold(), concept)
    return list(found.values())


def numbered(concepts: Iterable[str]) -> str:
    """`1. concept` lines, as prompts show them."""
    return "\n".join(f"{i}. {concept}" for i, concept in enumerate(concepts, 1))


def bulleted(concepts: Iterable[str]) -> str:
    """`- concept` lines, as judges are shown them."""
    return "\n".join(f"- {concept}" for concept in concepts)
