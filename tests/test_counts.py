"""What a page takes, counted: bounds that are the same on every machine, idle or busy.

A bound is what was counted when it was set, and a little more; who raises one says why. A page has
ten rows; the models are the usual ones.
"""

import os
import re
import subprocess
import sys
import textwrap
from collections import Counter

import pytest

from comms import Comm
from pages import employees, pages_of
from programs import require
from promo import ui
from promo.line import Line
from promo.models.default import FULL as ALL_EXPERTS
from promo.models.default import USUAL, default_models
from promo.models.regressions import Regressions
from promo.models.stories import Stories
from promo.store import Store
from servers import ScriptedServer
from servers import employees as served
from strace import DEADLINE_S

FULL = 1100  # pages, after which the history is full and every other page of it is dropped
COUNTED = 200


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Return the line where its history is full, and a function that learns so many pages more."""
    models, settings = default_models()
    path = tmp_path_factory.mktemp("counts") / "promo.db"
    pages = iter(pages_of(employees(10 * (FULL + 3 * COUNTED))))
    with Store(path, source="memory", page_size=10, settings=settings) as store:
        line = Line(store, models)

        def learn(count):
            for _ in range(count):
                line.learn(next(pages))

        learn(FULL)
        yield line, learn


def test_a_page_is_one_commit_of_few_statements(course):
    """A page is one commit, of ten statements at most, however much the models have to say."""
    line, learn = course
    said = []
    line.store._connection.set_trace_callback(said.append)
    learn(COUNTED)
    line.store._connection.set_trace_callback(None)
    assert said.count("COMMIT") == said.count("BEGIN IMMEDIATE") == COUNTED
    assert len(said) <= 10 * COUNTED, Counter(text.split("(")[0].strip() for text in said)


def test_a_page_writes_few_bytes(course):
    """A page adds 90 kB to the log at most: 21 pages of the file, the new rows' and the rest's."""
    line, learn = course
    line.store.query("PRAGMA wal_checkpoint(TRUNCATE)")
    learn(COUNTED)
    log = line.store.path.with_name(f"{line.store.path.name}-wal")
    assert 0 < log.stat().st_size <= 90_000 * COUNTED


@pytest.mark.parametrize(("names", "bound"), [(USUAL, 7), (ALL_EXPERTS, 52)], ids=["usual", "all"])
def test_a_row_of_a_large_page_is_few_calls(names, bound):
    """Experts, and who compares them, make a few calls a row at pages of 1,000 rows.

    What that takes in microseconds is for `benchmarks.prediction` to say.
    """
    models = [m for m in default_models(names)[0] if not isinstance(m, Regressions | Stories)]
    first, second = pages_of(employees(2000), 1000)
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in {"call", "c_call"}

    for batch, counter in ((first, None), (second, count)):
        sys.setprofile(counter)
        try:
            for model in models:
                model.learn(batch)
                model.states(), model.coefficients(), model.metrics()
        finally:
            sys.setprofile(None)
    assert calls <= bound * 1000


def test_a_page_makes_few_system_calls(tmp_path):
    """A page is asked for in one call, and written without waiting for the disk, 42 calls at most.

    Two for each page of the log; the file is locked and let go of in six. What depends on who is
    ahead, server or reader, is not counted: receiving, waiting and waking.
    """
    require("strace")
    log, db = tmp_path / "strace.txt", tmp_path / "promo.db"
    with ScriptedServer(served(10 * COUNTED)) as server:
        traced = ["strace", "-f", "-qq", "-o", log, "-e", "trace=sendto,pwrite64,fcntl,fdatasync"]
        run = [sys.executable, "-m", "promo", "run", "--api", server.url, "--db", db, "--json"]
        subprocess.run([*traced, *run, "--pages", str(COUNTED)], check=True, timeout=DEADLINE_S)
    calls = Counter(re.findall(r"^(\d+) +(\w+)\(", log.read_text(), re.MULTILINE))
    _, writer = max((n, thread) for (thread, call), n in calls.items() if call == "pwrite64")
    made = {call: n for (thread, call), n in calls.items() if thread == writer}
    assert made["sendto"] <= COUNTED + 8  # the window's, asked for ahead
    assert made["pwrite64"] <= 42 * COUNTED
    assert made["fcntl"] <= 7 * COUNTED
    assert sum(n for (_, call), n in calls.items() if call == "fdatasync") <= 20


@pytest.mark.slow
def test_what_learning_takes_is_imported_while_the_api_starts(tmp_path):
    """`promo run` has its API start beside; one after the other takes half as long again."""
    require("strace")
    log = tmp_path / "strace.txt"
    traced = ["strace", "-f", "-qq", "-s", "200", "-o", log, "-e", "trace=execve,openat"]
    run = [sys.executable, "-m", "promo", "run", "--pages", "1", "--db", tmp_path / "promo.db"]
    environment = {**os.environ, "PROMO_DATA": str(tmp_path)}
    environment.pop("PROMO_API_URL", None)
    subprocess.run([*traced, *run], check=True, timeout=DEADLINE_S, env=environment)
    calls = log.read_text()
    imported = re.search(r"/promo/(__pycache__/)?trainer\.", calls)
    assert calls.index("_serve_parent") < imported.start()


def test_the_first_event_does_not_wait_for_the_disk(tmp_path):
    """SQLite syncs a new log once; on opening, and not when Stop is to be obeyed within 250 ms."""
    require("strace")
    log = tmp_path / "strace.txt"
    program = """
        import os
        from promo.line import Line
        from promo.store import Store

        def record(line):
            os.chdir(".")  # a mark in the trace
            line.record("started")
            os.chdir(".")

        for name in ("new.db", "new.db"):
            with Store(name, source="memory", page_size=10) as store:
                record(line := Line(store, ()))
        with Store(name, source="memory", page_size=10) as store:
            line = Line(store, ())
            store.reopen()
            line.restore()
            record(line)
    """
    traced = ["strace", "-f", "-qq", "-o", log, "-e", "trace=pwrite64,fdatasync,chdir"]
    command = [*traced, sys.executable, "-c", textwrap.dedent(program)]
    subprocess.run(command, check=True, timeout=DEADLINE_S, cwd=tmp_path)
    calls = " ".join(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE))
    between = calls.split("chdir")[1::2]
    assert len(between) == 3  # in a new file, in an old one, and after an error
    assert all("pwrite64" in each and "fdatasync" not in each for each in between)


PARQUET = """
    from pathlib import Path
    from pages import employees, pages_of
    from promo.scale.rows import name_rows, write_rows
    [page] = pages_of(employees(10))
    MARK
    name_rows(Path("rows"), write_rows(Path("rows"), [page]), 0, 0)
    MARK
