"""Tests of the views of the learning-rate race, without a browser."""

from dataclasses import replace

import numpy as np
import pytest

from clocks import wait_for
from comms import ODD_TEXT, check_arrays, text_of
from crash import open_trainer
from promo import ui
from promo.models.best import BestPossible, known_world
from promo.models.board import Board
from promo.models.logistic import RenewableLogistic
from promo.models.race import DIVERGED, METHODS, RATES, Race, runner
from promo.models.sgd import SGDLogistic
from promo.ui.plot import OFF

ROWS = 12_000
YOURS, EXACT = "sgd-logistic", "renewable-logistic"
pytestmark = pytest.mark.usefixtures("comms")


def opened(path, api, rate=0.01):
    experts, best = [SGDLogistic(rate), RenewableLogistic()], BestPossible(known_world(api.source))
    models = [*experts, best, Board(experts, best), Race()]
    return open_trainer(path, api.url, api.source, models)


@pytest.fixture
def trainer(api, tmp_path):
    with opened(tmp_path / "promo.db", api) as trainer:
        yield trainer


@pytest.fixture(scope="module")
def snapshots(api, tmp_path_factory):
    """Snapshots before the first page, and after 1, 2, 20 and 300 pages."""
    with opened(tmp_path_factory.mktemp("store") / "promo.db", api) as trainer:
        return [trainer.snapshot, *(trainer.run(pages) for pages in (1, 1, 18, 280))]


def curve(snapshot, method, kind):
    return [snapshot.metric(runner(method, rate), kind) for rate in RATES]


def views(switch):
    return ui.RaceFigure(switch), ui.PathsFigure(switch), ui.BestRateFigure(switch)


@pytest.mark.parametrize("at", range(5))
def test_all_is_finite_and_on_the_scale(snapshots, at):
    """Every method at any time: no NaN is sent or said, no rate at or below zero on a log axis."""
    switch = ui.RaceSwitch()
    shown = views(switch)
    for switch.method.value in (*METHODS, "sgd"):
        for view in shown:
            view.update(snapshots[at])
            assert not ODD_TEXT.search(text_of(view.note.value)), view.note.value
    check_arrays()
    race, _, moves = shown
    marks = (race.whole, race.lately, race.exact, race.exact_lately, race.floor, race.coin)
    marks += (race.yours,)
    for mark in (*marks, race.diverged, race.best, race.name, race.fallen):
        assert np.min(mark.x) > 0
    assert np.min(moves.line.y) > 0


@pytest.mark.parametrize("method", METHODS)
def test_the_curves_are_the_losses(snapshots, method):
    """Figure and sentence show log loss at each rate, over all rows and lately, of the method."""
    snapshot, figure = snapshots[-1], ui.RaceFigure()
    figure.switch.method.value = method
    figure.update(snapshot)
    whole, lately = (curve(snapshot, method, kind) for kind in ("log_loss", "recent_log_loss"))
    assert figure.whole.x.tolist() == figure.lately.x.tolist() == [*RATES]
    assert figure.whole.y.tolist() == whole
    assert figure.lately.y.tolist() == lately
    assert figure.exact.y.tolist() == 2 * [snapshot.metric(EXACT, "log_loss")]
    assert figure.exact_lately.y.tolist() == 2 * [snapshot.metric(EXACT, "recent_log_loss")]
    best, rate = min(whole), RATES[int(np.argmin(whole))]
    assert (figure.best.x[0], figure.best.y[0], figure.best.text[0]) == (rate, best, f"{rate:g}")
    assert figure.name.x == figure.yours.x
    assert figure.name.y == figure.yours.y
    said = text_of(figure.note.value)
    assert f"the best of twelve rates is {rate:g} with {best:.4f} nats" in said
    assert f"lately {snapshot.metric(EXACT, 'recent_log_loss'):.4f}" in said


def test_the_best_possible_is_the_floor_where_it_is_known(snapshots):
    """In a known world its log loss is a line and in words; elsewhere there is none."""
    snapshot, figure = snapshots[-1], ui.RaceFigure()
    figure.update(snapshot)
    floor = snapshot.metric("best-possible", "log_loss")
    assert figure.floor.y.tolist() == [floor, floor]
    assert figure._y.min < floor < figure.whole.y.min()
    lately = snapshot.metric("best-possible", "recent_log_loss")
    assert figure.floor_lately.y.tolist() == [lately, lately] != [floor, floor]
    assert f"The best possible is {floor:.4f}, lately {lately:.4f}." in text_of(figure.note.value)
    known = tuple(m for m in snapshot.metrics if m.model != "best-possible")
    figure.update(replace(snapshot, metrics=known))
    assert figure.floor.y.tolist() == figure.floor_lately.y.tolist() == [OFF, OFF]
    assert "best possible" not in text_of(figure.note.value)


