"""What people decide: replies whose first wrong step the locators left open, and the answers, which are rows like any other.

An answer goes into the recipe's dataset `reviews`; the next run of the recipe takes it into the decision, and only what hangs on it is
made anew. No Prefect here; `flows.review_form` asks in its UI, `mathmill review` on the command line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from flows.config import outline, prefix
from flows.graph import UsageError
from storage.errors import HeadMoved
from storage.ids import digest
from storage.schemas import Dropped, Location, Problem, Rollout, arrow_schema, from_table, to_table
from storage.shards import Balance
from storage.store import Store
from storage.versions import Version
from tasks.decide_fault import UNDECIDED, decide_fault, review_id
from tasks.maths.steps import split

_TRIES = 20


@dataclass(frozen=True)
class Question:
    """A reply that waits for a person."""

    rollout: Rollout
    problem: Problem
    steps: list[str]
    votes: str
    reason: str
    part: str


@dataclass(frozen=True)
class Answer:
    """What a person says about one reply: the first wrong step (1-based), none, or that it cannot be told."""

    step: int | None
    unclear: bool = False
    why: str = ""

    @classmethod
    def parse(cls, text: str) -> "Answer":
        """`3`, `none` or `unclear`."""
        if text.isdecimal() and text.isascii() and int(text):
            return cls(int(text))
        if text not in ("none", "unclear"):
            raise UsageError(f"cannot read the answer {text!r}: write the number of the first wrong step, from 1, or none, or unclear")
        return cls(None, unclear=text == "unclear")


@dataclass(frozen=True)
class Queue:
    """The review queue of a recipe in a store."""

    decided: str
    """Dataset of the decisions."""
    reviews: str
    """Dataset of the answers."""

    @classmethod
    def of(cls, recipe: str, name: str | None = None) -> "Queue":
        """Raises UsageError for a recipe that decides nothing a person could answer."""
        for call in outline(recipe).calls.values():
            if call.stage is decide_fault and "reviews" in call.rows:
                own = name or prefix(recipe)
                return cls(f"{own}.{call.name}", f"{own}.{call.rows['reviews'].dataset.partition('.')[2]}")
        raise UsageError(f"recipe {recipe!r} leaves nothing to a person: it has no stage decide_fault that reads answers")


def questions(store: Store, queue: Queue) -> list[Question]:
    """What waits, in the order of the reply's ids. Raises UsageError where the recipe has not run yet."""
    wrong, waiting = _waiting(store, queue)
    problems = store.table(_input(store, wrong, "problem"))
    statements = {p.id: p for p in from_table(problems, Problem)}
    found = []
    for slot in store.slots(wrong):
        for rollout in from_table(store.read(slot.content), Rollout):
            if rollout.id in waiting:
                why = waiting[rollout.id]
                found.append(Question(rollout, statements[rollout.problem_id], split(rollout.text), why.detail, why.reason, slot.part))
    seen = _answered(store, queue)
    return sorted((q for q in found if review_id(q.rollout) not in seen), key=lambda q: q.rollout.id)


def answer(store: Store, queue: Queue, answers: Mapping[str, Answer]) -> Version:
    """Publish answers by the id of the reply, over earlier ones. Raises UsageError for replies and steps that are not there."""
    wrong, _ = _waiting(store, queue)
    rows: dict[str, list[Location]] = {}
    for slot in store.slots(wrong):
        for rollout in from_table(store.read(slot.content), Rollout):
            if rollout.id in answers:
                rows.setdefault(slot.part, []).append(_row(rollout, answers[rollout.id]))
    unknown = sorted(set(answers) - {row.rollout_id for part in rows.values() for row in part})
    if unknown:
        raise UsageError(f"no reply {unknown[0]!r} in {wrong.spec}: `mathmill review` lists those that wait")
    for _ in range(_TRIES):
        try:
            return _publish(store, queue, wrong, rows)
        except HeadMoved:  # somebody else answered meanwhile: theirs stay, ours go on top
            continue
    raise HeadMoved(f"{queue.reviews} was published by others {_TRIES} times in between: try again")


def _waiting(store: Store, queue: Queue) -> tuple[Version, dict[str, Dropped]]:
    """The version of the wrong replies, and those that were left undecided."""
    decided = store.head(queue.decided)
    if decided is None:
        raise UsageError(f"no dataset {queue.decided!r} yet: run the recipe first (mathmill run), then review what it could not decide")
    dropped = from_table(store.dropped_table(decided), Dropped)
    return _input(store, decided, "rollout"), {d.id: d for d in dropped if d.reason in UNDECIDED}


def _input(store: Store, version: Version, role: str) -> Version:
    name, n = version.inputs[role]
    return store.resolve(f"{name}@{n}")


def _answered(store: Store, queue: Queue) -> set[str]:
    head = store.head(queue.reviews)
    return set(store.table(head, ["id"]).column("id").to_pylist()) if head else set()


def _row(rollout: Rollout, given: Answer) -> Location:
    n_steps = len(split(rollout.text))
    if given.step is not None and not 1 <= given.step <= n_steps:
        raise UsageError(f"no step {given.step} in reply {rollout.id}: it has {n_steps}")
    return Location(
        id=review_id(rollout),
        problem_id=rollout.problem_id,
        rollout_id=rollout.id,
        locator="person",
        first_wrong_step=given.step,
        abstained=given.unclear,
        n_steps=n_steps,
        why=given.why,
    )


def _publish(store: Store, queue: Queue, wrong: Version, rows: Mapping[str, Sequence[Location]]) -> Version:
    """A patch of the parts that the answers are in."""
    head = store.head(queue.reviews)
    keys = {}
    for part, new in rows.items():
        old = from_table(store.table(head, parts=[part]), Location) if head else []
        keys[part] = _commit(store, queue.reviews, part, [*{row.id: row for row in (*old, *new)}.values()])
    return store.publish(
        queue.reviews,
        keys,
        kind="patch",
        expect_head=head.n if head else 0,
        buckets=store.buckets(wrong.dataset),
        inputs={"rollout": (wrong.dataset, wrong.n)},
        meta={"stage": "review"},
    )


def _commit(store: Store, dataset: str, part: str, rows: Sequence[Location]) -> str:
    """The key of the part's shard: its rows decide it, nothing computes them again."""
    ordered = sorted(rows, key=lambda row: row.id)
    recipe = {"stage": "review", "part": part, "rows": [asdict(row) for row in ordered]}
    shard = store.commit(
        key=digest(recipe),
        dataset=dataset,
        part=part,
        stage="review",
        recipe=recipe,
        rows=to_table(ordered, Location),
        dropped=arrow_schema(Dropped).empty_table(),
        balance=Balance(len(rows), len(rows), {}, 0, len(rows)),
    )
    return shard.key
