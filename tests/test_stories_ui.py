"""Tests of the views of causal stories and of what can be chosen, without a browser."""

import dataclasses
import math
import re
import threading
from itertools import chain, combinations, pairwise
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ipywidgets import HTML

from clocks import wait_for
from comms import ODD_TEXT, Comm, check_arrays, left_open, open_widgets, text_of, texts_of, tree
from crash import open_trainer
from promo import ui
from promo.batch import Batch
from promo.models.graphs import INDEPENDENCIES, PAIRS, all_graphs, implied, stories
from promo.models.peeking import peek
from promo.models.regressions import Regressions
from promo.models.results import Coefficient, Metric
from promo.models.robust import robustly
from promo.models.selection import measured_slope, spurious_slope
from promo.models.verdict import (
    NEGLIGIBLE,
    PREDICTABLE,
    finding,
    negligible_slope,
    negligible_slopes,
    score,
)
from promo.report import drawings
from promo.ui import lessons
from promo.ui.coefficients import safe_to_stop
from promo.ui.sandbox import compare, learned, true_diagram, true_story, verdict
from promo.ui.switch import COLLIDER, NULL
from promo.words import percent
from promo.world import WORLDS

SHOWN = {"without": [NULL], "with": [COLLIDER], "both": [NULL, COLLIDER]}
ROWS = 12_000
NOWHERE = -1e9
pytestmark = pytest.mark.usefixtures("comms")


@pytest.fixture
def trainer(api, tmp_path):
    with open_trainer(tmp_path / "promo.db", api.url, api.source) as trainer:
        yield trainer


@pytest.fixture(scope="module")
def snapshots(api, tmp_path_factory):
    """Snapshots before the first page, and after 1, 2, 20 and 300 pages."""
    path = tmp_path_factory.mktemp("store") / "promo.db"
    with open_trainer(path, api.url, api.source) as trainer:
        return [trainer.snapshot, *(trainer.run(pages) for pages in (1, 1, 18, 280))]


def drawn(mark):
    """Return the points of a mark, or none where it is nowhere or not to be seen."""
    if not mark.visible or np.max(mark.x, initial=NOWHERE) == NOWHERE:
        return np.empty(0), np.empty((*mark.y.shape[:-1], 0))
    return mark.x, mark.y


def drawn_band(mark):
    """Return where a band is along x, and its lower and upper line."""
    x, y = drawn(mark)
    half = len(x) // 2
    assert x[:half].tolist() == x[half:][::-1].tolist()
    return x[half:], np.array([y[half:], y[:half][::-1]])


# -- the collider switch -----------------------------------------------------------------------


@pytest.mark.parametrize("at", range(5))
def test_each_choice_shows_exactly_those_regressions(snapshots, at):
    """Figure, sentence and table show the regressions chosen, with their numbers, and no other."""
    snapshot, switch = snapshots[at], ui.ColliderSwitch()
    figure, table = ui.CoefficientFigure(switch), ui.CoefficientTable(switch)
    for switch.promoted.value in [*SHOWN, *reversed(SHOWN)]:
        chosen = SHOWN[switch.promoted.value]
        for view in (figure, table):
            view.update(snapshot)
        for formula, path in figure.paths.items():
            rows, slopes = drawn(path)
            expected = snapshot.history.thinned(120)[formula, "competence", "estimate"]
            assert path.visible == (formula in chosen)
            assert not len(rows) or rows[-1] == snapshot.rows
            if formula in chosen and snapshot.page:
                assert slopes.tolist() == expected[-len(slopes) :].tolist()
            for marks in (figure.bands, figure.wide):
                assert marks[formula].visible == (formula in chosen)
        assert re.findall(r"<code>(.*?)</code>", table.table.value) == chosen
        said = text_of(figure.note.value)
        assert ("Without promoted:" in said) == (NULL in chosen and snapshot.rows > 0)
        assert ("With promoted:" in said) == (COLLIDER in chosen and snapshot.rows > 0)
        assert not ODD_TEXT.search(said + text_of(table.table.value))
    check_arrays()


@pytest.mark.parametrize("robust", [False, True])
def test_the_interval_for_one_look_lies_well_inside_that_for_all(snapshots, robust):
    """Wherever that at any time is bounded, at every point, it is wider by a fifth at least."""
    figure = ui.CoefficientFigure()
    figure.switch.robust.value = robust
    for snapshot in snapshots[3:]:
        figure.update(snapshot)
        for formula in (NULL, COLLIDER):
            rows, look = drawn_band(figure.bands[formula])
            some, looks = drawn_band(figure.wide[formula])
            assert len(some) >= len(rows) / 2
            look = look[:, np.isin(rows, some)]
            middle = look.mean(axis=0)
            assert looks.mean(axis=0) == pytest.approx(middle, abs=1e-12)
            assert (looks[1] - middle > 1.2 * (look[1] - middle)).all()
            assert (look[1] > middle).all()


