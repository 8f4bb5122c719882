"""Tests of `promo.scale` on clusters of worker processes, against our API on real sockets."""

import asyncio
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import cloudpickle
import dask
import numpy as np
import psutil
import pytest
import tenacity
from distributed import LocalCluster, Security
from pyarrow import dataset

from clocks import at_most, wait_for
from comms import arrays_sent, shown, text_of, texts_of
from programs import require
from promo import ui
from promo.api import DATA_PATH, create_app
from promo.dataset import Recipe, ensure_data
from promo.errors import ClusterError, PromoError, RequestRefused, StoreError, StoreMismatch
from promo.faults import Plan, parse
from promo.faulty import Faulty
from promo.models.default import default_models
from promo.models.logistic import RenewableLogistic
from promo.models.standard import Standard
from promo.scale import WAITING, Cluster, ScaledTrainer
from promo.scale import cluster as promo_cluster
from promo.scale.chunk import Frame
from promo.scale.rows import give_up_folder
from promo.scale.work import Order, Task, Unwanted, do
from promo.store import Reader, Store
from promo.stream import PageStream, wire
from promo.trainer import Trainer
from servers import ScriptedServer, employees, served
from tables import dump, exact, reconcile

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not know the tests
pytestmark = pytest.mark.slow

SOAK = float(os.environ.get("PROMO_SOAK") or 0)
PLANS, KILLS = int(50 * SOAK) or 10, int(30 * SOAK) or 1
ROWS, CHUNK = 2003, 8  # 201 pages, the last one short; the first one, and 25 chunks
SOURCE = f"world:collider?rows={ROWS}&seed=3"
STOP_S = 1.0
OTHERS = {
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
}  # a cluster that is not ours to start


class Gate:
    """An application before which requests wait and are counted.

    Attributes
    ----------
    latency_s
        How long each waits, on average: by half of it more or less, so that none is like another.
    most
        How many there were at the same time.
    times
        When each came, by page.
    """

    def __init__(self, app):
        self._app, self.latency_s = app, 0.0
        self.clear()

    def clear(self):
        """Count anew."""
        self.inside, self.most, self.times = set(), 0, []

    def is_left_alone(self, seconds=0.5):
        """Whether nobody has asked for a page for so long, and nobody waits for one."""
        since = self.times[-1] if self.times else float("-inf")
        return not self.inside and time.monotonic() - since > seconds

    async def __call__(self, scope, receive, send):
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] != DATA_PATH:
            await self._app(scope, receive, send)
            return
        self.times.append(time.monotonic())
        request = object()
        self.inside.add(request)
        self.most = max(self.most, len(self.inside))

        async def sent(message):
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self.inside.discard(request)  # before who asked can ask for more
            await send(message)

        try:
            await asyncio.sleep(self.latency_s * random.uniform(0.5, 1.5))
            await self._app(scope, receive, sent)
        finally:
            self.inside.discard(request)


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """Serve our API from a thread, behind a gate, with faults to be set; `url` is where."""
    data = tmp_path_factory.mktemp("scale") / "data.db"
    ensure_data(data, Recipe(rows=ROWS, seed=3))
    faulty = Faulty(create_app(data), DATA_PATH, Plan())
    gate = Gate(faulty)
    gate.faulty = faulty
    with served(gate) as gate.url:
        yield gate


@pytest.fixture(autouse=True)
def _begin_anew(api):
    api.latency_s, api.faulty.plan = 0.0, Plan()
    api.faulty.asked.clear()
    api.clear()


@pytest.fixture(scope="module")
def cluster():
    """Start two workers."""
    with Cluster(workers=2) as cluster:
        yield cluster


def opened(
    kind,
    path,
    url,
    *cluster,
    parquet=None,
    source=SOURCE,
    size=10,
    timeout=10.0,
    deadline=60.0,
    **own,
):
    """Return a trainer of either kind on a store at `path`."""
    limits = {"timeout": timeout, "deadline": deadline}
    stream = PageStream(url, source=source, size=None if size == 10 else size, **limits)
    models, settings = default_models(source=source, merging=True)
    settings |= {"parquet": True} if parquet else {}
    store = Store(path, source=source, page_size=size, settings=settings)
    if kind is ScaledTrainer:
        own = {"chunk": CHUNK, "parquet": parquet, **own}
    return kind(stream, store, models, *cluster, **own)


def run(path, url, cluster, pages=None, **options):
    """Learn what there is, or so many pages, on a cluster; return the tables and the snapshot."""
    with opened(ScaledTrainer, path, url, cluster, **options) as trainer:
        snapshot = trainer.run(pages)
        reconcile(trainer.store)
        return dump(trainer.store), snapshot


@pytest.fixture(scope="module")
def clean(api, cluster, tmp_path_factory):
    """Return the tables of a run on the cluster that nothing disturbed."""
    return run(tmp_path_factory.mktemp("clean") / "promo.db", api.url, cluster)[0]


def workers_of(cluster):
    """Return the processes that work."""
    pids = cluster.client.run(os.getpid, on_error="ignore")
    return {address: psutil.Process(pid) for address, pid in pids.items()}


# -- the answer is the same ----------------------------------------------------------------------


def test_any_number_of_workers_gives_the_same_bits(api, clean, tmp_path):
    """However many workers: every table is the same; what moments say, one machine's too."""
    with opened(Trainer, tmp_path / "single.db", api.url) as trainer:
        assert trainer.run().rows == ROWS
        single = dump(trainer.store)
    assert exact(clean) == exact(single, at=clean)
    for workers in (1, 7):
        with Cluster(workers=workers) as other:
            api.latency_s = 0.02  # more or less, so that chunks come in any order
            assert run(tmp_path / f"{workers}.db", api.url, other)[0] == clean
            assert len(other.workers) == workers


