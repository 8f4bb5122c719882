"""A folder of Parquet files for the rows of a run, each file of pages that follow one another."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from promo.batch import Batch
from promo.errors import StoreError, StoreMismatch


def make_folder(folder: Path, *, new: bool) -> None:
    """Have a folder for the rows of a run, that is `new` or goes on.

    Raises
    ------
    StoreError
        There can be none.
    StoreMismatch
        The run is new, and the folder has the rows of another.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be a folder for rows: {error}") from error
    if new and len(files_in(folder)) > 1:  # one is perhaps of a run that ended right there
        raise StoreMismatch(f"{folder} has the rows of another run; choose an empty folder")


def files_in(folder: Path) -> list[Path]:
    """Return the files with rows that a folder has."""
    return [*folder.glob("pages-*.parquet")]


def write_rows(folder: Path, page: int, position: int, batches: list[Batch]) -> None:
    """Write the good rows of pages that follow a cursor: a private file, whole or not there."""
    columns = {
        "page": np.concatenate([np.full(len(b.ids), b.page) for b in batches]),
        "id": np.concatenate([b.ids for b in batches]),
        "network_ability": np.concatenate([b.network_ability for b in batches]),
        "competence": np.concatenate([b.competence for b in batches]),
        "promoted": np.concatenate([b.promoted for b in batches]),
    }
    path = folder / f"pages-{page:012}-{position:05}.parquet"
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with open(new, "wb", opener=_private) as file:
        parquet.write_table(pa.table(columns), file)
    new.replace(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
