"""Tests that whatever way a run, a trainer or a kernel ends, nothing of it is left running."""

import os
import random
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from clocks import wait_for
from crash import open_trainer
from promo.embedded import EmbeddedAPI
from tables import assert_sound
from test_asleep import newest
from test_kernel import kernel_on

pytestmark = pytest.mark.slow

CELL = """
from promo import EmbeddedAPI, PageStream, Store, Trainer, ui
from promo.models.default import default_models
api = EmbeddedAPI(rows=50_000, data={data!r}, port=0)
stream = PageStream(api.url, source="x")
models, settings = default_models()
store = Store({path!r}, source="x", page_size=10, settings=settings)
trainer = Trainer(stream, store, models, speed=200)
publisher = ui.Publisher(trainer, [ui.Controls(trainer), ui.LossFigure()])
trainer.play()
"""


def gone(processes):
    """Whether all of them have ended; nobody may be left to wait for an orphan."""
    return all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in processes)


def run(path, *options):
    """Start `promo run` with an API of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "promo", "run", "--db", path, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGHUP", "SIGINT"])
def test_a_run_takes_its_api_along(tmp_path, how):
    """Killed in the midst of learning, `promo run` leaves no process, and a store to go on with."""
    path = tmp_path / "promo.db"
    with run(path) as process:
        wait_for(lambda: newest(path) >= 5)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) == 1
        process.send_signal(getattr(signal, how))
        said = process.communicate(timeout=60)[1]
        wait_for(lambda: gone(family))
    assert process.returncode == (130 if how == "SIGINT" else -getattr(signal, how))
    assert "Traceback" not in said
    page = newest(path)
    with run(path, "--pages", "2") as process:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert newest(path) == page + 2


@pytest.mark.parametrize("how", ["kill", "restart now", "restart"])
def test_a_kernel_takes_its_api_along(tmp_path, how):
    """Killed or restarted while it learns, a kernel leaves no process; the next one goes on."""
    path, data = tmp_path / "promo.db", tmp_path / "data.db"
    code = CELL.format(path=str(path), data=str(data))
    with kernel_on(tmp_path) as kernel:
        kernel.run(code)
        main = psutil.Process(kernel.manager.provisioner.pid)
        family = [main, *main.children(recursive=True)]
        assert len(family) == 2
        wait_for(lambda: newest(path) >= 5)
        if how == "kill":
            main.kill()
            wait_for(lambda: gone(family))
        kernel.manager.restart_kernel(now=how != "restart")
        kernel.client.wait_for_ready(timeout=60)
        wait_for(lambda: gone(family))
        page = newest(path)
        kernel.run(code)
        wait_for(lambda: newest(path) > page)
        kernel.run("publisher.close(); trainer.close(); api.close(); import threading")
        assert "promo" not in kernel.run("", "[t.name for t in threading.enumerate()]")
        [now] = [psutil.Process(kernel.manager.provisioner.pid)]
        assert now.children(recursive=True) == []
    with (
        EmbeddedAPI(rows=50_000, data=data, port=0) as api,
        open_trainer(path, api.url, "x") as trainer,
    ):
        assert_sound(trainer.store)


def test_closing_gives_everything_back(tmp_path):
    """Opened and closed at any instant: no thread, no process, no open file more than before."""
    me, dice = psutil.Process(), random.Random(7)
    threads = {*threading.enumerate()}
    before = None
    for _ in range(5):
        with (
            EmbeddedAPI(rows=2000, data=tmp_path / "data.db", port=0) as api,
            open_trainer(tmp_path / "promo.db", api.url, "x") as trainer,
        ):
            trainer.play()
            trainer.wait(dice.uniform(0.0, 0.1))
        wait_for(lambda: {*threading.enumerate()} == threads)
        now = (me.num_fds(), me.children(recursive=True))
        assert now == (before or now)
        before = now
    assert sorted(os.listdir(tmp_path)) == [".data.db.lock", "data.db", "promo.db", "promo.db.lock"]