def test_pages_of_many_rows_give_the_same_bits(api, cluster, tmp_path):
    """They are summed up by numpy, in whichever process."""
    big = {"size": 200, "chunk": 2}
    api.latency_s = 0.02
    tables, snapshot = run(tmp_path / "two.db", api.url, cluster, **big)
    with Cluster(workers=1) as other:
        assert run(tmp_path / "one.db", api.url, other, **big)[0] == tables
    with opened(Trainer, tmp_path / "single.db", api.url, size=200) as trainer:
        assert trainer.run().rows == snapshot.rows == ROWS
        assert exact(dump(trainer.store), at=tables) == exact(tables)


def test_begun_by_either_gone_on_with_by_the_other(api, cluster, tmp_path, clean):
    """A store goes from one machine to the cluster and back, at any page."""
    path = tmp_path / "promo.db"
    for turn, pages in enumerate([13, 50, 21, None]):
        kind, own = ((Trainer, ()), (ScaledTrainer, (cluster,)))[turn % 2]
        with opened(kind, path, api.url, *own) as trainer:
            snapshot = trainer.run(pages)
            reconcile(trainer.store)
            tables = dump(trainer.store)
    assert snapshot.status == "finished"
    assert exact(tables, at=clean) == exact(clean)


def test_rows_may_be_written_as_parquet(api, cluster, tmp_path, clean):
    """Files hold all rows, the store those of page 0; one machine is told that it cannot go on."""
    path, folder = tmp_path / "promo.db", tmp_path / "rows"
    run(path, api.url, cluster, 50, parquet=folder)
    tables, snapshot = run(path, api.url, cluster, parquet=folder)
    assert snapshot.rows == ROWS
    assert tables["page"] == clean["page"]
    assert exact(tables, at=clean)["of"] == exact(clean)["of"]
    with Reader(path) as reader:
        assert len([*reader.data()]) == 10
    found = dataset.dataset(folder).to_table().sort_by("id").to_pylist()
    names = ("id", "network_ability", "competence", "promoted")
    rows = [tuple(row[name] for name in names) for row in found]
    assert rows == sorted(tuple(row) for row in clean["data"])
    assert all(row["page"] == row["id"] // 10 for row in found)
    assert not [*folder.glob(".*")]
    assert {path.stat().st_mode & 0o77 for path in (folder, *folder.iterdir())} == {0}
    with pytest.raises(StoreMismatch, match="settings"):
        opened(Trainer, path, api.url)
    with pytest.raises(StoreMismatch, match=r"has not the rows of .*an empty folder"):
        opened(ScaledTrainer, tmp_path / "other.db", api.url, cluster, parquet=folder)
    with pytest.raises(StoreMismatch, match=r"has not the rows of .*that it began with"):
        opened(ScaledTrainer, path, api.url, cluster, parquet=tmp_path / "elsewhere")
    with opened(ScaledTrainer, path, api.url, cluster, parquet=folder) as trainer:
        trainer.start_over()
        wait_for(lambda: trainer.snapshot.page is None)
        wait_for(lambda: not [*folder.glob("pages-*")])
        trainer.run(40)
    assert dataset.dataset(folder).to_table().num_rows == 400
    stream = PageStream(api.url, source=SOURCE)
    models, settings = default_models(source=SOURCE, merging=True)
    settings |= {"parquet": True}
    for store, problem in ((path, "rows in Parquet files"), (tmp_path / "new.db", "follow=False")):
        stream.follow = store != path
        with pytest.raises(PromoError, match=problem):
            ScaledTrainer(
                stream,
                Store(store, source=SOURCE, page_size=10, settings=settings),
                models,
                cluster,
            )


# -- workers and drivers that die ----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(KILLS))
def test_workers_may_die_at_any_time(api, cluster, tmp_path, clean, seed, record_property):
    """Workers killed at random instants cost time and nothing else; the deaths are counted."""
    dice, before = random.Random(seed), sum(facts.deaths for facts in cluster.workers)
    api.latency_s = 0.02
    with opened(ScaledTrainer, tmp_path / "promo.db", api.url, cluster, in_flight=8) as trainer:
        trainer.play()
        for at in (20, 60, 110):
            wait_for(lambda at=at: (trainer.snapshot.page or 0) > at)
            victims = [*workers_of(cluster).values()]
            dice.choice(victims).send_signal(signal.SIGKILL)
        wait_for(lambda: trainer.status == "finished")
        reconcile(trainer.store)
        assert dump(trainer.store) == clean
    assert sum(facts.deaths for facts in cluster.workers) >= before + 2
    wait_for(lambda: cluster.threads == 2)
    record_property("tried", 3)


def test_a_hung_worker_is_not_waited_for(api, cluster, tmp_path, clean):
    """A worker that hangs loses its chunks to another once patience is over."""
    api.latency_s = 0.02
    options = {"in_flight": 8, "patience_s": 1.0}
    with opened(ScaledTrainer, tmp_path / "promo.db", api.url, cluster, **options) as trainer:
        trainer.play()
        wait_for(lambda: (trainer.snapshot.page or 0) > 20)
        hung, _ = workers_of(cluster).values()
        hung.suspend()
        try:
            wait_for(lambda: trainer.status == "finished")
            reconcile(trainer.store)
            assert dump(trainer.store) == clean
        finally:
            if hung.is_running():
                hung.resume()


def hang_when_asked_for_a_result(dask_worker):
    """Have a worker do its work, and stand still once somebody wants what came of it."""

    def hang(*_, **__):
        os.kill(os.getpid(), signal.SIGSTOP)

    dask_worker.handlers["get_data"] = hang


def test_a_worker_that_hangs_on_a_result_is_not_waited_for(api, cluster, tmp_path, clean):
    """What is done and cannot be had is done again by another."""
    hung = min(workers_of(cluster))
    process = workers_of(cluster)[hung]
    cluster.client.run(hang_when_asked_for_a_result, workers=[hung])
    options = {"in_flight": 8, "patience_s": 1.0}
    with opened(ScaledTrainer, tmp_path / "promo.db", api.url, cluster, **options) as trainer:
        trainer.play()
        try:
            wait_for(lambda: process.status() == psutil.STATUS_STOPPED)
            wait_for(lambda: trainer.status == "finished")
            assert process.status() == psutil.STATUS_STOPPED
            reconcile(trainer.store)
            assert dump(trainer.store) == clean
        finally:
            process.kill()  # another one takes its place
    wait_for(lambda: hung not in cluster.addresses and cluster.threads == 2)


@contextmanager
def promo(*arguments, env=None):
    """Start a command, with `env` besides; it and its workers are gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "promo", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **(env or {})},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def pages_in(path):
    """Return how many pages a store holds, 0 while it is being made."""
    try:
        with Reader(path) as reader:
            return reader.query("SELECT count(*) FROM page")[0][0]
    except StoreError:
        return 0


def test_the_driver_may_be_killed(api, tmp_path, cluster):
    """A killed driver takes its workers with it; run again, the tables are those of a clean run."""
    path = tmp_path / "promo.db"
    options = {"chunk": 32, "source": api.url}  # of five seconds
    expected, _ = run(tmp_path / "clean.db", api.url, cluster, **options)
    pace = ("--pages-per-s", 8, "--workers", 2)
    with promo("scale", "--api", api.url, "--db", path, *pace) as process:
        wait_for(lambda: pages_in(path) > 1)
        family = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: not any(p.is_running() and p.status() != "zombie" for p in family))
    assert pages_in(path) in range(33, 202, 32)
    with Reader(path) as reader:
        reconcile(reader)
    tables, _ = run(path, api.url, cluster, **options)
    assert tables == expected


# -- the API, and courtesy to it -----------------------------------------------------------------


def hurry(cap_s):
    """Retry soon, in this process, whatever the server asks for."""
    wire._backoff = tenacity.wait_random(0.02, 0.05)
    wire.RETRY_AFTER_CAP_S = cap_s


@pytest.mark.parametrize("seed", range(PLANS))
def test_any_plan_ends_in_the_tables_of_a_clean_run(api, clean, cluster, tmp_path, seed):
    """Whatever goes wrong at the API and passes, every table ends as if nothing had been."""
    cluster.client.run(hurry, 0.05)
    api.faulty.plan = parse(f"seed={seed},rate={0.02 + seed % 10 / 20:g}")
    tables, snapshot = run(
        tmp_path / "promo.db", api.url, cluster, timeout=0.25, deadline=30, patience_s=60
    )
    assert snapshot.status == "finished"
    assert tables == clean


def test_one_limit_for_all_workers(api, cluster, tmp_path, clean):
    """Pages in flight and per second stay below what was set, as the server sees it."""
    api.latency_s = 0.01
    with opened(ScaledTrainer, tmp_path / "a.db", api.url, cluster, in_flight=3) as trainer:
        trainer.run()
        assert dump(trainer.store) == clean
    assert 2 <= api.most <= 3
    api.clear()
    limits = {"in_flight": 4, "pages_per_s": 100.0}
    with opened(ScaledTrainer, tmp_path / "b.db", api.url, cluster, **limits) as trainer:
        trainer.run(150)
    began, rate = api.times[0], limits["pages_per_s"]
    for first, start in enumerate(api.times):
        last = sum(t <= start + 1 for t in api.times)
        assert last - first <= rate + CHUNK + 4, f"{start - began:.2f} s"
    assert api.times[-1] - began > 150 / rate * 0.7
    assert api.most <= 4


def test_retry_after_is_for_all(api, cluster, tmp_path, clean):
    """Once one page is answered with Retry-After, nobody asks for any until the time is over.

    Nor again for one that had failed before, in whichever worker.
    """
    cluster.client.run(hurry, 60.0)
    api.latency_s = 0.01
    failing = dict.fromkeys(range(40, 90), ("500",) * 3)
    api.faulty.plan = Plan({**failing, 60: ("429",)})
    before = sum(facts.retries for facts in cluster.workers)
    with opened(ScaledTrainer, tmp_path / "promo.db", api.url, cluster, in_flight=16) as trainer:
        trainer.play()
        wait_for(lambda: "60 (counted from 0): 429" in trainer.message)
        assert trainer.status == "retrying"
        wait_for(lambda: trainer.status == "finished")
        assert dump(trainer.store) == clean
        assert [e.page for e in trainer.store.events("retry")]
    assert sum(facts.retries for facts in cluster.workers) - before == 3 * 49 + 1
    assert any(facts.pages_per_s > 0 for facts in cluster.workers)
    quiet = max(b - a for a, b in zip(api.times, api.times[1:], strict=False))
    assert quiet > 0.7  # of the second that was asked for


def test_retry_after_is_for_those_who_come_later(tmp_path):
    """A worker that takes the place of a killed one hears of it as soon as it shows itself."""
    with (
        ScriptedServer(employees(2000), {(60, 0): "429 minute"}) as server,
        Cluster(workers=1) as alone,
        opened(
            ScaledTrainer, tmp_path / "promo.db", server.url, alone, chunk=100, deadline=150.0
        ) as trainer,
    ):
        trainer.play()
        wait_for(lambda: trainer.status == "retrying")
        next(iter(workers_of(alone).values())).kill()
        wait_for(lambda: not alone.threads)
        asked = len(server.asked)
        wait_for(lambda: alone.threads)
        alone.client.run(import_module, "promo.scale")  # behind what it was told to do first
        time.sleep(1.0)
        assert len(server.asked) <= asked + 8  # what it had asked for before it heard of it


def test_only_the_driver_has_the_store(api, cluster, tmp_path):
    """Workers have no file of it open while it is written to."""
    api.latency_s = 0.01

    def has_it(process):
        return any(file.path.startswith(str(tmp_path)) for file in process.open_files())

    with opened(ScaledTrainer, tmp_path / "promo.db", api.url, cluster, chunk=4) as trainer:
        trainer.play()
        wait_for(lambda: (trainer.snapshot.page or 0) > 20)
        assert has_it(psutil.Process())
        assert [has_it(process) for process in workers_of(cluster).values()] == [False, False]
        assert trainer.status == "running"


def test_a_worker_that_hears_nothing_asks_for_nothing(cluster):
    """Before the driver's word for a run it waits, and not for ever."""
    with ScriptedServer(employees(10)) as server:  # whom workers of a run before do not ask
        frame = Frame((None, None), RenewableLogistic(), Standard(), server.url)
        order = Order("nobody", PageStream(server.url), frame, 1, None, "nobody-0", 0.05, None)
        began = time.monotonic()
        with pytest.raises(Unwanted, match="no word from the driver"):
            cluster.client.submit(do, Task(0, 0, 1), order, pure=False).result(timeout=60)
        assert time.monotonic() - began > 10 * order.alive_s
        assert server.asked == []


def test_the_first_pages_keep_the_pace(cluster, tmp_path):
    """Those that are fetched here, until there is one row of either kind, count as well."""
    rows = [row | {"promoted": int(n > 250)} for n, row in enumerate(employees(300))]
    with (
        ScriptedServer(rows) as server,
        opened(ScaledTrainer, tmp_path / "a.db", server.url, cluster, pages_per_s=20) as trainer,
    ):
        began = time.monotonic()
        assert trainer.run(24).page == 23
        assert time.monotonic() - began > 23 / 20


@pytest.mark.parametrize(
    ("name", "number"),
    [("chunk", 0), ("in_flight", -3), ("pages_per_s", 0.0), ("patience_s", float("nan"))],
)
def test_a_number_that_is_none(api, cluster, tmp_path, name, number):
    """What could never go on is refused at once, and named."""
    with Store(tmp_path / "promo.db", source=SOURCE, page_size=10) as store:
        stream, [models, _] = PageStream(api.url), default_models(merging=True)
        with pytest.raises(ValueError, match=f"{name} {number}: expected a number above 0"):
            ScaledTrainer(stream, store, models, cluster, **{name: number})


@pytest.mark.parametrize("limits", [{"in_flight": 1}, {"pages_per_s": 60.0}])
def test_what_takes_its_time_is_waited_for(api, cluster, tmp_path, limits):
    """However slow API and pace: a worker that gives signs of life is not given up.

    A chunk takes several times our patience here. Each page is asked for once, and one limit is
    kept: nobody goes on with what is asked of another. Where a machine is so busy that even signs
    of life come late, there are two more goes.
    """
    api.latency_s = 0.05
    options = {"patience_s": 0.5, "chunk": 40, **limits}
    for go in range(3):
        api.clear()
        path = tmp_path / f"{go}.db"
        with opened(ScaledTrainer, path, api.url, cluster, **options) as trainer:
            assert trainer.run(80).page == 79
            assert trainer.store.query("SELECT count(*) FROM page") == [(80,)]
        assert api.most <= limits.get("in_flight", 64)
        if len(api.times) <= 90:
            return
    raise AssertionError(f"{len(api.times)} requests for 80 pages")


def test_uncommitted_files_go(api, cluster, tmp_path):
    """What workers have written and nobody committed is not there, whatever the chunks are."""
    path, folder = tmp_path / "promo.db", tmp_path / "rows"
    run(path, api.url, cluster, 40, parquet=folder, chunk=40)
    first = folder / "pages-000000000001-00000.parquet"
    shutil.copy(first, folder / "pages-000000000040-00000.parquet")
    shutil.copy(folder / "pages-000000000001-00000.parquet", folder / ".orphan.parquet")
    with opened(ScaledTrainer, path, api.url, cluster, parquet=folder, chunk=48) as trainer:
        trainer.run(80)
        assert not [*folder.glob(".*")]
        # A worker whose driver was killed may write at any time: nobody reads what has no name.
        shutil.copy(folder / "pages-000000000001-00000.parquet", folder / ".late.parquet")
    ids = dataset.dataset(folder).to_table()["id"].to_pylist()
    assert sorted(ids) == [*range(1200)]


def test_an_old_copy_of_a_store_deletes_no_rows(api, cluster, tmp_path):
    """Its ledger ends before those of several files: it is refused, and all rows are there."""
    path, folder = tmp_path / "promo.db", tmp_path / "rows"
    run(path, api.url, cluster, 40, parquet=folder, chunk=8)
    shutil.copy(path, tmp_path / "old.db")
    run(path, api.url, cluster, 40, parquet=folder, chunk=8)
    before = sorted(folder.iterdir())
    with (
        opened(ScaledTrainer, tmp_path / "old.db", api.url, cluster, parquet=folder) as trainer,
        pytest.raises(StoreError, match="files of rows that the store does not know of"),
    ):
        trainer.run(8)
    assert sorted(folder.iterdir()) == before
    assert run(path, api.url, cluster, parquet=folder)[1].rows == ROWS


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"PAR1 no more")])
def test_rows_that_are_gone_are_missed(api, cluster, tmp_path, harm):
    """The files are the only copy: a run does not go on as if all that it counts were there."""
    path, folder = tmp_path / "promo.db", tmp_path / "rows"
    run(path, api.url, cluster, 40, parquet=folder, chunk=8)
    first = sorted(folder.glob("pages-*"))[1]
    kept = first.read_bytes()
    harm(first)
    with (
        opened(ScaledTrainer, path, api.url, cluster, parquet=folder) as trainer,
        pytest.raises(StoreError, match=r"rows where 400 were committed|cannot be read, bring"),
    ):
        trainer.run(8)
    first.write_bytes(kept)
    assert run(path, api.url, cluster, parquet=folder)[1].rows == ROWS


