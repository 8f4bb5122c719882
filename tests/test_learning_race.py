"""Tests of `promo.models.race`: river's own loops, divergence that stays finite, state as JSON."""

import json
import math
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from river import linear_model, optim, preprocessing
from river.utils import VectorDict

from pages import batch, cuts, employees, pages_of, split
from promo.models.board import BLOCK
from promo.models.race import DIVERGED, METHODS, RATES, Race, runner
from promo.models.sgd import FEATURES, SGDLogistic
from promo.world import WORLDS
from states import NO_STATES, assert_refused, changed

ROWS = 90
NAMES = [runner(method, rate) for method in METHODS for rate in RATES]
RIVER = {
    "sgd": optim.SGD,
    "sgd-inverse-scaling": lambda rate: optim.SGD(optim.schedulers.InverseScaling(rate)),
    "sgd-optimal": lambda rate: optim.SGD(
        optim.schedulers.Optimal(optim.losses.Log(), alpha=1 / rate)
    ),
    "momentum": optim.Momentum,
    "adam": optim.Adam,
    "adagrad": optim.AdaGrad,
}
# Where steps are so large that they throw a runner about, rounding grows from row to row.
_STEADY_TO = {"momentum": 0.1, "adam": 0.3, "adagrad": 1.0, "sgd": 1.0}
STEADY = [name for name in NAMES if float(name.split()[-1]) <= _STEADY_TO.get(name.split()[0], 3)]


class PlainLoop:
    """River as its documentation has it: predict a page, then learn it row by row."""

    def __init__(self, name):
        method, _, rate = name.split()
        optimizer = RIVER[method](float(rate))
        self.scaler = preprocessing.StandardScaler()
        self.regression = linear_model.LogisticRegression(optimizer, intercept_lr=optimizer.lr)
        self.losses = []

    def learn(self, batch):
        """Predict all rows by the model as it is, then learn them."""
        rows = [
            ({"competence": c, "network_ability": a}, y)
            for c, a, y in zip(
                batch.competence.tolist(),
                batch.network_ability.tolist(),
                batch.promoted.tolist(),
                strict=True,
            )
        ]
        for x, y in rows:
            odds = self.regression._raw_dot_one(self.scaler.transform_one(x))
            self.losses.append(min(np.logaddexp(0, -odds if y else odds), -math.log(1e-15)))
        for x, y in rows:
            self.scaler.learn_one(x)
            self.regression.learn_one(self.scaler.transform_one(x), y)

    @property
    def weights(self):
        """Intercept, competence and network ability on the scale of what was learned."""
        weights = self.regression.weights
        return [self.regression.intercept, *(weights.get(name, 0.0) for name in FEATURES)]


def learned(batches, race=None):
    race = race or Race()
    for each in batches:
        race.learn(each)
    return race


def states_of(race):
    return {state.name: state.state for state in race.states()}


def restored(states):
    race = Race()
    race.restore(states)
    return race


def weights_of(race):
    """Return all runners' weights by name, as the state has them."""
    state = json.loads(states_of(race)["race"])
    return dict(zip(state["runners"], np.array(state["weights"]).T, strict=True))


def value(race):
    return {(m.model, m.name): m.value for m in race.metrics()}


def in_world(name, rows, size=100):
    return pages_of(WORLDS[name].sample(rows, seed=1), size)


# -- equal to river ----------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.integers(1, 30))
@settings(max_examples=8, deadline=None)
def test_equal_to_rivers_loops_row_by_row(seed, size):
    """Every runner that its steps do not throw about has river's weights to 1e-12, every page."""
    race, plain = Race(), {name: PlainLoop(name) for name in STEADY}
    for each in pages_of(employees(ROWS, seed), size):
        race.learn(each)
        ours, losses = weights_of(race), value(race)
        for name, loop in plain.items():
            loop.learn(each)
            np.testing.assert_allclose(ours[name], loop.weights, rtol=1e-12, atol=1e-14)
            expected = pytest.approx(np.mean(loop.losses), rel=1e-12)
            assert losses[name, "log_loss"] == losses[name, "recent_log_loss"] == expected


@pytest.mark.slow
def test_equal_to_rivers_loops_after_thousands_of_rows():
    """Nor does rounding add up: after 5,000 rows it is still 1e-12."""
    columns = employees(5000)
    ours = weights_of(learned(pages_of(columns)))
    for name in STEADY:
        loop = PlainLoop(name)
        loop.learn(batch(0, *columns))
        np.testing.assert_allclose(ours[name], loop.weights, rtol=1e-12, atol=1e-14)


