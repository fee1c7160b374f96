r"""Mathematical text as tokens that survive re-typesetting (Qwen2.5-Math, decontamination: "normalise, drop punctuation").

A token is a run of letters, a run of digits, or one CJK character, after NFKC and lower case. Dropped, in every notation:
punctuation, operators that ASCII can write (`+`, `×`, `\times`, `\frac`, `≤`, `\le`) and LaTeX layout (`\left`, `\,`, `\text`).
Kept by one name: what has a LaTeX name only (`∩` is `\cap`, `π` is `\pi`). `words` says it plainly; `tokenise` does the same
to Arrow columns without a loop per token.
"""

import functools
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

_LAYOUT = """left right big bigl bigr bigg biggl biggr text textbf textit textrm textsf textnormal mathrm mathbf mathit mathsf mathbb
    mathcal boldsymbol operatorname displaystyle textstyle limits nolimits quad qquad hspace vspace phantom mbox hbox rm bf it"""
_OPERATORS = """frac dfrac tfrac cfrac over times cdot div ast star circ degree prime le leq leqslant ge geq geqslant lt gt ne neq pm mp
    mid vert lvert rvert lbrace rbrace ldots dots cdots vdots ddots colon backslash"""
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξοπρστυφχψως",
        [
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "iota",
            "kappa",
            "lambda",
            "mu",
            "nu",
            "xi",
            "omicron",
            "pi",
            "rho",
            "sigma",
            "tau",
            "upsilon",
            "phi",
            "chi",
            "psi",
            "omega",
            "sigma",
        ],
        strict=True,
    )
)
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
_SYMBOLS = _GREEK | _NAMED
_DROPPED = frozenset(_LAYOUT.split()) | frozenset(_OPERATORS.split())
_SAME = {"varepsilon": "epsilon", "vartheta": "theta", "varphi": "phi", "varnothing": "emptyset"}

_CARDINALS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion"""
NUMERALS = frozenset(_CARDINALS.split()) | frozenset("〇零一二三四五六七八九十百千万亿两")
"""Words that are numbers, besides the runs of digits."""

_DIGIT, _LETTER, _CJK, _SYMBOL = 1, 2, 3, 4


def fold(text: str) -> str:
    """NFKC, each character in lower case where that is one character."""
    return "".join(map(_lower, unicodedata.normalize("NFKC", text)))


def _lower(char: str) -> str:
    lower = char.lower()
    return lower if len(lower) == 1 else char


def _kind(char: str) -> int:
    """Of a folded character: symbols and CJK characters are tokens by themselves, letters and digits form runs; 0 is no part of any."""
    point = ord(char)
    if char in _SYMBOLS:
        return _SYMBOL
    if 0x3040 <= point <= 0x30FF or 0x3400 <= point <= 0x4DBF or 0x4E00 <= point <= 0x9FFF or 0x20000 <= point <= 0x3FFFF or char == "〇":
        return _CJK
    category = unicodedata.category(char)
    return _DIGIT if category == "Nd" else _LETTER if category[0] in "LM" else 0


def is_number(word: str) -> bool:
    """Whether a token is a number."""
    return word in NUMERALS or _kind(word[0]) == _DIGIT


def is_word(word: str) -> bool:
    """Whether a token is neither a number nor a single letter: what prose has and formulas have not."""
    return not is_number(word) and (len(word) > 1 or _kind(word) == _CJK)


def words(text: str) -> list[str]:
    """The tokens of one text: the definition that `tokenise` must equal, and slow."""
    folded, found, start = fold(text), [], 0
    while start < len(folded):
        kind, stop = _kind(folded[start]), start + 1
        while kind in (_LETTER, _DIGIT) and stop < len(folded) and _kind(folded[stop]) == kind:
            stop += 1
        word = folded[start:stop]
        if kind == _LETTER and start and folded[start - 1] == "\\":
            word = "" if word in _DROPPED else _SAME.get(word, word)
        if kind and word:
            found.append(_SYMBOLS[word] if kind == _SYMBOL else word)
        start = stop
    return found


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a batch of texts, one after the other."""

    hashes: Hashes
    """(tokens,) 64-bit hash of each; equal tokens have equal hashes."""
    numbers: npt.NDArray[np.bool_]
    """(tokens,) true for a run of digits and for `NUMERALS`."""
    words: npt.NDArray[np.bool_]
    """(tokens,) true for what is neither a number nor a single letter."""
    bounds: Places
    """(texts + 1,) text k has the tokens bounds[k] to bounds[k + 1]."""
    rows: Places
    """(texts,) position of each text in the column it came from."""

    def masked(self) -> Hashes:
        """The hashes with all numbers alike."""
        return np.where(self.numbers, NUMBER, self.hashes)


