"""Copies of protected texts disguised in the ways that leaks are: what a contamination rule should find, and near misses it should not.

Seeded: the same texts and seed give the same copies. The wording tables are small on purpose; a copy that a kind cannot change is left out.
"""

import random
import re
from collections.abc import Callable, Sequence

_BEFORE = "The following was asked in class last week. Most of us had no idea where to begin, so please explain each step."
_AFTER = "I would be glad about a short explanation, because the book only gives the result. Thanks to everybody who answers!"
_SYNONYMS = {
    "how many": "what number of", "how much": "what amount of", "find": "determine", "determine": "find", "compute": "calculate",
    "calculate": "compute", "evaluate": "work out", "what is": "give", "buys": "purchases", "sells": "trades", "total": "overall",
    "each": "every", "every": "each", "has": "owns", "makes": "produces", "gives": "hands", "more": "additional", "left": "remaining",
    "then": "afterwards", "suppose": "assume", "let": "consider", "which": "what", "following": "subsequent", "begin": "start",
    "large": "big", "small": "little", "people": "persons", "children": "kids", "cost": "price",
    "多少": "几多", "一共": "总共", "已知": "设", "求": "试求", "平均": "均",
}  # fmt: skip
_SYNONYM = re.compile("|".join(rf"\b{w}\b" if w.isascii() else w for w in sorted(_SYNONYMS, key=len, reverse=True)), re.IGNORECASE)
_NAMES = ["Ilse", "Tomas", "Priya", "Kwame", "Noor", "Yuki", "Oskar", "Lena"]
_ENGLISH = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
]  # fmt: skip
_CHINESE = dict(zip("0123456789", "零一二三四五六七八九", strict=True))
_HAN = re.compile("[\u4e00-\u9fff]")
_NUMBER = re.compile(r"\d+")
_WORDS = re.compile(rf"\b({'|'.join(_ENGLISH[2:])})\b", re.IGNORECASE)
_IN_PROSE = re.compile(r"(?<![\w.,/^{$-])(1?\d|20)(?![\w/^}$-]|[.,]\d)")


def _verbatim(text: str, rng: random.Random) -> str:
    return text


def _upper(text: str, rng: random.Random) -> str:
    return text.upper()


def _embedded(text: str, rng: random.Random) -> str:
    return f"{_BEFORE} {text} {_AFTER}"


def _another(number: str, rng: random.Random) -> str:
    """A number of the same length or one more."""
    if not number.isascii() or len(number) > 12:
        return number
    return str(int(number) + rng.randint(1, 9 if len(number) < 3 else 10 ** (len(number) - 1)))


def _one_number(text: str, rng: random.Random) -> str:
    places = list(_NUMBER.finditer(text))
    if not places:
        return text
    chosen = rng.choice(places)
    return text[: chosen.start()] + _another(chosen.group(), rng) + text[chosen.end() :]


def _all_numbers(text: str, rng: random.Random) -> str:
    return _NUMBER.sub(lambda m: _another(m.group(), rng), text)


def _numerals(text: str, rng: random.Random) -> str:
    """Digits as words: 12 is twelve, or 一二 in a Chinese text."""
    if _HAN.search(text):
        return re.sub("[0-9]", lambda m: _CHINESE[m.group()], text)
    return _IN_PROSE.sub(lambda m: _ENGLISH[int(m.group())], text)


def _digits(text: str, rng: random.Random) -> str:
    """Number words as digits: twelve is 12, and 一 in a Chinese text is 1."""
    if _HAN.search(text):
        return re.sub("[零一二三四五六七八九]", lambda m: str("零一二三四五六七八九".index(m.group())), text)
    return _WORDS.sub(lambda m: str(_ENGLISH.index(m.group().lower())), text)


