"""River's classifiers beside our own: each predicts a page, then learns it row by row.

An expert says of a page what it thinks (`predicted`) before it learns it; scores, mixture and
drift detection go by that. Those that say their state in JSON are taken up from it; the others are
shown the stored rows again. River, which takes longer to import than all the rest of promo, is
imported where a model of its is made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import log, pi
from typing import Annotated, Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from promo.batch import MAX_ABS, Batch, Number
from promo.models.results import Coefficient, Metric, Model, ModelState, as_json
from promo.models.scores import Count, bounded

SEED = 1  # of the trees; they are told nothing else
Floats = NDArray[np.float64]
_EPSILON = 10e-10  # river's: added to every density
_FAR = 40.0  # standard deviations: beyond it the normal density is 0

_Spread = Annotated[float, msgspec.Meta(ge=0, le=2**53 * 4 * MAX_ABS**2)]


class Expert(Model, Protocol):
    """A model that predicts promoted.

    Attributes
    ----------
    name
        Of its state and its metrics.
    predicted
        P(promoted) of every row of the page learned last, before it was learned, shape (n,).
    """

    name: str
    predicted: Floats

    def predict_proba(self, batch: Batch) -> Floats:
        """Return P(promoted) of every row by the model as it is, shape (n,)."""


class _Plain(ABC):
    """What the experts of this module have in common."""

    name: str

    def __init__(self) -> None:
        self.predicted: Floats = np.empty(0)

    def learn(self, batch: Batch) -> None:
        """Predict the batch by the model as it is, then learn row by row."""
        self.predicted = self.predict_proba(batch)
        self._train(batch)

    @abstractmethod
    def predict_proba(self, batch: Batch) -> Floats:
        """Return P(promoted) of every row by the model as it is, shape (n,)."""

    @abstractmethod
    def _train(self, batch: Batch) -> None:
        """Learn the rows in their order."""

    def coefficients(self) -> list[Coefficient]:
        """Return none."""
        return []

    def metrics(self) -> list[Metric]:
        """Return none: how well it predicts is for who compares it with others to say."""
        return []


class _Rate(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    rows: Count
    promoted: Count

    def __post_init__(self) -> None:
        if self.version != 1 or self.promoted > self.rows:
            raise ValueError(f"not a base rate, version 1: {self}")


class BaseRate(_Plain):
    """The share promoted so far, whoever it is: what any other expert must beat.

    By Laplace's rule of succession, as if one row of each kind had come before the first.

    Examples
    --------
    >>> model = BaseRate()
    >>> model.learn(Batch.of([1, 2, 3], [4, 5, 6], [True, False, True]))
    >>> model.predict_proba(Batch.of([7], [8], [True])).tolist()
    [0.6]
    """

    name = "base-rate"

    def __init__(self) -> None:
        super().__init__()
        self._state = _Rate(1, 0, 0)

    def predict_proba(self, batch: Batch) -> Floats:
        """Return the same probability for every row, shape (n,), in (0, 1)."""
        return np.full(len(batch.ids), (self._state.promoted + 1) / (self._state.rows + 2))

    def _train(self, batch: Batch) -> None:
        self._state.rows += len(batch.ids)
        self._state.promoted += int(np.count_nonzero(batch.promoted))

    def states(self) -> list[ModelState]:
        """Return two counts."""
        return [ModelState(self.name, self._state.rows, as_json(self._state))]

    def restore(self, states: Mapping[str, str]) -> None:
        """Take over a state as `states` gave it; ValueError if it is none."""
        self._state = msgspec.json.decode(states[self.name], type=_Rate)


class _Normal(msgspec.Struct, forbid_unknown_fields=True):
    mean: Number
    spread: _Spread  # sum of squared deviations


class _Group(msgspec.Struct, forbid_unknown_fields=True):
    rows: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    competence: _Normal
    network_ability: _Normal


class _Bayes(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    promoted: _Group | None
    others: _Group | None


class NaiveBayes(_Plain):
    """Gaussian naive Bayes: within each group the abilities count as independent and normal.

    River's, which is told the rows; predictions are its formula, for a page at once.
    """

    name = "naive-bayes"

    def __init__(self) -> None:
        super().__init__()
        self._model = _gaussian()

    def predict_proba(self, batch: Batch) -> Floats:
        """Return P(promoted) of every row, shape (n,), in (0, 1); one half before any row."""
        logs = [self._log_joint(promoted, batch) for promoted in (False, True)]
        if logs[0] is None or logs[1] is None:
            one_kind = 0.5 if logs[0] is logs[1] else float(logs[0] is None)
            return bounded(np.full(len(batch.ids), one_kind))
        return bounded(1 / (1 + np.exp(np.minimum(logs[0] - logs[1], 700.0))))

    def _log_joint(self, promoted: bool, batch: Batch) -> Floats | None:
        counts = self._model.class_counts
        if not counts[promoted]:
            return None
        joint = np.full(len(batch.ids), log(counts[promoted] / counts.total()))
        for name, normal in self._model.gaussians[promoted].items():
            density: Floats | float = 0.0
            if (sigma := normal.sigma) > 0:
                far = np.minimum(abs(getattr(batch, name) - normal.mu) / sigma, _FAR)
                density = np.exp(-(far**2) / 2) / ((2 * pi) ** 0.5 * sigma)
            joint += np.log(_EPSILON + density)
        return joint

    def _train(self, batch: Batch) -> None:
        for x, promoted in _rows(batch):
            self._model.learn_one(x, promoted)

    def states(self) -> list[ModelState]:
        """Return count, means and spreads of both groups."""
        state = _Bayes(1, self._group(True), self._group(False))
        return [ModelState(self.name, self._model.class_counts.total(), as_json(state))]

    def _group(self, promoted: bool) -> _Group | None:
        if not (rows := self._model.class_counts[promoted]):
            return None
        normals = {
            name: _Normal(normal._var.mean.get(), normal._var._S)
            for name, normal in self._model.gaussians[promoted].items()
        }
        return _Group(rows, **normals)

    def restore(self, states: Mapping[str, str]) -> None:
        """Take over a state as `states` gave it; ValueError if it is none."""
        state = msgspec.json.decode(states[self.name], type=_Bayes)
        if state.version != 1:
            raise ValueError(f"state of {self.name} has version {state.version}, expected 1")
        self._model = _gaussian()
        for promoted, group in ((True, state.promoted), (False, state.others)):
            if group is None:
                continue
            self._model.class_counts[promoted] = group.rows
            for name in ("competence", "network_ability"):
                normal, var = getattr(group, name), self._model.gaussians[promoted][name]._var
                var.mean.n, var.mean._mean, var._S = float(group.rows), normal.mean, normal.spread


class _Replay(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    learned: Count
    replay: bool  # what it learned is not here: it follows from the rows


class Replayed(_Plain):
    """A model of river's whose state is the rows it was shown: taken up, it is shown them again.

    Parameters
    ----------
    name
        Of its state and its metrics.
    make
        Returns a fresh model, always the same.
    """

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        super().__init__()
        self.name, self._make = name, make
        self._model, self._learned, self._owed = make(), 0, 0

    def predict_proba(self, batch: Batch) -> Floats:
        """Return P(promoted) of every row, shape (n,), in (0, 1); one half before any row."""
        found = [self._predict(x) if self._learned else 0.5 for x, _ in _rows(batch)]
        return bounded(np.array(found))

    def _predict(self, x: dict[str, float]) -> float:
        try:
            chances = self._model.predict_proba_one(x)
        except ArithmeticError:  # as where all neighbours are too far off to have a weight
            return 0.5
        p = float(chances.get(True, 0.0)) if chances else 0.5  # a class not seen is left out
        return p if p == p else 0.5

    def _train(self, batch: Batch) -> None:
        for x, promoted in _rows(batch):
            self._model.learn_one(x, promoted)
        self._learned += len(batch.ids)

    def states(self) -> list[ModelState]:
        """Return the number of rows, and that they are to be shown again."""
        return [ModelState(self.name, self._learned, as_json(_Replay(1, self._learned, True)))]

    def restore(self, states: Mapping[str, str]) -> None:
        """Begin anew, `relearn` being owed; ValueError if it is not a state as `states` gave it."""
        state = msgspec.json.decode(states[self.name], type=_Replay)
        if state.version != 1 or not state.replay:
            raise ValueError(f"not a {self.name} to be shown its rows again: {state}")
        self._model, self._learned, self._owed = self._make(), 0, state.learned

    def relearn(self, batches: Iterable[Batch]) -> None:
        """Learn all the rows again, in their order; ValueError if they are not as many as before.

        How they are cut into batches does not matter.
        """
        for batch in batches:
            self._train(batch)
        if self._learned != self._owed:
            raise ValueError(f"{self.name} learned {self._owed:,} rows, here are {self._learned:,}")


def hoeffding_tree() -> Replayed:
    """Return river's adaptive Hoeffding tree (Bifet, Gavaldà 2009), as river has it."""
    from river import tree

    return Replayed("hoeffding-tree", lambda: tree.HoeffdingAdaptiveTreeClassifier(seed=SEED))


def random_forest() -> Replayed:
    """Return river's adaptive random forest (Gomes et al. 2017): ten trees, as river has it."""
    from river import forest

    return Replayed("random-forest", lambda: forest.ARFClassifier(seed=SEED))


def nearest_neighbours() -> Replayed:
    """Return river's 5 nearest of the last 1,000 rows, on the running standardised scale.

    By exact search: the approximate one, river's own choice, draws at random whenever it predicts,
    so that what it finds hangs on how often it was asked.
    """
    from river import neighbors, preprocessing

    return Replayed(
        "nearest-neighbours",
        lambda: (
            preprocessing.StandardScaler()
            | neighbors.KNNClassifier(engine=neighbors.LazySearch(window_size=1000))
        ),
    )


def _gaussian() -> Any:  # river's types are incomplete
    from river import naive_bayes

    return naive_bayes.GaussianNB()  # type: ignore[no-untyped-call]


def _rows(batch: Batch) -> Iterator[tuple[dict[str, float], bool]]:
    columns = batch.competence.tolist(), batch.network_ability.tolist(), batch.promoted.tolist()
    for competence, ability, promoted in zip(*columns, strict=True):
        yield {"competence": competence, "network_ability": ability}, promoted