def test_a_folder_of_others_files_is_not_taken(api, cluster, tmp_path):
    """Who reads the folder would read those as rows."""
    (tmp_path / "theirs.parquet").touch()
    with pytest.raises(StoreMismatch, match="choose an empty folder"):
        opened(ScaledTrainer, tmp_path / "new" / "a.db", api.url, cluster, parquet=tmp_path)
    assert not (tmp_path / "_promo").exists()


def test_rows_that_were_given_up_are_not_anybodys(api, cluster, tmp_path):
    """Ended in the midst of starting over, before the store forgot them: no other gets them."""
    path, folder = tmp_path / "promo.db", tmp_path / "rows"
    with opened(ScaledTrainer, path, api.url, cluster, parquet=folder) as trainer:
        trainer.run(40)
        give_up_folder(folder, trainer.store)
    before = sorted(folder.iterdir())
    with pytest.raises(StoreMismatch, match="has not the rows of"):
        opened(ScaledTrainer, tmp_path / "other.db", api.url, cluster, parquet=folder)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_end_in_the_midst_of_starting_over(api, cluster, tmp_path, when):
    """Whether the store had forgotten its rows by then or not, the folder is its own still."""
    path, folder = tmp_path / "promo.db", tmp_path / "rows"
    with opened(ScaledTrainer, path, api.url, cluster, parquet=folder) as trainer:
        trainer.run(40)
        give_up_folder(folder, trainer.store)
        if when == "after":
            trainer.store.clear()
    with opened(ScaledTrainer, path, api.url, cluster, parquet=folder) as trainer:
        trainer.run(40)
    rows = 800 if when == "before" else 400
    assert dataset.dataset(folder).to_table()["id"].to_pylist() == [*range(rows)]


