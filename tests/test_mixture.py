"""Tests of `promo.models.mixture`: the bound, Bayes' rule by hand, and change."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pages import batch, cuts, employees, pages_of, split
from promo.models.experts import BaseRate, NaiveBayes
from promo.models.logistic import RenewableLogistic
from promo.models.mixture import Mixture, mix
from promo.models.sgd import SGDLogistic
from states import NO_STATES, assert_refused, changed

ROWS = 90
losses = st.one_of(st.sampled_from([0.0, 1e-15, 34.5]), st.floats(0, 34.5))
sequences = st.integers(1, 5).flatmap(
    lambda k: st.lists(st.lists(losses, min_size=k, max_size=k), min_size=1, max_size=40)
)


class Told:
    """An expert that predicts what it was told to."""

    def __init__(self, name, chances):
        self.name, self.chances = name, np.array(chances, float)

    def learn(self, batch):
        """Predict."""
        self.predicted = self.chances[batch.ids]

    def predict_proba(self, batch):
        """Predict."""
        return self.chances[batch.ids]


def total_loss(log_likelihoods, share):
    """Return what the mixture loses, and each expert, in nats, and the weights after."""
    k = len(log_likelihoods)
    weights, after = mix(log_likelihoods, [-math.log(k)] * k, share)
    likely = (weights * np.exp(log_likelihoods)).sum(axis=0)
    return -np.log(likely).sum(), -log_likelihoods.sum(axis=1), after


@given(sequences)
def test_never_worse_than_the_best_by_more_than_log_k(rows):
    """On any sequence of losses: total loss ≤ best expert's + log K, by rounding at most more."""
    mixture, each, _ = total_loss(-np.array(rows).T, 0.0)
    assert mixture <= each.min() + math.log(len(each)) + 1e-9


@given(sequences, st.floats(1e-6, 0.5))
def test_the_price_of_sharing(rows, share):
    """With share: at most -log(1 - share) a row above that, and nobody's weight is ever lost."""
    mixture, each, after = total_loss(-np.array(rows).T, share)
    price = -math.log1p(-share) * len(rows)
    assert mixture <= each.min() + math.log(len(each)) + price + 1e-9
    assert min(after) >= math.log(share / len(each)) - 1e-9


@given(sequences)
def test_weights_are_posterior_probabilities(rows):
    """Without share, weights are proportional to exp(-cumulative loss), as Bayes' rule has it."""
    logs = -np.array(rows).T
    _, after = mix(logs, [-math.log(len(logs))] * len(logs))
    total = logs.sum(axis=1)
    expected = np.exp(total - total.max()) / np.exp(total - total.max()).sum()
    np.testing.assert_allclose(np.exp(after), expected, rtol=1e-9, atol=1e-300)


@given(sequences, st.integers(0, 40), st.sampled_from([0.0, 0.01]))
def test_any_split_of_the_rows_gives_the_same(rows, cut, share):
    """Weights go on from one batch to the next, to the bit."""
    logs = -np.array(rows).T
    begin = [-math.log(len(logs))] * len(logs)
    whole, after = mix(logs, begin, share)
    first, between = mix(logs[:, :cut], begin, share)
    second, then = mix(logs[:, cut:], between, share)
    assert np.concatenate([first, second], axis=1).tolist() == whole.tolist()
    assert then == after


chances = st.lists(
    st.lists(st.floats(1e-6, 1 - 1e-6), min_size=3, max_size=3), min_size=1, max_size=30
)


@given(chances, st.integers(0, 2**30), st.sampled_from([0.0, 1e-4, 0.3]), st.integers(1, 31))
def test_a_mixture_is_its_formula(rows, outcomes, share, size):
    """Row by row, within pages too: the sum of weight times chance, then Bayes' rule and share."""
    told = np.array(rows).T
    y = np.array([outcomes >> at & 1 for at in range(len(rows))], bool)
    experts = [Told(name, each) for name, each in zip("abc", told, strict=True)]
    mixture, weights, loss = Mixture(experts, share), np.full(3, 1 / 3), 0.0
    for each in split((np.zeros(len(y)), np.zeros(len(y)), y), range(size, len(y), size)):
        for model in (*experts, mixture):
            model.learn(each)
        for row, found in zip(each.ids, mixture.predicted, strict=True):
            assert found == pytest.approx(weights @ told[:, row], rel=1e-9)
            likely = np.where(y[row], told[:, row], 1 - told[:, row])
            loss -= math.log(found if y[row] else 1 - found)
            weights = weights * likely / (weights @ likely)
            weights = (1 - share) * weights + share / 3
        np.testing.assert_allclose([*mixture.weights.values()], weights, rtol=1e-7, atol=1e-300)
    best = -np.log(np.where(y, told, 1 - told)).sum(axis=1).min()
    assert loss <= best + math.log(3) - math.log1p(-share) * len(y) + 1e-6


