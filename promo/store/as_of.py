"""A store as it was at one of its pages: for a moment, views of the same names hide the tables.

All that reads by a table's name then reads the past, and needs to know nothing of it. They live in
the connection, not in the file, and go with the transaction that made them.
"""

from __future__ import annotations

import sqlite3

import msgspec

from promo.errors import StoreError

# An event that the trainer notes has the number of the page after it; so one of this very page
# came before it. Unless the page is short: what came after it has its number as well, and had seen
# all of its rows. An event tells how many it had seen, which holds also where a clock was put back;
# what the page itself brought has its very time.
_VIEWS = """
    CREATE TEMP VIEW data AS SELECT rowid, * FROM main.data WHERE rowid <= {rows};
    CREATE TEMP VIEW page AS SELECT * FROM main.page WHERE page <= {page};
    CREATE TEMP VIEW coefficient AS SELECT rowid, * FROM main.coefficient WHERE page <= {page};
    CREATE TEMP VIEW metric AS SELECT rowid, * FROM main.metric WHERE page <= {page};
    CREATE TEMP VIEW checkpoint AS SELECT rowid, * FROM main.checkpoint WHERE page <= {page};
    CREATE TEMP VIEW quarantine AS SELECT * FROM main.quarantine WHERE page <= {page};
    CREATE TEMP VIEW event AS SELECT * FROM main.event WHERE page < {page} OR page = {page}
        AND (at = (SELECT committed_at FROM main.page WHERE page = {page}) OR coalesce(
            CASE WHEN json_valid(detail) THEN json_extract(detail, '$.rows') < {rows} END,
            at < (SELECT committed_at FROM main.page WHERE page = {page})));
    CREATE TEMP TABLE model (name, page, rows, state, updated_at)
"""
_MODEL = """
    INSERT INTO temp.model SELECT ?1, ?2, ?3, ?4, committed_at FROM main.page WHERE page = ?2
"""
# A checkpoint has the states, and not how many rows each model had learned: its metric says so
# where those are not all there were.
_ROWS = "SELECT model, CAST(value AS INTEGER) FROM main.metric WHERE page = ? AND name = 'rows'"

_NEAREST = """
    SELECT (SELECT max(page) FROM checkpoint WHERE page < ?),
        (SELECT min(page) FROM checkpoint WHERE page > ?)
"""


def turn_back(connection: sqlite3.Connection, page: int) -> None:
    """Hide what came after a page; the caller has begun a transaction, and rolls it back.

    Raises
    ------
    StoreError
        There is no checkpoint at that page.
    """
    found = connection.execute("SELECT states FROM checkpoint WHERE page = ?", (page,)).fetchone()
    if found is None:
        raise StoreError(_why_not(connection, page))
    [rows] = connection.execute(
        "SELECT coalesce(sum(inserted), 0) FROM page WHERE page <= ?", (page,)
    ).fetchone()
    for statement in _VIEWS.format(page=page, rows=rows).split(";"):
        connection.execute(statement)
    try:
        states = msgspec.json.decode(found[0], type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise StoreError(f"the states kept at page {page:,} are none: {error}") from error
    learned = dict(connection.execute(_ROWS, (page,)))
    lines = [
        (name, page, learned.get(name, rows), bytes(state).decode())
        for name, state in states.items()
    ]
    connection.executemany(_MODEL, lines)


def _why_not(connection: sqlite3.Connection, page: int) -> str:
    [found] = connection.execute(_NEAREST, (page, page))
    near = [f"{each:,}" for each in found if each is not None]
    if not near:
        return f"page {page:,} is not kept: no page is stored yet"
    return (
        f"page {page:,} (counted from 0) is not kept; choose {' or '.join(near)}, the nearest "
        f"that {'are' if len(near) > 1 else 'is'}"
    )
