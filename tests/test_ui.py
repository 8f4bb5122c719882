"""Tests of `promo.ui` without a browser: real widgets, real trainers, comms that write down."""

import dataclasses
import html
import math
import os
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from itertools import combinations
from operator import le
from types import SimpleNamespace

import bqplot as bq
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ipywidgets import HTML, Box, Button, Label, VBox, Widget
from ipywidgets.widgets.widget import _instances as registry

from clocks import at_most, wait_for
from comms import (
    Comm,
    check_arrays,
    is_clean,
    left_open,
    open_widgets,
    shown,
    strokes,
    text_of,
    texts_of,
    tree,
)
from promo import ui
from promo.errors import SourceChanged
from promo.models.default import default_models
from promo.models.regressions import Regressions
from promo.models.sgd import SGDLogistic
from promo.pace import SpeedLimit
from promo.report import drawings
from promo.store import Store
from promo.stream import PageStream
from promo.trainer import Trainer
from promo.ui import plot
from promo.ui.controls import status_line
from promo.ui.frames import Frames
from promo.ui.publisher import close_tree
from promo.ui.switch import COLLIDER, NULL
from promo.ui.table import as_html
from servers import ScriptedServer, contract_server, employees

ROWS = 12_000
RATE = "sgd-logistic"
TOLD_S = 0.1  # a callback only tells the trainer: it returns within this, on a busy machine too
NOWHERE = -1e9
pytestmark = pytest.mark.usefixtures("comms")


@pytest.fixture
def make(api, tmp_path):
    """Return a function that opens a trainer, on the one store of the test."""

    def make(url=api.url, source=None, models=None):
        stream = PageStream(url, source=source or api.source)
        store = Store(tmp_path / "promo.db", source=stream.source, page_size=10, settings={})
        return Trainer(stream, store, models or default_models()[0])

    return make


@pytest.fixture
def trainer(make):
    with make() as trainer:
        yield trainer


def fake_trainer(rate=0.01, **more):
    """Return what `Controls` and `Publisher` look at, and nothing behind it."""
    snapshot = SimpleNamespace(
        page=None, rows=0, page_size=10, total_pages=None, pages_per_s=0.0, page_s={},
        seconds_left=None, totals={"rejected": 0, "conflicting": 0}, learning_rates={RATE: rate},
        rate_changes=(), message="",
    )  # fmt: skip
    told = []
    commands = ("play", "pause", "step", "stop", "start_over", "set_speed", "set_learning_rate")
    tell = {name: lambda *args, _name=name: told.append((_name, *args)) for name in commands}
    return SimpleNamespace(**{"snapshot": snapshot, "status": "idle", "message": "", "told": told,
                              "error": None, "limit": SpeedLimit()} | tell | more)  # fmt: skip


def button(controls, text):
    (found,) = [w for w in shown(controls.widget) if getattr(w, "description", "") == text]
    return found


def status(controls):
    return text_of(controls.status.value)


def page_of(controls):
    return int(re.search(r"page ([\d,]+)", status(controls))[1].replace(",", ""))


def views(trainer):
    controls = ui.Controls(trainer)
    figures = [ui.SampleFigure(), ui.LossFigure(), ui.CoefficientFigure()]
    return controls, figures, ui.CoefficientTable()


def build(trainer):
    """Build the live cell of the notebook."""
    controls, figures, table = views(trainer)
    publisher = ui.Publisher(trainer, [controls, *figures, table], frames_per_s=50)
    return controls, figures, publisher, ui.Board([controls], [*figures, table])


# -- controls ----------------------------------------------------------------------------------


def test_the_texts_are_those_of_the_design(trainer):
    """Buttons and sliders carry exactly the texts of DESIGN 7."""
    controls = ui.Controls(trainer)
    visible = shown(controls.widget)
    buttons = [w.description for w in visible if isinstance(w, Button)]
    sliders = [w.description for w in visible if not isinstance(w, Button) and hasattr(w, "value")]
    assert buttons == ["Play", "Step", "Stop", "Start over"]
    assert [text for text in sliders if text] == ["Speed", "Learning rate"]


@pytest.mark.parametrize(
    ("word", "play", "step", "stop"),
    [
        ("idle", "Play", True, False),
        ("running", "Pause", False, True),
        ("retrying", "Pause", False, True),
        ("paused", "Play", True, True),
        ("finished", "Play", True, False),
        ("stopped", "Play", True, False),
        ("failed", "Play", True, False),
    ],
)
def test_buttons_offer_what_can_be_done(word, play, step, stop):
    """Play reads Pause and Step is disabled while running; Stop needs something to stop."""
    trainer = fake_trainer(status=word)
    controls = ui.Controls(trainer)
    assert controls.play.description == play
    assert (not controls.step.disabled, not controls.stop.disabled) == (step, stop)
    assert status(controls).startswith(f"{word} · page 0")


def test_step_may_be_pressed_again_while_it_runs():
    """A button that is disabled loses the focus; Play is another matter, and so is the end."""
    trainer = fake_trainer(status="paused")
    controls = ui.Controls(trainer)
    controls.step.click()
    trainer.status = "running"
    controls.update(trainer.snapshot)
    assert (controls.step.disabled, trainer.told) == (False, [("step",)])
    trainer.status = "paused"
    controls.update(trainer.snapshot)
    controls.play.click()
    trainer.status = "running"
    controls.update(trainer.snapshot)
    assert controls.step.disabled


def test_who_waits_has_no_pace_and_the_end_says_so():
    """Neither pages/s nor the time left stand beside why the stream waits; a row alone is one."""
    trainer = fake_trainer(status="running")
    vars(trainer.snapshot).update(page=9, total_pages=20, pages_per_s=19.0, seconds_left=10.0)
    trainer.snapshot.totals["rejected"] = 1
    controls = ui.Controls(trainer)
    assert status(controls) == (
        "running · page 10 of 20 · 0 rows · 19 pages/s · 0:10 left · 1 row in quarantine"
    )
    trainer.message = "still waiting for the next page"
    controls.update(trainer.snapshot)
    assert status(controls) == (
        "running · page 10 of 20 · 0 rows · 1 row in quarantine · still waiting for the next page"
    )
    vars(trainer.snapshot).update(page=19, pages_per_s=0.0)
    trainer.status, trainer.message = "finished", ""
    controls.update(trainer.snapshot)
    assert status(controls).endswith("· there is no further page yet")
    assert controls.news == "finished"


