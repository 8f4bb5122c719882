"""The dashboard left open in a browser while the stream runs flat out, and what grows.

    python -m benchmarks.left_open [--minutes 10 | --rows 1000000] [--hidden] [--every 30]

Every so often, after a collection of garbage: JavaScript heap, DOM nodes and event listeners of the
page, memory of the browser's processes and of the kernel, and how long a frame took. Flat is what
is within 10 % of what it was when the page had settled. With `--hidden` the page says that it is:
then it is sent nothing. (Playwright lets no page be hidden in truth.)
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

from benchmarks.browser import run_all, running_lab
from promo.embedded import EmbeddedAPI
from tools import chromium

FLAT = 0.10
SETTLING = 0.25  # of the time, five minutes at most
_HIDE = """() => {
  Object.defineProperty(document, "visibilityState", { get: () => "hidden" });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
_FRAMES = """
import time
took = []
for _ in range(20):
    took.append(live._publisher.frames.took_ms)
    time.sleep(0.05)
if live.trainer.status == "finished":
    live.play()  # from page 0 again
frames = live._publisher.frames
print(json.dumps([took, frames.frame, frames.visible, live.trainer.snapshot.rows]))
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
    frame_ms: float


def watch(seconds: float, rows: int, every_s: float, hidden: bool) -> Iterator[Sample]:
    """Play in JupyterLab in Chromium for so long, or until so many rows; yield samples.

    Raises
    ------
    RuntimeError
        There is no Chromium.
    """
    path = chromium.find()
    if path is None:
        raise RuntimeError("found no Chromium")
    with (
        TemporaryDirectory() as folder,
        EmbeddedAPI(data=f"{folder}/world.db", rows=max(rows, 1_000_000), port=0) as api,
        running_lab(Path(folder), api.url) as lab,
        chromium.launched(path) as browser,
    ):
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(lab.url)
        run_all(page)
        page.locator(".promo-status").scroll_into_view_if_needed()
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        if hidden:
            page.evaluate(_HIDE)
        with lab.client() as ask:
            kernel = psutil.Process(ask("import os\nprint(os.getpid())"))
            ask("live.play()")
            began = time.monotonic()
            before = seen = learned = 0
            while (second := time.monotonic() - began) < seconds and (not rows or learned < rows):
                page.wait_for_timeout(1000 * min(every_s, seconds - second))
                took, frame, visible, now = ask(_FRAMES)
                assert visible is not hidden, "the page does not know whether it can be seen"
                learned, before = learned + (now - before if now >= before else now), now
                session.send("HeapProfiler.collectGarbage")
                told = session.send("Performance.getMetrics")["metrics"]
                metrics = {metric["name"]: metric["value"] for metric in told}
                yield Sample(
                    time.monotonic() - began,
                    learned,
                    frame - seen,
                    metrics["JSHeapUsedSize"] / 1e6,
                    int(metrics["Nodes"]),
                    int(metrics["JSEventListeners"]),
                    sum(map(_memory_mb, _renderers())),
                    _memory_mb(kernel),
                    statistics.median(took),
                )
                seen = frame


def _renderers() -> list[psutil.Process]:
    every = psutil.Process().children(recursive=True)
    return [p for p in every if "--type=renderer" in p.cmdline()]


def _memory_mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def grown(samples: list[Sample]) -> dict[str, float]:
    """Return the growth of each measure from when it had settled to the end, as a ratio."""
    settled_s = min(300.0, SETTLING * samples[-1].second)
    settled = [sample for sample in samples if sample.second >= settled_s]
    first, last = settled[: max(1, len(settled) // 4)], settled[-max(1, len(settled) // 4) :]
    found = {}
    for name in Sample._fields[3:]:
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
    options = parser.parse_args()
    print(*(f"{name:>10}" for name in Sample._fields))
    samples = []
    for sample in watch(60 * options.minutes, options.rows, options.every, options.hidden):
        print(*(f"{value:10,.0f}" for value in sample[:-1]), f"{sample.frame_ms:10.1f}", flush=True)
        samples.append(sample)
    growth = grown(samples)
    print(json.dumps({name: f"{ratio:+.1%}" for name, ratio in growth.items()}))
    return int(max(growth.values()) > FLAT)


if __name__ == "__main__":
    sys.exit(main())
