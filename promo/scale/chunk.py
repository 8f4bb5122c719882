"""What a chunk of pages amounts to: the part of learning that merges. Pure code.

A worker makes a `Chunk` of the pages that it has fetched; whoever holds the models adds chunks up
in the order of the pages (`promo.scale.line`). So what is learned does not depend on who worked.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from promo.batch import Batch
from promo.models.best import BestPossible, known_world
from promo.models.board import PageScores, page_scores
from promo.models.logistic import RenewableLogistic
from promo.models.regressions import Groups, Origins, page_sums
from promo.models.standard import Standard
from promo.models.stories import Bets, bets_on
from promo.store import Elsewhere

# Nats for the root of a row, by which a sum may be wrong (see `Renewable.misfit`): so what all sums
# of a stream are wrong by together is the same, in standard errors, whatever the size of chunks.
MISFIT = 1 / 16


class Frame(NamedTuple):
    """What a stream's first rows have fixed for all that follow.

    Attributes
    ----------
    origins
        About which the moments of either group are taken.
    logistic
        A renewable logistic of no rows, on the scale of the first ten.
    standard
        The same scale, for the causal stories.
    source
        Of the stream, where it names a world that is known.
    """

    origins: Origins
    logistic: RenewableLogistic
    standard: Standard
    source: str


class PageSummary(NamedTuple):
    """A page, and what merges of it exactly as if one machine had learned it.

    Attributes
    ----------
    batch
        Without its good rows, if they are kept elsewhere.
    elsewhere
        Which rows those were.
    sums
        Of the regressions; they add up page by page.
    scores
        Of the predictions; None for the first page of a chunk, which nobody had learned for.
    """

    batch: Batch
    elsewhere: Elsewhere | None
    sums: Groups
    scores: PageScores | None


class Sums(NamedTuple):
    """What rows say of promoted, for adding up."""

    logistic: RenewableLogistic
    bets: Bets


class Chunk(NamedTuple):
    """Some pages that follow one another.

    Attributes
    ----------
    pages
        At least one.
    promoted
        What they say of it together; or their rows, if that cannot be summed up (see `MISFIT`), to
        be learned as one machine does.
    """

    pages: tuple[PageSummary, ...]
    promoted: Sums | Batch

    @classmethod
    def of(cls, batches: Sequence[Batch], frame: Frame) -> Chunk:
        """Learn batches, in order, at least one, by themselves.

        Every page but the first is predicted, before it is learned, by what the earlier ones of
        this chunk have taught.
        """
        logistic = frame.logistic.fresh()
        world = known_world(frame.source)
        best = BestPossible(world) if world else None
        pages = []
        for at, batch in enumerate(batches):
            logistic.learn(batch)
            predicted = [logistic.predicted, *([best.predict_proba(batch)] if best else [])]
            scores = page_scores(predicted, batch.promoted)[0] if at else None
            pages.append(PageSummary(batch, None, page_sums(batch, frame.origins), scores))
        rows = _together(batches)
        if len(rows.ids):
            alone, misfit = frame.logistic.alone(rows)
            if misfit < MISFIT * sqrt(len(rows.ids)):
                return cls(tuple(pages), Sums(alone, bets_on(rows, frame.standard)))
        return cls(tuple(pages), rows)

    @property
    def number(self) -> int:
        """That of its last page, under which what it leads to is told and kept."""
        return self.pages[-1].batch.page

    def without_rows(self) -> Chunk:
        """Return the chunk for somebody who need not hold its rows."""
        kept = [Elsewhere.of(page.batch) for page in self.pages]
        pairs = zip(self.pages, kept, strict=True)
        bare = [page._replace(batch=each.fresh, elsewhere=each) for page, each in pairs]
        return self._replace(pages=tuple(bare))


def _together(batches: Sequence[Batch]) -> Batch:
    """Return the good rows of all batches as one."""
    return Batch.of(
        np.concatenate([batch.network_ability for batch in batches]),
        np.concatenate([batch.competence for batch in batches]),
        np.concatenate([batch.promoted for batch in batches]),
        page=batches[-1].page,
        ids=np.concatenate([batch.ids for batch in batches]),
    )
