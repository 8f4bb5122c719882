"""Tests of several processes, threads and trainers that want one store at the same time."""

import json
import os
import random
import threading
import time
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

import crash
from clocks import wait_for
from crash import open_trainer
from promo.errors import StoreError, StoreLocked
from promo.store import Store, connection
from promo.store.connection import lock_file
from strace import child
from tables import assert_sound, dump

SOAK = float(os.environ.get("PROMO_SOAK") or 0)
ROWS = 50_000
KILLS = int(100 * SOAK) or 8


@pytest.fixture
def path(tmp_path):
    return tmp_path / "promo.db"


class Racer:
    """A process that wants the store until it is killed, and what it has noted of its tries."""

    def __init__(self, stack, path, api, number):
        self._notes = path.with_name(f"racer-{number}.txt")
        arguments = (path, api.url, api.source, number, self._notes)
        self._process = stack.enter_context(child(crash.contend, *arguments))
        self.pid = self._process.pid

    def notes(self):
        """Return what it has noted: word, time and what it was told."""
        text = self._notes.read_text() if self._notes.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]

    def wins(self):
        """Count how often it has held the store."""
        return sum(note[0] == "holds" for note in self.notes())

    def kill(self):
        """Kill it at whatever instant this is, and read its notes.

        Afterwards `holds` are the times in which it surely held the store, `may_hold` those in
        which it may have, and `refused` those in which it was told that another did, and how.
        """
        killed = time.monotonic()
        self._process.kill()
        self._process.join()
        gone, notes = time.monotonic(), self.notes()
        self.holds, self.may_hold, self.refused = [], [], []
        for (word, at, *told), after in zip(notes, [*notes, None][1:], strict=True):
            until = after[1] if after else killed
            if word == "asks":
                asked = at
            elif word == "refused":
                self.refused.append((asked, at, told[0]))
            elif word == "holds":
                self.holds.append((at, until))
            if word == "has let go" or (after is None and word != "refused"):
                self.may_hold.append((asked, at if after else gone))


def meet(span, other):
    return span[0] <= other[1] and other[0] <= span[1]


@pytest.mark.slow
@pytest.mark.parametrize("racers", [2, 3, 4])
def test_of_many_processes_one_at_a_time_writes(api, path, tmp_path, racers, record_property):
    """Races, SIGKILLs included: one holder at a time, the others told its name; nothing twice."""
    dice = random.Random(racers)
    with ExitStack() as stack:
        running = [Racer(stack, path, api, number) for number in range(racers)]
        everyone = [*running]
        for kill in range(KILLS):
            wins = sum(racer.wins() for racer in everyone)
            wait_for(lambda: sum(racer.wins() for racer in everyone) >= wins + 3)  # noqa: B023
            threading.Event().wait(dice.uniform(0.0, 0.05))  # the instant is what is random
            running[kill % racers].kill()
            running[kill % racers] = Racer(stack, path, api, racers + kill)
            everyone.append(running[kill % racers])
        for racer in running:
            racer.kill()
    holds = sorted(span for racer in everyone for span in racer.holds)
    assert all(before[1] <= after[0] for before, after in pairwise(holds))
    may_hold = {racer.pid: racer.may_hold for racer in everyone}
    refused = [each for racer in everyone for each in racer.refused]
    for asked, answered, told in refused:
        named = told.removeprefix(f"{path} is being written by process ")
        assert named.endswith(": stop that first"), told
        spans = may_hold[int(named.removesuffix(": stop that first"))]
        assert any(meet((asked, answered), span) for span in spans), told
    assert len(holds) >= 3 * KILLS
    assert refused
    record_property("tried", len(holds))
    with open_trainer(path, api.url, api.source) as trainer:  # no stale lock
        assert_sound(trainer.store)
        pages = trainer.run(1).page + 1
        with open_trainer(tmp_path / "clean.db", api.url, api.source) as clean:
            clean.run(pages)
            assert dump(trainer.store) == dump(clean.store)


def test_a_holder_that_has_not_named_itself_is_waited_for(path, monkeypatch):
    """While the lock's file holds nothing, or who was killed, a loser looks again, then tells."""
    mine = lock_file(path)
    file = Path(mine.lock_file)
    me = file.read_text()
    for stale in ("", "process 4194305\n", "process 0\n", "proc", "process 99999999999999999999\n"):
        file.write_text(stale)
        timer = threading.Timer(0.1, file.write_text, [me])
        timer.start()
        with pytest.raises(StoreLocked, match=f"by process {os.getpid()}, this one: stop"):
            lock_file(path)
        timer.join()
    monkeypatch.setattr(connection, "_NAMED_WITHIN_S", 0.05)
    for stale in ("", "process 4194305\n"):
        file.write_text(stale)
        with pytest.raises(StoreLocked, match="by another process: stop that first"):
            lock_file(path)
    mine.release()
    assert file.read_text() == ""
    lock_file(path).release()


def test_a_lock_that_cannot_be_named_is_not_kept(path, monkeypatch):
    """On a disk too full for the holder's name the lock is free again, and its error is told."""
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", lambda *_: full())
        with pytest.raises(StoreError, match="No space left") as told:
            Store(path, source="x", page_size=10)
    assert told.tb is not None  # as a notebook keeps it, and with it every frame
    Store(path, source="x", page_size=10).close()


def full():
    raise OSError(28, os.strerror(28))


def test_of_many_threads_one_wins(api, path):
    """Threads of one process that open it at once: one holds it, the others are told so."""
    outcomes, start = [], threading.Barrier(4)

    def race():
        start.wait()
        try:
            outcomes.append(open_trainer(path, api.url, api.source))
        except StoreLocked as error:
            outcomes.append(error)

    for round_ in range(5):
        outcomes.clear()
        threads = [threading.Thread(target=race) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [winner] = [each for each in outcomes if not isinstance(each, StoreLocked)]
        losers = Counter(str(each) for each in outcomes if each is not winner)
        by = f"process {os.getpid()}, this one"
        assert losers == {f"{path} is being written by {by}: stop that first": 3}
        with winner:
            assert winner.run(1).page == round_


def test_a_second_trainer_in_a_notebook_does_no_harm(api, path, tmp_path):
    """Refused while the first learns, which goes on undisturbed; let in when that is closed."""
    with open_trainer(path, api.url, api.source) as first:
        first.step(60)
        for _ in range(5):
            with pytest.raises(StoreLocked, match=f"process {os.getpid()}, this one"):
                open_trainer(path, api.url, api.source)
        wait_for(lambda: first.status == "paused")
        assert first.snapshot.page == 59
    with open_trainer(path, api.url, api.source) as second:
        assert second.run(5).page == 64
        assert_sound(second.store)
        with open_trainer(tmp_path / "clean.db", api.url, api.source) as clean:
            clean.run(65)
            assert dump(second.store) == dump(clean.store)


def test_a_store_has_one_writer_by_whatever_name(tmp_path):
    """A second writer that comes by a symbolic link is refused like any other."""
    path, link = tmp_path / "promo.db", tmp_path / "elsewhere" / "other.db"
    link.parent.mkdir()
    link.symlink_to(path)
    with Store(path, source="s", page_size=10), pytest.raises(StoreLocked, match="this one"):
        Store(link, source="s", page_size=10)
    with Store(link, source="s", page_size=10) as store:
        assert store.page is None