def test_one_question_at_a_time():
    """Whether to start over is no longer asked once Play is pressed, or the API has changed."""
    trainer = fake_trainer(status="paused")
    controls = ui.Controls(trainer)
    controls.start_over.click()
    assert controls._keep in shown(controls.widget)
    controls.play.click()
    assert controls._keep not in shown(controls.widget)
    controls.start_over.click()
    trainer.status, trainer.error = "failed", SourceChanged("another page")
    controls.update(trainer.snapshot)
    asked = [w.description for w in shown(controls.widget) if isinstance(w, Button)]
    assert asked[-2:] == ["Go on all the same", "Erase and start over"]
    assert "Yes, erase it" not in asked


@given(
    st.sampled_from(["idle", "running", "failed"]),
    st.none() | st.integers(0, 10**9),
    st.none() | st.integers(0, 10**9),
    st.floats(0, 1e6),
    st.text(),
)
def test_the_status_line_begins_with_the_word_and_holds_the_page(word, page, total, pace, message):
    """The line is the word, `page N` of as many as there are, and the message, escaped."""
    snapshot = fake_trainer().snapshot
    snapshot.page, snapshot.total_pages, snapshot.pages_per_s = page, total, pace
    line = status_line(snapshot, word, message)
    done = 0 if page is None else page + 1
    assert re.match(rf'<div [^>]*><b class="{word}">{word}</b> · page {done:,}( of| ·)', line)
    assert ("<script>" not in line) or "<script>" not in message
    if message:
        assert line.endswith(f" · {html.escape(message)}</div>")
    if of := re.search(r" of ([\d,]+)", line.removesuffix(f"{html.escape(message)}</div>")):
        assert int(of[1].replace(",", "")) >= done


@given(st.floats(1e-12, 1e6))
def test_the_slider_keeps_the_rate_it_starts_with(rate):
    """A learning rate outside 1e-4 to 10 widens the slider; making it tells the trainer nothing."""
    trainer = fake_trainer(rate)
    slider = ui.Controls(trainer).learning_rate
    assert slider.value == rate
    assert slider.min <= -4
    assert slider.max >= 1
    assert trainer.told == []


@pytest.mark.parametrize("speed", [None, 5, 3.5])
def test_the_speed_is_that_of_the_trainer(speed):
    """Controls made anew, as by a cell that runs again, show the limit that is in force."""
    controls = ui.Controls(fake_trainer(limit=SpeedLimit(speed)))
    assert controls.speed.value == (speed or math.inf)
    assert controls.speed.label == (f"{speed} pages/s" if speed else "no limit")


def test_each_control_tells_the_trainer_one_thing():
    """A click or a drag is one command; Play says what its text says, however often pressed."""
    trainer = fake_trainer()
    controls = ui.Controls(trainer)
    for _ in "twice":
        controls.play.click()
    assert trainer.told == [("play",)] * 5
    trainer.told.clear()
    trainer.status = "running"
    controls.update(trainer.snapshot)
    controls.play.click()
    controls.step.click()
    controls.stop.click()
    controls.speed.value = 5
    controls.speed.value = math.inf
    controls.learning_rate.value = 0.1
    commands = [("pause",), ("step",), ("stop",), ("set_speed", 5), ("set_speed", None)]
    assert trainer.told == [*commands, ("set_learning_rate", RATE, 0.1)]


def test_play_pause_step_and_stop_do_it(trainer):
    """With a real trainer: pages rise, rest, rise by exactly one, and end."""
    controls, *_ = build(trainer)
    controls.play.click()
    wait_for(lambda: page_of(controls) > 5 and controls.step.disabled)
    controls.play.click()
    wait_for(lambda: status(controls).startswith("paused"))
    rested = page_of(controls)
    controls.step.click()
    wait_for(lambda: page_of(controls) > rested and not controls.step.disabled)
    assert page_of(controls) == rested + 1 == trainer.store.page + 1
    controls.stop.click()
    wait_for(lambda: status(controls).startswith("stopped"))
    assert page_of(controls) == rested + 1


class Hanging(Regressions):
    """Regressions whose learning waits until let go."""

    def __init__(self):
        super().__init__()
        self.hangs, self.let_go = threading.Event(), threading.Event()

    def learn(self, batch):
        """Wait, then learn."""
        self.hangs.set()
        self.let_go.wait(30)
        super().learn(batch)


def test_callbacks_return_while_the_trainer_hangs(make):
    """Every click and drag returns at once, though the trainer's thread does not answer."""
    models = [SGDLogistic(0.01), Hanging()]
    with make(models=models) as trainer:
        controls, *_ = build(trainer)
        actions = [
            controls.play.click,
            controls.step.click,
            lambda: setattr(controls.learning_rate, "value", 0.5),
            lambda: setattr(controls.speed, "value", 5),
            controls.stop.click,
            controls.start_over.click,
            lambda: button(controls, "Yes, erase it").click(),
            controls.play.click,
        ]
        try:
            for action in actions:
                with at_most(TOLD_S):
                    action()
                assert models[1].hangs.wait(5)
                assert controls.problem == ""
        finally:
            models[1].let_go.set()


def test_an_exception_in_a_callback_is_in_the_status_line():
    """What a callback raises is shown, escaped, though nothing else changes; a click ends it."""

    def fail(*_):
        raise ValueError("no <b>rate</b> of this kind")

    trainer = fake_trainer(set_learning_rate=fail, step=fail)
    controls = ui.Controls(trainer)
    publisher = ui.Publisher(trainer, [controls], frames_per_s=100)
    controls.learning_rate.value = 1
    wait_for(lambda: status(controls).endswith("no <b>rate</b> of this kind"))
    controls.play.click()
    wait_for(lambda: status(controls) == "idle · page 0 · 0 rows")
    controls.step.click()
    wait_for(lambda: "of this kind" in status(controls))
    assert publisher.errors == []


def test_start_over_asks_once_more(trainer):
    """Start over and No change nothing; Yes begins at page 0 with nothing left of the run."""
    controls, figures, publisher, _ = build(trainer)
    trainer.run(30)
    controls.learning_rate.value = 0.5
    wait_for(lambda: trainer.snapshot.rate_changes)
    for _ in "again":
        button(controls, "Start over").click()
    button(controls, "No, keep it").click()
    assert not [w for w in shown(controls.widget) if getattr(w, "description", "").endswith("it")]
    wait_for(lambda: figures[1].line.x[-1] == 300 and figures[1].rates.lines.x.max() == 300)
    assert page_of(controls) == 30

    button(controls, "Start over").click()
    assert trainer.snapshot.page == 29
    button(controls, "Yes, erase it").click()
    wait_for(lambda: page_of(controls) == 0 and controls.learning_rate.value == 0.01)
    wait_for(lambda: text_of(figures[2].note.value) == "No row is learned yet.")
    assert trainer.store.query("SELECT count(*) FROM data") == [(0,)]
    assert trainer.store.query("SELECT count(*) FROM event WHERE kind = 'learning_rate'") == [(0,)]
    for figure in figures:
        for mark in (m for m in figure.figure.marks if m not in (figures[1].coin, figures[2].zero)):
            assert not len(mark.x) or np.max(mark.x) == NOWHERE, mark
    assert set(figures[1].rates.labels.text) == {""}

    trainer.run(1)
    wait_for(lambda: page_of(controls) == 1)
    assert trainer.snapshot.learning_rates == {RATE: 0.01}
    assert publisher.errors == []


