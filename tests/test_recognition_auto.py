"""`recognition: auto` in specs: the same model as the one with its parents written, in every command and every file."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from oracle import random_spec
from small_runs import Raw, changed, small, small_arrays

import sgc
from sgc.errors import SpecError
from sgc.report.independence_notes import notes
from sgc.report.json_report import inspect_json
from sgc.report.text_report import inspect_text
from sgc.report.warning_notes import warnings
from sgc.runs.run_folder import RunFolder
from sgc.spec.document import parse
from sgc.spec.loader import load, validate
from sgc.spec.resolver import outline
from sgc.training.trainer import train

MLP = {"mlp": [6]}


def left_open(spec: Raw, rule: Any = "auto") -> Raw:  # Any: plain data
    """Take the recognition parents of a spec out and have them derived."""
    made = changed(spec, recognition=rule)
    for node in made["nodes"].values():
        node.get("recognition", {}).pop("parents", None)
    return made


def parents(spec: Raw) -> dict[str, tuple[str, ...]]:
    nodes = load(spec).nodes
    return {name: node.recognition.parents for name, node in nodes.items() if node.recognition is not None}


def test_it_is_the_spec_with_its_parents_written() -> None:
    wanted = load(small())
    found = load(left_open(small()))
    assert found == wanted
    assert found.plain() == wanted.plain()
    assert (found.derived, wanted.derived) == ({"y", "z"}, set())


def test_a_default_network_is_for_those_without_one() -> None:
    rule = {"parents": "auto", "network": {"mlp": [7, 7]}}
    bare = left_open(small(nodes__y__recognition=None, nodes__z__recognition={"parameters": {"scale": 1}}), rule)
    assert load(bare).plain() == load(small(
        nodes__y__recognition={"parents": ["x"], "network": {"mlp": [7, 7]}},
        nodes__z__recognition={"parents": ["x", "y"], "network": {"mlp": [7, 7]}, "parameters": {"scale": 1}},
    )).plain()  # fmt: skip
    own = left_open(small(nodes__y__recognition=None), rule)
    assert load(own).nodes["z"].recognition == load(small()).nodes["z"].recognition


def test_a_default_network_may_be_named_and_is_shared() -> None:
    nodes = small()["nodes"]
    twin = {**nodes["x"], "generative": {"parents": ["z"], "network": MLP}}
    spec = {
        "version": 1,
        "networks": {"look": MLP},
        "recognition": {"parents": "auto", "network": "look"},
        "nodes": {"x": twin, "w": {**twin, "generative": {"parents": ["v"], "network": MLP}},
                  "z": {"distribution": "Normal", "supervision": "none"},
                  "v": {"distribution": "Normal", "supervision": "none"}},
    }  # fmt: skip
    made = outline(load(spec))
    assert {density.trunk for density in made.recognition.values()} == {"look"}
    assert sum(p.numel() for p in sgc.compile(made.spec).parameters()) == made.parameter_count()


def test_features_are_seen_through_and_inputs_are_known() -> None:
    spec = left_open(
        small(
            inputs={"site": {"categories": 2}, "unread": {"categories": 2}},
            features={"f": {"parents": ["z", "g"], "network": MLP}, "g": {"parents": ["site"], "network": MLP}},
            nodes__x__generative={"parents": ["y", "f"], "network": MLP},
        )
    )
    assert parents(spec) == {"y": ("x", "site"), "z": ("x", "site", "y")}
    named = changed(spec, nodes__x__generative={"parents": ["y"], "network": MLP, "parameters": {"loc": "f"}})
    named["features"]["f"]["network"] = {"layers": [{"Linear": 3}]}
    assert parents(named) == parents(spec)


def test_a_node_that_nothing_observed_tells_of_has_no_parents_and_no_network() -> None:
    alone = {"distribution": "Normal", "supervision": "none"}
    spec = left_open(small(nodes__alone=alone), {"parents": "auto", "network": MLP})
    recognition = load(spec).nodes["alone"].recognition
    assert recognition is not None
    assert (recognition.parents, recognition.network) == ((), None)
    assert "q(alone) reads no node: it proposes the same for every row" in warnings(outline(load(spec)))


def test_any_model_survives_being_written_out_and_takes_a_step() -> None:
    """80 random models, of which the first 8 without inputs take a step on rows without labels."""
    rng, steps = random.Random(0), 0
    for _ in range(80):
        spec = left_open(random_spec(rng), {"parents": "auto", "network": {"mlp": [3]}})
        for node in spec["nodes"].values():
            node.pop("recognition", None)
        found = load(spec)
        again = load(yaml.safe_load(yaml.safe_dump(found.plain(), sort_keys=False)))
        assert again == found
        assert notes(outline(found)) == []
        if steps < 8 and not found.inputs and found.derived:
            steps += 1
            compiled = sgc.compile(found)
            rows = {n: v for n, v in compiled.generate(4).items() if found.nodes[n].supervision == "full"}
            if rows:
                compiled.objective(rows).loss.backward()
    assert steps == 8


def test_a_run_keeps_the_derived_parents_and_resumes_under_either_spelling(tmp_path: Path) -> None:
    data, folder = small_arrays(), tmp_path / "run"
    train(load(left_open(small())), data=data, output=folder)
    kept = yaml.safe_load(RunFolder(folder).spec_path.read_text())
    assert "recognition" not in kept
    assert kept["nodes"]["z"]["recognition"]["parents"] == ["x", "y"]
    assert load(kept) == load(small())
    weights = (folder / "last.safetensors").read_bytes()
    for spec in (left_open(small()), small()):
        train(load(spec), data=data, output=folder, resume=True)
    assert (folder / "last.safetensors").read_bytes() == weights


# ---- what is said of it


def test_inspect_shows_the_parents_and_that_they_were_derived() -> None:
    derived, by_hand = outline(load(left_open(small()))), outline(load(small()))
    line = "  parents of q: derived from p (auto, Webb et al. 2018)\n"
    text = inspect_text(derived)
    assert f"  q(y, z | x) = q(y | x) q(z | x, y)\n{line}" in text
    assert text.replace(line, "") == inspect_text(by_hand)
    assert inspect_json(derived)["recognition_parents"] == "derived from p (auto, Webb et al. 2018)"
    assert inspect_json(by_hand)["recognition_parents"] == "as written"


def test_a_faithful_q_that_is_larger_than_a_spec_may_be_is_refused_in_words() -> None:
    """1000 causes of one observation all depend on each other given it: 500,500 parents, whatever the order."""
    causes = [f"z{i}" for i in range(1000)]
    lines = ["version: 1", "recognition: {parents: auto, network: {mlp: [3]}}", "nodes:"]
    lines += [f"  {name}: {{distribution: Normal, supervision: none}}" for name in causes]
    lines += ["  x:", "    distribution: Normal", "    supervision: full"]
    lines += [f"    generative: {{parents: [{', '.join(causes)}], network: {{mlp: [3]}}}}"]
    with pytest.raises(SpecError) as caught:
        validate(parse("\n".join(lines)))
    assert [str(fault) for fault in caught.value.faults] == [
        "spec:2:14: recognition: a faithful q has more than 50000 parents in all, more than a spec may write out\n"
        "    2 | recognition: {parents: auto, network: {mlp: [3]}}\n"
        "      |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ give each node its recognition parents"
    ]


def test_nothing_is_derived_where_what_p_reads_is_wrong() -> None:
    """A feature or an input that cannot be read leaves p unknown: its own fault is told, and no other."""
    wrong = {"h": {"parents": ["w"], "network": {"layers": [4]}}}
    made = left_open(small())
    made["nodes"]["w"] = {"distribution": "Normal", "supervision": "full"}
    for section, body in (("features", wrong), ("inputs", {"h": {"categories": "many"}})):
        spec = {**made, section: body, "nodes": {**made["nodes"]}}
        spec["nodes"]["x"] = {**spec["nodes"]["x"], "generative": {"parents": ["y", "z", "h"], "network": MLP}}
        with pytest.raises(SpecError) as caught:
            load(spec)
        assert {fault.path[:2] for fault in caught.value.faults} == {(section, "h")}
