"""Length bias of preference pairs: whether the better step is the longer or the shorter one more often than not, and who ends a solution.

A model can learn from such pairs that longer is better (Singhal et al. 2023, arXiv 2310.03716); this only measures it.
"""

from collections.abc import Iterator

from storage.ids import derived_id
from storage.schemas import Evaluation, StepPair
from tasks.maths.jeffreys import jeffreys_interval
from tasks.stage import Made, stage


@stage(scope="dataset")
def pair_lengths(pairs: list[StepPair]) -> Iterator[Made[Evaluation]]:
    """Shares over the pairs with 95 % Jeffreys intervals; lengths in characters without outer white space."""
    lengths = [(len(p.chosen.strip()), len(p.rejected.strip())) for p in pairs]
    whole = [(len(p.full_chosen.strip()), len(p.full_rejected.strip())) for p in pairs]
    held = {
        "chosen longer": [a > b for a, b in lengths],
        "rejected longer": [a < b for a, b in lengths],
        "full chosen longer": [a > b for a, b in whole],
        "full rejected longer": [a < b for a, b in whole],
        "chosen ends": [p.chosen_ends for p in pairs],
        "rejected ends": [p.rejected_ends for p in pairs],
    }
    ids, n = [p.id for p in pairs], len(pairs)
    for metric, values in held.items() if pairs else ():
        low, high = jeffreys_interval(sum(values), n)
        yield Made(Evaluation(derived_id("pair_lengths", metric), metric, sum(values) / n, None, low, high, n, 1, 0), of=ids)
