"""Row balance: every input row of a stage is kept, rejected for a counted reason, or quarantined; nothing is lost without a word."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from storage.errors import UnbalancedError
from storage.ids import canonical


@dataclass(frozen=True, slots=True)
class Balance:
    """What became of the input rows: each is kept (parent of an output row), rejected or quarantined. Counts."""

    rows_in: int
    kept: int
    rejected: Mapping[str, int]
    quarantined: int
    rows_out: int

    def check(self) -> None:
        """Raises UnbalancedError unless rows_in = kept + all rejected + quarantined."""
        rejected = sum(self.rejected.values())
        if self.rows_in != self.kept + rejected + self.quarantined:
            raise UnbalancedError(
                f"{self.rows_in} rows in, but {self.kept} kept + {rejected} rejected {dict(self.rejected)} + {self.quarantined} "
                f"quarantined = {self.kept + rejected + self.quarantined}: the stage lost or doubled input rows"
            )
        if min(self.rows_in, self.kept, self.quarantined, self.rows_out, *self.rejected.values()) < 0:
            raise UnbalancedError(f"negative count in {self}")

    def to_json(self) -> str:
        return canonical(asdict(self)).decode()

    @staticmethod
    def from_json(text: str) -> Balance:
        return Balance(**json.loads(text))

    @staticmethod
    def total(balances: Sequence[Balance]) -> Balance:
        """The sum over shards."""
        rejected: dict[str, int] = {}
        for balance in balances:
            for reason, count in balance.rejected.items():
                rejected[reason] = rejected.get(reason, 0) + count
        return Balance(
            sum(b.rows_in for b in balances),
            sum(b.kept for b in balances),
            dict(sorted(rejected.items())),
            sum(b.quarantined for b in balances),
            sum(b.rows_out for b in balances),
        )
