"""Tests of `promo.store`: one transaction per page, one writer, many readers, clear refusals."""

import gc
import json
import math
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promo
from pages import bad, batch, cuts, employees, pages_of, split
from promo.batch import decode_page
from promo.cli import main
from promo.errors import StoreError, StoreLocked, StoreMismatch
from promo.history import History
from promo.models.default import default_models
from promo.models.regressions import Regressions
from promo.models.results import Coefficient, Metric, ModelState
from promo.models.sgd import SGDLogistic
from promo.show import facts_of
from promo.store import Cursor, Store, new_store
from promo.stream import PageStream
from promo.trainer import Trainer
from tables import SCHEMA, dump

SOURCE = "http://127.0.0.1:9"
IDENTITY = {"source": SOURCE, "page_size": 10, "settings": {"alpha": 0.05}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "promo.db"


@pytest.fixture
def store(path):
    with Store(path, **IDENTITY) as store:
        yield store


def made_up(page, text="[]"):
    """Return states, coefficients and metrics of one model that has learned nothing real."""
    return (
        [ModelState("m", page, text)],
        [Coefficient("m", "intercept", page / 10, ci_low=-1e100)],
        [Metric("m", "rows", page)],
    )


def commit(store, each, results=None):
    sifted = store.sift(each)
    store.commit(each, sifted, *(results or made_up(each.page)))
    return sifted


def page_of(page, rows=10, **more):
    return batch(page, *employees(rows, seed=page), **more)


# -- what is in the file ------------------------------------------------------------------------


def test_the_schema_is_the_designs(store):
    """The tables and columns are those of DESIGN 5, in order, and every table is STRICT."""
    tables = store.query("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'")
    found = {name: strict for name, strict in tables if not name.startswith("sqlite_")}
    assert found == dict.fromkeys(SCHEMA, 1)
    for table, columns in SCHEMA.items():
        assert [row[1] for row in store.query(f"PRAGMA table_info({table})")] == columns.split()
    assert store.query("PRAGMA journal_mode") == [("wal",)]
    assert store.query("PRAGMA synchronous") == [(1,)]


def test_full_synchronous_on_request(path):
    """`synchronous="FULL"` reaches SQLite, also after `reopen`."""
    with Store(path, **IDENTITY, synchronous="FULL") as store:
        store.reopen()
        assert store.query("PRAGMA synchronous") == [(2,)]


def test_round_trip(path):
    """Everything committed is read back equal, by the writer, after reopening, and by a reader."""
    each = page_of(3, 7, rejected=[bad(7), bad(9)])
    states = [ModelState("m", 7, '{"x":0.1}'), ModelState("n", 3, "[]")]
    coefficients = [
        Coefficient("m", "intercept", 1e-300, 0.1, -2.5, 1 / 3, -1e100, 5e-324, 0.2, 0.3, 0.4),
        Coefficient("m", "competence", math.nan),
    ]
    metrics = [Metric("m", "log_loss", 0.1 + 0.2), Metric("m", "roc_auc", math.nan)]
    with Store(path, **IDENTITY) as store:
        commit(store, each, (states, coefficients, metrics))
        event = store.record("drift", {"text": "ä", "value": 0.1})
        readers = [store, Store.read_only(path)]
        for reader in readers:
            np.testing.assert_equal(sorted(reader.coefficients()), sorted(coefficients))
            np.testing.assert_equal(sorted(reader.metrics()), sorted(metrics))
            assert reader.states == {"m": '{"x":0.1}', "n": "[]"}
            assert (reader.source, reader.page_size) == (SOURCE, 10)
            assert reader.settings == {"alpha": 0.05}
            assert (reader.page, reader.rows) == (3, 7)
            assert reader.cursor == Cursor(3, 9)
            assert reader.events() == [event]
            assert reader.totals() == {
                "received": 9,
                "inserted": 7,
                "duplicate": 0,
                "conflicting": 0,
                "rejected": 2,
            }
            assert reader.data() == [
                (1 + at, *row)
                for at, row in enumerate(
                    zip(
                        each.ids.tolist(),
                        each.network_ability.tolist(),
                        each.competence.tolist(),
                        each.promoted.tolist(),
                        strict=True,
                    )
                )
            ]
            assert reader.query("SELECT * FROM quarantine") == [(3, *bad(7)), (3, *bad(9))]
            assert reader.query("SELECT page, first_id, last_id, digest FROM page") == [
                (3, 30, 36, "digest-3")
            ]
            assert json.loads(reader.query("SELECT states FROM checkpoint")[0][0]) == {
                "m": {"x": 0.1},
                "n": [],
            }
        readers[1].close()
        before = dump(store)
    with Store(path, **IDENTITY) as store:
        assert dump(store) == before


def test_what_is_learned_is_what_is_stored(store):
    """Every number that a page may bring comes back from `data` with the same bits, zeros too."""
    numbers = [-0.0, 0, 5e-324, -1e-310, 0.1, 1e100, -1e100, 12345678901234567, 1e16 + 2, 3.0]
    rows = [
        {"id": at, "competence": x, "network_ability": -x, "promoted": at % 2}
        for at, x in enumerate(numbers)
    ]
    each = decode_page(json.dumps(rows).encode(), 10).batch(0)
    commit(store, each)
    _, _, network_ability, competence, _ = zip(*store.data(), strict=True)
    for stored, learned in (
        (network_ability, each.network_ability),
        (competence, each.competence),
    ):
        assert [x.hex() for x in stored] == [x.hex() for x in learned.tolist()]
    assert store.sift(each).duplicate == 10


def test_a_page_committed_twice_changes_nothing_in_data(store):
    """The second time all its rows count as duplicates; data and first and last id stay."""
    each = page_of(0)
    commit(store, each)
    data = store.data()
    sifted = commit(store, each)
    assert (sifted.duplicate, sifted.conflicts, len(sifted.fresh.ids)) == (10, (), 0)
    assert store.data() == data
    assert store.totals() == {
        "received": 20,
        "inserted": 10,
        "duplicate": 10,
        "conflicting": 0,
        "rejected": 0,
    }
    assert store.query("SELECT first_id, last_id FROM page") == [(0, 9)]


def test_a_conflicting_row_never_overwrites(store):
    """Same id, other values: data keeps the first, the row is in quarantine and in an event."""
    commit(store, batch(0, [1.0], [2.0], [True], ids=[7]))
    for page, values in enumerate([([1.5], [2.0], [True]), ([1.0], [2.0], [False])], start=1):
        sifted = commit(store, batch(page, *values, ids=[7]))
        assert sifted.counts(batch(page, *values)) == (1, 0, 0, 1, 0)
    assert store.data() == [(1, 7, 1.0, 2.0, 1)]
    assert [(e.page, e.kind) for e in store.events()] == [(1, "conflict"), (2, "conflict")]
    found = store.query("SELECT page, position, reason, raw FROM quarantine")
    assert [row[:2] for row in found] == [(1, 0), (2, 0)]
    assert all("id 7 is stored with other values" in row[2] for row in found)
    assert json.loads(found[0][3]) == {
        "id": 7,
        "network_ability": 1.5,
        "competence": 2.0,
        "promoted": 1,
    }


some_rows = st.lists(
    st.tuples(st.sampled_from([0.5, -1.0]), st.just(0.0), st.booleans(), st.integers(0, 15)),
    max_size=10,
)


@given(st.lists(st.tuples(some_rows, st.integers(0, 2)), max_size=6))
@settings(max_examples=60, deadline=None)
def test_every_row_is_accounted_for(tmp_path_factory, pages):
    """Whatever ids come again, the first is kept, and every row received is counted once."""
    path = tmp_path_factory.mktemp("store") / "promo.db"
    kept, conflicts, became = {}, Counter(), Counter()
    with Store(path, **IDENTITY) as store:
        for page, (rows, rejected) in enumerate(pages):
            columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 4
            each = batch(
                page,
                *columns[:3],
                ids=columns[3],
                rejected=[bad(len(rows) + at) for at in range(rejected)],
            )
            commit(store, each)
            became["received"] += len(rows) + rejected
            became["rejected"] += rejected
            for *values, id_ in rows:
                before = kept.setdefault(id_, (values, page))
                if before == (values, page) and before[0] is values:
                    became["inserted"] += 1
                elif before[0] == values:
                    became["duplicate"] += 1
                else:
                    became["conflicting"] += 1
                    conflicts[page] += 1
        assert [row[1:] for row in store.data()] == [
            (id_, n, c, p) for id_, ((n, c, p), _) in kept.items()
        ]
        assert store.totals() == {name: became[name] for name in store.totals()}
        assert sum(became.values()) == 2 * became["received"]
        assert Counter(event.page for event in store.events("conflict")) == conflicts
        quarantined = became["conflicting"] + became["rejected"]
        assert store.query("SELECT count(*) FROM quarantine") == [(quarantined,)]
        assert store.rows == len(kept)


def test_arrival_order_is_rowid(store):
    """Rows in falling order of id, with gaps and rejections between, are read back as they came."""
    ids = [9, 3, 2**63 - 1, 0]
    commit(store, batch(0, [1, 2, 3, 4], [0, 0, 0, 0], [0, 1, 0, 1], ids=ids))
    commit(store, batch(1, [], [], [], rejected=[bad(0)]))
    commit(store, batch(2, [5, 1, 6], [0, 0, 0], [0, 0, 0], ids=[5, 9, 4]))
    assert [row[:2] for row in store.data()] == list(enumerate([*ids, 5, 4], start=1))
    assert store.rows == 6


@pytest.mark.parametrize(
    ("rows", "rejected", "cursor"),
    [(10, 0, (5, 0)), (7, 3, (5, 0)), (0, 10, (5, 0)), (7, 0, (4, 7)), (6, 2, (4, 8))],
)
def test_the_cursor_goes_on_where_the_last_page_ended(store, rows, rejected, cursor):
    """After a full page the next one; after a short one the rest of it, rejected rows counted."""
    assert store.cursor is None
    each = page_of(4, rows, rejected=[bad(rows + at) for at in range(rejected)])
    commit(store, each)
    assert store.cursor == cursor
    assert store.page == 4


def test_a_short_page_that_grew_is_one_page(store):
    """Its rest, committed later, adds to its ledger; the cursor moves on."""
    commit(store, page_of(4, 7))
    commit(store, batch(4, [1, 2, 3], [0, 0, 0], [0, 0, 0], ids=[47, 48, 49]))
    assert store.query("SELECT page, received, inserted, first_id, last_id FROM page") == [
        (4, 10, 10, 40, 49)
    ]
    assert store.cursor == Cursor(5, 0)


@pytest.mark.parametrize(
    "pages",
    [range(2300), range(1900, 6500, 3), [0, 1, 2, 999, 1000, 1001, 1001, 5000, 5000, 9001]],
    ids=["every page", "late and with gaps", "jumps and repeats"],
)
def test_the_thinned_tables_are_the_history(store, pages):
    """Coefficient, metric and checkpoint hold the very pages that History holds."""
    history = History(["x"])
    for at, page in enumerate(pages):
        commit(store, batch(page, [], [], []))
        history.append(page, [page])
        if at % 450 == 0 or at == len(pages) - 1:
            for table in ("coefficient", "metric", "checkpoint"):
                found = store.query(f"SELECT page FROM {table} ORDER BY page")
                assert [page for [page] in found] == history.pages.tolist()
    kept, values = store.series("metric", "m", "rows")
    assert kept.tolist() == values.tolist() == history["x"].tolist()
    assert [page for page, *_ in store.kept()] == kept.tolist()
    assert store.coefficients(int(kept[0]))[0].estimate == kept[0] / 10
    assert store.query("SELECT count(*) FROM page") == [(len(set(pages)),)]


def test_vacuum_from_elsewhere_moves_nothing(store):
    """Another process may tidy up the file between two pages: the next ones find their places."""
    history = History(["x"])
    for page in range(1400):
        commit(store, batch(page, [], [], []))
        history.append(page, [page])
        if page in (1200, 1201):  # rows are gone between others; one page stays, one does not
            change(store.path, ("VACUUM",))
    kept = history.pages.tolist()
    assert [page for page, *_ in store.kept()] == kept == store.checkpoints
    for page, coefficients, metrics in store.kept():
        assert (len(coefficients), len(metrics)) == (1, 1)
        assert coefficients[0].estimate == page / 10


def test_fewer_lines_than_before_leave_none_behind(store):
    """A page with fewer coefficients than the one it is written over takes away the rest."""
    states, coefficients, metrics = made_up(0)
    more = [*coefficients, Coefficient("m", "competence", 0.5)]
    for page in range(1001, 1004):
        commit(store, batch(page, [], [], []), (states, more, metrics))
    commit(store, batch(1004, [], [], []), (states, coefficients, metrics))
    found = store.query("SELECT page, term FROM coefficient")
    assert found == [
        (1002, "intercept"),
        (1002, "competence"),
        (1004, "intercept"),
    ]


def test_the_file_grows_with_the_data_only(store):
    """States and statistics of 2,000 more pages take no more room than the first 2,000 took."""
    sizes = []
    for page in range(4000):
        commit(store, batch(page, [], [], []), made_up(page, json.dumps("x" * 2000)))
        if page in (1999, 3999):
            store.query("PRAGMA wal_checkpoint(TRUNCATE)")
            sizes.append(store.path.stat().st_size)
    ledger = 200 * 2000  # bytes of 2,000 rows of `page`
    assert sizes[0] > 1000 * 2000
    assert sizes[1] - sizes[0] < ledger


@pytest.mark.parametrize("rows", [1, 99, 100, 101, 250])
def test_pages_of_any_size_arrive_in_order(store, rows):
    """However many statements the rows of a page take, all of them are there, in order."""
    each = page_of(0, rows)
    commit(store, each)
    assert [id_ for _, id_, *_ in store.data()] == each.ids.tolist()
    assert [ability for *_, ability, _, _ in store.data()] == each.network_ability.tolist()


def test_names_of_any_kind(store):
    """Names of models, terms and metrics reach the tables as they are, in whatever order."""
    names = ["it's", "x'); DROP TABLE data; --", "ä ?1", ""]
    results = (
        [ModelState(name, at, str(at)) for at, name in enumerate(names)],
        [Coefficient(name, name, at) for at, name in enumerate(names)],
        [Metric(name, name, at) for at, name in enumerate(names)],
    )
    commit(store, page_of(0), results)
    assert store.states == {name: str(at) for at, name in enumerate(names)}
    for table, key, value in (("coefficient", "term", "estimate"), ("metric", "name", "value")):
        found = store.query(f"SELECT model, {key}, {value} FROM {table}")
        assert sorted(found) == sorted((name, name, at) for at, name in enumerate(names))


# -- all or nothing -----------------------------------------------------------------------------


def raising(error):
    yield Metric("m", "rows", 1.0)
    raise error


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({"states": [ModelState("m", "many", "[]")]}, StoreError),
        ({"coefficients": [Coefficient("m", "intercept", "high")]}, StoreError),
        ({"metrics": [Metric("m", "rows", 1.0), Metric("m", None, 1.0)]}, StoreError),
        ({"metrics": raising(KeyError("in the middle"))}, KeyError),
        ({"metrics": raising(KeyboardInterrupt())}, KeyboardInterrupt),
    ],
)
def test_an_error_in_the_middle_leaves_nothing(store, results, expected):
    """A commit that fails, in whatever table, of whatever, changes none; then all is well."""
    commit(store, page_of(0))
    before = dump(store, without=())
    each = page_of(1, 8, rejected=[bad(8)])
    states, coefficients, metrics = made_up(1)
    good = {"states": states, "coefficients": coefficients, "metrics": metrics}
    with pytest.raises(expected):
        store.commit(each, store.sift(each), **{**good, **results})
    assert dump(store, without=()) == before
    commit(store, each)
    assert store.rows == 18
    assert store.cursor == Cursor(1, 9)


