"""Chunks of a stream in order, from workers that learn them in any order and may die.

The driver's reader: it asks for chunks ahead, within one limit for all workers, and hands them out
one after another, like `promo.reader.PageReader` its pages. Each chunk has a coroutine in the loop
of Dask's client, which asks again until somebody has done it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Self

from distributed import KilledWorker

from promo.batch import Batch
from promo.errors import ClusterError
from promo.pace import SpeedLimit
from promo.reader import PageReader, Retry
from promo.scale.chunk import Chunk, Frame
from promo.scale.cluster import Cluster
from promo.scale.rows import name_rows
from promo.scale.work import Done, Order, Task, Unwanted, do, hold, stop
from promo.store import Cursor
from promo.stream import PageStream

ROWS, MOST_PAGES = 50_000, 512  # of a chunk: a worker's work for a tenth of a second or more
_TRIES = 20
_LOOKS = 10  # signs of life that a worker gives within our patience, at least
_MOST_WINDOW = 8  # pages in flight of one worker
_ALIVE_S = 5.0  # between two signs of life
_OVER_S = 1.0  # after the next attempt, a retry is news no more


class Plan(NamedTuple):
    """How a stream is shared out.

    Attributes
    ----------
    pages
        Of a chunk. The last page of each is a multiple of it, whoever works and wherever a run
        begins. A store that thins its history keeps multiples of a power of two: all of them, as
        long as there are no more than it keeps, where this is one as well.
    in_flight, pages_per_s
        Of all workers together, at most; the latter is None for no limit.
    patience_s
        A worker that has given no sign of life for so long is not waited for.
    parquet
        Folder for the rows, which otherwise go to the store.
    """

    pages: int
    in_flight: int
    pages_per_s: float | None
    patience_s: float
    parquet: Path | None

    def shares(self, threads: int) -> tuple[int, int]:
        """Return how many chunks may be under way, and the pages in flight of each.

        Their product is never more than `in_flight`; there are more chunks than workers, where
        that allows it, so that a worker finds the next one waiting.

        Examples
        --------
        >>> plan = Plan(16, in_flight=64, pages_per_s=None, patience_s=150.0, parquet=None)
        >>> [plan.shares(threads) for threads in (1, 2, 8, 100)]
        [(8, 8), (8, 8), (16, 4), (64, 1)]
        """
        window = max(1, min(_MOST_WINDOW, self.in_flight // (2 * max(threads, 1))))
        return max(1, self.in_flight // window), window


class _Share(NamedTuple):
    """What a chunk under way has of the limits, until it is done, whoever comes or goes."""

    window: int
    pages_per_s: float


class ChunkReader:
    """One pass over a stream from a cursor on, owned by one consuming thread.

    Pages come one by one, fetched here, until `frame` is known; then chunks, from the workers.

    Parameters
    ----------
    cluster, stream, plan
        Who works, on what, and how it is shared out.
    page, position
        The cursor: 0-based page, and how many of its rows to pass over.
    frame
        Gives what chunks are learned about, None until that is known.
    wanted
        Gives how many pages are to be learned yet, None for all there are.
    """

    def __init__(
        self,
        cluster: Cluster,
        stream: PageStream,
        plan: Plan,
        page: int,
        position: int,
        frame: Callable[[], Frame | None],
        wanted: Callable[[], int | None],
    ) -> None:
        cluster.check()
        self._cluster, self._stream, self._plan = cluster, stream, plan
        self._frame, self._wanted = frame, wanted
        self._due = self._next = Cursor(page, position)  # to be handed out, to be asked for
        self._pending: dict[Cursor, Future[Done]] = {}
        self._shares: dict[Cursor, _Share] = {}  # of those
        self._ready: dict[Cursor, Done | BaseException] = {}
        self._outcomes: SimpleQueue[tuple[Cursor, Future[Done]]] = SimpleQueue()
        self._end: BaseException | None = None  # what comes after the last chunk
        self._first: PageReader | None = None
        self._limit = SpeedLimit(plan.pages_per_s)
        self._retry: Retry | None = None
        self._alive: dict[str, float] = {}  # when a worker, by address, gave a sign of life
        self._closed = False
        self._run = f"promo-{uuid.uuid4().hex}"
        self._loop: asyncio.AbstractEventLoop = cluster.client.loop.asyncio_loop
        cluster.client.subscribe_topic(self._run, self._hear)

    def poll(self, timeout: float) -> Batch | Chunk | None:
        """Return what comes next, or None if nothing has come within `timeout` seconds.

        Raises
        ------
        StopIteration
            The end of the stream. Also once closed.
        StreamError
            The next page could not be had; all before it have been handed out.
        ClusterError
            Nobody could be had to work.
        """
        if self._closed:
            raise StopIteration
        if self._end is not None:
            raise self._end
        self._cluster.check()
        frame = self._frame()
        if frame is None:
            return self._poll_first(timeout)
        self._leave_first()
        give_up = time.monotonic() + timeout
        while self._due not in self._ready:
            self._ask(frame)
            left_s = give_up - time.monotonic()
            try:
                self._take(*self._outcomes.get(timeout=max(left_s, 0.0)))
            except Empty:
                return None
        return self._hand_out(self._ready.pop(self._due))

    def arrived(self) -> Chunk | None:
        """Return the next chunk if it is here already; ask for nothing."""
        while not self._outcomes.empty():
            self._take(*self._outcomes.get())
        done = self._ready.get(self._due)
        return self._hand_out(self._ready.pop(self._due)) if isinstance(done, Done) else None

    @property
    def retry(self) -> Retry | None:
        """Why chunks are late, if a page is being asked for again."""
        if self._first is not None:
            return self._first.retry
        retry = self._retry
        if retry and (retry.page < self._due.page or time.monotonic() > retry.at + _OVER_S):
            return None
        return retry

    def close(self) -> None:
        """Have the workers stop at once, without waiting for them. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._leave_first()
        for future in self._pending.values():
            future.cancel()
        if self._cluster.lives:
            self._loop.call_soon_threadsafe(self._tell, stop, self._run)
            self._cluster.client.unsubscribe_topic(self._run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- before there is a frame: pages, one by one -----------------------------------------

    def _poll_first(self, timeout: float) -> Batch | None:
        if self._first is None:  # one page, so that none is in flight once the workers begin
            if (early_s := self._limit.early_s()) > 0:
                time.sleep(min(early_s, timeout))
                return None
            self._limit.count()
            end = None if self._due.position else self._due.page + 1
            self._first = self._stream.read(*self._due, window=1, end=end)
        batch = self._first.poll(timeout)
        if batch is not None:
            self._leave_first()
            before = self._due.position if batch.page == self._due.page else 0
            self._due = self._next = self._after(batch.page, before + batch.received)
        return batch

    def _leave_first(self) -> None:
        if self._first is not None:
            self._first.close()
            self._first = None

    def _after(self, page: int, received: int) -> Cursor:
        whole = received >= self._stream.page_size
        return Cursor(page + 1, 0) if whole else Cursor(page, received)

    # -- chunks: asked for ahead, handed out in order ---------------------------------------

    def _ask(self, frame: Frame) -> None:
        """Ask for as many chunks as there may be under way."""
        plan, stream, threads = self._plan, self._stream, self._cluster.threads
        slots, window = plan.shares(threads)
        share = _Share(window, (plan.pages_per_s or 0.0) / max(min(slots, threads), 1))
        while len(self._pending) < slots and len(self._pending) + len(self._ready) < 2 * slots:
            task = self._task()
            if task is None or self._limit.early_s() > 0 or stream.hold.left_s():
                return
            if not self._is_room(share):  # those under way have all of it
                return
            alive_s = min(plan.patience_s / _LOOKS, _ALIVE_S)
            name = f"{self._run}-{task.page}-{task.position}"
            options = window, share.pages_per_s or None, name, alive_s, plan.parquet
            order = Order(self._run, stream, frame, *options)
            begin = Cursor(task.page, task.position)
            future = asyncio.run_coroutine_threadsafe(self._obtain(task, order), self._loop)
            future.add_done_callback(partial(self._arrive, begin))
            self._pending[begin], self._next = future, Cursor(task.end, 0)
            self._shares[begin] = share
            self._limit.count(task.end - task.page)

    def _is_room(self, share: _Share) -> bool:
        """Whether the limits hold with a chunk more, whose share may be of more workers.

        Without a limit of pages per second, chunks may wait for a worker; with one, none does.
        """
        taken = [*self._shares.values(), share]
        paces = sum(each.pages_per_s for each in taken)
        within = paces <= (self._plan.pages_per_s or 0.0) * (1 + 1e-9)
        return within and sum(each.window for each in taken) <= max(self._plan.in_flight, 1)

    def _task(self) -> Task | None:
        """Return what comes next, None if nothing is to be asked for yet."""
        page, position = self._next
        begin = page + 1 if position else page  # of a short page, only what it has grown by
        end = -(-begin // self._plan.pages) * self._plan.pages + 1
        if (wanted := self._wanted()) is not None:
            end = min(end, self._due.page + bool(self._due.position) + wanted)
        total = self._stream.total_rows
        beyond = total is not None and page * self._stream.page_size >= total
        if begin >= end or (beyond and self._next != self._due):
            return None
        return Task(page, position, end)

    def _arrive(self, begin: Cursor, future: Future[Done]) -> None:
        self._outcomes.put((begin, future))

    def _take(self, begin: Cursor, future: Future[Done]) -> None:
        if self._pending.get(begin) is future:  # else the cursor has been moved
            del self._pending[begin], self._shares[begin]
            gone = ClusterError("Dask has given up a chunk; it goes on from the last commit")
            self._ready[begin] = (
                gone if future.cancelled() else future.exception() or future.result()
            )

    def _hand_out(self, done: Done | BaseException) -> Chunk | None:
        if isinstance(done, BaseException):
            raise done
        self._cluster.note(done)
        if self._plan.parquet and done.file:
            name_rows(self._plan.parquet, done.file, *self._due)
        self._stream.total_rows = done.total_rows or self._stream.total_rows
        self._due = Cursor(done.page, done.position)
        if done.error is not None:
            self._end = done.error
        elif done.ended:
            self._end = StopIteration()
        elif done.position:  # a short page: it may grow, or be the last, so look at it again
            for future in self._pending.values():
                future.cancel()
            self._pending, self._ready, self._next = {}, {}, self._due
            self._shares = {}
        return done.chunk

    # -- in the loop of Dask's client -------------------------------------------------------

    async def _obtain(self, task: Task, order: Order) -> Done:
        """Have a task done, by one worker after another if need be."""
        client, avoid, reason, begin = self._cluster.client, set[str](), "", order.name
        for attempt in range(_TRIES):
            order = order._replace(name=f"{begin}-{attempt}-{uuid.uuid4().hex[:8]}")
            picky = avoid or self._cluster.unfit
            workers = [a for a in self._cluster.addresses if a not in avoid] if picky else []
            future = client.submit(
                do, task, order, key=order.name, priority=-task.page, workers=workers or None
            )
            got: asyncio.Future[Any] = asyncio.ensure_future(client.gather(future))
            got.add_done_callback(_look_at)
            try:
                while not (await asyncio.wait({got}, timeout=self._plan.patience_s))[0]:
                    if silent := await self._silent(order.name):
                        reason = f"no sign of life from {', '.join(silent)}"
                        avoid |= silent
                        break
                else:
                    done: Done = got.result()
                    return done
            except (KilledWorker, Unwanted, CancelledError, OSError, ImportError) as error:
                reason = str(error) or type(error).__name__
            except asyncio.CancelledError:  # nobody wants these pages from here
                self._tell(stop, order.name)
                raise
            finally:  # not `got`, by which other chunks may be fetched as well
                self._keep(client.cancel([future]))
            self._tell(stop, order.name)  # should it go on there, or wake up
        raise ClusterError(
            f"pages {task.page} to {task.end - 1}: given up after {_TRIES} tries; the last one: "
            f"{reason}"
        )

    async def _silent(self, key: str) -> set[str]:
        """Return workers that have a task, or its result, and are silent for all our patience.

        One that is at work on other chunks first gives signs of life of those.
        """
        client, since = self._cluster.client, time.monotonic() - self._plan.patience_s
        have = {address for address, keys in (await client.processing()).items() if key in keys}
        have.update((await client.who_has()).get(key, ()))
        return {address for address in have if self._alive.get(address, 0.0) < since}

    def _hear(self, event: tuple[float, Any]) -> None:
        """Hear that a worker lives, or asks for a page again; hold all others if need be."""
        now = time.monotonic()
        if len(event[1]) == 3:
            _, address, waits = event[1]
            self._alive[address] = now
            if waits:  # it is new to this run
                self._tell(hold, self._run, self._stream.hold.left_s(), workers=[address])
            return
        page, attempt, reason, left_s, asked_s = event[1]
        if self.retry is None or asked_s > self.retry.asked_s:
            self._retry = Retry(page, attempt, reason, now + left_s, asked_s)
        if asked_s > 0 and left_s > self._stream.hold.left_s():
            self._stream.hold.extend(left_s)
            self._tell(hold, self._run, left_s)

    def _tell(
        self, what: Callable[..., None], *arguments: object, workers: list[str] | None = None
    ) -> None:
        """Have something done in the process of every worker, or some, without waiting for it."""
        client = self._cluster.client
        self._keep(client.run(what, *arguments, workers=workers, on_error="ignore"))

    def _keep(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        task.add_done_callback(_look_at)
        _kept.add(task)
        task.add_done_callback(_kept.discard)


_kept: set[asyncio.Future[Any]] = set()  # tasks that nobody waits for must not be collected


def _look_at(future: asyncio.Future[Any]) -> None:
    """Take note of how it ended, which nobody else may want to know."""
    if not future.cancelled():
        future.exception()
