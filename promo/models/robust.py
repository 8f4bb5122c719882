"""Standard errors that do not assume equal spread: HC1, from co-moments alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

from scipy.special import stdtr, stdtrit

from promo.models.anytime import ALPHA, G, asymptotic_p_value, asymptotic_radius
from promo.models.comoments import CoMoments
from promo.models.least_squares import Fit
from promo.models.moments import Moments
from promo.models.results import NAN, Coefficient

_UNDERFLOW = 1e-280  # a sum below it has lost what it was a sum of


class _Squares(NamedTuple):
    """Sums over a group of e², e²v and e²v²: e a residual, v the regressor about its mean."""

    e: float
    ev: float
    evv: float


def hc1_std_errors(
    fit: Fit, together: Moments, regressors: Sequence[int], groups: Sequence[CoMoments]
) -> tuple[float, ...]:
    """Return heteroscedasticity-consistent standard errors of a fit, shape (k,), in its order.

    The sandwich (X'X)⁻¹ X'diag(e²)X (X'X)⁻¹ times n/(n - k). A coefficient is a sum of responses
    with weights that, within a group, are linear in the regressor: its variance is the sum of
    squared weights times squared residuals, which follows from the co-moments of the groups.

    Parameters
    ----------
    fit
        By `least_squares` of variable 0 on `regressors`.
    together
        The moments it was made from, `with_group` of the two groups.
    regressors
        One or two of 1 (v) and 2 (the group).
    groups
        Co-moments in (u, v) of the rows with group 0 and of those with group 1; either may be of
        no rows.

    Returns
    -------
    tuple of float
        NaN where the fit has no standard errors, or where fourth powers leave the range.

    References
    ----------
    White (1980). A heteroskedasticity-consistent covariance matrix estimator and a direct test
    for heteroskedasticity. Econometrica 48, 817-838.
    MacKinnon, White (1985). Some heteroskedasticity-consistent covariance matrix estimators with
    improved finite sample properties. Journal of Econometrics 29, 305-325.
    """
    n, k = together.n, len(fit.estimates)
    if not all(error > 0 for error in fit.std_errors) or not all(co.higher for co in groups):
        return (NAN,) * k
    # With v and the group as regressors, whichever of them is none, by numbers that are zero.
    at_v, at_group = (regressors.index(i) + 1 if i in regressors else 0 for i in (1, 2))
    b, c = (fit.estimates[at] if at else 0.0 for at in (at_v, at_group))
    vv, vg, gg = _inverse(together, regressors)
    mean_v, mean_group = together.mean[1], together.mean[2]
    intercept = slope_v = slope_group = 0.0
    for group, co in enumerate(groups):
        if not co.moments.n:
            continue
        # The group's means as seen from those of all, and its mean residual.
        ahead_u, ahead_v = _ahead(together, co.moments)
        ahead_group = group - mean_group
        squares = _squares(co, b, ahead_u - b * ahead_v - c * ahead_group)
        # What a row weighs in a slope is linear in v: a constant and so much a unit.
        constant_v, constant_group = (
            vv * ahead_v + vg * ahead_group,
            vg * ahead_v + gg * ahead_group,
        )
        slope_v += _weighted(squares, constant_v, vv)
        slope_group += _weighted(squares, constant_group, vg)
        constant = 1 / n - mean_v * constant_v - mean_group * constant_group
        intercept += _weighted(squares, constant, -mean_v * vv - mean_group * vg)
    found = {0: intercept, at_v: slope_v, at_group: slope_group} | {0: intercept}
    return tuple(sqrt(found[i] * n / (n - k)) if found[i] >= 0 else NAN for i in range(k))


def _ahead(together: Moments, group: Moments) -> list[float]:
    """Return the means of u and v in a group minus those of all, with no loss to a shift."""
    places = zip(together.origin, together.offset, group.origin, group.offset, strict=False)
    return [(o2 - o1) + (m2 - m1) for o1, m1, o2, m2 in places]


def _inverse(together: Moments, regressors: Sequence[int]) -> tuple[float, float, float]:
    """Return the inverse of the regressors' scatter: v with v, v with the group, the group."""
    vv, vg, gg = together.scatter[1][1], together.scatter[1][2], together.scatter[2][2]
    if len(regressors) == 1:
        return (1 / vv, 0.0, 0.0) if 1 in regressors else (0.0, 0.0, 1 / gg)
    free = 1 - (vg / vv) * (vg / gg)
    return 1 / (vv * free), -(vg / vv) / (gg * free), 1 / (gg * free)


def _squares(co: CoMoments, b: float, d: float) -> _Squares:
    """Return the sums for residuals e = u - b v + d."""
    n, ((uu, uv), (_, vv)) = co.moments.n, co.moments.scatter
    uuv, uvv, vvv, uuvv, uvvv, vvvv = co.higher
    return _Squares(
        (uu - 2 * b * uv + b * b * vv) + n * d * d,
        (uuv - 2 * b * uvv + b * b * vvv) + 2 * d * (uv - b * vv),
        (uuvv - 2 * b * uvvv + b * b * vvvv) + 2 * d * (uvv - b * vvv) + d * d * vv,
    )


def _weighted(squares: _Squares, a: float, c: float) -> float:
    """Return the sum of e²(a + c v)², NaN if a part of it is too small to be told."""
    if c and squares.evv < _UNDERFLOW:
        return NAN
    return a * (a * squares.e + 2 * c * squares.ev) + c * (c * squares.evv)


def robustly(
    coefficient: Coefficient, n: int, k: int, alpha: float = ALPHA, g: float = G
) -> Coefficient:
    """Return a coefficient with all that rests on its standard error resting on HC1 instead.

    Parameters
    ----------
    coefficient
        Of a regression of `n` rows on k - 1 regressors and an intercept.
    alpha, g
        As in `promo.models.anytime`; the anytime values hold in the limit of many rows.
    """
    error, estimate = coefficient.hc1_std_error, coefficient.estimate
    if not error > 0:
        return Coefficient(*coefficient[:3], hc1_std_error=error)
    t = estimate / error
    one, all_ = float(stdtrit(n - k, 1 - alpha / 2)), float(asymptotic_radius(n, alpha, g))
    return coefficient._replace(
        std_error=error,
        statistic=t,
        p_value=float(2 * stdtr(n - k, -abs(t))),
        ci_low=estimate - one * error,
        ci_high=estimate + one * error,
        av_p_value=float(asymptotic_p_value(t, n, g)),
        av_low=estimate - all_ * error,
        av_high=estimate + all_ * error,
    )
