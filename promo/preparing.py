"""What models do before their first page, as an import: in threads, so that nobody else waits."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from promo.models.results import Model


def begin(models: Iterable[Model]) -> list[threading.Thread]:
    """Have each model that has a method `prepare` call it, in a thread of its own."""
    todo = [model.prepare for model in models if hasattr(model, "prepare")]
    threads = [threading.Thread(target=each, name="promo-preparing", daemon=True) for each in todo]
    for thread in threads:
        thread.start()
    return threads


def wait(threads: Sequence[threading.Thread], halt: threading.Event) -> None:
    """Wait for what was begun, or until `halt` is set."""
    while any(thread.is_alive() for thread in threads) and not halt.wait(0.01):
        pass
