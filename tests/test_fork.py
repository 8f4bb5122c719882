"""Tests of `promo.fork` and of `Reader.as_of`: real files, real models, other writers beside."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import crash
from pages import bad, batch, employees, pages_of
from programs import require
from promo.errors import StoreError, StoreLocked
from promo.fork import fork
from promo.line import Line
from promo.models.default import EXPERTS, FULL, MIXTURE, USUAL, default_models
from promo.models.sgd import SGDLogistic
from promo.store import Store, clock
from strace import DEADLINE_S, child, context, tracing
from tables import dump

ALL = (*EXPERTS, MIXTURE)
SOURCE = "world:collider"
RATE = SGDLogistic.name


def opened(path, names=USUAL, size=10):
    """Open a store and its line."""
    models, settings = default_models(names, SOURCE)
    store = Store(path, source=SOURCE, page_size=size, settings=settings)
    return store, Line(store, models)


def learn(path, batches, names=USUAL, size=10, rates=()):
    """Learn the pages that come after the newest; `rates` says before which the rate changes."""
    store, line = opened(path, names, size)
    rates = dict(rates)
    with store:
        start = 0 if store.page is None else store.page + 1
        for each in batches[start:]:
            if each.page in rates:
                line.change_rate(RATE, rates[each.page])
            line.learn(each)
        return dump(store)


def forked(path, page, to, **options):
    with Store.read_only(path) as source:
        fork(source, page, to, **options)
    return to


def dump_as_of(path, page):
    with Store.read_only(path) as reader, reader.as_of(page):
        return dump(reader)


def tables(path):
    """Return every table of a store, without the event that says it is a fork."""
    with Store.read_only(path) as reader:
        return without_fork(dump(reader))


def without_fork(tables):
    return tables | {"event": [row for row in tables["event"] if row[-1] != "forked"]}


def checkpoints(path):
    with Store.read_only(path) as reader:
        return reader.checkpoints


def troubled(rows=236, seed=3):
    """Return pages of which some have bad rows, duplicates or conflicts; the last one is short."""
    ability, competence, promoted = employees(rows, seed)
    pages = pages_of((ability, competence, promoted))
    for at in (4, 11, 12):
        again = pages[at - 1]
        ids = [*pages[at].ids[:7], again.ids[2], again.ids[3]]
        a = [*pages[at].network_ability[:7], again.network_ability[2], 5.0]  # the 2nd contradicts
        c = [*pages[at].competence[:7], again.competence[2], again.competence[3]]
        p = [*pages[at].promoted[:7], again.promoted[2], again.promoted[3]]
        pages[at] = batch(at, a, c, p, ids=ids, rejected=[bad(9)])
    pages[15] = batch(15, [], [], [], rejected=[bad(at) for at in range(10)])
    return pages


# -- as it was ---------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [USUAL, ALL])
def test_as_of_a_page_a_store_is_what_it_was_when_that_page_had_come(names, tmp_path):
    """Every table but the clock, at every page: with bad pages, a new rate, all the experts."""
    pages, rates = troubled(), {6: 0.1, 12: 0.003}
    whole = tmp_path / "whole.db"
    learn(whole, pages, names, rates=rates)
    for page in (0, 5, 11, 12, 15, len(pages) - 1):
        stopped = learn(tmp_path / f"{page}.db", pages[: page + 1], names, rates=rates)
        with Store.read_only(whole) as reader:
            with reader.as_of(page):
                assert dump(reader) == stopped
                assert reader.page == page
            assert reader.page == len(pages) - 1


def test_as_of_a_page_nothing_is_seen_of_what_is_written(tmp_path):
    """Within `as_of` two looks agree, whatever is committed in between; after it, all is there."""
    pages = pages_of(employees(300))
    learn(tmp_path / "a.db", pages[:20])
    store, line = opened(tmp_path / "a.db")
    with store, Store.read_only(store.path) as reader:
        with reader.as_of(19):
            before = dump(reader)
            for each in pages[20:]:
                line.learn(each)
            assert dump(reader) == before
        assert reader.page == 29


def test_a_page_without_a_checkpoint_is_refused_in_words(tmp_path):
    """Later than the newest, thinned away, or before the first: the message says which are kept."""
    learn(tmp_path / "a.db", pages_of(employees(1010), 1), size=1)
    with Store.read_only(tmp_path / "a.db") as reader:
        for page, kept in ((7, "6 or 8"), (1010, "1,009"), (-1, "0")):
            with pytest.raises(StoreError, match=f"is not kept; choose {kept}, the nearest that"):
                fork(reader, page, tmp_path / "b.db")
        assert reader.page == 1009  # and it reads on as ever
    learn(tmp_path / "empty.db", [])
    with pytest.raises(StoreError, match="no page is stored yet"):
        forked(tmp_path / "empty.db", 0, tmp_path / "b.db")
    assert not (tmp_path / "b.db").exists()


# -- the same settings -------------------------------------------------------------------------


@pytest.mark.parametrize("names", [USUAL, ALL])
def test_a_fork_comes_to_the_same_tables(names, tmp_path):
    """Forked at any page and run to the end, every table is the original's, to the bit."""
    pages, rates = troubled(), {6: 0.1}
    expected = learn(tmp_path / "a.db", pages, names, rates=rates)
    for page in (0, 6, 11, 12, 15, len(pages) - 1):
        path = forked(tmp_path / "a.db", page, tmp_path / f"{page}.db")
        later = {at: rate for at, rate in rates.items() if at > page}
        assert without_fork(learn(path, pages, names, rates=later)) == expected


