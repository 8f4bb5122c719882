"""Tests of the choice of experts: prices, what is opened, gone on with and closed."""

import re
import threading

import pytest

from clocks import wait_for
from comms import shown, text_of, texts_of
from promo import ui
from promo.models.default import EXPERTS, FULL, MIXTURE, default_models, price_us
from promo.store import Store
from promo.stream import PageStream
from promo.trainer import Trainer

ROWS = 1000
SOURCE = f"world:collider?rows={ROWS}&seed=2021"
pytestmark = pytest.mark.usefixtures("comms")


@pytest.fixture
def opened(api, tmp_path):
    """Return what opens a stream as the docstring has it; it keeps its trainers."""

    def opened(names):
        models, settings = default_models(names, SOURCE)
        path = tmp_path / f"{'+'.join(names)}.db"
        store = Store(path, source=SOURCE, page_size=10, settings=settings)
        trainer = Trainer(PageStream(api.url, source=SOURCE), store, models)
        opened.trainers.append(trainer)
        views = [ui.Controls(trainer), ui.Leaderboard(trainer), ui.WhatIfCard(trainer)]
        ui.Publisher(trainer, views)
        return ui.Board(*[[view] for view in views])

    opened.trainers = []
    return opened


def choice(opened, *names):
    """Show a choice with these experts ticked."""
    view = ui.ExpertChoice(opened, names or FULL)
    publisher = ui.Publisher(None, [view])
    ui.Board([view])
    wait_for(lambda: view.note.value)
    return view, publisher


def tick(view, *names):
    for name, box in view.boxes.items():
        box.value = name in names


def press(view, count):
    """Press Open; wait until so many boards have been opened and the newest is shown."""
    view.open.click()
    wait_for(lambda: len(view._make.trainers) == count and view.place.children)
    return view._make.trainers[-1]


def assert_free(trainer, *names):
    """Open the store of a trainer of these experts: its lock was let go of."""
    settings = default_models(names)[1]
    Store(trainer.store.path, source=SOURCE, page_size=10, settings=settings).close()


def said(view):
    return text_of(view.note.value)


def described(view):
    """List what is written beside the controls in sight."""
    return [getattr(widget, "description", "") for widget in shown(view.place)]


COSTLY = {"hoeffding-tree", "nearest-neighbours", "random-forest"}
GROWING = COSTLY - {"nearest-neighbours"}


def test_each_expert_has_its_price_and_the_costly_ones_are_off(opened):
    """A box and a price for every expert; those that take long are marked and not ticked."""
    view, _ = choice(opened)
    assert [*view.boxes] == [*EXPERTS, MIXTURE]
    assert view.names == FULL
    texts = [text for text in texts_of(view.widget) if "µs" in text and "·" in text]
    for (name, expert), text in zip(EXPERTS.items(), texts, strict=False):
        assert text.startswith("{:g} · {:g} µs".format(*expert.price_us))
        assert ("costly" in text) == (name in COSTLY)
        assert ("more with every row" in text) == (name in GROWING)
        assert not (expert.costly and view.boxes[name].value)
    assert len(texts) == len(EXPERTS) + 1
    small, large = price_us(FULL)
    assert f"about {small:.0f} µs a row in pages of 10 and {large:.0f} in pages" in said(view)
    tick(view, *FULL, "random-forest")
    wait_for(lambda: "about {:.0f} µs".format(price_us([*FULL, "random-forest"])[0]) in said(view))
    assert opened.trainers == []  # nothing begins before the button is pressed


def test_open_begins_a_stream_of_those_ticked(opened):
    """The board below the button is of a trainer of these experts, on a store of their own."""
    view, publisher = choice(opened)
    tick(view, "renewable-logistic", "base-rate")
    trainer = press(view, 1)
    assert trainer.store.path.name == "base-rate+renewable-logistic.db"
    wait_for(lambda: any(re.search("idle +· page 0", text) for text in texts_of(view.place)))
    trainer.run(20)
    wait_for(lambda: any("renewable-logistic leads" in text for text in texts_of(view.place)))
    assert "Learning rate" not in described(view)  # nobody has one
    assert publisher.errors == []


def test_another_choice_closes_the_first_and_the_first_goes_on_where_it_stopped(opened):
    """Choices alternate, each with its own store; what was committed is there when it is back."""
    view, _ = choice(opened, "base-rate", "naive-bayes")
    first = press(view, 1)
    first.run(30)
    tick(view, "sgd-logistic")
    second = press(view, 2)
    assert second.snapshot.rows == 0
    assert_free(first, "base-rate", "naive-bayes")
    assert "Learning rate" in described(view)
    second.run(5)
    wait_for(lambda: any("is over nobody" in text for text in texts_of(view.place)))
    tick(view, "base-rate", "naive-bayes")
    assert press(view, 3).snapshot.rows == 300
    assert len(view.place.children) == 1


def test_pressed_again_it_stays_open(opened):
    """The same choice twice is once: the stream is not interrupted."""
    view, publisher = choice(opened, "base-rate")
    trainer = press(view, 1)
    view.open.click()
    wait_for(lambda: view._done == view._asked)
    trainer.run(3)
    assert len(opened.trainers) == 1
    assert publisher.errors == []


def test_nobody_to_predict_cannot_be_opened(opened):
    """Without an expert, or with the mixture alone, the button is off and the note says why."""
    view, _ = choice(opened)
    for names in ((), (MIXTURE,)):
        tick(view, *names)
        wait_for(lambda: view.open.disabled and said(view) == "Tick at least one expert.")
    tick(view, "base-rate")
    wait_for(lambda: not view.open.disabled)


def test_what_cannot_be_opened_is_said_and_can_be_tried_again(opened, tmp_path):
    """A store that another writer holds is named below the button; once free it opens."""
    view, publisher = choice(opened, "base-rate")
    settings = default_models(["base-rate"])[1]
    with Store(tmp_path / "base-rate.db", source=SOURCE, page_size=10, settings=settings):
        view.open.click()
        wait_for(lambda: "base-rate.db" in said(view))
    assert opened.trainers == []
    press(view, 1)
    wait_for(lambda: "base-rate.db" not in said(view))
    assert publisher.errors == []


def test_closing_the_choice_closes_what_it_opened(opened):
    """A cell that runs again leaves no trainer behind that would hold its store."""
    view, _ = choice(opened, "base-rate")
    first = press(view, 1)
    choice(opened, "base-rate")
    assert_free(first, "base-rate")


def test_closed_while_it_opens_it_leaves_nothing_open(opened):
    """What comes to be open after its place on the page is gone is closed at once."""
    gate = threading.Event()
    view, publisher = choice(lambda names: gate.wait(10) and opened(names), "base-rate")
    view.open.click()
    wait_for(lambda: said(view) == "Opening base-rate …")
    publisher.close()
    gate.set()
    wait_for(lambda: not publisher._thread.is_alive())
    assert_free(opened.trainers[0], "base-rate")