def test_after_start_over_the_axes_have_the_range_of_a_new_board(trainer):
    """Nothing of the run that is gone is left in the scales either."""
    _, figures, _ = views(trainer)
    ranges = lambda: [(a.scale.min, a.scale.max) for f in figures for a in f.figure.axes]  # noqa: E731
    at_first = ranges()
    trainer.run(100)
    for figure in figures:
        figure.update(trainer.snapshot)
    assert sum(a != b for a, b in zip(at_first, ranges(), strict=True)) >= 4
    trainer.start_over()
    wait_for(lambda: trainer.snapshot.page is None)
    for figure in figures:
        figure.update(trainer.snapshot)
    assert ranges() == at_first


@pytest.mark.parametrize("end", [1, 9, 27_000, 10**6, 10**9])
def test_the_numbers_of_rows_keep_apart(end):
    """However many rows: from 0 on, at most seven numbers with one distance, none off the axis."""
    for figure in (ui.LossFigure(), ui.CoefficientFigure(), ui.BestRateFigure()):
        along = figure.figure.axes[0]
        plot.extend(along.scale, end)
        ticks = along.tick_values
        assert ticks[0] == 0
        assert along.scale.max / 2 < ticks[-1] <= along.scale.max
        assert 3 <= len(ticks) <= 7
        np.testing.assert_allclose(np.diff(ticks), ticks[1])


def test_points_are_one_line_with_a_gap_after_each_stroke():
    """A dot has no length; a cross goes as far to each side as its scales span; none is nowhere."""
    scales = {"x": bq.LinearScale(min=0, max=18), "y": bq.LinearScale(min=0, max=9)}
    mark, x, y = plot.points(scales, "#111", width=3), np.array([1.0, 2.0]), np.array([3.0, 4.0])
    plot.move_dots(mark, x, y)
    assert [mark.x.tolist(), mark.y.tolist()] == [[1, 1, 1, 2, 2], [3, 3, math.inf, 4, 4]]
    plot.move_crosses(mark, x, y)
    assert mark.x == pytest.approx([0.9, 1.1, 1.1, 1, 1, 1, 1.9, 2.1, 2.1, 2, 2])
    assert mark.y == pytest.approx([3, 3, math.inf, 2.9, 3.1, math.inf, 4, 4, math.inf, 3.9, 4.1])
    for move in (plot.move_dots, plot.move_crosses):
        move(mark, np.empty(0), np.empty(0))
        assert (strokes(mark), set(mark.x), set(mark.y)) == (0, {plot.OFF}, {plot.OFF})


def test_the_legend_names_the_bands_that_are_drawn(trainer):
    """Without the intervals at any time it does not speak of them."""
    figure = ui.CoefficientFigure()
    trainer.run(20)
    for on in (True, False, True):
        figure.switch.anytime.value = on
        figure.update(trainer.snapshot)
        assert ("wider at any time" in text_of(figure.head.value)) == on


@contextmanager
def source_changed(make):
    """Give a panel that Play was pressed on, where the last page learned is not as it was."""
    with ScriptedServer(employees(46)) as server, make(server.url, server.url) as trainer:
        trainer.run(3)
        trainer.stop()
        trainer.join()
        server.rows[29] = {**server.rows[29], "competence": 99.0}
        controls, *_ = build(trainer)
        controls.play.click()
        wait_for(lambda: status(controls).startswith("failed"))
        yield trainer, controls
        assert controls.problem == ""


def competences(trainer):
    return [row[3] for row in trainer.store.data()]


def answers(controls):
    return [w.description for w in shown(controls.widget) if isinstance(w, Button)][4:]


def test_a_changed_source_can_be_gone_on_with_from_the_panel(make):
    """The panel says what is wrong and asks; told to go on, it learns the rest and asks no more."""
    with source_changed(make) as (trainer, controls):
        assert "page 2 (counted from 0) of http" in status(controls)
        assert "is not what was committed; nothing was overwritten" in status(controls)
        assert "--" not in status(controls)
        assert answers(controls) == ["Go on all the same", "Erase and start over"]
        first = trainer.error
        controls.play.click()  # Play alone looks again, and finds the same
        wait_for(lambda: trainer.error is not first and trainer.status == "failed")
        wait_for(lambda: answers(controls) == ["Go on all the same", "Erase and start over"])
        button(controls, "Go on all the same").click()
        wait_for(lambda: status(controls).startswith("finished"))
        assert answers(controls) == []
        assert (len(competences(trainer)), 99.0 in competences(trainer)) == (46, False)


def test_a_changed_source_can_be_started_over_with_from_the_panel(make):
    """Told to start over, the panel is at page 0 and learns the rows as they are now."""
    with source_changed(make) as (trainer, controls):
        trainer.accept_changes = True  # of a change before that
        button(controls, "Erase and start over").click()
        wait_for(lambda: status(controls).startswith("paused · page 0 "))
        assert not trainer.accept_changes  # the next change is asked about
        assert answers(controls) == []
        assert competences(trainer) == []
        controls.play.click()
        wait_for(lambda: status(controls).startswith("finished"))
        assert (len(competences(trainer)), 99.0 in competences(trainer)) == (46, True)


class Tired(Regressions):
    """Regressions that fail once, at the fourth page."""

    tired = False

    def learn(self, batch):
        """Learn, or not."""
        if batch.page == 3 and not self.tired:
            self.tired = True
            raise RuntimeError("the model is tired")
        super().learn(batch)


def test_a_failure_says_what_to_do_and_play_does_it(make):
    """After an error: `failed`, what it was, that Play goes on, and so it does, losing nothing."""
    with make(models=[SGDLogistic(0.01), Tired()]) as trainer:
        controls, *_ = build(trainer)
        controls.play.click()
        wait_for(lambda: status(controls).startswith("failed · page 3 "))
        assert "the model is tired" in status(controls)
        assert status(controls).endswith(" · Play goes on from the last commit")
        assert (controls.play.description, answers(controls)) == ("Play", [])
        controls.play.click()
        wait_for(lambda: page_of(controls) > 4)
        assert trainer.store.query("SELECT count(*) FROM page WHERE page < 5") == [(5,)]


# -- publisher ---------------------------------------------------------------------------------


