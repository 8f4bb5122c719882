"""Does competence move network ability: its slope with and without `promoted`, honestly bounded."""

from __future__ import annotations

from math import isfinite, nan

import bqplot as bq
import numpy as np

from promo.models.looks import COLLIDER, NULL
from promo.models.verdict import in_words, negligible_slope, safe_to_stop
from promo.snapshot import Snapshot
from promo.ui.beside import BesideLine, Run
from promo.ui.plot import (
    DASHED,
    NOWHERE,
    POINTS,
    Figure,
    Floats,
    axis,
    band,
    extend,
    fit,
    move,
    move_band,
    over_rows,
    sparse,
)
from promo.ui.style import GREEN, GREY, VERMILLION, headed, key
from promo.ui.switch import ColliderSwitch
from promo.words import of_rows

_TITLE = "Does competence move network ability?"
_NAMES = {NULL: "Without promoted", COLLIDER: "With promoted"}


class CoefficientFigure(Figure):
    """The slope on competence over rows, with the interval for one look inside that for all.

    Parameters
    ----------
    switch
        Says which regressions and intervals to show; one of its own unless given.
    beside
        Another run, whose slopes are drawn as well.
    """

    rest_s = 1.0

    def __init__(self, switch: ColliderSwitch | None = None, beside: Run | None = None) -> None:
        self.switch, self.beside = switch or ColliderSwitch(), beside
        self._x, self._y = bq.LinearScale(min=0, max=10), bq.LinearScale(min=-0.5, max=0.5)
        scales = {"x": self._x, "y": self._y}
        across = {"x": bq.LinearScale(min=0, max=1), "y": self._y}
        self.zero = bq.Lines(x=[0.0, 1.0], y=[0.0, 0.0], scales=across, colors=[GREY])
        self.paths, self.bands, self.wide, self.others = {}, {}, {}, {}
        for formula, colour, style in ((NULL, GREEN, "solid"), (COLLIDER, VERMILLION, "dashed")):
            self.wide[formula] = band(scales, colour, opacity=0.10, edge=0.35)
            self.bands[formula] = band(scales, colour, opacity=0.28, edge=0.0)
            self.paths[formula] = bq.Lines(
                x=NOWHERE, y=NOWHERE, scales=scales, colors=[colour], stroke_width=2.5,
                line_style=style,
            )  # fmt: skip
            if beside:
                aside = {NULL: ("dashed", "without"), COLLIDER: ("dotted", "with")}[formula]
                self.others[formula] = BesideLine(beside, scales, *aside)
        axes = [
            over_rows(self._x),
            sparse(axis(self._y, "slope on competence", vertical=True, fmt="+.3~f")),
        ]
        marks = [*self.wide.values(), *self.bands.values(), self.zero, *self.paths.values()]
        marks += [mark for other in self.others.values() for mark in other.marks]
        own = [] if switch else [self.switch.widget]
        super().__init__(_TITLE, _legend(self.switch, ""), marks, axes, own)

    @property
    def choice(self) -> object:
        """What the reader has chosen; see `Publisher`."""
        return self.switch.choice

    def update(self, snapshot: Snapshot) -> None:
        """Draw the paths chosen, with their intervals."""
        self.head.value = headed(_TITLE, _legend(self.switch, f"{snapshot.level} "))
        ends = self._draw_others()
        end = max([1.0, snapshot.rows, *(rows for rows, _ in ends)])
        shown = [np.zeros(1), *(np.array([slope]) for _, slope in ends)]
        for formula, path in self.paths.items():
            chosen = formula in self.switch.formulas
            if chosen:
                shown += self._draw(snapshot, formula, end / 10)
            others = self.others[formula].marks if self.others else []
            for mark in (path, self.bands[formula], self.wide[formula], *others):
                mark.visible = chosen
        if not snapshot.rows:
            self.empty("No row is learned yet.")
            return
        move(self.zero, np.array([0.0, end]), np.zeros(2))
        extend(self._x, end)
        fit(self._y, np.array([end]), shown)
        claims = [self._claim(snapshot, formula) for formula in self.switch.formulas]
        self.say(" ".join(claims) + self._told_of_other())

    def _draw(self, snapshot: Snapshot, formula: str, wild: float) -> list[Floats]:
        """Draw one path; return the bounds that the scale is to hold, not of the first rows."""
        rows, slope, one, all_ = self.switch.path(snapshot, formula, POINTS)
        bounded = np.isfinite(all_) & self.switch.anytime.value
        look = np.stack([slope - one, slope + one])
        looks = np.stack([slope - all_, slope + all_])[:, bounded]
        move(self.paths[formula], rows, slope)
        move_band(self.bands[formula], rows, *look)
        move_band(self.wide[formula], rows[bounded], *looks)
        settled = rows >= min([wild, *rows[-1:].tolist()])
        return [*look[:, settled], *looks[:, settled[bounded]]]

    def _draw_others(self) -> list[tuple[float, float]]:
        """Draw the other run's paths; return where they end, rows and slope."""
        run = self.beside.snapshot if self.beside else None
        ends: dict[str, tuple[float, float]] = {}
        if run is None:
            return []
        for formula in self.switch.formulas:
            rows, slope, *_ = self.switch.path(run, formula, POINTS)
            rows, slope = self.others[formula].draw(rows, slope)
            if len(rows):
                ends[formula] = float(rows[-1]), float(slope[-1])
        highest = max(ends, key=lambda formula: ends[formula][1], default=None)
        for formula in ends:  # so that no label lies over the other
            self.others[formula].put(above=formula == highest)
        return [*ends.values()]

    def _told_of_other(self) -> str:
        run = self.beside.snapshot if self.beside else None
        if self.beside is None or run is None:
            return ""
        found = {f: self.switch.coefficient(run, f, "competence") for f in self.switch.formulas}
        slopes = ", ".join(
            f"{f'{slope.estimate:+.3f}' if isfinite(slope.estimate) else 'not defined'} "
            f"{_NAMES[formula].lower()}"
            for formula, slope in found.items()
        )
        return f" Beside it, {self.beside.name}, {of_rows(run.rows)}: {slopes}."

    def _claim(self, snapshot: Snapshot, formula: str) -> str:
        slope = self.switch.coefficient(snapshot, formula, "competence")
        since = snapshot.metric(formula, "zero_excluded_at competence")
        if self.switch.robust.value:
            since = nan  # that page is one by the other errors
        null = snapshot.coefficient(NULL, "competence")
        rows, explained = (snapshot.metric(NULL, name) for name in ("rows", "r_squared"))
        verdict = safe_to_stop(slope, since, negligible_slope(null, int(rows), explained))
        return f"<b>{_NAMES[formula]}:</b> {in_words(slope, snapshot.level)} {verdict}"


def _legend(switch: ColliderSwitch, level: str) -> str:
    wider = ", and wider at any time" if switch.anytime.value else ""
    return (
        key("without promoted", GREEN)
        + key("with promoted", VERMILLION, dash=DASHED)
        + f"<span>bands: {level}at one look{wider}</span>"
    )