@given(st.integers(0, 2**32), st.sampled_from(NAMES), st.integers(0, ROWS - 1))
@example(85, "momentum at 1", 85)
@settings(max_examples=60, deadline=None)
def test_every_step_of_every_runner_is_rivers(seed, name, at):
    """The diverging ones too: from our state, river's next step leads where ours does, to 1e-11."""
    rows = split(employees(ROWS, seed), range(1, ROWS))
    race = learned(rows[:at])
    state, loop = json.loads(states_of(race)["race"]), PlainLoop(name)
    k = state["runners"].index(name)
    first, second = (np.array(state[part])[1:, k].tolist() for part in ("first", "second"))
    weights = np.array(state["weights"])[:, k].tolist()
    loop.scaler.counts.update(dict.fromkeys(state["moments"], at))
    for feature, (mean, variance) in state["moments"].items():
        loop.scaler.means[feature], loop.scaler.vars[feature] = mean, variance
    loop.regression.intercept = weights[0]
    loop.regression._weights = VectorDict(dict(zip(FEATURES, weights[1:], strict=True)))
    optimizer = loop.regression.optimizer
    optimizer.n_iterations = at
    if name.startswith("momentum"):
        rate = float(name.split()[-1])
        optimizer.s.update({f: rate * m for f, m in zip(FEATURES, first, strict=True)})
    elif name.startswith("adagrad"):
        optimizer.g2.update(zip(FEATURES, second, strict=True))
    elif name.startswith("adam"):
        optimizer.m = VectorDict(dict(zip(FEATURES, first, strict=True)))
        optimizer.v = VectorDict(dict(zip(FEATURES, second, strict=True)))
    race.learn(rows[at])
    loop.learn(rows[at])
    size = max(map(abs, (*weights, *loop.weights)))
    # Beyond log odds of 18 river takes a chance for 0 or 1, of which it is 1.5e-8 off.
    off = 1e-11 * size + 1e-7 * max(float(name.split()[-1]), 1.0)
    np.testing.assert_allclose(weights_of(race)[name], loop.weights, rtol=1e-11, atol=off)


@pytest.mark.parametrize("rate", [0.0001, 0.01, 0.3])
def test_the_readers_runner_is_one_of_them(rate):
    """`SGDLogistic` at a rate of the grid has the loss and the coefficient of that runner."""
    race, yours = Race(), SGDLogistic(rate)
    for each in pages_of(employees(2000)):
        race.learn(each)
        yours.learn(each)
    ours = {c.model: c.estimate for c in race.coefficients()}[runner("sgd", rate)]
    theirs = {c.term: c.estimate for c in yours.coefficients()}["competence"]
    assert ours == pytest.approx(theirs, rel=1e-12)
    loss = value(race)[runner("sgd", rate), "log_loss"]
    assert loss == pytest.approx(yours.scores.log_loss, rel=1e-12)


@pytest.mark.slow
def test_all_runners_together_cost_less_than_six_of_rivers_loops():
    """72 runners, pages of 100, in one run beside a plain loop: it is about three loops' time."""
    pages = in_world("collider", 3000)

    def loop():
        model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
        for each in pages:
            columns = (each.competence, each.network_ability, each.promoted)
            for competence, ability, y in zip(*(c.tolist() for c in columns), strict=True):
                model.learn_one({"competence": competence, "network_ability": ability}, y)

    def fastest(run):
        times = []
        for _ in range(3):
            began = time.process_time()
            run()
            times.append(time.process_time() - began)
        return min(times)

    ratio = fastest(lambda: learned(pages, Race())) / fastest(loop)
    print(f"{ratio:.1f} loops")
    assert ratio < 6


# -- what a rate trades ------------------------------------------------------------------------


def test_too_small_right_and_too_large():
    """In `collider` the loss over rates is a valley; the largest rates diverge, and stay finite."""
    race = learned(in_world("collider", 10_000))
    losses = value(race)
    for method in METHODS:
        curve = [losses[runner(method, rate), "log_loss"] for rate in RATES]
        best = int(np.argmin(curve))
        assert curve[best] < 0.56
        assert curve[0] > curve[best] + 0.01
        assert all(low < high + 0.001 for high, low in pairwise(curve[: best + 1]))
        assert all(low < high + 0.001 for low, high in pairwise(curve[best:]))
        assert max(curve) < 34.6
    gone = {name for name in NAMES if losses[name, "recent_log_loss"] > DIVERGED}
    assert {"sgd at 10", "momentum at 3", "adam at 10", "adagrad at 30"} <= gone
    assert not [name for name in gone if name.startswith(("sgd-i", "sgd-o"))]  # rates that fall


