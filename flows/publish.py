"""Publish a dataset's shards as its next version: the last act of a stage, and the only one that anybody can see."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal

from flows.graph import Call
from flows.rounds import importing
from flows.session import Session
from flows.shard import ALL
from storage.errors import HeadMoved
from storage.schemas import Mark
from storage.shards import Shard
from storage.versions import Version
from tasks.certificate import CHECKED, certify
from tasks.contamination import ContaminationConfig

Kind = Literal["replace", "patch"]


def scope_of(session: Session, call: Call, shards: Iterable[str]) -> str | None:
    """Prefix of the parts that this run answers for in the call's dataset; None for all of them."""
    if ALL in shards:
        return None
    return f"round={session.round_}/" if importing(call) else session.scope


def publish(
    session: Session, call: Call, shards: dict[str, Shard], base: Version | None, say: Callable[[str], None] = lambda line: None
) -> Version:
    """The version that holds `shards`; the head again where nothing changed. `base` is the head that was there when the run began:
    a backfill that was published since would else be replaced by a run that never read it. `say` is told of parts that stay others'.
    """
    scope, buckets = scope_of(session, call, shards), _buckets(shards)
    shards = {part: shard for part, shard in shards.items() if part.startswith(scope or "")}
    kind: Kind = "patch" if scope else "replace"
    expected = (base.n if base else 0) if kind == "replace" else None
    try:
        return _publish(session, call, shards, kind, scope, expected, buckets)
    except HeadMoved:
        # A backfill published meanwhile. Its parts are newer than what this run read: keep them, put only ours on top.
        ours = _not_overtaken(session, call, shards, base)
        if len(ours) < len(shards):
            theirs = f"{len(shards) - len(ours)} of {len(shards)} parts stay as another run published them since this one began"
            say(f"{session.dataset(call)}: {theirs}; this run goes on with its own: run it again to publish those")
        return _publish(session, call, ours, "patch", None, None, buckets)


def _buckets(shards: Iterable[str]) -> int | None:
    """Parts a round, as every round of a stage's shards has them; None where there are no parts to tell from."""
    return max(Counter(part.split("/")[0] for part in shards).values(), default=None)


def _not_overtaken(session: Session, call: Call, shards: dict[str, Shard], base: Version | None) -> dict[str, Shard]:
    """The parts of ours that nobody else replaced since `base`."""
    head = session.store.head(session.dataset(call))
    before = {s.part: s.shard_key for s in session.store.slots(base)} if base else {}
    now = {s.part: s.shard_key for s in session.store.slots(head)} if head else {}
    return {part: shard for part, shard in shards.items() if now.get(part) in (None, before.get(part), shard.key)}


def _publish(
    session: Session, call: Call, shards: dict[str, Shard], kind: Kind, scope: str | None, expect_head: int | None, buckets: int | None
) -> Version:
    keys = {part: shard.key for part, shard in shards.items()}
    dataset = session.dataset(call)
    meta = {"stage": call.stage.name, "recipe": session.config.recipe, "config": session.config.stage(call.name).identity()}
    if getattr(call.stage.output, "trains", False):
        meta["certificate"] = _certificate(session, call, shards, kind, scope)
    return session.store.publish(
        dataset,
        keys,
        kind=kind,
        scope=scope,
        expect_head=expect_head,
        buckets=buckets,
        inputs={role: (ref.dataset, ref.version.n) for role, ref in call.inputs.items() if ref.version},
        meta=meta,
        run_id=session.run_id,
    )


def _certificate(session: Session, call: Call, shards: dict[str, Shard], kind: Kind, scope: str | None) -> dict[str, Any]:
    """Check the rows that are about to be published, whatever the marks said before."""
    if call.protected is None or call.protected.version is None:
        raise TypeError(f"{session.dataset(call)} is to be trained on: its recipe must say make(..., protected=DATASET)")
    store = session.store
    keys = {part: shard.key for part, shard in shards.items()}
    digest, rows = store.preview(session.dataset(call), keys, kind, scope)
    return certify(rows, digest, store.table(call.protected.version), _rule(session, call), CHECKED[call.stage.output.__name__])


def _rule(session: Session, call: Call) -> ContaminationConfig:
    """The rule that the rows were marked by; the default one where the recipe marks nothing."""
    for ref in call.rows.values():
        config = getattr(session.config.form, ref.dataset.partition(".")[2], None) if ref.row is Mark else None
        if isinstance(config, ContaminationConfig):
            return config
    return ContaminationConfig()