"""
NEW_STORE = """
    from promo.store import new_store
    MARK
    with new_store("rows/new.db", source="memory", page_size=10, settings={}):
        pass
    MARK
"""
DATA_SET = """
    from pathlib import Path
    from promo.dataset import Recipe, ensure_data
    MARK
    ensure_data(Path("rows/data.db"), Recipe(rows=10))
    MARK
"""


@pytest.mark.parametrize("program", [PARQUET, NEW_STORE, DATA_SET])
def test_what_gets_its_name_at_last_is_on_the_disk(program, tmp_path):
    """A file is synced, given its name, and that is synced: a power cut leaves all or nothing."""
    require("strace")
    log = tmp_path / "strace.txt"
    program = textwrap.dedent(program).replace("MARK", 'import os; os.chdir(".")')
    (tmp_path / "rows").mkdir()
    traced = ["strace", "-f", "-y", "-qq", "-o", log, "-e", "trace=/rename.*,fsync,chdir"]
    command = [*traced, sys.executable, "-c", program]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # for `pages`
    subprocess.run(command, check=True, timeout=DEADLINE_S, cwd=tmp_path, env=env)
    _, made, _ = log.read_text().split('chdir(".")')
    assert re.search(r"fsync\(\d+<.*/rows/.*>.*\n.*rename.*\n.*fsync\(\d+<.*/rows>\)", made), made


@pytest.mark.usefixtures("comms")
def test_a_frame_is_few_messages(course):
    """A frame of the figures is 46 messages and 70 kB at most, with the history full."""
    line, learn = course
    switch = ui.ColliderSwitch()
    figures = [ui.SampleFigure(), ui.LossFigure(), ui.CoefficientFigure(switch)]
    board = ui.Board([*figures, ui.CoefficientTable(switch), ui.StoriesFigure()])
    for _ in range(5):
        learn(COUNTED // 5)
        snapshot = line.memory.snapshot(
            "running", "", page_size=10, total_rows=None, learning_rates=line.rates()
        )
        Comm.sent.clear()
        for view in board.views:
            view.update(snapshot)
        arrays = sum(len(buffer) for *_, buffers in Comm.sent for buffer in buffers)
        text = sum(len(str(data)) for _, _, data, _ in Comm.sent)
        assert 0 < len(Comm.sent) <= 46
        assert arrays + text <= 70_000
