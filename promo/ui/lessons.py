"""Two lessons to drag: how strong a spurious slope selection makes, and what peeking does."""

from __future__ import annotations

import time

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from promo.models.peeking import Peeking, peek
from promo.models.results import Coefficient
from promo.models.selection import measured_slope, spurious_slope
from promo.snapshot import Snapshot
from promo.ui.plot import DASHED, NOWHERE, Figure, axis, move
from promo.ui.style import BLUE, GREEN, GREY, VERMILLION, key, row_layout

_STRENGTHS = np.linspace(0, 5, 101)
_SEED = 2021
_WATCHED_S = 10.0  # from the first look to the last


class SelectionFigure(Figure):
    """The slope given promoted over the strength of selection: theory, and measurements beside."""

    def __init__(self, rows: int = 10_000) -> None:
        self._rows = rows
        self.strength = widgets.FloatSlider(
            value=1.0, min=0, max=5, step=0.25, description="Selection strength",
            continuous_update=False, style={"description_width": "initial"},
            layout=widgets.Layout(width="380px"),
        )  # fmt: skip
        scales = {"x": bq.LinearScale(min=0, max=5.1), "y": bq.LinearScale(min=-0.5, max=0.05)}
        self.theory = bq.Lines(
            x=_STRENGTHS, y=spurious_slope(_STRENGTHS), scales=scales, colors=[GREY],
            stroke_width=2,
        )  # fmt: skip
        self._measured: dict[float, Coefficient] = {}
        self.intervals = bq.Lines(x=NOWHERE, y=NOWHERE, scales=scales, colors=[VERMILLION])
        self.points = bq.Scatter(
            x=NOWHERE, y=NOWHERE, scales=scales, colors=[VERMILLION], marker="circle",
            default_size=24,
        )  # fmt: skip
        self.now = bq.Scatter(  # hollow, so that the interval within can be seen
            x=NOWHERE, y=NOWHERE, scales=scales, colors=[BLUE], marker="diamond",
            default_size=260, fill=False, stroke_width=2,
        )  # fmt: skip
        legend = (
            key("theory", GREY)
            + key(
                f"measured on the same {rows:,} employees, 95% at one look",
                VERMILLION,
                marker="circle",
            )
            + key("now", BLUE, marker="diamond")
        )
        axes = [
            axis(scales["x"], "weight of both abilities in promotion"),
            axis(scales["y"], "slope given promoted", vertical=True, fmt="+.2f"),
        ]
        marks = [self.theory, self.intervals, self.points, self.now]
        super().__init__("A slope out of selection", legend, marks, axes, [self.strength])

    @property
    def choice(self) -> float:
        """The strength."""
        return float(self.strength.value)

    def update(self, _: Snapshot | None) -> None:
        """Measure at the strength chosen, beside those measured before."""
        strength = self.choice
        slope = measured_slope(strength, self._rows, _SEED)
        self._measured[strength] = slope
        at = np.array(sorted(self._measured))
        found = [self._measured[s] for s in at.tolist()]
        move(self.points, at, np.array([c.estimate for c in found]))
        bars = np.array([[c.ci_low, c.ci_high] for c in found])
        move(self.intervals, np.stack([at, at], axis=1), bars)
        move(self.now, np.array([strength]), np.array([slope.estimate]))
        theory = float(spurious_slope(strength)) + 0.0
        self.say(
            f"At strength {strength:.2f} theory says {theory:+.3f}; measured "
            f"{slope.estimate:+.3f}, {slope.ci_low:+.3f} to {slope.ci_high:+.3f}. Nothing "
            "flows between the two abilities at any strength. All are measured on the same "
            "employees, so chance has moved them all the same way."
        )


class PeekingFigure(Figure):
    """Streams without any effect: in how many an interval has excluded zero at some look so far."""

    def __init__(self, streams: int = 1_000, rows: int = 5_000) -> None:
        self._streams, self._every = streams, 10
        self._seen: Peeking | None = None
        self._rows = rows
        looks = rows // self._every
        self._looks, self._shown = looks, looks
        self._began: float | None = None  # when it was pressed to watch, while it is watched
        self.watch = widgets.Button(description="Watch it happen", layout={"width": "auto"})
        self.watch.on_click(self._watch)
        self.look = widgets.IntSlider(
            min=1, max=looks, value=looks, description="Looks",
            style={"description_width": "initial"}, layout=widgets.Layout(width="360px"),
        )  # fmt: skip
        self.look.observe(self._take, "value")
        self._x, self._y = bq.LinearScale(min=0, max=rows), bq.LinearScale(min=0, max=0.55)
        scales = {"x": self._x, "y": self._y}
        self.fixed, self.anytime = (
            bq.Lines(x=NOWHERE, y=NOWHERE, scales=scales, colors=[colour], stroke_width=2.5,
                     line_style=style)
            for colour, style in ((VERMILLION, "dashed"), (GREEN, "solid"))
        )  # fmt: skip
        self.promise = bq.Lines(
            x=[0.0, float(rows)], y=[0.05, 0.05], scales=scales, colors=[GREY], line_style="dotted"
        )
        legend = (
            key("95% interval for one look", VERMILLION, dash=DASHED)
            + key("95% at any time", GREEN)
            + key("5%", GREY, dash="2,3")
        )
        axes = [
            axis(self._x, "rows seen", fmt="~s"),
            axis(self._y, "streams that cried wolf", vertical=True, fmt=".0%"),
        ]
        marks = [self.promise, self.fixed, self.anytime]
        controls = widgets.HBox([self.watch, self.look], layout=row_layout())
        super().__init__("What peeking does", legend, marks, axes, [controls])

    def _watch(self, _: widgets.Button) -> None:
        self._began = time.monotonic()

    def _take(self, change: dict[str, int]) -> None:
        if change["new"] != self._shown:  # the reader has taken the slider
            self._began = None

    @property
    def choice(self) -> int:
        """How many looks have been taken: as the slider says, while it is watched those by now."""
        began = self._began
        if began is None:
            return int(self.look.value)
        return max(1, int(min((time.monotonic() - began) / _WATCHED_S, 1.0) * self._looks))

    @property
    def seen(self) -> Peeking:
        """What becomes of the streams; simulated at first use."""
        if self._seen is None:
            self._seen = peek(self._streams, self._rows, self._every, seed=_SEED)
        return self._seen

    def update(self, _: Snapshot | None) -> None:
        """Draw what had happened by the look chosen."""
        looks = self.choice
        if self._began is not None:  # the slider goes along
            self._shown = self.look.value = looks
            if looks == self._looks:
                self._began = None
        rows, fixed, anytime = (column[:looks].astype(np.float64) for column in self.seen)
        thin = np.unique(np.linspace(0, looks - 1, 250).astype(int))
        move(self.fixed, rows[thin], fixed[thin])
        move(self.anytime, rows[thin], anytime[thin])
        self.say(
            f"{self._streams:,} streams in which nothing depends on anything, looked at every "
            f"{self._every} rows. By row {rows[-1]:,.0f} the interval for one look has excluded "
            f"zero at some time in {fixed[-1]:.1%} of them, the one for any time in "
            f"{anytime[-1]:.1%}; promised are 5% at most."
        )
