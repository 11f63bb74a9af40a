"""Notes on q: each independence that it claims and the posterior lacks, in words, and the edges that would mend it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import networkx as nx

from sgc.derivation.inversion import LeftOut, active_trail, dependence, left_out
from sgc.language.outline import Outline

EXPLAINED = 3  # of so many missing parents each is explained, of more the first; all are named


def notes(outline: Outline) -> list[str]:
    """Write a line for each node whose recognition parents leave out what its posterior depends on.

    None where q alone is trained (`bound: supervised`): it is then no approximation of p's posterior.
    """
    if outline.objective.bound == "supervised":
        return []
    graph = dependence(outline.graphs)
    return [_note(graph, missing) for missing in left_out(outline.graphs)]


def _note(graph: nx.DiGraph[str], missing: LeftOut) -> str:
    node, parents = missing.node, missing.parents
    given = f"given {_and(missing.reads)}, " if missing.reads else ""
    mend = f"add {_and(parents)} to the recognition parents of {node}"
    if len(parents) == 1:
        return f"{given}q makes {parents[0]} and {node} independent, but {_why(graph, missing, parents)}: {mend}"
    few = len(parents) <= EXPLAINED
    why = ("" if few else "for one, ") + _why(graph, missing, parents if few else parents[:1])
    return f"{given}q makes {node} independent of {_and(parents)}, but {why}: {mend}"


def _why(graph: nx.DiGraph[str], missing: LeftOut, parents: Sequence[str]) -> str:
    """Say what joins a node and parents that it lacks, by the shortest trail to each through p."""
    facts: dict[tuple[str, str], list[str]] = {}  # what depends, and through what, on which
    others: list[str] = []
    for parent in parents:
        trail = active_trail(graph, missing.node, parent, missing.given(parent))
        down = [graph.has_edge(a, b) for a, b in itertools.pairwise(trail)]
        inner = trail[1:-1]
        if all(down) or not any(down):
            first, last = (missing.node, parent) if all(down) else (parent, missing.node)
            through = f" through {_and(inner if all(down) else inner[::-1])}" if inner else ""
            facts.setdefault((last, through), []).append(first)
        elif len(inner) == 1 and down[0]:
            met = _first_below(graph, inner[0], missing.given(parent))
            facts.setdefault((met, ""), []).extend((missing.node, parent))
        elif len(inner) == 1:
            pair = "both" if len(missing.parents) == 1 else f"{missing.node} and {parent}"
            others.append(f"{pair} depend on {inner[0]}")
        else:
            steps = [f"{'->' if along else '<-'} {name}" for along, name in zip(down, trail[1:], strict=True)]
            others.append(f"p joins them: {missing.node} {' '.join(steps)}")
    both = {missing.node, *missing.parents} if len(missing.parents) == 1 else None
    said = [
        f"{what} depends on {'both' if set(on) == both else _and(dict.fromkeys(on))}{through}"
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
