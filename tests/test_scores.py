"""Tests of `promo.models.scores`: brute force and scipy's ranks, in any split of the rows."""

import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from promo.models.scores import Scores

# A few values many times, so that ties are common, and the ends of the range.
probabilities = st.one_of(st.sampled_from([0.0, 1.0, 0.5, 0.25]), st.floats(0, 1))
predictions = st.lists(st.tuples(probabilities, st.booleans()), max_size=60)


def arrays(rows):
    p, outcome = np.array(rows, float).reshape(-1, 2).T
    return p, outcome.astype(bool)


def scored(*parts):
    scores = Scores()
    for part in parts:
        scores.update(*arrays(part))
    return scores


def auc(p, outcome):
    """Return the exact area under the curve, from the ranks (Mann and Whitney)."""
    positives, negatives = int(outcome.sum()), int((~outcome).sum())
    ranks = rankdata(p)[outcome].sum() - positives * (positives + 1) / 2
    return ranks / (positives * negatives)


@given(predictions)
def test_equal_to_brute_force(rows):
    """Log loss, Brier score and accuracy are those of a plain loop over the rows."""
    scores = scored(rows)
    if not rows:
        assert all(map(math.isnan, (scores.log_loss, scores.brier, scores.accuracy)))
        return
    losses, squares, hits = [], [], []
    for p, outcome in rows:
        given_to_it = min(max(p, 1e-15), 1 - 1e-15)
        losses.append(-math.log(given_to_it if outcome else 1 - given_to_it))
        squares.append((p - outcome) ** 2)
        hits.append((p > 0.5) == outcome)
    n = len(rows)
    assert scores.log_loss == pytest.approx(math.fsum(losses) / n, rel=1e-12, abs=1e-15)
    assert scores.brier == pytest.approx(math.fsum(squares) / n, rel=1e-12, abs=1e-14)
    assert scores.accuracy == sum(hits) / n


@given(predictions)
def test_roc_auc_is_within_its_bound(rows):
    """Binned ROC AUC is within `roc_auc_error` of the exact one; NaN where there is but a class."""
    scores = scored(rows)
    p, outcome = arrays(rows)
    if len(set(outcome.tolist())) < 2:
        assert math.isnan(scores.roc_auc)
        assert math.isnan(scores.roc_auc_error)
    else:
        assert abs(scores.roc_auc - auc(p, outcome)) <= scores.roc_auc_error + 1e-12
        assert 0 <= scores.roc_auc_error <= 0.5


def test_roc_auc_is_close_on_a_real_stream():
    """On 100,000 spread-out predictions the bound is small and kept."""
    random = np.random.default_rng(0)
    p = random.beta(2, 2, size=100_000)
    outcome = random.random(100_000) < p
    scores = Scores()
    scores.update(p, outcome)
    assert scores.roc_auc_error < 0.005
    assert abs(scores.roc_auc - auc(p, outcome)) <= scores.roc_auc_error


@given(predictions, st.lists(st.integers(0, 60), max_size=5).map(sorted))
def test_any_split_of_the_rows_gives_the_same(rows, cuts):
    """Counts are equal to the bit and sums to rounding, however the rows come."""
    whole = scored(rows)
    parts = scored(*(rows[low:high] for low, high in pairwise([0, *cuts, None])))
    for exactly in ("rows", "accuracy", "roc_auc", "roc_auc_error"):
        np.testing.assert_equal(getattr(parts, exactly), getattr(whole, exactly))
    for nearly in ("log_loss", "brier"):
        np.testing.assert_allclose(getattr(parts, nearly), getattr(whole, nearly), rtol=1e-12)


def test_it_can_be_stored_however_many_rows():
    """A billion rows, in which pairs are beyond 2^53, still make a state that is taken back."""
    half = 5 * 10**8
    bins = [half, *[0] * 127]
    scores = Scores(2 * half, 1.0, 1.0, half, half * half, bins, bins)
    twin = msgspec.json.decode(msgspec.json.encode(scores), type=Scores)
    assert (twin, twin.roc_auc) == (scores, 0.5)


@pytest.mark.parametrize("n", [1, 1000])
def test_certainty_that_fails_costs_a_bounded_price(n):
    """Predictions of exactly 0 and 1 that are wrong cost 34.5 nats each, not infinity."""
    scores = scored([(0.0, True), (1.0, False)] * n)
    assert scores.log_loss == pytest.approx(-math.log(1e-15), rel=1e-2)
    assert (scores.accuracy, scores.roc_auc) == (0.0, 0.0)
    assert scored([(1.0, True), (0.0, False)] * n).log_loss < 1e-14
    assert scored([(1.0, True), (0.0, False)] * n).roc_auc == 1.0


def test_a_tie_predicts_not_promoted():
    """One half counts as False, as in river."""
    assert scored([(0.5, False)]).accuracy == 1.0
    assert scored([(0.5, True)]).accuracy == 0.0
