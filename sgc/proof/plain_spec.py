"""A spec of discrete nodes read as plain data alone: supervision, parents, orders, supports, patterns."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Raw = dict[str, Any]  # Any: a spec as plain data
Row = Mapping[str, int]  # for each node and input that is observed in a row, the place of its value in the support


def partial(spec: Raw) -> list[str]:
    """Name the partially supervised nodes that q proposes where they are missing, in the order of the file."""
    nodes = spec["nodes"].items()
    return [name for name, node in nodes if node["supervision"] == "partial" and "missing" not in node]


def full(spec: Raw) -> list[str]:
    """Name the nodes that are observed in every row."""
    return [name for name, node in spec["nodes"].items() if node["supervision"] == "full"]


def clamped(spec: Raw) -> list[str]:
    """Name the nodes that are never proposed: observed in every row, or dropped where they are missing."""
    return [name for name, node in spec["nodes"].items() if node["supervision"] == "full" or "missing" in node]


def patterns(spec: Raw) -> list[tuple[str, ...]]:
    """List all patterns of labels, the unlabelled one first."""
    names = partial(spec)
    return [chosen for size in range(len(names) + 1) for chosen in itertools.combinations(names, size)]


def parents_of(spec: Raw, name: str, role: str) -> list[str]:
    """List the parents of a node or a feature as they are written; inputs have none."""
    if name in spec.get("features", {}):
        return list(spec["features"][name]["parents"])
    return list(spec["nodes"].get(name, {}).get(role, {}).get("parents", ()))


def ordered(spec: Raw, role: str) -> list[str]:
    """Order the nodes so that each comes after its parents, features seen through.

    Of several that could come next, the first by name does: with an α for each node, the bound depends on the order of
    the labels, and this is the order that is defined.
    """
    everything = [*spec.get("inputs", {}), *spec.get("features", {}), *spec["nodes"]]
    left = {name: set(parents_of(spec, name, role)) for name in everything}
    ready = [name for name, parents in left.items() if not parents]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        taken = heapq.heappop(ready)
        order.append(taken)
        for name, parents in left.items():
            if taken in parents:
                parents.remove(taken)
                if not parents:
                    heapq.heappush(ready, name)
    return [name for name in order if name in spec["nodes"]]


def seen_through(spec: Raw, names: Collection[str]) -> set[str]:
    """Replace features by the nodes and inputs that they are computed from."""
    sources: set[str] = set()
    for name in names:
        feature = name in spec.get("features", {})
        sources |= seen_through(spec, parents_of(spec, name, "generative")) if feature else {name}
    return sources


def carriers(spec: Raw, name: str, latent: Collection[str]) -> set[str]:
    """Name the proposed nodes that q(name | ·) reads, features seen through: its factor varies with them."""
    return seen_through(spec, parents_of(spec, name, "recognition")) & set(latent)


def counts_of(node: Raw) -> list[int]:
    """List the numbers that a count may be, in the order of its support."""
    return list(node.get("values", range(node.get("categories", 2))))


def evidence(spec: Raw, observed: Collection[str]) -> list[str]:
    """Name the counts without a label that labels of their steps give evidence about, in rows with some labels."""
    carried = {*observed, *full(spec)}
    steps = [node.get("exists", ()) for name, node in spec["nodes"].items() if name in carried or "missing" in node]
    return list(dict.fromkeys(count for pairs in steps for count, _ in pairs if count not in carried))


def support(node: Raw) -> Tensor:
    """List the values of a discrete node, [K, *event]; of a dropped node the last is NaN, a missing value."""
    categories = node.get("categories")
    elements = math.prod(node.get("shape", ()))
    single = torch.eye(categories) if categories else torch.arange(2.0)
    values = [torch.stack(combination) for combination in itertools.product(single, repeat=elements)]
    values += [torch.full_like(values[0], math.nan)] if "missing" in node else []
    return torch.stack(values).reshape(-1, *node.get("shape", ()), *single.shape[1:])


def batch_of(spec: Raw, rows: Sequence[Row], inputs: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Make a batch as a user would: NaN where a label is missing. inputs: the values that each input takes, [K, …]."""
    batch = {name: values[[row[name] for row in rows]] for name, values in (inputs or {}).items()}
    for name in [*clamped(spec), *partial(spec)]:
        values = support(spec["nodes"][name])
        missing = torch.full_like(values[0], math.nan)
        batch[name] = torch.stack([values[row[name]] if name in row else missing for row in rows])
    return batch
