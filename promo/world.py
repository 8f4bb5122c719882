"""Worlds: small structural causal models that make employees.

The line from page to figure begins here. A world says how network ability, competence and
promotion come about; `promo.dataset` writes its employees to a file and `promo.api` serves
that file page by page. Pure: numpy in, numpy out. Nothing downstream looks in here, except
to compare a model with the best possible one (`World.bayes_proba`).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Chance = Callable[[Floats, Floats], Floats]

BLOCK_ROWS = 65_536
MENTORING_SLOPE = 0.3
THRESHOLD_CUT = 1.0
THRESHOLD_NOISE_SCALE = 0.1

# How the noise of each variable is drawn. The order is part of every data set ever made:
# it decides which stream of random numbers a variable gets, in all worlds. Append only.
_NOISE: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "network_ability": lambda generator, rows: generator.standard_normal(rows),
    "competence": lambda generator, rows: generator.standard_normal(rows),
    "promoted": lambda generator, rows: generator.random(rows),
}


class Employees(NamedTuple):
    """Rows of employees, column by column.

    Attributes
    ----------
    network_ability, competence
        Shape (n,), float64, no unit: mean 0 and variance 1 in every world so far.
    promoted
        Shape (n,), bool.
    """

    network_ability: Floats
    competence: Floats
    promoted: NDArray[np.bool_]


class Variable(NamedTuple):
    """One arrow-head of the causal diagram: `name := equation(noise, *parents)`.

    The noise is a column of its own, independent of everything else: standard normal, or
    uniform on [0, 1) for `promoted`.
    """

    name: str
    parents: tuple[str, ...]
    equation: Callable[..., NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class World:
    """A structural causal model of network ability, competence and promotion.

    Parameters
    ----------
    name
        How the command line and the sources of stores call it.
    description
        One line for people.
    variables
        In causal order: parents before children.
    chance
        P(promoted | network ability, competence), for columns of equal shape.

    References
    ----------
    Pearl, J. (2009). Causality, 2nd ed., definition 7.1.1.
    """

    name: str
    description: str
    variables: tuple[Variable, ...]
    chance: Chance

    def sample(self, rows: int, seed: int) -> Employees:
        """Return the first `rows` employees of this world under `seed`.

        Row k depends on (world, seed, k) only: asking for more rows keeps the ones before.

        Parameters
        ----------
        rows
            At least 0.
        seed
            At least 0. Worlds with the same seed share their noise, employee by employee.

        Examples
        --------
        >>> few, many = WORLDS["collider"].sample(2, seed=1), WORLDS["collider"].sample(9, seed=1)
        >>> bool((few.competence == many.competence[:2]).all())
        True
        """
        return self._solve(_streams(seed), rows)

    def blocks(self, rows: int, seed: int, block_rows: int = BLOCK_ROWS) -> Iterator[Employees]:
        """Yield the rows of `sample` in order, `block_rows` at a time, in bounded memory."""
        streams = _streams(seed)
        for first in range(0, rows, block_rows):
            yield self._solve(streams, min(block_rows, rows - first))

    def bayes_proba(self, network_ability: ArrayLike, competence: ArrayLike) -> Floats:
        """Return the true P(promoted | network ability, competence), shape (n,).

        No classifier that sees these two has a lower expected log loss.

        Examples
        --------
        >>> WORLDS["collider"].bayes_proba([0.0, 2.0], [0.0, -1.0]).round(3).tolist()
        [0.5, 0.731]
        """
        return self.chance(
            np.asarray(network_ability, np.float64), np.asarray(competence, np.float64)
        )

    def _solve(self, streams: dict[str, np.random.Generator], rows: int) -> Employees:
        """Draw the next `rows` of noise and solve the equations in causal order."""
        columns: dict[str, NDArray[np.generic]] = {}
        for variable in self.variables:
            noise = _NOISE[variable.name](streams[variable.name], rows)
            parents = (columns[parent] for parent in variable.parents)
            columns[variable.name] = variable.equation(noise, *parents)
        return Employees(**columns)  # type: ignore[arg-type]  # names are the variables'


def logistic(log_odds: Floats) -> Floats:
    """Return 1 / (1 + exp(-log_odds)) without overflow, accurate in both tails.

    Examples
    --------
    >>> logistic(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return np.exp(-np.logaddexp(0.0, -log_odds))


def _streams(seed: int) -> dict[str, np.random.Generator]:
    """Return one independent stream of random numbers per variable.

    A stream of its own keeps a variable's noise the same in any world, under any block size.
    """
    children = np.random.SeedSequence(seed).spawn(len(_NOISE))
    return {
        name: np.random.Generator(np.random.PCG64(child))
        for name, child in zip(_NOISE, children, strict=True)
    }


def _collider_chance(network_ability: Floats, competence: Floats) -> Floats:
    return logistic(network_ability + competence)


def _threshold_chance(network_ability: Floats, competence: Floats) -> Floats:
    return logistic((network_ability + competence - THRESHOLD_CUT) / THRESHOLD_NOISE_SCALE)


def _mentored(noise: Floats, competence: Floats) -> Floats:
    return MENTORING_SLOPE * competence + math.sqrt(1 - MENTORING_SLOPE**2) * noise


def _promoted_by(chance: Chance) -> Variable:
    """Return `promoted` as a child of both abilities, true with probability `chance`."""
    return Variable(
        "promoted",
        ("network_ability", "competence"),
        lambda noise, network_ability, competence: noise < chance(network_ability, competence),
    )


_network_ability = Variable("network_ability", (), np.asarray)
_competence = Variable("competence", (), np.asarray)
_network_ability_from_competence = Variable("network_ability", ("competence",), _mentored)

#: Every world by its name.
WORLDS: dict[str, World] = {
    world.name: world
    for world in (
        World(
            "collider",
            "Competence and network ability are independent; both help to be promoted.",
            (_network_ability, _competence, _promoted_by(_collider_chance)),
            _collider_chance,
        ),
        World(
            "threshold",
            "Independent abilities; promoted when their sum, with small noise, passes a cut.",
            (_network_ability, _competence, _promoted_by(_threshold_chance)),
            _threshold_chance,
        ),
        World(
            "mentoring",
            "Competence raises network ability; both help to be promoted.",
            (_competence, _network_ability_from_competence, _promoted_by(_collider_chance)),
            _collider_chance,
        ),
    )
}
