"""Standard errors that do not assume equal spread: HC1, from co-moments alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt

from scipy.special import stdtr, stdtrit

from promo.models.anytime import ALPHA, G, asymptotic_p_value, asymptotic_radius
from promo.models.comoments import CoMoments
from promo.models.least_squares import Fit
from promo.models.moments import Moments
from promo.models.results import NAN, Coefficient

_UNDERFLOW = 1e-300  # what a sum of fourth powers may have lost to the end of the range


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
        The moments it was made from: `with_group` of the two groups, or of the one there is.
    regressors
        One or two of 1 (v) and 2 (the group).
    groups
        Co-moments in (u, v) of the rows with group 0 and of those with group 1, of which either
        may be of no rows; or of all rows, where there are no groups.

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
    if not min(fit.std_errors) > 0:
        return (NAN,) * k
    # With v and the group as regressors, whichever of them is none, by numbers that are zero.
    b = fit.estimates[1] if regressors[0] == 1 else 0.0
    c = fit.estimates[-1] if regressors[-1] == 2 else 0.0
    vv, vg, gg = _inverse(together, regressors)
    _, mean_v, mean_group = (*together.mean, 0.0)[:3]
    # What a row weighs in a coefficient is linear in v: a constant, and so much a unit.
    unit = -mean_v * vv - mean_group * vg
    intercept = of_v = of_group = 0.0  # variances
    for group, co in enumerate(groups):
        if not co.moments.n:
            continue
        if not co.higher:
            return (NAN,) * k
        # The group's means as seen from those of all, and its mean residual.
        ahead_u, ahead_v = _ahead(together, co.moments)
        ahead_group = group - mean_group
        e, ev, evv = _squares(co, b, ahead_u - b * ahead_v - c * ahead_group)
        at_v = vv * ahead_v + vg * ahead_group
        at_group = vg * ahead_v + gg * ahead_group
        at = 1 / n - mean_v * at_v - mean_group * at_group
        intercept += at * (at * e + 2 * unit * ev) + unit * unit * evv
        of_v += at_v * (at_v * e + 2 * vv * ev) + vv * vv * evv
        of_group += at_group * (at_group * e + 2 * vg * ev) + vg * vg * evv
    found = (intercept, unit), (of_v, vv), (of_group, vg)
    wanted = [found[i] for i in (0, *regressors)]
    lost = _UNDERFLOW * (1 + b * b)
    return tuple(
        [
            sqrt(variance * n / (n - k))
            if lost * weight * weight <= usual * usual and 0 <= variance * n < inf
            else NAN
            for (variance, weight), usual in zip(wanted, fit.std_errors, strict=True)
        ]
    )


def _ahead(together: Moments, group: Moments) -> tuple[float, float]:
    """Return the means of u and v in a group minus those of all, with no loss to a shift."""
    (a, b, *_), (c, d, *_) = together.origin, together.offset
    (e, f), (g, h) = group.origin, group.offset
    return (e - a) + (g - c), (f - b) + (h - d)


def _inverse(together: Moments, regressors: Sequence[int]) -> tuple[float, float, float]:
    """Return the inverse of the regressors' scatter: v with v, v with the group, the group."""
    scatter = together.scatter
    if len(regressors) == 1:
        one = 1 / scatter[regressors[0]][regressors[0]]
        return (one, 0.0, 0.0) if 1 in regressors else (0.0, 0.0, one)
    vv, vg, gg = scatter[1][1], scatter[1][2], scatter[2][2]
    free = 1 - (vg / vv) * (vg / gg)
    return 1 / (vv * free), -(vg / vv) / (gg * free), 1 / (gg * free)


def _squares(co: CoMoments, b: float, d: float) -> tuple[float, float, float]:
    """Return the sums over a group of e², e²v and e²v²: e = u - b v + d a residual."""
    n, ((uu, uv), (_, vv)) = co.moments.n, co.moments.scatter
    uuv, uvv, vvv, uuvv, uvvv, vvvv = co.higher
    return (
        (uu - 2 * b * uv + b * b * vv) + n * d * d,
        (uuv - 2 * b * uvv + b * b * vvv) + 2 * d * (uv - b * vv),
        (uuvv - 2 * b * uvvv + b * b * vvvv) + 2 * d * (uvv - b * vvv) + d * d * vv,
    )


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
    one = float(stdtrit(n - k, 1 - alpha / 2))
    all_ = max(one, float(asymptotic_radius(n, alpha, g)))  # a handful of rows is no limit of many
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
