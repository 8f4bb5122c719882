"""What a page costs late in a stream, in time, memory and file; and how soon it goes on there.

`python -m benchmarks.flat URL WORLD FILE PAGES` is the child that is looked at: the line without
HTTP, its pages straight from the file that the API at URL serves, into the store with which
`promo run` then goes on.
"""

from __future__ import annotations

import gc
import json
import os
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks.measure import Figures, Result, at_most, run_python, take_turns
from benchmarks.startup import run_for_a_page
from promo.embedded import EmbeddedAPI

SIZE = 10
EARLY = STRETCH = 1000  # costs are those of so many pages: from page 1,000 on, and up to the last
TURNS = 5  # that a stretch is timed in
BAR = 1.1


def measure(pages: int) -> list[Result]:
    """Compare the pages after the thousandth with the last ones; then go on from there."""
    with (
        TemporaryDirectory() as folder,
        EmbeddedAPI(data=f"{folder}/world.db", rows=SIZE * (pages + 100), port=0) as api,
    ):
        path = Path(folder) / "store.db"
        child = ("-m", "benchmarks.flat", api.url, f"{folder}/world.db", path, pages)
        early, late = run_python(*child)
        alone = _rows_alone(path) / pages
        resumed = take_turns(3, seconds=lambda: run_for_a_page("--api", api.url, "--db", path))[
            "seconds"
        ]
    took = [Figures(tuple(at["took"])) for at in (early, late)]
    resident = [at["resident"] for at in (early, late)]
    filled = [(at["used"][1] - at["used"][0]) / STRETCH - alone for at in (early, late)]
    return [
        at_most(
            BAR,
            f"time per page at page {pages:,} / at page {EARLY:,}",
            took[1] / took[0],
            ".2f",
            f"Default models, HTTP aside: {took[1]:.0f} and {took[0]:.0f} µs.",
        ),
        at_most(
            BAR,
            f"memory at page {pages:,} / at page {EARLY:,}",
            Figures((resident[1] / resident[0],)),
            ".3f",
            f"Resident: {resident[1] / 1e6:.1f} and {resident[0] / 1e6:.1f} MB.",
        ),
        at_most(
            BAR,
            f"file growth per page beyond the rows at page {pages:,} / at page {EARLY:,}",
            Figures((filled[1] / filled[0],)),
            ".2f",
            f"{filled[1]:.0f} and {filled[0]:.0f} bytes, besides the {alone:.0f} that ten rows "
            f"take in a table like `data` alone: the ledger's line, and early on the history, "
            f"which is full at a thousand pages. The file has {late['used'][1] / 1e6:.0f} MB then.",
        ),
        at_most(
            2,
            f"seconds of `promo run` to go on at {SIZE * pages:,} rows",
            resumed,
            ".2f",
            "The whole process: start, resume, check the source, one page more, end.",
        ),
    ]


def _rows_alone(path: Path) -> int:
    """Return the size of a file that holds nothing but the rows of a store."""
    alone = path.with_name("rows.db")
    with closing(sqlite3.connect(alone, isolation_level=None)) as database:
        database.execute("ATTACH ? AS store", (str(path),))
        [schema] = database.execute(
            "SELECT sql FROM store.sqlite_schema WHERE type = 'table' AND name = 'data'"
        ).fetchone()
        database.execute(schema)
        database.execute("INSERT INTO data SELECT * FROM store.data ORDER BY rowid")
    return alone.stat().st_size


def main(url: str, world: str, path: str, pages: str) -> list[dict[str, Any]]:
    """Learn that many pages; return what the early and the late ones cost, in µs and bytes."""
    from promo.batch import decode_page
    from promo.dataset import Dataset
    from promo.line import Line
    from promo.models.default import default_models
    from promo.store import Store

    (models, settings), dataset, last = default_models(), Dataset(world), int(pages)
    with Store(path, source=url, page_size=SIZE, settings=settings) as store:
        line = Line(store, models)

        def learn(first: int, end: int) -> float:
            """Return the µs per page."""
            seconds = 0.0
            for page in range(first, end):
                body = msgspec.json.encode(dataset.page(page, SIZE)[0])
                began = time.perf_counter()
                line.learn(decode_page(body, SIZE).batch(page))
                seconds += time.perf_counter() - began
            return 1e6 * seconds / (end - first)

        def cost(first: int) -> dict[str, Any]:
            """Return what the pages of a stretch cost."""
            part, used = STRETCH // TURNS, [_used(path)]
            took = [learn(at, at + part) for at in range(first, first + STRETCH, part)]
            gc.collect()
            return {"took": took, "used": [*used, _used(path)], "resident": _resident()}

        learn(0, EARLY)
        early = cost(EARLY)
        learn(EARLY + STRETCH, last - STRETCH)
        return [early, cost(last - STRETCH)]


def _used(path: str) -> float:
    """Return how much of a file is in use, in bytes."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # all in the one file
        size, pages, free = (
            database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_size", "page_count", "freelist_count")
        )
    return size * (pages - free)


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
