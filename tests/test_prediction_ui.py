"""Tests of the views of prediction, without a browser: they say what the models say."""

import dataclasses
import html
import re
from concurrent.futures import Future
from itertools import product
from types import SimpleNamespace

import bqplot as bq
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clocks import wait_for
from comms import ODD_TEXT, check_arrays, strokes, text_of
from promo import ui
from promo.batch import Batch
from promo.history import History
from promo.models.best import BestPossible
from promo.models.board import Board
from promo.models.default import EXPERTS, FULL, MIXTURE, default_models
from promo.opening import open_stream
from promo.report import drawings
from promo.report.experts import BESIDE, expert_styles
from promo.report.svg import DASHES, LIGHT
from promo.ui.beside import BesideLine, StillRun
from promo.ui.opinions import Answer, contour, experts_of, grid, opinions
from promo.world import WORLDS
from servers import ScriptedServer, employees

ROWS = 6000
NOWHERE = -1e9
pytestmark = pytest.mark.usefixtures("comms")


@pytest.fixture
def trainer(api, tmp_path):
    with open_stream(api.url, api.source, tmp_path / "promo.db") as trainer:
        yield trainer


def views(trainer):
    kinds = (
        *(ui.ExpertsFigure, ui.WeightsFigure, ui.CalibrationFigure, ui.SurfaceFigure),
        *(ui.Leaderboard, ui.WhatIfCard),
    )
    return [kind(trainer) for kind in kinds]


def settled(view, trainer):
    """Update a view until it has the answers to what it asks of the models at rest."""
    for _ in range(3):
        view.update(trainer.snapshot)
        answer = getattr(view, "_answer", None)
        wait_for(lambda: answer is None or (answer.count and answer._pending is None))  # noqa: B023
    view.update(trainer.snapshot)


def test_nothing_odd_is_said_or_sent_at_any_time(trainer):
    """Before the first row, after one page and after many: finite arrays, no nan in a sentence."""
    shown = views(trainer)
    for pages in (0, 1, 1, 200):
        if pages:
            trainer.run(pages)
        for view in shown:
            settled(view, trainer)
            said = " ".join(text_of(w.value) for w in (getattr(view, n, None) for n in
                            ("note", "table")) if w is not None)  # fmt: skip
            assert not ODD_TEXT.search(said), (type(view), said)
    check_arrays()


def test_the_leaderboard_is_the_boards(trainer):
    """Experts stand in the order of their log loss, each with its scores and its distance."""
    board = ui.Leaderboard(trainer)
    snapshot = trainer.run(300)
    board.update(snapshot)
    names = [e.name for e in experts_of(trainer.models) if e.name != "best-possible"]
    losses = {name: snapshot.metric(name, "log_loss") for name in names}
    found = re.findall(r'<tr><th scope="row">([a-z-]+)</th><td>([0-9.]+)</td>', board.table.value)
    expected = [(name, f"{losses[name]:.4f}") for name in sorted(losses, key=losses.get)]
    assert found[: len(names)] == expected
    assert found[-1][0] == "best-possible"
    real = sum(snapshot.metric(name, "behind_low") > 0 for name, _ in expected[1:])
    assert f"its lead is real over {real} of {len(names) - 1} others" in text_of(board.note.value)
    assert board.table.value.count("<td>real</td>") == real


def test_the_best_possible_is_the_floor(trainer):
    """Where the world is known its log loss is a line on both figures of losses, and in words."""
    loss, experts = ui.LossFigure(), ui.ExpertsFigure(trainer)
    drawn = [(loss, loss.floor), (experts, experts.lines["best-possible"])]
    for figure, line in drawn:
        figure.update(trainer.snapshot)
        assert {*line.x} == {NOWHERE}
    snapshot = trainer.run(120)
    floor = snapshot.metric("best-possible", "log_loss")
    for figure, line in drawn:
        figure.update(snapshot)
        assert (line.x[-1], line.y[-1]) == (1200, floor)
        assert figure._y.min < floor < figure._y.max
        assert re.search(rf"best.possible {floor:.4f}", text_of(figure.note.value))


