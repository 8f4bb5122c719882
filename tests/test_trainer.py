"""Tests of `promo.trainer`: real HTTP, real files, any commands from any thread."""

import json
import math
import random
import socket
import sqlite3
import threading
import time
from contextlib import closing, suppress
from itertools import count, pairwise
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import crash
from clocks import STOP_S, at_most, wait_for
from crash import open_trainer
from pages import batch
from promo import leaving
from promo.embedded import EmbeddedAPI
from promo.errors import StoreError, StoreLocked
from promo.models.default import EXPERTS, default_models
from promo.models.sgd import SGDLogistic
from promo.store import Reader, Store
from servers import ScriptedServer, employees
from strace import child, context
from tables import dump

ROWS = 1204  # the last page, 120, is a short one
PAGES = 121
RATE = "sgd-logistic"
WORDS = {"idle", "running", "paused", "retrying", "finished", "stopped", "failed"}
AT_REST = {"idle", "paused", "finished", "stopped", "failed"}
KILLS, LIFE = 20, 20  # pages that a child may learn at most before it is killed


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """Serve a small world for all tests."""
    data = tmp_path_factory.mktemp("api") / "data.db"
    with EmbeddedAPI(rows=ROWS, seed=5, data=data, port=0) as api:
        yield api


@pytest.fixture(scope="module")
def long_api(tmp_path_factory):
    """Serve more than is learned within a test that means to be in the midst of it."""
    data = tmp_path_factory.mktemp("long") / "data.db"
    with EmbeddedAPI(rows=10 * KILLS * LIFE + 204, seed=6, data=data, port=0) as api:
        yield api


@pytest.fixture
def path(tmp_path):
    return tmp_path / "promo.db"


@pytest.fixture
def make(api, path):
    """Return a function that opens a trainer on the one file of the test."""
    opened = []

    def make(models=None, **options):
        opened.append(open_trainer(path, api.url, api.source, models, **options))
        return opened[-1]

    yield make
    for trainer in opened:
        trainer.close()


@pytest.fixture
def trainer(make):
    return make()


@pytest.fixture(scope="module")
def clean(api, tmp_path_factory):
    """Return the tables of a run that nothing disturbed."""
    path = tmp_path_factory.mktemp("clean") / "promo.db"
    with open_trainer(path, api.url, api.source) as trainer:
        trainer.run()
        return dump(trainer.store)


def tables(path):
    with Store.read_only(path) as reader:
        return dump(reader)


def page(trainer):
    """Newest committed page, -1 before the first."""
    newest = trainer.snapshot.page
    return -1 if newest is None else newest


def page_above(trainer, before):
    """Wait for a page later than that, and return it."""
    wait_for(lambda: page(trainer) > before)
    return page(trainer)


def rest(trainer):
    """Wait until it rests, and return its newest page."""
    wait_for(lambda: trainer.status in AT_REST)
    return page(trainer)


def trainer_threads():
    return [t for t in threading.enumerate() if t.name.startswith("promo-")]


def bursts(trainer, dice):
    """Have it learn to the end in bursts; yield once in each, at an instant that is random."""
    while trainer.status != "finished":
        trainer.step(6)
        trainer.wait(dice.uniform(0.0, 0.02))
        yield
        rest(trainer)


def with_first(model):
    """Return the usual models, but for the first, which others go by."""
    choice = EXPERTS[model.name]._replace(make=lambda _: model)
    with patch.dict(EXPERTS, {model.name: choice}):
        return default_models(source="world:collider")[0]


def replay(path, by="rows"):
    """Return the states that rows, pages and events alone lead to."""
    with Store.read_only(path) as reader:
        models, _ = default_models(source=reader.source if "best-possible" in reader.states else "")
        rows = reader.query(
            "SELECT id, network_ability, competence, promoted FROM data ORDER BY rowid"
        )
        pages = reader.query("SELECT page, inserted FROM page ORDER BY page")
        changes = reader.events("learning_rate", last=10**6)
    done = 0
    for number, inserted in [*pages, (len(pages), 0)]:
        while changes and (changes[0].page if by == "page" else changes[0].detail["rows"]) <= (
            number if by == "page" else done
        ):
            change = changes.pop(0)
            assert change.detail["from"] == models[0].learning_rate
            models[0].learning_rate = change.detail["to"]
        ids, *columns = zip(*rows[done : done + inserted], strict=True) if inserted else [()] * 4
        for model in models:
            model.learn(batch(number, *columns, ids=ids))
        done += inserted
    assert (done, changes) == (len(rows), [])
    return {state.name: state.state for model in models for state in model.states()}


def assert_consistent(path):
    """Ledger contiguous from 0, rows as it says, all models and tables at its newest page."""
    with Store.read_only(path) as reader:
        [(count, newest, inserted, rows, behind, received)] = reader.query(
            "SELECT count(*), coalesce(max(page), -1), coalesce(sum(inserted), 0), "
            "(SELECT count(*) FROM data), "
            "(SELECT count(*) FROM model WHERE page < (SELECT max(page) FROM page)), "
            "coalesce(sum(received), 0) FROM page"
        )
    assert count == newest + 1
    assert inserted == rows == received
    assert behind == 0


# -- commands -----------------------------------------------------------------------------------


