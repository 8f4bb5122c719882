"""Our API alone, asked by a load generator: any page costs what the first does."""

from __future__ import annotations

from dataclasses import replace
from tempfile import TemporaryDirectory

from benchmarks import load
from benchmarks.measure import Figures, Result, at_least, take_turns
from promo.embedded import EmbeddedAPI

ROWS = 1_000_000
FAST = 5000  # pages/s of a core: the service is one process


def measure(seconds: float, turns: int, rows: int = ROWS) -> list[Result]:
    """Return the pages per second, of the slower of first and last page, and their ratio."""
    last = rows // 10 - 1
    with (
        TemporaryDirectory() as folder,
        EmbeddedAPI(data=f"{folder}/world.db", rows=rows, port=0) as api,
    ):
        figures = take_turns(
            turns,
            first=lambda: load.pages_per_second(api.url, seconds, 0),
            last=lambda: load.pages_per_second(api.url, seconds, last),
        )
    slower = Figures(tuple(map(min, *(some.values for some in figures.values()))))
    what = "pages/s of our API, pages of 10, by one core"
    words = (
        f"{load.name()} with {load.WINDOW} connections on one page again and again: page 0 "
        f"{figures['first']:,.0f}, page {last:,} {figures['last']:,.0f} pages/s."
    )
    fast = at_least(FAST, what, slower, ",.0f", words)
    if load.name() != "wrk":
        fast = replace(fast, reached=None, words=f"{words} Without wrk there is no verdict.")
    alike = figures["last"] / figures["first"]
    return [fast, at_least(0.9, "pages/s of our API: the last page / page 0", alike, ".2f")]
