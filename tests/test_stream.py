"""Tests of `promo.stream` on real sockets: what the server has arrives, whatever it answers."""

import gc
import json
import socket
import threading
import time
from contextlib import closing, contextmanager
from email.utils import formatdate

import pytest
import tenacity
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clocks import at_most, wait_for
from promo import reader as reader_module
from promo.embedded import EmbeddedAPI
from promo.errors import RequestRefused, StreamError, StreamTimeout
from promo.stream import PageStream, wire
from servers import FAULTS, ScriptedServer, contract_server, employees

ROWS = 237
few = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
slow_faults = {"interim", "hang", "hang in body", "drip", "429 minute"}
passing_faults = sorted(FAULTS.keys() - slow_faults - {"ok", "true", "empty"})


@pytest.fixture(scope="module")
def our_url(tmp_path_factory):
    data = tmp_path_factory.mktemp("stream") / "data.db"
    with EmbeddedAPI(rows=ROWS, data=data, port=0) as api:
        yield api.url


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch):
    """Retry fast; leave no thread and no socket behind."""
    monkeypatch.setattr(wire, "_backoff", tenacity.wait_random(0.005, 0.02))
    monkeypatch.setattr(reader_module, "FOLLOW_INTERVAL_S", 0.02)
    yield
    wait_for(lambda: not fetching())


@pytest.fixture(scope="module", autouse=True)
def _no_socket_stays():
    """Have sockets that were left open warn, so fail."""
    yield
    gc.collect()


def fetching():
    return [t for t in threading.enumerate() if t.name.startswith("promo-fetch")]


@contextmanager
def served(*arguments, rows=35, **options):
    with ScriptedServer(employees(rows), *arguments, **options) as server:
        yield server


def rows_of(batches):
    """Return the rows in the order of their arrival, as the server writes them."""
    return [
        {"id": i, "competence": c, "network_ability": n, "promoted": p}
        for b in batches
        for i, c, n, p in zip(
            *(x.tolist() for x in (b.ids, b.competence, b.network_ability, b.promoted)), strict=True
        )
    ]


def is_one_line(error):
    return len(str(error)) < 300 and "\n" not in str(error)


def slowly(exchange):
    """Answer in 50 ms."""
    return not exchange.client_leaves_within(0.05) and exchange.send(exchange.body)


# -- order and completeness -----------------------------------------------------------------------


@few
@given(st.integers(0, 65), st.integers(1, 8))
def test_all_of_a_contract_server(rows, window):
    """Every row of a server that keeps the original contract arrives once, in order, exact."""
    with contract_server(employees(rows)) as url:
        assert rows_of(PageStream(url, window=window)) == employees(rows)


