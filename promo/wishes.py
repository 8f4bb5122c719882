"""What other threads want of the trainer's: done between two pages, by whoever owns the models."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from promo.line import Line
from promo.models.results import Model

_MOST = 1_000_000  # bytes of an event: a store takes more, a reader of it hardly
Question = Callable[[Sequence[Model]], Any]


class Wishes:
    """New learning rates, events to be written, questions about the models.

    Attributes
    ----------
    rates
        By model; the last one said counts.
    notes
        (kind, detail) of events, in order.
    questions
        Each with the future that its answer goes to.
    """

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.questions: list[tuple[Question, Future[Any]]] = []

    def note(self, kind: str, detail: dict[str, Any]) -> None:
        """Have an event written; what cannot be must not reach whoever writes.

        Raises
        ------
        TypeError, ValueError
            JSON cannot hold the detail, or not in a megabyte; the kind is no printable name, or one
            that the store reads as more than words.
        """
        size = len(json.dumps(detail, allow_nan=False))
        if size > _MOST or kind == "learning_rate" or not (kind and kind.isprintable()):
            raise ValueError(f"no event {kind[:40]!r} of {size:,} bytes can be noted")
        self.notes.append((kind, detail))

    def change_rates(self, line: Line) -> bool:
        """Set the new rates; say whether there were any. What cannot be written stays."""
        found = bool(self.rates)
        while self.rates:
            model, rate = next(iter(self.rates.items()))
            line.change_rate(model, rate)
            del self.rates[model]
        return found

    def write_notes(self, line: Line) -> bool:
        """Write the events; say whether there were any. What cannot be written stays."""
        found = bool(self.notes)
        while self.notes:
            kind, detail = self.notes[0]
            line.record(kind, **detail)
            del self.notes[0]
        return found

    def answer(self, models: Sequence[Model]) -> None:
        """Answer the questions; what one raises is for whoever asked."""
        while self.questions:
            question, future = self.questions.pop(0)
            if not future.set_running_or_notify_cancel():
                continue  # whoever asked has gone
            try:
                future.set_result(question(models))
            except Exception as error:
                future.set_exception(error)
