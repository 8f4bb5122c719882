"""Series that stay small however long the stream runs, with an even spread over all of it.

The store thins its tables and the trainer its figures by the same rule, `stride`, which looks at
nothing but page numbers: so what is in memory and what is in the file are the same pages.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

MAX_PAGES = 1000
_GOLDEN = 0x9E3779B1  # odd, near 2^32 divided by the golden ratio (Knuth, TAOCP 3, section 6.4)
_WORD = 0xFFFFFFFF


def stride(page: int, max_pages: int = MAX_PAGES) -> int:
    """Distance between the pages kept once `page` has come: the least power of two that serves.

    Examples
    --------
    >>> [stride(page, max_pages=4) for page in range(10)]
    [1, 1, 1, 1, 2, 2, 2, 2, 4, 4]
    """
    return 1 << (page // max_pages).bit_length()


class History:
    """At most `max_pages` + 1 evenly spaced pages of a table, and always the newest.

    Parameters
    ----------
    columns
        Names, of any hashable kind, of the values that every page brings.
    max_pages
        Bound on the thinned pages.

    Examples
    --------
    >>> history = History(["x"], max_pages=4)
    >>> for page in range(10):
    ...     history.append(page, [page / 10])
    >>> history.pages.tolist(), history["x"].tolist()
    ([0, 4, 8, 9], [0.0, 0.4, 0.8, 0.9])
    """

    def __init__(self, columns: Iterable[Hashable], max_pages: int = MAX_PAGES) -> None:
        self.columns = {name: at for at, name in enumerate(columns)}
        self.max_pages = max_pages
        self._kept, self._step = 0, 1
        self._newest: tuple[int, NDArray[np.float64]] | None = None
        # Of the pages before the newest, written once: so copies have them in common.
        self._pages, self._values = self._room()
        self._owns = True

    def _room(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return np.empty(self.max_pages, np.int64), np.empty((self.max_pages, len(self.columns)))

    def append(self, page: int, values: Sequence[float]) -> None:
        """Add a page, later than or equal to the newest, with one value per column."""
        newest = np.empty(len(self.columns))
        newest[:] = values
        step = stride(page, self.max_pages)
        if step > self._step or not self._owns:
            self._step = max(step, self._step)
            self._move(self._pages[: self._kept] % step == 0)
        if self._newest and self._newest[0] != page and self._newest[0] % step == 0:
            self._pages[self._kept], self._values[self._kept] = self._newest
            self._kept += 1
        self._newest = page, newest

    def _move(self, keep: NDArray[np.bool_]) -> None:
        """Leave the arrays to those who share them, and take what is kept along."""
        pages, values = self._pages[: self._kept][keep], self._values[: self._kept][keep]
        self._kept, self._owns = len(pages), True
        self._pages, self._values = self._room()
        self._pages[: self._kept], self._values[: self._kept] = pages, values

    def __len__(self) -> int:
        return self._kept + (self._newest is not None)

    @property
    def pages(self) -> NDArray[np.int64]:
        """The pages kept, ascending, shape (n,); a copy."""
        newest = [self._newest[0]] if self._newest else []
        return np.append(self._pages[: self._kept], np.array(newest, np.int64))

    def __getitem__(self, column: Hashable) -> NDArray[np.float64]:
        at = self.columns[column]
        newest = [self._newest[1][at]] if self._newest else []
        return np.append(self._values[: self._kept, at], newest)

    def thinned(self, max_pages: int) -> History:
        """Return the history that would have been kept with a lower bound.

        Examples
        --------
        >>> history = History(["x"])
        >>> for page in range(10):
        ...     history.append(page, [page / 10])
        >>> history.thinned(4).pages.tolist()
        [0, 4, 8, 9]
        """
        twin = self.copy()
        if self._newest:
            pages = self._pages[: self._kept]
            keep = pages % stride(self._newest[0], max_pages) == 0
            twin._pages, twin._values = pages[keep], self._values[: self._kept][keep]
            twin._kept = len(twin._pages)
        return twin

    def until(self, page: int, values: Sequence[float]) -> History:
        """Return what it was when that page was the newest, as far as it is kept now.

        `values` are those of the page, one per column.

        Examples
        --------
        >>> history = History(["x"], max_pages=4)
        >>> for page in range(10):
        ...     history.append(page, [page / 10])
        >>> history.until(7, [0.7]).pages.tolist()
        [0, 4, 7]
        """
        twin = self.copy()
        twin._kept, twin._step = int(np.searchsorted(self._pages[: self._kept], page)), 1
        if self._newest and self._newest[0] >= page:
            twin._newest = None
        twin.append(page, values)
        return twin

    def copy(self) -> History:
        """Return a copy that later pages do not change, nor its own this; it costs nothing."""
        twin = History.__new__(History)
        twin.__dict__ |= self.__dict__ | {"_owns": False}
        return twin


class Sample:
    """A bounded sample of the rows seen, each as likely as any other.

    Row k (counted from 1 in order of arrival) is in the sample if a multiplicative hash of k lies
    below a threshold, which halves whenever the sample is full. So the sample holds between half
    and all of `capacity`, follows from the rows alone, and needs no state to be kept: `where` says
    in SQL which rows of the store to read after a restart.
    """

    def __init__(self, capacity: int = 1000) -> None:
        self.capacity = capacity
        self.rows = 0
        self._threshold = _WORD + 1
        self._hashes = np.empty(0, np.int64)
        self._columns = np.empty((3, 0))

    def extend(self, *columns: NDArray[np.generic]) -> None:
        """Show it new rows: three columns of shape (n,), in order of arrival."""
        first = self.rows + 1
        self.rows += len(columns[0])
        hashes = [arrival * _GOLDEN & _WORD for arrival in range(first, self.rows + 1)]
        chosen = [at for at, each in enumerate(hashes) if each < self._threshold]
        if chosen:
            added = np.array([column[chosen] for column in columns], np.float64)
            self._add(np.array(hashes)[chosen], added)

    def _add(self, hashes: NDArray[np.int64], columns: NDArray[np.float64]) -> None:
        self._hashes = np.concatenate([self._hashes, hashes])
        self._columns = np.concatenate([self._columns, columns], axis=1)
        while len(self._hashes) > self.capacity:
            self._threshold //= 2
            keep = self._hashes < self._threshold
            self._hashes, self._columns = self._hashes[keep], self._columns[:, keep]

    def restore(
        self, rows: int, arrivals: NDArray[np.int64], *columns: NDArray[np.generic]
    ) -> None:
        """Set it to the sample of `rows` rows, given those that satisfy `where(rows)`."""
        self.rows, self._threshold = rows, self._at_most(rows, self.capacity)
        hashes = (arrivals.astype(np.uint64) * np.uint64(_GOLDEN) & np.uint64(_WORD)).astype(
            np.int64
        )
        self._add(hashes, np.array(columns, np.float64))

    @property
    def columns(self) -> NDArray[np.float64]:
        """The sample, shape (3, m), in order of arrival. Never changed in place, by anyone."""
        self._columns.flags.writeable = False
        return self._columns

    @classmethod
    def where(cls, rows: int, capacity: int = 1000) -> str:
        """Return the SQL condition on `rowid` that holds for a superset of the sample of `rows`."""
        return f"(rowid * {_GOLDEN} & {_WORD}) < {cls._at_most(rows, capacity)}"

    @staticmethod
    def _at_most(rows: int, capacity: int) -> int:
        """Return a threshold that the sample's is not above: below twice it are too many rows.

        They are more than twice `capacity`, give or take a few.
        """
        threshold = _WORD + 1
        while threshold * rows > 2 * (capacity + 2) * (_WORD + 1):
            threshold //= 2
        return threshold