@few
@given(st.integers(1, 300), st.integers(1, 8), st.data())
def test_all_of_our_service(our_url, size, window, data):
    """From any page and position on, in pages of any size, our service's rows arrive in order."""
    page = data.draw(st.integers(0, ROWS // size + 1), "page")
    position = data.draw(st.integers(0, min(size, max(ROWS - page * size, 0))), "position")
    stream = PageStream(our_url, size=size, window=window, start_page=page, start_position=position)
    batches = list(stream)
    assert [i for b in batches for i in b.ids.tolist()] == list(range(page * size + position, ROWS))
    assert all(b.page * size + b.positions[0] == b.ids[0] for b in batches)
    assert stream.page_size == size
    assert stream.total_rows == (ROWS if batches or not size else stream.total_rows)


def test_a_stream_can_be_read_again():
    """Each iteration starts over, two at a time do not disturb each other, a broken one ends."""
    with served() as server:
        stream = PageStream(server.url)
        pairs = list(zip(stream, stream, strict=True))
        assert [(a.page, a.digest) for a, _ in pairs] == [(b.page, b.digest) for _, b in pairs]
        for batch in stream:
            assert batch.page == 0
            break
        gc.collect()  # the generator closes its reader


@pytest.mark.parametrize("always", ["ok", "true"])
def test_digests_are_of_values(always):
    """A server that answers false/true gives the same batches as one that answers 0/1."""
    with served() as plain, served(always=always) as other:
        pairs = list(zip(PageStream(plain.url), PageStream(other.url), strict=True))
    assert [a.digest for a, _ in pairs] == [b.digest for _, b in pairs]


@few
@given(st.lists(st.integers(0, 12), max_size=8), st.integers(1, 4))
def test_following_a_server_that_grows(growth, window):
    """New rows, in a short last page or after it, arrive once and in order as the server grows."""
    rows = employees(sum(growth))
    with ScriptedServer(rows[:0]) as server:
        found, stream = [], PageStream(server.url, follow=True, window=window)
        with stream.read() as reader:
            for more in growth:
                server.rows += rows[len(server.rows) : len(server.rows) + more]
                while len(found) < len(server.rows):
                    found += rows_of([reader.poll()])
            assert reader.poll(0.05) is None
    assert found == rows


# -- faults that pass -----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*passing_faults, "empty"])
def test_a_passing_fault_leaves_no_trace(fault):
    """A fault in the first answers for any page changes nothing in what arrives."""
    plan = {(page, 0): fault for page in range(6)}
    if fault != "empty":
        plan |= {(1, 1): fault, (4, 1): fault}
    with served(plan) as server:
        assert rows_of(PageStream(server.url, window=3)) == employees(35)


@pytest.mark.parametrize("fault", ["hang", "hang in body", "drip"])
def test_a_slow_answer_is_asked_for_again(fault):
    """An answer not complete in `timeout` seconds, even one that trickles, is asked for again."""
    with served({(1, 0): fault, (3, 0): fault}) as server:
        assert rows_of(PageStream(server.url, window=2, timeout=0.2)) == employees(35)


@few
@given(
    st.dictionaries(
        st.tuples(st.integers(0, 5), st.integers(0, 3)),
        st.sampled_from(passing_faults),
        max_size=12,
    ),
    st.dictionaries(st.integers(0, 5), st.sampled_from(["empty"])),
    st.integers(1, 6),
)
def test_any_plan_of_faults_leaves_no_trace(plan, empties, window):
    """Whatever faults meet in whatever order, what arrives is what the server has."""
    plan |= {(page, 0): fault for page, fault in empties.items() if (page, 1) not in plan}
    with served(plan) as server:
        assert rows_of(PageStream(server.url, window=window)) == employees(35)


REASONS = {
    "408": "408 Said So",
    "429": "429 Said So",
    "500": "500 Said So",
    "503": "503 Said So",
    "html": "got text/html where JSON was expected",
    "html as json": "expected a JSON array, got '<h1>Hello</h1>'",
    "wrong type": "got text/plain where JSON was expected",
    "invalid": "expected ',' or ']'",
    "object": 'expected a JSON array, got \'{"rows": ',
    "nothing": "expected a JSON array, got ''",
    "not gzip": "while decompressing data",
    "garbage": "nonsense",
    "truncated": "bytes read",
    "chunks cut short": "",
    "reset": "Connection reset by peer",
    "close": "Remote end closed connection without response",
    "hang": "no answer in 0.",
    "drip": "no answer in 0.",
    "429 minute": "429 Said So",
}


@pytest.mark.parametrize(("fault", "reason"), REASONS.items())
def test_a_lasting_fault_is_told(fault, reason):
    """A fault that lasts is a StreamTimeout of one line: page, address and the last reason."""
    with served(always=fault) as server, pytest.raises(StreamTimeout) as caught:
        next(iter(PageStream(server.url, window=1, deadline=0.2)))
    told = f"page 0 (counted from 0) of {server.url}: no good answer within 0.2 s"
    assert told in str(caught.value)
    assert reason in str(caught.value)
    assert is_one_line(caught.value)


@pytest.mark.parametrize("fault", ["hang", "drip", "500"])
def test_the_deadline_holds_whatever_the_timeout(fault):
    """A page's deadline ends it also in the middle of an attempt that has time left."""
    began = time.monotonic()
    with at_most(1.0), served(always=fault) as server, pytest.raises(StreamTimeout):
        next(iter(PageStream(server.url, timeout=30, deadline=0.3)))
    assert time.monotonic() - began > 0.2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422, 204, 304])
def test_a_refusal_is_final(status):
    """Any other status fails at the first answer, in one line with address, status and hint."""

    def refuse(exchange):
        return exchange.send(b"", status)

    with served({(2, 0): refuse}) as server, pytest.raises(RequestRefused) as caught:
        list(PageStream(server.url, window=1))
    assert f"{server.url}/api/v1/data?page=2 answered {status} Said So; " in str(caught.value)
    assert server.asked == [0, 1, 2]
    assert is_one_line(caught.value)


def test_a_refusal_comes_in_its_turn():
    """Pages before the refused one are handed out first, although it was refused before."""
    plan = {(2, 0): lambda exchange: exchange.send(b"", 404), (0, 0): slowly}
    with served(plan) as server, PageStream(server.url, window=4).read() as reader:
        assert [next(reader).page, next(reader).page] == [0, 1]
        with pytest.raises(RequestRefused, match="is this the root of the service"):
            next(reader)


