"""Tests of going back in time and of forking, without a browser: real trainers, stores, HTTP."""

import re

import numpy as np
import pytest

from clocks import at_most, wait_for
from comms import Comm, text_of
from promo import ui
from promo.fork import fork
from promo.models.default import default_models
from promo.opening import open_stream
from promo.past import Past
from promo.store import Store
from promo.stream import PageStream
from promo.trainer import Trainer
from promo.ui.opinions import opinions
from promo.ui.pageslider import LIVE
from promo.ui.switch import NULL

ROWS = 12_000
NAMES = ("sgd-logistic", "renewable-logistic")
TOLD_S = 0.1  # a callback returns within this, on a machine that has time for it
pytestmark = pytest.mark.usefixtures("comms")


@pytest.fixture
def trainer(api, tmp_path):
    with open_stream(api.url, api.source, tmp_path / "promo.db", NAMES) as trainer:
        yield trainer


class Seen:
    """A view that remembers what it was shown."""

    def __init__(self):
        self.widget, self.pages = ui.LossFigure().widget, []

    def update(self, snapshot):
        """Note the page."""
        self.pages.append(snapshot.page)


@pytest.fixture
def page(trainer):
    """Build a page of views on a trainer that has learned 100 pages."""
    trainer.run(100)
    travel = ui.TimeTravel(trainer)
    second = ui.Fork(travel)
    views = {
        "controls": ui.Controls(trainer, travel=travel),
        "travel": travel,
        "fork": second,
        "loss": ui.LossFigure(beside=second),
        "slopes": ui.CoefficientFigure(beside=second),
        "table": ui.CoefficientTable(),
        "what_if": ui.WhatIfCard(travel),
        "surface": ui.SurfaceFigure(travel),
        "seen": Seen(),
    }
    publisher = ui.Publisher(trainer, [*views.values()], frames_per_s=50)
    yield views
    assert publisher.errors == []


def go_to(page, number):
    """Move the slider as a browser does, and wait until the views show that page."""
    page["travel"].slider.page = number
    wait_for(lambda: page["seen"].pages[-1:] == [number])


def status(page):
    return text_of(page["controls"].status.value)


def test_the_hand_moves_on_while_a_page_is_read(page, monkeypatch):
    """The status line tells the page that the figures come to show."""
    travel = page["travel"]
    turn_to = travel._turn_to

    def turn(number, live):
        seen = turn_to(number, live)
        if number % 2 == 0:
            travel.slider.page = number + 1
        return seen

    monkeypatch.setattr(travel, "_turn_to", turn)
    for number in range(20, 40, 2):
        travel.slider.page = number
        wait_for(lambda wanted=number + 1: page["seen"].pages[-1:] == [wanted])
        told = f"the figures show page {number + 1} "
        wait_for(lambda told=told: told in status(page), deadline_s=5)


def test_while_a_page_is_read_the_one_before_is_shown(page, monkeypatch):
    """Who asks meanwhile which page that is, as Fork does, is not told that it is the newest."""
    travel, told = page["travel"], []
    turn_to = travel._turn_to

    def turn(number, live):
        told.append((travel.page, travel.notice))
        return turn_to(number, live)

    go_to(page, 20)
    monkeypatch.setattr(travel, "_turn_to", turn)
    go_to(page, 30)
    assert told == [(20, "the figures show page 20 (counted from 0)")]


def shown(page):
    """Return what the reader sees of numbers: the sentence, the table, what the models say."""
    texts = page["loss"].note.value, page["table"].table.value, page["what_if"].table.value
    return *texts, page["surface"].map.color.tobytes()


def test_every_view_shows_the_page_gone_back_to(page, trainer, tmp_path, api):
    """Figures, tables and what models say are those of a run that stopped there; Live returns."""
    answered = lambda: page["what_if"].table.value and page["surface"].map.visible  # noqa: E731
    wait_for(lambda: answered() and page["seen"].pages[-1:] == [99])
    at_99 = shown(page)
    go_to(page, 40)
    with open_stream(api.url, api.source, tmp_path / "40.db", NAMES) as shorter:
        snapshot = shorter.run(41)
        loss, table = ui.LossFigure(), ui.CoefficientTable()
        loss.update(snapshot)
        table.update(snapshot)
        said = opinions(shorter.models, 0.5, 0.5)
    assert page["loss"].note.value == loss.note.value
    assert page["table"].table.value == table.table.value
    np.testing.assert_array_equal(page["loss"].line.y, loss.line.y)
    wait_for(lambda: all(f">{o.name}</th><td>{o.proba:.1%}</td>" in page["what_if"].table.value
                         for o in said))  # fmt: skip
    page["travel"].back.click()
    wait_for(lambda: shown(page) == at_99)
    assert page["travel"].ask(len).result() == len(trainer.models)


