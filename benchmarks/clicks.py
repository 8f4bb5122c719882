"""From a click to its effect on the dashboard, its frames, and what they weigh on their way.

The page is `04-dashboard.ipynb` in JupyterLab in a real Chromium, on the same cores as kernel and
server, with the stream flat out. Effects are taken from the page itself, by what it says, in
milliseconds from the click, by a clock that is looked at in every animation frame.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, ViewportSize

from benchmarks.browser import HIDE, SHOW, Lab, Visit, left_alone, run_all, running_lab
from benchmarks.measure import ROOT, Figures, Result, at_least
from promo.embedded import EmbeddedAPI
from tools import chromium

_FRAMES_S, _TURNS = 5.0, 24  # short and many: a shared machine has another pace every minute
_WINDOW: ViewportSize = {"width": 1280, "height": 800}
_ROWS = 2_000_000  # of the API: no turn comes to their end

# Act, and wait, in the page, until it says what is wanted; give the milliseconds.
_WAIT = """
  const status = () => document.querySelector(".promo-status").innerText;
  const page = () => +/page ([\\d,]+)/.exec(status())[1].replaceAll(",", "");
  const until = (there) => new Promise(done => {
    const began = performance.now();
    const look = () => there() ? done(performance.now() - began) : requestAnimationFrame(look);
    act();
    look();
  });
