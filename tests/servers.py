"""Servers for tests, on real sockets and free ports: one keeps the contract, one misbehaves.

`served` runs an application of ours.

`contract_server` is written with Flask and keeps the original contract of DESIGN 3 and nothing
more. As a program it serves benchmarks: `python tests/servers.py --port 0 --rows 10000 --slow-ms 4`
prints its address and answers at most 250 pages/s.

`ScriptedServer` speaks HTTP by hand. A plan says how the nth request for a page is answered.
"""

import argparse
import json
import random
import re
import socket
import socketserver
import sqlite3
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import contextmanager, suppress
from email.utils import formatdate
from select import select

import flask
import uvicorn
from werkzeug.serving import WSGIRequestHandler, make_server

from promo.api import listen, url_of

FIELDS = ("id", "competence", "network_ability", "promoted")
PAGE_SIZE = 10


def employees(number, seed=0):
    """Return rows with ids that neither start at 0 nor are dense, `promoted` as 0/1."""
    draw = random.Random(seed)
    values = ((7 + 3 * n, draw.gauss(), draw.gauss(), draw.getrandbits(1)) for n in range(number))
    return [dict(zip(FIELDS, row, strict=True)) for row in values]


# -- the original contract -------------------------------------------------------------------


def contract_app(rows, slow_ms=0.0):
    """Return the service: 10 rows a page by OFFSET, no `size`, no total, errors in HTML."""
    database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    database.execute("CREATE TABLE employee (id, competence, network_ability, promoted)")
    database.executemany(
        "INSERT INTO employee VALUES (?, ?, ?, ?)", (tuple(r.values()) for r in rows)
    )
    app, turn = flask.Flask("contract"), Turn(slow_ms / 1000)
    app.logger.disabled = True

    @app.get("/api/v1/data")
    def data():
        turn.wait()
        if not re.fullmatch(r"[+-]?\d+", text := flask.request.args.get("page", "")):
            flask.abort(422)
        # OverflowError, so 500, for pages over 64 bits.
        with turn.lock:
            found = database.execute(
                f"SELECT * FROM employee ORDER BY id LIMIT {PAGE_SIZE} OFFSET ?",
                (max(int(text), 0) * PAGE_SIZE,),
            ).fetchall()
        return [dict(zip(FIELDS, row, strict=True)) for row in found]

    return app


class Turn:
    """Gives out turns at least `every_s` seconds apart, as a server with one slow core does."""

    def __init__(self, every_s):
        self.lock, self._every_s, self._next = threading.Lock(), every_s, 0.0

    def wait(self):
        """Wait for the next turn."""
        with self.lock:
            self._next = max(self._next, time.monotonic()) + self._every_s
            early = self._next - time.monotonic()
        if early > 0 and self._every_s:
            time.sleep(early)


class _QuietHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections
    disable_nagle_algorithm = True  # else 40 ms between an answer's header and its body

    def log(self, *_):
        pass


@contextmanager
def contract_server(rows, port=0, slow_ms=0.0):
    """Serve the original contract from a thread; give its address."""
    server = make_server(
        "127.0.0.1", port, contract_app(rows, slow_ms), threaded=True, request_handler=_QuietHandler
    )
    with _serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def _serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def served(app):
    """Serve an application of ours from a thread; give its address."""
    config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield url_of(listener)
        finally:
            server.should_exit = True
            thread.join()


# -- a server that misbehaves as it is told ---------------------------------------------------


