r"""Mask first, then read structure: every maths tag, figure, nowiki and comment is taken out before anything looks for headings or braces.

A region becomes one private-use character, comments vanish, and any place in the masked text can be traced back to the page. A maths tag
that runs over a heading or into another opening tag is unclosed: it stays as text and is reported. Cases: reference of the AoPS wiki's
tags (`math`, `imath`, `cmath`, `asy`, `nowiki`, `pre`, `geogebra`), bare `$...$`, `\(...\)`, `\[...\]`,
`\begin{align}`, `[asy]...[/asy]`.
"""

import html
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tasks.aops.parse.doubts import Doubt

RegionKind = Literal["inline", "display", "asy", "literal", "figure"]

FIRST_HOLE = 0xE100
HOLE = "[\ue100-\uf8ff]"
"""Character class of the holes, for regular expressions."""
HOLES = re.compile(HOLE)
_MOST_HOLES = 0xF8FF - FIRST_HOLE
MOST_CHARACTERS = 200_000
"""A page longer than this is no page of a contest."""

HEADING = re.compile(r"^(={1,6})([^=\n](?:[^\n]*[^=\n])?)(={1,6})[ \t.]*$", re.MULTILINE)
_HEADING_INSIDE = re.compile(r"\n=[^\n]*=[ \t.]*(?:\n|$)")
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_OPEN = re.compile(
    r"<!--|<(/?)(math|imath|cmath|asy|nowiki|pre|geogebra)\b([^<>]*)>|\[(/?)asy\]|\\[(\[\])]|\\?\$\$?|\\textdollar\b\s?"
    r"|\\begin\{((?:align|alignat|gather|equation|eqnarray|multline)\*?)\}",
    re.IGNORECASE,
)
_TAG_KINDS: dict[str, RegionKind] = {
    "math": "inline", "imath": "inline", "cmath": "display", "asy": "asy", "nowiki": "literal", "pre": "literal", "geogebra": "figure",
}  # fmt: skip
_CLOSE = {tag: re.compile(rf"</{tag}\s*>", re.IGNORECASE) for tag in _TAG_KINDS}
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|nbsp|#\d+|#x[0-9a-f]+);", re.IGNORECASE)
_MATHS_TAG = re.compile(r"</?(?:math|imath|cmath|asy)\b", re.IGNORECASE)
_MATHS_DOLLAR = re.compile(r"(?<!\\)\$(?!\$)((?:\\.|[^$\\])+?)(?<!\\)\$(\d?)", re.DOTALL)
_TEX_SIGN = re.compile(r"[\\^_=<>+{}|]")
_DISPLAY_DOLLAR = re.compile(r"\$\$((?:\\.|[^$\\])+?)\$\$", re.DOTALL)
_PARAGRAPH = re.compile(r"\n[ \t]*\n|\n=")
_PRICE = re.compile(r"\$(?:\d[\d,]*)?(?:\.?\d+)(?![\w\\^_{}=+*/])")
_WORDS = re.compile(r"\\(?:text|textrm|textbf|textit|mbox|mathrm|operatorname)\s*\{[^{}]*\}")
_PROSE = re.compile(r"(?<![\\a-zA-Z{])[a-z]{3,} +(?:[a-z]{2,}|$)")


_CREDIT = re.compile(
    r"[ \t]*//[^\n]*\b(?:by|credits?|author|made|thanks)\b[^\n]*|/\*(?:(?!\*/).)*?\b(?:by|credits?|author)\b.*?\*/", re.I | re.S
)
"""Comments in Asymptote code that name people."""


class Region(NamedTuple):
    """A masked stretch of the page: what kind, from where to where (with its tags), and what is inside."""

    kind: RegionKind
    start: int
    end: int
    inner: str

    @property
    def is_maths(self) -> bool:
        return self.kind in ("inline", "display")