def test_the_best_rate_moves_with_the_policy():
    """In `drift` the best rate is larger just after the change than before, and comes down."""
    race, best = Race(), {}
    for each in pages_of(WORLDS["drift"].sample(70_000, seed=1), 100):
        race.learn(each)
        losses = value(race)
        curve = [losses[runner("sgd", rate), "recent_log_loss"] for rate in RATES]
        best[race.rows] = RATES[int(np.argmin(curve))]
    assert best[50_000] <= 0.01 < 0.03 <= best[51_000]
    assert best[70_000] < best[51_000]


@pytest.mark.parametrize("size", [1, 7, 999, 1000, 5000])
def test_recent_is_of_the_last_one_or_two_thousand_rows(size):
    """The recent loss is the mean over the blocks that the board uses, whatever the page size."""
    columns = employees(3500)
    race, loop = Race(), PlainLoop("sgd at 0.01")
    for each in pages_of(columns, size):
        race.learn(each)
        loop.learn(each)
    ends = np.cumsum([len(each.ids) for each in pages_of(columns, size)])
    starts = [0]
    for end in ends:
        if end - starts[-1] >= BLOCK:
            starts.append(end)
    recent = loop.losses[starts[max(len(starts) - 2, 0)] :]
    found = value(race)["sgd at 0.01", "recent_log_loss"]
    assert found == pytest.approx(np.mean(recent), rel=1e-12)


# -- safe --------------------------------------------------------------------------------------

harsh = st.sampled_from([0.0, 1.0, -1.0, 1e100, -1e100, 1e-100, 5e-324, 1e-162, 0.1])
harsh_rows = st.lists(st.tuples(harsh, harsh, st.booleans()), max_size=8)


@given(st.lists(harsh_rows, max_size=6))
@settings(max_examples=60, deadline=None)
def test_no_rows_bring_it_down(pages):
    """Any allowed numbers: finite losses and coefficients, a state that is taken up again."""
    race = Race()
    for page, rows in enumerate(pages):
        race.learn(batch(page, *(np.array(rows).reshape(-1, 3).T)))
        assert restored(states_of(race)).states() == race.states()
        assert all(math.isfinite(c.estimate) for c in race.coefficients())
        assert not race.rows or all(0 <= m.value < 34.6 for m in race.metrics())


@pytest.mark.parametrize(
    ("scale", "shift"), [(0.0, 3.0), (1e6, 0.0), (1e-6, 0.0), (1.0, 1e6), (1.0, 0.0)]
)
@pytest.mark.parametrize("outcome", ["all", "none", "separable"])
def test_extreme_columns(scale, shift, outcome):
    """Constant, huge and tiny columns, one kind only, separable rows: finite all the way."""
    network_ability, competence, _ = employees(2000)
    promoted = {"all": competence < 99, "none": competence > 99, "separable": competence > 0}
    columns = (network_ability, competence * scale + shift, promoted[outcome])
    race = learned(pages_of(columns, 100))
    assert all(math.isfinite(c.estimate) for c in race.coefficients())
    assert all(0 <= m.value < 34.6 for m in race.metrics())
    assert restored(states_of(race)).states() == race.states()


def test_before_the_first_row_it_knows_nothing():
    """A new race has zero weights and undefined losses; an empty page changes nothing."""
    race = learned([batch(0, [], [], [])])
    assert {c.estimate for c in race.coefficients()} == {0.0}
    assert all(math.isnan(m.value) for m in race.metrics())
    assert race.states() == Race().states() == restored(states_of(race)).states()
    assert [s.rows for s in race.states()] == [0]


