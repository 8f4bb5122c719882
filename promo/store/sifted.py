"""What becomes of the rows of a page: which are new, and where they are kept."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np

from promo.batch import Batch, Rejected
from promo.store.statements import COLUMNS


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


def sifted_by(known: dict[int, tuple[float, ...]], batch: Batch) -> Sifted:
    """Return a batch held against what is stored of its ids.

    `known` has their network ability, competence and promoted, by id, as far as they are stored; it
    takes up those of the batch, for an id may come twice in it.
    """
    fresh = np.zeros(len(batch.ids), np.bool_)
    conflicts = []
    for at, (id_, *values) in enumerate(zip(*columns_of(batch), strict=True)):
        if id_ not in known:
            known[id_], fresh[at] = tuple(values), True
        elif known[id_] != tuple(values):
            raw = json.dumps(dict(zip(COLUMNS, (id_, *values), strict=True)))
            reason = f"id {id_} is stored with other values"
            conflicts.append(Rejected(int(batch.positions[at]), reason, raw))
    duplicate = len(batch.ids) - int(fresh.sum()) - len(conflicts)
    return Sifted(batch.take(fresh), duplicate, tuple(conflicts))


def columns_of(batch: Batch) -> list[list[Any]]:
    """Return ids, network ability, competence and promoted of a batch as lists."""
    columns = (batch.ids, batch.network_ability, batch.competence, batch.promoted)
    return [column.tolist() for column in columns]