def test_run_learns_all_there_is(trainer):
    """A run to the end holds every row once, is finished, and can be replayed to the bit."""
    assert trainer.status == "idle"
    snapshot = trainer.run()
    assert (snapshot.status, trainer.status) == ("finished", "finished")
    assert (snapshot.page, snapshot.rows, snapshot.total_rows) == (PAGES - 1, ROWS, ROWS)
    assert snapshot.total_pages == PAGES
    assert snapshot.totals["received"] == snapshot.totals["inserted"] == ROWS
    assert_consistent(trainer.store.path)
    assert replay(trainer.store.path) == trainer.store.states
    assert trainer.run().page == PAGES - 1  # again: there is nothing more
    assert snapshot.seconds_left is None


@pytest.mark.parametrize("speed", [None, 300.0])
def test_step_adds_exactly_its_pages(make, speed):
    """Steps of any size, at rest, add that many pages and pause; none or fewer add none."""
    trainer = make(speed=speed)
    expected = -1
    for pages in (1, 2, 5, 0, -3, 1):
        trainer.step(pages)
        expected += max(pages, 0)
        assert rest(trainer) == expected
    for _ in range(4):  # said while the ones before are under way, they add up
        trainer.step(2)
    assert rest(trainer) == expected + 8
    trainer.stop()
    trainer.join()
    trainer.step(3)  # after a stop as well
    assert rest(trainer) == expected + 11


def test_step_does_nothing_while_playing(make):
    """A step said while playing neither ends the play nor adds to it."""
    trainer = make(speed=50)
    trainer.play()
    trainer.step(2)
    trainer.step(0)
    page_above(trainer, 4)
    assert trainer.status == "running"
    trainer.pause()
    before = rest(trainer)
    trainer.step()
    assert rest(trainer) == before + 1


def test_pause_rests_and_play_goes_on(make):
    """Paused, no page is added; play goes on with the next page; saying either twice is once."""
    trainer = make(speed=50)
    for _ in range(3):
        before = page(trainer)
        trainer.play()
        trainer.play()
        page_above(trainer, before + 3)
        trainer.pause()
        trainer.pause()
        wait_for(lambda: trainer.status == "paused")
        at = page(trainer)
        trainer.wait(0.05)
        assert page(trainer) == at == trainer.store.page
    assert_consistent(trainer.store.path)


def test_start_over_forgets_everything(trainer, clean):
    """After `start_over` the store and the models are as new, and a run ends as a first one."""
    trainer.set_learning_rate(RATE, 0.5)
    trainer.run(20)
    trainer.start_over()
    wait_for(lambda: trainer.status == "paused" and trainer.snapshot.page is None)
    assert trainer.snapshot.rows == len(trainer.snapshot.history) == 0
    assert trainer.snapshot.sample.shape == (3, 0)
    assert trainer.snapshot.learning_rates == {RATE: 0.01}
    assert trainer.snapshot.rate_changes == ()
    trainer.run()
    assert dump(trainer.store) == clean
    trainer.play()
    trainer.start_over()  # also from the midst of a run, and played on at once
    trainer.play()
    wait_for(lambda: trainer.status == "finished" and page(trainer) == PAGES - 1)
    assert dump(trainer.store) == clean


def test_a_page_that_outlasts_closing_lets_go_of_the_store(make, monkeypatch):
    """Who closes and does not wait may open the store anew once the page under way is done."""
    trainer, entered, may_end = make(), threading.Event(), threading.Event()
    learn = trainer.models[0].learn

    def slowly(rows):
        entered.set()
        may_end.wait(60)
        learn(rows)

    monkeypatch.setattr(trainer.models[0], "learn", slowly)
    trainer.play()
    entered.wait(60)
    trainer.close(timeout=0.1)
    with pytest.raises(StoreLocked):
        make()
    assert trainer in leaving.OPEN
    may_end.set()
    wait_for(lambda: trainer not in leaving.OPEN)
    assert make().run(3).page is not None


def test_starting_over_after_a_failure_has_not_failed(make, monkeypatch):
    """While the store is being emptied nothing is said of an error that is gone."""
    trainer, may_end = make(), threading.Event()
    trainer.run(3)
    learn = trainer.models[0].learn
    monkeypatch.setattr(trainer.models[0], "learn", lambda rows: 1 / 0)
    trainer.play()
    wait_for(lambda: trainer.status == "failed")
    assert "division" in trainer.message
    monkeypatch.setattr(trainer.models[0], "learn", learn)
    clear = trainer.store.clear
    monkeypatch.setattr(trainer.store, "clear", lambda: may_end.wait(60) and clear())
    trainer.start_over()
    assert (trainer.status, trainer.message) == ("idle", "")
    may_end.set()
    wait_for(lambda: trainer.status == "paused")
    assert trainer.run(2).page == 1


def test_questions_are_answered_while_the_source_does_not(path):
    """Before the first page of today it is asked for some of yesterday, for ever so long."""
    with (
        ScriptedServer(employees(100)) as server,
        open_trainer(path, server.url, "scripted") as trainer,
    ):
        trainer.run(3)
        trainer.stop()
        trainer.join()
        server.always, asked = "hang", len(server.asked)
        trainer.play()
        wait_for(lambda: len(server.asked) > asked)
        assert trainer.ask(len).result(10) == len(trainer.models)
        trainer.note("mine", number=1)
        wait_for(lambda: notes(trainer) == [(3, 30, 1)])


