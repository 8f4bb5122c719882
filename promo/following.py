"""Reading along in a store that another process writes, in the form of a trainer that only rests.

For whoever comes second: the store has one writer, and its readers see every page that it commits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from promo.begun import Begun
from promo.errors import PromoError, StoreMismatch, shown
from promo.memory import Memory
from promo.models.results import Model, steerable
from promo.snapshot import Snapshot, Status
from promo.store import Reader
from promo.store.connection import writer_of

_T = TypeVar("_T")
_LEAST_S = 0.5  # between two looks
_SHARE = 0.2  # of one core at most for looking
_AFTER_ERROR_S = 2.0


class Following:
    """Shows what a store holds, newly looked at from time to time, and writes nothing.

    It has what views ask of a `Trainer`: `snapshot`, `status`, `message`, `models` and `ask`. One
    thread may use it at a time, that of the publisher.

    Parameters
    ----------
    path
        The store.

    Raises
    ------
    StoreError, StoreMismatch
        It cannot be read, or holds models that this version does not know.
    """

    error = None

    def __init__(self, path: Path) -> None:
        self.store = Reader(path)
        self.models, _ = Begun.of(self.store).models()
        self._initial = {s.name: s.state for m in self.models for s in m.states()}
        found = self.store.states
        if self.store.page is not None and found.keys() != self._initial.keys():
            raise StoreMismatch(f"{path} holds models of another version: {shown(sorted(found))}")
        self._pages: list[tuple[float, int]] = []
        self._look_at = float("-inf")
        self._snapshot = self._look()

    @property
    def snapshot(self) -> Snapshot:
        """What the store held at the last look; looks again when it is time to.

        While it cannot be read, that is its message, beside what was seen last.
        """
        if time.monotonic() >= self._look_at:
            try:
                self._snapshot = self._look()
            except (PromoError, LookupError, TypeError, ValueError) as error:  # it may be mended
                told = f"it cannot be read: {error}"
                self._snapshot = replace(self._snapshot, status="failed", message=told)
                self._look_at = time.monotonic() + _AFTER_ERROR_S
        return self._snapshot

    @property
    def status(self) -> Status:
        """``running`` while pages are committed, ``failed`` if it cannot be read, else ``idle``."""
        return self._snapshot.status

    @property
    def message(self) -> str:
        """Who wrote it at the last look, or why there was none."""
        return self._snapshot.message

    def ask(self, question: Callable[[Sequence[Model]], _T]) -> Future[_T]:
        """Answer a question about the models as they were at the last look, at once."""
        future: Future[_T] = Future()
        try:
            future.set_result(question(self.models))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Let go of the store. Idempotent."""
        self.store.close()

    def _look(self) -> Snapshot:
        began, began_s = time.monotonic(), time.thread_time()
        self.store.query("BEGIN")  # all that is read until its end is of one page
        try:
            memory = self._memory()
        finally:
            self.store.query("COMMIT")
        self._pages = [*self._pages[-3:], (began, -1 if memory.page is None else memory.page)]
        (then, before), (now, page) = self._pages[0], self._pages[-1]
        pace = (page - before) / (now - then) if page > before else 0.0
        took_s = time.thread_time() - began_s  # not by the clock: others may keep the cores busy
        self._look_at = began + max(_LEAST_S, took_s / _SHARE)
        writer = writer_of(self.store.path)
        snapshot = memory.snapshot(
            "running" if pace else "idle",
            f"process {writer} writes it" if writer else "nobody writes it now: open it to go on",
            page_size=self.store.page_size,
            total_rows=None,
            learning_rates={n: m.learning_rate for n, m in steerable(self.models).items()},
        )
        return replace(snapshot, pages_per_s=pace)

    def _memory(self) -> Memory:
        states: dict[str, Any] = {**self._initial, **self.store.states}
        for model in self.models:
            model.restore(states)
            if hasattr(model, "relearn"):
                model.relearn(self.store.batches())
        coefficients = [c for model in self.models for c in model.coefficients()]
        metrics = [m for model in self.models for m in model.metrics()]
        return Memory(self.store, coefficients, metrics)
