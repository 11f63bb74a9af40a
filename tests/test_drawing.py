"""Pictures: the same places in both panels, no edge through a node, names that fit, the same bytes every time."""

from __future__ import annotations

import random
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import yaml

from sgc.derivation.graph import GraphNode, Graphs
from sgc.errors import UsageError
from sgc.report.pictures.graph_pictures import dot_text, draw, picture
from sgc.report.pictures.node_places import LETTER, fold_name, place
from sgc.spec.loader import load
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline

SPEC = """
version: 1
name: pictured
inputs: {site: {values: [A, B]}}
features: {h: {parents: [x], network: {mlp: [4]}}}
nodes:
  x: {distribution: Bernoulli, shape: [4], supervision: full,
      generative: {parents: [label, z, site], network: {mlp: []}}}
  label: {distribution: Categorical, categories: 3, supervision: partial,
      recognition: {parents: [h], network: {mlp: []}}}
  z: {distribution: Normal, supervision: none, recognition: {parents: [h, label, a], network: {mlp: []}}}
  a: {distribution: Normal, supervision: none, generative: {parents: [x, label, z], network: {mlp: []}},
      recognition: {parents: [h], network: {mlp: []}}}
"""


@pytest.fixture(scope="module")
def model() -> Outline:
    return outline(load(yaml.safe_load(SPEC)))


@pytest.fixture(scope="module")
def svg(model: Outline) -> ET.Element:
    return ET.fromstring(picture(model, "svg"))


def middle(svg: ET.Element, gid: str) -> tuple[float, float]:
    """Give the middle of what is drawn in a group of the picture."""
    group = next(each for each in svg.iter() if each.get("id") == gid)
    drawn = "".join(each.get("d", "") for each in group.iter())
    numbers = np.array(re.findall(r"-?\d+\.?\d*", drawn), dtype=float).reshape(-1, 2)
    low, high = numbers.min(0), numbers.max(0)
    return tuple((low + high) / 2)


def test_every_node_stands_at_the_same_place_in_both_panels(svg: ET.Element) -> None:
    names = ["x", "label", "z", "a", "h", "site"]
    moves = [
        np.subtract(middle(svg, f"recognition-node-{name}"), middle(svg, f"generative-node-{name}")) for name in names
    ]
    assert moves[0][0] > 100
    assert moves[0][1] == pytest.approx(0)
    for move in moves:
        assert move == pytest.approx(moves[0], abs=1e-3)


def test_each_panel_has_its_own_edges_and_color(svg: ET.Element) -> None:
    edges = {each.get("id", ""): "".join(p.get("style", "") for p in each.iter()) for each in svg.iter()}
    edges = {name: style for name, style in edges.items() if "-edge-" in name}
    assert {name for name in edges if name.startswith("generative")} == {
        f"generative-edge-{pair}" for pair in ("label-x", "z-x", "site-x", "x-a", "label-a", "z-a")
    }
    assert {name for name in edges if name.startswith("recognition")} == {
        f"recognition-edge-{pair}" for pair in ("x-h", "h-label", "h-z", "label-z", "a-z", "h-a")
    }
    for name, style in edges.items():
        assert ("#1f5fa8" if name.startswith("generative") else "#d9730d") in style


def test_a_picture_names_its_nodes_products_and_shades(svg: ET.Element) -> None:
    words = [each.text or "" for each in svg.iter() if each.tag.endswith("text")]
    for name in ("x", "label", "z", "a", "h", "site"):
        assert words.count(name) == 2
    assert "pictured" in words
    joined = " ".join(words)
    assert "q(label, a, z" not in joined  # names in the order of the file
    assert "q(label, z, a | x) = q(a | h)" in joined
    for word in ("observed", "partially observed", "latent", "feature (deterministic)", "input (not modelled)"):
        assert word in words


@pytest.mark.parametrize("form", ["svg", "png", "pdf"])
def test_the_same_model_gives_the_same_bytes(model: Outline, form: str) -> None:
    assert picture(model, form) == picture(model, form)


def test_every_ending_makes_its_kind_of_file(model: Outline, tmp_path: Path) -> None:
    starts = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF", ".dot": b"digraph"}
    for ending in starts:
        draw(model, tmp_path / f"model{ending.upper() if ending == '.png' else ending}")
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(starts[path.suffix.lower()])


