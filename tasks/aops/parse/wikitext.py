"""Sections of a masked page, and wikitext as plain text with `$...$`, `\\[...\\]` and `[asy]...[/asy]`; names of editors fall away.

Works on what `tokens.mask` leaves: here every `{{` is a template and every `==` a heading.
"""

import functools
import html
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tasks.aops.parse.doubts import Doubt
from tasks.aops.parse.tokens import HEADING, HOLE, HOLES, Masked

_TEMPLATE = re.compile(r"\{\{([^{}]*)\}\}")
_ANY_LINK = re.compile(r"\[\[[^\[\]]*\]\]")
_BRACES, _BRACKETS = re.compile(r"\{\{|\}\}"), re.compile(r"\[\[|\]\]")
_FILE = re.compile(r"\[\[ *(?:File|Image) *:[^\[\]]*(?:\[\[[^\[\]]*\]\][^\[\]]*)*\]\]", re.IGNORECASE)
_CATEGORY = re.compile(r"\[\[ *Category *: *([^\[\]|]*?) *(?:\|[^\[\]]*)?\]\]", re.IGNORECASE)
_USER = re.compile(
    r"[-–—~ ]*\[\[ *:?(?:User|User talk|Special:Contributions/)[^\[\]]*\]\](?: *\((?:\[\[[^\[\]]*\]\]|talk)\))?", re.IGNORECASE
)
_LINK = re.compile(r"\[\[:?([^\[\]|]*)\|?([^\[\]]*)\]\]")
_OUTWARD = re.compile(r"\[(?:https?:)?//[^\s\]]+ ?([^\]]*)\]")
_SUB = re.compile(r"<(su[bp])>([^<>]{1,20})</\1>", re.IGNORECASE)
_BREAK = re.compile(r"<br\s*/?>|</?(?:p|div|center|li|tr|dd|dl|ul|ol|blockquote)\b[^<>]*>", re.IGNORECASE)
_HTML = re.compile(r"</?(?:[a-z][a-z0-9]*)(?: [^<>]*)?/?>", re.IGNORECASE)
_URL_LINE = re.compile(r"^[ \t]*https?://\S+[ \t]*$", re.MULTILINE)
_MAGIC = re.compile(r"__[A-Z]+__")
_RULE = re.compile(r"^-{4,}[ \t]*$", re.MULTILINE)
_STAMP = re.compile(r"\(\[*talk[^)\n]*\)|,? ?\d\d:\d\d, \d{1,2} \w+ \d{4} \([A-Z]{2,5}\)", re.IGNORECASE)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_TILDE = re.compile(rf"(?:^|(?<=[\s.!?)\]])|(?<={HOLE}))[ \t]*~+[ \t]*(?![\d ~])[^\n\ue100-\uf8ff]{{0,80}}$", re.MULTILINE)
_LONE_TILDES = re.compile(r"~{2,}")
_NAME = r"[A-Za-z_][\w.]{2,29}"
_DASH = re.compile(
    rf"(?:^|(?<=[.!?)])|(?<={HOLE}))[ \t]*[-–—]{{1,2}}"
    rf"(?:[ \t]*(?:(?:solution|sol|edited|written) by )?{_NAME}|{_NAME}(?:[ ,&]+(?:and )?{_NAME}){{0,2}})[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)
_CREDIT = re.compile(
    r"^[ \t]*\(?(?:(?:(?:minor )?edit(?:ed|s)?|written|typed|posted|contributed|LaTeX(?:ed)?|formatt(?:ed|ing)"
    r"|(?:this |alternate )?(?:solution|proof|sol)(?: (?:was )?(?:written|added|contributed))?) by|credits?:?|thanks to) +"
    r"[^\n\ue100-\uf8ff]{1,60}$",
    re.MULTILINE | re.IGNORECASE,
)
_LIST = re.compile(r"^([*#:;]+)[ \t]*", re.MULTILINE)
_LINE_ENDS = re.compile(r"[^\S\n]*\n[^\S\n]*")
_ROWS = re.compile(r"\n{3,}")
_OWN_LINES = re.compile(r"\\begin\{(?:align|gather|equation|eqnarray|multline|alignat)\*?\}")
_BY = re.compile(r"\s*(?:[-–—~(]\s*)?\b(?:by|from|credits?(?: to)?|author(?:ed)?)\b.*$|\s*[~].*$|\s+-\s*\w+$", re.IGNORECASE)


class Section(NamedTuple):
    """A heading and the text up to the next one; places are in the masked text. The lead has level 0 and no title."""

    level: int
    title: str
    start: int
    body: int
    end: int

    @property
    def key(self) -> str:
        return self.title.lower()


def sections(masked: Masked) -> list[Section]:
    """The page's sections in order, the lead first."""
    found = list(HEADING.finditer(masked.text))
    starts = [m.start() for m in found] + [len(masked.text)]
    out = [Section(0, "", 0, 0, starts[0])]
    for match, end in zip(found, starts[1:], strict=True):
        out.append(Section(min(len(match[1]), len(match[3])), _title(match[2]), match.start(), match.end(), end))
    return out


@functools.lru_cache(maxsize=4096)
def _title(written: str) -> str:
    """A heading without markup."""
    return " ".join(HOLES.sub("", _HTML.sub("", written.replace("'''", "").replace("''", ""))).split())


def broken_structure(masked: Masked) -> Iterator[Doubt]:
    """What does not close: headings, templates and links."""
    yield from _broken_headings(masked)
    for code, whole, end, pair in (("unclosed_template", _TEMPLATE, _BRACES, "{{ }}"), ("unclosed_link", _ANY_LINK, _BRACKETS, "[[ ]]")):
        signs = end.findall(masked.text)
        if signs == pair.split() * (len(signs) // 2):
            continue  # they open and close in turn
        rest = _blanked(whole, masked.text)
        for sign in end.finditer(rest):
            yield Doubt(code, masked.offset(sign.start()), rest[sign.start() : sign.start() + 40])


def _broken_headings(masked: Masked) -> Iterator[Doubt]:
    text = masked.text
    place = text.find("==")
    while place >= 0:
        start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
        line = text[start : end if end >= 0 else len(text)]
        if (line[0] == "=" or line.rstrip(" \t.").endswith("==")) and not HEADING.match(line):
            yield Doubt("broken_heading", masked.offset(start), line[:60])
        place = text.find("==", end) if end >= 0 else -1


def _blank(match: re.Match[str]) -> str:
    return "\1" * (match.end() - match.start())


def _blanked(pattern: re.Pattern[str], text: str) -> str:
    """The text with everything that matches overwritten, from the inside out; places stay."""
    while True:
        text, n = pattern.subn(_blank, text)
        if not n:
            return text


def templates(text: str) -> list[tuple[str, str]]:
    """(name in lower case, the rest) of each template of masked text."""
    found: list[tuple[str, str]] = []
    for match in _TEMPLATE.finditer(text) if "{{" in text else ():
        name, _, rest = match[1].partition("|")
        found.append((" ".join(name.lower().replace("_", " ").split()), rest))
    return found


def categories(text: str) -> list[str]:
    """Names of the categories that masked text puts its page in."""
    return [" ".join(m[1].replace("_", " ").split()) for m in _CATEGORY.finditer(text)] if "[[" in text else []


def files(text: str) -> int:
    """How many uploaded pictures masked text shows."""
    return len(_FILE.findall(text)) if "[[" in text else 0


def plain(masked: Masked, text: str, signed: bool = False) -> str:
    """A stretch of the masked text as plain text. Names behind `~` are taken out; where it is `signed` by people, others too."""
    text = _without_markup(text)
    if "~" in text:
        text = _LONE_TILDES.sub("~", _TILDE.sub("", text))
    if signed:
        text = without_names(_URL_LINE.sub("", text) if "://" in text else text)
    text = _LIST.sub(_list_sign(), text)
    if "&" in text:
        text = html.unescape(text).replace("\xa0", " ")
    text = HOLES.sub(lambda m: show(masked, m[0]), text)
    if " \n" in text or "\n " in text or "\t" in text:
        text = _LINE_ENDS.sub("\n", text)
    return (_ROWS.sub("\n\n", text) if "\n\n\n" in text else text).strip()


def _list_sign() -> Callable[[re.Match[str]], str]:
    """Signs of lists as text: `*` a dash, `#` its number in the list, indentation nothing."""
    number, behind = 0, -1

    def sign(match: re.Match[str]) -> str:
        nonlocal number, behind
        if match[1][-1] != "#":
            return "- " if match[1][-1] == "*" else ""
        number = number + 1 if match.string.count("\n", behind, match.start()) == 1 and behind >= 0 else 1
        behind = match.end()
        return f"{number}. "

    return sign


def _without_markup(text: str) -> str:
    while "{{" in text:
        text, n = _TEMPLATE.subn("", text)
        if not n:
            break
    if "[" in text:
        text = _CATEGORY.sub("", _FILE.sub("", _USER.sub("", text)))
        text = _LINK.sub(lambda m: m[2] or m[1], text)
        text = _OUTWARD.sub(r"\1", text)
    if "<" in text:
        text = _SUB.sub(lambda m: f"${'_' if m[1].lower() == 'sub' else '^'}{{{m[2]}}}$", text)
        text = _HTML.sub("", _BREAK.sub("\n", text))
    if "__" in text or "----" in text:
        text = _RULE.sub("", _MAGIC.sub("", text))
    return text.replace("'''", "").replace("''", "") if "''" in text else text


def without_names(text: str) -> str:
    """Masked text without signatures behind a dash, time stamps, credits and addresses."""
    if "@" in text:
        text = _EMAIL.sub("", text)
    if "(" in text and ("talk" in text or ":" in text):
        text = _STAMP.sub("", text)
    if "-" in text or "–" in text or "—" in text:
        text = _DASH.sub("", text)
    return _CREDIT.sub("", text) if " by " in text or "redit" in text or "hanks to" in text else text


@functools.lru_cache(maxsize=4096)
def heading_without_name(title: str) -> str:
    """`Solution 3 by somebody` says no more than `Solution 3`."""
    return _BY.sub("", title).strip(" :-–—")


def show(masked: Masked, hole: str) -> str:
    """A masked region as text."""
    region = masked.region(hole)
    inner = region.inner.strip()
    if region.kind == "inline":
        return f"${inner}$"
    if region.kind == "display":
        return inner if _OWN_LINES.match(inner) else f"\\[{inner}\\]"
    if region.kind == "asy":
        return f"[asy]\n{inner}\n[/asy]"
    return region.inner.replace("$", "\\$") if region.kind == "literal" else ""
