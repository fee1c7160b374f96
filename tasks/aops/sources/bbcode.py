r"""Forum posts (BBCode with TeX) as wikitext, so that one parser reads everything; quotes fall away, hidden text is handed over apart.

Seen: nested `[quote=name]`, `[hide=Solution]`, `[b]`, `[list][*]`, `[url=...]`, `[img]`, `[tex]`, `[asy]`, `:emoji:`, `<sub>`, `x:^4:`,
`\minus{}`, `\r\n`. Maths is masked before anything is changed.
"""

import re
from collections.abc import Callable

from tasks.aops.parse.tokens import HOLE, Masked, mask

_QUOTE = re.compile(r"\[quote[^\[\]]*\](?:(?!\[/?quote\b).)*\[/quote\]", re.IGNORECASE | re.DOTALL)
_HIDE = re.compile(r"\[hide[^\[\]]*\]((?:(?!\[/?hide\b).)*)\[/hide\]", re.IGNORECASE | re.DOTALL)
_TEX = re.compile(r"\[(tex|latex)\](.*?)\[/\1\]", re.IGNORECASE | re.DOTALL)
_PICTURE = re.compile(r"\[(img|attach|attachment)[^\[\]]*\](.*?)\[/\1\]", re.IGNORECASE | re.DOTALL)
_MEDIA = re.compile(r"\[(youtube|media|video|geogebra)[^\[\]]*\].*?\[/\1\]", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"\[code[^\[\]]*\](.*?)\[/code\]", re.IGNORECASE | re.DOTALL)
_BULLET = re.compile(r"[ \t]*\[\*\][ \t]*")
_TAG = re.compile(
    r"\[/?(?:b|i|u|s|color|size|center|list|url|quote|hide|font|left|right|justify|sub|sup|tip|email|rule|hr|spoiler|td|tr|table)\b[^\[\]\n]*\]",
    re.I,
)
_EMOJI = re.compile(r"(?<![\w:]):[a-z][a-z_0-9]{1,20}:(?![\w:])|(?:^|(?<=\s))[:;]-?[()DPp|](?!\w)", re.MULTILINE)
_RAISED = re.compile(r":([\^_])(-?\w{1,4}):")
_HEADING_LIKE = re.compile(r"^([=*#:;])", re.MULTILINE)
_ANGLE = re.compile(r"<(?!/?su[bp]>|br\s*/?>)", re.IGNORECASE)
_MACROS = (("\\minus{}", "-"), ("\\plus{}", "+"), ("\\equal{}", "="), ("\\minus", "-"), ("\\plus", "+"), ("\\equal", "="))
_WRAPPED = {"inline": "math", "display": "cmath", "asy": "asy"}


def post_to_wikitext(post: str) -> tuple[str, list[str]]:
    """(the post as wikitext, its hidden texts as wikitext): in a question, what is hidden is somebody's solution."""
    text = post.replace("\r\n", "\n").replace("\r", "\n")
    for old, new in _MACROS:
        text = text.replace(old, new)
    text = _TEX.sub(r"<math>\2</math>", text)
    text = _until_stable(_QUOTE, "", text)
    hidden: list[str] = []

    def take(match: re.Match[str]) -> str:
        hidden.append(match[1])
        return "\n"

    text = _until_stable(_HIDE, take, text)
    return _converted(text), [h for h in map(_converted, hidden) if h]


def escape(text: str) -> str:
    """Plain text with nothing that wikitext would read as markup; `<sub>` and `<sup>` stay."""
    text = _ANGLE.sub("&lt;", text)
    text = text.replace("[[", "&#91;&#91;").replace("]]", "&#93;&#93;").replace("{{", "&#123;&#123;").replace("}}", "&#125;&#125;")
    text = text.replace("''", "&#39;&#39;")
    return _HEADING_LIKE.sub(lambda m: f"&#{ord(m[1])};", text)


def _until_stable(pattern: re.Pattern[str], by: str | Callable[[re.Match[str]], str], text: str) -> str:
    """Replace from the inside out."""
    while True:
        text, n = pattern.subn(by, text)
        if not n:
            return text


def _converted(text: str) -> str:
    masked = mask(text)
    words = _MEDIA.sub("", masked.text)
    pictures = len(_PICTURE.findall(words))
    words = _CODE.sub(r"\n\1\n", _PICTURE.sub("", words))
    words = _TAG.sub("", _BULLET.sub("\n\x01", words))
    words = _RAISED.sub(lambda m: f"<{'sup' if m[1] == '^' else 'sub'}>{m[2]}</{'sup' if m[1] == '^' else 'sub'}>", words)
    words = escape(_EMOJI.sub("", words)).replace("\x01", "* ")
    words = re.sub(HOLE, lambda m: _wrapped(masked, text, m[0]), words)
    return "\n".join((words.strip(), *["[[File:picture]]"] * pictures))


def _wrapped(masked: Masked, text: str, hole: str) -> str:
    region = masked.region(hole)
    tag = _WRAPPED.get(region.kind)
    return f"<{tag}>{region.inner}</{tag}>" if tag else text[region.start : region.end]
