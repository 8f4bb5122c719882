"""A mixture of experts: predicts as well as the best of them, without knowing which that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, fsum, log
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from promo.batch import Batch
from promo.models.experts import Expert
from promo.models.results import Coefficient, Metric, ModelState, as_json
from promo.models.scores import Count, bounded

SHARE = 1e-4  # of every weight, handed round at each row: the best may change in 10,000 rows
Floats = NDArray[np.float64]
_LogWeight = Annotated[float, msgspec.Meta(ge=-1e18, le=1e-6)]


class _State(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    rows: Count
    log_weights: dict[str, _LogWeight]


class Mixture:
    """The experts' predictions, weighted by the probability they gave to what came before.

    Weights change from row to row; the predictions that they weigh are those that the experts made
    of the whole page, before any of them learned it. Without share, over any rows, the log loss is
    in total at most log K nats above that of the best of K experts.

    Parameters
    ----------
    experts
        At least one; they learn every page before the mixture does.
    share
        Part of all weight that is handed out evenly after each row, in [0, 1): with it the mixture
        follows when another expert becomes the best one, for at most -log(1 - share) nats a row.

    References
    ----------
    Vovk (1990). Aggregating strategies. Computational Learning Theory, 371-383.
    Herbster, Warmuth (1998). Tracking the best expert. Machine Learning 32, 151-178.
    """

    name = "mixture"

    def __init__(self, experts: Sequence[Expert], share: float = SHARE) -> None:
        self._experts, self.share = tuple(experts), share
        self._names = [expert.name for expert in self._experts]
        self._log_weights = [-log(len(self._names))] * len(self._names)
        self._rows = 0
        self.predicted: Floats = np.empty(0)

    @property
    def weights(self) -> dict[str, float]:
        """Of each expert in the next row's prediction, by name; their sum is 1."""
        return dict(zip(self._names, map(exp, self._log_weights), strict=True))

    def learn(self, batch: Batch) -> None:
        """Predict each row from the experts' predictions of it, then weigh the experts by it."""
        chances = bounded(np.array([expert.predicted for expert in self._experts]))
        likely = np.where(batch.promoted, chances, 1 - chances)
        weights, self._log_weights = mix(np.log(likely), self._log_weights, self.share)
        self.predicted = bounded((weights * chances).sum(axis=0))
        self._rows += len(batch.ids)

    def predict_proba(self, batch: Batch) -> Floats:
        """Return P(promoted) of every row by weights and experts as they are, shape (n,)."""
        chances = np.array([expert.predict_proba(batch) for expert in self._experts])
        return bounded(np.exp(self._log_weights) @ chances)

    def coefficients(self) -> list[Coefficient]:
        """Return none."""
        return []

    def metrics(self) -> list[Metric]:
        """Return the weight of every expert in the next prediction, in 0..1."""
        return [Metric(self.name, f"weight of {name}", w) for name, w in self.weights.items()]

    def states(self) -> list[ModelState]:
        """Return the logarithms of the weights."""
        state = _State(1, self._rows, dict(zip(self._names, self._log_weights, strict=True)))
        return [ModelState(self.name, self._rows, as_json(state))]

    def restore(self, states: Mapping[str, str]) -> None:
        """Take over a state as `states` gave it; ValueError if it is none."""
        state = msgspec.json.decode(states[self.name], type=_State)
        weights = [*state.log_weights.values()]
        if (
            state.version != 1
            or [*state.log_weights] != self._names
            or fsum(map(exp, weights)) < 0.9
        ):
            raise ValueError(
                f"not a mixture of {self._names}, version 1: {states[self.name][:200]}"
            )
        self._log_weights, self._rows = weights, state.rows


def mix(
    log_likelihoods: Floats, log_weights: Sequence[float], share: float = 0.0
) -> tuple[Floats, list[float]]:
    """Return the weights that each row is predicted with, shape (K, n), and the logs after it.

    Parameters
    ----------
    log_likelihoods
        Shape (K, n): of what happened, as each expert saw it before.
    log_weights
        Shape (K,), before the first row.
    share
        See `Mixture`.

    Examples
    --------
    >>> weights, after = mix(np.log([[0.9, 0.9], [0.1, 0.1]]), np.log([0.5, 0.5]))
    >>> weights.round(3).tolist(), np.exp(after).round(3).tolist()
    ([[0.5, 0.9], [0.5, 0.1]], [0.988, 0.012])
    """
    now, used = list(log_weights), []
    keep, each = 1 - share, share / len(now)
    for row in log_likelihoods.T.tolist():
        used.append(now)
        joint = [w + likely for w, likely in zip(now, row, strict=True)]
        top = max(joint)
        total = top + log(sum([exp(j - top) for j in joint]))
        if share:
            now = [log(keep * exp(j - total) + each) for j in joint]
        else:
            now = [j - total for j in joint]
    weights = np.exp(np.array(used)).reshape(-1, len(now)).T
    return weights, now
