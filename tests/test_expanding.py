"""Stochastic computation graphs: all of a plan once, reads as the factors are written, and pictures of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from test_cli import call

from sgc.derivation.computation import BOUND, WEIGHT, Computation
from sgc.derivation.graph import Graphs
from sgc.derivation.plan import EachNode, Plan
from sgc.errors import UsageError
from sgc.report.computation_report import Expansion, expand_json, expand_text, expansion
from sgc.report.pictures.computation_layout import HIGH, WIDE, lay_out_graph
from sgc.report.pictures.computation_pictures import chart, dot_text
from sgc.report.shown_patterns import pattern_of
from sgc.spec.document import parse
from sgc.spec.loader import load
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline

ROOT = Path(__file__).resolve().parent.parent
SPECS = sorted((ROOT / "specs").glob("*.yaml"))
EVERYTHING = """
version: 1
name: everything
inputs: {site: {values: [A, B]}}
features:
  h: {parents: [x, site], network: {mlp: [4]}}
  g: {parents: [z, b], network: {mlp: [4]}}
nodes:
  x: {distribution: Bernoulli, shape: [4], supervision: full,
      generative: {parents: [g, kind_of_animal, m], network: {mlp: []}}}
  kind_of_animal: {distribution: Categorical, categories: 3, supervision: partial,
      recognition: {parents: [h, z], network: {mlp: []}, estimator: enumerate}}
  z: {distribution: Normal, supervision: none, recognition: {parents: [h], network: {mlp: []}}}
  b: {distribution: Bernoulli, supervision: none, recognition: {parents: [h], network: {mlp: []}, estimator: enumerate}}
  m: {distribution: Normal, supervision: none, recognition: {parents: [h, b], network: {mlp: []}}}
  k: {distribution: Categorical, categories: 4, supervision: partial, generative: {parents: [z], network: {mlp: []}},
      recognition: {parents: [h, b], network: {mlp: []}, estimator: enumerate}}
"""
Z_THEN_Y = """
version: 1
name: z-then-y
features: {h: {parents: [x], network: {mlp: [8]}}}
nodes:
  x: {distribution: Bernoulli, shape: [4], supervision: full, generative: {parents: [y, z], network: {mlp: []}}}
  z: {distribution: Normal, supervision: none, recognition: {parents: [h], network: {mlp: []}}}
  y: {distribution: Categorical, categories: 3, supervision: partial, generative: {learn: true},
      recognition: {parents: [h, z], network: {mlp: []}, estimator: score_function}}
