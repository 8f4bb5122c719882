"""Reading a store, from any process, also while it is being written."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from importlib.resources import files
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from promo.batch import Batch
from promo.errors import StoreError, StoreMismatch
from promo.history import MAX_PAGES
from promo.models.results import Coefficient, Metric
from promo.store.as_of import turn_back
from promo.store.connection import check_files, connect, explained

APPLICATION_ID = 0x70726F6D  # "prom", in the header of the file
SCHEMA_VERSION = 1
_AT_ONCE = 100  # rows: a look at whether to stop comes after as many


class Cursor(NamedTuple):
    """Where a stream goes on: 0-based page, and rows of it that are committed already."""

    page: int
    position: int


class Event(NamedTuple):
    """Something that happened at a page; `detail` holds what JSON can."""

    page: int
    at: str
    kind: str
    detail: dict[str, Any]


class Reader:
    """Reading a store. Safe beside a running writer; every call sees whole pages only.

    Parameters
    ----------
    path
        An existing store.

    Raises
    ------
    StoreMismatch
        The file is not a store, or its schema is newer than this version of promo.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._connection = self._connect()
        try:
            self._check_identity()
        except BaseException:
            self._connection.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        check_files(self.path)
        if not self.path.exists():
            raise StoreError(f"{self.path} does not exist")
        with explained(self.path):
            return connect(f"{self.path.absolute().as_uri()}?mode=ro")

    def _check_identity(self) -> None:
        with explained(self.path), _readonly_explained(self.path):
            [application] = self._connection.execute("PRAGMA application_id").fetchone()
            [version] = self._connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise StoreMismatch(f"{self.path} is not a store of promo; choose another file")
        self._check_version(version)
        self._check_schema()
        try:
            _ = self.source, self.page_size, self.settings
            [[said]] = self.query("SELECT schema_version FROM stream")
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            raise StoreMismatch(f"{self.path} does not say what it holds: {error}") from error
        if self.page_size < 1:
            raise StoreMismatch(f"{self.path} holds pages of {self.page_size} rows; choose another")
        self._check_version(said)
        if said != version:
            raise StoreMismatch(f"{self.path} says of itself schema {said} and {version}")

    def _check_version(self, version: int) -> None:
        if version > SCHEMA_VERSION:
            raise StoreMismatch(
                f"{self.path} has schema {version}, this promo knows up to {SCHEMA_VERSION}: update"
            )

    def _check_schema(self) -> None:
        """Refuse a view, a trigger or another table before any is read: they may hold code."""
        found = {row[:3]: row for row in self.query(_SCHEMA)}
        ours = {row[:3]: row for row in our_schema()}
        others = [key for key in found | ours if found.get(key) != ours.get(key)]
        if others:
            kind, name, _ = others[0]
            what = "lacks the" if others[0] not in found else "holds a strange"
            raise StoreMismatch(
                f"{self.path} {what} {kind} {str(name)[:40]!r}; drop that, or choose another file"
            )

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of any SQL query."""
        with explained(self.path):
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def at_one_commit(self) -> Iterator[None]:
        """Have all that is read within come from one commit, whatever is written meanwhile."""
        if self._connection.in_transaction:  # as a part of another such block
            yield
            return
        with explained(self.path):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    @contextmanager
    def as_of(self, page: int) -> Iterator[None]:
        """Have everything be as it was after a page that has a checkpoint, and stay so.

        Meanwhile nothing is seen of what is written. Of pages before it those are there that are
        kept now: later ones have thinned them out.

        Raises
        ------
        StoreError
            That page has no checkpoint; `checkpoints` lists those that have.
        """
        with self.at_one_commit():
            with explained(self.path):
                turn_back(self._connection, page)
            yield

    def scan(self, sql: str, *values: object) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of any SQL query, 10,000 at most at a time."""
        with explained(self.path):
            cursor = self._connection.execute(sql, values)
            while rows := cursor.fetchmany(10_000):
                yield rows

    @property
    def source(self) -> str:
        """Name of the data that the stream reads."""
        return str(self.query("SELECT source FROM stream LIMIT 1")[0][0])

    @property
    def page_size(self) -> int:
        """Rows of a full page."""
        return int(self.query("SELECT page_size FROM stream LIMIT 1")[0][0])

    @property
    def settings(self) -> dict[str, Any]:
        """What was fixed before the stream began."""
        [[text]] = self.query("SELECT settings FROM stream LIMIT 1")
        return _object(text)

    @property
    def page(self) -> int | None:
        """The newest committed page, None before the first."""
        page: int | None = self.query("SELECT max(page) FROM page")[0][0]
        return page

    @property
    def rows(self) -> int:
        """Rows in `data`."""
        # Rows are never deleted, so rowid counts them without gaps.
        return int(self.query("SELECT coalesce(max(rowid), 0) FROM data")[0][0])

    @property
    def cursor(self) -> Cursor | None:
        """Where the stream goes on, None before the first page."""
        last = self.query("SELECT page, received FROM page ORDER BY page DESC LIMIT 1")
        if not last:
            return None
        page, received = last[0]
        return Cursor(page, received) if received < self.page_size else Cursor(page + 1, 0)

    @property
    def checkpoints(self) -> list[int]:
        """The pages at which all states are kept, ascending: where one can go back to."""
        return [page for [page] in self.query("SELECT page FROM checkpoint ORDER BY page")]

    @property
    def states(self) -> dict[str, str]:
        """Newest state of every model, as JSON, by name."""
        return dict(self.query("SELECT name, state FROM model"))

    def coefficients(self, page: int | None = None) -> list[Coefficient]:
        """Return all coefficients at a page that is kept; at the newest unless given."""
        return [Coefficient._make(_nan(row)) for row in self._at("coefficient", page)]

    def metrics(self, page: int | None = None) -> list[Metric]:
        """Return all metrics at a page that is kept; at the newest unless given."""
        return [Metric._make(_nan(row)) for row in self._at("metric", page)]

    def _at(self, table: _Told, page: int | None) -> list[tuple[Any, ...]]:
        # In one statement, so that the newest page is still that when its lines are read.
        newest, values = ("(SELECT max(page) FROM page)", ()) if page is None else ("?1", (page,))
        return self.query(_AT.format(_FIELDS[table], table, newest), *values)

    def kept(self) -> Iterator[tuple[int, list[Coefficient], list[Metric]]]:
        """Yield every page that is kept, ascending, as `coefficients` and `metrics` return it."""
        pages = f"SELECT DISTINCT page FROM metric LIMIT {2 * MAX_PAGES}"
        if len(self.query(pages)) == 2 * MAX_PAGES:
            told = f"holds metrics of {2 * MAX_PAGES:,} pages or more, not of {MAX_PAGES:,}"
            raise StoreMismatch(f"{self.path} {told}")
        coefficients = {page: [*lines] for page, lines in self._by_page("coefficient")}
        for page, metrics in self._by_page("metric"):
            yield (
                page,
                [Coefficient._make(_nan(line)) for _, *line in coefficients.get(page, ())],
                [Metric._make(_nan(line)) for _, *line in metrics],
            )

    def _by_page(self, table: _Told) -> Iterator[tuple[int, Iterator[tuple[Any, ...]]]]:
        lines = self.scan(f"SELECT page, {_FIELDS[table]} FROM {table} ORDER BY 1, 2, 3")
        return groupby(chain.from_iterable(lines), key=itemgetter(0))

    def series(
        self, table: _Told, model: str, term: str
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the kept pages, ascending, and estimate or value at each; both of shape (n,)."""
        key, column = ("term", "estimate") if table == "coefficient" else ("name", "value")
        sql = f"SELECT page, {column} FROM {table} WHERE model = ? AND {key} = ? ORDER BY page"
        pages, values = np.array(self.query(sql, model, term), np.float64).reshape(-1, 2).T
        return pages.astype(np.int64), values

    def events(
        self, kind: str | None = None, *, last: int = 200, until: int | None = None
    ) -> list[Event]:
        """Return the newest events, oldest first; of one kind, of pages up to one, if given."""
        sql = (
            "SELECT page, at, kind, detail FROM event WHERE (?1 IS NULL OR kind = ?1) "
            "AND (?3 IS NULL OR page <= ?3) ORDER BY seq DESC LIMIT ?2"
        )
        rows = self.query(sql, kind, last, until)[::-1]
        try:
            return [Event(page, at, kind, _object(detail)) for page, at, kind, detail in rows]
        except (ValueError, RecursionError) as error:
            raise StoreMismatch(f"{self.path} holds an event that is none: {error}") from error

    def totals(self) -> dict[str, int]:
        """Return received, inserted, duplicate, conflicting and rejected rows over all pages."""
        names = ("received", "inserted", "duplicate", "conflicting", "rejected")
        sums = ", ".join(f"coalesce(sum({name}), 0)" for name in names)
        return dict(zip(names, self.query(f"SELECT {sums} FROM page")[0], strict=True))

    def batches(self, *, until: int | None = None) -> Iterator[Batch]:
        """Yield all rows in order of arrival, 100 at a time; pages are not told apart.

        `until` is how many in all, if not all there are. StoreError if they go meanwhile.
        """
        end = self.rows if until is None else min(until, self.rows)
        for first in range(0, end, _AT_ONCE):  # as rowid has no gaps
            last = min(first + _AT_ONCE, end)
            found = self.data("rowid > ? AND rowid <= ?", first, last)
            if len(found) != last - first:
                raise StoreError(f"{self.path}: rows {first + 1:,} to {last:,} are not there now")
            _, ids, *columns = zip(*found, strict=True)
            yield Batch.of(*columns, ids=ids)

    def data(self, where: str = "1", *values: object) -> list[tuple[int, int, float, float, int]]:
        """Return (arrival, id, network ability, competence, promoted), in order of arrival."""
        sql = f"SELECT rowid, id, network_ability, competence, promoted FROM data WHERE {where}"
        return self.query(f"{sql} ORDER BY rowid", *values)


@cache
def our_schema() -> frozenset[tuple[str, ...]]:
    """Return all that SQLite notes down of our tables: kind, name, table and text of each."""
    with closing(connect("file::memory:")) as connection:
        connection.executescript((files("promo.store") / "schema.sql").read_text())
        return frozenset(connection.execute(_SCHEMA).fetchall())


_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema LIMIT 100"
_Told = Literal["coefficient", "metric"]
_FIELDS = {"coefficient": ", ".join(Coefficient._fields), "metric": ", ".join(Metric._fields)}
# Lines stand in the order of pages: what is sought backwards is found soon, if it is the newest.
_AT = (
    "SELECT {0} FROM {1} WHERE page = {2} AND rowid > coalesce("
    "(SELECT rowid FROM {1} WHERE page < {2} ORDER BY rowid DESC LIMIT 1), 0) ORDER BY 1, 2"
)


@contextmanager
def _readonly_explained(path: Path) -> Iterator[None]:
    """Say what SQLite means by "readonly" when a file is opened to be read."""
    try:
        yield
    except sqlite3.OperationalError as error:
        sealed = not os.access(path.parent, os.W_OK)
        if "readonly" not in str(error) and not ("unable to open" in str(error) and sealed):
            raise
        raise StoreError(
            f"{path} cannot be read there: SQLite needs a file of its own beside it, and may not "
            f"write in {path.parent}; copy it to a folder of yours"
        ) from error


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"{text[:40]!r} is no JSON object")
    return value


def _nan(row: Iterable[Any]) -> Iterator[Any]:
    return (float("nan") if value is None else value for value in row)
