"""Tests of `promo.past`: the snapshot and the models of a run that had stopped there."""

import threading
import time
from concurrent.futures import CancelledError
from dataclasses import fields

import numpy as np
import pytest

from pages import employees, pages_of
from promo.batch import Batch
from promo.errors import StoreError
from promo.line import Line
from promo.models.default import EXPERTS, FULL, MIXTURE, USUAL, default_models
from promo.models.sgd import SGDLogistic
from promo.past import Past
from promo.store import Store

ALL = (*EXPERTS, MIXTURE)
SOURCE = "world:collider"
POINTS = Batch.of([0.3, -2.0, 1.5], [1.0, 0.1, -0.7], [False] * 3)


def models(names=USUAL):
    return default_models(names, SOURCE)[0]


def learned(path, batches, names=USUAL, size=10):
    """Open a store, learn pages at a rate that changes at page 6, and return both."""
    store = Store(path, source=SOURCE, page_size=size)
    line = Line(store, models(names))
    for each in batches:
        if each.page == 6:
            line.change_rate(SGDLogistic.name, 0.2)
        line.learn(each)
    return store, line


def snapshot(line, size=10):
    options = {"page_size": size, "total_rows": None, "learning_rates": line.rates()}
    return line.memory.snapshot("stopped", "", **options)


def assert_equal(found, expected, thinned=False):
    """Every field, floats to the bit; of a thinned history the pages that are left."""
    for name in (field.name for field in fields(expected)):
        mine, its = getattr(found, name), getattr(expected, name)
        if name == "message":
            assert mine == f"as of page {expected.page:,} (counted from 0)"
        elif name == "history":
            assert list(mine.columns) == list(its.columns)
            kept = np.isin(its.pages, mine.pages)
            assert thinned or kept.all()
            np.testing.assert_array_equal(mine.pages, its.pages[kept])
            for column in its.columns:
                np.testing.assert_array_equal(mine[column], its[column][kept])
        else:  # to the bit, NaN being NaN
            assert repr(np.asarray(mine).tolist() if name == "sample" else mine) == repr(
                np.asarray(its).tolist() if name == "sample" else its
            ), name


def chances(models):
    """Return what every expert says of three people; a question."""
    return [(m.name, m.predict_proba(POINTS).tolist()) for m in models if hasattr(m, "predicted")]


@pytest.mark.parametrize("names", [USUAL, ALL])
def test_a_past_page_is_a_run_that_had_stopped_there(names, tmp_path):
    """Snapshot and what the models say, at any page, in any order, are those of a shorter run."""
    pages = pages_of(employees(236))
    store, line = learned(tmp_path / "whole.db", pages, names)
    past = Past(store.path, models(names))
    assert past.pages == list(range(24))
    for page in (23, 3, 12, 5):
        shorter, its = learned(tmp_path / f"{page}.db", pages[: page + 1], names)
        for live in (None, snapshot(line)):
            assert_equal(past.turn_to(page, live), snapshot(its))
        assert past.ask(chances).result() == chances(its.models)
        shorter.close()
    past.close()
    store.close()


def test_of_a_thinned_past_is_there_what_is_kept(tmp_path):
    """After a thousand pages the history up to a page is every other page of what it was."""
    pages = pages_of(employees(1010), 1)
    store, line = learned(tmp_path / "whole.db", pages, size=1)
    shorter, its = learned(tmp_path / "shorter.db", pages[:601], size=1)
    past = Past(store.path, models())
    for live in (None, snapshot(line, 1)):
        found = past.turn_to(600, live)
        assert found.history.pages.tolist() == list(range(0, 601, 2))
        assert_equal(found, snapshot(its, 1), thinned=True)
    with pytest.raises(StoreError, match=r"choose [\d,]+ or [\d,]+, the nearest that are"):
        past.turn_to(601)
    for each in (past, store, shorter):
        each.close()


