"""What no page can cost less than: its bytes decoded, its rows inserted, its products summed."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np

from promo.batch import Batch


def decoding(bodies: Sequence[bytes]) -> float:
    """Return the seconds for decoding JSON to plain objects, unchecked, by the fastest decoder."""
    began = time.perf_counter()
    for body in bodies:
        msgspec.json.decode(body)
    return time.perf_counter() - began


def inserts(batches: Sequence[Batch], path: Path) -> float:
    """Return the seconds for inserting the rows, and nothing else, in a transaction a page."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for setting in ("journal_mode = WAL", "synchronous = NORMAL", "wal_autocheckpoint = 4000"):
            database.execute(f"PRAGMA {setting}")
        database.execute("CREATE TABLE data (id INT PRIMARY KEY NOT NULL, n REAL, c REAL, p INT)")
        began = time.perf_counter()
        for batch in batches:
            columns = batch.ids, batch.network_ability, batch.competence, batch.promoted
            rows = zip(*(column.tolist() for column in columns), strict=True)
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO data VALUES (?, ?, ?, ?)", rows)
            database.execute("COMMIT")
        return time.perf_counter() - began


def products(batches: Sequence[Batch]) -> float:
    """Return the seconds for a Gram matrix of 1, network ability, competence and promoted."""
    gram = np.zeros((4, 4))
    began = time.perf_counter()
    for batch in batches:
        rows = np.ones((4, len(batch.ids)))
        rows[1], rows[2], rows[3] = batch.network_ability, batch.competence, batch.promoted
        gram += rows @ rows.T
    return time.perf_counter() - began
