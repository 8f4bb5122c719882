"""Tests of `promo.world`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

import promo.world
from promo.world import WORLDS, World, logistic

worlds = pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
sizes = st.integers(0, 300)
seeds = st.integers(0, 2**64)


def rows_of(employees):
    return np.column_stack(employees)


def slopes(world: World, *, controlled: bool) -> np.ndarray:
    """Return intercept and slopes of network ability on competence (and promoted)."""
    sample = world.sample(200_000, seed=1)
    columns = [np.ones(200_000), sample.competence, sample.promoted][: 3 if controlled else 2]
    return np.linalg.lstsq(np.column_stack(columns), sample.network_ability, rcond=None)[0]


@worlds
@given(few=sizes, many=sizes, seed=seeds)
def test_more_rows_keep_the_rows_before(world, few, many, seed):
    """The first k rows do not depend on how many are asked for."""
    few, many = sorted((few, many))
    np.testing.assert_array_equal(
        rows_of(world.sample(few, seed)), rows_of(world.sample(many, seed))[:few]
    )


@worlds
@given(rows=st.integers(1, 300), block_rows=st.integers(1, 400), seed=seeds)
def test_blocks_joined_are_the_sample(world, rows, block_rows, seed):
    """Blocks of any size are the sample, cut."""
    blocks = [rows_of(block) for block in world.blocks(rows, seed, block_rows)]
    assert max(map(len, blocks)) <= block_rows
    np.testing.assert_array_equal(np.concatenate(blocks), rows_of(world.sample(rows, seed)))


@worlds
def test_types_and_shapes(world):
    """Abilities are float64, promoted is bool, all of shape (rows,), also for no rows."""
    for rows in (0, 1, 1000):
        sample = world.sample(rows, seed=3)
        assert [column.dtype for column in sample] == [np.float64, np.float64, np.bool_]
        assert {column.shape for column in sample} == {(rows,)}


@worlds
def test_parents_come_before_children(world):
    """Variables are in causal order, each once."""
    names = [variable.name for variable in world.variables]
    assert sorted({*names} - {"hidden"}) == ["competence", "network_ability", "promoted"]
    assert len({*names}) == len(names)
    for position, variable in enumerate(world.variables):
        assert set(variable.parents) <= {"row", *names[:position]}


@worlds
def test_abilities_are_standardized(world):
    """Abilities have mean 0 and variance 1, within five standard errors."""
    sample = world.sample(200_000, seed=5)
    for column in (sample.network_ability, sample.competence):
        assert abs(column.mean()) < 5 / 200_000**0.5
        assert abs(column.var() - 1) < 5 * (2 / 200_000) ** 0.5


@worlds
def test_bayes_proba_is_calibrated(world):
    """Among employees with P(promoted) near p, a share of p is promoted."""
    sample = world.sample(200_000, seed=7)
    proba = world.bayes_proba(sample.network_ability, sample.competence, np.arange(200_000))
    assert proba.shape == (200_000,)
    for low in np.linspace(0, 0.9, 10):
        inside = (proba >= low) & (proba < low + 0.1)
        error = sample.promoted[inside].mean() - proba[inside].mean()
        assert abs(error) < 5 * (0.25 / inside.sum()) ** 0.5


@worlds
def test_bayes_proba_beats_any_distortion_of_it(world):
    """No tilt or shift of the true log odds has a lower log loss on many rows."""
    sample = world.sample(200_000, seed=11)
    proba = world.bayes_proba(sample.network_ability, sample.competence, np.arange(200_000))
    inner = np.clip(proba, 1e-12, 1 - 1e-12)
    log_odds = np.log(inner) - np.log1p(-inner)

    def log_loss(log_odds):
        return np.logaddexp(0, np.where(sample.promoted, -log_odds, log_odds)).mean()

    best = log_loss(log_odds)
    for tilt, shift in ((0.9, 0), (1.1, 0), (1, 0.1), (1, -0.1)):
        assert log_loss(tilt * log_odds + shift) > best


def test_collider_makes_a_slope_where_there_is_none():
    """Without promoted the slope on competence is 0; with it, about -0.15."""
    assert abs(slopes(WORLDS["collider"], controlled=False)[1]) < 0.01
    assert slopes(WORLDS["collider"], controlled=True)[1] == pytest.approx(-0.152, abs=0.01)


def test_threshold_is_a_cut_in_the_sum():
    """Promotion follows the sum of abilities but for a narrow band, and selects harder."""
    sample = WORLDS["threshold"].sample(100_000, seed=1)
    total = sample.network_ability + sample.competence
    assert sample.promoted[total > promo.world.THRESHOLD_CUT + 1.2].all()
    assert not sample.promoted[total < promo.world.THRESHOLD_CUT - 1.2].any()
    assert slopes(WORLDS["threshold"], controlled=True)[1] < -0.3


def test_mentoring_has_a_true_slope_that_the_collider_hides():
    """Competence moves network ability; controlling for promoted shrinks the slope."""
    slope = promo.world.MENTORING_SLOPE
    assert slopes(WORLDS["mentoring"], controlled=False)[1] == pytest.approx(slope, abs=0.01)
    assert slopes(WORLDS["mentoring"], controlled=True)[1] < slope / 2


def test_worlds_share_their_noise():
    """The same seed gives the same employees in any world, up to what the world changes."""
    names = "collider", "threshold", "mentoring"
    collider, threshold, mentoring = (WORLDS[name].sample(100, seed=2) for name in names)
    np.testing.assert_array_equal(collider.network_ability, threshold.network_ability)
    np.testing.assert_array_equal(collider.competence, mentoring.competence)
    assert (collider.promoted != threshold.promoted).any()


def test_every_world_is_described():
    """A world is listed under its own name, with one line for people."""
    for name, world in WORLDS.items():
        assert world.name == name
        assert world.description.endswith(".")
        assert "\n" not in world.description


def test_seeds_and_columns_are_unrelated():
    """Different seeds give different rows, and the columns of one seed are no copies."""
    one, other = (WORLDS["collider"].sample(1000, seed) for seed in (1, 2))
    assert (one.competence != other.competence).all()
    assert abs(np.corrcoef(one.network_ability, one.competence)[0, 1]) < 0.2


@settings(max_examples=50)
@given(st.floats(-700, 700))
def test_logistic_is_accurate_in_both_tails(log_odds):
    """`logistic` agrees with its definition to 1e-12 relative, where that can be computed."""
    value = logistic(np.float64(log_odds))
    expected = 1 / (1 + np.exp(-log_odds)) if log_odds > -30 else np.exp(log_odds)
    assert value == pytest.approx(expected, rel=1e-12)


ARROWS = {
    "collider": {("network_ability", "promoted"), ("competence", "promoted")},
    "threshold": {("network_ability", "promoted"), ("competence", "promoted")},
    "mentoring": {
        ("network_ability", "promoted"),
        ("competence", "promoted"),
        ("competence", "network_ability"),
    },
    "chain": {("competence", "network_ability"), ("network_ability", "promoted")},
    "fork": {("promoted", "network_ability"), ("promoted", "competence")},
    "confounded": {
        ("hidden", "network_ability"),
        ("hidden", "promoted"),
        ("competence", "promoted"),
    },
    "drift": {("network_ability", "promoted"), ("competence", "promoted")},
    "interaction": {("network_ability", "promoted"), ("competence", "promoted")},
}
SETTINGS = [{"promoted": True}, {"network_ability": 1.5}, {"competence": -1.0}]


def by_hand(name, random, rows, promoted=None, network_ability=None, competence=None):
    """Simulate a world under an intervention, from its one-line story and nothing of `World`."""

    def flip(p):
        return random.random(rows) < p if promoted is None else np.full(rows, promoted)

    def ability(cause, slope, given):
        return slope * cause + (1 - slope**2) ** 0.5 * normal() if given is None else full(given)

    def normal():
        return random.normal(size=rows)

    def full(value):
        return np.full(rows, float(value))

    def sigmoid(odds):
        return 1 / (1 + np.exp(-odds))

    if name == "fork":
        p = flip(0.5)
        n, c = (
            np.where(p, 0.5, -0.5) + 0.75**0.5 * normal() if given is None else full(given)
            for given in (network_ability, competence)
        )
        return n, c, p
    hidden = normal()
    c = ability(hidden, 0, competence)
    cause, slope = {"mentoring": (c, 0.3), "chain": (c, 0.6), "confounded": (hidden, 0.8)}.get(
        name, (hidden, 0)
    )
    n = ability(cause, slope, network_ability)
    odds = {
        "collider": n + c,
        "mentoring": n + c,
        "threshold": (n + c - 1) / 0.1,
        "chain": 2 * n,
        "confounded": 2 * hidden + c,
        "drift": 2 * c,  # the first half; the test has no more rows
        "interaction": 2 * n * c,
    }[name]
    return n, c, flip(sigmoid(odds))


def pictures(columns):
    """Return means of products that tell distributions apart, and their variances, shape (2, k)."""
    n, c, p = (np.asarray(column, float) for column in columns)
    products = [n, c, p, n * n, c * c, n * c, n * p, c * p, n * c * p, n * n * p]
    return np.array([[np.mean(x) for x in products], [np.var(x) / len(n) for x in products]])


@worlds
@pytest.mark.parametrize("values", [{}, *SETTINGS], ids=str)
def test_do_is_brute_force_simulation(world, values):
    """Seen or done, the distribution is that of a simulation by hand, within 5 standard errors."""
    rows = 40_000
    ours, variances = pictures(world.do(**values).sample(rows, seed=13))
    random = np.random.default_rng(17)
    theirs, more = pictures(by_hand(world.name, random, rows, **values))
    assert (np.abs(ours - theirs) <= 5 * np.sqrt(variances + more) + 1e-12).all()


@worlds
@pytest.mark.parametrize("values", SETTINGS, ids=str)
def test_do_moves_descendants_and_nothing_else(world, values):
    """What a variable does not cause stays the same to the bit; what it causes moves."""
    [(name, value)] = values.items()
    rows = promo.world.DRIFT_ROW + 5000
    seen, done = world.sample(rows, seed=19), world.do(**values).sample(rows, seed=19)
    moved = {name}
    while more := {effect for cause, effect in world.arrows if cause in moved} - moved:
        moved |= more
    for variable in done._fields:
        before, after = getattr(seen, variable), getattr(done, variable)
        assert (before != after).any() == (variable in moved), variable
        assert before.dtype == after.dtype
    assert (getattr(done, name) == value).all()


@worlds
def test_do_cuts_the_arrows_that_come_in(world):
    """After an intervention nothing else causes the variable; all other arrows stay."""
    for values in SETTINGS:
        [name] = values
        done = world.do(**values)
        assert done.arrows == {arrow for arrow in world.arrows if arrow[1] != name}
        assert world.name in done.name
        assert name in done.name


def test_do_composes():
    """Setting two variables at once, or one after the other, is the same world."""
    world = WORLDS["mentoring"]
    both = world.do(network_ability=1.0, competence=2.0).sample(100, seed=1)
    after = world.do(competence=2.0).do(network_ability=1.0).sample(100, seed=1)
    np.testing.assert_array_equal(rows_of(both), rows_of(after))
    np.testing.assert_array_equal(rows_of(world.do().sample(9, 1)), rows_of(world.sample(9, 1)))


def test_hidden_causes_can_be_set_too():
    """In `confounded` setting the hidden cause moves network ability and promotion."""
    seen = WORLDS["confounded"].sample(1000, seed=2)
    done = WORLDS["confounded"].do(hidden=3.0).sample(1000, seed=2)
    np.testing.assert_array_equal(done.competence, seen.competence)
    assert done.network_ability.mean() > 2
    assert done.promoted.mean() > 0.9


@pytest.mark.parametrize("name", ["luck", "hidden", "row", "name"])
def test_do_of_what_is_no_variable_is_refused(name):
    """An unknown variable raises ValueError that names it, the world and what it has."""
    with pytest.raises(ValueError, match=rf"collider has no {name}; .*promoted"):
        WORLDS["collider"].do(**{name: 1.0})


@worlds
def test_after_an_intervention_nobody_sees_who_gets_promoted(world):
    """What is seen says nothing of what is done: `bayes_proba` is refused, not wrong."""
    with pytest.raises(ValueError, match="do"):
        world.do(network_ability=1.0).bayes_proba([0.0], [0.0])


def test_seeing_is_not_doing():
    """Among those seen promoted abilities are higher and tied; done, they are as before."""
    seen = WORLDS["collider"].sample(100_000, seed=23)
    done = WORLDS["collider"].do(promoted=True).sample(100_000, seed=23)
    chosen = seen.promoted
    assert seen.network_ability[chosen].mean() > 0.3
    assert np.corrcoef(seen.network_ability[chosen], seen.competence[chosen])[0, 1] < -0.1
    assert abs(done.network_ability.mean()) < 0.02
    assert abs(np.corrcoef(done.network_ability, done.competence)[0, 1]) < 0.02


@worlds
def test_arrows_are_the_truth(world):
    """The arrows are those of the world's one-line story, hidden causes included."""
    assert world.arrows == ARROWS[world.name]


def test_the_hidden_cause_is_integrated_out():
    """In `confounded` P(promoted | N, C) is the average over the hidden cause, to 1e-9."""
    world, slope = WORLDS["confounded"], promo.world.CONFOUNDING
    for n, c in [(0.0, 0.0), (1.0, -2.0), (-3.0, 0.5), (4.0, 4.0)]:

        def inside(hidden, n=n, c=c):
            gift = slope * n + (1 - slope**2) ** 0.5 * hidden
            return stats.norm.pdf(hidden) / (1 + np.exp(-2 * gift - c))

        expected = integrate.quad(inside, -12, 12, epsabs=1e-12)[0]
        assert world.bayes_proba([n], [c])[0] == pytest.approx(expected, abs=1e-9)


def test_drift_changes_the_policy_half_way():
    """Before the row of change competence decides, from it on network ability alone does."""
    row = promo.world.DRIFT_ROW
    before, after = WORLDS["drift"].bayes_proba([3.0, 3.0], [-1.0, -1.0], [row - 1, row])
    assert before < 0.2 < 0.9 < after
