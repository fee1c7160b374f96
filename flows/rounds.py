"""Rounds: an import writes its own round of a dataset and leaves the others alone; what another round holds is not brought in again."""

import pyarrow as pa
import pyarrow.compute as pc

from flows.graph import Call
from flows.session import Session
from storage.schemas import Dropped, to_table
from tasks.runner import Outcome


def importing(call: Call) -> bool:
    """Such a stage brings rows from outside (files, a generator)."""
    return bool(call.stage.sources) or not call.inputs


def other_rounds(session: Session, call: Call) -> dict[str, str]:
    """part -> object of the dataset's other rounds, for a stage that imports."""
    head = session.store.head(session.dataset(call)) if importing(call) else None
    own = f"round={session.round_}/"
    slots = session.store.slots(head) if head else []
    return {s.part: s.content for s in slots if s.part.startswith("round=") and not s.part.startswith(own) and s.n_rows}


def without_repeats(session: Session, others: dict[str, str], outcome: Outcome) -> Outcome:
    """The outcome less the rows whose ids another round holds; an input row that made nothing else is rejected as a duplicate."""
    taken = {i: part for part, content in others.items() for i in session.read(content, ["id"]).column("id").to_pylist()}
    ids = outcome.rows.column("id").to_pylist()
    if not taken.keys() & set(ids):
        return outcome
    keep = pa.array([i not in taken for i in ids], pa.bool_())
    parents = {parent: [c for c in children if c not in taken] for parent, children in outcome.parents.items()}
    repeats = [
        Dropped(parent, None, "rejected", "duplicate", f"{children[0]} is in {taken[children[0]]}")
        for parent, children in outcome.parents.items()
        if not parents[parent]
    ]
    dropped = pa.concat_tables([outcome.dropped, to_table(repeats, Dropped)]).sort_by("id")
    return Outcome(outcome.rows.filter(pc.equal(keep, True)), dropped, {p: c for p, c in parents.items() if c})
