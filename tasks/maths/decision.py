"""Read a judge's labels of the steps of an answer (Step-DPO, section 3.2); its published parser loses bold and comma-separated decisions.

The labels stand behind the last `Final Decision`, one per line or joined by `;` or `,`, in bold, in a list or in a table. They must run
from step 1 without a gap: a judge that leaves out a step has not said that it is right. What cannot be read gives a short fixed reason.
"""

import re
from dataclasses import dataclass
from typing import Literal

Label = Literal["correct", "neutral", "incorrect"]
Neutral = Literal["skip", "error"]

_HEADER = re.compile(r"final\s+decisions?\b[\s::*_`#]*", re.IGNORECASE)
_BULLET = r"[ \t*_`#>|\[\]()\-–—•]*"  # no line end in it: a run of empty lines must not be walked once from each of them
_DECORATION = r"[\s*_`#>|\[\]()\-–—•]*"
_ENTRY = re.compile(
    rf"(?:^|[;,,;\n]){_BULLET}steps?{_DECORATION}(\d{{1,6}})(?:\s*(?:-|–|to|through)\s*(\d{{1,6}}))?"
    rf"{_DECORATION}(?:[::=.]|is\b|are\b)?{_DECORATION}([a-z]*)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Decision:
    """A judge's labels, of steps 1, 2, ... up to the first incorrect one."""

    labels: tuple[Label, ...]
    first_wrong: int | None
    """1-based, by the policy for neutral steps; None where every step was passed."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a reply gives no decision: a short fixed reason, and what exactly."""

    reason: str
    detail: str


def read_decision(reply: str, n_steps: int, neutral: Neutral = "skip") -> Decision | Unreadable:
    """The decision of a complete reply over an answer of `n_steps` steps.

    `neutral` says what a neutral step is. The published code takes the first step that is not correct for the error (`error`); then
    the pair teaches a model to rewrite steps such as "let x be the number of pens", which are not wrong. So it is passed by default.
    """
    blocks = _HEADER.split(reply)[1:]
    entries = next((found for block in reversed(blocks) if (found := list(_ENTRY.finditer(block)))), None)
    if entries is None:
        return Unreadable("no decision", f"{len(blocks)} times 'Final Decision', no 'Step i: label' behind it")
    labels: list[Label] = []
    for entry in entries:
        fault = _add(labels, entry, n_steps)
        if fault is not None:
            return fault
        if labels[-1] == "incorrect":
            break
    wrong = ("incorrect",) if neutral == "skip" else ("incorrect", "neutral")
    first = next((i for i, label in enumerate(labels, 1) if label in wrong), None)
    if first is None and len(labels) < n_steps:
        return Unreadable("steps left out", f"{len(labels)} of {n_steps} are labelled, none of them incorrect")
    return Decision(tuple(labels), first)


def _add(labels: list[Label], entry: re.Match[str], n_steps: int) -> Unreadable | None:
    """Append what one `Step i: label` (or `Steps i-j: label`) says."""
    first, last, word = int(entry[1]), int(entry[2] or entry[1]), entry[3].lower()
    said = " ".join(entry[0].split())[:60]
    label: Label
    if word == "correct":
        label = "correct"
    elif word == "neutral":
        label = "neutral"
    elif word == "incorrect":
        label = "incorrect"
    else:
        return Unreadable("unknown label", f"{said!r}: have ['correct', 'neutral', 'incorrect']")
    if first <= len(labels):
        return Unreadable("a step is labelled twice", said)
    if last > n_steps:
        return Unreadable("a step beyond the answer", f"{said!r}, the answer has {n_steps}")
    if first != len(labels) + 1 or last < first:
        return Unreadable("steps left out", f"{said!r} follows step {len(labels)}")
    labels += [label] * (last - first + 1)
    return None