@pytest.mark.parametrize("method", METHODS)
def test_who_diverged_is_marked_and_named(snapshots, method):
    """Exactly those that lost more than twice a coin toss lately have a cross and a name."""
    snapshot, figure = snapshots[-1], ui.RaceFigure()
    figure.switch.method.value = method
    figure.update(snapshot)
    gone = np.array(curve(snapshot, method, "recent_log_loss")) > DIVERGED
    assert gone.any() == (method not in {"sgd-inverse-scaling", "sgd-optimal"})
    assert (figure.diverged.y != OFF).tolist() == gone.tolist()
    assert (figure.fallen.y[0] != OFF) == gone.any()
    names = ", ".join(f"{rate:g}" for rate in np.array(RATES)[gone]) or "none"
    assert text_of(figure.note.value).endswith(f"twice a coin toss lately: {names}.")


def test_the_scale_shows_the_valley_whatever_diverges(snapshots):
    """The best, the exact and the coin toss are on it; what is far worse does not stretch it."""
    figure = ui.RaceFigure()
    for snapshot in snapshots[1:]:
        for figure.switch.method.value in METHODS:
            figure.update(snapshot)
            low, high = figure._y.min, figure._y.max
            exact = [snapshot.metric(EXACT, kind) for kind in ("log_loss", "recent_log_loss")]
            for loss in (figure.whole.y.min(), figure.lately.y.min(), *exact, np.log(2)):
                assert low < loss < high
            assert high < max(np.log(2), *exact) + 0.2


def test_the_readers_runner_follows_the_slider(api, tmp_path):
    """The diamond stands at the rate in force; off the grid at the edge, far up at the top."""
    with opened(tmp_path / "promo.db", api, rate=0.5) as trainer:
        figure = ui.RaceFigure()
        for rate in (0.5, 0.02, 1e-6, 1e6):
            trainer.set_learning_rate(YOURS, rate)
            snapshot = trainer.run(150)
            figure.update(snapshot)
            assert figure.yours.x[0] == np.clip(rate, RATES[0] / 1.8, RATES[-1])
            lately = snapshot.metric(YOURS, "recent_log_loss")
            assert f"Yours, at {rate:.3g}: lately {lately:.4f}" in text_of(figure.note.value)
            assert figure.yours.y[0] <= figure._y.max
            assert figure.yours.y[0] == lately or lately > figure.yours.y[0]
    check_arrays()


def test_a_runner_of_yours_that_is_off_the_scale_says_so(snapshots):
    """Its diamond stands at the edge, with the loss that it has; beside the left edge is room."""
    snapshot, figure = snapshots[-1], ui.RaceFigure()
    for rate, align in ((RATES[0], "start"), (RATES[-1], "middle")):
        thrown = [
            m._replace(value=3.49) if m[:2] == (YOURS, "recent_log_loss") else m
            for m in snapshot.metrics
        ]
        figure.update(replace(snapshot, metrics=tuple(thrown), learning_rates={YOURS: rate}))
        assert figure.yours.y[0] < 1
        assert (figure.name.text[0], figure.name.align) == ("yours ↑ 3.49", align)
    figure.update(snapshot)
    assert figure.name.text[0] == "yours"


