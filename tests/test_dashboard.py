"""Tests of the dashboard in Chromium, in JupyterLab and as a page by Voila."""

import re

import pytest

import axe
from launched import running_app, running_lab
from servers import ScriptedServer, employees
from tabs import (
    is_offered,
    is_still,
    listen,
    menu,
    opened,
    page_of,
    paths,
    play,
    press,
    rest,
    set_speed,
    show,
    slider,
    status,
    wait_for,
)

FIGURES = (
    "Who gets promoted?",
    "How well do we predict?",
    "Does competence move network ability?",
    "Which causal story survives?",
)
# The boxes that a reader sees, and the part of the window that shows them.
BOXES = """titles => {
  const box = e => (({left, top, right, bottom}) => [left, top, right, bottom])(
    e.getBoundingClientRect());
  const board = document.querySelector(".promo-dashboard");
  const of = title => [...board.querySelectorAll(".promo-title")]
    .find(e => e.textContent === title).closest(".promo");
  const frame = document.querySelector(".jp-WindowedPanel-outer") ?? document.documentElement;
  const boxes = [document.querySelector(".promo-choose"), board.querySelector(".promo-status"),
    ...[...board.querySelectorAll("button")].slice(0, 3), ...titles.map(of)].map(box);
  const held = ".promo-note, .promo-legend, .promo-line, .bqplot, :has(> .bqplot)";
  const clipped = [...board.querySelectorAll(held)]
    .filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1).map(e => e.outerHTML);
  const seen = box(frame);
  const plots = [...board.querySelectorAll(".bqplot")].map(e => e.clientWidth);
  return {boxes, clipped, plots, seen: [seen[0], Math.max(seen[1], 0), seen[2],
    Math.min(seen[3], window.innerHeight)]};
}"""


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with running_app(tmp_path_factory.mktemp("app")) as app:
        yield app


def visit(browser, url):
    """Open a page of Voila's; what it asks of others, and its complaints, go to lists."""
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    tab.set_default_timeout(40_000)
    tab.problems, tab.elsewhere = [], []
    listen(tab)
    tab.on("request", lambda request: tab.elsewhere.append(request.url))
    tab.goto(url)
    tab.locator(".promo-status").first.wait_for()
    return tab


def leave(tab):
    """Go elsewhere, as a reader does: the page says goodbye."""
    tab.goto("about:blank")
    tab.close()


@pytest.fixture(scope="module", params=["JupyterLab", "Voila"])
def board(request, browser, tmp_path_factory):
    """Show the dashboard in one of both, at 1280 by 800: in Lab's light theme, in Voila's dark."""
    if request.param == "Voila":
        with running_app(tmp_path_factory.mktemp("page"), "--theme", "dark") as page:
            tab = visit(browser, page.url)
            tab.show = lambda: None
            yield tab
            tab.close()
        return
    with running_lab(tmp_path_factory.mktemp("lab")) as lab:
        url = lab.url.replace("01-analysis", "04-dashboard")
        tab = opened(browser, lab, url, [])
        tab.set_viewport_size({"width": 1280, "height": 800})
        tab.keyboard.press("Control+b")  # the sidebar
        menu(tab, "Run", "runmenu:run-all")
        tab.locator(".promo-status").first.wait_for()
        tab.show = lambda: show(tab, ".promo-choose")
        tab.show()
        yield tab
        tab.close()


def overlaps(one, other):
    (a, b, c, d), (e, f, g, h) = one, other
    return min(c, g) - max(a, e) > 1 and min(d, h) - max(b, f) > 1


@pytest.mark.browser
def test_controls_and_four_figures_are_in_sight(board, shots):
    """At 1280 by 800 nothing needs scrolling; from 1024 on nothing overlaps or is clipped."""
    play(board)
    wait_for(lambda: page_of(board) > 20)
    rest(board)
    for width, height in ((1024, 768), (1920, 1080), (1280, 800)):
        board.set_viewport_size({"width": width, "height": height})
        board.show()

        def drawn_anew():
            found = board.evaluate(BOXES, FIGURES)
            (left, _, right, _), boxes = found["seen"], found["boxes"]
            inside = all(left <= box[0] and box[2] <= right for box in boxes)
            return found if inside and not found["clipped"] else None

        found = wait_for(drawn_anew)
        board.screenshot(path=shots / f"dashboard-{board.url[:21][-5:]}-{width}.png")
        assert min(found["plots"]) > 270
        boxes, (_, top, _, bottom) = found["boxes"], found["seen"]
        assert [
            one for i, one in enumerate(boxes) if any(overlaps(one, o) for o in boxes[:i])
        ] == []
        if (width, height) == (1280, 800):
            assert [box for box in boxes if box[1] < top - 1 or box[3] > bottom + 1] == []


