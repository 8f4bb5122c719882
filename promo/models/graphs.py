"""The 25 causal diagrams of three variables, and the 11 classes that data can tell apart.

A diagram is acyclic and has no hidden variables. Two diagrams imply the same independencies, so
that no data of this kind can tell them apart, exactly if they connect the same pairs and have the
same colliders between unconnected causes (Verma and Pearl 1990).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise, product

VARIABLES = ("network_ability", "competence", "promoted")

Arrow = tuple[str, str]  # (cause, effect)
Graph = frozenset[Arrow]


@dataclass(frozen=True, slots=True)
class Story:
    """Diagrams that the data cannot tell apart; its name has an arrow where they all agree."""

    name: str
    graphs: tuple[Graph, ...]


@dataclass(frozen=True, slots=True, order=True)
class Independence:
    """That two variables are independent, given the third or given nothing."""

    one: str
    other: str
    given: tuple[str, ...] = ()

    def __str__(self) -> str:
        given = f" | {', '.join(self.given)}" if self.given else ""
        return f"{self.one} _||_ {self.other}{given}"


PAIRS = tuple(combinations(VARIABLES, 2))
INDEPENDENCIES = tuple(
    Independence(one, other, given)
    for one, other in PAIRS
    for given in ((), tuple(v for v in VARIABLES if v not in (one, other)))
)


def parents(graph: Graph, variable: str) -> tuple[str, ...]:
    """Return the causes of a variable, in the order of `VARIABLES`."""
    return tuple(v for v in VARIABLES if (v, variable) in graph)


def check_acyclic(arrows: Iterable[Arrow]) -> Graph:
    """Return arrows as a diagram.

    Raises
    ------
    ValueError
        They lead in a circle, or to what is no variable; the message says where.

    Examples
    --------
    >>> check_acyclic([("competence", "promoted"), ("promoted", "competence")])
    Traceback (most recent call last):
    ...
    ValueError: competence -> promoted -> competence leads in a circle: nothing causes itself
    """
    graph = frozenset(arrows)
    if unknown := sorted({v for arrow in graph for v in arrow} - {*VARIABLES}):
        raise ValueError(f"{unknown[0]} is none of {', '.join(VARIABLES)}")
    if circle := _circle(graph):
        raise ValueError(f"{' -> '.join(circle)} leads in a circle: nothing causes itself")
    return graph


def _circle(graph: Graph) -> tuple[str, ...]:
    routes = [*combinations(VARIABLES, 1), *PAIRS, VARIABLES, VARIABLES[::-1]]
    for route in routes:
        around = (*route, route[0])
        if graph.issuperset(pairwise(around)):
            return around
    return ()


def all_graphs() -> tuple[Graph, ...]:
    """Return every diagram, 25 in number, the one without arrows first."""
    choices = [((), (pair,), (pair[::-1],)) for pair in PAIRS]
    together = (
        frozenset(arrow for choice in each for arrow in choice) for each in product(*choices)
    )
    return tuple(sorted((g for g in together if not _circle(g)), key=lambda g: (len(g), sorted(g))))


@cache
def stories() -> tuple[Story, ...]:
    """Return the classes, 11 in number: by arrows, the collider at promoted first of its kind.

    Examples
    --------
    >>> for story in stories():
    ...     print(story.name, len(story.graphs))
    all independent 1
    network_ability - competence 2
    network_ability - promoted 2
    competence - promoted 2
    network_ability -> promoted <- competence 1
    network_ability - promoted - competence 3
    network_ability -> competence <- promoted 1
    network_ability - competence - promoted 3
    competence -> network_ability <- promoted 1
    competence - network_ability - promoted 3
    all connected 6
    """
    classes: dict[tuple[object, ...], list[Graph]] = {}
    for graph in all_graphs():
        classes.setdefault((*_skeleton(graph), _collider(graph)), []).append(graph)
    found = [Story(_name(graphs[0]), tuple(graphs)) for graphs in classes.values()]
    return tuple(sorted(found, key=_place))


def story_of(graph: Graph) -> Story:
    """Return the class of a diagram."""
    return next(story for story in stories() if graph in story.graphs)


@cache
def implied(graph: Graph) -> tuple[Independence, ...]:
    """Return the independencies that a diagram implies, by d-separation, of `INDEPENDENCIES`.

    References
    ----------
    Pearl (2009). Causality, 2nd ed., definition 1.2.3.

    Examples
    --------
    >>> collider = frozenset({("network_ability", "promoted"), ("competence", "promoted")})
    >>> [str(each) for each in implied(collider)]
    ['network_ability _||_ competence']
    """
    import networkx as nx  # a fifth of a second, which a run without a question need not spend

    diagram = nx.DiGraph()
    diagram.add_nodes_from(VARIABLES)
    diagram.add_edges_from(graph)
    return tuple(
        each
        for each in INDEPENDENCIES
        if nx.is_d_separator(diagram, {each.one}, {each.other}, set(each.given))
    )


def _skeleton(graph: Graph) -> list[int]:
    """Return which of `PAIRS` are connected."""
    return [at for at, pair in enumerate(PAIRS) if graph & {pair, pair[::-1]}]


def _middle(graph: Graph) -> str | None:
    """Return the variable with two neighbours that are not connected, if there is one."""
    touched = (v for v in VARIABLES if sum(v in arrow for arrow in graph) == 2)
    return next(touched) if len(graph) == 2 else None


def _collider(graph: Graph) -> str | None:
    """Return the common effect of two causes that are not connected, if there is one."""
    middle = _middle(graph)
    return middle if middle and len(parents(graph, middle)) == 2 else None


def _name(graph: Graph) -> str:
    if len(graph) in (0, 3):
        return "all connected" if graph else "all independent"
    middle = _middle(graph)
    if middle is None:
        return " - ".join(PAIRS[_skeleton(graph)[0]])
    one, other = (v for v in VARIABLES if v != middle)
    left, right = ("->", "<-") if _collider(graph) else ("-", "-")
    return f"{one} {left} {middle} {right} {other}"


def _place(story: Story) -> tuple[object, ...]:
    graph = story.graphs[0]
    middle = _middle(graph)
    late = -VARIABLES.index(middle) if middle else 0
    return len(graph), late, len(story.graphs), _skeleton(graph)
