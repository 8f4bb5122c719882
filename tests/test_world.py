"""Tests of `promo.world`."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_examples_in_docstrings():
    """Every example in the module's documentation gives what it shows."""
    assert doctest.testmod(promo.world).failed == 0


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
