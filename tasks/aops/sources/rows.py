"""Records of data sets made from the forum (NuminaMath, AoPS-Instruct, saved topics) as pages: question, then one section a solution.

The forum itself is not read: its robots rules forbid it. Dates stay, names of people do not.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from storage.ids import digest
from tasks.aops.parse.choices import find_choices
from tasks.aops.parse.solutions import THANKS
from tasks.aops.parse.tokens import mask
from tasks.aops.sources.bbcode import post_to_wikitext
from tasks.maths.records import as_text, pick


class Columns(BaseModel):
    """Where the parts of a problem are in the records; the field `a.b` is `b` inside `a`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: tuple[str, ...] = ("id", "uuid", "problem_id", "topic_id", "metadata.topic_id")
    """Fields that may hold the record's id; without one it is made of the question."""
    question: tuple[str, ...] = ("problem", "original_question", "forum_post", "question")
    """Fields that may hold the question."""
    answer: tuple[str, ...] = ("answer", "final_answer")
    """Fields that may hold the answer alone."""
    solutions: tuple[str, ...] = ("solutions", "original_answers", "solution", "forum_discussions", "rewritten_answers")
    """Fields that may hold one solution or a list of them."""
    posts: str = "posts"
    """Field that holds a topic's posts, the question first, each with the fields `post_canonical`, `thanks_received` and `post_time`."""
    source: tuple[str, ...] = ("source",)
    """Fields that may name the data set a record is from."""
    kind: tuple[str, ...] = ("question_type", "problem_type")
    """Fields that may say whether it asks for a choice or a proof."""
    valid: tuple[str, ...] = ("problem_is_valid",)
    """Fields that may say that the question is none."""
    date: tuple[str, ...] = ("post_date", "metadata.post_date", "post_time", "date")
    """Fields that may hold the time of the post: text, or seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record as a page."""

    title: str
    wikitext: str
    answer: str | None
    asks: Literal["choice", "proof", "expression"]
    source: str | None
    written_at: str | None
    url: str


@dataclass(frozen=True, slots=True)
class _Post:
    text: str
    thanks: int = 0
    time: Any = None


_NO_ANSWER = {"", "notfound", "not found", "none", "n/a", "null"}
_VALID = {"yes", "true", "1", "valid"}
_PROOF = re.compile(r"\b(?:prove|show) that\b", re.IGNORECASE)
_POSTS = re.compile(r"^Post \d+:[ \t]*\n?", re.MULTILINE)


def read_record(record: Mapping[str, Any], columns: Columns) -> Record | str:
    """The record as a page, or the reason why it is none (short and fixed)."""
    question, posts = _parts(record, columns)
    if question is None:
        return "no question"
    valid = as_text(pick(record, columns.valid))
    if valid is not None and valid.lower() not in _VALID:
        return "question marked as invalid"
    text, hidden = post_to_wikitext(question.text)
    if not text:
        return "no question"
    answer = as_text(pick(record, columns.answer))
    asks = _asks(as_text(pick(record, columns.kind)), answer, text)
    solutions = [*(_Post(h) for h in hidden), *(_unhidden(p) for p in posts)]
    title = as_text(pick(record, columns.id)) or digest(question.text, 16)
    written = pick(record, columns.date) or question.time
    url = as_text(pick(record, ["url", "source_url", "link"])) or f"record {title}"
    known = None if answer is None or asks == "proof" or answer.lower() in _NO_ANSWER else answer
    return Record(title, _page(text, solutions), known, asks, as_text(pick(record, columns.source)), _date(written), url)


def _parts(record: Mapping[str, Any], columns: Columns) -> tuple[_Post | None, list[_Post]]:
    """(the question, the replies)."""
    topic = record.get(columns.posts)
    if isinstance(topic, Sequence) and not isinstance(topic, str) and topic:
        posts = [_post(p) for p in topic if isinstance(p, Mapping)]
        return (posts[0], [p for p in posts[1:] if p.text]) if posts and posts[0].text else (None, [])
    question = as_text(pick(record, columns.question))
    found = pick(record, columns.solutions)
    texts = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    texts = [piece for t in texts if isinstance(t, str) for piece in (_POSTS.split(t) if _POSTS.match(t) else [t])]
    thanks = pick(record, ["metadata.thanks_received", "thanks_received"])
    counts = (
        [int(t) if isinstance(t, int) else 0 for t in thanks]
        if isinstance(thanks, list) and len(thanks) == len(texts)
        else [0] * len(texts)
    )
    replies = [_Post(t.strip(), n) for t, n in zip(texts, counts, strict=True) if t.strip()]
    return (_Post(question) if question else None), replies


def _post(post: Mapping[str, Any]) -> _Post:
    thanks = post.get("thanks_received")
    return _Post(as_text(post.get("post_canonical")) or "", thanks if isinstance(thanks, int) and thanks > 0 else 0, post.get("post_time"))


def _unhidden(post: _Post) -> _Post:
    """A reply: what it hides is the solution."""
    text, hidden = post_to_wikitext(post.text)
    return _Post("\n\n".join(p for p in (text, *hidden) if p), post.thanks)


def _page(question: str, solutions: Sequence[_Post]) -> str:
    parts = ["== Problem ==", question]
    for i, post in enumerate((s for s in solutions if s.text), 1):
        parts += ["", f"== Solution {i} ({THANKS}: {post.thanks}) ==", post.text]
    return "\n".join(parts) + "\n"


def _asks(kind: str | None, answer: str | None, text: str) -> Literal["choice", "proof", "expression"]:
    said = (kind or "").lower()
    if said == "proof" or (answer or "").lower() == "proof":
        return "proof"
    if all(letter in text for letter in "ABCDE"):
        masked = mask(text)
        if find_choices(masked, 0, len(masked.text))[0] is not None:
            return "choice"
    return "proof" if answer is None and _PROOF.search(text) else "expression"


def _date(value: Any) -> str | None:
    """ISO 8601 in UTC; text stays as it is."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return as_text(value)
