"""When the next page may come; pages per second, how many there were, and what took the time."""

from __future__ import annotations

import time

import numpy as np

_LONGEST_S = 1e6  # between two pages: threads cannot wait for centuries
_LATE_S = 0.05  # what the pages after a late one may make up for, at least
_WINDOW_S = 1.0  # that a pace is measured over, or so


class SpeedLimit:
    """Says how long to wait before the next page.

    Parameters
    ----------
    pages_per_s
        At most so many; None for no limit.

    Attributes
    ----------
    pages_per_s
        As it was set last.
    """

    def __init__(self, pages_per_s: float | None = None) -> None:
        self._interval_s, self._due = 0.0, float("-inf")
        self.set(pages_per_s)

    def set(self, pages_per_s: float | None) -> None:
        """Change the limit, from the page before on.

        Raises
        ------
        ValueError
            The speed is not positive.
        """
        if pages_per_s is not None and not pages_per_s > 0:
            raise ValueError(f"speed {pages_per_s}: expected pages per second above 0, or None")
        interval_s = min(1 / pages_per_s, _LONGEST_S) if pages_per_s else 0.0
        self._due += interval_s - self._interval_s
        self.pages_per_s, self._interval_s = pages_per_s, interval_s

    def early_s(self) -> float:
        """Return the seconds that are left until the next page may be learned, or less than 0."""
        return self._due - time.monotonic()

    def count(self, pages: int = 1) -> None:
        """Take note of a page, from which the next is due, or of so many at once."""
        now = time.monotonic()
        # A little late, the pages after it make up for it; later than that, they do not.
        on_time = 0 <= now - self._due < max(self._interval_s, _LATE_S)
        self._due = (self._due if on_time else now) + pages * self._interval_s


class Hold:
    """A server has asked not to be asked for a while: this is for all who ask it, not for one page.

    Attributes
    ----------
    until
        The end of it, by time.monotonic().
    """

    def __init__(self) -> None:
        self.until = 0.0

    def extend(self, seconds: float) -> None:
        """Ask for nothing for so long from now on, or longer if that was said before."""
        self.until = max(self.until, time.monotonic() + seconds)

    def left_s(self) -> float:
        """Return the seconds that are left of it, 0 if there is none."""
        return max(self.until - time.monotonic(), 0.0)


class Pace:
    """Measures pages per second, and what a page takes, over the last second or so."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, ...]] = []

    def note(self, pages: int, *spent_s: float) -> tuple[float, ...]:
        """Take note of the pages done by now and of the seconds spent on them in all.

        Returns pages per second and, if there was a page, how many seconds of each kind it took.
        """
        self._marks.append((time.monotonic(), pages, *spent_s))
        while len(self._marks) > 2 and self._marks[1][0] < self._marks[-1][0] - _WINDOW_S:
            del self._marks[0]
        elapsed, done, *spent = np.subtract(self._marks[-1], self._marks[0]).tolist()
        pace = done / elapsed if elapsed > 0 else 0.0
        return (pace, *(each / done for each in spent)) if done else (pace,)
