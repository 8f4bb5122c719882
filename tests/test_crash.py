"""Tests of a `promo run` that is killed, starved of disk, and struck again in its recovery."""

import os
import random
import shutil
import sqlite3
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

import crash
from programs import require
from promo.store import Store
from servers import ScriptedServer, employees
from strace import (
    DEADLINE_S,
    calls_of_the_first,
    child,
    context,
    exit_code,
    run_plainly,
    run_promo,
    tracing,
)
from tables import assert_sound, dump

SOAK = float(os.environ.get("PROMO_SOAK") or 0)  # 1: the long form; less: a part of it
KILLS = int(1000 * SOAK) or 100
SHARE = min(SOAK or 0.06, 1.0)  # of the calls that there are
FEW = {"pread64": 0.02}  # of these, thousands, all alike, as the log is read
OF_DISK = 0.15  # of these: a disk can fail in four ways, and in the recovery, at each of them
pytestmark = [pytest.mark.slow, pytest.mark.timeout(4 * 3600 if SOAK else 900)]
PAGES = 4
FULL_LOG = 3960 * 4120  # SQLite empties the log from 4,000 frames of 4,120 bytes on
PHASES = ("opening", "learning", "closing")  # of a run, from which on it is struck
STATES = {  # stores as a kill has left them: pages, and bytes of log
    "empty": None,
    "half way": (2, 0),
    "full log": (2, FULL_LOG),
    "at the end": (PAGES, 0),
    "at the end, full log": (PAGES, FULL_LOG),
}


def odd_employees():
    """Return rows of which some come twice, with other values, or not as they should be."""
    rows = employees(PAGES * 10 - 3, seed=11)
    rows[17] = rows[3]
    rows[24] = rows[8] | {"competence": 9.0}
    rows[31] = rows[31] | {"competence": None}
    return rows


@dataclass
class World:
    """A service, stores that were left behind by a kill, and the tables of an undisturbed run."""

    url: str
    folder: Path
    clean: dict = field(default_factory=dict)
    calls: dict[tuple, dict[str, int]] = field(default_factory=dict)  # of a run, by state and phase
    _number: count = field(default_factory=count)

    def fresh(self, state="empty"):
        """Lay the files of a store that was left behind into a new folder; return its path."""
        folder = self.folder / f"try-{next(self._number)}"
        folder.mkdir()
        for end in ("", "-wal"):
            if (file := self.folder / state / f"promo.db{end}").exists():
                shutil.copy(file, folder)
        if left := STATES[state]:
            (folder / "committed.txt").write_text(f"{left[0] - 1}\n")
        return folder / "promo.db"

    def arguments(self, db):
        """Return the arguments of `promo run`."""
        return ["run", "--api", self.url, "--db", db]

    def finish(self, db):
        """Run on without a fault; hold the store against its rows and an undisturbed one."""
        assert run_plainly(self.arguments(db), db.parent / "said.txt") == (0, "")
        with Store.read_only(db) as reader:
            assert_sound(reader)
            assert dump(reader) == self.clean

    def check(self, db):
        """Hold what a fault has left against its rows, then finish it; return its newest page."""
        before = look(db)
        self.finish(db)
        shutil.rmtree(db.parent)
        return before


