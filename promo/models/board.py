"""The leaderboard: how well each expert predicts, over all rows and lately, and who leads for sure.

Goes by what the experts predicted of a page before they learned it, all of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from promo.batch import Batch
from promo.models import anytime
from promo.models.experts import Expert
from promo.models.results import NAN, Coefficient, Metric, ModelState, as_json, from_columns
from promo.models.scores import Count, bounded

BINS = 64  # of probability: on them rest ROC AUC and calibration
_CURVE = 16  # bins of a calibration curve
BLOCK = 1000  # rows, by whole pages; "recent" is the block under way and the one before
_SCORES = ("log_loss", "brier", "accuracy", "roc_auc")
_LEAD = ("behind", "behind_low", "behind_high", "excess")

Floats = NDArray[np.float64]
_Sum = Annotated[float, msgspec.Meta(ge=0, le=1e18)]


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    rows: Count
    sums: list[list[_Sum]]
    bins: list[list[list[Count]]]


class _State(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    names: list[str]
    whole: _Saved
    block: _Saved
    before: _Saved
    means: list[_Sum]
    scatter: list[list[Annotated[float, msgspec.Meta(ge=-1e18, le=1e18)]]]


@dataclass(frozen=True, slots=True)
class Tally:
    """Scores of K experts on the same rows, in constant memory; two tallies add up.

    Attributes
    ----------
    rows
        How many.
    sums
        Shape (3, K): of log loss (nats), of squared errors, of right predictions at 0.5.
    bins
        Shape (2, K, 64): rows by outcome and by predicted probability, in equal bins.
    """

    rows: int
    sums: Floats
    bins: NDArray[np.int64]

    @classmethod
    def none(cls, k: int) -> Self:
        """Return the tally of no rows."""
        return cls(0, np.zeros((3, k)), np.zeros((2, k, BINS), np.int64))

    @classmethod
    def of(cls, chances: Floats, promoted: NDArray[np.bool_]) -> tuple[Self, Floats]:
        """Score predictions inside (0, 1), shape (K, n); return the log losses, too, as shaped."""
        k, n = chances.shape
        missed = np.where(promoted, 1 - chances, chances)
        losses = -np.log1p(-missed)
        right = (chances > 0.5) == promoted
        sums = np.array([each.sum(axis=1) for each in (losses, missed * missed, right)])
        places = (chances * BINS).astype(np.int64) + BINS * np.arange(k)[:, None]
        flat = (places + k * BINS * promoted).ravel()
        bins = np.bincount(flat, minlength=2 * k * BINS).reshape(2, k, BINS)
        return cls(n, sums, bins), losses

    def __reduce__(self) -> tuple[type[Tally], tuple[object, ...]]:
        """Be pickled by the constructor, as `Batch`."""
        return Tally, (self.rows, self.sums, self.bins)

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.rows + other.rows, self.sums + other.sums, self.bins + other.bins)

    @property
    def scores(self) -> Floats:
        """Mean log loss, Brier score, accuracy and ROC AUC, shape (4, K); NaN where undefined.

        ROC AUC counts two rows in one bin as tied: it is off by at most half the share of such
        pairs among those of a promoted and another row, `roc_auc_error`.
        """
        if not self.rows:
            return np.full((4, self.sums.shape[1]), NAN)
        others, ones = self.bins
        through = others.cumsum(axis=1)  # so many others at most as likely, of whom half are tied
        won = (ones * (through - others / 2)).sum(axis=1)
        pairs = through[:, -1] * ones.sum(axis=1).astype(np.float64)
        return np.concatenate((self.sums / self.rows, _ratio(won, pairs)[None]))

    @property
    def roc_auc_error(self) -> Floats:
        """Bound on what binning costs ROC AUC, shape (K,)."""
        others, ones = self.bins.astype(np.float64)
        return _ratio((ones * others).sum(axis=1) / 2, others.sum(axis=1) * ones.sum(axis=1))

    def calibration(self, at: int) -> Floats:
        """Return a calibration curve, of the expert at place `at`, shape (3, 16).

        Of each bin the probability in its middle, the share promoted (NaN of no rows), its rows.
        """
        others, ones = self.bins[:, at].reshape(2, _CURVE, -1).sum(axis=2).astype(np.float64)
        middle = (np.arange(_CURVE) + 0.5) / _CURVE
        return np.array([middle, _ratio(ones, ones + others), ones + others])

    def saved(self) -> _Saved:
        """Return what JSON can hold."""
        return _Saved(self.rows, self.sums.tolist(), self.bins.tolist())

    @classmethod
    def taken_up(cls, saved: _Saved, k: int) -> Self:
        """Return the tally that was saved; ValueError if it is none of k experts."""
        sums, bins = np.array(saved.sums), np.array(saved.bins)
        shaped = sums.shape == (3, k) and bins.shape == (2, k, BINS)
        if not shaped or (bins.sum(axis=(0, 2)) != saved.rows).any() or sums[2].max() > saved.rows:
            raise ValueError(f"not the scores of {k} experts on {saved.rows:,} rows")
        return cls(saved.rows, sums, bins)


class PageScores(NamedTuple):
    """Scores of K experts on a page, and the means (K,) and scatter (K, K) of their log losses."""

    tally: Tally
    means: Floats
    scatter: Floats


def page_scores(
    predicted: Sequence[Floats], promoted: NDArray[np.bool_]
) -> tuple[PageScores, Floats]:
    """Score K predictions of a page, each of shape (n,); return the log losses, (K, n), too."""
    tally, losses = Tally.of(bounded(np.array(predicted)), promoted)
    means = tally.sums[0] / max(tally.rows, 1)
    about = losses - means[:, None]
    return PageScores(tally, means, about @ about.T), losses


class Board:
    """Progressive validation of several experts at once.

    An expert's own metrics are not said again. The leader is who has the least log loss over all
    rows; ``behind`` is by how many nats a row another is behind, with an interval that holds at
    all numbers of rows and for all pairs of experts together: where it excludes zero the lead is
    real, though the leader was picked after the fact. It holds in the limit of many rows.

    Parameters
    ----------
    experts
        Learn every page before the board does.
    best
        What cannot be beaten but by luck, where that is known: it takes no part in the race, and
        ``excess`` is how many nats a row each is above it.
    alpha, g
        Of the intervals; to be fixed before the stream (see `promo.models.anytime`).

    References
    ----------
    Dawid (1984). Present position and potential developments: some personal views. Statistical
    theory: the prequential approach. Journal of the Royal Statistical Society A 147, 278-292.
    Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (2024). Time-uniform central limit theory and
    asymptotic confidence sequences. The Annals of Statistics 52, 2613-2640.
    Choe, Ramdas (2024). Comparing sequential forecasters. Operations Research 72, 1368-1387.
    """

    name = "scores"

    def __init__(
        self,
        experts: Sequence[Expert],
        best: Expert | None = None,
        alpha: float = anytime.ALPHA,
        g: float = anytime.G,
    ) -> None:
        self._experts = (*experts, *([best] if best else []))
        self.racing = [expert.name for expert in experts]
        self.names = [expert.name for expert in self._experts]
        k, pairs = len(self.names), max(len(experts) * (len(experts) - 1) / 2, 1)
        self._alpha, self._g = alpha / pairs, g
        self.whole, self._block, self._before = (Tally.none(k) for _ in range(3))
        self._means, self._scatter = np.zeros(k), np.zeros((k, k))
        self.losses: Floats = np.empty((k, 0))
        said = {metric[:2] for expert in self._experts for metric in expert.metrics()}
        kinds = ("rows", *_SCORES, *(f"recent_{name}" for name in _SCORES), *_LEAD)
        kinds = kinds if best else kinds[:-1]
        keys = [(name, kind) for kind in kinds for name in self.names]
        self._places = [at for at, key in enumerate(keys) if key not in said]
        self._models, self._kinds = zip(*(keys[at] for at in self._places), strict=True)

    @property
    def recent(self) -> Tally:
        """The last 1,000 to 2,000 rows, by whole pages, or as many as there are."""
        return self._before + self._block

    def learn(self, batch: Batch) -> None:
        """Score what the experts predicted of this page before they learned it."""
        page, self.losses = page_scores([e.predicted for e in self._experts], batch.promoted)
        self.add(page)

    def add(self, page: PageScores) -> None:
        """Add the scores of a page, maybe made elsewhere."""
        tally, means, scatter = page
        if not tally.rows:
            return
        n, gap = self.whole.rows + tally.rows, means - self._means
        weight = self.whole.rows * (tally.rows / n)
        self._scatter = self._scatter + scatter + np.outer(gap, gap) * weight
        self._means = self._means + gap * (tally.rows / n)
        self.whole, self._block = self.whole + tally, self._block + tally
        if self._block.rows >= BLOCK:
            self._before, self._block = self._block, Tally.none(len(self.names))

    def coefficients(self) -> list[Coefficient]:
        """Return none."""
        return []

    def metrics(self) -> list[Metric]:
        """Return the scores of every expert, over all rows and lately, and its place."""
        k = len(self.names)
        rows = np.full((1, k), float(self.whole.rows))
        every = np.concatenate((rows, self.whole.scores, self.recent.scores, self._lead()))
        values = every.ravel()[self._places].tolist()
        return from_columns(Metric, self._models, self._kinds, values)

    def _lead(self) -> Floats:
        """Return distance to the leader, its interval, and to the best possible, shape (4, K)."""
        n, k = self.whole.rows, len(self.names)
        if n < 2:
            return np.full((4, k), NAN)
        leader = int(np.argmin(self._means[: len(self.racing)]))
        own = self._scatter.diagonal()
        spread = own + own[leader] - 2 * self._scatter[leader]  # of the differences
        error = np.sqrt(np.maximum(spread, 0.0)) / n
        radius = error * anytime.asymptotic_radius(n, self._alpha, self._g)
        behind = self._means - self._means[leader]
        found = np.array([behind, behind - radius, behind + radius, self._means - self._means[-1]])
        found[:3, len(self.racing) :] = NAN
        return found

    def states(self) -> list[ModelState]:
        """Return the tallies, and the moments of the log losses."""
        whole, block, before = (each.saved() for each in (self.whole, self._block, self._before))
        means, scatter = self._means.tolist(), self._scatter.tolist()
        state = _State(1, self.names, whole, block, before, means, scatter)
        return [ModelState(self.name, self.whole.rows, as_json(state))]

    def restore(self, states: Mapping[str, str]) -> None:
        """Take over a state as `states` gave it; ValueError if it is none."""
        state = msgspec.json.decode(states[self.name], type=_State)
        k = len(self.names)
        means, scatter = np.array(state.means), np.array(state.scatter)
        if state.version != 1 or state.names != self.names or means.shape != (k,):
            raise ValueError(
                f"not the scores of {self.names}, version 1: {states[self.name][:200]}"
            )
        if scatter.shape != (k, k) or scatter.diagonal().min() < 0:
            raise ValueError(f"not the moments of {k} losses: {state.scatter}")
        tallies = [Tally.taken_up(each, k) for each in (state.whole, state.block, state.before)]
        if tallies[1].rows + tallies[2].rows > tallies[0].rows:
            raise ValueError(f"more recent rows than {tallies[0].rows:,}")
        self.whole, self._block, self._before = tallies
        self._means, self._scatter = means, scatter


def _ratio(part: Floats, whole: Floats) -> Floats:
    ratio: Floats = np.divide(part, whole, out=np.full(len(part), NAN), where=whole > 0)
    return ratio
