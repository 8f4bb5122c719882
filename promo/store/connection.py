"""Opening the file: connections, transactions, the lock, and errors in words."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from promo.errors import StoreError, StoreLocked, StoreMismatch

_HOLDER = re.compile(r"process ([1-9][0-9]{0,9})\n")
_LOOK_AGAIN_S, _NAMED_WITHIN_S = 0.02, 1.0
MAX_VALUE_BYTES = 16 * 2**20  # of a text or a row; ours are a thousandth of it
_BESIDE = ("-wal", "-shm", "-journal", ".lock")


def connect(uri: str) -> sqlite3.Connection:
    """Open a connection in autocommit mode, so that transactions are explicit.

    Whatever the file holds: its schema may call no function that does anything but reckon, and no
    value of it takes more memory than any of ours could.
    """
    # The connection is opened by one thread and used by another, never by two at once.
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10
    )
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def check_files(path: Path) -> None:
    """Refuse what is no plain file, before anything is opened: a pipe would be waited for.

    Raises
    ------
    StoreError
        The file, or what a link leads to, is a folder, a device, a pipe or the like, or has a
        second name; what lies beside it leads elsewhere, so that writing the store would write
        there; or beside it lies a rollback journal, which none of ours has: SQLite would do as it
        says, even delete a file that it names. Its name is one for what lies beside another.
    """
    with explained(path):
        real = Path(os.path.realpath(path))
        if real.name.endswith(_BESIDE):
            raise StoreError(f"{path} is named as what lies beside a store; choose another name")
        if real.is_dir():
            raise StoreError(f"cannot open {path}: it is a folder; name a file in it")
        if real.exists() and not real.is_file():
            raise StoreError(f"{path} is no file but a device, a pipe or a socket; choose another")
        if real.exists() and real.stat().st_nlink > 1:
            raise StoreError(
                f"{path} has a second name (a hard link), and SQLite cannot keep the two together: "
                "remove the other, or copy the file"
            )
        for end in _BESIDE:
            beside = real.with_name(f"{real.name}{end}")
            with suppress(FileNotFoundError):
                found = beside.lstat()
                if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                    raise StoreError(f"{beside} is no file but leads elsewhere; remove it")
                if end == "-journal" and found.st_size:
                    raise StoreError(f"{beside} is of no store of promo; remove it")


def which_files(path: str) -> list[tuple[int, int]] | None:
    """Return device and inode of the files that store and log are by name, None if one lacks.

    They are not opened for it: see `promo.store.making.make`.
    """
    try:
        found = [os.stat(f"{path}{end}") for end in ("", "-wal")]
    except FileNotFoundError:
        return None
    return [(each.st_dev, each.st_ino) for each in found]


def check_no_log(path: Path) -> None:
    """Refuse a log that lies where a new store is to be: SQLite would take it for the store's.

    Raises
    ------
    StoreError
        There is one; it may hold what was committed last to a store that was moved or deleted.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(
            f"{log} is left of a store that is not there any more: put that back, or remove the "
            "log as well"
        )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Write all or nothing; within another transaction, as a part of that."""
    if connection.in_transaction:
        yield connection
        return
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
        if path.exists() and not os.access(path, os.R_OK):
            raise StoreError(f"cannot open {path}: {os.strerror(errno.EACCES)}") from error
        advice = "; put a copy back, or choose another file" * ("malformed" in str(error))
        raise StoreError(f"{path}: {error}{advice}") from error
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from error


class WriterLock(filelock.FileLock):
    """The lock beside a store; while it is held, and only then, its file names the holder."""

    def release(self, force: bool = False) -> None:
        """Let go of it. Idempotent."""
        if self.is_locked:
            with suppress(OSError):  # a name left behind is that of a process which is gone
                os.truncate(self.lock_file, 0)
        super().release(force)


def lock_file(path: Path) -> WriterLock:
    """Lock the store for this process until it ends, however it ends."""
    real = Path(os.path.realpath(path))  # a store has one lock, whatever links lead to it
    lock = WriterLock(real.with_name(f"{real.name}.lock"), mode=0o600, thread_local=False)
    # Between locking and naming itself, a holder has the name of a killed one in the file, or
    # none: who is to be told is read again until two looks agree on a process that lives.
    deadline, before = time.monotonic() + _NAMED_WITHIN_S, None
    while not _is_free(lock):
        holder = _holder(Path(lock.lock_file))
        if time.monotonic() > deadline:
            raise StoreLocked(f"{path} is being written by another process: stop that first")
        if holder is not None and holder == before:
            this = ", this one" if holder == os.getpid() else ""
            raise StoreLocked(f"{path} is being written by process {holder}{this}: stop that first")
        before = holder
        time.sleep(_LOOK_AGAIN_S)
    try:
        Path(lock.lock_file).write_text(f"process {os.getpid()}\n")
    except BaseException:  # as on a full disk: nobody would know who holds it
        lock.release()
        raise
    return lock


def writer_of(path: Path) -> int | None:
    """Return the process that writes a store, None if none does or its name cannot be read."""
    real = Path(os.path.realpath(path))
    try:
        return _holder(real.with_name(f"{real.name}.lock"))
    except OSError:
        return None


def _is_free(lock: WriterLock) -> bool:
    """Take the lock if it is free."""
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return False
    return True


def _holder(file: Path) -> int | None:
    """Return the process that a lock's file names, None if it names none or one that is gone."""
    with file.open(errors="replace") as text:
        named = _HOLDER.fullmatch(text.read(100))
    if named is None:
        return None
    try:
        os.kill(int(named[1]), 0)  # asks whether it lives, no more
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass  # it lives, as somebody else's
    return int(named[1])
