"""The five regressions of network ability, all from one accumulator per group of `promoted`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from scipy.special import stdtr, stdtrit

from promo.batch import MAX_ABS, Batch
from promo.models.least_squares import Fit, least_squares
from promo.models.moments import Moments, with_group
from promo.models.results import NAN, Coefficient, Metric, ModelState

MOMENTS = "moments"
_MAX_ROWS = 2**53  # beyond it, counting in floating point is not exact
_MAX_SCATTER = _MAX_ROWS * 4 * MAX_ABS**2
_VARIABLES = ("network_ability", "competence", "promoted")


@dataclass(frozen=True, slots=True)
class Formula:
    """Network ability on some regressors, in all rows or where promoted is `given`."""

    name: str
    regressors: tuple[str, ...]
    given: int | None = None

    @property
    def columns(self) -> list[int]:
        """Positions of the regressors among network ability, competence and promoted."""
        return [_VARIABLES.index(name) for name in self.regressors]

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients, in order."""
        return ("intercept", *self.regressors)


FORMULAS = (
    Formula("network_ability ~ competence", ("competence",)),
    Formula("network_ability ~ competence + promoted", ("competence", "promoted")),
    Formula("network_ability ~ promoted", ("promoted",)),
    Formula("network_ability ~ competence | promoted=1", ("competence",), given=1),
    Formula("network_ability ~ competence | promoted=0", ("competence",), given=0),
)

_COLUMNS = [formula.columns for formula in FORMULAS]
_TERMS = [(formula.name, term) for formula in FORMULAS for term in formula.terms]
_FIT = np.array([at for at, formula in enumerate(FORMULAS) for _ in formula.terms])  # of a term


class _State(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    groups: tuple[Moments, Moments]  # where promoted is 0, and 1


class Regressions:
    """Least squares of network ability in one pass: every row is used once and forgotten.

    The state is the moments of (network ability, competence) where promoted is 0 and where it is
    1. All estimates follow from it, at any page.

    Parameters
    ----------
    alpha
        Intervals have level 1 - alpha, in (0, 1).
    """

    def __init__(self, alpha: float = 0.05) -> None:
        self.alpha = alpha
        empty = Moments.of(np.empty((2, 0)))
        self._groups = (empty, empty)
        self._fits: tuple[Fit, ...] | None = None

    def learn(self, batch: Batch) -> None:
        """Add the rows of a batch to the moments of their group."""
        if not len(batch.ids):
            return
        rows = np.array([batch.network_ability, batch.competence]).T
        # Each group about its own first row, so that a wild row costs the other group no digits.
        zeros, ones = self._groups
        self._groups = (
            zeros + Moments.of(rows[~batch.promoted].T, zeros.origin if zeros.n else None),
            ones + Moments.of(rows[batch.promoted].T, ones.origin if ones.n else None),
        )
        self._fits = None

    @property
    def fits(self) -> tuple[Fit, ...]:
        """One fit for each of `FORMULAS`."""
        if self._fits is None:
            together = with_group(*self._groups)
            self._fits = tuple(
                least_squares(
                    together if f.given is None else self._groups[f.given],
                    0,
                    columns,
                )
                for f, columns in zip(FORMULAS, _COLUMNS, strict=True)
            )
        return self._fits

    def coefficients(self) -> list[Coefficient]:
        """Return every term of every formula, with t statistics and fixed-n intervals.

        p-values are two-sided and intervals central, from Student's t with n - k degrees of
        freedom.
        """
        estimates = np.array([value for fit in self.fits for value in fit.estimates])
        std_errors = np.array([value for fit in self.fits for value in fit.std_errors])
        df = np.array([fit.df_resid or NAN for fit in self.fits])
        statistics = estimates / std_errors
        p_values = 2 * stdtr(df[_FIT], -abs(statistics))
        radius = stdtrit(df, 1 - self.alpha / 2)[_FIT] * std_errors
        low, high = estimates - radius, estimates + radius
        columns = (estimates, std_errors, statistics, p_values, low, high)
        values = zip(*(column.tolist() for column in columns), strict=True)
        return [Coefficient(*names, *row) for names, row in zip(_TERMS, values, strict=True)]

    def metrics(self) -> list[Metric]:
        """Return rows, R², F and the residual standard error of every formula."""
        return [
            Metric(formula.name, name, value)
            for formula, fit in zip(FORMULAS, self.fits, strict=True)
            for name, value in (
                ("rows", float(fit.n)),
                ("r_squared", fit.r_squared),
                ("f_statistic", fit.f_statistic),
                ("residual_std_error", fit.residual_std_error),
            )
        ]

    def states(self) -> list[ModelState]:
        """Return the moments, and for each formula what they amount to."""
        rows = sum(group.n for group in self._groups)
        moments = ModelState(MOMENTS, rows, _encode(_State(1, self._groups)))
        return [moments, *self._summaries()]

    def _summaries(self) -> Iterable[ModelState]:
        for formula, fit in zip(FORMULAS, self.fits, strict=True):
            summary = {"from": MOMENTS, "df_resid": fit.df_resid, "undefined": fit.reason or None}
            yield ModelState(formula.name, fit.n, _encode(summary))

    def restore(self, states: Mapping[str, str]) -> None:
        """Take over moments as `states` gave them; ValueError if they are none."""
        state = msgspec.json.decode(states[MOMENTS], type=_State)
        if state.version != 1 or not all(map(_plausible, state.groups)):
            raise ValueError(
                f"not the moments of two variables, version 1: {states[MOMENTS][:200]}"
            )
        self._groups, self._fits = state.groups, None


def _plausible(group: Moments) -> bool:
    """Whether these can be the moments of two variables within ±1e100."""
    parts = (group.origin, group.offset, *group.scatter)
    return (
        {len(part) for part in (*parts, group.scatter)} == {2}
        and 0 <= group.n <= _MAX_ROWS
        and all(abs(value) <= _MAX_SCATTER for part in parts for value in part)
    )


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()
