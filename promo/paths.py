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
