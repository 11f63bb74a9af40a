"""Nodes that drop what is missing: a term is left out only of a partial leaf of p, which q then never proposes."""

from __future__ import annotations

from sgc.derivation.graph import descendants
from sgc.language.check_graphs import written_edges
from sgc.language.check_names import Names
from sgc.language.findings import Findings


def check_missing(findings: Findings, names: Names) -> None:
    """Find `missing` where nothing or everything is missing, beside a recognition, or on a node with children in p."""
    for name, status in names.status.items():
        path = ("nodes", name)
        written = findings.keys(*path)
        if name not in names.dropped:
            continue
        if status != "partial":
            when = "observed in every row" if status == "full" else "never observed"
            message = f"forbidden: '{name}' is {when} (supervision: {status})"
            findings.add((*path, "missing"), message, "what is missing in some rows is partial", at="key")
            continue
        if "recognition" in written:
            later = max(("missing", "recognition"), key=written.index)
            message = "'missing' beside 'recognition': what is missing is either left out or proposed by q; give one"
            findings.add((*path, later), message, at="key")
        child = _child(findings, names, name)
        if child:
            message = f"'{child}' reads '{name}' in p, so it cannot be left out where it is missing"
            findings.add((*path, "missing"), message, "give it a recognition instead", at="key")


def _child(findings: Findings, names: Names, name: str) -> str:
    """Name the first child in p, features seen through; an empty string where there is none."""
    edges = [
        (edge.parent, edge.child)
        for edge in written_edges(findings, names)
        if "generative" in edge.roles and (edge.parent == name or names.section.get(edge.parent) == "features")
    ]
    below = descendants(name, edges) - {name}
    return next((other for other in findings.keys("nodes") if other in below), "")
