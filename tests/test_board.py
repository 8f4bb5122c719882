"""Tests of `promo.models.board`: scores by brute force, leads that are real, the best possible."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import metrics
from scipy.stats import rankdata

from pages import batch, cuts, employees, pages_of, split
from promo.models.best import BestPossible, known_world
from promo.models.board import BINS, BLOCK, Board, Tally
from promo.models.experts import BaseRate
from promo.models.logistic import RenewableLogistic
from promo.models.sgd import SGDLogistic
from promo.world import WORLDS
from states import NO_STATES, assert_refused, changed

ROWS = 300
probabilities = st.one_of(st.sampled_from([1e-9, 0.5, 0.25, 1 - 1e-9]), st.floats(1e-9, 1 - 1e-9))
predictions = st.lists(
    st.tuples(probabilities, probabilities, st.booleans()), min_size=1, max_size=60
)


class Told:
    """An expert that predicts what it was told to, by id."""

    def __init__(self, name, chances):
        self.name, self.chances = name, np.array(chances, float)

    def learn(self, batch):
        """Predict."""
        self.predicted = self.chances[batch.ids]

    def metrics(self):
        """Say nothing."""
        return []


def built():
    experts = [BaseRate(), SGDLogistic(), RenewableLogistic()]
    best = BestPossible(WORLDS["collider"])
    return [*experts, best, Board(experts, best)]


def learned(batches, models=None):
    models = models or built()
    for each in batches:
        for model in models:
            model.learn(each)
    return models


def value(model):
    return {(m.model, m.name): m.value for m in model.metrics()}


@given(predictions)
def test_equal_to_brute_force(rows):
    """All scores are those of river and of exact ranks; ROC AUC within its stated bound."""
    *chances, outcomes = np.array(rows).T
    tally, losses = Tally.of(np.array(chances), outcomes.astype(bool))
    for at, p in enumerate(chances):
        rivers = metrics.LogLoss(), metrics.MSE(), metrics.Accuracy()
        for each, y in zip(p.tolist(), outcomes.astype(bool).tolist(), strict=True):
            rivers[0].update(y, {True: each, False: 1 - each})
            rivers[1].update(float(y), each)
            rivers[2].update(y, each > 0.5)
        log_loss, brier, accuracy, auc = tally.scores[:, at]
        assert log_loss == pytest.approx(rivers[0].get(), rel=1e-6, abs=1e-12)
        assert losses[at].mean() == pytest.approx(log_loss)
        assert brier == pytest.approx(rivers[1].get(), rel=1e-9, abs=1e-14)
        assert accuracy == rivers[2].get()
        ones = int(outcomes.sum())
        if 0 < ones < len(rows):
            ranks = rankdata(p)[outcomes > 0].sum() - ones * (ones + 1) / 2
            exact = ranks / (ones * (len(rows) - ones))
            assert abs(auc - exact) <= tally.roc_auc_error[at] + 1e-12
        else:
            assert math.isnan(auc)


def test_calibration_counts_every_row_once():
    """Rows, and promotions by bin, are those of numpy's histogram; the counts add up."""
    random = np.random.default_rng(0)
    p = random.random((1, 5000)).clip(1e-15, 1 - 1e-15)
    promoted = random.random(5000) < p[0]
    middle, share, rows = Tally.of(p, promoted)[0].calibration(0)
    expected, edges = np.histogram(p[0], 16, (0, 1))
    assert rows.tolist() == expected.tolist()
    np.testing.assert_allclose(middle, (edges[1:] + edges[:-1]) / 2)
    np.testing.assert_allclose(share * rows, np.histogram(p[0][promoted], 16, (0, 1))[0])
    assert abs(share - middle).max() < 0.1
    assert np.isnan(Tally.of(p[:, :1], promoted[:1])[0].calibration(0)[1]).sum() == 15


