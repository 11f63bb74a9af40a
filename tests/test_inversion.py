"""Faithful inversion against two oracles of independence: every trail of small graphs, and linear-Gaussian regression.

The evidence is tied all to all before q is judged: q says nothing of it, so it may claim nothing of it.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest

from sgc.derivation import inversion
from sgc.derivation.dependence import Dependence
from sgc.derivation.graph import GraphNode, Graphs
from sgc.derivation.inversion import LargeInverse, left_out

Parents = Mapping[str, frozenset[str]]
Statement = tuple[str, str, frozenset[str]]


def invert(graphs: Graphs) -> dict[str, tuple[str, ...]]:
    return inversion.invert(graphs, most=1000)


# ---- oracles


class Trails:
    """Every trail between every two nodes of a small graph: what blocks it, and what opens it (Pearl 1988)."""

    def __init__(self, parents: Parents) -> None:
        self.parents = parents
        self.names = sorted(parents)
        self.bit = {name: 1 << i for i, name in enumerate(self.names)}
        self.below = {name: self.mask(self.descendants(name)) for name in self.names}
        self.found = {pair: list(self.between(*pair)) for pair in itertools.combinations(self.names, 2)}

    def mask(self, names: Iterable[str]) -> int:
        return sum(self.bit[name] for name in set(names))

    def descendants(self, name: str) -> set[str]:
        children = {child for child, above in self.parents.items() if name in above}
        return {name}.union(*(self.descendants(child) for child in children))

    def between(self, start: str, end: str) -> Iterator[tuple[int, list[int]]]:
        """Give, for each trail, the nodes that block it where they are given, and of each collider what opens it."""
        near = {a: [b for b in self.names if b in self.parents[a] or a in self.parents[b]] for a in self.names}
        paths = [[start]]
        while paths:
            path = paths.pop()
            if path[-1] == end:
                yield self.judged(path)
            else:
                paths += [[*path, step] for step in near[path[-1]] if step not in path]

    def judged(self, path: list[str]) -> tuple[int, list[int]]:
        inner = list(zip(path, path[1:], path[2:], strict=False))
        met = [here for before, here, after in inner if {before, after} <= self.parents[here]]
        return self.mask(here for _, here, _ in inner if here not in met), [self.below[name] for name in met]

    def separated(self, a: str, b: str, given: Iterable[str]) -> bool:
        known = self.mask(given)
        trails = self.found[(a, b) if a < b else (b, a)]
        return not any(not blocks & known and all(opens & known for opens in met) for blocks, met in trails)


def false_claims(q: Trails, p: Trails) -> Iterator[Statement]:
    """Give every independence of two nodes given others that q has and p lacks."""
    for a, b in itertools.combinations(q.names, 2):
        others = [name for name in q.names if name not in (a, b)]
        for size in range(len(others) + 1):
            for given in itertools.combinations(others, size):
                if q.separated(a, b, given) and not p.separated(a, b, given):
                    yield a, b, frozenset(given)


def regression(parents: Parents, rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Draw a linear-Gaussian model of a graph: its names, in the order of the matrix, and its covariance."""
    names = sorted(parents)
    weights = np.zeros((len(names), len(names)))
    for i, name in enumerate(names):
        for parent in parents[name]:
            weights[i, names.index(parent)] = rng.choice([-1, 1]) * rng.uniform(0.5, 1.5)
    mix = np.linalg.inv(np.eye(len(names)) - weights)
    return names, mix @ np.diag(rng.uniform(0.5, 1.5, len(names))) @ mix.T


def readers(names: list[str], covariance: np.ndarray, name: str, known: list[str]) -> set[str]:
    """Name the known variables whose coefficient in the regression of one on all of them is not zero."""
    at, given = names.index(name), [names.index(each) for each in known]
    coefficients = np.linalg.solve(covariance[np.ix_(given, given)], covariance[given, at])
    return {each for each, value in zip(known, coefficients, strict=True) if abs(value) > 1e-9}


