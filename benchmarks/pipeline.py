"""The whole line at ten rows a page: `promo run` against the plain loop, and against a slow server.

Both sides of a ratio are child processes that read from one server, one after the other.
"""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from urllib.parse import urlsplit

from benchmarks.measure import Result, run_python, serving, take_turns
from promo.embedded import EmbeddedAPI

WINDOW = 8  # pages in flight, by default, in promo.stream
SLOW_MS = 4  # between two answers: 250 pages/s at best
_PATH = "/api/v1/data?page="
_LUA = f"""
page = -1
request = function()
  page = page + 1
  return wrk.format("GET", "{_PATH}" .. page)
end
"""


def against_plain_loop(pages: int, turns: int) -> list[Result]:
    """Compare pages per second, from the first page to the last, everything learned and stored."""
    with TemporaryDirectory() as folder, EmbeddedAPI(data=f"{folder}/world.db", port=0) as api:
        runs = _promo_runs(Path(folder), api.url)
        totals: list[float] = []

        def promo() -> float:
            began = time.perf_counter()
            rate = runs(pages)
            totals.append(time.perf_counter() - began - pages / rate)
            return rate

        def plain() -> float:
            path = Path(folder) / "plain.db"
            path.unlink(missing_ok=True)
            return run_python("-m", "benchmarks.plain_loop", api.url, path, pages // 3)

        figures = take_turns(turns, promo=promo, plain=plain)
    ratio = figures["promo"] / figures["plain"]
    words = (
        f"`promo run`: {figures['promo']:.0f} pages/s; the plain loop: {figures['plain']:.0f}. "
        f"Pages 0 to {pages - 1:,} (the loop: a third of them) from our API. Starting and ending "
        f"the process took promo {min(totals):.1f} to {max(totals):.1f} s more."
    )
    what = "pages/s of `promo run` / of the plain loop"
    return [Result(what, "≥ 3", f"{ratio:.2f}", ratio.median >= 3, words)]


def against_load_generator(pages: int, turns: int) -> list[Result]:
    """Compare with what a server of at most 250 pages/s gives to a client that does nothing."""
    server = ("tests/servers.py", "--rows", pages * 10, "--slow-ms", SLOW_MS)
    with TemporaryDirectory() as folder, serving(server) as url:
        runs = _promo_runs(Path(folder), url)
        name, generate = ("wrk", _wrk) if shutil.which("wrk") else ("http.client", _generator)
        seconds = pages * SLOW_MS / 1000
        figures = take_turns(turns, promo=lambda: runs(pages), load=lambda: generate(url, seconds))
    ratio = figures["promo"] / figures["load"]
    words = (
        f"`promo run`: {figures['promo']:.0f} pages/s; {name} with {WINDOW} connections: "
        f"{figures['load']:.0f}. The server (Flask, in `tests/servers.py`) answers every "
        f"{SLOW_MS} ms at most."
    )
    what = "pages/s of `promo run` / of a load generator, slow server"
    return [Result(what, "≥ 0.9", f"{ratio:.2f}", ratio.median >= 0.9, words)]


def _promo_runs(folder: Path, url: str) -> Callable[[int], float]:
    """Return a function that runs `promo run` on a new store and returns its pages per second."""
    path = folder / "promo.db"

    def run(pages: int) -> float:
        for old in folder.glob("promo.db*"):
            old.unlink()
        options = ("--api", url, "--db", path, "--pages", pages, "--json")
        summary = run_python("-m", "promo", "run", *options)
        if summary["pages"] != pages:
            raise RuntimeError(f"promo run did {summary['pages']} of {pages} pages")
        return pages / summary["seconds"]

    return run


def _wrk(url: str, seconds: float) -> float:
    with NamedTemporaryFile("w", suffix=".lua") as script:  # page after page, as promo asks
        script.write(_LUA)
        script.flush()
        options = ["-t1", f"-c{WINDOW}", f"-d{max(round(seconds), 1)}s", "-s", script.name]
        command = ["wrk", *options, url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s*([0-9.]+)", said)
    assert found, said
    return float(found[1])


def _generator(url: str, seconds: float) -> float:
    """Ask for pages from threads with a connection each, and throw the answers away."""
    counts, end = [0] * WINDOW, time.perf_counter() + seconds

    def ask(at: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        while time.perf_counter() < end:
            connection.request("GET", f"{_PATH}{at + WINDOW * counts[at]}")
            connection.getresponse().read()
            counts[at] += 1
        connection.close()

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(WINDOW)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds
