"""Tests of `promo.models.drift`: river's ADWIN on the same losses, in the store and on the way."""

import base64
import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift

from pages import batch, employees, pages_of
from promo.line import Line
from promo.models.board import Board
from promo.models.drift import Drift
from promo.models.experts import BaseRate
from promo.models.logistic import RenewableLogistic
from promo.store import Store
from promo.world import WORLDS
from states import assert_refused


def watching(names="ab"):
    board = SimpleNamespace(racing=list(names), losses=np.empty((len(names), 0)))
    return board, Drift(board)


def fed(board, watch, losses, size=10):
    """Feed losses of shape (k, n) page by page; yield the events with the page's number."""
    for page, at in enumerate(range(0, losses.shape[1], size)):
        board.losses = losses[:, at : at + size]
        watch.learn(batch(page, *np.zeros((3, board.losses.shape[1]))))
        yield from ((page, event) for event in watch.events())


def state_of(watch):
    [state] = watch.states()
    return state.state


def rivers_own(watch):
    return [detector and detector._helper.__getstate__() for detector in watch._watched.values()]


def jumps(seed, n=3000):
    """Return losses of two experts, one of which gets worse at some time, and may get better."""
    random = np.random.default_rng(seed)
    levels = np.repeat(random.choice([0.3, 0.5, 0.9], 6), n // 6)
    return np.array([random.exponential(0.5, n), random.exponential(levels)])


@given(st.integers(0, 99), st.integers(1, 200))
@settings(max_examples=20, deadline=None)
def test_drift_is_rivers(seed, size):
    """An alarm wherever river's own detector has one and the mean has risen, for any pages."""
    losses = jumps(seed)
    board, watch = watching()
    found = [(page, e.detail["model"]) for page, e in fed(board, watch, losses, size)]
    expected = []
    for name, row in zip("ab", losses, strict=True):
        detector, before = drift.ADWIN(), 0.0
        for at, loss in enumerate(row.tolist()):
            if (at % size) % 32 == 0:
                before, known = detector.estimation, detector.width > 0
            detector.update(loss)
            if detector.drift_detected and known and detector.estimation > before:
                expected.append((at // size, name))
    assert sorted(found) == sorted(expected)
    metrics = {m.model: m.value for m in watch.metrics()}
    assert metrics == {name: sum(n == name for _, n in expected) for name in "ab"}


@given(st.integers(0, 99), st.integers(0, 300))
@settings(max_examples=20, deadline=None)
def test_restored_goes_on_as_if_never_stopped(seed, stop):
    """After a restart through JSON states and events are those of one run, to the bit."""
    losses = jumps(seed)
    through, stopped, resumed = watching(), watching(), watching()
    all_of_it = [*fed(*through, losses)]
    first = [*fed(*stopped, losses[:, : 10 * stop])]
    resumed[1].restore({"drift": state_of(stopped[1])})
    assert resumed[1].states() == stopped[1].states()
    assert rivers_own(resumed[1]) == rivers_own(stopped[1])
    then = [*fed(*resumed, losses[:, 10 * stop :])]
    assert first + [(page + stop, event) for page, event in then] == all_of_it
    assert resumed[1].states() == through[1].states()


def test_a_change_of_policy_is_an_event(tmp_path):
    """In world drift the logistic is found out within 500 rows of the change; before, nobody."""
    rows = [column[40_000:52_000] for column in WORLDS["drift"].sample(52_000, seed=2021)]
    experts = [BaseRate(), RenewableLogistic()]
    board = Board(experts)
    with Store(tmp_path / "store.db", source="memory", page_size=100) as store:
        line = Line(store, [*experts, board, Drift(board)])
        for each in pages_of(rows, 100):
            line.learn(each)
        [event] = store.events("drift")
        assert event.detail["model"] == "renewable-logistic"
        assert 10_000 <= event.detail["rows"] <= 10_500
        assert event.page == event.detail["rows"] // 100 - 1
        assert event.detail["to"] > event.detail["from"] + 0.1


def broken():
    """Yield states that no run of ours can have left."""
    board, watch = watching()
    list(fed(board, watch, jumps(1)))
    good = json.loads(state_of(watch))
    detector = good["detectors"]["a"]
    raw = base64.b64decode(detector["buckets"])
    yield "state"
    yield "[]"
    yield json.dumps({**good, "version": 2})
    yield json.dumps({**good, "rows": -1})
    yield json.dumps({**good, "more": 1})
    yield json.dumps({**good, "detectors": {"a": detector}})
    nan, endless, less = (np.array(x).tobytes() for x in (np.nan, np.inf, -1.0))
    torn = [b"", raw[:-4], raw[:-8], raw + raw[:8], raw + raw]
    torn += [raw[:at] + bad + raw[at + 8 :] for at in (0, 16, len(raw) - 8) for bad in
             (nan, endless, less)]  # fmt: skip
    used, sums = detector["used"], detector["sums"]
    for changes in (
        {"buckets": "%"},
        *({"buckets": base64.b64encode(each).decode()} for each in torn),
        {"used": []},
        {"used": [*used, 0]},
        {"used": [7, *used[1:]]},
        {"used": [-1, *used[1:]]},
        {"used": [used[1], used[0], *used[2:]], "sums": [*sums[:2], sums[2] + 1, sums[3]]},
        {"used": 60 * [0]},
        {"sums": [*sums[:2], sums[2] + 1, sums[3]]},
        {"sums": [*sums[:3], -1.0]},
        {"sums": [*sums[:3], 1e300]},
        {"sums": sums[:3]},
        {"counts": [2**31, *detector["counts"][1:]]},
        {"counts": [*detector["counts"][:2], -1]},
        {"drifts": -1},
        {"detected": 2},
    ):
        changed = {**good["detectors"], "a": {**detector, **changes}}
        yield json.dumps({**good, "detectors": changed})


@pytest.mark.parametrize("state", [*broken()])
def test_a_broken_state_is_refused(state):
    """A state that is none raises ValueError, before river would panic, and changes nothing."""
    board, watch = watching()
    list(fed(board, watch, jumps(2)))
    assert_refused(watch, {"drift": state})


def test_nothing_is_watched_before_the_first_loss():
    """Before it the state is a new detector's of river's, which is there from the first loss on."""
    board, watch = watching("a")
    new = {"drift": state_of(watch)}
    assert watch._watched == {"a": None}
    watch._watched["a"] = drift.ADWIN()
    assert new == {"drift": state_of(watch)}
    watch.restore(new)
    assert watch._watched == {"a": None}
    list(fed(board, watch, np.full((1, 1), 0.5)))
    assert watch._watched["a"].width == 1


def test_no_alarm_where_nothing_changes():
    """An expert that learns is not said to have changed, nor one whose losses stay."""
    experts = [BaseRate(), RenewableLogistic()]
    board = Board(experts)
    models = [*experts, board, Drift(board)]
    for each in pages_of(employees(20_000), 100):
        for model in models:
            model.learn(each)
        assert models[-1].events() == []
