"""Progressive validation in constant memory: scores of predictions made before learning."""

from __future__ import annotations

from collections.abc import Iterable
from math import log
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from promo.models.results import NAN

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Total = Annotated[float, msgspec.Meta(ge=0, le=1e18)]
_BINS = 128
_EPSILON = 1e-15  # a probability of exactly 0 or 1 would make one row outweigh all others


def bounded(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities kept from 0 and 1, where one row could outweigh all others."""
    return np.minimum(np.maximum(probabilities, _EPSILON), 1 - _EPSILON)


class Scores(msgspec.Struct, forbid_unknown_fields=True):
    """Running log loss (nats), Brier score, accuracy and ROC AUC of a binary classifier.

    ROC AUC counts pairs through a histogram of 128 equal bins of probability, as if within a bin
    every pair were tied; it is off by at most `roc_auc_error`.

    References
    ----------
    Dawid (1984). Present position and potential developments: some personal views. Statistical
    theory: the prequential approach. Journal of the Royal Statistical Society A 147, 278-292.
    Hanley, McNeil (1982). The meaning and use of the area under a receiver operating
    characteristic (ROC) curve. Radiology 143, 29-36.

    Examples
    --------
    >>> scores = Scores()
    >>> scores.update([0.9, 0.2, 0.6], [True, False, False])
    >>> round(scores.log_loss, 3), round(scores.brier, 3), scores.accuracy, scores.roc_auc
    (0.415, 0.137, 0.6666666666666666, 1.0)
    """

    rows: Count = 0
    total_log_loss: _Total = 0.0
    total_brier: _Total = 0.0
    correct: Count = 0
    twice_wins: int = 0
    positives: list[Count] = msgspec.field(default_factory=lambda: [0] * _BINS)
    negatives: list[Count] = msgspec.field(default_factory=lambda: [0] * _BINS)

    def __post_init__(self) -> None:
        if len(self.positives) != _BINS or len(self.negatives) != _BINS:
            raise ValueError(f"expected histograms of {_BINS} bins")
        positives, negatives = sum(self.positives), sum(self.negatives)
        if positives + negatives != self.rows or self.correct > self.rows:
            raise ValueError(f"expected histograms of {self.rows} rows")
        if not 0 <= self.twice_wins <= 2 * positives * negatives:
            raise ValueError(f"expected wins among {positives * negatives} pairs")

    def update(self, probabilities: Iterable[float], outcomes: Iterable[bool]) -> None:
        """Score predictions of P(outcome), in order; one of 0.5 predicts False."""
        positives, negatives = self.positives, self.negatives
        rows, correct, wins = self.rows, self.correct, self.twice_wins
        log_loss, brier = self.total_log_loss, self.total_brier
        for probability, outcome in zip(probabilities, outcomes, strict=True):
            p = probability
            if not _EPSILON <= p <= 1 - _EPSILON:
                p = min(max(p, _EPSILON), 1 - _EPSILON)
            at = int(p * _BINS)
            if outcome:
                log_loss -= log(p)
                brier += (1 - p) * (1 - p)
                correct += p > 0.5
                wins += 2 * sum(negatives[:at]) + negatives[at]
                positives[at] += 1
            else:
                log_loss -= log(1 - p)
                brier += p * p
                correct += p <= 0.5
                wins += 2 * sum(positives[at + 1 :]) + positives[at]
                negatives[at] += 1
            rows += 1
        self.rows, self.correct, self.twice_wins = rows, correct, wins
        self.total_log_loss, self.total_brier = log_loss, brier

    @property
    def log_loss(self) -> float:
        """Mean of -log of the probability given to what happened, in nats."""
        return self.total_log_loss / self.rows if self.rows else NAN

    @property
    def brier(self) -> float:
        """Mean squared distance of probability and outcome, in 0..1."""
        return self.total_brier / self.rows if self.rows else NAN

    @property
    def accuracy(self) -> float:
        """Share of rows predicted right at the threshold 0.5."""
        return self.correct / self.rows if self.rows else NAN

    @property
    def roc_auc(self) -> float:
        """Probability that a promoted row got the higher prediction, ties counted half."""
        pairs = sum(self.positives) * sum(self.negatives)
        return self.twice_wins / (2 * pairs) if pairs else NAN

    @property
    def roc_auc_error(self) -> float:
        """Bound on what binning can cost `roc_auc`: half the share of pairs within a bin."""
        pairs = sum(self.positives) * sum(self.negatives)
        tied = sum(p * n for p, n in zip(self.positives, self.negatives, strict=True))
        return tied / (2 * pairs) if pairs else NAN