"""
_CLICK = f"""([text, wanted]) => {{
  {_WAIT}
  const before = page();
  const button = [...document.querySelectorAll(".promo button")]
    .find(each => each.innerText.trim() === text);
  const act = () => button.click();
  return until(() => wanted === "more" ? page() > before : status().startsWith(wanted));
}}"""
# The slider is moved by a key, as by those who have no mouse; the list of events tells the rate.
_PRESS = f"""(key) => {{
  {_WAIT}
  const events = () => document.querySelector(".promo-list")?.innerText;
  const before = events(), handle = document.activeElement;
  const act = () => handle.dispatchEvent(new KeyboardEvent("keydown", {{key, bubbles: true}}));
  return until(() => events() !== before);
}}"""
_COUNTED = """() => {
  if (!window.promoFrames) {
    window.promoFrames = {count: 0};
    new MutationObserver(() => window.promoFrames.count++).observe(
      document.querySelector(".promo-status").parentElement, {childList: true});
  }
  return [window.promoFrames.count, performance.now()];
}"""


def measure(times: int) -> list[Result]:
    """Return what clicks take, each tried so many times, and frames; nothing without a browser."""
    path = chromium.find()
    if path is None:
        return []
    notebook = ROOT / "notebooks" / "04-dashboard.ipynb"
    with (
        TemporaryDirectory() as folder,
        EmbeddedAPI(data=f"{folder}/world.db", rows=_ROWS, port=0) as api,
        running_lab(Path(folder), api.url, notebook) as lab,
        chromium.launched(path) as browser,
    ):
        page = browser.new_page(viewport=_WINDOW)
        painted = [_first_paint(page, lab.url) for _ in range(3)]
        page.locator(".promo-status").scroll_into_view_if_needed()
        clicks = _clicks(page, times)
        page.close()
        kilobytes = _weigh(browser, lab.url)
    with (
        TemporaryDirectory() as folder,
        EmbeddedAPI(data=f"{folder}/world.db", rows=_ROWS, port=0) as api,
        running_lab(Path(folder), api.url, notebook) as lab,
        left_alone(path, Path(folder) / "browser", "1280,800") as visit,
    ):
        frames = _frames(lab, visit)
    return [
        _within(4, "seconds from Run All to the dashboard with its four figures", painted, ".2f"),
        *frames,
        _within(100, "kB of a frame on its way to the browser", kilobytes),
        *(_within(bar, f"ms from click to effect: {what}", clicks[what]) for what, bar in _BARS),
    ]


_BARS = (("Play to a new page", 500), ("Pause", 250), ("Stop", 250), ("a learning rate", 300))


def _within(bar: float, what: str, values: list[float], form: str = ".0f") -> Result:
    """Return the line of what may not once take longer."""
    words = f"Worst of {len(values)}; median {statistics.median(values):{form}}."
    return Result(what, f"≤ {bar:,}", f"{max(values):{form}}", max(values) <= bar, words)


def _first_paint(page: Page, url: str) -> float:
    """Open the notebook, run its cells; return the seconds until all figures are there."""
    page.goto(url)
    page.locator(".jp-StatusBar-TextItem", has_text="(ipykernel) | Idle").wait_for(timeout=60_000)
    page.wait_for_timeout(2000)  # for a notebook's usual life before somebody reads and clicks
    began = time.perf_counter()
    run_all(page)
    page.locator(".promo-dashboard .bqplot .axis").nth(5).wait_for(timeout=60_000)
    return time.perf_counter() - began


def _weigh(browser: Browser, url: str) -> list[float]:
    """Play flat out for some turns; return the kilobytes that come to the page for each frame.

    In a page of its own, since whoever listens to each message takes processors, too.
    """
    page, weighed = browser.new_page(viewport=_WINDOW), list[int]()
    page.on("websocket", lambda s: s.on("framereceived", lambda data: weighed.append(len(data))))
    _first_paint(page, url)
    _play(page)
    kilobytes = []
    for _ in range(_TURNS):
        weighed.clear()
        count = page.evaluate(_COUNTED)[0]
        page.wait_for_timeout(2000)
        kilobytes.append(sum(weighed) / 1000 / (page.evaluate(_COUNTED)[0] - count))
    _pause(page)
    page.close()
    return kilobytes


def _play(page: Page) -> None:
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_timeout(3000)


def _pause(page: Page) -> None:
    page.get_by_role("button", name="Pause", exact=True).click()
    page.locator(".promo-status b.paused").wait_for()


def _frames(lab: Lab, visit: Visit) -> list[Result]:
    """Play flat out, in sight of the browser and without; return frames and pace."""
    where = "print(json.dumps([choose.trainer.snapshot.rows, time.perf_counter()]))"
    per_s, paces = [], []

    def pace() -> float:
        first, began = ask(f"import json, time\n{where}")
        time.sleep(_FRAMES_S)
        last, ended = ask(where)
        return float((last - first) / 10 / (ended - began))

    def in_sight() -> float:
        with visit() as page:
            page.evaluate(SHOW)
        time.sleep(1)
        with visit() as page:
            count, began = page.evaluate(_COUNTED)
        seen = pace()
        with visit() as page:
            more, ended = page.evaluate(_COUNTED)
        per_s.append(1000 * (more - count) / (ended - began))
        return seen

    def hidden() -> float:
        with visit() as page:
            page.evaluate(HIDE)
        time.sleep(1)
        return pace()

    with visit() as page:
        _first_paint(page, lab.url)
        page.locator(".promo-status").scroll_into_view_if_needed()
    with lab.client() as ask:
        with visit() as page:
            _play(page)
        for turn in range(_TURNS):
            both = (hidden, in_sight) if turn % 2 else (in_sight, hidden)
            reached = {each: each() for each in both}
            paces.append(reached[in_sight] / reached[hidden])
    return [
        at_least(10, "frames/s of the dashboard, flat out", Figures(tuple(per_s)), ".1f"),
        at_least(
            0.9,
            "pages/s with the dashboard in sight of Chromium / hidden from it",
            Figures(tuple(paces)),
            ".2f",
        ),
    ]


def _clicks(page: Page, times: int) -> dict[str, list[float]]:
    """Return the milliseconds of each kind of click."""
    found: dict[str, list[float]] = {what: [] for what, _ in _BARS}

    def click(text: str, wanted: str) -> float:
        page.get_by_role("button", name=text, exact=True).wait_for()
        return float(page.evaluate(_CLICK, [text, wanted]))

    for _ in range(times):
        found["Play to a new page"].append(click("Play", "more"))
        page.wait_for_timeout(300)
        found["Pause"].append(click("Pause", "paused"))
        click("Play", "more")
        page.wait_for_timeout(300)
        found["Stop"].append(click("Stop", "stopped"))
    click("Play", "more")
    speed = page.locator(".widget-slider:has(label:text-is('Speed'))")
    while "10 pages/s" not in speed.inner_text().split("\n"):
        speed.locator(".noUi-handle").press("ArrowLeft")
    rate = page.locator(".widget-slider:has(label:text-is('Learning rate')) .noUi-handle").first
    page.wait_for_timeout(2000)
    for turn in range(times):
        rate.focus()
        key = "ArrowLeft" if turn % 2 else "ArrowRight"
        found["a learning rate"].append(float(page.evaluate(_PRESS, key)))
        page.wait_for_timeout(300)
    return found


if __name__ == "__main__":
    print(json.dumps([result.__dict__ for result in measure(5)], indent=1))
