"""Rationale and problem between their tags, and the rationale behind its marker: the two reply formats of PromptCoT's generators.

The tags are the published ones, `<!-- BEGIN RATIONALE -->` to `<!-- END PROBLEM -->`. A missing END RATIONALE is tolerated, since BEGIN
PROBLEM ends the rationale as surely (released data has such rows); a missing END PROBLEM is not, since a reply that was cut off in the
middle of a problem looks the same.
"""

import re
from dataclasses import dataclass
from typing import Literal

TAGS = ("BEGIN RATIONALE", "END RATIONALE", "BEGIN PROBLEM", "END PROBLEM")
_TAG = re.compile(r"<!--\s*((?:BEGIN|END) (?:RATIONALE|PROBLEM))\s*-->")
_MARKER = "Thinking Process:"

FormatRating = Literal["perfect", "acceptable"]


class Malformed(ValueError):
    """A reply that is not in the format; the message is a short fixed reason, to be counted."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """The two blocks, stripped. `acceptable`: their bounds are certain, though a tag is missing or text stands outside of them."""

    rationale: str
    problem: str
    format: FormatRating = "perfect"


def write_tagged(rationale: str, problem: str) -> str:
    """The two blocks as a generator is asked to write them."""
    return "\n".join(
        [f"<!-- {TAGS[0]} -->", rationale, f"<!-- {TAGS[1]} -->", f"<!-- {TAGS[2]} -->", problem, f"<!-- {TAGS[3]} -->"],
    )


def read_tagged(text: str) -> Tagged:
    """Both blocks. Raises Malformed: a tag is missing, twice there or out of order, or a block is empty."""
    pieces = _TAG.split(text)
    tags, between = pieces[1::2], pieces[2::2]
    _check(tags)
    whole = len(tags) == len(TAGS)
    found = {tag: piece.strip() for tag, piece in zip(tags, between, strict=True)}
    outside = pieces[0] + found["END PROBLEM"] + found.get("END RATIONALE", "")
    for tag in ("BEGIN RATIONALE", "BEGIN PROBLEM"):
        if not found[tag]:
            raise Malformed(f"empty {tag.split()[1].lower()}")
    return Tagged(found["BEGIN RATIONALE"], found["BEGIN PROBLEM"], "perfect" if whole and not outside.strip() else "acceptable")


def _check(tags: list[str]) -> None:
    for tag in TAGS:
        if tags.count(tag) > 1:
            raise Malformed("a tag is there twice")
        if tag not in tags and tag != "END RATIONALE":
            raise Malformed(f"no {tag} tag")
    if tags != [tag for tag in TAGS if tag in tags]:
        raise Malformed("tags out of order")


def read_rationale(text: str) -> str:
    """What follows the last `Thinking Process:`. Raises Malformed where the marker is missing: the whole reply is no rationale."""
    _, marker, after = text.rpartition(_MARKER)
    if not marker:
        raise Malformed("no thinking process")
    rationale = after.strip().removeprefix("**").strip()
    if not rationale:
        raise Malformed("empty thinking process")
    return rationale