def test_what_if_says_what_each_expert_says(trainer):
    """Wherever the sliders are stands every expert's chance, and its interval if it has one."""
    card = ui.WhatIfCard(trainer)
    trainer.run(100)
    for competence, ability in ((0.5, 0.5), (-2.0, 3.0)):
        card.competence.value, card.network_ability.value = competence, ability
        settled(card, trainer)
        said = opinions(trainer.models, competence, ability)
        assert [o.name for o in said] == [e.name for e in experts_of(trainer.models)]
        for name, proba, low, high in said:
            assert f'<th scope="row">{name}</th><td>{proba:.1%}</td>' in card.table.value
            if low == low:
                assert low < proba < high
                assert f"<td>{low:.1%} to {high:.1%}</td>" in card.table.value
    assert sum(o.low == o.low for o in said) == 2  # the renewable ones


def test_a_far_value_squeezes_nobody_and_is_told(tmp_path):
    """Of one competence of a million neither axis nor slider takes notice; the words do."""
    rows = employees(200)
    rows[55]["competence"] = 1e6
    path = tmp_path / "far.db"
    with (
        ScriptedServer(rows) as server,
        open_stream(
            server.url, "scripted", path, ["sgd-logistic", "renewable-logistic"]
        ) as trainer,
    ):
        trainer.run()
        views = ui.SampleFigure(), ui.SurfaceFigure(trainer), ui.WhatIfCard(trainer)
        for view in views:
            settled(view, trainer)
        scatter, surface, card = views
        assert scatter._x.max < 20
        assert surface._axes[0].scale.max < 20
        assert card.competence.max < 20
        told = "1 of them lies beyond the figure, far from the others."
        assert told in scatter.note.value
        assert told in {each.key: each for each in drawings(trainer.snapshot)}["sample"].words


def test_no_chance_is_said_to_be_certain(trainer):
    """What only comes close to 0 or 1 is neither 0% nor 100%."""
    card = ui.WhatIfCard(trainer)
    trainer.run(100)
    for value, told in ((40.0, "> 99.9%"), (-40.0, "< 0.1%")):
        for slider in (card.competence, card.network_ability):
            slider.min, slider.max, slider.value = -50.0, 50.0, value
        settled(card, trainer)
        chances = dict(re.findall(r'"row">([^<]*)</th><td>([^<]*)</td>', card.table.value))
        assert html.unescape(chances["renewable-logistic"]) == told
        assert "100.0%" not in card.table.value
        assert ">0.0%" not in card.table.value


def test_the_best_possible_is_that_of_now():
    """In a world that changes, a point is asked about as the next employee, not as the first."""
    world = WORLDS["drift"]
    n, c, y = world.sample(50_010, seed=2021)
    best = BestPossible(world)
    asked = [opinions([best], 3.0, -3.0)[0].proba]
    for first in (0, 49_990, 50_000):
        some = slice(first, first + 10)
        best.learn(Batch.of(n[some], c[some], y[some], ids=np.arange(50_010)[some]))
        asked.append(opinions([best], 3.0, -3.0)[0].proba)
    twin = BestPossible(world)
    [state] = best.states()
    twin.restore({state.name: state.state})
    asked.append(opinions([twin], 3.0, -3.0)[0].proba)
    before, after = world.bayes_proba(np.full(2, -3.0), np.full(2, 3.0), np.array([0, 50_000]))
    assert asked == [before, before, after, after, after]
    assert abs(before - after) > 0.9
    *_, plane = grid((2.9, 3.1), (-3.1, -2.9), 1)
    assert best.predict_proba(plane).tolist() == pytest.approx([after])