def test_a_full_disk_is_told_and_survived(store):
    """Out of space, commit says so and nothing is lost; with space again it goes on."""
    commit(store, page_of(0))
    before = dump(store, without=())
    [[size]] = store.query("PRAGMA page_count")
    store.query(f"PRAGMA max_page_count = {size}")
    with pytest.raises(StoreError, match=r"promo\.db.*full"):
        commit(store, page_of(1), made_up(1, json.dumps("x" * 100_000)))
    assert dump(store, without=()) == before
    store.reopen()
    assert dump(store, without=()) == before
    commit(store, page_of(1))
    assert store.rows == 20


def test_an_event_comes_with_the_states_it_changed(store):
    """`record` writes an event for the next page and the new states together or not at all."""
    store.record("learning_rate", {"to": 0.1}, [ModelState("m", 0, "1")])
    assert store.query("SELECT name, page, rows, state FROM model") == [("m", -1, 0, "1")]
    commit(store, page_of(0))
    store.record("learning_rate", {"to": 0.2}, [ModelState("m", 10, "2")])
    assert [event.page for event in store.events()] == [0, 1]
    assert store.states == {"m": "2"}
    with pytest.raises(StoreError):
        store.record("learning_rate", {"to": 0.3}, [ModelState("m", "many", "3")])
    assert store.states == {"m": "2"}
    assert [event.detail["to"] for event in store.events("learning_rate")] == [0.1, 0.2]
    assert store.events(last=1) == store.events()[-1:]


