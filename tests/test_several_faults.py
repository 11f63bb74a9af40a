"""Several faults of a node are all told: what is wrong in one key hides nothing in another, unless it decides on it."""

from __future__ import annotations

import itertools
from copy import deepcopy
from typing import Any

import pytest

import sgc
from sgc.errors import SpecError

Raw = dict[str, Any]

SPEC: Raw = {
    "version": 1,
    "nodes": {
        "x": {"distribution": "Normal", "shape": [2], "supervision": "full",
              "generative": {"parents": ["z"], "network": {"mlp": [3]}, "parameters": {"scale": 1.0}}},
        "y": {"distribution": "Normal", "shape": [3], "supervision": "partial",
              "generative": {"parents": ["z"], "network": {"mlp": [3]}, "parameters": {"scale": 1.0}},
              "recognition": {"parents": ["x"], "network": {"mlp": [3]}, "estimator": "pathwise"}},
        "z": {"distribution": "Normal", "supervision": "none",
              "recognition": {"parents": ["x"], "network": {"mlp": [3]}}},
    },
}  # fmt: skip

Path = tuple[str, ...]
FAULTS: dict[str, tuple[Path, Any]] = {
    "family": (("distribution",), "normal"),
    "options": (("distribution",), {"Normal": {"levels": 3}}),
    "shape": (("shape",), 2),
    "size": (("shape",), [0]),
    "categories": (("categories",), 4),
    "supervision": (("supervision",), "ful"),
    "key": (("colour",), 3),
    "parents that are no list": (("generative", "parents"), "z"),
    "an unknown parent": (("generative", "parents"), ["w"]),
    "an unknown network": (("generative", "network"), {"mpl": [3]}),
    "a layer": (("generative", "network"), {"mlp": [-1]}),
    "a parameter": (("generative", "parameters"), {"sclae": 1.0}),
    "a number": (("generative", "parameters"), {"scale": -1.0}),
    "a start": (("generative", "parameters"), {"scale": {"start": -1.0}}),
    "a key of p": (("generative", "colour"), 3),
    "an unknown estimator": (("recognition", "estimator"), "pathwize"),
    "an estimator that the family cannot have": (("recognition", "estimator"), "enumerate"),
    "an unknown parent of q": (("recognition", "parents"), ["w"]),
    "a key of q": (("recognition", "colour"), 3),
}
OF_FAMILY = {"categories", "a parameter", "a number", "a start", "an estimator that the family cannot have"}


def faults_of(*names: str) -> set[tuple[Any, str]]:
    """Tell where the node y has faults with these mistakes, and which; a hint may change with what else is written."""
    spec = deepcopy(SPEC)
    for name in names:
        path, value = FAULTS[name]
        here = spec["nodes"]["y"]
        for key in path[:-1]:
            here = here[key]
        here[path[-1]] = deepcopy(value)
    with pytest.raises(SpecError) as caught:
        sgc.load(spec)
    return {(fault.path, fault.message) for fault in caught.value.faults}


ALONE = {name: faults_of(name) for name in FAULTS}
PAIRS = [
    (one, other)
    for one, other in itertools.combinations(FAULTS, 2)
    if FAULTS[one][0] != FAULTS[other][0]
    and not (one in ("family", "options") and other in OF_FAMILY)  # which are about the family
]


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_two_faults_of_a_node_are_both_told(pair: tuple[str, str]) -> None:
    assert faults_of(*pair) >= ALONE[pair[0]] | ALONE[pair[1]]
