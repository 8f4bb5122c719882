"""Tests of a laptop that sleeps: processes stopped for longer than all their time limits."""

import os
import random
import threading
from contextlib import contextmanager

import psutil
import pytest

import crash
from clocks import wait_for
from crash import open_trainer
from promo.embedded import EmbeddedAPI
from promo.store import Store
from servers import FAULTS, ScriptedServer, employees
from strace import DEADLINE_S, child, context, exit_code
from tables import assert_sound, dump
from test_kernel import kernel_on

pytestmark = pytest.mark.slow

SOAK = float(os.environ.get("PROMO_SOAK") or 0)
ROUNDS = 5 if SOAK else 1
PAGES, AT = 300, 150
PATIENCE = {"timeout": 0.3, "deadline": 0.8}  # in seconds, awake
ASLEEP_S = 1.0


class Patient(ScriptedServer):
    """A server that answers one page in such a way until it is well."""

    def __init__(self, fault):
        super().__init__(employees(PAGES * 10 - 4, seed=9), always=self.answer)
        self.fault, self.struck, self.well = fault, threading.Event(), threading.Event()

    def answer(self, exchange):
        """Answer as every server does, or not."""
        if exchange.page != AT or self.well.is_set():
            return exchange.send(exchange.body)
        self.struck.set()
        if self.fault != "late":
            return FAULTS[self.fault](exchange)
        while not exchange.client_leaves_within(0.01):
            if self.well.is_set():
                return exchange.send(exchange.body)
        return False


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Return the tables of a run that nothing disturbed, as those of any address."""
    path = tmp_path_factory.mktemp("clean") / "promo.db"
    with Patient("ok") as server, open_trainer(path, server.url, server.url) as trainer:
        trainer.run()
        return tables(trainer.store)


def tables(store):
    """Return all tables but the one that names the address."""
    assert_sound(store)
    assert store.events("error") == []
    found = dump(store)
    del found["stream"]
    return found


def sleep(*processes):
    """Stop processes for longer than any of them would wait for anything, and wake them up."""
    for process in processes:
        process.suspend()
    wait_for(lambda: all(each.status() == psutil.STATUS_STOPPED for each in processes))
    threading.Event().wait(ASLEEP_S)


@contextmanager
def started(url, path):
    """Run `promo run` with little patience; give the process, the same for psutil, its stderr."""
    ours, its = context.Pipe()
    said = path.with_suffix(".txt")
    arguments = ["run", "--api", url, "--db", str(path)]
    with ours, its, child(crash.promo, arguments, said, its, **PATIENCE) as process:
        ours.send(True)
        yield process, psutil.Process(process.pid), said


def newest(path):
    """Return the newest page of a store that may not be there yet."""
    if not path.exists() or not path.stat().st_size:
        return -1
    with Store.read_only(path) as reader:
        return -1 if reader.page is None else reader.page


FAULTY = ["late", "hang", "hang in body", "drip", "500", "reset", "truncated"]


@pytest.mark.parametrize("fault", FAULTY)
def test_a_run_asleep_while_it_waits(fault, clean, tmp_path):
    """Whatever `promo run` waited for when it fell asleep, awake it goes on; nothing is lost."""
    for round_ in range(ROUNDS):
        path = tmp_path / f"{round_}.db"
        with Patient(fault) as server, started(server.url, path) as (process, system, said):
            assert server.struck.wait(DEADLINE_S)
            threading.Event().wait(random.uniform(0.0, 0.2))  # the instant is what is random
            sleep(system)
            server.well.set()
            system.resume()
            assert (exit_code(process, DEADLINE_S), said.read_text()) == (0, "")
        with Store.read_only(path) as reader:
            assert tables(reader) == clean


def test_a_run_asleep_again_and_again(clean, tmp_path):
    """Stopped at instants of a run that goes well, it ends as ever, with every page once."""
    path = tmp_path / "promo.db"
    with Patient("ok") as server, started(server.url, path) as (process, system, said):
        for page in sorted(random.sample(range(PAGES - 50), 3)):
            wait_for(lambda: newest(path) >= page)  # noqa: B023
            sleep(system)
            system.resume()
        assert (exit_code(process, DEADLINE_S), said.read_text()) == (0, "")
    with Store.read_only(path) as reader:
        assert tables(reader) == clean


CELL = """
from promo import EmbeddedAPI, PageStream, Store, Trainer
from promo.models.default import default_models
api = EmbeddedAPI(rows=3000, data={data!r}, port=0)
stream = PageStream(api.url, source="x", timeout=0.3, deadline=0.8)
models, settings = default_models()
store = Store({path!r}, source="x", page_size=10, settings=settings)
trainer = Trainer(stream, store, models, speed=150)
trainer.play()
"""


def test_a_kernel_asleep_with_its_api(tmp_path):
    """A notebook's kernel and the API in it sleep and wake; all pages are learned once each."""
    with kernel_on(tmp_path) as kernel:
        path, data = tmp_path / "promo.db", tmp_path / "data.db"
        kernel.run(CELL.format(path=str(path), data=str(data)))
        main = psutil.Process(kernel.manager.provisioner.pid)
        [api] = main.children(recursive=True)
        for page in (20, 150):
            wait_for(lambda: newest(path) >= page)  # noqa: B023
            sleep(main, api)
            for each in random.sample([main, api], 2):
                each.resume()
        kernel.run("trainer.join()")
        assert kernel.run("", "trainer.status") == "'finished'"
        kernel.run("trainer.close(); api.close(); import threading")
        threads = kernel.run("", "[t.name for t in threading.enumerate()]")
        assert "promo" not in threads
        wait_for(lambda: main.children(recursive=True) == [])
    with (
        Store.read_only(path) as reader,
        EmbeddedAPI(rows=3000, data=data, port=0) as service,
        open_trainer(tmp_path / "clean.db", service.url, "x") as trainer,
    ):
        trainer.run()
        assert tables(reader) == tables(trainer.store)