class ScriptedServer(socketserver.ThreadingTCPServer):
    """Serves `rows` page by page, except where the plan says otherwise.

    Parameters
    ----------
    rows
        Served in this order; the list may grow while it is served.
    plan
        From (page, attempt), both counted from 0, to a fault: a name from `FAULTS`, or a function
        of the exchange.
    always
        The fault of every request that the plan says nothing about.
    page_size
        Rows of a page, where the request does not say `size`.
    openapi, openapi_status
        What /openapi.json answers, or a fault; without a body it is not there (404).

    Attributes
    ----------
    asked
        Pages in the order in which they were asked for.
    targets
        The requests' paths with query.
    connections
        How many were accepted.
    """

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        rows: Iterable[dict],
        plan: dict[tuple[int, int], "str | Fault"] | None = None,
        *,
        always: "str | Fault" = "ok",
        page_size: int = PAGE_SIZE,
        openapi: "bytes | Fault | None" = None,
        openapi_status: int = 200,
    ):
        self.rows, self.plan, self.always = rows, plan or {}, always
        self.page_size, self.openapi, self.openapi_status = page_size, openapi, openapi_status
        self.asked, self.targets, self.connections = [], [], 0
        self._attempts, self._lock, self._open = Counter(), threading.Lock(), set()
        super().__init__(("127.0.0.1", 0), Exchange)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._serving = _serving(self)

    def __enter__(self):
        self._serving.__enter__()
        return self

    def __exit__(self, *error):
        with self._lock:  # so that no handler waits for its client any more
            for connection in self._open:
                with suppress(OSError):  # the client has left
                    connection.shutdown(socket.SHUT_RDWR)
        self._serving.__exit__(*error)

    def process_request(self, request, client_address):
        """Count a new connection."""
        with self._lock:
            self.connections += 1
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        """Forget a connection that has ended."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    @property
    def open_connections(self):
        """How many connections the clients have not closed."""
        return len(self._open)

    def fault_of(self, page):
        """Return how to answer this request for a page; count it."""
        with self._lock:
            attempt = self._attempts[page]
            self._attempts[page] += 1
            self.asked.append(page)
        return self.plan.get((page, attempt), self.always)


class Exchange(socketserver.StreamRequestHandler):
    """One connection: answers requests until the client leaves or a fault ends it."""

    disable_nagle_algorithm = True

    def handle(self):
        """Answer until either side has had enough."""
        with suppress(OSError):  # the client has left
            while self._answer_one():
                pass

    def _answer_one(self):
        if not (line := self.rfile.readline()):
            return False
        while self.rfile.readline().strip():
            pass  # headers
        self.target = line.split()[1].decode()
        self.server.targets.append(self.target)
        if asked := re.fullmatch(r"/api/v1/data\?(?:size=(\d+)&)?page=(\d+)", self.target):
            size, self.page = int(asked[1] or self.server.page_size), int(asked[2])
            self.body = encode(self.server.rows[self.page * size : (self.page + 1) * size])
            fault = self.server.fault_of(self.page)
            return (FAULTS[fault] if isinstance(fault, str) else fault)(self)
        if self.target == "/openapi.json" and callable(self.server.openapi):
            self.body = b"{}"
            return self.server.openapi(self)
        if self.target == "/openapi.json" and self.server.openapi is not None:
            return self.send(self.server.openapi, self.server.openapi_status)
        return self.send(b"<h1>Not Found</h1>", 404, "text/html")

    def send(self, body, status=200, kind="application/json", length=None, **headers):
        """Send an answer whole; return that the connection stays."""
        lines = [
            f"HTTP/1.1 {status} Said So",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body) if length is None else length}",
            *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        ]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return True

    def client_leaves_within(self, seconds):
        """Wait; tell whether the client has closed the connection."""
        return bool(select([self.connection], [], [], seconds)[0])


Fault = Callable[[Exchange], bool | None]  # true if the connection stays open


def encode(rows, promoted=int, **style):
    """Return rows as JSON, `promoted` as 0/1 or false/true."""
    return json.dumps([r | {"promoted": promoted(r["promoted"])} for r in rows], **style).encode()


def _truncated(exchange):
    exchange.send(exchange.body[: len(exchange.body) // 2], length=len(exchange.body) + 1)


def _hang(exchange):
    exchange.client_leaves_within(60)


def _hang_in_body(exchange):
    _truncated(exchange)
    _hang(exchange)


def _drip(exchange):
    """Send an answer that would be good, a byte every 100 ms."""
    body = b" " * 600 + exchange.body
    header = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    for byte in header.encode() + b"\r\n\r\n" + body:
        if exchange.client_leaves_within(0.1):
            return
        exchange.wfile.write(bytes([byte]))


def _interim(exchange):
    """Say that the answer is to come, and nothing else."""
    while not exchange.client_leaves_within(0.02):
        exchange.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _reset(exchange):
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.connection.close()


def _chunks_cut_short(exchange):
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    exchange.wfile.write(head + b"%x\r\n" % len(exchange.body) + exchange.body + b"\r\n")


FAULTS: dict[str, Fault] = {
    "ok": lambda exchange: exchange.send(exchange.body),
    "true": lambda exchange: exchange.send(encode(json.loads(exchange.body), bool)),
    "empty": lambda exchange: exchange.send(b"[]"),
    "408": lambda exchange: exchange.send(b"", 408),
    "429": lambda exchange: exchange.send(b"", 429, Retry_After=0),
    "429 date": lambda exchange: exchange.send(b"", 429, Retry_After=formatdate(usegmt=True)),
    "429 minute": lambda exchange: exchange.send(b"", 429, Retry_After=60),
    "500": lambda exchange: exchange.send(b"<h1>Internal Server Error</h1>", 500, "text/html"),
    "503": lambda exchange: exchange.send(b"{}", 503),
    "html": lambda exchange: exchange.send(b"<h1>Hello</h1>", kind="text/html"),
    "html as json": lambda exchange: exchange.send(b"<h1>Hello</h1>"),
    "wrong type": lambda exchange: exchange.send(exchange.body, kind="text/plain"),
    "invalid": lambda exchange: exchange.send(exchange.body[:-1]),
    "object": lambda exchange: exchange.send(b'{"rows": ' + exchange.body + b"}"),
    "nothing": lambda exchange: exchange.send(b""),
    "not gzip": lambda exchange: exchange.send(exchange.body, Content_Encoding="gzip"),
    "garbage": lambda exchange: exchange.wfile.write(b"\0\1\2 nonsense\r\n\r\n"),
    "truncated": _truncated,
    "chunks cut short": _chunks_cut_short,
    "hang": _hang,
    "hang in body": _hang_in_body,
    "drip": _drip,
    "interim": _interim,
    "reset": _reset,
    "close": lambda exchange: None,
}


def main():
    """Serve the contract as a program: print the address, then serve until interrupted."""
    parser = argparse.ArgumentParser(description="The original contract, and nothing more.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--slow-ms", type=float, default=0.0, help="least time between answers")
    options = parser.parse_args()
    with contract_server(employees(options.rows), options.port, options.slow_ms) as url:
        print(url, flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
