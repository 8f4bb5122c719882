"""Another run in the same figure: its line thin and dashed, with its name at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import bqplot as bq

from promo.snapshot import Snapshot
from promo.ui.plot import NOWHERE, OFF, Floats, move
from promo.ui.style import PURPLE


class Run(Protocol):
    """A run that is drawn beside another."""

    @property
    def name(self) -> str:
        """What stands at the end of its lines."""

    @property
    def since(self) -> int:
        """Rows that it has in common with the other, which are not drawn twice."""

    @property
    def snapshot(self) -> Snapshot | None:
        """Its newest, None while there is no such run."""


@dataclass(frozen=True, eq=False)
class StillRun:
    """A run that does not go on, as a store has it.

    Parameters
    ----------
    name, snapshot, since
        As `Run` has them; the snapshot is that of `Past.turn_to`.
    """

    name: str
    snapshot: Snapshot
    since: int = 0


class BesideLine:
    """A line of the other run, from where they part, and its label.

    Parameters
    ----------
    run, scales
        Of what is drawn, and where.
    style, which
        Of the line; and what its label says besides the run's name, where a figure has several.
    """

    def __init__(
        self, run: Run, scales: dict[str, bq.Scale], style: str = "dashed", which: str = ""
    ) -> None:
        self._rows = scales["x"]
        self._run, self._said = run, f", {which}" if which else ""
        self.line = bq.Lines(
            x=NOWHERE, y=NOWHERE, scales=scales, colors=[PURPLE], stroke_width=1.5,
            line_style=style,
        )  # fmt: skip
        self.label = bq.Label(
            x=[OFF], y=[0.0], text=[""], scales=scales, colors=[PURPLE], default_size=11,
            align="end", y_offset=-8, font_weight="normal",
        )  # fmt: skip
        self.marks = [self.line, self.label]

    def draw(self, rows: Floats, values: Floats) -> tuple[Floats, Floats]:
        """Draw it, shapes (n,), and return what is drawn; without a point there is nothing."""
        apart = rows >= self._run.since
        rows, values = rows[apart], values[apart]
        move(self.line, rows, values)
        with self.label.hold_sync():
            self.label.x, self.label.y = (rows[-1:], values[-1:]) if len(rows) else ([OFF], [0.0])
            if len(rows):  # to the left of where the line ends there may be no room yet
                self.label.align = "start" if rows[-1] < self._rows.max / 4 else "end"
            self.label.text = [f"{self._run.name}{self._said}"] if len(rows) else [""]
        return rows, values

    def put(self, *, above: bool) -> None:
        """Put the label above its line, or below."""
        self.label.y_offset = -8 if above else 16