@dataclass
class Masked:
    """A page after masking: `text` has one hole for each of `regions`."""

    text: str
    regions: list[Region]
    doubts: list[Doubt]
    _places: list[int] = field(default_factory=list)
    """Ascending places in `text`, each the end of something that was longer in the page ..."""
    _sources: list[int] = field(default_factory=list)
    """... and the places in the page that they stand for."""

    def offset(self, place: int) -> int:
        """The place in the page's own text."""
        at = bisect_right(self._places, place) - 1
        return place if at < 0 else self._sources[at] + place - self._places[at]

    def region(self, hole: str) -> Region:
        return self.regions[ord(hole) - FIRST_HOLE]


def mask(page: str) -> Masked:
    """Take maths, figures, literal text and comments out of a page's wikitext."""
    doubts: list[Doubt] = []
    if len(page) > MOST_CHARACTERS:
        doubts.append(Doubt("huge", MOST_CHARACTERS, f"{len(page)} characters"))
        page = page[:MOST_CHARACTERS]
    if strange := _PRIVATE.search(page):
        doubts.append(Doubt("private_use", strange.start()))
        page = _PRIVATE.sub("\ufffd", page)
    return _Masker(page, doubts).run()


def _runs_on(inner: str) -> bool:
    """Whether what a tag encloses has another tag or a heading in it: then the tag's own end is missing."""
    return ("<" in inner and _MATHS_TAG.search(inner) is not None) or ("\n=" in inner and _HEADING_INSIDE.search(inner) is not None)


def _is_maths(inner: str, digit: str) -> bool:
    """Whether what stands between two dollars is a formula: one paragraph, no prose, and a sign of TeX or one letter where there are spaces
    at its ends or a digit behind it (`$5 and $7`)."""
    if _PARAGRAPH.search(inner) or _MATHS_TAG.search(inner) or _PROSE.search(_WORDS.sub("", inner)):
        return False
    tight = not (inner[0].isspace() or inner[-1].isspace() or digit)
    return tight or _TEX_SIGN.search(inner) is not None or (len(inner.strip()) == 1 and inner.strip().isalpha() and not digit)