CUT_OFF = """() => [...document.querySelectorAll(".promo .widget-html")]
  .filter(each => each.scrollWidth > each.clientWidth)
  .map(each => [each.scrollWidth, each.clientWidth, each.innerText.slice(0, 60)])"""


@pytest.mark.browser
def test_there_is_room_beside_the_list_of_files(board):
    """At 1280, for all controls in a row, a track to drag, all of a table; and one scroll bar."""

    def box(locator):
        return locator.first.bounding_box()

    board.keyboard.press("Control+b")  # the list of files; nothing in Voila
    try:
        board.show()
        play, over = (box(board.get_by_role("button", name=n)) for n in ("Play", "Start over"))
        assert abs(play["y"] - over["y"]) < 5
        assert box(slider(board, "Learning rate").locator(".noUi-base"))["width"] > 50
        wait_for(lambda: board.evaluate(CUT_OFF) == [])
        assert board.evaluate("document.documentElement.scrollHeight - innerHeight") <= 0
    finally:
        board.keyboard.press("Control+b")


@pytest.mark.browser
def test_nothing_is_seriously_wrong_for_anybody(board):
    """By axe-core no view has a serious or critical fault; a key scrolls what does not fit."""
    if status(board).startswith("idle"):  # nothing has happened yet
        play(board)
        rest(board)
    rate = slider(board, "Learning rate").locator(".noUi-handle")
    events, press_on = board.get_by_role("group", name="Events"), lambda: rate.press("ArrowRight")
    large = "e => e.tabIndex === 0 && e.scrollHeight > e.clientHeight"
    wait_for(lambda: press_on() or events.evaluate(large))
    events.press("End")
    wait_for(lambda: events.evaluate("e => e.scrollTop > 0"))
    assert axe.found_in(board) == []
    board.show()


@pytest.mark.browser
def test_it_plays_and_nothing_moves(board):
    """Numbers, paths and shares change while it plays; no title, plot, button or sentence moves."""
    places = """() => [...document.querySelectorAll(
      ".promo-dashboard :is(button, .promo-title, .bqplot, .promo-note, .promo-card, select)")]
      .slice(0, 60).map(e => (({x, y, width}) => [x, y, width])(e.getBoundingClientRect()))"""
    play(board, 200)
    wait_for(lambda: page_of(board) > 60)
    before, drawn, page = board.evaluate(places), paths(board), page_of(board)
    for _ in range(20):
        board.wait_for_timeout(100)
        assert board.evaluate(places) == before
    wait_for(lambda: sum(a != b for a, b in zip(drawn, paths(board), strict=True)) >= 5)
    assert page_of(board) > page + 20
    timing = board.locator(".promo-timing")
    wait_for(lambda: re.search(r"fetch .* learn .* commit .* draw \d", timing.inner_text()))
    rest(board)
    said = [n.strip() for n in board.locator(".promo-dashboard .promo-note").all_inner_texts()]
    assert len([s for s in said if re.search(r"\d", s)]) >= 4
    assert board.problems == []


def held(board):
    """Return DOM nodes, event listeners and bytes of JavaScript heap that cannot be collected.

    The least of several looks, as a frame that is just being drawn adds a tenth.
    """
    session, looks = board.context.new_cdp_session(board), []
    session.send("Performance.enable")
    for _ in range(6):
        session.send("HeapProfiler.collectGarbage")
        told = session.send("Performance.getMetrics")["metrics"]
        found = {metric["name"]: metric["value"] for metric in told}
        looks.append([found[name] for name in ("Nodes", "JSEventListeners", "JSHeapUsedSize")])
        board.wait_for_timeout(200)
    session.detach()
    return [min(numbers) for numbers in zip(*looks, strict=True)]


@pytest.mark.browser
def test_left_open_it_holds_on_to_nothing(board):
    """Frame after frame: nodes, listeners and heap stay within a twentieth of what they were.

    An hour of it is `python -m benchmarks.left_open`, whose figures are in docs/reliability.md.
    """
    play(board)
    page = page_of(board)
    wait_for(lambda: page_of(board) > page + 250)  # figures have their number of points by then
    looks = [held(board)]
    for stretch in range(1, 5):  # what a busy machine draws late is new once, a leak every time
        wait_for(lambda: page_of(board) > page + 250 + 350 * stretch)  # noqa: B023
        looks.append(held(board))
        if all(b <= 1.05 * a for a, b in zip(*looks[-2:], strict=True)):
            break
    else:
        raise AssertionError(looks)
    rest(board)


