"""The dashboard: everything on one page, four figures in sight on a small laptop's screen."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from promo.ui.board import Board, Shown

# Heights in vh: what Lab's bars, the controls, heads and sentences leave is shared by two rows.
_CSS = """
<style>
.promo-dashboard { --promo-plot: clamp(150px, 50vh - 222px, 420px); overflow: hidden; }
[data-voila] .promo-dashboard { --promo-plot: clamp(150px, 50vh - 170px, 420px); }
.promo-dashboard.widget-vbox { padding: 0 var(--promo-space) !important; }
.promo-dashboard, .promo-dashboard > .widget-gridbox { grid-gap: 4px 16px !important; }
.promo-dashboard .promo-note { font-size: var(--promo-small); line-height: 1.35;
  min-height: 2.7em; max-width: none; }
.promo-dashboard .promo-legend { line-height: 1.35; min-height: 0; }
.promo-dashboard .promo-figure { display: grid; align-content: start;
  grid-template-columns: minmax(0, 1fr) auto; }
.promo-dashboard .promo-figure > :is(.bqplot, .widget-hbox, .promo-sentence) {
  grid-column: 1 / -1; }
.promo-dashboard .promo-figure .bqplot { height: var(--promo-plot) !important; }
.promo-dashboard .promo-stories { grid-template-columns: repeat(4, minmax(0, 1fr));
  grid-auto-flow: dense; gap: 4px; }
.promo-dashboard .promo-card { padding: 2px 6px; }
.promo-dashboard .promo-card-title { display: none; }
.promo-dashboard .promo-card-drawings { flex-wrap: nowrap; gap: 4px; min-height: 0;
  justify-content: center; }
.promo-dashboard .promo-card-drawings .promo-dag { flex: 0 1 44px; min-width: 0; height: 32px; }
.promo-dashboard .promo-share svg { height: 12px; }
</style>
"""


class Dashboard(Board):
    """A board that is dense: controls, two rows of two figures, and whatever goes below.

    At 1280 by 800 pixels all of controls and figures is in sight, in JupyterLab and in Voila; on a
    larger screen the plots grow.
    """

    def __init__(self, *rows: Sequence[Shown | widgets.Widget]) -> None:
        super().__init__(*rows)
        style = widgets.HTML(_CSS, layout=widgets.Layout(display="none"))
        self.children = (style, *self.children)  # type: ignore[has-type]
        self.add_class("promo-dashboard")
