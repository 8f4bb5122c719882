"""The line from batch to commit: models, store and memory together, without a thread.

Whoever holds a `Line` hands it batches in page order; the trainer does so in its thread. All that
is in memory can be dropped at any time and taken up again from the last commit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy

from promo.batch import Batch
from promo.errors import PromoError, StoreMismatch, shown
from promo.memory import Memory
from promo.models.results import Coefficient, Metric, Model, found_out, steerable
from promo.store import Store


class Halted(PromoError):
    """Stop came while the models took up the last commit: they have to do so anew."""


class Line:
    """Takes one page after another through the models into the store.

    Parameters
    ----------
    store
        The sink. Models that are not those of its pages are refused.
    models
        Learn every page in this order, from what the store holds of them on.

    Raises
    ------
    StoreMismatch
        The store holds other models, or a broken state.
    ValueError
        Two of the models have one name.
    """

    def __init__(self, store: Store, models: Sequence[Model]) -> None:
        self.store, self.models = store, tuple(models)
        states = [state for model in self.models for state in model.states()]
        self._initial = {state.name: state.state for state in states}
        if len(self._initial) < len(states):
            raise ValueError(f"two of these models have one name: {[s.name for s in states]}")
        self.restore()

    def learn(self, batch: Batch) -> None:
        """Take one page from batch to commit, and note how long it took."""
        began = time.perf_counter()
        sifted = self.store.sift(batch)
        self._learn_rows(sifted.fresh)
        states = [state for model in self.models for state in model.states()]
        coefficients, metrics = self._results()
        events = found_out(self.models)
        learned = time.perf_counter()
        self.store.commit(batch, sifted, states, coefficients, metrics, events)
        self.memory.add_page(batch, sifted)
        self.memory.tell(batch.page, coefficients, metrics)
        self.memory.spent_s["learn"] += learned - began
        self.memory.spent_s["commit"] += time.perf_counter() - learned

    def _learn_rows(self, batch: Batch) -> None:
        for model in self.models:
            model.learn(batch)

    def restore(self, halt: threading.Event | None = None) -> None:
        """Drop what is in memory and take up the last commit.

        Raises
        ------
        Halted
            `halt` was set meanwhile.
        """
        found = self.store.states
        if self.store.page is not None and found.keys() != self._initial.keys():
            raise StoreMismatch(
                f"{self.store.path} holds the models {shown(sorted(found))}, not "
                f"{sorted(self._initial)}; choose another file, or delete this one"
            )
        try:
            for model in self.models:
                model.restore({**self._initial, **found})
                if hasattr(model, "relearn"):  # its state is the rows; see Model
                    model.relearn(_until(halt, self.store.batches()))
            self.memory = Memory(self.store, *self._results())
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            raise StoreMismatch(
                f"{self.store.path} holds no usable state of a model: {error}"
            ) from error
        self.store.begin_log()

    def change_rate(self, name: str, rate: float) -> None:
        """Set a learning rate for the next page on, and say so in the store."""
        model, rows = steerable(self.models)[name], self.memory.rows
        before = model.learning_rate
        if rate != before:
            model.learning_rate = rate
            detail = {"model": name, "from": before, "to": rate, "rows": rows}
            self.store.record("learning_rate", detail, model.states())
            self.memory.rate_changes.append((rows, name, rate))

    def rates(self) -> dict[str, float]:
        """Return the learning rates of the models that have one."""
        return {name: model.learning_rate for name, model in steerable(self.models).items()}

    def record(self, kind: str, **detail: object) -> None:
        """Write an event with the rows learned before it."""
        self.store.record(kind, {**detail, "rows": self.memory.rows})

    def unlearned(self) -> tuple[Model, ...]:
        """Return copies of the models, as they were before they learned anything."""
        copies = deepcopy(self.models)
        for model in copies:
            model.restore(self._initial)
        return copies

    def _results(self) -> tuple[list[Coefficient], list[Metric]]:
        coefficients = [c for model in self.models for c in model.coefficients()]
        return coefficients, [m for model in self.models for m in model.metrics()]


def _until(halt: threading.Event | None, batches: Iterator[Batch]) -> Iterator[Batch]:
    for batch in batches:
        if halt is not None and halt.is_set():
            raise Halted("stopped")
        yield batch