def test_the_stream_goes_on_and_says_so(page, trainer):
    """While a page of the past is shown the status line counts on; the figures rest."""
    go_to(page, 40)
    wait_for(lambda: "the figures show page 40 (counted from 0)" in status(page))
    before, count = page["loss"].note.value, len(page["seen"].pages)
    trainer.play()
    wait_for(lambda: re.match(r"running · page (1[1-9]|[2-9])\d", status(page)))
    assert "the figures show page 40 (counted from 0)" in status(page)
    assert page["loss"].note.value == before
    assert set(page["seen"].pages[count:]) <= {40}
    page["travel"].back.click()
    wait_for(lambda: page["seen"].pages[-1] > 110)
    wait_for(lambda: "the figures show" not in status(page))
    trainer.pause()


def test_the_slider_grows_and_is_never_moved(page, trainer):
    """All that the kernel says of it is which pages there are, also when they are thinned out.

    What was thinned out is shown as long as nobody turns to another page, but cannot be forked at.
    """
    slider = page["travel"].slider
    go_to(page, 41)
    del Comm.sent[:]
    trainer.run(950)
    wait_for(lambda: slider.pages == [0, 1049, 2])
    assert page["seen"].pages[-1] == 41
    page["fork"].button.click()
    wait_for(lambda: "page 41 (counted from 0) is not kept" in said_of_fork(page))
    said = [data["state"] for id_, _, data, _ in Comm.sent if id_ == slider.comm.comm_id]
    assert {name for state in said for name in state} == {"pages"}
    go_to(page, 40)
    page["travel"].slider.page = 43  # what a browser that has not heard of it may still say
    wait_for(lambda: page["seen"].pages[-1] == 42)


def test_play_goes_through_the_past_to_now(page):
    """Each tick of Play is a step forward, from the first page, or from where the slider is."""
    travel, ticks = page["travel"], 0
    wait_for(lambda: page["seen"].pages)
    travel.play.playing = True
    travel.play.value += 1
    wait_for(lambda: page["seen"].pages[-1] == 0)
    go_to(page, 90)
    while travel.slider.page != LIVE:
        travel.play.value += 1
        ticks += 1
    assert ticks == 9
    assert not travel.play.playing
    wait_for(lambda: page["seen"].pages[-1] == 99)
    travel.play.value = 0  # its Stop
    assert travel.slider.page == LIVE


def test_starting_over_ends_the_past(page, trainer):
    """What is erased is shown no more: the views come back to now."""
    go_to(page, 40)
    trainer.start_over()
    wait_for(lambda: page["travel"].slider.page == LIVE)
    wait_for(lambda: page["seen"].pages[-1] is None)
    trainer.run(10)
    wait_for(lambda: page["seen"].pages[-1] == 9)


def test_a_run_that_is_gone_is_not_shown_however_far_the_next_has_come(trainer):
    """Starting over ends the past also where nobody looked until the new run was beyond it."""
    trainer.run(10)
    travel = ui.TimeTravel(trainer)
    travel.slider.page = 4
    wait_for(lambda: travel.turned(trainer.snapshot).page == 4)
    trainer.start_over()
    wait_for(lambda: trainer.snapshot.page is None)
    trainer.run(20)
    assert travel.turned(trainer.snapshot).page == 19
    assert travel.slider.page == LIVE
    travel.close()


def test_a_page_that_cannot_be_read_is_said_and_now_is_shown(page):
    """The status line says why, and the views show the newest page."""
    go_to(page, 40)
    past = page["travel"]._past
    past._reader.close()
    page["travel"].slider.page = 50
    wait_for(lambda: "closed database" in status(page))
    wait_for(lambda: page["seen"].pages[-1] == 99)
    assert page["travel"].slider.page == LIVE


def test_callbacks_of_the_slider_return_at_once(page):
    """A drag over the whole past, and Live, cost the callback's thread next to nothing."""
    with at_most(TOLD_S):
        for number in range(100):
            page["travel"].slider.page = number
        page["travel"].back.click()


# -- fork --------------------------------------------------------------------------------------


def said_of_fork(page):
    return text_of(page["fork"].note.value)


def test_a_fork_goes_on_from_the_page_shown_and_both_are_drawn(page, trainer, tmp_path):
    """Another rate from page 40 on: its own store and controls, and a dashed line with its name."""
    figure = page["loss"]
    assert figure.other.label.text == [""]
    go_to(page, 40)
    page["fork"].button.click()
    wait_for(lambda: "A second run, in promo-fork-40.db" in said_of_fork(page))
    second, controls = page["fork"].trainer, page["fork"]._controls
    assert second.snapshot.page == 40
    wait_for(lambda: text_of(controls.status.value).startswith("idle · page 41"))
    controls.learning_rate.value = 1.0
    controls.play.click()
    wait_for(lambda: second.snapshot.page > 60)
    controls.play.click()
    wait_for(lambda: second.status == "paused" and controls.play.description == "Play")
    newest = second.snapshot
    losses = newest.history["sgd-logistic", "log_loss"][40:]
    wait_for(lambda: np.array_equal(figure.other.line.y, losses))
    assert figure.other.line.line_style == "dashed"
    assert (figure.other.label.text, figure.other.label.x[0]) == (["fork"], newest.rows)
    assert (
        f"Beside it, fork: {losses[-1]:.4f} nats after {newest.rows:,} rows." in figure.note.value
    )
    others = page["slopes"].others
    assert [other.line.x[0] for other in others.values()] == [410, 410]
    assert [other.label.text for other in others.values()] == [["fork, without"], ["fork, with"]]
    assert [other.line.line_style for other in others.values()] == ["dashed", "dotted"]
    ends = [other.line.y[-1] for other in others.values()]
    above = [other.label.y_offset < 0 for other in others.values()]
    assert above == [end == max(ends) for end in ends]
    page["slopes"].switch.promoted.value = "without"
    wait_for(lambda: [other.line.visible for other in others.values()] == [True, False])
    assert trainer.snapshot.page == 99  # the first run rests where it was
    with Store.read_only(tmp_path / "promo-fork-40.db") as reader:
        assert [e.page for e in reader.events("learning_rate")] == [41]
        assert reader.events("forked")[0].detail["from"] == "promo.db"


