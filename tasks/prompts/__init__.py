"""Prompts are prose: `NAME.md` files with `[[holes]]`. Line 1 names the source; `## system`, `## user`, `## assistant` start the turns.

Without headings the file is one user turn; `## raw` alone bypasses the chat template. The text is split before it is filled,
so that nothing in a problem can open a turn; `[[lower_case_name]]` is a hole, `[[1,2]]` is text.
"""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from models.engine import Message, Prompt

_FOLDER = Path(__file__).parent
_HOLE = re.compile(r"\[\[([a-z][a-z0-9_]*)\]\]")
_HEADING = re.compile(r"^## (system|user|assistant|raw)[ \t]*$", re.MULTILINE)


class PromptText(BaseModel):
    """A prompt's name and text; the text alone decides what is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    text: str

    @property
    def holes(self) -> set[str]:
        return set(_HOLE.findall(self.text))


def load_prompt(name: str) -> PromptText:
    """The packaged prompt `name`, or the file of `@path`. The source line is not part of the text."""
    path = Path(name[1:]) if name.startswith("@") else _FOLDER / f"{name}.md"
    if not path.is_file():
        have = sorted(p.stem for p in _FOLDER.glob("*.md"))
        raise ValueError(f"no prompt {name!r}: have {have}, or give a file as @path/to/prompt.md")
    text = path.read_text(encoding="utf-8")
    if text.startswith("<!-- source:"):
        text = text.partition("\n")[2]
    return PromptText(name=name, text=text.strip("\n"))


def _as_prompt(value: Any) -> Any:
    return load_prompt(value) if isinstance(value, str) else value


PromptField = Annotated[PromptText, BeforeValidator(_as_prompt)]
"""Config field type: written as a prompt's name or @file, held as its text."""


def fill(prompt: PromptText, **values: str) -> Prompt:
    """The prompt with every hole filled. Holes and values must be the same set."""
    if prompt.holes != set(values):
        raise ValueError(f"prompt {prompt.name!r} has the holes {sorted(prompt.holes)}, values were given for {sorted(values)}")
    pieces = _HEADING.split(prompt.text)
    if len(pieces) == 1:
        return Prompt(messages=(Message("user", _put(pieces[0], values)),))
    turns = [(role, _put(text.strip("\n"), values)) for role, text in zip(pieces[1::2], pieces[2::2], strict=True)]
    if pieces[0].strip():
        raise ValueError(f"prompt {prompt.name!r}: text before the first '## role' heading: {pieces[0].strip()[:60]!r}")
    if turns[0][0] == "raw":
        if len(turns) > 1:
            raise ValueError(f"prompt {prompt.name!r}: '## raw' stands alone, found {[r for r, _ in turns]}")
        return Prompt(text=turns[0][1])
    return Prompt(messages=tuple(Message(role, text) for role, text in turns))  # type: ignore[arg-type]


def _put(text: str, values: dict[str, str]) -> str:
    return _HOLE.sub(lambda m: values[m[1]], text)
