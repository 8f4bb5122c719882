"""Many machines: pages a second with workers of Dask, and what a chunk costs the driver.

The driver's cost is the processor time of its thread: taking a chunk as it came over the wire,
adding it up and committing it. Pages and requests are others' work.
"""

from __future__ import annotations

import pickle
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Figures, Result, serving, take_turns
from promo.batch import Batch
from promo.embedded import EmbeddedAPI
from promo.models.default import default_models
from promo.scale import Cluster, ScaledTrainer
from promo.scale.chunk import Chunk
from promo.scale.line import ScaledLine
from promo.scale.reader import MOST_PAGES
from promo.scale.work import stop
from promo.store import Store
from promo.stream import PageStream
from promo.trainer import Trainer
from promo.world import WORLDS

SIZE, PAGES = 1000, 32  # rows of a page, pages of a chunk: what `promo scale --size 1000` does
LATENCY_MS = 20
SLOW_CHUNK = 16  # pages of ten; `promo scale` takes 512, for which this would have to run long
AHEAD = 200  # chunks under way, of 100 workers


def measure(pages: int, chunks: int, turns: int, workers: int) -> list[Result]:
    """Measure throughput, scaling and the driver."""
    return [
        *a_chunk(turns),
        *against_one_machine(pages, turns),
        *with_a_slow_server(workers, turns),
        *the_driver(chunks),
    ]


@contextmanager
def _trainer(
    folder: str, url: str, size: int, cluster: Cluster | None, **options: int
) -> Iterator[Trainer]:
    """Give a trainer of what merges, on a new store."""
    path = Path(folder) / "promo.db"
    for old in path.parent.glob("promo.db*"):
        old.unlink()
    stream = PageStream(url, size=size if size != 10 else None, source="world:collider")
    models, settings = default_models(source=stream.source, merging=True)
    store = Store(path, source=stream.source, page_size=stream.page_size, settings=settings)
    if cluster is None:
        trainer = Trainer(stream, store, models)
    else:
        trainer = ScaledTrainer(stream, store, models, cluster, **options)
    with trainer:
        yield trainer


def _pages_per_s(
    folder: str, url: str, size: int, cluster: Cluster | None, **options: int
) -> float:
    with _trainer(folder, url, size, cluster, **options) as trainer:
        trainer.run(1)  # connected, and what is fixed at first is
        began = time.perf_counter()
        page = trainer.run().page
        assert page is not None
        return page / (time.perf_counter() - began)


def a_chunk(turns: int) -> list[Result]:
    """Measure what a chunk takes of a worker's processor: a little is not worth sharing out."""
    with (
        TemporaryDirectory() as folder,
        EmbeddedAPI(rows=(PAGES + 1) * SIZE, data=f"{folder}/world.db", port=0) as api,
        _trainer(folder, api.url, SIZE, None) as trainer,
    ):
        first = next(iter(trainer.stream))
        line = ScaledLine(trainer.store, trainer.models)
        line.learn(first)
        frame = line.frame
        assert frame is not None

        def work_ms(size: int | None, pages: int) -> float:
            began = time.process_time()
            with PageStream(api.url, size=size).read(1, 0, end=1 + pages) as reader:
                Chunk.of([*islice(reader, pages)], frame)
            return 1000 * (time.process_time() - began)

        times = take_turns(
            turns, small=lambda: work_ms(None, MOST_PAGES), large=lambda: work_ms(SIZE, PAGES)
        )
    what = "ms of a worker's processor per chunk of {} pages of {:,} rows"
    return [
        Result(what.format(pages, size), "≥ 100", f"{ms:.0f}", ms.median >= 100)
        for pages, size, ms in ((MOST_PAGES, 10, times["small"]), (PAGES, SIZE, times["large"]))
    ]


def against_one_machine(pages: int, turns: int) -> list[Result]:
    """Compare one and two workers with the pipeline of one process, at 1,000 rows a page."""
    with (
        TemporaryDirectory() as folder,
        EmbeddedAPI(rows=pages * SIZE, data=f"{folder}/world.db", port=0) as api,
        Cluster(workers=1) as one,
        Cluster(workers=2) as two,
    ):
        for cluster in (one, two):
            cluster.client.run(stop, "no run")  # so that workers have imported what they need
        rates = take_turns(
            turns,
            single=lambda: _pages_per_s(folder, api.url, SIZE, None),
            one=lambda: _pages_per_s(folder, api.url, SIZE, one),
            two=lambda: _pages_per_s(folder, api.url, SIZE, two),
        )
    ratios = {name: rates[name] / rates["single"] for name in ("one", "two")}
    words = (
        f"Pages/s of {SIZE:,} rows, {pages:,} of them, everything stored, rows in `data`: one "
        f"process {rates['single']:.0f}, one worker {rates['one']:.0f}, two {rates['two']:.0f}. "
        "API, driver and workers share this machine's cores, so this says what sharing out costs, "
        "not what it brings."
    )
    return [
        Result("pages/s with one worker / with one process", "", f"{ratios['one']:.2f}", None),
        Result(
            "pages/s with two workers / with one process", "", f"{ratios['two']:.2f}", None, words
        ),
    ]


