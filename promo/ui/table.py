"""The coefficients as a table: the same numbers as the figures, for reading and for copying."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import isfinite

import ipywidgets as widgets

from promo.models.results import Coefficient
from promo.snapshot import Snapshot
from promo.ui.figures import COLLIDER, NULL
from promo.ui.style import sheet

_HEAD = ("term", "estimate", "SE", "t", "p")


class CoefficientTable:
    """Terms of some models: estimate, standard error, t, p, interval, R² and rows."""

    rest_s = 0.5  # nobody reads faster

    def __init__(self, models: Sequence[str] = (NULL, COLLIDER)) -> None:
        self._models = tuple(models)
        self.table = widgets.HTML()
        title = widgets.HTML('<div class="promo-title">The regressions in numbers</div>')
        key = '<div class="promo-legend">SE: standard error; intervals for one look</div>'
        self.widget = widgets.VBox([sheet(), title, widgets.HTML(key), self.table])
        self.widget.add_class("promo")

    def update(self, snapshot: Snapshot) -> None:
        """Write the table anew if a number has changed."""
        self.table.value = as_html(snapshot, self._models)


def as_html(snapshot: Snapshot, models: Sequence[str]) -> str:
    """Return the table of `models` at a snapshot."""
    head = "".join(f"<th>{name}</th>" for name in _HEAD) + '<th colspan="2">95% interval</th>'
    body = "".join(_section(snapshot, model) for model in models)
    return f"<table><thead><tr>{head}</tr></thead>{body}</table>"


def _section(snapshot: Snapshot, model: str) -> str:
    rows, r_squared = snapshot.metric(model, "rows"), snapshot.metric(model, "r_squared")
    about = f"R² {_number(r_squared, '.4f') or 'not defined'}, {rows:,.0f} rows"
    lines = [
        f'<tr class="first"><th scope="rowgroup" colspan="{len(_HEAD) + 2}">'
        f"<code>{escape(model)}</code> &nbsp; {about}</th></tr>"
    ]
    for term in snapshot.coefficients:
        if term.model == model:
            cells = "".join(f"<td>{cell}</td>" for cell in _cells(term))
            lines.append(f"<tr>{cells}</tr>")
    return f"<tbody>{''.join(lines)}</tbody>"


def _cells(c: Coefficient) -> list[str]:
    p = (
        ""
        if not isfinite(c.p_value)
        else ("&lt;0.001" if c.p_value < 0.001 else f"{c.p_value:.3f}")
    )
    numbers = _number(c.estimate, "+.3f"), _number(c.std_error, ".4f"), _number(c.statistic, "+.1f")
    return [escape(c.term), *numbers, p, *(_number(v, "+.3f") for v in (c.ci_low, c.ci_high))]


def _number(value: float, form: str) -> str:
    return format(value, form) if isfinite(value) else ""
