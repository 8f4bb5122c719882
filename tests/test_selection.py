"""Tests of `promo.models.selection`: theory by a double integral, and by measurement."""

import math

import numpy as np
import pytest
from scipy import integrate

from promo.models.selection import measured_slope, spurious_slope

STRENGTHS = [0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0]


def by_double_integral(strength):
    """Return the slope of the regression on competence and promoted, from moments over the plane.

    A general regression, from E of every product; nothing is made of symmetry or of σ'.
    """

    def mean(what, promoted):
        def inside(a, c):
            p = 1 / (1 + math.exp(-strength * (a + c)))
            density = math.exp(-(a * a + c * c) / 2) / (2 * math.pi)
            return what(a, c) * density * (p if promoted else 1 - p)

        return integrate.dblquad(inside, -7, 7, -7, 7, epsabs=1e-9, epsrel=1e-9)[0]

    cov = var = 0.0  # within groups, which is what controlling for promoted leaves
    for group in (True, False):
        share = mean(lambda a, c: 1, group)
        m_a, m_c = mean(lambda a, c: a, group) / share, mean(lambda a, c: c, group) / share
        cov += mean(lambda a, c: a * c, group) - share * m_a * m_c
        var += mean(lambda a, c: c * c, group) - share * m_c * m_c
    return cov / var


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 3.0])
def test_the_curve_is_its_double_integral(strength):
    """The slope is that of the population, integrated over both abilities, to 1e-7."""
    found = float(spurious_slope(strength))
    assert found == pytest.approx(by_double_integral(strength), abs=1e-7)


def test_the_curve_holds_at_any_strength():
    """From none to a hard cut: against adaptive quadrature, and the limit -1/(π - 1), to 1e-9."""

    def mean_of_the_promoted(s):  # E[N | promoted] = √2 E[Z σ(s√2 Z)], in halves
        def half(z):
            density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
            return z * math.tanh(s * z / math.sqrt(2)) * density

        return math.sqrt(2) * integrate.quad(half, 0, 12, epsabs=1e-13, limit=500)[0]

    strengths = [0.01, 1.0, 5.0, 10.0, 30.0]
    m = np.array([mean_of_the_promoted(s) for s in strengths])
    np.testing.assert_allclose(spurious_slope(strengths), -(m**2) / (1 - m**2), atol=1e-9)
    assert float(spurious_slope(30.0)) == pytest.approx(-1 / (math.pi - 1), abs=0.002)


def test_stronger_selection_misleads_more():
    """The slope falls from zero with every bit of strength, and is even in its sign."""
    curve = spurious_slope(np.linspace(0, 10, 101))
    assert curve.shape == (101,)
    assert curve[0] == 0
    assert (np.diff(curve) < 0).all()
    np.testing.assert_allclose(spurious_slope([-2.0, 2.0]), spurious_slope(2.0), rtol=1e-12)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_curve_is_what_regression_measures(strength):
    """On 50,000 simulated employees the slope is within 4 robust standard errors of theory."""
    found = measured_slope(strength, rows=50_000, seed=4)
    assert abs(found.estimate - float(spurious_slope(strength))) < 4 * found.hc1_std_error


def test_moving_the_strength_moves_nothing_else():
    """Employees are the same at any strength: the measured curve is smooth, as theory is."""
    curve = [measured_slope(s, rows=5000, seed=1).estimate for s in np.linspace(0, 3, 31)]
    theory = spurious_slope(np.linspace(0, 3, 31))
    assert np.abs(np.diff(curve) - np.diff(theory)).max() < 0.01