def test_a_fork_comes_to_the_same_tables_across_a_change_of_stride(tmp_path):
    """Whether history was thinned before the fork or is after it."""
    pages = pages_of(employees(1010), 1)
    learn(tmp_path / "a.db", pages[:900], size=1)
    early = forked(tmp_path / "a.db", 777, tmp_path / "early.db")
    expected = learn(tmp_path / "a.db", pages, size=1)
    late = forked(tmp_path / "a.db", 900, tmp_path / "late.db")
    newest = forked(tmp_path / "a.db", 1009, tmp_path / "newest.db")
    for path in (early, late, newest):
        assert without_fork(learn(path, pages, size=1)) == expected


def test_a_short_page_is_forked_at_and_grows_in_both(tmp_path):
    """A fork at a short last page goes on within it, as the original does."""
    whole = pages_of(employees(48))
    short = [*whole[:4], whole[4].head(3)]
    rest = whole[4].take(whole[4].positions >= 3)
    learn(tmp_path / "a.db", short)
    forked(tmp_path / "a.db", 4, tmp_path / "b.db")
    for name in ("a.db", "b.db"):
        store, line = opened(tmp_path / name)
        with store:
            assert store.cursor == (4, 3)
            line.learn(rest)
    assert tables(tmp_path / "b.db") == tables(tmp_path / "a.db")


def test_a_rate_set_after_a_short_last_page_is_of_no_page_yet(tmp_path):
    """Going back to that page undoes it: in the states, and in the list of events."""
    pages = troubled()
    expected = learn(tmp_path / "a.db", pages)
    store, line = opened(tmp_path / "a.db")
    with store:
        time.sleep(0.002)  # the clock of events counts milliseconds
        line.change_rate(RATE, 0.5)
    forked(tmp_path / "a.db", len(pages) - 1, tmp_path / "b.db")
    assert tables(tmp_path / "b.db") == without_fork(expected)


@pytest.mark.parametrize("names", [USUAL, FULL])
def test_a_clock_that_is_put_back_takes_no_event_away(names, tmp_path, monkeypatch):
    """A rate set before a page is of that page, though by the clock the page came first."""
    pages = pages_of(employees(120))
    store, line = opened(tmp_path / "a.db")
    with store:
        for each in pages[:10]:
            line.learn(each)
        line.change_rate(RATE, 0.9)
        monkeypatch.setattr(clock.time, "time_ns", lambda: 10**18)
        line.learn(pages[10])
    models, settings = default_models(names, SOURCE)
    path = forked(tmp_path / "a.db", 10, tmp_path / "b.db", models=models, settings=settings)
    with Store.read_only(tmp_path / "a.db") as old, Store.read_only(path) as new:
        assert [event.page for event in new.events("learning_rate")] == [10]
        assert new.states[RATE] == old.states[RATE]


def test_a_clock_that_is_put_back_brings_no_later_event_into_the_past(tmp_path, monkeypatch):
    """What came after a short last page has its number as well, and by this clock an earlier time.

    What the page brought itself has no number of rows but its own, and stays.
    """
    pages = pages_of(employees(120))
    store, line = opened(tmp_path / "a.db")
    with store:
        for each in [*pages[:4], pages[4].head(5)]:
            line.learn(each)
        store._insert_event(4, "conflict", {"id": 1}, store._committed_at)
        monkeypatch.setattr(clock.time, "time_ns", lambda: 10**18)
        line.record("story")
        line.record("mine", rows=1)
        with Store.read_only(tmp_path / "a.db") as reader, reader.as_of(4):
            assert [event.kind for event in reader.events()] == ["conflict"]


