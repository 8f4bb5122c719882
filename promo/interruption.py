"""Ctrl-C for a command that has something to finish: heard once, and never lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """What Ctrl-C does: it raises `KeyboardInterrupt` once, and at no moment at which that is lost.

    Pressed again it must not cut off what ends us cleanly. Raised within an import it could leave
    a lock behind, for which another thread that imports would wait for ever: there it is raised at
    the next `check`. Raised within a callback, as of the garbage collector, it gets lost, so
    whoever waits for long should `check`, too; where something must not be cut off it is `held`.
    """

    def __init__(self) -> None:
        self._came = self._held = False

    def check(self) -> None:
        """Raise it if it came."""
        if self._came:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raise it not before the end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self.check()

    @contextmanager
    def heard(self) -> Iterator[Interruption]:
        """Hear Ctrl-C meanwhile, unless it is ignored, as in the background."""
        before = signal.getsignal(signal.SIGINT)
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield self
        finally:
            if signal.getsignal(signal.SIGINT) == self._interrupt:
                signal.signal(signal.SIGINT, before)

    def _interrupt(self, _: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the process has ended
        self._came = True
        if not self._held and not _imports(frame):
            raise KeyboardInterrupt


def _imports(frame: FrameType | None) -> bool:
    """Whether something is being imported there."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None
