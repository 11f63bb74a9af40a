"""Repeats in the report: each node once, true of every step of the plans; nothing here needs torch."""

from __future__ import annotations

import itertools
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sgc.cli import app
from sgc.derivation.graph import Role
from sgc.report.independence_notes import notes
from sgc.report.json_report import inspect_json
from sgc.report.pictures.edge_routes import Spot
from sgc.report.pictures.graph_pictures import draw
from sgc.report.pictures.plate_frames import frame
from sgc.report.plated_plan import PlatedPlan, plan_of
from sgc.report.plates import Plated, Relative, plated
from sgc.report.products import product
from sgc.report.step_ranges import boxes
from sgc.report.text_report import inspect_text
from sgc.report.warning_notes import warnings
from sgc.spec.document import parse
from sgc.spec.loader import load
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline

COUNTED = """
version: 1
name: counted
features: {sum: {parents: [obj.part], network: {combine: sum}}}
nodes:
  k: {distribution: Categorical, values: [1, 2, 3], supervision: partial,
      recognition: {parents: [x], network: {mlp: [4]}, estimator: enumerate}}
  x: {distribution: Normal, shape: [4], supervision: full, generative: {parameters: {loc: sum}}}
repeat:
  obj:
    count: k
    carry: {state: {parents: [x, prev.at], network: [{mlp: [6]}, {gru: 5}]}}
    features: {part: {parents: [at], network: {mlp: [4]}}}
    nodes:
      at: {distribution: Normal, shape: [2], supervision: partial,
           recognition: {parents: [state], network: {mlp: [4]}}}
"""
CHAIN = """
version: 1
name: chain
repeat:
  t:
    count: 5
    carry: {later: {parents: [x], network: {gru: 3}, direction: backward}}
    nodes:
      s: {distribution: Categorical, categories: 3, supervision: partial, generative: {parents: [prev.s], network: {mlp: []}},
          recognition: {parents: [prev.s, later], network: {mlp: [4]}, estimator: score_function}}
      z: {distribution: Normal, shape: [2], supervision: none, generative: {parents: [prev.z, s], network: {mlp: []}},
          recognition: {parents: [later, prev.z], network: {mlp: [4]}}}
      x: {distribution: Normal, shape: [2], supervision: full, generative: {parents: [s, z], network: {mlp: []}}}
objective: {samples: 3}
"""
NESTED = """
version: 1
name: nested
nodes:
  g: {distribution: Normal, shape: [2], supervision: none, recognition: {parents: [doc.topic], network: {mlp: [8]}}}
repeat:
  doc:
    count: 3
    carry:
      up: {parents: [sent.x], network: [{mlp: [6]}, {gru: 5}], direction: backward}
    nodes:
      m: {distribution: Categorical, values: [1, 2], supervision: full, generative: {learn: true}}
      topic:
        distribution: Categorical
        categories: 4
        supervision: partial
        generative: {parents: [prev.topic, g], network: {mlp: []}}
        recognition: {parents: [up, prev.topic], network: {mlp: [8]}}
    repeat:
      sent:
        count: m
        carry:
          memory: {parents: [prev.x, topic], network: {gru: 4}}
        nodes:
          x: {distribution: Normal, shape: [3], supervision: full,
              generative: {parents: [memory, prev.z, z], network: {mlp: [8]}}}
          z: {distribution: Normal, shape: [2], supervision: none, generative: {parents: [prev.z], network: {mlp: [4]}},
              recognition: {parents: [x, topic, prev.z], network: {mlp: [4]}}}
objective: {samples: 4}
"""
SPECS = {"counted": COUNTED, "chain": CHAIN, "nested": NESTED}
ROLES: tuple[Role, Role] = ("generative", "recognition")

