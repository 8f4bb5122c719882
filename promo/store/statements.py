"""The SQL of a page's transaction, written out once."""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache

from promo.models.results import Coefficient

TABLES = ("data", "page", "model", "coefficient", "metric", "checkpoint", "event", "quarantine")
COLUMNS = ("id", "network_ability", "competence", "promoted")
UPSERT_PAGE = """
    INSERT INTO page VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (page) DO UPDATE SET
        received = received + excluded.received,
        inserted = inserted + excluded.inserted,
        duplicate = duplicate + excluded.duplicate,
        conflicting = conflicting + excluded.conflicting,
        rejected = rejected + excluded.rejected,
        first_id = coalesce(first_id, excluded.first_id),
        last_id = coalesce(excluded.last_id, last_id),
        digest = excluded.digest,
        committed_at = excluded.committed_at
"""
HISTORIES = ("coefficient", "metric", "checkpoint")  # the bounded tables
PUT_CHECKPOINT = "INSERT OR REPLACE INTO checkpoint (rowid, page, rows, states) VALUES (?, ?, ?, ?)"
UPSERT_QUARANTINE = "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?)"
_SORT_EVENTS = (  # by page, and there as they were written
    "CREATE TEMP TABLE sorted AS SELECT * FROM main.event ORDER BY page, seq",
    "DELETE FROM main.event",
    "INSERT INTO main.event (page, at, kind, detail) "
    "SELECT page, at, kind, detail FROM temp.sorted ORDER BY rowid",
    "DROP TABLE temp.sorted",
)
DATA_VERSION = "PRAGMA data_version"  # another one after another connection has written
AT_ONCE = 100  # rows of one statement: SQLite takes 32,766 values in one, some builds fewer


def begin_anew(connection: sqlite3.Connection, now: str, version: str) -> None:
    """Empty every table, as if the file were made now, by this version."""
    for table in TABLES:
        connection.execute(f"DELETE FROM {table}")
    connection.execute("UPDATE stream SET created_at = ?, promo_version = ?", (now, version))


def sort_events(connection: sqlite3.Connection) -> None:
    """Have events stand in the order of their pages, in a transaction of the caller's."""
    for statement in _SORT_EVENTS:
        connection.execute(statement)


@lru_cache
def insert_data(rows: int) -> str:
    """Return the statement for so many rows of `data`, its values column by column."""
    return f"INSERT INTO data VALUES {_values([()] * rows, 0, len(COLUMNS))}"


@lru_cache
def upsert_model(*names: str) -> str:
    """Return the statement for these states: the page, the time, all rows, all states."""
    return f"""
        INSERT INTO model (page, updated_at, name, rows, state)
        VALUES {_values([(name,) for name in names], 2, 2)}
        ON CONFLICT (name) DO UPDATE SET
            page = excluded.page,
            rows = excluded.rows,
            state = excluded.state,
            updated_at = excluded.updated_at
    """


@lru_cache
def put_coefficients(models: tuple[str, ...], terms: tuple[str, ...]) -> str:
    """Return the statement for these coefficients of a page.

    Its values: the first rowid, the page, then each number of all. What stands there is replaced,
    which without any other key is to overwrite it.
    """
    _, _, *numbers = Coefficient._fields
    values = _values([*zip(models, terms, strict=True)], 2, len(numbers), rowids=True)
    columns = ", ".join(("rowid", "page", "model", "term", *numbers))
    return f"INSERT OR REPLACE INTO coefficient ({columns}) VALUES {values}"


@lru_cache
def put_metrics(models: tuple[str, ...], names: tuple[str, ...]) -> str:
    """Return the statement for these metrics of a page, as `put_coefficients` does."""
    values = _values([*zip(models, names, strict=True)], 2, 1, rowids=True)
    return f"INSERT OR REPLACE INTO metric (rowid, page, model, name, value) VALUES {values}"


def _values(
    names: Sequence[tuple[str, ...]], shared: int, own: int, *, rowids: bool = False
) -> str:
    """Write lines: places of values that they share, names as they are, values of their own.

    Names stand in the text, since binding a string costs as much as writing a number. Values of
    their own are bound column by column. Where the first value shared is a rowid, that is the first
    line's, and those of the others follow.

    Examples
    --------
    >>> _values([("a", "rows"), ("a", "it's")], 1, 2)
    "(?1, 'a', 'rows', ?2, ?4), (?1, 'a', 'it''s', ?3, ?5)"
    >>> _values([("a",), ("b",)], 2, 1, rowids=True)
    "(?1 + 0, ?2, 'a', ?3), (?1 + 1, ?2, 'b', ?4)"
    """
    rows, lines = len(names), []
    for row, texts in enumerate(names):
        same = [f"?{at}" for at in range(1, shared + 1)]
        if rowids:
            same[0] += f" + {row}"
        places = [f"?{shared + 1 + column * rows + row}" for column in range(own)]
        lines.append(f"({', '.join((*same, *map(_quoted, texts), *places))})")
    return ", ".join(lines)


def _quoted(name: str | None) -> str:
    return "NULL" if name is None else "'" + name.replace("'", "''") + "'"  # which is refused