def test_other_models_learn_a_page_that_has_grown_in_its_parts(tmp_path):
    """At the rate of each part: not the first one at that which was set before the second."""
    whole = pages_of(employees(60))
    parts = [whole[4].head(5), whole[4].take(whole[4].positions >= 5), whole[5]]
    store, line = opened(tmp_path / "a.db")
    with store:
        for each in [*whole[:4], parts[0]]:
            line.learn(each)
        line.change_rate(RATE, 0.9)
        for each in parts[1:]:
            line.learn(each)
    models, settings = default_models(FULL, SOURCE)
    path = forked(tmp_path / "a.db", 5, tmp_path / "b.db", models=models, settings=settings)
    with Store.read_only(tmp_path / "a.db") as old, Store.read_only(path) as new:
        assert new.states[RATE] == old.states[RATE]
        ours, theirs = ({m[:2]: m.value for m in each.metrics()} for each in (new, old))
        assert theirs[RATE, "log_loss"] == ours[RATE, "log_loss"]


def test_a_fork_of_a_store_that_is_being_written(tmp_path):
    """A fork takes one moment of a running stream, and does not disturb it."""
    pages = pages_of(employees(2000))
    learn(tmp_path / "a.db", pages[:50])
    runs = threading.Thread(target=learn, args=(tmp_path / "a.db", pages))
    runs.start()
    for at in range(5):
        forked(tmp_path / "a.db", 8 * at, tmp_path / f"{at}.db")
    runs.join()
    for at in range(5):
        learn(tmp_path / f"{at}.db", pages)
        assert tables(tmp_path / f"{at}.db") == tables(tmp_path / "a.db")


# -- other settings ----------------------------------------------------------------------------


def test_a_fork_at_another_rate(tmp_path):
    """It is the original up to the page, then what a run is whose rate changed there."""
    pages = troubled()
    learn(tmp_path / "a.db", pages)
    models, _ = default_models(source=SOURCE)
    path = forked(tmp_path / "a.db", 9, tmp_path / "b.db", models=models, rates={RATE: 0.3})
    expected = learn(tmp_path / "c.db", pages, rates={10: 0.3})
    assert without_fork(learn(path, pages)) == expected
    with Store.read_only(path) as reader:
        [event] = reader.events("forked")
        rows = sum(len(each.ids) for each in pages[:10]) - 2  # a duplicate and a conflict
        assert event.page == 10
        assert event.detail == {"from": "a.db", "page": 9, "rows": rows, "anew": False}


def test_a_fork_knows_where_it_came_from(tmp_path):
    """As seen from where it lies, also where its folder is a link to another."""
    learn(tmp_path / "a.db", troubled())
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    path = forked(tmp_path / "a.db", 9, tmp_path / "link" / "b.db")
    with Store.read_only(path) as reader:
        [event] = reader.events("forked")
    assert (path.resolve().parent / event.detail["from"]).resolve() == tmp_path / "a.db"


def test_a_fork_with_other_models_is_as_if_they_had_been_there(tmp_path):
    """They learn its rows page by page, at the rates of the time, and go on from there."""
    pages, rates = troubled(), {6: 0.1}
    learn(tmp_path / "a.db", pages, rates=rates)
    models, settings = default_models(FULL, SOURCE)
    path = forked(tmp_path / "a.db", 16, tmp_path / "b.db", models=models, settings=settings)
    stopped = learn(tmp_path / "c.db", pages[:17], FULL, rates=rates)
    assert tables(path) == stopped
    assert without_fork(learn(path, pages, FULL)) == learn(tmp_path / "c.db", pages, FULL)
    with Store.read_only(path) as reader:
        assert reader.events("forked")[0].detail["anew"]


@pytest.mark.parametrize("before", [USUAL, (*FULL, "naive-bayes")])
def test_other_models_find_out_what_others_have(before, tmp_path):
    """What the source's experts found of a drift goes; what the fork's find stands in its place."""
    ability, competence, promoted = employees(1500, seed=5)
    promoted[700:] ^= True
    pages, rates = pages_of((ability, competence, promoted)), {60: 0.02, 140: 0.03}
    learn(tmp_path / "a.db", pages, before, rates=rates)
    models, settings = default_models(FULL, SOURCE)
    path = forked(tmp_path / "a.db", 149, tmp_path / "b.db", models=models, settings=settings)
    expected = learn(tmp_path / "c.db", pages, FULL, rates=rates)
    kinds = [row[-1] for row in expected["event"]]
    assert kinds[0] == kinds[-1] == "learning_rate"
    assert {*kinds[1:-1]} == {"drift"}
    assert tables(path) == expected
    for page in (100, 149):
        assert dump_as_of(path, page)["event"] == dump_as_of(tmp_path / "c.db", page)["event"]