def test_nonsense_is_refused_at_once(trainer):
    """Speeds and rates that mean nothing raise ValueError in the caller's thread."""
    for speed in (0, -1, math.nan):
        with pytest.raises(ValueError, match="speed"):
            trainer.set_speed(speed)
    for rate in (0, -1, math.nan, math.inf, 1e300):
        with pytest.raises(ValueError, match="learning rate"):
            trainer.set_learning_rate(RATE, rate)
    with pytest.raises(ValueError, match="'moments' has no learning rate"):
        trainer.set_learning_rate("moments", 0.1)
    assert trainer.run(2).learning_rates == {RATE: 0.01}


commands = st.one_of(
    st.sampled_from(["play", "pause", "stop"]).map(lambda name: (name,)),
    st.tuples(st.just("step"), st.integers(0, 4)),
    st.tuples(st.just("set_speed"), st.sampled_from([None, 1e-9, 50, 1000, math.inf, 5e-324])),
    st.tuples(st.just("set_learning_rate"), st.just(RATE), st.sampled_from([0.1, 1.0, 1, 1e-9])),
    st.tuples(st.just("join"), st.sampled_from([0, 0.01])),
    st.tuples(st.just("wait"), st.sampled_from([0, 0.01])),
    st.just(("start_over",)),
    st.just(("note",)),
)


