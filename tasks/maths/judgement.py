"""What a judge says of a new problem: five ratings and a verdict, read strictly (PromptCoT's own parser takes "not perfect" for perfect).

A verdict is one whole word behind `Final Judgement:` on the last line. What is in doubt is unknown, never perfect. FORMAT is what the
tag parser says, whatever the judge thinks of it, and a verdict that contradicts the judge's own ratings is not believed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from storage.schemas import JudgedName, Rating

CRITERIA = ("FORMAT", "FACTUAL ACCURACY", "DIFFICULTY ALIGNMENT", "CONCEPT COVERAGE", "SOLVABILITY")
_DECISIVE = ("FACTUAL ACCURACY", "SOLVABILITY")
_WORST_FIRST: tuple[Rating, ...] = ("bad", "acceptable", "perfect")
_MARKER = re.compile(r"final judge?ment[*_\s]*:", re.IGNORECASE)
_HEAD = re.compile(rf"^[ \t*_#>\d.)(-]*({'|'.join(CRITERIA)})[ \t*_]*:", re.IGNORECASE | re.MULTILINE)
_RATED = re.compile(r"\brating[ \t*_]*:([^\n]*)", re.IGNORECASE)
_EDGES = " \t\r\n*_`\"'.()[]<>"

Ratings = Mapping[str, Rating | None]


@dataclass(frozen=True, slots=True)
class Judged:
    """What was read: a rating for each criterion, None where none is clear, the verdict, and for `unknown` the reason."""

    ratings: Ratings
    verdict: JudgedName
    why: str = ""


def read_judgement(reply: str, format_rating: Rating, cut_off: bool = False) -> Judged:
    """The judgement in a reply. `format_rating` is the tag parser's; a reply that was `cut_off` is unknown whatever it contains."""
    own = read_ratings(reply)
    ratings = {**own, "FORMAT": format_rating}
    stated = None if cut_off else read_verdict(reply)
    if stated is None:
        return Judged(ratings, "unknown", "cut off" if cut_off else "no clear verdict")
    if None in (own[name] for name in CRITERIA if name != "FORMAT"):
        return _without_all_ratings(ratings, stated)
    ruled = rule(ratings)
    if stated == rule(own):
        return Judged(ratings, ruled)
    return Judged(ratings, min(stated, ruled, key=_WORST_FIRST.index), f"stated {stated}, rated {ruled}")


def _without_all_ratings(ratings: Ratings, stated: Rating) -> Judged:
    """Bad as soon as one rating or the verdict is; perfect cannot be believed."""
    if "bad" in (stated, *ratings.values()):
        return Judged(ratings, "bad")
    missing = ", ".join(name for name in CRITERIA if ratings[name] is None)
    return Judged(ratings, stated) if stated != "perfect" else Judged(ratings, "unknown", f"no rating of {missing}")


def rule(ratings: Ratings) -> Rating:
    """The verdict that follows from ratings: perfect if the decisive two and two of the other three are, and none is bad."""
    if "bad" in ratings.values():
        return "bad"
    others = [name for name in CRITERIA if name not in _DECISIVE]
    whole = all(ratings[n] == "perfect" for n in _DECISIVE) and sum(ratings[n] == "perfect" for n in others) >= 2
    return "perfect" if whole else "acceptable"


def read_ratings(reply: str) -> dict[str, Rating | None]:
    """For each criterion what follows `Rating:` in its section; None where that is missing, no rating, or not the same throughout."""
    text = _MARKER.split(reply)[0]
    pieces = _HEAD.split(text)
    found: dict[str, set[Rating | None]] = {name: set() for name in CRITERIA}
    for name, section in zip(pieces[1::2], pieces[2::2], strict=True):
        rated = _RATED.findall(section)
        found[name.upper()] |= {_word(text) for text in rated} or {None}
    return {name: next(iter(words)) if len(words) == 1 else None for name, words in found.items()}


def read_verdict(reply: str) -> Rating | None:
    """The word behind the last `Final Judgement:`, if it is one of the three, ends the reply, and no earlier verdict differs."""
    verdicts = [_word(piece.strip().partition("\n")[0]) for piece in _MARKER.split(reply)[1:]]
    last = _MARKER.split(reply)[-1].strip()
    return verdicts[-1] if len(set(verdicts)) == 1 and "\n" not in last else None


def _word(text: str) -> Rating | None:
    word = text.strip(_EDGES).lower()
    return next((rating for rating in get_args(Rating) if rating == word), None)
