"""Orders, generations and cycles of graphs are those of networkx, on random graphs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import networkx as nx
import pytest

from sgc.derivation.graph import descendants, find_cycles, generations, in_order, layers_of

Parents = dict[str, list[str]]


def graphs(count: int) -> Iterator[tuple[Parents, nx.DiGraph[str]]]:
    """Draw acyclic graphs of one to twelve names, as parents and as networkx holds them; some parents stand twice."""
    for seed in range(count):
        draw = random.Random(seed)
        names = [f"n{i}" for i in range(draw.randint(1, 12))]
        places = draw.sample(range(len(names)), len(names))  # names in another order than the graph's
        share = draw.random()
        parents: Parents = {}
        for i in draw.sample(range(len(names)), len(names)):
            above = [names[places[j]] for j in range(i) if draw.random() < share]
            parents[names[places[i]]] = above + above[: draw.randint(0, 1)]
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(parents)
        graph.add_edges_from((parent, name) for name, above in parents.items() for parent in above)
        yield parents, graph


def thirds_last(name: str) -> tuple[bool, str]:
    return int(name[1:]) % 3 == 0, name


def test_orders_are_those_of_networkx() -> None:
    for parents, graph in graphs(200):
        assert in_order(parents) == list(nx.lexicographical_topological_sort(graph))
        assert in_order(parents, thirds_last) == list(nx.lexicographical_topological_sort(graph, thirds_last))


def test_generations_are_those_of_networkx() -> None:
    for parents, graph in graphs(200):
        layers = generations(parents)
        assert [set(layer) for layer in layers] == [set(layer) for layer in nx.topological_generations(graph)]
        assert all(layer == [name for name in parents if name in layer] for layer in layers)
        edges = [(parent, name) for name, above in parents.items() for parent in above]
        back = [(name, parent) for parent, name in edges]  # each closes a cycle
        assert layers_of(list(parents), edges + back) == layers


def test_descendants_and_cycles_are_those_of_networkx() -> None:
    for parents, graph in graphs(200):
        edges = [(parent, name) for name, above in parents.items() for parent in above]
        assert all(descendants(name, edges) == nx.descendants(graph, name) for name in parents)
        assert find_cycles(edges) == []
        if edges:
            child, parent = edges[0][1], edges[0][0]
            (cycle,) = find_cycles([*edges, (child, parent)])
            assert cycle[0] == cycle[-1]
            assert all(step in {*edges, (child, parent)} for step in pairwise(cycle))


@pytest.mark.parametrize("edges", [[("a", "a")], [("a", "b"), ("b", "a")]])
def test_what_has_a_cycle_has_no_order(edges: list[tuple[str, str]]) -> None:
    parents: Parents = {name: [] for edge in edges for name in edge}
    for parent, child in edges:
        parents[child].append(parent)
    with pytest.raises(ValueError, match="cycle"):  # graphlib.CycleError
        in_order(parents)