class Commands(RuleBasedStateMachine):
    """Any commands in any order, from several threads, with restarts in between."""

    api = path = None  # set by the test

    @initialize()
    def begin(self):
        """Begin with a new file."""
        for file in self.path.parent.glob(f"{self.path.name}*"):
            file.unlink()
        self.open()

        self.numbers, self.noted, self.perhaps = count(), set(), set()

    def open(self):
        """Open the file."""
        self.trainer = open_trainer(self.path, self.api.url, self.api.source)

    def say(self, name, *values):
        """Give one command; each note has a number of its own."""
        if name == "note":
            number = next(self.numbers)
            (self.noted if self.sure else self.perhaps).add(number)
            self.trainer.note("mine", number=number)
        else:
            getattr(self.trainer, name)(*values)

    def expect(self, *commands, sure=True):
        """Prepare for commands: of notes beside a `start_over` nobody knows whether they stay."""
        if ("start_over",) in commands:
            self.perhaps |= self.noted
            self.noted = set()
            if len(commands) == 1:  # after whatever was said
                self.perhaps = set()
        self.sure = sure and (("start_over",) not in commands)

    @rule(command=commands)
    def one(self, command):
        """One command from this thread."""
        self.expect(command)
        self.say(*command)

    @rule(threads=st.lists(st.lists(commands, max_size=6), min_size=2, max_size=4))
    def burst(self, threads):
        """Commands from several threads at once."""
        failed = []
        self.expect(*(command for commands in threads for command in commands))

        def say_all(commands):
            try:
                for command in commands:
                    self.say(*command)
            except BaseException as error:
                failed.append(error)

        running = [threading.Thread(target=say_all, args=(each,)) for each in threads]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        if failed:
            raise failed[0]

    @rule(pages=st.integers(1, 5))
    def settle(self, pages):
        """Step from rest: its pages are added, or the stream ends."""
        self.trainer.set_speed(None)
        self.trainer.stop()
        self.trainer.join()
        self.trainer.set_speed(None)
        self.each_note_is_there_once()
        before = page(self.trainer)
        self.trainer.step(pages)
        assert rest(self.trainer) == min(before + pages, PAGES - 1)

    @rule(others=st.lists(commands, max_size=4))
    def reopen(self, others):
        """Close, from two threads while a third gives commands, and open again."""
        last = self.trainer
        self.expect(*others, ("close",), sure=False)

        def after():
            for command in others:
                with suppress(StoreError):  # join tells that it is closed
                    self.say(*command)

        running = [threading.Thread(target=f) for f in (last.close, after, last.close)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        last.close()
        self.open()
        before, after_ = last.snapshot, self.trainer.snapshot
        assert (after_.page, after_.rows) == (before.page, before.rows)

    def each_note_is_there_once(self):
        """No note is lost, or there twice; of those that were forgotten none is there."""
        found = [event.detail["number"] for event in self.trainer.store.events("mine", last=10**6)]
        assert len(found) == len({*found})
        assert self.noted <= {*found} <= self.noted | self.perhaps

    @invariant()
    def sound(self):
        """Status is one of the words, nothing has failed, and the file adds up."""
        assert self.trainer.status in WORDS - {"failed"}
        assert self.trainer.snapshot.status in WORDS - {"failed"}
        assert self.trainer.error is None
        assert_consistent(self.path)

    def teardown(self):
        """After stop and join no thread is left, and the file replays to the bit."""
        self.trainer.stop()
        self.trainer.join()
        wait_for(lambda: not trainer_threads(), 2.0)
        self.each_note_is_there_once()
        self.trainer.close()
        states = {**self.trainer._line._initial, **self.trainer_states()}
        assert replay(self.path) == states

    def trainer_states(self):
        """Return the states in the file."""
        with Store.read_only(self.path) as reader:
            return reader.states


def test_any_commands_in_any_order_from_any_thread(api, path):
    """No exception, a contiguous ledger, data that agree with it, and a file that replays."""
    Commands.api, Commands.path = api, path
    run_state_machine_as_test(
        Commands,
        settings=settings(
            max_examples=25,
            stateful_step_count=10,
            deadline=None,
            suppress_health_check=[*HealthCheck],
            phases=[Phase.generate],  # what threads do cannot be shrunk
        ),
    )


# -- notes --------------------------------------------------------------------------------------


def notes(trainer):
    """Return page, rows and number of each note in the store, in order."""
    events = trainer.store.events("mine", last=10**6)
    return [(e.page, e.detail["rows"], e.detail["number"]) for e in events]


def test_a_note_at_rest_is_written_at_once(make):
    """Before the start, paused, stopped, finished: there when `note` returns, with the next page.

    Nothing else changes, no page and no thread; the snapshot is a new one of the same page, for
    those who show events.
    """
    trainer = make()
    written = []

    def note():
        threads, snapshot = trainer_threads(), trainer.snapshot
        trainer.note("mine", number=len(written))
        written.append((trainer.snapshot.rows // 10, trainer.snapshot.rows, len(written)))
        assert notes(trainer) == written
        assert {*trainer_threads()} <= {*threads}  # one may be ending
        assert trainer.snapshot is not snapshot
        assert trainer.snapshot.page == snapshot.page

    note()
    note()
    trainer.run(3)
    trainer.pause()
    assert trainer.status == "paused"
    trainer.note("mine", number=2)
    written.append((3, 30, 2))
    wait_for(lambda: notes(trainer) == written)  # the thread that rests writes it
    trainer.stop()
    trainer.join()
    note()
    trainer.run()
    trainer.join()
    note()
    assert [at for at, *_ in written] == [0, 0, 3, 3, PAGES - 1]  # which is short: it may grow
    trainer.close()
    with pytest.raises(StoreError, match="closed"):
        trainer.note("mine", number=99)
    trainer = make()
    assert notes(trainer) == written


def test_notes_while_playing_are_each_written_once(make):
    """From several threads at any moments, to the end and past it: each once, between two pages."""
    trainer = make(speed=800)
    numbers = count()

    def note():
        for _ in range(20):
            trainer.note("mine", number=next(numbers))
            trainer.wait(0.01)

    writers = [threading.Thread(target=note) for _ in range(3)]
    trainer.play()
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    trainer.join()
    found = notes(trainer)
    assert sorted(number for *_, number in found) == list(range(60))
    assert all(rows // 10 == at for at, rows, _ in found)
    assert [at for at, *_ in found] == sorted(at for at, *_ in found)


@pytest.mark.parametrize("end", ["finished", "stopped", "error"])
def test_a_note_said_while_the_thread_ends_is_not_lost(make, end):
    """Said after the last look at what is to be done, it is written all the same, once."""
    trainer = make(with_first(Fragile(3 if end == "error" else None)))
    record = trainer._line.record

    def late(kind, **detail):
        record(kind, **detail)
        if kind == end and not notes(trainer):
            trainer.note("mine", number=7)

    trainer._line.record = late
    with suppress(RuntimeError):
        trainer.run(None if end == "finished" else 5)
        trainer.stop()
        trainer.join()
    wait_for(lambda: not trainer._active)
    assert [number for *_, number in notes(trainer)] == [7]
    trainer.run(1)
    assert len(notes(trainer)) == 1


def test_start_over_forgets_the_notes_before_and_keeps_those_after(make):
    """Though a page is under way: what was said before is gone, what was said after is there."""
    model = Blocked(2)
    trainer = make(with_first(model))
    trainer.note("mine", number=0)
    trainer.play()
    assert model.entered.wait(10)
    trainer.note("mine", number=1)
    trainer.start_over()
    trainer.note("mine", number=2)
    trainer.set_learning_rate(RATE, 0.5)
    model.at = None  # it need not fail
    model.told.set()
    wait_for(lambda: trainer.status == "paused" and trainer.snapshot.page is None)
    wait_for(lambda: notes(trainer) == [(0, 0, 2)])
    wait_for(lambda: trainer.snapshot.learning_rates == {RATE: 0.5})
    trainer.run(2)
    assert notes(trainer) == [(0, 0, 2)]


def test_a_note_that_json_cannot_hold_is_refused_at_once(trainer):
    """It raises in the caller's thread, whatever the trainer is doing, and harms nothing."""
    for _ in range(2):
        with pytest.raises(TypeError, match="JSON"):
            trainer.note("mine", number=object())
        trainer.run(2)
    assert notes(trainer) == []


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("", {}),
        ("\ud800", {}),
        ("two\nlines", {}),
        ("learning_rate", {"to": 1}),  # which is read as more than words
        ("mine", {"number": float("nan")}),
        ("mine", {"text": "x" * 1_000_001}),
    ],
)
def test_a_note_that_no_store_can_hold_is_refused_at_once(trainer, kind, detail):
    """Pages are learned after it as before it, and the file can be read and gone on with."""
    for _ in range(2):
        with pytest.raises(ValueError, match=r"can be noted|JSON"):
            trainer.note(kind, **detail)
        trainer.run(2)
    assert notes(trainer) == []
    trainer.store.query("SELECT json_extract(detail, '$.rows') FROM event")


def test_a_note_tells_how_many_rows_had_been_seen(trainer):
    """By that, and not by what it says itself, it is told from what came later."""
    trainer.run(2)
    trainer.note("mine", rows=7, number=1)
    trainer.run(1)
    [event] = trainer.store.events("mine")
    assert event.detail == {"number": 1, "rows": 20}


def test_a_note_that_could_not_be_written_is_written_later(make):
    """On a full disk it raises and waits; the file opened anew, it is there, once."""
    trainer = make()
    trainer.run(1)
    trainer.stop()
    trainer.join()
    [[size]] = trainer.store.query("PRAGMA page_count")
    trainer.store.query(f"PRAGMA max_page_count = {size}")
    with pytest.raises(StoreError, match="full"):
        trainer.note("mine", number=1, text="x" * 100_000)
    trainer.note("mine", number=2)  # nothing more is written by a connection that has failed
    assert notes(trainer) == [(1, 10, 1), (1, 10, 2)]
    trainer.run(1)
    assert trainer.snapshot.rows == 20


def test_a_question_that_nobody_waits_for_any_more_costs_nothing(make):
    """Cancelled before its turn, it is not asked, and the stream and later questions go on."""
    trainer = make(with_first(Blocked(3)))
    model = trainer.models[0]
    trainer.play()
    assert model.entered.wait(10)
    asked = []
    assert trainer.ask(lambda _: asked.append(1)).cancel()
    later = trainer.ask(len)
    model.at = None
    model.told.set()
    assert later.result(10) == len(trainer.models)
    trainer.join()
    assert (trainer.status, asked) == ("finished", [])


# -- learning rate and speed --------------------------------------------------------------------


def test_a_learning_rate_takes_effect_at_the_page_of_its_event(make, path):
    """Changed while learning, at any moment: rows and events alone replay to the same bits."""
    trainer = make(speed=800)
    dice = random.Random(4)
    for _ in bursts(trainer, dice):
        trainer.set_learning_rate(RATE, dice.choice([0.1, 0.02, 0.5]))
    trainer.join()
    events = [e for e in trainer.store.events("learning_rate") if e.detail["rows"] < ROWS]
    assert [e.detail["rows"] for e in events] == [10 * e.page for e in events]
    assert len(events) > 2
    assert replay(path) == trainer.store.states
    if len(events) == len(trainer.store.events("learning_rate")):
        assert replay(path, by="page") == trainer.store.states


def test_a_learning_rate_is_an_event_before_its_first_page(make):
    """Said between two steps, twice, it is one event; its page is the first learned with it."""
    trainer = make()
    trainer.run(5)
    for rate in (0.3, 0.25, np.float32(0.25)):
        trainer.set_learning_rate(RATE, rate)
        wait_for(lambda: trainer.snapshot.learning_rates == {RATE: float(rate)})  # noqa: B023
    trainer.run(5)
    events = [(e.page, e.detail) for e in trainer.store.events("learning_rate")]
    assert events == [
        (5, {"model": RATE, "from": 0.01, "to": 0.3, "rows": 50}),
        (5, {"model": RATE, "from": 0.3, "to": 0.25, "rows": 50}),
    ]
    assert trainer.snapshot.rate_changes == ((50, RATE, 0.3), (50, RATE, 0.25))
    assert replay(trainer.store.path, by="page") == trainer.store.states


@pytest.mark.parametrize("pages", [0, 5])
def test_a_learning_rate_set_at_rest_is_there_tomorrow(make, pages):
    """Said before Play or after Stop, it is an event at once: whoever is killed now goes on so."""
    trainer = make()
    if pages:
        trainer.run(pages)
        trainer.stop()
        trainer.join()
    trainer.set_learning_rate(RATE, 0.25)
    assert trainer.snapshot.learning_rates == {RATE: 0.25}
    with Reader(trainer.store.path) as reader:  # as after a kill
        [event] = reader.events("learning_rate")
        assert (event.page, event.detail["to"]) == (pages, 0.25)
    trainer.close()
    trainer.set_learning_rate(RATE, 0.5)  # for nobody
    again = make()
    assert again.snapshot.learning_rates == {RATE: 0.25}
    again.run(5)
    assert len(again.store.events("learning_rate")) == 1
    assert replay(again.store.path, by="page") == again.store.states


def test_a_learning_rate_that_could_not_be_written_is_not_lost(make):
    """On a full disk it fails; played on, it is in force and an event from that page on."""
    trainer = make()
    trainer.run(5)
    [[size]] = trainer.store.query("PRAGMA page_count")
    trainer.store.query(f"PRAGMA max_page_count = {size}")
    rate, in_force = 0.01, lambda: trainer.snapshot.learning_rates == {RATE: rate}
    while trainer.status != "failed":  # until there is no room for another event
        rate += 0.001
        trainer.set_learning_rate(RATE, rate)
        wait_for(lambda: in_force() or trainer.status == "failed")
    trainer.run(5)
    assert in_force()
    assert trainer.store.events("learning_rate", last=1)[0].detail["to"] == rate
    assert replay(trainer.store.path, by="page") == trainer.store.states


def test_speed_is_kept_to_a_tenth(make):
    """At 100 pages/s, 5 pages take 50 ms to a tenth, what lateness they make up for aside."""
    trainer = make(speed=100)
    trainer.run(1)
    took, first = [], time.monotonic()
    while len(took) < 4 or min(took) > 0.055:  # what the machine was too busy for does not count
        began = time.monotonic()
        trainer.step(5)
        while trainer.status == "running":
            trainer.wait(0.05)
        took.append(time.monotonic() - began)
        assert trainer.status == "paused", took  # and not at the end, without one in time
    assert time.monotonic() - first > 0.045 * len(took) - 0.05


def test_who_waits_for_run_does_not_wait_for_the_speed(make):
    """`run` blocks a cell, so the limit is off until it returns, and on again after it."""
    trainer = make(speed=1e-9)
    assert trainer.run(15).page == 14
    trainer.play()
    trainer.wait(0.1)
    assert page(trainer) == 14


def test_a_new_speed_is_in_force_at_once(make):
    """Waiting for its turn at one page in 30 years, it goes on when the limit is lifted."""
    trainer = make(speed=1e-9)
    trainer.run(1)
    trainer.play()
    trainer.wait(0.1)
    assert page(trainer) == 0
    for speed in (1e-300, 5e-324, 1e-9):
        trainer.set_speed(speed)
    with at_most(STOP_S):
        trainer.set_speed(1000)
        wait_for(lambda: page(trainer) > 3)
    assert trainer.error is None


def test_saying_the_speed_again_does_not_add_pages(make):
    """A slider that is dragged says it a hundred times; the limit holds all the same."""
    trainer = make(speed=10)
    trainer.play()
    wait_for(lambda: page(trainer) >= 0)
    began = time.monotonic()
    while time.monotonic() < began + 0.55:
        trainer.set_speed(10)
        trainer.wait(0.005)
    trainer.pause()
    assert rest(trainer) <= 1 + 10 * (time.monotonic() - began)


# -- what goes wrong ----------------------------------------------------------------------------


class Fragile(SGDLogistic):
    """Fails once, in the midst of a page."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def learn(self, batch):
        """Learn half of the page that it fails at."""
        if batch.page == self.at:
            self.at = None
            super().learn(batch.take(np.arange(len(batch.ids)) < 5))
            raise RuntimeError("the model is tired")
        super().learn(batch)


def test_an_exception_in_a_model_surfaces_and_costs_nothing(make, clean):
    """Status, message, event and join tell of it; play goes on from the last commit to the end."""
    trainer = make(with_first(Fragile(17)))
    trainer.play()
    with pytest.raises(RuntimeError, match="the model is tired"):
        trainer.join()
    assert (trainer.status, trainer.snapshot.status) == ("failed", "failed")
    assert trainer.snapshot.page == trainer.store.page == 16
    assert "the model is tired" in trainer.message == trainer.snapshot.message
    [event] = trainer.store.events("error")
    assert (event.page, "tired" in event.detail["reason"]) == (17, True)
    with pytest.raises(RuntimeError, match="tired"):
        trainer.join()  # still
    trainer.play()
    trainer.join()
    assert (trainer.status, trainer.message, trainer.error) == ("finished", "", None)
    assert dump(trainer.store) == clean


def test_run_raises_what_the_thread_failed_of(make):
    """The blocking form raises too, and the next one goes on."""
    trainer = make(with_first(Fragile(3)))
    with pytest.raises(RuntimeError, match="tired"):
        trainer.run(10)
    assert trainer.run(2).page == 4


class Blocked(Fragile):
    """Fails once, when it is told to."""

    def __init__(self, at):
        super().__init__(at)
        self.entered, self.told = threading.Event(), threading.Event()

    def learn(self, batch):
        """Wait to be told to fail."""
        if batch.page == self.at:
            self.entered.set()
            assert self.told.wait(10)
        super().learn(batch)


class Forgetful(Fragile):
    """Fails once, and takes its time to be shown the rows again."""

    def __init__(self, at):
        super().__init__(at)
        self.shown = 0

    def relearn(self, batches):
        """Look at each batch for a while."""
        for self.shown, _ in enumerate(batches, 1):
            threading.Event().wait(0.1)


@pytest.mark.parametrize("failed_before", [False, True])
def test_stop_while_the_models_take_up_the_last_commit(make, failed_before, clean, monkeypatch):
    """Stop ends that, after an error and on going on from it; the next Play does it anew."""
    monkeypatch.setattr("promo.store.reader._AT_ONCE", 10)
    model = Forgetful(17)
    trainer = make(with_first(model))
    if failed_before:
        with patch.object(trainer.store, "reopen", side_effect=StoreError("not now")):
            trainer.play()
            wait_for(lambda: trainer.status == "failed")
    model.shown = 0
    trainer.play()
    wait_for(lambda: model.shown > 2)
    with at_most(STOP_S):
        trainer.stop()
        with suppress(RuntimeError):
            trainer.join()
    assert trainer.status == ("stopped" if failed_before else "failed")
    assert model.shown < 17
    trainer.run()
    assert model.shown == 17
    assert dump(trainer.store) == clean


def test_a_play_after_a_stop_is_not_told_of_a_late_failure(make, clean):
    """Stopped in the midst of a page that then fails, and played on: models and end are clean."""
    model = Blocked(9)
    trainer = make(with_first(model))
    trainer.play()
    assert model.entered.wait(10)
    trainer.stop()
    trainer.play()
    model.told.set()
    trainer.join()
    assert (trainer.status, trainer.error) == ("finished", None)
    assert [event.page for event in trainer.store.events("error")] == [9]
    assert dump(trainer.store) == clean


def test_a_play_while_the_models_are_taken_up_again_is_heard(make, clean, monkeypatch):
    """After an error, before its thread has ended: the stream goes on once they are there."""
    monkeypatch.setattr("promo.store.reader._AT_ONCE", 10)
    model = Forgetful(17)
    trainer = make(with_first(model))
    trainer.play()
    wait_for(lambda: model.shown > 2)
    trainer.play()
    trainer.join()
    assert (trainer.status, trainer.error) == ("finished", None)
    assert dump(trainer.store) == clean


def test_stop_while_somebody_else_writes_to_the_file(make, path):
    """A commit waits 10 s for them, Stop no longer than that; played on, nothing is lost."""
    trainer = make()
    trainer.set_speed(100)
    trainer.play()
    before = page_above(trainer, 3)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        threading.Event().wait(1)  # the next page waits to be committed
        trainer.stop()
        with at_most(12), suppress(StoreError):
            trainer.join()
        other.execute("ROLLBACK")
    assert trainer.run(2).page > before + 1
    assert_consistent(path)


def test_a_full_disk_fails_and_is_survived(make, clean):
    """When the store cannot write, the trainer says so; with room again it ends as a clean run."""
    trainer = make()
    trainer.run(10)
    [[size]] = trainer.store.query("PRAGMA page_count")
    trainer.store.query(f"PRAGMA max_page_count = {size}")
    with pytest.raises(StoreError, match="full"):
        trainer.run()
    assert (trainer.status, "full" in trainer.message) == ("failed", True)
    assert_consistent(trainer.store.path)
    trainer.run()  # the reopened connection has no such limit
    assert dump(trainer.store) == clean


def test_start_over_after_a_recovery_that_failed(trainer, path, clean):
    """Where even the last commit could not be taken up again, Start over works at its first try."""
    trainer.run(10)
    aside = path.rename(path.with_name("aside.db"))
    path.mkdir()  # the file cannot be opened again
    with pytest.raises(StoreError, match="moved"):
        trainer.run()
    path.rmdir()
    aside.rename(path)
    trainer.start_over()
    wait_for(lambda: trainer.status == "paused")
    assert (trainer.error, trainer.snapshot.page, trainer.store.rows) == (None, None, 0)
    trainer.run()
    assert dump(trainer.store) == clean


def test_a_server_that_is_gone_is_an_error_in_words(path):
    """Nobody listens: after its deadline the trainer fails and names the page and the address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with open_trainer(path, f"http://127.0.0.1:{port}", "x", deadline=0.3) as trainer:
        trainer.play()
        wait_for(lambda: trainer.status == "retrying" or trainer.status == "failed")
        with pytest.raises(Exception, match=rf"page 0 .*{port}|{port}"):
            trainer.join()
        assert trainer.status == "failed"
        assert str(port) in trainer.message


def test_a_closed_trainer_says_so(trainer, path):
    """After close, commands neither raise nor touch the file, which another may hold by then."""
    trainer.run(3)
    trainer.close()
    trainer.close()
    with Store.read_only(path) as reader:
        before = dump(reader)
    with Store(path, **trainer.store._expected):
        for command in (trainer.play, trainer.step, trainer.start_over, trainer.pause):
            command()
        trainer.set_speed(3)
        trainer.set_learning_rate(RATE, 0.1)
        trainer.stop()
        assert (trainer.status, "closed" in trainer.message) == ("failed", True)
        with pytest.raises(StoreError, match="closed"):
            trainer.join()
        with pytest.raises(StoreError, match="closed"):
            trainer.run()
    assert tables(path) == before
    wait_for(lambda: not trainer_threads())


def test_the_block_ends_the_trainer(make):
    """Leaving a `with` block, by an exception too, ends the thread and gives the file back."""
    with suppress(ZeroDivisionError), make() as trainer:
        trainer.play()
        with pytest.raises(StoreLocked):
            make()
        raise ZeroDivisionError
    wait_for(lambda: not trainer_threads())
    make().close()


# -- stop ---------------------------------------------------------------------------------------


def stops_at_once(trainer):
    with at_most(STOP_S):
        trainer.stop()
        trainer.join()
    assert trainer.status == "stopped"
    with at_most(STOP_S):
        trainer.close()
        wait_for(lambda: not trainer_threads())


def test_stop_while_paused(trainer):
    """A paused trainer ends within 250 ms."""
    trainer.run(1)
    stops_at_once(trainer)


def test_stop_while_playing(long_api, path):
    """A playing trainer ends within 250 ms, on a whole page."""
    trainer = open_trainer(path, long_api.url, long_api.source)
    trainer.play()
    wait_for(lambda: page(trainer) > 3)
    stops_at_once(trainer)
    assert_consistent(trainer.store.path)


def test_stop_while_waiting_for_its_turn(make):
    """A trainer held back by its speed ends within 250 ms."""
    trainer = make(speed=1e-9)
    trainer.play()
    wait_for(lambda: page(trainer) == 0)
    stops_at_once(trainer)


class Preparing(SGDLogistic):
    """Is not ready for its first page until told so."""

    def __init__(self):
        super().__init__()
        self.ready = threading.Event()

    def prepare(self):
        """Wait for that."""
        self.ready.wait()


def test_stop_while_a_model_prepares_itself(make, clean):
    """The first page is not learned before its models are ready for it; Stop need not wait."""
    model = Preparing()
    trainer = make([model, *default_models()[0][1:]])
    for _ in "twice":
        trainer.play()
        trainer.wait(0.1)
        assert trainer.status == "running"
        assert page(trainer) == -1
        with at_most(STOP_S):
            trainer.stop()
            trainer.join()
    model.ready.set()
    trainer.run()
    assert dump(trainer.store) == clean


def test_stop_while_the_server_hangs(path):
    """A trainer that waits for a server which never answers ends within 250 ms."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        trainer = open_trainer(path, url, "x")
        trainer.play()
        with server.accept()[0] as connection:
            connection.recv(100)  # it has asked
            assert trainer.message == ""
            wait_for(lambda: trainer.message == "still waiting for the next page")
            stops_at_once(trainer)
            assert trainer.message == ""


def test_stop_while_the_server_fails(path):
    """A trainer that waits to ask again ends within 250 ms; it was `retrying` and said why."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"

        def refuse():
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(1000)
                        connection.sendall(answer)

        threading.Thread(target=refuse, daemon=True).start()
        trainer = open_trainer(path, url, "x")
        trainer.play()
        wait_for(lambda: trainer.status == "retrying" and trainer.snapshot.status == "retrying")
        why = trainer.message  # page 0 is told to wait if another page heard of it first
        assert "503" in why or "asked us to wait" in why
        stops_at_once(trainer)
        assert trainer.status == "stopped"
        server.shutdown(socket.SHUT_RDWR)


# -- snapshots ----------------------------------------------------------------------------------


def picture(snapshot):
    """Return all that a snapshot shows, apart from the pace and the status, as plain values."""
    history = snapshot.history
    return json.dumps(
        [
            snapshot.page,
            snapshot.rows,
            snapshot.page_size,
            snapshot.coefficients,
            snapshot.metrics,
            history.pages.tolist(),
            [[str(name), history[name].tolist()] for name in history.columns],
            snapshot.sample.tolist(),
            snapshot.learning_rates,
            snapshot.rate_changes,
            snapshot.totals,
        ]
    )


def test_a_snapshot_is_one_committed_page_and_never_changes(make):
    """Numbers, history, sample and totals belong to its page, as the store has them, for ever."""
    trainer = make(speed=1000)
    seen = []
    for _ in bursts(trainer, random.Random(8)):
        snapshot = trainer.snapshot
        seen.append((snapshot, picture(snapshot)))
        trainer.set_learning_rate(RATE, 0.01 * (1 + len(seen) % 3))
    seen.append((trainer.snapshot, picture(trainer.snapshot)))
    store = trainer.store
    data = np.array(store.data()).T
    for snapshot, before in seen:
        assert picture(snapshot) == before
        if snapshot.page is None:
            continue
        assert snapshot.rows == min(10 * (snapshot.page + 1), ROWS) == snapshot.totals["inserted"]
        assert snapshot.history.pages.tolist() == list(range(snapshot.page + 1))
        np.testing.assert_equal(
            sorted(snapshot.coefficients), sorted(store.coefficients(snapshot.page))
        )
        np.testing.assert_equal(sorted(snapshot.metrics), sorted(store.metrics(snapshot.page)))
        for c in snapshot.coefficients:
            assert snapshot.coefficient(*c[:2]) is c
            kept = snapshot.history[c.model, c.term, "estimate"]
            pages, estimates = store.series("coefficient", c.model, c.term)
            np.testing.assert_array_equal(kept, estimates[pages <= snapshot.page])
        if snapshot.rows <= 1000:
            assert (snapshot.sample == data[2:, : snapshot.rows]).all()
    rows = [snapshot.rows for snapshot, _ in seen]
    assert all(before <= after for before, after in pairwise(rows))
    assert len(set(rows)) > 3


@pytest.mark.parametrize("pages", [0, 1, 57, PAGES])
def test_a_resumed_trainer_shows_what_was_shown_last(make, pages):
    """Its first snapshot equals the last one before, and goes on as that one would have."""
    first = make()
    first.run(pages // 2)
    first.set_learning_rate(RATE, 0.2)
    first.run(pages - pages // 2)
    first.close()
    second = make(with_first(SGDLogistic(0.7)) if pages else None)
    assert picture(second.snapshot) == picture(first.snapshot)
    assert second.status == "idle"
    second.run(20)
    names = [c[:2] for c in second.snapshot.coefficients]
    assert names == [c[:2] for c in first.snapshot.coefficients]
    for model, term in names:
        at, estimates = second.store.series("coefficient", model, term)
        np.testing.assert_array_equal(second.snapshot.history.pages, at)
        np.testing.assert_array_equal(second.snapshot.history[model, term, "estimate"], estimates)


# -- kill -9 ------------------------------------------------------------------------------------


def test_killed_at_random_instants_it_ends_with_the_same_tables(long_api, path, tmp_path):
    """A child killed 20 times and run to the end leaves the tables of an undisturbed run."""
    dice = random.Random(20)
    done = -1
    for _ in range(KILLS):
        said, running = context.Pipe(duplex=False)
        arguments = (path, long_api.url, long_api.source, LIFE, running)
        with said, running, child(crash.learn, *arguments) as process:
            assert said.poll(60)
            with Store.read_only(path) as reader:
                awaited = done + dice.randint(1, LIFE)
                wait_for(lambda: (-1 if reader.page is None else reader.page) >= awaited)  # noqa: B023
            process.kill()  # while it learns the next one, or rests after the last of its life
            process.join()
            assert process.exitcode == -9
        with open_trainer(path, long_api.url, long_api.source) as trainer:
            assert trainer.store.query("PRAGMA integrity_check") == [("ok",)]
            assert awaited <= page(trainer) <= done + LIFE
            done = page(trainer)
        assert_consistent(path)
    for each in (path, tmp_path / "clean.db"):
        with open_trainer(each, long_api.url, long_api.source) as trainer:
            assert trainer.run().total_pages == trainer.snapshot.page + 1 > done + 1
    assert tables(path) == tables(tmp_path / "clean.db")


def test_two_models_of_one_name_are_refused(make):
    """A store tells states by their names."""
    with pytest.raises(ValueError, match="one name"):
        make([SGDLogistic(), SGDLogistic()])
    make().close()  # and lets go of the store