def test_the_switch_to_robust_errors_changes_errors_and_intervals(snapshots):
    """In sentence, table and figure stand the numbers of `robustly`; back again, those before."""
    snapshot, switch = snapshots[-1], ui.ColliderSwitch()
    figure, table = ui.CoefficientFigure(switch), ui.CoefficientTable(switch)
    said = []
    for switch.robust.value in (False, True, False):
        for view in (figure, table):
            view.update(snapshot)
        said.append((text_of(figure.note.value), table.table.value))
        for formula, terms in ((NULL, 2), (COLLIDER, 3)):
            for found in snapshot.coefficients:
                if found.model != formula:
                    continue
                c = robustly(found, snapshot.rows, terms) if switch.robust.value else found
                numbers = (c.ci_low, c.ci_high, c.av_low, c.av_high)
                cells = "</td><td>".join(f"{number:+.3f}" for number in numbers)
                assert f"<td>{c.std_error:.4f}</td>" in table.table.value
                assert f"<td>{cells}</td>" in table.table.value
                if c.term == "competence":
                    assert f"{c.ci_low:+.3f} to {c.ci_high:+.3f}" in said[-1][0]
                    assert f"{c.av_low:+.3f} to {c.av_high:+.3f}" in said[-1][0]
                    for marks, bounds in ((figure.bands, numbers[:2]), (figure.wide, numbers[2:])):
                        _, found = drawn_band(marks[formula])
                        assert found[:, -1] == pytest.approx(bounds, rel=1e-12)
        assert ("HC1" in table.table.value) == switch.robust.value
        # the page at which zero was excluded first is one by the usual errors
        assert ("first excluded" in said[-1][0]) == (not switch.robust.value)
    assert said[0] == said[2]
    assert said[0][1] != said[1][1]


def test_the_switch_for_any_time_takes_the_wide_band_away(snapshots):
    """Without it the wide bands are gone and the narrow ones stay; with it all is as before."""
    figure, kept = ui.CoefficientFigure(), []
    for figure.switch.anytime.value in (True, False, True):
        figure.update(snapshots[-1])
        kept.append([len(drawn(figure.wide[formula])[0]) for formula in SHOWN["both"]])
        assert all(len(drawn(figure.bands[formula])[0]) > 100 for formula in SHOWN["both"])
    assert kept[0] == kept[2] != kept[1] == [0, 0]


def test_a_choice_is_shown_by_every_view_that_has_the_switch(trainer):
    """The publisher shows figure and table anew when a switch moves, though no page comes."""
    trainer.run(20)
    switch = ui.ColliderSwitch()
    figure, table = ui.CoefficientFigure(switch), ui.CoefficientTable(switch)
    publisher = ui.Publisher(trainer, [figure, table], frames_per_s=100)
    ui.Board([switch], [figure, table])
    wait_for(lambda: COLLIDER in table.table.value and figure.paths[COLLIDER].visible)
    switch.promoted.value = "without"
    wait_for(lambda: COLLIDER not in table.table.value and not figure.paths[COLLIDER].visible)
    switch.robust.value = True
    wait_for(lambda: "HC1" in table.table.value)
    assert publisher.errors == []


bounds = st.tuples(*2 * [st.floats(-10, 10) | st.sampled_from([0.0, NEGLIGIBLE, -NEGLIGIBLE])])


@given(bounds.map(sorted), st.just(math.nan) | st.integers(0, 10**6))
def test_yes_is_said_only_of_what_the_confidence_sequence_decides(between, since):
    """Yes: all on one side of zero, or within what is negligible. A bound is never rounded down."""
    low, high = between
    said = safe_to_stop(Coefficient("m", "x", (low + high) / 2, av_low=low, av_high=high), since)
    bound = max(-low, high)
    decided = low > 0 or high < 0 or bound <= NEGLIGIBLE
    assert said.startswith("Safe to stop? Yes: " if decided else "Safe to stop? Not yet: ")
    assert ("above zero" in said, "below zero" in said) == (low > 0, high < 0)
    for told in re.findall(r"±([\d.]+)", said):
        assert bound * (1 - 1e-14) <= float(told) < bound + 0.001 + 1e-12
    assert ("±" in said) == (bound <= NEGLIGIBLE or low <= 0 <= high)
    assert (f"at page {since:,.0f} (counted from 0)" in said) == math.isfinite(since)


