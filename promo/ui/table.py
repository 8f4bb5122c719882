"""The coefficients as a table: the same numbers as the figures, for reading and for copying."""

from __future__ import annotations

from html import escape
from math import isfinite

import ipywidgets as widgets

from promo.models.results import Coefficient
from promo.snapshot import Snapshot
from promo.ui.common import html, sheet
from promo.ui.style import headed, number, table
from promo.ui.switch import ColliderSwitch
from promo.words import of_rows

_TITLE = "The regressions in numbers"


class CoefficientTable:
    """Terms of the regressions: estimate, standard error, p, both intervals, R² and rows.

    Parameters
    ----------
    switch
        Says which regressions to show, and with which errors; one of its own unless given.
    """

    rest_s = 2.0  # nobody reads faster

    def __init__(self, switch: ColliderSwitch | None = None) -> None:
        self._switch = switch or ColliderSwitch()
        self.table = html()
        head = headed(
            _TITLE,
            "SE: standard error; p and the first interval for one look; that at any time holds "
            "whenever you stop",
        )
        own = [] if switch else [self._switch.widget]
        self.widget = widgets.VBox([sheet(), html(head), *own, self.table])
        self.widget.add_class("promo")

    @property
    def choice(self) -> object:
        """What the reader has chosen; see `Publisher`."""
        return self._switch.choice

    def update(self, snapshot: Snapshot) -> None:
        """Write the table anew if a number has changed."""
        self.table.value = as_html(snapshot, self._switch)


def as_html(snapshot: Snapshot, switch: ColliderSwitch) -> str:
    """Return the table of the regressions that a switch shows, at a snapshot."""
    body = "".join(_section(snapshot, switch, model) for model in switch.formulas)
    intervals = (f"{snapshot.level} interval", 2), ("at any time", 2)
    return table(_TITLE, ("term", "estimate", "SE", "p", *intervals), body, "promo-regressions")


def _section(snapshot: Snapshot, switch: ColliderSwitch, model: str) -> str:
    rows, r_squared = snapshot.metric(model, "rows"), snapshot.metric(model, "r_squared")
    robust = ", HC1 errors" if switch.robust.value else ""
    about = f"R² {number(r_squared, '.4f') or 'not defined'}, {of_rows(rows)}{robust}"
    lines = [
        f'<tr class="first"><th scope="rowgroup" colspan="8">'
        f"<code>{escape(model)}</code> &nbsp; {about}</th></tr>"
    ]
    for found in snapshot.coefficients:
        if found.model == model:
            term = switch.coefficient(snapshot, model, found.term)
            cells = "".join(f"<td>{cell}</td>" for cell in _cells(term))
            lines.append(f'<tr><th scope="row">{escape(term.term)}</th>{cells}</tr>')
    return f"<tbody>{''.join(lines)}</tbody>"


def _cells(c: Coefficient) -> list[str]:
    p = (
        ""
        if not isfinite(c.p_value)
        else ("&lt;0.001" if c.p_value < 0.001 else f"{c.p_value:.3f}")
    )
    bounds = (c.ci_low, c.ci_high, c.av_low, c.av_high)
    numbers = number(c.estimate, "+.3f"), number(c.std_error, ".4f")
    return [*numbers, p, *(number(v, "+.3f") for v in bounds)]
