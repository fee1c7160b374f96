r"""A solution as its steps: `Step i:` headers, else a numbered list, else paragraphs, else sentences (Step-DPO, section 3.2).

Nothing is lost: the pieces joined are the text, character for character, so that a prefix of steps is a prefix of the text and of its
tokens. A header counts at the start of a line alone and only where its number goes up by one: "from Step 2:" inside a step cuts nothing.
Every scan is linear in the length of the text.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tasks.maths.exact import chinese_number


class Step(NamedTuple):
    """One step as offsets into its text: `text[start:end]` is the piece, `text[start:body]` its header, `text[body:end]` what it says."""

    start: int
    body: int
    end: int


_NUMERAL = r"(\d{1,4}|[一二三四五六七八九十百两〇零]{1,6})"
_HEADER = re.compile(
    rf"""^[ \t]{{0,8}}(?:>[ \t]?)?(?:[#]{{1,6}}[ \t]+)?(?:[-*+][ \t]+)?(?:\*\*|__)?
    (?: [Ss](?:tep|TEP)[ \t]+(\d{{1,4}}) | (?:步骤|步驟)[ \t]*{_NUMERAL} | 第[ \t]*{_NUMERAL}[ \t]*步 )
    (?: [ \t]*[:：.、)）,，](?:\*\*|__)? | (?:\*\*|__)[ \t]*[:：.]? | [ \t]+[-–—](?=[ \t]) | (?=[ \t]*\r?$) )""",
    re.VERBOSE | re.MULTILINE,
)
_ITEM = re.compile(
    r"^(?P<indent>[ \t]{0,8})(?:\*\*)?(?P<open>[(（]?)(?P<number>\d{1,4})(?P<close>[.)、．）])"
    r"(?:(?=[ \t]|\*\*)|(?<=[、．）])|(?<=\))(?=[^\d.]))",
    re.MULTILINE,
)
_BLANK = re.compile(r"\n[ \t\r]*(?:\n[ \t\r]*)+")
_LINE = re.compile(r"\n")
_SENTENCE = re.compile(r"(?<![A-Z])[.!?][\"'”’)\]*]{0,3}\s+(?=[^\sa-z]|[a-z]\s?[=+])|[。！？][”’」』）)]{0,3}\s*|\n\s*")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|No|vs|etc|e\.g|i\.e|cf|approx|Fig|Eq|resp))\Z", re.IGNORECASE)
_FENCE = re.compile(r"```|\$\$|\\[\[\]]|\\(?:begin|end)\{[a-z*]{1,20}\}")
_INK = re.compile(r"\S")
_REASONING_END = "</think>"


def split(text: str) -> list[str]:
    """The steps in order, each with its header and what separates it from the next; joined they are `text`. Empty for an empty text."""
    return [text[step.start : step.end] for step in spans(text)]


def spans(text: str) -> list[Step]:
    """The steps as offsets, in order and without gaps. What stands before the first header (or before `</think>`) belongs to step 1."""
    if not text:
        return []
    floor = _floor(text)
    cuts = _headers(text, floor) or _items(text, floor) or _unheaded(text, floor)
    ends = [start for start, _ in cuts[1:]] + [len(text)]
    first = [(0, cuts[0][1]), *cuts[1:]]
    return [Step(start, body, end) for (start, body), end in zip(first, ends, strict=True)]


def body(piece: str) -> str:
    """What a piece of `split` says, without its header (`Step 2:`, `**Step 2:**`, `2.`, 第二步：) and a reasoning block before it."""
    return piece[header_end(piece) :]


def header_end(piece: str) -> int:
    """Where the header of one piece of `split` ends: 0, or the end of the reasoning block, where it has none.

    A piece alone does not say how its text was cut: `spans` is exact, this takes any header at the start for one.
    """
    floor = _floor(piece)
    ink = _INK.search(piece, floor)
    line = piece.rfind("\n", floor, ink.start()) + 1 if ink else floor
    for pattern in (_HEADER, _ITEM):
        if match := pattern.match(piece, max(line, floor)):
            return match.end()
    for pattern in (_HEADER, _ITEM):
        if match := next((m for m in pattern.finditer(piece, floor) if _number(m) == 1), None):
            return match.end()
    return floor


def _floor(text: str) -> int:
    """Where the answer begins: behind the reasoning block, if there is one."""
    return text.rfind(_REASONING_END) + len(_REASONING_END) if _REASONING_END in text else 0


def prefix_to(text: str, k: int) -> str:
    """The text up to and with the header of step `k` (1-based), without a space after it: where a continuation of step k begins.

    Raises ValueError where there is no step k.
    """
    steps = spans(text)
    if not 1 <= k <= len(steps):
        raise ValueError(f"no step {k}: the text has {len(steps)}")
    return text[: steps[k - 1].body]


def _number(match: re.Match[str]) -> int | None:
    numeral = match[match.lastindex or 0] if match.re is _HEADER else match["number"]
    return int(numeral) if numeral.isdecimal() else chinese_number(numeral)


def _headers(text: str, floor: int) -> list[tuple[int, int]]:
    """(start, end) of headers 1, 2, 3, ...; a text before header 2 may itself be step 1, whose header the prompt held."""
    found: list[tuple[int, int]] = []
    wanted = 1
    for match in _HEADER.finditer(text, floor):
        number = _number(match)
        if not found and number == 2 and text[floor : match.start()].strip():
            found, wanted = [(floor, floor)], 2
        if number == wanted:
            found.append((match.start(), match.end()))
            wanted += 1
    return found


def _items(text: str, floor: int) -> list[tuple[int, int]]:
    """The items of the first list 1, 2, ... with one indentation and one kind of mark, two at least."""
    found: list[tuple[int, int]] = []
    style: tuple[str, ...] = ()
    for match in _ITEM.finditer(text, floor):
        own = (match["indent"], match["open"], match["close"])
        if _number(match) == len(found) + 1 and (not found or own == style):
            found.append((match.start(), match.end()))
            style = own
    return found if len(found) > 1 else []


def _unheaded(text: str, floor: int) -> list[tuple[int, int]]:
    """Paragraphs, else lines, else sentences: the first of these that gives two pieces; displayed formulas and code stay whole."""
    fenced = _fenced(text, floor)
    for pattern in (_BLANK, _LINE, _SENTENCE):
        marks = pattern.finditer(text, floor)
        ends = [m.end() for m in marks if pattern is not _SENTENCE or not _abbreviates(text, m.start(), m[0])]
        starts = _pieces(text, floor, _outside(ends, fenced))
        if len(starts) > 1:
            return [(start, start) for start in starts]
    return [(floor, floor)]


def _abbreviates(text: str, stop: int, mark: str) -> bool:
    """Whether the full stop at `stop` belongs to an abbreviation."""
    return mark[0] == "." and _ABBREVIATION.search(text, max(0, stop - 8), stop) is not None


def _fenced(text: str, floor: int) -> list[tuple[int, int]]:
    """Displayed formulas and code blocks: where no step is cut. What is never closed encloses nothing."""
    found: list[tuple[int, int]] = []
    opened: tuple[str, int] | None = None
    for match in _FENCE.finditer(text, floor):
        mark = match[0]
        if opened is None:
            opened = (_closing(mark), match.start()) if mark != "\\]" and not mark.startswith("\\end") else None
        elif mark == opened[0]:
            found.append((opened[1], match.end()))
            opened = None
    return found


def _closing(mark: str) -> str:
    return "\\]" if mark == "\\[" else mark.replace("begin", "end")


def _outside(cuts: Iterable[int], fenced: list[tuple[int, int]]) -> Iterator[int]:
    """The cuts, in order, that lie in none of the ranges."""
    ranges = iter(fenced)
    current = next(ranges, None)
    for cut in cuts:
        while current and current[1] <= cut:
            current = next(ranges, None)
        if not (current and current[0] < cut < current[1]):
            yield cut


def _pieces(text: str, floor: int, cuts: Iterable[int]) -> list[int]:
    """Starts of the pieces between the cuts; a piece of white space alone joins the one before it."""
    starts, end = [floor], len(text.rstrip())
    ink = _INK.search(text, floor)
    for cut in cuts:
        if ink is None or cut >= end:
            break
        if ink.start() < cut:
            starts.append(cut)
            ink = _INK.search(text, cut)
    return starts
