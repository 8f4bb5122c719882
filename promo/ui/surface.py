"""The plane of both abilities: the chance of promotion by one expert, and the people seen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from typing import Any

import bqplot as bq
import numpy as np

from promo.models.results import Model
from promo.report import Drawing, Surface, surface_drawing
from promo.snapshot import Snapshot
from promo.ui.opinions import (
    LATE,
    PLANE,
    Answer,
    Answering,
    contour,
    experts_of,
    grid,
    opinions,
    past_page,
)
from promo.ui.plot import NOWHERE, Figure, axis, move, move_dots, points, sparse, stretch
from promo.ui.prediction import choose_expert
from promo.ui.style import INK, key
from promo.words import percent

_CELLS = 48
_PEOPLE = 120  # at most: each can be clicked, which has its price (see `points`)


class SurfaceFigure(Figure):
    """P(promoted) over the plane by one expert, its even odds, and the people it speaks of.

    Click on a person: below stands what each expert says of people like that. `WhatIfCard` answers
    the same by the keyboard.

    Parameters
    ----------
    trainer
        Whose experts are asked.
    title
        Of the figure.
    """

    rest_s = 1.0

    def __init__(self, trainer: Answering, title: str = "Where are the chances?") -> None:
        self._trainer, self._answer = trainer, Answer()
        self._picked: tuple[float, float] | None = None
        self._title = title
        self._shown: Surface | None = None
        self.expert = choose_expert(trainer)
        low, high = PLANE
        x, y = bq.LinearScale(min=low, max=high), bq.LinearScale(min=low, max=high)
        colour = bq.ColorScale(colors=["#D55E00", "#f7f7f7", "#0072B2"], min=0, max=1)
        scales = {"x": x, "y": y}
        nothing = np.array(PLANE)
        self.map = bq.HeatMap(
            x=nothing, y=nothing, color=np.full((2, 2), 0.5),
            scales={**scales, "color": colour}, visible=False,
        )  # fmt: skip
        self.not_promoted, self.promoted = (
            bq.Scatter(
                x=NOWHERE, y=NOWHERE, scales=scales, colors=["#ffffff"], stroke="#444444",
                marker=marker, default_size=size, opacities=[0.8], stroke_width=1,
            )
            for marker, size in (("cross", 30), ("circle", 20))
        )  # fmt: skip
        self.ring = bq.Scatter(  # around the point picked
            x=NOWHERE, y=NOWHERE, scales=scales, colors=["#111111"], fill=False,
            default_size=130, stroke_width=3,
        )  # fmt: skip
        self.boundary, self.band = (points(scales, "#111111", width) for width in (4, 2))
        for people in (self.promoted, self.not_promoted):
            people.on_element_click(self._pick)
        legend = (
            key("promoted", INK, marker="circle")
            + key("not promoted", INK, marker="cross")
            + key("surely promoted", "#0072B2", marker="square")
            + key("surely not", "#D55E00", marker="square")
            + "<span>dotted: even odds, thin: interval</span>"
        )
        axes = [sparse(axis(x, "competence")), sparse(axis(y, "network ability", vertical=True))]
        self._axes = axes
        marks = [self.map, self.band, self.boundary, self.ring, self.not_promoted, self.promoted]
        super().__init__(title, legend, marks, axes, [self.expert])
        self.figure.add_class("promo-points")

    def _pick(self, _: Any, target: dict[str, Any]) -> None:
        self._picked = float(target["data"]["x"]), float(target["data"]["y"])

    @property
    def choice(self) -> object:
        """The expert, the point picked, and whether they are shown."""
        about = self._about
        return about, self._answer.is_about(about), self._answer.is_late

    @property
    def _about(self) -> tuple[str, tuple[float, float] | None, int | None]:
        return self.expert.value, self._picked, past_page(self._trainer)

    @property
    def answers(self) -> int:
        """How many answers have come."""
        return self._answer.count

    def drawing(self) -> Drawing | None:
        """Return what is shown as SVG, to take along; None before there is anything."""
        shown = self._shown
        return surface_drawing(shown, self._title) if shown and shown.people.size else None

    def update(self, snapshot: Snapshot) -> None:
        """Draw the newest answer, and ask again."""
        ability, competence, promoted = people = snapshot.sample[:, -_PEOPLE:]
        for mark, chosen in ((self.promoted, promoted > 0), (self.not_promoted, promoted == 0)):
            move(mark, competence[chosen], ability[chosen])
        for along, values in zip(self._axes, (competence, ability), strict=True):
            stretch(along.scale, PLANE, values)
        about = self._about
        plane = [(along.scale.min, along.scale.max) for along in self._axes]
        question = partial(_surface, *about[:2], *plane)
        of = snapshot.rows, plane
        answer = self._answer.to(about, of, lambda: self._trainer.ask(question))
        if self._answer.is_late:
            self._clear()
        if answer is None or self._answer.is_late:
            return
        xs, ys, proba, bounds, said = answer
        with self.map.hold_sync():
            self.map.visible = snapshot.rows > 0  # without rows it is even odds everywhere
            self.map.x, self.map.y, self.map.color = xs, ys, proba
        even = contour(xs, ys, proba - 0.5)
        edges = [contour(xs, ys, bound - 0.5) for bound in bounds] or [(np.empty(0), np.empty(0))]
        along, up = (np.concatenate(each) for each in zip(*edges, strict=True))
        move_dots(self.boundary, *even)
        move_dots(self.band, along, up)
        if about[1]:
            move(self.ring, *(np.array([each]) for each in about[1]))
        self._shown = Surface(about[0], xs, ys, proba, even, (along, up), people)
        hint = "Click on a dot, or ask <b>What if?</b>: each expert says what it thinks."
        self.say(said or (hint if snapshot.rows else "No row is learned yet."))

    def _clear(self) -> None:
        self.map.visible, self._shown = False, None
        for mark in (self.boundary, self.band):
            move_dots(mark, np.empty(0), np.empty(0))
        self.say(LATE)


def _surface(
    name: str,
    picked: tuple[float, float] | None,
    competence: tuple[float, float],
    ability: tuple[float, float],
    models: Sequence[Model],
) -> Any:
    expert = next(each for each in experts_of(models) if each.name == name)
    xs, ys, rows = grid(competence, ability, _CELLS)
    shape = (_CELLS, _CELLS)
    proba = expert.predict_proba(rows).reshape(shape)
    bounds = []
    if hasattr(expert, "interval_proba"):
        bounds = [each.reshape(shape) for each in expert.interval_proba(rows)]
    said = ""
    if picked:
        each = (f"{o.name} {percent(o.proba, 0)}" for o in opinions(models, *picked))
        told = escape("; ".join(each))
        said = f"Competence {picked[0]:+.2f}, network ability {picked[1]:+.2f}: {told}."
    return xs, ys, proba, bounds, said
