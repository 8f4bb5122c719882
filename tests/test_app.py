"""Tests of `promo app`: the dashboard as a web page, for this machine and whoever has the token."""

import asyncio
import http.client
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import psutil
import pytest
from jupyter_client import BlockingKernelClient

from promo.app import VisitorKernels
from promo.begun import begun
from promo.store import Store
from test_browser import wait_for

ADDRESS = re.compile(r"the dashboard is at (http://127\.0\.0\.1:\d+/(?:\?token=(\w+))?)")
NO_KERNEL = "/api/kernels/00000000-0000-0000-0000-000000000000"


class Served:
    """`promo app` as a child process, with a home and data of its own."""

    def __init__(self, folder, *options):
        self.data = folder / "data"
        own = {name: text for name, text in os.environ.items() if not name.startswith("JUPYTER")}
        with open(folder / "said", "w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "promo", "app", "--no-browser", "--port", "0", *options],
                cwd=folder,
                env=own | {"HOME": str(folder / "home"), "PROMO_DATA": str(self.data)},
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        self.said = (folder / "said").read_text
        found = wait_for(lambda: ADDRESS.search(self.said()) or self.process.poll() is not None)
        assert found is not True, self.said()
        self.url, self.token = found[1], found[2]

    def ask(self, path, method="GET", **headers):
        """Return status and body of an answer; no redirection is followed."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def kernels(self):
        """List the kernels that run, as processes."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "ipykernel_launcher" in process.cmdline():
                    found.append(process)
        return found

    def listening(self):
        """List the addresses on which it or its children listen."""
        me = psutil.Process(self.process.pid)
        found = []
        for process in (me, *me.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                found += process.net_connections("inet")
        return {each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN}

    def close(self):
        """End it as a service manager does."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        finally:
            self.process.kill()


@contextmanager
def serving(folder, *options):
    app = Served(folder, *options)
    try:
        yield app
    finally:
        app.close()


@pytest.mark.slow
def test_it_is_for_this_machine_and_its_token_and_leaves_nobody_behind(tmp_path):
    """Refused without the token or under another name; SIGTERM ends all that it has started."""
    with serving(tmp_path) as app:
        assert len(app.token) >= 32
        for path in ("/", "/voila/files/04-dashboard.ipynb", "/?token=" + "0" * 48):
            status, body = app.ask(path)
            assert status in (302, 403)
            assert "promo" not in body
        assert app.ask(NO_KERNEL)[0] == 403
        assert app.ask("/", Host="elsewhere.example", Authorization=f"token {app.token}")[0] == 403
        assert app.kernels() == []
        status, page = app.ask("/", Authorization=f"token {app.token}")
        assert status == 200
        assert page.count("application/vnd.jupyter.widget-view+json") == 1
        assert app.listening() == {"127.0.0.1"}
        assert len(app.kernels()) == 1
        everybody = psutil.Process(app.process.pid).children(recursive=True)
        app.process.send_signal(signal.SIGTERM)
        app.process.wait(15)
        assert psutil.wait_procs(everybody, timeout=10)[1] == []


PLAY = """
from promo.embedded import EmbeddedAPI
own = EmbeddedAPI(rows=10, port=0)
choose.trainer.play()
"""


@pytest.mark.slow
def test_killed_while_a_kernel_plays_it_leaves_nobody_behind(tmp_path):
    """With kill -9 go its API, the kernel and what that has started; the store can be gone on with.

    A kernel is asked to play as the page asks, but for the browser.
    """
    with serving(tmp_path) as app:
        assert app.ask("/", Authorization=f"token {app.token}")[0] == 200
        [kernel] = app.kernels()
        command = kernel.cmdline()
        client = BlockingKernelClient(connection_file=command[command.index("-f") + 1])
        client.load_connection_file()
        client.start_channels()
        assert client.execute_interactive(PLAY, timeout=60)["content"]["status"] == "ok"
        client.stop_channels()
        path = app.data / "04-dashboard.db"
        wait_for(lambda: begun(path).page)
        everybody = psutil.Process(app.process.pid).children(recursive=True)
        assert len(everybody) >= 3  # the API, the kernel, an API of its own
        app.process.kill()
        assert psutil.wait_procs(everybody, timeout=20)[1] == []
    stood = begun(path)
    _, settings = stood.models()
    with Store(path, source=stood.source, page_size=10, settings=settings) as store:
        assert store.page >= 1  # and nobody else holds it


@pytest.mark.slow
def test_a_flag_opens_it(tmp_path):
    """Without a token, said so on purpose, whoever is on this machine may come in."""
    with serving(tmp_path, "--no-token") as app:
        assert app.token is None
        assert app.ask(NO_KERNEL)[0] == 404


BUSY = """
import threading, time
from IPython.display import display
from promo.embedded import EmbeddedAPI
world = EmbeddedAPI(rows=10, port=0)
def play():
    while True:
        display(1)
        time.sleep(0.05)
threading.Thread(target=play, daemon=True).start()
"""


@pytest.mark.slow
def test_a_kernel_ends_with_its_visitor_though_it_plays():
    """Connected it stays, whatever its idle time; left alone it goes soon, and its children too."""

    async def visited():
        kernels = VisitorKernels(cull_idle_timeout=1, cull_interval=1)
        name = await kernels.start_kernel()
        kernels.notify_connect(name)
        client = kernels.get_kernel(name).client()
        client.start_channels()
        await client.wait_for_ready(timeout=30)
        client.execute(BUSY)
        kernel = psutil.Process(kernels.get_kernel(name).provisioner.pid)
        while not kernel.children(recursive=True):
            await asyncio.sleep(0.05)
        family = [kernel, *kernel.children(recursive=True)]
        await asyncio.sleep(3)  # three looks at it
        assert name in kernels
        kernels.notify_disconnect(name)
        client.stop_channels()
        async with asyncio.timeout(20):
            while name in kernels or any(process.is_running() for process in family):
                await asyncio.sleep(0.05)
        kernels._culler_callback.stop()

    asyncio.run(visited())
