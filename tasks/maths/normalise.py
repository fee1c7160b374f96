r"""Mathematical text as tokens that survive re-typesetting (Qwen2.5-Math, decontamination: "normalise, drop punctuation").

A token is a run of letters, a run of digits, or one CJK character, after NFKC and lower case. Dropped, in every notation:
punctuation, operators that ASCII can write (`+`, `×`, `\times`, `\frac`, `≤`, `\le`) and LaTeX layout (`\left`, `\,`, `\text`).
Kept by one name: what has a LaTeX name only (`∩` is `\cap`, `π` is `\pi`). This is the definition, text by text and slow;
`tasks.maths.tokens` does the same to Arrow columns.
"""

import unicodedata
from collections.abc import Mapping

_LAYOUT = """left right big bigl bigr bigg biggl biggr text textbf textit textrm textsf textnormal mathrm mathbf mathit mathsf mathbb
    mathcal boldsymbol operatorname displaystyle textstyle limits nolimits quad qquad hspace vspace phantom mbox hbox rm bf it"""
_OPERATORS = """frac dfrac tfrac cfrac over times cdot div ast star circ degree prime le leq leqslant ge geq geqslant lt gt ne neq pm mp
    mid vert lvert rvert lbrace rbrace ldots dots cdots vdots ddots colon backslash"""
_LETTERS = """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi psi omega
    sigma"""
_GREEK = dict(zip("αβγδεζηθικλμνξοπρστυφχψως", _LETTERS.split(), strict=True))
_NAMED = {
    "∩": "cap",
    "∪": "cup",
    "∈": "in",
    "∉": "notin",
    "⊂": "subset",
    "⊆": "subseteq",
    "∅": "emptyset",
    "∠": "angle",
    "△": "triangle",
    "⊥": "perp",
    "∥": "parallel",
    "√": "sqrt",
    "∞": "infty",
    "∑": "sum",
    "∏": "prod",
    "∫": "int",
    "∀": "forall",
    "∃": "exists",
}
SYMBOLS = _GREEK | _NAMED
"""Characters that are tokens by the name of their LaTeX macro."""
DROPPED = frozenset(_LAYOUT.split()) | frozenset(_OPERATORS.split())
"""Macros that leave no token."""
RENAMED = {"varepsilon": "epsilon", "vartheta": "theta", "varphi": "phi", "varnothing": "emptyset"}
"""Macros that have another name."""

_ENGLISH = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty"""
_VALUES = {word: str(value) for value, word in enumerate(_ENGLISH.split())}
_TENS = """thirty forty fifty sixty seventy eighty ninety"""
_VALUES |= {word: f"{tens}0" for tens, word in enumerate(_TENS.split(), 3)}
_VALUES |= {"hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000"}
_VALUES |= dict(zip("零一二三四五六七八九十", map(str, range(11)), strict=True))
_VALUES |= {"〇": "0", "两": "2", "百": "100", "千": "1000", "万": "10000", "亿": "100000000"}
NUMERALS: Mapping[str, str] = _VALUES
"""Words that are numbers, besides the runs of digits, and the digits of each."""
STEM = 5
"""So many first letters stand for a word where its ending does not matter."""

DIGIT, LETTER, CJK, SYMBOL = 1, 2, 3, 4
"""Kinds of character."""


def fold(text: str) -> str:
    """NFKC, each character in lower case where that is one character."""
    return "".join(map(lower, unicodedata.normalize("NFKC", text)))


def lower(char: str) -> str:
    """One character for one character."""
    small = char.lower()
    return small if len(small) == 1 else char


def kind_of(char: str) -> int:
    """Of a folded character: symbols and CJK characters are tokens by themselves, letters and digits form runs; 0 is no part of any."""
    point = ord(char)
    if char in SYMBOLS:
        return SYMBOL
    if 0x3040 <= point <= 0x30FF or 0x3400 <= point <= 0x4DBF or 0x4E00 <= point <= 0x9FFF or 0x20000 <= point <= 0x3FFFF or char == "〇":
        return CJK
    category = unicodedata.category(char)
    return DIGIT if category == "Nd" else LETTER if category[0] in "LM" else 0


def is_number(word: str) -> bool:
    """Whether a token is a number."""
    return word in NUMERALS or kind_of(word[0]) == DIGIT


def is_word(word: str) -> bool:
    """Whether a token is neither a number nor a single letter: what prose has and formulas have not."""
    return not is_number(word) and (len(word) > 1 or kind_of(word) == CJK)


def term_of(word: str) -> str:
    """What of a token counts where wording does not: the digits of a number, the first letters of a word; a single letter is itself."""
    return NUMERALS.get(word, word) if is_number(word) else word[:STEM]


def words(text: str) -> list[str]:
    """The tokens of one text: the definition that `tokenise` must equal, and slow."""
    folded, found, start = fold(text), [], 0
    while start < len(folded):
        kind, stop = kind_of(folded[start]), start + 1
        while kind in (LETTER, DIGIT) and stop < len(folded) and kind_of(folded[stop]) == kind:
            stop += 1
        word = folded[start:stop]
        if kind == LETTER and start and folded[start - 1] == "\\":
            word = "" if word in DROPPED else RENAMED.get(word, word)
        if kind and word:
            found.append(SYMBOLS[word] if kind == SYMBOL else word)
        start = stop
    return found


def in_original(text: str, start: int, end: int) -> tuple[int, int]:
    """The characters of `text` that became start to end - 1 after NFKC.

    Where NFKC joins characters, as it does letters and accents that stand apart, it is the whole text.
    """
    if text.isascii() or unicodedata.is_normalized("NFKC", text):
        return start, end
    place = [at for at, char in enumerate(text) for _ in unicodedata.normalize("NFKC", char)]
    if len(place) != len(unicodedata.normalize("NFKC", text)):
        return 0, len(text)
    return place[start], place[end - 1] + 1
