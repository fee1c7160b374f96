"""The code's part of a recipe hash: a stage's module and the task modules it imports, comments and docstrings aside.

Code is hashed because the ledger makes recomputation free of model calls: a parser fix takes effect at once.
"""

import ast
import functools
import hashlib
import importlib.util
from importlib.metadata import version
from pathlib import Path

from tasks.stage import Stage

# How stages are declared and run, and what loads prompts: their result is in the recipe by other ways (config, prompt text, schema).
_MACHINERY = {"tasks.stage", "tasks.runner", "tasks.prompts", "tasks.fingerprint"}


def code_identity(stage: Stage) -> dict[str, object]:
    """{"revision": n} for stages with an explicit one, else {"source": digest}; and the versions of the tools that decide the result."""
    code: dict[str, object] = {"source": source_digest(stage.__module__)} if stage.revision is None else {"revision": stage.revision}
    return {**code, "tools": {tool: version(tool) for tool in stage.tools}}


@functools.cache
def source_digest(module: str) -> str:
    """16 hex digits over the syntax trees of `module` and of every `tasks.` module it imports, directly or not."""
    seen: dict[str, str] = {}
    queue = [module]
    while queue:
        name = queue.pop()
        path = _file_of(name)
        if name in seen or name in _MACHINERY or path is None:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        seen[name] = _without_docstrings(tree)
        queue += _imports(tree)
    text = "\n".join(f"{name}\n{seen[name]}" for name in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file_of(name: str) -> Path | None:
    if not name.startswith("tasks."):
        return None
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # `from tasks.x import name`: a name, not a module
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _imports(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [n for n in names if n.startswith("tasks.")]


def _without_docstrings(tree: ast.AST) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [s for s in node.body if not _is_string(s)] or [ast.Pass()]
    return ast.dump(tree)


def _is_string(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)
