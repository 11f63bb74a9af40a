"""`recognition: auto`: the parents of q derived from the generative graph, before anything reads them.

A pure rewrite: the result is an ordinary spec with its parents written out, and a run keeps it in that form.
"""

from __future__ import annotations

from collections.abc import Mapping

from sgc.derivation.graph import GraphNode, Graphs, find_cycles
from sgc.derivation.inversion import LargeInverse, invert
from sgc.errors import Path
from sgc.spec.check_names import Names
from sgc.spec.conditionals import Conditional, Recognition
from sgc.spec.document import MAX_NODES
from sgc.spec.findings import Findings
from sgc.spec.pieces import DerivedRecognition, DistributionChoice, Feature, Node
from sgc.spec.spec import Spec
from sgc.spec.written_nodes import total_of

KEY = ("recognition",)


def derive_recognition(spec: Spec, findings: Findings, names: Names) -> Spec:
    """Put derived parents, and the default network, into the recognition of each node that q proposes.

    If the generative graph is not known as a whole, no recognition is known.
    """
    has = findings.document.has
    if not has(KEY) and not findings.lost(*KEY):
        return spec
    if not has(KEY) or not _is_known(spec, findings, names):
        for name in spec.nodes:
            if not has(("nodes", name, "recognition", "parents")):
                findings.breaks(("nodes", name, "recognition", "parents"))
        return spec
    proposed = [name for name in names.nodes("partial", "none") if name not in names.dropped]
    default = spec.recognition.network if isinstance(spec.recognition, DerivedRecognition) else None
    try:
        inverse = invert(_graphs(spec, proposed), most=MAX_NODES)
    except LargeInverse:
        message = f"a faithful q has more than {MAX_NODES} parents in all, more than a spec may write out"
        findings.add(KEY, message, "give each node its recognition parents")
        for name in proposed:
            findings.breaks(("nodes", name, "recognition", "parents"))
        return spec
    derived: dict[str, Recognition] = {}
    for name, parents in inverse.items():
        own = spec.nodes[name].recognition or Recognition()
        network = own.network
        if network is None and parents:  # the default is for nodes with parents
            network = default
            if findings.hurt(*KEY):
                findings.breaks(("nodes", name, "recognition", "network"))
        derived[name] = own.model_copy(update={"parents": parents, "network": network})
    _check_cycles(spec, findings, derived)
    return spec.with_parents(derived)


def _is_known(spec: Spec, findings: Findings, names: Names) -> bool:
    """Say whether all names, statuses and parents in p are right, and no network lacks parents."""
    reads: list[Path] = [("features", name, "parents") for name in spec.features]
    reads += [("nodes", name, "generative", key) for name in spec.nodes for key in ("parents", "parameters")]
    empty = any(p.network is not None and not p.parents for p in (n.generative for n in spec.nodes.values()) if p)
    complete = names.complete and names.statuses_complete and all(names.section.values()) and not empty
    read = set(names.section) == {*spec.nodes, *spec.features, *spec.inputs} and set(spec.nodes) == set(names.status)
    return complete and read and not any(findings.hurt(*path) for path in reads)


def _graphs(spec: Spec, proposed: list[str]) -> Graphs:
    """Return the graph of p; nodes that q proposes have a recognition without parents yet."""
    nodes = {
        name: GraphNode(name, node.supervision, _read_in_p(spec, node), () if name in proposed else None)
        for name, node in spec.nodes.items()
    }
    return Graphs(nodes, {name: _reads(feature) for name, feature in spec.features.items()}, tuple(spec.inputs))


def _reads(piece: Feature | Conditional | None) -> tuple[str, ...]:
    """Name what a piece reads: its parents, and the names in its parameters."""
    if piece is None:
        return ()
    taken = () if isinstance(piece, Feature) else piece.parameters.values()
    return (*piece.parents, *(value for value in taken if isinstance(value, str)))


def _read_in_p(spec: Spec, node: Node) -> tuple[str, ...]:
    """Name what a node reads in p, with the input that gives its total, if one does."""
    choice = node.distribution
    total = total_of(choice.as_written) if isinstance(choice, DistributionChoice) else None
    read = _reads(node.generative)
    return (*read, total) if isinstance(total, str) and total in spec.inputs and total not in read else read


def _check_cycles(spec: Spec, findings: Findings, recognition: Mapping[str, Recognition]) -> None:
    """Find parameters that take the value of a name which depends on their node through derived parents."""
    pieces: dict[str, Feature | Recognition] = {**spec.features, **recognition}
    for cycle in find_cycles([(parent, name) for name, piece in pieces.items() for parent in _reads(piece)]):
        places = [
            ("nodes", name, "recognition", "parameters", key)
            for name in cycle[1:]
            if name in recognition
            for key, value in recognition[name].parameters.items()
            if isinstance(value, str) and value in cycle
        ]
        if places:
            first = min(places, key=findings.document.order)
            findings.add(first, f"cycle in the recognition graph: {' -> '.join(cycle)}", about=first[:3])
