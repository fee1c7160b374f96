r"""The five choices of a problem, wherever they stand and however their letters are set: the last run of markers that is exactly A to E.

Seen: `\textbf{(A)}\ 10`, `\textbf{(A) }10`, `\mathrm{(A)\ }`, `(\mathrm {A})`, `{(A)}`, `(A)` in plain text; in one tag, each in its own,
in lists; in the middle of the statement. A choice without text is a figure.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from tasks.aops.parse.doubts import Doubt
from tasks.aops.parse.tokens import FIRST_HOLE, HOLE, HOLES, Masked, Region

_COMMAND = r"(?:\\(?:textbf|textrm|textit|text|mathbf|mathrm|mathit|boldsymbol|bold|bf|rm|mbox|hbox)(?![a-zA-Z])\s*)"
_GAP = r"(?:\\[ ,;:!]|~|\s|\\q?quad(?![a-zA-Z]))*"
_BRACE = r"(?:\{\s*)?"
_IN_MATHS = re.compile(
    rf"(?P<open>{_BRACE}{_COMMAND}?{_BRACE}{_COMMAND}?{_BRACE})\(\s*{_COMMAND}?{_BRACE}{_COMMAND}?{_BRACE}(?P<letter>[A-E])\s*\}}?{_GAP}\}}?\s*\){_GAP}\}}*"
    rf"|{_COMMAND}\{{\s*(?P<letter2>[A-E])\s*[).:]{_GAP}\}}"
)
_FUNCTION = re.compile(r"(?:\\(?:sin|cos|tan|log|ln|max|min|gcd|det|operatorname\s*\{[^{}]*\})|(?<![\\a-zA-Z])[a-zA-Z]'*)$")
"""What `(A)` is an argument of."""
_IN_TEXT = re.compile(r"(?:^[*#: \t']*|(?<=[\s']))\(([A-E])\)'*|^[*#: \t']*([A-E])[.)](?=\s)", re.MULTILINE)
_HOLE_OR_MARKER = re.compile(rf"{HOLE}|{_IN_TEXT.pattern}", re.MULTILINE)
_SEPARATORS = re.compile(
    r"(?:\\q?quad(?![a-zA-Z])|\\enspace|\\hspace\*?\{[^{}]*\}|\\hfill|\\(?:newline|linebreak)(?![a-zA-Z])|\\[ ,;:!\\]|[~&,;]|\s)+$"
)
_SPACES = re.compile(r"^(?:\\q?quad(?![a-zA-Z])|\\hspace\*?\{[^{}]*\}|\\[ ,;:!]|[~&]|\s)+")
_TEXT_ONLY = re.compile(r"\\(?:text|textrm|mbox|hbox)\s*\{([^{}$\\]*)\}")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{(?:tabular|array|align|gather|alignat)\*?\}(?:\{[^{}]*\})?")


class Marker(NamedTuple):
    """Where `(A)` stands: in masked text, and where in the region's inside if it is in maths."""

    letter: str
    place: int
    end: int
    """Of the hole, or of the marker in plain text; in masked text."""
    region: Region | None = None
    inner: tuple[int, int] = (0, 0)
    form: str = ""
    """How the letter is set: equal for the five markers of one problem, as a rule."""


class Found(NamedTuple):
    """Choices as parts of masked text and regions: `values` are pieces to be shown, `start` and `end` what they take of the masked text."""

    values: tuple[str, ...]
    start: int
    end: int


def find_choices(masked: Masked, start: int, end: int) -> tuple[Found | None, list[Doubt]]:
    """The choices in masked.text[start:end], or None; and what is doubtful about them."""
    every = list(_markers(masked, start, end))
    alike = [[m for m in every if m.form == form] for form in dict.fromkeys(m.form for m in every)]
    markers = next((group for group in alike if _runs(group)), every)
    runs = _runs(markers)
    if not runs:
        at = masked.offset(markers[0].place if markers else start)
        seen = "".join(m.letter for m in markers)
        return None, [Doubt("choices_partial", at, f"markers {seen}") if markers else Doubt("choices_missing", at)]
    run = runs[-1]
    doubts = [Doubt("choices_twice", masked.offset(run[0].place))] if len(runs) > 1 else []
    if len(runs) == 1 and len(markers) > 5:
        doubts.append(Doubt("choices_partial", masked.offset(markers[0].place), "markers " + "".join(m.letter for m in markers)))
    stop = _end_of_last(masked, run[4], end)
    values = tuple(_value(masked, here, run[i + 1] if i < 4 else None, stop) for i, here in enumerate(run))
    doubts += [
        Doubt("choices_unbalanced", masked.offset(run[i].place), v[:60]) for i, v in enumerate(values) if v.count("{") != v.count("}")
    ]
    if len(set(values)) < 5 and all(values):
        doubts.append(Doubt("choices_equal", masked.offset(run[0].place), str(values)[:80]))
    return Found(values, _line_start(masked, run[0], start), stop), doubts