class View:
    """Counts and keeps what it is shown, and waits where the test wants it to."""

    def __init__(self, update=lambda snapshot: None):
        self.widget, self.seen, self._update = VBox([HTML()]), [], update

    def update(self, snapshot):
        """Keep it."""
        self.seen.append(snapshot)
        self._update(snapshot)


class Picture:
    """A snapshot of a pace, equal to no other."""

    def __init__(self, pages_per_s, page_s=0.0):
        self.pages_per_s, self.page_s = pages_per_s, {"fetch": 1.0, "learn": page_s}


def test_only_the_newest_snapshot_is_shown():
    """Snapshots that come while a view draws are dropped, all but the newest."""
    drawing, draw_on = threading.Event(), threading.Event()

    def draw(_):
        drawing.set()
        draw_on.wait(10)

    trainer, view = fake_trainer(), View(draw)
    first = trainer.snapshot
    ui.Publisher(trainer, [view], frames_per_s=1000)
    assert drawing.wait(5)
    for number in range(1000):
        trainer.snapshot = number
    draw_on.set()
    wait_for(lambda: len(view.seen) > 1)
    trainer.message = "said"
    wait_for(lambda: len(view.seen) > 2)
    assert view.seen == [first, 999, 999]


def test_at_most_so_many_frames_a_second():
    """However fast snapshots come, a view is updated at most at the frame rate."""
    trainer, view = fake_trainer(), View()
    publisher = ui.Publisher(trainer, [view], frames_per_s=20)
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < 0.5:
        trainer.snapshot = elapsed
        threading.Event().wait(0.0005)
    publisher.close()
    assert 2 <= len(view.seen) <= 20 * (time.monotonic() - began) + 1


def test_a_dear_view_rests_only_while_the_stream_runs():
    """Flat out, a view with a `rest_s` is updated that seldom, but the last picture at once."""
    trainer, cheap, dear = fake_trainer(), View(), View()
    trainer.status, trainer.snapshot.pages_per_s, dear.rest_s = "running", 1000.0, 0.3
    publisher = ui.Publisher(trainer, [cheap, dear], frames_per_s=100)
    began = time.monotonic()
    while time.monotonic() - began < 0.5:
        trainer.snapshot = Picture(1000.0)
        answer(publisher)
        threading.Event().wait(0.005)
    wait_for(lambda: len(dear.seen) > 1)
    assert len(dear.seen) <= (time.monotonic() - began) / 0.3 + 2 < len(cheap.seen)
    trainer.snapshot, trainer.status = "last", "paused"
    with at_most(0.25):
        wait_for(lambda: dear.seen[-1] == "last")
    publisher.close()


def test_flat_out_views_take_turns():
    """A frame is of the controls and one view more; what the reader asks for goes before all."""
    trainer, order, frames = fake_trainer(), [], []
    controls, *others = views = [View() for _ in range(4)]
    controls.live = True
    for number, view in enumerate(views):
        view.frames = None
        view.update = lambda _, number=number, view=view: (
            frames.append(view.frames.frame), order.append(number))  # fmt: skip
    trainer.status, trainer.snapshot.pages_per_s = "running", 1000.0
    publisher = ui.Publisher(trainer, views, frames_per_s=100)
    wait_for(lambda: order)  # nobody has answered: all of them, seldom
    feed(trainer, publisher)
    wait_for(lambda: len(order) >= 8)
    assert order[:8] == 2 * [0, 1, 2, 3]  # and again all of them, as of the first page after words
    wait_for(lambda: len(order) >= 8 + 2 * len(others) * 2 or feed(trainer, publisher))
    taken = order[order.index(0, 8) :]
    turns = [number for number in taken if number]
    assert turns == [(turns[0] - 1 + k) % 3 + 1 for k in range(len(turns))]
    assert max(Counter(frames[8:]).values()) == 2  # one alone, if no page has come since
    before = len(order)
    others[1].choice = "another"
    trainer.snapshot = Picture(1000.0)
    wait_for(lambda: [0, 2, 1, 3] in [order[at : at + 4] for at in range(before, before + 3)])
    publisher.close()


def test_what_is_asked_for_is_a_frame_before_all_others():
    """Of news, those who tell it and the one that was asked come first, in a frame of their own."""
    trainer, order = fake_trainer(), []
    views = [View() for _ in range(4)]
    for at, view in enumerate(views):
        view.frames = None
        view.update = lambda _, at=at, view=view: order.append((at, view.frames.frame))
    views[2].live, views[3].choice = True, "one"
    publisher = ui.Publisher(trainer, views, frames_per_s=100)
    wait_for(lambda: publisher.frames.frame == 2)
    trainer.message = "no answer"
    wait_for(lambda: publisher.frames.frame == 4)
    views[3].choice = "another"
    wait_for(lambda: publisher.frames.frame == 6)
    assert order[-8:-4] == [(2, 2), (0, 3), (1, 3), (3, 3)]
    assert order[-4:] == [(2, 4), (3, 4), (0, 5), (1, 5)]
    publisher.close()


def feed(trainer, publisher):
    """Bring a page, and have the browser paint what came before."""
    trainer.snapshot = Picture(1000.0)
    answer(publisher)


def answer(publisher, **state):
    """Answer as the browser does, in a message: what is painted, how long it took, who looks."""
    publisher.frames.set_state({"painted": publisher.frames.frame} | state)


@pytest.fixture
def paced():
    """Publish a stream that never rests, in one view."""
    trainer, view = fake_trainer(status="running", pages_per_s=1000.0, page_s=0.0), View()
    trainer.snapshot, halt = Picture(1000.0), threading.Event()

    def run():
        while not halt.wait(0.002):
            trainer.snapshot = Picture(trainer.pages_per_s, trainer.page_s)

    thread = threading.Thread(target=run)
    thread.start()
    trainer.halt, trainer.is_alive = halt, thread.is_alive
    yield ui.Publisher(trainer, [view], frames_per_s=50), view, trainer
    halt.set()
    thread.join()


def frames_within(view, seconds):
    before = len(view.seen)
    time.sleep(seconds)
    return len(view.seen) - before


def times_of(frames):
    """Return when each frame is sent, by its number, from now on."""
    sent = {}
    frames.observe(lambda change: sent.update({change.new: time.monotonic()}), "frame")
    return sent


def test_a_browser_that_never_answers_is_sent_frames_all_the_same(paced):
    """Where our part of the front end does not run, frames come four times a second."""
    publisher, view, _ = paced
    wait_for(lambda: view.seen)
    sent = times_of(publisher.frames)
    wait_for(lambda: len(sent) == 6)
    assert publisher.frames.painted == -1
    assert 0.2 < min(np.diff([*sent.values()])) < 0.35


