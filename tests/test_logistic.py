"""Tests of `promo.models.logistic`: statsmodels on all the rows, and rows of every kind."""

import json
import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import norm

from pages import batch, cuts, employees, pages_of, split
from promo.models.logistic import RenewableLogistic
from promo.world import WORLDS
from states import NO_STATES, assert_refused, changed

ROWS = 90
BOTH = pytest.mark.parametrize("quadratic", [False, True])
TERMS = {
    "intercept": lambda n, c: np.ones_like(n),
    "network_ability": lambda n, c: n,
    "competence": lambda n, c: c,
    "network_ability^2": lambda n, c: n * n,
    "network_ability:competence": lambda n, c: n * c,
    "competence^2": lambda n, c: c * c,
}


def learned(batches, model=None, **options):
    model = model or RenewableLogistic(**options)
    for each in batches:
        model.learn(each)
    return model


def state_of(model):
    [state] = model.states()
    return state.state


def restored(model):
    twin = RenewableLogistic(model.name.endswith("quadratic"))
    twin.restore({model.name: state_of(model)})
    return twin


def columns(model, *names):
    return np.array([[getattr(c, name) for name in names] for c in model.coefficients()]).T


def logit(model, network_ability, competence, promoted):
    """Return statsmodels' fit of the same terms on all the rows, in the model's order."""
    terms = [TERMS[c.term](network_ability, competence) for c in model.coefficients()]
    return sm.Logit(promoted.astype(float), np.array(terms).T).fit(disp=0)


@pytest.mark.parametrize("size", [10, 1000])
@BOTH
def test_close_to_maximum_likelihood_on_all_rows(quadratic, size):
    """At 100,000 rows of collider: within 0.02 standard errors, quadratic 0.05, true to 0.2 %."""
    rows = WORLDS["collider"].sample(100_000, seed=2021)
    model = learned(pages_of(rows, size), quadratic=quadratic)
    fit = logit(model, *rows)
    estimates, errors, z, p = columns(model, "estimate", "std_error", "statistic", "p_value")
    assert abs((estimates - fit.params) / fit.bse).max() < (0.05 if quadratic else 0.02)
    np.testing.assert_allclose(errors, fit.bse, rtol=0.002)
    np.testing.assert_allclose(z, estimates / errors)
    np.testing.assert_allclose(p, fit.pvalues, atol=0.07)


@BOTH
def test_begins_with_the_identity_on_standardised_regressors(quadratic):
    """The first rows meet β = 0 and J₀ = I, in thirds of a standard deviation: by scipy."""
    network_ability, competence, promoted = employees(10, 4)
    model = learned([batch(0, network_ability, competence, promoted)], quadratic=quadratic)
    scaled = [(each - each.mean()) / each.std() for each in (network_ability, competence)]
    x = 3 * np.array([TERMS[c.term](*scaled) for c in model.coefficients()]).T
    sign = np.where(promoted, 1.0, -1.0)

    def loss(beta):
        return np.logaddexp(0, -sign * (x @ beta)).sum() + beta @ beta / 2

    best = minimize(loss, np.zeros(x.shape[1]), method="BFGS", options={"gtol": 1e-9})
    odds = x @ best.x
    weights = expit(odds) * expit(-odds)
    curvature = np.eye(len(best.x)) + (x.T * weights) @ x
    told = model.interval_proba(batch(0, network_ability, competence, promoted))
    reach = norm.ppf(0.975) * np.sqrt(np.einsum("ni,ij,nj->n", x, np.linalg.inv(curvature), x))
    np.testing.assert_allclose(told, expit([odds - reach, odds + reach]), rtol=1e-5)


def test_the_prior_leaves_room_for_a_steep_world():
    """In threshold, of slopes of 10, most 95% intervals hold after 10,000 rows of 30 streams."""
    held = []
    for seed in range(30):
        model = learned(pages_of(WORLDS["threshold"].sample(10_000, seed), 100))
        low, high = columns(model, "ci_low", "ci_high")
        truth = np.array([-10.0, 10.0, 10.0])
        held.append((low <= truth) & (truth <= high))
    assert np.mean(held) > 0.8  # with J₀ = I in whole standard deviations .3