def test_it_is_not_safe_to_stop_before_there_is_an_interval():
    """Without bounds, for too few rows, the answer is no."""
    for low, high in ((math.nan, math.nan), (-math.inf, math.inf)):
        found = Coefficient("m", "x", 0.1, av_low=low, av_high=high)
        assert safe_to_stop(found, math.nan) == "Safe to stop? Not yet."


# -- stories -----------------------------------------------------------------------------------


def diagrams(widget):
    """Parse the diagrams of a tree of widgets."""
    texts = " ".join(w.value for w in tree(widget) if isinstance(w, HTML))
    found = re.findall(r'<svg class="promo-dag".*?</svg>', texts, re.DOTALL)
    return [ElementTree.fromstring(each) for each in found]


def cards_of(figure):
    """Return the cards: titles and drawings, and the part that changes."""
    found = [w for w in tree(figure.widget) if "promo-card" in w._dom_classes]
    assert [card.children[1] for card in found] == figure.shares
    return found


def titles(graphs):
    says = (", ".join(f"{a} → {b}" for a, b in sorted(graph)) for graph in graphs)
    return [said.replace("_", " ") or "no arrows" for said in says]


def test_every_diagram_is_drawn_once_on_the_card_of_its_story():
    """11 cards, 25 diagrams; each has a title that names its arrows, and as many lines."""
    figure = ui.StoriesFigure()
    cards = cards_of(figure)
    assert len(cards) == 11
    everything = []
    for card, story in zip(cards, stories(), strict=True):
        drawings = diagrams(card)
        assert [svg.findtext("title") for svg in drawings] == titles(story.graphs)
        assert [len(list(svg.iter("line"))) for svg in drawings] == [*map(len, story.graphs)]
        assert {t.text for svg in drawings for t in svg.iter("text")} == {"N", "C", "P"}
        assert all(svg.get("role") == "img" for svg in drawings)
        everything += [svg.findtext("title") for svg in drawings]
    assert sorted(everything) == sorted(titles(all_graphs()))
    assert len({*everything}) == 25


@pytest.mark.parametrize("at", range(5))
def test_cards_say_the_shares_of_the_snapshot(snapshots, at):
    """Each card has its share, never rounded to none or all; the largest is marked, and said."""
    snapshot, figure = snapshots[at], ui.StoriesFigure()
    figure.update(snapshot)
    shares = [snapshot.metric("causal-stories", f"share of {s.name}") for s in stories()]
    for share, card in zip(shares, figure.shares, strict=True):
        told = re.search(r"([<>]?) ?([\d.]+)%", text_of(card.value))
        assert (told[1] == ">") == (0.9995 <= share < 1)
        assert (told[1] == "<") == (0 < share < 0.0005)
        assert told[1] or abs(float(told[2]) / 100 - share) <= 0.00051
        assert f"width: {100 * share:.1f}%" in card.value
    leads = [("leads" in card.value) for card in figure.shares]
    best = stories()[int(np.argmax(shares))].name.replace("_", " ")
    if snapshot.rows:
        assert leads == [share == max(shares) for share in shares]
        assert f"After {snapshot.rows:,} rows" in text_of(figure.note.value)
        assert best.replace("->", "→").replace("<-", "←") in text_of(figure.note.value)
    else:
        assert not any(leads)
        assert "Before the first row" in figure.note.value
    assert not ODD_TEXT.search(" ".join(texts_of(figure.widget)))


@pytest.mark.parametrize("drifts", [0.0, 2.0])
def test_shares_over_a_change_are_said_to_be_of_both_times(snapshots, drifts):
    """Where an expert has noticed a change, one story for all rows may hold of neither time."""
    noticed = Metric("sgd-logistic", "drifts", drifts)
    snapshot = dataclasses.replace(snapshots[-1], metrics=(*snapshots[-1].metrics, noticed))
    figure = ui.StoriesFigure()
    figure.update(snapshot)
    drawn = {each.key: each for each in drawings(snapshot)}["stories"]
    for said in (text_of(figure.note.value), drawn.words):
        assert ("of the rows before and after it together" in said) == (drifts > 0)