def test_frames_wait_for_those_before(paced):
    """Nothing is sent while 32 are not painted, but for one a second in case word was lost."""
    publisher, view, _ = paced
    wait_for(lambda: view.seen)
    sent = times_of(publisher.frames)
    answer(publisher)
    first = publisher.frames.painted + 1
    wait_for(lambda: first + 31 in sent, 8.0)
    wait_for(lambda: first + 33 in sent)
    gaps = [sent[at + 1] - sent[at] for at in (first + 31, first + 32)]
    assert min(gaps) > 0.5  # less than a second only as the other thread waits for a processor
    answer(publisher)
    wait_for(lambda: publisher.frames.frame >= publisher.frames.painted + 32)


@pytest.mark.parametrize("answered", [False, True])
def test_a_widget_that_cannot_be_sent_stops_no_other(answered):
    """What a widget's state fails of is kept in `errors`; the rest of the frame goes, and more."""
    trainer, bad, good = fake_trainer(), HTML(), HTML()
    view, error = View(lambda snapshot: (draw(bad, snapshot), draw(good, snapshot))), OSError("no")

    def draw(widget, snapshot):
        widget.value = f"{snapshot}"

    def fail(names):
        raise error

    view.widget, trainer.snapshot = VBox([bad, good]), 1
    publisher = ui.Publisher(trainer, [view], frames_per_s=100)
    try:
        wait_for(lambda: publisher.frames.frame == 1)
        if answered:
            answer(publisher)
        bad.get_state = fail
        for number in (2, 3):
            Comm.sent.clear()
            trainer.snapshot = number
            sent = {"method": "update", "state": {"value": f"{number}"}, "buffer_paths": []}
            wait_for(lambda: (good.model_id, "comm_msg", sent, []) in Comm.sent)  # noqa: B023
            wait_for(lambda: publisher.errors == (number - 1) * [error])  # noqa: B023
    finally:
        publisher.close()


def test_a_frame_is_one_message_to_who_answers():
    """All that changes in a frame goes together, frame number first; else each goes by itself."""
    trainer, label = fake_trainer(), HTML()
    scales = {"x": bq.LinearScale(), "y": bq.LinearScale()}
    line = bq.Lines(x=[0.0, 1.0], y=[0.0, 1.0], scales=scales)
    figure = bq.Figure(marks=[line])
    more = Label()  # comes with a frame, and is of the next
    seen = []

    def draw(snapshot):
        label.value, line.x, line.y = f"{snapshot}", [0.0, float(snapshot)], [1.0, 2.0]
        view.widget.children = [label, figure, more]
        more.value = f"{snapshot} more"
        seen.append(snapshot)

    view = View(draw)
    view.widget = VBox([label, figure])
    trainer.snapshot = 1
    Comm.frames.clear()
    Comm.sent.clear()
    publisher = ui.Publisher(trainer, [view], frames_per_s=100)
    try:
        wait_for(lambda: Comm.sent and Comm.sent[-1][0] == view.widget.model_id)  # the last of it
        assert publisher.frames.frame == 1
        assert Comm.frames == []
        assert {"value", "y"} <= {key for *_, data, _ in Comm.sent for key in data["state"]}
        for number in (2, 3):
            answer(publisher)
            Comm.sent.clear()
            trainer.snapshot = number
            wait_for(lambda: publisher.frames.frame == number)  # noqa: B023
            wait_for(lambda: len(Comm.frames) == number - 1)  # noqa: B023
        assert len(Comm.frames) == 2
        assert Comm.frames[1] == len(Comm.sent)  # of the second such frame nothing went alone
        told = {name: data["state"] for name, _, data, _ in Comm.sent}
        assert told.keys() == {widget.model_id for widget in (publisher.frames, label, line, more)}
        assert told[publisher.frames.model_id] == {"frame": 3}
        assert (told[label.model_id], told[more.model_id]) == ({"value": "3"}, {"value": "3 more"})
        [buffers] = [each for name, *_, each in Comm.sent if name == line.model_id]
        assert [np.frombuffer(each).tolist() for each in buffers] == [[0.0, 3.0]]
        more.close()  # as the browser or a cell may do at any time
        answer(publisher)
        trainer.snapshot = 4
        wait_for(lambda: seen[-1] == 4)
        wait_for(lambda: len(Comm.frames) == 3)
        assert publisher.errors == []
    finally:
        publisher.close()


class Interrupted(HTML):
    """Whose change, once held back, is noted down only after the frame is let go."""

    def _should_send_property(self, key, value):
        held = self._holding_sync
        while self._holding_sync and value == "pressed":
            time.sleep(0.001)
        if held:
            self._states_to_send.add(key)
        return not held


@pytest.mark.parametrize("kind", [HTML, Interrupted])
@pytest.mark.parametrize("answered", [False, True])
def test_what_is_set_while_a_frame_is_sent_goes_after_it(answered, kind, monkeypatch):
    """The browser ends with the newest value, whoever set it and when, though no frame follows."""
    trainer, label, threads = fake_trainer(), kind(), []

    def publish(comm, *what, publish=Comm.publish_msg, **keys):
        if label.value == "2":  # which is on its way
            threads.append(threading.Thread(target=label.set_trait, args=("value", "pressed")))
            threads[0].start()
            if kind is HTML:
                threads[0].join()
            else:
                wait_for(lambda: label.value == "pressed")
        publish(comm, *what, **keys)

    view = View(lambda snapshot: label.set_trait("value", f"{snapshot}"))
    view.widget, trainer.snapshot = VBox([label]), 1
    publisher = ui.Publisher(trainer, [view], frames_per_s=100)
    try:
        wait_for(lambda: publisher.frames.frame == 1)
        if answered:
            answer(publisher)
        monkeypatch.setattr(Comm, "publish_msg", publish)
        Comm.sent.clear()
        trainer.snapshot = 2
        wait_for(lambda: [to for to, *_ in Comm.sent].count(label.model_id) == 2)
        assert [data["state"] for to, _, data, _ in Comm.sent if to == label.model_id] == [
            {"value": "2"}, {"value": "pressed"}]  # fmt: skip
        assert publisher.frames.frame == 2
    finally:
        publisher.close()


def test_the_browsers_own_value_is_not_undone_by_a_frame_on_its_way(monkeypatch):
    """Its echo goes before the frame, which has the older value: so it is told again."""
    label = HTML()
    frames = Frames(0.0)

    def publish(comm, *what, publish=Comm.publish_msg, **keys):
        if keys["data"].get("state") == {"value": "2"}:  # which is on its way
            label.set_state({"value": "moved"})
        publish(comm, *what, **keys)

    monkeypatch.setattr(Comm, "publish_msg", publish)
    Comm.sent.clear()
    frames.begin([label])
    label.value = "2"
    frames.end()
    frames.follow_up()
    told = [(data["method"], data["state"]) for to, _, data, _ in Comm.sent if to == label.model_id]
    assert told == [
        ("echo_update", {"value": "moved"}),
        ("update", {"value": "2"}),
        ("update", {"value": "moved"}),
    ]
    close_tree(label), close_tree(frames)