def test_clear_empties_every_table(store):
    """After `clear` the store is as new: same stream, no page, arrival counted from one."""
    for page in range(3):
        commit(store, page_of(page, rejected=[bad(9)]))
    store.record("drift", {})
    store.clear()
    assert {name for name, rows in dump(store).items() if rows} == {"stream"}
    assert (store.page, store.cursor, store.rows, store.states) == (None, None, 0, {})
    commit(store, page_of(0))
    assert store.data()[0][:2] == (1, 0)


def line(path, batches, kills=()):
    """Take batches through real models into a store, dropping it at the batches in `kills`."""
    store = None
    at = 0
    kills = [*kills]
    while at < len(batches):
        if store is None:
            store = Store(path, **IDENTITY)
            models, _ = default_models()
            models[0].learning_rate = 0.1
            if store.page is not None:
                for model in models:
                    model.restore(store.states)
                at = store.page + 1
                continue
        each = batches[at]
        sifted = store.sift(each)
        for model in models:
            model.learn(sifted.fresh)
        states = [s for m in models for s in m.states()]
        coefficients = [c for m in models for c in m.coefficients()]
        metrics = [m for model in models for m in model.metrics()]
        if kills and kills[0] == at:
            kills.pop(0)
            with pytest.raises(ZeroDivisionError):
                store.commit(each, sifted, states, coefficients, raising(ZeroDivisionError()))
            store = None  # dropped, not closed
            gc.collect()
            continue
        store.commit(each, sifted, states, coefficients, metrics)
        at += 1
    with store:
        return dump(store)


@given(st.integers(0, 99), cuts(150, 25), st.lists(st.integers(0, 25), max_size=4).map(sorted))
@settings(max_examples=20, deadline=None)
def test_restored_goes_on_as_if_never_stopped(tmp_path_factory, seed, cuts, kills):
    """Every table after any number of drops in the middle of a commit is that of one run."""
    folder = tmp_path_factory.mktemp("line")
    batches = split(employees(150, seed), cuts)
    assert line(folder / "torn.db", batches, kills) == line(folder / "whole.db", batches)


# -- one writer, many readers -------------------------------------------------------------------

CHILD = """
import sys
from promo.store import Store
store = Store(sys.argv[1], source=sys.argv[2], page_size=10, settings={"alpha": 0.05})
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(path):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), SOURCE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline() == "open\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def test_a_second_writer_is_refused_by_name_until_the_first_is_killed(path):
    """The message names the holder's process, however often; SIGKILL leaves no stale lock."""
    with another_process(path) as child:
        for _ in range(3):
            with pytest.raises(StoreLocked, match=rf"process {child.pid}: stop that first"):
                Store(path, **IDENTITY)
        with Store.read_only(path) as reader:
            assert reader.page is None
        child.send_signal(signal.SIGKILL)
        child.wait()
        with Store(path, **IDENTITY) as store:
            commit(store, page_of(0))


