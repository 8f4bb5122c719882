"""The collider switch: which regression is shown, with which errors and which intervals."""

from __future__ import annotations

import ipywidgets as widgets
import numpy as np
from scipy.special import stdtrit

from promo.models.anytime import ALPHA, G, asymptotic_radius, radius
from promo.models.regressions import FORMULAS
from promo.models.results import Coefficient
from promo.models.robust import robustly
from promo.snapshot import Snapshot
from promo.ui.plot import Floats
from promo.ui.style import row_layout

NULL = "network_ability ~ competence"
COLLIDER = "network_ability ~ competence + promoted"
_SHOWN = {"without": (NULL,), "with": (COLLIDER,), "both": (NULL, COLLIDER)}
_TERMS = {formula.name: len(formula.terms) for formula in FORMULAS}


class ColliderSwitch:
    """Adds `promoted` to the regression and takes it away, for every view that is given it.

    Parameters
    ----------
    alpha, g
        Those of the regressions (see `promo.models.anytime`).
    """

    def __init__(self, alpha: float = ALPHA, g: float = G) -> None:
        self.alpha, self.g = alpha, g
        self.promoted = widgets.ToggleButtons(
            options=[*_SHOWN],
            value="both",
            description="Promoted in the regression",
            style={"description_width": "initial", "button_width": "auto"},
            layout=widgets.Layout(width="auto"),
        )
        self.anytime = _check("intervals at any time", True)
        self.robust = _check("robust errors (HC1)", False)
        self.widget = widgets.HBox(
            [self.promoted, self.anytime, self.robust],
            layout=row_layout(),
        )
        self.widget.add_class("promo")

    @property
    def choice(self) -> tuple[str, bool, bool]:
        """What the reader has chosen."""
        return self.promoted.value, self.anytime.value, self.robust.value

    @property
    def formulas(self) -> tuple[str, ...]:
        """The regressions to show."""
        return _SHOWN[self.promoted.value]

    def coefficient(self, snapshot: Snapshot, model: str, term: str) -> Coefficient:
        """Return a coefficient with the errors chosen."""
        found = snapshot.coefficient(model, term)
        if not self.robust.value:
            return found
        rows = int(snapshot.metric(model, "rows"))
        return robustly(found, rows, _TERMS[model], self.alpha, self.g)

    def path(self, snapshot: Snapshot, model: str, points: int) -> tuple[Floats, ...]:
        """Return rows, slope on competence, radius at one look and at all, each of shape (n,).

        Only where all are defined and finite.
        """
        history = snapshot.history.thinned(points)
        rows, slope = history[model, "rows"], history[model, "competence", "estimate"]
        name = "hc1_std_error" if self.robust.value else "std_error"
        error = history[model, "competence", name]
        enough = np.isfinite(slope) & (error > 0)
        rows, slope, error = rows[enough], slope[enough], error[enough]
        df = rows - _TERMS[model]
        one = stdtrit(df, 1 - self.alpha / 2)
        if self.robust.value:
            wide = np.maximum(one, asymptotic_radius(rows, self.alpha, self.g))
        else:
            wide = radius(df, rows, self.alpha, self.g)
        return rows, slope, one * error, wide * error


def _check(text: str, value: bool) -> widgets.Checkbox:
    return widgets.Checkbox(
        value=value, description=text, indent=False, layout=widgets.Layout(width="auto")
    )