@given(st.integers(0, 99), cuts(ROWS))
@settings(max_examples=20, deadline=None)
def test_any_split_of_the_rows_gives_the_same(seed, cuts):
    """Scores and leads of fixed predictions hang on no page, up to rounding."""
    rows = employees(ROWS, seed)
    chances = np.random.default_rng(seed).random((2, ROWS))

    def board(cuts):
        experts = [Told(name, p) for name, p in zip("ab", chances, strict=True)]
        return learned(split(rows, cuts), [*experts, Board(experts)])[-1]

    one, many = board([]), board(cuts)
    assert (one.whole.bins == many.whole.bins).all()
    for key, expected in value(one).items():
        assert value(many)[key] == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


def test_recent_is_the_last_blocks():
    """Recent scores are those of the last 1,000 to 2,000 rows, in pages that divide a block."""
    assert (BLOCK, BINS) == (1000, 64)  # as the tables say
    chances = np.random.default_rng(0).random(5300)
    rows = employees(5300, 1)
    expert = Told("a", chances)
    board = Board([expert])
    for each in split(rows, range(100, 5300, 100)):
        learned([each], [expert, board])
        seen = 100 * (each.page + 1)
        first = max(seen // BLOCK - 1, 0) * BLOCK
        expected = Tally.of(chances[None, first:seen], rows[2][first:seen])[0]
        assert board.recent.rows == seen - first
        np.testing.assert_allclose(board.recent.scores, expected.scores)


def test_metrics_of_sgd_are_its_own():
    """What an expert says of itself the board does not say again, and they agree."""
    _, sgd, *_, board = learned(pages_of(employees(ROWS)))
    own = value(sgd)
    assert own.keys().isdisjoint(value(board))
    for row, name in enumerate(("log_loss", "brier", "accuracy")):
        at = board.names.index("sgd-logistic")
        assert own["sgd-logistic", name] == pytest.approx(board.whole.scores[row, at])


def test_a_lead_is_for_all_pairs_together():
    """The interval of a difference has its level divided by the number of pairs of experts."""
    random = np.random.default_rng(3)
    chances = 0.2 + 0.6 * random.random((4, 400))
    experts = [Told(name, p) for name, p in zip("abcd", chances, strict=True)]
    board = Board(experts, alpha=0.06, g=50.0)
    rows = np.zeros(400), np.zeros(400), random.random(400) < 0.5
    learned(split(rows, range(10, 400, 10)), [*experts, board])
    found, losses = value(board), -np.log(np.where(rows[2], chances, 1 - chances))
    means = losses.mean(axis=1)
    leader = int(means.argmin())
    for name, loss in zip("abcd", losses, strict=True):
        difference = loss - losses[leader]
        error = difference.std() / 20
        radius = np.sqrt(450 / 400 * np.log(450 / 50 / (0.06 / 6) ** 2)) * error
        assert found[name, "behind"] == pytest.approx(difference.mean())
        assert found[name, "behind_low"] == pytest.approx(difference.mean() - radius)


def test_a_lead_is_rarely_said_to_be_real_where_there_is_none():
    """Of 300 streams of equals, watched every 10 rows, under 5% ever see a lead as real."""
    wrong = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        chances = 0.5 + 0.3 * random.choice([-1, 1], (3, 500))
        experts = [Told(name, p) for name, p in zip("abc", chances, strict=True)]
        board = Board(experts)
        for each in split(
            (np.zeros(500), np.zeros(500), random.random(500) < 0.5), range(10, 500, 10)
        ):
            learned([each], [*experts, board])
            wrong_now = any(v > 0 for (_, kind), v in value(board).items() if kind == "behind_low")
            if wrong_now and each.page >= 9:
                wrong += 1
                break
    assert wrong / 300 < 0.05


def test_a_lead_that_is_real_is_found():
    """Against the base rate the logistic's lead is real in 3,000 rows; nobody beats the best."""
    *_, board = learned(pages_of(WORLDS["collider"].sample(3000, seed=1)))
    found = value(board)
    assert found["renewable-logistic", "behind"] == 0.0
    assert found["base-rate", "behind_low"] > 0
    assert 0 < found["renewable-logistic", "excess"] < 0.01
    assert found["base-rate", "excess"] - found["renewable-logistic", "excess"] == pytest.approx(
        found["base-rate", "behind"]
    )
    assert found["best-possible", "excess"] == 0
    assert math.isnan(found["best-possible", "behind"])


@pytest.mark.parametrize("world", WORLDS)
def test_the_best_possible_is_the_worlds_own(world):
    """Its predictions are the true chances, by the employee's number: none is better on average."""
    rows = WORLDS[world].sample(60_000, seed=3)
    best = BestPossible(known_world(f"world:{world}?rows=60000&seed=3"))
    (last,) = split([column[50_000:] for column in rows], [])
    best.learn(batch(0, *(column[50_000:] for column in rows), ids=range(50_000, 60_000)))
    expected = WORLDS[world].bayes_proba(last.network_ability, last.competence, 50_000)
    assert best.predicted.tolist() == expected.tolist()
    others = [np.full(10_000, last.promoted.mean()), best.predicted**1.2]
    log_loss = Tally.of(np.array([best.predicted, *others]).clip(1e-15, 1 - 1e-15), last.promoted)[
        0
    ]
    assert log_loss.scores[0].argmin() == 0 or world == "fork"


def test_only_a_known_world_has_a_best():
    """A service of any other kind has none."""
    for source in ("http://127.0.0.1:5000", "world:nowhere?rows=1", "world", "", "memory"):
        assert known_world(source) is None


@given(st.integers(0, 2**32), cuts(ROWS), st.integers(0, 12))
@settings(max_examples=20, deadline=None)
def test_restored_goes_on_as_if_never_stopped(seed, cuts, stop):
    """After a restart through JSON the states are those of one run, to the bit."""
    batches = split(employees(ROWS, seed), cuts)
    through, first, twins = learned(batches), learned(batches[:stop]), built()
    for model, twin in zip(first, twins, strict=True):
        twin.restore({state.name: state.state for state in model.states()})
    learned(batches[stop:], twins)
    assert twins[-1].states() == through[-1].states()
    np.testing.assert_equal(twins[-1].metrics(), through[-1].metrics())


def broken():
    """Return states that no run of ours can have left."""
    [state] = learned(pages_of(employees(30)))[-1].states()
    good = json.loads(state.state)
    whole = good["whole"]
    changes = [
        ("version", 2),
        ("more", 1),
        ("names", good["names"][::-1]),
        ("whole", {**whole, "rows": 31}),
        ("whole", {**whole, "rows": -1}),
        ("whole", {**whole, "sums": whole["sums"][:2]}),
        ("whole", {**whole, "sums": [[math.nan] * 4] * 3}),
        ("whole", {**whole, "sums": [*whole["sums"][:2], [31.0] * 4]}),
        ("whole", {**whole, "bins": whole["bins"][:1]}),
        ("whole", {**whole, "bins": [[[-1] * 64] * 4] * 2}),
        ("whole", {**whole, "bins": [[[0] * 63] * 4] * 2}),
        ("whole", {**whole, "bins": [[[0] * 64, [0]] * 2] * 2}),
        ("block", {**good["before"], "rows": 1}),
        ("before", good["whole"]),
        ("means", good["means"][:2]),
        ("means", [-1.0] * 4),
        ("scatter", []),
        ("scatter", [[-1.0] * 4] * 4),
        ("scatter", [[math.inf] * 4] * 4),
    ]
    return [*NO_STATES, *changed(good, changes)]


@pytest.mark.parametrize("state", broken())
def test_a_broken_state_is_refused(state):
    """A state that is none raises ValueError and leaves the board as it was."""
    board = learned(pages_of(employees(30)))[-1]
    assert_refused(board, {board.name: state})
