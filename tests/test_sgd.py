"""Tests of `promo.models.sgd`: river's own loop, to the bit, and its state as JSON."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import linear_model, metrics, optim, preprocessing

from pages import batch, cuts, employees, pages_of, split
from promo.models.sgd import FEATURES, SGDLogistic
from states import NO_STATES, assert_refused, changed

ROWS = 90
RATES = {2: 0.5, 5: 1e-4, 7: 0.1}  # by page: the learning rate from there on


class PlainLoop:
    """River as its documentation has it: predict a page, then learn it row by row."""

    def __init__(self, rate=0.01):
        self.scaler = preprocessing.StandardScaler()
        self.regression = linear_model.LogisticRegression(optim.SGD(rate), intercept_lr=rate)
        self.pipeline = self.scaler | self.regression
        self.scores = metrics.LogLoss(), metrics.Accuracy(), metrics.MSE()

    def set_rate(self, rate):
        """Change both rates, as river has it."""
        self.regression.optimizer.lr = optim.schedulers.Constant(rate)
        self.regression.intercept_lr = optim.schedulers.Constant(rate)

    def learn(self, batch):
        """Predict, score, learn; return the predictions."""
        rows = [
            ({"competence": c, "network_ability": n}, p)
            for c, n, p in zip(
                batch.competence.tolist(),
                batch.network_ability.tolist(),
                batch.promoted.tolist(),
                strict=True,
            )
        ]
        predicted = [self.pipeline.predict_proba_one(x) for x, _ in rows]
        log_loss, accuracy, brier = self.scores
        for p, (_, y) in zip(predicted, rows, strict=True):
            log_loss.update(y, p)
            accuracy.update(y, p[True] > 0.5)
            brier.update(float(y), p[True])
        for x, y in rows:
            self.pipeline.learn_one(x, y)
        return [p[True] for p in predicted]


class Recorder:
    """Scores that keep the predictions they are shown."""

    def __init__(self):
        self.predicted = []

    def update(self, probability, outcome):
        """Keep the predictions."""
        self.predicted += probability


def states_of(model):
    return {state.name: state.state for state in model.states()}


def learned(batches, model=None):
    model = model or SGDLogistic()
    for each in batches:
        model.learn(each)
    return model


def restored(states):
    model = SGDLogistic(0.7)
    model.restore(states)
    return model


@given(st.integers(0, 2**32), cuts(ROWS), st.sampled_from([0.01, 1.0, 1e-6]))
@settings(max_examples=40, deadline=None)
def test_exactly_a_plain_river_loop(seed, cuts, rate):
    """Predictions, weights and intercept are river's, to the bit, with rates changed midway."""
    model, plain = SGDLogistic(rate), PlainLoop(rate)
    for each in split(employees(ROWS, seed), cuts):
        if each.page in RATES:
            model.learning_rate = RATES[each.page]
            plain.set_rate(RATES[each.page])
        predicted = model.predict_proba(each).tolist()
        model.learn(each)
        assert predicted == plain.learn(each)
        state = json.loads(states_of(model)["sgd-logistic"])
        assert state["weights"] == plain.regression.weights
        assert state["intercept"] == plain.regression.intercept
        assert state["iterations"] == plain.regression.optimizer.n_iterations
        assert (state["means"], state["variances"]) == (plain.scaler.means, plain.scaler.vars)