@pytest.mark.parametrize("at", range(5))
def test_an_open_story_is_judged_by_what_it_implies(snapshots, at):
    """Six lines: implied or not, the correlation, its bounds, and what follows, by how much."""
    snapshot, figure = snapshots[at], ui.StoriesFigure()
    evidence = {
        s.name: snapshot.metric("causal-stories", f"log evidence of {s.name}") for s in stories()
    }
    for number, story in enumerate(stories()):
        figure.open.value = number
        figure.update(snapshot)
        (table,) = re.findall(r"<tbody>.*</tbody>", figure.opened.value)
        lines = ElementTree.fromstring(table).findall("tr")
        for line, each in zip(lines, INDEPENDENCIES, strict=True):
            cells = ["".join(cell.itertext()) for cell in line]
            r = snapshot.coefficient("causal-stories", str(each))
            assert {each in implied(graph) for graph in story.graphs} == {cells[1] == "yes"}
            assert cells[0].replace(" ", "_") == str(each).replace("_||_", "⊥").replace(" ", "_")
            if not math.isfinite(r.av_low):
                assert cells[2:] == ["", "", "", "not known yet"]
                continue
            assert cells[2:5] == [f"{v:+.3f}" for v in (r.estimate, r.av_low, r.av_high)]
            fails = cells[1] == "yes" and not r.av_low <= 0 <= r.av_high
            assert (cells[5] == f"fails by {abs(r.estimate):.3f}") == fails
            assert (cells[5] == "dependent, as it allows") == (
                cells[1] == "no" and not r.av_low <= 0 <= r.av_high
            )
        behind = max(evidence.values()) - evidence[story.name]
        said = text_of(figure.opened.value)
        assert (f"{behind:,.1f} nats behind" in said) == (behind > 0 and snapshot.rows > 0)
        assert not ODD_TEXT.search(said)


def test_a_frame_sends_only_what_changed(snapshots):
    """Nothing for the same snapshot; of a new one shares and words, no diagram, under 20 kB."""
    figure = ui.StoriesFigure()
    figure.update(snapshots[-2])
    Comm.sent.clear()
    figure.update(snapshots[-2])
    assert Comm.sent == []
    figure.update(snapshots[-1])
    assert {name for name, *_ in Comm.sent} <= {
        w.model_id for w in (*figure.shares, figure.note, figure.opened)
    }
    assert 0 < sum(len(str(data)) for _, _, data, _ in Comm.sent) < 20_000
    Comm.sent.clear()
    figure.open.value = 3
    Comm.sent.clear()
    figure.update(snapshots[-1])
    assert {name for name, *_ in Comm.sent} == {figure.opened.model_id}


# -- your story first --------------------------------------------------------------------------

ARROWS = tuple(arrow for pair in PAIRS for arrow in (pair, pair[::-1]))


def draw(editor, arrows):
    """Tick exactly these boxes, and have the editor show it."""
    for arrow, box in editor.arrows.items():
        box.value = arrow in arrows
    editor.update(editor._trainer.snapshot)


def written(trainer):
    return trainer.store.events("story", last=10**4)


def test_each_set_of_arrows_is_a_story_or_said_to_be_none(trainer):
    """Of 64 sets the 25 without a circle are drawn and can be written; the others say why not."""
    editor = ui.StoryEditor(trainer)
    accepted = []
    for arrows in chain.from_iterable(combinations(ARROWS, k) for k in range(7)):
        draw(editor, arrows)
        before = len(written(trainer))
        editor.write.click()
        editor.update(trainer.snapshot)
        svg = ElementTree.fromstring(editor.drawing.value)
        assert len(list(svg.iter("line"))) == len(arrows)
        assert svg.findtext("title")
        said = text_of(editor.message.value)
        if nx.is_directed_acyclic_graph(nx.DiGraph([*arrows])):
            accepted.append({*arrows})
            assert len(written(trainer)) == before + 1
            assert {tuple(a) for a in written(trainer)[-1].detail["arrows"]} == {*arrows}
            assert said.startswith("Written down before any row was seen.")
            for each in implied(frozenset(arrows)):
                assert str(each).replace("_||_", "⊥").replace("_", " ") in said
        else:
            assert len(written(trainer)) == before
            (route,) = re.findall(r"^(.+) leads in a circle: nothing causes itself\.$", said)
            circle = route.replace(" → ", ">").replace(" ", "_").split(">")
            steps = {*pairwise(circle)}
            assert steps <= {*arrows}
            assert circle[0] == circle[-1]
    assert sorted(map(sorted, accepted)) == sorted(map(sorted, all_graphs()))


def test_what_is_filled_in_is_what_is_written_down(trainer):
    """Arrows, predictions by formula, rows and page are in the event, so that `score` can judge."""
    guesses = {formula: "negative" for formula, _ in PREDICTABLE[1:3]}
    arrows = [("competence", "promoted"), ("network_ability", "promoted")]
    editor = ui.StoryEditor(trainer, arrows, guesses)
    editor.predictions[NULL].value = "zero"
    editor.write.click()
    (event,) = written(trainer)
    assert (event.page, event.detail["rows"]) == (0, 0)
    assert event.detail["arrows"] == [list(arrow) for arrow in arrows]
    expected = dict.fromkeys((formula for formula, _ in PREDICTABLE), "no idea")
    assert event.detail["predictions"] == expected | guesses | {NULL: "zero"}
    judged = score(event.detail["predictions"], trainer.run(300).coefficients)
    formulas = [formula for formula, _ in PREDICTABLE[:3]]
    predicted = ["zero", "negative", "negative"]
    assert [line[:2] for line in judged] == [*zip(formulas, predicted, strict=True)]


