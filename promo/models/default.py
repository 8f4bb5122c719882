"""The models of a stream: the experts to choose from, their price, and who goes by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from promo.models.anytime import ALPHA
from promo.models.best import BestPossible, known_world
from promo.models.board import Board
from promo.models.drift import Drift
from promo.models.experts import (
    BaseRate,
    Expert,
    NaiveBayes,
    hoeffding_tree,
    nearest_neighbours,
    random_forest,
)
from promo.models.logistic import RenewableLogistic
from promo.models.mixture import Mixture
from promo.models.regressions import Regressions
from promo.models.results import Model
from promo.models.sgd import SGDLogistic
from promo.models.stories import Stories


class Choice(NamedTuple):
    """An expert that may run, and what it takes to.

    Its price is microseconds of processor time a row for predicting, learning and telling its
    state, at pages of 10 and of 1,000 rows: medians of 20,000 rows of collider (the costly ones:
    4,000), one expert after the other in one process on two shared cores, by ``python -m
    benchmarks.prediction price``. Where sgd-logistic takes longer than 1.4 µs, so does all of this.
    What `grows` takes more of it, and of memory, the more rows it has learned: over 100,000 rows of
    collider the tree takes 75 µs a row, and the forest at 10,000 five times what it did at 2,000.
    """

    make: Callable[[float], Expert]  # given alpha, of its intervals if it has any
    price_us: tuple[float, float]
    grows: bool = False

    @property
    def costly(self) -> bool:
        """Whether it alone takes a large part of the time that a row has at 40,000 rows/s."""
        return self.price_us[1] > 10


EXPERTS = {
    SGDLogistic.name: Choice(lambda _: SGDLogistic(), (2.8, 1.4)),
    BaseRate.name: Choice(lambda _: BaseRate(), (0.2, 0.1)),
    "renewable-logistic": Choice(lambda alpha: RenewableLogistic(alpha=alpha), (14.0, 0.3)),
    "renewable-logistic-quadratic": Choice(
        lambda alpha: RenewableLogistic(quadratic=True, alpha=alpha), (15.0, 0.3)
    ),
    NaiveBayes.name: Choice(lambda _: NaiveBayes(), (3.6, 1.0)),
    "hoeffding-tree": Choice(lambda _: hoeffding_tree(), (24.0, 25.0), grows=True),
    "nearest-neighbours": Choice(lambda _: nearest_neighbours(), (51.0, 49.0)),
    "random-forest": Choice(lambda _: random_forest(), (650.0, 580.0), grows=True),
}
MIXTURE = Mixture.name  # of the other experts that are chosen
MIXTURE_US = (3.9, 2.0)  # its price, of four experts
COMPARING_US = (18.0, 1.1)  # the price of scores and drift detection, of five
USUAL = (SGDLogistic.name,)
MERGING = ("renewable-logistic",)
FULL = (  # at 15 µs a row at most, where pages are large
    SGDLogistic.name, BaseRate.name, "renewable-logistic", "renewable-logistic-quadratic", MIXTURE,
)  # fmt: skip


def price_us(names: Sequence[str]) -> tuple[float, float]:
    """Return what these experts cost together, in µs a row at pages of 10 and of 1,000 rows.

    Examples
    --------
    >>> price_us(USUAL)
    (2.8, 1.4)
    """
    prices = [choice.price_us for name, choice in EXPERTS.items() if name in names]
    prices += [MIXTURE_US] if MIXTURE in names else []
    prices += [COMPARING_US] if {*names} != {*USUAL} else []
    return sum(small for small, _ in prices), sum(large for _, large in prices)


def default_models(
    names: Sequence[str] = USUAL,
    source: str = "",
    alpha: float = ALPHA,
    *,
    merging: bool = False,
) -> tuple[tuple[Model, ...], dict[str, Any]]:
    """Return the models, in order, and the settings that their store is to remember.

    Parameters
    ----------
    names
        Which experts run, of `EXPERTS` and `MIXTURE`, in any order. The regressions and the
        stories always do; so do those who compare the experts, unless `SGDLogistic`, which scores
        itself, is alone.
    source
        Of the stream: where it names a world that is known, so is the best possible prediction.
    alpha
        All intervals have level 1 - alpha.
    merging
        Only what merges, for many machines at once (`promo.scale`): the renewable logistic alone
        predicts, and nobody watches for drift, which is a matter of row after row.

    Raises
    ------
    ValueError
        There is no such expert, or nobody to mix.
    """
    if merging:
        names = MERGING
    if unknown := sorted({*names} - {*EXPERTS, MIXTURE}):
        raise ValueError(f"no expert {unknown[0]!r}; choose of {', '.join([*EXPERTS, MIXTURE])}")
    experts = [choice.make(alpha) for name, choice in EXPERTS.items() if name in names]
    if not experts:
        raise ValueError(f"nobody predicts; choose at least one of {', '.join(EXPERTS)}")
    regressions = Regressions(alpha)
    others: list[Model] = [regressions, Stories(regressions)]
    chosen = [name for name in (*EXPERTS, MIXTURE) if name in names]
    settings: dict[str, Any] = {"alpha": regressions.alpha, "g": regressions.g}
    if chosen == [SGDLogistic.name]:
        return (*experts, *others), settings
    settings["models"] = chosen
    racing: list[Expert] = [*experts, *([Mixture(experts)] if MIXTURE in names else [])]
    world = known_world(source)
    best = BestPossible(world) if world else None
    board = Board(racing, best, alpha)
    known: list[Model] = [best] if best else []
    if merging:
        return (*racing, *known, board, *others), settings | {"merging": True}
    return (*racing, *known, board, Drift(board), *others), settings