NUMBER = np.uint64(0x9E3779B97F4A7C15)
"""The hash that stands for any number where numbers are masked."""
_BASE = 0xD1342543DE82EF95  # odd, so that it has an inverse modulo 2^64
_MIX = np.uint64(0xFF51AFD7ED558CCD)
BATCH_BYTES = 1 << 18
"""Text per batch: what its 8-byte intermediates take stays in a core's cache."""


@functools.lru_cache(maxsize=64)
def powers(base: int, size: int) -> Hashes:
    """base^0 .. base^(size-1) modulo 2^64."""
    out = np.full(size, base, dtype=np.uint64)
    out[:1] = 1
    return np.cumprod(out, dtype=np.uint64)


def powers_from(base: int, size: int) -> Hashes:
    """At least `size` powers, from a table that grows by doubling."""
    return powers(base, max(1 << 12, 1 << (size - 1).bit_length()) if size else 1)


def inverse(base: int) -> int:
    """The inverse of an odd number modulo 2^64."""
    return pow(base, -1, 1 << 64)


def tokenise(column: pa.ChunkedArray | pa.Array, batch_bytes: int = BATCH_BYTES) -> Iterator[Tokens]:
    """The tokens of a column of strings in batches of about `batch_bytes` of text, ASCII texts first in each chunk; nulls are empty."""
    first = 0
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        texts = (
            chunk if pa.types.is_string(chunk.type) or pa.types.is_large_string(chunk.type) else chunk.cast(pa.large_string())
        ).fill_null("")
        rows = np.arange(first, first + len(texts))
        ascii_only = pc.string_is_ascii(texts)
        plain = ascii_only.to_numpy(zero_copy_only=False)
        for part, numbers, read in (
            (texts.filter(ascii_only), rows[plain], _ascii),
            (texts.filter(pc.invert(ascii_only)), rows[~plain], _unicode),
        ):
            for start, stop in _batches(part, batch_bytes):
                yield read(part.slice(start, stop - start), numbers[start:stop])
        first += len(texts)


def _offsets(texts: pa.Array) -> Places:
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    if not len(texts):
        return np.zeros(1, dtype=np.int64)
    return np.frombuffer(texts.buffers()[1], width)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)


def _batches(texts: pa.Array, batch_bytes: int) -> Iterator[tuple[int, int]]:
    """Ranges of texts of about `batch_bytes`, at least one text each."""
    offsets, start = _offsets(texts), 0
    while start < len(texts):
        stop = max(start + 1, int(np.searchsorted(offsets, offsets[start] + batch_bytes)))
        stop = min(stop, len(texts))
        yield start, stop
        start = stop


def _fold_table() -> bytes:
    """Letters to lower case, digits as they are, the backslash to 1, everything else to 0."""
    table = bytearray(256)
    for code in range(128):
        table[code] = ord(chr(code).lower()) if chr(code).isalnum() else 0
    table[ord("\\")] = 1
    return bytes(table)


_FOLD = _fold_table()


def _ascii(texts: pa.Array, rows: Places) -> Tokens:
    offsets = _offsets(texts)
    data = texts.buffers()[2]
    raw = memoryview(data)[offsets[0] : offsets[-1]].tobytes() if data is not None else b""
    codes = np.frombuffer(raw.translate(_FOLD), np.uint8)
    kinds = (codes > 1).view(np.uint8) + (codes > 57).view(np.uint8)
    return _tokens(codes, kinds, offsets - offsets[0], rows, codes == 1 if b"\\" in raw else None)


_TOP = 1 << 17  # the code points below have table entries of their own; above there are ideographs, up to 2^18, and nothing


@functools.cache
def _tables() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
    """(lower case, kind) by code point; the last two entries are for the ideographs and for the rest."""
    lower = [_lower(chr(point)) for point in range(_TOP)]
    kinds = [*map(_kind, lower), _CJK, 0]
    return np.array([*map(ord, lower), 0, 0], dtype=np.uint32), np.array(kinds, dtype=np.uint8)


def _unicode(texts: pa.Array, rows: Places) -> Tokens:
    folded = [unicodedata.normalize("NFKC", text) for text in texts.to_pylist()]
    offsets = np.zeros(len(folded) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in folded], out=offsets[1:])
    codes = np.frombuffer("".join(folded).encode("utf-32-le", "surrogatepass"), np.uint32)
    lower, kinds = _tables()
    if codes.max(initial=0) < _TOP:
        return _tokens(lower[codes], kinds[codes], offsets, rows, codes == ord("\\"))
    entries = np.where(codes < _TOP, codes, np.where(codes < 0x40000, _TOP, _TOP + 1))
    return _tokens(np.where(codes < _TOP, lower[entries], codes), kinds[entries], offsets, rows, codes == ord("\\"))


