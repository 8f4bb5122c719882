"""What is open when the process ends is closed: nobody is left in the midst of a page."""

from __future__ import annotations

import atexit
import weakref
from typing import Protocol


class Closable(Protocol):
    """What can be closed, and takes its time."""

    def close(self, timeout: float | None = None) -> None:
        """Close it, waiting so many seconds at most."""


OPEN: weakref.WeakSet[Closable] = weakref.WeakSet()

# Python calls last what was registered first: so those who still learn are closed before the
# service that they read from, which ends by a finalizer. The first of those registers them all.
weakref.finalize(OPEN, int)


@atexit.register
def close_all() -> None:
    """Close every trainer of this process, waiting at most 2 s for each."""
    for trainer in list(OPEN):
        trainer.close(timeout=2.0)
