"""What if: what each expert says of a person with these abilities."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import isfinite

import ipywidgets as widgets

from promo.snapshot import Snapshot
from promo.ui.common import html, sheet
from promo.ui.opinions import Answer, Answering, Opinion, opinions
from promo.ui.style import headed, row_layout, table

_WIDE = {"description_width": "initial"}


class WhatIfCard:
    """What each expert says of a person with these abilities, while the stream runs."""

    rest_s = 1.0

    def __init__(self, trainer: Answering) -> None:
        self._trainer, self._answer = trainer, Answer()
        self.competence, self.network_ability = (
            widgets.FloatSlider(
                value=0.5, min=-4, max=4, step=0.1, description=name, continuous_update=False,
                readout_format="+.1f", style=_WIDE, layout=widgets.Layout(width="320px"),
            )
            for name in ("Competence", "Network ability")
        )  # fmt: skip
        self.table = html()
        head = headed(
            "What if?",
            "The chance of promotion of such a person; an interval for one look where the expert "
            "has one",
        )
        row = widgets.HBox([self.competence, self.network_ability], layout=row_layout())
        self.widget = widgets.VBox([sheet(), html(head), row, self.table])
        self.widget.add_class("promo")

    @property
    def choice(self) -> object:
        """The point, and whether it is that which is shown."""
        about = self.competence.value, self.network_ability.value
        return about, self._answer.is_about(about)

    @property
    def answers(self) -> int:
        """How many answers have come."""
        return self._answer.count

    def update(self, snapshot: Snapshot) -> None:
        """Show the newest answer, and ask again."""
        about = self.competence.value, self.network_ability.value
        answer = self._answer.to(
            about,
            snapshot.rows,
            lambda: self._trainer.ask(lambda models: opinions(models, *about)),
        )
        if answer is not None:
            self.table.value = _table(answer, snapshot.level)


def _table(said: Sequence[Opinion], level: str) -> str:
    lines = ""
    for name, proba, low, high in said:
        interval = f"{low:.1%} to {high:.1%}" if isfinite(low) else ""
        bar = f'<div class="promo-bar"><div style="width: {100 * proba:.0f}%"></div></div>'
        lines += (
            f'<tr><th scope="row">{escape(name)}</th><td>{proba:.1%}</td>'
            f'<td style="width: 80px">{bar}</td><td>{interval}</td></tr>'
        )
    columns = ("expert", ("chance", 2), f"{level} interval")
    return table("The chance of promotion, expert by expert", columns, f"<tbody>{lines}</tbody>")
