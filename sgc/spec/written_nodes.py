"""Nodes as they are written, before anything in them is checked: their family, its options, and their values."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from sgc.distributions.families import FAMILIES
from sgc.distributions.row_totals import TOTAL
from sgc.distributions.zero_inflated import OF
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


def innermost(node: Plain) -> tuple[str, tuple[str, ...] | None]:
    """Return the family of a node, of an inflated one that within (`of`), and the place of its options, if any."""
    place: tuple[str, ...] = ("distribution",)
    choice = node.get("distribution") if isinstance(node, dict) else None
    while isinstance(choice, dict) and "python" not in choice:
        key = "options" if "name" in choice else next(iter(choice), None)
        name = choice.get("name") if key == "options" else key
        if key is None or not isinstance(choice.get(key), dict):
            return (name if isinstance(name, str) else ""), None
        family = FAMILIES.get(name) if isinstance(name, str) else None
        if family is None or not family.inflates or OF not in choice[key]:
            return (name if isinstance(name, str) else ""), (*place, key)
        place, choice = (*place, key, OF), choice[key][OF]
    return (choice if isinstance(choice, str) else ""), None


def options_at(node: Plain, place: Sequence[str]) -> dict[str, Plain]:
    """Return the options of a family by their place in its node, see `innermost`."""
    options: dict[str, Plain] = functools.reduce(lambda inner, key: inner[key], place, node)
    return options


def total_of(node: Plain) -> Plain:
    """Return the total_count that is written for a node's family, or for that within it; None if there is none."""
    _, place = innermost(node)
    return None if place is None else options_at(node, place).get(TOTAL)


def with_total(node: dict[str, Plain], total: str) -> dict[str, Plain]:
    """Return a node with another name for its total_count, see `total_of`."""
    _, place = innermost(node)

    def within(inner: dict[str, Plain], keys: tuple[str, ...]) -> dict[str, Plain]:
        return {**inner, keys[0]: within(inner[keys[0]], keys[1:])} if keys else {**inner, TOTAL: total}

    return node if place is None else within(node, place)


def event(node: Plain, bound: Mapping[str, Plain] | None = None) -> dict[str, str]:
    """Describe the values of a node, to compare two nodes. bound: what the inputs of its part are bound to."""
    total = total_of(node)
    if bound and isinstance(total, str) and total in bound:
        node = with_total(node, bound[total])
    name, options = family_of(node)
    description = {key: "none" if node.get(key) in (None, []) else str(node[key]).replace("'", "") for key in EVENT}
    family = FAMILIES.get(name)
    if family is not None and not family.support.categorical:  # which must have none: a fault of the node itself
        description |= {"categories": "none", "values": "none"}
    return description | {"distribution": f"{name} {options}".replace("'", "") if options else name}


def largest_count(node: Plain) -> tuple[int, str]:
    """Return the largest count of a node, or 1 and why it cannot count."""
    name, place = innermost(node)
    options = {} if place is None else options_at(node, place)
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