def test_a_second_writer_in_this_process_is_refused_too(store, path):
    """A notebook cell run twice is told that its own process holds the store."""
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
        Store(path, **IDENTITY)
    store.close()
    store.close()
    Store(path, **IDENTITY).close()


COMES_AND_GOES = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute(sys.argv[2]))"


def come_and_go(path, ask="SELECT count(*), max(page) FROM page"):
    """Read a store in another process, with leave to write, and leave it; return what it saw."""
    command = [sys.executable, "-c", COMES_AND_GOES, path, ask]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("again", ["a cell runs again", "after an error"])
@pytest.mark.parametrize("others", [Store.read_only, sqlite3.connect])
def test_who_reads_and_leaves_takes_no_log_along(path, others, again):
    """Although a reader of this process is open: its locks are all that keeps the log in place.

    A file that is opened and closed beside SQLite takes them away, and the log is deleted by the
    next program that comes by, while it is written to.
    """
    store = Store(path, **IDENTITY)
    commit(store, page_of(0))
    if again == "a cell runs again":
        store.close()
    with closing(others(path)) as reader:
        getattr(reader, "_connection", reader).execute("SELECT * FROM page").fetchall()
        if again == "a cell runs again":
            store = Store(path, **IDENTITY)
        else:
            store.reopen()
        commit(store, page_of(1))
        log = Path(f"{path}-wal").stat().st_ino
        assert come_and_go(path) == "(2, 1)"
        assert Path(f"{path}-wal").stat().st_ino == log
        commit(store, page_of(2))
        assert come_and_go(path) == "(3, 2)"
    store.close()
    assert come_and_go(path, "PRAGMA integrity_check") == "('ok',)"


@pytest.mark.parametrize("gone", [("",), ("-wal",), ("", "-wal")])
def test_a_store_that_is_moved_while_it_is_open_is_missed(store, path, gone):
    """The next page is an error, not lost; nothing is made in its place; put back, it goes on."""
    commit(store, page_of(0))
    for end in gone:
        Path(f"{path}{end}").rename(f"{path}.moved{end}")
    for use in (lambda: commit(store, page_of(1)), store.clear):
        with pytest.raises(StoreError, match="moved, deleted or replaced while it was open"):
            use()
    if "" in gone:
        with pytest.raises(StoreError, match="moved or deleted while it was open: put it back"):
            store.reopen()
        assert not path.exists()
    for end in gone:
        if Path(f"{path}.moved{end}").exists():  # a connection that is closed deletes its log
            Path(f"{path}.moved{end}").rename(f"{path}{end}")
    store.reopen()
    commit(store, page_of(1))
    store.close()
    assert come_and_go(path) == "(2, 1)"


def test_a_store_that_is_replaced_while_it_is_open_is_missed(store, path, tmp_path):
    """A copy is no worse than the file, but what is written to the file would not be in it."""
    commit(store, page_of(0))
    store.query("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copyfile(path, tmp_path / "copy.db")
    (tmp_path / "copy.db").replace(path)
    with pytest.raises(StoreError, match="replaced"):
        commit(store, page_of(1))
    store.reopen()
    commit(store, page_of(1))
    assert store.page == 1


def test_readers_leave_no_large_log_behind(store, path):
    """What grew while one stayed in a transaction is cut, at the latest as the store is closed."""
    commit(store, page_of(0))
    with Store.read_only(path) as reader:
        with reader.at_one_commit():
            assert reader.page == 0
            for page in range(1, 300):
                commit(store, page_of(page), made_up(page, f'["{"x" * 300_000}"]'))
            grown = Path(f"{path}-wal").stat().st_size
            assert grown > 70e6
        for page in range(300, 400):
            commit(store, page_of(page), made_up(page, f'["{"x" * 300_000}"]'))
        assert Path(f"{path}-wal").stat().st_size < 70e6
        store.close()
        assert Path(f"{path}-wal").stat().st_size == 0
        assert reader.page == 399


def test_rows_that_go_while_they_are_read_are_missed(store, path):
    """Another process may start over meanwhile; fewer rows are not passed off as all."""
    for page in range(30):
        commit(store, page_of(page))
    with Store.read_only(path) as reader:
        batches = reader.batches()
        assert len(next(batches).ids) == 100
        store.clear()
        with pytest.raises(StoreError, match="rows 101 to 200 are not there now"):
            next(batches)


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal", ".lock"])
def test_a_store_does_not_take_the_name_of_what_lies_beside_another(tmp_path, end):
    """Else the other could not be opened any more."""
    with pytest.raises(StoreError, match="choose another name"):
        Store(tmp_path / f"a.db{end}", **IDENTITY)
    assert [*tmp_path.iterdir()] == []


def test_started_over_it_says_who_began_it(store):
    """The version and the time are those of the new beginning."""
    store.query("UPDATE stream SET promo_version = '0.0.1', created_at = '2001-01-01'")
    store.clear()
    [[version, created]] = store.query("SELECT promo_version, created_at FROM stream")
    assert version == promo.__version__
    assert created > "2026"


def test_a_closed_store_stays_closed(store, path):
    """Once let go of, it neither writes nor reopens behind the back of the next writer."""
    store.close()
    with Store(path, **IDENTITY):
        for use in (store.reopen, store.clear, lambda: commit(store, page_of(0))):
            with pytest.raises(StoreError, match="closed"):
                use()


def test_readers_see_whole_pages_while_it_is_written(store, path):
    """Readers, pandas and a plain connection work beside the writer; every look adds up."""
    look = (
        "SELECT (SELECT count(*) FROM data) AS rows, (SELECT sum(inserted) FROM page) AS ledger, "
        "(SELECT max(page) FROM page) AS page, (SELECT max(page) FROM model) AS model, "
        "(SELECT max(page) FROM checkpoint) AS checkpoint"
    )
    commit(store, page_of(0))
    done, looks = threading.Event(), {"reader": [], "pandas": [], "plain": []}

    def read_only():
        with Store.read_only(path) as reader:
            looks["reader"] += reader.query(look)

    def with_pandas():
        with closing(sqlite3.connect(path)) as connection:
            frame = pd.read_sql(look, connection)
        looks["pandas"].append(tuple(frame.iloc[0].tolist()))

    def plain():
        with closing(sqlite3.connect(path)) as connection:
            looks["plain"] += connection.execute(look).fetchall()

    def keep(doing):
        while not done.is_set():
            doing()

    threads = [threading.Thread(target=keep, args=(f,)) for f in (read_only, with_pandas, plain)]
    for thread in threads:
        thread.start()
    page = 0
    try:
        while page < 200 or min(map(len, looks.values())) < 10:
            page += 1
            commit(store, page_of(page))
            assert page < 20_000
    finally:
        done.set()
        for thread in threads:
            thread.join()
    for rows, ledger, page, model, checkpoint in chain(*looks.values()):
        assert (rows, page) == (ledger, model) == (10 * page + 10, checkpoint)


def test_what_is_newest_is_of_one_page(store, path, monkeypatch):
    """Also if a page is committed after every query: from 1,000 on it takes the newest's place."""
    for page in range(1001):
        commit(store, page_of(page))
    with Store.read_only(path) as reader:
        ask = reader.query

        def ask_and_commit(*about):
            found = ask(*about)
            commit(store, page_of(store.page + 1))
            return found

        monkeypatch.setattr(reader, "query", ask_and_commit)
        for _ in range(3):
            assert len(reader.metrics()) == len(reader.coefficients()) == 1
            facts = facts_of(reader)
            assert facts["received"] == 10 * facts["page"] + 10
            assert facts["metrics"][0]["value"] == facts["page"] == facts["models"][0]["page"]


# -- refusals -----------------------------------------------------------------------------------


@pytest.fixture
def stored(path):
    """Make a store with a few pages of the real models, closed."""
    line(path, pages_of(employees(50)))
    return path


def change(path, *statements):
    with closing(sqlite3.connect(path)) as connection, connection:
        for sql, *values in statements:
            connection.execute(sql, values)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"source": "http://elsewhere"}, r"source 'http://127.0.0.1:9', not 'http://elsewhere'"),
        ({"page_size": 100}, "page_size 10, not 100"),
        ({"settings": {"alpha": 0.1}}, "settings .*0.05.*, not .*0.1"),
        ({"settings": None}, "settings"),
    ],
)
def test_another_stream_is_refused(stored, other, message):
    """Another source, page size or settings than the file holds: refused in words, unchanged.

    In words that fit a notebook: options of the command line are for it to say.
    """
    before = stored.read_bytes()
    with pytest.raises(StoreMismatch, match=message) as caught:
        Store(stored, **{**IDENTITY, **other})
    assert "--" not in str(caught.value)
    assert stored.read_bytes() == before
    Store(stored, **IDENTITY).close()