def test_a_story_can_be_written_down_at_any_time(trainer):
    """Before the start, paused, running, from two threads, stopped: once each, with its page."""
    editor = ui.StoryEditor(trainer, [("competence", "promoted")])
    publisher = ui.Publisher(trainer, [editor], frames_per_s=50)
    ui.Board([editor])
    editor.write.click()
    wait_for(lambda: "before any row was seen" in editor.message.value)
    trainer.run(3)
    editor.write.click()
    wait_for(lambda: "after 30 rows had been seen" in editor.message.value)
    wait_for(lambda: [event.page for event in written(trainer)] == [0, 3])
    trainer.set_speed(200)
    trainer.play()

    def click():
        for _ in range(20):
            editor.write.click()
            trainer.wait(0.02)

    clickers = [threading.Thread(target=click) for _ in range(2)]
    for thread in clickers:
        thread.start()
    for thread in clickers:
        thread.join()
    trainer.stop()
    trainer.join()
    editor.write.click()
    found = written(trainer)
    assert len(found) == 43
    assert all(10 * event.page == event.detail["rows"] for event in found)
    assert found[-1].page == trainer.store.page + 1
    assert publisher.errors == []


def test_what_was_written_down_is_said_until_it_is_gone(trainer):
    """Mended arrows do not take it back, Start over does, with the event."""
    editor = ui.StoryEditor(trainer, [("competence", "promoted")])
    trainer.run(2)
    editor.write.click()
    draw(editor, ARROWS)
    editor.write.click()
    editor.update(trainer.snapshot)
    assert "leads in a circle" in editor.message.value
    draw(editor, ARROWS[:1])
    assert "Written down after 20 rows" in editor.message.value
    another = "another one, not written down yet"
    draw(editor, [])
    assert another in editor.message.value
    draw(editor, [("competence", "promoted")])
    assert another not in editor.message.value
    editor.predictions[PREDICTABLE[0][0]].value = "zero"
    editor.update(trainer.snapshot)
    assert another in editor.message.value
    wait_for(lambda: len(written(trainer)) == 1)
    trainer.start_over()
    wait_for(lambda: trainer.snapshot.rows == 0)
    editor.update(trainer.snapshot)
    assert text_of(editor.message.value) == ""
    editor.write.click()
    editor.update(trainer.snapshot)
    assert "before any row was seen" in editor.message.value
    wait_for(lambda: [event.page for event in written(trainer)] == [0])


def test_what_cannot_be_written_down_is_said(trainer):
    """An error of the store is in the message, escaped, and nowhere raised."""
    editor = ui.StoryEditor(trainer)
    trainer.close()
    editor.write.click()
    editor.update(trainer.snapshot)
    assert "closed" in text_of(editor.message.value)

    def fail(*_, **__):
        raise ValueError("no <b>room</b>")

    trainer.note = fail
    editor.write.click()
    editor.update(trainer.snapshot)
    assert text_of(editor.message.value) == "no <b>room</b>"


# -- worlds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_is_shown_beside_what_the_stories_say_of_it(name):
    """The truth with its arrows, a verdict that compares, and cards with the shares learned."""
    figure = ui.WorldFigure()
    figure.world.value, figure.rows.value = name, 500
    figure.update(None)
    world, snapshot = WORLDS[name], learned(name, 500)
    svg = ElementTree.fromstring(re.search(r"<svg.*</svg>", figure.truth.value)[0])
    assert len(list(svg.iter("line"))) == (1 if name == "drift" else len(world.arrows))
    assert name in svg.findtext("title")
    for node in svg.iter("ellipse"):
        x, y, across, down = (float(node.get(name)) for name in ("cx", "cy", "rx", "ry"))
        assert across < x < 360 - across, "not cut off"
        assert down < y < 170 - down
    assert ("hidden" in {t.text for t in svg.iter("text")}) == ("hidden" in str(world.arrows))
    assert world.description in text_of(figure.truth.value)
    shares = {s.name: snapshot.metric("causal-stories", f"share of {s.name}") for s in stories()}
    best, said = max(shares, key=shares.get), text_of(figure.verdict.value)
    right = best == true_story(world, 500)
    found = "The stories have found" if shares[best] >= 0.95 else "The true story leads"
    assert said.startswith(found if right else "The stories are wrong")
    assert f"share {percent(shares[best])}" in said
    for each in (best, true_story(world, 500)):
        assert each.replace("_", " ").replace("->", "→").replace("<-", "←") in said
    cards = ui.StoriesFigure()
    cards.update(snapshot)
    assert [w.value for w in figure._stories.shares] == [w.value for w in cards.shares]
    assert not ODD_TEXT.search(" ".join(texts_of(figure.widget)))


