"""The learning-rate race: how each of a dozen rates does, by each of six ways to use it.

All runners learn the same rows at once. Each is river's StandardScaler | LogisticRegression with
one of river's optimizers: after a row its weights are river's to about 1e-15 of their size, not
to the bit, for numpy rounds its exponentials and powers in its own way. Where steps are so large
that they throw a runner about, such a difference grows until its weights have nothing in common
with river's but their size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import log
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from promo.batch import MAX_ABS, Batch, Number
from promo.models.board import BLOCK
from promo.models.results import NAN, Coefficient, Metric, ModelState, as_json
from promo.models.scores import Count
from promo.models.sgd import FEATURES

RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
DIVERGED = 2 * log(2)  # nats: lately it gave what happened less than one chance in four
_WORST = -log(1e-15)  # of a row: as in `promo.models.scores`

Floats = NDArray[np.float64]
_Weights = list[Annotated[float, msgspec.Meta(ge=-1e40, le=1e40)]]
_Squares = list[Annotated[float, msgspec.Meta(ge=0, le=1e40)]]
_Losses = list[Annotated[float, msgspec.Meta(ge=0, le=1e18)]]
_Moments = dict[str, tuple[Number, Annotated[float, msgspec.Meta(ge=0, le=4 * MAX_ABS**2)]]]


class Method(NamedTuple):
    """A way to use a learning rate, by what river's optimizers have in common.

    From the gradient g: m = keep·m + take·g and v = keep_square·v + take_square·g². The step is
    rate·m / (√(v + floor) + nudge), and the rate of step t is rate / (start + t)^power, where
    start is 1, or Bottou's rate^0.75 where `power` is 1. The intercept learns by plain descent at
    the same rate, as river has it.
    """

    keep: float = 0.0
    take: float = 1.0
    keep_square: float = 0.0
    take_square: float = 0.0
    floor: float = 1.0
    nudge: float = 0.0
    power: float = 0.0
    unbias: bool = False  # Adam's averages begin at 0

    def schedule(self, rates: Floats, t: Floats) -> Floats:
        """Return the rates of steps t, shapes (k,) and (n,), shape (n, k)."""
        start = rates**0.75 if self.power == 1 else np.ones_like(rates)
        scheduled: Floats = rates / (start + t[:, None]) ** self.power
        return scheduled


#: By name: river's SGD with its schedules Constant, InverseScaling(rate) and
#: Optimal(alpha=1 / rate), then its Momentum, Adam and AdaGrad.
METHODS = {
    "sgd": Method(),
    "sgd-inverse-scaling": Method(power=0.5),
    "sgd-optimal": Method(power=1.0),
    "momentum": Method(keep=0.9),
    "adam": Method(0.9, 1 - 0.9, 0.999, 1 - 0.999, floor=0.0, nudge=1e-8, unbias=True),
    "adagrad": Method(keep_square=1.0, take_square=1.0, floor=1e-8),
}


def runner(method: str, rate: float) -> str:
    """Return a runner's name, under which its coefficient and its losses are stored.

    Examples
    --------
    >>> runner("adam", RATES[2])
    'adam at 0.001'
    """
    return f"{method} at {rate:g}"


class _State(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    runners: list[str]
    rows: Count
    moments: _Moments
    weights: list[_Weights]
    first: list[_Weights]
    second: list[_Squares]
    whole: _Losses
    block: _Losses
    block_rows: Annotated[int, msgspec.Meta(ge=0, lt=BLOCK)]
    before: _Losses
    before_rows: Count


class Race:
    """Logistic regressions of promoted by every method at every rate, scored before they learn.

    Each row costs about the same as for three river loops, for 72 runners. Steps are bounded, so
    weights stay finite at any of these rates: a runner does not blow up, it predicts badly, and
    what it loses by one row is capped as everywhere. Constant memory.

    Attributes
    ----------
    names
        Of the K runners, method by method, rates ascending.
    rows
        Scored and learned.

    References
    ----------
    Robbins, Monro (1951). A stochastic approximation method. The Annals of Mathematical
    Statistics 22, 400-407.
    Bottou (2012). Stochastic gradient descent tricks. Neural Networks: Tricks of the Trade,
    421-436.
    Kingma, Ba (2015). Adam: a method for stochastic optimization. arXiv 1412.6980.
    Duchi, Hazan, Singer (2011). Adaptive subgradient methods for online learning and stochastic
    optimization. Journal of Machine Learning Research 12, 2121-2159.
    """

    name = "race"

    def __init__(self) -> None:
        self.names = [runner(method, rate) for method in METHODS for rate in RATES]
        self._constants = [_spread(field) for field in Method._fields[:6]]
        k = len(self.names)
        self.rows = self._block_rows = self._before_rows = 0
        self._scaler = _scaler()
        self._weights, self._first, self._second = (np.zeros((3, k)) for _ in range(3))
        self._whole, self._block, self._before = (np.zeros(k) for _ in range(3))

    def learn(self, batch: Batch) -> None:
        """Predict the batch by the runners as they are, score, then learn row by row."""
        if not (n := len(batch.ids)):
            return
        self._score(self._losses(batch).sum(axis=0), n)
        rates = self._rates(n)
        for x, rate in zip(self._rows(batch), rates, strict=True):
            self._step(x, rate)
        self.rows += n

    def _losses(self, batch: Batch) -> Floats:
        """Return what each runner loses by each row, in nats, shape (n, K)."""
        x = [np.ones(len(batch.ids))]
        for name in FEATURES:
            mean, variance = self._moments().get(name, (0.0, 0.0))
            centred = getattr(batch, name) - mean
            x.append(centred / variance**0.5 if variance else 0 * centred)
        signed = np.where(batch.promoted, -1.0, 1.0) * np.array(x)
        return np.minimum(np.logaddexp(0.0, signed.T @ self._weights), _WORST)

    def _score(self, losses: Floats, rows: int) -> None:
        self._whole = self._whole + losses
        self._block, self._block_rows = self._block + losses, self._block_rows + rows
        if self._block_rows >= BLOCK:
            self._before, self._before_rows = self._block, self._block_rows
            self._block, self._block_rows = np.zeros_like(losses), 0

    def _rates(self, n: int) -> Floats:
        """Return the rates of the next n steps, shape (n, 3, K)."""
        t = np.arange(self.rows, self.rows + n, dtype=np.float64)
        parts = []
        for method in METHODS.values():
            rates = np.repeat(method.schedule(np.array(RATES), t)[:, None], 3, axis=1)
            if method.unbias:
                bias = 1 - method.keep ** (t + 1), 1 - method.keep_square ** (t + 1)
                rates[:, 1:] *= (np.sqrt(bias[1]) / bias[0])[:, None, None]
            parts.append(rates)
        return np.concatenate(parts, axis=2)

    def _rows(self, batch: Batch) -> Iterator[Floats]:
        """Yield each row on the scale of all rows up to it, its sign that of the gradient."""
        learn, transform = self._scaler.learn_one, self._scaler.transform_one
        columns = (getattr(batch, name).tolist() for name in ("promoted", *FEATURES))
        for promoted, competence, ability in zip(*columns, strict=True):
            x = {"competence": competence, "network_ability": ability}
            learn(x)
            scaled = transform(x)
            row = np.array([1.0, scaled["competence"], scaled["network_ability"]])
            yield -row if promoted else row

    def _step(self, x: Floats, rates: Floats) -> None:
        keep, take, keep_square, take_square, floor, nudge = self._constants
        gradient = np.multiply.outer(x, expit(x @ self._weights))
        self._first *= keep
        self._first += take * gradient
        self._second *= keep_square
        self._second += take_square * gradient * gradient
        self._weights -= rates * self._first / (np.sqrt(self._second + floor) + nudge)

    # -- what it has found ------------------------------------------------------------------

    def _moments(self) -> dict[str, tuple[float, float]]:
        means, variances = self._scaler.means, self._scaler.vars
        return {name: (means[name], variances[name]) for name in means}

    def coefficients(self) -> list[Coefficient]:
        """Return every runner's weight of competence, on the scale of the data."""
        variance = self._moments().get("competence", (0.0, 0.0))[1]
        slopes = self._weights[1] / variance**0.5 if variance else 0 * self._weights[1]
        pairs = zip(self.names, slopes.tolist(), strict=True)
        return [Coefficient(name, "competence", slope) for name, slope in pairs]

    def metrics(self) -> list[Metric]:
        """Return every runner's log loss, over all rows and lately, as `Board.recent` has it."""
        recent = self._block + self._before, self._block_rows + self._before_rows
        kinds = {"log_loss": (self._whole, self.rows), "recent_log_loss": recent}
        return [
            Metric(name, kind, loss / rows if rows else NAN)
            for kind, (losses, rows) in kinds.items()
            for name, loss in zip(self.names, losses.tolist(), strict=True)
        ]

    def states(self) -> list[ModelState]:
        """Return scaler, weights, averages of the gradients, and losses."""
        state = _State(
            version=1,
            runners=self.names,
            rows=self.rows,
            moments=self._moments(),
            weights=self._weights.tolist(),
            first=self._first.tolist(),
            second=self._second.tolist(),
            whole=self._whole.tolist(),
            block=self._block.tolist(),
            block_rows=self._block_rows,
            before=self._before.tolist(),
            before_rows=self._before_rows,
        )
        return [ModelState(self.name, self.rows, as_json(state))]

    def restore(self, states: Mapping[str, str]) -> None:
        """Take over a state as `states` gave it; ValueError if it is none."""
        state = msgspec.json.decode(states[self.name], type=_State)
        if state.version != 1 or state.runners != self.names:
            raise ValueError(f"not a race of {len(self.names)} runners: {states[self.name][:200]}")
        features = (*FEATURES,) if state.rows else ()
        if (*state.moments,) != features or state.block_rows + state.before_rows > state.rows:
            raise ValueError(f"not what {state.rows:,} rows leave: {states[self.name][:200]}")
        fresh = Race()
        for mine, its in (
            *((fresh._weights, state.weights), (fresh._first, state.first)),
            *((fresh._second, state.second), (fresh._whole, state.whole)),
            *((fresh._block, state.block), (fresh._before, state.before)),
        ):
            if np.shape(its) != mine.shape:  # a ValueError by itself where lists differ in length
                raise ValueError(f"numbers of shape {np.shape(its)}, expected {mine.shape}")
            mine[:] = its
        for name, (mean, variance) in state.moments.items():
            fresh._scaler.counts[name] = state.rows
            fresh._scaler.means[name], fresh._scaler.vars[name] = mean, variance
        fresh.rows = state.rows
        fresh._block_rows, fresh._before_rows = state.block_rows, state.before_rows
        self.__dict__.update(fresh.__dict__)


def _scaler() -> Any:  # river's types are incomplete
    from river import preprocessing

    return preprocessing.StandardScaler()


def _spread(field: str) -> Floats:
    """Return a constant of the methods for the weights of all runners, shape (3, K)."""
    each = np.repeat([getattr(method, field) for method in METHODS.values()], len(RATES))
    plain = np.full(len(each), getattr(Method(), field))
    return np.stack([plain, each, each])
