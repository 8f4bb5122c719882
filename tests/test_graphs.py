"""Tests of `promo.models.graphs`: the diagrams, their classes, and what they imply."""

from itertools import combinations, pairwise, permutations, product

import networkx as nx
import numpy as np
import pytest

from promo.models.graphs import (
    INDEPENDENCIES,
    PAIRS,
    VARIABLES,
    all_graphs,
    check_acyclic,
    implied,
    parents,
    stories,
    story_of,
)

N, C, P = VARIABLES
every_graph = pytest.mark.parametrize("graph", all_graphs(), ids=lambda graph: str(sorted(graph)))


def descendants(graph, variable):
    """Return a variable and all that it causes, by following arrows."""
    found = {variable}
    while more := {effect for cause, effect in graph if cause in found} - found:
        found |= more
    return found


def separated(graph, one, other, given):
    """Whether every path between two variables is blocked: Pearl's definition, path by path."""
    between = [v for v in VARIABLES if v not in (one, other)]
    for k in range(len(between) + 1):
        for middle in permutations(between, k):
            path = (one, *middle, other)
            steps = list(pairwise(path))
            if not all(graph & {(a, b), (b, a)} for a, b in steps):
                continue
            if not any(
                not descendants(graph, v) & {*given} if {(a, v), (b, v)} <= graph else v in given
                for a, v, b in zip(path, path[1:], path[2:], strict=False)
            ):
                return False
    return True


def test_all_diagrams_are_there():
    """Of the 64 sets of arrows among three variables, the 25 that are acyclic, each once."""
    arrows = list(permutations(VARIABLES, 2))
    sets = (frozenset(s) for k in range(7) for s in combinations(arrows, k))
    acyclic = {s for s in sets if nx.is_directed_acyclic_graph(nx.DiGraph(list(s)))}
    assert len(acyclic) == len(all_graphs()) == 25
    assert {*all_graphs()} == acyclic
    assert all_graphs()[0] == frozenset()


def test_classes_are_what_data_can_tell():
    """The 11 classes are the sets of diagrams with the same independencies, by networkx."""
    by_implications = {}
    for graph in all_graphs():
        by_implications.setdefault(implied(graph), set()).add(graph)
    assert len(stories()) == len(by_implications) == 11
    assert {frozenset(story.graphs) for story in stories()} == {
        frozenset(same) for same in by_implications.values()
    }


def test_stories_have_names_of_their_own():
    """No two have the same name; an arrow stands where all diagrams have it, a line elsewhere."""
    assert len({story.name for story in stories()}) == 11
    for story in stories():
        words = story.name.split(" ")
        for left, link, right in zip(words[::2], words[1::2], words[2::2], strict=False):
            if link in ("->", "<-"):
                arrow = (left, right) if link == "->" else (right, left)
                assert all(arrow in graph for graph in story.graphs)
            elif link == "-":
                assert len({graph & {(left, right), (right, left)} for graph in story.graphs}) == 2


@every_graph
def test_every_diagram_has_its_story(graph):
    """A diagram belongs to exactly one class."""
    assert [story for story in stories() if graph in story.graphs] == [story_of(graph)]


@every_graph
def test_implications_are_those_of_paths(graph):
    """D-separation is what Pearl's definition gives when every path is walked."""
    expected = [
        each for each in INDEPENDENCIES if separated(graph, each.one, each.other, each.given)
    ]
    assert list(implied(graph)) == expected


@every_graph
def test_implications_are_zeros_of_linear_models(graph):
    """In a linear model of any weights, the partial correlations that are zero are the implied."""
    random = np.random.default_rng(1)
    at = {v: i for i, v in enumerate(VARIABLES)}
    weights = np.zeros((3, 3))
    for cause, effect in graph:
        weights[at[effect], at[cause]] = random.uniform(0.5, 1)
    mixing = np.linalg.inv(np.eye(3) - weights)
    covariance = mixing @ np.diag(random.uniform(0.5, 2, size=3)) @ mixing.T
    for each in INDEPENDENCIES:
        kept = [at[v] for v in (each.one, each.other, *each.given)]
        precision = np.linalg.inv(covariance[np.ix_(kept, kept)])
        assert (abs(precision[0, 1]) < 1e-12) == (each in implied(graph)), each


def test_independencies_are_all_there_are():
    """Each pair, given nothing and given the third, in words."""
    assert len(INDEPENDENCIES) == len({*INDEPENDENCIES}) == 6
    assert {(each.one, each.other) for each in INDEPENDENCIES} == {*PAIRS}
    assert str(INDEPENDENCIES[0]) == f"{N} _||_ {C}"
    assert str(INDEPENDENCIES[1]) == f"{N} _||_ {C} | {P}"


@every_graph
def test_parents_are_causes(graph):
    """The parents of all variables are all arrows."""
    assert {(cause, v) for v in VARIABLES for cause in parents(graph, v)} == graph
    assert check_acyclic(graph) == graph


def test_circles_are_refused_in_words():
    """Any arrows that lead in a circle raise ValueError, and the message walks along it."""
    arrows = list(product(VARIABLES, repeat=2))
    for k in range(1, 5):
        for some in combinations(arrows, k):
            if nx.is_directed_acyclic_graph(nx.DiGraph(some)):
                assert check_acyclic(some) == frozenset(some)
                continue
            with pytest.raises(ValueError, match="leads in a circle") as error:
                check_acyclic(some)
            around = str(error.value).split(" leads")[0].split(" -> ")
            assert around[0] == around[-1]
            assert {*pairwise(around)} <= {*some}


def test_unknown_variables_are_refused():
    """An arrow to what is no variable raises ValueError with its name."""
    with pytest.raises(ValueError, match="luck"):
        check_acyclic([("luck", P)])