# ruff: noqa: E501 - lines of the report are not folded
COUNTED_PRODUCTS = """\
p(k, x, obj.at) = p(k) p(x | sum) prod_{obj=1..k} p(obj.at)
q(k, obj.at | x) = q(k | x) prod_{obj=1..k} q(obj.at | state)"""
CHAIN_PLAN = """\
rows without labels
  clamped   t.x
  proposed  prod_{t=1..5} q(t.s | prev.s, later)  score_function, baseline leave_one_out
            prod_{t=1..5} q(t.z | later, prev.z)  pathwise
  r =       prod_{t=1..5} [q(t.s | prev.s, later) q(t.z | later, prev.z)]
  w =       1
  p =       prod_{t=1..5} [p(t.s | prev.s) p(t.z | prev.z, s) p(t.x | s, z)]
  bound     L = E_r[ -sum_{t=1..5} KL(q(t.s | prev.s, later) || p(t.s | prev.s)) - sum_{t=1..5} KL(q(t.z | later, prev.z) || p(t.z | prev.z, s)) + sum_{t=1..5} log p(t.x | s, z) ]    (Eq. (8), Siddharth et al. 2017)
  terms     -sum_{t=1..5} KL(q(t.s | prev.s, later) || p(t.s | prev.s))     sampled (closed form; exact at t=1)
            -sum_{t=1..5} KL(q(t.z | later, prev.z) || p(t.z | prev.z, s))  sampled (closed form)
            sum_{t=1..5} log p(t.x | s, z)                                  sampled
  charged   prod_{t=1..5} q(t.s | prev.s, later): -KL(q(t.s | prev.s, later) || p(t.s | prev.s)) of later steps, -KL(q(t.z | later, prev.z) || p(t.z | prev.z, s)) of this and later steps, log p(t.x | s, z) of this and later steps
  cost      3 particles a row, nothing enumerated"""
CHAIN_LATEX = r"""\begin{aligned}
r &= \prod_{t=1}^{5} q(\mathrm{t.z} \mid \mathrm{later}, \mathrm{prev.z}) \\
w &= \prod_{t=1}^{5} q(\mathrm{t.s} \mid \mathrm{prev.s}, \mathrm{later}) \\
\mathcal{L} &= \mathbb{E}_{r}\left[ \sum_{t=1}^{5} \log p(\mathrm{t.s} \mid \mathrm{prev.s}) - \sum_{t=1}^{5} \mathrm{KL}\left(q(\mathrm{t.z} \mid \mathrm{later}, \mathrm{prev.z}) \,\|\, p(\mathrm{t.z} \mid \mathrm{prev.z}, s)\right) + \sum_{t=1}^{5} \log p(\mathrm{t.x} \mid s, z) \right] \\
&\quad + \alpha \sum_{t=1}^{5} \log q(\mathrm{t.s} \mid \mathrm{prev.s}, \mathrm{later})
\end{aligned}"""
NESTED_P = (
    "p(g, doc.m, doc.topic, doc.sent.x, doc.sent.z) = prod_{doc=1..3} [p(doc.m) "
    "prod_{sent=1..m} [p(doc.sent.x | memory, prev.z, z) p(doc.sent.z | prev.z)] p(doc.topic | prev.topic, g)] p(g)"
)


@cache
def made(name: str) -> Outline:
    return outline(load(parse(SPECS[name], "spec.yaml").data))


@cache
def view(name: str) -> Plated:
    return plated(made(name))


def patterns(name: str) -> list[frozenset[str]]:
    partial = view(name).outline.graphs.partial
    return [frozenset(each) for size in range(len(partial) + 1) for each in itertools.combinations(partial, size)]


def written(name: str) -> list[PlatedPlan]:
    found = [plan_of(view(name), observed) for observed in patterns(name)]
    assert all(isinstance(plan, PlatedPlan) for plan in found)
    return [plan for plan in found if isinstance(plan, PlatedPlan)]


each_spec = pytest.mark.parametrize("name", SPECS)


def test_products() -> None:
    assert "\n".join(product(made("counted"), role) for role in ROLES) == COUNTED_PRODUCTS


def test_a_product_over_nested_repeats() -> None:
    assert product(made("nested"), "generative") == NESTED_P


def test_a_plan() -> None:
    first, second = written("chain")
    assert first.text() == CHAIN_PLAN
    assert second.equations() == CHAIN_LATEX