def test_marks_stand_where_there_was_an_alarm(trainer):
    """A line in the figure for each alarm, at the rows that had been learned by then."""
    figure, snapshot = ui.ExpertsFigure(trainer), trainer.run(10)
    history = History(snapshot.history.columns)
    for page, drifts in enumerate([0, 0, 1, 1, 3, 3]):
        told = {("sgd-logistic", "drifts"): drifts, ("sgd-logistic", "rows"): 10 * (page + 1)}
        history.append(page, [told.get(column, 0.5) for column in history.columns])
    figure.update(dataclasses.replace(snapshot, history=history))
    assert np.array(figure.drifts.x).tolist() == [[30.0, 30.0], [50.0, 50.0]]
    assert "Changes noticed: sgd-logistic 3." in text_of(figure.note.value)


def test_the_surface_is_the_experts_and_moves_with_it(trainer):
    """Every cell has the chosen expert's chance at its centre; the boundary is at even odds."""
    figure = ui.SurfaceFigure(trainer)
    for pages in (50, 100):
        trainer.run(pages)
        for expert in experts_of(trainer.models):
            figure.expert.value = expert.name
            settled(figure, trainer)
            xs, ys, rows = grid((-4, 4), (-4, 4), 48)
            expected = expert.predict_proba(rows).reshape(48, 48)
            np.testing.assert_array_equal(figure.map.color, expected)
            np.testing.assert_array_equal((figure.map.x, figure.map.y), (xs, ys))
    figure.expert.value = "renewable-logistic"
    settled(figure, trainer)
    assert strokes(figure.boundary) > 20
    assert strokes(figure.band) > 40
    model = next(e for e in experts_of(trainer.models) if e.name == "renewable-logistic")
    a, c, n = (next(k.estimate for k in model.coefficients() if k.term == term)
               for term in ("intercept", "competence", "network_ability"))  # fmt: skip
    x, y = (np.array(values)[::3] for values in (figure.boundary.x, figure.boundary.y))
    assert abs(a + c * x + n * y).max() < 0.05


@pytest.mark.parametrize(("centre", "spread"), [(50.0, 10.0), (0.002, 0.001), (-300.0, 0.0)])
def test_people_are_within_the_axes_wherever_they_are(trainer, centre, spread):
    """Other units, as of another company: axes, plane and sliders are where its people are."""
    figures, card = [ui.SurfaceFigure(trainer), ui.SampleFigure()], ui.WhatIfCard(trainer)
    first, snapshot = [ranges(view) for view in figures], trainer.run(20)
    trainer.stop()
    trainer.join()  # so that answers come at once
    n, c, promoted = snapshot.sample
    people = np.array([centre + spread * n, centre + spread * c, promoted])
    for amount in (15, 120):
        there = dataclasses.replace(snapshot, sample=people[:, :amount])
        for view in (*figures, card):
            view.update(there)
        for view in figures:
            for (low, high), values in zip(ranges(view), there.sample[1::-1], strict=True):
                assert low <= values.min() <= values.max() <= high
                assert high - low <= 3 * np.ptp(values) or not spread
        for slider, values in ((card.competence, people[1]), (card.network_ability, people[0])):
            assert slider.min <= values.mean() <= slider.max
            assert slider.min <= slider.value <= slider.max
            assert 20 <= (slider.max - slider.min) / slider.step <= 400
    surface = figures[0]
    surface.update(there)
    across, up = ranges(surface)
    for (low, high), cells in ((across, surface.map.x), (up, surface.map.y)):
        assert (
            low < cells[0] < low + (high - low) / 40 < high - (high - low) / 40 < cells[-1] < high
        )
    for view in (*figures, card):
        view.update(dataclasses.replace(snapshot, sample=people[:, :0], rows=0))
    assert [ranges(view) for view in figures] == first
    assert (card.competence.min, card.competence.max) == (-4, 4)


