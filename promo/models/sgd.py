"""Logistic regression by stochastic gradient descent: river's arithmetic, its state as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import exp, inf
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from promo.batch import MAX_ABS, Batch, Number
from promo.models.results import Coefficient, Metric, ModelState, as_json, check_learning_rate
from promo.models.scores import Count, Scores, bounded

FEATURES = ("competence", "network_ability")

Weight = Annotated[float, msgspec.Meta(ge=-1e40, le=1e40)]
Variance = Annotated[float, msgspec.Meta(ge=0, le=4 * MAX_ABS**2)]


class _State(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    learning_rate: float
    iterations: Count
    intercept: Weight
    weights: dict[str, Weight]
    means: dict[str, Number]
    variances: dict[str, Variance]
    scores: Scores

    def __post_init__(self) -> None:
        expected = FEATURES if self.scores.rows else ()
        if any(tuple(part) != expected for part in (self.weights, self.means, self.variances)):
            raise ValueError(f"expected weights, means and variances of {FEATURES}")
        if self.iterations != self.scores.rows:
            raise ValueError(f"expected a step for each of {self.scores.rows} rows")


class SGDLogistic:
    """P(promoted) from competence and network ability: StandardScaler | LogisticRegression.

    Plain stochastic gradient descent on the log loss, one row at a time, at a constant learning
    rate that may be changed while it runs. One rate serves the weights and the intercept. What
    river's `learn_one` and `predict_proba_one` work out, this does to the last bit, without a
    dictionary for every row.

    Parameters
    ----------
    learning_rate
        Step size on the standardised scale, in (0, 1e6].

    References
    ----------
    Robbins, Monro (1951). A stochastic approximation method. The Annals of Mathematical
    Statistics 22, 400-407.
    """

    name = "sgd-logistic"

    def __init__(self, learning_rate: float = 0.01) -> None:
        self.scores = Scores()
        self.learning_rate = learning_rate
        self.predicted: NDArray[np.float64] = np.empty(0)  # of the last page, before it was learned
        self._rows = 0
        self._intercept = 0.0
        self._weights = self._means = self._variances = (0.0, 0.0)  # of `FEATURES`

    @property
    def learning_rate(self) -> float:
        """Step size on the standardised scale.

        Raises
        ------
        ValueError
            On setting what is not in (0, 1e6].
        """
        return self._rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._rate = check_learning_rate(value)

    def learn(self, batch: Batch) -> None:
        """Predict the batch by the model as it is, score, then learn row by row."""
        outcomes = batch.promoted.tolist()
        predicted = self._predict(batch)
        self.predicted = bounded(np.array(predicted, np.float64))
        self.scores.update(predicted, outcomes)
        self._descend(batch, outcomes)

    def _descend(self, batch: Batch, outcomes: list[bool]) -> None:
        rows, rate, intercept = self._rows, self._rate, self._intercept
        (a, b), (mean_x, mean_z), (var_x, var_z) = self._weights, self._means, self._variances
        for (x, z), y in zip(_pairs(batch), outcomes, strict=True):
            rows += 1
            ahead_x, ahead_z = x - mean_x, z - mean_z
            mean_x += ahead_x / rows
            mean_z += ahead_z / rows
            var_x += (ahead_x * (x - mean_x) - var_x) / rows
            var_z += (ahead_z * (z - mean_z) - var_z) / rows
            u = (x - mean_x) / var_x**0.5 if var_x else 0.0
            v = (z - mean_z) / var_z**0.5 if var_z else 0.0
            slope = _slope(a * u + b * v + intercept, y)
            intercept -= rate * slope
            a -= rate * (u * slope)
            b -= rate * (v * slope)
        self._rows, self._intercept = rows, intercept
        self._weights, self._means, self._variances = (a, b), (mean_x, mean_z), (var_x, var_z)

    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        """Return P(promoted) of every row, shape (n,), in (0, 1)."""
        return bounded(np.array(self._predict(batch), np.float64))

    def _predict(self, batch: Batch) -> list[float]:
        intercept, (a, b) = self._intercept, self._weights
        (mean_x, mean_z), (s, t) = self._means, (v**0.5 or inf for v in self._variances)
        return [
            _sigmoid(a * ((x - mean_x) / s) + b * ((z - mean_z) / t) + intercept)
            for x, z in _pairs(batch)
        ]

    def coefficients(self) -> list[Coefficient]:
        """Return intercept and weights on the scale of the data; SGD has no standard errors."""
        slopes = [
            weight / variance**0.5 if variance else 0.0
            for weight, variance in zip(self._weights, self._variances, strict=True)
        ]
        shift = sum(slope * mean for slope, mean in zip(slopes, self._means, strict=True))
        terms = zip(("intercept", *FEATURES), (self._intercept - shift, *slopes), strict=True)
        return [Coefficient(self.name, term, value) for term, value in terms]

    def metrics(self) -> list[Metric]:
        """Return rows, log loss, Brier score, accuracy and ROC AUC, by progressive validation."""
        names = ("rows", "log_loss", "brier", "accuracy", "roc_auc")
        return [Metric(self.name, name, float(getattr(self.scores, name))) for name in names]

    def states(self) -> list[ModelState]:
        """Return weights, scaler, learning rate and scores."""
        weights, means, variances = (
            dict(zip(FEATURES, part, strict=True)) if self._rows else {}
            for part in (self._weights, self._means, self._variances)
        )
        state = _State(
            1, self._rate, self._rows, self._intercept, weights, means, variances, self.scores
        )
        return [ModelState(self.name, self._rows, as_json(state))]

    def restore(self, states: Mapping[str, str]) -> None:
        """Take over a state as `states` gave it; ValueError if it is none."""
        state = msgspec.json.decode(states[self.name], type=_State)
        if state.version != 1:
            raise ValueError(f"state of {self.name} has version {state.version}, expected 1")
        fresh = SGDLogistic(state.learning_rate)
        fresh.scores, fresh._rows, fresh._intercept = (
            state.scores,
            state.iterations,
            state.intercept,
        )
        if state.iterations:
            fresh._weights, fresh._means, fresh._variances = (
                (part[FEATURES[0]], part[FEATURES[1]])
                for part in (state.weights, state.means, state.variances)
            )
        self.__dict__.update(fresh.__dict__)


def _slope(log_odds: float, outcome: bool) -> float:
    """Return the derivative of the log loss by the log odds, as river's `optim.losses.Log`."""
    sign = 1.0 if outcome else -1.0
    z = log_odds * sign
    if z > 18.0:
        return -sign * exp(-z)
    if z < -18.0:
        return -sign
    return -sign / (exp(z) + 1.0)


def _sigmoid(log_odds: float) -> float:
    """Return the probability, as river's `utils.math.sigmoid`."""
    if log_odds < -30:
        return 0.0
    if log_odds > 30:
        return 1.0
    return 1 / (1 + exp(-log_odds))


def _pairs(batch: Batch) -> Iterator[tuple[float, float]]:
    """Yield the features of each row, in the order of `FEATURES`."""
    return zip(batch.competence.tolist(), batch.network_ability.tolist(), strict=True)