@BOTH
def test_anytime_inference_is_the_asymptotic_one(quadratic):
    """Radius and p-value are those that hold in the limit of many rows, by their formulas."""
    model = RenewableLogistic(quadratic, alpha=0.1, g=20.0)
    learned(pages_of(employees(500, 8)), model)
    estimates, errors, low, high, p = columns(
        model, "estimate", "std_error", "av_low", "av_high", "av_p_value"
    )
    share = 20 / 520
    radius = errors * np.sqrt(np.log(1 / (share * 0.1**2)) / (1 - share))
    np.testing.assert_allclose(low, estimates - radius)
    np.testing.assert_allclose(high, estimates + radius)
    evidence = 0.5 * np.log(share) + (estimates / errors) ** 2 * (1 - share) / 2
    np.testing.assert_allclose(p, np.exp(-np.maximum(evidence, 0)))


def test_intervals_hold_what_they_promise():
    """Of 200 streams watched every 10 rows: at the end 95% of z-intervals hold; nearly all av."""
    single, always = [], []
    for seed in range(200):
        model = learned(())
        held = np.ones(3, bool)
        for each in pages_of(employees(300, seed)):
            model.learn(each)
            low, high, av_low, av_high = columns(model, "ci_low", "ci_high", "av_low", "av_high")
            truth = np.array([0.0, 1.0, 1.0])
            held &= (av_low <= truth) & (truth <= av_high)
        single.append((low <= truth) & (truth <= high))
        always.append(held)
    assert 0.92 < np.mean(single) < 0.98
    assert np.mean(always) > 0.95


