"""One visual language: colours, type and spacing, for light and dark themes alike."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import ipywidgets as widgets

# Okabe and Ito's palette, told apart by colour-blind readers; each also has a dash or a marker.
BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#888888"
SKY, PURPLE = "#56B4E9", "#CC79A7"
INK = "currentColor"  # of the text around, in either theme

CSS = """
<style>
.promo { --promo-space: 8px; --promo-small: 11px; --promo-note: 12px; --promo-text: 13px;
  --promo-head: 14px; font-family: var(--jp-ui-font-family, system-ui, sans-serif); }
.promo, .promo .widget-html-content, .promo label {
  color: var(--jp-ui-font-color1, #1a1a1a); font-size: var(--promo-text); line-height: 1.45; }
.promo .widget-html-content { overflow: visible; }
.promo-status { font-variant-numeric: tabular-nums; min-height: 1.5em; padding: 2px 0;
  overflow-wrap: anywhere; }
.promo-status b { font-weight: 600; }
.promo-status .failed, .promo-status .retrying, .promo-problem { color: #c2410c; }
[data-jp-theme-light="false"] .promo-status .failed,
[data-jp-theme-light="false"] .promo-status .retrying,
[data-jp-theme-light="false"] .promo-problem { color: #fb923c; }
.promo .widget-readout { min-width: 84px; max-width: none; }
.promo-lost .promo-status > * { display: none; }
.promo-lost .promo-status { font-size: 0; }
.promo-lost .promo-status::after { font-size: var(--promo-text); font-weight: 600; color: #c2410c;
  content: var(--promo-lost); }
[data-jp-theme-light="false"] .promo-lost .promo-status::after { color: #fb923c; }
.promo-lost .promo :is(button, input, select, .widget-slider) { opacity: 0.5;
  pointer-events: none; }
.promo-second { border-left: 3px solid #CC79A7; padding-left: 8px; }
.promo-title { font-weight: 600; font-size: var(--promo-head); margin: 0; }
.promo-legend { font-size: var(--promo-note); color: var(--jp-ui-font-color2, #555);
  min-height: 1.5em; }
.promo-legend span { white-space: nowrap; margin-right: 12px; }
.promo-legend svg { vertical-align: -2px; margin-right: 4px; }
.promo .widget-html { max-width: 100%; overflow-x: auto;
  contain: layout paint; }  /* new text moves no other; what is within is made anew every time */
.promo-note { font-size: var(--promo-note); color: var(--jp-ui-font-color2, #555);
  font-variant-numeric: tabular-nums; min-height: 3em; max-width: 60em; }
.promo table { border-collapse: collapse; font-variant-numeric: tabular-nums;
  font-size: var(--promo-small); }
.promo th, .promo td { padding: 2px 2px 2px 2.5px; text-align: right; white-space: nowrap; }
.promo th { font-weight: 600; border-bottom: 1px solid var(--jp-border-color1, #bbb); }
.promo th:first-child { text-align: left; }
.promo tbody th { font-weight: normal; border: none; }
.promo tr.first th { white-space: normal; padding-top: 10px;
  color: var(--jp-ui-font-color2, #555); }
.promo table.promo-regressions :is(th, td) { padding-left: 2px; padding-right: 1px; }
.promo table.promo-findings :is(th, td) { vertical-align: top; }
.promo table.promo-findings :is(th, td:last-child) { white-space: normal; }
.promo table.promo-findings :is(th, td):last-child { text-align: left; padding-left: 6px; }
.promo table.promo-leaders :is(th, td) { white-space: normal; }
.promo .widget-html code { background: none; font-size: inherit; padding: 0; }
.promo .bqplot :is(.axis text, .axislabel) {
  fill: var(--jp-ui-font-color1, #1a1a1a) !important; }
.promo .bqplot text {
  stroke: var(--jp-layout-color0, #fff); stroke-width: 3px; paint-order: stroke; }
.promo .bqplot .axis path, .promo .bqplot .axis line {
  stroke: var(--jp-border-color1, #bbb) !important; }
.promo .bqplot .plotarea_background { fill: transparent !important; }
.promo-figure:has(.bqplot + .widget-html) { container-type: inline-size; }
@container (max-width: 520px) {  /* the names of lines go below the plot */
  .promo-figure > .widget-hbox:has(.bqplot) { flex-direction: column; }
  .promo-figure > .widget-hbox > .bqplot { flex: none !important; }
  .promo-figure .bqplot + .widget-html .widget-html-content { display: grid;
    grid-template-columns: auto auto; gap: 0 16px; }
  .promo-figure .bqplot + .widget-html .promo-line { white-space: normal; } }
.promo .promo-points .line { stroke-linecap: round; }
[data-jp-theme-light="false"] .promo :is(.bqplot .dot, .promo-points .line) {
  opacity: 0.85 !important; }
.promo .bqplot { background: transparent !important;
  will-change: transform; }  /* a layer each: one is painted anew without the others */
.promo-stories { display: grid; grid-template-columns: repeat(auto-fill, minmax(176px, 1fr));
  gap: 8px; width: 100%; }
.promo-card { border: 1px solid var(--jp-border-color2, #ddd); border-radius: 4px; padding: 6px 8px;
  margin: 0; justify-content: space-between; overflow: hidden; }
.promo-card-wide { grid-column: span 2; }
.promo-card-title { font-size: var(--promo-small); line-height: 1.35; min-height: 2.7em; }
.promo-card-drawings { display: flex; flex-wrap: wrap; gap: 2px 6px; min-height: 52px; }
.promo-card:has(.leads) { border-color: #0072B2; box-shadow: inset 3px 0 0 #0072B2; }
.promo-card:has(.dead) .promo-dag { opacity: 0.55; }
.promo-dag line { stroke: currentColor; stroke-width: 2; }
.promo-dag polygon, .promo-dag text { fill: currentColor; }
.promo-dag circle { fill: none; stroke: currentColor; stroke-width: 1.5; }
.promo-dag text { text-anchor: middle; font: 12px sans-serif; }
.promo-share { display: grid; grid-template-columns: minmax(0, 64px) 4.6em; align-items: center;
  justify-content: space-between; gap: 0 8px;
  font-size: var(--promo-note); font-variant-numeric: tabular-nums; }
.promo-share b { text-align: right; white-space: nowrap; }
.promo-share svg { grid-column: 1 / -1; }
.promo-line { display: flex; justify-content: space-between; gap: 8px; white-space: nowrap;
  font-size: var(--promo-small); line-height: 1.6; font-variant-numeric: tabular-nums; }
.promo-line svg { vertical-align: -2px; margin-right: 4px; }
.promo-line b { min-width: 4em; text-align: right; }
.promo-choose .promo-note { min-height: 0; }
.promo-policy { display: inline-grid; font-size: var(--promo-note);
  color: var(--jp-ui-font-color2, #555); }
.promo-form .widget-gridbox { grid-template-columns: repeat(3, max-content 1fr) !important; }
@media (max-width: 900px) {
  .promo-form .widget-gridbox { grid-template-columns: max-content 1fr !important; } }
.promo-form .widget-dropdown { max-width: 100%; }
.promo-predictions .widget-dropdown { flex-wrap: wrap; height: auto; }
.promo-predictions label { max-width: 100%; }
.promo-predictions select { flex: 0 0 112px; height: var(--jp-widgets-inline-height, 28px); }
.promo .widget-checkbox input { vertical-align: -3px; }
[data-jp-theme-light="false"] .promo :is(select, input[type=checkbox]) { color-scheme: dark; }
[data-jp-theme-light="false"] .promo select { appearance: auto; background-image: none; }
.promo .widget-toggle-buttons { flex-wrap: wrap; height: auto; }
.promo .promo-workers td, .promo .promo-workers th { padding: 2px 10px; }
.promo-bar { height: 8px; border-radius: 2px; background: var(--jp-layout-color2, #eee); }
.promo-bar div { height: 100%; border-radius: 2px; background: #0072B2; }
.promo td .failed { color: #c2410c; }
.promo table.promo-list :is(th, td) { text-align: left; vertical-align: top; padding-right: 10px; }
.promo table.promo-totals :is(th, td) { padding-right: 10px; }
.promo .promo-brief { min-height: 0; margin: 4px 0; }
.promo table.promo-list td:last-child { white-space: normal; overflow-wrap: anywhere; }
[data-jp-theme-light="false"] .promo td .failed { color: #fb923c; }
.promo .jupyter-button.mod-primary { background: #0072B2; color: #fff; }
.promo .jupyter-button.mod-danger { background: #b3261e; color: #fff; }
.promo .widget-toggle-button.mod-active { background: #0072B2; color: #fff; }
.promo :focus-visible { outline: 2px solid #0072B2 !important; outline-offset: 2px; }
[data-jp-theme-light="false"] .promo :focus-visible { outline-color: #56B4E9 !important; }
.promo caption { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); }
@media (prefers-reduced-motion: reduce) {
  .promo *, .promo *::before, .promo *::after { transition: none !important;
    animation: none !important; } }
</style>
"""


def headed(title: str, legend: str) -> str:
    """Return the head of a view as HTML: its title, a heading to those who hear it, and its key."""
    heading = f'<div class="promo-title" role="heading" aria-level="3">{title}</div>'
    return f'{heading}<div class="promo-legend">{legend}</div>'


def table(caption: str, columns: Sequence[str | tuple[str, int]], body: str, kind: str = "") -> str:
    """Return a table as HTML, with a caption for those who hear it.

    Parameters
    ----------
    columns
        Their heads; with a number, of so many columns together.
    body
        Its ``<tbody>`` elements; a row that has a name begins with a ``<th scope="row">``.
    kind
        A class of the style sheet.
    """
    heads = ""
    for column in columns:
        name, width = (column, 1) if isinstance(column, str) else column
        scope = "col" if width == 1 else f'colgroup" colspan="{width}'
        heads += f'<th scope="{scope}">{name}</th>'
    return (
        f'<table class="{kind}"><caption>{caption}</caption>'
        f"<thead><tr>{heads}</tr></thead>{body}</table>"
    )


def number(value: float, form: str) -> str:
    """Return a number for a table, nothing where it is not finite."""
    return format(value, form) if isfinite(value) else ""


def row_layout() -> widgets.Layout:
    """Return the layout of a row of controls, wrapped where there is no room."""
    return widgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="4px 16px")


def key(text: str, colour: str, *, dash: str = "", marker: str = "") -> str:
    """Return an entry of a legend: a small line or marker and what it stands for."""
    if marker == "circle":
        mark = f'<circle cx="7" cy="6" r="4" fill="{colour}"/>'
    elif marker == "diamond":
        mark = f'<path d="M7 1l5 5-5 5-5-5z" fill="{colour}"/>'
    elif marker == "square":
        mark = f'<path d="M2 1h10v10h-10z" fill="{colour}"/>'
    elif marker == "cross":
        mark = f'<path d="M7 1v10M2 6h10" stroke="{colour}" stroke-width="3"/>'
    else:
        mark = f'<path d="M0 6h22" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"/>'
    width = 14 if marker else 22
    return f'<span><svg width="{width}" height="12" aria-hidden="true">{mark}</svg>{text}</span> '
