"""Tests of a long run: what it takes stays what it was, and killed at its end it is soon back."""

import json
import os
import statistics
import subprocess
import sys

import pytest

import crash
from clocks import at_most, wait_for
from crash import open_trainer
from strace import child, context
from tables import dump
from test_asleep import newest

SOAK = float(os.environ.get("PROMO_SOAK") or 0)
ROWS = int(1_000_000 * SOAK) or 20_000
FIRST, LAST, BLOCK = 1000, ROWS // 10 - 200, ROWS // 400  # pages
RECOVERIES = 20 if SOAK else 3
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if SOAK else 300)]


@pytest.fixture(scope="module")
def worn(api, tmp_path_factory):
    """Learn nearly all, be killed; return the store, and memory and time at each stop."""
    path, seen = tmp_path_factory.mktemp("worn") / "promo.db", []
    stops = [FIRST, *range(FIRST + BLOCK, LAST, BLOCK)]
    hears, said = context.Pipe(duplex=False)
    arguments = (path, api.url, api.source, stops, said)
    with hears, said, child(crash.learn_for_long, *arguments) as process:
        while hears.poll(600) and (each := hears.recv()):
            seen.append(each)
        page = newest(path)
        wait_for(lambda: newest(path) > page)
        process.kill()
    assert len(seen) == len(stops)
    return path, seen


def test_memory_and_time_stay_flat(worn, record_property):
    """From page 1,000 to the end, memory grows by less than 5 %, a page's time by less than 10 %.

    That is the time of processors: by the clock it hangs on who else uses them meanwhile.
    """
    memory, *times = zip(*worn[1], strict=True)
    more = memory[-1] / memory[0]
    by_the_clock, slower = map(growth, times)
    record_property("tried", LAST)
    told = f"memory x {more:.3f}, time per page x {slower:.3f}, by the clock x {by_the_clock:.3f}"
    record_property("figures", told)
    assert more < 1.05
    assert slower < (1.1 if SOAK >= 1 else 2.0)  # what is short is seldom long enough to tell


def growth(seconds):
    """Return how much longer the last quarter took than the first, its very first part aside."""
    quarter = len(seconds) // 4
    return statistics.median(seconds[-quarter:]) / statistics.median(seconds[1 : quarter + 1])


def test_recovery_is_quick(worn, api, record_property):
    """Killed again and again, `promo run` has a new page within 2 s of its start."""
    path, times = worn[0], []
    environment = os.environ | {
        "PROMO_API_URL": api.url,
        "PROMO_API_SOURCE": f"{api.url} {api.source}",
    }
    for _ in range(RECOVERIES):
        before = newest(path)
        with at_most(2.0, times):
            process = subprocess.Popen(
                [sys.executable, "-m", "promo", "run", "--db", path],
                env=environment,
                stdout=subprocess.DEVNULL,
            )
            wait_for(lambda: newest(path) > before)  # noqa: B023
        process.kill()
        process.wait()
    record_property("tried", RECOVERIES)
    record_property("times_s", json.dumps(times))


def test_what_was_killed_and_recovered_is_what_was_not(worn, api, tmp_path, record_property):
    """In the end every table is that of one run from the first page to the last."""
    with (
        open_trainer(worn[0], api.url, api.source) as trainer,
        open_trainer(tmp_path / "clean.db", api.url, api.source) as clean,
    ):
        assert trainer.run().rows == clean.run().rows == ROWS
        assert trainer.store.query("PRAGMA integrity_check") == [("ok",)]
        assert dump(trainer.store) == dump(clean.store)
    record_property("tried", ROWS)
