"""Tests of going back in time and of forking in JupyterLab in Chromium: a hand on the slider."""

import re

import pytest

from launched import running_lab, write_notebook
from tabs import (
    CLIPPED,
    LINES,
    is_still,
    opened,
    page_of,
    play,
    rest,
    run_all,
    set_theme,
    settled,
    show,
    status,
    wait_for,
)

CELL = """
from promo import PageStream, Store, Trainer, data_dir, ui
from promo.embedded import api_from_environment
from promo.models.default import default_models

ui.close_all()
api = api_from_environment()
stream = PageStream(api.url, source=api.source)
models, settings = default_models(["sgd-logistic", "renewable-logistic"], stream.source)
path = data_dir() / "travel.db"
store = Store(path, source=stream.source, page_size=stream.page_size, settings=settings)
trainer = Trainer(stream, store, models)
trainer.run(200)
travel = ui.TimeTravel(trainer)
fork, controls, switch = ui.Fork(travel), ui.Controls(trainer, travel=travel), ui.ColliderSwitch()
figures = [ui.LossFigure(beside=fork), ui.CoefficientFigure(switch, beside=fork)]
asked = [ui.SurfaceFigure(travel), ui.WhatIfCard(travel)]
table = ui.CoefficientTable(switch)
publisher = ui.Publisher(trainer, [controls, travel, fork, *figures, table, *asked])
ui.Board([controls], [travel, fork], figures, [switch], asked, [table])
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with running_lab(tmp_path_factory.mktemp("lab")) as lab:
        lab.notebook = lab.notebook.with_name("travel.ipynb")
        write_notebook(lab.notebook, CELL)
        lab.url = lab.url.replace("01-analysis.ipynb", "travel.ipynb")
        yield lab


@pytest.fixture(scope="module")
def board(lab, browser):
    tab = opened(browser, lab, lab.url, problems := [])
    run_all(tab, lab, "runmenu:run-all")
    yield tab
    assert problems == []


def handle(board):
    return board.get_by_role("slider", name="Page", exact=True)


def drag_to(board, share):
    """Drag the slider's handle from its right end; return the page, once that is shown."""
    box = handle(board).bounding_box()
    y = box["y"] + box["height"] / 2
    board.mouse.move(box["x"] + box["width"] - 8, y)
    board.mouse.down()
    for part in (0.9, 0.7, (share + 0.7) / 2, share):
        board.mouse.move(box["x"] + part * box["width"], y)
    board.mouse.up()
    page = int(handle(board).input_value())
    wait_for(lambda: page_shown(board) == page)
    return page


def numbers(board):
    """Return what is drawn and told: paths, sentences, tables."""
    told = board.locator(".promo-note, .promo td, .promo th").all_inner_texts()
    return board.locator(LINES).evaluate_all("all => all.map(e => e.getAttribute('d'))"), told


def resting(board):
    """Return the numbers once they have stayed the same: what the models are asked comes later."""
    seen = []

    def same():
        board.wait_for_timeout(100)
        seen.append(numbers(board))
        return seen[-8:] == 8 * seen[-1:]

    wait_for(same)
    return seen[-1]


def page_shown(board):
    found = re.search(r"the figures show page ([\d,]+) \(counted from 0\)", status(board))
    return found and int(found[1].replace(",", ""))


@pytest.mark.browser
def test_a_hand_goes_back_while_the_stream_runs(board, shots):
    """Figures and tables turn to the page and stay there, the status counts on; Live returns."""
    play(board, 20)
    page = drag_to(board, 0.4)
    assert 60 < page < 110
    before, at = resting(board), page_of(board)
    wait_for(lambda: page_of(board) > at + 10)
    assert status(board).startswith("running")
    assert numbers(board) == before
    assert f"{10 * page + 10:,} rows" in " ".join(before[1])
    assert int(handle(board).input_value()) == page
    board.screenshot(path=shots / "travel-past.png")
    board.get_by_role("button", name="Live", exact=True).click()
    wait_for(lambda: page_shown(board) is None and numbers(board) != before)
    after = numbers(board)
    wait_for(lambda: numbers(board)[0] != after[0])  # they move again
    rest(board)


