"""Predicting promotion: the leaderboard, the experts' losses and weights, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from math import isfinite
from typing import Any

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from promo.models.best import BestPossible
from promo.models.board import Board
from promo.models.mixture import Mixture
from promo.models.results import Model
from promo.report.experts import expert_styles
from promo.report.figures import loss_path
from promo.report.svg import LIGHT
from promo.snapshot import Snapshot
from promo.ui.beside import BesideLine, Run
from promo.ui.common import check_box, html, sheet
from promo.ui.figures import NEW_RATE, RateMarks
from promo.ui.opinions import (
    Answer,
    Answering,
    experts_of,
)
from promo.ui.plot import (
    DASHED,
    NOWHERE,
    OFF,
    POINTS,
    Figure,
    axis,
    extend,
    fit,
    move,
    over_rows,
    sparse,
)
from promo.ui.style import BLUE, GREY, PURPLE, headed, key, number, row_layout, table
from promo.words import of_rows, percent

_DRIFT = key("change noticed", GREY, dash="6,3,2,3")
_WIDE = {"description_width": "initial"}
_MARKS = 20  # of changes, the newest
_COLUMNS = ("expert", "log loss", "lately", "Brier", "accuracy", "ROC AUC", "behind", "lead")


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

    rest_s = 2.0

    def __init__(self, trainer: Answering) -> None:
        self._names = names_of(trainer)
        self.table, self.note = html(), html()
        head = headed(
            "Who predicts best?",
            "Each row is predicted before it is learned. Behind: nats a row to the leader, for all "
            "pairs at any time; lately: the last 1,000 to 2,000 rows, by whole pages; ROC AUC: two "
            "in one of 64 bins (sgd-logistic: 128) count as tied",
        )
        self.widget = widgets.VBox([sheet(), html(head), self.table, self.note])
        self.widget.add_class("promo")

    def update(self, snapshot: Snapshot) -> None:
        """Write the table anew, in the order of the log loss."""
        scores = {name: _scores(snapshot, name) for name in self._names}
        racing = [name for name in self._names if isfinite(scores[name]["log_loss"])]
        racing = [name for name in racing if name != BestPossible.name]
        racing.sort(key=lambda name: scores[name]["log_loss"])
        others = [name for name in self._names if name not in racing]
        lines = "".join(self._line(name, scores[name], racing) for name in (*racing, *others))
        self.table.value = table(
            "Who predicts best?", _COLUMNS, f"<tbody>{lines}</tbody>", "promo-leaders"
        )
        self.note.value = (
            f'<div class="promo-note">{_in_words(racing, scores, snapshot.level)}</div>'
        )

    def _line(self, name: str, score: dict[str, float], racing: Sequence[str]) -> str:
        forms = [("log_loss", ".4f"), ("recent_log_loss", ".4f"), ("brier", ".4f")]
        forms += [("accuracy", ".1%"), ("roc_auc", ".3f")]
        cells = [number(score.get(metric, np.nan), form) for metric, form in forms]
        behind, low = score.get("behind", np.nan), score.get("behind_low", np.nan)
        if racing and name == racing[0]:
            cells += ["", "leads"]
        elif name in racing:
            far = number(behind, ".4f") + (f" ±&nbsp;{behind - low:.4f}" if isfinite(low) else "")
            cells += [far, "real" if low > 0 else "not sure"]
        else:
            cells += ["", "the floor" if name == BestPossible.name else ""]
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        return f'<tr><th scope="row">{escape(name)}</th>{row}</tr>'


def _scores(snapshot: Snapshot, name: str) -> dict[str, float]:
    return {m.name: m.value for m in snapshot.metrics if m.model == name}


def _in_words(racing: Sequence[str], scores: dict[str, dict[str, float]], level: str) -> str:
    if not racing:
        return "Nothing is predicted yet."
    leader = racing[0]
    sure = [n for n in racing[1:] if scores[n]["behind_low"] > 0]
    lead = "is over nobody"
    if racing[1:]:
        lead = f"is real over {len(sure)} of {len(racing) - 1} others ({level}, at any time)"
    text = f"{leader} leads with {scores[leader]['log_loss']:.4f} nats a row; its lead {lead}."
    excess = scores[leader].get("excess", np.nan)
    if isfinite(excess):
        text += f" It is {excess:.4f} nats a row above the best possible in this world."
    return text


def _styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    return {
        name: (LIGHT[colour], dash.replace("-", "_"))
        for name, (colour, dash) in expert_styles(names).items()
    }


class ExpertsFigure(Figure):
    """Log loss so far of every expert over rows, and of the best possible where that is known.

    Each line is named beside the plot, with the loss that it has come to.

    Parameters
    ----------
    trainer
        Whose experts are shown.
    title
        Of the figure.
    model
        Whose changes of the learning rate are marked.
    beside
        Another run, of which the log loss of that model is drawn as well; or of its best expert,
        where it goes without.
    """

    rest_s = 1.0

    def __init__(
        self,
        trainer: Answering,
        title: str = "How well does each expert predict?",
        model: str = "sgd-logistic",
        beside: Run | None = None,
    ) -> None:
        self._names, self._model, self.beside = names_of(trainer), model, beside
        self._x, self._y = bq.LinearScale(min=0, max=10), bq.LinearScale(min=0.5, max=0.7)
        scales, styles = {"x": self._x, "y": self._y}, _styles(self._names)
        self.lines = {
            name: bq.Lines(x=NOWHERE, y=NOWHERE, scales=scales, colors=[styles[name][0]],
                           line_style=styles[name][1], stroke_width=2)
            for name in self._names
        }  # fmt: skip
        upright = {"x": self._x, "y": bq.LinearScale(min=0, max=1)}
        self.drifts = bq.Lines(
            x=NOWHERE, y=NOWHERE, scales=upright, colors=[GREY], line_style="dash_dotted"
        )
        self.rates = RateMarks(self._x, model)
        self._keys = {name: _key(name, styles[name]) for name in self._names}
        self.names = widgets.HTML(layout={"flex": "0 0 auto"})
        legend = "Each row is predicted before it is learned. " + NEW_RATE + _DRIFT
        axes = [
            over_rows(self._x),
            sparse(axis(self._y, "log loss so far (nats)", vertical=True, fmt=".3f")),
        ]
        self.other = BesideLine(beside, scales) if beside else None
        marks = [self.drifts, self.rates.lines, *self.lines.values(), self.rates.labels]
        marks += self.other.marks if self.other else []
        super().__init__(title, legend, marks, axes, beside=self.names)

    def update(self, snapshot: Snapshot) -> None:
        """Draw every path, and where some expert's losses were found to have changed."""
        shown, rows = [], np.empty(0)
        for name, line in self.lines.items():
            rows, loss = loss_path(snapshot, name)
            move(line, rows, loss)
            if name != "base-rate" or len(self.lines) == 1:
                shown.append(loss)
        losses = {name: snapshot.metric(name, "log_loss") for name in self._names}
        run = self.beside.snapshot if self.beside else None
        others = _losses(run) if run else {}
        other = (
            self._model
            if self._model in others
            else min(others, key=others.__getitem__, default="")
        )
        lines = [(self._keys[name], loss) for name, loss in losses.items()]
        if self.beside and other:
            name = f"{self.beside.name}, {other}"
            lines += [(key(name, PURPLE, dash=DASHED), others[other])]
        self.names.value = "".join(
            f'<div class="promo-line">{name}<b>{number(loss, ".4f")}</b></div>'
            for name, loss in lines
        )
        if not len(rows):
            self.empty("Nothing is predicted yet.")
            return
        end = max(1.0, rows[-1])
        if self.other and run and other:
            others_rows, drawn = self.other.draw(*loss_path(run, other))
            shown.append(drawn)
            end = max(end, *others_rows[-1:])
        extend(self._x, 1.08 * end)  # room for the label of a new rate
        fit(self._y, rows, shown)
        noticed = self._mark_drifts(snapshot)
        self.rates.update(snapshot)
        told = f"Nats a row, the lowest first: {_ranked(losses)}."
        if self.beside and run and others:
            told += f" Beside it, {self.beside.name}, {of_rows(run.rows)}: {_ranked(others)}."
        self.say(told + noticed)

    def _mark_drifts(self, snapshot: Snapshot) -> str:
        """Mark the newest changes, and say in whose losses they were noticed."""
        at: set[float] = set()
        times: dict[str, int] = {}
        history = snapshot.history
        for name in self._names:
            if (name, "drifts") in history.columns:
                count, rows = history[name, "drifts"], history[name, "rows"]
                at |= {*rows[1:][np.diff(count) > 0].tolist()}
                times[name] = int(max([0.0, *count[-1:]]))
        marks = np.array([2 * [rows] for rows in sorted(at)[-_MARKS:]] or [2 * [OFF]])
        move(self.drifts, marks, np.tile([0.0, 1.0], (len(marks), 1)))
        newest = f" (the newest {_MARKS} are drawn)" if len(at) > _MARKS else ""
        told = ", ".join(f"{name} {many:,}" for name, many in times.items() if many)
        return f" Changes noticed: {told}{newest}." if told else ""


