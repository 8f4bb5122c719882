"""Live figures: marks are built once and changed in place, x and y together.

Each figure has a title with a legend, the drawing, and a sentence with the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import bqplot as bq
import ipywidgets as widgets
import numpy as np
from numpy.typing import NDArray

from promo.models.results import Coefficient
from promo.snapshot import Snapshot
from promo.ui.style import BLUE, GREEN, GREY, SKY, VERMILLION, key, sheet

Floats = NDArray[np.float64]
NULL = "network_ability ~ competence"
COLLIDER = "network_ability ~ competence + promoted"
_DASHED = "6,4"
_POINTS = 250  # of a line: as many as can be told apart, at a quarter of the cost of all
_CHANGES = 50  # of a learning rate that are marked, the newest
_LABELS = 6  # of learning rates, the newest; bqplot's Label fails when their number changes
_OFF = -1e9  # the plot: where marks without a point are
_NOWHERE = np.full(2, _OFF)


class Figure:
    """A titled bqplot figure with a legend above and a sentence below."""

    def __init__(
        self, title: str, legend: str, marks: Sequence[bq.Mark], axes: Sequence[bq.Axis]
    ) -> None:
        self.note = widgets.HTML()
        self.figure = bq.Figure(
            marks=list(marks),
            axes=list(axes),
            animation_duration=0,
            fig_margin={"top": 12, "bottom": 44, "left": 68, "right": 20},
            layout=widgets.Layout(width="auto", height="300px", min_width="300px"),
        )
        head = widgets.HTML(
            f'<div class="promo-title">{title}</div><div class="promo-legend">{legend}</div>'
        )
        self.widget = widgets.VBox(
            [sheet(), head, self.figure, self.note],
            layout=widgets.Layout(min_width="320px"),
        )
        self.widget.add_class("promo")

    def say(self, sentence: str) -> None:
        """Put the figure in words."""
        self.note.value = f'<div class="promo-note">{sentence}</div>'


class SampleFigure(Figure):
    """Who gets promoted: a sample of the rows, and where the classifier says even odds."""

    rest_s = 1.0  # the dearest to draw, and the one that changes least

    def __init__(self, model: str = "sgd-logistic") -> None:
        self._model = model
        self._x, self._y = bq.LinearScale(min=-3.5, max=3.5), bq.LinearScale(min=-3.5, max=3.5)
        scales = {"x": self._x, "y": self._y}
        nothing = np.empty(0)
        self.not_promoted, self.promoted = (
            bq.Scatter(
                x=nothing, y=nothing, scales=scales, colors=[colour], marker=marker,
                default_size=size, opacities=[0.55], stroke_width=1,
            )
            for colour, marker, size in ((VERMILLION, "cross", 30), (BLUE, "circle", 22))
        )  # fmt: skip
        self.boundary = bq.Lines(x=nothing, y=nothing, scales=scales, colors=[GREY], stroke_width=3)
        legend = (
            key("promoted", BLUE, marker="circle")
            + key("not promoted", VERMILLION, marker="cross")
            + key(f"even odds, says {model}", GREY)
        )
        axes = [_axis(self._x, "competence"), _axis(self._y, "network ability", vertical=True)]
        marks = [self.not_promoted, self.promoted, self.boundary]
        super().__init__("Who gets promoted?", legend, marks, axes)

    def update(self, snapshot: Snapshot) -> None:
        """Draw the sample and the boundary; the axes only ever grow."""
        network_ability, competence, promoted = snapshot.sample
        chosen = promoted > 0
        _set(self.promoted, competence[chosen], network_ability[chosen])
        _set(self.not_promoted, competence[~chosen], network_ability[~chosen])
        for scale, values in ((self._x, competence), (self._y, network_ability)):
            _grow(scale, values)
        names = ("intercept", "competence", "network_ability")
        a, b, c = (snapshot.coefficient(self._model, name).estimate for name in names)
        _set(self.boundary, *_straight(a, b, c, self._x, self._y))
        self.say(
            f"{len(promoted):,} of {snapshot.rows:,} rows, each as likely to be shown as any; "
            f"{chosen.mean() if len(chosen) else 0:.0%} of them promoted. Log odds of promotion = "
            f"{a:.2f} {_signed(b)} · competence {_signed(c)} · network ability."
        )


class LossFigure(Figure):
    """How well we predict: log loss by progressive validation, and where the rate was changed."""

    def __init__(self, model: str = "sgd-logistic") -> None:
        self._model = model
        self._marked: list[tuple[int, float]] = []
        self._x, self._y = bq.LinearScale(min=0, max=10), bq.LinearScale(min=0.5, max=0.8)
        scales = {"x": self._x, "y": self._y}
        self.line = bq.Lines(x=_NOWHERE, y=_NOWHERE, scales=scales, colors=[BLUE], stroke_width=2.5)
        self.recent = bq.Lines(x=_NOWHERE, y=_NOWHERE, scales=scales, colors=[SKY], stroke_width=1)
        self.coin = bq.Lines(
            x=[0.0, 10.0], y=[log(2)] * 2, scales=scales, colors=[GREY], line_style="dashed"
        )
        upright = {"x": self._x, "y": bq.LinearScale(min=0, max=1)}
        self.changes = bq.Lines(
            x=_NOWHERE, y=_NOWHERE, scales=upright, colors=[VERMILLION], line_style="dotted"
        )
        self.labels = bq.Label(
            x=[_OFF] * _LABELS, y=[0.0] * _LABELS, text=[""] * _LABELS, scales=upright,
            colors=[VERMILLION], default_size=11, x_offset=4, font_weight="normal",
        )  # fmt: skip
        legend = (
            key(f"{model}, so far", BLUE)
            + key("lately", SKY)
            + key("coin toss", GREY, dash=_DASHED)
            + key("new rate", VERMILLION, dash="2,3")
        )
        axes = [
            _axis(self._x, "rows", fmt="~s"),
            _axis(self._y, "log loss (nats)", vertical=True, fmt=".3f"),
        ]
        marks = [self.coin, self.changes, self.recent, self.line, self.labels]
        super().__init__("How well do we predict?", legend, marks, axes)

    def update(self, snapshot: Snapshot) -> None:
        """Draw the loss, with the scale fitted to what came after the first rows."""
        history = snapshot.history.thinned(_POINTS)
        rows, loss = (history[self._model, name] for name in ("rows", "log_loss"))
        scored = np.isfinite(loss)
        rows, loss = rows[scored], loss[scored]
        lately_rows, lately = _recent(rows, loss)
        _set(self.line, rows, loss)
        _set(self.recent, lately_rows, lately)
        self._mark_changes(snapshot)
        if not len(rows):
            self.say("Nothing is predicted yet.")
            return
        end = max(float(rows[-1]), 1.0)
        _set(self.coin, np.array([0.0, end]), np.full(2, log(2)))
        self._x.max = 1.08 * end  # room for the label of a change just made
        _fit(self._y, rows, [loss, lately[len(lately) // 10 :], np.full(2, log(2))], headroom=0.2)
        accuracy, auc = (snapshot.metric(self._model, name) for name in ("accuracy", "roc_auc"))
        area = f"{auc:.3f}" if np.isfinite(auc) else "not defined yet"
        self.say(
            f"Each row is predicted before it is learned. Log loss {loss[-1]:.4f} nats, lately "
            f"{[*loss[-1:], *lately][-1]:.4f}, accuracy {accuracy:.1%}, area under the ROC curve "
            f"{area}. Learning rate "
            f"{snapshot.learning_rates[self._model]:.3g}, changed "
            f"{_times(len(snapshot.rate_changes))}."
        )

    def _mark_changes(self, snapshot: Snapshot) -> None:
        changes = [(at, rate) for at, model, rate in snapshot.rate_changes if model == self._model]
        if changes == self._marked:
            return
        self._marked = changes
        at = np.array([2 * [float(rows)] for rows, _ in changes[-_CHANGES:]] or [2 * [_OFF]])
        _set(self.changes, at, np.tile([0.0, 1.0], (len(at), 1)))
        recent = (_LABELS * [(_OFF, 0.0)] + changes)[-_LABELS:]
        with self.labels.hold_sync():
            self.labels.x = np.array([x for x, _ in recent], np.float64)
            steps = (len(changes) + np.arange(_LABELS)) % 3  # down, so that neighbours stay apart
            self.labels.y = 0.95 - 0.055 * steps
            self.labels.text = [f"{rate:.3g}" if x >= 0 else "" for x, rate in recent]


class CoefficientFigure(Figure):
    """Does competence move network ability: its slope with and without `promoted`."""

    def __init__(self) -> None:
        self._x, self._y = bq.LinearScale(min=0, max=10), bq.LinearScale(min=-0.5, max=0.5)
        scales = {"x": self._x, "y": self._y}
        self.zero = bq.Lines(x=[0.0, 10.0], y=[0.0, 0.0], scales=scales, colors=[GREY])
        self.paths, self.bands = {}, {}
        for formula, colour, style in ((NULL, GREEN, "solid"), (COLLIDER, VERMILLION, "dashed")):
            self.bands[formula] = bq.Lines(
                x=_NOWHERE, y=np.stack([_NOWHERE, _NOWHERE]), scales=scales, colors=[colour] * 2,
                fill="between", fill_colors=[colour], fill_opacities=[0.18] * 2,
                opacities=[0.0] * 2, stroke_width=0,
            )  # fmt: skip
            self.paths[formula] = bq.Lines(
                x=_NOWHERE, y=_NOWHERE, scales=scales, colors=[colour], stroke_width=2.5,
                line_style=style,
            )  # fmt: skip
        legend = (
            key("alone", GREEN)
            + key("given promoted", VERMILLION, dash=_DASHED)
            + "<span>bands: 95% intervals</span>"
        )
        axes = [
            _axis(self._x, "rows", fmt="~s"),
            _axis(self._y, "slope on competence", vertical=True, fmt="+.2f"),
        ]
        marks = [*self.bands.values(), self.zero, *self.paths.values()]
        super().__init__("Does competence move network ability?", legend, marks, axes)

    def update(self, snapshot: Snapshot) -> None:
        """Draw both paths with their intervals."""
        history = snapshot.history.thinned(_POINTS)
        rows = history[NULL, "rows"]
        shown = []
        for formula, path in self.paths.items():
            estimate, low, high = (
                history[formula, "competence", name] for name in ("estimate", "ci_low", "ci_high")
            )
            defined = np.isfinite(estimate) & np.isfinite(low)
            _set(path, rows[defined], estimate[defined])
            _set(self.bands[formula], rows[defined], np.stack([low, high])[:, defined])
            shown += [low, high]
        if not len(rows):
            self.say("No row is learned yet.")
            return
        end = max(float(rows[-1]), 1.0)
        _set(self.zero, np.array([0.0, end]), np.zeros(2))
        self._x.max = end
        _fit(self._y, rows, [*shown, np.zeros(1)])
        self.say(" ".join(_verdict(snapshot.coefficient(f, "competence")) for f in self.paths))


def _verdict(slope: Coefficient) -> str:
    name = "Alone" if slope.model == NULL else "Given promoted"
    if not np.isfinite(slope.ci_low):
        return f"{name}: not enough rows yet."
    interval = f"{slope.ci_low:+.3f} to {slope.ci_high:+.3f}"
    zero = "inside" if slope.ci_low <= 0 <= slope.ci_high else "outside"
    return f"{name}: {slope.estimate:+.3f}, 95% interval for one look {interval}, zero {zero}."


def _axis(scale: bq.Scale, label: str, *, vertical: bool = False, fmt: str = "") -> bq.Axis:
    return bq.Axis(
        scale=scale,
        label=label,
        side="left" if vertical else "bottom",
        grid_lines="none",
        tick_format=fmt,
        label_offset="52px" if vertical else "32px",
    )


def _set(mark: bq.Mark, x: Floats, y: Floats) -> None:
    if isinstance(mark, bq.Lines) and x.shape[-1] < 2:
        # A line without a point is an error in the browser; a band of one loses its shape here.
        x, y = (
            np.repeat(v, 2, axis=-1) if v.size else np.full((*v.shape[:-1], 2), _OFF)
            for v in (x, y)
        )
    with mark.hold_sync():
        mark.x, mark.y = np.array(x, np.float64), np.array(y, np.float64)


def _grow(scale: bq.Scale, values: Floats) -> None:
    if len(values):
        low, high = float(np.floor(values.min())), float(np.ceil(values.max()))
        if low < scale.min:
            scale.min = low
        if high > scale.max:
            scale.max = high


def _fit(scale: bq.Scale, rows: Floats, series: Sequence[Floats], headroom: float = 0.08) -> None:
    """Fit a scale to what came after the first tenth of the rows, when all is wild."""
    settled = rows >= rows[-1] / 10
    kept = np.concatenate([s[settled] if len(s) == len(rows) else s for s in series])
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return
    low, high = float(kept.min()), float(kept.max())
    span = max(high - low, 1e-2)
    with scale.hold_sync():
        scale.min, scale.max = low - 0.08 * span, high + headroom * span


def _recent(rows: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """Return the mean over the last fortieth of the pages, from means over all rows so far."""
    lag = max(1, len(rows) // 40)
    new = rows[lag:] - rows[:-lag]
    total = rows * mean
    some = new > 0
    return rows[lag:][some], (total[lag:] - total[:-lag])[some] / new[some]


def _straight(a: float, b: float, c: float, x: bq.Scale, y: bq.Scale) -> tuple[Floats, Floats]:
    """Return two points of the line a + b x + c y = 0 at the edges of the plane."""
    if abs(c) >= abs(b) and c:
        xs = np.array([x.min, x.max])
        return xs, -(a + b * xs) / c
    if b:
        ys = np.array([y.min, y.max])
        return -(a + c * ys) / b, ys
    return np.empty(0), np.empty(0)


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else '-'} {abs(value):.2f}"


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
