"""The one background thread: it takes pages from the stream through the models to the store.

Any thread may send commands; they are remembered under one lock and obeyed between two pages.
What others see is a `Snapshot` of a committed page, never a model; errors lead back to that page.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from promo import leaving, preparing, words
from promo.changes import check_growth, check_source
from promo.errors import PromoError, SourceChanged, StoreError
from promo.line import Halted, Line
from promo.models.results import Model, check_learning_rate
from promo.pace import SpeedLimit
from promo.reader import Retry
from promo.snapshot import Snapshot, Status
from promo.store import Store
from promo.stream import PageStream
from promo.wishes import Wishes

_T = TypeVar("_T")
_TICK_S = 0.05  # how long a command may wait while the thread waits for a page
_SNAPSHOT_S = 0.05  # least time between two snapshots while running


class Trainer:
    """Runs a stream through models into a store, page by page, in one background thread.

    On construction the models take over what the store holds, so that learning goes on where it
    stopped, to the bit. Commands return at once, may come from any thread in any order, and apart
    from `step` saying one twice is saying it once.

    Parameters
    ----------
    stream, store
        Source and sink. The trainer owns the store from now on and closes it.
    models
        Learn every page in this order.
    speed
        Pages per second at most; None for as fast as it goes. Later it is `limit.pages_per_s`.
    accept_changes
        Go on although the source no longer serves what was committed. Either way nothing is
        overwritten, and an event says which page differs.

    Raises
    ------
    StoreMismatch, ValueError
        The store holds pages of other models, or no usable state of one of these. The speed is not
        positive, or two of the models have one name.
    """

    def __init__(
        self,
        stream: PageStream,
        store: Store,
        models: Sequence[Model],
        *,
        speed: float | None = None,
        accept_changes: bool = False,
    ) -> None:
        self.stream, self.store, self.accept_changes = stream, store, accept_changes
        self.error: BaseException | None = None
        self._condition = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._active = self._closed = self._broken = self._hurried = False
        self._status: Status = "idle"
        self._retry: Retry | None = None
        self._budget: int | None = 0  # pages still to do; None: all there are
        self._wishes, self._waited_s, self._halt = Wishes(), 0.0, threading.Event()
        self._ending: threading.Event | None = None  # the `halt` of a thread that has done its work
        try:
            self.limit = SpeedLimit(speed)
            self._line = self._open_line(store, models)
            self.models = self._line.models
            self._preparing = preparing.begin(self.models)
            with self._condition:
                self._publish()
        except BaseException:
            store.close()
            raise
        leaving.OPEN.add(self)

    def play(self) -> None:
        """Learn pages until paused, stopped, or at the end of the stream."""
        self._go(None)

    def step(self, pages: int = 1) -> None:
        """Learn that many pages and pause; while playing, do nothing."""
        with self._condition:
            if not self._alive:
                self._go(pages)
            elif self._budget is not None:
                self._go(self._budget + pages)

    def pause(self) -> None:
        """Rest after the page under way, with the next ones fetched already."""
        with self._condition:
            self._budget = 0
            self._condition.notify_all()

    def stop(self) -> None:
        """End the thread after the page under way, at once if it is waiting for one."""
        with self._condition:
            self._halt.set()
            self.pause()

    def start_over(self) -> None:
        """Forget everything: empty the store and the models, and rest before the first page."""
        with self._condition:
            self._halt.set()
            self._wishes.rates.clear()
            self._wishes.notes.clear()
            self._go(0, afresh=True)

    def set_speed(self, pages_per_s: float | None) -> None:
        """Learn at most that many pages per second; None for no limit.

        Raises
        ------
        ValueError
            The speed is not positive.
        """
        with self._condition:
            self.limit.set(pages_per_s)
            self._condition.notify_all()

    def set_learning_rate(self, model: str, value: float) -> None:
        """Change a learning rate from the next page on; an event says from which.

        Raises
        ------
        ValueError, StoreError
            No such model has a learning rate, or the value is not in (0, 1e6]; or it could not be
            written, and will be with the next start.
        """
        if model not in self._line.rates():
            raise ValueError(f"{model!r} has no learning rate; these have: {[*self._line.rates()]}")
        with self._condition:
            self._wishes.rates[model] = check_learning_rate(value)
            if not self._closed:
                self._wish(self._obey)

    def note(self, kind: str, **detail: Any) -> None:
        """Write an event of the reader's own: at once, or before the next page while playing.

        Its page is the next one: 0 was written before anything was seen. `detail` is JSON's.

        Raises
        ------
        TypeError, ValueError
            JSON cannot hold the detail, or not in a megabyte; the kind is no name for an event.
        StoreError
            It could not be written; it will be, with the next that can.
        """
        self._wishes.note(kind, detail)
        self._wish(self._write_notes)

    def ask(self, question: Callable[[Sequence[Model]], _T]) -> Future[_T]:
        """Answer a question about the models, between two pages; the future has the answer.

        `question` is given the models and must not change them. It is called in the thread that
        owns them, at once if there is none, so it should take some milliseconds at most.
        """
        future: Future[_T] = Future()
        self._wishes.questions.append((question, future))
        self._wish(lambda: self._wishes.answer(self.models))
        return future

    def unlearned(self) -> Future[tuple[Model, ...]]:
        """Copy the models as they were before they learned anything, between two pages."""
        return self.ask(lambda _: self._line.unlearned())

    def _wish(self, fulfil: Callable[[], None]) -> None:
        with self._condition:
            if self._active:
                self._condition.notify_all()
            else:  # no thread: nobody else is at models and store
                try:
                    fulfil()
                except StoreError:
                    self._broken = True  # nothing more by this connection
                    raise

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread to end; raise what it failed of."""
        with self._condition:  # so that it has been started
            thread = self._thread
        if thread is not None:
            thread.join(timeout)
        if self.error is not None:
            raise self.error

    def run(self, pages: int | None = None) -> Snapshot:
        """Learn that many pages, or all there are, and return the snapshot after the last.

        It blocks, and the speed limit is off meanwhile. Raises what the thread failed of.
        """
        try:
            with self._condition:
                self._hurried = True
                self._go(pages)
                self._condition.wait_for(lambda: self._status != "running")
        except KeyboardInterrupt:
            self.pause()
            raise
        finally:
            self._hurried = False
        self.join(0)  # raises what it failed of
        return self.snapshot

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the next snapshot, or for the time to run out."""
        with self._condition:
            self._condition.wait(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Stop, wait for the thread and let go of the store, for good. Idempotent."""
        with self._condition:
            self._closed = True
            self.stop()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)
        if thread is None or not thread.is_alive():  # else it lets go as it ends
            with self._condition:
                self.store.close()
            leaving.OPEN.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def status(self) -> Status:
        """What the trainer is doing, at this moment; a snapshot read after it is no older."""
        with self._condition:
            return "retrying" if self._status == "running" and self._retry else self._status

    @property
    def message(self) -> str:
        """Why the trainer failed, and what to do, or why it waits; else empty."""
        if self._status == "running":
            return words.of_waiting(self._retry, self._waited_s)
        helps = not self._closed and not isinstance(self.error, SourceChanged)
        return words.of_failure(self.error, play=helps) if self._status == "failed" else ""

    @property
    def snapshot(self) -> Snapshot:
        """The newest picture; while running up to 0.05 s old."""
        return self._snapshot

    @property
    def _alive(self) -> bool:
        """Whether there is a thread that will obey the next command."""
        return self._active and self._halt is not self._ending and not self._halt.is_set()

    def _go(self, budget: int | None, *, afresh: bool = False) -> None:
        with self._condition:
            if self._closed:
                self.error = StoreError(f"{self.store.path} is closed: make a new trainer for it")
                self._status = "failed"
                return
            self._budget = None if budget is None else max(budget, 0)
            if self._budget != 0:
                self._status = "running"
            if not self._alive:
                self._halt.set()  # of one that takes up the last commit: the new one does that
                self._halt, self._active = threading.Event(), True
                self.error, self._waited_s = None, 0.0
                self._status = "idle" if self._status == "failed" else self._status
                run, about = self._run, (self._halt, self._thread, afresh)
                self._thread = threading.Thread(None, run, "promo-trainer", about, daemon=True)
                self._thread.start()
            self._condition.notify_all()

    def _run(self, halt: threading.Event, before: threading.Thread | None, afresh: bool) -> None:
        if before is not None:
            before.join()  # it is ending: one thread at a time owns models and store
            self.error = None
        end: Status = "stopped"
        try:
            if afresh or self._broken:
                self._restore(halt, afresh)
                with self._condition:
                    self._publish()
            preparing.wait(self._preparing, halt)
            check_source(self.stream, self.store, halt, self._note_retry, self.accept_changes)
            if not halt.is_set():  # else nothing has started
                start = self.store.cursor or (self.stream.start_page, self.stream.start_position)
                with self._read(*start) as reader:
                    self._line.record("started")
                    end = self._loop(reader, halt)
                self._ending = halt
                self._line.record(end)
        except Halted:
            self._broken = True
        except Exception as error:
            end, self._ending = "failed", halt
            self._recover(error, halt)
        finally:
            with self._condition:
                if halt is self._halt:  # no later thread has been asked for
                    self._active, self._status = False, end
                    try:
                        self._obey()
                    except PromoError:  # then they wait for the next that can be written
                        self._broken = True
                    self._wishes.answer(self.models)
                self._publish()
                if self._closed and halt is self._halt:
                    self.store.close()
                    leaving.OPEN.discard(self)

    def _open_line(self, store: Store, models: Sequence[Model]) -> Line:
        return Line(store, models)

    def _read(self, page: int, position: int) -> Any:  # like a PageReader
        return self.stream.read(page, position)

    def _learn(self, news: Any) -> int:
        """Learn what the reader has brought; return how many pages that is."""
        check_growth([news], self.stream, self.store, self.accept_changes)
        self._line.learn(news)
        return 1

    def _loop(self, reader: Any, halt: threading.Event) -> Status:
        while self._may_go_on(halt):
            asked = time.perf_counter()
            try:
                batch = reader.poll(_TICK_S)
            except StopIteration:
                return "finished"
            waited_s = time.perf_counter() - asked
            self._line.memory.spent_s["fetch"] += waited_s
            self._waited_s = self._waited_s + waited_s if batch is None else 0.0
            if batch is not None:
                pages = self._learn(batch)
                with self._condition:
                    self.limit.count(pages)
                    self._budget = self._budget and max(self._budget - pages, 0)
                    self._stale = True
            self._note_retry(reader.retry)  # of the page after the one just learned
        return "stopped"

    def _may_go_on(self, halt: threading.Event) -> bool:
        """Obey commands and wait for our turn; False once stopped."""
        with self._condition:
            while not halt.is_set():
                self._obey()
                if self._stale and time.monotonic() >= self._publish_at:
                    self._publish()
                if self._budget == 0:
                    if self._status != "paused":
                        self._status = "paused"
                        self._publish()
                    self._condition.wait()
                elif not self._hurried and (early := self.limit.early_s()) > 0:
                    self._condition.wait(min(early, _SNAPSHOT_S) if self._stale else early)
                else:
                    return True
            if halt is self._halt:  # else a later thread obeys, maybe after starting over
                self._obey()
            return False

    def _obey(self) -> None:
        if not self._broken and self._wishes.change_rates(self._line):
            self._publish()
        self._write_notes()
        self._wishes.answer(self.models)

    def _write_notes(self) -> None:
        if self._broken and self._wishes.notes:
            self.store.reopen()  # the models wait for the next start
        if self._wishes.write_notes(self._line):
            self._publish()  # for those who show events

    def _note_retry(self, retry: Retry | None) -> None:
        if retry and (self._retry is None or self._retry.page != retry.page):
            self._line.record("retry", reason=retry.reason)
        changed, self._retry = retry != self._retry, retry
        with self._condition:
            if threading.current_thread() is self._thread:  # no later one is asked for
                self._obey()  # as nobody else does before the first page
            if changed:
                self._publish()

    def _recover(self, error: Exception, halt: threading.Event) -> None:
        """Drop what is in memory, go back to the last commit, and say what happened."""
        self.error, self._broken = error, True
        try:
            if not (halt.is_set() and isinstance(error, StoreError)):  # else Stop waits for it
                self._restore(halt)
                self._line.record("error", reason=words.of_error(error))
        except PromoError:  # the store may be what is broken: then the next start tries
            self._broken = True

    def _restore(self, halt: threading.Event, afresh: bool = False) -> None:
        if self._broken:
            self.store.reopen()
        if afresh:
            self.store.clear()
        self._line.restore(halt)
        self._broken = False

    def _publish(self) -> None:
        """Make a new snapshot; the caller holds the condition, or nobody else is there yet."""
        stream, rates, said = self.stream, self._line.rates(), (self.status, self.message)
        self._snapshot = self._line.memory.snapshot(
            *said, page_size=stream.page_size, total_rows=stream.total_rows, learning_rates=rates
        )
        self._stale, self._publish_at = False, time.monotonic() + _SNAPSHOT_S
        self._condition.notify_all()
