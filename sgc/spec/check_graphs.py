"""The two graphs of a spec: every edge has a known parent, none is given twice, and none closes a cycle.

They are read from the file as written, so that a piece with other faults still has its parents.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from sgc.derivation.graph import Role, descendants, find_cycles
from sgc.errors import Path
from sgc.spec.check_names import Names
from sgc.spec.findings import Findings
from sgc.spec.scopes import named_after_parent
from sgc.spec.unrolled import Unrolled

ROLES: tuple[Role, Role] = ("generative", "recognition")


@dataclass(frozen=True)
class Edge:
    """An entry of a parents list, or a parameter that takes its value from a name."""

    parent: str
    child: str
    roles: tuple[Role, ...]  # a feature is in both graphs
    place: Path
    at: str = "value"  # `key`: it is the name of an expert


def check_graphs(findings: Findings, names: Names) -> None:
    """Find parents that are unknown or given twice, unknown networks, and cycles.

    In p a step depends on the counts that say whether it exists.
    """
    unrolled = names.unrolled
    written = list(written_edges(findings, names))
    edges: list[Edge] = []
    unknown: list[Edge] = []
    earlier: set[tuple[str, Path]] = set()
    for edge in written:
        if edge.parent not in names.section:
            unknown.append(edge)
        elif (edge.parent, edge.place[:-1]) in earlier and edge.place[-2] == "parents":
            findings.add(edge.place, f"duplicate parent {names.word(edge.parent)}")
        elif names.section[edge.parent] and names.section[edge.child]:
            edges.append(edge)
        earlier.add((edge.parent, edge.place[:-1]))
    for edge in unknown:
        if names.surely(edge.parent):
            message = f"no node, feature or input named {names.word(edge.parent)}"
            hint = findings.suggest(edge.parent, partial(_valid, edge, edges, names))
            if edge.at == "key":
                hint = named_after_parent(hint)
            findings.add(edge.place, message, hint, at=edge.at)
    _check_networks(findings)
    edges += [
        Edge(count, name, ("generative",), ("nodes", name))
        for name, counts in unrolled.exists.items()
        for count, _ in counts
        if names.section.get(name) and names.section.get(count)
    ]
    reported: set[frozenset[Path]] = set()
    shown = {unrolled.id(name).name for name in names.section if name not in unrolled.hidden}
    for role in ROLES:
        role_edges = [edge for edge in edges if role in edge.roles]
        _check_cycles(findings, role_edges, role, reported, unrolled, shown)


def written_edges(findings: Findings, names: Names) -> Iterable[Edge]:
    """List all edges as written: features', then nodes', parents before parameters and experts."""
    for name in findings.keys("features"):
        for place, parent in findings.words("features", name, "parents"):
            yield Edge(parent, name, ROLES, place)
    for name in findings.keys("nodes"):
        for role in ROLES:
            path = ("nodes", name, role)
            for place, parent in findings.words(*path, "parents"):
                yield Edge(parent, name, (role,), place)
            for key in findings.keys(*path, "parameters"):
                value = findings.at(*path, "parameters", key)
                if isinstance(value, str):
                    yield Edge(value, name, (role,), (*path, "parameters", key))
        experts: Path = ("nodes", name, "recognition", "experts")
        for expert in findings.keys(*experts):
            for place, parent in findings.words(*experts, expert, "parents"):
                yield Edge(parent, name, ("recognition",), place)
            if not findings.hurt(*experts, expert) and "parents" not in findings.keys(*experts, expert):
                yield Edge(expert, name, ("recognition",), (*experts, expert), at="key")


def _valid(wrong: Edge, edges: list[Edge], names: Names) -> list[str]:
    """Name the parents that a wrong edge could have: those not listed yet that do not depend on its child."""
    pairs = [(edge.parent, edge.child) for edge in edges if set(edge.roles) & set(wrong.roles)]
    barred = {wrong.child, *descendants(wrong.child, pairs)}
    barred |= {edge.parent for edge in edges if edge.place[:-1] == wrong.place[:-1]}
    return [names.unrolled.id(name).name for name in names.section if name not in barred]


def _check_networks(findings: Findings) -> None:
    """Find unknown names of shared networks."""
    if findings.lost("networks"):
        return
    shared = dict.fromkeys(findings.keys("networks"))
    users: list[Path] = [("recognition", "network")]
    users += [("features", name, "network") for name in findings.keys("features")]
    users += [("nodes", name, role, "network") for name in findings.keys("nodes") for role in ROLES]
    mixed: list[Path] = [("nodes", name, "recognition", "experts") for name in findings.keys("nodes")]
    users += [(*path, expert, "network") for path in mixed for expert in findings.keys(*path)]
    for path in users:
        word = findings.at(*path)
        if isinstance(word, str) and word not in shared:
            findings.add(path, f"no network named '{word}' under 'networks'", findings.suggest(word, lambda: shared))


def _check_cycles(
    findings: Findings,
    edges: list[Edge],
    role: Role,
    reported: set[frozenset[Path]],
    unrolled: Unrolled,
    shown: Collection[str],
) -> None:
    """Find the cycles of one graph; one through features alone is in both, and is reported once."""
    standing: dict[tuple[str, str], list[Path]] = {}
    keys = {edge.place for edge in edges if edge.at == "key"}
    for edge in edges:
        standing.setdefault((edge.parent, edge.child), []).append(edge.place)
    for cycle in find_cycles(standing):
        places = [place for step in set(itertools.pairwise(cycle)) for place in standing[step]]
        if frozenset(places) not in reported:
            reported.add(frozenset(places))
            first = min(places, key=findings.document.order)
            called = [unrolled.id(flat) for flat in cycle]
            written = _written([node.name for node in called], shown)
            own = called[0].index and len(set(written)) == 1  # of a step on itself
            hint = f"did you mean 'prev.{written[0].rpartition('.')[2]}', of the step before?" if own else ""
            at = "key" if first in keys else "value"
            findings.add(first, f"cycle in the {role} graph: {' -> '.join(written)}", hint, at=at)


def _written(cycle: Sequence[str], shown: Collection[str]) -> list[str]:
    """Name a cycle by the names in the file, all steps by one, from the first back to itself."""
    names: list[str] = []
    for name in cycle[:-1]:
        if name in shown and names[-1:] != [name]:
            names.append(name)
    if len(names) > 1 and names[0] == names[-1]:
        names.pop()
    return [*names, *names[:1]]


def check_missing(findings: Findings, names: Names) -> None:
    """Find `missing: drop` on nodes that are not partial, have a recognition, or have children in p."""
    children = _children(findings, names)
    for name, status in names.status.items():
        if name not in names.dropped:
            continue
        path = ("nodes", name)
        written = findings.keys(*path)
        if status != "partial":
            when = "observed in every row" if status == "full" else "never observed"
            message = f"forbidden: {names.word(name)} is {when} (supervision: {status})"
            findings.add((*path, "missing"), message, "what is missing in some rows is partial", at="key")
            continue
        if "recognition" in written:
            later = max(("missing", "recognition"), key=written.index)
            message = "'missing' beside 'recognition': what is missing is either left out or proposed by q; give one"
            findings.add((*path, later), message, at="key")
        child = children.get(name)
        if child:
            message = f"{names.word(child)} reads {names.word(name)} in p, so it cannot be left out where it is missing"
            findings.add((*path, "missing"), message, "give it a recognition instead", at="key")


def _children(findings: Findings, names: Names) -> dict[str, str]:
    """Return the first child in p, through features too, of each node with `missing: drop` that has one."""
    above: dict[str, list[str]] = {}
    for edge in written_edges(findings, names) if names.dropped else ():
        if "generative" in edge.roles:
            above.setdefault(edge.child, []).append(edge.parent)
    first: dict[str, str] = {}
    passed: set[str] = set()  # features whose ancestors have their first child already
    for child in findings.keys("nodes"):
        front = [child]
        for name in front:
            for parent in above.get(name, ()):
                if parent in names.dropped and parent != child:
                    first.setdefault(parent, child)
                elif names.section.get(parent) == "features" and parent not in passed:
                    passed.add(parent)
                    front.append(parent)
    return first
