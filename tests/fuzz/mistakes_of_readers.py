"""Mistakes in what has parents and a network: a feature, a carry, or a conditional of a node."""

from __future__ import annotations

import copy
import re

from drawn_networks import WRONG, misfits
from drawn_specs import Path
from planting import NOWHERE, Planted, Planting, at


def unknown_parent(planting: Planting) -> Planted | None:
    site = planting.site("feature", "carry", "p", "q")
    if site is None:
        return None
    parents = at(planting.spec, site.path)["parents"]
    i = planting.rng.randrange(len(parents))
    inside = len(site.repeats) > 0
    word = planting.rng.choice(
        [NOWHERE, f"t.{NOWHERE}", "exists", *(["prev.exists", f"prev.{NOWHERE}"] * inside), "prev.g"]
    )
    parents[i] = word
    says = f"no node, feature or input named '{word}'"
    return Planted("unknown parent", (*site.path, "parents", i), says, site.owner)


def parent_twice(planting: Planting) -> Planted | None:
    site = planting.site("feature", "carry", "p", "q")
    if site is None:
        return None
    parents = at(planting.spec, site.path)["parents"]
    parents.append(planting.rng.choice(parents))
    return Planted("parent twice", (*site.path, "parents", len(parents) - 1), "duplicate parent", site.owner)


def reads_itself(planting: Planting) -> Planted | None:
    site = planting.site("feature", "p", "q")
    if site is None:
        return None
    parents = at(planting.spec, site.path)["parents"]
    parents.append(site.owner)
    says = f"cycle in the .* graph: {re.escape(site.whole)} -> {re.escape(site.whole)}$"
    return Planted("reads itself", (*site.path, "parents", len(parents) - 1), says, site.owner)


def unknown_key(planting: Planting) -> Planted | None:
    site = planting.site("feature", "carry", "p", "q")
    if site is None:
        return None
    at(planting.spec, site.path)["colour"] = 1
    return Planted("unknown key", (*site.path, "colour"), "unknown key 'colour'", site.owner, key=True)


def wrong_type(planting: Planting) -> Planted | None:
    site = planting.site("feature", "carry", "p", "q")
    if site is None:
        return None
    key, value = planting.rng.choice([("parents", "g"), ("parents", {"g": 1}), ("network", 3), ("network", None)])
    at(planting.spec, site.path)[key] = value
    return Planted(f"{key} of a wrong type", (*site.path, key), "expected ", site.owner)


def no_network(planting: Planting) -> Planted | None:
    site = planting.site("feature", "carry", "p", "q")
    if site is None:
        return None
    del at(planting.spec, site.path)["network"]
    late = planting.needs(site.owner) if site.role in "pq" else frozenset()
    return Planted("no network", site.path, "missing key 'network'", site.owner, key=True, needs=late)


def wrong_entry(planting: Planting) -> Planted | None:
    """Write an option, a layer or an entry wrongly, alone, before or behind what is right."""
    site = planting.site("feature", "carry", "p", "q")
    if site is None:
        return None
    entry, below = copy.deepcopy(planting.rng.choice(WRONG))
    path: Path = (*site.path, "network")
    written = at(planting.spec, site.path)["network"]
    others = [] if isinstance(written, str) else written if isinstance(written, list) else [written]
    if others and isinstance(entry, dict) and planting.rng.random() < 0.5:
        i = planting.rng.randrange(len(others) + 1)
        entry, below = [*others[:i], entry, *others[i:]], (i, *below)
    at(planting.spec, site.path)["network"] = entry
    return Planted(f"entry {entry}", (*path, *below), "", site.owner, key=None)


def wrong_shape(planting: Planting) -> Planted | None:
    site = planting.site("feature", "carry", "p", "q")
    if site is None:
        return None
    piece = at(planting.spec, site.path)
    network = planting.rng.choice(misfits([each.shape for each in site.read], site.event))
    if site.role == "carry":  # whose width is said by its end
        network = [*(network if isinstance(network, list) else [network]), {"mlp": [3]}]
    piece["network"] = network
    says = f"'{re.escape(site.whole)}': "
    return Planted("wrong shape", (*site.path, "network"), says, site.owner, needs=planting.needs(site.owner))


def own_code(planting: Planting) -> Planted | None:
    site = planting.site("p", "q")
    if site is None:
        return None
    at(planting.spec, site.path)["network"] = {"python": "mine:Net", "output": [4]}
    return Planted("own code", (*site.path, "network", "python"), "", "code")


MISTAKES = (
    unknown_parent,
    parent_twice,
    reads_itself,
    unknown_key,
    wrong_type,
    no_network,
    wrong_entry,
    wrong_shape,
    wrong_shape,
    own_code,
)