objective: {samples: 2, alpha: 5}
"""
VARIANTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"b": "score_function", "kind_of_animal": "score_function"}, {}),
    ({"b": "score_function", "k": "score_function"}, {"weights": "none"}),
    ({"b": "straight_through", "m": "mean", "kind_of_animal": "gumbel_softmax"}, {}),
    ({"m": "mean", "k": "score_function"}, {"bound": "density"}),
    ({"b": "score_function"}, {"bound": "iwae"}),
    ({"b": "score_function", "m": "score_function"}, {"label_term": "log_mean", "kl": "sampled"}),
    ({"b": "score_function"}, {"bound": "supervised"}),
    ({"z": "score_function"}, {"alpha": {"k": 2, "kind_of_animal": 3}}),
    ({"b": {"gumbel_softmax": {"density": "concrete"}}}, {"kl": "sampled"}),
]


def model(text: str, estimators: dict[str, Any] | None = None, objective: dict[str, Any] | None = None) -> Outline:
    spec: Any = parse(text).data
    for name, estimator in (estimators or {}).items():
        spec["nodes"][name]["recognition"]["estimator"] = estimator
    return outline(load({**spec, "objective": {"samples": 2, **(spec.get("objective") or {}), **(objective or {})}}))


def graphs() -> list[tuple[Graphs, Computation]]:
    """Expand every pattern shown of the shipped specs, and of one that has everything, many ways."""
    models = [outline(load(path)) for path in SPECS] + [model(EVERYTHING, *each) for each in VARIANTS]
    return [(made.graphs, graph) for made in models for graph in expansion(made).graphs]


@pytest.fixture(scope="module")
def all_graphs() -> list[tuple[Graphs, Computation]]:
    return graphs()


def named(text: str) -> set[str]:
    """Name what the factors of a text are of and given."""
    inside = re.findall(r"[pq]\(([^()]*)\)", text)
    return {name for each in inside for name in re.findall(r"[A-Za-z][\w.@-]*", each)}


def directed(graph: Computation) -> nx.DiGraph[str]:
    made: nx.DiGraph[str] = nx.DiGraph()
    made.add_nodes_from(graph.step)
    made.add_edges_from(graph.edges)
    return made


def test_each_proposal_factor_and_term_of_a_plan_stands_in_its_graph_once(
    all_graphs: list[tuple[Graphs, Computation]],
) -> None:
    assert len(all_graphs) > 40
    for _, graph in all_graphs:
        plan, steps = graph.plan, graph.steps
        assert len({step.id for step in steps}) == len(steps)
        draws = [step for step in steps if step.kind == "draw"]
        assert [step.proposal for step in draws] == sorted(plan.proposals, key=lambda p: plan.order.index(p.node))
        assert [step.text for step in draws] == [f"{p.node} ~ {p.factor}" for p in plan.proposals]
        assert [step.text for step in steps if step.kind == "score"] == [EachNode(plan).term(t) for t in plan.terms]
        labels = [step for step in steps if step.kind == "label"]
        assert [step.text for step in labels] == [f"log {w.factor}" for w in plan.weights]
        scores = " ".join(step.text for step in steps if step.kind == "score")
        for factor in plan.joint:
            assert scores.count(str(factor)) == 1
        for proposal in plan.proposals:  # the mass of an enumerated draw, or the score of another; never in neither
            assert scores.count(str(proposal.factor)) == (1 if plan.words.bound.generative else 0)
        for step in steps:
            own = {{"p": "generative", "q": "recognition"}[letter] for letter in re.findall(r"([pq])\(", step.text)}
            assert set(step.owners) == own


def test_a_step_reads_what_its_factors_name(all_graphs: list[tuple[Graphs, Computation]]) -> None:
    for model_, graph in all_graphs:
        for step in graph.steps:
            # besides, what is scored of a repeat's step hangs on the counts that say whether it is there
            counts = {count for count, _ in graph.plan.exists.get(step.id.rpartition(" ")[2], ())}
            reads = set(step.reads)
            if step.kind in ("score", "label") or step.id.startswith("kl"):
                reads -= counts - named(step.text)
            if step.kind == "draw":
                assert reads == named(step.text) - {step.id}
            elif step.id.startswith("kl") and "closed form" in step.why:  # of the distributions, not of the value
                assert reads == named(step.text) - {step.id.removeprefix("kl of ")}
            elif step.kind in ("score", "label"):
                # q of a count being above a number reads no count
                asked = {step.id.rpartition(" ")[2]} if re.search(r"q\(\S+ > ", step.text) else set()
                assert reads == named(step.text) - asked
            elif step.kind == "feature":
                assert reads == set(model_.features[step.id])
            elif step.kind in ("input", "clamped"):
                assert not reads
        values = {step.id for step in graph.steps if " " not in step.id}
        assert values == graph.plan.needed
        assert {step.id for step in graph.steps if step.kind == "clamped"} <= set(graph.plan.clamped)


def test_a_graph_has_no_cycle_and_ends_in_the_bound_alone(all_graphs: list[tuple[Graphs, Computation]]) -> None:
    for _, graph in all_graphs:
        made = directed(graph)
        assert nx.is_directed_acyclic_graph(made)
        place = {step.id: i for i, step in enumerate(graph.steps)}
        assert all(place[read] < place[reader] for read, reader in graph.edges)
        ends = {name for name in made if not made.out_degree(name)}
        unread = {p.node for p in graph.plan.proposals} & ends  # its score is in closed form, and nothing depends on it
        assert ends == {BOUND} | unread
        scores = {step.id for step in graph.steps if step.kind in ("score", "label", "weight")}
        assert set(graph.step[BOUND].reads) == scores
        for i, layer in enumerate(graph.layers()):
            for name in layer:
                assert i == len(nx.dag_longest_path(made.subgraph(nx.ancestors(made, name) | {name}))) - 1
    shipped = [graph for path in SPECS for graph in expansion(outline(load(path))).graphs]
    assert all(directed(graph).out_degree(step.id) for graph in shipped for step in graph.steps if step.id != BOUND)


def varies(model_: Graphs, graph: Computation, names: tuple[str, ...]) -> bool:
    """Tell whether values vary between particles: draws do, means and features where what they read does."""
    steps = [graph.step[name] for name in names]
    through = [s for s in steps if s.kind == "feature" or (s.proposal and s.proposal.estimator.name == "mean")]
    drawn = any(s.kind == "draw" and s not in through for s in steps)
    return drawn or any(varies(model_, graph, s.reads) for s in through)


def test_a_score_is_exact_where_it_reads_no_draw_and_biased_below_one_that_is(
    all_graphs: list[tuple[Graphs, Computation]],
) -> None:
    seen = set()
    for model_, graph in all_graphs:
        made = directed(graph)
        for step in graph.steps:
            if step.kind not in ("score", "label"):
                continue
            biased = any(graph.step[name].biased for name in nx.ancestors(made, step.id))
            if biased:
                assert step.biased
            elif WEIGHT not in graph.step:
                assert not step.biased
                assert (step.tag == "exact") == (not varies(model_, graph, step.reads))
            seen.add((biased, step.tag))
    assert {tag for _, tag in seen} == {"exact", "enumerated", "sampled", "biased"}


def test_a_draw_is_charged_with_what_it_can_influence(all_graphs: list[tuple[Graphs, Computation]]) -> None:
    """The theorem of Schulman et al. 2015: the costs below a draw; all of them where samples meet in Z or a log."""
    seen = {"part": 0, "whole": 0, "none": 0}
    for _, graph in all_graphs:
        made = directed(graph)
        charged = {draw: {score for score, of in graph.charges if of == draw} for draw in made}
        assert len(set(graph.charges)) == len(graph.charges)
        for draw, scores in charged.items():
            step = graph.step[draw]
            if step.proposal is None or step.proposal.estimator.name != "score_function":
                assert not scores
                continue
            below = nx.descendants(made, draw)
            if scores == {BOUND}:
                assert graph.plan.words.bound.name in ("iwae", "supervised") or WEIGHT in below
                seen["whole"] += 1
                continue
            costs = {name for name in below if graph.step[name].kind in ("score", "label")}
            assert scores == (costs if WEIGHT not in below else scores | costs)
            seen["part" if scores else "none"] += 1
    assert all(seen.values()), seen


def test_the_weight_stands_where_terms_are_weighed(all_graphs: list[tuple[Graphs, Computation]]) -> None:
    for _, graph in all_graphs:
        plan: Plan = graph.plan
        bound = " ".join(EachNode(plan).bound())
        assert (WEIGHT in graph.step) == ("(w/Z) " in bound or " w (" in bound)
        if WEIGHT in graph.step:
            varying = {f"label of {w.factor.node}" for w in plan.weights if w.varies}
            every = {f"label of {w.factor.node}" for w in plan.weights}
            assert set(graph.step[WEIGHT].reads) == (varying if plan.words.bound.name == "elbo" else every)
        for step in graph.steps:
            if step.kind == "label" and plan.words.bound.name == "elbo":
                assert f"+ {step.scale} " in bound


TEXT = """\
z-then-y: stochastic computation graphs (Schulman et al. 2015)

