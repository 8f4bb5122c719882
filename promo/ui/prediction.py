"""Predicting promotion: the leaderboard, the mixture's weights, calibration, surface, what-if."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from math import isfinite
from typing import Any

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from promo.models.board import Board
from promo.models.results import Model
from promo.snapshot import Snapshot
from promo.ui.opinions import (
    MIXTURE_STYLE,
    STYLES,
    Answer,
    Answering,
    Opinion,
    contour,
    experts_of,
    grid,
    opinions,
)
from promo.ui.plot import NOWHERE, OFF, POINTS, Figure, axis, extend, fit, move
from promo.ui.style import GREY, key, row_layout, sheet

_CELLS = 48
_WIDE = {"description_width": "initial"}
_HEAD = ("expert", "log loss", "lately", "Brier", "accuracy", "ROC AUC", "behind", "lead")


def names_of(trainer: Answering) -> list[str]:
    """Return the experts of a trainer, by name, in their order."""
    return [expert.name for expert in experts_of(trainer.models)]


class Leaderboard:
    """Every expert's scores by progressive validation, the best first.

    Parameters
    ----------
    trainer
        Whose experts are compared; among its models is a `Board`.
    """

    rest_s = 0.5

    def __init__(self, trainer: Answering) -> None:
        self._names = names_of(trainer)
        self.table, self.note = widgets.HTML(), widgets.HTML()
        title = (
            '<div class="promo-title">Who predicts best?</div><div class="promo-legend">Each row '
            "is predicted before it is learned. Behind: nats a row to the leader, 95% for all "
            "pairs at any time; lately: the last 1,000 to 2,000 rows</div>"
        )
        self.widget = widgets.VBox([sheet(), widgets.HTML(title), self.table, self.note])
        self.widget.add_class("promo")

    def update(self, snapshot: Snapshot) -> None:
        """Write the table anew, in the order of the log loss."""
        scores = {name: _scores(snapshot, name) for name in self._names}
        racing = [n for n in self._names if isfinite(scores[n].get("behind", np.nan))]
        racing.sort(key=lambda name: scores[name]["log_loss"])
        others = [name for name in self._names if name not in racing]
        head = "".join(f"<th>{name}</th>" for name in _HEAD)
        lines = "".join(self._line(name, scores[name], racing) for name in (*racing, *others))
        self.table.value = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
        self.note.value = f'<div class="promo-note">{_in_words(racing, scores)}</div>'

    def _line(self, name: str, score: dict[str, float], racing: Sequence[str]) -> str:
        forms = [("log_loss", ".4f"), ("recent_log_loss", ".4f"), ("brier", ".4f")]
        forms += [("accuracy", ".1%"), ("roc_auc", ".3f")]
        cells = [_number(score.get(metric, np.nan), form) for metric, form in forms]
        behind, low = score.get("behind", np.nan), score.get("behind_low", np.nan)
        if racing and name == racing[0]:
            cells += ["", "leads"]
        elif name in racing:
            far = f"{behind:.4f} ± {behind - low:.4f}" if isfinite(low) else f"{behind:.4f}"
            cells += [far, "real" if low > 0 else "not sure"]
        else:
            cells += ["", "the floor" if name == "best-possible" else ""]
        return f"<tr><td>{escape(name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _scores(snapshot: Snapshot, name: str) -> dict[str, float]:
    return {m.name: m.value for m in snapshot.metrics if m.model == name}


def _in_words(racing: Sequence[str], scores: dict[str, dict[str, float]]) -> str:
    if not racing:
        return "Nothing is predicted yet."
    leader = racing[0]
    sure = [n for n in racing[1:] if scores[n]["behind_low"] > 0]
    text = (
        f"{leader} leads with {scores[leader]['log_loss']:.4f} nats a row; its lead is real over "
        f"{len(sure)} of {len(racing) - 1} others."
    )
    excess = scores[leader].get("excess", np.nan)
    if isfinite(excess):
        text += f" It is {excess:.4f} nats a row above the best possible in this world."
    return text


def _number(value: float, form: str) -> str:
    return format(value, form) if isfinite(value) else ""


def _styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    own = [name for name in names if name not in ("mixture", "best-possible")]
    styles = {name: STYLES[at % len(STYLES)] for at, name in enumerate(own)}
    return styles | {"mixture": MIXTURE_STYLE, "best-possible": (GREY, "dotted")}


class ExpertsFigure(Figure):
    """Log loss so far of every expert over rows, and of the best possible where that is known."""

    rest_s = 0.5

    def __init__(self, trainer: Answering) -> None:
        self._names = names_of(trainer)
        self._x, self._y = bq.LinearScale(min=0, max=10), bq.LinearScale(min=0.5, max=0.7)
        scales, styles = {"x": self._x, "y": self._y}, _styles(self._names)
        self.lines = {
            name: bq.Lines(x=NOWHERE, y=NOWHERE, scales=scales, colors=[styles[name][0]],
                           line_style=styles[name][1], stroke_width=2)
            for name in self._names
        }  # fmt: skip
        upright = {"x": self._x, "y": bq.LinearScale(min=0, max=1)}
        self.drifts = bq.Lines(
            x=NOWHERE, y=NOWHERE, scales=upright, colors=["#D55E00"], line_style="dotted"
        )
        legend = "".join(_key(name, styles[name]) for name in self._names)
        axes = [
            axis(self._x, "rows", fmt="~s"),
            axis(self._y, "log loss so far (nats)", vertical=True, fmt=".3f"),
        ]
        title = "How well does each expert predict?"
        marks = [self.drifts, *self.lines.values()]
        super().__init__(title, legend + key("change noticed", "#D55E00", dash="2,3"), marks, axes)

    def update(self, snapshot: Snapshot) -> None:
        """Draw every path, and where some expert's losses were found to have changed."""
        history = snapshot.history.thinned(POINTS)
        shown, rows = [], np.empty(0)
        for name, line in self.lines.items():
            rows, loss = history[name, "rows"], history[name, "log_loss"]
            scored = np.isfinite(loss)
            rows, loss = rows[scored], loss[scored]
            move(line, rows, loss)
            if name != "base-rate":
                shown.append(loss)
        if not len(rows):
            self.say("Nothing is predicted yet.")
            return
        extend(self._x, max(float(rows[-1]), 1.0))
        fit(self._y, rows, shown)
        self._mark_drifts(snapshot)
        losses = {name: snapshot.metric(name, "log_loss") for name in self._names}
        told = ", ".join(
            f"{name} {losses[name]:.4f}" for name in sorted(losses, key=losses.__getitem__)
        )
        self.say(f"Nats a row, each row predicted before it is learned: {told}.")

    def _mark_drifts(self, snapshot: Snapshot) -> None:
        at: set[float] = set()
        history = snapshot.history
        for name in self._names:
            if (name, "drifts") in history.columns:
                count, rows = history[name, "drifts"], history[name, "rows"]
                at |= {*rows[1:][np.diff(count) > 0].tolist()}
        marks = np.array([2 * [rows] for rows in sorted(at)[-20:]] or [2 * [OFF]])
        move(self.drifts, marks, np.tile([0.0, 1.0], (len(marks), 1)))