@pytest.mark.parametrize("span", [(-4, 5), (-5, 4), (-4, 4), (34, 66), (-0.004, 0.0035)])
def test_numbers_stand_where_they_say(trainer, span):
    """Ticks are round however lopsided the axis, so that no text rounds them to another place."""
    figure = ui.SurfaceFigure(trainer)
    for along in figure.figure.axes:
        with along.scale.hold_sync():
            along.scale.min, along.scale.max = span
        ticks = along.tick_values
        assert 3 <= len(ticks) <= 8
        assert [float(f"{tick:.2g}") for tick in ticks] == pytest.approx(ticks.tolist(), rel=1e-12)
        assert span[0] <= ticks[0] < ticks[-1] <= span[1]
        assert not span[0] < 0 < span[1] or 0 in ticks


def test_who_runs_alone_is_drawn(api, tmp_path):
    """Of a company that nobody knows the rule of, by the base rate only: its own line."""
    path = tmp_path / "alone.db"
    with open_stream(api.url, f"{api.url}/other", path, ["base-rate"]) as trainer:
        figure = ui.ExpertsFigure(trainer)
        figure.update(trainer.run(3))
        losses = figure.lines["base-rate"].y
        low, high = ranges(figure)[1]
        assert low <= losses[-1] <= high
        assert "base-rate" in figure.note.value


@pytest.mark.parametrize(("end", "align"), [(100, "start"), (900, "end")])
def test_the_name_of_the_other_run_is_within_the_figure(end, align):
    """It stands to the left of where its line ends, unless that is at the left edge."""
    scales = {"x": bq.LinearScale(min=0, max=1000), "y": bq.LinearScale(min=0, max=1)}
    line = BesideLine(StillRun("fork", None), scales)
    line.draw(np.array([0.0, end]), np.array([0.5, 0.6]))
    assert line.label.align == align


def ranges(figure):
    return [(each.scale.min, each.scale.max) for each in figure.figure.axes]


def test_a_late_answer_is_not_taken_for_what_is_asked(trainer, monkeypatch):
    """Shown a page of the past whose models take long: neither map nor table are of another."""
    monkeypatch.setattr("promo.ui.opinions._LATE_S", 0.0)
    snapshot = trainer.run(60)
    trainer.stop()
    trainer.join()  # so that answers come at once
    past, slow = SimpleNamespace(models=trainer.models, page=None, ask=trainer.ask), []
    figure, card = ui.SurfaceFigure(past), ui.WhatIfCard(past)

    def assert_answered():
        for view in (figure, card):
            view.update(snapshot)
            assert not view.choice[-1]
        assert figure.map.visible
        assert "<table" in card.table.value

    assert_answered()

    def ask(question):
        slow.append((Future(), question))
        return slow[-1][0]

    past.page, past.ask = 3, ask
    for view in (figure, card):
        view.update(snapshot)
        assert view.choice[-1]  # which is news to the publisher
        view.update(snapshot)
    assert not figure.map.visible
    assert (strokes(figure.boundary), figure.drawing()) == (0, None)
    assert "Being worked out" in figure.note.value
    assert "Being worked out" in card.table.value
    for future, question in slow:
        future.set_result(question(trainer.models))
    assert_answered()


def test_a_click_on_a_person_asks_every_expert(trainer):
    """Where there are people to click on, the sentence has what every expert says of one."""
    figure = ui.SurfaceFigure(trainer)
    settled(figure, trainer)
    assert text_of(figure.note.value) == "No row is learned yet."
    trainer.run(60)
    settled(figure, trainer)
    assert text_of(figure.note.value).startswith("Click on a dot")
    figure._pick(None, {"data": {"x": 1.25, "y": -0.5}})
    settled(figure, trainer)
    said = text_of(figure.note.value)
    assert said.startswith("Competence +1.25, network ability -0.50: ")
    for name, proba, *_ in opinions(trainer.models, 1.25, -0.5):
        assert f"{name} {proba:.0%}" in said
    assert [*figure.ring.x, *figure.ring.y] == [1.25, -0.5]