def _runs(markers: list[Marker]) -> list[list[Marker]]:
    """Every five in a row that are A to E."""
    fives = (markers[i : i + 5] for i in range(len(markers) - 4))
    return [five for five in fives if [m.letter for m in five] == list("ABCDE")]


def _markers(masked: Masked, start: int, end: int) -> Iterator[Marker]:
    """Every `(A)` to `(E)` between two places of the masked text, in order."""
    text = masked.text[start:end]
    in_text = "E)" in text or "E." in text
    for match in (_HOLE_OR_MARKER if in_text else HOLES).finditer(text):
        place = start + match.start()
        if ord(match[0][0]) < FIRST_HOLE:
            yield Marker(match[1] or match[2], place, start + match.end(), form="text")
            continue
        region = masked.region(match[0])
        if region.is_maths and any(sign in region.inner for sign in ").:"):
            yield from _markers_in_maths(region, place)


def _markers_in_maths(region: Region, place: int) -> Iterator[Marker]:
    for match in _IN_MATHS.finditer(region.inner):
        letter = match["letter"] or match["letter2"]
        if match["open"] or not _FUNCTION.search(region.inner, 0, match.start()):
            yield Marker(letter, place, place + 1, region, match.span(), "".join(match[0].replace(letter, "", 1).split()))


def _end_of_last(masked: Masked, last: Marker, end: int) -> int:
    """A choice in maths ends with its tag if it has text there; else with its line."""
    if last.region is not None and _trim(last.region.inner[last.inner[1] :]):
        return last.end
    line = masked.text.find("\n", last.end, end)
    return end if line < 0 else line


def _line_start(masked: Masked, first: Marker, start: int) -> int:
    """Where the choices begin: with list signs before the first."""
    line = max(masked.text.rfind("\n", start, first.place) + 1, start)
    return line if not masked.text[line : first.place].strip("*#: \t") else first.place


def _value(masked: Masked, here: Marker, after: Marker | None, stop: int) -> str:
    """What stands between two markers."""
    if here.region is not None and after is not None and after.region is here.region:
        return _shown(here.region.inner[here.inner[1] : after.inner[0]])
    pieces = [_shown(here.region.inner[here.inner[1] :])] if here.region is not None else []
    pieces.append(_plain(masked, masked.text[here.end : after.place if after else stop]))
    if after is not None and after.region is not None:
        pieces.append(_shown(after.region.inner[: after.inner[0]]))
    return " ".join(p for p in pieces if p)


def _plain(masked: Masked, text: str) -> str:
    def piece(match: re.Match[str]) -> str:
        region = masked.region(match[0])
        if region.is_maths:
            return _shown(region.inner)
        return region.inner.replace("$", "\\$") if region.kind == "literal" else ""

    text = re.sub(r"<br\s*/?>|'''?|^[*#:]+|[*#:]+$", " ", text.strip(), flags=re.MULTILINE)
    text = re.sub(r"\[\[[^\[\]|]*\|([^\[\]]*)\]\]|\[\[([^\[\]]*)\]\]", lambda m: m[1] or m[2], text)
    return " ".join(HOLES.sub(piece, text).split()).strip(" ,;")


def _shown(tex: str) -> str:
    """TeX of a choice in `$`, or as words where it is nothing else."""
    tex = _trim(tex)
    if words := _TEXT_ONLY.fullmatch(tex):
        return words[1].strip()
    return f"${tex}$" if tex else ""


def _trim(tex: str) -> str:
    """Without separators at the ends, table environments, and a brace that was opened before the marker."""
    tex = _SEPARATORS.sub("", _SPACES.sub("", _ENVIRONMENT.sub("", tex)))
    while tex.count("}") > tex.count("{") and tex.endswith("}"):
        tex = _SEPARATORS.sub("", tex[:-1])
    while tex.count("}") > tex.count("{") and tex.startswith("}"):
        tex = _SPACES.sub("", tex[1:])
    return tex.strip()
