"""What the data say of a claim about a slope, at any stopping time."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Literal

from promo.models.regressions import FORMULAS
from promo.models.results import Coefficient

Finding = Literal["negative", "zero", "positive", "undecided"]

NEGLIGIBLE = 0.05  # a slope within it either way counts as zero, here fixed before any stream

#: The slopes that a reader may predict, as (formula, term).
PREDICTABLE = tuple(
    (formula.name, "competence" if "competence" in formula.terms else "promoted")
    for formula in FORMULAS
)


def finding(slope: Coefficient, negligible: float = NEGLIGIBLE) -> Finding:
    """Return the sign of a slope as far as its confidence sequence decides it.

    "zero" means: within `negligible` either way.

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
    if -negligible <= low and high <= negligible:
        return "zero"
    return "positive" if low > 0 else "negative" if high < 0 else "undecided"


def score(
    predictions: dict[str, str], coefficients: Iterable[Coefficient]
) -> list[tuple[str, str, Finding, str]]:
    """Set predictions beside results.

    Parameters
    ----------
    predictions
        "negative", "zero" or "positive" by formula; others are passed over.
    coefficients
        At the page to be judged by.

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
            found = finding(slopes[formula, term])
            verdict = "right" if found == predicted else "open" if found == "undecided" else "wrong"
            lines.append((formula, predicted, found, verdict))
    return lines
