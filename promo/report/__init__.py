"""The report: all that a store holds, as one HTML file with figures, and its figures alone.

Beside the line: it reads a store that anybody may be writing, knows no widgets, and changes
nothing. `report` returns the page, `write_report` makes a file of it, `drawings` are its figures,
and `write_csv` writes a table for a spreadsheet.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import mkstemp

from promo.errors import PromoError
from promo.report.csv_files import TABLES, write_csv
from promo.report.figures import Beside, Drawing, drawings
from promo.report.page import report
from promo.report.surface import Surface, surface_drawing
from promo.store import Reader

__all__ = [
    "TABLES",
    "Beside",
    "Drawing",
    "Surface",
    "drawings",
    "report",
    "surface_drawing",
    "write_csv",
    "write_report",
]


_STORE = b"SQLite format 3"


def write_report(db: str | Path, out: str | Path) -> Path:
    """Write the report of a store to a file, over an HTML file that is there; return its path.

    It is there as a whole, or what was there before is.

    Raises
    ------
    PromoError
        The store cannot be read, the file cannot be written, or it is there and no HTML file.
    """
    with Reader(db) as reader:
        page = report(reader)
    out = Path(out)
    real = Path(os.path.realpath(out))
    try:
        if real.exists() and not _is_page(real):
            raise PromoError(f"cannot write {out}: it is there, and no .html; choose another name")
        descriptor, name = mkstemp(".part", dir=real.parent)  # as private as the store
        part = Path(name)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(page)
            part.replace(real)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise PromoError(f"cannot write {out}: {error.strerror}") from error
    return out


def _is_page(path: Path) -> bool:
    """Whether a file may be one of ours; no store, by a slip of the hand, whatever its name."""
    if not path.is_file() or path.suffix.lower() not in (".html", ".htm"):
        return False
    if path.with_name(f"{path.name}-wal").exists():  # a store that is open: see store.making
        return False
    with path.open("rb") as file:
        return file.read(len(_STORE)) != _STORE
