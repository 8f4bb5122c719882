"""Tests of `promo.embedded`."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest

from clocks import at_most, wait_for
from promo.dataset import Recipe
from promo.embedded import PREFERRED_PORT, EmbeddedAPI, ExternalAPI, api_from_environment
from promo.errors import ServiceError
from promo.store import Reader

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# A parent that starts the API, says where, and waits; `{end}` is how it comes to its end.
PARENT = """
import os, sys
from promo.embedded import EmbeddedAPI
api = EmbeddedAPI(rows=50, data=sys.argv[1], port=0)
print(api.url, api._finalizer.peek()[2][0].pid, flush=True)
{end}
"""


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data.db"


def ask(url, path="/api/v1/health"):
    with opener.open(url + path, timeout=10) as response:
        return json.loads(response.read())


def port_of(api):
    return int(api.url.rpartition(":")[2])


def children():
    return set(psutil.Process().children(recursive=True))


def is_gone(pid):
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # nobody waits for orphans
    return True


def start_parent(data, end):
    """Return a process that has started the API, the API's address and process id."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(end=end), str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    url, pid = parent.stdout.readline().split()
    return parent, url, int(pid)


def test_it_serves_its_world(data):
    """The API answers with the world asked for, under a source that names it without a port."""
    with EmbeddedAPI("threshold", rows=25, seed=3, data=data, port=0) as api:
        assert ask(api.url) == {
            "status": "ok",
            "source": "world:threshold?rows=25&seed=3",
            "employees": 25,
        }
        assert api.source == "world:threshold?rows=25&seed=3"
        assert len(ask(api.url, "/api/v1/data?page=2")) == 5


def test_it_listens_on_loopback_only(data):
    """The child's one listening socket is bound to 127.0.0.1."""
    before = children()
    with EmbeddedAPI(rows=5, data=data, port=0) as api:
        (child,) = children() - before
        listening = [c.laddr for c in child.net_connections("tcp") if c.status == "LISTEN"]
        assert listening == [("127.0.0.1", port_of(api))]


def test_close_ends_it_and_may_be_repeated(data):
    """After close, also the second one, no process of it is left and nobody listens."""
    before = children()
    api = EmbeddedAPI(rows=5, data=data, port=0)
    assert len(children() - before) == 1
    for _ in range(2):
        api.close()
        assert children() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(api)))


def test_a_forgotten_one_ends(data):
    """When the object is collected, its process ends."""
    before = children()
    EmbeddedAPI(rows=5, data=data, port=0)
    assert children() == before


def test_closing_does_not_wait_for_clients(data):
    """A client that keeps its connection open does not delay the end."""
    api = EmbeddedAPI(rows=5, data=data, port=0)
    with socket.create_connection(("127.0.0.1", port_of(api))) as client:
        client.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        with at_most(1.5):
            api.close()


def test_the_preferred_port_when_free(data):
    """A free port that is preferred is the one taken."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with EmbeddedAPI(rows=5, data=data, port=port) as api:
        assert port_of(api) == port


def test_another_port_when_taken(data):
    """With the preferred port taken the API listens on another, under the same source."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with EmbeddedAPI(rows=5, data=data, port=port) as api:
            assert port_of(api) != port
            assert api.source == ask(api.url)["source"] == "world:collider?rows=5&seed=2021"


def test_port_5000_is_preferred_but_not_needed(data):
    """By default port 5000 is taken when it is free, and done without when it is not."""
    assert PREFERRED_PORT == 5000
    with suppress(OSError), socket.create_server(("127.0.0.1", 5000)):
        with EmbeddedAPI(rows=5, data=data) as api:
            assert port_of(api) != 5000
        return
    with EmbeddedAPI(rows=5, data=data) as api:  # somebody else held it a moment ago
        assert ask(api.url)["employees"] == 5


def test_two_at_once_on_one_file(data):
    """Two that start together on data that are not there yet both serve them, on two ports."""
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: EmbeddedAPI(rows=20_000, data=data, port=0), range(2))
    with one, other:
        assert one.url != other.url
        assert ask(one.url, "/api/v1/data?page=1999") == ask(other.url, "/api/v1/data?page=1999")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_with_a_killed_parent(data, number):
    """However the parent is killed, the child is gone at once."""
    parent, url, pid = start_parent(data, "sys.stdin.read()")
    with parent:
        assert ask(url)["employees"] == 50
        assert not is_gone(pid)
        parent.send_signal(number)
        wait_for(lambda: is_gone(pid))


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise RuntimeError('a bug')", "os._exit(0)"])
def test_it_ends_with_a_leaving_parent(data, end):
    """Leaving in good order, by an exception or in a hurry, the parent takes the child along."""
    parent, _, pid = start_parent(data, end)
    _, complaints = parent.communicate(timeout=10)
    wait_for(lambda: is_gone(pid))
    assert "embedded" not in complaints