def test_other_models_are_thinned_as_a_run_is(tmp_path):
    """Of a thousand pages and more that are learned anew, those are kept that a run keeps."""
    pages = pages_of(employees(1010), 1)
    learn(tmp_path / "a.db", pages, size=1)
    names = (RATE, "base-rate")
    models, settings = default_models(names, SOURCE)
    path = forked(tmp_path / "a.db", 1009, tmp_path / "b.db", models=models, settings=settings)
    expected = learn(tmp_path / "c.db", pages, names, size=1)
    for table in ("model", "coefficient", "metric", "checkpoint"):
        assert tables(path)[table] == expected[table]


def test_rows_in_parquet_files_are_not_forked(tmp_path):
    """A fork would lack the rows of before: it is refused, and says why."""
    models, settings = default_models(source=SOURCE, merging=True)
    settings |= {"parquet": True}
    with Store(tmp_path / "a.db", source=SOURCE, page_size=10, settings=settings) as store:
        line = Line(store, models)
        line.learn(pages_of(employees(10))[0])
    for models in (default_models()[0], None):
        with pytest.raises(StoreError, match="Parquet files"):
            forked(tmp_path / "a.db", 0, tmp_path / "b.db", models=models)
        assert not (tmp_path / "b.db").exists()


def test_no_rate_of_a_model_that_has_none(tmp_path):
    """It is refused, and no file is left."""
    learn(tmp_path / "a.db", troubled())
    models, _ = default_models(source=SOURCE)
    with pytest.raises(ValueError, match="'moments' has no learning rate"):
        forked(tmp_path / "a.db", 3, tmp_path / "b.db", models=models, rates={"moments": 1.0})
    assert not [*tmp_path.glob("b.db.part*"), *tmp_path.glob("b.db")]


# -- the file ----------------------------------------------------------------------------------


def test_a_file_that_is_there_is_not_touched(tmp_path):
    """Neither another store nor the source itself is overwritten."""
    before = learn(tmp_path / "a.db", troubled())
    (tmp_path / "b.db").write_text("mine")
    for name in ("a.db", "b.db"):
        with pytest.raises(StoreError, match="is there already"):
            forked(tmp_path / "a.db", 3, tmp_path / name)
    assert (tmp_path / "b.db").read_text() == "mine"
    assert tables(tmp_path / "a.db") == before
    assert not [*tmp_path.glob("*.part*")]


def test_a_name_that_is_being_written_is_refused(tmp_path):
    """Whoever holds the lock of the new name is named."""
    learn(tmp_path / "a.db", troubled())
    (tmp_path / "b").mkdir()
    store, _ = opened(tmp_path / "b" / "a.db")
    with store, pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
        forked(tmp_path / "a.db", 3, store.path)


KILLED = """
import os, signal, sys
from promo.fork import fork
from promo.store import Store
from promo.store import new
step = sys.argv[3]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if step == "copy":
    Store.record = die
else:
    new.sync = die
with Store.read_only(sys.argv[1]) as source:
    fork(source, 3, sys.argv[2])
"""


@pytest.mark.parametrize("step", ["copy", "sync"])
def test_a_fork_that_is_killed_leaves_no_store(step, tmp_path):
    """Killed before it is on the disk, there is no file of its name; the next try makes it."""
    learn(tmp_path / "a.db", troubled())
    command = [sys.executable, "-c", KILLED, tmp_path / "a.db", tmp_path / "b.db", step]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert [*tmp_path.glob("b.db.part")]
    assert not (tmp_path / "b.db").exists()
    path = forked(tmp_path / "a.db", 3, tmp_path / "b.db")
    assert {p.name for p in tmp_path.glob("b.db*")} == {"b.db", "b.db.lock"}
    assert checkpoints(path) == [0, 1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_disk_that_fails_as_the_log_is_emptied(error, tmp_path):
    """What is committed in the log alone is no fork: one line, no file, and the next try works."""
    require("strace")
    path, to = tmp_path / "whole.db", tmp_path / "fork.db"
    learn(path, pages_of(employees(200)))
    (hears, said), (waits, go) = (context.Pipe(duplex=False) for _ in range(2))
    with hears, said, waits, go, child(crash.fork_there, path, 15, to, said, waits) as process:
        only = [to.with_name("fork.db.part")]
        with tracing(process, to, f"pwrite64:error={error}:when=1+", only):
            go.send(True)
            assert hears.poll(DEADLINE_S)
            problem = hears.recv()
    assert problem.startswith(f"{to}.part: ")
    assert [file.name for file in tmp_path.glob("fork.db*")] == ["fork.db.lock"]
    assert tables(forked(path, 15, to))["page"] == tables(path)["page"][:16]
