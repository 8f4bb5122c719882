"""The dashboard in JupyterLab in a real Chromium, on the same cores as kernel and server.

Each turn opens the notebook anew, presses Play, and plays three times more: with the dashboard in
sight, with the browser gone elsewhere while the dashboard stays open in the kernel, and with it
closed - every other turn closed first.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from jupyter_client import BlockingKernelClient
from playwright.sync_api import Page, sync_playwright

from benchmarks.measure import ROOT, Figures, Result, at_most
from tools import chromium, launch

_CELLS = (
    """
import json
from benchmarks.dashboard import Live
from promo.embedded import api_from_environment
if "live" not in globals():
    live = Live(api_from_environment().url, "store.db")
""",
    "live.close()\nlive.open()",
)
_DEADLINE_S = 60
Visit = Callable[[], AbstractContextManager[Page]]
# The page says that it is hidden, or in sight: Playwright lets no page be hidden in truth.
_VISIBILITY = """() => {
  Object.defineProperty(document, "visibilityState", { get: () => "%s", configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
HIDE, SHOW = _VISIBILITY % "hidden", _VISIBILITY % "visible"
# Whether a figure draws more than a stroke of what it draws of people.
_PEOPLE = """() => [...document.querySelectorAll(".promo-points path.line")].some(
    line => (line.getAttribute("d") ?? "").split("M").length > 2)"""


def measure(api_url: str, seconds: float, turns: int) -> list[Result]:
    """Return the results with a browser looking on and with it elsewhere; none without one."""
    path = chromium.find()
    if path is None:
        return []
    with (
        TemporaryDirectory() as folder,
        running_lab(Path(folder), api_url) as lab,
        left_alone(path, Path(folder) / "browser", "1400,1000") as visit,
    ):
        every = [_turn(lab, visit, seconds, turn) for turn in range(turns)]
    figures = {name: Figures(tuple(turn[name] for turn in every)) for name in every[0]}
    first = figures.pop("first")
    rates = ", ".join(f"{name} {figures[name]:.0f}" for name in figures)
    return [
        at_most(
            1,
            "seconds from Play to the first figure: JupyterLab, Chromium",
            first,
            ".2f",
            "From the click until a row is to be seen in a figure, on an empty store.",
        ),
        _result("JupyterLab, the browser elsewhere", figures["elsewhere"], figures["closed"], ""),
        _result(
            "JupyterLab, Chromium in sight of it",
            figures["in sight"],
            figures["closed"],
            f"Pages/s: {rates}, in this order. Chromium draws without a GPU, on the cores that "
            "kernel and server need; a reader's own machine has others for it.",
        ),
    ]


def _result(where: str, opened: Figures, closed: Figures, words: str) -> Result:
    ratio = opened / closed
    what = f"Play with the dashboard open / closed: {where}"
    return Result(what, "≥ 0.9", f"{ratio:.2f}", ratio.median >= 0.9, words)


def _turn(lab: Lab, visit: Visit, seconds: float, turn: int) -> dict[str, float]:
    rates = {}
    if turn % 2:
        with lab.client() as ask:
            rates["closed"] = _rate(ask, seconds)
    with visit() as page:
        page.goto(lab.url)
        run_all(page)
        page.locator(".promo-status").scroll_into_view_if_needed()
    with lab.client() as ask:
        with visit() as page:
            rates["first"] = _first_figure(ask, page)
        rates["in sight"] = _rate(ask, seconds)
        with visit() as page:
            page.goto("about:blank")
        rates["elsewhere"] = _rate(ask, seconds)
        ask("live.close()")
        if "closed" not in rates:
            rates["closed"] = _rate(ask, seconds)
    return rates


def _first_figure(ask: Callable[[str], Any], page: Page) -> float:
    """Press Play on an empty store; return the seconds until a figure shows a row."""
    ask("live.trainer.start_over()")
    _wait_for(lambda: not page.evaluate(_PEOPLE))
    began = time.perf_counter()
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function(_PEOPLE)
    return time.perf_counter() - began


def _rate(ask: Callable[[str], Any], seconds: float) -> float:
    """Play for a while from page 0, no cell running meanwhile; return pages per second."""
    from benchmarks.dashboard import SETTLING_S

    ask("live.play()")
    time.sleep(SETTLING_S)
    first, began = ask("print(json.dumps(live.mark()))")
    time.sleep(seconds)
    last, ended = ask("print(json.dumps(live.mark()))")
    ask('assert live.trainer.status == "running"\nlive.trainer.pause()')
    return (last - first) / (ended - began)


def run_all(page: Page) -> None:
    """Run the cells of the notebook that a page has opened."""
    page.locator(".jp-StatusBar-TextItem", has_text="(ipykernel) | Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
    page.wait_for_selector(".promo-status", timeout=60_000)


class Lab:
    """`promo lab` as it runs: its address, and where its kernels say how to reach them."""

    def __init__(self, address: re.Match[str], runtime: Path) -> None:
        self.url, self._root, self._token = address.group(0, 1, 2)
        self._runtime = runtime

    @contextmanager
    def client(self) -> Iterator[Callable[[str], Any]]:
        """Speak with the notebook's kernel, beside the browser."""
        from benchmarks.dashboard import ask

        with urllib.request.urlopen(f"{self._root}/api/kernels?token={self._token}") as answer:
            [kernel] = json.load(answer)
        client = BlockingKernelClient(
            connection_file=str(self._runtime / f"kernel-{kernel['id']}.json")
        )
        client.load_connection_file()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=_DEADLINE_S)
            yield lambda code: ask(client, code)
        finally:
            client.stop_channels()


_KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


@contextmanager
def left_alone(path: str, folder: Path, window: str) -> Iterator[Visit]:
    """Start a Chromium, whose data go to a folder; give the way to look at its page for a while.

    In between nobody is attached to it: a debugger is told of every message that the page is sent,
    which takes processors, and the browser keeps them all for it.

    Parameters
    ----------
    path
        Of the browser.
    folder
        Where there is nothing yet.
    window
        Its width and height in pixels, as "1280,800".
    """
    ours = ("--headless", "--remote-debugging-port=0", f"--user-data-dir={folder}")
    process = subprocess.Popen(
        [path, *chromium.ARGUMENTS, *ours, f"--window-size={window}", "about:blank"],
        stderr=subprocess.DEVNULL,
    )
    try:
        says = folder / "DevToolsActivePort"
        while not (says.exists() and (port := says.read_text().split("\n")[0])):
            time.sleep(0.1)
        with sync_playwright() as playwright:

            @contextmanager
            def visit() -> Iterator[Page]:
                browser = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}")
                try:
                    yield browser.contexts[0].pages[0]
                finally:
                    browser.close()  # which is to detach from it

            yield visit
    finally:
        process.terminate()
        process.wait()


@contextmanager
def running_lab(folder: Path, api_url: str, notebook: Path | None = None) -> Iterator[Lab]:
    """Run `promo lab` in a folder, on a copy of a notebook or else on nothing but a board."""
    (folder / "notebooks").mkdir()
    opened = folder / "notebooks" / "01-analysis.ipynb"
    if notebook:
        shutil.copy(notebook, opened)
    else:
        cells = [nbformat.v4.new_code_cell(text.strip()) for text in _CELLS]
        kernel = {"kernelspec": _KERNEL}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), opened)
    environment = {
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "PROMO_API_URL": api_url,
        "PYTHONPATH": str(ROOT),
    }
    with launch.launched(folder, *launch.LAB, address=launch.LAB_ADDRESS, **environment) as (_, at):
        yield Lab(at, folder / "runtime")


def _wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _DEADLINE_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError("waited in vain")
        time.sleep(0.05)
    return value