def test_dot_has_two_clusters_with_the_same_places(model: Outline) -> None:
    text = dot_text(model)
    places = {
        role: dict(re.findall(rf'"{role}\.(\w+)" \[.*pos="([-\d.,]+)!"', text))
        for role in ("generative", "recognition")
    }
    assert list(places["generative"]) == list(places["recognition"])
    shift = None
    for name, at in places["generative"].items():
        move = np.subtract(*(np.array(p.split(","), float) for p in (places["recognition"][name], at)))
        shift = move if shift is None else shift
        assert move == pytest.approx(shift, abs=0.21)
    assert text.count("subgraph cluster_") == 2
    assert '"generative.label" -> "generative.x" [color="#1f5fa8"];' in text
    assert '"recognition.label" [label="label", shape=ellipse, style=wedged' in text


def test_another_ending_is_refused(model: Outline, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        draw(model, tmp_path / "model.gif")
    assert str(caught.value) == "'model.gif': a picture ends in .svg, .png, .pdf, .dot or .html"


def test_without_matplotlib_it_says_what_to_install(
    model: Outline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    draw(model, tmp_path / "model.dot")
    with pytest.raises(UsageError) as caught:
        draw(model, tmp_path / "model.svg")
    assert str(caught.value) == "drawing pictures needs matplotlib: pip install 'sgc[plots]'"


def test_a_folder_that_is_not_there_is_a_fault_in_words(model: Outline, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:  # whose file and words the shell tells
        draw(model, tmp_path / "none" / "model.dot")
    assert caught.value.filename == str(tmp_path / "none" / "model.dot")


def random_graphs(seed: int, most: int) -> Graphs:
    """Make two random graphs over the same nodes, some with long names."""
    draw_ = random.Random(seed)
    names = [f"v{i}" + "_long_name" * draw_.choice([0, 0, 0, 0, 1, 3]) for i in range(draw_.randint(2, most))]
    other = draw_.sample(names, len(names))
    nodes = {}
    for i, name in enumerate(names):
        above, j = names[:i], other.index(name)
        p = tuple(draw_.sample(above, min(i, draw_.randint(0, 3))))
        nodes[name] = GraphNode(name, "none", p, tuple(draw_.sample(other[:j], min(j, draw_.randint(0, 3)))))
    features = {"f": (names[-1],), "g": ("f", names[0])}
    nodes[names[0]] = GraphNode(names[0], "none", ("i",), nodes[names[0]].recognition)
    return Graphs(nodes, features, ("i",))


@pytest.mark.parametrize(("seed", "most"), [*((seed, 14) for seed in range(12)), (99, 30)])
def test_no_edge_passes_through_a_node_and_no_two_nodes_touch(seed: int, most: int) -> None:
    graphs = random_graphs(seed, most)
    layout = place(graphs)
    spots = list(layout.spots.values())
    assert set(layout.spots) == {*graphs.nodes, *graphs.features, *graphs.inputs}
    for role, runs in layout.edges.items():
        wanted = {(p, n) for n in graphs.nodes for p in graphs.parents(n, role)}
        assert set(runs) >= wanted
        for edge, run in runs.items():
            assert np.linalg.norm(np.diff(run, axis=0), axis=1).max() < 0.05  # dense enough to judge
            for spot in spots:
                margin = 0.0 if spot.name in edge else 0.04
                assert not spot.contains(run, margin).any(), (role, edge, spot.name)
            ends = layout.spots[edge[0]], layout.spots[edge[1]]
            assert ends[0].contains(run[:1], 0.05).all()
            assert ends[1].contains(run[-1:], 0.05).all()
    for i, one in enumerate(spots):
        for two in spots[:i]:
            apart = abs(one.x - two.x) - (one.width + two.width) / 2, abs(one.y - two.y) - (one.height + two.height) / 2
            assert max(apart) > 0.2


def test_a_long_name_fits_into_its_node() -> None:
    name = "a_name-that_nobody.should_ever_write_for_a_random_variable_" + "x" * 40
    assert "".join(fold_name(name)) == name
    layout = place(Graphs({name: GraphNode(name, "none"), "b": GraphNode("b", "none", (name,))}, {}))
    spot = layout.spots[name]
    height = len(spot.lines) * 1.25 * 11 / 72
    corner = np.array([[spot.x + max(map(len, spot.lines)) * LETTER / 2, spot.y + height / 2]])
    assert spot.contains(corner).all()


def test_parents_stand_above_their_children() -> None:
    graphs = random_graphs(5, 20)
    spots = place(graphs).spots
    for name in graphs.nodes:
        for parent in graphs.parents(name, "generative"):
            assert spots[parent].y > spots[name].y
