"""Tests of `promo.models.experts`: plain loops of river, row by row, and their way back."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import forest, naive_bayes, neighbors, preprocessing, stats, tree

from pages import batch, cuts, employees, pages_of, split
from promo.errors import StoreMismatch
from promo.line import Line
from promo.models.experts import (
    BaseRate,
    NaiveBayes,
    hoeffding_tree,
    nearest_neighbours,
    random_forest,
)
from promo.store import Store
from states import assert_refused

MAKERS = {
    "base-rate": BaseRate,
    "naive-bayes": NaiveBayes,
    "hoeffding-tree": hoeffding_tree,
    "random-forest": random_forest,
    "nearest-neighbours": nearest_neighbours,
}
EACH = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
REPLAYED = pytest.mark.parametrize("make", [*MAKERS.values()][2:], ids=[*MAKERS][2:])


class Mean:
    """River's running mean of the outcomes, with one of each kind before the first."""

    def __init__(self):
        self.mean = stats.Mean()
        self.learn_one({}, True)
        self.learn_one({}, False)

    def learn_one(self, x, y):
        """Take in an outcome."""
        self.mean.update(y)

    def predict_proba_one(self, x):
        """Return the mean."""
        return {True: self.mean.get()}


RIVERS = {
    "base-rate": Mean,
    "naive-bayes": naive_bayes.GaussianNB,
    "hoeffding-tree": lambda: tree.HoeffdingAdaptiveTreeClassifier(seed=1),
    "random-forest": lambda: forest.ARFClassifier(seed=1),
    "nearest-neighbours": lambda: (
        preprocessing.StandardScaler()
        | neighbors.KNNClassifier(engine=neighbors.LazySearch(window_size=1000))
    ),
}


def plain_loop(model, batches):
    """Yield river's prediction for every row: a page is predicted, then learned row by row."""
    seen = False
    for each in batches:
        columns = each.competence, each.network_ability, each.promoted
        rows = [
            ({"competence": c, "network_ability": n}, p)
            for c, n, p in zip(*(column.tolist() for column in columns), strict=True)
        ]
        for x, _ in rows:
            p = (model.predict_proba_one(x) if seen else {}) or {True: 0.5}
            yield min(max(p.get(True, 0.0), 1e-15), 1 - 1e-15)
        for x, y in rows:
            model.learn_one(x, y)
            seen = True


def learned(batches, model):
    for each in batches:
        model.learn(each)
    return model


def predictions(batches, model):
    return [p for each in batches for p in learned([each], model).predicted.tolist()]


def state_of(model):
    [state] = model.states()
    return {state.name: state.state}


def restored(model, make, batches):
    twin = make()
    twin.restore(state_of(model))
    if hasattr(twin, "relearn"):
        twin.relearn(batches)
    return twin


LONG = {"hoeffding-tree": 5000, "nearest-neighbours": 1200}  # until it splits, and forgets


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("size", [7, 60])
def test_exactly_a_plain_river_loop(name, size):
    """Every prediction is river's: those from JSON to rounding, the others to the bit."""
    batches = pages_of(employees(LONG.get(name, 300), 4), size)
    found = predictions(batches, MAKERS[name]())
    expected = list(plain_loop(RIVERS[name](), batches))
    np.testing.assert_allclose(found, expected, rtol=1e-9 if name in ("naive-bayes",) else 1e-15)


@EACH
def test_the_same_every_time(make):
    """Two runs over the same pages predict the same, to the bit."""
    batches = pages_of(employees(200, 4), 10)
    assert predictions(batches, make()) == predictions(batches, make())


@EACH
@given(st.integers(0, 99), st.integers(0, 59), st.integers(1, 20))
@settings(max_examples=10, deadline=None)
def test_nothing_leaks(make, seed, row, size):
    """The prediction for a row changes with nothing else at or after its page."""
    rows = [column.copy() for column in employees(60, seed)]
    page = row // size
    expected = learned(pages_of(rows, size)[: page + 1], make()).predicted[row % size]
    others = np.arange(60) >= page * size
    others[row] = False
    for column, value in zip(rows, (5, -7, True), strict=True):
        column[others] = value
    rows[2][row] = not rows[2][row]
    assert learned(pages_of(rows, size)[: page + 1], make()).predicted[row % size] == expected


@EACH
@given(st.integers(0, 2**32), cuts(60), st.integers(0, 12))
@settings(max_examples=10, deadline=None)
def test_restored_goes_on_as_if_never_stopped(make, seed, cuts, stop):
    """From its state, or shown its rows again in other pages: to the bit as in one run."""
    batches = split(employees(60, seed), cuts)
    before = learned(batches[:stop], make())
    rows = [column[: sum(len(b.ids) for b in batches[:stop])] for column in employees(60, seed)]
    resumed = restored(before, make, pages_of(rows, 7))
    through = learned(batches[:stop], make())
    assert predictions(batches[stop:], resumed) == predictions(batches[stop:], through)
    assert resumed.states() == through.states()