def _losses(run: Snapshot) -> dict[str, float]:
    """Return the log loss so far of each expert of a run, where it is defined."""
    losses = {m.model: m.value for m in run.metrics if m.name == "log_loss"}
    return {n: x for n, x in losses.items() if isfinite(x) and n != BestPossible.name}


def _ranked(losses: dict[str, float]) -> str:
    return ", ".join(
        f"{name} {losses[name]:.4f}" for name in sorted(losses, key=losses.__getitem__)
    )


class WeightsFigure(Figure):
    """How much the mixture trusts each expert, over rows."""

    rest_s = 1.0

    def __init__(self, trainer: Answering) -> None:
        names = names_of(trainer)
        self._names = [n for n in names if n not in (Mixture.name, BestPossible.name)]
        self._x, self._y = bq.LinearScale(min=0, max=10), bq.LinearScale(min=0, max=1.02)
        scales, styles = {"x": self._x, "y": self._y}, _styles(names)
        self.lines = {
            name: bq.Lines(x=NOWHERE, y=NOWHERE, scales=scales, colors=[styles[name][0]],
                           line_style=styles[name][1], stroke_width=2.5)
            for name in self._names
        }  # fmt: skip
        legend = "".join(_key(name, styles[name]) for name in self._names)
        axes = [
            over_rows(self._x),
            axis(self._y, "weight in the mixture", vertical=True, fmt=".0%"),
        ]
        super().__init__("Whom does the mixture trust?", legend, [*self.lines.values()], axes)

    def update(self, snapshot: Snapshot) -> None:
        """Draw the weights."""
        history = snapshot.history.thinned(POINTS)
        rows = history[Mixture.name, "rows"]
        for name, line in self.lines.items():
            move(line, rows, history[Mixture.name, f"weight of {name}"])
        extend(self._x, max([1.0, *rows[-1:].tolist()]))
        weights = {n: snapshot.metric(Mixture.name, f"weight of {n}") for n in self._names}
        best = max(weights, key=lambda name: weights[name])
        self.say(
            f"The next row is predicted with {percent(weights[best])} of the weight on {best}."
        )


