"""Tests of `promo.models.regressions`: equal to statsmodels, page after page."""

import json
import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from pages import batch, cuts, employees, pages_of, split
from promo.models import anytime
from promo.models.logistic import RenewableLogistic
from promo.models.regressions import FORMULAS, MOMENTS, Regressions
from promo.models.results import Coefficient
from states import assert_refused

TOLERANCE = 1e-10
NUMBERS = Coefficient._fields[2:8]  # av_* and HC1 have tests of their own
# Squares that overflow or underflow, numbers that no binary fraction equals, and the limits.
HARSH = [0.0, 1.0, -1.0, 0.1, 0.3, 1e100, -1e100, 1e-100, -3e-100, 1e-155, 1e-162, 5e-324, 1e16]


def states_of(model):
    return {state.name: state.state for state in model.states()}


def learned(batches, model=None):
    model = model or Regressions()
    for each in batches:
        model.learn(each)
    return model


def numbers(model):
    """Return all coefficients and metrics in one array, apart from what pages are counted in."""
    values = [value for c in model.coefficients() for value in c[2:]]
    metrics = [m.value for m in model.metrics() if not m.name.startswith("zero_excluded_at")]
    return np.array(values + metrics)


def reference(columns, formula, alpha=0.05):
    """Return what statsmodels says of a formula, or None where the rows do not determine it."""
    network_ability, competence, promoted = columns
    rows = slice(None) if formula.given is None else promoted == formula.given
    by_name = {"competence": competence, "promoted": promoted.astype(float)}
    design = np.column_stack([np.ones(len(promoted)), *(by_name[n] for n in formula.regressors)])
    design, response = design[rows], network_ability[rows]
    if len(response) <= design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    return sm.OLS(response, design).fit(), alpha


def assert_equal(model, columns):
    """Compare every number of every formula with statsmodels on the same rows.

    Relative to 1e-10, with floors where a number is a difference of larger ones, in which both
    sides lose digits: an estimate may be zero, so it is measured in its standard error (its
    interval in both); t in 1; R² in 1, since statsmodels takes it as 1 - RSS/TSS; F in k. A fit
    that is nearly perfect leaves both sides fewer digits of residuals, by F. Scales stay within 1e3
    of the intercept's 1, since statsmodels loses digits to the condition number.
    """
    coefficients = {c[:2]: c for c in model.coefficients()}
    metrics = {m[:2]: m.value for m in model.metrics()}
    for formula, fit in zip(FORMULAS, model.fits, strict=True):
        ours = [coefficients[formula.name, term] for term in formula.terms]
        found = reference(columns, formula, model.alpha)
        assert (found is None) == bool(fit.reason)
        if found is None:
            assert all(math.isnan(value) for c in ours for value in c[2:])
            continue
        ols, alpha = found
        tolerance = TOLERANCE * max(1.0, 1e-5 * ols.fvalue)
        error, estimate = ols.bse, np.abs(ols.params)
        low, high = ols.conf_int(alpha).T
        theirs = (ols.params, error, ols.tvalues, ols.pvalues, low, high)
        floors = (error, 0, 1, 0, error + estimate, error + estimate)
        for name, expected, floor in zip(NUMBERS, theirs, floors, strict=True):
            found = np.array([getattr(c, name) for c in ours])
            allowed = tolerance * np.maximum(np.abs(expected), floor)
            assert (np.abs(found - expected) <= allowed).all(), (formula.name, name)
        for name, expected, floor in (
            ("rows", ols.nobs, 0),
            ("r_squared", ols.rsquared, 1),
            ("f_statistic", ols.fvalue, len(ours)),
            ("residual_std_error", math.sqrt(ols.mse_resid), 0),
        ):
            allowed = tolerance * max(abs(expected), floor)
            assert abs(metrics[formula.name, name] - expected) <= allowed, (formula.name, name)


@pytest.mark.parametrize(
    ("seed", "slope", "scale", "shift"),
    [(1, 0.0, 1.0, 0.0), (2, 0.7, 1.0, 30.0), (3, -2.0, 1e-3, 0.0), (4, 0.1, 100.0, -1e3)],
)
def test_equal_to_statsmodels_after_every_page(seed, slope, scale, shift):
    """After every page, every number of every formula is that of OLS on all rows so far."""
    network_ability, competence, promoted = employees(250, seed, slope)
    columns = (network_ability * scale + shift, competence * scale - shift, promoted)
    model = Regressions()
    for page, each in enumerate(pages_of(columns)):
        model.learn(each)
        assert_equal(model, [column[: 10 * (page + 1)] for column in columns])


