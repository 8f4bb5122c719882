"""Tests of `promo.stream.session` and `promo.address`: what may come in, what may not go out."""

import ssl
import subprocess
import tracemalloc
import zlib
from base64 import b64decode
from contextlib import contextmanager, suppress
from functools import cache

import pytest
import tenacity

from programs import require
from promo.cli import main
from promo.embedded import api_from_environment
from promo.errors import RequestRefused, StreamError, StreamTimeout
from promo.stream import PageStream, wire
from servers import ScriptedServer, employees

MB = 1_000_000
LOGIN = "me:s%C3%BC%40fe"  # sü@fe


@pytest.fixture(autouse=True)
def _retry_fast(monkeypatch):
    monkeypatch.setattr(wire, "_backoff", tenacity.wait_random(0.005, 0.02))


# -- endless answers --------------------------------------------------------------------------


def endless(status=200, head=b"", piece=b" " * 65_536):
    """Return a fault that sends an answer without an end."""

    def fault(exchange):
        kind = b"HTTP/1.1 %d Said So\r\nContent-Type: application/json\r\n" % status
        exchange.wfile.write(kind + head + b"\r\n")
        while not exchange.client_leaves_within(0):
            exchange.wfile.write(piece)

    return fault


@cache
def a_bomb():
    """Return 100 MB of spaces in 100 kB, packed once: that takes longer than an answer may."""
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(b" " * MB) for _ in range(100)]
    return b"".join([*pieces, packer.flush()])


def packed(exchange):
    """Send 100 MB of spaces in 100 kB."""
    return exchange.send(a_bomb(), Content_Encoding="gzip")


@contextmanager
def memory_below(peak):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < peak
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "fault",
    [endless(), endless(head=b"Content-Length: 999999999999\r\n"), packed],
    ids=["endless", "announced", "packed"],
)
def test_an_endless_page_fills_no_memory(fault):
    """A page of more than 4,096 bytes a row is cut off, asked for again, and told at the end."""
    with ScriptedServer(employees(25), {(1, 0): fault}) as server, memory_below(10 * MB):
        assert [len(batch.ids) for batch in PageStream(server.url)] == [10, 10, 5]
    with (
        ScriptedServer(employees(25), always=fault) as server,
        memory_below(10 * MB),
        pytest.raises(StreamTimeout, match="an answer of more than 65,536 bytes"),
    ):
        list(PageStream(server.url, deadline=1, window=1))


@pytest.mark.parametrize(("status", "error"), [(404, RequestRefused), (500, StreamTimeout)])
def test_an_endless_error_is_that_error(status, error):
    """Of an error without an end the status counts, and no more of it is read than of a page."""
    with (
        ScriptedServer([], always=endless(status)) as server,
        memory_below(10 * MB),
        pytest.raises(error, match=f"{status} Said So"),
    ):
        list(PageStream(server.url, deadline=0.5, window=1))


def test_an_endless_redirection_leads_on():
    """A redirection is followed without reading what comes with it to an end."""
    head = b"Location: /api/v1/data?page=0\r\n"
    plan = {(0, 0): endless(302, head)}
    with ScriptedServer(employees(5), plan) as server, memory_below(10 * MB):
        assert [len(batch.ids) for batch in PageStream(server.url, window=1)] == [5]


def test_an_endless_description_is_refused():
    """What a service says of its parameters is bounded as well."""
    spaces = b" " * (12 * MB)
    with (
        ScriptedServer(employees(5), openapi=spaces) as server,
        pytest.raises(StreamError, match="an answer of more than 10,000,000 bytes"),
    ):
        assert PageStream(server.url, size=5).page_size


def test_long_rows_of_honest_servers_pass():
    """Pages of several kilobytes a row, and unnamed fields, are read."""
    rows = [row | {"note": "x" * 3000} for row in employees(20)]
    with ScriptedServer(rows) as server:
        assert [len(batch.ids) for batch in PageStream(server.url)] == [10, 10]


# -- the login --------------------------------------------------------------------------------


def guarded(server):
    """Return the server's address with a login."""
    return server.url.replace("://", f"://{LOGIN}@")


def test_the_login_goes_to_the_service():
    """The login of the address is sent with every request, the one for OpenAPI included."""
    sent = []

    class Listening(ScriptedServer):
        def process_request(self, request, client_address):
            sent.append(request.recv(4096, 2).decode())  # 2: MSG_PEEK
            super().process_request(request, client_address)

    with Listening(employees(5), openapi=b"{}") as server:
        list(PageStream(guarded(server), size=7, window=1))
    assert len(sent) == 2
    for text in sent:
        [code] = [line.split()[2] for line in text.splitlines() if line.startswith("Authorization")]
        assert b64decode(code).decode() == "me:sü@fe"


def test_the_login_is_told_nobody(tmp_path, capsys, monkeypatch):
    """No message, no event, no row of the store and no `repr` holds the password or the user."""
    told = []
    plan = {(0, 0): "500", (1, 0): "html"}
    with ScriptedServer(employees(25), {**plan, (2, 0): lambda x: x.send(b"", 403)}) as server:
        url = guarded(server)
        db = tmp_path / "promo.db"
        assert main(["run", "--api", url, "--db", str(db)]) == 1  # 403
        assert main(["run", "--api", url, "--db", str(db), "--size", "5"]) == 0  # not offered
        for fault in ("500", "hang", "reset", "404"):
            server.always = fault if fault != "404" else lambda x: x.send(b"", 404)
            with pytest.raises(StreamError) as caught:
                list(PageStream(url, deadline=0.2))
            told.append(str(caught.value))
        monkeypatch.setenv("PROMO_API_URL", url)
        told += [repr(api_from_environment()), repr(PageStream(url).source)]
    with pytest.raises(StreamError) as caught:
        PageStream(url).check()
    told += [str(caught.value), *capsys.readouterr()]
    told += [file.read_bytes().decode(errors="replace") for file in tmp_path.iterdir()]
    assert server.url in "".join(told)
    assert not [text for text in told if "fe@" in text or LOGIN[:5] in text or "sü" in text]


@pytest.mark.parametrize(
    "url", ["http://me:se/cret@host", "ftp://me:secret@host", "me:secret@host"]
)
def test_a_wrong_address_with_a_login_is_not_repeated(url):
    """What is no address is refused without its password, wherever the slip is."""
    with pytest.raises(StreamError, match="is not the address of an API") as caught:
        PageStream(url)
    assert "cret" not in str(caught.value)


# -- certificates -----------------------------------------------------------------------------


def test_a_certificate_that_does_not_hold_is_refused_at_once(tmp_path):
    """A service that cannot prove who it is is refused, in words, and not asked again."""
    require("openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run(
        [*command, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Secure(ScriptedServer):
        def finish_request(self, request, client_address):
            with suppress(OSError), context.wrap_socket(request, server_side=True):
                pass  # the client does not like what it has seen

    with Secure(employees(5)) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(RequestRefused, match="certificate verify failed"):
            list(PageStream(url, window=1))
        assert server.connections == 1
        with pytest.raises(StreamError, match="certificate verify failed"):
            assert PageStream(url, size=5).page_size
