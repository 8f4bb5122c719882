"""Worlds: small structural causal models that make employees.

The line from page to figure begins here. A world says how network ability, competence and
promotion come about; `promo.dataset` writes its employees to a file and `promo.api` serves
that file page by page. Pure: numpy in, numpy out. Downstream looks in here only to
compare a model with the best possible one (`World.bayes_proba`), and to let readers choose worlds
and play with them (`promo.ui.choose`, `promo.ui.sandbox`).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Column = NDArray[np.generic]
Chance = Callable[[Floats, Floats, NDArray[np.int64]], Floats]

BLOCK_ROWS = 65_536
MENTORING_SLOPE = 0.3
THRESHOLD_CUT = 1.0
THRESHOLD_NOISE_SCALE = 0.1
CHAIN_SLOPE = 0.6
FORK_SHIFT = 0.5
CONFOUNDING = 0.8
DRIFT_ROW = 50_000  # half-way through the default data set
INTERACTION = 2.0

# How the noise of each variable is drawn. The order is part of every data set ever made:
# it decides which stream of random numbers a variable gets, in all worlds. Append only.
_NOISE: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "network_ability": lambda generator, rows: generator.standard_normal(rows),
    "competence": lambda generator, rows: generator.standard_normal(rows),
    "promoted": lambda generator, rows: generator.random(rows),
    "hidden": lambda generator, rows: generator.standard_normal(rows),
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
    """One equation of the causal model: `name := equation(noise, *parents)`.

    The noise is a column of its own, independent of everything else: standard normal, or
    uniform on [0, 1) for `promoted`. A parent is a variable, or `row`, the employee's number
    from 0.
    """

    name: str
    parents: tuple[str, ...]
    equation: Callable[..., Column]


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
        In causal order: parents before children. One called `hidden` is nobody's to see.
    chance
        P(promoted | network ability, competence) of employees whose numbers are given too, for
        columns of equal shape. It is of what is seen: after `do` there is none.

    References
    ----------
    Pearl, J. (2009). Causality, 2nd ed., definitions 7.1.1 and 7.1.2.
    """

    name: str
    description: str
    variables: tuple[Variable, ...]
    chance: Chance

    @property
    def arrows(self) -> frozenset[tuple[str, str]]:
        """The true causal diagram as (cause, effect) pairs, hidden causes included."""
        pairs = ((parent, v.name) for v in self.variables for parent in v.parents)
        return frozenset(pair for pair in pairs if pair[0] != "row")

    def do(self, **values: float) -> "World":
        """Return the world in which somebody sets variables, whatever would have set them.

        An intervention replaces a variable's equation by a value and leaves all others as they
        are. The noise stays, so that employee k is the same person in both worlds.

        Parameters
        ----------
        values
            By variable: a number, or for `promoted` a truth value.

        Raises
        ------
        ValueError
            There is no such variable in this world.

        Examples
        --------
        >>> seen = WORLDS["collider"].sample(1000, seed=1)
        >>> done = WORLDS["collider"].do(promoted=True).sample(1000, seed=1)
        >>> bool(done.promoted.all()), bool((done.competence == seen.competence).all())
        (True, True)
        """
        known = [variable.name for variable in self.variables]
        if unknown := sorted(values.keys() - {*known}):
            raise ValueError(f"world {self.name} has no {unknown[0]}; it has {', '.join(known)}")
        variables = tuple(
            _set(v, values[v.name]) if v.name in values else v for v in self.variables
        )
        done = ", ".join(f"{name}={value:g}" for name, value in values.items())
        chance = _unknown if values else self.chance
        return replace(self, name=f"{self.name}, do({done})", variables=variables, chance=chance)

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
        return self._solve(_streams(seed), 0, rows)

    def blocks(self, rows: int, seed: int, block_rows: int = BLOCK_ROWS) -> Iterator[Employees]:
        """Yield the rows of `sample` in order, `block_rows` at a time, in bounded memory."""
        streams = _streams(seed)
        for first in range(0, rows, block_rows):
            yield self._solve(streams, first, min(block_rows, rows - first))

    def bayes_proba(
        self, network_ability: ArrayLike, competence: ArrayLike, row: ArrayLike = 0
    ) -> Floats:
        """Return the true P(promoted | network ability, competence), shape (n,).

        No classifier that sees these two has a lower expected log loss. `row` is the employees'
        numbers, shape (n,) or one for all: it matters where the policy changes.

        Raises
        ------
        ValueError
            After an intervention, of which what was seen before says nothing.

        Examples
        --------
        >>> WORLDS["collider"].bayes_proba([0.0, 2.0], [0.0, -1.0]).round(3).tolist()
        [0.5, 0.731]
        """
        abilities = np.asarray(network_ability, np.float64), np.asarray(competence, np.float64)
        return self.chance(*abilities, np.asarray(row, np.int64))

    def _solve(
        self, streams: Mapping[str, np.random.Generator], first: int, rows: int
    ) -> Employees:
        """Draw the next `rows` of noise and solve the equations in causal order."""
        columns: dict[str, Column] = {"row": np.arange(first, first + rows)}
        for variable in self.variables:
            noise = _NOISE[variable.name](streams[variable.name], rows)
            parents = (columns[parent] for parent in variable.parents)
            columns[variable.name] = variable.equation(noise, *parents)
        return Employees(*(columns[name] for name in Employees._fields))  # type: ignore[arg-type]