def _key(name: str, style: tuple[str, str]) -> str:
    dash = {"solid": "", "dashed": DASHED, "dotted": "2,3", "dash_dotted": "6,3,2,3"}[style[1]]
    return key(name, style[0], dash=dash)


class CalibrationFigure(Figure):
    """Whether of those predicted with 70%, 70% are promoted, over all rows or the last ones."""

    rest_s = 1.0

    def __init__(self, trainer: Answering) -> None:
        self._trainer, self._answer = trainer, Answer()
        self.expert = choose_expert(trainer)
        self.lately = check_box("lately")
        scales = {"x": bq.LinearScale(min=0, max=1), "y": bq.LinearScale(min=0, max=1)}
        self.even = bq.Lines(
            x=[0.0, 1.0], y=[0.0, 1.0], scales=scales, colors=[GREY], line_style="dashed"
        )
        self.curve = bq.Lines(x=NOWHERE, y=NOWHERE, scales=scales, colors=[BLUE])
        self.points = bq.Scatter(
            x=NOWHERE, y=NOWHERE, scales=scales, colors=[BLUE], default_size=40
        )
        axes = [
            axis(scales["x"], "predicted", fmt=".0%"),
            axis(scales["y"], "promoted", vertical=True, fmt=".0%"),
        ]
        legend = key("share promoted", BLUE) + key("calibrated", GREY, dash=DASHED)
        marks = [self.even, self.curve, self.points]
        title = "Do predictions mean what they say?"
        row = widgets.HBox([self.expert, self.lately], layout=row_layout())
        super().__init__(title, legend, marks, axes, [row])

    @property
    def choice(self) -> object:
        """The expert, whether over the last rows only, and whether that is shown."""
        about = self.expert.value, self.lately.value
        return about, self._answer.is_about(about)

    @property
    def answers(self) -> int:
        """How many answers have come."""
        return self._answer.count

    def update(self, snapshot: Snapshot) -> None:
        """Draw the newest answer, and ask again."""
        about = self.expert.value, self.lately.value
        question = partial(_calibration, *about)
        answer = self._answer.to(about, snapshot.rows, lambda: self._trainer.ask(question))
        if answer is None:
            return
        name, (middle, share, rows) = answer
        known = rows > 0
        move(self.curve, middle[known], share[known])
        move(self.points, middle[known], share[known])
        counts = ", ".join(f"{n:,.0f} at {m:.0%}" for m, n in zip(middle, rows, strict=True) if n)
        self.say(f"{name}, rows by prediction: {counts or 'none yet'}.")


def _calibration(name: str, lately: bool, models: Sequence[Model]) -> tuple[str, Any]:
    board = next(model for model in models if isinstance(model, Board))
    tally = board.recent if lately else board.whole
    return f"{name}{', lately' * lately}", tally.calibration(board.names.index(name))


def choose_expert(trainer: Answering) -> widgets.Dropdown:
    """Return a list of the experts to choose from: the mixture at first, if there is one."""
    names = names_of(trainer)
    first = Mixture.name if Mixture.name in names else names[0]
    return widgets.Dropdown(options=names, value=first, description="Expert", style=_WIDE)