def test_a_live_snapshot_may_be_older_or_newer_than_the_page(tmp_path):
    """The history taken from it is the file's, also where it has not the page yet."""
    pages = pages_of(employees(1012), 1)
    store, line = learned(tmp_path / "a.db", pages[:1003], size=1)
    older = snapshot(line, 1)
    for each in pages[1003:]:
        line.learn(each)
    past = Past(store.path, models())
    for page in (1004, 1010, 500):
        expected = past.turn_to(page).history.pages.tolist()
        its = past.turn_to(page, older).history.pages.tolist()
        assert its == [at for at in expected if at <= 1002 or at == page]
        assert past.turn_to(page, snapshot(line, 1)).history.pages.tolist() == expected
    past.close()
    store.close()


def test_the_past_is_read_while_it_is_written(tmp_path):
    """A thread that learns and one that goes back and forth do not disturb each other."""
    pages = pages_of(employees(2000))
    store, line = learned(tmp_path / "a.db", pages[:30])
    first = snapshot(line)
    past, done = Past(store.path, models()), threading.Event()

    def learn():
        for each in pages[30:]:
            line.learn(each)
        done.set()

    thread = threading.Thread(target=learn)
    thread.start()
    turns = 0
    while not done.is_set() or turns < 3:
        for page in (29, 0, past.pages[-1]):
            assert past.turn_to(page).page == page
        turns += 1
    thread.join()
    assert_equal(past.turn_to(29), first)
    past.close()
    store.close()


class Slow:
    """An expert that is being shown its rows again until it is told to go on."""

    def __init__(self):
        self.relearning, self.go_on = threading.Event(), threading.Event()

    def restore(self, states):
        """Take over nothing."""

    def relearn(self, batches):
        """Wait at the first of the rows."""
        for _ in batches:
            self.relearning.set()
            self.go_on.wait(5)


def test_a_question_is_given_up_when_the_page_is_turned(tmp_path):
    """While rows are shown again another page may be turned to: what was asked is cancelled."""
    store, _ = learned(tmp_path / "a.db", pages_of(employees(2000), 1000), size=1000)
    past, slow = Past(store.path, models()), Slow()
    past._asked = (*past._asked, slow)
    past.turn_to(1)
    first = past.ask(chances)
    slow.relearning.wait(5)
    past.turn_to(0)
    slow.go_on.set()
    with pytest.raises(CancelledError):
        first.result(5)
    assert past.ask(len).result(5) == 4
    past.leave()
    with pytest.raises(CancelledError):
        past.ask(len).result(5)
    past.close()
    store.close()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_question_is_given_up_when_the_run_is_started_over(tmp_path, when):
    """Its rows are gone: models that are shown them again have nothing to say."""
    store, _ = learned(tmp_path / "a.db", pages_of(employees(2000), 1000), size=1000)
    past, slow = Past(store.path, models()), Slow()
    past._asked = (*past._asked, slow)
    past.turn_to(1)
    if when == "before":
        store.clear()
    first = past.ask(chances)
    if when == "meanwhile":
        slow.relearning.wait(5)
        store.clear()
    slow.go_on.set()
    with pytest.raises(CancelledError):
        first.result(5)
    past.close()
    store.close()


def test_a_question_about_the_past_can_be_cancelled(tmp_path, monkeypatch):
    """Its thread ends without a word, and the next question is answered."""
    store, _ = learned(tmp_path / "a.db", pages_of(employees(2000), 1000), size=1000)
    past, slow = Past(store.path, models()), Slow()
    past._asked = (*past._asked, slow)
    raised = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    past.turn_to(1)
    first = past.ask(chances)
    slow.relearning.wait(5)
    assert first.cancel()
    slow.go_on.set()
    assert past.ask(len).result(5) == 4
    past.close()
    store.close()
    assert raised == []


def test_turning_a_page_is_quick_enough_to_drag(tmp_path):
    """With the usual models and 20,000 rows it takes a few hundredths of a second at most."""
    store, line = learned(tmp_path / "a.db", pages_of(employees(20_000), 400), FULL, size=400)
    past, live = Past(store.path, models(FULL)), snapshot(line, 400)
    times = []
    for page in past.pages[::5]:
        began = time.process_time()
        past.turn_to(page, live)
        times.append(time.process_time() - began)
    assert np.median(times) < 0.1
    past.close()
    store.close()
