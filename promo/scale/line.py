"""The line at the driver: chunks that others have learned, in order, each one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TypeVar

from promo.batch import Batch
from promo.errors import ClusterError
from promo.line import Line
from promo.models.best import BestPossible
from promo.models.board import Board
from promo.models.logistic import RenewableLogistic
from promo.models.regressions import Regressions
from promo.models.results import Model
from promo.models.stories import Stories
from promo.scale.chunk import Chunk, Frame, PageSummary
from promo.scale.rows import read_rows
from promo.store import Elsewhere, Sifted, Store

_FEW = 10_000  # rows that may be learned once more

_M = TypeVar("_M")


class ScaledLine(Line):
    """Takes pages as `Line` does, and chunks of them, with the same tables at the end.

    Moments, and all that follows from them, are those of one machine to the bit, since pages are
    added up one by one. The renewable logistic and what the stories know of promoted are chunks
    added up, so results are told, and states kept, at the last page of each; scores are those
    within chunks (see `Chunk.of`). The first page, which says what chunks are learned about, is a
    chunk of its own.

    Parameters
    ----------
    store, models
        As in `Line`; the models are those of ``default_models(merging=True)``.
    parquet
        Folder that has the rows, if the store has not.

    Raises
    ------
    ClusterError
        One of the models does not merge.
    """

    def __init__(
        self, store: Store, models: Sequence[Model], *, parquet: Path | None = None
    ) -> None:
        self._parquet = parquet
        merging = (RenewableLogistic, BestPossible, Board, Regressions, Stories)
        for model in models:
            if not isinstance(model, merging):
                raise ClusterError(
                    f"{getattr(model, 'name', type(model).__name__)} does not merge: it learns row "
                    "after row; take default_models(merging=True)"
                )
        self._logistic = _only(RenewableLogistic, models)
        self._board, self._stories = _only(Board, models), _only(Stories, models)
        self._regressions = _only(Regressions, models)
        self._best = next((m for m in models if isinstance(m, BestPossible)), None)
        super().__init__(store, models)

    @property
    def frame(self) -> Frame | None:
        """What chunks are learned about; None until the first rows have fixed it."""
        origins = self._regressions.origins
        if None in origins or not self._stories.standard.fixed:
            return None
        return Frame(origins, self._logistic.fresh(), self._stories.standard, self.store.source)

    def add(self, chunk: Chunk) -> None:
        """Take a chunk from its summaries to commit, under its number."""
        with self.store.together():
            written = [(page.batch, self._write(page)) for page in chunk.pages]
            if any(len(sifted.fresh.ids) < len(batch.ids) for batch, sifted in written):
                frame = self.frame  # rows that were there before are not learned twice
                assert frame is not None
                chunk = Chunk.of([sifted.fresh for _, sifted in written], frame)
            self._learn(chunk)
            states = [state for model in self.models for state in model.states()]
            results = self._results()
            self.store.tell(chunk.number, states, *results)
        for batch, sifted in written:
            self.memory.add_page(batch, sifted)
        self.memory.tell(chunk.number, *results)

    def _learn(self, chunk: Chunk) -> None:
        for page in chunk.pages:
            self._add_page(page)
        if isinstance(chunk.promoted, Batch):
            self._logistic.learn(chunk.promoted)
            self._stories.learn(chunk.promoted)
        else:
            self._add_logistic(chunk.promoted.logistic)
            self._stories.add(chunk.promoted.bets)

    def _add_logistic(self, alone: RenewableLogistic) -> None:
        """Add what a chunk says; if it is the first, learn the rows of before once more, after it.

        For they say little by themselves of how much they say, unless they are many.
        """
        together, before = self._logistic + alone, self._logistic.rows
        if not self._logistic.parts and before <= _FEW:
            rows = self._first_rows(before)
            if len(rows.ids) == before:  # else some are neither here nor there
                together = deepcopy(alone)
                together.learn(rows)
        self._logistic.become(together)

    def _first_rows(self, count: int) -> Batch:
        if self._parquet:
            return read_rows(self._parquet, count)
        _, ids, *columns = zip(*self.store.data("rowid <= ?", count), strict=True)
        return Batch.of(*columns, ids=ids)

    def _write(self, page: PageSummary) -> Sifted | Elsewhere:
        if page.elsewhere is not None:
            self.store.add_elsewhere(page.batch, page.elsewhere)
            return page.elsewhere
        sifted = self.store.sift(page.batch)
        self.store.add_page(page.batch, sifted)
        return sifted

    def _add_page(self, page: PageSummary) -> None:
        rows = sum(group.moments.n for group in page.sums)
        if rows:
            self._regressions.add(page.batch.page, page.sums)
        if page.scores is not None:
            self._board.add(page.scores)
        if self._best is not None:
            self._best.add(rows)


def _only(kind: type[_M], models: Sequence[Model]) -> _M:
    return next(model for model in models if isinstance(model, kind))