@REPLAYED
def test_rows_that_are_missing_are_missed(make):
    """Shown fewer or more rows than it had learned, it says so."""
    model = learned(pages_of(employees(30)), make())
    for rows in (20, 40):
        twin = make()
        twin.restore(state_of(model))
        with pytest.raises(ValueError, match="30"):
            twin.relearn(pages_of(employees(rows)))


@REPLAYED
def test_a_line_shows_them_the_stored_rows(make, tmp_path):
    """A store left at any page, rows twice among them, is taken up as if never left."""
    rows = employees(90, 2)
    batches = [*pages_of(rows, 10)]
    batches[4] = batch(4, *(column[35:45] for column in rows), ids=range(35, 45))  # five come twice

    def store(name):
        return Store(tmp_path / name, source="memory", page_size=10)

    with store("through") as through, store("stopped") as stopped:
        line = Line(through, [make()])
        for each in batches:
            line.learn(each)
            Line(stopped, [make()]).learn(each)
        [one] = line.models
        [two] = Line(stopped, [make()]).models
        assert two.states() == one.states()
        fresh = batch(0, *employees(50, 3))
        assert two.predict_proba(fresh).tolist() == one.predict_proba(fresh).tolist()
        stopped.query("DELETE FROM data WHERE id > 80")
        with pytest.raises(StoreMismatch, match="learned 85 rows"):
            Line(stopped, [make()])


@EACH
def test_before_the_first_row_it_knows_nothing(make):
    """One half; an empty page changes nothing."""
    model = learned([batch(0, [], [], [])], make())
    assert model.predict_proba(batch(0, [1e100, -3], [0, 2], [True, False])).tolist() == [0.5, 0.5]
    assert (model.coefficients(), model.metrics(), model.states()[0].rows) == ([], [], 0)


harsh = st.sampled_from([0.0, 1.0, -1.0, 1e100, -1e100, 1e-100, 5e-324, 1e-162, 1e6, 1e-6, 0.1])
harsh_rows = st.lists(st.tuples(harsh, harsh, st.booleans()), max_size=8)


@EACH
@given(st.lists(harsh_rows, max_size=6))
@settings(max_examples=40, deadline=None)
def test_no_rows_bring_it_down(make, pages):
    """Any allowed numbers: probabilities inside (0, 1), and a state to go on from."""
    model, batches = make(), []
    for page, rows in enumerate(pages):
        batches.append(batch(page, *(np.array(rows).reshape(-1, 3).T)))
        model.learn(batches[-1])
        assert ((model.predicted > 0) & (model.predicted < 1)).all()
    assert restored(model, make, batches).states() == model.states()


@EACH
@pytest.mark.parametrize("outcome", [True, False])
@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e6, 1e100])
def test_all_of_one_kind(make, outcome, scale):
    """All promoted, or none, on any scale: probabilities inside (0, 1), soon the right way."""
    network_ability, competence, _ = employees(60)
    rows = np.clip(network_ability, -1, 1) * scale, np.clip(competence, -1, 1) * scale
    model = make()
    for each in pages_of((*rows, np.full(60, outcome))):
        model.learn(each)
        assert ((model.predicted > 0) & (model.predicted < 1)).all()
    assert ((model.predicted > 0.5) == outcome).all()


def broken():
    """Yield names of models, and states that no run of ours can have left."""
    for name, make in MAKERS.items():
        good = json.loads(state_of(learned(pages_of(employees(30)), make()))[name])
        yield name, "state"
        yield name, "[]"
        yield name, json.dumps({**good, "version": 2})
        yield name, json.dumps({**good, "more": 1})
        group = good.get("others", {})
        wrong = {
            "base-rate": [("rows", -1), ("promoted", 31), ("rows", 10**400)],
            "naive-bayes": [
                *(("others", {**group, "rows": n}) for n in (0, -1, 0.5)),
                ("others", {"rows": 3}),
                *(
                    ("others", {**group, "competence": normal})
                    for normal in (
                        {"mean": math.nan, "spread": 1.0},
                        {"mean": 1e200, "spread": 1.0},
                        {"mean": 1.0, "spread": -1.0},
                    )
                ),
            ],
        }.get(name, [("replay", False), ("learned", -1), ("learned", "3")])
        for field, value in wrong:
            yield name, json.dumps({**good, field: value})


@pytest.mark.parametrize(("name", "state"), [*broken()])
def test_a_broken_state_is_refused(name, state):
    """A state that is none raises ValueError and leaves the model as it was."""
    model = learned(pages_of(employees(30)), MAKERS[name]())
    assert_refused(model, {name: state})