@given(seed=st.integers(0, 99), row=st.integers(0, ROWS - 1), size=st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_nothing_leaks(seed, row, size):
    """What a runner loses by a row changes with nothing else at or after its page."""
    columns = [column.copy() for column in employees(ROWS, seed)]
    page = row // size
    expected = losses_by(pages_of(columns, size), page)[:, row % size]
    random = np.random.default_rng(seed)
    others = np.arange(ROWS) >= page * size
    others[row] = False
    for column, values in zip(columns, (5, -7, random.random(ROWS) < 0.5), strict=True):
        column[others] = values if np.isscalar(values) else values[others]
    found = losses_by(pages_of(columns, size), page)[:, row % size]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def losses_by(pages, page):
    """Return what all runners lose by each row of a page, from the metrics, shape (K, n)."""
    race = learned(pages[:page])
    each = []
    for k in range(len(pages[page].ids)):  # a row as it was, counted as many times as it takes
        alone = restored(states_of(race))
        only = pages[page].take(np.arange(len(pages[page].ids)) == k)
        alone.learn(only)
        before = np.array([race.rows * m.value if race.rows else 0.0 for m in race.metrics()])
        after = np.array([alone.rows * m.value for m in alone.metrics()])
        each.append((after - before)[: len(NAMES)])
    whole = learned([pages[page]], race)
    assert whole.rows == sum(len(p.ids) for p in pages[: page + 1])
    return np.array(each).T


# -- from day to day ---------------------------------------------------------------------------


@given(st.integers(0, 2**32), cuts(ROWS), st.integers(0, 12))
@settings(max_examples=30, deadline=None)
def test_restored_goes_on_as_if_never_stopped(seed, cuts, stop):
    """After a restart through JSON the state is that of one run, to the bit."""
    batches = split(employees(ROWS, seed), cuts)
    through, first = learned(batches), learned(batches[:stop])
    resumed = learned(batches[stop:], restored(states_of(first)))
    assert resumed.states() == through.states()
    np.testing.assert_equal(resumed.metrics(), through.metrics())
    np.testing.assert_equal(resumed.coefficients(), through.coefficients())


def test_it_is_restored_to_the_bit_beyond_a_block():
    """Also where recent losses span two blocks, and while runners diverge."""
    batches = pages_of(employees(2500), 100)
    resumed = learned(batches[13:], restored(states_of(learned(batches[:13]))))
    assert resumed.states() == learned(batches).states()


def test_memory_is_constant():
    """The state is as long after 20,000 rows as after 2,000, within the digits of its numbers."""
    few, many = (len(learned(in_world("collider", n)).states()[0].state) for n in (2000, 20_000))
    assert many < 1.1 * few < 25_000


def broken():
    """Return states that no run of ours can have left."""
    good = json.loads(states_of(learned(pages_of(employees(30))))["race"])
    k = len(NAMES)
    changes = [
        ("version", 2),
        ("version", "1"),
        ("more", 1),
        ("runners", NAMES[::-1]),
        ("runners", NAMES[:-1]),
        ("rows", -1),
        ("rows", 0),
        ("rows", 29),
        ("rows", 10**400),
        ("moments", {}),
        ("moments", {"competence": [0.0, 1.0]}),
        ("moments", {"competence": [0.0, 1.0], "other": [0.0, 1.0]}),
        ("moments", {"competence": [0.0, -1.0], "network_ability": [0.0, 1.0]}),
        ("moments", {"competence": [1e200, 1.0], "network_ability": [0.0, 1.0]}),
        ("moments", {"competence": [0.0, 1.0, 2.0], "network_ability": [0.0, 1.0]}),
        ("weights", good["weights"][:2]),
        ("weights", [[0.0] * (k - 1)] * 3),
        ("weights", [[0.0] * k, [0.0], [0.0] * k]),
        ("weights", [[math.nan] * k] * 3),
        ("weights", [[1e300] * k] * 3),
        ("weights", [["0"] * k] * 3),
        ("weights", None),
        ("first", [[math.inf] * k] * 3),
        ("second", [[-1.0] * k] * 3),
        ("second", []),
        ("whole", good["whole"][:-1]),
        ("whole", [-1.0] * k),
        ("whole", [1e300] * k),
        ("block", []),
        ("block_rows", BLOCK),
        ("block_rows", -1),
        ("before", [0.0]),
        ("before_rows", 1),
    ]
    return [*NO_STATES, *changed(good, changes)]


@pytest.mark.parametrize("state", broken())
def test_a_broken_state_is_refused(state):
    """A state that is none raises ValueError and leaves the race as it was."""
    race = learned(pages_of(employees(30)))
    assert_refused(race, {"race": state})


def test_a_missing_state_is_refused():
    """States without this model's raise LookupError."""
    with pytest.raises(LookupError):
        Race().restore({})


def test_a_restored_race_shares_nothing():
    """A race restored from another's state learns alone."""
    first, second = pages_of(employees(20))
    original = learned([first])
    twin = restored(states_of(original))
    before = original.states()
    learned([second], twin)
    assert original.states() == before
