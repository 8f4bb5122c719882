"""From what a reader chose to a trainer at work, or to reading along where another one writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from promo.begun import Begun, begun
from promo.errors import PromoError, StoreLocked, StoreMismatch, StreamError
from promo.following import Following
from promo.models.anytime import ALPHA
from promo.models.default import FULL, default_models
from promo.store import Store
from promo.stream import CONTRACT_PAGE_SIZE, PageStream
from promo.stream.look import look
from promo.trainer import Trainer


def stored(path: Path) -> Begun | None:
    """Return what a store says of itself, None where there is none or none that can be read."""
    try:
        return begun(path)
    except PromoError:
        return None


def stores_in(folder: Path) -> list[Begun]:
    """Return the stores of a folder, the one written last first."""
    files = sorted(folder.glob("*.db"), key=_written, reverse=True)
    return [found for found in map(stored, files) if found]


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # a link that leads nowhere, a file that went meanwhile
        return 0.0


def check(
    url: str, source: str, path: Path, names: Sequence[str] = FULL, alpha: float = ALPHA
) -> None:
    """Raise what would keep `open_stream` from opening, as far as it shows without opening.

    Raises
    ------
    PromoError
        The address leads nowhere, or the store holds another stream, or other models than these.
        For a store that is new: what answers there is no stream to begin with.
    ValueError
        There are no such models.
    """
    before = stored(path)
    if before:
        if before.source != source:
            told = f"{path.name} holds {before.source}, not {source}"
            raise StoreMismatch(f"{told}; choose that source, or a new store")
        before.check()
        if before.settings != before.models()[1]:
            told = f"{path.name} was begun with models of another kind, as by another notebook"
            raise StoreMismatch(f"{told}; choose another store, or a new one")
        PageStream(url, source=source).check()
        return
    default_models(names, source, alpha)  # raises where nobody predicts
    found = look(url)  # one that exists may wait for better days, a new one has nothing to show
    if not found.usable:
        raise StreamError(" ".join(found.findings))


def open_stream(
    url: str, source: str, path: Path, names: Sequence[str] = FULL, alpha: float = ALPHA
) -> Trainer | Following:
    """Return a trainer at a store, new or as it stands; or, while another writes it, a reader.

    A store that exists keeps the models and the alpha that it was begun with.

    Raises
    ------
    PromoError
        The address leads nowhere, or the store holds another stream or cannot be opened.
    """
    before = stored(path)
    if before:
        before.check()
    size = before.page_size if before else CONTRACT_PAGE_SIZE
    stream = PageStream(url, source=source, size=None if size == CONTRACT_PAGE_SIZE else size)
    stream.check()
    models, settings = before.models() if before else default_models(names, source, alpha)
    try:
        store = Store(path, source=source, page_size=stream.page_size, settings=settings)
    except StoreLocked:
        return Following(path)
    return Trainer(stream, store, models)
