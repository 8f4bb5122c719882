"""Logistic regression by stochastic gradient descent: river's, with its state as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from river import linear_model, optim, preprocessing, utils

from promo.batch import MAX_ABS, Batch, Number
from promo.models.results import Coefficient, Metric, ModelState, check_learning_rate
from promo.models.scores import Count, Scores

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
        allowed = {FEATURES} if self.scores.rows else {FEATURES, ()}
        if not {tuple(part) for part in (self.weights, self.means, self.variances)} <= allowed:
            raise ValueError(f"expected weights, means and variances of {FEATURES}")


class SGDLogistic:
    """P(promoted) from competence and network ability: StandardScaler | LogisticRegression.

    Plain stochastic gradient descent on the log loss, one row at a time, at a constant learning
    rate that may be changed while it runs. One rate serves the weights and the intercept.

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
        self._scaler: Any = preprocessing.StandardScaler()  # river's types are incomplete
        self._regression: Any = linear_model.LogisticRegression(
            optim.SGD(learning_rate), intercept_lr=learning_rate
        )
        self.learning_rate = learning_rate
        self.predicted: NDArray[np.float64] = np.empty(0)  # of the last page, before it was learned

    @property
    def learning_rate(self) -> float:
        """Step size on the standardised scale.

        Raises
        ------
        ValueError
            On setting what is not in (0, 1e6].
        """
        return float(self._regression.optimizer.lr.learning_rate)

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        rate = check_learning_rate(value)
        self._regression.optimizer.lr.learning_rate = rate
        self._regression.intercept_lr.learning_rate = rate

    def learn(self, batch: Batch) -> None:
        """Predict the batch by the model as it is, score, then learn row by row."""
        outcomes = batch.promoted.tolist()
        predicted = self._predict(batch)
        self.predicted = np.array(predicted, np.float64)
        self.scores.update(predicted, outcomes)
        scaler, regression = self._scaler, self._regression
        for (competence, ability), y in zip(_pairs(batch), outcomes, strict=True):
            x = {"competence": competence, "network_ability": ability}
            scaler.learn_one(x)
            regression.learn_one(scaler.transform_one(x), y)

    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        """Return P(promoted) of every row, shape (n,), in [0, 1]."""
        return np.array(self._predict(batch), np.float64)

    def _predict(self, batch: Batch) -> list[float]:
        # To the bit what transform_one and predict_proba_one return, without a dict a row.
        intercept, (a, b) = self._regression.intercept, map(self._contributions, FEATURES)
        sigmoid = utils.math.sigmoid
        return [sigmoid(a(x) + b(z) + intercept) for x, z in _pairs(batch)]

    def _contributions(self, name: str) -> Callable[[float], float]:
        """Return the function from a feature's value to its part of the log odds."""
        weight = self._regression.weights.get(name, 0.0)
        mean, variance = (part.get(name, 0.0) for part in (self._scaler.means, self._scaler.vars))
        deviation = variance**0.5
        return lambda x: weight * ((x - mean) / deviation) if variance else 0.0

    def coefficients(self) -> list[Coefficient]:
        """Return intercept and weights on the scale of the data; SGD has no standard errors."""
        weights = self._regression.weights
        slopes = {}
        for name in FEATURES:
            variance = self._scaler.vars.get(name, 0.0)
            slopes[name] = weights.get(name, 0.0) / variance**0.5 if variance else 0.0
        means = self._scaler.means
        intercept = self._regression.intercept - sum(
            slope * means.get(name, 0.0) for name, slope in slopes.items()
        )
        terms = {"intercept": intercept, **slopes}
        return [Coefficient(self.name, term, value) for term, value in terms.items()]

    def metrics(self) -> list[Metric]:
        """Return rows, log loss, Brier score, accuracy and ROC AUC, by progressive validation."""
        names = ("rows", "log_loss", "brier", "accuracy", "roc_auc")
        return [Metric(self.name, name, float(getattr(self.scores, name))) for name in names]

    def states(self) -> list[ModelState]:
        """Return weights, scaler, learning rate and scores."""
        scaler, regression = self._scaler, self._regression
        state = _State(
            1,
            self.learning_rate,
            regression.optimizer.n_iterations,
            float(regression.intercept),
            dict(regression.weights),
            dict(scaler.means),
            dict(scaler.vars),
            self.scores,
        )
        return [ModelState(self.name, self.scores.rows, msgspec.json.encode(state).decode())]

    def restore(self, states: Mapping[str, str]) -> None:
        """Take over a state as `states` gave it; ValueError if it is none."""
        state = msgspec.json.decode(states[self.name], type=_State)
        if state.version != 1:
            raise ValueError(f"state of {self.name} has version {state.version}, expected 1")
        fresh = SGDLogistic(state.learning_rate)
        regression, scaler = fresh._regression, fresh._scaler
        regression._weights = utils.VectorDict(state.weights)
        regression.intercept = state.intercept
        regression.optimizer.n_iterations = state.iterations
        scaler.counts.update(dict.fromkeys(state.means, state.scores.rows))
        scaler.means.update(state.means)
        scaler.vars.update(state.variances)
        fresh.scores = state.scores
        self.__dict__.update(fresh.__dict__)


def _pairs(batch: Batch) -> Iterator[tuple[float, float]]:
    """Yield the features of each row, in the order of `FEATURES`."""
    return zip(batch.competence.tolist(), batch.network_ability.tolist(), strict=True)
