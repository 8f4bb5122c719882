"""Pages in order from wires that fetch them ahead of their reader, in any order.

Knows nothing of HTTP. Most pages are asked for and received by the reader's own thread, on wires
that need no waiting for that. Any wire may leave a page to its second way, a daemon thread that
waits: pages come back from there through one queue, and a byte in a pair of sockets wakes the
reader. So there is no lock to hold, and `PageReader.poll` alone keeps the cursor.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
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
    asked_s: float = 0.0  # for which the server has asked us to wait


class Wire(Protocol):
    """A connection for one page at a time, used by one thread at a time, cut off by any."""

    retry: Retry | None
    retries: int
    asking: bool

    def ask(self, page: int) -> bool:
        """Ask for a page if that takes no waiting, and say whether it is `asking` now."""

    def fileno(self) -> int:
        """Return the descriptor that becomes readable while `asking`, or -1."""

    def receive(self) -> Page | None:
        """Return the page asked for; None while there is more to come, or once it is for `fetch`.

        In the latter case the wire is not `asking` any more.
        """

    def forget(self) -> None:
        """Take note that the page which was left to `fetch` is not needed any more."""

    def fetch(self, page: int) -> Page:
        """Return a page, retrying as long as that may help; raise StreamError otherwise."""

    def cut(self) -> None:
        """Break off the exchange under way."""

    def cut_if_overdue(self) -> None:
        """Break off the exchange under way if it has taken its time."""

    def close(self) -> None:
        """Let go of the connection; the wire's own thread does this last."""


class _Ticket(NamedTuple):
    """A page to fetch; of another `pass_` than the reader's, nobody needs it any more."""

    page: int
    pass_: int


