"""What tests in a browser do on a page of JupyterLab's or Voila's, and what they look for."""

import re
from functools import partial

import nbformat

import clocks

DEADLINE_S = 90  # what is right takes a second or two, on a busy machine ten, in a bad hour more
FIGURE = ".promo .bqplot .svg-figure"
LINES = f"{FIGURE} path.line"
wait_for = partial(clocks.wait_for, deadline_s=DEADLINE_S, every_s=0.02)


# Said where it took two seconds, as on a busy machine; it is done all the same.
_LATE = "[anywidget] Failed to initialize model."


def listen(tab):
    """Write down what the page complains of, in `problems`."""

    def note(error):
        if _LATE not in str(error):
            tab.problems.append(f"page error: {error}")

    tab.on("pageerror", note)
    tab.on("console", lambda message: tab.problems.extend(complaint(message)))


def opened(browser, lab, url, problems):
    """Open an address of Lab in a new page, whose complaints go to a list; wait for its kernel."""
    tab = browser.new_page(viewport={"width": 1400, "height": 1000})
    tab.set_default_timeout(1000 * DEADLINE_S)
    tab.problems = problems
    listen(tab)
    tab.goto(url)
    ready(tab, lab)
    return tab


def complaint(message):
    """Return an error in the console as a list of one; none is let pass, Lab itself makes none."""
    if message.type != "error":
        return []
    return [f"{message.text} ({message.location.get('url', '')})"]


def ready(tab, lab):
    """Wait until the kernel is there and idle: what Run All asks of it earlier is lost."""
    tab.locator(".jp-StatusBar-TextItem", has_text="Python 3 (ipykernel) | Idle").wait_for()
    wait_for(lambda: [k for k in lab.ask("/api/kernels", lab.token)[1]
                      if k["connections"] and k["execution_state"] == "idle"])  # fmt: skip


def reload(tab, lab):
    """Reload the page, again where Lab missed the moment, and wait for its kernel.

    An output looks for its widget for two seconds, every 0.1 s, but not once more at their end:
    widgets restored within the last of these tenths are "not found", although they are there.
    So it is where the kernel takes that long to answer; a reader would reload, too.
    """
    for _ in range(10):
        tab.reload()
        ready(tab, lab)
        tab.locator(".jp-OutputArea-output").first.wait_for(state="attached")
        wait_for(lambda: not tab.get_by_text("Loading widget...").count())
        missed = [each for each in tab.problems if "widget model not found" in each]
        if not missed:
            return
        tab.problems[:] = [each for each in tab.problems if each not in missed]
    raise AssertionError(f"missed ten times: {missed}")


def menu(tab, name, command):
    tab.get_by_role("menuitem", name=name, exact=True).click()
    tab.locator(f".lm-Menu-item[data-command='{command}']").first.click()


def show(tab, selector=".promo-status"):
    """Scroll until the cell is there, for Lab draws what is in sight only; bring it on top."""
    panel = tab.locator(".jp-WindowedPanel-outer").first

    def scroll():
        panel.evaluate(
            "e => e.scrollTop + e.clientHeight > e.scrollHeight - 2 ? e.scrollTop = 0 "
            ": e.scrollTop += 400"
        )
        tab.wait_for_timeout(50)

    def stays():
        """Tell whether it is there for a while: a page just loaded scrolls back to the top."""
        for _ in range(10):
            if not tab.locator(selector).first.is_visible():
                return False
            tab.locator(selector).first.evaluate("e => e.scrollIntoView()")
            tab.wait_for_timeout(50)
        return True

    wait_for(lambda: stays() or scroll())


def wait_until_run(tab, lab, notebook):
    """Wait for the last cell, or for an error; then save once and look at every cell."""
    prompts = tab.locator(".jp-CodeCell .jp-InputArea-prompt")
    error = tab.locator("[data-mime-type='application/vnd.jupyter.error']")
    wait_for(
        lambda: re.match(r"\[\d+\]", prompts.last.text_content()) or error.count(), deadline_s=120
    )
    before = notebook.stat().st_mtime_ns
    menu(tab, "File", "docmanager:save")
    wait_for(lambda: notebook.stat().st_mtime_ns != before)
    ready(tab, lab)
    cells = wait_for(lambda: cells_of(notebook))
    assert [output for cell in cells for output in cell.outputs if "ename" in output] == []
    assert [cell.source for cell in cells if not cell.execution_count] == []


def cells_of(path):
    """Return a notebook's code cells, or nothing while it is being written."""
    try:
        return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    except nbformat.reader.NotJSONError:
        return []


