"""Whether a store's ledger and rows can be what a stream has left, before anybody goes by them."""

from __future__ import annotations

from promo.errors import StoreMismatch
from promo.store.reader import Reader
from promo.store.statements import HISTORIES

_MOST = 2**53  # pages and rows: beyond it there is no counting in floating point
_LEDGER = """
    SELECT count(*), min(page), max(page), coalesce(sum(inserted), 0),
        (SELECT count(*) FROM stream), (SELECT count(*) FROM data),
        (SELECT coalesce(max(rowid), 0) FROM data)
    FROM page
"""  # in one statement, so that it is of one commit
_PLACES = "SELECT (SELECT min(rowid) FROM {0}), (SELECT max(rowid) FROM {0})"


def check_ledger(store: Reader) -> None:
    """Refuse gaps in the ledger, other rows than it knows, and numbers no stream could reach.

    It counts all rows: some milliseconds for a million.

    Raises
    ------
    StoreMismatch
        Somebody else has changed the file.
    """
    [[pages, first, last, inserted, streams, rows, arrived]] = store.query(_LEDGER)
    problem = ""
    if streams != 1:
        problem = f"says {streams} times what it holds"
    elif pages and not (0 <= first <= last < _MOST and last - first + 1 == pages):
        problem = f"has {pages:,} pages from {first} to {last}"
    elif rows != arrived:
        problem = f"has {rows:,} rows where {arrived:,} have arrived"
    elif not store.settings.get("parquet") and rows != inserted:
        problem = f"has {rows:,} rows where its pages brought {inserted:,}"
    for table in ("data", *HISTORIES):
        [[low, high]] = store.query(_PLACES.format(table))
        if low is not None and not 0 < low <= high < _MOST:
            problem = problem or f"has lines {low} to {high} in {table}"
    if problem:
        raise StoreMismatch(f"{store.path} {problem}: it was changed; choose another file")
