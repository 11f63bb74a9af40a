"""What a spec of discrete nodes says, read from its plain data alone: statuses, parents, orders, supports, patterns."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Raw = dict[str, Any]  # Any: a spec as plain data
Row = Mapping[str, int]  # what a row carries: a place in the support of each node and input that it has


def partial(spec: Raw) -> list[str]:
    """Name the partially supervised nodes that q proposes where they are absent, as in the file."""
    nodes = spec["nodes"].items()
    return [name for name, node in nodes if node["supervision"] == "partial" and "missing" not in node]


def full(spec: Raw) -> list[str]:
    """Name the nodes that are observed in every row."""
    return [name for name, node in spec["nodes"].items() if node["supervision"] == "full"]


def clamped(spec: Raw) -> list[str]:
    """Name the nodes that no row proposes: observed in every row, or left out where they are missing."""
    return [name for name, node in spec["nodes"].items() if node["supervision"] == "full" or "missing" in node]


def patterns(spec: Raw) -> list[tuple[str, ...]]:
    """List every observation pattern, the unlabelled one first."""
    names = partial(spec)
    return [chosen for size in range(len(names) + 1) for chosen in itertools.combinations(names, size)]


def parents_of(spec: Raw, name: str, role: str) -> list[str]:
    """List the parents of a node or a feature as they are written; an input has none."""
    if name in spec.get("features", {}):
        return list(spec["features"][name]["parents"])
    return list(spec["nodes"].get(name, {}).get(role, {}).get("parents", ()))


def ordered(spec: Raw, role: str) -> list[str]:
    """Order the nodes so that each stands after its parents, features seen through.

    Of names that are ready at once the first by name is taken: with an α for each node the bound depends on the order
    of its labels, which is defined so.
    """
    everything = [*spec.get("inputs", {}), *spec.get("features", {}), *spec["nodes"]]
    left = {name: set(parents_of(spec, name, role)) for name in everything}
    ready = [name for name, parents in left.items() if not parents]
    heapq.heapify(ready)
    found: list[str] = []
    while ready:
        taken = heapq.heappop(ready)
        found.append(taken)
        for name, parents in left.items():
            if taken in parents:
                parents.remove(taken)
                if not parents:
                    heapq.heappush(ready, name)
    return [name for name in found if name in spec["nodes"]]


def seen_through(spec: Raw, names: Collection[str]) -> set[str]:
    """Name the nodes and inputs that some names stand for: themselves, or what a feature is made of."""
    found: set[str] = set()
    for name in names:
        made = name in spec.get("features", {})
        found |= seen_through(spec, parents_of(spec, name, "generative")) if made else {name}
    return found


def carriers(spec: Raw, name: str, latent: Collection[str]) -> set[str]:
    """Name the proposed nodes that q(name | ·) reads, features seen through: its factor varies where there are any."""
    return seen_through(spec, parents_of(spec, name, "recognition")) & set(latent)


def counts_of(node: Raw) -> list[int]:
    """List the numbers that a count may be, in the order of its support."""
    return list(node.get("values", range(node.get("categories", 2))))


def told_of(spec: Raw, observed: Collection[str]) -> list[str]:
    """Name the counts without a label of which labels of their steps tell, in a row that carries some names."""
    carried = {*observed, *full(spec)}
    steps = [node.get("exists", ()) for name, node in spec["nodes"].items() if name in carried or "missing" in node]
    return list(dict.fromkeys(count for each in steps for count, _ in each if count not in carried))


def support(node: Raw) -> Tensor:
    """List the values of a discrete node, [K, *event]; NaN, missing, is the last of one that may drop it."""
    categories = node.get("categories")
    elements = math.prod(node.get("shape", ()))
    single = torch.eye(categories) if categories else torch.arange(2.0)
    chosen = [torch.stack(values) for values in itertools.product(single, repeat=elements)]
    chosen += [torch.full_like(chosen[0], math.nan)] if "missing" in node else []
    return torch.stack(chosen).reshape(-1, *node.get("shape", ()), *single.shape[1:])


def batch_of(spec: Raw, rows: Sequence[Row], inputs: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Make a batch as a user would: NaN where a label is missing. inputs: the values that each input takes, [K, …]."""
    batch = {name: values[[row[name] for row in rows]] for name, values in (inputs or {}).items()}
    for name in [*clamped(spec), *partial(spec)]:
        values = support(spec["nodes"][name])
        missing = torch.full_like(values[0], math.nan)
        batch[name] = torch.stack([values[row[name]] if name in row else missing for row in rows])
    return batch
