"""Inference that may be watched: intervals and p-values that hold at every number of rows at once.

A fixed-n interval holds at one look, chosen beforehand. A confidence sequence holds at all looks
together, so that the reader may stop whenever the picture pleases.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

ALPHA, G = 0.05, 100.0  # unless fixed otherwise before the stream


def log_evidence(statistic: ArrayLike, df: ArrayLike, n: ArrayLike, g: float) -> Floats:
    """Return the log Bayes factor against a coefficient of zero, a test martingale if it is zero.

    Parameters
    ----------
    statistic
        t statistics, any shape; `df` and `n` must broadcast with it.
    df
        Residual degrees of freedom, above 0.
    n
        Rows, above 0.
    g
        At n of about eight times g the sequence is narrower than with any other g; above 0 and
        fixed before the stream.

    References
    ----------
    Lindon, Ham, Tingley, Bojinov (2022). Anytime-valid linear models and regression adjusted
    causal inference in randomized experiments. arXiv 2210.08589.
    """
    t, nu, rows = (np.asarray(each, np.float64) for each in (statistic, df, n))
    t = np.minimum(np.abs(t), 1e100)  # whose square is no infinity; larger ones say no more
    r, s = g / (g + rows), t * t / nu
    evidence: Floats = 0.5 * np.log(r) + (nu + 1) / 2 * (np.log1p(s) - np.log1p(r * s))
    return evidence


def asymptotic_p_value(statistic: ArrayLike, n: ArrayLike, g: float) -> Floats:
    """Return what `p_value` tends to with many rows, for robust errors and other models.

    Examples
    --------
    >>> float(asymptotic_p_value(4.0, n=100_000, g=100.0).round(4))
    0.0107
    """
    t, rows = np.asarray(statistic, np.float64), np.asarray(n, np.float64)
    evidence = (np.log(g / (g + rows)) + t * t * rows / (g + rows)) / 2
    return np.exp(-np.maximum(evidence, 0.0))


def p_value(statistic: ArrayLike, df: ArrayLike, n: ArrayLike, g: float) -> Floats:
    """Return p-values, in [0, 1], that stay below alpha at any look with chance alpha at most.

    For parameters see `log_evidence`.

    Examples
    --------
    >>> p_value([0.0, 4.0], df=98, n=100, g=100.0).round(4).tolist()
    [1.0, 0.0386]
    """
    return np.exp(-np.maximum(log_evidence(statistic, df, n, g), 0.0))


def radius(df: ArrayLike, n: ArrayLike, alpha: float, g: float) -> Floats:
    """Return half the width of a confidence sequence of level 1 - alpha, in standard errors.

    Infinite while there are too few rows. For parameters see `log_evidence`; the radius is the
    |t| at which `p_value` is alpha.

    References
    ----------
    Lindon, Ham, Tingley, Bojinov (2022). arXiv 2210.08589.

    Examples
    --------
    >>> radius(df=[27, 997], n=[30, 1000], alpha=0.05, g=1.0).round(2).tolist()
    [3.36, 3.6]
    """
    nu, rows = (np.asarray(each, np.float64) for each in (df, n))
    r = g / (g + rows)
    short = -np.expm1(np.log(r * alpha * alpha) / (nu + 1))  # of 1, with all its digits
    with np.errstate(divide="ignore"):  # where there is no room: infinite
        wide: Floats = np.sqrt(nu * short / np.maximum(1 - r - short, 0.0))
    return wide


def asymptotic_radius(n: ArrayLike, alpha: float, g: float) -> Floats:
    """Return the radius where errors are robust or the model is not linear, in standard errors.

    For parameters see `log_evidence`; it holds in the limit of many rows.

    References
    ----------
    Lindon, Ham, Tingley, Bojinov (2022). arXiv 2210.08589.

    Examples
    --------
    >>> float(asymptotic_radius(1000, alpha=0.05, g=100.0).round(2))
    3.04
    """
    rows = np.asarray(n, np.float64)
    ratio = (g + rows) / g
    with np.errstate(divide="ignore"):  # of no rows at all: infinite
        wide: Floats = np.sqrt((g + rows) / rows * np.log(ratio / alpha**2))
    return wide
