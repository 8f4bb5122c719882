"""Tests of `promo app`: the dashboard as a web page, for this machine and whoever has the token."""

import asyncio
import signal

import psutil
import pytest
from jupyter_client import BlockingKernelClient

from clocks import wait_for
from launched import running_app
from promo.app import VisitorKernels
from promo.begun import begun
from promo.store import Store

NO_KERNEL = "/api/kernels/00000000-0000-0000-0000-000000000000"


@pytest.mark.slow
def test_it_is_for_this_machine_and_its_token_and_leaves_nobody_behind(tmp_path):
    """Refused without the token or under another name; SIGTERM ends all that it has started."""
    with running_app(tmp_path) as app:
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
        assert {*app.listening()} == {"127.0.0.1"}
        assert len(app.kernels()) == 1
        everybody = app.family()
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
    with running_app(tmp_path) as app:
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
    with running_app(tmp_path, "--no-token") as app:
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
