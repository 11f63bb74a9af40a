"""Faults of repeats and parts: whatever is written there is told at what was written, or it is a spec; nothing else.

Messages are pinned whole in faults/; here are those of parts in files of their own, and what chance writes.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_repeats import Raw, random_repeat

from sgc.errors import Fault, SpecError
from sgc.spec.document import from_mapping, parse
from sgc.spec.loader import load, validate
from sgc.spec.resolver import outline

PART = """\
version: 1
nodes:
  x: {distribution: Normal, shape: [2], supervision: full, generative: {parents: [z], network: {mlp: [4]}}}
  z: {distribution: Normal, shape: [2], supervision: none, recognition: {parents: [x], network: {mlp: [4]}}}
"""
HOST = """\
version: 1
nodes:
  x: {distribution: Normal, shape: [2], supervision: full}
use:
  m: {spec: part.yaml, bind: {x: x}}
"""
JUNK: tuple[Any, ...] = (None, True, 0, -1, 3, 1.5, "x", "t", "t.s", "prev.s", "prev", "exists", "c", "", "a.b", [], {})
JUNK += ([1], ["x", "x"], [[]], {"a": 1}, {"x": {"parents": ["x"]}}, {"gru": 3}, {"mlp": []}, {"combine": "sum"}, 10**8)

IMAGES = {"channels": [2], "kernel": 3}
ENTRIES: tuple[Raw, ...] = ({"conv": IMAGES}, {"deconv": IMAGES}, {"combine": "sum"}, {"affine": {"crop": [1, 4, 4]}})
ENTRIES += ({"gru": 3}, {"layers": [{"Linear": 3}]}, {"layers": [{"Unflatten": [1, 2, 1]}, "Flatten"]})


def told(folder: Path) -> str:
    with pytest.raises(SpecError) as caught:
        load(folder / "host.yaml")
    return str(caught.value).replace(f"{folder}/", "")


def test_a_fault_in_a_part_is_told_in_its_own_file_and_once(tmp_path: Path) -> None:
    (tmp_path / "host.yaml").write_text(HOST.replace("use:\n", "use:\n  n: {spec: part.yaml}\n"))
    (tmp_path / "part.yaml").write_text(PART.replace("[z]", "[y]"))
    assert told(tmp_path).splitlines()[0] == (
        "part.yaml:3:83: nodes.x.generative.parents[0]: no node, feature or input named 'y'"
    )


def test_a_part_of_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "host.yaml").write_text(HOST)
    (tmp_path / "part.yaml").write_text(PART + "use:\n  host: {spec: host.yaml}\n")
    assert told(tmp_path) == (
        "part.yaml:6:16: use.host.spec: 'host.yaml' would be a part of itself\n"
        "    6 |   host: {spec: host.yaml}\n"
        "      |                ^^^^^^^^^"
    )
    (tmp_path / "host.yaml").write_text(HOST.replace("part.yaml", "host.yaml"))
    assert told(tmp_path).startswith("host.yaml:5:13: use.m.spec: 'host.yaml' would be a part of itself\n")


def with_part(seed: int) -> Raw:
    """Draw a spec with a repeat, a repeat and a part in it, and a count by a node."""
    spec = random_repeat(random.Random(seed))
    spec["repeat"]["t"]["count"] = 2
    spec["repeat"]["t"]["nodes"]["o"] = {"distribution": "Normal", "shape": [2], "supervision": "full"}
    spec["repeat"]["t"]["use"] = {"q": {"spec": yaml.safe_load(PART), "bind": {"x": "o"}}}
    if seed % 2:
        spec["nodes"]["k"] = {"distribution": "Categorical", "values": [1, 2], "supervision": "full"}
        spec["repeat"]["t"]["count"] = "k"
    return spec


def faults_of(text: str) -> list[Fault]:
    try:
        validate(parse(text, "spec.yaml"))
    except SpecError as problem:
        return problem.faults
    return []


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List the path of everything in plain data."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from paths(each, (*path, key))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_stands_in_a_repeat_is_a_spec_or_a_fault(seed: int) -> None:
    rng, plain = random.Random(seed), with_part(seed)
    validate(from_mapping(copy.deepcopy(plain)))
    every = list(paths(plain))
    for _ in range(70):
        spec = copy.deepcopy(plain)
        for path in rng.sample(every, rng.choice([1, 1, 2])):
            parent: Any = spec
            for key in path[:-1]:
                parent = parent[key] if not isinstance(parent, dict) or key in parent else {}
                if not isinstance(parent, dict | list):
                    parent = {}
            what = rng.random()
            if isinstance(parent, list) and path[-1] >= len(parent):
                continue
            if what < 0.2 and path[-1] in parent and isinstance(parent, dict):
                del parent[path[-1]]
            elif what < 0.3 and isinstance(parent, dict) and path[-1] in parent:
                parent[rng.choice(["zz", "prev", "exists", "x", "nodes", "u"])] = parent.pop(path[-1])
            else:
                parent[path[-1]] = copy.deepcopy(rng.choice(JUNK))
        text = yaml.safe_dump(spec, sort_keys=False, width=1000)
        faults = faults_of(text)
        assert len(set(map(str, faults))) == len(faults), text
        assert all(fault.line and "@" not in fault.message + fault.hint for fault in faults), text


def test_a_state_beside_the_unit_that_reads_it_is_told_where_it_was_written() -> None:
    text = """\
