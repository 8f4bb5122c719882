"""Tests of `promo.models.standard`: ten rows fix the scale, however they come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages import batch, employees, pages_of, split
from promo.models.logistic import RenewableLogistic
from promo.models.regressions import Regressions
from promo.models.standard import FAR, FIRST, Standard
from promo.models.stories import Stories
from promo.world import WORLDS


def admitted(batches):
    standard = Standard()
    return standard, [rows for each in batches if (rows := standard.admit(each)) is not None]


@given(st.integers(0, 99), st.lists(st.integers(0, 60), max_size=20).map(sorted))
def test_ten_rows_fix_the_scale_however_they_come(seed, cuts):
    """Every row is handed out once, in order, on the scale of the first ten, for any pages."""
    rows = employees(60, seed)
    standard, parts = admitted(split(rows, cuts))
    x, y = (np.concatenate(part) for part in zip(*parts, strict=True))
    np.testing.assert_equal(y, rows[2])
    np.testing.assert_allclose(x[:FIRST, 1:].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(x[:FIRST, 1:].std(axis=0), 1)
    back = x[:, 1:] * standard.scale + standard.centre
    np.testing.assert_allclose(back, np.array(rows[:2]).T, atol=1e-12)
    assert (x[:, 0] == 1).all()


def test_what_does_not_vary_is_divided_by_its_size():
    """Constant columns become 0 on their own scale; 1 if they are 0; far rows count as `FAR`."""
    standard, [(x, _)] = admitted([batch(0, [0.0] * 10, [-1e100] * 10, [True] * 10)])
    assert (standard.centre, standard.scale) == ((0.0, -1e100), (1.0, 1e100))
    assert (x[:, 1:] == 0).all()
    assert standard.regressors(np.array([1e100]), np.array([0.0])).tolist() == [[1, FAR, 1]]


def test_stories_wait_for_ten_rows():
    """The stories bet on no row before there are ten, and go on from their state as they were."""
    regressions = Regressions()
    stories = Stories(regressions)
    for each in split(employees(9), [4]):
        stories.learn(each)
    assert stories.states()[0].rows == 9
    twin = Stories(regressions)
    twin.restore({stories.name: stories.states()[0].state})
    for each in split(employees(30, 1), [4, 20]):
        stories.learn(each)
        twin.learn(each)
    assert twin.states() == stories.states()
    assert stories.states()[0].rows == 39


@pytest.mark.parametrize("at", [0, 9])
@pytest.mark.parametrize("far", [20.0, 1e4, -1e100])
def test_one_far_row_among_the_first_does_not_make_the_scale(at, far):
    """As a missing value that is written as 9999: the logistic comes to what it comes to later."""
    network_ability, competence, promoted = WORLDS["collider"].sample(3000, 1)[:3]

    def learned(row):
        values, chosen, model = competence.copy(), promoted.copy(), RenewableLogistic()
        values[row], chosen[row] = far, far > 0
        for each in pages_of((network_ability, values, chosen)):
            model.learn(each)
        return {c.term: c for c in model.coefficients()}

    first, later = learned(at), learned(50)
    for term, found in first.items():
        assert abs(found.estimate - later[term].estimate) < 0.5 * later[term].std_error
        assert found.std_error == pytest.approx(later[term].std_error, rel=0.05)
