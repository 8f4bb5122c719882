"""The trainer's twin: the same commands, snapshots and store, with the pages shared out."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promo import words
from promo.batch import Batch
from promo.changes import check_growth
from promo.errors import StoreMismatch, StreamError
from promo.models.results import Model
from promo.reader import Retry
from promo.scale.cluster import Cluster, WorkerFacts
from promo.scale.line import ScaledLine
from promo.scale.reader import MOST_PAGES, ROWS, ChunkReader, Plan
from promo.scale.rows import (
    check_rows,
    claim_folder,
    drop_uncommitted,
    give_up_folder,
    name_rows,
    write_rows,
)
from promo.snapshot import Status
from promo.store import Store
from promo.stream import PageStream
from promo.trainer import Trainer

WAITING = "the cluster has no workers; the stream goes on when some have come"
_CHUNK_S = 5.0  # that a chunk takes of the pace, where one is set; of all, divided among workers
_LAST_S = 0.5  # for which Stop commits what has come already


class ScaledTrainer(Trainer):
    """Runs a stream through the workers of a cluster into a store, chunk by chunk.

    It is a `Trainer` in all that the reader of a panel can see, and its store is one as well: a
    run can be begun by either and gone on with by the other. What differs: pages are committed a
    chunk at a time, so that Step may bring more than one, and only models that merge take part.
    River's SGD and trees do not, for they learn row after row; they are off.

    Parameters
    ----------
    stream, store
        As in `Trainer`. Workers must reach the stream's address as well.
    models
        Of ``default_models(merging=True)``.
    cluster
        Who works. It stays the caller's.
    chunk
        Pages of a chunk, the same however many workers there are; by default the power of two that
        holds up to 50,000 rows, at most 512 and what `pages_per_s` allows all workers in five
        seconds (so each of n takes 5 n seconds for one). Of other numbers than powers of two the
        store's history, once it is thinned, keeps only a few.
    in_flight, pages_per_s
        What all workers together may ask of the API: pages at once, and per second, give or take
        those at once; None for no limit. When it answers one of them with Retry-After, all wait.
        What a worker had asked for when it died or hung is not counted any more.
    patience_s
        A worker that has a chunk and gives no sign of life for so long is asked no more; by default
        the deadline of a page and half a minute.
    parquet
        A folder, which every worker and this process reach, for all rows: `data` then has those of
        the first page alone, and the driver less to do. Files are named by the page and row that
        they begin with; those of pages beyond the ledger are of work that was not committed, and
        go when the run goes on. A folder is one run's; starting over deletes what it has.
    speed, accept_changes
        As in `Trainer`.

    Raises
    ------
    StreamError
        The stream is to wait for new rows at its end.
    StoreMismatch
        As `Trainer`; also if the store's rows are in Parquet files and these are not to be, or the
        other way round, or the folder is not this run's.
    StoreError
        There can be no such folder.
    ClusterError
        One of the models does not merge.
    ValueError
        A number is not positive, where one is given.
    """

    def __init__(
        self,
        stream: PageStream,
        store: Store,
        models: Sequence[Model],
        cluster: Cluster,
        *,
        chunk: int | None = None,
        in_flight: int = 64,
        pages_per_s: float | None = None,
        patience_s: float | None = None,
        parquet: str | Path | None = None,
        speed: float | None = None,
        accept_changes: bool = False,
    ) -> None:
        numbers = {"chunk": chunk, "in_flight": in_flight, "pages_per_s": pages_per_s}
        for name, number in {**numbers, "patience_s": patience_s}.items():
            if number is not None and not number > 0:
                raise ValueError(f"{name} {number}: expected a number above 0")
        self.cluster, self._alone = cluster, False
        self.plan = Plan(
            chunk or _pages_of_a_chunk(stream.page_size, pages_per_s),
            in_flight,
            pages_per_s,
            stream.deadline + 30.0 if patience_s is None else patience_s,
            Path(parquet).absolute() if parquet else None,
        )
        super().__init__(stream, store, models, speed=speed, accept_changes=accept_changes)

    @property
    def workers(self) -> tuple[WorkerFacts, ...]:
        """What each worker has done, by name."""
        return self.cluster.workers

    @property
    def message(self) -> str:
        """As a trainer's, but that a chunk takes its time; also that there are no workers."""
        if self._status == "running":
            return words.of_waiting(self._retry) or WAITING * self._alone
        return super().message

    def _open_line(self, store: Store, models: Sequence[Model]) -> ScaledLine:
        if self.stream.follow:
            raise StreamError("workers do not wait for new rows at the end: take follow=False")
        if store.settings.get("parquet", False) != bool(self.plan.parquet):
            where = "in the store" if self.plan.parquet else "in Parquet files"
            raise StoreMismatch(f"{store.path} was begun with its rows {where}; choose another")
        if self.plan.parquet:
            claim_folder(self.plan.parquet, store)
        self._scaled = ScaledLine(store, models, parquet=self.plan.parquet)
        return self._scaled

    def _read(self, page: int, position: int) -> ChunkReader:
        line = self._scaled
        if self.plan.parquet:
            drop_uncommitted(self.plan.parquet, page, position)
            check_rows(self.plan.parquet, self.store)
        return ChunkReader(
            self.cluster,
            self.stream,
            self.plan,
            page,
            position,
            frame=lambda: line.frame,
            wanted=lambda: self._budget,
        )

    def _learn(self, news: Any) -> int:
        if not isinstance(news, Batch):
            batches = [page.batch for page in news.pages]
            check_growth(batches, self.stream, self.store, self.accept_changes)
            self._scaled.add(news)
            return len(news.pages)
        if self.plan.parquet:
            cursor = self.store.cursor or (self.stream.start_page, self.stream.start_position)
            name_rows(self.plan.parquet, write_rows(self.plan.parquet, [news]), *cursor)
        return super()._learn(news)

    def _restore(self, halt: threading.Event, afresh: bool = False) -> None:
        if afresh and self.plan.parquet:
            give_up_folder(self.plan.parquet, self.store)
        super()._restore(halt, afresh)
        if afresh and self.plan.parquet:
            claim_folder(self.plan.parquet, self.store)

    def _note_retry(self, retry: Retry | None) -> None:
        super()._note_retry(retry)
        if self._alone != (alone := not self.cluster.threads):
            self._alone = alone
            with self._condition:
                self._publish()

    def _loop(self, reader: ChunkReader, halt: threading.Event) -> Status:
        end, give_up = super()._loop(reader, halt), time.monotonic() + _LAST_S
        while end == "stopped" and time.monotonic() < give_up and (chunk := reader.arrived()):
            self._learn(chunk)
        return end


def _pages_of_a_chunk(page_size: int, pages_per_s: float | None) -> int:
    soon = MOST_PAGES if pages_per_s is None else int(min(pages_per_s * _CHUNK_S, MOST_PAGES))
    most = max(2, min(ROWS // page_size, soon))  # of one page alone, nothing is scored
    return 1 << (most.bit_length() - 1)