class _Lane(NamedTuple):
    """A wire, and the tickets for its thread; None ends it."""

    wire: Wire
    tickets: SimpleQueue[_Ticket | None]


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
    end
        No page from it on is asked for, and the reader stops before it.
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
        end: int | None = None,
    ) -> None:
        self._halt = halt
        self._page_size, self._follow = page_size, follow
        self._before = float("inf") if end is None else end
        self._lanes = [_Lane(wire, SimpleQueue()) for wire in wires]
        self._idle = [*self._lanes]
        self._asking: dict[_Ticket, _Lane] = {}
        self._outcomes: SimpleQueue[tuple[_Lane, _Ticket, Page | Exception]] = SimpleQueue()
        self._door, self._bell = socket.socketpair()
        for side in (self._door, self._bell):
            side.setblocking(False)
        self._ended: list[Wire] = []
        self._short: tuple[int, int] | None = None  # the last page if short, and its length
        self._final = -1  # a short page with rows after it: its next reading is its last
        self._asked_again = False  # an empty page was met and asked for once more
        self._wake_at = 0.0
        self._waited_for = page  # the last page that was not there when its turn came
        self._end: float  # pages after it are not asked for
        self._pass = 0
        self._seek(page, position)
        for number, lane in enumerate(self._lanes):
            name = f"promo-fetch-{number}"
            threading.Thread(target=self._work, args=lane, name=name, daemon=True).start()

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
                self._ask_ahead()
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
        retries = (lane.wire.retry for lane in self._lanes)
        return next((r for r in retries if r and r.page == self._page), None)

    @property
    def held(self) -> Retry | None:
        """The page for which the server has asked us to wait longest, if it has for any."""
        retries = [lane.wire.retry for lane in self._lanes]
        return max((r for r in retries if r and r.asked_s), key=lambda r: r.at, default=None)

    @property
    def retries(self) -> int:
        """How often a page was asked for again."""
        return sum(lane.wire.retries for lane in self._lanes)

    def close(self) -> None:
        """Stop fetching at once and let the threads end. Idempotent."""
        self._halt.set()
        self._ring()
        for lane in self._lanes:
            lane.tickets.put(None)
            lane.wire.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- waiting: pages arrive in any order, one is due -------------------------------------

    def _await_page(self, give_up: float) -> Page | None:
        while self._page not in self._ready:
            if self._page >= self._before:
                self.close()
            if self._halt.is_set():
                raise StopIteration
            due = _Ticket(self._page, self._pass)
            if due in self._asking and self._receive(due):
                break
            now = time.monotonic()
            if now >= self._wake_at:
                self._send_tickets()
            self._waited_for = self._page
            self._wait(max(0.0, min(_TICK_S, give_up - now)))
            if now >= give_up and self._page not in self._ready:
                return None
        outcome = self._ready.pop(self._page)
        if isinstance(outcome, Exception):
            if self._halt.is_set():  # the error of an exchange that was cut off
                raise StopIteration
            self.close()
            raise outcome
        return outcome

    def _ask_ahead(self) -> None:
        """Have pages fetched while this one is put to use.

        Several at a time, as that wakes the server once; but each at once where pages were waited
        for of late, as of a server far away.
        """
        window = len(self._lanes)
        self._send_tickets(1 if self._page - self._waited_for <= window else (window + 1) // 2)

    def _send_tickets(self, least: int = 1) -> None:
        """Ask for what the window has room for, unless that is less than so many pages."""
        last = max(self._page, min(self._page + len(self._lanes) - 1, self._end))
        last = min(last, self._before - 1)
        if last - self._next_ticket + 1 < least:
            return
        while self._next_ticket <= last and self._idle:
            ticket = _Ticket(self._next_ticket, self._pass)
            lane = self._idle.pop()  # that was of use last
            if lane.wire.ask(ticket.page):
                self._asking[ticket] = lane
            else:
                lane.tickets.put(ticket)
            self._next_ticket += 1

    def _wait(self, timeout: float) -> None:
        """Take in what has arrived; wait until something does."""
        poll = select.poll()
        if (door := self._door.fileno()) >= 0:  # it is closed once all threads have ended
            poll.register(door, select.POLLIN)
        for lane in self._asking.values():
            if (number := lane.wire.fileno()) >= 0:
                poll.register(number, select.POLLIN)
        poll.poll(timeout * 1000)
        with suppress(OSError):  # nobody rang
            self._door.recv(4096)
        with suppress(Empty):
            while True:
                self._take(*self._outcomes.get_nowait())
        for ticket in list(self._asking):
            self._receive(ticket)
        for lane in self._lanes:
            lane.wire.cut_if_overdue()

    def _receive(self, ticket: _Ticket) -> bool:
        """Take in the page of a ticket if it has arrived."""
        lane = self._asking[ticket]
        page = lane.wire.receive()
        if page is None and lane.wire.asking:
            return False
        del self._asking[ticket]
        if page is None and ticket.pass_ != self._pass:
            lane.wire.forget()
            self._idle.append(lane)
            return False
        if page is None:
            lane.tickets.put(ticket)
            return False
        self._take(lane, ticket, page)
        return True

    def _take(self, lane: _Lane, ticket: _Ticket, outcome: Page | Exception) -> None:
        self._idle.append(lane)
        number, pass_ = ticket
        if pass_ != self._pass:  # the cursor has been moved
            return
        self._ready[number] = outcome
        if isinstance(outcome, Page):
            if outcome.length == 0:
                self._end = min(self._end, number)
            elif number >= self._end:
                self._end = float("inf") if outcome.length >= self._page_size else number + 1

    # -- a wire's thread --------------------------------------------------------------------

    def _work(self, wire: Wire, tickets: SimpleQueue[_Ticket | None]) -> None:
        while self._serve_ticket(_Lane(wire, tickets)):
            pass
        wire.close()
        self._ended.append(wire)
        if len(self._ended) == len(self._lanes):  # the last one closes the door
            self._door.close()
            self._bell.close()

    def _serve_ticket(self, lane: _Lane) -> bool:
        ticket = lane.tickets.get()
        if ticket is None or self._halt.is_set():
            return False
        outcome: Page | Exception
        try:
            outcome = lane.wire.fetch(ticket.page)
        except Exception as error:  # handed to the reader, which raises it in its turn
            outcome = error
        self._outcomes.put((lane, ticket, outcome))
        self._ring()
        return True

    def _ring(self) -> None:
        with suppress(OSError):  # as many rings as fit are waiting to be heard
            self._bell.send(b"!")

    # -- the cursor: what a page means where it stands --------------------------------------

    def _seek(self, page: int, position: int, *, ahead: bool = True) -> None:
        """Put the cursor on a page; what was asked for before, nobody needs any more."""
        self._pass += 1
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
