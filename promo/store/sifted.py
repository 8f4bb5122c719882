"""What becomes of the rows of a page: which are new, and where they are kept."""

from __future__ import annotations

from typing import Any, NamedTuple

from promo.batch import Batch, Rejected


class Sifted(NamedTuple):
    """A batch held against the rows stored before."""

    fresh: Batch
    duplicate: int
    conflicts: tuple[Rejected, ...]

    def counts(self, batch: Batch) -> tuple[int, int, int, int, int]:
        """Return rows received, inserted, duplicate, conflicting and rejected."""
        inserted, conflicting = len(self.fresh.ids), len(self.conflicts)
        return batch.received, inserted, self.duplicate, conflicting, len(batch.rejected)


class Elsewhere(NamedTuple):
    """The good rows of a page that are kept in another place than `data`.

    Attributes
    ----------
    rows
        How many.
    first_id, last_id
        Of the first and the last of them, None if there are none.
    ascending
        Whether every id is larger than the one before.
    fresh
        The page without them.
    """

    rows: int
    first_id: int | None
    last_id: int | None
    ascending: bool
    fresh: Batch

    @classmethod
    def of(cls, batch: Batch) -> Elsewhere:
        """Tell what there is to tell of a whole batch."""
        first, last = batch.ids[[0, -1]].tolist() if len(batch.ids) else (None, None)
        ascending = bool((batch.ids[1:] > batch.ids[:-1]).all())
        return cls(len(batch.ids), first, last, ascending, batch.bare())

    def counts(self, batch: Batch) -> tuple[int, int, int, int, int]:
        """Return rows received, inserted, duplicate, conflicting and rejected."""
        rejected = len(batch.rejected)
        return self.rows + rejected, self.rows, 0, 0, rejected


def columns_of(batch: Batch) -> list[list[Any]]:
    """Return ids, network ability, competence and promoted of a batch as lists."""
    columns = (batch.ids, batch.network_ability, batch.competence, batch.promoted)
    return [column.tolist() for column in columns]