def test_what_is_noted_late_is_sent_whatever_the_next_frame_is_of():
    """A thread that held a change back and notes it down when a frame of others has begun."""
    late, other = HTML(), HTML()
    frames = Frames(0.0)
    frames.begin([late])
    frames.end()
    frames.begin([other])
    late._states_to_send.add("value")
    other.value = "2"
    frames.end()
    Comm.sent.clear()
    frames.follow_up()
    assert [to for to, *_ in Comm.sent] == [late.model_id]
    close_tree(VBox([late, other, frames]))


@pytest.mark.parametrize(
    ("pages_per_s", "page_s", "took_ms", "rests"),
    [
        (10.0, 0.001, 50.0, 1),
        (400.0, 0.001, 50.0, 1),  # at a limit that leaves time
        (600.0, 0.001, 50.0, 3),
        (600.0, 0.001, 30.0, 3),
        (60.0, 0.0, 200.0, 3),  # learned by another process
    ],
)
def test_the_rest_after_a_frame(paced, pages_per_s, page_s, took_ms, rests):
    """As long as the frame took, so that eyes can follow; flat out three times as long."""
    publisher, view, trainer = paced
    trainer.pages_per_s, trainer.page_s = pages_per_s, page_s
    wait_for(lambda: view.seen and view.seen[-1].pages_per_s == pages_per_s)
    answer(publisher, took_ms=took_ms)
    sent = times_of(publisher.frames)
    ends = time.monotonic() + 2.0
    while time.monotonic() < ends or len(sent) < 3:
        if publisher.frames.painted < publisher.frames.frame:
            answer(publisher, took_ms=took_ms)
        time.sleep(0.002)
    told = (1 + rests) * took_ms / 1000
    assert 0.75 * told < min(np.diff([*sent.values()])) < 1.4 * told + 0.02


def test_words_do_not_wait_for_a_painting(paced):
    """A message that changes is shown at once, whatever the browser does, and the page after it."""
    publisher, view, trainer = paced
    wait_for(lambda: view.seen)
    answer(publisher, took_ms=10_000.0)
    assert frames_within(view, 0.3) <= 1
    before = len(view.seen)
    trainer.message = "no answer"
    wait_for(lambda: len(view.seen) == before + 2)
    assert frames_within(view, 0.3) == 0


def test_news_wait_for_the_frame_rate_only_after_other_news():
    """What is said is shown however short ago the last frame was; what is said again may wait."""
    trainer, view = fake_trainer(), View()
    view.live = True
    publisher = ui.Publisher(trainer, [view], frames_per_s=2)
    wait_for(lambda: view.seen)
    trainer.snapshot = "the first page, which is news as well"
    wait_for(lambda: view.seen[-1] == trainer.snapshot)
    sent = times_of(publisher.frames)
    trainer.snapshot = "a page"
    wait_for(lambda: len(sent) == 1)
    with at_most(0.25):
        trainer.message = "no answer"
        wait_for(lambda: len(sent) == 2)
    trainer.message = "a minute more"
    wait_for(lambda: len(sent) == 3)
    _, words, again = sent.values()
    assert again - words > 0.4
    publisher.close()


def test_a_hidden_page_is_sent_nothing(paced):
    """From when a page says it is hidden nothing is sent, whatever happens; then the newest."""
    publisher, view, trainer = paced
    wait_for(lambda: view.seen)
    answer(publisher, visible=False)
    frames_within(view, 0.5)  # one may be under way
    Comm.sent.clear()
    trainer.message = "no answer"
    assert frames_within(view, 1.3) == 0
    assert Comm.sent == []
    trainer.status, halt = "paused", trainer.halt
    halt.set()
    wait_for(lambda: not trainer.is_alive())
    before = len(view.seen)
    answer(publisher, visible=True)
    wait_for(lambda: len(view.seen) > before)
    assert (view.seen[before:], frames_within(view, 0.5)) == ([trainer.snapshot], 0)


def test_nothing_is_sent_while_nothing_changes(trainer):
    """A trainer at rest costs the browser nothing, and a text that stays is not sent again."""
    controls, _, publisher, _ = build(trainer)
    trainer.run(5)
    wait_for(lambda: page_of(controls) == 5 and status(controls).startswith("paused"))
    view = View()
    publisher._working.append(view)  # the last to be shown: then all are
    trainer.set_learning_rate(RATE, 0.02)
    wait_for(lambda: view.seen and view.seen[-1].learning_rates == {RATE: 0.02})
    Comm.sent.clear()
    ticks = []
    wait_for(lambda: ticks.append(1) or len(ticks) > 60)  # 15 frames and more
    assert Comm.sent == []


def test_news_are_the_status_and_the_message_and_nothing_that_counts():
    """Announced is what happens, not page numbers, nor how long is left to wait."""
    trainer = fake_trainer(status="running")
    controls = ui.Controls(trainer)
    publisher = ui.Publisher(trainer, [controls], frames_per_s=100)
    said = lambda: [  # noqa: E731
        data["state"]["said"] for _, _, data, _ in Comm.sent if data.get("state", {}).get("said")
    ]
    for page in range(50):
        trainer.snapshot = SimpleNamespace(**vars(trainer.snapshot) | {"page": page})
        time.sleep(0.002)
    wait_for(lambda: page_of(controls) == 50)
    trainer.status = "retrying"
    for left in (3, 2, 1):
        trainer.message = f"page 50 (counted from 0): 503; attempt 2 in {left} s"
        wait_for(lambda: status(controls).endswith(f"in {left} s"))  # noqa: B023
    trainer.status, trainer.message = "finished", ""
    wait_for(lambda: status(controls).startswith("finished"))
    wait_for(lambda: publisher.access.said == "finished")
    assert said() == ["running", "retrying page 50 (counted from 0): 503", "finished"]


def test_a_failing_view_does_not_stop_the_others():
    """A view that raises is left out and says so in its place; the others go on."""

    def fail(_):
        raise ZeroDivisionError("no <rows>")

    trainer, good, bad, also_good = fake_trainer(), View(), View(fail), View()
    publisher = ui.Publisher(trainer, [good, bad, also_good], frames_per_s=100)
    wait_for(lambda: also_good.seen)
    trainer.snapshot = "next"
    wait_for(lambda: also_good.seen[-1] == "next")
    assert (len(good.seen), len(bad.seen)) == (2, 1)
    assert [type(error) for error in publisher.errors] == [ZeroDivisionError]
    said = " ".join(w.value for w in tree(bad.widget) if isinstance(w, HTML))
    assert "ZeroDivisionError('no <rows>')" in text_of(said)


