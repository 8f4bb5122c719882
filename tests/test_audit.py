"""Tests of `make audit`: pip-audit itself, asking a service that speaks OSV's language."""

import doctest
import json
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools import audit, lock

pytestmark = pytest.mark.slow


@contextmanager
def service(flawed=(), status=200):
    """Serve OSV's `query`: a flaw for each package in `flawed`, none for others; give the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each answer takes 40 ms

        def do_POST(self):
            name = json.loads(self.rfile.read(int(self.headers["content-length"])))["package"][
                "name"
            ]
            body = json.dumps({"vulns": [flaw(name)]} if name in flawed else {}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()
            thread.join()


def flaw(name):
    """Return what OSV says of a flaw."""
    events = [{"introduced": "0"}, {"fixed": "999.1"}]
    affected = {
        "package": {"name": name, "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return {"id": f"PYSEC-0-{name}", "summary": "It leaks.", "affected": [affected]}


def audited(url):
    """Run the tool against a service; return exit code, output and complaints."""
    command = [sys.executable, audit.__file__, "-s", "osv", "--osv-url", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def test_the_verdicts_of_the_docstring():
    """Packages that nobody knew of are not passed off as sound."""
    assert doctest.testmod(audit).failed == 0


def test_no_flaw_is_one_line():
    """All pinned packages are asked about; where none has a flaw, one line says how many."""
    pins = lock.pins(lock.LOCK.read_text())
    packages = sum(pin.marker is None or pin.marker.evaluate() for pin in pins)
    with service() as url:
        told = f"promo: no known vulnerability in {packages} packages\n"
        assert audited(url) == (0, told, "")


def test_flaws_are_listed_and_fail():
    """Each flaw has a line: package, version, name of the flaw, what mends it; exit code 1."""
    with service(flawed={"six", "jinja2"}) as url:
        code, told, complaints = audited(url)
    assert (code, complaints) == (1, "")
    first, second, last = told.splitlines()
    assert first.startswith("jinja2 ")
    assert second.startswith("six ")
    assert second.endswith(": PYSEC-0-six, mended in 999.1")
    assert last.startswith("promo: 2 known vulnerabilities in ")


def test_offline_is_one_line_and_no_failure():
    """Where the service cannot be reached, it says that it did not look, and exits with 0."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    told = "promo: not audited: the vulnerability service cannot be reached\n"
    assert audited(f"http://127.0.0.1:{port}/v1/query") == (0, "", told)


def test_an_answer_that_is_none_fails_in_one_line():
    """A service that answers with an error is told of, and is not taken for a clean lock."""
    with service(status=500) as url:
        code, told, complaints = audited(url)
    assert (code != 0, told) == (True, "")
    assert complaints.startswith("promo: not audited: ")
    assert complaints.count("\n") == 1