def _tokens(
    codes: npt.NDArray[np.uint8] | npt.NDArray[np.uint32],
    kinds: npt.NDArray[np.uint8],
    offsets: Places,
    rows: Places,
    slashes: npt.NDArray[np.bool_] | None,
) -> Tokens:
    """Runs of one kind become tokens: the hash of a run is a difference of prefix sums of code * B^i, brought back by B^-start."""
    size = len(codes)
    edges = np.ones(size + 1, dtype=np.bool_)
    np.not_equal(kinds[1:], kinds[:-1], out=edges[1:size])
    edges[offsets] = True
    if codes.dtype != np.uint8:
        edges[:size] |= kinds >= _CJK
    cuts = np.flatnonzero(edges)
    sums = np.zeros(size + 1, dtype=np.uint64)
    np.cumsum(codes * powers_from(_BASE, size)[:size], out=sums[1:])
    runs = kinds[cuts[:-1]]
    is_token = runs > 0
    starts = cuts[:-1][is_token]
    hashes = _mix(np.diff(sums[cuts])[is_token] * powers_from(inverse(_BASE), size)[starts])
    kind = runs[is_token]
    if codes.dtype != np.uint8:
        _name_symbols(hashes, np.flatnonzero(kind == _SYMBOL), codes, starts)
    numbers = (kind == _DIGIT) | _numerals(hashes)
    words = ((np.diff(cuts)[is_token] > 1) | (kind >= _CJK)) & ~numbers
    if slashes is not None:
        hashes, keep = _macros(starts, hashes, slashes, offsets)
        starts, hashes, numbers, words = starts[keep], hashes[keep], numbers[keep], words[keep]
    return Tokens(hashes, numbers, words, np.searchsorted(starts, offsets), rows)


def _mix(hashes: Hashes) -> Hashes:
    hashes = hashes ^ (hashes >> np.uint64(32))
    hashes *= _MIX
    hashes ^= hashes >> np.uint64(29)
    return hashes


@functools.cache
def _symbol_table() -> tuple[npt.NDArray[np.uint32], Hashes]:
    """(sorted code points of the symbols, the hash of each one's name)."""
    points = sorted(map(ord, _SYMBOLS))
    return np.array(points, dtype=np.uint32), np.array([hash_of(_SYMBOLS[chr(p)]) for p in points], dtype=np.uint64)


def _name_symbols(hashes: Hashes, which: Places, codes: npt.NDArray[np.uint32], starts: Places) -> None:
    points, names = _symbol_table()
    hashes[which] = names[np.searchsorted(points, codes[starts[which]])]


@functools.cache
def _macro_table() -> tuple[Hashes, Hashes]:
    """(sorted hashes of the macros that change, what each becomes; 0 to drop it)."""
    change = dict.fromkeys(_DROPPED, "") | _SAME
    pairs = sorted((hash_of(name), hash_of(new) if new else 0) for name, new in change.items())
    return np.array([p[0] for p in pairs], dtype=np.uint64), np.array([p[1] for p in pairs], dtype=np.uint64)


def hash_of(word: str) -> int:
    """The hash of one token, as `tokenise` gives it."""
    total = sum(ord(char) * pow(_BASE, place, 1 << 64) for place, char in enumerate(word)) % (1 << 64)
    return int(_mix(np.array([total], dtype=np.uint64))[0])


@functools.cache
def _numeral_table() -> tuple[npt.NDArray[np.bool_], Hashes]:
    """(whether a numeral's hash starts with these 16 bits, sorted hashes of the numerals)."""
    hashes = np.array(sorted(map(hash_of, NUMERALS)), dtype=np.uint64)
    table = np.zeros(1 << 16, dtype=np.bool_)
    table[hashes >> np.uint64(48)] = True
    return table, hashes


def _numerals(hashes: Hashes) -> npt.NDArray[np.bool_]:
    table, known = _numeral_table()
    is_numeral = table[(hashes >> np.uint64(48)).view(np.int64)]
    maybe = np.flatnonzero(is_numeral)
    is_numeral[maybe] = np.isin(hashes[maybe], known)
    return is_numeral


def _macros(
    starts: Places, hashes: Hashes, slashes: npt.NDArray[np.bool_], offsets: Places
) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """(hashes, which to keep): what follows a backslash of its own text and is in the macro table is renamed or dropped."""
    after = np.flatnonzero(slashes[starts - 1])
    after = after[offsets[np.searchsorted(offsets, starts[after])] != starts[after]]
    names, becomes = _macro_table()
    place = np.minimum(np.searchsorted(names, hashes[after]), len(names) - 1)
    known = names[place] == hashes[after]
    changed, new = after[known], becomes[place[known]]
    hashes[changed] = new
    keep = np.ones(len(hashes), dtype=np.bool_)
    keep[changed[new == 0]] = False
    return hashes, keep
