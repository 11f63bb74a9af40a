"""Nodes that drop what is missing: a term is left out only of a partial leaf of p, which q then never proposes."""

from __future__ import annotations

from sgc.spec.check_graphs import written_edges
from sgc.spec.check_names import Names
from sgc.spec.findings import Findings


def check_missing(findings: Findings, names: Names) -> None:
    """Find `missing` where nothing or everything is missing, beside a recognition, or on a node with children in p."""
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
    """Name the first child in p, features seen through, of every node that drops what is missing and has one."""
    above: dict[str, list[str]] = {}
    for edge in written_edges(findings, names) if names.dropped else ():
        if "generative" in edge.roles:
            above.setdefault(edge.child, []).append(edge.parent)
    found: dict[str, str] = {}
    seen: set[str] = set()  # features that are looked through already: what is above them has its first child
    for child in findings.keys("nodes"):
        front = [child]
        for name in front:
            for parent in above.get(name, ()):
                if parent in names.dropped and parent != child:
                    found.setdefault(parent, child)
                elif names.section.get(parent) == "features" and parent not in seen:
                    seen.add(parent)
                    front.append(parent)
    return found
