"""Which answers vote together: equal numbers in any notation (0.5 and 1/2), or one normal form of the text.

A cheap equivalence for grouping many answers of one problem. Units are passed over (one problem asks for one unit), and
expressions that only algebra would show equal stay apart; `answers.check` decides single pairs.
"""

from tasks.maths.exact import plain


def vote_key(answer: str) -> str:
    """Equal for answers that count as the same vote."""
    normal = plain(answer)
    return str(normal.value) if normal.value is not None else normal.text