rows without labels
  clamped  x
  feature  h                         reads x
  draw     z ~ q(z | h)              reads h        pathwise
           y ~ q(y | h, z)           reads h, z     score_function, baseline leave_one_out
               charged with log p(x | y, z)
  score    log p(x | y, z)           reads x, y, z  sampled
           -KL(q(z | h) || p(z))     reads h        exact (closed form)
           -KL(q(y | h, z) || p(y))  reads h, z     sampled (closed form)
  bound    L = E_r[ log p(x | y, z) - KL(q(z | h) || p(z)) - KL(q(y | h, z) || p(y)) ]    (Eq. (8), Siddharth et al. 2017)

rows with y labelled
  clamped  x
           y
  feature  h                        reads x
  draw     z ~ q(z | h)             reads h                pathwise
  score    log p(x | y, z)          reads x, y, z          sampled
           log p(z)                 reads z                sampled (the label of y depends on it in q)
           -log q(z | h)            reads z, h             sampled (the label of y depends on it in q)
           log p(y)                 reads y                exact
  label    (1 + α) log q(y | h, z)  reads y, h, z          sampled
  weight   w/Z                      reads log q(y | h, z)  sampled
  bound    L = E_r[ (w/Z) (log p(x | y, z) + log p(z) - log q(z | h) + log p(y) - log q(y | h, z)) ]    (Eq. (8), Siddharth et al. 2017)
               with Z = E_r[ w ]
               + (1 + α) E_r[ log q(y | h, z) ]"""  # noqa: E501 - lines are not folded


def test_the_graphs_as_text() -> None:
    assert expand_text(expansion(model(Z_THEN_Y))) == TEXT


def test_lines_are_folded_and_coloured_without_changing_a_word() -> None:
    expanded = expansion(model(EVERYTHING))
    text = expand_text(expanded)
    folded = expand_text(expanded, width=80)
    assert max(map(len, folded.split("\n"))) <= 80
    assert folded.split() == text.split()
    coloured = expand_text(expanded, color=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text


def test_plain_data_hold_the_same_nodes_and_edges() -> None:
    expanded = expansion(model(EVERYTHING, *VARIANTS[1]))
    found = expand_json(expanded)
    assert json.loads(json.dumps(found)) == found
    assert [each["rows"] for each in found["patterns"]] == [graph.plan.rows_text() for graph in expanded.graphs]
    for each, graph in zip(found["patterns"], expanded.graphs, strict=True):
        assert [node["id"] for node in each["nodes"]] == list(graph.step)
        assert [(edge["from"], edge["to"]) for edge in each["edges"]] == list(graph.edges)
        assert [(edge["from"], edge["to"]) for edge in each["charges"]] == list(graph.charges)
        assert each["bound"] == EachNode(graph.plan).bound()
    labelled = expand_json(expansion(model(Z_THEN_Y), frozenset({"y"})))["patterns"][0]["nodes"]
    assert labelled[3] == {
        "id": "z",
        "kind": "draw",
        "text": "z ~ q(z | h)",
        "scale": "1",
        "parameters": ["φ"],
        "tag": "sampled",
        "estimator": "pathwise",
        "support": 0,
    }
    assert labelled[-3] == {
        "id": "label of y",
        "kind": "label",
        "text": "log q(y | h, z)",
        "scale": "(1 + α)",
        "parameters": ["φ"],
        "tag": "sampled",
        "why": "label",
    }


# ---- pictures


@pytest.fixture(scope="module")
def pictured() -> Expansion:
    return expansion(model(Z_THEN_Y), frozenset())


def test_no_edge_passes_through_a_node_and_texts_fit(all_graphs: list[tuple[Graphs, Computation]]) -> None:
    for _, graph in all_graphs[:: len(all_graphs) // 5]:
        layout = lay_out_graph(graph)
        (runs,) = layout.edges.values()
        spots = list(layout.spots.values())
        assert set(layout.spots) == set(graph.step)
        assert set(runs) == {*graph.edges, *graph.charges}
        for edge, run in runs.items():
            for spot in spots:
                assert spot.name in edge or not spot.contains(run, 0.04).any(), (edge, spot.name)
        for i, spot in enumerate(spots):
            corner = [spot.x + max(map(len, spot.lines)) * WIDE / 2, spot.y + len(spot.lines) * HIGH / 2]
            assert spot.contains(np.array([corner])).all(), spot
            for other in spots[:i]:
                across = abs(spot.x - other.x) - (spot.width + other.width) / 2
                assert max(across, abs(spot.y - other.y) - (spot.height + other.height) / 2) > 0.2


def test_every_ending_makes_its_kind_of_file(pictured: Expansion, tmp_path: Path) -> None:
    starts = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF", ".dot": b"digraph"}
    for ending, start in starts.items():
        chart(pictured, tmp_path / f"model{ending}")
        assert (tmp_path / f"model{ending}").read_bytes().startswith(start)
    before = (tmp_path / "model.svg").read_bytes()
    chart(pictured, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == before
    svg = ET.fromstring(before)
    drawn = {each.get("id", "").replace(" ", "-") for each in svg.iter()}
    (graph,) = pictured.graphs
    assert {name for name in drawn if "0-node-" in name} == {f"0-node-{name}".replace(" ", "-") for name in graph.step}
    edges = {f"0-edge-{a}-{b}".replace(" ", "-") for a, b in graph.edges}
    edges |= {f"0-charge-{a}-{b}".replace(" ", "-") for a, b in graph.charges}
    assert {name for name in drawn if name.startswith(("0-edge-", "0-charge-"))} == edges
    words = [each.text or "" for each in svg.iter() if each.tag.endswith("text")]
    assert {"z-then-y", "rows without labels", "what a draw is charged with", "L"} <= set(words)
    with pytest.raises(UsageError) as caught:
        chart(pictured, tmp_path / "model.gif")
    assert str(caught.value) == "'model.gif': a picture ends in .svg, .png, .pdf, .dot or .html"


def test_dot_holds_every_node_and_edge_once() -> None:
    expanded = expansion(model(Z_THEN_Y))
    text = dot_text(expanded)
    assert text.count("subgraph cluster_") == len(expanded.graphs) == 2
    for i, graph in enumerate(expanded.graphs):
        assert set(re.findall(rf'"{i}\.([^"]+)" \[label=', text)) == set(graph.step)
        ends = re.findall(rf'"{i}\.([^"]+)" -> "{i}\.([^"]+)" \[color=', text)
        assert ends == list(graph.edges)
        assert re.findall(rf'"{i}\.([^"]+)" -> "{i}\.([^"]+)" \[style=dashed', text) == list(graph.charges)
    assert text.count(" [label=") == sum(len(graph.steps) for graph in expanded.graphs)
    assert re.search(r'"0\.y" \[label="y\\nscore_function", shape=ellipse, color="#d9730d"', text)
    assert re.search(r'"1\.y" \[label="y", shape=ellipse, style=filled', text)


# ---- which patterns, and the shell


def test_one_pattern_is_chosen_by_its_labels() -> None:
    made = model(EVERYTHING).graphs
    assert pattern_of(made, "none") == frozenset()
    assert pattern_of(made, "k") == {"k"}
    assert pattern_of(made, "k, kind_of_animal") == {"k", "kind_of_animal"}
    for text, message in (
        ("m", "pattern='m': 'm' is not partially supervised; allowed: none, kind_of_animal, k"),
        ("k,none", "pattern='k,none': 'none' is not partially supervised; allowed: none, kind_of_animal, k"),
        (",", "pattern=',': it names no label; allowed: none, kind_of_animal, k"),
    ):
        with pytest.raises(UsageError) as caught:
            pattern_of(made, text)
        assert str(caught.value) == message
    unlabelled = outline(load(ROOT / "specs" / "vae.yaml")).graphs
    assert pattern_of(unlabelled, "none") == frozenset()
    with pytest.raises(UsageError) as caught:
        pattern_of(unlabelled, "y")
    assert str(caught.value) == "pattern='y': 'y' is not partially supervised; allowed: none"


def many(count: int) -> Expansion:
    """Expand a model with many binary labels."""
    q = {"parents": ["x"], "network": {"mlp": []}}
    y = {"distribution": "Bernoulli", "supervision": "partial", "recognition": q}
    names = [f"y{i}" for i in range(count)]
    x = {"distribution": "Normal", "supervision": "full", "generative": {"parents": names, "network": {"mlp": []}}}
    return expansion(outline(load({"version": 1, "nodes": {"x": x, **dict.fromkeys(names, y)}})))


def test_of_many_patterns_some_are_drawn_and_the_rest_counted() -> None:
    expanded = many(4)
    assert len(expanded.graphs) == 6
    assert expand_text(expanded).endswith("\n\nand 10 more observation patterns: pattern shows one")
    assert expand_json(expanded)["patterns_left_out"] == 10
    assert expansion(expanded.outline, frozenset({"y1", "y2"})).left_out == 0


def test_a_graph_too_large_for_a_picture_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        chart(many(50), tmp_path / "m.svg")
    told = "rows without labels: a graph of 153 nodes, and at most 150 are drawn: leave -o out for text, or take json"
    assert str(caught.value) == told


def test_the_shell_expands_one_pattern_or_those_that_are_shown(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(Z_THEN_Y)
    done = call("inspect", tmp_path / "m.yaml", "--expand", "--pattern", "y", "--json")
    assert [each["observed"] for each in json.loads(done.out)["patterns"]] == [["y"]]
    done = call("inspect", tmp_path / "m.yaml", "--expand", "-o", tmp_path / "m.dot")
    assert (done.status, done.out) == (0, f"{tmp_path / 'm.dot'}\n")
    assert (tmp_path / "m.dot").read_text().count("subgraph cluster_") == 2
    done = call("inspect", tmp_path / "m.yaml", "--pattern", "y")
    assert (done.status, done.out) == (2, "")
    assert done.told == "error: --pattern chooses what --expand shows: give both\n"
    done = call("inspect", tmp_path / "m.yaml", "--expand", "--pattern", "z")
    assert done.told == "error: --pattern z: 'z' is not partially supervised; allowed: none, y\n"


def test_expanding_never_imports_torch(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(Z_THEN_Y)
    code = (
        "import sys; from sgc.spec.loader import load; from sgc.spec.resolver import outline\n"
        "from pathlib import Path\n"
        "from sgc.report.pictures.computation_pictures import chart\n"
        "from sgc.report.computation_report import expand_json, expand_text, expansion\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "expanded = expansion(outline(load(folder / 'm.yaml')))\n"
        "expand_text(expanded, width=80, color=True); expand_json(expanded)\n"
        "print([m for m in ('torch', 'matplotlib', 'numpy') if m in sys.modules])\n"
        "chart(expanded, folder / 'm.svg'); print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split("\n")[:2] == ["[]", "False"]