def look(db):
    """Hold a store against its rows, in a copy, so that recovery is left to the next run.

    Returns the newest page, -1 if there is none: no earlier one than was committed.
    """
    aside = db.parent / "look"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for end in ("", "-wal", "-journal"):
        if (file := db.with_name(db.name + end)).exists():
            shutil.copy(file, aside)
    copy = aside / db.name
    with closing(sqlite3.connect(copy)) as connection:  # undoes what was under way
        made = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    newest = -1
    if made:
        with Store.read_only(copy) as reader:
            assert_sound(reader)
            newest = -1 if reader.page is None else reader.page
    notes = db.with_name("committed.txt")
    committed = notes.read_text().split() if notes.exists() else []
    assert newest >= max(map(int, committed), default=-1), "a page that was committed is gone"
    return newest


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Make the stores that were left behind, and count what a run from each does."""
    require("strace")
    folder = tmp_path_factory.mktemp("crash")
    with ScriptedServer(odd_employees()) as server:
        world = World(server.url, folder)
        undisturbed = world.fresh()
        assert run_plainly(world.arguments(undisturbed), folder / "said.txt") == (0, "")
        with Store.read_only(undisturbed) as reader:
            assert (reader.page, reader.totals()["rejected"]) == (PAGES - 1, 1)
            world.clean = dump(reader)
        for state, left in STATES.items():
            (folder / state).mkdir()
            if left:
                db = folder / state / "promo.db"
                with child(crash.learn_and_die, db, world.url, *left) as process:
                    assert exit_code(process, 60) == -9
            for phase in PHASES:
                db = world.fresh(state)
                code, said, calls = run_promo(world.arguments(db), db, phase=phase)
                assert (code, said) == (0, "")
                world.calls[state, phase] = calls_of_the_first(calls)
                world.check(db)
        print(world.calls)
        yield world


def instants(world, dice, calls, whole=()):
    """Return (state, phase, system call, which of them): the first of each kind, a share of all.

    From what is in `whole`, and in the long form, every one that there is.
    """
    first, rest = [], []
    for (state, phase), made in world.calls.items():
        for call in sorted(calls & made.keys()):
            each = [(state, phase, call, nth) for nth in range(1, made[call] + 1)]
            taken = len(each) if (state, phase) in whole else 1
            first += each[:taken]
            rest += dice.sample(each[taken:], round((len(each) - taken) * FEW.get(call, 1.0)))
    return sorted(first + dice.sample(rest, round(len(rest) * SHARE)))


def strike_all(cases, strike):
    """Strike in every case, three at a time, as each waits a lot; raise with all that was lost."""
    lost = []

    def attempt(case):
        try:
            return strike(*case)
        except Exception as error:
            lost.append(f"{case}: {type(error).__name__}: {str(error)[:500]}")

    with ThreadPoolExecutor(3) as pool:
        outcomes = Counter(map(str, pool.map(attempt, cases)))
    print(outcomes, *lost, sep="\n")
    assert not lost, f"{len(lost)} of {len(cases)} lost:\n" + "\n".join(lost)
    return outcomes


def test_killed_at_every_system_call(world, record_property):
    """SIGKILL at any call on the store's files loses nothing; finished, no table tells of it."""
    cases = instants(
        world, random.Random(1), KILLED_AT, whole={("empty", phase) for phase in PHASES}
    )

    def strike(state, phase, call, nth):
        db = world.fresh(state)
        arguments = world.arguments(db)
        code, said, _ = run_promo(arguments, db, f"{call}:signal=KILL:when={nth}", phase)
        assert (code, said) == (-9, "")
        world.check(db)
        return code

    record_property("tried", len(cases))
    strike_all(cases, strike)


