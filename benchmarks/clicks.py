"""From a click to its effect on the dashboard, and what a frame weighs on its way to the browser.

    python -m benchmarks.clicks [--times 50]

The page is the one of `promo app`, in a real Chromium on the same cores. Effects are taken from the
page itself, by what its status line says, in milliseconds from the click.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Page, sync_playwright

from benchmarks.browser import _ARGUMENTS, _chromium

# Press a button and wait, in the page, until the status line is as wanted; give the milliseconds.
_CLICK = """([text, wanted]) => new Promise(done => {
  const status = () => document.querySelector(".promo-status").innerText;
  const page = () => +/page ([\\d,]+)/.exec(status())[1].replaceAll(",", "");
  const before = page();
  const button = [...document.querySelectorAll(".promo button")]
    .find(each => each.innerText.trim() === text);
  const began = performance.now();
  button.click();
  const look = () => {
    const there = wanted === "more" ? page() > before : status().startsWith(wanted);
    if (there) done(performance.now() - began); else requestAnimationFrame(look);
  };
  look();
})"""


@contextmanager
def app(folder: Path) -> Iterator[str]:
    """Run `promo app` on an empty folder; give its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "promo", "app", "--no-browser", "--port", "0"],
        env={**os.environ, "PROMO_DATA": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        found = next(filter(None, (re.search(r"is at (http\S+)", line) for line in process.stdout)))
        try:
            yield found[1]
        finally:
            process.terminate()


def measured(page: Page, times: int) -> dict[str, list[float]]:
    """Return the milliseconds of each kind of click, while the stream runs flat out."""
    found: dict[str, list[float]] = {"Play to a new page": [], "Pause": [], "Stop": []}

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
    return found


def main() -> None:
    """Print medians and worst, and the bytes of a frame."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=50)
    options = parser.parse_args()
    arguments = [*_ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    weighed: list[int] = []
    with TemporaryDirectory() as folder, app(Path(folder)) as url, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=_chromium(), args=arguments)
        page = chromium.new_page(viewport={"width": 1280, "height": 800})

        def listen(socket: Any) -> None:
            socket.on("framereceived", lambda payload: weighed.append(len(payload)))

        page.on("websocket", listen)
        began = time.monotonic()
        page.goto(url)
        page.locator(".promo-status").first.wait_for(timeout=120_000)
        print(f"page asked for to dashboard in sight: {time.monotonic() - began:.1f} s")
        page.get_by_role("button", name="Play", exact=True).click()
        page.wait_for_timeout(5000)
        weighed.clear()
        painted = "() => window.performance.now()"
        start, frames = page.evaluate(painted), _frames(page)
        page.wait_for_timeout(10_000)
        seconds = (page.evaluate(painted) - start) / 1000
        frames, kilobytes = _frames(page) - frames, sum(weighed) / 1000
        print(
            f"flat out: {frames / seconds:.1f} frames/s, {kilobytes / max(frames, 1):.0f} kB a "
            f"frame, {kilobytes / seconds:.0f} kB/s"
        )
        page.get_by_role("button", name="Pause", exact=True).click()
        page.wait_for_timeout(1000)
        for name, ms in measured(page, options.times).items():
            print(f"{name}: median {statistics.median(ms):.0f} ms, worst {max(ms):.0f} ms")
        chromium.close()


def _frames(page: Page) -> int:
    """Count changes of the status line seen so far, of which a frame has one while it plays."""
    return int(
        page.evaluate(
            """() => {
              if (!window.promoFrames) {
                window.promoFrames = {count: 0};
                new MutationObserver(() => window.promoFrames.count++).observe(
                  document.querySelector(".promo-status").parentElement, {childList: true});
              }
              return window.promoFrames.count;
            }"""
        )
    )


if __name__ == "__main__":
    main()
