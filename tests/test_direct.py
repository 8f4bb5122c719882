"""Tests of `promo.stream.direct`: most pages need no waiting, and faults are put right."""

import gzip
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager

import pytest
import tenacity
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clocks import at_most
from promo.embedded import EmbeddedAPI
from promo.errors import RequestRefused, StreamError, StreamTimeout
from promo.stream import PageStream, wire
from promo.stream.direct import Broken, DirectExchange
from promo.stream.look import look
from servers import FAULTS, ScriptedServer, employees

few = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SLOW = {"interim", "hang", "hang in body", "drip", "429 minute"}
PASSING = sorted(FAULTS.keys() - SLOW - {"ok", "true"})
PAGE = 7  # any that is not the first of its wire


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Retry fast; count the pages that were left to a thread."""
    monkeypatch.setattr(wire, "_backoff", tenacity.wait_random(0.005, 0.02))
    counts, fetch = Counter(), wire.HTTPWire.fetch

    def counting(self, page):
        counts[page] += 1
        return fetch(self, page)

    monkeypatch.setattr(wire.HTTPWire, "fetch", counting)
    return counts


@contextmanager
def served(*arguments, rows=200, **options):
    with ScriptedServer(employees(rows), *arguments, **options) as server:
        yield server


def ids(batches):
    return [id_ for batch in batches for id_ in batch.ids.tolist()]


def everyone(rows=200):
    return [row["id"] for row in employees(rows)]


def test_only_the_first_page_of_a_wire_waits(waits):
    """Once each wire is connected, pages come over the same sockets without a thread."""
    with served(rows=600) as server:
        assert ids(PageStream(server.url, window=3)) == everyone(600)
        assert server.connections == 3
    assert sum(waits.values()) == 3


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_leaves_no_trace(fault, waits):
    """A fault met without waiting is one attempt: the page is asked for again, and only that."""
    plan = {(PAGE, 0): fault, (12, 0): fault, (12, 1): fault if fault != "empty" else "ok"}
    with served(plan) as server:
        assert ids(PageStream(server.url, window=2)) == everyone()
        asked = Counter(server.asked)
    assert asked[PAGE] <= 3  # an empty page is not even asked for again, as pages follow it
    if fault != "not gzip":  # what needs requests once is left to it from then on
        assert set(waits) - {0, 1} <= {PAGE, PAGE + 1, 12, 13, 20}


@pytest.mark.parametrize("fault", ["hang", "hang in body", "drip"])
def test_a_slow_answer_is_cut_off(fault):
    """An answer not whole in `timeout` seconds is asked for again, even one that trickles."""
    with served({(PAGE, 0): fault, (9, 0): fault}) as server:
        assert ids(PageStream(server.url, window=2, timeout=0.2)) == everyone()


def test_retry_after_is_waited_for():
    """A server that says when to come again is not asked before, by either way."""
    plan = {(PAGE, attempt): "429 minute" for attempt in range(9)}
    with served(plan) as server, PageStream(server.url, window=1).read() as reader:
        for _ in range(PAGE):
            next(reader)
        while reader.retry is None:
            assert reader.poll(0.01) is None
        assert reader.retry.at - time.monotonic() == pytest.approx(60, abs=1.5)
        assert (reader.retry.page, reader.retry.attempt) == (PAGE, 2)
        assert server.asked.count(PAGE) == 1


def test_a_refusal_is_final():
    """A 4xx is raised in its turn, after one request, with the whole address."""
    plan = {(PAGE, 0): lambda exchange: exchange.send(b"", 403)}
    with served(plan) as server, PageStream(server.url, window=2).read() as reader:
        assert [next(reader).page for _ in range(PAGE)] == list(range(PAGE))
        with pytest.raises(RequestRefused, match=rf"{server.url}/api/v1/data\?page=7 answered 403"):
            next(reader)
        assert server.asked.count(PAGE) == 1


def leave(exchange):
    """Answer, and close the connection without having said so, as idle servers do."""
    exchange.send(exchange.body)
    return False


def say_and_leave(exchange):
    exchange.send(exchange.body, Connection="close")
    return False


@pytest.mark.parametrize("goodbye", [leave, say_and_leave])
def test_a_closed_connection_is_no_failure(goodbye):
    """A server may close a connection between two pages: that is not told as a retry."""
    plan = {(page, 0): goodbye for page in range(0, 20, 3)}
    told = []
    with served(plan) as server, PageStream(server.url, window=2).read() as reader:
        while len(told) < 20:
            batch = reader.poll(0.5)
            assert batch is not None
            told.append(reader.retry)
        assert Counter(server.asked).most_common(1)[0][1] == 1
    assert told == [None] * 20


def test_what_came_before_a_pause_is_not_lost():
    """Answers wait for a reader that rests, even if the server closes in the meantime."""
    with served(always=leave) as server, PageStream(server.url, window=4, timeout=0.2).read() as r:
        found = [next(r)]
        for _ in range(5):
            time.sleep(0.3)  # longer than an answer may take
            found += [next(r), next(r)]
        found += r
        assert max(Counter(server.asked).values()) <= 2
    assert ids(found) == everyone()


def packed(exchange):
    return exchange.send(gzip.compress(exchange.body), Content_Encoding="gzip")


def test_what_needs_more_is_left_to_requests(waits):
    """A packed answer that nobody asked for is read as well, by the other way."""
    with served({(page, n): packed for page in range(5, 20) for n in range(3)}) as server:
        assert ids(PageStream(server.url, window=2)) == everyone()
        assert max(Counter(server.asked).values()) <= 2
        assert len(server.asked) <= 20 + 1 + 2 * 2  # not each page by both ways
    assert waits[PAGE] == 1


def test_an_answer_without_a_length_is_whole():
    """Where only the end of the connection ends an answer, no page counts as broken."""

    def endless(exchange):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
        exchange.wfile.write(head + exchange.body)
        return False

    with served({(page, n): endless for page in range(5, 20) for n in range(2)}) as server:
        with PageStream(server.url, window=1).read() as reader:
            found, told = [], []
            for batch in reader:
                found.append(batch)
                told.append(reader.retry)
        assert set(told) == {None}
    assert ids(found) == everyone()


def test_an_answer_that_comes_again_later_is_not_the_next_page():
    """A copy of an answer that arrives when its page is done is thrown away with its connection."""

    def twice(exchange):
        exchange.send(exchange.body)
        time.sleep(0.03)
        return exchange.send(exchange.body)

    with served({(PAGE, 0): twice}) as server, PageStream(server.url, window=1).read() as reader:
        found = []
        for batch in reader:
            found.append(batch)
            time.sleep(0.05)
    assert ids(found) == everyone()


def test_a_redirection_does_not_move_the_stream_elsewhere(waits):
    """After one page was fetched from another server, the next are asked of the first again."""
    with served() as other:

        def away(exchange):
            return exchange.send(b"", 307, Location=other.url + exchange.target)

        with served({(PAGE, 0): away, (PAGE, 1): away, (9, 0): "500"}) as server:
            assert ids(PageStream(server.url, window=1)) == everyone()
            assert set(other.asked) == {PAGE}
            assert set(server.asked) >= set(range(20))


def test_a_rest_is_not_held_against_the_server(tmp_path, waits):
    """A reader that rested for longer than its time limits goes on with the answers it has."""
    with EmbeddedAPI(rows=60_000, data=tmp_path / "data.db", port=0) as api:
        stream = PageStream(api.url, size=10_000, window=2, timeout=1.2, deadline=1.2)
        with stream.read() as reader:
            found = [next(reader), next(reader)]  # the next two pages are asked for by now
            for _ in range(2):
                time.sleep(1.5)
                found.append(next(reader))
            found += reader
    assert ids(found) == list(range(60_000))


def test_a_redirection_is_followed(waits):
    """A page that has moved is fetched from where it is now."""

    def move(exchange):
        return exchange.send(b"", 307, Location=exchange.target)

    with served({(PAGE, 0): move, (PAGE, 1): move}) as server:
        assert ids(PageStream(server.url, window=2)) == everyone()
    assert waits[PAGE] == 1


@pytest.mark.parametrize("where", ["http://[", "ftp://x/", "http://127.0.0.1:1/\xff\xfe"])
def test_a_redirection_that_leads_nowhere_is_refused(where, waits):
    """A `Location` that is no address of ours is refused at once, in one line, by a look, too."""

    def always(exchange):
        return exchange.send(b"", 302, Location=where)

    with served(always=always, openapi=always) as server:
        with pytest.raises(RequestRefused) as caught:
            PageStream(server.url).check()
        assert str(caught.value).isprintable()
        with pytest.raises(StreamError):
            _ = PageStream(server.url, size=20).page_size
        assert not look(server.url).usable


def test_what_a_server_says_cannot_steer_the_terminal(waits):
    """Reasons and kinds of content are cut off, and spelled out if they do not print."""

    def shout(exchange):
        return exchange.wfile.write(b"HTTP/1.1 404 \x1b[2J" + b"A" * 9000 + b"\r\n\r\n")

    def kind(exchange):
        return exchange.send(exchange.body, kind="text/\x1b]0;owned\x07html")

    for always, error in ((shout, RequestRefused), (kind, StreamTimeout)):
        with served(always=always) as server, pytest.raises(error) as caught:
            next(iter(PageStream(server.url, deadline=0.5)))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("more", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"[]", b"\0"])
def test_an_answer_to_no_question_is_not_taken_for_one(more):
    """What follows an answer on its connection never becomes the next page."""

    def two(exchange):
        length = len(exchange.body)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}"
        exchange.wfile.write(head.encode() + b"\r\n\r\n" + exchange.body + more)
        return True

    with served({(PAGE, 0): two, (8, 0): two}) as server:
        assert ids(PageStream(server.url, window=1)) == everyone()


def test_an_answer_longer_than_it_said_is_told_as_that():
    """Why a page is asked for again: not that an answer which began well were no HTTP."""
    ours, its = socket.socketpair()
    with ours, its:
        exchange = DirectExchange(ours, "http://here/data?page=", {}, 1000)
        for answer, why in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]]", "more came than the answer said"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP: .*; it began with b'SSH-2.0-"),
        ):
            exchange.ask(0)
            its.recv(1000)
            its.sendall(answer)
            with pytest.raises(Broken, match=why):
                exchange.receive()


@few
@given(st.lists(st.integers(0, 1200), max_size=12), st.booleans(), st.integers(1, 4))
def test_answers_in_pieces(cuts, chunked, window):
    """However an answer is cut into pieces on its way, the page is whole."""

    def pieces(exchange):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        body = exchange.body
        if chunked:
            head += b"Transfer-Encoding: chunked\r\n\r\n"
            body = b"".join(
                b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:50], body[50:]) if part
            )
            answer = head + body + b"0\r\n\r\n"
        else:
            answer = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        at = 0
        for cut in [*sorted(cuts), len(answer)]:
            exchange.wfile.write(answer[at:cut])
            at = max(at, cut)
        return True

    with served(always=pieces, rows=95) as server:
        assert ids(PageStream(server.url, window=window)) == everyone(95)


def test_pages_larger_than_what_the_system_holds(tmp_path):
    """Pages of a megabyte each arrive whole, while others wait their turn."""
    with EmbeddedAPI(rows=60_000, data=tmp_path / "data.db", port=0) as api:
        stream = PageStream(api.url, size=10_000, window=4)
        with stream.read() as reader:
            batches = []
            for batch in reader:
                batches.append(batch)
                time.sleep(0.05)  # the other pages' senders have to wait
    assert ids(batches) == list(range(60_000))


@few
@given(
    st.dictionaries(
        st.tuples(st.integers(2, 19), st.integers(0, 2)), st.sampled_from(PASSING), max_size=12
    ),
    st.integers(1, 6),
)
def test_any_plan_of_faults_leaves_no_trace(plan, window):
    """Whatever faults meet in whatever order, what arrives is what the server has."""
    for page in range(20):
        if plan.get((page, 0)) == "empty" or plan.get((page, 1)) == "empty":
            plan |= {(page, 1): "ok", (page, 2): "ok"}
    with served(plan) as server:
        assert ids(PageStream(server.url, window=window)) == everyone()


def test_closing_while_an_answer_hangs():
    """A hang is left at once, also where no thread waits for it."""
    with served({(PAGE, 0): "hang"}, rows=1000) as server:
        reader = PageStream(server.url, window=1, timeout=30).read()
        for _ in range(PAGE):
            next(reader)
        assert reader.poll(0.1) is None
        threading.Timer(0.1, reader.close).start()
        with at_most(0.35), pytest.raises(StopIteration):
            reader.poll()