def test_close_ends_the_thread_and_closes_the_whole_tree(trainer):
    """After close no thread and no widget is left, however often it is called, drawing or not."""
    before = open_widgets()
    controls, figures, table = views(trainer)
    publisher = ui.Publisher(trainer, [controls, *figures, table], frames_per_s=1000)
    trainer.play()
    wait_for(lambda: page_of(controls) > 3)
    for _ in "twice":
        publisher.close()
    assert not publisher._thread.is_alive()
    assert open_widgets() == before
    assert not left_open()


def test_close_views_leaves_the_trainer_at_work(trainer):
    """The live cell alone can run again: its widgets are closed, the trainer goes on."""
    before = set(registry)
    build(trainer)
    trainer.play()
    ui.close_views()
    assert set(registry) == before
    assert not [t for t in threading.enumerate() if t.name == "promo-publisher"]
    at = trainer.snapshot.rows
    wait_for(lambda: trainer.snapshot.rows > at)


def leftovers():
    """Count threads, widgets and open files."""
    files = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    return len(threading.enumerate()), len(registry), len(os.listdir(files))


def test_building_everything_again_leaves_nothing_behind(make):
    """Twenty runs of the notebook's cells on one store: threads, widgets and files stay as few."""
    left, at_first = None, len(threading.enumerate())
    for number in range(20):
        trainer = make()
        controls, _, publisher, _ = build(trainer)
        controls.play.click()
        wait_for(lambda: page_of(controls) > 2 * number)  # noqa: B023  # waited for here
        assert publisher.errors == []
        ui.close_all()
        wait_for(lambda: leftovers()[0] <= at_first)  # a wire may still be closing
        left = left or leftovers()
        with suppress(AssertionError):  # and say below what is left
            wait_for(lambda: all(map(le, leftovers(), left)))  # noqa: B023  # waited for here
        now = leftovers()
        assert all(map(le, now, left)), (now, left)


def test_a_board_reads_as_one_sentence_where_widgets_cannot_be_shown(trainer):
    """The repr is the same whatever happens, for nbval and for notebooks on the web."""
    *_, board = build(trainer)
    said = repr(board)
    trainer.run(1)
    assert repr(board) == said
    assert re.fullmatch(r"[A-Z][^<>]+\.", said)


# -- figures -----------------------------------------------------------------------------------


@contextmanager
def learned(make, rows):
    """Learn rows of (competence, network ability, promoted) from a server; give the trainer."""
    table = [
        {"id": i, "competence": c, "network_ability": n, "promoted": p}
        for i, (c, n, p) in enumerate(rows)
    ]
    with contract_server(table) as url, make(url, url) as trainer:
        trainer.run()
        yield trainer


def draw(rows, seed=0):
    random = np.random.default_rng(seed)
    return zip(*random.normal(size=(2, rows)).tolist(), random.integers(0, 2, rows).tolist(),
               strict=True)  # fmt: skip


ODD = {
    "nothing": [],
    "one row": [(1.0, 2.0, 1)],
    "one page": draw(10),
    "two pages": draw(20),
    "constant columns": [(1.0, 1.0, 1)] * 40,
    "constant competence": [(0.0, n, p) for _, n, p in draw(40)],
    "constant network ability": [(c, 0.0, p) for c, _, p in draw(40)],
    "all promoted": [(c, n, 1) for c, n, _ in draw(40)],
    "none promoted": [(c, n, 0) for c, n, _ in draw(40)],
    "no good row": [("text", None, 1)] * 25,
    "a page without a good row": [*[(None, 1.0, 1)] * 10, *draw(20)],
    "competence is network ability": [(c, c, p) for c, _, p in draw(40)],
    "far away": [(c + 1e7, n - 1e7, p) for c, n, p in draw(40)],
    "huge": [(c * 1e150, n * 1e150, p) for c, n, p in draw(40)],
    "tiny": [(c * 1e-150, n * 1e-150, p) for c, n, p in draw(40)],
}


def check(figures, table, snapshot):
    """Show a snapshot twice; check all that is on the page and all that was sent."""
    Comm.sent.clear()
    for view in [*figures, table]:
        view.update(snapshot)
    before = [(mark, mark.x, mark.y) for figure in figures for mark in figure.figure.marks]
    for view in [*figures, table]:
        view.update(snapshot)
    check_arrays()
    points = figures[0].promoted, figures[0].not_promoted
    for mark, x, y in before:
        assert x.shape[-1] == y.shape[-1]
        assert x.shape[-1] <= (251 if mark not in points else 2400)
        for values in (mark.x, mark.y):
            assert values.dtype == np.float64
            assert is_clean(values) if mark in points else np.isfinite(values).all()
            assert not np.shares_memory(values, snapshot.sample)
        if mark.x is not x:
            assert not np.shares_memory(mark.x, x)
            assert not np.shares_memory(mark.y, y)
    assert strokes(points[0]) + strokes(points[1]) / 2 <= 400
    for figure in figures:
        for axis in figure.figure.axes:
            assert -math.inf < axis.scale.min < axis.scale.max < math.inf
        assert not re.search(r"\b(nan|inf)\b", figure.note.value)
    assert not re.search(r"\b(nan|inf)\b", text_of(table.table.value))


@pytest.mark.parametrize("rows", ODD.values(), ids=ODD)
def test_figures_send_clean_arrays_whatever_the_rows(make, rows):
    """Arrays are fresh float64, finite, x as long as y; no sentence or cell reads nan or inf."""
    with learned(make, rows) as trainer:
        controls, figures, table = views(trainer)
        check(figures, table, trainer.snapshot)
        controls.update(trainer.snapshot)
        cards = ui.StoriesFigure()
        for cards.open.value in range(11):
            cards.update(trainer.snapshot)
            assert not re.search(r"\b(nan|inf)\b", " ".join(texts_of(cards.widget)))


def test_a_slope_that_is_not_defined_hides_nothing_of_the_other(make):
    """Where all are promoted the slope without `promoted` is drawn and told to the last row."""
    figure = ui.CoefficientFigure()
    with learned(make, ODD["all promoted"]) as trainer:
        figure.update(trainer.snapshot)
    assert figure.paths[NULL].x[-1] == figure.zero.x[-1] == 40
    assert figure.figure.axes[0].scale.max >= 40
    assert "Without promoted: slope" in text_of(figure.note.value)
    assert "With promoted: not defined: too few rows, or what does not vary." in text_of(
        figure.note.value
    )


