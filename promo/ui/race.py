"""The learning-rate race on the screen: who is ahead, on which path, and since when."""

from __future__ import annotations

from math import log

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from promo.models.best import BestPossible
from promo.models.logistic import RenewableLogistic
from promo.models.race import DIVERGED, RATES, runner
from promo.models.sgd import SGDLogistic
from promo.snapshot import Snapshot
from promo.ui.plot import (
    DASHED,
    NOWHERE,
    OFF,
    POINTS,
    Figure,
    Floats,
    axis,
    extend,
    fit,
    move,
    over_rows,
)
from promo.ui.style import BLUE, GREEN, GREY, SKY, VERMILLION, key, row_layout
from promo.words import of_rows

YOURS, EXACT = SGDLogistic.name, RenewableLogistic().name
_BEST, _BEST_LATELY = ((BestPossible.name, name) for name in ("log_loss", "recent_log_loss"))
_METHODS = {
    "SGD": "sgd",
    "SGD, rate/√t": "sgd-inverse-scaling",
    "SGD, rate/t": "sgd-optimal",
    "momentum": "momentum",
    "Adam": "adam",
    "AdaGrad": "adagrad",
}
_ROOM = 0.08  # nats above a coin toss, or the exact method if that is worse, that are drawn
_CROSSES = 0.85  # of the height: above them comes the tool bar
_X = np.array(RATES)
_AROUND = 1.8  # of the rates, times: the scale's room at either end
_TICKS = [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0]


class RaceSwitch:
    """Chooses the optimizer and its schedule whose runners are shown, for several views."""

    def __init__(self) -> None:
        self.method = widgets.ToggleButtons(
            options=[*_METHODS.items()],
            description="Optimizer",
            style={"description_width": "initial", "button_width": "auto"},
            layout=widgets.Layout(width="auto"),
        )
        self.widget = widgets.HBox([self.method], layout=row_layout())
        self.widget.add_class("promo")

    @property
    def choice(self) -> str:
        """The method."""
        return str(self.method.value)

    @property
    def names(self) -> list[str]:
        """The runners to show, rates ascending."""
        return [runner(self.choice, rate) for rate in RATES]

    @property
    def label(self) -> str:
        """The method, for people."""
        return str(self.method.label)


class _Raced(Figure):
    """What the figures of the race have in common: the switch."""

    switch: RaceSwitch

    @property
    def choice(self) -> object:
        """What the reader has chosen; see `Publisher`."""
        return self.switch.choice


