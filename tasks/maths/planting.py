"""Copies of protected texts disguised in the ways that leaks are: what a contamination rule should find, and near misses it should not.

Seeded: the same texts and seed give the same copies. The wording tables are small on purpose; a copy that a kind cannot change is left out.
"""

import random
import re
from collections.abc import Callable, Sequence

_BEFORE = "The following was asked in class last week. Most of us had no idea where to begin, so please explain each step."
_AFTER = "I would be glad about a short explanation, because the book only gives the result. Thanks to everybody who answers!"
_SYNONYMS = {
    "how many": "what number of", "how much": "what amount of", "find": "determine", "determine": "find", "compute": "calculate", "calculate": "compute",
    "evaluate": "work out", "what is": "give", "buys": "purchases", "sells": "trades", "total": "overall", "each": "every", "every": "each", "has": "owns",
    "makes": "produces", "gives": "hands", "more": "additional", "left": "remaining", "then": "afterwards", "suppose": "assume", "let": "consider",
    "which": "what", "following": "subsequent", "begin": "start", "large": "big", "small": "little", "people": "persons", "children": "kids", "cost": "price",
    "多少": "几多", "一共": "总共", "已知": "设", "求": "试求", "平均": "均",
}  # fmt: skip
_SYNONYM = re.compile("|".join(rf"\b{w}\b" if w.isascii() else w for w in sorted(_SYNONYMS, key=len, reverse=True)), re.IGNORECASE)
_NAMES = ["Ilse", "Tomas", "Priya", "Kwame", "Noor", "Yuki", "Oskar", "Lena"]
_ENGLISH = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen",
            "sixteen", "seventeen", "eighteen", "nineteen", "twenty"]  # fmt: skip
_CHINESE = dict(zip("0123456789", "零一二三四五六七八九", strict=True))
_HAN = re.compile("[\u4e00-\u9fff]")
_NUMBER = re.compile(r"\d+")


def _verbatim(text: str, rng: random.Random) -> str:
    return text


def _upper(text: str, rng: random.Random) -> str:
    return text.upper()


def _embedded(text: str, rng: random.Random) -> str:
    return f"{_BEFORE} {text} {_AFTER}"


def _another(number: str, rng: random.Random) -> str:
    return str(int(number) + rng.randint(1, 9 if len(number) < 3 else 10 ** (len(number) - 1))) if number.isascii() and len(number) < 12 else number


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
    return re.sub(r"(?<![\d.,/^{$])\b\d{1,2}\b(?![\d.,/^}$])", lambda m: _ENGLISH[int(m.group())] if int(m.group()) <= 20 else m.group(), text)


def _renamed(text: str, rng: random.Random) -> str:
    """Other people, and another variable."""
    names = sorted({m for m in re.findall(r"(?<=[a-z,;] )[A-Z][a-z]{2,}\b", text)})
    fresh = rng.sample(_NAMES, len(_NAMES))
    for name, new in zip(names, fresh, strict=False):
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


def _cut(text: str, rng: random.Random) -> str:
    """The first three quarters."""
    pieces = _pieces(text)
    return "".join(pieces[: max(1, round(0.75 * len(pieces)))])


def _retypeset(text: str, rng: random.Random) -> str:
    for old, new in ((r"\frac", r"\dfrac "), ("(", r"\left("), (")", r"\right)"), ("{", "{ "), ("}", " }"), ("^", " ^ "), (r"\le ", r"\leq ")):
        text = text.replace(old, new)
    return re.sub(r"(?<!\\)\$+", lambda m: r"\("[:2] if rng.random() < 0.5 else "$ ", text) if "$" in text else text


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
    "renamed": _renamed,
    "reworded": _reworded,
    "words inserted": _inserted,
    "a tenth dropped": _dropped,
    "cut to three quarters": _cut,
    "LaTeX typeset anew": _retypeset,
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
    return kind == "verbatim" or disguise(text, random.Random(0)) != text


def near_misses(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """Texts of runs of three protected ones, at most two fifths of each: they share long n-grams with all three and repeat none."""
    rng = random.Random(f"{seed} near misses")
    long = [pieces for pieces in map(_pieces, rng.sample(texts, min(len(texts), 4 * count))) if len(pieces) >= 20]
    if len(long) < 3:
        return []
    return [" ".join(_run(pieces, rng) for pieces in rng.sample(long, 3)) for _ in range(count)]


def _run(pieces: list[str], rng: random.Random) -> str:
    size = round(0.4 * len(pieces))
    start = rng.randint(0, len(pieces) - size)
    return "".join(pieces[start : start + size])
