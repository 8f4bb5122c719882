"""The best possible prediction, in a world that is known: the floor under every log loss."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from promo.batch import Batch
from promo.models.results import Coefficient, Metric, ModelState, as_json
from promo.models.scores import Count
from promo.world import WORLDS, World


class _State(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    rows: Count
    next_id: Count | None = None  # states of before 29 November 2026 had none


class BestPossible:
    """The true P(promoted | abilities), as an expert that has nothing to learn.

    A row of nobody, with an id below 0, is asked about as if it were the next that comes.

    Parameters
    ----------
    world
        Where the rows come from; their ids are the numbers of its employees.
    """

    name = "best-possible"

    def __init__(self, world: World) -> None:
        self._world, self._rows, self._next_id = world, 0, 0
        self.predicted: NDArray[np.float64] = np.empty(0)

    def learn(self, batch: Batch) -> None:
        """Predict the batch."""
        self.predicted = self.predict_proba(batch)
        self.add(len(batch.ids))
        self._next_id = max(self._next_id, int(batch.ids.max(initial=-1)) + 1)

    def add(self, rows: int) -> None:
        """Take note of rows that were predicted elsewhere."""
        self._rows += rows
        self._next_id = max(self._next_id, self._rows)

    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        """Return P(promoted) of every row, shape (n,), in [0, 1]."""
        ids = np.where(batch.ids < 0, self._next_id, batch.ids)
        return self._world.bayes_proba(batch.network_ability, batch.competence, ids)

    def coefficients(self) -> list[Coefficient]:
        """Return none."""
        return []

    def metrics(self) -> list[Metric]:
        """Return none: how far others are above it is for the board to say."""
        return []

    def states(self) -> list[ModelState]:
        """Return how many rows came."""
        state = as_json(_State(1, self._rows, self._next_id))
        return [ModelState(self.name, self._rows, state)]

    def restore(self, states: Mapping[str, str]) -> None:
        """Take over a state as `states` gave it; ValueError if it is none."""
        state = msgspec.json.decode(states[self.name], type=_State)
        if state.version != 1:
            raise ValueError(f"state of {self.name} has version {state.version}, expected 1")
        self._rows = state.rows
        self._next_id = state.rows if state.next_id is None else state.next_id


def known_world(source: str) -> World | None:
    """Return the world that a source says it comes from, None where it does not say.

    Examples
    --------
    >>> known_world("world:collider?rows=100&seed=7").name, known_world("http://127.0.0.1:5000")
    ('collider', None)
    """
    kind, _, rest = source.partition(":")
    return WORLDS.get(rest.partition("?")[0]) if kind == "world" else None