class RaceFigure(_Raced):
    """Log loss against learning rate, over all rows and lately, with the reader's own runner.

    Where the models include the best possible, its log loss is the floor.

    Parameters
    ----------
    switch
        Says whose runners to show; one of its own unless given.
    """

    def __init__(self, switch: RaceSwitch | None = None) -> None:
        self.switch = switch or RaceSwitch()
        across = bq.LogScale(min=_X[0] / _AROUND, max=_X[-1] * _AROUND)
        self._y = bq.LinearScale(min=0.5, max=0.8)
        scales, upright = {"x": across, "y": self._y}, bq.LinearScale(min=0, max=1)
        nowhere, ends = np.full(len(_X), OFF), [_X[0] / _AROUND, _X[-1] * _AROUND]
        self.whole, self.lately = (
            bq.Lines(x=_X, y=nowhere, scales=scales, colors=[colour], stroke_width=width,
                     marker=marker, marker_size=size)
            for colour, width, marker, size in
            ((BLUE, 2.5, "circle", 40), (SKY, 1.5, "square", 24))
        )  # fmt: skip
        self.exact, self.exact_lately, self.floor, self.floor_lately, self.coin = (
            bq.Lines(x=ends, y=y, scales=scales, colors=[colour], stroke_width=width,
                     line_style=style)
            for y, colour, width, style in
            ((NOWHERE, GREEN, 2, "dashed"), (NOWHERE, GREEN, 1.5, "dotted"),
             (NOWHERE, GREY, 2, "dotted"), (NOWHERE, GREY, 1, "dotted"),
             (np.full(2, log(2)), GREY, 1, "solid"))
        )  # fmt: skip
        self.yours = bq.Scatter(
            x=[1.0], y=[OFF], scales=scales, colors=[VERMILLION], marker="diamond",
            default_size=110,
        )  # fmt: skip
        self.diverged = bq.Scatter(
            x=_X, y=nowhere, scales={"x": across, "y": upright}, colors=[VERMILLION],
            marker="cross", default_size=60,
        )  # fmt: skip
        self.best, self.name, self.fallen = (
            bq.Label(
                x=[_X[-1]], y=[OFF], text=[text], scales={"x": across, "y": y}, colors=[colour],
                default_size=11, font_weight="normal", align=align, y_offset=below,
            )
            for text, y, colour, align, below in
            (("", self._y, BLUE, "middle", -10), ("yours", self._y, VERMILLION, "middle", 16),
             ("diverged", upright, VERMILLION, "end", 18))
        )  # fmt: skip
        legend = (
            key("over all rows", BLUE, marker="circle")
            + key("lately", SKY)
            + key("exact, needs no rate", GREEN, dash=DASHED)
            + key("exact, lately", GREEN, dash="2,3")
            + key("yours, lately", VERMILLION, marker="diamond")
            + key("diverged", VERMILLION, marker="cross")
            + key("coin toss", GREY)
            + key("best possible, and lately, if known", GREY, dash="2,3")
        )
        rates = axis(across, "learning rate", fmt="~g")
        rates.tick_values = _TICKS
        losses = axis(self._y, "log loss (nats)", vertical=True, fmt=".2f")
        marks = [self.coin, self.floor, self.floor_lately, self.exact, self.exact_lately]
        marks += [self.lately, self.whole, self.yours, self.diverged]
        marks += [self.best, self.name, self.fallen]
        own = [] if switch else [self.switch.widget]
        super().__init__("Which learning rate wins?", legend, marks, [rates, losses], own)

    def update(self, snapshot: Snapshot) -> None:
        """Draw both curves of the optimizer chosen, on the part of the scale that matters."""
        losses, metrics = _losses(snapshot, self.switch.names), _by_name(snapshot)
        rate = snapshot.learning_rates[YOURS]
        exact, lately = (metrics[EXACT, name] for name in ("log_loss", "recent_log_loss"))
        yours, floor = metrics[YOURS, "recent_log_loss"], metrics.get(_BEST, OFF)
        floor_lately = metrics.get(_BEST_LATELY, OFF)
        if not np.isfinite([*losses.flat, exact, lately, yours]).all():
            losses, exact, lately = np.full_like(losses, OFF), OFF, OFF
            yours, floor, floor_lately = OFF, OFF, OFF
        top = max(log(2), exact, lately) + _ROOM
        gone = losses[1] > DIVERGED
        best, at = int(np.argmin(losses[0])), float(np.clip(rate, _X[0] / _AROUND, _X[-1]))
        shown = min(yours, top)
        move(self.whole, _X, losses[0])
        move(self.lately, _X, losses[1])
        for line, loss in (
            (self.exact, exact), (self.exact_lately, lately),
            (self.floor, floor), (self.floor_lately, floor_lately),
        ):  # fmt: skip
            move(line, line.x, np.full(2, loss))
        move(self.yours, np.array([at]), np.array([shown]))
        move(self.diverged, _X, np.where(gone, _CROSSES, OFF))
        self.name.text = ["yours" if yours <= top else f"yours ↑ {yours:.2f}"]
        self.name.align = "start" if at <= _X[1] else "middle"  # not over the edge
        move(self.name, np.array([at]), np.array([shown]))
        move(self.fallen, _X[-1:] * 1.3, np.array([_CROSSES if gone.any() else OFF]))
        self.best.text = [f"{_X[best]:g}"]
        move(self.best, _X[[best]], losses[0, [best]])
        if exact == OFF:
            self.empty("Nothing is predicted yet.")
            return
        levels = np.array([*losses.flat, exact, lately, floor, floor_lately, top])
        fit(self._y, np.ones(1), [np.minimum(levels[levels != OFF], top)], 0.02)
        best_lately = int(np.argmin(losses[1]))
        lowest = ""
        if floor != OFF:
            lowest = f"The best possible is {floor:.4f}, lately {floor_lately:.4f}. "
        fallen = ", ".join(f"{r:g}" for r in _X[gone]) or "none"
        self.say(
            f"<b>{self.switch.label}</b>, {of_rows(snapshot.rows)}: the best of twelve rates is "
            f"{_X[best]:g} with {losses[0, best]:.4f} nats over all rows, lately "
            f"{_X[best_lately]:g} with {losses[1, best_lately]:.4f}. Exact, without a rate: "
            f"{exact:.4f}, lately {lately:.4f}. {lowest}Yours, at {rate:.3g}: lately {yours:.4f}. "
            f"Diverged, which is more than twice a coin toss lately: {fallen}."
        )


