"""What the trainer remembers of the pages committed so far, in bounded space.

All of it can be rebuilt from the store, so it is never saved; `Snapshot` is a picture of it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain
from operator import attrgetter

import numpy as np

from promo.batch import Batch
from promo.history import History, Sample, stride
from promo.models.anytime import fixed_level
from promo.models.results import Coefficient, Metric
from promo.pace import Pace
from promo.snapshot import Snapshot, Status
from promo.store import Elsewhere, Reader, Sifted


class Memory:
    """Newest results, thinned history, sample of rows, changes of learning rates, totals.

    Parameters
    ----------
    store
        Read once, here.
    coefficients, metrics
        What the models hand on at the store's newest page, in their order.
    later
        A history of the same store, of this page or a later one; else it is read.
    """

    def __init__(
        self,
        store: Reader,
        coefficients: Sequence[Coefficient],
        metrics: Sequence[Metric],
        later: History | None = None,
    ) -> None:
        self.page, self.totals = store.page, store.totals()
        self._level = fixed_level(store.settings)
        changes = store.events("learning_rate", last=1000)
        self.rate_changes = [
            (int(e.detail["rows"]), str(e.detail["model"]), float(e.detail["to"])) for e in changes
        ]
        self.coefficients, self.metrics = coefficients, metrics
        if later is not None and self.page is not None:
            self._history = later.until(self.page, _values(coefficients, metrics))
        else:
            self._history = _history(store, _columns(coefficients, metrics))
        self._news: int | None = None  # the newest page, as long as it is not in the history
        kept = np.array(store.data(Sample.where(store.rows)), np.float64).reshape(-1, 5).T
        self.sample = Sample()
        self.sample.restore(store.rows, kept[0].astype(np.int64), *kept[2:])
        self.pace = Pace()
        self.spent_s = dict.fromkeys(("fetch", "learn", "commit"), 0.0)

    def add_page(self, batch: Batch, sifted: Sifted | Elsewhere) -> None:
        """Take in the rows of a page that was committed."""
        fresh = sifted.fresh
        self.page = batch.page
        self.sample.extend(fresh.network_ability, fresh.competence, fresh.promoted)
        for name, count in zip(self.totals, sifted.counts(batch), strict=True):
            self.totals[name] += count

    @property
    def rows(self) -> int:
        """Rows learned."""
        return self.totals["inserted"]

    def tell(
        self, page: int, coefficients: Sequence[Coefficient], metrics: Sequence[Metric]
    ) -> None:
        """Take in what the models know after a page."""
        if self._news not in (None, page) and self._news % stride(page) == 0:
            self._catch_up()
        self.coefficients, self.metrics, self._news = coefficients, metrics, page

    @property
    def history(self) -> History:
        """Results of some pages, the newest among them."""
        self._catch_up()
        return self._history

    def _catch_up(self) -> None:
        """Take the newest results into the history: most are neither kept nor ever looked at."""
        page, self._news = self._news, None
        if page is not None:
            self._history.append(page, _values(self.coefficients, self.metrics))

    def snapshot(
        self,
        status: Status,
        message: str,
        *,
        page_size: int,
        total_rows: int | None,
        learning_rates: dict[str, float],
    ) -> Snapshot:
        """Return a picture that shares nothing that will change."""
        if status == "running":
            done = 0 if self.page is None else self.page + 1
            pages_per_s, *page_s = self.pace.note(done, *self.spent_s.values())
        else:
            pages_per_s, page_s, self.pace = 0.0, [], Pace()
        alpha, g = self._level
        return Snapshot(
            status=status,
            message=message,
            page=self.page,
            rows=self.rows,
            page_size=page_size,
            total_rows=total_rows,
            pages_per_s=pages_per_s,
            page_s=dict(zip(self.spent_s, page_s, strict=False)),
            coefficients=tuple(self.coefficients),
            metrics=tuple(self.metrics),
            history=self.history.copy(),
            sample=self.sample.columns,
            learning_rates=learning_rates,
            rate_changes=tuple(self.rate_changes),
            totals=dict(self.totals),
            alpha=alpha,
            g=g,
        )


def _history(store: Reader, columns: Sequence[Hashable]) -> History:
    history = History(columns)
    for page, coefficients, metrics in store.kept():  # in another order than ours
        names = _columns(coefficients, metrics)
        values = dict(zip(names, _values(coefficients, metrics), strict=True))
        history.append(page, [values[column] for column in columns])
    return history


_SHOWN = ("estimate", "std_error", "hc1_std_error")


def _columns(coefficients: Sequence[Coefficient], metrics: Sequence[Metric]) -> list[Hashable]:
    terms = [(*coefficient[:2], name) for name in _SHOWN for coefficient in coefficients]
    return [*terms, *(metric[:2] for metric in metrics)]


def _values(coefficients: Sequence[Coefficient], metrics: Sequence[Metric]) -> list[float]:
    """Return what is remembered of a page, in the order of `_columns`."""
    shown = [map(attrgetter(name), coefficients) for name in _SHOWN]
    return [*chain(*shown, map(attrgetter("value"), metrics))]
