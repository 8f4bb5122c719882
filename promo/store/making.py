"""Making the file of a store: its tables, empty, and what it says of itself."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from promo import __version__
from promo.store.connection import check_no_log, connect, transaction
from promo.store.reader import APPLICATION_ID, SCHEMA_VERSION


def make(path: Path, about: Mapping[str, Any]) -> None:
    """Make the file if there is none, under another name first; one that is there is not opened.

    For who closes any descriptor of a file drops all locks that the process holds on it (POSIX),
    those of SQLite's other connections to it as well, and SQLite does not notice: the next program
    that comes by would take itself for the last one, and delete the log while it is written to.

    Killed while it makes a file in place, SQLite leaves a journal that only a writer can undo;
    readers would be refused. Renamed when it is whole, a store never has such a journal.

    Parameters
    ----------
    path
        Where no link leads on.
    about
        What the store says of itself: source, page_size and settings.

    Raises
    ------
    StoreError
        The log of another store lies there.
    OSError
        The file may not be read and written.
    """
    if path.exists() and path.stat().st_size:
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    check_no_log(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # private from the start
    if path.with_name(f"{path.name}-journal").exists():
        return
    new = path.with_name(f"{path.name}.new")
    for end in ("", "-journal", "-wal", "-shm"):
        Path(f"{new}{end}").unlink(missing_ok=True)
    os.close(os.open(new, os.O_RDWR | os.O_CREAT, 0o600))
    connection = connect(new.as_uri())
    try:
        create(connection, about)
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    new.replace(path)


def create(connection: sqlite3.Connection, about: Mapping[str, Any]) -> None:
    """Write the tables, and what the store says of itself, into a file without any."""
    identity = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
    schema = (files("promo.store") / "schema.sql").read_text()
    with transaction(connection):
        for statement in f"{schema}{identity}".split(";"):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO stream VALUES (?, ?, ?, ?, ?, ?)",
            (
                about["source"],
                about["page_size"],
                SCHEMA_VERSION,
                __version__,
                datetime.now(UTC).isoformat(timespec="milliseconds"),
                json.dumps(about["settings"]),
            ),
        )