def test_a_folder_on_a_full_disk(api, cluster, tmp_path, monkeypatch):
    """It is one sentence, and with space again the run begins there."""

    def full(path, *_):
        raise OSError(28, "No space left on device", str(path))

    folder = tmp_path / "rows"
    monkeypatch.setattr("promo.scale.rows.private", full)
    with pytest.raises(StoreError, match=r"cannot be a folder for rows.*No space left"):
        opened(ScaledTrainer, tmp_path / "promo.db", api.url, cluster, parquet=folder)
    monkeypatch.undo()
    assert run(tmp_path / "promo.db", api.url, cluster, parquet=folder)[1].rows == ROWS


def test_a_folder_that_goes_is_told_at_once(api, cluster, tmp_path):
    """Rows that cannot be written end the run in one sentence, not in asking again and again."""
    path, folder = tmp_path / "promo.db", tmp_path / "rows"
    with opened(ScaledTrainer, path, api.url, cluster, parquet=folder) as trainer:
        trainer.run(10)
        shutil.rmtree(folder)
        api.clear()
        with pytest.raises(StoreError, match="rows cannot be written to"):
            trainer.run()
        assert trainer.status == "failed"
    assert len(api.times) < 250


def test_a_refusal_is_told_after_what_came_before_it(api, cluster, tmp_path):
    """What cannot be had ends the run in one sentence, with all chunks before it committed."""
    with opened(ScaledTrainer, tmp_path / "promo.db", api.url, cluster) as trainer:
        trainer.run(20)
        trainer.stream.base_url += "/nowhere"
        trainer.accept_changes = True
        with pytest.raises(RequestRefused, match="404"):
            trainer.run()
        assert trainer.status == "failed"
        assert pages_in(tmp_path / "promo.db") == 20


