"""What the data say of a slope and of a claim about it, at any stopping time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, isfinite, sqrt
from typing import Literal

from promo.models.regressions import FORMULAS
from promo.models.results import Coefficient

Finding = Literal["negative", "zero", "positive", "undecided"]

# Standard deviations of network ability for one of the regressor: a slope within it either way
# counts as zero. Fixed before any stream.
NEGLIGIBLE = 0.05
_AS_FIXED = {"competence": NEGLIGIBLE, "promoted": NEGLIGIBLE}

#: The slopes that a reader may predict, as (formula, term).
PREDICTABLE = tuple(
    (formula.name, "competence" if "competence" in formula.terms else "promoted")
    for formula in FORMULAS
)


def negligible_slope(alone: Coefficient, rows: int, r_squared: float) -> float:
    """Return `NEGLIGIBLE` in the units of the data, NaN where they are not known yet.

    Parameters
    ----------
    alone
        The slope of ``network_ability ~ competence``, or of ``~ promoted`` for slopes on that; the
        ratio of the two standard deviations follows from its standard error.
    rows, r_squared
        Of that regression.

    Examples
    --------
    >>> negligible_slope(Coefficient("m", "competence", 0.0, std_error=0.02), 10_002, 0.0)
    0.1
    """
    if rows <= 2 or not r_squared < 1:
        return float("nan")
    return NEGLIGIBLE * alone.std_error * sqrt((rows - 2) / (1 - r_squared))


def negligible_slopes(
    coefficients: Mapping[tuple[str, str], Coefficient], metrics: Mapping[tuple[str, str], float]
) -> dict[str, float]:
    """Return what is negligible of slopes on competence and on promoted, as `score` takes it.

    Parameters
    ----------
    coefficients, metrics
        By (formula, term) and by (formula, name).
    """
    found = {}
    for term in _AS_FIXED:
        alone = coefficients[f"network_ability ~ {term}", term]
        rows, r_squared = (metrics[alone.model, name] for name in ("rows", "r_squared"))
        found[term] = negligible_slope(alone, int(rows), r_squared)
    return found


def finding(slope: Coefficient, negligible: float = NEGLIGIBLE) -> Finding:
    """Return the sign of a slope as far as its confidence sequence decides it.

    "zero" means: not on one side for sure, and within `negligible` either way.

    Examples
    --------
    >>> finding(Coefficient("m", "x", 0.2, av_low=0.1, av_high=0.3))
    'positive'
    >>> finding(Coefficient("m", "x", 0.0, av_low=-0.1, av_high=0.1))
    'undecided'
    """
    low, high = slope.av_low, slope.av_high
    if not (isfinite(low) and isfinite(high)):
        return "undecided"
    if low > 0 or high < 0:
        return "positive" if low > 0 else "negative"
    return "zero" if -negligible <= low and high <= negligible else "undecided"


def score(
    predictions: dict[str, str],
    coefficients: Iterable[Coefficient],
    negligible: Mapping[str, float] = _AS_FIXED,
) -> list[tuple[str, str, Finding, str]]:
    """Set predictions beside results.

    Parameters
    ----------
    predictions
        "negative", "zero" or "positive" by formula; others are passed over.
    coefficients
        At the page to be judged by.
    negligible
        Of slopes on "competence" and on "promoted": see `negligible_slope`.

    Returns
    -------
    list
        (formula, predicted, found, verdict), the verdict "right", "wrong" or "open".
    """
    slopes = {c[:2]: c for c in coefficients}
    lines = []
    for formula, term in PREDICTABLE:
        predicted = predictions.get(formula)
        if predicted in ("negative", "zero", "positive"):
            found = finding(slopes[formula, term], negligible[term])
            verdict = "right" if found == predicted else "open" if found == "undecided" else "wrong"
            lines.append((formula, predicted, found, verdict))
    return lines


def in_words(slope: Coefficient, level: str) -> str:
    """Return a slope with both of its intervals, of a level as "95%", in words."""
    if not isfinite(slope.ci_low):
        return "not defined: too few rows, or what does not vary."
    form = "+.3f" if slope.ci_high - slope.ci_low > 0.002 else "+.3g"  # in small units
    look = f"{level} at one look {slope.ci_low:{form}} to {slope.ci_high:{form}}"
    at_all = "at any time not bounded yet"
    if isfinite(slope.av_low):
        at_all = f"at any time {slope.av_low:{form}} to {slope.av_high:{form}}"
    return f"slope {slope.estimate:{form}}, {look}, {at_all}."


def safe_to_stop(slope: Coefficient, since: float, negligible: float = NEGLIGIBLE) -> str:
    """Return whether a reader who looked all the time may stop here, and what to believe then.

    `since` is the first page at which the confidence sequence excluded zero, NaN if none has;
    `negligible` a slope that counts as none, in the units of the data.
    """
    if not isfinite(slope.av_low):
        return "Safe to stop? Not yet."
    bound = max(-slope.av_low, slope.av_high)
    at = f"page {since:,.0f} (counted from 0)"
    inside = slope.av_low <= 0 <= slope.av_high
    back = ", and is inside again" if inside else ""
    page = f" Zero was first excluded at {at}{back}." if isfinite(since) else ""
    if not inside:
        side = "above" if slope.av_low > 0 else "below"
        little = f" but within ±{_up(bound)}" if bound <= negligible else ""
        return f"Safe to stop? Yes: it is {side} zero{little}, at any stopping time.{page}"
    if bound <= negligible:
        return f"Safe to stop? Yes: no slope beyond ±{_up(bound)}, at any stopping time.{page}"
    return f"Safe to stop? Not yet: up to ±{_up(bound)} is possible.{page}"


def _up(bound: float) -> str:
    """Return a bound rounded up, so that it stays one."""
    return f"{ceil(bound * 1000) / 1000:.3f}"