def test_the_confounded_world_fools_the_stories_and_it_is_said():
    """They are sure of a collider, the truth among the three is another; the verdict says so."""
    figure = ui.WorldFigure()
    figure.world.value, figure.rows.value = "confounded", 10_000
    figure.update(None)
    said = text_of(figure.verdict.value)
    assert "are wrong here" in said
    assert "for network ability → promoted ← competence; the truth among the three is comp" in said
    assert float(re.search(r"share ([\d.]+)%", said)[1]) > 90


@pytest.mark.parametrize("name", WORLDS)
def test_seeing_and_doing_are_drawn_and_told_as_they_are(name):
    """Lines are the densities of `compare`, within the plot; the sentence has their means."""
    figure = ui.DoFigure(rows=20_000)
    figure.world.value = name
    for figure.action.value in ("promoted", "network_ability", "competence"):
        for figure.value.value in (-3.0, 0.0, 1.5):
            action = figure.action.value
            figure.update(None)
            value = 1.0 if action == "promoted" else figure.value.value
            people = compare(WORLDS[name], action, value, 20_000)
            shown = "competence" if action == "network_ability" else "network_ability"
            for line, some in zip(figure.lines, people, strict=True):
                column = getattr(some, shown)
                area = line.y.sum() * (line.x[1] - line.x[0])
                assert area == pytest.approx((abs(column) <= 4).mean() if len(column) else 0)
                assert line.y.max() <= figure.figure.axes[1].scale.max
                if len(column) > 1000:
                    mean = (line.x * line.y).sum() * (line.x[1] - line.x[0])
                    assert mean == pytest.approx(column.mean(), abs=0.02)
            said = text_of(figure.note.value)
            for other in {"network_ability", "competence", "promoted"} - {action}:
                for some, how in zip(people, ("as they are", "seen", "done"), strict=True):
                    column = getattr(some, other)
                    if len(column):
                        mean = column.mean()
                        told = f"{mean:.0%}" if other == "promoted" else f"{mean:+.2f}"
                        assert f"{told.replace('-0.00', '+0.00')} {how}" in said
            assert f"{len(people[1].promoted):,} of 20,000 employees" in said
            assert (figure.value.layout.visibility == "hidden") == (action == "promoted")
            assert figure.figure.axes[0].label == shown.replace("_", " ")
    check_arrays()


def test_nobody_seen_is_said_to_be_nobody():
    """Where nobody has the value there is no mean and no line, and no warning either."""
    figure = ui.DoFigure(rows=20)
    figure.action.value, figure.value.value = "competence", 3.0
    figure.update(None)
    said = text_of(figure.note.value)
    assert "nobody seen" in said
    assert "0 of 20 employees" in said
    assert not figure.lines[1].y.any()


# -- lessons -----------------------------------------------------------------------------------


def test_a_strength_of_selection_is_measured_beside_theory():
    """Each strength adds one interval to those before; sentence and marker say the newest."""
    figure = ui.SelectionFigure(rows=500)
    seen = set()
    for figure.strength.value in (1.0, 0.0, 5.0, 2.25, 1.0):
        strength = figure.strength.value
        seen.add(strength)
        figure.update(None)
        slope = measured_slope(strength, 500, 2021)
        assert figure.points.x.tolist() == sorted(seen)
        at = sorted(seen).index(strength)
        assert figure.points.y[at] == slope.estimate == figure.now.y[0]
        assert figure.intervals.x.tolist() in ([strength] * 2, [[s, s] for s in sorted(seen)])
        assert figure.intervals.y.reshape(-1, 2)[at].tolist() == [slope.ci_low, slope.ci_high]
        assert figure.now.x.tolist() == [strength]
        said = text_of(figure.note.value)
        theory = float(spurious_slope(strength)) + 0.0
        for number in (theory, slope.estimate, slope.ci_low, slope.ci_high):
            assert f"{number:+.3f}" in said
    assert figure.theory.y == pytest.approx(spurious_slope(figure.theory.x))
    check_arrays()


@pytest.fixture
def clock(monkeypatch):
    """Give `PeekingFigure` a clock that goes when it is told to."""
    now = [100.0]
    monkeypatch.setattr(lessons.time, "monotonic", lambda: now[0])
    return now


