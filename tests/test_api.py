"""Tests of `promo.api`: what it is made of. What it promises is in test_contract.py."""

import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import msgspec
import pytest

from promo.api import create_app, listen, serve, url_of
from promo.dataset import Recipe, ensure_data
from promo.errors import ServiceError
from servers import served

RECIPE = Recipe("collider", rows=35, seed=8)
SERVE = "from promo.api import serve; serve(port={port}, rows=35, seed=8, data={data!r})"


@contextmanager
def serving(app):
    """Serve an app from a thread; yield its address, host and port."""
    with served(app) as url:
        address = urlsplit(url).hostname, urlsplit(url).port
        assert get(address, "/api/v1/health")[0] == 200
        yield address


@contextmanager
def serving_process(data, port=0, **environment):
    """Run `serve` in a process of its own; yield the process and its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE.format(port=port, data=str(data))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    with process:
        try:
            yield process, process.stdout.readline()
        finally:
            process.kill()


def get(address, path, headers=()):
    """Return the status, headers and body of one request on a connection of its own."""
    with closing(http.client.HTTPConnection(*address, timeout=10)) as connection:
        connection.request("GET", path, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.headers, response.read()


@pytest.fixture
def path(tmp_path):
    ensure_data(tmp_path / "data.db", RECIPE)
    return tmp_path / "data.db"


@pytest.fixture
def address(path):
    with serving(create_app(path)) as address:
        yield address


def test_both_ways_through_the_route_agree(address):
    """The short way for plain queries and FastAPI's way give the same answer."""
    for page, size in [(0, 10), (3, 10), (4, 10), (0, 1), (2, 7), (0, 10_000)]:
        status, plain, body = get(address, f"/api/v1/data?page={page}&size={size}")
        _, usual, same_body = get(address, f"/api/v1/data?size={size}&page={page}")
        assert (status, body) == (200, same_body)
        for name in ("content-type", "content-length", "x-total-count"):
            assert plain[name] == usual[name]


def test_floats_arrive_to_the_bit(address, path):
    """JSON carries every float of the file exactly."""
    _, _, body = get(address, "/api/v1/data?page=0&size=35")
    sent = [(row["competence"], row["network_ability"]) for row in json.loads(body)]
    with closing(sqlite3.connect(path)) as connection:
        assert (
            sent
            == connection.execute(
                "SELECT competence, network_ability FROM employee ORDER BY id"
            ).fetchall()
        )


def test_growth_is_served(address, path):
    """Rows appended to the file while it is served show up, and so does their number."""
    assert len(json.loads(get(address, "/api/v1/data?page=3")[2])) == 5
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("INSERT INTO employee VALUES (35, 0.5, -0.5, 1)")
    _, headers, body = get(address, "/api/v1/data?page=3")
    assert json.loads(body)[-1] == {
        "id": 35,
        "competence": 0.5,
        "network_ability": -0.5,
        "promoted": True,
    }
    assert headers["X-Total-Count"] == "36"
    assert json.loads(get(address, "/api/v1/health")[2])["employees"] == 36


@pytest.mark.parametrize("query", ["page=0", "size=10&page=0"])
def test_a_broken_file_is_a_short_500(address, path, query):
    """When the file breaks under the service, the answer is JSON of one line, no traceback."""
    path.write_bytes(b"no longer a database" * 1000)
    status, headers, body = get(address, f"/api/v1/data?{query}")
    assert status == 500
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {"detail": "internal error; the server's log says more"}


@pytest.mark.parametrize("query", ["page=0", "size=10&page=0"])
def test_a_bug_is_a_short_500(path, query):
    """An exception that nobody foresaw shows nothing of itself to the client either."""
    app = create_app(path)
    with serving(app) as address:
        dataset, app.state.dataset = app.state.dataset, "a bug"
        status, _, body = get(address, f"/api/v1/data?{query}")
        app.state.dataset = dataset
        assert status == 500
        assert json.loads(body) == {"detail": "internal error; the server's log says more"}
        assert get(address, "/api/v1/health")[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:5000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:5000", 200),
        ("api:5000", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost@evil.example", 400),
        ("", 400),
    ],
)
def test_only_known_hosts_are_answered(path, host, status):
    """Names of loopback and configured ones are answered; any other Host header gets 400."""
    with serving(create_app(path, allowed_hosts=["api"])) as address:
        assert get(address, "/api/v1/health", [("Host", host)])[0] == status
        assert get(address, "/api/v1/data?page=0", [("Host", host)])[0] == status


def test_answers_are_not_delayed(address):
    """On a kept connection an answer leaves at once: 20 take far less than 20 delayed ACKs.

    A delayed ACK is 40 ms; the fastest of five rounds is taken, as the machine may be busy.
    """
    with closing(http.client.HTTPConnection(*address, timeout=10)) as connection:

        def round_of_requests():
            started = time.perf_counter()
            for page in range(20):
                connection.request("GET", f"/api/v1/data?page={page}")
                connection.getresponse().read()
            return time.perf_counter() - started

        assert min(round_of_requests() for _ in range(5)) < 0.4


