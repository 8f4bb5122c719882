"""Writing a store: one transaction per page."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from promo import __version__
from promo.batch import Batch, Rejected
from promo.errors import StoreError, StoreMismatch, shown
from promo.history import MAX_PAGES, stride
from promo.models.results import Coefficient, Metric, ModelState
from promo.models.results import Event as FoundOut
from promo.paths import make_private
from promo.store import statements as sql
from promo.store.clock import timestamp
from promo.store.connection import (
    check_files,
    connect,
    explained,
    lock_file,
    transaction,
    which_files,
)
from promo.store.ledger import check_ledger
from promo.store.making import create, make
from promo.store.reader import SCHEMA_VERSION, Cursor, Event, Reader
from promo.store.sifted import Elsewhere, Sifted, columns_of, sifted_by


class Store(Reader):
    """Writing a store, creating it if need be. One process writes; others may read.

    Parameters
    ----------
    path
        The SQLite file. Beside it lie ``-wal`` and ``-shm`` while it is open, and ``.lock``.
    source, page_size
        What the stream reads; a file that holds another stream is refused.
    settings
        What is fixed before the stream begins (alpha, g, seeds, models), as JSON can hold it.
    synchronous
        ``"NORMAL"`` survives a killed process; ``"FULL"`` also a power cut, at a sync a page.

    Raises
    ------
    StoreLocked
        Another writer has it; the message names the process.
    StoreMismatch
        The file holds another stream or other settings, is not a store, or is too new.
    StoreError
        The file cannot be opened, or a parameter is out of range.
    """

    cleared = 0  # how often, since it was opened

    def __init__(
        self,
        path: str | Path,
        *,
        source: str,
        page_size: int,
        settings: Mapping[str, Any] | None = None,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
    ) -> None:
        if page_size < 1 or synchronous not in ("NORMAL", "FULL"):
            told = f"page_size={page_size}, synchronous={synchronous!r}"
            raise StoreError(f"{told}: a page has 1 row or more; NORMAL or FULL")
        self._expected = {
            "source": source,
            "page_size": page_size,
            "settings": json.loads(json.dumps(settings or {})),
        }
        self._synchronous = synchronous
        path = Path(path)
        self._real = os.path.realpath(path)  # where we go may change
        check_files(path)
        try:
            make_private(path.parent)
            self._lock = lock_file(path)
        except OSError as error:
            raise StoreError(f"cannot open {path}: {error.strerror}") from error
        try:
            super().__init__(path)
            check_ledger(self)
            self._read_back()
            self._files = which_files(self._real)
        except BaseException:
            self._lock.release()
            raise

    @staticmethod
    def read_only(path: str | Path) -> Reader:
        """Open an existing store for reading, also while another process writes."""
        return Reader(path)

    def _connect(self) -> sqlite3.Connection:
        check_files(self.path)
        with explained(self.path):
            make(Path(self._real), self._expected)
            connection = connect(Path(self._real).as_uri())
            try:
                connection.execute(f"PRAGMA synchronous = {self._synchronous}")
                # A checkpoint syncs twice; at 64 MB of log instead of 4 it costs little per page.
                connection.execute("PRAGMA wal_autocheckpoint = 16000")
                connection.execute("PRAGMA journal_size_limit = 67108864")  # also after readers
                [objects] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                if not objects:
                    create(connection, self._expected)
            except BaseException:
                connection.close()
                raise
        return connection

    def _check_identity(self) -> None:
        super()._check_identity()
        for name, expected in self._expected.items():
            if (value := getattr(self, name)) != expected:
                raise StoreMismatch(
                    f"{self.path} holds a stream with {name} {shown(value)}, not {expected!r}; "
                    "choose another file, or delete this one"
                )
        self.query("PRAGMA journal_mode = WAL")  # not before it is known to be ours

    def _read_back(self) -> None:
        """Learn from the file what `sift` and `commit` go by."""
        # Rows may be kept elsewhere; the ledger knows the last id of each page in any case.
        highest = "SELECT max(coalesce(max(id), -1), {}) FROM data"
        last = "(SELECT coalesce(max(last_id), -1) FROM page)"
        self._max_id = self.query(highest.format(last))[0][0]
        self._last_page = self.page
        self._told: int | None = self.query("SELECT max(page) FROM checkpoint")[0][0]
        self._newest = {table: self._lines_of_newest(table) for table in sql.HISTORIES}
        self._version = self.query(sql.DATA_VERSION)

    def _check_place(self) -> None:
        """Raise StoreError if what is written would not be found again under the store's name."""
        if which_files(self._real) != self._files:
            raise StoreError(
                f"{self.path}, or the -wal beside it, was moved, deleted or replaced while it was "
                "open: put both back"
            )

    def begin_log(self) -> None:
        """Make the first write to a new log now: SQLite syncs it, and Stop need not wait then.

        Not before it is known that the store will be gone on with: what is refused stays as it was.
        """
        with explained(self.path), transaction(self._connection) as connection:
            # It is written even if it is what it was, unlike a row.
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _lines_of_newest(self, table: str) -> range:
        """Return the rowids of the newest page in one of the bounded tables."""
        [[last]] = self.query(f"SELECT coalesce(max(rowid), 0) FROM {table}")
        before = f"SELECT coalesce(max(rowid), 0) FROM {table} WHERE page != ?"
        return range(self.query(before, self._told)[0][0] + 1, last + 1)

    def reopen(self) -> None:
        """After any error: close, open again, and read back what is committed.

        Raises
        ------
        StoreError
            It cannot be opened or is not there any more, or this store was closed for good.
        """
        if not self._lock.is_locked:
            raise StoreError(f"{self.path} is closed: open a new store")
        self._connection.close()
        if not os.path.exists(self._real):
            raise StoreError(f"{self.path} was moved or deleted while it was open: put it back")
        self._connection = self._connect()
        self._check_identity()
        self._read_back()
        self._files = which_files(self._real)

    def clear(self) -> None:
        """Empty every table, as if the file were new. Readers see all of it or nothing."""
        with explained(self.path):
            with transaction(self._connection) as connection:
                self._check_place()
                sql.begin_anew(connection, timestamp(), __version__)
            self._connection.execute("VACUUM")
        self._read_back()
        self.cleared += 1

    def close(self) -> None:
        """Let go of the file and of the lock. Idempotent."""
        with suppress(sqlite3.Error):  # readers keep the log from going: then as an empty one
            self._connection.execute("PRAGMA busy_timeout = 0")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        super().close()
        self._lock.release()

    def sift(self, batch: Batch) -> Sifted:
        """Tell new rows from those stored before with the same values, or with other values."""
        ids = batch.ids
        if not len(ids) or (ids[0] > self._max_id and not np.count_nonzero(ids[1:] <= ids[:-1])):
            return Sifted(batch, 0, ())
        found = self.query(
            "SELECT id, network_ability, competence, promoted FROM data "
            "WHERE id IN (SELECT value FROM json_each(?))",
            json.dumps(ids.tolist()),
        )
        return sifted_by({id_: tuple(values) for id_, *values in found}, batch)

    def commit(
        self,
        batch: Batch,
        sifted: Sifted,
        states: Sequence[ModelState],
        coefficients: Sequence[Coefficient],
        metrics: Sequence[Metric],
        events: Iterable[FoundOut] = (),
    ) -> None:
        """Write a page and all that was learned from it in one transaction.

        Raises
        ------
        StoreError
            Nothing of the page was written, or it is unknown whether it was: `reopen` and look.
            Also if a later page is written already.
        """
        with self.together():
            self.add_page(batch, sifted)
            self.tell(batch.page, states, coefficients, metrics, events)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Have all that is written meanwhile be one transaction; after an error, `reopen`."""
        with explained(self.path), transaction(self._connection):
            self._check_place()
            version = self._connection.execute(sql.DATA_VERSION).fetchall()
            if version != self._version:  # VACUUM renumbers rowids
                before = self._last_page, self._max_id
                self._read_back()
                if before != (self._last_page, self._max_id):
                    raise StoreError(f"{self.path} was written by somebody else; stop that first")
            yield

    def add_page(self, batch: Batch, sifted: Sifted) -> None:
        """Write a page's rows, its line in the ledger, and the rows that are none; `together`."""
        now, fresh, page = timestamp(), sifted.fresh, batch.page
        ids = batch.ids.tolist() or [None]
        columns = columns_of(fresh)
        self._insert_data(columns)
        self._add_to_ledger(batch, sifted.counts(batch), ids[0], ids[-1], now)
        if page == self._last_page and len(fresh.ids):  # a short page that has grown
            self._insert_event(page, "grown", {"rows": self.rows - len(fresh.ids)}, now)
        for conflict in sifted.conflicts:
            self._insert_event(page, "conflict", conflict._asdict(), now)
        self._quarantine(page, (*batch.rejected, *sifted.conflicts))
        self._last_page = page
        self._max_id = max(self._max_id, max(columns[0], default=-1))

    def add_elsewhere(self, batch: Batch, kept: Elsewhere) -> None:
        """Write a page without its good rows; `together`.

        Raises
        ------
        StoreError
            As `commit`; also if ids do not ascend, for nobody could tell then what is new.
        """
        if kept.rows and not (kept.ascending and (kept.first_id or 0) > self._max_id):
            raise StoreError(
                f"page {batch.page}: its ids do not ascend from {self._max_id:,}, so rows that "
                "came before cannot be told; keep the rows in the store (without --parquet)"
            )
        self._add_to_ledger(batch, kept.counts(batch), kept.first_id, kept.last_id, timestamp())
        self._quarantine(batch.page, batch.rejected)
        self._last_page = batch.page
        self._max_id = self._max_id if kept.last_id is None else kept.last_id

    def _quarantine(self, page: int, rows: Iterable[Rejected]) -> None:
        for row in rows:
            self._connection.execute(sql.UPSERT_QUARANTINE, (page, *row))

    def _add_to_ledger(
        self,
        batch: Batch,
        counts: tuple[int, ...],
        first_id: int | None,
        last_id: int | None,
        now: str,
    ) -> None:
        if batch.page < (self._last_page or 0):
            raise StoreError(f"page {batch.page} comes after page {self._last_page}")
        self._committed_at = now
        line = (batch.page, *counts, first_id, last_id, batch.digest, now)
        self._connection.execute(sql.UPSERT_PAGE, line)

    def tell(
        self,
        page: int,
        states: Sequence[ModelState],
        coefficients: Sequence[Coefficient],
        metrics: Sequence[Metric],
        events: Iterable[FoundOut] = (),
    ) -> None:
        """Write what the models know after a page that was added; pages may be left out.

        `together` with the page, at whose time events are of this page, not of the next.
        """
        now = self._committed_at
        rows = max((state.rows for state in states), default=0)
        self._insert_learned(page, rows, states, coefficients, metrics, now)
        self._thin(page)
        for event in events:
            self._insert_event(page, event.kind, {"rows": rows, **event.detail}, now)
        self._told = page

    def copy(self, other: Reader, tables: Iterable[str]) -> None:
        """Take over what these tables hold in another store, into empty ones, all or nothing."""
        with explained(self.path), transaction(self._connection) as connection:
            for table in tables:
                names = [name for _, name, *_ in self.query(f"PRAGMA main.table_info({table})")]
                columns, places = ", ".join(names), ", ".join("?" * len(names))
                order = "ORDER BY rowid" if table in ("data", *sql.HISTORIES) else ""
                rows = other._connection.execute(f"SELECT {columns} FROM {table} {order}")
                connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)
        self._read_back()

    def write_learned(
        self,
        page: int,
        rows: int,
        states: Sequence[ModelState],
        coefficients: Sequence[Coefficient],
        metrics: Sequence[Metric],
    ) -> None:
        """Write what models have learned anew, of `rows` rows, by a page that is stored already."""
        with self.together():
            self._insert_learned(page, rows, states, coefficients, metrics, timestamp())
        self._told = page

    def _insert_learned(
        self,
        page: int,
        rows: int,
        states: Sequence[ModelState],
        coefficients: Sequence[Coefficient],
        metrics: Sequence[Metric],
        now: str,
    ) -> None:
        self._upsert_states(states, page, now)
        for table, put, results in (
            ("coefficient", sql.put_coefficients, coefficients),
            ("metric", sql.put_metrics, metrics),
        ):
            models, names, *numbers = [*zip(*results, strict=True)] or ((), ())
            first = self._place(table, len(models), page)
            if models:
                self._connection.execute(put(models, names), (first, page, *chain(*numbers)))
        together = msgspec.json.encode({s.name: msgspec.Raw(s.state) for s in states})
        first = self._place("checkpoint", 1, page)
        self._connection.execute(sql.PUT_CHECKPOINT, (first, page, rows, together.decode()))

    def _place(self, table: str, lines: int, page: int) -> int:
        """Return the first rowid for lines of a page: over the page before, unless that is kept."""
        last, newest = self._told, self._newest[table]
        kept = last not in (None, page) and last % stride(page, MAX_PAGES) == 0
        first = newest.stop if kept else newest.start
        self._newest[table] = range(first, first + lines)
        if first + lines < newest.stop:
            self._connection.execute(f"DELETE FROM {table} WHERE rowid >= ?", (first + lines,))
        return first

    def record(
        self, kind: str, detail: Mapping[str, Any], states: Iterable[ModelState] = ()
    ) -> Event:
        """Write an event, and with it the states that it changed, before the next page."""
        cursor, now = self.cursor or Cursor(0, 0), timestamp()
        last = -1 if self._last_page is None else self._last_page
        with self.together():
            self._insert_event(cursor.page, kind, detail, now)
            self._upsert_states(states, last, now)
        return Event(cursor.page, now, kind, dict(detail))

    def replace_events(self, kind: str, events: Iterable[Event]) -> None:
        """Have these be the events of a kind, each after others of its page; raises as `commit`."""
        with self.together():
            self._connection.execute("DELETE FROM event WHERE kind = ?", (kind,))
            for event in events:
                self._insert_event(event.page, event.kind, event.detail, event.at)
            sql.sort_events(self._connection)

    def _insert_event(self, page: int, kind: str, detail: Mapping[str, Any], now: str) -> None:
        self._connection.execute(
            "INSERT INTO event (page, at, kind, detail) VALUES (?, ?, ?, ?)",
            (page, now, kind, json.dumps(detail)),
        )

    def _insert_data(self, columns: Sequence[Sequence[object]]) -> None:
        # A call costs more than a row does; but a page may have thousands.
        for at in range(0, len(columns[0]), sql.AT_ONCE):
            some = [column[at : at + sql.AT_ONCE] for column in columns]
            self._connection.execute(sql.insert_data(len(some[0])), [*chain(*some)])

    def _upsert_states(self, states: Iterable[ModelState], page: int, now: str) -> None:
        if columns := [*zip(*states, strict=True)]:
            names, *values = columns
            self._connection.execute(sql.upsert_model(*names), (page, now, *chain(*values)))

    def _thin(self, page: int) -> None:
        """Drop the pages of the bounded tables that `History` drops as its stride doubles."""
        step = stride(page, MAX_PAGES)
        if self._told is not None and step > stride(self._told, MAX_PAGES):
            for table in sql.HISTORIES:
                gone = f"DELETE FROM {table} WHERE page % ? != 0 AND page != ?"
                self._connection.execute(gone, (step, page))