KILLED_AT = {"write", "pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "rename", "openat"}


def test_killed_again_while_it_recovers(world, record_property):
    """SIGKILL, and SIGKILL again while the next run opens the file or does its first commits."""
    dice = random.Random(2)
    first = instants(world, dice, {"pwrite64", "fdatasync", "unlink"})
    cases = [
        (*case, call, dice.randint(1, most))
        for case in dice.sample(first, len(first) // 2 if SOAK >= 1 else 10)
        for call, most in (("pwrite64", 40), ("openat", 4))
    ]

    def strike(state, phase, call, nth, again, nth_again):
        db = world.fresh(state)
        for what, when in (
            (f"{call}:signal=KILL:when={nth}", phase),
            (f"{again}:signal=KILL:when={nth_again}", "opening"),
        ):
            code, said, _ = run_promo(world.arguments(db), db, what, when)
            assert (code, said) in ((-9, ""), (0, ""))
        world.check(db)
        return code

    record_property("tried", len(cases))
    strike_all(cases, strike)


@pytest.mark.parametrize(
    ("error", "when"),
    [("ENOSPC", "once"), ("ENOSPC", "forever"), ("EIO", "once"), ("EIO", "forever")],
)
def test_a_disk_that_fails(error, when, world, record_property):
    """It ends with exit code 1 and one line, or all is well; nothing lost, and it goes on after."""
    calls = KILLED_AT | ({"pread64"} if error == "EIO" else set())
    cases = instants(world, random.Random(f"{error} {when}"), calls)
    cases = random.Random(3).sample(cases, round(len(cases) * OF_DISK) if SOAK else 20)

    def strike(state, phase, call, nth):
        db = world.fresh(state)
        then = "+" if when == "forever" else ""
        arguments = world.arguments(db)
        code, said, _ = run_promo(arguments, db, f"{call}:error={error}:when={nth}{then}", phase)
        if code == 0:  # as where the log could not be emptied at the very end: it is kept
            assert said == ""
            assert look(db) == PAGES - 1
        else:
            assert code == 1, said
            assert said.startswith("promo: "), said
            assert said.count("\n") == 1, said
            assert "promo.db" in said, said
        world.check(db)
        return code

    record_property("tried", len(cases))
    strike_all(cases, strike)


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_disk_that_fails_again_in_the_recovery(error, world, record_property):
    """Each try fails anew, in one process; once the disk is well, the next one ends as ever."""
    cases = instants(world, random.Random(f"again {error}"), KILLED_AT | {"pread64"})
    cases = [(state, *call) for state, phase, *call in cases if phase == "opening"]
    cases = random.Random(4).sample(cases, round(len(cases) * OF_DISK) if SOAK else 15)

    def strike(state, call, nth):
        db = world.fresh(state)
        (hears, said), (waits, go) = (context.Pipe(duplex=False) for _ in range(2))
        arguments = (db, world.url, said, waits)
        with hears, said, waits, go, child(crash.learn_against_odds, *arguments) as process:

            def attempt():
                go.send(True)
                assert hears.poll(DEADLINE_S)
                return hears.recv()

            with tracing(process, db, f"{call}:error={error}:when={nth}+"):
                failed = [attempt()]
                while failed[-1] and len(failed) < 4:
                    look(db)
                    failed.append(attempt())
            assert not failed[-1] or not attempt()
            go.send(False)
            assert exit_code(process, DEADLINE_S) == 0
        assert all("promo.db" in each for each in failed if each)
        assert look(db) == PAGES - 1
        world.check(db)
        return len(list(filter(None, failed)))

    record_property("tried", len(cases))
    strike_all(cases, strike)


def test_a_full_disk(world, record_property):
    """However few pages the file may grow by, what fits is kept; with more room it goes on."""
    cases = [(room,) for room in range(0, 5, 1 if SOAK else 2)]

    def strike(room):
        db = world.fresh("half way")
        said = db.parent / "full.txt"
        with child(crash.learn_on_a_full_disk, db, world.url, room, said) as process:
            assert exit_code(process, 60) == 0
        assert said.read_text() == f"{db}: database or disk is full"
        before = world.check(db)
        assert 1 <= before < PAGES - 1
        return before

    record_property("tried", len(cases))
    strike_all(cases, strike)


def test_killed_at_random_instants(world, record_property):
    """Killed again and again at random instants and run to the end, the tables are as ever."""
    chains = 10

    def strike(chain):
        dice = random.Random(chain)
        kills, db = 0, world.fresh()
        while kills < KILLS / chains:
            ours, its = context.Pipe()
            arguments = list(map(str, world.arguments(db)))
            with ours, its, child(crash.promo, arguments, db.parent / "said.txt", its) as process:
                ours.send(True)
                threading.Event().wait(dice.uniform(0.0, 0.1))  # the instant is what is random
                process.kill()
                kills += exit_code(process) == -9
            if look(db) == PAGES - 1:
                world.check(db)
                db = world.fresh(dice.choice([*STATES]))
        world.check(db)
        return kills

    outcomes = strike_all([(chain,) for chain in range(chains)], strike)
    record_property("tried", sum(int(kills) * times for kills, times in outcomes.items()))