# -- commands ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [None, "hang", "drip", "429"])
def test_stop_stops(api, cluster, tmp_path, fault, clean, record_property):
    """Within a second Stop has ended the thread, and the workers ask no more; Play goes on."""
    api.latency_s = 0.1
    if fault:
        api.faulty.plan = parse(f"77:{fault}*99")
    path = tmp_path / "promo.db"
    with opened(ScaledTrainer, path, api.url, cluster, in_flight=8, timeout=30) as trainer:
        trainer.play()
        wait_for(lambda: (trainer.snapshot.page or 0) > 30)
        if fault:
            wait_for(lambda: api.faulty.asked[77])
        times = []
        with at_most(STOP_S, times):
            trainer.stop()
            trainer.join()
        record_property("times_s", json.dumps(times))
        assert trainer.status == "stopped"
        reconcile(trainer.store)
        wait_for(api.is_left_alone)  # one by one, workers hear of it
        asked = len(api.times)
        time.sleep(0.3)
        assert len(api.times) == asked < 190
        api.faulty.plan, api.latency_s = Plan(), 0.0
        trainer.run()
        assert exact(dump(trainer.store), at=clean) == exact(clean)


def test_stop_asks_for_nothing_more(api, cluster, tmp_path):
    """What is in flight is given up in the workers, too, however much of a chunk is left."""
    api.latency_s = 0.2
    with opened(ScaledTrainer, tmp_path / "promo.db", api.url, cluster, chunk=200) as trainer:
        trainer.play()
        wait_for(lambda: len(api.times) > 10)
        trainer.stop()
        trainer.join()
        wait_for(api.is_left_alone)
        asked = len(api.times)
        time.sleep(1.0)
        assert len(api.times) == asked < 100


def test_stop_commits_what_has_arrived(api, cluster, tmp_path, clean):
    """Chunks that are there, one after another from the newest page on, are not fetched again."""
    api.latency_s = 0.05
    with opened(ScaledTrainer, tmp_path / "promo.db", api.url, cluster) as trainer:
        trainer.play()
        wait_for(lambda: trainer.snapshot.page)
        trainer.set_speed(1e-9)
        # What is under way comes to its end.
        wait_for(lambda: api.is_left_alone() and not any(cluster.client.processing().values()))
        held = trainer.store.page
        trainer.stop()
        trainer.join()
        assert trainer.store.page > held
        api.clear()
        trainer.set_speed(None)
        trainer.run()
        assert dump(trainer.store) == clean
        assert len(api.times) < ROWS // 10 - held