# -- Retry-After ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("0", 0),
        ("7", 7),
        ("1.5", 1.5),
        ("60", 60),
        ("61", 60),
        ("86400", 60),
        ("inf", 60),
        ("-5", 0),
        ("nan", 0),
        ("soon", 0),
        ("", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999999", 0),
    ],
)
def test_retry_after_is_capped(value, seconds):
    """Retry-After counts as seconds or as a date, from 0 to 60 s; nonsense counts for nothing."""
    assert wire._retry_after(value) == seconds


@given(st.text())
def test_retry_after_never_raises(value):
    """Whatever the header says, the wait is between 0 and 60 s."""
    assert 0 <= wire._retry_after(value) <= 60


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (lambda: "20", 20),
        (lambda: "3600", 60),
        (lambda: formatdate(time.time() + 20, usegmt=True), 20),
        (lambda: formatdate(time.time() + 3600, usegmt=True), 60),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for(status, header, seconds):
    """The next attempt is due when the server said, and not asked for before; readers see it."""

    def later(exchange):
        return exchange.send(b"", status, Retry_After=header())

    with served(always=later) as server, PageStream(server.url, window=1).read() as reader:
        while reader.retry is None:
            assert reader.poll(0.01) is None
        assert reader.retry.at - time.monotonic() == pytest.approx(seconds, abs=1.5)
        assert (reader.retry.page, reader.retry.attempt) == (0, 2)
        assert str(status) in reader.retry.reason
        assert server.asked == [0]


def test_retry_after_is_for_all_pages():
    """As long as the server has asked to wait of one page, none is asked for, or for again."""

    def later(exchange):
        return exchange.send(b"", 429, Retry_After="1")

    failing = {(page, n): "500" for page in range(1, 8) for n in range(4)}
    with served({(0, 0): later} | failing) as server, PageStream(server.url).read() as reader:
        while reader.held is None:
            assert reader.poll(0.01) is None
        assert (reader.held.page, reader.retry.page) == (0, 0)
        began = time.monotonic()
        reader.poll(0.2)  # what was asked for is answered
        asked = len(server.asked)
        reader.poll(0.5)
        assert len(server.asked) == asked
        assert reader.poll(30).page == 0
        assert time.monotonic() - began > 0.8
        assert [batch.page for batch in reader] == [1, 2, 3]


def test_the_deadline_holds_while_the_server_asks_to_wait():
    """What a page waits because of another one counts, too: it is given up in time, and says so."""

    def later(exchange):
        if exchange.page == 0:
            time.sleep(0.6)  # it comes to the others' wait, again and again
        return exchange.send(b"", 429, Retry_After="1")

    with (
        served(always=later) as server,
        at_most(6.0),
        pytest.raises(StreamTimeout, match=r"page 0 .* within 5 s; the last one: ") as caught,
    ):
        next(iter(PageStream(server.url, deadline=5)))
    assert is_one_line(caught.value)


def test_retry_after_nothing_is_no_reason_to_hurry(monkeypatch):
    """A server that says Retry-After: 0 is not asked more often than the backoff allows."""
    monkeypatch.setattr(wire, "_backoff", tenacity.wait_fixed(0.1))
    with served(always="429") as server, pytest.raises(StreamTimeout):
        next(iter(PageStream(server.url, window=1, deadline=0.35)))
    assert len(server.asked) <= 4


# -- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:5000",
        "ftp://here",
        "http://",
        "http:///data",
        "http://here:port",
        "http://[::1",
        "http://here:99999",
        "http://two words",
        "httpx://here",
        "http://*",
    ],
)
def test_a_wrong_address_is_refused(url):
    """What is no address of a service is refused when said, with what an address looks like."""
    with pytest.raises(StreamError, match="give http://host:port") as caught:
        PageStream(url)
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"start_page": -1}, {"start_position": -1}, {"window": 0}, {"size": 0},
     {"timeout": 0}, {"deadline": -1.0}],
)  # fmt: skip
def test_parameters_out_of_range_are_refused(options):
    """Numbers that make no sense are refused when said, in one line that holds them."""
    ((name, value),) = options.items()
    with pytest.raises(StreamError, match=f"{name}={value}"):
        PageStream("http://127.0.0.1:5000", **options)