def test_peeking_is_drawn_up_to_the_look_chosen():
    """Lines and sentence are those of `peek` up to the slider, at most 251 points each."""
    figure = ui.PeekingFigure(streams=100, rows=3000)
    seen = peek(100, 3000, 10, seed=2021)
    for figure.look.value in (300, 1, 2, 150, 299):
        looks = figure.look.value
        figure.update(None)
        for line, share in ((figure.fixed, seen.fixed), (figure.anytime, seen.anytime)):
            assert line.x[-1] == 10 * looks
            assert line.y[-1] == share[looks - 1]
            assert 2 <= len(line.x) <= 251
        said = text_of(figure.note.value)
        assert f"By row {10 * looks:,} " in said
        assert f"{seen.fixed[looks - 1]:.1%} of them" in said
        assert f"{seen.anytime[looks - 1]:.1%}; promised are 5% at most" in said
    check_arrays()


def test_peeking_can_be_watched(clock):
    """From the button on all looks go by in ten seconds, with the slider, until that is taken."""
    figure = ui.PeekingFigure(streams=10, rows=1000)
    assert figure.choice == 100
    figure.watch.click()
    for seconds, looks in ((0, 1), (5, 50), (4, 90), (100, 100)):
        clock[0] += seconds
        assert figure.choice == looks
        figure.update(None)
        assert figure.look.value == looks
        assert f"By row {10 * looks:,} " in text_of(figure.note.value)
    figure.look.value = 30
    assert figure.choice == 30, "it has come to its end"
    figure.watch.click()
    clock[0] += 5
    figure.update(None)
    figure.look.value = 49
    clock[0] += 1
    assert figure.choice == 49, "the reader has taken it"
    figure.watch.click()
    assert figure.choice == 1


# -- publishers without a trainer --------------------------------------------------------------


def playthings():
    return [
        ui.WorldFigure(), ui.DoFigure(rows=500), ui.SelectionFigure(rows=500),
        ui.PeekingFigure(streams=20, rows=500),
    ]  # fmt: skip


def test_without_a_trainer_a_view_is_shown_once_and_then_as_it_is_chosen():
    """While nothing is chosen nothing is sent; a choice is shown, and again nothing is sent."""
    world, doing, selection, peeking = views = playthings()
    publisher = ui.Publisher(None, views, frames_per_s=100)
    ui.Board(*([view] for view in views))

    def rest():
        """Wait for some ticks of the publisher in which nothing is sent."""
        before, ticks = -1, 0
        while ticks < 40:
            ticks = ticks + 1 if before == len(Comm.sent) else 0
            before = len(Comm.sent)
            threading.Event().wait(0.01)

    choices = [
        (lambda: setattr(world.world, "value", "chain"), lambda: "Chain" in world.truth.value or
         WORLDS["chain"].description in text_of(world.truth.value)),
        (lambda: setattr(doing.action, "value", "competence"),
         lambda: "competence +1.5" in doing.note.value),
        (lambda: setattr(selection.strength, "value", 2.0),
         lambda: "At strength 2.00" in selection.note.value),
        (lambda: setattr(peeking.look, "value", 7), lambda: "By row 70 " in peeking.note.value),
    ]  # fmt: skip
    wait_for(lambda: peeking.note.value and world.verdict.value)
    for choose, is_shown in choices:
        rest()
        Comm.sent.clear()
        rest()
        assert Comm.sent == []
        choose()
        wait_for(is_shown)
    assert publisher.errors == []


def test_a_watched_figure_moves_and_comes_to_rest(monkeypatch):
    """From the press of the button on there are frames; at the end of the watch the last one."""
    monkeypatch.setattr(lessons, "_WATCHED_S", 0.5)
    figure = ui.PeekingFigure(streams=20, rows=5000)
    ui.Publisher(None, [figure], frames_per_s=50)
    wait_for(lambda: "By row 5,000 " in figure.note.value)
    seen = set()

    def moves():
        seen.add(figure.note.value)
        return len(seen) >= 4 and "By row 5,000 " in figure.note.value

    figure.watch.click()
    wait_for(moves)


@pytest.mark.parametrize("number", range(4))
def test_a_publisher_takes_the_place_of_an_earlier_one_of_such_views(number):
    """A cell that runs again closes what it had opened, board and all, and nothing else."""
    others = [ui.Publisher(None, [view]) for i, view in enumerate(playthings()) if i != number]

    def run_cell():
        view = playthings()[number]
        publisher = ui.Publisher(None, [view], frames_per_s=50)
        return publisher, ui.Board([view])

    first, _ = run_cell()
    second, board = run_cell()
    assert not first._thread.is_alive()
    assert all(w.comm is None for w in tree(first.views[0].widget))
    assert first.frames.comm is None
    assert second._thread.is_alive()
    assert all(other._thread.is_alive() for other in others)
    assert board.comm is not None
    second.close()
    assert board.comm is None
    assert all(w.comm is None for w in tree(board))


