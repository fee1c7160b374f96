"""The answer key: an ordered list, one line a problem. It is the authority on answers, so a key of another length decides nothing.

Seen: `#C`, `# 007`, `#C<!--3-->` (the comment is the number), `*1. 34`, `<li>C</li>`; entries with two answers or none stay raw.
"""

import html
import re
from dataclasses import dataclass

from tasks.aops.contests import AnswerKind
from tasks.aops.parse.boxes import read_integer
from tasks.aops.parse.doubts import Doubt

_ENTRY = re.compile(r"^[ \t]*(?:#+|\*?[ \t]*(?:<p>)?[ \t]*(\d{1,2})[.):][ \t])[ \t]*([^\n]*)$|<li>(.*?)(?:</li>|$)", re.MULTILINE)
_COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)
_MARKUP = re.compile(r"</?[a-z]+[^<>]*>|'''?|\$|\\textbf|\\mathrm|\\text|[{}]", re.IGNORECASE)
_LETTER = re.compile(r"\(?([A-E])\)?")


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One line of a key: as it stands there, and the answer (a letter, or an integer without leading zeros) if it is one."""

    raw: str
    answer: str | None
    offset: int


def read_key(text: str, answer: AnswerKind, count: int) -> tuple[dict[int, KeyEntry], list[Doubt]]:
    """Entries by problem number, for a contest of `count` problems; none if their number is another or they are out of order."""
    found: list[tuple[int | None, KeyEntry]] = []
    for match in _ENTRY.finditer(text):
        found.append(_entry(match, answer))
    numbers = [n if n is not None else i for i, (n, _) in enumerate(found, 1)]
    if numbers != list(range(1, count + 1)):
        wrong = next((i for i, n in enumerate(numbers, 1) if n != i), len(numbers))
        at = found[min(wrong, len(found)) - 1][1].offset if found else 0
        return {}, [Doubt("key_unusable", at, f"{len(found)} entries for {count} problems")]
    entries = {number: entry for number, (_, entry) in zip(numbers, found, strict=True)}
    doubts = [Doubt("key_unreadable", e.offset, f"{n}: {e.raw[:40]}") for n, e in entries.items() if e.answer is None]
    return entries, doubts


def _entry(match: re.Match[str], answer: AnswerKind) -> tuple[int | None, KeyEntry]:
    body = match[2] if match[2] is not None else match[3]
    said = [c.strip() for c in _COMMENT.findall(body)]
    number = int(match[1]) if match[1] else next((int(c) for c in said if c.isdigit()), None)
    raw = html.unescape(_MARKUP.sub("", _COMMENT.sub("", body))).strip()
    return number, KeyEntry(raw, _answer(raw, answer), match.start())


def _answer(raw: str, answer: AnswerKind) -> str | None:
    if answer == "integer":
        return read_integer(raw).answer
    letter = _LETTER.fullmatch(raw)
    return letter[1] if letter else None
