"""Tests of `promo.models.renewable`: the likelihood's maximum, in one pass."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from promo.models import renewable
from promo.models.renewable import Renewable
from promo.models.symmetric import packed, unpacked
from promo.world import WORLDS

USES = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]], bool)


def rows_of(world, rows, seed):
    """Return regressors with a constant, shape (rows, 3), and outcomes; a number is two slopes."""
    if isinstance(world, float):
        random = np.random.default_rng(seed)
        x = np.column_stack([np.ones(rows), random.normal(size=(rows, 2))])
        return x, random.random(rows) < 1 / (1 + np.exp(-x @ [0, world, world]))
    network_ability, competence, promoted = world.sample(rows, seed)
    return np.column_stack([np.ones(rows), network_ability, competence]), promoted


def learned(x, y, size, model=None, cubic=False):
    model = model or Renewable(USES, cubic)
    for start in range(0, len(y), size):
        model.learn(x[start : start + size], y[start : start + size])
    return model


def penalised(x, y):
    """Return the maximum of log likelihood and standard normal prior, by scipy, and the Hessian."""

    def loss(beta):
        odds = x @ beta
        return np.logaddexp(0, np.where(y, -odds, odds)).sum() + beta @ beta / 2

    def slope(beta):
        return x.T @ (1 / (1 + np.exp(-x @ beta)) - y) + beta

    beta = optimize.minimize(loss, np.zeros(x.shape[1]), jac=slope, method="BFGS", tol=1e-9).x
    p = 1 / (1 + np.exp(-x @ beta))
    return beta, np.eye(x.shape[1]) + (x * (p * (1 - p))[:, None]).T @ x


@given(st.integers(0, 2**32), st.integers(0, 400), st.sampled_from([0.2, 1.0, 4.0]))
@settings(max_examples=30, deadline=None)
def test_one_batch_is_the_penalised_maximum(seed, rows, weight):
    """All rows at once: estimate and curvature of every model are those that scipy finds."""
    random = np.random.default_rng(seed)
    x = np.column_stack([np.ones(rows), random.normal(size=(rows, 2))])
    y = random.random(rows) < 1 / (1 + np.exp(-weight * x.sum(axis=1)))
    model = learned(x, y, max(rows, 1))
    for beta, curvature, uses in zip(model.beta, model.curvature, USES, strict=True):
        expected, hessian = penalised(x[:, uses], y)
        error = np.sqrt(np.diag(np.linalg.inv(hessian)))
        assert (np.abs(beta[uses] - expected) < 1e-4 * error).all()
        np.testing.assert_allclose(curvature[np.ix_(uses, uses)], hessian, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_hundred_thousand_rows_in_pages_of_ten():
    """Within .15 standard errors of statsmodels on all rows at once, errors within 1 %."""
    x, y = rows_of(WORLDS["collider"], 100_000, seed=1)
    assert_near_maximum(learned(x, y, 10), x, y, 0.15)


@pytest.mark.parametrize(("size", "far"), [(10, 0.3), (1000, 0.06)])
def test_pages_lose_little_to_all_rows_at_once(size, far):
    """STATISTICS 3: few standard errors from the maximum on all rows, fewer in larger pages."""
    x, y = rows_of(WORLDS["collider"], 20_000, seed=2)
    assert_near_maximum(learned(x, y, size), x, y, far)


@pytest.mark.parametrize(
    ("world", "size", "far"),
    [
        ("collider", 10, 0.02),
        ("collider", 1000, 0.02),
        (3.0, 10, 0.06),
        ("threshold", 10, 1.0),
        ("threshold", 100, 1.0),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_cubic_model_loses_less(world, size, far, seed):
    """In standard errors from all rows at once, with the same prior; others are much farther."""
    x, y = rows_of(WORLDS.get(world, world), 20_000, seed)
    x *= 3
    whole, cubic, normal = (
        learned(x, y, rows, Renewable(USES[3:], third))
        for rows, third in ((len(y), False), (size, True), (size, False))
    )
    error = np.sqrt(np.linalg.inv(whole.curvature[0]).diagonal())
    away, it_was = (np.abs(model.beta - whole.beta)[0] / error for model in (cubic, normal))
    assert away.max() < far
    assert it_was.max() > 2 * away.max()
    errors = np.sqrt(np.linalg.inv(cubic.curvature[0]).diagonal())
    np.testing.assert_allclose(errors, error, rtol=0.15 if far == 1 else 0.005)


def test_a_cubic_model_keeps_the_third_derivative_of_all_rows():
    """That of the likelihood where the estimate is, but for what batches leave out: 3 % of it."""
    x, y = rows_of(WORLDS["collider"], 20_000, seed=8)
    model = learned(x, y, 100, cubic=True)
    for beta, third in zip(model.beta, model.third, strict=True):
        p = 1 / (1 + np.exp(-x @ beta))
        every = np.einsum("n,ni,nj,nk->ijk", p * (1 - p) * (2 * p - 1), x, x, x)
        used = np.multiply.outer(np.multiply.outer(beta != 0, beta != 0), beta != 0)
        np.testing.assert_allclose(third, every * used, atol=0.03 * np.abs(every).max())


def test_where_a_cubic_has_no_peak_a_batch_is_taken_in_as_ever():
    """The third derivative is forgotten, then begun anew with the batch; nothing else differs."""
    x, y = rows_of(WORLDS["threshold"], 2000, seed=9)
    model, fallen = Renewable(USES[3:], cubic=True), 0
    for start in range(0, len(y), 10):
        rows = x[start : start + 10], y[start : start + 10]
        normal, alone = Renewable(USES[3:]), Renewable(USES[3:], cubic=True)
        for each in (normal, alone):
            each.beta, each.curvature = model.beta, model.curvature
            each.learn(*rows)
        model.learn(*rows)
        if (model.third == alone.third).all():
            fallen += start > 0
            assert (model.beta == normal.beta).all()
            assert (model.curvature == normal.curvature).all()
    assert 0 < fallen < 10


@pytest.mark.parametrize("k", [1, 3, 6])
def test_packed_third_derivatives(k):
    """Every value once, ascending indices in order; unpacked it is the same to the bit."""
    x = np.random.default_rng(10).normal(size=(20, k))
    model = Renewable(np.ones((1, k), bool), cubic=True)
    model.learn(x, x[:, 0] > 0.3)
    apart = packed(model.third)
    assert apart.shape == (1, k * (k + 1) * (k + 2) // 6)
    assert (unpacked(apart, k) == model.third).all()
    with pytest.raises(ValueError, match="third derivatives"):
        unpacked(apart, k + 1)


def assert_near_maximum(model, x, y, far):
    for beta, curvature, uses in zip(model.beta, model.curvature, USES, strict=True):
        fit = sm.Logit(y, x[:, uses]).fit(disp=False)
        assert (np.abs(beta[uses] - fit.params) < far * fit.bse).all()
        inner = curvature[np.ix_(uses, uses)]
        np.testing.assert_allclose(np.sqrt(np.diag(np.linalg.inv(inner))), fit.bse, rtol=0.02)


def test_intervals_cover():
    """STATISTICS 3: of 200 streams in pages of ten, 95 % intervals hold the truth in 90 to 98 %."""
    random = np.random.default_rng(3)
    inside = np.zeros(3)
    for _ in range(200):
        x = np.column_stack([np.ones(300), random.normal(size=(300, 2))])
        y = random.random(300) < 1 / (1 + np.exp(-x @ [0, 1, 1]))
        model = learned(x, y, 10, Renewable(USES[3:]))
        error = np.sqrt(np.diag(np.linalg.inv(model.curvature[0])))
        inside += np.abs(model.beta[0] - [0, 1, 1]) < 1.96 * error
    assert (inside / 200 > 0.9).all()
    assert (inside / 200 < 0.99).all()


def test_models_side_by_side_are_models_alone():
    """What a model learns does not depend on its neighbours, nor on regressors it does not use."""
    x, y = rows_of(WORLDS["threshold"], 500, seed=4)
    together = learned(x, y, 10)
    for at, uses in enumerate(USES):
        alone = learned(x[:, uses], y, 10, Renewable(np.ones((1, uses.sum()), bool)))
        np.testing.assert_allclose(together.beta[at][uses], alone.beta[0], rtol=1e-8, atol=1e-9)
        assert (together.beta[at][~uses] == 0).all()


harsh = st.sampled_from([0.0, 1.0, -1.0, 1e6, -1e6, 1e-300, 3.0])
harsh_rows = st.lists(st.tuples(harsh, harsh, st.booleans()), max_size=8)


@pytest.mark.parametrize("cubic", [False, True])
@given(st.lists(harsh_rows, max_size=6))
@settings(max_examples=200, deadline=None)
def test_no_rows_bring_it_down(cubic, pages):
    """Separable, collinear, constant, extreme: finite estimates, curvature that can be restored."""
    model = Renewable(USES, cubic)
    for rows in pages:
        columns = np.array(rows).reshape(-1, 3)
        x = np.column_stack([np.ones(len(rows)), columns[:, :2]])
        model.learn(x, columns[:, 2].astype(bool))
        assert np.isfinite(model.log_odds(x)).all()
        assert np.isfinite(model.beta).all()
        Renewable(USES).restore(*arrays_of(model))


# Streams on which something has gone wrong once: one model beside another without a peak, curvature
# that rounding had made lopsided or no curvature at all.
@pytest.mark.parametrize("seed", [25, 54, 543, 1057, 2526, *range(200)])
def test_a_cubic_model_of_harsh_rows_can_be_restored(seed):
    """Sizes of 1e-9 to 1e12 side by side: what is learned is still an estimate and a curvature."""
    random, model = np.random.default_rng(seed), Renewable(USES, cubic=True)
    sizes = [0.0, 1.0, -1.0, 1e6, -1e6, 3.0]
    sizes += [] if seed in (54, 543, 1057) else [1e12, -1e12, 1e-9, 30.0, -400.0]
    for _ in range(random.integers(1, 7)):
        n = random.integers(0, 9)
        x = np.column_stack([np.ones(n), random.choice(sizes, (n, 2))])
        model.learn(x, random.random(n) < 0.5)
        Renewable(USES).restore(*arrays_of(model))


def test_a_model_without_a_peak_leaves_its_neighbours_alone():
    """Which forget nothing: they go on as if it were not there."""
    x, y = rows_of(WORLDS["collider"], 200, seed=11)
    calm, both = (Renewable(np.ones((m, 3), bool), cubic=True) for m in (1, 2))
    for model in (calm, both):
        learned(x, y, 10, model)
    both.third = both.third * np.array([1.0, -500.0])[:, None, None, None]  # which none has
    for model in (calm, both):
        model.learn(x[:10] + 1, y[:10])
    np.testing.assert_allclose(both.third[0], calm.third[0], rtol=1e-9)
    np.testing.assert_allclose(both.beta[0], calm.beta[0], rtol=1e-9)
    assert np.abs(both.third[1]).max() < 0.5 * np.abs(calm.third[0]).max()


def test_third_derivatives_beyond_the_range_are_forgotten():
    """Estimate and curvature are kept; the state is one that can be restored."""
    model = Renewable(np.ones((1, 2), bool), cubic=True)
    model.learn(np.array([[1.0, 1e14]] * 4), np.array([True, True, True, False]))
    assert model.curvature[0, 1, 1] > 1e27
    assert (model.third == 0).all()
    Renewable(model.uses).restore(*arrays_of(model))


@pytest.mark.parametrize("far", [1.0, 1e3, 1e6])
def test_separable_rows_stay_within_the_prior(far):
    """Outcomes that a line separates have no maximum of likelihood; the prior keeps it finite."""
    x = np.column_stack([np.ones(2000), np.linspace(-far, far, 2000), np.zeros(2000)])
    random = np.random.default_rng(5)
    random.shuffle(x)
    model = learned(x, x[:, 1] > 0, 10)
    assert np.abs(model.beta).max() < 30
    assert (model.beta[1, 1], model.beta[2, 2]) > (0, -1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_few_steps_lead_to_the_maximum(seed, monkeypatch):
    """In pages of ten, Newton's method needs few steps, steps back included; at no time fifty.

    A model that has arrived must not hold up the others, as its rounding once did.
    """
    looks = []
    expit = renewable.expit
    monkeypatch.setattr(renewable, "expit", lambda odds: looks.append(1) or expit(odds))
    random = np.random.default_rng(seed)
    x = np.column_stack([np.ones(2000), 3 * random.normal(size=(2000, 2))])
    y = random.random(2000) < 1 / (1 + np.exp(-x @ [0, 1, 1]))
    model, most = Renewable(USES), 0
    for start in range(0, 2000, 10):
        looks.clear()
        model.learn(x[start : start + 10], y[start : start + 10])
        most = max(most, len(looks))
    assert most <= 15


def test_nothing_learned_is_nothing_changed():
    """A batch of no rows changes no bit."""
    x, y = rows_of(WORLDS["collider"], 100, seed=7)
    model = learned(x, y, 10)
    before = model.beta.tolist(), model.curvature.tolist()
    model.learn(x[:0], y[:0])
    assert (model.beta.tolist(), model.curvature.tolist()) == before


def arrays_of(model):
    """Return what a model has learned, through lists of floats."""
    return [np.array(each.tolist()) for each in (model.beta, model.curvature, model.third)]


def parts_of(world, rows, size, seed):
    """Return models that learned so many rows each, and one that learned all of them at once."""
    x, y = rows_of(WORLDS[world], rows, seed)
    parts = []
    for start in range(0, rows, size):
        parts.append(Renewable(USES))
        parts[-1].learn_part(x[start : start + size], y[start : start + size])
    return parts, learned(x, y, rows)


@pytest.mark.parametrize(
    ("world", "size", "far"),
    [("collider", 1000, 0.03), ("collider", 4000, 0.005), ("threshold", 4000, 0.1)],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_parts_add_up_to_all_rows_at_once(world, size, far, seed):
    """Estimates within few standard errors, errors within 3 %; as normal ones they are farther."""
    parts, whole = parts_of(world, 40_000, size, seed)
    error = np.sqrt(np.linalg.inv(whole.curvature).diagonal(axis1=1, axis2=2))
    both = sum(parts[1:], parts[0])
    assert (np.abs(both.beta - whole.beta) < far * error).all()
    errors = np.sqrt(np.linalg.inv(both.curvature).diagonal(axis1=1, axis2=2))
    np.testing.assert_allclose(errors[USES], error[USES], rtol=0.03)
    for part in parts:
        part.third = 0 * part.third
    normal = sum(parts[1:], parts[0])
    assert (np.abs(normal.beta - whole.beta)[3] > 4 * far * error[3]).any()


def overlap_of(parts):
    """Return what the log evidence of all parts is more than that of each."""
    both, overlap = parts[0], np.zeros(len(USES))
    for part in parts[1:]:
        before, both = both, both + part
        overlap = overlap + before.overlap(part, both)
    return overlap


@given(st.permutations(range(8)), st.integers(1, 7))
@settings(max_examples=20, deadline=None)
def test_parts_add_up_in_any_order(order, cut):
    """However they are ordered and put in brackets: the same to rounding, evidence included."""
    parts, _ = parts_of("mentoring", 8000, 1000, 4)
    there, shuffled = sum(parts[1:], parts[0]), [parts[at] for at in order]
    left, right = (sum(each[1:], each[0]) for each in (shuffled[:cut], shuffled[cut:]))
    for name in ("beta", "curvature", "third"):
        found = getattr(left + right, name)
        np.testing.assert_allclose(found, getattr(there, name), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(overlap_of(shuffled), overlap_of(parts), atol=1e-6)


@pytest.mark.parametrize("world", ["collider", "threshold"])
@pytest.mark.parametrize("size", [1, 5, 20, 100])
def test_parts_of_few_rows_are_still_a_posterior(world, size):
    """A sum of cubics that has no peak counts as one of normal distributions: all is finite."""
    parts, _ = parts_of(world, 100 * size, size, 5)
    both = sum(parts[1:], parts[0])
    resumed = Renewable(USES)
    resumed.restore(*arrays_of(both))  # which refuses what is no curvature
    assert np.isfinite(overlap_of(parts)).all()
    assert (both.beta[~USES] == 0).all()


def test_where_a_sum_has_no_peak_it_is_one_of_normal_distributions():
    """Estimate, curvature and evidence are then those of the product, and stay so."""
    parts, _ = parts_of("threshold", 2000, 20, 5)
    cubic = normal = parts[0]
    fell = 0
    for part in parts[1:]:
        plain = Renewable(USES)
        plain.beta, plain.curvature = part.beta, part.curvature
        normal = Renewable(USES)
        normal.beta, normal.curvature = cubic.beta, cubic.curvature
        sums = cubic + part, normal + plain
        overlap, expected = cubic.overlap(part, sums[0]), normal.overlap(plain, sums[1])
        cubic, normal = sums
        fallen = ~cubic.third.any(axis=(1, 2, 3))
        fell += fallen.sum()
        assert (cubic.beta[fallen] == normal.beta[fallen]).all()
        assert (cubic.curvature[fallen] == normal.curvature[fallen]).all()
        assert (overlap[fallen] == expected[fallen]).all()
    assert 0 < fell < 3 * len(parts)


@given(st.lists(st.sampled_from([0.0, 1.0, -1e3, 1e6, -1e12, 1e12]), min_size=14, max_size=14))
@settings(max_examples=200, deadline=None)
def test_what_restore_accepts_can_be_added(numbers):
    """Numbers of no rows at all: refused, or added, learned on and restored without a warning."""
    part, state = parts_of("collider", 400, 400, 1)[0][0], Renewable(np.ones((1, 2), bool))
    beta, diagonal, beside, third = numbers[:2], numbers[2:4], numbers[4], numbers[5:9]
    tensor = np.array([third[bin(at).count("1")] for at in range(8)]).reshape(1, 2, 2, 2)
    curvature = np.array([[[diagonal[0], beside], [beside, diagonal[1]]]])
    try:
        state.restore(np.array([beta]), curvature, tensor)
    except ValueError:
        return
    other = Renewable(np.ones((1, 2), bool))
    other.beta, other.curvature = part.beta[1:2, :2], part.curvature[1:2, :2, :2]
    other.third = part.third[1:2, :2, :2, :2]
    both = state + other
    state.overlap(other, both)
    both.learn(np.array([[1.0, 2.0], [1.0, -3.0]]), np.array([False, True]))
    Renewable(np.ones((1, 2), bool)).restore(both.beta, both.curvature, both.third)


def test_a_part_on_another_scale():
    """Moved there, estimates say the same of every row, but for what the prior says there."""
    x, y = rows_of(WORLDS["collider"], 4000, seed=6)
    home = np.array([[1.0, 0.3, -0.2], [0.0, 0.5, 0.0], [0.0, 0.0, 1.5]])  # x there is x @ home
    here, there = (Renewable(np.ones((1, 3), bool)) for _ in range(2))
    here.learn_part(x, y)
    there.learn_part(x @ home, y)
    moved = here.moved(home)
    np.testing.assert_allclose(moved.beta, there.beta, atol=2e-4)
    np.testing.assert_allclose(moved.curvature, there.curvature, rtol=2e-3, atol=0.5)
    np.testing.assert_allclose(moved.third, there.third, rtol=2e-3, atol=2.0)


@given(st.integers(0, 12))
@settings(deadline=None, max_examples=13)
def test_restored_goes_on_as_if_never_stopped(stop):
    """Estimates and curvature, through lists of floats, go on to the same bits."""
    x, y = rows_of(WORLDS["collider"], 120, seed=8)
    through, first, resumed = learned(x, y, 10), Renewable(USES), Renewable(USES)
    learned(x[: 10 * stop], y[: 10 * stop], 10, first)
    resumed.restore(*arrays_of(first))
    learned(x[10 * stop :], y[10 * stop :], 10, resumed)
    assert resumed.beta.tolist() == through.beta.tolist()
    assert resumed.curvature.tolist() == through.curvature.tolist()


def broken():
    """Yield estimates and curvatures that no rows lead to."""
    beta, curvature = np.zeros((4, 3)), np.tile(np.eye(3), (4, 1, 1))
    third = np.zeros((4, 3, 3, 3))

    def changed(array, at, value):
        array = array.copy()
        array[at] = value
        return array

    yield "fewer models", beta[:3], curvature[:3]
    yield "fewer regressors", beta[:, :2], curvature
    yield "no matrices", beta, curvature[:, 0]
    yield "NaN", changed(beta, (3, 1), math.nan), curvature
    yield "NaN beside the diagonal", beta, changed(curvature, (3, 0, 1), math.nan)
    yield "infinite", beta, changed(curvature, (3, 1, 1), math.inf)
    yield "huge", changed(beta, (3, 1), 1e60), curvature
    yield "huge curvature", beta, changed(curvature, (3, 1, 1), 1e60)
    yield "unused", changed(beta, (0, 1), 0.5), curvature
    yield "unused curvature", beta, changed(curvature, (0, 1, 1), 2.0)
    yield "lopsided", beta, changed(curvature, (3, 0, 1), 0.5)
    yield "negative", beta, changed(curvature, (3, 1, 1), -2.0)
    yield "huge beside the diagonal", beta, changed(curvature, (3, 1, 0), 1e308)
    indefinite = changed(changed(curvature, (3, 0, 1), 2.0), (3, 1, 0), 2.0)
    yield "indefinite", beta, indefinite
    yield "less than the prior", beta, changed(curvature, (3, 1, 1), 0.5)
    yield "no third derivative", beta, curvature, third[:, 0]
    yield "a third derivative of no number", beta, curvature, changed(third, (3, 1, 1, 1), math.nan)
    yield "a huge third derivative", beta, curvature, changed(third, (3, 1, 1, 1), 1e60)
    yield "a lopsided third derivative", beta, curvature, changed(third, (3, 0, 1, 1), 0.5)
    yield "a third derivative unused", beta, curvature, changed(third, (0, 1, 1, 1), 0.5)


@pytest.mark.parametrize("arrays", [pytest.param(arrays, id=name) for name, *arrays in broken()])
def test_a_broken_state_is_refused(arrays):
    """What is none raises ValueError and leaves the models as they were."""
    x, y = rows_of(WORLDS["collider"], 100, seed=9)
    model = learned(x, y, 10)
    before = model.beta.tolist(), model.curvature.tolist()
    with pytest.raises(ValueError, match=r"."):
        model.restore(*arrays)
    assert (model.beta.tolist(), model.curvature.tolist()) == before