def test_no_widget_of_any_view_is_left_when_it_is_closed(trainer):
    """Views, their marks and controls, the switch on their board: all are closed with them."""
    before = open_widgets()
    switch = ui.ColliderSwitch()
    figure, table = ui.CoefficientFigure(switch), ui.CoefficientTable(switch)
    cards, editor = ui.StoriesFigure(), ui.StoryEditor(trainer)
    live = ui.Publisher(trainer, [figure, table, cards, editor], frames_per_s=100)
    ui.Board([switch], [figure, table], [cards], [editor])
    views = playthings()
    still = ui.Publisher(None, views, frames_per_s=100)
    ui.Board(*([view] for view in views))
    trainer.run(5)
    wait_for(lambda: "50 rows" in cards.note.value and views[-1].note.value)
    live.close()
    still.close()
    assert open_widgets() == before
    assert not left_open()


def test_no_single_story_is_true_after_the_policy_has_changed():
    """Up to the change the drifting world has a true story, after it none; the verdict says so."""
    drift = WORLDS["drift"]
    assert true_story(drift, 50_000) == "competence - promoted"
    assert true_story(drift, 50_001) is None
    assert verdict("drift", learned("drift", 100_000)).startswith(
        "<b>Two policies, and no story of both"
    )
    before, after = (true_diagram(drift, rows) for rows in (50_000, 50_001))
    assert after.startswith(before), "the policy of before, and that of now beside it"
    assert (before.count("<svg"), after.count("<svg")) == (1, 2)
    assert text_of(before).startswith("until employee 50,000")
    assert text_of(after.removeprefix(before)).startswith("from employee 50,000")
    soon = learned("drift", 51_000)
    shares = {s.name: soon.metric("causal-stories", f"share of {s.name}") for s in stories()}
    assert max(shares, key=shares.__getitem__) == "network_ability -> promoted <- competence"
    assert 51_000 in [rows for _, rows in ui.WorldFigure().rows.options]


def test_a_hard_cut_makes_steeper_slopes():
    """As the lesson of world `threshold` says, beside `collider`, in either group."""
    hard, soft = (
        {c.model: c.estimate for c in learned(world, 5_000).coefficients if c.term == "competence"}
        for world in ("threshold", "collider")
    )
    for group in "01":
        formula = f"network_ability ~ competence | promoted={group}"
        assert hard[formula] < 1.5 * soft[formula] < 0


@pytest.mark.parametrize("scale", [(1.0, 1.0), (15.0, 1.0), (1.0, 0.01)])
def test_whether_a_slope_counts_as_none_is_no_matter_of_units(scale):
    """With competence or network ability in other units, findings and sentences stay the same."""
    for name in ("collider", "mentoring"):
        block = WORLDS[name].sample(20_000, 1)
        model = Regressions()
        columns = block.network_ability * scale[1], block.competence * scale[0], block.promoted
        model.learn(Batch.of(*columns))
        slopes = {c[:2]: c for c in model.coefficients()}
        numbers = {m.name: m.value for m in model.metrics() if m.model == NULL}
        small = negligible_slope(
            slopes[NULL, "competence"], int(numbers["rows"]), numbers["r_squared"]
        )
        assert small == pytest.approx(NEGLIGIBLE * scale[1] / scale[0], rel=0.05)
        found = finding(slopes[NULL, "competence"], small)
        assert found == {"collider": "zero", "mentoring": "positive"}[name]
        said = safe_to_stop(slopes[NULL, "competence"], math.nan, small)
        assert said.startswith("Safe to stop? Yes")


@pytest.mark.parametrize("scale", [0.001, 1.0, 1000.0])
def test_predictions_are_judged_alike_in_any_units(scale):
    """Competence in other units changes no verdict, also not on the slope on promoted."""
    block = WORLDS["drift"].sample(20_000, 1)
    model = Regressions()
    model.learn(Batch.of(block.network_ability, scale * block.competence, block.promoted))
    slopes = {c[:2]: c for c in model.coefficients()}
    numbers = {(m.model, m.name): m.value for m in model.metrics()}
    small = negligible_slopes(slopes, numbers)
    assert small.keys() == {"competence", "promoted"}
    predictions = {formula: "zero" for formula, _ in PREDICTABLE}
    found = [line[2] for line in score(predictions, slopes.values(), small)]
    assert found == ["zero", "undecided", "zero", "undecided", "undecided"]


def test_a_slope_on_one_side_of_zero_is_never_called_zero():
    """However small: what excludes zero at any time has a sign."""
    small = Coefficient("m", "competence", 0.02, av_low=0.01, av_high=0.03)
    assert finding(small) == "positive"
    assert finding(small._replace(av_low=-0.03, av_high=-0.01)) == "negative"
    assert finding(small._replace(av_low=-0.01)) == "zero"
