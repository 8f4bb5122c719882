"""What a worker does: fetch a chunk of pages, learn it by itself, and hand over what merges.

Runs in processes of Dask, in threads, and knows neither SQLite's file nor the driver. A worker
asks for its pages as one machine would, with the same retries; how many at once and how fast is
its share of one limit, which the driver hands out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from distributed import get_worker

from promo.batch import Batch
from promo.errors import StreamError
from promo.pace import Hold, SpeedLimit
from promo.reader import PageReader, Retry
from promo.scale.chunk import Chunk, Frame
from promo.scale.rows import write_rows
from promo.stream import PageStream

_TICK_S = 0.05  # how soon it hears that nobody wants its pages any more
_SOON_S = 0.002  # and how soon that it may begin
_SIGNS = 10  # of life, after which it does not wait for that any longer
_stopped: set[str] = set()  # runs and attempts that are over
_holds: dict[str, Hold] = {}  # of runs: what the server has said to one page is for all


class Task(NamedTuple):
    """Pages to fetch: from `page` on, passing over its first `position` rows, up to `end`."""

    page: int
    position: int
    end: int


class Order(NamedTuple):
    """How a worker is to go about a task.

    Attributes
    ----------
    run
        Name of the run, for `stop` and `hold`, and topic of what is told the driver.
    stream
        Where pages come from.
    frame
        What chunks are learned about.
    window
        Pages in flight at most.
    pages_per_s
        At most, None for no limit.
    name
        Of this attempt, for `stop`, and for its signs of life.
    alive_s
        How often it gives one.
    parquet
        Folder to write the rows to; they are not handed over then.
    """

    run: str
    stream: PageStream
    frame: Frame
    window: int
    pages_per_s: float | None
    name: str
    alive_s: float
    parquet: Path | None


class Done(NamedTuple):
    """What has become of a task.

    Attributes
    ----------
    chunk
        Of the pages that were there, None if there were none.
    ended
        Whether the stream ends with them.
    page, position
        Where it goes on.
    total_rows
        That the server says it has.
    error
        Why there is no more, if a page could not be had.
    worker, seconds, retries
        Who did it, how long it took, and how often a page was asked for again.
    file
        That the rows were written to, if they were (see `promo.scale.rows`).
    """

    chunk: Chunk | None
    ended: bool
    page: int
    position: int
    total_rows: int | None
    error: StreamError | None
    worker: str
    seconds: float
    retries: int
    file: str | None


class Unwanted(Exception):
    """Nobody waits for these pages any more."""


def do(task: Task, order: Order) -> Done:
    """Fetch the pages of a task and learn them."""
    began = time.monotonic()
    watched = _Watched(order)
    batches: list[Batch] = []
    error = file = None
    stream = order.stream
    stream.hold = watched.hold()
    page, position = task.page, task.position
    with stream.read(page, position, window=order.window, end=task.end) as reader:
        try:
            for batch in watched.pages(reader):
                batches.append(batch)
                position = batch.received + (position if batch.page == page else 0)
                page = batch.page
                if page == task.end - 1:
                    break
        except StreamError as problem:
            error = problem
    ended = error is None and (not batches or page < task.end - 1)
    if batches and position >= stream.page_size:
        page, position = page + 1, 0
    chunk = Chunk.of(batches, order.frame) if batches else None
    if chunk and order.parquet:
        file = write_rows(order.parquet, batches)
        chunk = chunk.without_rows()
    return Done(
        chunk,
        ended,
        page,
        position,
        stream.total_rows,
        error,
        str(get_worker().name),
        time.monotonic() - began,
        reader.retries,
        file,
    )


class _Watched:
    """The pages of a reader, in step with the other workers and only while they are wanted."""

    def __init__(self, order: Order) -> None:
        self._order, self._alive_at = order, 0.0
        self._seen: set[tuple[int, int]] = set()  # pages and attempts

    def check(self) -> None:
        """Give a sign of life now and then; raise Unwanted if nobody waits for it."""
        if not _stopped.isdisjoint((self._order.run, self._order.name)):
            raise Unwanted
        if (now := time.monotonic()) >= self._alive_at:
            self._alive_at = now + self._order.alive_s
            waits = self._order.run not in _holds
            told = [self._order.name, get_worker().address, waits]
            get_worker().log_event(self._order.run, told)

    def hold(self) -> Hold:
        """Return what the server has said to this run; ask for nothing before it is known here."""
        give_up = time.monotonic() + _SIGNS * self._order.alive_s
        while (known := _holds.get(self._order.run)) is None:
            self.check()
            if time.monotonic() > give_up:  # the driver is gone, or it will try again
                raise Unwanted("no word from the driver")
            time.sleep(_SOON_S)
        return known

    def pages(self, reader: PageReader) -> Iterator[Batch]:
        limit = SpeedLimit(self._order.pages_per_s)
        while True:
            self.check()
            if (wait_s := limit.early_s()) > 0:
                time.sleep(min(wait_s, _TICK_S))
                continue
            try:
                batch = reader.poll(_TICK_S)
            except StopIteration:
                return
            self._note(reader.held)
            self._note(reader.retry)
            if batch is not None:
                limit.count()
                yield batch

    def _note(self, retry: Retry | None) -> None:
        """Tell the driver of a page that is asked for again; it may have to hold the others."""
        if retry is not None and (retry.page, retry.attempt) not in self._seen:
            self._seen.add((retry.page, retry.attempt))
            left_s = retry.at - time.monotonic()
            told = [retry.page, retry.attempt, retry.reason, left_s, retry.asked_s]
            get_worker().log_event(self._order.run, told)


def stop(name: str) -> None:
    """Have this process do no more for a run, or for one attempt at a chunk."""
    _stopped.add(name)
    _holds.pop(name, None)


def hold(run: str, seconds: float) -> None:
    """Have this process begin with a run; but ask for no page of it for a while.

    For no less than it was told before.
    """
    _holds.setdefault(run, Hold()).extend(seconds)
