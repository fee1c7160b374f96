r"""A saved page of the wiki (HTML) turned back into wikitext: headings, formulas from the `alt` of their pictures, lists, categories.

Formulas: `<img class="latex" alt="$x$">`, `latexcenter` with `\[...\]`, `\begin{align*}` or `[asy]`, `[mathjax]`, `<pre class="asy">`.
Asymptote in `alt` has lost its line ends, so what stands behind a `//` there is code no longer: wikitext is better where it can be had.
"""

import html
import re
from html.parser import HTMLParser
from urllib.parse import unquote

from tasks.aops.contests import Refused
from tasks.aops.pages import RawPage, normal_title, raw_page, title_of_url
from tasks.aops.sources.bbcode import escape

_VOID = {"img", "br", "hr", "meta", "link", "input", "wbr", "area", "base", "col", "embed", "source", "track"}
_SKIPPED_TAGS = {"script", "style", "noscript", "svg", "button"}
_SKIPPED = {"toc", "mw-editsection", "printfooter", "noprint", "mw-jump-link", "siteSub", "contentSub", "catlinks", "mw-empty-elt"}
_BLOCKS = {"p", "div", "center", "dl", "dd", "dt", "blockquote", "tr", "table", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "figure"}
_CHALLENGE = re.compile(r"<title>\s*Just a moment|challenge-platform|cf-chl-|cf_chl_opt", re.IGNORECASE)
_REDIRECT = re.compile(r'<div class="redirectMsg">.*?<a [^>]*title="([^"]*)"', re.DOTALL)
_REVISION = re.compile(r'"wgRevisionId":\s*(\d+)|revision id (\d+)')
_ARTICLE = re.compile(r'"wgArticleId":\s*(\d+)')
_NAME = re.compile(r'"wgPageName":\s*"((?:[^"\\]|\\.)*)"')
_CANONICAL = re.compile(r'<link[^>]*rel="canonical"[^>]*href="([^"]*)"')
_MATHJAX = re.compile(r"\[mathjax(?: display=\"?true\"?)?\](.*?)\[/mathjax\]", re.DOTALL | re.IGNORECASE)
_NOTICE = re.compile(
    r"^.*problems? on this page (?:is|are) copyrighted.*$|^.*are copyrighted © by the Mathematical Association.*$", re.MULTILINE
)
_BOTH = re.compile(
    r"^.*The following problem is from both the (\d{4} [^#\n]+) (?:#|Problem )(\d+) and (\d{4} [^#\n]+?) (?:#|Problem )(\d+).*$",
    re.MULTILINE,
)
_NAVIGATION = re.compile(r"Preceded by|Followed by|First (?:Problem|Question)|Last (?:Problem|Question)|All .* Problems and Solutions")
_BLANK = re.compile(r"\n{3,}")


def read_html(text: str, name: str, title: str | None = None) -> RawPage | Refused:
    """The page that was saved, titled as it says itself or as given; Refused for a challenge page and for what is no page of the wiki."""
    title = title or _title(text) or _title_of_file(name)
    if _CHALLENGE.search(text[:20_000]):
        return Refused(title, "challenge page", name)
    if redirect := _REDIRECT.search(text):
        return raw_page(title, f"#REDIRECT [[{html.unescape(redirect[1])}]]")
    converter = _Converter()
    converter.feed(text)
    converter.close()
    wikitext = converter.wikitext()
    if wikitext is None:
        return Refused(title, "no page of the wiki", f"{name} has no element with the page's content")
    found, article = _REVISION.search(text), _ARTICLE.search(text)
    revid = int(found[1] or found[2]) if found else None
    return raw_page(title, wikitext, page_id=int(article[1]) if article else None, revid=revid)


def _title(text: str) -> str | None:
    if found := _NAME.search(text):
        return normal_title(found[1].replace('\\"', '"').replace("\\/", "/"))
    canonical = _CANONICAL.search(text)
    return title_of_url(canonical[1].replace("&amp;", "&")) if canonical else None


def _title_of_file(name: str) -> str:
    """`2099_AIME_I_Problems%2FProblem_3.html`, or the same in folders."""
    return normal_title(unquote(re.sub(r"\.html?$", "", name)))