@pytest.mark.parametrize("odd", ["all promoted", "none promoted"])
def test_where_nothing_tells_stories_apart_none_leads(make, odd):
    """Where nobody or everybody is promoted: neither cards nor the story opened nor the report."""
    with learned(make, ODD[odd]) as trainer:
        cards = ui.StoriesFigure()
        for number in (0, 3):
            cards.open.value = number
            cards.update(trainer.snapshot)
            assert "Nothing is known that tells stories apart." in text_of(cards.opened.value)
        assert not [share for share in cards.shares if "leads" in share.value]
        [shares] = [each for each in drawings(trainer.snapshot) if each.key == "stories"]
    assert shares.words.startswith("After 40 rows a variable has not varied, so nothing is known")


def test_figures_stay_small_however_long_the_stream(trainer):
    """At most 251 points a line and 400 people, at the pages where most are kept."""
    _, figures, table = views(trainer)
    for pages in (999, 1, 1, 199):
        trainer.run(pages)
        check(figures, table, trainer.snapshot)
    assert 125 < len(figures[1].line.x) <= 251
    assert figures[1].line.x[-1] == trainer.snapshot.rows
    assert 80 < strokes(figures[0].promoted) < 400


def test_a_changed_rate_has_a_mark_and_a_label(trainer):
    """Each of the newest changes is a dotted line at its rows; rates stand left of it, in sight.

    They never touch.

    Of the newest six, those are left out that have no room, the oldest first.
    """
    figure = ui.LossFigure()
    trainer.run(1)
    for number in range(1, 61):
        trainer.set_learning_rate(RATE, number / 10)
        trainer.run(1)
        figure.update(trainer.snapshot)
        at = figure.rates.lines.x.reshape(-1, 2)
        assert at.tolist() == [[10.0 * n] * 2 for n in range(1, number + 1)][-50:]
        assert figure.rates.lines.y.shape == figure.rates.lines.x.shape
        labels = figure.rates.labels
        told = [each for each in zip(labels.x, labels.y, labels.text, strict=True) if each[2]]
        assert len(labels.text) == 6
        width = 0.2 * labels.scales["x"].max
        newest = [(max(10.0 * n, width), f"{n / 10:.3g}") for n in range(1, number + 1)][-6:]
        assert {(x, text) for x, _, text in told} <= {*newest}
        assert [text for *_, text in told[-3:]] == [text for _, text in newest[-3:]]
        assert labels.align == "end"
        assert all(width <= x <= labels.scales["x"].max for x, *_ in told)  # inside the axes
        assert not [
            (a, b) for a, b in combinations(told, 2) if a[1] == b[1] and abs(a[0] - b[0]) < width
        ]


def test_the_sentence_counts_the_changes_of_its_model(trainer):
    """How often the rate was changed is of the model shown, whoever else has one."""
    figure = ui.LossFigure()
    trainer.run(1)
    others = ((5, "another", 0.1), (6, "another", 0.2))
    for own, told in (((), "never changed"), (((7, RATE, 0.3),), "changed once")):
        figure.update(dataclasses.replace(trainer.snapshot, rate_changes=others + own))
        assert told in figure.note.value


def test_a_rate_changed_twice_at_rest_reads_as_the_last(trainer):
    """Two changes before the same page are both there, and the newest label is the newest rate."""
    figure = ui.LossFigure()
    trainer.run(1)
    for rate in (0.1, 0.2, 0.3):
        trainer.set_learning_rate(RATE, rate)
        wait_for(lambda: trainer.snapshot.learning_rates[RATE] == rate)  # noqa: B023
        figure.update(trainer.snapshot)
    assert [text for text in figure.rates.labels.text if text] == ["0.1", "0.2", "0.3"]


def test_the_boundary_is_where_the_odds_are_even(trainer):
    """Both ends of the boundary lie on intercept + slopes = 0, at the edges of the plane."""
    figure = ui.SampleFigure()
    snapshot = trainer.run(100)
    figure.update(snapshot)
    names = ("intercept", "competence", "network_ability")
    a, b, c = (snapshot.coefficient(RATE, name).estimate for name in names)
    assert a + b * figure.boundary.x + c * figure.boundary.y == pytest.approx(np.zeros(2), abs=1e-9)
    x, y = (axis.scale for axis in figure.figure.axes)
    ends = sorted(figure.boundary.x), sorted(figure.boundary.y)
    assert ends[0] == [x.min, x.max] or ends[1] == [y.min, y.max]


def test_the_table_has_the_numbers_of_the_snapshot(trainer):
    """Each term has a row with its estimate; models that have no number leave the cell empty."""
    switch = ui.ColliderSwitch()
    assert "0 rows" in text_of(as_html(trainer.snapshot, switch))
    snapshot = trainer.run(20)
    for chosen, model in (("without", NULL), ("with", COLLIDER)):
        switch.promoted.value = chosen
        table = as_html(snapshot, switch)
        assert re.findall(r"<code>(.*?)</code>", table) == [model]
        for found in snapshot.coefficients:
            if found.model == model:
                bounds = (found.ci_low, found.ci_high, found.av_low, found.av_high)
                shown = [f"{b:+.3f}" if math.isfinite(b) else "" for b in bounds]
                cells = "</td><td>".join(shown)
                assert f'<th scope="row">{found.term}</th><td>{found.estimate:+.3f}</td>' in table
                assert f"<td>{cells}</td>" in table
    switch.robust.value = True
    slope = snapshot.coefficient(COLLIDER, "competence")
    assert f"<td>{slope.hc1_std_error:.4f}</td>" in as_html(snapshot, switch)


def test_every_figure_says_in_words_what_it_shows(trainer):
    """Beside each drawing stand a title, a legend and a sentence with numbers."""
    _, figures, table = views(trainer)
    trainer.run(20)
    for figure in figures:
        figure.update(trainer.snapshot)
        assert re.search(r"\d\.\d\d", text_of(figure.note.value))
        texts = [text_of(w.value) for w in tree(figure.widget) if isinstance(w, HTML)]
        assert len([text for text in texts if text.strip()]) >= 2  # the style sheet says nothing
        assert all(isinstance(w, Widget) for w in tree(figure.widget))
    assert isinstance(table.widget, Box)


def test_the_diagram_is_well_formed_and_has_a_title():
    """The SVG parses, names its variables, and its title says what it shows, escaped."""
    from xml.etree import ElementTree

    drawn = ui.causal_diagram("a < b & c", [("competence", "promoted")])
    root = ElementTree.fromstring(drawn)
    assert root.findtext("title") == "a < b & c"
    assert {t.text for t in root.iter("text")} == {"competence", "network ability", "promoted"}
    assert len(list(root.iter("line"))) == len(list(root.iter("path"))) == 1
    assert "url(" not in drawn  # a name may be another diagram's, which is hidden and draws nothing
