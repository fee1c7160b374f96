"""A bare computation (`What is (2 + 3) * 4?`) and what its solution may carry on: its value, its terms, its terms worked out."""

import re

from tasks.maths.equations import Chain, Side, chains
from tasks.maths.rational import Number

_NUMBER = re.compile(r"\d[\d,]*\.?\d*")
_WORD = re.compile(r"[A-Za-z]{2,}")
_MARK = re.compile(r"[\d.,]+|[^\s\"“”]")
_ASKING = frozenset(
    _WORD.findall("what is the value of compute calculate evaluate simplify find result work out solve answer expression please equal to")
)
"""The words that a bare computation may be asked with."""
_MAX_FORMS = 100
_MAX_TEXT = 2_000


class Computation:
    """What is asked, exactly, and the forms that true equations have given it so far."""

    def __init__(self, side: Side) -> None:
        assert side.value is not None
        self.value: Number = side.value
        self._forms = [_text(side)]

    @classmethod
    def of(cls, problem: str) -> "Computation | None":
        """The computation that a problem consists of, or None: then nothing but its words says what is asked."""
        if len(problem) > _MAX_TEXT or not _ASKING.issuperset(word.lower() for word in _WORD.findall(problem)):
            return None
        found = [chain.sides[0] for chain in chains(problem, {}) if len(chain.sides[0].operands) > 1]
        if len(found) != 1 or found[0].value is None or len(found[0].operands) != len(_NUMBER.findall(problem)):
            return None
        return cls(found[0])

    def knows(self, side: Side) -> bool:
        """Whether a side is the value asked for, or a term of the computation, as it was given or as it was worked out since."""
        return side.value == self.value or any(_text(side) in form for form in self._forms)

    def work_out(self, chain: Chain) -> None:
        """Put what a true equation says in the place of the term it begins with."""
        left, *others = (_text(side) for side in chain.sides if side.value is not None and not side.named)
        for right in others:
            new = [form.replace(left, right) for form in self._forms if left in form]
            self._forms = list(dict.fromkeys([*self._forms, *new]))[:_MAX_FORMS]


def _text(side: Side) -> str:
    """The tokens of a side between spaces, so that `4 * 5` is found in `3 + 4 * 5` and not in `14 * 5`."""
    return f" {' '.join(_MARK.findall(' '.join(side.tokens)))} "
