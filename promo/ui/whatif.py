"""What if: what each expert says of a person with these abilities."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import isfinite, log10

import ipywidgets as widgets

from promo.snapshot import Snapshot
from promo.ui.common import html, sheet
from promo.ui.opinions import (
    LATE,
    PLANE,
    Answer,
    Answering,
    Opinion,
    opinions,
    past_page,
)
from promo.ui.plot import Floats, reach
from promo.ui.style import headed, row_layout, table
from promo.words import percent

_WIDE = {"description_width": "initial"}


class WhatIfCard:
    """What each expert says of a person with these abilities, while the stream runs."""

    rest_s = 1.0

    def __init__(self, trainer: Answering) -> None:
        self._trainer, self._answer = trainer, Answer()
        low, high = PLANE
        self.competence, self.network_ability = (
            widgets.FloatSlider(
                value=0.5, min=low, max=high, step=0.1, description=name, continuous_update=False,
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
        about = self._about
        return about, self._answer.is_about(about), self._answer.is_late

    @property
    def _about(self) -> tuple[float, float, int | None]:
        return self.competence.value, self.network_ability.value, past_page(self._trainer)

    @property
    def answers(self) -> int:
        """How many answers have come."""
        return self._answer.count

    def update(self, snapshot: Snapshot) -> None:
        """Show the newest answer, and ask again."""
        ability, competence, _ = snapshot.sample
        for slider, values in ((self.competence, competence), (self.network_ability, ability)):
            _reach(slider, values)
        about = self._about
        answer = self._answer.to(
            about,
            snapshot.rows,
            lambda: self._trainer.ask(lambda models: opinions(models, *about[:2])),
        )
        if self._answer.is_late:
            self.table.value = f'<div class="promo-note">{LATE}</div>'
        elif answer is not None:
            self.table.value = _table(answer, snapshot.level)


def _reach(slider: widgets.FloatSlider, values: Floats) -> None:
    """Have a slider go as far as the people do; if it was elsewhere, to the midst of them."""
    low, high = reach((slider.min, slider.max), PLANE, values)
    if (low, high) == (slider.min, slider.max):
        return
    power = round(log10((high - low) / 80))  # of ten, for about as many steps
    digits = max(0, -power)
    with slider.hold_trait_notifications():
        slider.min, slider.max = low, high
        if not low <= slider.value <= high:  # else it is the reader's alone
            slider.value = round((low + high) / 2, digits)
        slider.step = 10.0**power
        slider.readout_format = f"+.{digits}f"


def _table(said: Sequence[Opinion], level: str) -> str:
    lines = ""
    for name, proba, low, high in said:
        interval = f"{percent(low)} to {percent(high)}" if isfinite(low) else ""
        bar = f'<div class="promo-bar"><div style="width: {100 * proba:.0f}%"></div></div>'
        lines += (
            f'<tr><th scope="row">{escape(name)}</th><td>{escape(percent(proba))}</td>'
            f'<td style="width: 80px">{bar}</td><td>{escape(interval)}</td></tr>'
        )
    columns = ("expert", ("chance", 2), f"{level} interval")
    return table("The chance of promotion, expert by expert", columns, f"<tbody>{lines}</tbody>")