class WeightsFigure(Figure):
    """How much the mixture trusts each expert, over rows."""

    rest_s = 0.5

    def __init__(self, trainer: Answering) -> None:
        names = names_of(trainer)
        self._names = [n for n in names if n not in ("mixture", "best-possible")]
        self._x, self._y = bq.LinearScale(min=0, max=10), bq.LinearScale(min=0, max=1.02)
        scales, styles = {"x": self._x, "y": self._y}, _styles(names)
        self.lines = {
            name: bq.Lines(x=NOWHERE, y=NOWHERE, scales=scales, colors=[styles[name][0]],
                           line_style=styles[name][1], stroke_width=2.5)
            for name in self._names
        }  # fmt: skip
        legend = "".join(_key(name, styles[name]) for name in self._names)
        axes = [
            axis(self._x, "rows", fmt="~s"),
            axis(self._y, "weight in the mixture", vertical=True, fmt=".0%"),
        ]
        super().__init__("Whom does the mixture trust?", legend, [*self.lines.values()], axes)

    def update(self, snapshot: Snapshot) -> None:
        """Draw the weights."""
        history = snapshot.history.thinned(POINTS)
        rows = history["mixture", "rows"]
        for name, line in self.lines.items():
            move(line, rows, history["mixture", f"weight of {name}"])
        self._x.max = max(float(rows[-1]) if len(rows) else 0.0, 1.0)
        weights = {n: snapshot.metric("mixture", f"weight of {n}") for n in self._names}
        best = max(weights, key=lambda name: weights[name])
        self.say(f"The next row is predicted with {weights[best]:.1%} of the weight on {best}.")