class _Masker:
    def __init__(self, page: str, doubts: list[Doubt]) -> None:
        self._page = page
        self._out: list[str] = []
        self._length = 0
        self._copied = 0
        self._masked = Masked("", [], doubts)
        self._endless: set[str] = set()
        """Tags that do not end on the rest of the page: each is looked for once."""

    def run(self) -> Masked:
        page, position = self._page, 0
        while opening := _OPEN.search(page, position):
            position = self._take(opening)
        self._copy(len(page))
        self._masked.text = "".join(self._out)
        return self._masked

    def _take(self, opening: re.Match[str]) -> int:
        """Deal with one opening; where to go on from."""
        token = opening[0]
        if token == "<!--":
            return self._comment(opening)
        if opening[2]:
            return self._tag(opening, opening[2].lower())
        if token[0] == "[":
            return self._until(opening, "[/asy]", "asy") if token.lower() == "[asy]" else self._doubt("stray_tag", opening)
        if opening[5]:
            return self._environment(opening, f"\\end{{{opening[5]}}}")
        if token in ("\\(", "\\["):
            return self._until(opening, "\\)" if token == "\\(" else "\\]", "inline" if token == "\\(" else "display")
        if token in ("\\)", "\\]"):
            return self._doubt("stray_tag", opening)
        return self._dollar(opening, token)

    def _copy(self, until: int) -> None:
        """Plain text up to `until`."""
        if until > self._copied:
            self._out.append(self._page[self._copied : until])
            self._length += until - self._copied
            self._copied = until

    def _cut(self, kind: RegionKind | None, start: int, end: int, inner: str = "") -> int:
        """Replace page[start:end] by a hole, or by nothing for kind None."""
        self._copy(start)
        if kind is not None:
            self._out.append(chr(FIRST_HOLE + len(self._masked.regions)))
            self._length += 1
            if "&" in inner:
                inner = _ENTITY.sub(lambda m: html.unescape(m[0]), inner)
            if kind == "asy" and "\n" in inner.strip():
                inner = _CREDIT.sub("", inner)
            self._masked.regions.append(Region(kind, start, end, inner))
        self._copied = end
        self._masked._places.append(self._length)
        self._masked._sources.append(end)
        return end

    def _doubt(self, code: str, opening: re.Match[str]) -> int:
        self._masked.doubts.append(Doubt(code, opening.start(), opening[0]))
        return opening.end()

    def _comment(self, opening: re.Match[str]) -> int:
        end = self._page.find("-->", opening.end())
        return self._doubt("unclosed_tag", opening) if end < 0 else self._cut(None, opening.start(), end + 3)

    def _tag(self, opening: re.Match[str], tag: str) -> int:
        if opening[1]:
            return self._doubt("stray_tag", opening)
        if opening[3].rstrip().endswith("/"):
            return self._cut(None, opening.start(), opening.end())
        start, end = self._close(tag, opening.end())
        if start < 0:
            return self._doubt("unclosed_tag", opening)
        inner = self._page[opening.end() : start]
        kind = _TAG_KINDS[tag]
        if kind != "literal" and _runs_on(inner):
            return self._doubt("unclosed_tag", opening)
        return self._hole(kind, opening, end, inner)

    def _close(self, tag: str, begin: int) -> tuple[int, int]:
        """Where the end tag begins and ends; (-1, -1) without one. As it is written as a rule, else with spaces or in capitals."""
        plain = f"</{tag}>"
        start = self._page.find(plain, begin)
        if start >= 0 and "<" not in self._page[begin:start]:
            return start, start + len(plain)
        close = None if tag in self._endless else _CLOSE[tag].search(self._page, begin)
        if close is None:
            self._endless.add(tag)
        return close.span() if close else (-1, -1)

    def _until(self, opening: re.Match[str], closing: str, kind: RegionKind) -> int:
        end = -1 if closing in self._endless else self._page.find(closing, opening.end())
        if end < 0:
            self._endless.add(closing)
            return self._doubt("unclosed_tag", opening)
        inner = self._page[opening.end() : end]
        if _runs_on(inner):
            return self._doubt("unclosed_tag", opening)
        return self._hole(kind, opening, end + len(closing), inner)

    def _environment(self, opening: re.Match[str], closing: str) -> int:
        """`\\begin{align*}...\\end{align*}` without a tag around it is a display of its own."""
        end = self._page.find(closing, opening.end())
        if end < 0 or _runs_on(self._page[opening.end() : end]):
            return self._doubt("unclosed_tag", opening)
        end += len(closing)
        return self._hole("display", opening, end, self._page[opening.start() : end])

    def _hole(self, kind: RegionKind, opening: re.Match[str], end: int, inner: str) -> int:
        if len(self._masked.regions) > _MOST_HOLES:
            return self._doubt("huge", opening)
        return self._cut(kind, opening.start(), end, inner)

    def _dollar(self, opening: re.Match[str], token: str) -> int:
        """A bare dollar opens maths, or is a dollar."""
        start = opening.start()
        if token.startswith("\\"):
            end = start + 2 if token.startswith("\\$") else opening.end()
            return self._hole("literal", opening, end, "$")
        if token == "$$" and (display := _DISPLAY_DOLLAR.match(self._page, start)):
            return self._hole("display", opening, display.end(), display[1])
        maths = _MATHS_DOLLAR.match(self._page, start)
        if maths and _is_maths(maths[1], maths[2]):
            return self._hole("inline", opening, maths.start(2), maths[1])
        if not _PRICE.match(self._page, start):
            self._masked.doubts.append(Doubt("lone_dollar", start, self._page[start : start + 40]))
        return self._hole("literal", opening, start + 1, "$")
