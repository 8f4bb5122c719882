"""Tests of `promo.models.robust`: HC1 of statsmodels, page after page, or NaN."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from pages import batch, cuts, employees, pages_of, split
from promo.models.regressions import FORMULAS, Regressions
from promo.models.results import Coefficient
from promo.models.robust import robustly

seeds = st.integers(0, 2**32)


def uneven(rows, seed, slope=0.3):
    """Return a collider world in which the spread of network ability grows with competence."""
    network_ability, competence, promoted = employees(rows, seed, slope)
    return network_ability * (0.2 + np.abs(competence)), competence, promoted


def learned(batches):
    model = Regressions()
    for each in batches:
        model.learn(each)
    return model


def reference(columns, formula):
    """Return HC1 by statsmodels, on variables centred and scaled so that it loses no digits.

    Centring changes the intercept, so its error follows from the covariance of all.
    """
    network_ability, competence, promoted = columns
    rows = slice(None) if formula.given is None else promoted == formula.given
    by_name = {"competence": competence, "promoted": promoted.astype(float)}
    x = np.column_stack([by_name[name][rows] for name in formula.regressors])
    y = network_ability[rows]
    centre, scale, size = x.mean(axis=0), x.std(axis=0), y.std()
    design = np.column_stack([np.ones(len(y)), (x - centre) / scale])
    fit = sm.OLS((y - y.mean()) / size, design).fit(cov_type="HC1")
    back = np.diag([1.0, *1 / scale])
    back[0, 1:] = -centre / scale
    return np.sqrt(np.maximum(np.diag(back @ fit.cov_params() @ back.T), 0)) * size


def assert_equal(model, columns):
    """Compare the robust error of every term, to 1e-8; return how many formulas had one.

    Where it is far below the usual error, what leverage leaves of it is a difference: there, to
    1e-8 in its square relative to that of the usual one, and NaN where rounding makes it negative.
    Where the fit is nearly perfect, all that is left of the response is rounding.
    """
    found = {(c.model, c.term): c for c in model.coefficients()}
    compared = 0
    for formula, fit in zip(FORMULAS, model.fits, strict=True):
        ours = [found[formula.name, term].hc1_std_error for term in formula.terms]
        if fit.reason:
            assert all(map(math.isnan, ours))
        elif fit.r_squared < 1 - 1e-6:
            for error, expected, usual in zip(
                ours, reference(columns, formula), fit.std_errors, strict=True
            ):
                variance = 0.0 if math.isnan(error) and expected < 1e-3 * usual else error**2
                allowed = 1e-8 * max(2 * expected**2, usual**2)
                assert abs(variance - expected**2) <= allowed, formula.name
            compared += 1
    return compared


@pytest.mark.parametrize(
    ("seed", "scale", "shift"),
    [(1, 1.0, 0.0), (2, 1.0, 30.0), (3, 1e-3, 0.0), (4, 100.0, -1e3), (5, 1e-40, 0.0)],
)
def test_equal_to_statsmodels_after_every_page(seed, scale, shift):
    """After every page, the errors of every formula are HC1 of all rows so far, to 1e-8."""
    network_ability, competence, promoted = uneven(250, seed)
    columns = (network_ability * scale + shift * scale, competence * scale - shift, promoted)
    model = Regressions()
    compared = 0
    for page, each in enumerate(pages_of(columns)):
        model.learn(each)
        compared += assert_equal(model, [column[: 10 * (page + 1)] for column in columns])
    assert compared >= 120


@given(
    seeds,
    st.integers(0, 60),
    *[st.sampled_from([1.0, 1e-20, 1e15, -1e-3])] * 2,
    *[st.sampled_from([0.0, 1.0, -1e3, 1e6])] * 2,
)
@settings(max_examples=100, deadline=None)
def test_equal_to_statsmodels_at_any_scale_and_shift(seed, rows, a, b, up, along):
    """Also for few rows, whatever the units and the zeros of both abilities."""
    network_ability, competence, promoted = uneven(rows, seed)
    columns = (a * (network_ability + up), b * (competence + along), promoted)
    assert_equal(learned(pages_of(columns, 7)), columns)


few = st.sampled_from([0.0, 1.0, 2.0, -1.0, 0.1, 100.0])


@given(st.lists(st.tuples(few, few, st.booleans()), max_size=14), st.integers(0, 14))
@settings(max_examples=300, deadline=None)
def test_equal_to_statsmodels_for_degenerate_shapes(rows, cut):
    """Ties, groups of one row, constant columns, points on lines: HC1, or NaN if there is none."""
    network_ability, competence, promoted = np.array(rows, float).reshape(-1, 3).T
    columns = network_ability, competence, promoted.astype(bool)
    assert_equal(learned(split(columns, [min(cut, len(rows))])), columns)


@given(seeds, cuts(120), st.randoms())
@settings(max_examples=50, deadline=None)
def test_any_split_and_any_order_give_the_same(seed, cuts, random):
    """Pages of any sizes, empty ones included, in any order, give the errors of one page."""
    columns = uneven(120, seed)
    pages = split(columns, cuts)
    random.shuffle(pages)
    whole, parts = (
        [c.hc1_std_error for c in learned(each).coefficients()]
        for each in (split(columns, []), pages)
    )
    np.testing.assert_allclose(parts, whole, rtol=1e-9)


def test_a_group_of_one_row_costs_nothing():
    """As long as one employee only is promoted, regressions over all rows have robust errors."""
    network_ability, competence, _ = uneven(20, seed=8)
    columns = network_ability, competence, np.arange(20) == 13
    model = learned(pages_of(columns, 5))
    assert assert_equal(model, columns) >= 3
    assert not math.isnan(model.coefficients()[1].hc1_std_error)


def test_equal_spread_makes_them_the_usual_ones():
    """Where errors have equal spread, both kinds agree, with many rows; where not, they differ."""
    for columns, lowest, highest in (
        (employees(20_000, 1), 0.97, 1.03),
        (uneven(20_000, 1), 1.2, 2.0),
    ):
        slope = learned([batch(0, *columns)]).coefficients()[1]
        assert lowest < slope.hc1_std_error / slope.std_error < highest


@pytest.mark.parametrize(
    ("up", "along"), [(1.0, 1e80), (1e90, 1e70), (1.0, 1e-100), (1e90, 1e-100), (1e-130, 1e-100)]
)
def test_fourth_powers_out_of_range_are_nan(up, along):
    """Overflow and underflow of the sums leave NaN, and the usual errors as they are."""
    network_ability, competence, promoted = uneven(50, seed=2)
    model = learned(pages_of((network_ability * up, competence * along, promoted)))
    slope = model.coefficients()[1]
    assert slope.std_error > 0
    assert math.isnan(slope.hc1_std_error)


@pytest.mark.parametrize(
    ("up", "along"), [(1e90, 1.0), (1e-130, 1.0), (1.0, 1e70), (1.0, 1e-70), (1e-70, 1e-70)]
)
def test_in_range_they_lose_no_digits(up, along):
    """Up to the ends of the range, errors are those of unit scale, scaled."""
    network_ability, competence, promoted = uneven(50, seed=2)
    plain = learned(pages_of((network_ability, competence, promoted)))
    model = learned(pages_of((network_ability * up, competence * along, promoted)))
    for ours, theirs in zip(model.coefficients(), plain.coefficients(), strict=True):
        unit = up / along if ours.term == "competence" else up
        assert ours.hc1_std_error == pytest.approx(theirs.hc1_std_error * unit, rel=1e-12)


@given(
    st.lists(
        st.tuples(
            *[st.sampled_from([0.0, 1.0, 1e100, -1e80, 1e-75, -3e-100, 1e-160, 5e-324])] * 2,
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_never_infinite(rows):
    """Any allowed numbers: robust errors are finite and not negative, or NaN; no warning."""
    columns = np.array(rows).reshape(-1, 3).T
    for c in learned(split(columns, [len(rows) // 2])).coefficients():
        assert math.isnan(c.hc1_std_error) or 0 <= c.hc1_std_error < math.inf


@given(st.integers(3, 10**6), st.floats(0.001, 0.5), st.sampled_from([1.0, 100.0, 1e4]))
def test_the_robust_interval_at_any_time_is_never_inside_that_for_one_look(n, alpha, g):
    """However few the rows, what may be watched is no narrower than what may not."""
    found = robustly(Coefficient("m", "x", 0.5, hc1_std_error=0.1), n, 2, alpha, g)
    assert found.av_low <= found.ci_low < found.ci_high <= found.av_high
