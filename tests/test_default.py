"""Tests of `promo.models.default`: any choice of experts, stored, left and taken up again."""

import random

import pytest

from pages import batch, pages_of
from promo.errors import StoreMismatch
from promo.line import Line
from promo.models.default import EXPERTS, FULL, MIXTURE, USUAL, default_models
from promo.store import Store
from promo.world import WORLDS
from tables import assert_sound, dump

SOURCE = "world:collider?rows=200&seed=3"
ALL = [*EXPERTS, MIXTURE]


def opened(path, names, source=SOURCE):
    models, settings = default_models(names, source)
    return Line(Store(path, source=source, page_size=10, settings=settings), models)


def pages():
    """Return the first rows of the world: the last page short, another with rows seen before."""
    rows = WORLDS["collider"].sample(187, seed=3)
    batches = pages_of(rows)
    batches[7] = batch(7, *(column[64:74] for column in rows), ids=range(64, 74))
    return batches


@pytest.mark.parametrize("names", [USUAL, FULL, ["renewable-logistic"], ALL], ids=str)
def test_left_and_taken_up_anywhere_the_tables_are_the_same(names, tmp_path):
    """However often a run is left, its tables are those of one that never was, and of the rows."""
    line = opened(tmp_path / "through.db", names)
    for each in pages():
        line.learn(each)
    assert_sound(line.store)
    expected = dump(line.store)
    line.store.close()
    dice = random.Random(1)
    line = opened(tmp_path / "stopped.db", names)
    for each in pages():
        line.learn(each)
        if dice.random() < 0.3:
            line.restore()
        elif dice.random() < 0.3:
            line.store.close()
            line = opened(tmp_path / "stopped.db", names)
    assert_sound(line.store)
    assert dump(line.store) == expected
    line.store.close()


def test_a_rate_changes_for_the_expert_and_the_mixture(tmp_path):
    """A new learning rate steers sgd-logistic where others go by it, and is told to the tables."""
    line = opened(tmp_path / "promo.db", FULL)
    for each in pages():
        if each.page == 5:
            line.change_rate("sgd-logistic", 0.5)
        line.learn(each)
    assert_sound(line.store)
    line.store.close()


def test_the_choice_is_part_of_the_store(tmp_path):
    """A store is not gone on with by other experts than it was begun with."""
    opened(tmp_path / "promo.db", FULL).store.close()
    with pytest.raises(StoreMismatch, match="models"):
        opened(tmp_path / "promo.db", USUAL)


def test_who_runs():
    """Experts come in one order whatever the order asked for; the best possible where known."""
    names = [getattr(m, "name", "regressions") for m in default_models(FULL[::-1], SOURCE)[0]]
    others = ["best-possible", "scores", "drift", "regressions", "causal-stories"]
    assert names == [*FULL, *others]
    names = [getattr(m, "name", "regressions") for m in default_models(USUAL, SOURCE)[0]]
    assert names == [*USUAL, "regressions", "causal-stories"]
    for name, choice in EXPERTS.items():
        assert choice.make(0.05).name == name


@pytest.mark.parametrize("names", [[], [MIXTURE], ["sgd"], [*ALL, "other"]], ids=str)
def test_no_such_choice(names):
    """Nobody at all, nobody to mix, or somebody unknown: ValueError says whom to choose of."""
    with pytest.raises(ValueError, match="random-forest"):
        default_models(names)


def test_memory_is_constant():
    """Twice the rows make the states of the full set no longer than a few more digits."""
    models, _ = default_models(FULL, "world:collider")
    lengths = []
    for each in pages_of(WORLDS["collider"].sample(40_000, seed=3), 500):
        for model in models:
            model.learn(each)
        lengths.append(sum(len(state.state) for model in models for state in model.states()))
    assert max(lengths[40:]) < 1.1 * max(lengths[:40])
    assert max(lengths) < 22_000