class PathsFigure(_Raced):
    """The weight of competence on its way, at every rate, against the exact one.

    Parameters
    ----------
    switch
        Says whose runners to show; one of its own unless given.
    """

    rest_s = 0.5  # fourteen lines

    def __init__(self, switch: RaceSwitch | None = None) -> None:
        self.switch = switch or RaceSwitch()
        self._x, self._y = bq.LinearScale(min=0, max=10), bq.LinearScale(min=-0.5, max=2)
        scales = {"x": self._x, "y": self._y}
        self.all = bq.Lines(
            x=NOWHERE, y=np.tile(NOWHERE, (len(_X), 1)), scales=scales, colors=[SKY] * len(_X),
            stroke_width=1, opacities=[0.7] * len(_X),
        )  # fmt: skip
        self.best, self.exact, self.yours = (
            bq.Lines(x=NOWHERE, y=NOWHERE, scales=scales, colors=[colour], stroke_width=width,
                     line_style=style)
            for colour, width, style in
            ((BLUE, 2.5, "solid"), (GREEN, 2.5, "dashed"), (GREY, 2, "dotted"))
        )  # fmt: skip
        legend = (
            key("slower rates", SKY)
            + key("best rate", BLUE)
            + key("faster rates", VERMILLION)
            + key("exact", GREEN, dash=DASHED)
            + key("yours", GREY, dash="2,3")
        )
        axes = [
            over_rows(self._x),
            axis(self._y, "weight of competence", vertical=True, fmt=".1f"),
        ]
        marks = [self.all, self.yours, self.best, self.exact]
        own = [] if switch else [self.switch.widget]
        super().__init__("On which path?", legend, marks, axes, own)

    def update(self, snapshot: Snapshot) -> None:
        """Draw all paths; the scale is fitted to the best and the exact one."""
        history = snapshot.history.thinned(POINTS)
        rows = history[YOURS, "rows"]
        names = self.switch.names
        weights = np.array([history[n, "competence", "estimate"] for n in (*names, EXACT, YOURS)])
        known = np.isfinite(weights).all(axis=0)
        rows, weights = rows[known], weights[:, known]
        losses, lately = _losses(snapshot, names)
        best = int(np.argmin(losses))
        paths = weights[: len(_X)]
        if len(rows) < 2:
            rows, paths = NOWHERE, np.tile(NOWHERE, (len(_X), 1))
            weights = np.tile(NOWHERE, (len(_X) + 2, 1))
        self.all.colors = [SKY if at <= best else VERMILLION for at in range(len(_X))]
        self.all.opacities = [0.15 if loss > DIVERGED else 0.7 for loss in lately]
        move(self.all, rows, paths)
        for line, path in ((self.best, paths[best]), (self.exact, weights[-2]),
                           (self.yours, weights[-1])):  # fmt: skip
            move(line, rows, path)
        if rows is NOWHERE:
            self.empty("No path is to be seen yet.")
            return
        extend(self._x, max(float(rows[-1]), 1.0))
        fit(self._y, rows, [np.zeros(len(rows)), paths[best], weights[-2]], headroom=0.25)
        slow, right, fast = weights[0, -1], weights[best, -1], weights[len(_X) - 1, -1]
        last = "diverged" if lately[-1] > DIVERGED else f"{fast:,.3f}"
        self.say(
            f"<b>{self.switch.label}</b>, {of_rows(snapshot.rows)}: weight of competence "
            f"{weights[-2, -1]:.3f} exactly, {right:.3f} at the best rate, {_X[best]:g}; "
            f"{slow:.3f} at {_X[0]:g}, {last} at {_X[-1]:g}. Yours: {weights[-1, -1]:,.3f}."
        )


class BestRateFigure(_Raced):
    """Which of the rates was best lately, row by row: where the world changes, it moves.

    Parameters
    ----------
    switch
        Says whose runners to show; one of its own unless given.
    """

    def __init__(self, switch: RaceSwitch | None = None) -> None:
        self.switch = switch or RaceSwitch()
        self._x = bq.LinearScale(min=0, max=10)
        up = bq.LogScale(min=_X[0] / _AROUND, max=_X[-1] * _AROUND)
        self.line = bq.Lines(
            x=NOWHERE, y=[1.0, 1.0], scales={"x": self._x, "y": up}, colors=[BLUE],
            stroke_width=2.5, interpolation="step-after",
        )  # fmt: skip
        rates = axis(up, "learning rate", vertical=True, fmt="~g")
        rates.tick_values = _TICKS
        axes = [over_rows(self._x), rates]
        own = [] if switch else [self.switch.widget]
        legend = key("best of twelve rates by its last 1,000 to 2,000 rows", BLUE)
        super().__init__("When does the best rate move?", legend, [self.line], axes, own)

    def update(self, snapshot: Snapshot) -> None:
        """Draw which rate was best over the rows."""
        history = snapshot.history.thinned(2 * POINTS)
        losses = np.array([history[name, "recent_log_loss"] for name in self.switch.names])
        known = np.ptp(losses, axis=0) > 0  # not on the first page, which all predict alike
        rows, losses = history[YOURS, "rows"][known], losses[:, known]
        if len(rows) < 2:
            move(self.line, NOWHERE, np.ones(2))
            self.empty("Nothing is predicted yet.")
            return
        best = _X[losses.argmin(axis=0)]
        move(self.line, rows, best)
        extend(self._x, max(float(rows[-1]), 1.0))
        moved = np.flatnonzero(best[1:] != best[:-1])
        since = f"since about row {rows[moved[-1] + 1]:,.0f}" if len(moved) else "from the start"
        self.say(f"<b>{self.switch.label}</b>: lately {best[-1]:g} is best, {since}.")


def _by_name(snapshot: Snapshot) -> dict[tuple[str, str], float]:
    return {(m.model, m.name): m.value for m in snapshot.metrics}


def _losses(snapshot: Snapshot, names: list[str]) -> Floats:
    """Return log loss over all rows and lately of these runners, shape (2, k)."""
    metrics = _by_name(snapshot)
    return np.array([[metrics[n, kind] for n in names] for kind in ("log_loss", "recent_log_loss")])
