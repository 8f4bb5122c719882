"""Tests of `promo.models.comoments`: equal to rational arithmetic, however rows are dealt."""

from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pages import cuts, employees
from promo.models.comoments import CoMoments
from promo.models.moments import Moments

ROWS = 24
COLUMNS = np.array(employees(ROWS, seed=3, slope=0.5)[:2])
POWERS = ((2, 1), (1, 2), (0, 3), (2, 2), (1, 3), (0, 4))  # of u and v, in the order of `higher`
NOTHING = CoMoments.of(np.empty((2, 0)))

shifts = st.sampled_from([0.0, 1e4, 1e8, -1e10])
scales = st.sampled_from([1.0, 1e-30, 1e25, -1e-8])


def exact(columns):
    """Return the higher sums about the means in rational arithmetic."""
    u, v = ([Fraction(value) for value in column] for column in columns.tolist())
    means = [sum(column) / len(column) for column in (u, v)]
    u, v = ([value - mean for value in column] for column, mean in zip((u, v), means, strict=True))
    return [sum(a**i * b**j for a, b in zip(u, v, strict=True)) for i, j in POWERS]


def assert_same(found, columns, tolerance=1e-10):
    """Compare with the exact sums, relative to the sizes of what is summed."""
    u, v = columns - columns.mean(axis=1, keepdims=True)
    sizes = [float((np.abs(u) ** i * np.abs(v) ** j).sum()) for i, j in POWERS]
    assert found.moments.n == columns.shape[1]
    for ours, theirs, size in zip(found.higher, exact(columns), sizes, strict=True):
        assert abs(ours - float(theirs)) <= tolerance * size


@given(cuts(ROWS), st.randoms(), scales)
def test_merging_any_split_in_any_order_equals_brute_force(cuts, random, scale):
    """However rows are dealt to accumulators and these are merged, the sums are those of all."""
    columns = COLUMNS * np.array([[1.0], [scale]])
    parts = [CoMoments.of(part) for part in np.split(columns, cuts, axis=1)]
    random.shuffle(parts)
    while len(parts) > 1:  # as a tree of any shape
        one, other = parts.pop(random.randrange(len(parts))), parts.pop(0)
        parts.insert(random.randrange(len(parts) + 1), one + other)
    assert_same(parts[0], columns)


@given(cuts(ROWS), shifts, shifts)
def test_a_common_shift_costs_no_digits(cuts, shift, other):
    """Sums about far-off means agree with rational arithmetic on the same doubles."""
    shifted = COLUMNS + np.array([[shift], [other]])
    origin = tuple(shifted[:, 0].tolist())
    parts = [CoMoments.of(part, origin) for part in np.split(shifted, cuts, axis=1)]
    assert_same(reduce(CoMoments.__add__, parts), shifted)


@given(cuts(ROWS))
def test_moments_are_those_of_moments(cuts):
    """The lower moments are what `Moments` makes of the same parts, to rounding."""
    parts = np.split(COLUMNS, cuts, axis=1)
    found = reduce(CoMoments.__add__, map(CoMoments.of, parts)).moments
    expected = reduce(Moments.__add__, map(Moments.of, parts))
    assert (found.n, found.origin) == (expected.n, expected.origin)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-13)
    np.testing.assert_allclose(found.scatter, expected.scatter, rtol=1e-13)


@given(st.integers(1, ROWS))
@settings(deadline=None)
def test_few_rows_are_summed_as_many_are(rows):
    """The way of few rows and that of many give the same sums, to rounding."""
    few, many = CoMoments.of(COLUMNS[:, :rows]), CoMoments.of(np.tile(COLUMNS[:, :rows], 40))
    assert_same(few, COLUMNS[:, :rows])
    assert_same(many, np.tile(COLUMNS[:, :rows], 40))


def test_nothing_added_is_nothing_changed():
    """The moments of no rows are neutral on either side, also beside what has left the range."""
    some = CoMoments.of(COLUMNS)
    for each in (some, CoMoments(some.moments, ())):
        assert NOTHING + each == each + NOTHING == each
    assert (NOTHING + NOTHING).higher == (0.0,) * 6


def test_a_constant_has_no_sums_at_all():
    """Equal rows leave sums of exactly zero, however they are split."""
    rows = np.full((2, 30), 0.1)
    parts = np.split(rows, [1, 4, 4, 17], axis=1)
    assert reduce(CoMoments.__add__, map(CoMoments.of, parts)).higher == (0.0,) * 6


@pytest.mark.parametrize("which", [0, 1])
def test_what_leaves_the_range_is_given_up_for_good(which):
    """A sum too large for a double leaves none, without a warning, within a batch or by a merge.

    It takes 1e78 in v, of which there are fourth powers, and as much in both for u.
    """
    wild = COLUMNS.copy()
    wild[which:, 7] = 1e99
    far = CoMoments.of(wild[:, 7:8])  # alone, it is no distance from its mean
    assert far.higher == (0.0,) * 6
    for lost in (CoMoments.of(wild), CoMoments.of(COLUMNS) + far):
        assert lost.higher == ()
        assert (lost + CoMoments.of(COLUMNS)).higher == ()
        assert (CoMoments.of(COLUMNS) + lost).higher == ()


@given(
    st.lists(
        st.tuples(*[st.sampled_from([0.0, 1e100, -1e100, 1e60, 1e-100, 5e-324, 0.1])] * 2),
        max_size=9,
    ),
    st.integers(0, 9),
)
def test_sums_are_finite_or_none(rows, cut):
    """Any allowed numbers: six finite sums or none, never a warning."""
    columns = np.array(rows).reshape(-1, 2).T
    for each in (
        CoMoments.of(columns),
        CoMoments.of(columns[:, :cut]) + CoMoments.of(columns[:, cut:]),
    ):
        assert len(each.higher) in (0, 6)
        assert np.isfinite(each.higher).all()