def test_the_calibration_is_the_boards(trainer):
    """The points are the shares promoted by predicted chance, of the expert and rows chosen."""
    figure = ui.CalibrationFigure(trainer)
    trainer.run(250)
    board = next(model for model in trainer.models if isinstance(model, Board))
    assert board.recent.rows < board.whole.rows
    for name, lately in product(board.names, (False, True)):
        figure.expert.value, figure.lately.value = name, lately
        settled(figure, trainer)
        tally = board.recent if lately else board.whole
        middle, share, rows = tally.calibration(board.names.index(name))
        np.testing.assert_array_equal(figure.points.x, middle[rows > 0])
        np.testing.assert_array_equal(figure.points.y, share[rows > 0])
        said = text_of(figure.note.value)
        assert said.startswith(f"{name}{', lately' if lately else ''}, rows by prediction: ")
        told = [int(each.replace(",", "")) for each in re.findall(r"([\d,]+) at \d+%", said)]
        assert told == rows[rows > 0].tolist()
        assert sum(told) == tally.rows


def test_weights_are_those_of_the_mixture(trainer):
    """Each line ends at the weight in the next prediction, and they add up to one."""
    figure = ui.WeightsFigure(trainer)
    trainer.run(150)
    figure.update(trainer.snapshot)
    ends = {name: line.y[-1] for name, line in figure.lines.items()}
    assert ends == {
        name: trainer.snapshot.metric("mixture", f"weight of {name}") for name in figure.lines
    }
    assert sum(ends.values()) == pytest.approx(1)


def test_questions_are_asked_once_and_rest_with_the_stream(trainer):
    """While neither the rows nor the choice change, an answer is not asked for again."""
    figure, asked = ui.SurfaceFigure(trainer), []
    ask = trainer.ask
    trainer.ask = lambda question: asked.append(1) or ask(question)
    trainer.run(10)
    for _ in range(10):
        settled(figure, trainer)
    assert len(asked) == 1
    figure.expert.value = "base-rate"
    settled(figure, trainer)
    assert len(asked) == 2


def test_an_answer_is_of_whole_pages_and_comes_while_it_plays(trainer):
    """Asked from another thread while it plays, a question sees models between two pages."""
    trainer.play()
    wait_for(lambda: trainer.snapshot.rows > 100)

    def rows_of(models):
        return [int(s.rows) for m in models for s in m.states() if " | " not in s.name]

    for _ in range(50):
        rows = trainer.ask(rows_of).result(10)
        assert len(set(rows)) == 1
        assert rows[0] % 10 == 0
    trainer.stop()
    trainer.join()
    assert trainer.ask(len).result(0) == len(trainer.models)
    with pytest.raises(ZeroDivisionError):
        trainer.ask(lambda models: 1 / 0).result(0)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-2, 2))
def test_a_contour_lies_where_the_values_pass_zero(a, b, c):
    """Of a plane a + b x + c y every point found is on its line."""
    at = np.linspace(-4, 4, 20)
    x, y = contour(at, at, a + b * at[None, :] + c * at[:, None])
    assert x.shape == y.shape
    assert np.abs(a + b * x + c * y).max(initial=0.0) < 1e-9


def test_an_answer_waits_for_the_one_before():
    """No second question is asked while the first is open; then the newest matter is."""
    from concurrent.futures import Future

    futures, answer = [], Answer()

    def ask():
        futures.append(Future())
        return futures[-1]

    assert answer.to("a", 10, ask) is None
    assert answer.to("b", 10, ask) is None
    assert len(futures) == 1
    futures[0].set_result("first")
    assert answer.count == 1
    assert answer.to("b", 10, ask) == "first"
    assert len(futures) == 2
    futures[1].set_result("second")
    assert answer.to("b", 10, ask) == "second"
    assert len(futures) == answer.count == 2
    answer.to("c", 10, ask)
    futures[2].set_exception(ValueError("no such thing"))
    assert answer.count == 3
    with pytest.raises(ValueError, match="no such thing"):
        answer.to("c", 10, ask)


