"""What promo takes: memory over ten thousand pages, bytes of file per page, time to import.

`python -m benchmarks.footprint URL FILE PAGE...` is the child that is looked at.
"""

from __future__ import annotations

import gc
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Figures, Result, run_python, take_turns
from promo.embedded import EmbeddedAPI

_IMPORT = (
    "import json, time; began = time.perf_counter(); import {0}; "
    "print(json.dumps(time.perf_counter() - began))"
)


def memory_and_file(first: int, last: int) -> list[Result]:
    """Compare resident memory, and the file's size, after two numbers of pages."""
    with TemporaryDirectory() as folder, EmbeddedAPI(data=f"{folder}/world.db", port=0) as api:
        path = Path(folder) / "store.db"
        middle = last // 2  # where as many pages of history are kept as at the last
        early, half, late = run_python(
            "-m", "benchmarks.footprint", api.url, path, first, middle, last
        )
        rows = _rows_alone(path)
    growth = late["resident"] / early["resident"] - 1
    added = (late["used"] - half["used"]) / (last - middle)
    megabytes = ", ".join(f"{at['resident'] / 1e6:.1f}" for at in (early, half, late))
    words = (
        f"Resident memory after {first:,}, {middle:,} and {last:,} pages: {megabytes} MB. Between "
        f"the last two the file filled by {added:.0f} bytes a page of ten rows; rows alone, in a "
        f"table like `data`, take {rows / last:.0f}, so {added - rows / last:.0f} are the page's "
        f"own. The file has {late['file'] / 1e6:.1f} MB then."
    )
    what = f"growth of memory from page {first:,} to page {last:,}"
    return [Result(what, "< 5 %", f"{growth:.1%}", growth < 0.05, words)]


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


def import_time(turns: int) -> list[Result]:
    """Time `import promo`, and beside it what `promo run` needs before it can begin."""
    needed = "promo.cli, promo.trainer, promo.models.regressions, promo.models.sgd"
    figures: dict[str, Figures] = take_turns(
        turns,
        promo=lambda: run_python("-c", _IMPORT.format("promo")),
        needed=lambda: run_python("-c", _IMPORT.format(needed)),
        river=lambda: run_python("-c", _IMPORT.format("river.linear_model")),
    )
    words = (
        f"All that `promo run` imports: {figures['needed']:.2f} s, of which river, with scipy, "
        f"takes {figures['river']:.2f} s by itself."
    )
    seconds = figures["promo"]
    return [Result("seconds of `import promo`", "< 1", f"{seconds:.3f}", seconds.median < 1, words)]


def main(url: str, path: str, *stops: str) -> list[dict[str, int]]:
    """Learn up to each number of pages; return memory and file size there, in bytes."""
    from promo import PageStream, Regressions, SGDLogistic, Store, Trainer

    stream, found, done = PageStream(url), [], 0
    store = Store(path, source=stream.source, page_size=stream.page_size)
    with Trainer(stream, store, [SGDLogistic(), Regressions()]) as trainer:
        for stop in map(int, stops):
            trainer.run(stop - done)
            done = stop
            gc.collect()
            found.append({"resident": _resident(), **_sizes(path)})
    return found


def _sizes(path: str) -> dict[str, int]:
    """Return the size of a file, and how much of it is in use, in bytes."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # all in the one file
        size, pages, free = (
            database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_size", "page_count", "freelist_count")
        )
    return {"file": size * pages, "used": size * (pages - free)}


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
