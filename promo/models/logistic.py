"""Logistic regression that needs no learning rate: renewable, with standard errors, as an expert.

Everything is estimated on the scale of the first ten rows and told on that of the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri

from promo.batch import Batch
from promo.models import anytime
from promo.models.renewable import Renewable
from promo.models.results import NAN, Coefficient, Metric, ModelState, as_json
from promo.models.scores import Count, bounded
from promo.models.standard import Standard
from promo.models.symmetric import packed, unpacked

Floats = NDArray[np.float64]
_SPREAD = 3.0  # of the prior: regressors are as much larger, since that of `Renewable` is I

# A term is a product of two of (1, network ability, competence), by their positions.
_LINEAR = {(0, 0): "intercept", (0, 1): "network_ability", (0, 2): "competence"}
_QUADRATIC = _LINEAR | {
    (1, 1): "network_ability^2",
    (1, 2): "network_ability:competence",
    (2, 2): "competence^2",
}


class _State(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    version: int
    learned: Count
    standard: Standard
    beta: list[float]
    curvature: list[list[float]]
    third: list[float] | None = None  # see `packed`; None where it is 0
    parts: Count = 0


class RenewableLogistic:
    """P(promoted) from competence and network ability, every row used once and forgotten.

    Before any row β is 0 and its curvature J₀ = I, on regressors in thirds of a standard deviation
    of the first ten rows: a normal prior of mean 0 and standard deviation 3 for the effect of one.
    Worth less than a row, it keeps estimates finite where the rows can be told apart without error.
    In standard deviations themselves J₀ = I would do as well where slopes are about 1, but not in a
    steep world: in `threshold`, of slopes of 10, its 95% intervals would hold a third of the time
    after 10,000 rows, where these hold nine times in ten.

    The third derivative is kept (see `Renewable`): where rows are of one kind, pages of ten lead to
    where all rows at once would, within hundredths of a standard error, in such a world within one.

    Parameters
    ----------
    quadratic
        Learn the squares and the product of the two as well.
    alpha, g
        Of the intervals; to be fixed before the stream (see `promo.models.anytime`).

    References
    ----------
    Luo, Song (2020). Renewable estimation and incremental inference in generalized linear models
    with streaming data sets. Journal of the Royal Statistical Society B 82, 69-97.

    Examples
    --------
    >>> model = RenewableLogistic()
    >>> model.learn(Batch.of(range(12), [0, 1] * 6, [False, True] * 3 + [True] * 6))
    >>> model.predict_proba(Batch.of([0, 11], [0, 1], [False, True])).round(2).tolist()
    [0.02, 1.0]
    """

    def __init__(
        self, quadratic: bool = False, alpha: float = anytime.ALPHA, g: float = anytime.G
    ) -> None:
        self.name = "renewable-logistic-quadratic" if quadratic else "renewable-logistic"
        self.alpha, self.g = anytime.check_level(alpha, g)
        self._terms = _QUADRATIC if quadratic else _LINEAR
        self._left, self._right = np.array(list(self._terms)).T
        self._standard, self._learned = Standard(), 0
        self._model = Renewable(np.ones((1, len(self._terms)), np.bool_), cubic=True)
        self.parts = 0  # how many batches were added up in it that had been learned `alone`
        self.predicted: Floats = np.empty(0)

    def learn(self, batch: Batch) -> None:
        """Predict the batch by the model as it is, then learn it as one."""
        x, y = self._design(batch), batch.promoted
        self.predicted = self._chances(x)
        if not self._standard.fixed:
            if (rows := self._standard.admit(batch)) is None:
                return
            x, y = self._products(rows[0]), rows[1]
        if len(y):
            self._model.learn(x, y)
            self._learned += len(y)

    def predict_proba(self, batch: Batch) -> Floats:
        """Return P(promoted) of every row, shape (n,), in (0, 1); one half before ten rows."""
        return self._chances(self._design(batch))

    def interval_proba(self, batch: Batch) -> Floats:
        """Return the ends of the interval of P(promoted) for one look, shape (2, n).

        Wald's, of level 1 - alpha, on the log odds; from 0 to 1 before ten rows.
        """
        if not self._standard.fixed:
            return np.repeat([[0.0], [1.0]], len(batch.ids), axis=1)
        x = self._design(batch)
        odds = self._model.log_odds(x)[0]
        reach = ndtri(1 - self.alpha / 2) * np.sqrt(((x @ self._covariance()) * x).sum(axis=1))
        ends: Floats = expit(np.array([odds - reach, odds + reach]))
        return ends

    def _chances(self, x: Floats) -> Floats:
        return bounded(expit(self._model.log_odds(x)[0]))

    def _design(self, batch: Batch) -> Floats:
        return self._products(self._standard.regressors(batch.network_ability, batch.competence))

    def _products(self, x: Floats) -> Floats:
        return _SPREAD * (x if len(self._terms) == 3 else x[:, self._left] * x[:, self._right])

    # -- what it has found ------------------------------------------------------------------

    def coefficients(self) -> list[Coefficient]:
        """Return every term on the scale of the data, with Wald's z and both kinds of intervals.

        NaN before ten rows, and what leaves the range of a double. The interval for all looks
        holds in the limit of many rows.
        """
        if not self._standard.fixed:
            return [Coefficient(self.name, term, NAN) for term in self._terms.values()]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            back = self._back()
            estimates = back @ self._model.beta[0]
            errors = np.sqrt(((back @ self._covariance()) * back).sum(axis=1))
            z = estimates / errors
            radius = errors * ndtri(1 - self.alpha / 2)
            av_radius = errors * anytime.asymptotic_radius(self._learned, self.alpha, self.g)
            av_p_values = anytime.asymptotic_p_value(z, self._learned, self.g)
            columns = np.array(
                [
                    *(estimates, errors, z, 2 * ndtr(-abs(z)), estimates - radius),
                    *(estimates + radius, av_p_values, estimates - av_radius),
                    estimates + av_radius,
                ]
            )
        values = np.where(np.isfinite(columns), columns, NAN).T.tolist()
        terms = zip(self._terms.values(), values, strict=True)
        return [Coefficient(self.name, term, *row) for term, row in terms]

    def _back(self) -> Floats:
        """Return the matrix, shape (k, k), from coefficients on the scale to those of the data.

        On the scale a variable is a polynomial of degree one in the data, so a product of two is
        the product of their polynomials.
        """
        (a, b), (s, t) = self._standard.centre, self._standard.scale
        each = np.array([[1.0, -a / s, -b / t], [0.0, 1 / s, 0.0], [0.0, 0.0, 1 / t]])
        p, q, i, j = self._left[:, None], self._right[:, None], self._left, self._right
        back: Floats = each[p, i] * each[q, j] + (p != q) * each[q, i] * each[p, j]
        return _SPREAD * back

    def _covariance(self) -> Floats:
        curvature = self._model.curvature[0]
        size = np.sqrt(curvature.diagonal())
        size = size[:, None] * size
        ridge = 1e-12 * np.eye(len(size))  # keeps what is singular by rounding invertible
        covariance: Floats = np.linalg.inv(curvature / size + ridge) / size
        return covariance

    def metrics(self) -> list[Metric]:
        """Return none: how well it predicts is for who compares it with others to say."""
        return []

    # -- two streams ------------------------------------------------------------------------

    def __add__(self, other: RenewableLogistic) -> RenewableLogistic:
        """Return the model of two streams that share no row.

        See `Renewable.__add__`. What a sum leaves out is small against the standard error once both
        have some hundred rows.
        """
        if self.name != other.name:
            raise ValueError(f"cannot add {other.name} to {self.name}")
        if not other._standard.fixed:
            return self._copy()._with(other._standard.waiting)
        if not self._standard.fixed:
            return other._copy()._with(self._standard.waiting)
        merged, its = copy(self), other._model
        if other._standard != self._standard:
            home: Any = np.linalg.solve(other._back(), self._back())
            its = its.moved(home)
        merged._model = self._model + its
        merged._learned += other._learned
        merged.parts += other.parts
        return merged

    def become(self, other: RenewableLogistic) -> None:
        """Know what another one knows, which is not used after that."""
        self._standard, self._learned, self._model = other._standard, other._learned, other._model
        self.parts = other.parts

    def alone(self, batch: Batch) -> tuple[RenewableLogistic, float]:
        """Return what a batch, of at least one row, says by itself, for adding up by the dozen.

        It is on the same scale. With it comes by how many nats it is wrong (`Renewable.misfit`).
        """
        twin, x = self.fresh(), self._design(batch)
        twin._model.learn_part(x, batch.promoted)
        twin._learned, twin.parts = len(x), 1
        return twin, float(twin._model.misfit(x, batch.promoted)[0])

    @property
    def rows(self) -> int:
        """How many it has been given."""
        return self._learned + len(self._standard.waiting)

    def fresh(self) -> RenewableLogistic:
        """Return a model of no rows on the same scale; it must be fixed."""
        twin = RenewableLogistic(len(self._terms) > 3, self.alpha, self.g)
        twin._standard = self._standard
        return twin

    def _copy(self) -> RenewableLogistic:
        twin = RenewableLogistic(len(self._terms) > 3, self.alpha, self.g)
        twin.restore({state.name: state.state for state in self.states()})
        return twin

    def _with(self, rows: list[tuple[float, float, bool]]) -> RenewableLogistic:
        if rows:
            self.learn(Batch.of(*zip(*rows, strict=True)))
        return self

    # -- from day to day --------------------------------------------------------------------

    def states(self) -> list[ModelState]:
        """Return the scale, the estimate, its curvature and the third derivative."""
        beta, curvature = self._model.beta[0].tolist(), self._model.curvature[0].tolist()
        third = packed(self._model.third)[0].tolist() if self._model.third.any() else None
        state = _State(1, self._learned, self._standard, beta, curvature, third, self.parts)
        return [ModelState(self.name, self.rows, as_json(state))]

    def restore(self, states: Mapping[str, str]) -> None:
        """Take over a state as `states` gave it; ValueError if it is none."""
        state = msgspec.json.decode(states[self.name], type=_State)
        if state.version != 1 or state.standard.fixed != (state.learned > 0):
            raise ValueError(f"not a {self.name}, version 1: {states[self.name][:200]}")
        third = None if state.third is None else unpacked(np.array([state.third]), len(self._terms))
        self._model.restore(np.array([state.beta]), np.array([state.curvature]), third)
        self._standard, self._learned, self.parts = state.standard, state.learned, state.parts
