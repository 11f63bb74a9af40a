"""Weights of categories in training: for which nodes, and how many."""

from __future__ import annotations

from collections.abc import Sequence

from sgc.errors import suggest
from sgc.spec.check_names import Names
from sgc.spec.findings import Findings
from sgc.spec.spec import Spec
from sgc.spec.written_nodes import EVENT

PATH = ("train", "category_weights")
DECIDING = (*EVENT, "supervision")  # the keys of a node that say whether it has one category a row


def by_node(spec: Spec) -> dict[str, str | Sequence[float]]:
    """Return the weights of categories by node: `balanced`, or a number for each; the word alone means every node."""
    chosen = spec.train.category_weights
    if chosen is None:
        return {}
    return dict.fromkeys(category_nodes(spec), chosen) if isinstance(chosen, str) else dict(chosen)


def category_nodes(spec: Spec) -> list[str]:
    """List the nodes that are labelled in some rows, with one category a row."""
    return [
        name
        for name, node in spec.nodes.items()
        if node.supervision == "partial"
        and node.category_count is not None
        and not node.shape
        and not spec.unrolled.id(name).index
    ]


def check_category_weights(spec: Spec, findings: Findings, names: Names) -> None:
    """Find weights of nodes without categories, and lists that are too long, too short, or all 0."""
    chosen, able = findings.at(*PATH), category_nodes(spec)
    if chosen is None or findings.hurt(*PATH):
        return
    unknown = {name for name in findings.keys("nodes") for key in DECIDING if findings.hurt("nodes", name, key)}
    if isinstance(chosen, str):
        if not able and names.statuses_complete and not unknown:
            findings.add(
                PATH, f"'{chosen}' weighs rows by their label, and no node is labelled with one category a row"
            )
        return
    for name, weights in (spec.train.category_weights or {}).items():  # type: ignore[union-attr]
        if name in unknown or not names.decided(name):
            continue  # it is not known what it is
        if name not in able:
            message = f"no node named '{name}'"
            if names.section.get(name) == "nodes":
                message = f"'{name}' is not labelled with one category a row"
            findings.add((*PATH, name), message, suggest(name, able), at="key")
        elif not isinstance(weights, str) and len(weights) != spec.nodes[name].category_count:
            count = spec.nodes[name].category_count
            findings.add((*PATH, name), f"{len(weights)} weights, and '{name}' has {count} categories")
        elif not isinstance(weights, str) and not any(weights):
            findings.add((*PATH, name), f"every weight is 0: no row with a label of '{name}' would count")