def test_the_commands_are_a_trainers(api, cluster, tmp_path, clean):
    """Pages are counted, pause rests, start over begins again, speed is held, asking answers."""
    api.latency_s = 0.005
    with opened(ScaledTrainer, tmp_path / "promo.db", api.url, cluster) as trainer:
        assert trainer.status == "idle"
        assert trainer.run(30).page == 29
        trainer.step(3)
        wait_for(lambda: trainer.status == "paused" and trainer.snapshot.page == 32)
        trainer.set_speed(50)
        began = time.monotonic()
        trainer.play()
        wait_for(lambda: trainer.snapshot.page >= 32 + 64)
        assert time.monotonic() - began > 64 / 50 * 0.7
        trainer.pause()
        wait_for(lambda: trainer.status == "paused")
        assert trainer.ask(lambda models: len(models)).result(5) == 5
        trainer.start_over()
        wait_for(lambda: trainer.snapshot.page is None)
        trainer.set_speed(None)
        snapshot = trainer.run()
        assert dump(trainer.store) == clean
        assert snapshot.total_pages == 201
        assert snapshot.sample.shape[1] > 400
        assert not snapshot.learning_rates


@pytest.mark.usefixtures("comms")
def test_the_panel_and_the_figures_show_it(api, cluster, tmp_path):
    """Controls, table of workers and figures work as with a trainer; there is no learning rate."""
    with opened(ScaledTrainer, tmp_path / "promo.db", api.url, cluster) as trainer:
        pages = 200 + sum(facts.pages for facts in cluster.workers)
        controls, workers = ui.Controls(trainer), ui.WorkersTable(trainer)
        figures = [
            ui.SampleFigure("renewable-logistic"),
            ui.CoefficientFigure(),
            ui.StoriesFigure(),
        ]
        publisher = ui.Publisher(trainer, [controls, workers, *figures])
        assert controls.learning_rate not in shown(controls.widget)
        wait_for(lambda: "No row is learned yet" in " ".join(texts_of(figures[0].widget)))
        controls.play.click()
        wait_for(lambda: "finished" in text_of(controls.status.value))
        wait_for(lambda: f"workers learned {pages:,} pages;" in " ".join(texts_of(workers.widget)))
        assert "do not merge: they are off" in " ".join(texts_of(workers.widget))
        assert text_of(controls.status.value).startswith("finished · page 201 of 201 · 2,003 rows")
        assert not publisher.errors
        assert not any(np.isnan(array).any() for _, array in arrays_sent())


# -- the command line ----------------------------------------------------------------------------


def test_the_command(api, tmp_path):
    """`promo scale` tells what it did; Ctrl-C ends it after a commit; `promo run` goes on."""
    path = tmp_path / "promo.db"
    options = ("--api", api.url, "--db", path, "--json")
    with promo("scale", *options, "--workers", 1, "--pages", 40) as process:
        output, said = process.communicate(timeout=60)
    summary = json.loads(output)
    assert (summary["pages"], summary["rows"], summary["status"]) == (40, 400, "stopped")
    assert process.returncode == 0, said
    api.latency_s = 0.5
    with promo("scale", *options, "--workers", 1) as process:
        wait_for(lambda: len(api.inside) > 2)  # asked for by the worker, and not there for a while
        os.killpg(process.pid, signal.SIGINT)
        output, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert json.loads(output)["status"] == "stopped"
    api.latency_s = 0.0
    with promo("run", *options) as process:
        output, said = process.communicate(timeout=60)
    assert json.loads(output)["status"] == "finished", said
    assert pages_in(path) == 201


def test_the_limits_are_options(api, tmp_path):
    """Pages in flight and per second stay below what the command line says."""
    api.latency_s = 0.01
    limits = ("--in-flight", 4, "--pages-per-s", 60)
    options = ("--api", api.url, "--db", tmp_path / "promo.db", "--workers", 1, "--pages", 120)
    with promo("scale", *options, *limits) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert 2 <= api.most <= 4
    assert api.times[-1] - api.times[0] > 120 / 60 * 0.7


def test_what_one_machine_began_with_what_merges(api, tmp_path):
    """`promo run --merging` begins what `promo scale` goes on with; of others it says why not."""
    path, options = tmp_path / "promo.db", ("--api", api.url, "--pages", 20)
    for command in (("run", "--merging"), ("scale", "--workers", 1)):
        with promo(*command, *options, "--db", path) as process:
            _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert pages_in(path) == 40
    (tmp_path / "file").touch()
    other, file = ("--db", tmp_path / "sgd.db"), tmp_path / "file"
    for code, said_is, command in (
        (0, "", ("run", *other)),
        (1, "does not merge (sgd-logistic): promo run goes on", ("scale", *other)),
        (1, "does not merge (sgd-logistic)", ("run", "--merging", *other)),
        (1, "has its rows in itself", ("scale", "--db", path, "--parquet", tmp_path / "rows")),
        (1, "cannot be a folder", ("scale", "--db", tmp_path / "new.db", "--parquet", file)),
        (2, "not allowed with", ("scale", *other, "--scheduler", "tcp://a:1", "--workers", "2")),
        (2, "expected a positive number", ("scale", *other, "--pages-per-s", "0")),
    ):
        with promo(*command, *options) as process:
            _, said = process.communicate(timeout=60)
        assert (process.returncode, said_is in said) == (code, True), said
        assert code != 1 or len(said.splitlines()) == 1
    assert not (tmp_path / "new.db").exists()
    assert not (tmp_path / "rows").exists()


def test_ctrl_c_is_for_the_driver_alone():
    """A terminal sends it to workers too: they go on, also those in place of dead ones."""
    with Cluster(workers=1) as cluster:
        for _ in range(2):
            wait_for(lambda: cluster.threads == 1)
            (worker,) = workers_of(cluster).values()
            worker.send_signal(signal.SIGINT)
            time.sleep(0.5)  # for it to end, if it would
            assert workers_of(cluster).popitem()[1] == worker
            worker.kill()
            wait_for(lambda: cluster.threads == 0)