@given(seed=st.integers(0, 2**32), rows=st.integers(0, 40), alpha=st.sampled_from([0.01, 0.3]))
@settings(max_examples=50)
def test_equal_to_statsmodels_for_few_rows(seed, rows, alpha):
    """Also where rows are so few that some formulas have no answer yet, at any level."""
    columns = employees(rows, seed)
    assert_equal(learned(pages_of(columns, 7), Regressions(alpha)), columns)


@given(st.integers(0, 2**32), cuts(120))
@settings(max_examples=50)
def test_any_split_of_the_rows_gives_the_same(seed, cuts):
    """Pages of any sizes, empty ones included, give the numbers of one page to 1e-10."""
    columns = employees(120, seed)
    whole, parts = learned(split(columns, [])), learned(split(columns, cuts))
    np.testing.assert_allclose(numbers(parts), numbers(whole), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shift", [1e8, 1e10])
def test_a_far_off_regressor_costs_no_digits(shift):
    """All formulas on competence shifted by 1e8 and 1e10 keep the slopes of the same doubles."""
    network_ability, competence, promoted = employees(5_000, seed=5, slope=2.0)
    far = competence + shift
    model = learned(pages_of((network_ability, far, promoted)))
    near = learned([batch(0, network_ability, far - shift, promoted)])  # exact: no row is lost
    for ours, theirs in zip(model.coefficients(), near.coefficients(), strict=True):
        if ours.term != "intercept":
            np.testing.assert_allclose(ours[2:8], theirs[2:8], rtol=1e-10)


def test_a_wild_row_leaves_the_other_group_alone():
    """A row of 1e20 among those not promoted changes no digit for those promoted."""
    network_ability, competence, promoted = employees(100, seed=6)
    promoted[0] = False
    calm = learned(pages_of((network_ability, competence, promoted))).coefficients()
    network_ability[0] = competence[0] = 1e20
    wild = learned(pages_of((network_ability, competence, promoted))).coefficients()
    name = "network_ability ~ competence | promoted=1"
    assert [c for c in wild if c.model == name] == [c for c in calm if c.model == name]


SOME = np.array([1.0, 2.5, -1.0, 4.0, 0.5, 3.0])
MIXED = np.array([0, 1, 0, 1, 1, 0], bool)
COMPETENCE, BOTH, PROMOTED, WITHIN_1, WITHIN_0 = (f.name for f in FORMULAS)


@pytest.mark.parametrize(
    ("columns", "undefined", "reason"),
    [
        (([], [], []), {f.name for f in FORMULAS}, "too few rows"),
        (([1.0], [2.0], [True]), {f.name for f in FORMULAS}, "too few rows"),
        ((SOME, SOME * 0 + 0.1, MIXED), {COMPETENCE, BOTH, WITHIN_0, WITHIN_1}, "constant"),
        ((SOME, SOME**2, MIXED | True), {BOTH, PROMOTED, WITHIN_0}, "constant|too few"),
        ((SOME, SOME**2, MIXED & False), {BOTH, PROMOTED, WITHIN_1}, "constant|too few"),
        ((SOME, MIXED * 0.3 + 7, MIXED), {BOTH, WITHIN_0, WITHIN_1}, "collinear|constant"),
        ((SOME, SOME * 1e-200, MIXED), {COMPETENCE, BOTH, WITHIN_0, WITHIN_1}, "constant"),
    ],
    ids=["no rows", "one row", "constant", "all promoted", "none", "collinear", "underflow"],
)
def test_what_rows_cannot_tell_is_nan_with_a_reason(columns, undefined, reason):
    """Formulas that the rows do not determine are NaN throughout, say why, and the others not."""
    model = learned([batch(0, *columns)])
    for c in model.coefficients():
        assert math.isnan(c.estimate) == math.isnan(c.std_error) == (c.model in undefined)
    for formula, fit in zip(FORMULAS, model.fits, strict=True):
        assert bool(fit.reason) == (formula.name in undefined)
        assert not fit.reason or any(word in fit.reason for word in reason.split("|"))
    summaries = states_of(model)
    for formula, fit in zip(FORMULAS, model.fits, strict=True):
        assert json.loads(summaries[formula.name])["undefined"] == (fit.reason or None)


@pytest.mark.parametrize("response", [3 * SOME + 0.1, SOME * 0 + 0.1], ids=["line", "constant"])
def test_a_perfect_fit_has_estimates_without_errors(response):
    """Points on a line, or a constant response, have estimates; errors are NaN with a reason."""
    model = learned(split((response, SOME, MIXED), [2, 3]))
    slope, intercept = np.polyfit(SOME, response, 1)
    first, second = model.coefficients()[:2]
    assert (first.estimate, second.estimate) == pytest.approx((intercept, slope), abs=1e-12)
    assert all(math.isnan(value) for c in (first, second) for value in c[3:])
    assert "perfect" in model.fits[0].reason or "constant" in model.fits[0].reason


harsh_rows = st.lists(
    st.tuples(st.sampled_from(HARSH), st.sampled_from(HARSH), st.booleans()), max_size=12
)


@given(st.lists(harsh_rows, max_size=4))
def test_no_rows_bring_it_down(pages):
    """Any allowed numbers in any pages: no exception or warning, restorable state, no infinity.

    But for the bounds of a confidence sequence before it has any.
    """
    model = Regressions()
    for page, rows in enumerate(pages):
        model.learn(batch(page, *(np.array(rows).reshape(-1, 3).T)))
        bounds = [(c.av_low, c.av_high) for c in model.coefficients()]
        unbound = sum(pair == (-math.inf, math.inf) for pair in bounds)
        assert np.isinf(numbers(model)).sum() == 2 * unbound
        twin = Regressions()
        twin.restore(states_of(model))
        assert twin.states() == model.states()
        for formula, fit in zip(FORMULAS, model.fits, strict=True):
            undefined = [c for c in model.coefficients() if c.model == formula.name]
            assert bool(fit.reason) == any(math.isnan(c.std_error) for c in undefined)


@given(st.integers(0, 2**32), cuts(80), st.integers(0, 12))
@settings(max_examples=50)
def test_restored_goes_on_as_if_never_stopped(seed, cuts, stop):
    """State, coefficients and metrics after a restart are those of one run, to the bit."""
    batches = split(employees(80, seed), cuts)
    through = learned(batches)
    resumed = Regressions()
    resumed.restore(states_of(learned(batches[:stop])))
    learned(batches[stop:], resumed)
    assert resumed.states() == through.states()
    np.testing.assert_array_equal(numbers(resumed), numbers(through))


@given(st.integers(0, 2**32), st.sampled_from([1.0, 30.0]), st.sampled_from([0.05, 0.3]))
@settings(max_examples=30, deadline=None)
def test_sequences_are_those_of_the_statistics(seed, g, alpha):
    """At every page `av_*` follow from t, rows and degrees of freedom, and hold the fixed ones."""
    model = Regressions(alpha, g)
    for each in pages_of(employees(80, seed, slope=0.4)):
        model.learn(each)
        fits = dict(zip((f.name for f in FORMULAS), model.fits, strict=True))
        for c in model.coefficients():
            fit = fits[c.model]
            if fit.reason:
                assert all(map(math.isnan, c[2:]))
                continue
            t, df = c.estimate / c.std_error, fit.df_resid
            radius = float(anytime.radius(df, fit.n, alpha, g)) * c.std_error
            assert c.av_p_value == pytest.approx(float(anytime.p_value(t, df, fit.n, g)))
            assert (c.av_low, c.av_high) == pytest.approx(
                (c.estimate - radius, c.estimate + radius)
            )
            assert c.av_low < c.ci_low < c.estimate < c.ci_high < c.av_high
            assert (c.av_p_value <= alpha) == (not c.av_low < 0 < c.av_high)


@given(st.integers(0, 2**32), cuts(300), st.sampled_from([0.0, 0.5]))
@settings(max_examples=30, deadline=None)
def test_the_first_page_without_zero_is_kept(seed, cuts, slope):
    """`zero_excluded_at` is the first page whose sequence left zero out, NaN before, never undone.

    Of slopes only: that an intercept is not zero is no claim of anybody. Whether somebody asks
    after each page makes no difference.
    """
    model, unasked, first = Regressions(g=10.0), Regressions(g=10.0), {}
    for each in split(employees(300, seed, slope), cuts):
        model.learn(each)
        unasked.learn(each)
        for c in model.coefficients():
            if c.term != "intercept" and (c.av_low > 0 or c.av_high < 0):
                first.setdefault((c.model, c.term), each.page)
        slopes = [c[:2] for c in model.coefficients() if c.term != "intercept"]
        name = "zero_excluded_at "
        found = {
            (m.model, m.name.removeprefix(name)): m.value
            for m in model.metrics()
            if m.name.startswith(name)
        }
        np.testing.assert_equal(found, {key: float(first.get(key, math.nan)) for key in slopes})
    assert states_of(unasked) == states_of(model)


def test_names_and_order_never_change():
    """Terms and metrics come in the same order before the first row and ever after."""
    empty, full = Regressions(), learned(pages_of(employees(50)))
    assert [c[:2] for c in empty.coefficients()] == [c[:2] for c in full.coefficients()]
    assert [m[:2] for m in empty.metrics()] == [m[:2] for m in full.metrics()]
    assert {c.model for c in full.coefficients()} == {f.name for f in FORMULAS}


def broken():
    """Yield states that no run of ours can have left."""
    good = json.loads(states_of(learned(pages_of(employees(30))))[MOMENTS])
    zeros, ones = good["groups"]
    moments, higher, excluded = ones["moments"], ones["higher"], good["excluded"]
    yield "not JSON", "moments"
    yield "empty", ""
    yield "wrong type", "[]"
    yield "unknown field", json.dumps({**good, "more": 1})
    yield "no version", json.dumps({"groups": good["groups"], "excluded": excluded})
    for field, value in [
        ("version", 1),
        ("version", 3),
        ("groups", [ones]),
        ("groups", [ones] * 3),
        ("groups", [ones, moments]),
        ("excluded", excluded[:-1]),
        ("excluded", [*excluded, None]),
        ("excluded", [-1, *excluded[1:]]),
        ("excluded", [0.5, *excluded[1:]]),
        ("excluded", None),
    ]:
        yield f"{field}={str(value)[:30]}", json.dumps({**good, field: value})
    for value in [None, higher[:-1], [*higher, 0.0], [None, *higher[1:]], [math.nan, *higher[1:]]]:
        state = {**good, "groups": [zeros, {**ones, "higher": value}]}
        yield f"higher={str(value)[:30]}", json.dumps(state)
    for field, value in [
        ("n", -1),
        ("n", 1.5),
        ("n", "7"),
        ("n", True),
        ("n", 2**60),
        ("n", 10**400),
        ("origin", None),
        ("origin", [1.0]),
        ("origin", [1.0, math.nan]),
        ("origin", [1.0, 1e101]),
        ("offset", [1.0, math.inf]),
        ("offset", [1.0, 1e101]),
        ("offset", [1.0, "2"]),
        ("offset", [None, 1.0]),
        ("scatter", []),
        ("scatter", [[1.0, 0.0]]),
        ("scatter", [[1.0, 0.0]] * 3),
        ("scatter", [[1.0], [1.0]]),
        ("scatter", [[1.0, 0.0], [0.0, 1e308]]),
        ("scatter", [[1.0, 0.0], [0.0, -1.0]]),
        ("scatter", [[1.0, 0.5], [0.0, 1.0]]),
    ]:
        state = {**good, "groups": [zeros, {**ones, "moments": {**moments, field: value}}]}
        yield f"{field}={str(value)[:30]}", json.dumps(state)
    yield "overflow", states_of(Regressions())[MOMENTS].replace("0.0", "1e999")
    yield "deep", "[" * 100_000


@pytest.mark.parametrize("state", [pytest.param(s, id=name) for name, s in broken()])
def test_a_broken_state_is_refused(state):
    """A state that is none raises ValueError and leaves the model as it was."""
    model = learned(pages_of(employees(30)))
    assert_refused(model, {**states_of(model), MOMENTS: state})


@pytest.mark.parametrize("kind", [Regressions, RenewableLogistic])
@pytest.mark.parametrize("level", [{"alpha": 0.0}, {"alpha": 1.0}, {"alpha": math.nan}, {"g": 0.0}])
def test_a_level_that_is_none_is_refused_at_once(kind, level):
    """Not in the midst of a stream."""
    with pytest.raises(ValueError, match="expected alpha in"):
        kind(**level)
