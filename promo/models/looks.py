"""The slope on competence over pages, and how far off it may be at one look and at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from promo.history import History
from promo.models.anytime import asymptotic_radius, radius
from promo.models.regressions import FORMULAS

NULL = "network_ability ~ competence"
COLLIDER = "network_ability ~ competence + promoted"
TERMS = {formula.name: len(formula.terms) for formula in FORMULAS}


def slope_path(
    history: History, model: str, alpha: float, g: float, *, robust: bool = False
) -> tuple[NDArray[np.float64], ...]:
    """Return rows, slope on competence, radius at one look and at all, each of shape (n,).

    Only where slope and error are defined and finite; at any time there may be no bound yet.

    Parameters
    ----------
    history
        Of a `Snapshot`, maybe thinned.
    model
        The name of a regression.
    alpha, g
        See `promo.models.anytime`.
    robust
        With HC1 standard errors instead of those that assume an equal spread.
    """
    rows, slope = history[model, "rows"], history[model, "competence", "estimate"]
    error = history[model, "competence", "hc1_std_error" if robust else "std_error"]
    enough = np.isfinite(slope) & (error > 0)
    rows, slope, error = rows[enough], slope[enough], error[enough]
    df = rows - TERMS[model]
    one = stdtrit(df, 1 - alpha / 2)
    if robust:
        wide = np.maximum(one, asymptotic_radius(rows, alpha, g))
    else:
        wide = radius(df, rows, alpha, g)
    return rows, slope, one * error, wide * error