def test_workers_that_do_not_start(api, tmp_path):
    """One that is killed before it has begun is told in one line."""
    with promo("scale", "--api", api.url, "--db", tmp_path / "promo.db") as process:
        driver = psutil.Process(process.pid)

        def starting():
            return [each for each in driver.children() if "spawn_main" in " ".join(each.cmdline())]

        wait_for(starting)[0].kill()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("promo: workers of our own do not start: "), said
    assert "Traceback" not in said


def test_a_worker_that_hangs_while_it_starts(monkeypatch, capfd):
    """It is given up after a while, in one line; nobody is left behind."""
    monkeypatch.setattr(promo_cluster, "_START_S", 6.0)
    this = psutil.Process()
    before = {*this.children()}

    def workers():
        news = {*this.children()} - before
        return [each for each in news if "spawn_main" in " ".join(each.cmdline())]

    hanging = threading.Thread(target=lambda: wait_for(workers)[0].suspend())
    hanging.start()
    with pytest.raises(ClusterError, match="workers of our own do not start: one hung for 6 s"):
        Cluster(workers=2)
    hanging.join()
    wait_for(lambda: not workers())
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_a_scheduler_that_is_not_there(api, tmp_path):
    """It is one line, and says where it was looked for."""
    address = "tcp://127.0.0.1:9"
    options = ("--api", api.url, "--db", tmp_path / "promo.db", "--scheduler", address)
    with promo("scale", *options) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith(f"promo: cannot reach the scheduler {address}")
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "promo.db").exists()


@pytest.mark.parametrize("scheme", ["tcp://", "http://"])
def test_what_is_no_scheduler(api, monkeypatch, capfd, scheme):
    """Whatever else answers there, or an address of another kind, is one sentence."""
    monkeypatch.setattr(promo_cluster, "_CONNECT_S", 0.5)
    with pytest.raises(ClusterError, match=r"is no scheduler|unknown address scheme"):
        Cluster(api.url.replace("http://", scheme))
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_workers_may_come_later(api, tmp_path, clean):
    """Without any the status line says what it waits for; once they have come it goes on."""
    with (
        LocalCluster(n_workers=0, threads_per_worker=1, **OTHERS) as local,
        Cluster(local.scheduler_address) as joined,
        opened(ScaledTrainer, tmp_path / "promo.db", api.url, joined) as trainer,
    ):
        trainer.play()
        wait_for(lambda: trainer.snapshot.message == WAITING)
        wait_for(lambda: trainer._waited_s > 4)  # a single machine would say that it waits
        assert trainer.message == WAITING
        local.scale(1)
        wait_for(lambda: trainer.status == "finished")
        assert trainer.snapshot.message == ""
        assert dump(trainer.store) == clean


def test_workers_that_come_share_the_limit(api, tmp_path):
    """What was handed out when there were none counts, however many share the rest."""
    rate = 40.0
    with (
        LocalCluster(n_workers=0, threads_per_worker=1, **OTHERS) as local,
        Cluster(local.scheduler_address) as joined,
        opened(ScaledTrainer, tmp_path / "promo.db", api.url, joined, pages_per_s=rate) as it,
    ):
        it.play()
        wait_for(lambda: it.snapshot.message == WAITING)
        it.wait(1.5)  # for chunks to be handed out, one after another
        local.scale(4)
        wait_for(lambda: it.snapshot.page and it.snapshot.page > 120)
    for first, start in enumerate(api.times):
        assert sum(t <= start + 1 for t in api.times) - first <= rate + 2 * CHUNK


def test_workers_that_come_share_the_pages_in_flight(api, tmp_path, clean):
    """However many there are, the server never sees more at once than it was promised."""
    api.latency_s = 6.0  # so that what the first one was given lasts until others have come
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, **OTHERS) as local,
        Cluster(local.scheduler_address) as joined,
        opened(ScaledTrainer, tmp_path / "promo.db", api.url, joined, in_flight=4) as trainer,
    ):
        trainer.play()
        wait_for(
            lambda: len(api.inside) == 2
        )  # two chunks were given out, two pages at once of each
        local.scale(4)
        wait_for(lambda: joined.threads == 4)
        joined.client.run(import_module, "promo.scale")
        time.sleep(1.0)  # for more to be asked for, were it given out
        api.latency_s = 0.05
        wait_for(lambda: trainer.status == "finished")
        assert dump(trainer.store) == clean
        assert sum(facts.pages > 0 for facts in joined.workers) >= 3
    assert 2 < api.most <= 4


def test_a_cluster_that_gives_up_at_once(api, tmp_path, clean):
    """Dask gives up what a worker of others had when it died as often as they allow: not we."""
    api.latency_s = 0.02
    strict = {"scheduler_kwargs": {"allowed_failures": 0}}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, **OTHERS, **strict) as local,
        Cluster(local.scheduler_address) as joined,
        opened(ScaledTrainer, tmp_path / "promo.db", api.url, joined, in_flight=8) as trainer,
    ):
        trainer.play()
        for at in (20, 90):
            wait_for(lambda at=at: (trainer.snapshot.page or 0) > at)
            next(iter(workers_of(joined).values())).kill()
            wait_for(lambda: joined.threads == 2)
        wait_for(lambda: trainer.status == "finished")
        reconcile(trainer.store)
        assert dump(trainer.store) == clean


def is_profiled():
    """Return whether Dask profiles the worker where this runs."""
    return dask.config.get("distributed.worker.profile.enabled")


def test_no_worker_of_ours_is_profiled(monkeypatch):
    """Nor one that takes the place of another, however Dask is set: Python may hang of it."""
    monkeypatch.setattr(promo_cluster, "_GIVEN_UP_S", 0.5)
    lost, profiled = "distributed.deploy.lost-worker-timeout", "distributed.worker.profile.enabled"
    with dask.config.set({lost: "100ms", profiled: True}), Cluster(workers=1) as cluster:
        [first] = cluster.addresses
        cluster.client.retire_workers([first])
        wait_for(lambda: cluster.addresses and first not in cluster.addresses)
        assert cluster.client.run(is_profiled) == {cluster.addresses[0]: False}


