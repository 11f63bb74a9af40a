"""Graphs in pages: each node at one place in both panels, focusable, in the page's colours, readable by everybody."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from browser import DESK, PHONE, visit

from sgc.report.pages.graph_svg import graph_legend, graph_panels, graph_style, node_names
from sgc.report.pages.html_document import document
from sgc.report.plates import plated
from sgc.spec.loader import load
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline

SPECS = sorted((Path(__file__).resolve().parent.parent / "specs").glob("*.yaml"))


def panels(model: Outline, **how: Any) -> list[ET.Element]:
    return ET.fromstring(graph_panels(model, **how)).findall(".//svg")


def places(panel: ET.Element) -> dict[str, str]:
    """Give the outlines of the nodes by name."""
    nodes = [each for each in panel.iter() if (each.get("class") or "").startswith("node ")]
    return {each.get("data-node", ""): str(sorted(each[0].attrib.items())) for each in nodes}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_both_panels_hold_every_node_at_the_same_place_and_their_own_edges(path: Path) -> None:
    model = outline(load(path))
    generative, recognition = panels(model)
    assert places(generative) == places(recognition)
    assert set(places(generative)) == set(node_names(model))
    folded = plated(model).outline
    for panel, role in ((generative, "generative"), (recognition, "recognition")):
        drawn = {(e.get("data-from"), e.get("data-to")) for e in panel.iter() if e.get("class") == "edge"}
        nodes = folded.graphs.nodes
        assert drawn >= {(parent, name) for name in nodes for parent in folded.graphs.parents(name, role)}


def test_a_node_is_a_button_or_a_link_and_says_what_it_is() -> None:
    model = outline(load(next(path for path in SPECS if path.stem == "digits")))
    buttons = [each for each in panels(model)[1].iter() if each.get("data-node") == "z"]
    assert [(each.tag, each.get("role"), each.get("tabindex")) for each in buttons] == [("g", "button", "0")]
    assert buttons[0].get("aria-label") == "z in recognition q: latent, Normal, [8]; reads x, y"
    links = [each for each in panels(model, links={"z": "#z"})[1].iter() if each.get("data-node") == "z"]
    assert [(each.tag, each.get("href")) for each in links] == [("a", "#z")]


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["digits", "hmm", "multi-mnist-count"])
def test_graphs_are_seen_by_everybody(chromium: Any, tmp_path: Path, name: str, width: int, dark: bool) -> None:
    model = outline(load(next(path for path in SPECS if path.stem == name)))
    body = f"<main id='main'><h1>Graphs</h1>{graph_panels(model)}{graph_legend(model)}</main>"
    path = tmp_path / "page.html"
    path.write_text(document("Graphs", body, styles=[graph_style()]), encoding="utf-8")
    with visit(chromium, path, width=width, dark=dark) as visited:
        boxes = [each.bounding_box() for each in visited.page.locator(".panel").all()]
        beside = boxes[0]["y"] == boxes[1]["y"]
        assert beside == (width == DESK)
        visited.assert_clean()
        visited.assert_accessible()
        names = re.findall(r'data-node="([^"]+)"', graph_panels(model))
        visited.page.locator("h1").click()
        reached = []
        for _ in names:
            visited.page.keyboard.press("Tab")
            reached.append(visited.page.evaluate("document.activeElement.dataset.node"))
        assert reached == names
