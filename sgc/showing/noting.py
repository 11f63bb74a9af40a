"""Notes on q: each independence that it claims and the posterior lacks, in words, and the edges that would mend it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import networkx as nx

from sgc.derivation.inversion import LeftOut, active_trail, dependence, left_out
from sgc.language.outline import Outline
from sgc.showing.plates import Plated, plated
from sgc.showing.ranges import where

Words = Callable[[str], str]  # what a node is called
EXPLAINED = 3  # of so many missing parents each is explained, of more the first; all are named


def notes(outline: Outline) -> list[str]:
    """Write a line for each node whose recognition parents leave out what its posterior depends on.

    None where q alone is trained (`bound: supervised`): it is then no approximation of p's posterior. Of a node of a
    repeat, what holds at several of its steps stands once; what another step is to them is earlier or later.
    """
    if outline.objective.bound == "supervised":
        return []
    graph, view = dependence(outline.graphs), plated(outline)
    found: dict[str, dict[tuple[str, ...], list[LeftOut]]] = {}  # by name in the file and what it lacks there
    for missing in left_out(outline.graphs):
        lacking = tuple(dict.fromkeys(map(_words(view, missing), missing.parents)))
        found.setdefault(view.names.of(missing.node), {}).setdefault(lacking, []).append(missing)
    return [line for name, each in found.items() for line in _at_steps(view, graph, name, list(each.values()))]


def _at_steps(view: Plated, graph: nx.DiGraph[str], name: str, kinds: Sequence[Sequence[LeftOut]]) -> Iterator[str]:
    """Write the notes on a node, with their steps where different ones lack different things."""
    plates, index = view.names.plates(name), view.names.index
    common = sorted(kinds, key=len, reverse=True)
    for each in common[:EXPLAINED]:
        reads = dict.fromkeys(_words(view, missing)(flat) for missing in each for flat in missing.reads)
        given = f"given {_and(reads)}, " if reads else ""
        at = f"at {where(plates, (index(missing.node) for missing in each))}: " if len(kinds) > 1 else ""
        yield f"{at}{given}{_note(view, graph, each[0])}"
    more = [index(missing.node) for each in common[EXPLAINED:] for missing in each]
    if more:
        yield f"at {where(plates, more)}: q({name}) leaves out still others"


def _words(view: Plated, missing: LeftOut) -> Words:
    """Give the words for what stands around the node that lacks something."""
    return lambda flat: view.names.placed(missing.node, flat)


def _note(view: Plated, graph: nx.DiGraph[str], missing: LeftOut) -> str:
    words = _words(view, missing)
    node = words(missing.node)
    first = {words(each): each for each in reversed(missing.parents)}
    parents = [first[word] for word in dict.fromkeys(map(words, missing.parents))]  # of several steps the first
    lacking = [words(each) for each in parents]
    counts = view.names.unrolled.exists
    counted = [p for p in parents if any(missing.node == count for count, _ in counts.get(p, ()))]
    mends = [_read_count(view, missing, counted)] if counted else []
    mends += (
        [_mend(node, [words(each) for each in parents if each not in counted])] if len(counted) < len(parents) else []
    )
    mend = ", and ".join(mends)
    if len(parents) == 1:
        return f"q makes {lacking[0]} and {node} independent, but {_why(graph, missing, parents, words)}: {mend}"
    few = len(parents) <= EXPLAINED
    why = ("" if few else "for one, ") + _why(graph, missing, parents if few else parents[:1], words)
    return f"q makes {node} independent of {_and(lacking)}, but {why}: {mend}"


def _read_count(view: Plated, missing: LeftOut, counted: Sequence[str]) -> str:
    """Say what mends a count that lacks what it counts: that is there by the count and has to be read after it."""
    words = _words(view, missing)
    able = [f"q({words(each)})" for each in counted if each in view.flat.recognition]
    if able:
        return f"let {_and(able)} read {words(missing.node)}"
    return f"q({words(missing.node)}) cannot read what is there by its count"


def _mend(node: str, lacking: Sequence[str]) -> str:
    """Say how q could read what it lacks: another step's value comes by `prev` or by a carry."""
    own, steps = [word for word in lacking if " " not in word], [word for word in lacking if " " in word]
    mends = [f"add {_and(own)} to the recognition parents of {node}"] if own else []
    if steps:
        ways = ["prev or a carry"] if any(word.startswith("earlier") for word in steps) else []
        ways += ["a backward carry"] if any(word.startswith("later") for word in steps) else []
        mends.append(f"let q({node}) read {_and(steps)}, by {' and '.join(ways)}")
    return ", and ".join(mends)


def _why(graph: nx.DiGraph[str], missing: LeftOut, parents: Sequence[str], words: Words) -> str:
    """Say what joins a node and parents that it lacks, by the shortest trail to each through p."""
    both = {missing.node, *parents} if len(set(map(words, missing.parents))) == 1 else None
    facts: dict[tuple[str, str], list[str]] = {}  # what depends, and through what, on which
    others: list[str] = []
    for parent in parents:
        trail = active_trail(graph, missing.node, parent, missing.given(parent))
        down = [graph.has_edge(a, b) for a, b in itertools.pairwise(trail)]
        inner = trail[1:-1]
        if all(down) or not any(down):
            first, last = (missing.node, parent) if all(down) else (parent, missing.node)
            through = f" through {_and(map(words, inner if all(down) else inner[::-1]))}" if inner else ""
            facts.setdefault((last, through), []).append(first)
        elif len(inner) == 1 and down[0]:
            met = _first_below(graph, inner[0], missing.given(parent))
            facts.setdefault((met, ""), []).extend((missing.node, parent))
        elif len(inner) == 1:
            pair = "both" if both else f"{words(missing.node)} and {words(parent)}"
            others.append(f"{pair} depend on {words(inner[0])}")
        else:
            steps = [f"{'->' if along else '<-'} {words(name)}" for along, name in zip(down, trail[1:], strict=True)]
            others.append(f"p joins them: {words(missing.node)} {' '.join(steps)}")
    said = [
        f"{words(what)} depends on {'both' if set(on) == both else _and(dict.fromkeys(map(words, on)))}{through}"
        for (what, through), on in facts.items()
    ]
    return ", and ".join([*said, *others])


def _first_below(graph: nx.DiGraph[str], name: str, given: Iterable[str]) -> str:
    """Name what is given of what lies below a variable, itself first, then the nearest."""
    known = set(given)
    return name if name in known else next(below for _, below in nx.bfs_edges(graph, name) if below in known)


def _and(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