@given(st.integers(0, 2**32), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_metrics_are_rivers(seed, size):
    """Log loss, accuracy and Brier score are river's progressive metrics to 1e-12."""
    model, plain = SGDLogistic(0.3), PlainLoop(0.3)
    for each in pages_of(employees(ROWS, seed), size):
        model.learn(each)
        plain.learn(each)
        found = {m.name: m.value for m in model.metrics()}
        log_loss, accuracy, brier = (metric.get() for metric in plain.scores)
        assert found["log_loss"] == pytest.approx(log_loss, rel=1e-12)
        assert found["accuracy"] == pytest.approx(accuracy, rel=1e-12)
        assert found["brier"] == pytest.approx(brier, rel=1e-12)
        assert found["rows"] == min(ROWS, size * (each.page + 1))


@given(seed=st.integers(0, 99), row=st.integers(0, ROWS - 1), size=st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_nothing_leaks(seed, row, size):
    """The prediction for a row changes with nothing else at or after its page."""
    columns = [column.copy() for column in employees(ROWS, seed)]
    page = row // size
    before = learned(pages_of(columns, size)[:page])
    expected = before.predict_proba(pages_of(columns, size)[page])[row % size]
    random = np.random.default_rng(seed)
    others = np.arange(ROWS) >= page * size
    others[row] = False
    for column, values in zip(columns, (5, -7, random.random(ROWS) < 0.5), strict=True):
        column[others] = values if np.isscalar(values) else values[others]
    columns[2][row] = not columns[2][row]  # its own outcome, too
    model = SGDLogistic()
    model.scores = Recorder()
    learned(pages_of(columns, size), model)
    assert model.scores.predicted[row] == expected


@given(st.integers(0, 2**32), cuts(ROWS), st.integers(0, 12))
@settings(max_examples=40, deadline=None)
def test_restored_goes_on_as_if_never_stopped(seed, cuts, stop):
    """After a restart through JSON the state is that of one run, to the bit."""
    batches = split(employees(ROWS, seed), cuts)
    through = learned(batches)
    resumed = learned(batches[stop:], restored(states_of(learned(batches[:stop]))))
    assert resumed.states() == through.states()
    np.testing.assert_equal(resumed.coefficients(), through.coefficients())
    np.testing.assert_equal(resumed.metrics(), through.metrics())
    assert resumed.learning_rate == through.learning_rate == 0.01


def test_a_restored_model_shares_nothing():
    """A model restored from another's state learns alone."""
    first, second, third = pages_of(employees(30))
    original = learned([first])
    twin = restored(states_of(original))
    before = original.states()
    learned([second, third], twin)
    assert original.states() == before


@given(st.integers(0, 2**32), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_coefficients_are_on_the_scale_of_the_data(seed, shift, scale):
    """Intercept and slopes, applied to the rows as they are, predict as the pipeline does."""
    network_ability, competence, promoted = employees(ROWS, seed)
    columns = (network_ability * scale + shift, competence - shift, promoted)
    model = learned(pages_of(columns), SGDLogistic(0.5))
    value = {c.term: c.estimate for c in model.coefficients()}
    logit = value["intercept"] + sum(
        value[name] * column for name, column in zip(FEATURES, columns[1::-1], strict=True)
    )
    whole = batch(0, *columns)
    # The logit is a difference of terms as large as shift / scale: that many digits are lost.
    allowed = 1e-13 * (1 + max(abs(shift) / scale, abs(shift)))
    np.testing.assert_allclose(model.predict_proba(whole), 1 / (1 + np.exp(-logit)), atol=allowed)


@pytest.mark.parametrize("constant", [0.0, -3.5, 1e100])
def test_a_constant_column_has_no_slope(constant):
    """A column that never varies gets a coefficient of zero and does not disturb the other."""
    network_ability, competence, promoted = employees(ROWS)
    model = learned(pages_of((network_ability, competence * 0 + constant, promoted)))
    value = {c.term: c.estimate for c in model.coefficients()}
    assert value["competence"] == 0.0
    assert value["network_ability"] != 0.0
    assert all(map(math.isfinite, value.values()))


def test_before_the_first_row_it_knows_nothing():
    """A new model predicts one half, has zero coefficients and undefined metrics."""
    model = SGDLogistic()
    assert model.predict_proba(batch(0, [1e100, -3], [0, 2], [True, False])).tolist() == [0.5, 0.5]
    assert [c.estimate for c in model.coefficients()] == [0.0, 0.0, 0.0]
    assert {m.name: m.value for m in model.metrics()}["rows"] == 0
    assert math.isnan(model.metrics()[1].value)
    assert model.learn(batch(0, [], [], [])) is None
    assert restored(states_of(model)).predict_proba(batch(0, [1], [1], [True])).tolist() == [0.5]


harsh = st.sampled_from([0.0, 1.0, -1.0, 1e100, -1e100, 1e-100, 5e-324, 1e-162, 0.1])
harsh_rows = st.lists(st.tuples(harsh, harsh, st.booleans()), max_size=8)


@given(st.lists(harsh_rows, max_size=6), st.sampled_from([1e-300, 0.01, 1e6]))
@settings(max_examples=100, deadline=None)
def test_no_rows_bring_it_down(pages, rate):
    """Any allowed numbers at any rate: finite predictions and coefficients, restorable state."""
    model = SGDLogistic(rate)
    for page, rows in enumerate(pages):
        each = batch(page, *(np.array(rows).reshape(-1, 3).T))
        predicted = model.predict_proba(each)
        assert ((predicted > 0) & (predicted < 1)).all()
        model.learn(each)
        assert ((model.predicted > 0) & (model.predicted < 1)).all()
        assert restored(states_of(model)).states() == model.states()
        assert all(math.isfinite(c.estimate) for c in model.coefficients())


@pytest.mark.parametrize("rate", [0, -0.1, math.nan, math.inf, 2e6, 1e308])
def test_a_useless_learning_rate_is_refused(rate):
    """Rates outside (0, 1e6] raise ValueError and change nothing."""
    model = SGDLogistic(0.2)
    with pytest.raises(ValueError, match="learning rate"):
        model.learning_rate = rate
    with pytest.raises(ValueError, match="learning rate"):
        SGDLogistic(rate)
    assert model.learning_rate == 0.2


def broken():
    """Return states that no run of ours can have left."""
    good = json.loads(states_of(learned(pages_of(employees(30))))["sgd-logistic"])
    scores = good["scores"]
    bins = scores["positives"]
    changes = [
        ("version", 2),
        ("version", "1"),
        ("more", 1),
        ("learning_rate", 0.0),
        ("learning_rate", -1.0),
        ("learning_rate", 1e308),
        ("learning_rate", math.nan),
        ("iterations", -1),
        ("iterations", 10**400),
        ("intercept", math.inf),
        ("intercept", 1e300),
        ("intercept", None),
        ("weights", {}),
        ("weights", []),
        ("weights", {"competence": 1.0}),
        ("weights", {"competence": 1.0, "other": 1.0}),
        ("weights", {"competence": 1.0, "network_ability": math.nan}),
        ("weights", {"competence": "1", "network_ability": 1.0}),
        ("means", {"competence": 0.0, "network_ability": 1e200}),
        ("variances", {"competence": -1.0, "network_ability": 1.0}),
        ("variances", {"competence": 1.0, "network_ability": 1e300}),
        ("scores", None),
        ("scores", {**scores, "more": 1}),
        ("scores", {**scores, "rows": 31}),
        ("scores", {**scores, "rows": -1}),
        ("scores", {**scores, "rows": 10**400}),
        ("scores", {**scores, "correct": 31}),
        ("scores", {**scores, "twice_wins": -1}),
        ("scores", {**scores, "twice_wins": 10**30}),
        ("scores", {**scores, "total_log_loss": math.nan}),
        ("scores", {**scores, "total_brier": -1.0}),
        ("scores", {**scores, "positives": bins[:-1]}),
        ("scores", {**scores, "positives": [*bins, 0]}),
        ("scores", {**scores, "positives": [*bins[:-1], -1]}),
        ("scores", {**scores, "positives": [*bins[:-1], 10**30]}),
        ("scores", {**scores, "positives": [*bins[:-1], 0.5]}),
    ]
    return [*NO_STATES, *changed(good, changes)]


@pytest.mark.parametrize("state", broken())
def test_a_broken_state_is_refused(state):
    """A state that is none raises ValueError and leaves the model as it was."""
    model = learned(pages_of(employees(30)))
    assert_refused(model, {"sgd-logistic": state})


def test_a_missing_state_is_refused():
    """States without this model's raise LookupError."""
    with pytest.raises(LookupError):
        SGDLogistic().restore({})
