"""What the trainer shows the world: one immutable picture of a committed page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from promo.history import History
from promo.models.anytime import ALPHA, G, level_in_words
from promo.models.results import Coefficient, Metric

Status = Literal["idle", "running", "paused", "retrying", "finished", "stopped", "failed"]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The state of a stream after a committed page. Nothing in it ever changes.

    Attributes
    ----------
    status
        What the trainer is doing.
    message
        Why, in one sentence, where there is something to say.
    page, rows
        Newest committed page (None before the first), and rows learned up to it.
    page_size, total_rows
        Rows of a full page, and rows that the server says it has (None if it does not say).
    pages_per_s
        Over the last second or so.
    coefficients, metrics
        Of every model at `page`.
    history
        The same over pages: columns ``(model, term, "estimate" | "std_error" |
        "hc1_std_error")`` and ``(model, metric)``.
    sample
        Network ability, competence and promoted of a bounded sample of the rows, shape (3, m).
    learning_rates
        In force for the next page, by model.
    rate_changes
        (rows learned before, model, new rate) for every change so far.
    totals
        Received, inserted, duplicate, conflicting and rejected rows.
    page_s
        What a page took over the last second or so, in seconds: to wait for it (fetch), to predict
        and learn it (learn), to write it (commit). Empty at rest.
    alpha, g
        Of all intervals, as fixed before the stream (see `promo.models.anytime`).
    """

    status: Status
    message: str
    page: int | None
    rows: int
    page_size: int
    total_rows: int | None
    pages_per_s: float
    coefficients: tuple[Coefficient, ...]
    metrics: tuple[Metric, ...]
    history: History
    sample: NDArray[np.float64]
    learning_rates: Mapping[str, float]
    rate_changes: tuple[tuple[int, str, float], ...]
    totals: Mapping[str, int]
    page_s: Mapping[str, float] = field(default_factory=dict)
    alpha: float = ALPHA
    g: float = G

    @property
    def total_pages(self) -> int | None:
        """Pages in all, if the server told how many rows it has."""
        return None if self.total_rows is None else -(-self.total_rows // self.page_size)

    @property
    def seconds_left(self) -> float | None:
        """Time to the end at the present pace, if both are known."""
        if self.total_pages is None or not self.pages_per_s:
            return None
        done = 0 if self.page is None else self.page + 1
        return max(self.total_pages - done, 0) / self.pages_per_s

    @property
    def level(self) -> str:
        """Of all intervals, 1 - alpha, in words, as 95%."""
        return level_in_words(self.alpha)

    def coefficient(self, model: str, term: str) -> Coefficient:
        """Return one coefficient; KeyError if there is none of that name."""
        for coefficient in self.coefficients:
            if coefficient[:2] == (model, term):
                return coefficient
        raise KeyError((model, term))

    def metric(self, model: str, name: str) -> float:
        """Return one metric; KeyError if there is none of that name."""
        for metric in self.metrics:
            if metric[:2] == (model, name):
                return metric.value
        raise KeyError((model, name))
