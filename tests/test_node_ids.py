"""Names of steps: each flat name has its name and step beside it, and nothing takes a flat name apart."""

from __future__ import annotations

import ast
import random
from pathlib import Path
from typing import Any

import pytest
from test_repeats import random_repeat

from sgc.cli.completion import PLAIN
from sgc.errors import SpecError
from sgc.spec.loader import load
from sgc.spec.resolver import outline

ROOT = Path(__file__).resolve().parent.parent / "sgc"
HOME = ROOT / "derivation" / "node_id.py"
ADDRESSES = ROOT / "data" / "shards.py"  # of far files, which hold no credentials
FAILURES = ROOT / "training" / "tracking.py"  # of trackers, whose words may hold an address with a password
SHELL_WORDS = ROOT / "cli" / "completion.py"  # letters that a shell takes as they are; no name of a step is read there


def marks(source: str) -> list[str]:
    """List the strings in code that hold the mark of a step; docstrings are no code."""
    tree = ast.parse(source)
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in texts]
    return [node.value for node in constants if isinstance(node.value, str) and "@" in node.value]


def test_the_mark_of_a_step_is_written_in_one_place_and_read_nowhere() -> None:
    found = {path: marks(path.read_text()) for path in ROOT.rglob("*.py")}
    assert {path: each for path, each in found.items() if each} == {
        HOME: ["@"],
        ADDRESSES: ["@"],
        FAILURES: [r"//[^/\s]*@"],
        SHELL_WORDS: [PLAIN.pattern],
    }


def test_the_guard_of_the_mark_can_fail() -> None:
    assert marks('"""x@1"""\n\ndef f(x):\n    """y@2"""\n    return x.partition("@")') == ["@"]
    assert marks('x = f"{name}@{step}"') == ["@"]
    assert marks(r're.sub(r"@[\d.]+", "", x)') == [r"@[\d.]+"]


@pytest.mark.parametrize("seed", range(8))
def test_every_flat_name_has_its_name_and_step(seed: int) -> None:
    spec = load(random_repeat(random.Random(seed)))
    made, unrolled = outline(spec), spec.unrolled
    for flat in (*made.variables, *made.features, *made.inputs):
        assert unrolled.id(flat).flat == flat
    for steps in (unrolled.nodes, unrolled.features):
        for name, nodes in steps.items():
            assert {unrolled.id(node).name for node in nodes} == {name}
            indices = [unrolled.id(node).index for node in nodes]
            sizes = [plate.size for plate in unrolled.around[name]]
            assert len(set(indices)) == len(nodes)
            assert all(0 <= i < size for index in indices for i, size in zip(index, sizes, strict=True))
    for name, node in made.graphs.nodes.items():
        assert node.id == unrolled.id(name)


def test_a_users_own_word_is_told_as_it_was_written() -> None:
    node: dict[str, Any] = {"distribution": "Normal", "supervision": "full"}
    node["generative"] = {"parameters": {"loc@2": 0.0}}
    with pytest.raises(SpecError) as caught:
        load({"version": 1, "repeat": {"t": {"count": 2, "nodes": {"x": node}}}})
    assert str(caught.value) == (
        "spec: repeat.t.nodes.x.generative.parameters.loc@2: unknown parameter 'loc@2' of Normal (did you mean 'loc'?)"
    )
