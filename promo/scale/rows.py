"""A folder of Parquet files for the rows of a run, each file of pages that follow one another.

Anybody may write a file; it counts, and readers see it, once whoever holds the store has given it
a name: that of the page and row it begins with.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from promo.batch import Batch
from promo.errors import StoreError, StoreMismatch
from promo.paths import make_private, private, sync
from promo.store import Reader

_GIVEN_UP = b"not any more: "
_OWNER = "_promo"  # says whose rows these are; readers of Parquet pass over such names


def make_folder(folder: Path) -> None:
    """Make a folder, unless there is one.

    Raises
    ------
    StoreError
        There can be none.
    """
    try:
        make_private(folder)
    except OSError as error:
        raise StoreError(f"{folder} cannot be a folder for rows: {error}") from error


def claim_folder(folder: Path, store: Reader) -> None:
    """Have a folder be for the rows of a store and of no other.

    Raises
    ------
    StoreError
        There can be no such folder.
    StoreMismatch
        It has the rows of another run, or of none although this one has written some.
    """
    make_folder(folder)
    owner, run = folder / _OWNER, _run(store)
    try:
        says = owner.read_bytes() if owner.exists() else b""
        if says == run:
            return
        given_up = says.startswith(_GIVEN_UP) and says.endswith(_place(store))
        if given_up and store.page is None:  # ended in the midst of starting over
            drop_rows(folder, 0, 0)
        elif says != _GIVEN_UP + run + _place(store) and (
            store.page is not None or says or any(p.name[0] not in "._" for p in folder.iterdir())
        ):
            told = "an empty folder" if store.page is None else "the folder that it began with"
            raise StoreMismatch(f"{folder} has not the rows of {store.path}; choose {told}")
        _say(folder, run)
    except OSError as error:
        raise StoreError(f"{folder} cannot be a folder for rows: {error}") from error


def give_up_folder(folder: Path, store: Reader) -> None:
    """Take note that all of a store's rows are to go, before it forgets them itself.

    Raises
    ------
    StoreError
        That could not be written.
    """
    try:
        _say(folder, _GIVEN_UP + _run(store) + _place(store))
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error}") from error


def _say(folder: Path, run: bytes) -> None:
    new = folder / f".{_OWNER}.parquet"  # without a name until it is whole
    with open(new, "wb", opener=private) as file:
        file.write(run)
    sync(new)
    new.replace(folder / _OWNER)
    sync(folder)


def drop_rows(folder: Path, page: int, position: int) -> None:
    """Delete the files from a cursor on, and those without a name: work that was not committed."""
    for path in [*folder.glob(".*.parquet"), *_files(folder)]:
        if path.name[0] == "." or path.name >= _name(page, position):
            path.unlink(missing_ok=True)


def drop_uncommitted(folder: Path, page: int, position: int) -> None:
    """Delete what a run that was ended has written beyond a cursor: one file with a name, at most.

    Raises
    ------
    StoreError
        There are more: so the store is an old copy, and the rows may be another's.
    """
    ahead = [path for path in _files(folder) if path.name >= _name(page, position)]
    if len(ahead) > 1:
        raise StoreError(
            f"{folder} has {len(ahead)} files of rows that the store does not know of, from "
            f"{min(ahead).name} on: the store is a copy of before they came. Go on with that which "
            "wrote them, or take them away"
        )
    drop_rows(folder, page, position)


def check_rows(folder: Path, store: Reader) -> None:
    """Hold what files of rows say of their length against the ledger.

    Raises
    ------
    StoreError
        A file cannot be read, or there are not as many rows as were committed.
    """
    [[told]] = store.query("SELECT coalesce(sum(received - rejected), 0) FROM page")
    rows = 0
    for path in sorted(_files(folder)):
        try:
            rows += parquet.read_metadata(path).num_rows
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{path} cannot be read, bring it back: {error}") from error
    if rows != told:
        raise StoreError(
            f"{folder} has {rows:,} rows where {told:,} were committed: bring back what was taken "
            "away, or begin anew with another store and folder"
        )


def name_rows(folder: Path, file: str, page: int, position: int) -> None:
    """Give a file that was written its name: from now on its rows are there.

    The name is on the disk before the ledger says so.

    Raises
    ------
    StoreError
        The file is not there any more, or the folder cannot be written.
    """
    try:
        (folder / file).replace(folder / _name(page, position))
        sync(folder)
    except OSError as error:
        raise StoreError(f"rows cannot be kept in {folder}: {error}") from error


def write_rows(folder: Path, batches: list[Batch]) -> str:
    """Write the good rows of pages to a private file without a name; return what it is called.

    Raises
    ------
    StoreError
        It could not be written.
    """
    columns = {
        "page": np.concatenate([np.full(len(b.ids), b.page) for b in batches]),
        "id": np.concatenate([b.ids for b in batches]),
        "network_ability": np.concatenate([b.network_ability for b in batches]),
        "competence": np.concatenate([b.competence for b in batches]),
        "promoted": np.concatenate([b.promoted for b in batches]),
    }
    path = folder / f".{uuid.uuid4().hex}.parquet"
    try:
        with open(path, "wb", opener=private) as file:
            parquet.write_table(pa.table(columns), file)
            os.fsync(file.fileno())  # the ledger will say that these rows are there
    except OSError as error:
        path.unlink(missing_ok=True)  # it may have filled the disk
        raise StoreError(f"rows cannot be written to {folder}: {error}") from error
    return path.name


def read_rows(folder: Path, count: int) -> Batch:
    """Return the first rows of a folder, so many or as many as there are, in order of arrival.

    Raises
    ------
    StoreError
        A file cannot be read.
    """
    tables, missing = [], count
    try:
        for path in sorted(_files(folder)):
            if missing <= 0:
                break
            tables.append(parquet.read_table(path).slice(0, missing))
            missing -= tables[-1].num_rows
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"rows cannot be read from {folder}: {error}") from error
    if not tables:
        return Batch.of((), (), ())
    names = ("network_ability", "competence", "promoted", "id")
    *columns, ids = (np.concatenate([t[name].to_numpy() for t in tables]) for name in names)
    return Batch.of(*columns, ids=ids)


def _name(page: int, position: int) -> str:
    return f"pages-{page:012}-{position:05}.parquet"


def _files(folder: Path) -> list[Path]:
    return [*folder.glob("pages-*.parquet")]


def _place(store: Reader) -> bytes:
    return os.fsencode(os.path.realpath(store.path))


def _run(store: Reader) -> bytes:
    [[began]] = store.query("SELECT created_at FROM stream")
    return f"{store.source} since {began}\n".encode()