def test_a_fork_without_another_rate_repeats_the_run(page, trainer):
    """At the same rates its snapshots are the first run's, number by number."""
    go_to(page, 40)
    page["fork"].button.click()
    wait_for(lambda: page["fork"].trainer)
    repeated = page["fork"].trainer.run(59)
    assert repr(repeated.coefficients) == repr(trainer.snapshot.coefficients)
    assert repr(repeated.metrics) == repr(trainer.snapshot.metrics)


def test_a_fork_with_other_models_is_the_run_that_had_them_from_the_start(
    page, trainer, tmp_path, api
):
    """Those ticked learn all rows; of the fork the best expert is drawn, and all stand in words."""
    others = ("base-rate", "naive-bayes")
    go_to(page, 40)
    boxes = page["fork"].experts.boxes
    assert {name for name, box in boxes.items() if box.value} == {*NAMES}
    page["fork"].fold.value = True
    wait_for(lambda: page["fork"].unfolded.layout.display == "")
    for name, box in boxes.items():
        box.value = name in others
    page["fork"].button.click()
    wait_for(lambda: page["fork"].trainer)
    forked = page["fork"].trainer.run(59)
    models, settings = default_models(others, api.source)
    stream = PageStream(api.url, source=api.source)
    store = Store(tmp_path / "new.db", source=api.source, page_size=10, settings=settings)
    with Trainer(stream, store, models) as new:
        expected = new.run(100)
    assert repr(forked.coefficients) == repr(expected.coefficients)
    assert repr(forked.metrics) == repr(expected.metrics)
    assert page["fork"].trainer.store.settings == settings
    losses, slopes = ui.ExpertsFigure(trainer, beside=page["fork"]), page["slopes"]
    losses.update(trainer.snapshot)
    base, bayes = (forked.metric(name, "log_loss") for name in others)
    assert bayes < base
    assert losses.other.line.y[-1] == bayes
    assert losses.other.line.x.tolist() == list(range(410, 1001, 10))
    assert f"fork, 1,000 rows: naive-bayes {bayes:.4f}, base-rate {base:.4f}." in losses.note.value
    assert text_of(losses.names.value).endswith(f"fork, naive-bayes {bayes:.4f}")
    slope = forked.coefficient(NULL, "competence").estimate
    wait_for(lambda: f"fork, 1,000 rows: {slope:+.3f} without promoted" in slopes.note.value)


def test_a_fork_that_cannot_be_made_is_said(page):
    """With no model ticked there is no fork, and the note says what to do."""
    go_to(page, 40)
    for box in page["fork"].experts.boxes.values():
        box.value = False
    page["fork"].button.click()
    wait_for(lambda: "choose at least one of sgd-logistic" in said_of_fork(page))
    assert page["fork"].trainer is None


def test_the_run_of_another_store_is_drawn_too(trainer, tmp_path):
    """A store at rest stands beside a run: its newest page, from where they part."""
    trainer.run(60)
    with Store.read_only(trainer.store.path) as reader:
        fork(reader, 40, tmp_path / "b.db")
    past = Past(tmp_path / "b.db", trainer.unlearned().result())
    run = ui.StillRun("before", past.turn_to(past.pages[-1]), since=200)
    figure, slopes = ui.LossFigure(beside=run), ui.CoefficientFigure(beside=run)
    for each in (figure, slopes):
        each.update(trainer.snapshot)
    assert figure.other.line.x.tolist() == list(range(200, 411, 10))
    assert figure.other.label.text == ["before"]
    assert slopes.others[NULL].line.x.tolist() == figure.other.line.x.tolist()
    assert "Beside it, before: 0." in figure.note.value
    past.close()


def test_a_fork_of_a_running_stream_leaves_it_running(page, trainer):
    """At no page of the past it is the newest that is kept; a second fork takes another file."""
    trainer.play()
    for name in ("promo-fork", "promo-fork"):
        before = page["fork"].trainer
        page["fork"].button.click()
        wait_for(lambda: page["fork"].trainer not in (None, before))  # noqa: B023
        assert page["fork"].trainer.store.path.name.startswith(name)
        assert page["fork"].snapshot.page >= 99
        wait_for(lambda: not page["fork"].button.disabled)
    assert before.play() is None
    wait_for(lambda: before.status == "failed")  # it is closed
    assert trainer.status == "running"
    trainer.pause()