def test_nobody_there():
    """An address where nothing listens is told in one line with the cause, by each way in."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    stream = PageStream(url, size=20, deadline=0.2)
    for ask in (stream.check, stream.read, lambda: list(PageStream(url, deadline=0.2))):
        with pytest.raises(StreamError) as caught:
            ask()
        assert url in str(caught.value)
        assert "Connection refused" in str(caught.value)
        assert is_one_line(caught.value)


def test_a_name_that_cannot_be_one():
    """A host name that no resolver takes is told as an address that cannot be reached."""
    with pytest.raises(StreamError, match=r"cannot reach http://a\.\.b"):
        PageStream("http://a..b").check()


@pytest.mark.parametrize("ending", ["", "/"])
def test_an_address_is_written_in_one_way(ending):
    """One service is one source for the store, with and without a slash, in any case."""
    stream = PageStream("http://LOCALHOST:5000" + ending)
    assert stream.source == stream.base_url == "http://localhost:5000"
    assert PageStream("http://localhost:5000", source="collider").source == "collider"


def test_a_service_elsewhere_on_a_host():
    """A wrong path, in any script, is a refusal with a hint, not a crash, by each way in."""
    with served() as server:
        stream = PageStream(f"{server.url}/büro")
        for ask in (stream.check, lambda: list(stream)):
            with pytest.raises(
                RequestRefused, match=r"/b%C3%BCro/api/v1/data\?page=0 answered 404"
            ):
                ask()


ENDLESS = ["hang", "hang in body", "drip", "interim"]  # answers, however soon each byte comes


@pytest.mark.parametrize("fault", ["500", "429", "truncated", "html", "reset", *ENDLESS])
def test_what_may_pass_is_no_reason_not_to_begin(fault):
    """A check asks once, and not for long: what is asked for again does not make it fail."""
    with served({(0, 0): fault}) as server, at_most(1.5):
        PageStream(server.url, timeout=0.3).check()


def test_settings_of_the_machine_do_not_matter(monkeypatch):
    """Proxies in the environment, where company laptops have them, are not asked."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with served() as server:
        assert rows_of(PageStream(server.url, size=20)) == employees(35)


# -- size and total -------------------------------------------------------------------------------


def openapi(**size):
    parameters = [{"name": "page", "schema": {}}, {"name": "size", "schema": size}]
    return json.dumps({"paths": {"/api/v1/data": {"get": {"parameters": parameters}}}}).encode()


def test_size_is_used_where_offered():
    """Where the OpenAPI offers `size`, each request says it; without a wish none does."""
    with served(openapi=openapi(maximum=100)) as server:
        assert [b.received for b in PageStream(server.url, size=20, window=1)] == [20, 15]
        assert server.targets[:2] == ["/openapi.json", "/api/v1/data?size=20&page=0"]
        del server.targets[:]
        assert [b.received for b in PageStream(server.url, window=1)] == [10, 10, 10, 5]
        assert server.targets[0] == "/api/v1/data?page=0"


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"[]",
        b"[" * 200_000,
        b"{}",
        b"<h1>",
        b'{"paths": []}',
        b'{"paths": {"/api/v1/data": {"get": 1}}}',
        openapi().replace(b"size", b"other"),
        openapi(maximum="x"),
        openapi().replace(b"{}}]", b"1}]"),
    ],
)
def test_size_is_not_used_where_not_offered(body):
    """Where there is no OpenAPI, or a strange one, the contract's 10 rows a page stay in force."""
    with served(openapi=body) as server:
        stream = PageStream(server.url, size=20)
        assert stream.page_size == 10
        assert rows_of(stream) == employees(35)
        assert not any("size" in target for target in server.targets)


def test_size_beyond_the_offer(our_url):
    """A size that the server does not offer is refused before any page is asked for."""
    with pytest.raises(StreamError, match=r"size=10001: http.* offers 1 to 10000 rows a page"):
        PageStream(our_url, size=10_001).read()


def test_size_is_not_given_up_for_an_outage():
    """A server that cannot say now what it offers is an error, not one that offers nothing."""
    with (
        served(openapi=openapi(), openapi_status=503) as server,
        pytest.raises(StreamError, match=r"/openapi.json answered 503") as caught,
    ):
        PageStream(server.url, size=20).read()
    assert is_one_line(caught.value)


@pytest.mark.parametrize("fault", ENDLESS)
def test_what_is_offered_is_not_waited_for_without_end(fault):
    """A server that does not come to an end with what it offers is one that does not answer."""
    with (
        served(openapi=FAULTS[fault]) as server,
        at_most(1.5),
        pytest.raises(StreamError, match=r"cannot reach .*: no answer in 0.3 s"),
    ):
        PageStream(server.url, size=20, timeout=0.3).read()


