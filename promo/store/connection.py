"""Opening the file: connections, transactions, the lock, and errors in words."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from promo.errors import StoreError, StoreLocked, StoreMismatch


def connect(uri: str) -> sqlite3.Connection:
    """Open a connection in autocommit mode, so that transactions are explicit."""
    # The connection is opened by one thread and used by another, never by two at once.
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Write all or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise what SQLite and the system say as errors of ours that name the file."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # damage can reach the message
        if "not a database" in str(error):
            raise StoreMismatch(f"{path} is not an SQLite file; choose another") from error
        raise StoreError(f"{path}: {error}") from error
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from error


def lock_file(path: Path) -> filelock.BaseFileLock:
    """Lock the store for this process until it ends, however it ends."""
    file = path.with_name(f"{path.name}.lock")
    lock = filelock.FileLock(file, mode=0o600, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout as error:
        holder = file.read_text().strip() or "another process"
        raise StoreLocked(f"{path} is being written by {holder}: stop that first") from error
    file.write_text(f"process {os.getpid()}\n")
    return lock
