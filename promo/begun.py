"""What an existing store was begun with, so that going on needs nothing said again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from promo.errors import StoreMismatch
from promo.models.anytime import fixed_level
from promo.models.default import EXPERTS, MIXTURE, USUAL, default_models
from promo.models.results import Model
from promo.store import Reader


class Begun(NamedTuple):
    """What a store says of itself.

    Attributes
    ----------
    path, source, page_size
        Where it lies, and what stream it holds.
    page, rows
        How far that has come.
    names, alpha, merging
        Of its models, as `default_models` takes them; the usual ones, where it holds others.
    parquet
        Whether its rows are in Parquet files (see `promo.scale`).
    settings
        All that was fixed before it began, as the store has it.
    """

    path: Path
    source: str
    page_size: int
    page: int | None
    rows: int
    names: tuple[str, ...]
    alpha: float
    merging: bool
    parquet: bool
    settings: dict[str, Any]

    @classmethod
    def of(cls, reader: Reader) -> Begun:
        """Ask an open store."""
        settings = reader.settings
        names = settings.get("models")
        if not isinstance(names, list) or not {*map(str, names)} <= {*EXPERTS, MIXTURE}:
            names = USUAL
        return cls(
            Path(reader.path),
            reader.source,
            reader.page_size,
            reader.page,
            reader.rows,
            tuple(names),
            fixed_level(settings)[0],
            settings.get("merging") is True,
            settings.get("parquet") is True,
            settings,
        )

    def check(self, *, merging: bool = False, parquet: bool = False) -> None:
        """Refuse to go on with models that all merge, or rows in Parquet, where it is otherwise.

        Raises
        ------
        StoreMismatch
            It was not begun for that; the message says for what.
        """
        if merging and not self.merging:
            told = (
                f"was begun with what does not merge ({', '.join(self.names)}): promo run goes on "
                "with it; promo scale does with what promo run --merging has begun"
            )
        elif self.parquet and not parquet:
            told = "has its rows in Parquet files: promo scale goes on with it, given --parquet"
        elif parquet and not self.parquet:
            told = "has its rows in itself: leave --parquet out, or choose another store"
        else:
            return
        raise StoreMismatch(f"{self.path} {told}")

    def models(
        self, names: Sequence[str] | None = None
    ) -> tuple[tuple[Model, ...], dict[str, Any]]:
        """Return models and settings as `default_models` does: its own, or other experts."""
        merging = self.merging and names is None
        chosen = self.names if names is None else names
        return default_models(chosen, self.source, self.alpha, merging=merging)


def begun(path: Path) -> Begun | None:
    """Return what a store says of itself; None where there is none yet.

    Raises
    ------
    StoreError, StoreMismatch
        There is something that cannot be read as one.
    """
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return None
    with Reader(path) as reader:
        return Begun.of(reader)