@pytest.mark.parametrize("method", METHODS)
def test_the_paths_are_the_coefficients(snapshots, method):
    """Twelve paths, the best one and the exact one end where the coefficients are."""
    snapshot, figure = snapshots[-1], ui.PathsFigure()
    figure.switch.method.value = method
    figure.update(snapshot)
    names = [runner(method, rate) for rate in RATES]
    ends = [snapshot.coefficient(name, "competence").estimate for name in names]
    best = int(np.argmin(curve(snapshot, method, "log_loss")))
    assert figure.all.y.shape == (12, len(figure.all.x))
    assert figure.all.y[:, -1].tolist() == ends
    assert figure.all.x[-1] == snapshot.rows
    assert figure.best.y[-1] == ends[best]
    exact = snapshot.coefficient(EXACT, "competence").estimate
    assert figure.exact.y[-1] == exact
    assert figure.yours.y[-1] == snapshot.coefficient(YOURS, "competence").estimate
    assert len(set(figure.all.colors[: best + 1]) | set(figure.all.colors[best + 1 :])) <= 2
    said = text_of(figure.note.value)
    assert f"{exact:.3f} exactly, {ends[best]:.3f} at the best rate, {RATES[best]:g}" in said
    thrown = curve(snapshot, method, "recent_log_loss")[-1] > DIVERGED
    last = "diverged" if thrown else f"{ends[-1]:,.3f}"
    assert said.endswith(f"{last} at {RATES[-1]:g}. Yours: {figure.yours.y[-1]:,.3f}.")
    assert figure._y.min < exact < figure._y.max


def test_the_best_rate_is_drawn_row_by_row(snapshots):
    """The step line is the rate of least recent loss at every page kept, but for the first."""
    snapshot, figure = snapshots[-1], ui.BestRateFigure()
    figure.update(snapshot)
    history = snapshot.history.thinned(240)
    losses = np.array([history[runner("sgd", rate), "recent_log_loss"] for rate in RATES])
    assert figure.line.y.tolist() == np.array(RATES)[losses.argmin(axis=0)].tolist()[1:]
    assert figure.line.x[-1] == snapshot.rows
    assert f"lately {figure.line.y[-1]:g} is best" in text_of(figure.note.value)


def test_start_over_clears_the_figures(snapshots):
    """Back before the first page, nothing is on the scales but the coin toss."""
    switch = ui.RaceSwitch()
    shown = views(switch)
    for snapshot in (snapshots[-1], snapshots[0]):
        for view in shown:
            view.update(snapshot)
    race, paths, moves = shown
    for mark in (race.whole, race.lately, race.exact, race.exact_lately, race.floor, race.yours):
        assert set(mark.y.tolist()) == {OFF}
    for mark in (race.diverged, race.best, race.name, race.fallen):
        assert set(mark.y.tolist()) == {OFF}
    assert all(set(m.x.tolist()) == {OFF} for m in (paths.all, paths.best, moves.line))
    assert [text_of(v.note.value)[:7] for v in shown] == ["Nothing", "No path", "Nothing"]
    check_arrays()


def test_a_choice_is_shown_while_the_trainer_rests(trainer):
    """Another optimizer, chosen at rest, is drawn without a page having come."""
    switch = ui.RaceSwitch()
    shown = views(switch)
    trainer.run(20)
    publisher = ui.Publisher(trainer, shown)
    wait_for(lambda: "SGD, 200 rows" in text_of(shown[0].note.value))
    switch.method.value = "adam"
    for view in shown[:2]:
        wait_for(lambda: "Adam, 200 rows" in text_of(view.note.value))  # noqa: B023
    wait_for(lambda: text_of(shown[2].note.value).startswith("Adam: lately"))
    assert publisher.errors == []


def test_figures_move_while_it_plays(trainer):
    """Flat out, with all views and the controls: no view fails, and the sentences move on."""
    switch = ui.RaceSwitch()
    shown = views(switch)
    publisher = ui.Publisher(trainer, [ui.Controls(trainer), *shown])
    trainer.play()
    wait_for(lambda: "rows: the best of twelve" in text_of(shown[0].note.value))
    before = text_of(shown[0].note.value)
    wait_for(lambda: text_of(shown[0].note.value) != before)
    trainer.join()
    wait_for(lambda: "12,000 rows" in text_of(shown[0].note.value))
    assert publisher.errors == []
    check_arrays()


def test_a_store_takes_the_race_up_again(api, tmp_path, snapshots):
    """Closed and opened again, the race is the same to the bit, figures included."""
    path = tmp_path / "promo.db"
    with opened(path, api) as trainer:
        trainer.run(150)
    with opened(path, api) as trainer:
        snapshot = trainer.run(150)
    np.testing.assert_equal(snapshot.metrics, snapshots[-1].metrics)  # some are not defined
    assert [c[:3] for c in snapshot.coefficients] == [c[:3] for c in snapshots[-1].coefficients]
    drawn = []
    for each in (snapshot, snapshots[-1]):
        figure = ui.PathsFigure()
        figure.update(each)
        drawn.append(figure.all.y.tolist())
    assert drawn[0] == drawn[1]
