"""Another run in the same figure: its line thin and dashed, with its name at the end."""

from __future__ import annotations

from typing import Protocol

import bqplot as bq

from promo.snapshot import Snapshot
from promo.ui.plot import NOWHERE, OFF, Floats, move
from promo.ui.style import PURPLE


class Run(Protocol):
    """A run that is drawn beside another.

    Attributes
    ----------
    name
        What stands at the end of its lines.
    """

    name: str

    @property
    def snapshot(self) -> Snapshot | None:
        """Its newest, None while there is no such run."""


class BesideLine:
    """A line of the other run, and its label."""

    def __init__(self, name: str, scales: dict[str, bq.Scale]) -> None:
        self._name = name
        self.line = bq.Lines(
            x=NOWHERE, y=NOWHERE, scales=scales, colors=[PURPLE], stroke_width=1.5,
            line_style="dashed",
        )  # fmt: skip
        self.label = bq.Label(
            x=[OFF], y=[0.0], text=[""], scales=scales, colors=[PURPLE], default_size=11,
            x_offset=4, y_offset=-6, font_weight="normal",
        )  # fmt: skip
        self.marks = [self.line, self.label]

    def draw(self, x: Floats, y: Floats) -> None:
        """Draw it, shapes (n,); without a point there is nothing to see."""
        move(self.line, x, y)
        with self.label.hold_sync():
            self.label.x, self.label.y = (x[-1:], y[-1:]) if len(x) else ([OFF], [0.0])
            self.label.text = [self._name] if len(x) else [""]