def drawn_twice(estimator: str) -> Outline:
    """A repeat of two nodes that may be labelled: q of each reads the other, of its step or of the step before."""

    def node(*parents: str) -> dict[str, Any]:
        q = {"parents": list(parents), "network": {"mlp": [3]}, "estimator": estimator}
        return {"distribution": "Categorical", "categories": 2, "supervision": "partial", "recognition": q}

    p = {"parents": ["a", "b"], "network": {"mlp": [3]}}
    nodes = {
        "a": node("x", "prev.b"),
        "b": node("x", "a"),
        "x": {"distribution": "Normal", "supervision": "full", "generative": p},
    }
    return outline(load({"version": 1, "repeat": {"t": {"count": 3, "nodes": nodes}}, "objective": {"samples": 2}}))


def test_what_draws_are_charged_with_stands_once() -> None:
    lines = plan_of(plated(drawn_twice("score_function")), ()).text().split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith("  charged"))
    assert [line for line in lines if re.search(r"\): ", line)] == lines[start : start + 2]


def test_a_node_that_is_relaxed_at_all_its_steps_is_named_once() -> None:
    """With `a` labelled, a label depends on `b` at each step but the last, which stands by itself."""
    text = plan_of(plated(drawn_twice("gumbel_softmax")), ["t.a"]).text()
    assert "            prod_{t=3} q(t.b | x, a)     gumbel_softmax\n" in text
    assert "    not a bound: t.b is relaxed or averaged, not drawn\n" in text


def test_repeats_and_carries_in_the_report() -> None:
    text = inspect_text(made("nested"))
    assert "repeats\n  doc       3           holds m, topic  carries up (backward)\n" in text
    assert "  doc.sent  m (1 to 2)  holds x, z      carries memory (forward)\n" in text
    assert "  doc.up           [5]  of sent.x         mlp 6 relu, gru 5\n" in text
    assert "repeats\n  obj  k (1 to 3)  holds at; features part  carries state (forward)\n" in inspect_text(
        made("counted")
    )


@each_spec
def test_no_step_and_nothing_hidden_is_named(name: str) -> None:
    said = [inspect_text(made(name)), json.dumps(inspect_json(made(name))), *warnings(made(name)), *notes(made(name))]
    hidden = {view(name).names.of(flat) for flat in made(name).spec.unrolled.hidden} - view(name).names.shown
    for text in said:
        assert not re.search(r"[@‹›]", text)
        assert not [each for each in hidden if re.search(rf"(?<![\w.]){re.escape(each)}(?![\w.])", text)]


@each_spec
def test_the_parameters_are_those_of_the_whole_model(name: str) -> None:
    assert view(name).outline.parameter_count() == made(name).parameter_count()


@each_spec
def test_every_term_of_every_step_is_written_once_and_as_it_is(name: str) -> None:
    for found in written(name):
        flat: list[tuple[str, str]] = []
        for term in found.plan.terms:
            nodes = found.groups.of(term.node, label=False).flat
            tags = {term.tag, *re.findall(r"(exact|enumerated|sampled|biased) at", found.reason(term))}
            real = {t.node: t.tag for t in found.flat.terms if t.role == term.role and t.node in nodes}
            assert set(real) == set(nodes)
            assert set(real.values()) == tags
            flat += [(node, term.role) for node in nodes]
        assert sorted(flat) == sorted((t.node, t.role) for t in found.flat.terms)


@each_spec
def test_every_factor_of_the_weight_varies_as_its_steps_do(name: str) -> None:
    for found in written(name):
        said: dict[str, bool] = {}
        for weight in found.plan.weights:
            said |= dict.fromkeys(found.groups.of(weight.factor.node, label=True).flat, weight.varies)
        assert said == {w.factor.node: w.varies for w in found.flat.weights}


@each_spec
def test_what_a_step_reads_is_what_the_file_says_of_all_its_steps(name: str) -> None:
    """Read back from the plate, step by step, with what stands before the first and behind the last left out."""
    names, graphs = view(name).names, made(name).graphs
    for role in ROLES:
        links = view(name).links(role)
        for flat in (*graphs.nodes, *(each for each in graphs.features if each not in names.hidden)):
            wanted = {seen for seen, child in links if child == names.of(flat)}
            assert set(names.relatives(flat, graphs.parents(flat, role))) == wanted
            assert all(abs(seen.shift) <= 1 for seen in wanted)
    assert Relative("t.later", 1) in {seen for seen, child in view("chain").links("recognition") if child == "t.later"}


