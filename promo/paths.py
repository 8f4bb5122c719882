"""Where files live unless told otherwise."""

import os
from pathlib import Path


def data_dir() -> Path:
    """Directory of stores and data sets: `PROMO_DATA`, or else `data` where we are."""
    return Path(os.environ.get("PROMO_DATA") or "data").absolute()


def project_root() -> Path | None:
    """Nearest directory that holds `notebooks`: here, above, or where promo was installed from."""
    here = Path.cwd()
    places = (here, *here.parents, Path(__file__).parent.parent)
    return next((p for p in places if (p / "notebooks" / "01-analysis.ipynb").exists()), None)


def make_private(folder: Path) -> None:
    """Make a folder and those above it, as far as they are lacking, for this user alone."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def private(path: str, flags: int) -> int:
    """Open a file as `open` does that has this as `opener`; a new one for this user alone."""
    return os.open(path, flags, 0o600)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and not hasattr(os, "O_DIRECTORY"):
        return  # Windows syncs no folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
