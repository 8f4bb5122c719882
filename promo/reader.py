"""Pages in order from wires that fetch them out of order, ahead of their reader.

Knows nothing of HTTP: a wire fetches one page at a time and can be cut off. Tickets (page
numbers) go out to one daemon thread per wire through one queue, outcomes come back through the
queue that the ticket names, so there is no lock to hold; `PageReader.poll` alone keeps the cursor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol, Self

from promo.batch import Batch, Page

FOLLOW_INTERVAL_S = 1.0
_TICK_S = 0.05  # how often a waiting reader looks for overdue exchanges


class Retry(NamedTuple):
    """A page that is being asked for again: why, which attempt comes next, and when."""

    page: int
    attempt: int
    reason: str
    at: float  # time.monotonic() of the next attempt


class Wire(Protocol):
    """A connection that fetches one page at a time, used by one thread, cut off by any."""

    retry: Retry | None

    def fetch(self, page: int) -> Page:
        """Return a page, retrying as long as that may help; raise StreamError otherwise."""

    def cut(self) -> None:
        """Break off the exchange under way."""

    def cut_if_overdue(self) -> None:
        """Break off the exchange under way if it has taken its time."""

    def close(self) -> None:
        """Let go of the connection; the wire's own thread does this last."""


_Outcomes = SimpleQueue[tuple[int, Page | Exception]]


class PageReader:
    """One pass over the pages from a cursor on, owned by one consuming thread.

    Parameters
    ----------
    wires
        At most this many pages are in flight or waiting at any time.
    halt
        Set by `close`; the wires' waiting must end when it is set.
    page, position
        The cursor: 0-based page, and how many of its rows to pass over.
    page_size
        Rows of a full page. A shorter one may grow: it is looked at again at the end, and
        before any later page is handed out.
    follow
        Keep polling at the end instead of stopping.
    """

    def __init__(
        self,
        wires: Sequence[Wire],
        halt: threading.Event,
        *,
        page: int,
        position: int,
        page_size: int,
        follow: bool,
    ) -> None:
        self._wires, self._halt = wires, halt
        self._page_size, self._follow = page_size, follow
        self._tickets: SimpleQueue[tuple[int, _Outcomes] | None] = SimpleQueue()
        self._short: tuple[int, int] | None = None  # the last page if short, and its length
        self._final = -1  # a short page with rows after it: its next reading is its last
        self._asked_again = False  # an empty page was met and asked for once more
        self._wake_at = 0.0
        self._end: float  # pages after it are not asked for
        self._seek(page, position)
        for number, wire in enumerate(wires):
            name = f"promo-fetch-{number}"
            threading.Thread(target=self._work, args=(wire,), name=name, daemon=True).start()

    def poll(self, timeout: float | None = None) -> Batch | None:
        """Return the next batch, or None if none arrives within `timeout` seconds.

        Raises
        ------
        StopIteration
            The end: an empty page was asked for once more and was empty still. Also once closed.
        StreamError
            The next page could not be had; all pages before it have been handed out.
        """
        give_up = float("inf") if timeout is None else time.monotonic() + timeout
        while not self._halt.is_set():
            page = self._await_page(give_up)
            if page is None:
                return None
            batch = self._advance(page)
            if batch is not None:
                return batch
        raise StopIteration

    def __next__(self) -> Batch:
        batch = self.poll()
        assert batch is not None  # poll without a timeout returns a batch or raises
        return batch

    def __iter__(self) -> Iterator[Batch]:
        return self

    @property
    def retry(self) -> Retry | None:
        """Why the next page is late, if it is being asked for again."""
        retries = (wire.retry for wire in self._wires)
        return next((r for r in retries if r and r.page == self._page), None)

    def close(self) -> None:
        """Stop fetching at once and let the threads end. Idempotent."""
        self._halt.set()
        for wire in self._wires:
            self._tickets.put(None)
            wire.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- waiting: outcomes arrive in any order, one is due ----------------------------------

    def _await_page(self, give_up: float) -> Page | None:
        while self._page not in self._ready:
            if self._halt.is_set():
                raise StopIteration
            now = time.monotonic()
            if now >= self._wake_at:
                self._send_tickets()
            try:
                outcome = self._outcomes.get(timeout=max(0.0, min(_TICK_S, give_up - now)))
            except Empty:
                for wire in self._wires:
                    wire.cut_if_overdue()
                if now >= give_up:
                    return None
            else:
                self._receive(*outcome)
        outcome_due = self._ready.pop(self._page)
        if isinstance(outcome_due, Exception):
            if self._halt.is_set():  # the error of an exchange that was cut off
                raise StopIteration
            self.close()
            raise outcome_due
        return outcome_due

    def _send_tickets(self) -> None:
        last = max(self._page, min(self._page + len(self._wires) - 1, self._end))
        while self._next_ticket <= last:
            self._tickets.put((self._next_ticket, self._outcomes))
            self._next_ticket += 1

    def _receive(self, number: int, outcome: Page | Exception) -> None:
        self._ready[number] = outcome
        if isinstance(outcome, Page):
            if outcome.length == 0:
                self._end = min(self._end, number)
            elif number >= self._end:
                self._end = float("inf") if outcome.length >= self._page_size else number + 1

    def _work(self, wire: Wire) -> None:
        while self._serve_ticket(wire):
            pass
        wire.close()

    def _serve_ticket(self, wire: Wire) -> bool:
        ticket = self._tickets.get()
        if ticket is None or self._halt.is_set():
            return False
        number, outcomes = ticket
        if outcomes is self._outcomes:  # else the cursor has been moved
            try:
                outcomes.put((number, wire.fetch(number)))
            except Exception as error:  # handed to the reader, which raises it in its turn
                outcomes.put((number, error))
        return True

    # -- the cursor: what a page means where it stands --------------------------------------

    def _seek(self, page: int, position: int, *, ahead: bool = True) -> None:
        """Put the cursor on a page; what was asked for before goes to a queue nobody reads."""
        self._outcomes: _Outcomes = SimpleQueue()
        self._ready: dict[int, Page | Exception] = {}
        self._page, self._position = page, position
        self._next_ticket = page
        self._end = float("inf") if ahead else page  # no page after it is asked for

    def _advance(self, page: Page) -> Batch | None:
        """Move the cursor on from a page; return its new rows, if any, as a batch."""
        if page.length == 0:
            self._meet_empty()
            return None
        self._asked_again = False
        if self._short:  # has rows after it: it may have grown since it was read
            (self._final, position), self._short = self._short, None
            self._seek(self._final, position)
            return None
        number, position = self._page, self._position
        if page.length < self._page_size and number != self._final:
            self._short = (number, max(page.length, position))
        self._page, self._position = number + 1, 0
        return page.batch(number, position) if page.length > position else None

    def _meet_empty(self) -> None:
        if not self._asked_again:
            self._asked_again = True
            self._seek(self._page, self._position, ahead=False)
        elif self._follow:
            self._wake_at = time.monotonic() + FOLLOW_INTERVAL_S
            page, position = self._short or (self._page, self._position)
            self._short = None
            self._seek(page, position, ahead=False)
        else:
            self.close()
            raise StopIteration
