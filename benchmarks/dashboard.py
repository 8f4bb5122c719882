"""Play with the dashboard open and closed: without a kernel, in a kernel, and in a browser.

`Live` is what the analysis notebook shows, over a trainer that reads as fast as it can. It is the
same in all three; only who receives the widgets' messages differs. As a program this module is the
first: `python -m benchmarks.dashboard URL FILE SECONDS TURNS`, where nobody receives them.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jupyter_client import BlockingKernelClient, KernelManager

from benchmarks import browser
from benchmarks.measure import ROOT, Figures, Result, run_python, take_turns
from promo import PageStream, Store, Trainer, ui
from promo.embedded import EmbeddedAPI
from promo.models.default import default_models

ROWS = 400_000  # of the API: no turn comes to their end
SETTLING_S = 1.0  # before the clock starts, so that what opening the dashboard costs is not in it
_IN_KERNEL = """
import json
from benchmarks.dashboard import Live
live = Live({url!r}, {path!r})
"""


class Live:
    """A trainer and the views of the analysis notebook."""

    def __init__(self, url: str, path: str) -> None:
        stream = PageStream(url)
        models, settings = default_models()
        store = Store(path, source=url, page_size=stream.page_size, settings=settings)
        self.trainer = Trainer(stream, store, models)
        self._publisher: ui.Publisher | None = None

    def open(self) -> ui.Board:
        """Show the dashboard: the board for a cell to display."""
        controls, switch = ui.Controls(self.trainer), ui.ColliderSwitch()
        figures = [ui.SampleFigure(), ui.LossFigure(), ui.CoefficientFigure(switch)]
        table, stories = ui.CoefficientTable(switch), ui.StoriesFigure()
        self._publisher = ui.Publisher(self.trainer, [controls, *figures, table, stories])
        return ui.Board([controls], figures[:2], [switch], [figures[2], table], [stories])

    def close(self) -> None:
        """Close the dashboard."""
        if self._publisher is not None:
            assert not self._publisher.errors, self._publisher.errors
            self._publisher.close()

    def play(self) -> None:
        """Begin again at page 0, as fast as it goes."""
        self.trainer.start_over()
        self.trainer.play()

    def mark(self) -> tuple[int, float]:
        """Return pages learned, and the time."""
        return self.trainer.snapshot.rows // self.trainer.stream.page_size, time.perf_counter()

    def rate(self, seconds: float) -> float:
        """Play for a while; return pages per second."""
        self.play()
        time.sleep(SETTLING_S)
        first, began = self.mark()
        time.sleep(seconds)
        last, ended = self.mark()
        assert self.trainer.status == "running", "the stream has ended"
        self.trainer.pause()
        return (last - first) / (ended - began)

    def rate_open(self, seconds: float) -> float:
        """Play for a while with the dashboard open."""
        self.open()
        rate = self.rate(seconds)
        self.close()
        return rate


def ask(client: BlockingKernelClient, code: str, timeout_s: float = 120) -> Any:
    """Run a cell, taking in every message on the way; return the JSON it prints last."""
    request, said = client.execute(code), ""
    while True:
        try:
            message = client.get_iopub_msg(timeout=timeout_s)
        except queue.Empty:
            raise RuntimeError(f"no end of {code!r} within {timeout_s:g} s") from None
        if message["parent_header"].get("msg_id") != request:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "error":
            raise RuntimeError("\n".join(content["traceback"]))
        if kind == "stream" and content["name"] == "stdout":
            said += content["text"]
        if kind == "status" and content["execution_state"] == "idle":
            return json.loads(said.strip().rpartition("\n")[2]) if said else None


def measure(seconds: float, turns: int, *, with_browser: bool = True) -> list[Result]:
    """Return one result for each receiver of the messages."""
    with (
        TemporaryDirectory() as folder,
        EmbeddedAPI(data=f"{folder}/world.db", rows=ROWS, port=0) as api,
    ):
        found = run_python("-m", "benchmarks.dashboard", api.url, f"{folder}/1.db", seconds, turns)
        nobody = {name: Figures(tuple(values)) for name, values in found.items()}
        consumer = _in_kernel(api.url, f"{folder}/2.db", seconds, turns)
        results = [
            _result("no kernel, widgets only", nobody),
            _result("a kernel and a consumer of its messages", consumer),
        ]
        if with_browser:
            results += browser.measure(api.url, seconds, turns)
    return results


def _in_kernel(url: str, path: str, seconds: float, turns: int) -> dict[str, Figures]:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        ask(client, _IN_KERNEL.format(url=url, path=path))
        return take_turns(
            turns,
            closed=lambda: ask(client, f"print(json.dumps(live.rate({seconds})))"),
            open=lambda: ask(client, f"print(json.dumps(live.rate_open({seconds})))"),
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _result(where: str, figures: dict[str, Figures]) -> Result:
    ratio = figures["open"] / figures["closed"]
    words = f"Pages/s: open {figures['open']:.0f}, closed {figures['closed']:.0f}."
    what = f"Play with the dashboard open / closed: {where}"
    return Result(what, "≥ 0.9", f"{ratio:.2f}", ratio.median >= 0.9, words)


def main(url: str, path: str, seconds: str, turns: str) -> dict[str, tuple[float, ...]]:
    """Measure where nobody receives the widgets' messages."""
    live, each_s = Live(url, str(Path(path))), float(seconds)
    figures = take_turns(
        int(turns), closed=lambda: live.rate(each_s), open=lambda: live.rate_open(each_s)
    )
    live.trainer.close()
    return {name: some.values for name, some in figures.items()}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
