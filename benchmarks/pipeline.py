"""The whole line by `promo run`: beside the plain loop, with a slow server, with a distant one.

All sides of a ratio are child processes that read from one server, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import load
from benchmarks.measure import Figures, Result, at_least, run_python, serving, take_turns
from promo.embedded import EmbeddedAPI

SLOW_MS = 4  # between two answers: 250 pages/s at best
DISTANCE_MS = 50
SMALL, LARGE = 10, 1000  # rows of a page


def against_plain_loop(pages: int, turns: int) -> list[Result]:
    """Compare rows per second, from the first page to the last, everything learned and stored.

    In the same pages of ten; and in large ones, of which the loop, were it to ask for them, reads
    fewer.
    """
    large = pages // 50  # so that they take half as long, about
    with (
        TemporaryDirectory() as folder,
        EmbeddedAPI(data=f"{folder}/world.db", rows=large * LARGE, port=0) as api,
    ):
        promo, plain = _promo(Path(folder), api.url), _plain(Path(folder), api.url)
        figures = take_turns(
            turns,
            promo=lambda: promo(pages, SMALL),
            plain=lambda: plain(pages, SMALL),
            large=lambda: promo(large, LARGE),
            plain_large=lambda: plain(large // 4, LARGE),
        )
    rates = {name: figures[name] / SMALL for name in ("promo", "plain")}
    return [
        at_least(
            3,
            "pages/s of `promo run` / of the plain loop",
            figures["promo"] / figures["plain"],
            ".2f",
            f"`promo run`: {rates['promo']:.0f} pages/s; the plain loop: {rates['plain']:.0f}. "
            f"Both: pages 0 to {pages - 1:,} from our API. 4 is aimed for.",
        ),
        at_least(
            30,
            f"rows/s of `promo run --size {LARGE}` / of the plain loop",
            figures["large"] / figures["plain"],
            ".1f",
            f"`promo run`: {figures['large']:,.0f} rows/s in {large} pages; 100,000 are aimed "
            f"for. The plain loop, were it to ask for such pages: {figures['plain_large']:,.0f}.",
        ),
    ]


def against_load_generator(seconds: float, turns: int) -> list[Result]:
    """Compare with what a server of at most 250 pages/s gives to a client that does nothing."""
    pages = round(seconds * 1000 / SLOW_MS)
    server = ("tests/servers.py", "--rows", pages * SMALL, "--slow-ms", SLOW_MS)
    with serving(server) as url:
        figures = _beside_load(url, pages, seconds, turns)
    return [
        at_least(
            0.95,
            "pages/s of `promo run` / of a load generator, slow server",
            figures["promo"] / figures["load"],
            ".3f",
            f"`promo run`: {figures['promo']:.0f} pages/s; {load.name()} with {load.WINDOW} "
            f"connections: {figures['load']:.0f}. The server (Flask, in `tests/servers.py`) "
            f"answers every {SLOW_MS} ms at most.",
        )
    ]


def at_a_distance(seconds: float, turns: int) -> list[Result]:
    """Compare with as many pages as can be under way: a window's, once every latency."""
    best = load.WINDOW * 1000 / DISTANCE_MS
    pages = round(seconds * best)
    with (
        TemporaryDirectory() as folder,
        EmbeddedAPI(data=f"{folder}/world.db", port=0) as api,
        serving(("-m", "benchmarks.distance", api.url, DISTANCE_MS)) as url,
    ):
        figures = _beside_load(url, pages, seconds, turns)
    return [
        at_least(
            0.9,
            f"pages/s of `promo run` / window per latency, a server {DISTANCE_MS} ms away",
            figures["promo"] / best,
            ".3f",
            f"`promo run`: {figures['promo']:.0f} pages/s; {load.name()} with {load.WINDOW} "
            f"connections: {figures['load']:.0f}; {load.WINDOW} pages every {DISTANCE_MS} ms: "
            f"{best:.0f}. Our API, behind a relay that adds the latency (benchmarks/distance.py).",
        )
    ]


def _beside_load(url: str, pages: int, seconds: float, turns: int) -> dict[str, Figures]:
    """Return pages per second of `promo run` and of a load generator, in turns."""
    with TemporaryDirectory() as folder:
        promo = _promo(Path(folder), url)
        return take_turns(
            turns,
            promo=lambda: promo(pages, SMALL) / SMALL,
            load=lambda: load.pages_per_second(url, seconds),
        )


def _promo(folder: Path, url: str) -> Callable[[int, int], float]:
    """Return a function that runs `promo run` on a new store and returns its rows per second."""
    path = folder / "promo.db"

    def run(pages: int, size: int) -> float:
        for old in folder.glob("promo.db*"):
            old.unlink()
        options = ("--api", url, "--db", path, "--pages", pages, "--json")
        sized = () if size == SMALL else ("--size", size)
        summary = run_python("-m", "promo", "run", *options, *sized)
        if summary["rows"] != pages * size:
            raise RuntimeError(f"promo run did {summary['rows']} of {pages * size} rows")
        return summary["rows"] / summary["seconds"]

    return run


def _plain(folder: Path, url: str) -> Callable[[int, int], float]:
    """Return a function that runs the plain loop on a new file and returns its rows per second."""
    path = folder / "plain.db"

    def run(pages: int, size: int) -> float:
        path.unlink(missing_ok=True)
        return run_python("-m", "benchmarks.plain_loop", url, path, pages, size)

    return run
