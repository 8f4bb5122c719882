"""Tests of `promo.reader`: pages in order from wires that answer in any order and may lie once."""

import json
import threading
import time
import weakref
from contextlib import contextmanager

import psutil
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clocks import at_most, wait_for
from promo import reader as reader_module
from promo.batch import Page, decode_page
from promo.errors import StreamError, StreamTimeout
from promo.reader import PageReader, Retry

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
sizes, windows, totals = st.integers(1, 10), st.integers(1, 9), st.integers(0, 60)
delays_ms = st.lists(st.sampled_from([0, 0, 1, 3]), min_size=1, max_size=7)


@pytest.fixture(autouse=True)
def _poll_often(monkeypatch):
    monkeypatch.setattr(reader_module, "FOLLOW_INTERVAL_S", 0.001)


class WatchedPage(Page):
    """A page that can be watched until nobody holds it."""


class Server:
    """Answers pages out of `rows`, 0, 1, 2 …, as its `twist` says; counts all that happens."""

    def __init__(self, rows, size, twist=None, delays=(0,)):
        self.rows, self.size, self.twist, self.delays = rows, size, twist, delays
        self.asked, self.in_flight, self.most_in_flight = [], 0, 0
        self.pages, self.most_waiting, self.lock = weakref.WeakSet(), 0, threading.Lock()

    def honest(self, page):
        """Return the rows of a page."""
        return range(page * self.size, min((page + 1) * self.size, self.rows))

    def answer(self, page):
        """Return a page, late and twisted."""
        with self.lock:
            attempt = self.asked.count(page)
            self.asked.append(page)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            time.sleep(self.delays[page % len(self.delays)] / 1000)
            rows = self.twist(self, page, attempt) if self.twist else self.honest(page)
            found = make_page(rows, self.size)
        finally:
            with self.lock:
                self.in_flight -= 1
        with self.lock:
            self.pages.add(found)
            self.most_waiting = max(self.most_waiting, len(self.pages))
        return found


def make_page(rows, size):
    fields = {"competence": 0.5, "network_ability": 0.5, "promoted": True}
    page = decode_page(json.dumps([{"id": row, **fields} for row in rows]).encode(), size)
    return WatchedPage(page.length, page.whole)


class FakeWire:
    """A wire to a Server; its methods are those of `promo.reader.Wire`."""

    def __init__(self, server):
        self.server, self.retry, self.is_cut, self.is_closed = (
            server,
            None,
            threading.Event(),
            False,
        )
        self.looked_after = 0
        self.asking = False

    def ask(self, page):  # noqa: D102
        return False

    def fileno(self):  # noqa: D102
        return -1

    def receive(self):  # noqa: D102
        raise AssertionError("it was not asked")

    def forget(self):  # noqa: D102
        raise AssertionError("it has met nothing")

    def fetch(self, page):  # noqa: D102
        return self.server.answer(page)

    def cut(self):  # noqa: D102
        self.is_cut.set()

    def cut_if_overdue(self):  # noqa: D102
        self.looked_after += 1

    def close(self):  # noqa: D102
        self.is_closed = True


@contextmanager
def reading(server, window=3, page=0, position=0, follow=False, wire=FakeWire):
    before, wires, halt = (
        set(threading.enumerate()),
        [wire(server) for _ in range(window)],
        threading.Event(),
    )
    reader = PageReader(
        wires, halt, page=page, position=position, page_size=server.size, follow=follow
    )
    reader.wires = wires
    threads = set(threading.enumerate()) - before
    assert len(threads) == window
    try:
        yield reader
    finally:
        reader.close()
        for thread in threads:
            thread.join(5)
            assert not thread.is_alive()
        assert all(w.is_closed for w in wires)


def ids(batches):
    return [row for batch in batches for row in batch.ids.tolist()]


# -- order and completeness -------------------------------------------------------------------


@quick
@given(totals, sizes, windows, delays_ms, st.data())
def test_every_row_once_in_order(rows, size, window, delays, data):
    """From any cursor, every row comes once and in order, whatever the window and the delays."""
    page = data.draw(st.integers(0, rows // size + 2), "page")
    position = data.draw(st.integers(0, size), "position")
    with reading(Server(rows, size, delays=delays), window, page, position) as reader:
        batches = list(reader)
        assert list(reader) == []
    assert ids(batches) == list(range(min(page * size + position, rows), rows)) or (
        page * size + position > rows and ids(batches) == []
    )
    numbers = [batch.page for batch in batches]
    assert numbers == sorted(set(numbers))
    assert all(batch.received for batch in batches)


@quick
@given(totals, sizes, windows, delays_ms)
def test_no_more_than_a_window(rows, size, window, delays):
    """At most `window` pages are on wires or wait, beside the one in hand; none lies further."""
    cursor, ahead = [0], []

    def note(server, page, _):
        ahead.append(page - cursor[0])
        return server.honest(page)

    server = Server(rows, size, note, delays)
    with reading(server, window) as reader:
        for batch in reader:
            cursor[0] = batch.page + 1
    assert server.most_in_flight <= window
    assert server.most_waiting <= window + 1
    assert max(ahead) <= window  # = window for a ticket sent before we noted the batch


def test_nothing_is_fetched_for_nobody():
    """While nobody asks for the next page, no more than the window is fetched beside it."""
    server = Server(1000, 10)
    with reading(server, window=4) as reader:
        next(reader)
        wait_for(lambda: {*range(4)} <= {*server.asked} and server.in_flight == 0)
        assert sorted(server.asked) in ([0, 1, 2, 3], [0, 1, 2, 3, 4])


def test_the_next_page_is_asked_for_while_one_is_in_hand():
    """A wire that is free as a page is handed out does not wait for the reader to come back."""
    server = Server(1000, 10)
    with reading(server, window=1) as reader:
        next(reader)
        wait_for(lambda: server.asked == [0, 1])


# -- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 10, 25, 30])
def test_the_end_is_asked_for_twice(rows):
    """An empty page is the end only when it is empty again; then the reader stays at its end."""
    server = Server(rows, 10)
    with reading(server) as reader:
        assert ids(reader) == list(range(rows))
        assert server.asked.count(-(-rows // 10)) == 2
        with pytest.raises(StopIteration):
            reader.poll()


@quick
@given(
    st.integers(0, 40),
    sizes,
    windows,
    delays_ms,
    st.dictionaries(st.integers(0, 12), st.integers(0, 3)),
)
def test_an_early_empty_page_is_not_the_end(rows, size, window, delays, lies):
    """A page that is empty in one of its answers, whichever, neither ends nor thins the stream."""

    def lie(server, page, attempt):
        return () if lies.get(page) == attempt else server.honest(page)

    with reading(Server(rows, size, lie, delays), window) as reader:
        assert ids(reader) == list(range(rows))


# -- short pages --------------------------------------------------------------------------------


@quick
@given(st.lists(st.integers(1, 4), max_size=8), windows, delays_ms)
def test_short_pages_in_the_middle(lengths, window, delays):
    """Where pages stay short, every row of every page still comes once and in order."""

    def short(_, page, __):
        return range(page * 4, page * 4 + lengths[page]) if page < len(lengths) else ()

    expected = [page * 4 + n for page, length in enumerate(lengths) for n in range(length)]
    with reading(Server(0, 4, short, delays), window) as reader:
        assert ids(reader) == expected


def growing(steps):
    """Return a twist: the server has `steps[n]` rows at its nth request, and then the last."""

    def twist(server, page, _):
        with server.lock:
            server.rows = steps[min(server.requests, len(steps) - 1)]
            server.requests += 1
            return server.honest(page)

    return twist


def growing_server(steps, size, delays=(0,)):
    server = Server(0, size, growing(sorted(steps)), delays)
    server.requests = 0
    return server


steps = st.lists(st.integers(0, 40), min_size=1, max_size=30)


@quick
@given(steps, sizes, windows, delays_ms)
@example(steps=[4, 25], size=10, window=1, delays=[0])  # page 1 has rows when page 0 was read short
@example(steps=[4, 4, 4, 25], size=10, window=3, delays=[0])
def test_following_a_growing_end(steps, size, window, delays):
    """However rows arrive between requests, following brings each once and in order, for ever."""
    server, found = growing_server(steps, size, delays), []
    with reading(server, window, follow=True) as reader:
        while len(found) < max(steps):
            found += ids([reader.poll()])
        while server.requests <= len(steps):
            assert reader.poll(0.001) is None
    assert found == list(range(max(steps)))


@quick
@given(steps, sizes, windows, delays_ms)
def test_resuming_at_a_growing_end(steps, size, window, delays):
    """Passes that each go on from the last row of the one before bring each row once, in order."""
    server, found, page, position = growing_server(steps, size, delays), [], 0, 0
    while server.requests <= len(steps) or len(found) < max(steps):
        with reading(server, window, page, position) as reader:
            for batch in reader:
                position = (position if batch.page == page else 0) + batch.received
                page, found = batch.page, found + batch.ids.tolist()
    assert found == list(range(max(steps)))


@pytest.mark.parametrize("lengths", [(4,), (4, 0)])
def test_a_short_page_is_read_again_before_the_next(lengths):
    """Rows that filled a page after it was read come before the page that gave them away."""
    readings = iter(lengths)

    def twist(server, page, _):
        return range(next(readings, 10)) if page == 0 else server.honest(page)

    with reading(Server(15, 10, twist), window=1) as reader:
        assert [(b.page, b.ids.tolist()) for b in reader] == [
            (0, [0, 1, 2, 3]),
            (0, [4, 5, 6, 7, 8, 9]),
            (1, [10, 11, 12, 13, 14]),
        ]


def test_a_page_that_shrank_brings_nothing_again():
    """A cursor beyond what a page holds now passes over it; nothing comes twice."""
    for rows in range(3, 10):
        with reading(Server(rows, 10), position=9) as reader:
            assert ids(reader) == []


def test_following_waits_between_polls(monkeypatch):
    """At the end, a follower asks only as often as the interval says, and a poll stays short."""
    monkeypatch.setattr(reader_module, "FOLLOW_INTERVAL_S", 3600.0)
    server = Server(5, 10)
    with reading(server, window=1, follow=True) as reader:
        next(reader)
        assert reader.poll(0.1) is None
        asked = len(server.asked)
        assert reader.poll(0.1) is None
        assert len(server.asked) == asked == 3  # the short page, and the empty one twice


# -- errors and closing ---------------------------------------------------------------------------


@quick
@given(st.integers(0, 8), windows, delays_ms)
def test_errors_come_in_their_turn(bad, window, delays):
    """An error is raised where its page is due, after all pages before it; then all is over."""

    def fail(server, page, _):
        if page == bad:
            raise StreamTimeout(f"page {page}")
        return server.honest(page)

    with reading(Server(45, 5, fail, delays), window) as reader:
        assert ids(next(reader) for _ in range(bad)) == list(range(bad * 5))
        with pytest.raises(StreamTimeout, match=f"page {bad}"):
            reader.poll()
        with pytest.raises(StopIteration):
            reader.poll()


def test_errors_past_the_end_are_nobodys():
    """A page past the end that cannot be had is no error: nobody needs it."""

    def fail(server, page, _):
        if page > 3:
            raise StreamError("should not be seen")
        return server.honest(page)

    with reading(Server(30, 10, fail), window=8) as reader:
        assert ids(reader) == list(range(30))


def test_any_exception_reaches_the_reader():
    """An unforeseen exception on a wire is raised too, not lost with its thread."""

    def fail(*_):
        raise ZeroDivisionError

    with reading(Server(30, 10, fail)) as reader, pytest.raises(ZeroDivisionError):
        next(reader)


class AskedWire(FakeWire):
    """Is asked without waiting; pages past the first do not come that way and are for `fetch`."""

    def __init__(self, server):
        super().__init__(server)
        self.forgot, self.fetched, self._page = 0, [], 0

    def ask(self, page):  # noqa: D102
        self._page, self.asking = page, True
        return True

    def receive(self):  # noqa: D102
        if self._page > 0 and self._page != self.server.served:
            return None  # not yet
        self.asking = False
        return self.server.answer(self._page) if self._page == 0 else None

    def forget(self):  # noqa: D102
        self.forgot += 1

    def fetch(self, page):  # noqa: D102
        self.fetched.append(page)
        return super().fetch(page)


def test_what_nobody_needs_any_more_is_not_fetched_again():
    """An exchange that fails after the cursor has moved frees its wire, which forgets of it."""
    server = Server(1000, 10)
    server.served = None
    with reading(server, window=3, wire=AskedWire) as reader:
        assert next(reader).page == 0
        assert reader.poll(0.01) is None  # pages 1 to 3 are asked for
        reader._seek(7, 0)
        for server.served in (1, 2, 3):
            assert reader.poll(0.01) is None
        assert sum(wire.forgot for wire in reader.wires) == 3
        assert [page for wire in reader.wires for page in wire.fetched] == []
        server.served = 7
        assert next(reader).page == 7


class HangingWire(FakeWire):
    """Waits until it is cut, then fails as a lost connection does."""

    def fetch(self, page):  # noqa: D102
        self.server.asked.append(page)
        assert self.is_cut.wait(10)
        raise StreamTimeout("cut")


@pytest.mark.parametrize("_", range(20))
def test_closing_ends_a_wait(_):
    """Closed by another thread, a waiting reader is at its end: what was cut off is no error."""
    server, raised = Server(30, 10), []

    def consume():
        try:
            reader.poll()
        except BaseException as error:
            raised.append(error)

    with reading(server, wire=HangingWire) as reader:
        consumer = threading.Thread(target=consume)
        consumer.start()
        wait_for(lambda: len(server.asked) == 3)
        reader.close()
        reader.close()
        consumer.join(5)
    assert [type(error) for error in raised] == [StopIteration]


def test_closed_it_has_no_file_open():
    """Once its threads have ended, whatever still refers to it: an error's frames do."""
    me, kept = psutil.Process(), []
    before = me.num_fds()
    for _ in range(3):
        with reading(Server(30, 10), wire=HangingWire) as reader:
            kept.append(reader)
            reader.poll(0.01)
    assert me.num_fds() == before


def test_polling_does_not_wait_longer_than_told():
    """A poll gives None when its time is up, at once if it has none, and the page comes later."""
    release = threading.Event()

    def wait(server, page, _):
        assert release.wait(10)
        return server.honest(page)

    with reading(Server(10, 10, wait)) as reader:
        for timeout in (0.0, 0.0, 0.02, 0.12):
            began = time.monotonic()
            with at_most(timeout + 0.1):
                assert reader.poll(timeout) is None
            assert time.monotonic() - began >= timeout
        assert all(wire.looked_after for wire in reader.wires)  # overdue exchanges would be cut
        release.set()
        assert ids(reader) == list(range(10))


def test_retry_is_that_of_the_page_due():
    """Of the pages asked for again only the one that holds up the reader is told."""
    with reading(Server(100, 10), window=2) as reader:
        assert reader.retry is None
        next(reader)
        soon, later = Retry(1, 2, "why", 0.0), Retry(2, 2, "why", 0.0)
        reader.wires[0].retry = later
        assert reader.retry is None
        reader.wires[1].retry = soon
        assert reader.retry == soon
