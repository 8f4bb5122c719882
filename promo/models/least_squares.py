"""Ordinary least squares from moments alone: any regression among the variables, at any page."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import msgspec

from promo.models.moments import Moments
from promo.models.results import NAN

SINGULAR = 1e-12  # share of a regressor's scatter that the others must leave unexplained
_PERFECT = 1e-14  # share of the response's scatter below which a residual is rounding
UNDERFLOW = 1e-280  # scatter below which squares and quotients would not stay in range


class Fit(msgspec.Struct, frozen=True):
    """A regression with intercept; the intercept stands first.

    `estimates` and `std_errors` have shape (k,), NaN with a `reason` where undefined.
    """

    n: int
    df_resid: int
    estimates: tuple[float, ...]
    std_errors: tuple[float, ...]
    residual_std_error: float
    r_squared: float
    f_statistic: float
    reason: str = ""


def _undefined(n: int, k: int, reason: str) -> Fit:
    nothing = (NAN,) * k
    return Fit(n, max(n - k, 0), nothing, nothing, NAN, NAN, NAN, reason)


def least_squares(moments: Moments, response: int, regressors: Sequence[int]) -> Fit:
    """Regress a variable on one or two others by the normal equations, centred and scaled.

    Parameters
    ----------
    moments
        Of d variables.
    response, regressors
        Positions of variables in 0..d-1.

    Returns
    -------
    Fit
        Undefined with a reason, never an exception, if there are too few rows, a regressor is
        constant or the regressors are collinear; the standard errors alone if the fit is perfect.
        Close to that these lose digits: their relative error is about 1e-16 / (1 - R²).

    References
    ----------
    Seber, Lee (2003). Linear Regression Analysis, 2nd ed., sections 3.11 (centring) and 4.3 (F).

    Examples
    --------
    >>> import numpy as np
    >>> fit = least_squares(Moments.of(np.array([[1.0, 2, 3, 5], [0.0, 1, 2, 3]])), 0, [1])
    >>> [round(b, 12) for b in fit.estimates], round(fit.r_squared, 3)
    ([0.8, 1.3], 0.966)
    """
    n, k = moments.n, len(regressors) + 1
    if n <= k:
        return _undefined(n, k, f"too few rows: {n}, needs more than {k}")
    scatter, mean = moments.scatter, moments.mean
    total = _in_range(scatter[response][response])
    scales = [sqrt(_in_range(scatter[i][i])) for i in regressors]
    if not all(scales):
        return _undefined(n, k, "a regressor is constant")
    # On the correlation scale the two regressors' scatter is [[1, r], [r, 1]]; of one, it is [1].
    x, s = regressors[0], scales[0]
    u, m = scatter[x][response] / s, mean[x] / s
    if k == 2:
        slope = u / s
        estimates = mean[response] - mean[x] * slope, slope
        return _with_errors(n, total, u * u, estimates, m * m, [1 / s])
    z, t = regressors[1], scales[1]
    v, q = scatter[z][response] / t, mean[z] / t
    r = scatter[x][z] / (s * t)
    free = (1 - r) * (1 + r)  # share of a regressor that the other leaves unexplained
    if free < SINGULAR:
        return _undefined(n, k, "the regressors are collinear")
    a, b = (u - r * v) / free, (v - r * u) / free
    slopes = a / s, b / t
    intercept = mean[response] - (mean[x] * slopes[0] + mean[z] * slopes[1])
    leverage = (m * (m - r * q) + q * (q - r * m)) / free
    spreads = [1 / (scale * sqrt(free)) for scale in scales]
    return _with_errors(n, total, a * u + b * v, (intercept, *slopes), leverage, spreads)


def _with_errors(
    n: int,
    total: float,
    explained: float,
    estimates: tuple[float, ...],
    leverage: float,
    spreads: list[float],
) -> Fit:
    """Add what follows from the residuals; `spreads` times their deviation are standard errors."""
    k = len(estimates)
    residual = total - explained
    if residual <= _PERFECT * total:
        reason = "the fit is perfect" if total else "the response is constant"
        return Fit(n, n - k, estimates, (NAN,) * k, 0.0, 1.0 if total else NAN, NAN, reason)
    variance = residual / (n - k)
    deviation = sqrt(variance)
    std_errors = (deviation * sqrt(1 / n + leverage), *[deviation * c for c in spreads])
    f_statistic = explained / (k - 1) / variance
    return Fit(n, n - k, estimates, std_errors, deviation, explained / total, f_statistic)


def _in_range(scatter: float) -> float:
    return scatter if scatter > UNDERFLOW else 0.0