def test_many_clients_at_once(address):
    """Concurrent clients all get their own pages."""
    pages = {}

    def fetch(page):
        pages[page] = json.loads(get(address, f"/api/v1/data?page={page}&size=1")[2])[0]["id"]

    threads = [threading.Thread(target=fetch, args=(page,)) for page in range(35)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pages == {page: page for page in range(35)}


def test_no_data_no_service(tmp_path):
    """An app over a file that is no data set is refused when it is created."""
    with pytest.raises(ServiceError, match="is no data set of promo"):
        create_app(tmp_path / "missing.db")


def test_a_taken_port_is_one_line(tmp_path):
    """A port in use is refused with host, port and what to do; no other is taken silently."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"cannot listen on 127.0.0.1, port {port}: .*use"):
            serve(port=port, rows=1, data=tmp_path / "data.db")


def test_an_impossible_address_is_one_line():
    """So are hosts and ports that do not exist."""
    with pytest.raises(ServiceError, match=r"cannot listen on no\.such\.host\.invalid, port 0: "):
        listen("no.such.host.invalid", 0)
    for port in (-1, 65_536):
        with pytest.raises(ServiceError, match=f"there is no port {port}; choose one from 0"):
            listen("127.0.0.1", port)


def test_addresses_are_urls():
    """IPv6 addresses come in brackets."""
    with listen("127.0.0.1", 0) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
    if socket.has_ipv6:
        try:
            listener = listen("::1", 0)
        except ServiceError:
            pytest.skip("this machine has no IPv6 loopback")
        with listener:
            assert url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"


def test_serve_prints_one_line_and_ends_quietly(tmp_path):
    """`serve` makes the data, says where it listens, and an interrupt ends it with status 0."""
    with serving_process(tmp_path / "new" / "data.db") as (process, line):
        match = re.fullmatch(r"promo api: (\S+) at http://(127\.0\.0\.1):(\d+)\n", line)
        assert match[1] == RECIPE.source
        address = match[2], int(match[3])
        assert get(address, "/api/v1/health")[0] == 200
        assert get(address, "/api/v1/health", [("Host", "api")])[0] == 400
        process.send_signal(signal.SIGINT)
        rest, complaints = process.communicate(timeout=10)
    assert (process.returncode, rest, complaints) == (0, "", "")


CHUNKED = b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "path": (b"GET /", b"x" * 65_536),
    "header": (b"GET /api/v1/health HTTP/1.1\r\nX: ", b"x" * 65_536),
    "headers": (b"GET /api/v1/health HTTP/1.1\r\n", b"X: y\r\n" * 10_000),
    "trailers": (CHUNKED + b"0\r\n", b"X: y\r\n" * 10_000),
    "trailer": (CHUNKED + b"0\r\nX: ", b"x" * 65_536),
    "body": (CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n"),
}


def test_a_head_without_an_end_is_refused(tmp_path):
    """Endless requests are broken off before a few megabytes are sent; others are served."""
    with serving_process(tmp_path / "data.db") as (_, line):
        address = "127.0.0.1", int(line.rpartition(":")[2])
        for begin, more in ENDLESS.values():
            with socket.create_connection(address, timeout=10) as client:
                client.sendall(begin)
                with pytest.raises((BrokenPipeError, ConnectionResetError)):
                    client.sendall(more * 1000)
            assert get(address, "/api/v1/data?page=0")[0] == 200


def test_a_long_head_that_ends_is_served(tmp_path):
    """Heads within the bound are answered, also when they come in pieces, one after another."""
    with serving_process(tmp_path / "data.db") as (_, line):
        address = "127.0.0.1", int(line.rpartition(":")[2])
        with socket.create_connection(address, timeout=10) as client:
            for _ in range(5):
                client.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX: ")
                for _ in range(3):
                    client.sendall(b"x" * 10_000)
                client.sendall(b"\r\n\r\n")
                assert client.recv(12) == b"HTTP/1.1 200"
                while not client.recv(10_000).endswith(b"}"):
                    pass


def test_hosts_come_from_the_environment(tmp_path):
    """`PROMO_API_ALLOWED_HOSTS` adds the names that compose gives the service."""
    environment = {"PROMO_API_ALLOWED_HOSTS": " api , other.example,"}
    with serving_process(tmp_path / "data.db", **environment) as (_, line):
        address = "127.0.0.1", int(line.rpartition(":")[2])
        hosts = ("api", "other.example:80", "third.example")
        answers = [get(address, "/api/v1/health", [("Host", host)])[0] for host in hosts]
    assert answers == [200, 200, 400]


def test_a_host_that_no_name_can_match_is_refused(tmp_path, monkeypatch):
    """A star stands alone or before a dot; else it is said before anything listens."""
    monkeypatch.setenv("PROMO_API_ALLOWED_HOSTS", "*.example.com,ex*mple.com")
    with pytest.raises(ServiceError, match=r"'\*\.example\.com,ex\*mple\.com': expected a name"):
        serve(port=0, rows=10, data=tmp_path / "data.db")


def test_a_page_is_small_work(path):
    """Encoding is exact: the bytes are those of msgspec over the documented objects."""
    with serving(create_app(path)) as address:
        body = get(address, "/api/v1/data?page=0")[2]
    assert body == msgspec.json.encode(json.loads(body))