def with_a_slow_server(workers: int, turns: int) -> list[Result]:
    """Compare many workers with one where each waits for the server most of the time."""
    server = ("-m", "benchmarks.slow_server", LATENCY_MS)
    with (
        TemporaryDirectory() as folder,
        serving(server) as url,
        Cluster(workers=1) as one,
        Cluster(workers=workers) as many,
    ):
        for cluster in (one, many):
            cluster.client.run(stop, "no run")  # so that workers have imported what they need

        def rate(cluster: Cluster, pages: int) -> float:
            # Two chunks for a worker, of which one is under way: one page in flight each.
            options = {"in_flight": 2 * cluster.threads, "chunk": SLOW_CHUNK}
            with _trainer(folder, url, 10, cluster, **options) as trainer:
                trainer.run(1)
                began = time.perf_counter()
                trainer.run(pages)
                return pages / (time.perf_counter() - began)

        rates = take_turns(
            turns, one=lambda: rate(one, 255), many=lambda: rate(many, 255 * workers)
        )
    ratio = rates["many"] / rates["one"]
    words = (
        f"The server answers {LATENCY_MS} ms after it is asked, however many ask; each worker has "
        f"one page in flight and {SLOW_CHUNK} in a chunk, about 400 ms of work. Pages/s: one "
        f"worker {rates['one']:.0f}, {workers} workers {rates['many']:.0f}."
    )
    bar = 0.75 * workers
    what = f"pages/s of {workers} workers / of one, a server of {LATENCY_MS} ms"
    return [Result(what, f"≥ {bar:g}", f"{ratio:.2f}", ratio.median >= bar, words)]


def the_driver(chunks: int) -> list[Result]:
    """Put chunks that came in any order through the driver's path, rows elsewhere; then not."""
    elsewhere, total = _drive(chunks, rows=False)
    with_rows, _ = _drive(max(chunks // 50, 20), rows=True)
    rate = PAGES / elsewhere.median * 1000
    words = (
        f"{chunks:,} chunks of {PAGES} pages of {SIZE:,} rows, as from 100 workers, {AHEAD} under "
        f"way in any order: unpacked, put in order, added up, committed in {total:.0f} s; medians "
        f"of tenths of them. Rows lie in Parquet files. So one driver serves {rate:,.0f} pages/s, "
        f"{rate * SIZE / 1e6:.1f} million rows/s. With the rows in `data`: {with_rows:.1f} ms a "
        f"chunk, {PAGES * SIZE / with_rows.median / 1000:.2f} million rows/s."
    )
    what = f"ms of the driver's processor per chunk of {PAGES} pages of {SIZE:,} rows"
    return [Result(what, "< 5", f"{elsewhere:.2f}", elsewhere.median < 5, words)]


def _drive(chunks: int, *, rows: bool) -> tuple[Figures, float]:
    """Return milliseconds per chunk, in tenths of the run, and the seconds of all."""
    columns = WORLDS["collider"].sample((PAGES + 1) * SIZE, seed=1)
    batches = [
        Batch.of(*(column[at * SIZE : (at + 1) * SIZE] for column in columns), page=at)
        for at in range(PAGES + 1)
    ]
    with TemporaryDirectory() as folder:
        models, settings = default_models(source="world:collider", merging=True)
        source = {"source": "world:collider", "page_size": SIZE, "settings": settings}
        line = ScaledLine(Store(f"{folder}/promo.db", **source), models)
        line.learn(batches[0])
        frame = line.frame
        assert frame is not None
        sample = Chunk.of(batches[1:], frame)
        sample = sample if rows else sample.without_rows()
        times: list[float] = []
        ready: dict[int, Chunk] = {}
        for number in _arrivals(chunks):
            packed = pickle.dumps(_numbered(sample, number), protocol=5)
            began = time.thread_time()
            ready[number] = pickle.loads(packed)
            while (chunk := ready.pop(len(times), None)) is not None:
                line.add(chunk)
                times.append(time.thread_time() - began)
                began = time.thread_time()
        line.store.close()
    tenth = len(times) // 10
    parts = [times[at * tenth : (at + 1) * tenth] for at in range(10)]
    return Figures(tuple(1000 * sum(part) / len(part) for part in parts)), sum(times)


def _arrivals(chunks: int) -> Iterator[int]:
    """Yield the numbers of chunks in an order in which workers could finish them."""
    dice, under_way, begun = random.Random(1), list[int](), 0
    while begun < chunks or under_way:
        # No more than so many ahead of the one that is due.
        while begun < chunks and (not under_way or begun - min(under_way) < AHEAD):
            under_way.append(begun)
            begun += 1
        yield under_way.pop(dice.randrange(len(under_way)))


def _numbered(chunk: Chunk, number: int) -> Chunk:
    """Return a chunk as if it had that number: other pages, other ids, the same values."""
    pages = []
    for at, page in enumerate(chunk.pages):
        place = 1 + number * PAGES + at
        ids = page.batch.ids  # shared by all pages where there are none
        batch = replace(page.batch, page=place, ids=ids + place * SIZE if len(ids) else ids)
        kept = page.elsewhere and page.elsewhere._replace(
            first_id=place * SIZE, last_id=(place + 1) * SIZE - 1, fresh=batch
        )
        pages.append(page._replace(batch=batch, elsewhere=kept))
    return chunk._replace(pages=tuple(pages))
