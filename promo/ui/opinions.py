"""What each expert says of a point: asked between two pages, never of a model at work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

import numpy as np

from promo.batch import Batch
from promo.models.results import Model
from promo.ui.plot import Floats

PLANE = -4.0, 4.0  # of both abilities, until people lie elsewhere
LATE = "Being worked out."
_LATE_S = 0.5  # from then on an answer to what was asked before is not shown any more
NOBODY = -1  # the id of a row that is asked about, and is no employee


class Opinion(NamedTuple):
    """P(promoted) by one expert, with its interval where it has one (else NaN)."""

    name: str
    proba: float
    low: float
    high: float


class Answering(Protocol):
    """A trainer, or what stands for it in the past."""

    @property
    def models(self) -> Sequence[Model]:
        """The models, by which views know their names."""

    def ask(self, question: Callable[[Sequence[Model]], Any]) -> Future[Any]:
        """Answer a question about the models; the future has the answer."""


def experts_of(models: Sequence[Model]) -> list[Any]:
    """Return the models that predict `promoted`, in their order."""
    return [model for model in models if hasattr(model, "predicted")]


def past_page(trainer: Answering) -> int | None:
    """Return the page of the past whose models answer, None if those of now do."""
    return getattr(trainer, "page", None)


def point(competence: float, network_ability: float) -> Batch:
    """Return one row that nobody knows the promotion of."""
    return Batch.of([network_ability], [competence], [False], ids=[NOBODY])


def opinions(models: Sequence[Model], competence: float, network_ability: float) -> list[Opinion]:
    """Return what every expert says of a point; a question for `Trainer.ask`."""
    row, found = point(competence, network_ability), []
    for expert in experts_of(models):
        proba = float(expert.predict_proba(row)[0])
        low, high = np.nan, np.nan
        if hasattr(expert, "interval_proba"):
            low, high = expert.interval_proba(row)[:, 0].tolist()
        found.append(Opinion(expert.name, proba, low, high))
    return found


class Answer:
    """The newest answer to a question that is asked again whenever there is something new."""

    def __init__(self) -> None:
        self._wanted: object = None  # what the reader asks about
        self._since = 0.0  # when that began
        self._asked: Any = None  # about what, and of what
        self._about: object = None  # what the newest answer is about
        self._pending: Future[Any] | None = None
        self._newest: Future[Any] | None = None
        self._count = 0

    @property
    def count(self) -> int:
        """How many answers have come: while it stays the same there is nothing new to show."""
        self._take_in()
        return self._count

    def is_about(self, about: object) -> bool:
        """Whether the newest answer is about what the reader asks now."""
        self._take_in()
        return self._newest is not None and self._about == about

    @property
    def is_late(self) -> bool:
        """Whether the answer takes so long that one about something else would mislead."""
        late = time.monotonic() > self._since + _LATE_S
        return late and self._newest is not None and not self.is_about(self._wanted)

    def _take_in(self) -> None:
        if self._pending is not None and self._pending.done():
            if self._pending.cancelled():
                self._asked = None  # so that it is asked again
            else:
                self._newest, (self._about, _) = self._pending, self._asked
            self._pending = None
            self._count += 1

    def to(self, about: object, of: object, ask: Callable[[], Future[Any]]) -> Any:
        """Return the newest answer, None before the first, and ask if there is something new.

        That is so if the reader asks `about` something else, or if it is `of` other rows, say.
        Raises what the question raised.
        """
        self._take_in()
        if about != self._wanted:
            self._wanted, self._since = about, time.monotonic()
        if self._pending is None and (about, of) != self._asked:
            self._asked, self._pending = (about, of), ask()
            self._take_in()  # at rest it is answered at once
        return None if self._newest is None else self._newest.result()


def grid(
    x: tuple[float, float], y: tuple[float, float], cells: int
) -> tuple[Floats, Floats, Batch]:
    """Return the centres of a plane's cells, each of shape (cells,), and a row for each cell."""
    xs, ys = (low + (np.arange(cells) + 0.5) * (high - low) / cells for low, high in (x, y))
    competence, ability = np.meshgrid(xs, ys)
    nobody = np.full(cells * cells, NOBODY)
    outcomes = np.zeros(cells * cells, bool)
    return xs, ys, Batch.of(ability.ravel(), competence.ravel(), outcomes, ids=nobody)


def contour(xs: Floats, ys: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return points where `values`, shape (len(ys), len(xs)), pass zero along rows and columns.

    Examples
    --------
    >>> at = np.array([0.0, 1.0])
    >>> contour(at, at, np.array([[-1.0, -1.0], [1.0, 1.0]]))
    (array([0., 1.]), array([0.5, 0.5]))
    """
    j, i = np.argwhere(values[:, :-1] * values[:, 1:] < 0).T  # along a row
    part = values[j, i] / (values[j, i] - values[j, i + 1])
    k, m = np.argwhere(values[:-1] * values[1:] < 0).T  # along a column
    rest = values[k, m] / (values[k, m] - values[k + 1, m])
    x = np.concatenate([xs[i] + part * (xs[i + 1] - xs[i]), xs[m]])
    y = np.concatenate([ys[j], ys[k] + rest * (ys[k + 1] - ys[k])])
    return x, y