@pytest.mark.browser
def test_another_stream_is_chosen(board):
    """A faulty address has its verdict; a world of 300 rows is opened, and plays to its end."""
    fold = board.get_by_role("button", name="Choose …")
    wait_for(lambda: is_still(fold))  # or else a press may miss it on a busy machine
    fold.click()
    form = board.locator(".promo-form")
    field = lambda name: form.get_by_label(name, exact=True)  # noqa: E731
    field("Source").select_option(label="another address")
    address = field("Address")
    with ScriptedServer(employees(25), always=lambda x: x.send(b"", 404)) as server:
        address.fill(server.url)
        address.press("Enter")
        wait_for(lambda: "Reachable" in form.inner_text() or "404" in form.inner_text())
    field("Source").select_option(label="a made-up world")
    field("World").select_option(label="chain")
    rows = field("Rows")
    rows.fill("300")
    rows.press("Enter")
    field("Store").select_option(label="a new one")
    press(board, "Open")
    wait_for(lambda: "world:chain?rows=300" in board.locator(".promo-choose").inner_text())
    # The board before offers Play, too, until its place is taken.
    wait_for(lambda: status(board).startswith("idle · page 0 of 30 ") and is_offered(board, "Play"))
    press(board, "Play")
    wait_for(lambda: status(board).startswith("finished · page 30 of 30 · 300 rows"))
    assert board.problems == []


# -- as a page ---------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_page_asks_for_its_token_and_nothing_elsewhere(app, browser):
    """Without the token there is a question for it, and no kernel; with it, all comes from here."""
    tab = browser.new_page()
    before = len(app.kernels())
    tab.goto(app.url.split("?")[0])
    assert tab.locator("#password_input").count() == 1
    assert len(app.kernels()) == before
    leave(tab)
    tab = visit(browser, f"{app.url}&theme=dark")
    here = app.url.split("?")[0]
    assert [url for url in tab.elsewhere if not url.startswith((here, "data:", "blob:"))] == []
    assert tab.locator("body").get_attribute("data-jp-theme-light") == "false"
    leave(tab)


@pytest.mark.browser
def test_two_visitors(app, browser, shots):
    """The second sees the first one's stream grow, may open their own; who leaves ends a kernel."""
    wait_for(lambda: app.kernels() == [])
    first = visit(browser, app.url)
    second = visit(browser, app.url)
    wait_for(lambda: status(second).startswith("watching"))
    assert "read only" in second.locator(".promo-choose").inner_text()
    page = page_of(second)
    play(first, 50)
    wait_for(lambda: page_of(second) > page + 20)
    second.screenshot(path=shots / "dashboard-second.png")
    press(second, "Open a store of my own")
    wait_for(lambda: status(second).startswith("idle · page 0"))
    set_speed(second, 50)
    press(second, "Play")
    wait_for(lambda: page_of(second) > 5)
    one, other = app.kernels()
    leave(first)
    wait_for(lambda: sum(kernel.is_running() for kernel in (one, other)) == 1)
    wait_for(lambda: page_of(second) > 10)
    assert second.problems == []
    leave(second)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("end", ["the kernel", "the server"])
def test_a_page_whose_kernel_is_gone_says_so(browser, tmp_path, shots, end):
    """A status line that went on saying "running" would be believed."""
    with running_app(tmp_path) as app:
        tab = visit(browser, app.url)
        play(tab)
        wait_for(lambda: page_of(tab) > 3)
        assert not tab.locator("body.promo-lost").count()
        if end == "the kernel":
            [kernel] = app.kernels()
            kernel.kill()
        else:
            app.process.kill()
        tab.locator("body.promo-lost").wait_for()
        told = tab.locator(".promo-status").first
        assert "lost its kernel" in told.evaluate("e => getComputedStyle(e, '::after').content")
        assert any(
            "lost its kernel" in said for said in tab.locator(".promo-said").all_inner_texts()
        )
        assert told.locator("b").first.is_hidden()
        tab.screenshot(path=shots / f"lost-{end.split()[1]}.png")
        leave(tab)
