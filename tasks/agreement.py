"""How often locators of the first wrong step decide, and how often two that decide name the same step.

A share over replies with its 95 % Jeffreys interval; it says nothing about who is right.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations

from storage.ids import derived_id
from storage.schemas import Evaluation, Location
from tasks.maths.jeffreys import jeffreys_interval
from tasks.stage import Made, stage


@stage(scope="dataset")
def agreement(symbolic: list[Location], judged: list[Location] | None, sampled: list[Location] | None) -> Iterator[Made[Evaluation]]:
    """`decides LOCATOR` over the replies of the first dataset, then `agree A-B` over those that both decided."""
    said: dict[str, dict[str, int | None]] = {}
    for found in (*symbolic, *(judged or ()), *(sampled or ())):
        decided = said.setdefault(found.locator, {})
        if not found.abstained:
            decided[found.rollout_id] = found.first_wrong_step
    ids, replies = [found.id for found in symbolic], {found.rollout_id for found in symbolic}
    for name, decided in sorted(said.items()):
        yield from _share(f"decides {name}", {r: r in decided for r in replies}, 0, ids)
    for a, b in combinations(sorted(said), 2):
        both = said[a].keys() & said[b].keys()
        yield from _share(f"agree {a}-{b}", {r: said[a][r] == said[b][r] for r in both}, len(replies - both), ids)


def _share(metric: str, held: Mapping[str, bool], left_out: int, ids: list[str]) -> Iterator[Made[Evaluation]]:
    """One row, where there is anything to count."""
    n, k = len(held), sum(held.values())
    if n:
        low, high = jeffreys_interval(k, n)
        yield Made(Evaluation(derived_id("agreement", metric), metric, k / n, None, low, high, n, 1, left_out), of=ids)
