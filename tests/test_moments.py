"""Tests of `promo.models.moments`, and of least squares from moments."""

import math
from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages import cuts, employees
from promo.models.least_squares import least_squares
from promo.models.moments import Moments, with_group

ROWS = 60
COLUMNS = np.array(employees(ROWS, seed=3)[:2])
PROMOTED = employees(ROWS, seed=3)[2]


def exact(columns):
    """Return means and scatter in rational arithmetic."""
    n = len(columns[0])
    exact_columns = [[Fraction(value) for value in column] for column in columns.tolist()]
    means = [sum(column) / n for column in exact_columns]
    centred = [[v - m for v in c] for c, m in zip(exact_columns, means, strict=True)]
    scatter = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in centred] for x in centred]
    return np.array(means, float), np.array(scatter, float)


def assert_same(moments, columns, tolerance=1e-10):
    means, scatter = exact(columns)
    assert moments.n == len(columns[0])
    spread = np.sqrt(np.diag(scatter))
    np.testing.assert_allclose(moments.mean, means, rtol=tolerance, atol=0)
    # A covariance near zero is a difference of large products: what counts is the spreads.
    error = np.abs(np.array(moments.scatter) - scatter)
    assert (error <= tolerance * np.outer(spread, spread)).all()


@given(cuts(ROWS), st.randoms())
def test_merging_any_split_in_any_order_equals_one_pass(cuts, random):
    """However rows are dealt to accumulators and these are merged, the moments are those of all."""
    parts = [Moments.of(part) for part in np.split(COLUMNS, cuts, axis=1)]
    random.shuffle(parts)
    assert_same(reduce(Moments.__add__, parts), COLUMNS)


@given(cuts(ROWS), st.sampled_from([0.0, 1e4, 1e8, -1e10]))
def test_a_common_shift_costs_no_digits(cuts, shift):
    """Scatter about a far-off mean agrees with rational arithmetic on the same doubles."""
    shifted = COLUMNS + shift
    origin = tuple(shifted[:, 0].tolist())
    parts = [Moments.of(part, origin) for part in np.split(shifted, cuts, axis=1)]
    assert_same(reduce(Moments.__add__, parts), shifted, 1e-12)


def test_nothing_added_is_nothing_changed():
    """The moments of no rows are neutral on either side."""
    nothing, some = Moments.of(np.empty((2, 0))), Moments.of(COLUMNS)
    assert nothing + some == some + nothing == some
    assert (nothing + nothing).n == 0


@given(st.integers(0, ROWS), st.sampled_from(["as they are", "all", "none"]))
def test_group_becomes_a_variable(rows, which):
    """Two groups merged with the group as a last variable are the moments of three columns."""
    promoted = {"as they are": PROMOTED, "all": PROMOTED | True, "none": PROMOTED & False}[which]
    columns, group = COLUMNS[:, :rows], promoted[:rows]
    merged = with_group(Moments.of(columns[:, ~group]), Moments.of(columns[:, group]))
    if rows:
        assert_same(merged, np.vstack([columns, group]))
    else:
        assert (merged.n, merged.scatter) == (0, ((0.0,) * 3,) * 3)


@pytest.mark.parametrize("value", [0.1, -3e-100, 1e100, 1 / 3])
def test_a_constant_has_no_scatter_at_all(value):
    """Equal values leave a scatter of exactly zero, however they are split."""
    column = np.full((1, 30), value)
    merged = reduce(Moments.__add__, map(Moments.of, np.split(column, [1, 4, 4, 17], axis=1)))
    assert merged.scatter == ((0.0,),)
    assert merged.mean == (value,)


def test_one_row_has_a_mean_and_no_scatter():
    """A single row is its own mean."""
    one = Moments.of(np.array([[3.0], [1e100]]))
    assert (one.n, one.mean, one.scatter) == (1, (3.0, 1e100), ((0.0, 0.0), (0.0, 0.0)))


@pytest.mark.parametrize("shift", [1e8, 1e10])
def test_least_squares_survives_a_far_off_regressor(shift):
    """STATISTICS 1: in pages of 10 it agrees with two passes to 1e-11; raw products are lost."""
    rows = 100_000
    random = np.random.default_rng(8)
    x = random.normal(size=rows) + shift
    y = 2 * (x - shift) + random.normal(size=rows)

    origin = (y[0], x[0])
    moments, raw = Moments.of(np.empty((2, 0))), np.zeros(4)
    for start in range(0, rows, 10):
        page = np.array([y[start : start + 10], x[start : start + 10]])
        moments += Moments.of(page, origin)
        raw += [page[1].sum(), page[0].sum(), (page[1] ** 2).sum(), page.prod(axis=0).sum()]
    fit = least_squares(moments, 0, [1])

    near = x - x[0]  # exact: the two are within a factor of two
    dx, dy = near - math.fsum(near) / rows, y - math.fsum(y) / rows
    sxx = math.fsum(dx * dx)
    slope = math.fsum(dx * dy) / sxx
    std_error = math.sqrt(math.fsum((dy - slope * dx) ** 2) / (rows - 2) / sxx)
    assert fit.estimates[1] == pytest.approx(slope, rel=1e-11)
    assert fit.std_errors[1] == pytest.approx(std_error, rel=1e-11)

    sum_x, sum_y, sum_xx, sum_xy = raw.tolist()
    scatter = sum_xx - sum_x * sum_x / rows
    assert scatter == 0 or abs((sum_xy - sum_x * sum_y / rows) / scatter - 2) > 0.1
