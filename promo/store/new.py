"""Making a store of what is there already: whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from promo.errors import StoreError
from promo.paths import make_private, sync
from promo.store.connection import (
    check_files,
    check_no_log,
    explained,
    lock_file,
)
from promo.store.writer import Store

_ENDS = ("", "-journal", "-wal", "-shm", ".lock")


@contextmanager
def new_store(
    path: str | Path, *, source: str, page_size: int, settings: Mapping[str, Any]
) -> Iterator[Store]:
    """Open a new store under another name, to be filled; in the end it gets its own, on the disk.

    Whatever ends this early, a killed process or a power cut, leaves no file of that name; what is
    left of the other one, ``.part``, goes at the next try.

    Raises
    ------
    StoreError
        There is such a file already, or it cannot be made.
    StoreLocked
        Another process is making it.
    """
    check_files(Path(path))
    real = Path(os.path.realpath(path))
    part = real.with_name(f"{real.name}.part")
    with explained(real):
        make_private(real.parent)
        lock = lock_file(real)
    try:
        if real.exists():
            raise StoreError(f"{path} is there already; choose another name")
        check_no_log(real)
        _remove(part)
        with Store(part, source=source, page_size=page_size, settings=settings) as store:
            yield store
            _empty_log(store, real)
        with explained(real):
            sync(part)
            part.replace(real)
            sync(real.parent)
    finally:
        _remove(part)
        lock.release()


def _empty_log(store: Store, real: Path) -> None:
    """Move all that is committed from the log to the file; closing would keep silent if it cannot.

    Raises
    ------
    StoreError
        As on a disk that is full by now.
    """
    with explained(real):
        [[busy, *_]] = store.query("PRAGMA wal_checkpoint(TRUNCATE)")
    if busy:
        raise StoreError(f"{real} is being read by somebody else while it is made; try again")


def _remove(part: Path) -> None:
    for end in _ENDS:
        part.with_name(f"{part.name}{end}").unlink(missing_ok=True)
