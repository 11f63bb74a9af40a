"""Nodes as they are written, before anything in them is checked: their family, its options, and their values."""

from __future__ import annotations

from collections.abc import Mapping

from sgc.distributions.families import FAMILIES
from sgc.distributions.row_totals import TOTAL
from sgc.spec.document import Plain

EVENT = ("distribution", "shape", "categories", "values")


def family_of(node: Plain) -> tuple[str, dict[str, Plain]]:
    """Return the name of a node's family and its options, in either form."""
    choice = node.get("distribution") if isinstance(node, dict) else None
    if isinstance(choice, dict) and "name" in choice:
        name, options = choice["name"], choice.get("options")
    elif isinstance(choice, dict) and len(choice) == 1:
        (name, options), *_ = choice.items()
    else:
        name, options = choice, None
    return (name if isinstance(name, str) else ""), (options if isinstance(options, dict) else {})


def options_place(node: Plain) -> tuple[str, str] | None:
    """Return the place of the family's options in a node; None if it has none."""
    choice = node.get("distribution") if isinstance(node, dict) else None
    if not isinstance(choice, dict) or "python" in choice:
        return None
    key = "options" if "name" in choice else next(iter(choice), None)
    return ("distribution", key) if key is not None and isinstance(choice.get(key), dict) else None


def event(node: Plain, bound: Mapping[str, Plain] | None = None) -> dict[str, str]:
    """Describe the values of a node, to compare two nodes. bound: what the inputs of its part are bound to."""
    name, options = family_of(node)
    total = options.get(TOTAL)
    if bound and isinstance(total, str) and total in bound:
        options = {**options, TOTAL: bound[total]}
    description = {key: "none" if node.get(key) in (None, []) else str(node[key]).replace("'", "") for key in EVENT}
    family = FAMILIES.get(name)
    if family is not None and not family.support.categorical:  # which must have none: a fault of the node itself
        description |= {"categories": "none", "values": "none"}
    return description | {"distribution": f"{name} {options}".replace("'", "") if options else name}


def largest_count(node: Plain) -> tuple[int, str]:
    """Return the largest count of a node, or 1 and why it cannot count."""
    name, options = family_of(node)
    family = FAMILIES.get(name)
    if family is None:
        return 1, "" if name else "it has no distribution"
    if node.get("shape"):
        return 1, "it has more than one value"
    if family.support.categorical:
        values = node.get("values")
        if values is None:
            return max(1, (node.get("categories") or 2) - 1), ""
        if not all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in values):
            return 1, "its values are not all integers from 0 up"
        return max(1, *values), ""
    if family.support.nominal:
        return 1, ""
    if isinstance(options.get(TOTAL), str):
        return 1, f"its {TOTAL} differs from row to row"
    if family.finite:
        try:
            upper = family.with_options(options).support.upper
        except (KeyError, ValueError):
            upper = None
        return int(upper or 1), ""
    return 1, f"{name} has no largest count"
