"""What people hold of the wiki, made from invented pages: saved HTML in the site's shape, a MediaWiki dump, a WARC file."""

import html
import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from tasks.aops.pages import page_url

_TAGS = re.compile(r"<(math|imath|cmath|asy|nowiki)>(.*?)</\1>", re.DOTALL)
_ALT = {"math": "${}$", "imath": "${}$", "cmath": "\\[{}\\]", "asy": "[asy] {} [/asy]"}
_NAVIGATION = "<table><tr><td>Preceded by<br/>Problem 1</td><td>1 2 3</td><td>Followed by<br/>Problem 3</td></tr></table>"


def saved_html(title: str, wikitext: str, revid: int = 7) -> str:
    """The page as a browser saves it: formulas are pictures, templates are expanded, navigation all around."""
    categories = re.findall(r"\[\[(Category:[^\]]*)\]\]", wikitext)
    body = re.sub(r"\[\[Category:[^\]]*\]\]", "", wikitext)
    redirect = re.match(r"#redirect \[\[(.*?)\]\]", body, re.IGNORECASE)
    content = _redirect(redirect[1]) if redirect else _content(body)
    links = "".join(f'<li><a href="/wiki/x" title="{c}">{c[9:]}</a></li>' for c in categories)
    return (
        f'<!DOCTYPE html><html><head><title>Art of Problem Solving</title><script>var c={{"wgPageName":"{title.replace(" ", "_")}",'
        f'"wgArticleId":33,"wgRevisionId":{revid}}};</script></head><body><div id="siteNotice">Buy our books <b>now</b></div>'
        f'<h1 id="firstHeading">{title}</h1><div id="mw-content-text"><div class="mw-parser-output">{content}</div></div>'
        f'<div id="catlinks" class="catlinks"><ul>{links}</ul></div><div class="printfooter">Retrieved</div>'
        f"<!-- Saved in parser cache with key wiki-wiki_:pcache:33 and revision id {revid} --><p>footer</p></body></html>"
    )


def _redirect(target: str) -> str:
    link = f'<a href="/w" title="{html.escape(target)}">x</a>'
    return f'<div class="redirectMsg"><p>Redirect to:</p><ul class="redirectText"><li>{link}</li></ul></div>'


def _content(text: str) -> str:
    masked: list[str] = []

    def mask(match: re.Match[str]) -> str:
        masked.append(_shown(match[1], match[2]))
        return f"\x00{len(masked) - 1}\x00"

    text = re.sub(r"<!--.*?-->", "", _TAGS.sub(mask, text))
    text = re.sub(
        r"\{\{duplicate\|(.*?)\}\}", lambda m: f"<dl><dd><i>The following problem is from both the {_links(m[1])}.</i></dd></dl>", text
    )
    text = re.sub(
        r"\{\{MAA Notice\}\}", "<p>The problems on this page are copyrighted by somebody.<img src='/AMC_Logo.png' alt='AMC'></p>", text
    )
    text = re.sub(r"\{\{[^{}]*box[^{}]*\}\}", _NAVIGATION, text)
    text = re.sub(r"\{\{[^{}]*\}\}", "", text).replace(
        "__TOC__", '<div id="toc" class="toc"><h2>Contents</h2><ul><li>1 Problem</li></ul></div>'
    )
    blocks = [_block(block) for block in re.split(r"\n\n+|\n(?==)|(?<==)\n", text) if block.strip()]
    return re.sub("\x00(\\d+)\x00", lambda m: masked[int(m[1])], "\n".join(blocks))


def _block(block: str) -> str:
    if heading := re.fullmatch(r"\s*(=+) *(.*?) *=+\s*", block):
        level, edit = len(heading[1]), '<span class="mw-editsection">[<a href="/e">edit</a>]</span>'
        return f'<h{level}><span class="mw-headline">{heading[2]}</span>{edit}</h{level}>'
    if block.lstrip().startswith(("#", "* ")):
        tag = "ol" if block.lstrip()[0] == "#" else "ul"
        return f"<{tag}>{''.join(f'<li>{_links(line[1:])}</li>' for line in block.strip().splitlines())}</{tag}>"
    return f"<p>{_links(block)}</p>"


def _links(text: str) -> str:
    text = re.sub(r"'''(.*?)'''", r"<b>\1</b>", text)
    text = re.sub(r"''(.*?)''", r"<i>\1</i>", text)
    return re.sub(
        r"\[\[([^|\]]*)\|?([^\]]*)\]\]", lambda m: f'<a href="/wiki/index.php?title=x" class="mw-redirect">{m[2] or m[1]}</a>', text
    )


def _shown(tag: str, inner: str) -> str:
    if tag == "nowiki":
        return html.escape(inner)
    kind = "latex" if tag in ("math", "imath") else "latexcenter"
    alt = html.escape(_ALT[tag].format(" ".join(inner.split()) if tag == "asy" else inner))
    return f'<img src="//latex.example/9/c/e/9ce.png" class="{kind}" alt="{alt}" style="vertical-align: -1px" width="29" height="14" />'


def dump(pages: Mapping[str, str], revid: int = 7) -> bytes:
    """A MediaWiki XML export."""
    parts = [
        '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">',
        "<siteinfo><sitename>x</sitename></siteinfo>",
    ]
    for number, (title, text) in enumerate(pages.items(), 1):
        who = "<contributor><username>me</username><id>5</id></contributor>"
        revision = f"<id>{revid}</id><parentid>1</parentid><timestamp>2099-01-02T03:04:05Z</timestamp>{who}"
        body = f'<text bytes="{len(text)}" xml:space="preserve">{html.escape(text)}</text>'
        parts.append(
            f"<page><title>{html.escape(title)}</title><ns>0</ns><id>{number}</id><revision>{revision}{body}<sha1>x</sha1></revision></page>"
        )
    return "\n".join((*parts, "</mediawiki>")).encode()


def warc(path: Path, responses: list[tuple[str, str, str, bytes]]) -> None:
    """A WARC file of (address, status, content type, body)."""
    with path.open("wb") as stream:
        writer = WARCWriter(stream, gzip=path.suffix == ".gz")
        for url, status, kind, body in responses:
            headers = StatusAndHeaders(status, [("Content-Type", kind)], protocol="HTTP/1.1")
            writer.write_record(writer.create_warc_record(url, "response", payload=BytesIO(body), http_headers=headers))


def html_response(title: str, wikitext: str) -> tuple[str, str, str, bytes]:
    """A page as an archive of the web has it."""
    return page_url(title), "200 OK", "text/html; charset=UTF-8", saved_html(title, wikitext).encode()