def test_answers_hurry_nobody_unless_the_reader_has_asked(trainer):
    """While it plays, what is asked again page after page is no choice; a new question is."""
    shown = [ui.SurfaceFigure(trainer), ui.WhatIfCard(trainer), ui.CalibrationFigure(trainer)]
    for view in shown:
        settled(view, trainer)
    choices, answers = [v.choice for v in shown], [v.answers for v in shown]
    for _ in range(3):
        trainer.run(5)
        for view in shown:
            settled(view, trainer)
    assert [view.choice for view in shown] == choices
    assert all(view.answers > before for view, before in zip(shown, answers, strict=True))
    card = shown[1]
    card.competence.value = 2.0
    assert card.choice == ((2.0, 0.5, None), False, False)
    settled(card, trainer)
    assert card.choice == ((2.0, 0.5, None), True, False)


def test_the_last_answer_is_shown_when_the_stream_has_come_to_rest(trainer):
    """However quick an answer was, what stands on the page at rest is of the newest page."""
    card = ui.WhatIfCard(trainer)
    publisher = ui.Publisher(trainer, [card])
    for _ in range(5):
        trainer.run(7)
        proba = opinions(trainer.models, 0.5, 0.5)[4].proba
        said = f'<th scope="row">mixture</th><td>{proba:.1%}</td>'
        wait_for(lambda: said in card.table.value)  # noqa: B023
    assert publisher.errors == []


def test_an_answer_that_is_given_up_is_asked_for_again():
    """Whoever watches sees that something has come; the value stays, and the next is asked for."""
    from concurrent.futures import Future

    answer, futures = Answer(), [Future(), Future()]
    futures[0].set_result("first")
    assert answer.to("a", 10, lambda: futures[0]) == "first"
    gone = Future()
    assert answer.to("b", 10, lambda: gone) == "first"
    before = answer.count
    gone.cancel()
    assert answer.count == before + 1
    assert answer.to("b", 10, lambda: futures[1]) == "first"
    futures[1].set_result("second")
    assert answer.count == before + 2
    assert answer.to("b", 10, Future) == "second"


def test_an_answer_is_shown_however_soon_it_comes(trainer):
    """At rest, too, where it is there before anybody looks: nothing else has to happen."""
    trainer.run(50)
    card = ui.WhatIfCard(trainer)
    ui.Publisher(trainer, [card])
    wait_for(lambda: card.table.value)


def test_the_usual_experts_can_be_shown():
    """Every expert of the default choice has a style of its own."""
    from promo.ui.prediction import _styles

    names = [e.name for e in experts_of(default_models(FULL)[0])]
    styles = _styles(names)
    assert len({styles[name] for name in names}) == len(names)


def test_experts_look_the_same_on_the_page_and_in_what_is_taken_along(trainer):
    """By colour and dash; no two of them alike, and the colour of another run is nobody's."""
    snapshot = trainer.run(30)
    figure = ui.ExpertsFigure(trainer)
    styles = expert_styles([*EXPERTS, MIXTURE, BestPossible.name])
    assert len({*styles.values()}) == len(styles)
    assert BESIDE not in {colour for colour, _ in styles.values()}
    mixed = expert_styles([*styles, *(f"rate {at}" for at in range(9))])
    assert len({*mixed.values()}) == len(mixed)
    [drawn] = [each.svg for each in drawings(snapshot) if each.key == "loss"]
    for name, line in figure.lines.items():
        colour, dash = styles[name]
        assert (line.colors, line.line_style) == ([LIGHT[colour]], dash.replace("-", "_"))
        dashes = f' stroke-dasharray="{DASHES[dash]}"' if DASHES[dash] else ""
        assert f'class="{colour}" stroke-width="2.2"{dashes} stroke-linejoin' in drawn, name
