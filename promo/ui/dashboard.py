"""The dashboard: everything on one page, four figures in sight on a small laptop's screen."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from promo.ui.board import Board, Shown

# Heights in vh: what Lab's bars, the controls, heads and sentences leave is shared by two rows.
_CSS = """
<style>
.promo-dashboard { --promo-plot: clamp(150px, 50vh - 236px, 420px); overflow: hidden; }
[data-voila] .promo-dashboard { --promo-plot: clamp(150px, 50vh - 176px, 420px); }
.promo-dashboard.widget-vbox { padding: 0 !important; }
.promo-dashboard, .promo-dashboard > .widget-gridbox { grid-gap: 4px 24px !important; }
.promo-dashboard .widget-box > .widget-html:first-child:has(style) { display: none !important; }
.promo-dashboard .promo-note { font-size: var(--promo-small); line-height: 1.35;
  min-height: 2.7em; max-width: none; }
.promo-dashboard .promo-legend { font-size: var(--promo-small); line-height: 1.35; min-height: 0; }
.promo-dashboard .promo-legend span { margin-right: 8px; }
.promo-dashboard .promo-title { line-height: 1.35; }
.promo-dashboard .promo-figure { position: relative; container-type: inline-size; }
@container (max-width: 520px) {  /* the names below the plot say what the sentence would */
  .promo-dashboard .widget-hbox:has(.bqplot) + .promo-sentence { position: absolute;
    clip-path: inset(50%); } }
.promo-dashboard .promo-figure:has(.widget-toggle-buttons) .promo-note { min-height: 5.4em; }
@container (max-width: 520px) {
  .promo-dashboard .promo-figure:has(.widget-toggle-buttons) .promo-note { min-height: 6.75em; } }
@container (max-width: 440px) {
  .promo-dashboard .promo-figure:has(.widget-toggle-buttons) .promo-note { min-height: 8.1em; } }
.promo-dashboard .promo-figure .bqplot { height: var(--promo-plot) !important; }
.promo-dashboard .promo-figure .bqplot .axis text { font-size: var(--promo-small) !important; }
.promo-dashboard .promo-figure > .widget-dropdown { position: absolute; top: 0; right: 0;
  width: 220px; height: 20px; margin: 0; z-index: 1; line-height: 20px; }
.promo-dashboard .promo-figure > .widget-dropdown :is(select, label) { height: 20px;
  line-height: 20px; font-size: var(--promo-small); padding-top: 0; padding-bottom: 0; }
@container (max-width: 420px) {  /* no room beside a title */
  .promo-dashboard .promo-figure > .widget-dropdown { width: 150px; }
  .promo-dashboard .promo-figure > .widget-dropdown label { position: absolute;
    clip-path: inset(50%); } }
.promo-dashboard .promo-figure > .widget-hbox { gap: 0 8px !important; }
.promo-dashboard .promo-figure > .widget-hbox :is(label, button) {
  font-size: var(--promo-small); }
.promo-dashboard .promo-figure .widget-toggle-buttons > label { position: absolute;
  clip-path: inset(50%); }  /* heard only: the legend above it says what is switched */
.promo-dashboard .promo-figure > .widget-hbox button { height: 22px; line-height: 22px;
  padding: 0 8px; }
.promo-dashboard .promo-stories { grid-template-columns: repeat(4, minmax(0, 1fr));
  grid-auto-flow: dense; grid-auto-rows: 1fr; gap: 4px; min-height: calc(var(--promo-plot) + 28px);
  overflow: hidden; }
.promo-dashboard .promo-card { padding: 2px 6px; }
.promo-dashboard .promo-card .widget-html-content { min-width: 0; width: 100%; }
.promo-dashboard .promo-card-title { display: none; }
.promo-dashboard .promo-card-drawings { flex-wrap: nowrap; gap: 4px; min-height: 0;
  justify-content: center; }
.promo-dashboard .promo-dag { flex: 0 1 auto; width: auto; min-width: 0;
  height: max(28px, (var(--promo-plot) - 104px) / 3); }
.promo-dashboard .promo-figure .widget-checkbox { height: 22px; line-height: 22px; }
.promo-dashboard .promo-share { font-size: var(--promo-small); line-height: 1.35; }
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
