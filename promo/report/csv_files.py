"""Tables of a store as CSV, row by row: as many as there are, in bounded memory."""

from __future__ import annotations

import csv
from typing import TextIO

from promo.store import Reader

#: What can be written, and in which order of its rows.
TABLES = {
    "coefficient": "page, model, term",
    "metric": "page, model, name",
    "page": "page",
    "event": "seq",
    "data": "rowid",
}


def write_csv(reader: Reader, table: str, file: TextIO) -> None:
    """Write a table with a head, at one commit; every digit of a number, nothing for a NULL.

    Parameters
    ----------
    table
        One of `TABLES`.
    file
        Opened with ``newline=""``.
    """
    writer = csv.writer(file, lineterminator="\n")
    names = reader.query("SELECT name FROM pragma_table_info(?)", table)
    writer.writerow([name for [name] in names])
    for rows in reader.scan(f"SELECT * FROM {table} ORDER BY {TABLES[table]}"):
        writer.writerows(rows)