def _set(variable: Variable, value: float) -> Variable:
    kind = np.bool_ if variable.name == "promoted" else np.float64
    return Variable(variable.name, (), lambda noise: np.full(len(noise), value, kind))


def _unknown(*_: Column) -> Floats:
    raise ValueError("P(promoted | abilities) is known of what is seen, not of what do(...) makes")


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


def _collider_chance(network_ability: Floats, competence: Floats, _: Column) -> Floats:
    return logistic(network_ability + competence)


def _threshold_chance(network_ability: Floats, competence: Floats, _: Column) -> Floats:
    return logistic((network_ability + competence - THRESHOLD_CUT) / THRESHOLD_NOISE_SCALE)


def _chain_chance(network_ability: Floats, competence: Floats, _: Column) -> Floats:
    return logistic(2 * network_ability + 0 * competence)


def _fork_chance(network_ability: Floats, competence: Floats, _: Column) -> Floats:
    """Bayes' rule for two normal abilities about ±FORK_SHIFT, of variance 1 - FORK_SHIFT²."""
    return logistic(2 * FORK_SHIFT / (1 - FORK_SHIFT**2) * (network_ability + competence))


def _drift_chance(network_ability: Floats, competence: Floats, row: NDArray[np.int64]) -> Floats:
    return logistic(2 * np.where(row < DRIFT_ROW, competence, network_ability))


def _interaction_chance(network_ability: Floats, competence: Floats, _: Column) -> Floats:
    return logistic(INTERACTION * network_ability * competence)


# Hermite's nodes and weights: an integral over a standard normal variable is a sum over these.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def _confounded_chance(network_ability: Floats, competence: Floats, _: Column) -> Floats:
    """Average over the hidden cause, which given network ability is normal still."""
    abilities = np.broadcast_arrays(network_ability, competence)
    chance = np.zeros(abilities[0].shape)
    spread = math.sqrt(1 - CONFOUNDING**2)
    for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
        hidden = CONFOUNDING * abilities[0] + spread * node
        chance += weight * _confounded_policy(hidden, abilities[1])
    return chance


def _confounded_policy(hidden: Floats, competence: Floats) -> Floats:
    return logistic(2 * hidden + competence)


def _moved(slope: float) -> Callable[[Floats, Floats], Floats]:
    """Return the equation of an ability of variance 1 that another such variable moves."""
    return lambda noise, cause: slope * cause + math.sqrt(1 - slope**2) * noise


def _shifted(noise: Floats, promoted: Column) -> Floats:
    shift = np.where(promoted, FORK_SHIFT, -FORK_SHIFT)
    return shift + math.sqrt(1 - FORK_SHIFT**2) * noise


def _promoted_by(chance: Chance) -> Variable:
    """Return `promoted` as a child of both abilities, true with probability `chance`."""
    return Variable(
        "promoted",
        ("network_ability", "competence", "row"),
        lambda noise, network_ability, competence, row: (
            noise < chance(network_ability, competence, row)
        ),
    )


def _promoted_alike(policy: Callable[..., Floats], *parents: str) -> Variable:
    """Return `promoted` as a child of `parents`, true with the probability that `policy` gives."""
    return Variable("promoted", parents, lambda noise, *causes: noise < policy(*causes))


_network_ability = Variable("network_ability", (), np.asarray)
_competence = Variable("competence", (), np.asarray)
_mentored = Variable("network_ability", ("competence",), _moved(MENTORING_SLOPE))
_schooled = Variable("network_ability", ("competence",), _moved(CHAIN_SLOPE))
_hidden = Variable("hidden", (), np.asarray)
_born = Variable("network_ability", ("hidden",), _moved(CONFOUNDING))

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
            (_competence, _mentored, _promoted_by(_collider_chance)),
            _collider_chance,
        ),
        World(
            "chain",
            "Competence raises network ability, which alone decides on promotion.",
            (
                _competence,
                _schooled,
                _promoted_alike(lambda ability: logistic(2 * ability), "network_ability"),
            ),
            _chain_chance,
        ),
        World(
            "fork",
            "Promotion falls from the sky and raises both abilities.",
            (
                Variable("promoted", (), lambda noise: noise < 1 / 2),
                Variable("network_ability", ("promoted",), _shifted),
                Variable("competence", ("promoted",), _shifted),
            ),
            _fork_chance,
        ),
        World(
            "confounded",
            "A hidden gift makes networkers and gets people promoted; competence helps too.",
            (
                _hidden,
                _born,
                _competence,
                _promoted_alike(_confounded_policy, "hidden", "competence"),
            ),
            _confounded_chance,
        ),
        World(
            "drift",
            "Competence decides on promotion at first; from employee 50,000 on, network ability.",
            (_network_ability, _competence, _promoted_by(_drift_chance)),
            _drift_chance,
        ),
        World(
            "interaction",
            "Promoted when both abilities are high, or both low: each alone decides nothing.",
            (_network_ability, _competence, _promoted_by(_interaction_chance)),
            _interaction_chance,
        ),
    )
}