def test_a_name_hidden_by_a_nearer_one_is_written_whole() -> None:
    text = CHAIN.replace(
        "nodes:\n      s:", "features: {w: {parents: [t.z], network: {mlp: [2]}}}\n    nodes:\n      s:"
    )
    found = plated(outline(load(parse(text).data)))
    assert found.names.short("t.s", "t.z") == "z"
    assert found.outline.features["t.w"].parents == ("z",)


def test_ranges_of_steps_hold_each_step_once() -> None:
    every = list(itertools.product(range(3), range(2)))
    for size in range(1, len(every) + 1):
        for chosen in itertools.combinations(every, size):
            found = [i for box in boxes(chosen) for i in itertools.product(*(range(a, b + 1) for a, b in box))]
            assert sorted(found) == sorted(chosen)


def test_check_says_each_thing_once_and_counts_nodes_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(COUNTED)
    done = CliRunner().invoke(app, ["check", str(path)])
    assert done.exit_code == 0
    assert done.stdout == f"{path}: valid, 3 nodes, 328 parameters\n"
    assert notes(made("counted")) == NOTES


NOTES = [
    "given x and earlier obj.at, q makes k and obj.at independent, but x depends on both: "
    "add k to the recognition parents of obj.at",
]


@each_spec
@pytest.mark.parametrize("role", ROLES)
def test_frames_hold_their_own_nodes_and_no_others(name: str, role: Role) -> None:
    framed, names = frame(view(name)), view(name).names

    def within(inner: Spot, outer: Spot) -> bool:
        across = abs(inner.x - outer.x) + inner.width / 2 <= outer.width / 2
        return across and abs(inner.y - outer.y) + inner.height / 2 <= outer.height / 2

    def apart(one: Spot, other: Spot) -> bool:
        across = abs(one.x - other.x) >= (one.width + other.width) / 2
        return across or abs(one.y - other.y) >= (one.height + other.height) / 2

    for each in framed.frames:
        for node, spot in framed.layout.spots.items():
            assert (within if each.plate in names.plates(node) else apart)(spot, each.spot)
        for other in framed.frames:
            if other.plate.name.startswith(f"{each.plate.name}."):
                assert within(other.spot, each.spot)
    links = {(seen.name, child): seen.shift for seen, child in view(name).links(role) if seen.shift}
    drawn = {edge: shift for edge, (_, shift) in framed.steps[role].items()}
    assert drawn.items() <= links.items()
    nodes = view(name).outline.graphs.nodes
    assert {edge for edge in links if edge[1] in nodes} <= set(drawn)


def test_pictures_of_repeats_have_frames_counts_and_step_edges(tmp_path: Path) -> None:
    for ending in ("svg", "dot"):
        draw(made("nested"), tmp_path / f"x.{ending}")
    svg, dot = (tmp_path / "x.svg").read_text(), (tmp_path / "x.dot").read_text()
    for role in ROLES:
        assert all(f'id="{role}-repeat-{name}"' in svg for name in ("doc", "doc.sent"))
        assert f'id="{role}-step-doc.sent.z-doc.sent.z"' in svg
        assert f'id="{role}-count-doc.m-doc.sent"' in svg
        around, inner = dot.split(f'subgraph "cluster_{role}.doc"')[1].split(f'subgraph "cluster_{role}.doc.sent"')
        assert f'"{role}.doc.topic";' in around
        assert f'"{role}.doc.sent.z";' in inner.split("}")[0]
    assert "doc: 3" in svg
    assert "sent: m (1 to 2)" in svg
    assert "@" not in svg.split("<metadata>")[-1].split("</metadata>")[-1] + dot


def test_the_computation_graph_of_a_pattern_named_as_in_the_file_or_by_a_step(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(COUNTED)
    for word, rows in (("obj.at", "obj.at"), ("obj.at@2", "obj.at at obj=2")):
        done = CliRunner().invoke(app, ["inspect", str(path), "--expand", "--pattern", word])
        assert done.exit_code == 0
        assert f"rows with {rows} labelled" in done.stdout