def test_every_death_is_counted(cluster):
    """Of two that die together, too."""
    before = sum(facts.deaths for facts in cluster.workers)
    for process in workers_of(cluster).values():
        process.kill()
    wait_for(lambda: sum(facts.deaths for facts in cluster.workers) == before + 2)
    wait_for(lambda: cluster.threads == 2)


_SCHEDULER = """
from distributed import LocalCluster
if __name__ == "__main__":
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(host="127.0.0.1", **options) as cluster:
        print(cluster.scheduler_address, flush=True)
        input()
"""


@contextmanager
def scheduler_of_others(tmp_path):
    """Start a scheduler with a worker in a process; give that and the address."""
    script = tmp_path / "scheduler.py"
    script.write_text(_SCHEDULER)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, script], text=True, **pipes) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_a_scheduler_that_dies(api, tmp_path):
    """The run ends in one line, with all that was committed; with another one it goes on."""
    path = tmp_path / "promo.db"
    options = ("--api", api.url, "--db", path)
    with (
        scheduler_of_others(tmp_path) as (scheduler, address),
        promo("scale", *options, "--scheduler", address, "--pages-per-s", 8) as process,
    ):
        wait_for(lambda: pages_in(path) > 1)
        scheduler.kill()
        output, said = process.communicate(timeout=30)
    assert (process.returncode, output) == (1, "")
    assert said.startswith(f"promo: the scheduler {address} is gone")
    assert len(said.splitlines()) == 1
    with (
        scheduler_of_others(tmp_path) as (_, address),
        promo("scale", *options, "--scheduler", address) as process,
    ):
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert pages_in(path) == 201
    with Reader(path) as reader:
        reconcile(reader)


HIDDEN = "import pathlib, sys; sys.path[:] = [p for p in sys.path if not pathlib.Path(p or '.', 'promo').is_dir()]"  # noqa: E501


def test_workers_without_promo_are_not_used():
    """They could do nothing, and would end on trying: it is said which, and they stay."""
    with LocalCluster(n_workers=1, preload=[HIDDEN], **OTHERS) as local:
        with pytest.raises(ClusterError, match="promo is not installed where tcp://"):
            Cluster(local.scheduler_address)
        assert len(local.scheduler_info["workers"]) == 1


def test_workers_without_promo_that_come_later_are_passed_over(api, tmp_path, clean):
    """Those that can go on, and what the others were given before anybody knew."""
    api.latency_s = 0.05
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, **OTHERS) as local,
        Cluster(local.scheduler_address) as joined,
        opened(ScaledTrainer, tmp_path / "promo.db", api.url, joined, in_flight=8) as trainer,
    ):
        trainer.play()
        wait_for(lambda: trainer.snapshot.page)
        more = ["--preload", HIDDEN, "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"]
        more += ["--no-nanny"]  # one process less to start, and to wait for, on a busy machine
        command = [sys.executable, "-m", "distributed.cli.dask_worker", local.scheduler_address]
        with subprocess.Popen([*command, *more], stderr=subprocess.DEVNULL) as process:
            try:
                wait_for(lambda: joined.unfit)
                assert joined.threads == len(joined.addresses) == 1
                wait_for(lambda: trainer.status == "finished")
            finally:
                process.terminate()
        assert dump(trainer.store) == clean


def test_tls_without_settings(capfd):
    """An address that asks for TLS, where there is none: one sentence."""
    with pytest.raises(ClusterError, match="TLS is not set up here"):
        Cluster("tls://127.0.0.1:9")
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_a_cluster_of_others_is_joined(api, cluster, tmp_path, clean):
    """By its address another driver shares the workers; closing it leaves them."""
    with Cluster(cluster.client.scheduler.address) as joined:
        assert joined.threads == 2
        assert run(tmp_path / "promo.db", api.url, joined)[0] == clean
    assert len(workers_of(cluster)) == 2


def test_ours_listens_to_this_machine_only(cluster):
    """Scheduler, nannies and workers are bound to the loopback interface; there is no dashboard."""
    processes = [psutil.Process(), *workers_of(cluster).values()]
    sockets = [c for p in processes for c in p.net_connections("tcp") if c.status == "LISTEN"]
    assert sockets
    assert {c.laddr.ip for c in sockets} == {"127.0.0.1"}


def test_tls_is_passed_on(api, tmp_path):
    """With Dask's own settings scheduler, workers and driver speak TLS to each other only.

    So do those who join, here and on the command line.
    """
    require("openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=promo -keyout"
    subprocess.run([*make.split(), key, "-out", certificate], check=True, capture_output=True)
    pair = {"key": str(key), "cert": str(certificate)}
    whose = dict.fromkeys(("scheduler", "worker", "client"), pair)
    tls = {f"tls_{who}_{what}": path for who, each in whose.items() for what, path in each.items()}
    security = Security(tls_ca_file=str(certificate), require_encryption=True, **tls)
    with Cluster(workers=1, security=security) as cluster:
        address = cluster.client.scheduler.address
        assert all(each.startswith("tls://127.0.0.1:") for each in [address, *cluster.addresses])
        with pytest.raises(ClusterError, match="TLS is not set up here"):
            Cluster(address)
        with Cluster(address, security=security) as joined:
            assert run(tmp_path / "promo.db", api.url, joined, 40)[1].page == 39
        settings = {"distributed": {"comm": {"tls": {"ca-file": str(certificate), **whose}}}}
        (tmp_path / "dask.yaml").write_text(json.dumps(settings))
        env = {"DASK_CONFIG": str(tmp_path)}
        options = ("--api", api.url, "--db", tmp_path / "joined.db", "--pages", 40)
        with promo("scale", *options, "--scheduler", address, env=env) as process:
            _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert pages_in(tmp_path / "joined.db") == 40