@BOTH
@given(st.integers(0, 2**32), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_coefficients_are_on_the_scale_of_the_data(quadratic, seed, shift, scale):
    """Applied to the rows as they are, the coefficients predict as the model does."""
    network_ability, competence, promoted = employees(ROWS, seed)
    rows = (network_ability * scale + shift, competence - shift, promoted)
    model = learned(pages_of(rows), quadratic=quadratic)
    terms = [c.estimate * TERMS[c.term](*rows[:2]) for c in model.coefficients()]
    lost = 1e-13 * sum(abs(part).max() for part in terms)  # the log odds are a difference of these
    predicted = model.predict_proba(batch(0, *rows))
    np.testing.assert_allclose(predicted, 1 / (1 + np.exp(-sum(terms))), atol=lost + 1e-12)


@BOTH
@given(st.integers(0, 99), st.integers(0, ROWS - 1), st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_nothing_leaks(quadratic, seed, row, size):
    """The prediction for a row changes with nothing else at or after its page."""
    rows = [column.copy() for column in employees(ROWS, seed)]
    page = row // size
    before = learned(pages_of(rows, size)[:page], quadratic=quadratic)
    expected = before.predict_proba(pages_of(rows, size)[page])[row % size]
    others = np.arange(ROWS) >= page * size
    others[row] = False
    for column, value in zip(rows, (5, -7, True), strict=True):
        column[others] = value
    rows[2][row] = not rows[2][row]
    after = learned(pages_of(rows, size)[: page + 1], quadratic=quadratic)
    assert after.predicted[row % size] == expected


@BOTH
@given(st.integers(0, 2**32), cuts(ROWS), st.integers(0, 12))
@settings(max_examples=30, deadline=None)
def test_restored_goes_on_as_if_never_stopped(quadratic, seed, cuts, stop):
    """After a restart through JSON the state is that of one run, to the bit."""
    batches = split(employees(ROWS, seed), cuts)
    through = learned(batches, quadratic=quadratic)
    resumed = restored(learned(batches[:stop], quadratic=quadratic))
    learned(batches[stop:], resumed)
    assert resumed.states() == through.states()
    np.testing.assert_equal(resumed.coefficients(), through.coefficients())


@BOTH
@given(st.integers(0, 2**32), st.integers(0, 2000))
@settings(max_examples=15, deadline=None)
def test_two_streams_add_up(quadratic, seed, cut):
    """However 2,000 rows are split over two streams, the sum is within 0.5 standard errors.

    The quadratic within 2.5. In 3,000 and 4,000 splits with at most 300 rows in one stream, the
    farthest were at 0.16 and 1.35, and their errors 1 % and 45 % (by Hypothesis: 54 %) too large.
    """
    rows = employees(2000, seed)
    parts = [tuple(column[some] for column in rows) for some in (slice(cut), slice(cut, None))]
    one, two = (learned(pages_of(part, 100), quadratic=quadratic) for part in parts)
    before = state_of(one), state_of(two)
    both, whole = one + two, learned(pages_of(rows, 100), quadratic=quadratic)
    assert (state_of(one), state_of(two)) == before
    assert both.states()[0].rows == 2000
    (estimates, errors), (expected, its) = (
        columns(model, "estimate", "std_error") for model in (both, whole)
    )
    assert abs((estimates - expected) / its).max() < (2.5 if quadratic else 0.5)
    np.testing.assert_allclose(errors, its, rtol=0.8 if quadratic else 0.05)
    assert restored(both).states() == both.states()


def test_the_sum_is_close_where_both_know_much():
    """Two streams of 20,000 rows each, added: within 0.05 standard errors of one of 40,000."""
    rows = employees(40_000, 3)
    one, two = (
        learned(pages_of([column[some] for column in rows], 1000))
        for some in (slice(20_000), slice(20_000, None))
    )
    estimates, errors = columns(one + two, "estimate", "std_error")
    expected, its = columns(learned(pages_of(rows, 1000)), "estimate", "std_error")
    assert abs((estimates - expected) / its).max() < 0.05
    np.testing.assert_allclose(errors, its, rtol=0.01)


def test_only_like_models_add_up():
    """The linear and the quadratic one cannot be added."""
    with pytest.raises(ValueError, match="cannot add"):
        RenewableLogistic() + RenewableLogistic(quadratic=True)


@BOTH
def test_before_ten_rows_it_knows_nothing(quadratic):
    """One half for every row, and no coefficient; an empty page changes nothing."""
    model = learned([*pages_of(employees(9), 4), batch(9, [], [], [])], quadratic=quadratic)
    assert set(model.predict_proba(batch(0, [1e100, -3], [0, 2], [True, False]))) == {0.5}
    assert np.isnan(columns(model, "estimate", "std_error", "av_low")).all()
    assert [c.term for c in model.coefficients()] == [*TERMS][: 6 if quadratic else 3]
    assert model.states()[0].rows == 9


WORLDS_OF_TROUBLE = {
    "all promoted": lambda n, c, p: (n, c, p | True),
    "none promoted": lambda n, c, p: (n, c, p & False),
    "constant": lambda n, c, p: (n, c * 0 + 3.5, p),
    "both constant": lambda n, c, p: (n * 0, c * 0 - 1e100, p),
    "separable": lambda n, c, p: (n, c, n + c > 0.1),
    "the same": lambda n, c, p: (n, n, p),
    "millions": lambda n, c, p: (n * 1e6, c * 1e6, p),
    "millionths": lambda n, c, p: (n * 1e-6, c * 1e6, p),
    "far off": lambda n, c, p: (n + 1e15, c + 1e6, p),
    "the largest": lambda n, c, p: (np.sign(n) * 1e100, c * 1e99, p),
    "an outlier": lambda n, c, p: (np.where(np.arange(len(n)) == 77, 1e100, n), c, p),
    "growing": lambda n, c, p: (n * 10.0 ** np.linspace(-90, 90, len(n)), c, p),
}


@BOTH
@pytest.mark.parametrize("size", [1, 10, 500])
@pytest.mark.parametrize("trouble", WORLDS_OF_TROUBLE.values(), ids=WORLDS_OF_TROUBLE)
def test_odd_rows_give_usable_numbers(trouble, size, quadratic):
    """Probabilities inside (0, 1), coefficients finite or undefined, a state to go on from."""
    rows = trouble(*employees(1000, 5))
    model = RenewableLogistic(quadratic)
    for each in pages_of([column[: 50 * size] for column in rows], size):
        model.learn(each)
        assert ((model.predicted > 0) & (model.predicted < 1)).all()
        assert not any(math.isinf(value) for c in model.coefficients() for value in c[2:])
    assert restored(model).states() == model.states()


@BOTH
@pytest.mark.parametrize("narrow", [1e-2, 1e-3])
@pytest.mark.parametrize("seed", range(3))
def test_the_first_ten_rows_may_be_of_another_scale(seed, narrow, quadratic):
    """Where they hardly differ, regressors are huge from then on: it still learns as well."""
    n, c, promoted = employees(1000, seed)
    n[:10] *= narrow
    c[:10] *= narrow
    model, losses = RenewableLogistic(quadratic), []
    for each in pages_of((n, c, promoted)):
        model.learn(each)
        told = np.where(each.promoted, model.predicted, 1 - model.predicted)
        losses += (-np.log(told)).tolist()
    assert np.mean(losses[500:]) < 0.62  # 0.69 is a coin toss, 17 the worst that there is


harsh = st.sampled_from([0.0, 1.0, -1.0, 1e100, -1e100, 1e-100, 5e-324, 1e-162, 0.1])
harsh_rows = st.lists(st.tuples(harsh, harsh, st.booleans()), max_size=12)


@BOTH
@given(st.lists(harsh_rows, max_size=6))
@settings(max_examples=60, deadline=None)
def test_no_rows_bring_it_down(quadratic, pages):
    """Any allowed numbers: probabilities inside (0, 1), no infinity, a restorable state."""
    model = RenewableLogistic(quadratic)
    for page, rows in enumerate(pages):
        model.learn(batch(page, *(np.array(rows).reshape(-1, 3).T)))
        assert ((model.predicted > 0) & (model.predicted < 1)).all()
        assert not any(math.isinf(value) for c in model.coefficients() for value in c[2:])
        assert restored(model).states() == model.states()


def broken():
    """Return states that no run of ours can have left."""
    good = json.loads(state_of(learned(pages_of(employees(30)))))
    standard, curvature = good["standard"], good["curvature"]
    changes = [
        ("version", 2),
        ("more", 1),
        ("learned", -1),
        ("learned", 0),
        ("learned", 10**400),
        ("beta", []),
        ("beta", [0.0, 0.0]),
        ("beta", [0.0, 0.0, math.nan]),
        ("beta", [0.0, 0.0, 1e300]),
        ("beta", [0.0] * 6),
        ("curvature", []),
        ("curvature", curvature[:2]),
        ("curvature", [*curvature[:2], [1.0]]),
        ("curvature", [[0.0] * 3] * 3),
        ("curvature", [[2.0, 5.0, 0.0], [5.0, 2.0, 0.0], [0.0, 0.0, 1.0]]),
        ("curvature", [[2.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]),
        ("curvature", [[math.inf] * 3] * 3),
        ("third", []),
        ("third", [0.0] * 9),
        ("third", [0.0] * 56),
        ("third", [math.inf] * 10),
        ("third", [1e300] * 10),
        ("third", [[[0.0] * 3] * 3] * 3),
        ("parts", -1),
        ("standard", {}),
        ("standard", {**standard, "scale": [0.0, 1.0]}),
        ("standard", {**standard, "scale": [1.0]}),
        ("standard", {**standard, "centre": [1e200, 0.0]}),
        ("standard", {**standard, "fixed": False}),
        ("standard", {**standard, "waiting": [[1.0, 2.0, True]]}),
        ("standard", {**standard, "waiting": [[1.0, 2.0, True]] * 10, "fixed": False}),
    ]
    return [*NO_STATES, *changed(good, changes)]


@pytest.mark.parametrize("state", broken())
def test_a_broken_state_is_refused(state):
    """A state that is none raises ValueError and leaves the model as it was."""
    model = learned(pages_of(employees(30)))
    assert_refused(model, {model.name: state})
