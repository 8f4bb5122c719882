"""Whether a store's ledger and rows can be what a stream has left, before it is gone on with."""

from __future__ import annotations

from promo.errors import StoreMismatch
from promo.store.reader import Reader
from promo.store.statements import HISTORIES

_MOST = 2**53  # pages and rows: beyond it there is no counting in floating point
_LEDGER = """
    SELECT count(*), min(page), max(page), sum(inserted), (SELECT count(*) FROM stream) FROM page
"""
_PLACES = "SELECT (SELECT min(rowid) FROM {0}), (SELECT max(rowid) FROM {0})"


def check_ledger(store: Reader) -> None:
    """Refuse gaps in the ledger, rows that it does not know, and numbers no stream could reach.

    Raises
    ------
    StoreMismatch
        Somebody else has changed the file.
    """
    [[pages, first, last, inserted, streams]] = store.query(_LEDGER)
    problem = ""
    if streams != 1:
        problem = f"says {streams} times what it holds"
    elif pages and not (0 <= first <= last < _MOST and last - first + 1 == pages):
        problem = f"has {pages:,} pages from {first} to {last}"
    elif not store.settings.get("parquet") and (inserted or 0) != store.rows:
        problem = f"has {store.rows:,} rows where its pages brought {inserted or 0:,}"
    for table in ("data", *HISTORIES):
        [[low, high]] = store.query(_PLACES.format(table))
        if low is not None and not 0 < low <= high < _MOST:
            problem = problem or f"has lines {low} to {high} in {table}"
    if problem:
        raise StoreMismatch(f"{store.path} {problem}: it was changed; choose another file")