def run_all(tab, lab, command, accept=False, notebook=None):
    """Run all cells; wait until each has run without an error; bring the board in sight."""
    menu(tab, "Run", command)
    if accept:
        tab.locator(".jp-Dialog .jp-mod-accept").click()
    wait_until_run(tab, lab, notebook or lab.notebook)
    show(tab)


def status(tab):
    return tab.locator(".promo-status").first.inner_text()


def page_of(tab):
    return int(re.search(r"page ([\d,]+)", status(tab))[1].replace(",", ""))


def is_still(view):
    """Tell whether it is where it was a fifth of a second ago."""
    before = view.bounding_box()
    view.page.wait_for_timeout(200)
    return view.bounding_box() == before


def press(tab, text):
    tab.get_by_role("button", name=text, exact=True).click()


def strokes(place):
    """Count the dots and the strokes of crosses that are drawn of people, but for the first two."""
    paths = place.locator(".promo-points path.line").evaluate_all(
        "lines => lines.map(line => line.getAttribute('d') ?? 'M')"
    )
    return sum(path.count("M") - 1 for path in paths)


def is_offered(tab, text):
    return tab.get_by_role("button", name=text, exact=True).is_enabled()


def play(tab, pages_per_s=50):
    """Play at a speed that leaves time to look; wait until it runs."""
    set_speed(tab, pages_per_s)
    press(tab, "Play")
    tab.get_by_role("button", name="Pause", exact=True).wait_for()


def rest(tab, word="paused"):
    """Pause or stop; return the page number."""
    press(tab, {"paused": "Pause", "stopped": "Stop"}[word])
    wait_for(lambda: status(tab).startswith(word))
    return page_of(tab)


def slider(tab, text):
    return tab.locator(f".widget-slider:has(label:text-is('{text}'))")


def set_speed(tab, pages_per_s):
    """Move the Speed slider by the keyboard."""
    speed, wanted = slider(tab, "Speed"), f"{pages_per_s} pages/s"
    handle = speed.locator(".noUi-handle")
    readout = speed.locator(".widget-readout")
    for _ in range(20):
        if (said := readout.inner_text()) == wanted:
            return
        faster = said != "no limit" and int(said.split()[0]) < pages_per_s
        handle.press("ArrowRight" if faster else "ArrowLeft")
        wait_for(lambda: readout.inner_text() != said)  # waited for here
    raise AssertionError(readout.inner_text())


def paths(tab):
    return tab.eval_on_selector_all(LINES, "all => all.map(e => e.getAttribute('d'))")


def set_theme(tab, theme):
    """Choose a theme in the menu, unless it is on."""
    body = f'body[data-jp-theme-light="{str(theme == "light").lower()}"]'
    if not tab.locator(body).count():
        tab.get_by_role("menuitem", name="Settings", exact=True).click()
        tab.locator(".lm-Menu-item:has-text('Theme')").first.hover()
        name = f"JupyterLab {theme.title()}"
        tab.get_by_role("menuitem", name=name, exact=True).click()
        tab.wait_for_selector(body, state="attached")


def settled(tab):
    """Wait until the layout stays the same, figures as wide as their views included."""
    boxes = (
        "() => [...document.querySelectorAll('.promo, .promo .plotarea_background')].map("
        "e => JSON.stringify(e.getBoundingClientRect())).join()"
    )
    seen = []

    def same():
        tab.wait_for_timeout(50)
        seen.append(tab.evaluate(boxes))
        return seen[-8:] == 8 * seen[-1:]

    wait_for(same)


# What sticks out of its view or figure to the left or right, or is cut off by a scroll bar.
CLIPPED = """(views) => {
  const found = [];
  const out = (e, box) => {
    const inner = e.getBoundingClientRect(), outer = box.getBoundingClientRect();
    return inner.width && (inner.left < outer.left - 1 || inner.right > outer.right + 1);
  };
  for (const view of views ?? document.querySelectorAll('.promo')) {
    for (const e of view.querySelectorAll('.promo-title, .promo-legend, .promo-note, table, button,'
        + ' .widget-slider, .bqplot'))
      if (out(e, view)) found.push(e.className + ': ' + e.textContent.slice(0, 60));
    for (const e of view.querySelectorAll('.widget-html, .widget-html-content,'
        + ' .widget-label, .widget-readout'))
      if (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX != 'visible')
        found.push('scrolls: ' + e.textContent.slice(0, 60));
    for (const e of view.querySelectorAll('svg .axis text, svg text.axislabel'))
      if (e.textContent && out(e, e.closest('svg'))) found.push('axis: ' + e.textContent);
  }
  return found;
}"""
