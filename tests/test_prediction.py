"""Tests of how well the experts predict: the bars of `benchmarks.prediction`, on fewer streams."""

import pytest

from benchmarks import prediction

pytestmark = pytest.mark.slow


def test_close_to_the_best_possible_at_100_000_rows():
    """Log loss above Bayes' stays under its bar in every world, and after the policy changed.

    In pages of 50 rows, which takes a third of the time; the benchmark has ten.
    """
    missed = [f"{r.what}: {r.words}" for r in prediction.excess(100_000, 50) if not r.reached]
    assert not missed


def test_the_reference_table_of_renewable_estimation():
    """Bias, ASE, ESE and coverage are Luo's at batches of 10 to 1,000, within Monte Carlo error."""
    missed = [f"{r.what}: {r.figure}" for r in prediction.luo(30, 20_000) if not r.reached]
    assert not missed


def test_a_stream_of_100_000_rows_goes_on_in_less_than_5_s():
    """With as many pages as a store keeps, models and memory are taken up within 5 s."""
    missed = [f"{r.what}: {r.figure}" for r in prediction.resume(100_000, 100) if not r.reached]
    assert not missed
