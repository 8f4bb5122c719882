"""Tests of `promo.models.anytime`: the published table, integrals done by hand, and duality."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import integrate, stats

from promo.models import anytime

INF = math.inf
ROWS = (10, 30, 100, 1000, 10_000, 100_000)
TABLE = {  # STATISTICS 2: three coefficients, alpha of 5 %
    1.0: (4.19, 3.36, 3.35, 3.60, 3.90, 4.18),
    10.0: (INF, 3.47, 3.10, 3.28, 3.59, 3.90),
    100.0: (INF, 13.3, 3.84, 3.04, 3.27, 3.59),
}

scales = st.sampled_from([1.0, 10.0, 100.0, 1e4])
levels = st.sampled_from([0.001, 0.05, 0.5])
rows = st.integers(4, 10**7)


def evidence_by_integration(t, df, n, g):
    """Average the density of t over effects, whose noncentralities are normal of variance n/g.

    Relative to that without an effect. A noncentral t is a normal variable over a root of a
    chi-square over df: both densities are written as an integral over that root.
    """

    def density(spread):
        def joint(root):
            log_root = stats.chi.logpdf(root * math.sqrt(df), df) + math.log(df) / 2
            return math.exp(math.log(root) + stats.norm.logpdf(t * root, scale=spread) + log_root)

        return integrate.quad(joint, 0, 5, points=[0.5, 1, 1.5], epsabs=0, epsrel=1e-11, limit=400)[
            0
        ]

    return math.log(density(math.sqrt(1 + n / g))) - math.log(density(1.0))


@pytest.mark.parametrize("g", TABLE)
def test_radius_is_that_of_the_table(g):
    """Half the width in standard errors is that of STATISTICS 2, to three digits."""
    found = anytime.radius(np.array(ROWS) - 3, ROWS, 0.05, g)
    for ours, published in zip(found.tolist(), TABLE[g], strict=True):
        assert ours == published == INF or abs(ours - published) <= 0.5 * 10 ** (
            math.floor(math.log10(published)) - 2
        )


@pytest.mark.parametrize("g", [1.0, 100.0])
@pytest.mark.parametrize(("df", "n"), [(3, 5), (27, 30), (98, 100), (997, 1000)])
@pytest.mark.parametrize("t", [0.0, 0.5, -2.0, 4.5])
def test_evidence_is_that_of_the_integral(t, df, n, g):
    """The log Bayes factor is that of two integrals done numerically, to 1e-8."""
    expected = evidence_by_integration(t, df, n, g)
    assert float(anytime.log_evidence(t, df, n, g)) == pytest.approx(expected, abs=1e-8)
    assert float(anytime.p_value(t, df, n, g)) == pytest.approx(min(1, math.exp(-expected)))


@pytest.mark.parametrize(("df", "n", "g"), [(3, 5, 1.0), (8, 10, 10.0), (97, 100, 100.0)])
def test_evidence_expects_one_without_an_effect(df, n, g):
    """Under no effect the Bayes factor is 1 in the mean: what makes it a fair bet."""

    def bet(t):
        return float(np.exp(anytime.log_evidence(t, df, n, g))) * stats.t.pdf(t, df)

    mean = 2 * integrate.quad(bet, 0, INF, epsabs=1e-10, limit=200)[0]
    assert mean == pytest.approx(1, abs=1e-7)


@given(rows, scales, levels, st.integers(1, 3))
def test_p_value_and_radius_are_dual(n, g, alpha, k):
    """The p-value is at most alpha exactly where |t| is at least the radius."""
    df = n - k
    radius = float(anytime.radius(df, n, alpha, g))
    if radius == INF:
        assert anytime.p_value(1e300, df, n, g) >= alpha * (1 - 1e-9)
    elif radius < 1e6:  # beyond it, p hardly depends on t
        below, above = anytime.p_value([radius * (1 - 1e-9), -radius * (1 + 1e-9)], df, n, g)
        assert below > alpha > above
        assert above == pytest.approx(alpha, rel=1e-3)


@given(st.floats(-1e300, 1e300), rows, scales)
def test_p_values_are_probabilities(t, n, g):
    """In 0..1, even in t, and not growing with |t|."""
    p, mirrored, further = anytime.p_value([t, -t, 2 * t], n - 2, n, g)
    assert 0 <= p == mirrored <= 1
    assert further <= p * (1 + 1e-9)


@given(scales, levels)
def test_radius_of_many_rows_is_the_asymptotic_one(g, alpha):
    """With ever more rows both radii agree, to the last rows that can be counted."""
    n = np.array([1e6, 1e9, 1e12, 1e15])
    ratio = anytime.radius(n - 3, n, alpha, g) / anytime.asymptotic_radius(n, alpha, g)
    assert (np.abs(ratio - 1) <= np.maximum(30 / n * math.log(1e30), 1e-12)).all()


def test_it_is_wider_than_one_look_needs():
    """Holding at every look costs width: at any number of rows, more than Student's t."""
    n = np.arange(4, 5000)
    for g in TABLE:
        assert (anytime.radius(n - 3, n, 0.05, g) > stats.t.ppf(0.975, n - 3)).all()


@pytest.mark.parametrize("g", [1.0, 100.0])
def test_it_is_tightest_at_eight_times_g(g):
    """The width, radius times a standard error that falls with the root of n, has no law better.

    Against sequences of other g, the one of g is the narrowest at n of about 8.2 g.
    """
    n = round(8.2 * g)
    rivals = g * np.array([0.5, 0.8, 1.0, 1.25, 2.0])
    widths = [float(anytime.asymptotic_radius(n, 0.05, each)) for each in rivals]
    assert np.argmin(widths) == 2


def test_what_is_undefined_stays_so():
    """NaN goes in and comes out, without a warning; of no rows the radius is infinite."""
    for p_value in (anytime.p_value, anytime.one_p_value):
        assert np.isnan(p_value(math.nan, 5, 7, 1.0))
        assert np.isnan(p_value(2.0, math.nan, 2, 1.0))
    for radius in (anytime.radius, anytime.one_radius):
        assert np.isnan(radius(math.nan, 2, 0.05, 1.0))
    for radius in (anytime.asymptotic_radius, anytime.one_asymptotic_radius):
        assert radius(0, 0.05, 1.0) == INF


@given(st.floats(-INF, INF), st.integers(4, 2**53), scales, st.sampled_from([1e-200, 0.05, 0.999]))
@example(1e300, 5, 1.0, 0.05)
@example(INF, 2**53, 100.0, 0.05)
def test_one_at_a_time_is_as_of_arrays(t, n, g, alpha):
    """What a page asks for a number at a time is what arrays give, to rounding."""
    pairs = [
        (anytime.one_p_value(t, n - 3, n, g), anytime.p_value([t], n - 3, n, g)),
        (anytime.one_radius(n - 3, n, alpha, g), anytime.radius([n - 3], n, alpha, g)),
        (anytime.one_asymptotic_radius(n, alpha, g), anytime.asymptotic_radius([n], alpha, g)),
    ]
    for one, [of_array] in pairs:
        assert type(one) is float
        assert one == of_array or one == pytest.approx(float(of_array), rel=1e-9, abs=1e-290)
