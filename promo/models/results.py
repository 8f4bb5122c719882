"""What every model hands on: its coefficients, its metrics, its state - and what a model is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from promo.batch import Batch

NAN = float("nan")
MAX_LEARNING_RATE = 1e6  # steps this large are useless already; much larger ones overflow


class Coefficient(NamedTuple):
    """One term of one model, on the original scale of the data; NaN where undefined.

    `ci_low` and `ci_high` bound the fixed-n interval of level 1 - alpha: it holds at one number of
    rows chosen before looking. The `av_*` values hold at every number of rows at once, where
    `promo.models.anytime` says so; their bounds are infinite while there are too few rows for any.
    `hc1_std_error` does not assume that errors have equal spread.
    """

    model: str
    term: str
    estimate: float
    std_error: float = NAN
    statistic: float = NAN
    p_value: float = NAN
    ci_low: float = NAN
    ci_high: float = NAN
    av_p_value: float = NAN
    av_low: float = NAN
    av_high: float = NAN
    hc1_std_error: float = NAN


class Metric(NamedTuple):
    """One number about one model; NaN where undefined."""

    model: str
    name: str
    value: float


_T = TypeVar("_T", Coefficient, Metric)


def from_columns(kind: type[_T], *columns: Iterable[Any]) -> list[_T]:
    """Return coefficients or metrics, given each of their fields for all of them.

    As calling the class for each, in a third of the time: every page has dozens.

    Examples
    --------
    >>> from_columns(Metric, ["a", "b"], ["rows", "rows"], [1.0, 2.0])
    [Metric(model='a', name='rows', value=1.0), Metric(model='b', name='rows', value=2.0)]
    """
    made: Iterator[_T] = map(tuple.__new__, repeat(kind), zip(*columns, strict=True))
    return list(made)


class Event(NamedTuple):
    """Something that a model has found out on a page; `detail` holds what JSON can."""

    kind: str
    detail: dict[str, Any]


class ModelState(NamedTuple):
    """All that a model has learned from `rows` rows, as JSON."""

    name: str
    rows: int
    state: str


def check_learning_rate(value: float) -> float:
    """Return the rate as a float; ValueError unless it lies in (0, 1e6]."""
    if not 0 < value <= MAX_LEARNING_RATE:
        raise ValueError(f"learning rate {value}: expected above 0, at most {MAX_LEARNING_RATE:g}")
    return float(value)


class Model(Protocol):
    """What the trainer asks of a model.

    A model that has an attribute `learning_rate` (and a `name`) can be steered while it runs.
    Pure code: no I/O, no threads. `learn` must test before it trains, and after `restore` of its
    own `states` a model must go on to the same bits as if it had never stopped. A model that has a
    method `relearn` is shown all stored rows after that, in the order in which they were learned;
    one that has a method `events` is asked after every page what it has found out. What may take a
    second and changes nothing, as an import, a model leaves to its method `prepare`, called in a
    thread of its own and waited for before the first page.
    """

    def learn(self, batch: Batch) -> None:
        """Predict every row by the model as it is, score, then learn the rows in order."""

    def states(self) -> list[ModelState]:
        """Return what `restore` needs, and what a reader of the store may want to know."""

    def restore(self, states: Mapping[str, str]) -> None:
        """Take over states by name; ValueError if they are not this model's."""

    def coefficients(self) -> list[Coefficient]:
        """Return the same terms in the same order at any time."""

    def metrics(self) -> list[Metric]:
        """Return the same metrics in the same order at any time."""


def steerable(models: Iterable[Model]) -> dict[str, Any]:
    """Return the models that have a learning rate, by name; see `Model`."""
    return {getattr(m, "name", ""): m for m in models if hasattr(m, "learning_rate")}


def as_json(state: object) -> str:
    """Return a state as JSON; floats go there and back to the bit."""
    return msgspec.json.encode(state).decode()


def found_out(models: Iterable[Model]) -> list[Event]:
    """Return what models have found out on the page learned last; see `Model`."""
    return [e for model in models if hasattr(model, "events") for e in model.events()]
