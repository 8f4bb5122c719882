"""The five regressions of network ability, all from one accumulator per group of `promoted`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import repeat
from math import log, log1p
from typing import Annotated

import msgspec
import numpy as np
from scipy.special import stdtr, stdtrit

from promo.batch import MAX_ABS, Batch
from promo.models import anytime
from promo.models.comoments import CoMoments
from promo.models.graphs import VARIABLES
from promo.models.least_squares import Fit, least_squares
from promo.models.moments import Moments, with_group
from promo.models.results import NAN, Coefficient, Metric, ModelState, as_json, from_columns
from promo.models.robust import hc1_std_errors

MOMENTS = "moments"
_MAX_ROWS = 2**53  # beyond it, counting in floating point is not exact
_MAX_SCATTER = _MAX_ROWS * 4 * MAX_ABS**2


@dataclass(frozen=True, slots=True)
class Formula:
    """Network ability on some regressors, in all rows or where promoted is `given`."""

    name: str
    regressors: tuple[str, ...]
    given: int | None = None

    @property
    def columns(self) -> list[int]:
        """Positions of the regressors among network ability, competence and promoted."""
        return [VARIABLES.index(name) for name in self.regressors]

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
_NAMES = [*zip(*_TERMS, strict=True)]
_FIT = [at for at, formula in enumerate(FORMULAS) for _ in formula.terms]  # of a term
_SLOPES = [at for at, (_, term) in enumerate(_TERMS) if term != "intercept"]
_SLOPES_OF = [
    [w for w, at in enumerate(_SLOPES) if _FIT[at] == fit] for fit in range(len(FORMULAS))
]
_OF_FIT = ("rows", "r_squared", "f_statistic", "residual_std_error")
_METRICS = [
    [formula.name for formula in FORMULAS for _ in _OF_FIT] + [_TERMS[at][0] for at in _SLOPES],
    [*_OF_FIT * len(FORMULAS), *(f"zero_excluded_at {_TERMS[at][1]}" for at in _SLOPES)],
]
_EMPTY = CoMoments.of(np.empty((2, 0)))

Groups = tuple[CoMoments, CoMoments]  # where promoted is 0, and 1
Origins = tuple[tuple[float, ...] | None, tuple[float, ...] | None]
Excluded = Annotated[int, msgspec.Meta(ge=0)] | None


class _State(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    groups: Groups
    excluded: list[Excluded]  # of each slope: the first page that excluded zero


class Regressions:
    """Least squares of network ability in one pass: every row is used once and forgotten.

    The state is the moments of (network ability, competence) where promoted is 0 and where it is
    1. All estimates follow from it, at any page.

    Parameters
    ----------
    alpha
        Intervals have level 1 - alpha, in (0, 1).
    g
        Of the confidence sequences, above 0: they are tightest at some 8 g rows (see
        `promo.models.anytime`). Like alpha to be fixed before the stream.
    """

    def __init__(self, alpha: float = anytime.ALPHA, g: float = anytime.G) -> None:
        self.alpha, self.g = anytime.check_level(alpha, g)
        self._groups = (_EMPTY, _EMPTY)
        self._excluded: list[Excluded] = [None] * len(_SLOPES)
        self._news: int | None = None  # the page that nothing was estimated from yet
        self._estimate()

    def learn(self, batch: Batch) -> None:
        """Add the rows of a batch to the moments of their group."""
        if len(batch.ids):
            self.add(batch.page, page_sums(batch, self.origins))

    def add(self, page: int, sums: Groups) -> None:
        """Add what `page_sums` made of a page's rows, maybe elsewhere, about these `origins`."""
        if self._news is not None:
            self._look(self._news)
        self._groups = (self._groups[0] + sums[0], self._groups[1] + sums[1])
        self._news = page

    @property
    def origins(self) -> Origins:
        """About what each group's moments are taken: its first row, None before there is one."""
        zeros, ones = (co.moments.origin if co.moments.n else None for co in self._groups)
        return zeros, ones

    @property
    def together(self) -> Moments:
        """Moments of network ability, competence and promoted over all rows."""
        self._catch_up()
        return self._together

    @property
    def fits(self) -> tuple[Fit, ...]:
        """One fit for each of `FORMULAS`."""
        self._catch_up()
        return self._fits

    def coefficients(self) -> list[Coefficient]:
        """Return every term of every formula, with t statistics and both kinds of intervals.

        p-values are two-sided and fixed-n intervals central, from Student's t with n - k degrees
        of freedom.
        """
        self._catch_up()
        return self._coefficients

    def _catch_up(self) -> None:
        """Estimate from the page learned last, before anybody asks."""
        page, self._news = self._news, None
        if page is None:
            return
        self._estimate()
        for which, at in enumerate(_SLOPES):
            self._note(page, which, self._coefficients[at].av_p_value)

    def _look(self, page: int) -> None:
        """Note which slopes exclude zero after a page of which nobody asks the rest."""
        samples = self._samples()
        for formula, columns, slopes in zip(FORMULAS, _COLUMNS, _SLOPES_OF, strict=True):
            if all(self._excluded[which] is not None for which in slopes):
                continue
            fit = least_squares(samples[formula.given][0], 0, columns)
            if all(map(self._says_nothing, fit.estimates[1:], fit.std_errors[1:], repeat(fit))):
                continue
            found = zip(slopes, fit.estimates[1:], fit.std_errors[1:], strict=True)
            for which, slope, error in found:
                t, df = slope / error, fit.df_resid or NAN
                self._note(page, which, anytime.one_p_value(t, df, fit.n, self.g))

    def _says_nothing(self, slope: float, error: float, fit: Fit) -> bool:
        """Whether the p-value is above alpha for sure, seen without `anytime.p_value`.

        This is the one term of `anytime.log_evidence` that is above 0, in nats.
        """
        if not error > 0:
            return False
        t, df = slope / error, fit.df_resid
        return (df + 1) / 2 * log1p(t * t / df) < -log(self.alpha)

    def _note(self, page: int, which: int, av_p_value: float) -> None:
        if self._excluded[which] is None and av_p_value <= self.alpha:
            self._excluded[which] = page

    def _samples(self) -> dict[int | None, tuple[Moments, tuple[CoMoments, ...]]]:
        """Return the rows that a formula is about, by what it says is given."""
        zeros, ones = self._groups
        return {
            None: (with_group(zeros.moments, ones.moments), (zeros, ones)),
            0: (zeros.moments, (zeros,)),
            1: (ones.moments, (ones,)),
        }

    def _estimate(self) -> None:
        """Work out all that follows from the moments."""
        samples = self._samples()
        self._together = samples[None][0]
        fits: list[Fit] = []
        robust: list[float] = []
        for formula, columns in zip(FORMULAS, _COLUMNS, strict=True):
            moments, groups = samples[formula.given]
            fit = least_squares(moments, 0, columns)
            fits.append(fit)
            robust += hc1_std_errors(fit, moments, columns, groups)
        self._fits = tuple(fits)
        self._coefficients = self._inferred(robust)

    def _inferred(self, robust: list[float]) -> list[Coefficient]:
        """Return the coefficients of the fits, given their robust standard errors."""
        fits, g = self._fits, self.g
        df = [fit.df_resid or NAN for fit in fits]
        found = []
        for fit, free, one in zip(fits, df, stdtrit(df, 1 - self.alpha / 2).tolist(), strict=True):
            all_ = anytime.one_radius(free, fit.n, self.alpha, g)
            for estimate, error in zip(fit.estimates, fit.std_errors, strict=True):
                t, half, wide = estimate / error, one * error, all_ * error
                av = anytime.one_p_value(t, free, fit.n, g), estimate - wide, estimate + wide
                found.append((estimate, error, t, estimate - half, estimate + half, *av))
        estimates, errors, statistics, *intervals = zip(*found, strict=True)
        p = (2 * stdtr([df[fit] for fit in _FIT], [-abs(t) for t in statistics])).tolist()
        columns = estimates, errors, statistics, p, *intervals, robust
        return from_columns(Coefficient, *_NAMES, *columns)

    def metrics(self) -> list[Metric]:
        """Return rows, R², F, residual standard error; for slopes the first page without zero.

        ``zero_excluded_at TERM`` is the first page at which the confidence sequence excluded
        zero, NaN before it has.
        """
        self._catch_up()
        values = [
            value
            for fit in self._fits
            for value in (
                float(fit.n),
                fit.r_squared,
                fit.f_statistic,
                fit.residual_std_error,
            )
        ]
        values += [NAN if page is None else float(page) for page in self._excluded]
        return from_columns(Metric, *_METRICS, values)

    def states(self) -> list[ModelState]:
        """Return the moments, and for each formula what they amount to."""
        self._catch_up()
        rows = sum(co.moments.n for co in self._groups)
        state = _State(2, self._groups, self._excluded)
        return [ModelState(MOMENTS, rows, as_json(state)), *self._summaries()]

    def _summaries(self) -> Iterable[ModelState]:
        for formula, fit in zip(FORMULAS, self._fits, strict=True):
            summary = {"from": MOMENTS, "df_resid": fit.df_resid, "undefined": fit.reason or None}
            yield ModelState(formula.name, fit.n, as_json(summary))

    def restore(self, states: Mapping[str, str]) -> None:
        """Take over moments as `states` gave them; ValueError if they are none."""
        state = msgspec.json.decode(states[MOMENTS], type=_State)
        wrong = state.version != 2 or len(state.excluded) != len(_SLOPES)
        if wrong or not all(map(_plausible, state.groups)):
            raise ValueError(
                f"not the moments of two variables, version 2: {states[MOMENTS][:200]}"
            )
        self._groups, self._excluded, self._news = state.groups, state.excluded, None
        self._estimate()


def page_sums(batch: Batch, origins: Origins) -> Groups:
    """Return the moments of a batch's rows where promoted is 0, and 1, each about its origin.

    Its own first row where there is no origin, so that a wild row costs the other group no digits.
    """
    rows, ones = np.array([batch.network_ability, batch.competence]), batch.promoted
    groups = rows.compress(~ones, 1), rows.compress(ones, 1)
    return CoMoments.of(groups[0], origins[0]), CoMoments.of(groups[1], origins[1])


def _plausible(group: CoMoments) -> bool:
    """Whether these can be the moments of two variables within ±1e100."""
    moments, scatter = group.moments, group.moments.scatter
    parts = (moments.origin, moments.offset, *scatter)
    return (
        {len(part) for part in (*parts, scatter)} == {2}
        and 0 <= moments.n <= _MAX_ROWS
        and all(abs(value) <= MAX_ABS for value in moments.origin)
        and all(abs(value) <= 4 * MAX_ABS for value in moments.offset)
        and all(abs(value) <= _MAX_SCATTER for line in scatter for value in line)
        and scatter[0][0] >= 0 <= scatter[1][1]
        and scatter[0][1] == scatter[1][0]
        and len(group.higher) in (0, 6)
    )
