"""The collider switch: which regression is shown, with which errors and which intervals."""

from __future__ import annotations

import ipywidgets as widgets

from promo.models.looks import COLLIDER, NULL, TERMS, slope_path
from promo.models.results import Coefficient
from promo.models.robust import robustly
from promo.snapshot import Snapshot
from promo.ui.common import check_box
from promo.ui.plot import Floats
from promo.ui.style import row_layout

_SHOWN = {"without": (NULL,), "with": (COLLIDER,), "both": (NULL, COLLIDER)}


class ColliderSwitch:
    """Adds `promoted` to the regression and takes it away, for every view that is given it."""

    def __init__(self) -> None:
        self.promoted = widgets.ToggleButtons(
            options=[*_SHOWN],
            value="both",
            description="Promoted in the regression",
            style={"description_width": "initial", "button_width": "auto"},
            layout=widgets.Layout(width="auto"),
        )
        self.anytime = check_box("intervals at any time", True)
        self.robust = check_box("robust errors (HC1)", False)
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
        return robustly(found, rows, TERMS[model], snapshot.alpha, snapshot.g)

    def path(self, snapshot: Snapshot, model: str, points: int) -> tuple[Floats, ...]:
        """Return rows, slope on competence, radius at one look and at all, each of shape (n,).

        Only where slope and error are defined and finite; a bound at any time may be infinite.
        """
        history, robust = snapshot.history.thinned(points), self.robust.value
        return slope_path(history, model, snapshot.alpha, snapshot.g, robust=robust)