def test_it_follows_a_change():
    """Where the best expert changes, within 100 rows it has nearly all the weight."""
    outcomes = np.arange(4000) % 2 == 0
    right, wrong = np.where(outcomes, 0.8, 0.2), np.where(outcomes, 0.2, 0.8)
    half = np.arange(4000) < 2000
    experts = Told("a", np.where(half, right, wrong)), Told("b", np.where(half, wrong, right))
    mixture = Mixture(experts)
    for each in pages_of((outcomes * 0.0, outcomes * 0.0, outcomes)):
        for expert in experts:
            expert.learn(each)
        mixture.learn(each)
        if each.page in (199, 210):
            assert mixture.weights["ab"[each.page > 199]] > 0.99


def experts():
    return [BaseRate(), SGDLogistic(), NaiveBayes(), RenewableLogistic()]


def learned(batches, models=None):
    *some, mixture = models or built()
    for each in batches:
        for model in (*some, mixture):
            model.learn(each)
    return [*some, mixture]


def built():
    some = experts()
    return [*some, Mixture(some)]


def restored(models):
    twins = built()
    for model, twin in zip(models, twins, strict=True):
        twin.restore({state.name: state.state for state in model.states()})
    return twins


@given(st.integers(0, 99), st.integers(0, ROWS - 1), st.integers(1, 20))
@settings(max_examples=20, deadline=None)
def test_nothing_leaks(seed, row, size):
    """The prediction for a row changes with nothing at or after it but its own two numbers."""
    rows = [column.copy() for column in employees(ROWS, seed)]
    page = row // size
    expected = learned(pages_of(rows, size)[: page + 1])[-1].predicted[row % size]
    for column, value in zip(rows, (5, -7, True), strict=True):
        column[row + 1 :] = value
    rows[2][row] = not rows[2][row]
    assert learned(pages_of(rows, size)[: page + 1])[-1].predicted[row % size] == expected


@given(st.integers(0, 2**32), cuts(ROWS), st.integers(0, 12))
@settings(max_examples=20, deadline=None)
def test_restored_goes_on_as_if_never_stopped(seed, cuts, stop):
    """After a restart through JSON the states are those of one run, to the bit."""
    batches = split(employees(ROWS, seed), cuts)
    through = learned(batches)[-1]
    resumed = learned(batches[stop:], restored(learned(batches[:stop])))[-1]
    assert resumed.states() == through.states()
    assert resumed.metrics() == through.metrics()


def test_predictions_lie_between_the_experts():
    """A page's prediction is between the least and the greatest of the experts'."""
    models = learned(pages_of(employees(ROWS)))
    fresh = batch(0, *employees(50, 1))
    each = np.array([model.predict_proba(fresh) for model in models[:-1]])
    mixed = models[-1].predict_proba(fresh)
    assert ((each.min(axis=0) <= mixed) & (mixed <= each.max(axis=0))).all()
    assert sum(models[-1].weights.values()) == pytest.approx(1)


def test_certainty_that_fails_is_survived():
    """Experts that are sure and wrong cost bounded losses, whoever is left: no infinity, no NaN."""
    some = Told("never", [0.0] * 60), Told("always", [1.0] * 60)
    mixture = Mixture(some)
    for each in pages_of(employees(60)):
        for expert in some:
            expert.learn(each)
        mixture.learn(each)
        assert ((mixture.predicted > 0) & (mixture.predicted < 1)).all()
    assert all(map(math.isfinite, mixture.weights.values()))


def broken():
    """Return states that no run of ours can have left."""
    [state] = learned(pages_of(employees(30)))[-1].states()
    good = json.loads(state.state)
    weights = good["log_weights"]
    changes = [
        ("version", 2),
        ("more", 1),
        ("rows", -1),
        ("log_weights", {}),
        ("log_weights", {**weights, "more": -1.0}),
        ("log_weights", dict([*weights.items()][::-1])),
        ("log_weights", {**weights, "base-rate": 1.0}),
        ("log_weights", {**weights, "base-rate": math.nan}),
        ("log_weights", {**weights, "base-rate": -1e300}),
        ("log_weights", dict.fromkeys(weights, -50.0)),
    ]
    return [*NO_STATES, *changed(good, changes)]


@pytest.mark.parametrize("state", broken())
def test_a_broken_state_is_refused(state):
    """A state that is none raises ValueError and leaves the mixture as it was."""
    mixture = learned(pages_of(employees(30)))[-1]
    assert_refused(mixture, {mixture.name: state})