class _Converter(HTMLParser):
    """Writes wikitext while the document is read; knows only what the wiki's pages contain."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._open: list[tuple[str, bool]] = []
        """(tag, whether this element began to be skipped)"""
        self._root: int | None = None
        self._seen_root = False
        self._lists: list[str] = []
        self._tables: list[int] = []
        self._verbatim = ""
        self._in_categories: int | None = None
        self._categories: list[str] = []

    @property
    def _skipping(self) -> bool:
        return any(skipped for _, skipped in self._open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {k: v or "" for k, v in attrs}
        classes = {*attributes.get("class", "").split(), attributes.get("id", "")}
        if self._in_categories is not None and tag == "a":
            self._category(attributes)
        if "catlinks" in classes:
            self._in_categories = len(self._open)
        if self._root is not None and not self._skipping:
            self._write_start(tag, attributes, classes)
        if tag not in _VOID:
            self._open.append((tag, tag in _SKIPPED_TAGS or bool(classes & _SKIPPED)))
        if self._root is None and classes & {"mw-parser-output", "mw-content-text"}:
            self._root, self._seen_root = len(self._open) - 1, True

    def handle_endtag(self, tag: str) -> None:
        if not any(name == tag for name, _ in self._open):
            return
        while self._open:
            name, _ = self._open.pop()
            if self._root is not None and not self._skipping:
                self._write_end(name)
            if self._root is not None and len(self._open) <= self._root:
                self._root = None
            if self._in_categories is not None and len(self._open) <= self._in_categories:
                self._in_categories = None
            if name == tag:
                return

    def handle_data(self, data: str) -> None:
        if self._root is None or self._skipping:
            return
        self._out.append(data if self._verbatim else escape(data.replace("\n", " ")))

    def _write_start(self, tag: str, attributes: dict[str, str], classes: set[str]) -> None:
        if tag == "img":
            self._picture(attributes, classes)
        elif tag == "br":
            self._out.append("\n")
        elif tag in ("ul", "ol"):
            self._lists.append("#" if tag == "ol" else "*")
        elif tag == "li":
            self._out.append(f"\n{self._lists[-1] if self._lists else '*'}")
        elif tag == "pre":
            self._verbatim = "asy" if "asy" in classes else "pre"
            self._out.append(f"\n<{self._verbatim}>")
        elif tag in ("sub", "sup"):
            self._out.append(f"<{tag}>")
        elif tag[0] == "h" and tag[1:].isdigit():
            self._out.append(f"\n\n{'=' * int(tag[1])} ")
        elif tag == "table":
            self._tables.append(len(self._out))
        elif tag in _BLOCKS:
            self._out.append("\n\n" if tag in ("p", "div") else "\n")

    def _write_end(self, tag: str) -> None:
        if tag in ("ul", "ol") and self._lists:
            self._lists.pop()
            self._out.append("\n")
        elif tag == "pre" and self._verbatim:
            self._out.append(f"</{self._verbatim}>\n")
            self._verbatim = ""
        elif tag in ("sub", "sup"):
            self._out.append(f"</{tag}>")
        elif tag[0] == "h" and tag[1:].isdigit():
            self._out.append(f" {'=' * int(tag[1])}\n")
        elif tag == "table" and self._tables:
            start = self._tables.pop()
            if _NAVIGATION.search("".join(self._out[start:])):
                self._out[start:] = ["\n{{navigation box}}\n"]
        elif tag in _BLOCKS:
            self._out.append("\n")

    def _picture(self, attributes: dict[str, str], classes: set[str]) -> None:
        alt, name = attributes.get("alt", ""), attributes.get("src", "").rpartition("/")[2]
        if not classes & {"latex", "latexcenter"}:
            self._out.append("" if "AMC_Logo" in name else f"[[File:{name}]]")
        elif alt.startswith("[asy]"):
            self._out.append(f"\n<asy>\n{alt.removeprefix('[asy]').removesuffix('[/asy]').strip()}\n</asy>\n")
        elif alt.startswith("\\["):
            self._out.append(f"<cmath>{alt[2:].removesuffix(chr(92) + ']')}</cmath>")
        elif alt.startswith("$"):
            self._out.append(f"<math>{alt[1:].removesuffix('$')}</math>")
        else:
            self._out.append(f"<cmath>{alt}</cmath>")

    def _category(self, attributes: dict[str, str]) -> None:
        title = attributes.get("title", "").removesuffix(" (page does not exist)")
        if title.startswith("Category:"):
            self._categories.append(f"[[{title}]]")

    def wikitext(self) -> str | None:
        """What was read, None if no content was found."""
        if not self._seen_root:
            return None
        text = _MATHJAX.sub(r"<math>\1</math>", "".join(self._out))
        text = _NOTICE.sub("{{MAA Notice}}", text)
        text = _BOTH.sub(lambda m: f"{{{{duplicate|[[{m[1]} Problems|{m[1]} #{m[2]}]] and [[{m[3]} Problems|{m[3]} #{m[4]}]]}}}}", text)
        lines = "\n".join(line.strip() for line in text.split("\n"))
        return _BLANK.sub("\n\n", "\n".join((lines, *self._categories))).strip() + "\n"