def foreign(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE letters (text)")


def text(path):
    path.write_text("id,competence\n" * 100)


def learned_then(statement):
    """Return a maker of a store whose file was changed afterwards by hand."""

    def make(path):
        line(path, pages_of(employees(20)))
        change(path, (statement,))

    return make


SETTINGS = {
    "cut off": "{",
    "deep": "[" * 1_000_000,
    "deep and whole": "[" * 100_000 + "]" * 100_000,
    "pickle": "cos\nsystem\n(S'touch exploded'\ntR.",
    "long number": "9" * 1_000_000,
}


@pytest.mark.parametrize("opening", [Store, Store.read_only], ids=["write", "read"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_settings_that_are_none_are_refused(stored, opening, settings):
    """Whatever stands for the settings, in whatever depth, is refused in one short line."""
    change(stored, ("UPDATE stream SET settings = ?", settings))
    assert_refused(stored, opening, "does not say what it holds")


@pytest.mark.parametrize("settings", ["5", "NaN", '"%s"' % ("x" * 2**23), "[" * 900 + "]" * 900])
def test_settings_of_another_kind_are_another_streams(stored, settings):
    """JSON that is not what our settings are is told apart from them, and not shown at length."""
    change(stored, ("UPDATE stream SET settings = ?", settings))
    assert_refused(stored, Store, "does not say what it holds|holds a stream with settings")


def assert_refused(path, opening, message):
    """Hold it to be refused in one short line, unchanged."""
    before = path.read_bytes()
    with pytest.raises(StoreError, match=message) as told:
        opening(path) if opening is Store.read_only else opening(path, **IDENTITY)
    assert len(str(told.value)) < 1000
    assert "\n" not in str(told.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("opening", [Store, Store.read_only], ids=["write", "read"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign, "not a store of promo; choose another"),
        (text, "not an SQLite file; choose another"),
        (learned_then("PRAGMA user_version = 2"), "has schema 2, this promo knows up to 1: update"),
        (
            learned_then("UPDATE stream SET schema_version = 2"),
            "has schema 2, this promo knows up to 1: update",
        ),
        (learned_then("UPDATE stream SET schema_version = 0"), "says of itself schema 0 and 1"),
        (learned_then("DELETE FROM stream"), "does not say what it holds"),
        (learned_then("UPDATE stream SET page_size = -10"), "holds pages of -10 rows"),
    ],
)
def test_what_is_not_ours_is_refused_and_left_alone(path, opening, make, message):
    """A file that is no store of this version is refused in words, without a byte changed."""
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreMismatch, match=message):
        opening(path) if opening is Store.read_only else Store(path, **IDENTITY)
    assert path.read_bytes() == before
    assert not path.with_name("promo.db-wal").exists() or make not in (foreign, text)


@pytest.mark.parametrize(
    "place", [".", "/", "/proc/promo.db", "/sys/promo.db", "file.txt/promo.db"]
)
def test_a_place_for_no_file_is_refused(tmp_path, place):
    """A directory, a place where nothing can be written, a path through a file: StoreError."""
    (tmp_path / "file.txt").write_text("text")
    with pytest.raises(StoreError, match="cannot open"):
        Store(tmp_path / place, **IDENTITY)
    with pytest.raises(StoreError):
        Store.read_only(tmp_path / place)


IMPOSSIBLE = {
    "gap": ["DELETE FROM page WHERE page = 2"],
    "page before the first": ["UPDATE page SET page = -5 WHERE page = 0"],
    "page beyond counting": ["UPDATE page SET page = 9223372036854775807 WHERE page = 4"],
    "said twice": ["INSERT INTO stream SELECT * FROM stream"],
    "a row that is gone": ["DELETE FROM data WHERE rowid = 7"],
    "a row that is gone for good": ["DELETE FROM data WHERE rowid = 7",
                                   "UPDATE data SET rowid = rowid - 1 WHERE rowid > 7"],
    "rows that no page brought": ["INSERT INTO data VALUES (999, 1, 1, 1)"],
    "row beyond counting": ["UPDATE data SET rowid = 9223372036854775807 WHERE id = 7"],
    "checkpoint beyond counting": ["UPDATE checkpoint SET rowid = 9223372036854775807"
                                   " WHERE page = 4"],
    "coefficients before the first": ["UPDATE coefficient SET rowid = -rowid"],
    "settings of another kind": ["UPDATE stream SET settings = '[]'"],
}  # fmt: skip


@pytest.mark.parametrize("statements", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_no_stream_has_left_is_not_gone_on_with(stored, statements):
    """Gaps, rows from nowhere, numbers that nothing can be added to: refused, unchanged."""
    change(stored, *((statement,) for statement in statements))
    assert_refused(stored, Store, "it was changed; choose another|does not say what it holds")


@pytest.mark.parametrize(
    ("statement", "command"),
    [
        ("INSERT INTO event (page, at, kind, detail) VALUES (0, '', 'x', '[1,2')", "report"),
        ("INSERT INTO event (page, at, kind, detail) VALUES (0, '', 'x', '[1]')", "report"),
        ("UPDATE stream SET settings = '[]'", "report"),
        ("UPDATE checkpoint SET states = substr(states, 1, 20)", "fork"),
        ("DELETE FROM data WHERE rowid = 7", "fork"),
        ("DELETE FROM data WHERE rowid = 7", "report"),
        ("DELETE FROM data WHERE rowid = 7", "show"),
        (
            "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "
            "INSERT INTO metric (page, model, name, value) SELECT i, 'm', 'x', 0.0 FROM n",
            "report",
        ),
    ],
)
def test_contents_that_are_none_are_one_line(stored, statement, command, capsys, tmp_path):
    """Whatever stands in a cell: the commands that read it say so in one line."""
    change(stored, (statement,))
    page = ["--page", "4"] if command == "fork" else []
    out = str(tmp_path / "out.html")
    where = [] if command == "show" else ["--out", out]
    assert main([command, "--db", str(stored), *page, *where]) == 1
    said = capsys.readouterr().err
    assert (said.startswith("promo: "), said.count("\n")) == (True, 1), said
    assert not Path(out).exists()


@pytest.mark.parametrize("options", [{"page_size": 0}, {"synchronous": "FULLL"}])
def test_parameters_that_make_no_sense_make_no_file(path, options):
    """They are refused by name before anything is written."""
    [name] = options
    with pytest.raises(StoreError, match=name):
        Store(path, **IDENTITY | options)
    assert list(path.parent.iterdir()) == []


def test_a_log_without_its_store_is_not_taken_for_anothers(stored, tmp_path):
    """Left by a store that is gone, it is kept, and named; no new store is made of it."""
    left = tmp_path / "left"
    left.mkdir()
    with Store(stored, **IDENTITY) as store:
        commit(store, page_of(5))
        for end in ("", "-wal"):  # as a killed process would leave them
            shutil.copy(f"{stored}{end}", left / f"promo.db{end}")
    (left / "promo.db").unlink()
    log = (left / "promo.db-wal").read_bytes()
    assert log
    for make in (
        lambda: Store(left / "promo.db", **IDENTITY),
        lambda: new_store(left / "promo.db", **IDENTITY).__enter__(),
    ):
        with pytest.raises(StoreError, match=r"promo\.db-wal is left of a store that is not there"):
            make()
        assert not (left / "promo.db").exists()
        assert (left / "promo.db-wal").read_bytes() == log
    (left / "promo.db-wal").unlink()
    with Store(left / "promo.db", **IDENTITY) as store:
        assert store.page is None


def test_a_second_name_is_refused(stored, tmp_path):
    """SQLite cannot keep two names of a file together; nor is a lock of two names emptied."""
    os.link(stored, tmp_path / "second.db")
    assert_refused(tmp_path / "second.db", Store, "has a second name")
    assert_refused(tmp_path / "second.db", Store.read_only, "has a second name")
    (tmp_path / "second.db").unlink()
    precious = tmp_path / "precious"
    precious.write_text("precious")
    stored.with_name(f"{stored.name}.lock").unlink()
    os.link(precious, f"{stored}.lock")
    with pytest.raises(StoreError, match="leads elsewhere"):
        Store(stored, **IDENTITY)
    assert precious.read_text() == "precious"


@pytest.mark.parametrize(
    "write",
    [
        lambda store: commit(store, page_of(5)),
        lambda store: store.record("learning_rate", {}, [ModelState("m", 50, "{}")]),
    ],
)
def test_somebody_else_who_writes_is_noticed(stored, write):
    """Whoever gets past the lock: the one who comes second finds out, and writes nothing."""
    with Store(stored, **IDENTITY) as store:
        Path(f"{stored}.lock").unlink()
        with Store(stored, **IDENTITY) as other:
            commit(other, page_of(5))
            with pytest.raises(StoreError, match="written by somebody else"):
                write(store)
            assert other.page == 5
            assert other.query("SELECT count(*) FROM data") == [(60,)]
            assert other.events("learning_rate") == []


def test_all_folders_are_private(tmp_path):
    """Those above a store's own that had to be made, too."""
    Store(tmp_path / "a" / "b" / "promo.db", **IDENTITY).close()
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        assert folder.stat().st_mode & 0o77 == 0


TOUCH = "INSERT INTO event (page, at, kind, detail) VALUES (0, '', 'ran', '{}');"
STRANGE = {
    "trigger": [f"CREATE TRIGGER t AFTER INSERT ON page BEGIN {TOUCH} END"],
    "trigger on what we update": [f"CREATE TRIGGER t BEFORE UPDATE ON stream BEGIN {TOUCH} END"],
    "view in place of a table": [
        "ALTER TABLE model RENAME TO old",
        "CREATE VIEW model AS SELECT name, page, rows, hex(randomblob(1e9)) AS state FROM old",
    ],
    "view that never ends": [
        "DROP TABLE stream",
        "CREATE VIEW stream AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "SELECT max(i) AS source, 10 AS page_size, '{}' AS settings FROM n",
    ],
    "table without types": [
        "DROP TABLE page",
        "CREATE TABLE page (page, received, inserted, duplicate, conflicting, rejected)",
    ],
    "column more": ["ALTER TABLE page ADD COLUMN x TEXT DEFAULT ''"],
    "column that is reckoned": ["ALTER TABLE data ADD COLUMN x TEXT AS (hex(id)) VIRTUAL"],
    "index on an expression": ["CREATE INDEX i ON data (abs(competence))"],
    "table more": ["CREATE TABLE letters (text)"],
    "virtual table": ["CREATE VIRTUAL TABLE letters USING fts5(text)"],
    "table less": ["DROP TABLE quarantine"],
    "statistics": ["ANALYZE"],
    "schema that does not parse": [
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = 'CREATE TABLE page (((' WHERE name = 'page'",
    ],
}


@pytest.mark.parametrize("opening", [Store, Store.read_only], ids=["write", "read"])
@pytest.mark.parametrize("statements", STRANGE.values(), ids=STRANGE)
def test_a_schema_that_is_not_ours_is_refused(stored, opening, statements, capsys):
    """Views, triggers, other tables and columns: refused by name before any of them is read."""
    change(stored, *((statement,) for statement in statements))
    assert_refused(stored, opening, r"promo\.db( holds a strange| lacks the|: malformed)")
    assert main(["show", "--db", str(stored)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_names_that_steer_a_terminal_are_spelled_out(stored, capsys):
    """Escape sequences in a store's names reach no terminal, plain or as JSON."""
    escape = "\x1b]0;owned\x07\n"
    change(
        stored,
        ("UPDATE stream SET source = ?", escape),
        ("UPDATE coefficient SET model = ? || model, term = ? || term", escape, escape),
        ("UPDATE metric SET model = ? || model, name = ? || name", escape, escape),
    )
    for options in ([], ["--json"]):
        assert main(["show", "--db", str(stored), *options]) == 0
        output = capsys.readouterr().out
        assert "owned" in output
        assert "\x1b" not in output


def too_long(kind):
    blob = "CAST(zeroblob(40000000) AS TEXT)"
    return {
        "settings": f"UPDATE stream SET settings = {blob}",
        "source": f"UPDATE stream SET source = {blob}",
        "state": f"UPDATE model SET state = {blob}",
        "name": f"UPDATE model SET name = {blob} WHERE name = 'moments'",
        "event": f"INSERT INTO event SELECT 99, 1, '', 'learning_rate', {blob}",
        "metric": f"UPDATE metric SET name = {blob} WHERE name = 'log_loss'",
    }[kind]


@pytest.mark.parametrize("kind", ["settings", "source", "state", "name", "event", "metric"])
def test_a_value_longer_than_any_of_ours_is_not_read(stored, kind):
    """Forty megabytes in whatever field are refused in a short line, and never in memory."""
    change(stored, (too_long(kind),))
    tracemalloc.start()
    try:
        with pytest.raises(StoreError, match="too big") as told:
            Trainer(PageStream(SOURCE), Store(stored, **IDENTITY), default_models()[0])
        assert len(str(told.value)) < 1000
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_more_pages_than_are_ever_kept_are_refused(stored):
    """Metrics of 100,000 pages, where at most a thousand are kept, are not read."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000)"
    change(stored, (f"{numbers} INSERT INTO metric SELECT 'm', 'x', i, 0.0 FROM n",))
    with pytest.raises(StoreMismatch, match=r"metrics of 2,000 pages or more"):
        Trainer(PageStream(SOURCE), Store(stored, **IDENTITY), default_models()[0])


@pytest.mark.parametrize("opening", [Store, Store.read_only], ids=["write", "read"])
@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal", ".lock"])
def test_a_link_beside_it_is_not_followed(stored, opening, end, tmp_path):
    """Where log, index, journal or lock lead elsewhere, nothing is made or changed there."""
    precious = tmp_path / "precious.txt"
    beside = stored.with_name(f"promo.db{end}")
    for text in ("all my letters", None):
        beside.unlink(missing_ok=True)
        beside.symlink_to(precious)
        precious.write_text(text) if text else precious.unlink()
        assert_refused(stored, opening, f"promo.db{end} is no file but leads elsewhere; remove it")
        assert (precious.read_text() if precious.exists() else None) == text
    beside.unlink()
    os.mkfifo(beside)
    assert_refused(stored, opening, "leads elsewhere; remove it")


@pytest.mark.parametrize("opening", [Store, Store.read_only], ids=["write", "read"])
def test_a_journal_beside_it_deletes_nothing(stored, opening, tmp_path):
    """A rollback journal may name another file, which SQLite would then delete: it is refused."""
    precious = tmp_path / "precious.txt"
    precious.write_text("all my letters")
    head = stored.read_bytes()[:100]
    size = int.from_bytes(head[16:18], "big")
    magic, name = bytes.fromhex("d9d505f920a163d7"), str(precious).encode()
    pages = stored.stat().st_size // size
    header = magic + struct.pack(">5I", 0, 0, pages, 512, size)
    checksum = struct.pack(">2I", len(name), sum(name))
    record = struct.pack(">I", 2**30 // size + 1) + name + checksum + magic
    journal = stored.with_name(f"{stored.name}-journal")
    journal.write_bytes(header.ljust(512, b"\0") + record)
    assert_refused(stored, opening, "promo.db-journal is of no store of promo; remove it")
    assert precious.read_text() == "all my letters"
    journal.write_bytes(b"")
    with Store(stored, **IDENTITY) as store:
        assert store.page == 4


@pytest.mark.parametrize("opening", [Store, Store.read_only], ids=["write", "read"])
def test_a_pipe_or_device_is_refused_at_once(tmp_path, opening):
    """What is no plain file is not waited for, not written to and not replaced, links included."""
    pipe, link = tmp_path / "pipe.db", tmp_path / "link.db"
    os.mkfifo(pipe)
    for place in (pipe, "/dev/null", "/dev/zero"):
        link.unlink(missing_ok=True)
        link.symlink_to(place)
        for path in (place, link):
            with pytest.raises(StoreError, match="is no file but a device, a pipe or a socket"):
                opening(path) if opening is Store.read_only else opening(path, **IDENTITY)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link.db", "pipe.db"]
    assert pipe.is_fifo()


def test_a_file_cut_off_anywhere_is_refused(stored, tmp_path):
    """Where a page of the file is missing at its end, it is refused and left as it is."""
    good, cut = stored.read_bytes(), tmp_path / "cut.db"
    for length in [99, 100, 4095, *range(4096, len(good), 4096)]:
        for opening in (Store, Store.read_only):
            cut.write_bytes(good[:length])
            assert_refused(cut, opening, r"cut\.db")
            for end in ("-wal", "-shm"):
                cut.with_name(f"cut.db{end}").unlink(missing_ok=True)


def test_an_empty_file_becomes_a_store(path):
    """What `mktemp` leaves is as good as no file, for the writer; a reader is told."""
    path.touch()
    with pytest.raises(StoreMismatch, match="not a store of promo"):
        Store.read_only(path)
    with Store(path, **IDENTITY) as store:
        commit(store, page_of(0))


def test_any_name_will_do(tmp_path):
    """Names that mean something in a URI, and folders that are not there yet, are just names."""
    path = tmp_path / "new folder" / "a?mode=ro#b%20ä.db"
    with Store(path, **IDENTITY) as store:
        commit(store, page_of(0))
        with Store.read_only(path) as reader:
            assert reader.rows == 10
    assert path.exists()


def test_files_are_private(path):
    """The database and what lies beside it are for their owner only, whatever the umask."""
    path = path.parent / "new folder" / "promo.db"
    before = os.umask(0)
    try:
        with Store(path, **IDENTITY) as store:
            commit(store, page_of(0))
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    names = ("promo.db", "promo.db-shm", "promo.db-wal", "promo.db.lock")
    assert modes == dict.fromkeys(names, 0o600)


def test_reading_changes_no_byte(path, stored):
    """Opening what does not exist creates nothing; reading changes no byte; writing is refused."""
    with pytest.raises(StoreError, match="does not exist"):
        Store.read_only(path.with_name("nothing.db"))
    assert not path.with_name("nothing.db").exists()
    before, at = stored.read_bytes(), stored.stat().st_mtime_ns
    with Store.read_only(stored) as reader:
        assert reader.rows == 50
        for sql in ("DELETE FROM data", "CREATE TABLE x (y)", "PRAGMA user_version = 9"):
            with pytest.raises(StoreError, match="readonly"):
                reader.query(sql)
    assert (stored.read_bytes(), stored.stat().st_mtime_ns) == (before, at)


def read_as_another(path, said):
    """Read a store as a user to whom nothing belongs; say what came of it."""
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        Store.read_only(path).close()
    except StoreError as error:
        said.send(str(error))
    else:
        said.send("read")


def test_a_folder_that_is_not_ours(stored):
    """SQLite writes beside what it reads: where it may not, it is said what to do."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = Path(shutil.copy(stored, folder))
        path.chmod(0o644)
        folder.chmod(0o555)
        ours, its = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(
            target=read_as_another, args=(path, its)
        )
        process.start()
        assert ours.recv().endswith(f"may not write in {folder}; copy it to a folder of yours")
        process.join()
        folder.chmod(0o755)


class Bomb:
    """Unpickling it creates a file."""

    def __reduce__(self):
        return open, ("exploded", "w")


def hostile():
    """Yield what somebody may have written into a store, as statements."""
    set_state = "UPDATE model SET state = ? WHERE name = 'moments'"
    set_stories = "UPDATE model SET state = ? WHERE name = 'causal-stories'"
    bomb = pickle.dumps(Bomb(), protocol=0).decode()
    for name, state in {
        "pickle": bomb,
        "text": "state",
        "empty": "",
        "null": "null",
        "NaN": '{"version":1,"groups":[NaN,NaN]}',
        "future": '{"version":99}',
        "huge": "[" * 1_000_000,
        "deep and whole": "[" * 100_000 + "]" * 100_000,
        "deep in the moments": '{"version":1,"groups":%s}' % ("[" * 100_000 + "]" * 100_000),
        "long": json.dumps("x" * 1_000_000),
        "code": "__import__('os').system('touch exploded')",
    }.items():
        yield name, [(set_state, state)]
        yield f"{name} of stories", [(set_stories, state)]
    yield "no state", [("DELETE FROM model WHERE name = 'moments'",)]
    yield "no states", [("DELETE FROM model",)]
    one_more = "INSERT INTO model SELECT 'x', page, rows, '1', '' FROM model LIMIT 1"
    yield "one more model", [(one_more,)]
    loosen = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 'model'"
    for name, value in {"binary pickle": pickle.dumps(Bomb()), "number": 5, "NULL": None}.items():
        yield (
            f"{name} under our schema",
            [
                ("PRAGMA writable_schema = ON",),
                (loosen, "state TEXT NOT NULL,", "state ANY,"),
                ("PRAGMA writable_schema = RESET",),
                (set_state, value),
                ("PRAGMA writable_schema = ON",),
                (loosen, "state ANY,", "state TEXT NOT NULL,"),
            ],
        )
    for name, detail in {
        "no JSON": "{",
        "no object": "5",
        "no fields": "{}",
        "depth": "[" * 100_000,
        "a word": '{"rows":1,"model":"m","to":"x"}',
    }.items():
        sql = "INSERT INTO event (page, at, kind, detail) VALUES (1, '', 'learning_rate', ?)"
        yield f"event with {name}", [(sql, detail)]
    yield "no metric", [("DELETE FROM metric WHERE name = 'log_loss'",)]
    yield "no coefficient", [("DELETE FROM coefficient WHERE term = 'competence'",)]


@pytest.mark.parametrize("statements", [pytest.param(s, id=name) for name, s in hostile()])
def test_a_hostile_file_is_refused_and_runs_no_code(stored, statements, tmp_path, monkeypatch):
    """States that no run of ours left raise StoreMismatch, run nothing and give back the lock."""
    monkeypatch.chdir(tmp_path)
    change(stored, *statements)
    before = stored.read_bytes()
    with pytest.raises(StoreMismatch, match=r"promo\.db holds"):
        Trainer(PageStream(SOURCE), Store(stored, **IDENTITY), default_models()[0])
    assert stored.read_bytes() == before
    assert not (tmp_path / "exploded").exists()
    with suppress(StoreMismatch):  # but not StoreLocked
        Store(stored, **IDENTITY).close()


def test_a_file_of_another_set_of_models_is_refused(stored):
    """One file is one set of models: fewer or others than it holds are told apart."""
    before = stored.read_bytes()
    for models in ([SGDLogistic()], [SGDLogistic(), Regressions()], []):
        with pytest.raises(StoreMismatch, match="holds the models") as caught:
            Trainer(PageStream(SOURCE), Store(stored, **IDENTITY), models)
        assert "--" not in str(caught.value)
    assert stored.read_bytes() == before


def test_random_damage_is_told(stored, tmp_path):
    """Bytes overwritten anywhere: the file opens or is refused with a StoreError, nothing else."""
    dice = random.Random(0)
    good = stored.read_bytes()
    damaged = tmp_path / "damaged.db"
    for _ in range(200):
        bytes_ = bytearray(good)
        for _ in range(dice.choice([1, 20, 400])):
            bytes_[dice.randrange(dice.choice([100, len(good)]))] = dice.randrange(256)
        damaged.write_bytes(bytes_)
        with suppress(StoreError):
            store = Store(damaged, **IDENTITY)
            Trainer(PageStream(SOURCE), store, default_models()[0]).close()
        for name in ("-wal", "-shm"):
            damaged.with_name(damaged.name + name).unlink(missing_ok=True)


def test_a_page_that_has_grown_is_an_event(store):
    """When a short page is committed again with new rows, `grown` says how many came before."""
    short, grown = page_of(0, rows=4), page_of(0, rows=7).take(np.arange(7) >= 4)
    for part, rows in ((short, 4), (grown, 7)):
        store.commit(part, store.sift(part), [ModelState("m", rows, "{}")], [], [])
    assert [(e.page, e.detail) for e in store.events("grown")] == [(0, {"rows": 4})]
    assert store.totals()["inserted"] == 7


def test_pages_come_in_order(store):
    """A page before the newest is refused, and nothing is written."""
    commit(store, page_of(0))
    commit(store, page_of(1))
    with pytest.raises(StoreError, match="page 0 comes after page 1"):
        commit(store, page_of(0))
    assert store.page == 1
