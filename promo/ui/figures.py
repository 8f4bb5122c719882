"""Who gets promoted, and how well we predict it: the figures of the classifier."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isfinite, log

import bqplot as bq
import numpy as np

from promo.models.best import BestPossible
from promo.report.figures import loss_path, signed, straight
from promo.report.svg import beyond
from promo.snapshot import Snapshot
from promo.ui.beside import BesideLine, Run
from promo.ui.plot import (
    DASHED,
    NOWHERE,
    OFF,
    Figure,
    Floats,
    axis,
    extend,
    fit,
    move,
    move_crosses,
    move_dots,
    over_rows,
    points,
    sparse,
    stretch,
)
from promo.ui.style import BLUE, GREY, SKY, VERMILLION, key
from promo.words import of_rows

_PLANE = -3.5, 3.5  # of both abilities, until people lie elsewhere
_PEOPLE = 400  # at most: each is 48 or 96 bytes on its way to the browser
_CHANGES = 50  # of a learning rate that are marked, the newest
_BEST, _BEST_LOSS = BestPossible.name, (BestPossible.name, "log_loss")
NONE = np.empty(0), np.empty(0)
_LABELS = 6  # of learning rates, the newest; bqplot's Label fails when their number changes
_APART, _LINE = 0.2, 0.12  # of the axes: width and height of a label in a small figure
NEW_RATE = key("new rate", VERMILLION, dash="2,3")


class SampleFigure(Figure):
    """Who gets promoted: a sample of the rows, and where the classifier says even odds."""

    rest_s = 1.0

    def __init__(self, model: str = "sgd-logistic") -> None:
        self._model = model
        low, high = _PLANE
        self._x, self._y = bq.LinearScale(min=low, max=high), bq.LinearScale(min=low, max=high)
        scales = {"x": self._x, "y": self._y}
        self.not_promoted = points(scales, VERMILLION, width=1.5, opacity=0.75)
        self.promoted = points(scales, BLUE, width=5, opacity=0.6)
        self.boundary = bq.Lines(x=NOWHERE, y=NOWHERE, scales=scales, colors=[GREY], stroke_width=3)
        legend = (
            key("promoted", BLUE, marker="circle")
            + key("not promoted", VERMILLION, marker="cross")
            + key(f"even odds, says {model}", GREY)
        )
        axes = [axis(self._x, "competence"), axis(self._y, "network ability", vertical=True)]
        marks = [self.not_promoted, self.promoted, self.boundary]
        super().__init__("Who gets promoted?", legend, marks, axes)
        self.figure.add_class("promo-points")

    def update(self, snapshot: Snapshot) -> None:
        """Draw the sample and the boundary; while rows come the axes only ever grow."""
        apart = ceil(snapshot.sample.shape[1] / _PEOPLE)  # of those shown, in order of arrival
        network_ability, competence, promoted = snapshot.sample[:, :: max(apart, 1)]
        chosen = promoted > 0
        for scale, values in ((self._x, competence), (self._y, network_ability)):
            stretch(scale, _PLANE, values)
        move_dots(self.promoted, competence[chosen], network_ability[chosen])
        move_crosses(self.not_promoted, competence[~chosen], network_ability[~chosen])
        names = ("intercept", "competence", "network_ability")
        a, b, c = (snapshot.coefficient(self._model, name).estimate for name in names)
        plane = (self._x.min, self._x.max), (self._y.min, self._y.max)
        move(self.boundary, *straight(a, b, c, *plane))
        if not snapshot.rows:
            self.empty("No row is learned yet.")
            return
        odds = (
            f"Log odds of promotion = {a:z.2f} {signed(b)} · competence {signed(c)} · network "
            "ability."
        )
        self.say(
            f"{len(promoted):,} of {of_rows(snapshot.rows)}, each as likely to be shown as any; "
            f"{chosen.mean() if len(chosen) else 0:.0%} of them promoted."
            f"{beyond((competence, *plane[0]), (network_ability, *plane[1]))} "
            f"{odds if isfinite(a + b + c) else 'Of the log odds nothing is known yet.'}"
        )


class RateMarks:
    """Where the learning rate of a model was changed: dotted lines, the newest with the rate.

    A rate stands left of its line, or at the left end of the axis where there is no room for it.

    Parameters
    ----------
    rows
        The scale of the figure's x axis.
    model
        Whose changes.
    """

    def __init__(self, rows: bq.Scale, model: str) -> None:
        self._rows, self._model = rows, model
        self._drawn: tuple[object, ...] = ()
        upright = {"x": rows, "y": bq.LinearScale(min=0, max=1)}
        self.lines = bq.Lines(
            x=NOWHERE, y=NOWHERE, scales=upright, colors=[VERMILLION], line_style="dotted"
        )
        self.labels = bq.Label(
            x=[OFF] * _LABELS, y=[0.0] * _LABELS, text=[""] * _LABELS, scales=upright,
            colors=[VERMILLION], default_size=11, align="end", x_offset=-3, font_weight="normal",
        )  # fmt: skip

    def update(self, snapshot: Snapshot) -> None:
        """Mark the changes so far, as the scale stands now, if that is news."""
        changes = [(at, rate) for at, model, rate in snapshot.rate_changes if model == self._model]
        if self._drawn == (changes, self._rows.max):
            return
        if not self._drawn or self._drawn[0] != changes:
            at = np.array([2 * [float(rows)] for rows, _ in changes[-_CHANGES:]] or [2 * [OFF]])
            move(self.lines, at, np.tile([0.0, 1.0], (len(at), 1)))
        self._drawn = changes, self._rows.max
        recent = (_LABELS * [(OFF, 0.0)] + changes)[-_LABELS:]
        width = _APART * self._rows.max
        ends = [max(x, width) if x >= 0 else OFF for x, _ in recent]
        lines = _lines_for(ends, width)
        with self.labels.hold_sync():
            self.labels.x = np.array(ends, np.float64)
            self.labels.y = np.array([0.95 - _LINE * (line or 0) for line in lines])
            self.labels.text = [
                f"{rate:.3g}" if x >= 0 and line is not None else ""
                for (x, rate), line in zip(recent, lines, strict=True)
            ]


def _lines_for(places: Sequence[float], apart: float) -> list[int | None]:
    """Return on which of three lines each label stands clear of the others, the newest first.

    None where there is no room.

    Examples
    --------
    >>> _lines_for([10, 90, 91, 92, 93], apart=9)
    [0, None, 2, 1, 0]
    """
    taken: list[list[float]] = [[], [], []]
    lines: list[int | None] = []
    for place in reversed(places):
        free = (n for n, at in enumerate(taken) if all(abs(place - x) >= apart for x in at))
        lines.insert(0, next(free, None))
        if lines[0] is not None:
            taken[lines[0]].append(place)
    return lines


class LossFigure(Figure):
    """How well we predict: log loss by progressive validation, and where the rate was changed.

    Where the models include the best possible, its log loss is the floor.

    Parameters
    ----------
    model
        Whose log loss; one that has a learning rate.
    beside
        Another run with that model, whose log loss is drawn as well.
    """

    def __init__(self, model: str = "sgd-logistic", beside: Run | None = None) -> None:
        self._model, self.beside = model, beside
        self._x, self._y = bq.LinearScale(min=0, max=10), bq.LinearScale(min=0.5, max=0.8)
        scales = {"x": self._x, "y": self._y}
        self.line = bq.Lines(x=NOWHERE, y=NOWHERE, scales=scales, colors=[BLUE], stroke_width=2.5)
        self.recent = bq.Lines(x=NOWHERE, y=NOWHERE, scales=scales, colors=[SKY], stroke_width=1)
        self.floor = bq.Lines(
            x=NOWHERE, y=NOWHERE, scales=scales, colors=[GREY], line_style="dotted",
        )  # fmt: skip
        self.coin = bq.Lines(
            x=[0.0, 1.0], y=[log(2)] * 2, scales={"x": bq.LinearScale(min=0, max=1), "y": self._y},
            colors=[GREY], line_style="dashed",
        )  # fmt: skip
        self.rates = RateMarks(self._x, model)
        self.other = BesideLine(beside, scales) if beside else None
        legend = (
            key(f"{model}, so far", BLUE)
            + key("the last fortieth", SKY)
            + key("coin toss", GREY, dash=DASHED)
            + key("best possible, if known", GREY, dash="2,3")
            + NEW_RATE
        )
        axes = [
            over_rows(self._x),
            sparse(axis(self._y, "log loss (nats)", vertical=True, fmt=".3f")),
        ]
        marks = [self.coin, self.floor, self.rates.lines, self.recent, self.line]
        marks += [self.rates.labels, *(self.other.marks if self.other else [])]
        super().__init__("How well do we predict?", legend, marks, axes)

    def update(self, snapshot: Snapshot) -> None:
        """Draw the loss, with the scale fitted to what came after the first rows."""
        known, best = loss_path(snapshot, _BEST) if _BEST_LOSS in snapshot.history.columns else NONE
        move(self.floor, known, best)
        rows, loss = loss_path(snapshot, self._model)
        lately_rows, lately = _recent(rows, loss)
        move(self.line, rows, loss)
        move(self.recent, lately_rows, lately)
        others, other = self._draw_other()
        if not len(rows):
            self.rates.update(snapshot)
            self.empty("Nothing is predicted yet.")
            return
        extend(self._x, 1.08 * max(1.0, rows[-1], *others[-1:]))  # room for a new rate's label
        self.rates.update(snapshot)
        shown = [loss, best, other, lately[len(lately) // 10 :], np.full(2, log(2))]
        fit(self._y, rows, shown, headroom=0.2)
        accuracy, auc = (snapshot.metric(self._model, name) for name in ("accuracy", "roc_auc"))
        area = f"{auc:.3f}" if np.isfinite(auc) else "not defined yet"
        floor = f" (the best possible {best[-1]:.4f})" if len(best) else ""
        _, floors = _recent(known, best)
        lowest = f" (there {floors[-1]:.4f})" if len(floors) else ""
        changes = sum(model == self._model for _, model, _ in snapshot.rate_changes)
        self.say(
            f"Each row is predicted before it is learned. Log loss {loss[-1]:.4f} nats so far"
            f"{floor}, {[*loss[-1:], *lately][-1]:.4f} in the last fortieth of the pages{lowest}, "
            f"accuracy "
            f"{accuracy:.1%}, area under the ROC curve {area}. Learning rate "
            f"{snapshot.learning_rates[self._model]:.3g}, {_changed(changes)}."
            f"{self._told_of(others, other)}"
        )

    def _draw_other(self) -> tuple[Floats, Floats]:
        """Draw the other run, and return its rows and log loss, if there is one."""
        run = self.beside.snapshot if self.beside else None
        if (
            self.other is None
            or run is None
            or (self._model, "log_loss") not in run.history.columns
        ):
            return np.empty(0), np.empty(0)
        return self.other.draw(*loss_path(run, self._model))

    def _told_of(self, rows: Floats, loss: Floats) -> str:
        if self.beside is None or not len(rows):
            return ""
        return f" Beside it, {self.beside.name}: {loss[-1]:.4f} nats after {of_rows(rows[-1])}."


def _recent(rows: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """Return the mean over the last fortieth of the pages, from means over all rows so far."""
    lag = max(1, len(rows) // 40)
    new = rows[lag:] - rows[:-lag]
    total = rows * mean
    some = new > 0
    return rows[lag:][some], (total[lag:] - total[:-lag])[some] / new[some]


def _changed(times: int) -> str:
    told = {0: "never changed", 1: "changed once", 2: "changed twice"}
    return told.get(times, f"changed {times} times")
