"""Tests of `promo.models.peeking`: who cries wolf, and that the quick way is the honest one."""

import numpy as np
import pytest
import statsmodels.api as sm

from promo.models import anytime
from promo.models.peeking import peek


@pytest.fixture(scope="module")
def many():
    return peek(streams=2000, rows=5000, seed=20)


def test_the_sequence_keeps_its_promise(many):
    """In 2,000 null streams of 5,000 rows, seen every 10, at most 5 % ever exclude zero."""
    assert 0.005 < many.anytime[-1] <= 0.05


def test_the_fixed_interval_breaks_it(many):
    """The same looks with fixed-n intervals: more than 40 % exclude zero at some look."""
    assert many.fixed[-1] > 0.4


@pytest.mark.parametrize("g", [1.0, 10.0])
def test_the_promise_holds_for_other_g(g):
    """Also where the sequence is tightest among early rows, and at another level."""
    assert peek(streams=1000, rows=2000, g=g, seed=1).anytime[-1] <= 0.05
    assert peek(streams=1000, rows=2000, g=g, alpha=0.2, seed=2).anytime[-1] <= 0.2


def test_one_look_is_right_about_the_level():
    """A single look at a fixed number of rows errs in 5 % of streams, within 4 standard errors."""
    single = peek(streams=20_000, rows=50, every=50, seed=3)
    assert single.rows.tolist() == [50]
    assert abs(single.fixed[0] - 0.05) < 4 * (0.05 * 0.95 / 20_000) ** 0.5
    assert single.anytime[0] < 0.05


def test_wolves_are_counted_once_and_for_ever(many):
    """Shares never fall, and a look is where it is said to be."""
    assert many.rows.tolist() == list(range(10, 5001, 10))
    for share in (many.fixed, many.anytime):
        assert (np.diff(share) >= 0).all()
        assert share.shape == many.rows.shape
    assert (many.anytime <= many.fixed).all()


def test_it_is_regression():
    """Stream by stream and look by look, the verdicts are those of statsmodels on its rows."""
    streams, rows, every = 30, 120, 20
    seen = peek(streams, rows, every, g=5.0, seed=9)
    random = np.random.default_rng(9)
    xy = np.concatenate([random.standard_normal((2, every, streams)) for _ in range(6)], axis=1)
    fixed, sequence = np.zeros((2, streams), bool)
    for at, n in enumerate(seen.rows):
        for stream in range(streams):
            x, y = xy[:, :n, stream]
            fit = sm.OLS(y, sm.add_constant(x)).fit()
            fixed[stream] |= fit.pvalues[1] < 0.05
            p = anytime.p_value(fit.tvalues[1], fit.df_resid, n, 5.0)
            sequence[stream] |= p < 0.05
        assert (seen.fixed[at], seen.anytime[at]) == (fixed.mean(), sequence.mean())


def test_a_seed_is_a_result():
    """The same seed gives the same shares, another one others."""
    one, again, other = (peek(100, 500, seed=seed) for seed in (1, 1, 2))
    assert (one.fixed == again.fixed).all()
    assert (one.fixed != other.fixed).any()
