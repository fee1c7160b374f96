r"""One spelling for the arithmetic in a step: LaTeX, Chinese, full-width and typographic signs as `+ - * / ^ % = ≈` and brackets.

Nothing is read here but signs; what has no ASCII form becomes `_`, which no expression contains.
"""

import re
import unicodedata
from math import gcd, isqrt, lcm

_CALCULATOR = re.compile(r"<<[^<>\n]{0,200}>>")
_BULLET = re.compile(r"[ \t]*[-*+•][ \t]+")
_BOLD = re.compile(r"(?<!\d)\*\*|\*\*(?!\d)")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[a-zA-Z]{1,20}\*?\}")
_MIXED = re.compile(r"(?<=\d) ?(?=\\[dtc]?frac)")  # `3\frac{1}{2}`: a sum or a product
_LATEX = re.compile(
    r"\\(?P<frac>[dtc]?frac)\s*(?:\{(?P<num>[^{}]{0,80})\}\s*\{(?P<den>[^{}]{0,80})\}|(?P<n1>\d)\s*(?P<d1>\d))"
    r"|\\(?:text|mathrm|textbf|mathbf|mbox|operatorname)\s*\{(?P<words>[^{}]{0,200})\}"
    r"|\\(?P<name>(?![dtc]?frac)[a-zA-Z]+)|\\\\|\\(?P<sign>[^a-zA-Z])"
)
_COMMANDS = {
    "times": "*", "cdot": "*", "ast": "*", "div": "/", "approx": "≈", "sim": "≈", "simeq": "≈", "left": "", "right": "", "quad": " ",
    "qquad": " ", "boxed": "", "displaystyle": "", "dots": "…", "ldots": "…", "cdots": "…", "implies": "⇒", "Rightarrow": "⇒", "to": "→",
    "rightarrow": "→", "therefore": ".", "big": "", "Big": "", "bigl": "", "bigr": "", "sqrt": " sqrt", "gcd": "gcd", "lcm": "lcm",
}  # fmt: skip
_SIGNS = {"$": " ", "%": "%", "(": " ", ")": " ", "[": "\n", "]": "\n", ",": "", "!": "", ";": " ", " ": " ", ":": " ", "{": "(", "}": ")"}
_CHARACTERS = str.maketrans({
    "−": "-", "–": "-", "—": " . ", "×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "⁄": "/", "∕": "/", "≒": "≈", "≃": "≈", "‚": ",",
    "，": ", ", "、": ", ", "。": ". ", "：": ": ", "；": "; ", "（": "(", "）": ")", "½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3",
    "⅔": " 2/3", "²": "^2", "³": "^3", "€": "", "£": "", "¥": "", "₹": "", "¢": " cents", "°": " degrees",
})  # fmt: skip
_CHINESE = re.compile("等于|等於|乘以|乘|加上|加|减去|減去|减|減|除以|約等於|约等于|约为|約為|平方|的")
_CHINESE_WORDS = {
    "等于": "=", "等於": "=", "乘以": "*", "乘": "*", "加上": "+", "加": "+", "减去": "-", "減去": "-", "减": "-", "減": "-", "除以": "/",
    "约等于": "≈", "約等於": "≈", "约为": "≈", "約為": "≈",
}  # fmt: skip
_FUNCTION = re.compile(r"\b(gcd|lcm|sqrt)\( ?(\d{1,18}) ?(?:, ?(\d{1,18}) ?)?\)|√ ?(\d{1,18})(?![\d.])", re.ASCII)
_RAISED = re.compile(r"\^ ?\( ?(-?\d{1,4}) ?\)")


def plain_signs(text: str) -> str:
    """One spelling for signs; calculator annotations `<<1+1=2>>`, bold marks and bullets are dropped."""
    if "<<" in text:
        text = _CALCULATOR.sub("", text)
    if not text.isascii():
        text = _CHINESE.sub(lambda m: _CHINESE_WORDS.get(m[0], " "), text)
        text = unicodedata.normalize("NFKC", text.translate(_CHARACTERS)).translate(_CHARACTERS)
    if "\\" in text or "{" in text:
        text = _from_latex(text)
    if "..." in text:
        text = text.replace("...", "…")
    if "**" in text:
        text = _BOLD.sub(" ", text)
    if "cd(" in text or "cm(" in text or "sqrt" in text or "√" in text:
        text = _FUNCTION.sub(_computed, text)
    if "^" in text:
        text = _RAISED.sub(r"^\1", text)
    if bullet := _BULLET.match(text):
        text = text[bullet.end() :]
    return text


def _from_latex(text: str) -> str:
    """Fractions inside out, at most four deep, with the commands; then braces as brackets."""
    text = _MIXED.sub(" _ ", _ENVIRONMENT.sub("\n", text).replace("&", ""))
    for _ in range(4):
        text, found = _LATEX.subn(_command, text)
        if not found:
            break
    return text.replace("{,}", ",").replace("{", "(").replace("}", ")").replace("\\", " _ ")


def _command(match: re.Match[str]) -> str:
    if match["frac"]:
        top, bottom = (match["num"], match["den"]) if match["num"] is not None else (match["n1"], match["d1"])
        return f"(({top})/({bottom}))" if top is not None else "_"
    if match["words"] is not None:
        return f" {match['words']} "
    if match["name"]:
        return _COMMANDS.get(match["name"], " _ ")
    return _SIGNS.get(match["sign"], " ") if match["sign"] else "\n"


def _computed(match: re.Match[str]) -> str:
    """The value of a function of whole numbers, in brackets; unknown for roots that are not whole."""
    name, first, second = match[1] or "sqrt", int(match[2] or match[4]), match[3]
    if name == "sqrt":
        root = isqrt(first)
        return f"({root})" if root * root == first and second is None else " _ "
    if second is None:
        return " _ "
    return f"({lcm(first, int(second)) if name == 'lcm' else gcd(first, int(second))})"