def _key(name: str, style: tuple[str, str]) -> str:
    dash = {"solid": "", "dashed": "6,4", "dotted": "2,3", "dash_dotted": "6,3,2,3"}[style[1]]
    return key(name, style[0], dash=dash)


class CalibrationFigure(Figure):
    """Whether of those predicted with 70%, 70% are promoted."""

    rest_s = 1.0

    def __init__(self, trainer: Answering) -> None:
        self._trainer, self._answer = trainer, Answer()
        self.expert = _choose(trainer)
        scales = {"x": bq.LinearScale(min=0, max=1), "y": bq.LinearScale(min=0, max=1)}
        self.even = bq.Lines(
            x=[0.0, 1.0], y=[0.0, 1.0], scales=scales, colors=[GREY], line_style="dashed"
        )
        self.curve = bq.Lines(x=NOWHERE, y=NOWHERE, scales=scales, colors=[STYLES[0][0]])
        self.points = bq.Scatter(
            x=NOWHERE, y=NOWHERE, scales=scales, colors=[STYLES[0][0]], default_size=40
        )
        axes = [
            axis(scales["x"], "predicted", fmt=".0%"),
            axis(scales["y"], "promoted", vertical=True, fmt=".0%"),
        ]
        legend = _key("share promoted", STYLES[0]) + key("calibrated", GREY, dash="6,4")
        marks = [self.even, self.curve, self.points]
        title = "Do predictions mean what they say?"
        super().__init__(title, legend, marks, axes, [self.expert])

    @property
    def choice(self) -> object:
        """The expert, and how many answers have come."""
        return self.expert.value, self._answer.come

    def update(self, snapshot: Snapshot) -> None:
        """Draw the newest answer, and ask again."""
        expert = self.expert.value
        question = partial(_calibration, expert)
        answer = self._answer.to((snapshot.rows, expert), lambda: self._trainer.ask(question))
        if answer is None:
            return
        name, (middle, share, rows) = answer
        known = rows > 0
        move(self.curve, middle[known], share[known])
        move(self.points, middle[known], share[known])
        counts = ", ".join(f"{n:,.0f} at {m:.0%}" for m, n in zip(middle, rows, strict=True) if n)
        self.say(f"{name}, rows by prediction: {counts or 'none yet'}.")


def _calibration(name: str, models: Sequence[Model]) -> tuple[str, Any]:
    board = next(model for model in models if isinstance(model, Board))
    return name, board.whole.calibration(board.names.index(name))


def _choose(trainer: Answering) -> widgets.Dropdown:
    names = names_of(trainer)
    first = "mixture" if "mixture" in names else names[0]
    return widgets.Dropdown(options=names, value=first, description="Expert", style=_WIDE)


