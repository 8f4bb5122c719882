"""`04-dashboard.ipynb` left open in a browser while the stream runs flat out, and what grows.

    python -m benchmarks.left_open [--minutes 60 | --rows 1000000] [--hidden] [--every 30]

Every so often, after a collection of garbage: JavaScript heap, DOM nodes and event listeners of the
page, memory of the browser's processes and of the kernel, and what a frame and a page have taken
since. Flat is what is within 10 % of what it was when the page had settled; times are held against
what a loop takes a processor, for a machine shared with others may be half as fast an hour later.
With `--hidden` the page says that it is: then it is sent nothing. (Playwright lets no page be
hidden in truth.)

In between nobody is attached to the browser (see `benchmarks.browser.left_alone`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil
from playwright.sync_api import Page

from benchmarks.browser import HIDE, left_alone, run_all, running_lab
from benchmarks.measure import ROOT
from promo.embedded import EmbeddedAPI
from tools import chromium

FLAT = 0.10
SETTLING = 0.25  # of the time, five minutes at most
_ROWS_PER_S = 12_000  # no stream in sight of a browser is faster here: it never ends
_WINDOW = "1280,800"
# Painting is noted beside the kernel's cells: while one runs, the browser's answers wait.
_BEGIN = """
import json, os, statistics, threading, time
from promo.ui import publisher
frames = next(p.frames for p in publisher._OPEN if p.trainer is choose.trainer)
took = []
frames.observe(lambda change: took.append(frames.took_ms), "painted")
print(os.getpid())
"""
_LOOK = """
frame_ms = statistics.median(took) if took else 0.0
took.clear()
assert choose.trainer.status == "running", choose.trainer.message
print(json.dumps([choose.trainer.snapshot.rows, frames.frame, frames.visible, frame_ms]))
"""


class Sample(NamedTuple):
    """What was measured at one time."""

    second: float
    rows: int
    frames: int
    heap_mb: float
    nodes: int
    listeners: int
    browser_mb: float
    kernel_mb: float
    loop_ms: float
    frame_ms: float
    page_ms: float


def watch(
    seconds: float, rows: int, every_s: float, hidden: bool, picture: Path | None
) -> Iterator[Sample]:
    """Play in JupyterLab in Chromium for so long, or until so many rows; yield samples.

    With each a picture of the page is taken, if wanted.

    Raises
    ------
    RuntimeError
        There is no Chromium.
    """
    path = chromium.find()
    if path is None:
        raise RuntimeError("found no Chromium")
    notebook = ROOT / "notebooks" / "04-dashboard.ipynb"
    there = (rows or int(seconds * _ROWS_PER_S)) + 1_000_000
    with (
        TemporaryDirectory() as folder,
        EmbeddedAPI(data=f"{folder}/world.db", rows=there, port=0, deadline_s=300.0) as api,
        running_lab(Path(folder), api.url, notebook) as lab,
        left_alone(path, Path(folder) / "browser", _WINDOW) as visit,
    ):
        with visit() as page:
            page.goto(lab.url)
            run_all(page)
            page.locator(".promo-status").scroll_into_view_if_needed()
        with lab.client() as ask:  # before it plays: a client waits for a moment without messages
            with visit() as page:
                page.get_by_role("button", name="Play", exact=True).click()
                page.locator(".promo-status b.running").wait_for()
                if hidden:
                    page.evaluate(HIDE)
            kernel = psutil.Process(ask(_BEGIN))
            began = at = time.monotonic()
            learned, seen = 0, 0
            while at - began < seconds and (not rows or learned < rows):
                time.sleep(min(every_s, began + seconds - at))
                now, frame, visible, frame_ms = ask(_LOOK)
                earlier, at = at, time.monotonic()
                assert visible is not hidden, "the page does not know whether it can be seen"
                with visit() as page:
                    metrics = _metrics(page)
                    if picture:
                        page.screenshot(path=picture)
                yield Sample(
                    at - began,
                    now,
                    frame - seen,
                    metrics["JSHeapUsedSize"] / 1e6,
                    int(metrics["Nodes"]),
                    int(metrics["JSEventListeners"]),
                    sum(map(_memory_mb, _renderers())),
                    _memory_mb(kernel),
                    _loop_ms(),
                    frame_ms,
                    1e4 * (at - earlier) / (now - learned),
                )
                learned, seen = now, frame


def _metrics(page: Page) -> dict[str, float]:
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    session.send("HeapProfiler.collectGarbage")
    told = session.send("Performance.getMetrics")["metrics"]
    return {metric["name"]: metric["value"] for metric in told}


def _renderers() -> list[psutil.Process]:
    every = psutil.Process().children(recursive=True)
    return [p for p in every if "--type=renderer" in p.cmdline()]


def _memory_mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def _loop_ms() -> float:
    """Return what a loop that is always the same takes a processor, however many want it."""
    began = time.process_time()
    for _ in range(2_000_000):
        pass
    return 1e3 * (time.process_time() - began)


def grown(samples: list[Sample]) -> dict[str, float]:
    """Return the growth of each measure from when it had settled to the end, as a ratio.

    Of the times, it is that of how many such loops they would be.
    """
    settled_s = min(300.0, SETTLING * samples[-1].second)
    settled = [
        sample._replace(
            frame_ms=sample.frame_ms / sample.loop_ms, page_ms=sample.page_ms / sample.loop_ms
        )
        for sample in samples
        if sample.second >= settled_s
    ]
    first, last = settled[: max(1, len(settled) // 4)], settled[-max(1, len(settled) // 4) :]
    found = {}
    for name in (name for name in Sample._fields[3:] if name != "loop_ms"):
        before, after = (
            statistics.median(getattr(s, name) for s in part) for part in (first, last)
        )
        found[name] = after / before - 1 if before else 0.0
    return found


def main() -> int:
    """Print a line for each sample and what has grown; return 1 if anything was not flat."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.left_open", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rows", type=int, default=0, help="stop when so many are learned")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between samples")
    parser.add_argument("--hidden", action="store_true", help="behind another tab")
    parser.add_argument("--picture", type=Path, help="save the page's last looks as a PNG")
    options = parser.parse_args()
    print(*(f"{name:>10}" for name in Sample._fields))
    samples = []
    for sample in watch(
        60 * options.minutes, options.rows, options.every, options.hidden, options.picture
    ):
        print(*(f"{value:10,.0f}" for value in sample[:-2]), end=" ")
        print(f"{sample.frame_ms:10.1f} {sample.page_ms:10.3f}", flush=True)
        samples.append(sample)
    growth = grown(samples)
    print(json.dumps({name: f"{ratio:+.1%}" for name, ratio in growth.items()}))
    return int(max(growth.values()) > FLAT)


if __name__ == "__main__":
    sys.exit(main())