@pytest.mark.browser
def test_by_the_keyboard_and_by_play(board):
    """Arrow keys are a page each, the end is live; Play walks from there to the end."""
    handle(board).focus()
    board.keyboard.press("Home")
    wait_for(lambda: page_shown(board) == 0)
    board.keyboard.press("ArrowRight")
    wait_for(lambda: page_shown(board) == 1)
    assert handle(board).get_attribute("aria-valuetext") == "page 1"
    board.keyboard.press("End")
    wait_for(lambda: page_shown(board) is None)
    assert handle(board).get_attribute("aria-valuetext") == "live"
    for _ in range(12):
        board.keyboard.press("ArrowLeft")
    wait_for(lambda: page_shown(board) == page_of(board) - 13)
    plays = board.locator(".jupyter-widgets.widget-play button").first
    wait_for(lambda: is_still(plays))  # or else a press may miss it on a busy machine
    plays.click()
    wait_for(lambda: page_shown(board) is None)
    wait_for(lambda: handle(board).get_attribute("aria-valuetext") == "live")
    board.keyboard.press("Shift+Tab")  # from Play to the slider
    board.keyboard.press("Home")
    live = board.get_by_role("button", name="Live", exact=True)
    wait_for(live.is_enabled)
    live.focus()
    board.keyboard.press("Enter")
    wait_for(live.is_disabled)
    wait_for(lambda: handle(board).evaluate("e => e === document.activeElement"))


@pytest.mark.browser
def test_nothing_plays_on_under_the_hand(board):
    """While the handle is held, Play of the past rests; let go, it goes on from there."""
    handle(board).focus()
    board.keyboard.press("Home")
    wait_for(lambda: page_shown(board) == 0)
    board.locator(".jupyter-widgets.widget-play button").first.click()
    wait_for(lambda: page_shown(board) > 0)
    box = handle(board).bounding_box()
    y = box["y"] + box["height"] / 2
    board.mouse.move(box["x"] + 8, y)
    board.mouse.down()
    board.mouse.move(box["x"] + 0.3 * box["width"], y)
    page = int(handle(board).input_value())
    wait_for(lambda: page_shown(board) == page)
    board.wait_for_timeout(800)  # of three frames
    assert (page_shown(board), int(handle(board).input_value())) == (page, page)
    board.mouse.up()
    wait_for(lambda: page_shown(board) is None or page_shown(board) > page)
    wait_for(lambda: page_shown(board) is None)


@pytest.mark.browser
def test_fork_and_play_on(board, lab, shots):
    """From a page of the past a second run goes on at another rate, dashed beside the first."""
    page = drag_to(board, 0.5)
    board.get_by_role("button", name="Fork", exact=True).click()
    second = board.locator(".promo-status").nth(1)
    wait_for(lambda: second.count() and second.inner_text().startswith(f"idle · page {page + 1:,}"))
    controls = board.locator(".promo:has(> .widget-html .promo-status)").nth(1)
    rate = controls.locator(".widget-slider:has(label:text-is('Learning rate')) .noUi-handle")
    for _ in range(30):
        rate.press("ArrowRight")
    controls.get_by_role("button", name="Play", exact=True).click()
    wait_for(lambda: int(re.search(r"page ([\d,]+)", second.inner_text())[1].replace(",", ""))
             > page + 300)  # fmt: skip
    controls.get_by_role("button", name="Pause", exact=True).click()
    wait_for(lambda: second.inner_text().startswith("paused"))
    board.get_by_role("button", name="Live", exact=True).click()
    wait_for(lambda: page_shown(board) is None)
    labels = board.locator(".promo .bqplot text", has_text=re.compile("^fork(, with(out)?)?$"))
    wait_for(lambda: labels.count() == 3)  # of the loss, and of two slopes
    wait_for(lambda: "Beside it, fork:" in " ".join(board.locator(".promo-note").all_inner_texts()))
    board.screenshot(path=shots / "travel-fork.png")
    name = f"travel-fork-{page}"
    assert lab.query("SELECT page FROM event WHERE kind = 'forked'", name) == [(page + 1,)]
    assert lab.query("SELECT count(*) FROM event WHERE kind = 'learning_rate'", name)[0][0] > 0


@pytest.mark.browser
@pytest.mark.parametrize(("theme", "width"), [("dark", 1024), ("light", 860)])
def test_nothing_of_the_past_and_the_fork_is_clipped(board, shots, theme, width):
    """Slider, buttons and the fork's controls stay inside their columns; each has a picture."""
    set_theme(board, theme)
    board.set_viewport_size({"width": width, "height": 900})
    show(board)
    settled(board)
    drag_to(board, 0.6)
    board.screenshot(path=shots / f"travel-{theme}-{width}.png")
    shown = board.locator(".promo:has(.promo-pages), .promo:has(> .promo-second)")
    assert shown.evaluate_all(CLIPPED) == []