class SurfaceFigure(Figure):
    """P(promoted) over the plane by one expert, its even odds, and the people it speaks of.

    Click on a person: below stands what each expert says of people like that.
    """

    rest_s = 1.0

    def __init__(self, trainer: Answering) -> None:
        self._trainer, self._answer = trainer, Answer()
        self._picked: tuple[float, float] | None = None
        self.expert = _choose(trainer)
        x, y = bq.LinearScale(min=-4, max=4), bq.LinearScale(min=-4, max=4)
        colour = bq.ColorScale(colors=["#D55E00", "#f7f7f7", "#0072B2"], min=0, max=1)
        scales = {"x": x, "y": y}
        nothing = np.array([-4.0, 4.0])
        self.map = bq.HeatMap(
            x=nothing, y=nothing, color=np.full((2, 2), 0.5), scales={**scales, "color": colour}
        )
        self.people = bq.Scatter(
            x=NOWHERE, y=NOWHERE, scales=scales, colors=["#222222"], default_size=14,
            opacities=[0.5],
        )  # fmt: skip
        self.boundary, self.band = (
            bq.Scatter(x=NOWHERE, y=NOWHERE, scales=scales, colors=["#111111"], default_size=size)
            for size in (12, 3)
        )
        self.people.on_element_click(self._pick)
        legend = (
            key("even odds", "#111111", marker="circle")
            + "<span>small dots: its 95% band</span>"
            + key("surely promoted", "#0072B2")
            + key("surely not", "#D55E00")
        )
        axes = [axis(x, "competence"), axis(y, "network ability", vertical=True)]
        marks = [self.map, self.band, self.boundary, self.people]
        super().__init__("Where are the chances?", legend, marks, axes, [self.expert])

    def _pick(self, _: Any, target: dict[str, Any]) -> None:
        self._picked = float(target["data"]["x"]), float(target["data"]["y"])

    @property
    def choice(self) -> object:
        """The expert, the point picked, and how many answers have come."""
        return self.expert.value, self._picked, self._answer.come

    def update(self, snapshot: Snapshot) -> None:
        """Draw the newest answer, and ask again."""
        ability, competence, _ = snapshot.sample[:, -300:]
        move(self.people, competence, ability)
        about = self.expert.value, self._picked
        question = partial(_surface, *about)
        answer = self._answer.to((snapshot.rows, about), lambda: self._trainer.ask(question))
        if answer is None:
            return
        xs, ys, proba, bounds, said = answer
        with self.map.hold_sync():
            self.map.x, self.map.y, self.map.color = xs, ys, proba
        move(self.boundary, *contour(xs, ys, proba - 0.5))
        edges = [contour(xs, ys, bound - 0.5) for bound in bounds] or [(np.empty(0), np.empty(0))]
        move(self.band, *(np.concatenate(each) for each in zip(*edges, strict=True)))
        self.say(said or "Click on a dot: each expert says what it thinks of such a person.")


def _surface(name: str, picked: tuple[float, float] | None, models: Sequence[Model]) -> Any:
    expert = next(each for each in experts_of(models) if each.name == name)
    xs, ys, rows = grid((-4, 4), (-4, 4), _CELLS)
    shape = (_CELLS, _CELLS)
    proba = expert.predict_proba(rows).reshape(shape)
    bounds = []
    if hasattr(expert, "interval_proba"):
        bounds = [each.reshape(shape) for each in expert.interval_proba(rows)]
    said = ""
    if picked:
        told = "; ".join(f"{o.name} {o.proba:.0%}" for o in opinions(models, *picked))
        said = f"Competence {picked[0]:+.2f}, network ability {picked[1]:+.2f}: {told}."
    return xs, ys, proba, bounds, said


class WhatIfCard:
    """What each expert says of a person with these abilities, while the stream runs."""

    def __init__(self, trainer: Answering) -> None:
        self._trainer, self._answer = trainer, Answer()
        self.competence, self.network_ability = (
            widgets.FloatSlider(
                value=0.5, min=-4, max=4, step=0.1, description=name, continuous_update=False,
                readout_format="+.1f", style=_WIDE, layout=widgets.Layout(width="320px"),
            )
            for name in ("Competence", "Network ability")
        )  # fmt: skip
        self.table = widgets.HTML()
        title = (
            '<div class="promo-title">What if?</div><div class="promo-legend">The chance of '
            "promotion of such a person; 95% at one look where the expert has an interval</div>"
        )
        row = widgets.HBox([self.competence, self.network_ability], layout=row_layout())
        self.widget = widgets.VBox([sheet(), widgets.HTML(title), row, self.table])
        self.widget.add_class("promo")

    @property
    def choice(self) -> object:
        """The point, and how many answers have come."""
        return self.competence.value, self.network_ability.value, self._answer.come

    def update(self, snapshot: Snapshot) -> None:
        """Show the newest answer, and ask again."""
        at = {"competence": self.competence.value, "network_ability": self.network_ability.value}
        question = partial(opinions, **at)
        about = snapshot.rows, *at.values()
        answer = self._answer.to(about, lambda: self._trainer.ask(question))
        if answer is not None:
            self.table.value = _table(answer)


def _table(said: Sequence[Opinion]) -> str:
    lines = ""
    for name, proba, low, high in said:
        interval = f"{low:.1%} to {high:.1%}" if isfinite(low) else ""
        bar = f'<div class="promo-bar"><div style="width: {100 * proba:.0f}%"></div></div>'
        lines += (
            f"<tr><td>{escape(name)}</td><td>{proba:.1%}</td><td>{interval}</td>"
            f'<td style="min-width: 120px">{bar}</td></tr>'
        )
    head = "<th>expert</th><th>chance</th><th>95% interval</th><th></th>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