@pytest.mark.parametrize(
    ("value", "total"), [("35", 35), ("-1", None), ("many", None), ("9" * 5000, None), ("²", None)]
)
def test_total_rows(value, total):
    """The total is what the server says in X-Total-Count, if that is a count; else unknown."""
    with served(always=lambda e: e.send(e.body, X_Total_Count=value)) as server:
        stream = PageStream(server.url)
        assert stream.total_rows is None
        assert rows_of(stream) == employees(35)
        assert stream.total_rows == total


@pytest.mark.parametrize("kind", ["Application/JSON", "application/json; charset=utf-8"])
def test_json_by_any_name(kind):
    """The content type may be in capitals or say more."""
    with served(always=lambda e: e.send(e.body, kind=kind)) as server:
        assert rows_of(PageStream(server.url)) == employees(35)


def test_bad_rows_stay_in_their_page():
    """Rows that are no employees arrive as rejected, in their page and place, the others whole."""
    rows = employees(35)
    bad = [*rows[:12], {"id": None, "promoted": 1}, *rows[13:]]
    with ScriptedServer(bad) as server:
        batches = list(PageStream(server.url))
    assert rows_of(batches) == rows[:12] + rows[13:]
    assert [(b.page, r.position) for b in batches for r in b.rejected] == [(1, 2)]


# -- connections and closing ----------------------------------------------------------------------


def test_one_connection_per_thread():
    """A reader keeps one connection per wire, also across errors, and closes them in the end."""
    plan = {(page, 0): "500" for page in range(0, 60, 7)}
    with served(plan, rows=600) as server:
        assert rows_of(PageStream(server.url, window=3)) == employees(600)
        assert server.connections <= 3
        wait_for(lambda: server.open_connections == 0)


def hang_elsewhere(exchange):
    """Send the client on to another name of this server, and hang there."""
    if exchange.server.asked.count(exchange.page) > 1:
        return FAULTS["hang"](exchange)
    url = exchange.server.url.replace("127.0.0.1", "localhost")
    return exchange.send(b"", 307, Location=url + exchange.target)


BUSY = {  # how the server answers, and how to see that the stream has come to this
    "hang": ("hang", lambda server, _: 0 in server.asked),
    "hang in body": ("hang in body", lambda server, _: 0 in server.asked),
    "drip": ("drip", lambda server, _: 0 in server.asked),
    "wait for Retry-After": ("429 minute", lambda _, reader: reader.retry),
    "backoff": ("503", lambda _, reader: reader.retry),
    "slow pages": (slowly, lambda server, _: len(server.asked) >= 8),
    "hang after a redirection": (hang_elsewhere, lambda server, _: server.asked.count(0) == 2),
}


@pytest.mark.parametrize(("always", "is_busy"), BUSY.values(), ids=BUSY.keys())
def test_closing_takes_effect_at_once(always, is_busy, monkeypatch):
    """Whatever the stream is doing, reading ends in 250 ms, threads and sockets soon after."""
    monkeypatch.setattr(wire, "_backoff", tenacity.wait_fixed(30))
    stop, times = threading.Event(), []

    def read(reader):  # as the trainer does
        with reader:
            while not stop.is_set():
                reader.poll(0.05)

    for _ in range(5):
        with served(always=always, rows=1000) as server:
            reader = PageStream(server.url, window=4, timeout=30).read()
            stop.clear()
            trainer = threading.Thread(target=read, args=(reader,))
            trainer.start()
            wait_for(lambda: is_busy(server, reader))  # noqa: B023
            began = time.monotonic()
            stop.set()
            trainer.join()
            times.append(time.monotonic() - began)
            wait_for(lambda: not fetching(), 0.5)
            reader = trainer = None  # let go of errors, so of their frames, so of what those hold
            gc.collect(1)
            wait_for(lambda: server.open_connections == 0, 0.5)
    assert max(times) < 0.25, times


def test_closing_at_once_leaves_nothing():
    """A reader closed at any moment of its start, connecting included, is gone shortly after."""
    with served(always="hang") as server:
        stream = PageStream(server.url, timeout=30)
        for delay in range(20):
            with stream.read() as reader:
                reader.poll(delay / 2000)
            wait_for(lambda: not fetching(), 1.0)
            wait_for(lambda: server.open_connections == 0, 1.0)


def test_a_reader_without_time_does_not_block():
    """Closing does not wait for the network: it returns in milliseconds while all wires hang."""
    with served(always="hang") as server, PageStream(server.url).read() as reader:
        reader.poll(0.0)
        wait_for(lambda: len(server.asked) == 8)
        with at_most(0.1):
            reader.close()