version: 1
nodes: {}
repeat:
  t:
    count: 3
    carry: {h: {parents: [x, prev.h], network: {gru: 3}}}
    nodes:
      x: {distribution: Normal, supervision: full}
      z: {distribution: Normal, supervision: none, recognition: {parents: [h], network: {mlp: []}}}
"""
    with pytest.raises(SpecError) as caught:
        validate(parse(text, "spec.yaml"))
    assert str(caught.value) == (
        "spec.yaml:6:30: repeat.t.carry.h.parents[1]: 'prev.h' is read already: a gru has its state before\n"
        "    6 |     carry: {h: {parents: [x, prev.h], network: {gru: 3}}}\n"
        "      |                              ^^^^^^ leave it out"
    )


SEQUENCE = """\
version: 1
nodes:
  g: {distribution: Normal, shape: [2], supervision: none, recognition: {parents: [t.x], network: {mlp: [3]}}}
repeat:
  t:
    count: 2
    carry: {s: {parents: [prev.x, prev.s], network: {mlp: [3]}}}
    nodes:
      x:
        distribution: Normal
        shape: [2]
        supervision: full
        generative: {parents: [s, g], network: {mlp: [3]}}
"""


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            "{conv: {channels: [2], kernel: 3}}",
            "a convolution needs an image [channels, height, width], got 't.s' [3], 'g' [2]",
        ),
        (
            "{deconv: {channels: [2], kernel: 2}}",
            "deconv makes an image [channels, height, width], and the event is [2]",
        ),
        (
            "{affine: {crop: [1, 4, 4]}}",
            "affine takes one image [channels, height, width], then the window's size (1 number or 2) and middle (2), "
            "got [3], [2]",
        ),
        ("{combine: sum}", "combine takes values of one shape, or with axes of one in place of others, got [3], [2]"),
        ("{gru: 3}", "gru reads a sequence [steps, *features], got [3], [2]"),
        (
            "{layers: [Tanh, {Linear: 3}]}",
            "Tanh takes one input, got 't.s' [3], 'g' [2]: begin with Flatten and Linear, where parents add",
        ),
        ("{residual: {channels: [2], kernel: 2}}", "residual blocks add pixel to pixel: the kernel must be odd, got 2"),
    ],
)
def test_a_shape_behind_a_carry_that_no_network_takes_is_told_where_it_was_written(network: str, message: str) -> None:
    validate(parse(SEQUENCE, "spec.yaml"))
    line = f"        generative: {{parents: [s, g], network: {network}}}"
    written = "        generative: {parents: [s, g], network: {mlp: [3]}}"
    (fault,) = faults_of(SEQUENCE.replace(written, line))
    assert str(fault) == (
        f"spec.yaml:13:48: repeat.t.nodes.x.generative.network: 't.x': {message}\n"
        f"   13 | {line}\n      | {' ' * 47}{'^' * len(network)}"
    )


def test_what_stands_only_in_a_repeat_is_an_unknown_key_beside_it() -> None:
    (fault,) = faults_of(SEQUENCE + "carry: {r: {parents: [g], network: {gru: 3}}}\n")
    assert str(fault) == (
        "spec.yaml:14:1: carry: unknown key 'carry'\n"
        "   14 | carry: {r: {parents: [g], network: {gru: 3}}}\n"
        "      | ^^^^^ allowed: data, description, evaluate, features, inputs, name, networks, objective, recognition, "
        "train, use"
    )


def test_a_gradient_is_looked_at_only_where_nothing_is_wrong() -> None:
    label = "  y: {distribution: Bernoulli, supervision: partial, recognition: {parents: [q], network: {mlp: [3]}}}\n"
    (fault,) = faults_of(SEQUENCE.replace("nodes:\n", "objective: {gradient: stl}\nnodes:\n" + label, 1))
    assert str(fault) == (
        "spec.yaml:4:78: nodes.y.recognition.parents[0]: no node, feature or input named 'q'\n"
        f"    4 | {label.rstrip()}\n"
        f"      | {' ' * 77}^ allowed: g, t.s, t.x"
    )


def test_a_network_with_a_fault_in_it_is_not_missing_too() -> None:
    (fault,) = faults_of(SEQUENCE.replace("[s, g], network: {mlp: [3]}", "[s, g], network: {conv: {channels: [3]}}"))
    assert str(fault) == (
        "spec.yaml:13:49: repeat.t.nodes.x.generative.network.conv: missing key 'kernel'\n"
        "   13 |         generative: {parents: [s, g], network: {conv: {channels: [3]}}}\n"
        "      |                                                 ^^^^"
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_spec_that_is_taken_is_resolved_whole(seed: int) -> None:
    """One in fifteen of these was taken with networks that their parents do not fit."""
    rng = random.Random(seed)
    for _ in range(20):
        spec = random_repeat(rng)
        for path in rng.sample([path for path in paths(spec) if path[-1] == "network"], 2):
            piece: Any = spec
            for key in path[:-1]:
                piece = piece[key]
            piece["network"] = copy.deepcopy(rng.choice(ENTRIES))
        text = yaml.safe_dump(spec, sort_keys=False, width=1000)
        faults = faults_of(text)
        assert all(fault.line and "@" not in fault.message + fault.hint for fault in faults), text
        if not faults:
            outline(validate(parse(text, "spec.yaml")))