# ---- random models


def seen_through(names: Iterable[str], features: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    return frozenset().union(*(seen_through(features[n], features) if n in features else {n} for n in names))


def random_graphs(rng: random.Random, most: int) -> Graphs:
    """Draw p and a written q over 2 to `most` variables and inputs, with statuses and features, thin and dense."""
    names = [f"v{i}" for i in range(rng.randint(2, most))]
    rng.shuffle(names)
    inputs = tuple(names.pop() for _ in range(rng.randint(0, 1) if len(names) > 2 else 0))
    statuses = {name: rng.choice(["full", "partial", "none", "none"]) for name in names}
    features: dict[str, tuple[str, ...]] = {}
    for i in range(rng.randint(0, 2)):
        pool = [*names, *inputs, *features]
        features[f"h{i}"] = tuple(rng.sample(pool, rng.randint(1, min(2, len(pool)))))

    def draw(order: list[str], density: float) -> dict[str, tuple[str, ...]]:
        found = {}
        for i, name in enumerate(order):
            before = {*order[:i], *inputs}
            allowed = [*order[:i], *inputs, *(h for h in features if seen_through([h], features) <= before)]
            found[name] = tuple(each for each in allowed if rng.random() < density)
        return found

    p = draw(rng.sample(names, len(names)), rng.choice([0.2, 0.4, 0.7]))
    q = draw(rng.sample(names, len(names)), rng.choice([0.2, 0.5, 0.9]))
    nodes = {
        name: GraphNode(name, statuses[name], p[name], None if statuses[name] == "full" else q[name])  # type: ignore[arg-type]
        for name in names
    }
    return Graphs(nodes, features, inputs)


def generative(graphs: Graphs) -> Parents:
    """Give p over variables and inputs."""
    found = {name: seen_through(node.generative, graphs.features) for name, node in graphs.nodes.items()}
    return {**found, **{name: frozenset[str]() for name in graphs.inputs}}


def recognition(graphs: Graphs, parents: Mapping[str, Iterable[str]]) -> Parents:
    """Give q over variables and inputs, the evidence tied all to all."""
    evidence = [name for name in [*graphs.nodes, *graphs.inputs] if name not in parents]
    tied = {name: frozenset(evidence[:i]) for i, name in enumerate(evidence)}
    return {**tied, **{name: seen_through(each, graphs.features) for name, each in parents.items()}}


def written(graphs: Graphs) -> dict[str, tuple[str, ...]]:
    return {name: node.recognition for name, node in graphs.nodes.items() if node.recognition is not None}


# ---- laws of the inverse


def test_the_inverse_claims_no_independence_that_p_lacks_and_no_edge_can_be_dropped() -> None:
    """1500 graphs of up to 5 variables: every pair given every set of others, by every trail."""
    rng = random.Random(0)
    edges = 0
    for _ in range(1500):
        graphs = random_graphs(rng, 5)
        p, parents = Trails(generative(graphs)), invert(graphs)
        assert list(false_claims(Trails(recognition(graphs, parents)), p)) == [], graphs
        known = [name for name in p.names if name not in parents]
        for name, reads in parents.items():
            for parent in reads:
                fewer = {**parents, name: tuple(each for each in reads if each != parent)}
                claim = (name, parent, [each for each in known if each != parent])
                assert Trails(recognition(graphs, fewer)).separated(*claim), graphs
                assert not p.separated(*claim), graphs
                edges += 1
            known.append(name)
    assert edges > 2000


def test_the_inverse_reads_what_a_regression_on_all_that_is_known_reads() -> None:
    """2000 linear-Gaussian models of up to 9 variables: other coefficients are 0, and none of the parents' is."""
    rng, draws = random.Random(1), np.random.default_rng(1)
    for _ in range(2000):
        graphs = random_graphs(rng, 9)
        names, covariance = regression(generative(graphs), draws)
        parents = invert(graphs)
        known = [name for name in names if name not in parents]
        for name, reads in parents.items():
            assert set(reads) == readers(names, covariance, name, known), graphs
            known.append(name)


def test_the_order_of_the_file_is_nothing() -> None:
    rng = random.Random(2)
    for _ in range(300):
        graphs = random_graphs(rng, 7)
        names = rng.sample(list(graphs.nodes), len(graphs.nodes))
        flipped = {name: replace(graphs.nodes[name], generative=graphs.nodes[name].generative[::-1]) for name in names}
        assert invert(replace(graphs, nodes=flipped)) == invert(graphs)
        assert list(invert(replace(graphs, nodes=flipped))) == list(invert(graphs))


def test_labelled_nodes_are_proposed_first() -> None:
    rng = random.Random(3)
    for _ in range(300):
        graphs = random_graphs(rng, 7)
        proposed = [graphs.nodes[name].supervision for name in invert(graphs)]
        assert proposed == sorted(proposed, key=["partial", "none"].index)


def nami(parents: Parents, latents: set[str], *, forward: bool) -> dict[str, set[str]]:
    """Invert by Algorithm 1 of Webb et al. 2018, line by line, on adjacency sets; ties by name."""
    joined: dict[str, set[str]] = {name: set() for name in parents}
    for name, above in parents.items():
        for a, b in itertools.permutations([name, *above], 2):
            joined[a].add(b)
    children = {name: {child for child, above in parents.items() if name in above} for name in parents}
    upstream, downstream = (parents, children) if forward else (children, parents)
    unmarked, inverse = set(parents), {}
    front = {name for name in latents if not latents & upstream[name]}

    def added(name: str) -> set[frozenset[str]]:
        around = joined[name] & unmarked
        pairs = {frozenset(pair) for pair in itertools.combinations(around, 2) if pair[1] not in joined[pair[0]]}
        return {pair for pair in pairs if pair & latents}  # an edge within the evidence is no cost

    while front:
        name = min(front, key=lambda each: (len(added(each)), each))
        inverse[name] = joined[name] & unmarked
        for a, b in itertools.permutations(inverse[name], 2):
            joined[a].add(b)
        unmarked.remove(name)
        front.remove(name)
        front |= {each for each in downstream[name] & latents & unmarked if not latents & unmarked & upstream[each]}
    return inverse


def test_it_is_nami_where_every_latent_has_something_observed_below() -> None:
    """There Algorithm 1 as published is minimal; 1000 graphs without labels, the evidence without children."""
    rng = random.Random(4)
    seen = 0
    while seen < 1000:
        names = [f"v{i}" for i in range(rng.randint(3, 9))]
        latents = set(names[: rng.randint(2, len(names) - 1)])
        density = rng.choice([0.2, 0.4, 0.6])
        parents = {
            name: frozenset(other for other in names[:i] if other in latents and rng.random() < density)
            for i, name in enumerate(names)
        }
        if any(not Trails.descendants(_Bare(parents), name) - latents for name in latents):
            continue
        seen += 1
        nodes = {
            name: GraphNode(name, "none" if name in latents else "full", tuple(sorted(parents[name])), ())
            for name in names
        }
        nodes = {n: v if n in latents else replace(v, recognition=None) for n, v in nodes.items()}
        ways = [nami(parents, latents, forward=forward) for forward in (True, False)]
        fewest = min(ways, key=lambda inverse: sum(map(len, inverse.values())))
        assert {name: set(reads) for name, reads in invert(Graphs(nodes, {})).items()} == fewest


class _Bare(Trails):
    """A graph alone, its trails not looked for."""

    def __init__(self, parents: Parents) -> None:
        self.parents = parents


class PlainInverse:
    """The same rules word for word: each cost counted anew at each step, each boundary looked for on its own."""

    def __init__(self, graphs: Graphs) -> None:
        self.parents = generative(graphs)
        self.children = {n: {child for child, above in self.parents.items() if n in above} for n in self.parents}
        self.status = {n: node.supervision for n, node in graphs.nodes.items() if node.recognition is not None}
        self.evidence = sorted(set(graphs.nodes) - set(self.status)) + sorted(graphs.inputs)

    def joined(self, names: Iterable[str]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {name: set() for name in names}
        for name in found:
            for a, b in itertools.permutations([name, *self.parents[name]], 2):
                found[a].add(b)
        return found

    def order(self, *, forward: bool) -> list[str]:
        joined, order = self.joined(self.parents), list[str]()
        for status in ("none", "partial"):
            left = {name for name in self.status if self.status[name] == status}
            while left:
                ready = [name for name in left if not left & set((self.parents if forward else self.children)[name])]
                name = min(ready, key=lambda each: (len(self.added(joined, each)), each))
                for a, b in self.added(joined, name):
                    joined[a].add(b)
                    joined[b].add(a)
                for other in joined.pop(name):
                    joined[other].remove(name)
                left.remove(name)
                order.append(name)
        return order

    def added(self, joined: Mapping[str, set[str]], name: str) -> list[tuple[str, str]]:
        pairs = itertools.combinations(sorted(joined[name]), 2)
        return [(a, b) for a, b in pairs if b not in joined[a] and not {a, b} <= set(self.evidence)]

    def boundary(self, name: str, known: list[str]) -> list[str]:
        above = {name, *known}
        while more := set().union(*(self.parents[each] for each in above)) - above:
            above |= more
        joined, found, inside = self.joined(above), set[str](), {name}
        while more := set().union(*(joined[each] for each in inside)) - inside - found:
            found |= more & set(known)
            inside |= more - found
        return [each for each in known if each in found]

    def inverse(self) -> dict[str, tuple[str, ...]]:
        ways = []
        for forward in (True, False):
            parents, known = dict[str, tuple[str, ...]](), list(self.evidence)
            for name in reversed(self.order(forward=forward)):
                parents[name] = tuple(self.boundary(name, known))
                known.append(name)
            ways.append(parents)
        return min(ways, key=lambda parents: sum(map(len, parents.values())))


def shaped(shape: str, count: int) -> Graphs:
    """Write a model of a shape that has a name, of about so many latents."""
    side = math.isqrt(count)
    nodes: dict[str, str] = {}
    if shape == "leaves":
        nodes = {"z": "none", **{f"x{i}": "full | z" for i in range(count)}}
    elif shape == "a hub of latents":
        nodes = {"z": "none", **{f"a{i}": "none | z" for i in range(count)}}
        nodes |= {f"x{i}": f"full | a{i}" for i in range(count)}
    elif shape == "a hub with one leaf seen":
        nodes = {"z": "none", **{f"a{i}": "none | z" for i in range(count)}, "x": "full | z"}
    elif shape == "parents of one":
        nodes = {**{f"z{i}": "none" for i in range(count)}, "x": f"full | {' '.join(f'z{i}' for i in range(count))}"}
    elif shape == "a chain seen at its end":
        nodes = {f"z{i}": f"none | z{i - 1}" if i else "none" for i in range(count)} | {"x": f"full | z{count - 1}"}
    elif shape == "a chain seen at its start":
        nodes = {f"z{i}": f"none | z{i - 1}" if i else "none" for i in range(count)} | {"x": "full | z0"}
    elif shape == "a hidden chain":
        nodes = {f"z{i}": f"none | z{i - 1}" if i else "none" for i in range(count)}
        nodes |= {f"x{i}": f"full | z{i}" for i in range(count)}
    elif shape == "a tree":
        nodes = {f"z{i}": f"none | z{(i - 1) // 2}" if i else "none" for i in range(count)}
        nodes |= {f"x{i}": f"full | z{i}" for i in range(count // 2, count)}
    elif shape == "a grid":
        for i, j in itertools.product(range(side), range(side)):
            above = [f"g{i - 1}-{j}"] * (i > 0) + [f"g{i}-{j - 1}"] * (j > 0)
            nodes[f"g{i}-{j}"] = f"none | {' '.join(above)}"
        nodes["x"] = f"full | g{side - 1}-{side - 1}"
    elif shape == "causes and symptoms":
        rng = random.Random(count)
        nodes = {f"d{i}": rng.choice(["none", "partial"]) for i in range(count)}
        nodes |= {f"s{i}": f"full | {' '.join(f'd{j}' for j in rng.sample(range(count), 2))}" for i in range(count)}
    return graphs_of(**nodes)


SHAPES = (
    *("leaves", "a hub of latents", "a hub with one leaf seen", "parents of one", "a chain seen at its end"),
    *("a chain seen at its start", "a hidden chain", "a tree", "a grid", "causes and symptoms"),
)


def test_it_is_what_the_rules_give_word_for_word() -> None:
    """1000 random graphs, thin and dense, and every shape that has a name: the same parents in the same order."""
    rng = random.Random(8)
    every = [random_graphs(rng, rng.choice([5, 9, 14])) for _ in range(1000)]
    for graphs in [*every, *(shaped(shape, count) for shape in SHAPES for count in (4, 9, 16))]:
        wanted, found = PlainInverse(graphs).inverse(), invert(graphs)
        assert list(found.items()) == list(wanted.items()), graphs


@pytest.mark.parametrize("shape", SHAPES)
def test_an_inverse_is_given_up_where_both_ways_have_more_edges_and_only_there(shape: str) -> None:
    graphs = shaped(shape, 16)
    edges = sum(map(len, PlainInverse(graphs).inverse().values()))
    assert sum(map(len, inversion.invert(graphs, most=edges).values())) == edges
    with pytest.raises(LargeInverse):
        inversion.invert(graphs, most=edges - 1)


def graphs_of(**nodes: str) -> Graphs:
    """Write a model in short: `x="full | y z"` with parents in p, `z="none | y : x y"` with those in q besides."""
    found = {}
    for name, text in nodes.items():
        p, _, q = text.partition(":")
        status, _, parents = p.partition("|")
        reads = None if status.strip() == "full" else tuple(q.split())
        found[name] = GraphNode(name, status.strip(), tuple(parents.split()), reads)  # type: ignore[arg-type]
    return Graphs(found, {})


KNOWN = [
    ("a VAE", {"x": "full | z", "z": "none"}, {"z": ("x",)}),
    ("M2", {"x": "full | y z", "y": "partial", "z": "none"}, {"y": ("x",), "z": ("x", "y")}),
    (
        "two layers, from the bottom up",
        {"x": "full | a", "a": "none | b", "b": "none"},
        {"a": ("x",), "b": ("a",)},
    ),
    (
        "a label above, which z still reads",
        {"x": "full | z", "z": "none | y", "y": "partial"},
        {"y": ("x",), "z": ("x", "y")},
    ),
    (
        "a label between, which hides a from x",
        {"x": "full | b", "b": "none | y", "y": "partial | a", "a": "none"},
        {"y": ("x",), "b": ("x", "y"), "a": ("y",)},
    ),
    (
        "a hidden chain, backwards and all it has not seen (forward filtering)",
        {"x1": "full | s1", "x2": "full | s2", "x3": "full | s3", "s1": "none", "s2": "none | s1", "s3": "none | s2"},
        {"s3": ("x1", "x2", "x3"), "s2": ("x1", "x2", "s3"), "s1": ("x1", "s2")},
    ),
    ("a latent with nothing below it", {"x": "full", "c": "none | x b", "b": "none"}, {"b": (), "c": ("x", "b")}),
]


@pytest.mark.parametrize(("nodes", "wanted"), [case[1:] for case in KNOWN], ids=[case[0] for case in KNOWN])
def test_known_inverses(nodes: dict[str, str], wanted: dict[str, tuple[str, ...]]) -> None:
    assert invert(graphs_of(**nodes)) == wanted


# ---- laws of what a written q leaves out


def test_what_is_left_out_is_what_makes_q_false_and_mends_it() -> None:
    """1000 written pairs of graphs: nothing left out iff no false claim, and each edge told is needed."""
    rng = random.Random(5)
    false = 0
    for _ in range(1000):
        graphs = random_graphs(rng, 5)
        p, q = Trails(generative(graphs)), written(graphs)
        missing = {each.node: each.parents for each in left_out(graphs)}
        assert bool(missing) == any(True for _ in false_claims(Trails(recognition(graphs, q)), p)), graphs
        if not missing:
            continue
        false += 1
        mended = {name: (*reads, *missing.get(name, ())) for name, reads in q.items()}
        assert not any(True for _ in false_claims(Trails(recognition(graphs, mended)), p)), graphs
        for name, parents in missing.items():
            for parent in parents:
                fewer = {**mended, name: tuple(each for each in mended[name] if each != parent)}
                assert any(True for _ in false_claims(Trails(recognition(graphs, fewer)), p)), graphs
    assert false > 300


def test_each_claim_that_is_told_is_q_s_and_not_p_s_and_its_trail_is_open() -> None:
    rng = random.Random(6)
    for _ in range(500):
        graphs = random_graphs(rng, 6)
        p, drawn = Trails(generative(graphs)), Dependence(graphs)
        for each in left_out(graphs):
            q = recognition(graphs, written(graphs))
            for parent in each.parents:
                given = drawn.named(each.conditioned_on(parent))
                assert not p.separated(each.node, parent, given)
                # of the parents that it lacks together, q makes the node independent of any given the others
                assert Trails(q).separated(each.node, parent, given), graphs
                trail = drawn.active_trail(each.node, parent, each.conditioned_on(parent))
                assert (trail[0], trail[-1]) == (each.node, parent)
                blocks, met = p.judged(list(trail))
                assert not blocks & p.mask(given)
                assert all(opens & p.mask(given) for opens in met)


def test_a_derived_q_leaves_nothing_out() -> None:
    rng = random.Random(7)
    for _ in range(500):
        graphs = random_graphs(rng, 8)
        parents = invert(graphs)
        nodes = {n: replace(v, recognition=parents.get(n)) for n, v in graphs.nodes.items()}
        assert left_out(replace(graphs, nodes=nodes)) == []


def test_a_mended_label_reads_no_latent_where_it_need_not() -> None:
    graphs = graphs_of(x="full | a y", a="none : x", y="partial : x")
    assert [(each.node, each.sets.named(each.reads), each.parents) for each in left_out(graphs)] == [
        ("a", ["x"], ("y",))
    ]


def chain(count: int) -> Graphs:
    """A hidden Markov model whose q reads what is before, and its own observation only."""
    nodes: dict[str, str] = {}
    for i in range(count):
        before = f"s{i - 1}" if i else ""
        nodes[f"s{i}"] = f"none | {before} : {before} x{i}"
        nodes[f"x{i}"] = f"full | s{i}"
    return graphs_of(**nodes)


def field(count: int) -> Graphs:
    """Latents that one observation depends on, and a q without a word between them."""
    names = [f"z{i}" for i in range(count)]
    return graphs_of(x=f"full | {' '.join(names)}", **dict.fromkeys(names, "none : x"))


@pytest.mark.parametrize("graphs", [chain(50), field(99)], ids=["a chain of 50 steps", "a mean field of 100 nodes"])
def test_large_models_are_judged_at_once(graphs: Graphs) -> None:
    """0.02 s on a quiet machine; a cubic slip would take minutes."""
    start = perf_counter()
    found = left_out(graphs)
    assert perf_counter() - start < 2
    assert len(found) == len(written(graphs)) - 1