def test_who_still_learns_is_stopped_before_it(data, tmp_path):
    """A script that ends while its stream plays leaves no error in the store that was none."""
    code = f"""
from pathlib import Path
from promo.embedded import EmbeddedAPI
from promo.opening import open_stream
api = EmbeddedAPI(rows=20_000, data={str(data)!r}, port=0)
trainer = open_stream(api.url, api.source, Path({str(tmp_path / "left.db")!r}), ["base-rate"])
trainer.run(10)
trainer.play()
while trainer.snapshot.page < 50:
    trainer.wait(1)
"""
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)
    with Reader(tmp_path / "left.db") as reader:
        kinds = [event.kind for event in reader.events()]
    assert "started" in kinds
    assert kinds[-1] == "stopped"
    assert not {"retry", "error"} & {*kinds}


def test_an_interrupt_of_the_terminal_is_the_parents(data):
    """Ctrl-C reaches the parent's process group; the API goes on until the parent is done."""
    end = """
try:
    print("ready", flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    import urllib.request
    print(urllib.request.urlopen(api.url + "/api/v1/health").status, flush=True)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(end=end), str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"no_proxy": "*"},
    )
    with parent:
        parent.stdout.readline()
        assert parent.stdout.readline() == "ready\n"
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.stdout.readline() == "200\n"


def test_the_reason_is_the_childs_last_line(data):
    """What keeps the child from starting is told in the error, and nothing stays behind."""
    EmbeddedAPI(rows=5, data=data, port=0).close()
    before = children()
    with pytest.raises(ServiceError, match=r"did not start: .*rows=5&seed=2021, not world:coll"):
        EmbeddedAPI(rows=6, data=data, port=0)
    assert children() == before


def test_a_deadline_is_kept(data):
    """A child that is not ready in time is ended, and the error tells the time."""
    before = children()
    with pytest.raises(ServiceError, match=r"did not start: no answer within 0\.01 s"):
        EmbeddedAPI(rows=5, data=data, port=0, deadline_s=0.01)
    assert children() == before


def test_senseless_recipes_start_nothing(data):
    """A world that does not exist is refused before any process is started."""
    with pytest.raises(ServiceError, match="no world called 'utopia'"):
        EmbeddedAPI("utopia", data=data)
    assert not data.exists()


def test_data_sets_keep_apart(tmp_path, monkeypatch):
    """Without a path, every recipe has a file of its own."""
    monkeypatch.setenv("PROMO_DATA", str(tmp_path))
    for world in ("collider", "mentoring"):
        EmbeddedAPI(world, rows=5, port=0).close()
    files = {entry.name for entry in tmp_path.glob("*.db")}
    assert files == {"collider-5-2021.db", "mentoring-5-2021.db"}


@pytest.mark.parametrize(
    ("environment", "source"),
    [
        ({"PROMO_API_URL": "http://api.example:5000/"}, "http://api.example:5000"),
        ({"PROMO_API_SOURCE": "http://api.example:5000 theirs"}, "theirs"),
        ({"PROMO_API_SOURCE": "http://127.0.0.1:5000 ours"}, "http://api.example:5000"),
    ],
)
def test_the_environment_names_a_service(monkeypatch, environment, source):
    """With `PROMO_API_URL` set nothing is started; the source is given for that URL, or the URL."""
    monkeypatch.delenv("PROMO_API_SOURCE", raising=False)
    monkeypatch.setenv("PROMO_API_URL", "http://api.example:5000")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = children()
    with api_from_environment() as api:
        assert api == ExternalAPI("http://api.example:5000", source)
        assert children() == before


def test_without_the_environment_one_is_started(monkeypatch, data):
    """With `PROMO_API_URL` unset or empty the API is embedded."""
    monkeypatch.setenv("PROMO_API_URL", "")
    with api_from_environment(rows=5, data=data) as api:
        assert isinstance(api, EmbeddedAPI)
        assert api.source == Recipe(rows=5).source
        assert ask(api.url)["employees"] == 5


def test_who_serves_what_is_there_does_without_numpy(data):
    """Making the data takes it, and its import takes longer than all that is asked of it here."""

    def libraries():
        with EmbeddedAPI(rows=50, data=data, port=0) as api:
            assert len(ask(api.url, "/api/v1/data?page=4")) == 10
            child = psutil.Process(api._finalizer.peek()[2][0].pid)
            return {part for each in child.memory_maps() for part in each.path.split("/")}

    assert "numpy" in libraries()
    assert "numpy" not in libraries()


def test_the_parent_needs_no_web_framework():
    """Importing `promo.embedded` imports neither fastapi nor uvicorn nor requests."""
    code = "import sys, promo.embedded; print({'fastapi', 'uvicorn', 'requests'} & {*sys.modules})"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"