def _renamed(text: str, rng: random.Random) -> str:
    """Other people, and another variable."""
    names = sorted(set(re.findall(r"(?<=[a-z,;] )[A-Z][a-z]{2,}\b", text)))
    for name, new in zip(names, rng.sample(_NAMES, len(_NAMES)), strict=False):
        text = re.sub(rf"\b{name}\b", new, text)
    return re.sub(r"(?<![A-Za-z\\])x(?![A-Za-z])", "t", text)


def _reworded(text: str, rng: random.Random) -> str:
    return _SYNONYM.sub(lambda m: _SYNONYMS[m.group().lower()], text)


def _pieces(text: str) -> list[str]:
    """Words, or characters where the text is Chinese."""
    return re.findall(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+\s*|\s+", text)


def _inserted(text: str, rng: random.Random) -> str:
    filler = ["请", "再", "也"] if _HAN.search(text) else ["really ", "now ", "also ", "indeed "]
    return "".join(p + rng.choice(filler) if rng.random() < 0.1 else p for p in _pieces(text))


def _dropped(text: str, rng: random.Random) -> str:
    return "".join(p for p in _pieces(text) if rng.random() >= 0.1)


def _run(text: str, start: float, stop: float) -> str:
    """The words between these shares of the text's length."""
    out, place = [], 0
    for piece in _pieces(text):
        if start * len(text) <= place < stop * len(text):
            out.append(piece)
        place += len(piece)
    return "".join(out)


def _cut(text: str, rng: random.Random) -> str:
    return _run(text, 0, 0.75)


def _typeset(text: str, rng: random.Random) -> str:
    """Other macros, other spaces, other brackets."""
    changes = {r"\frac": r"\dfrac ", "(": r"\left(", ")": r"\right)", "{": "{ ", "}": " }", "^": " ^ ", r"\le ": r"\leq "}
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


def _spaced(text: str, rng: random.Random) -> str:
    return _HAN.sub(lambda m: m.group() + " ", text)


def _full_width(text: str, rng: random.Random) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" and c != "\\" else c for c in text) if _HAN.search(text) else text


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "verbatim": _verbatim,
    "upper case": _upper,
    "embedded": _embedded,
    "one number changed": _one_number,
    "all numbers changed": _all_numbers,
    "numerals as words": _numerals,
    "number words as digits": _digits,
    "renamed": _renamed,
    "reworded": _reworded,
    "words inserted": _inserted,
    "a tenth dropped": _dropped,
    "cut to three quarters": _cut,
    "LaTeX typeset anew": _typeset,
    "Chinese spaced": _spaced,
    "Chinese full width": _full_width,
}


def plant(texts: Sequence[str], per_kind: int, seed: int) -> list[tuple[str, str]]:
    """(kind, disguised copy): up to `per_kind` of each kind, of texts drawn without replacement among those that the kind changes."""
    planted = []
    for kind, disguise in KINDS.items():
        rng = random.Random(f"{seed} {kind}")
        drawn = (disguise(text, rng) for text in rng.sample(texts, len(texts)) if _applies(kind, disguise, text))
        planted += [(kind, copy) for copy, _ in zip(drawn, range(per_kind), strict=False)]
    return planted


def _applies(kind: str, disguise: Callable[[str, random.Random], str], text: str) -> bool:
    if kind == "LaTeX typeset anew" and not ("\\" in text or "$" in text):
        return False
    return kind == "verbatim" or disguise(text, random.Random(0)) != text


def near_misses(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """Texts of runs of three protected ones, two fifths of each: they share long n-grams with all three and repeat none."""
    rng = random.Random(f"{seed} near misses")
    long = [text for text in texts if len(_pieces(text)) >= 20]
    if len(long) < 3:
        return []
    return [" ".join(_run(text, start, start + 0.4) for text, start in _three(long, rng)) for _ in range(count)]


def _three(texts: Sequence[str], rng: random.Random) -> list[tuple[str, float]]:
    return [(text, rng.uniform(0, 0.6)) for text in rng.sample(texts, 3)]
