"""The JSON Schema: it takes what the loader takes, in every short form, and refuses what the loader refuses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from sgc.data.sources.source_section import SOURCES
from sgc.data.transforms.transforms import TRANSFORMS
from sgc.distributions.families import FAMILIES
from sgc.errors import SpecError
from sgc.networks.layers import ACTIVATIONS, LAYERS
from sgc.objectives.estimators import ESTIMATORS
from sgc.report.json_schema import json_schema
from sgc.spec.document import parse
from sgc.spec.loader import load
from sgc.spec.spec import Spec
from sgc.starter.starting_spec import starting_spec

SPECS = sorted((Path(__file__).parent.parent / "specs").glob("*.yaml"))
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

BASE: dict[str, Any] = yaml.safe_load(
    """
    version: 1
    name: base
    inputs: {site: {values: [A, 2, 1.5, true]}}
    networks: {trunk: [{mlp: [4]}, {layers: [Flatten, {Linear: 3}, {Linear: {out_features: 3, bias: false}}, ReLU]}]}
    features: {h: {parents: [x], network: trunk}}
    nodes:
      x: {distribution: Bernoulli, shape: [4], supervision: full, generative: {parents: [z], network: {mlp: []}}}
      z: {distribution: Normal, supervision: none, generative: {parameters: {loc: 0, scale: {start: 1}}},
          recognition: {parents: [h, site], network: [{mlp: [4], activation: elu}], estimator: pathwise}}
      c: {distribution: Categorical, categories: 2, supervision: none,
          recognition: {parents: [x], network: {mlp: [2]}, estimator: {gumbel_softmax: {temperature: 0.5}}}}
      n: {distribution: {Binomial: {total_count: 3}}, supervision: partial,
          recognition: {parents: [x], network: {mlp: [2]}, estimator: enumerate}}
    objective: {samples: 2, alpha: {n: {from: 1, to: 2, epochs: 3}}, kl_weight: 0.5, gamma: 1}
    train: {batch_size: {unlabelled: 4, labelled: 2}, optimizer: {lr: {from: 1.0, to: 0.5, epochs: 2, curve: cosine}}}
    data:
      source: npz
      file: x.npz
      columns:
        x: {column: image, transforms: [flatten, {divide: 2}, {binarize: dynamic}]}
        n: {column: [a]}
        site: {column: s, transforms: []}
      split: {test: 0, validation: 0.1}
      labels: {n: {count: 3}}
    """
)


def read(spec: dict[str, Any]) -> Spec:
    """Load a spec, its pieces first."""
    Spec.model_validate(spec)
    return load(spec)


def changed(path: str, value: Any) -> dict[str, Any]:
    """Give the base with another value at a path; `...` takes the key out."""
    spec = copy.deepcopy(BASE)
    *above, last = path.split(".")
    here = spec
    for key in above:
        here = here.setdefault(key, {})
    if value is ...:
        del here[last]
    else:
        here[last] = value
    return spec


def test_it_is_a_schema_of_its_dialect() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["title"] == "sgc spec"


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_the_specs_of_the_project_are_taken(path: Path) -> None:
    load(path)
    VALIDATOR.validate(parse(path.read_text(encoding="utf-8")).data)


def test_a_starting_spec_is_taken() -> None:
    VALIDATOR.validate(parse(starting_spec("start")).data)


def test_a_spec_written_out_with_all_defaults_is_taken() -> None:
    VALIDATOR.validate(load(copy.deepcopy(BASE)).plain())


DERIVED = {  # what has no parents written
    **BASE["nodes"],
    "z": {**BASE["nodes"]["z"], "recognition": {"network": {"mlp": [4]}}},
    "c": {**BASE["nodes"]["c"], "recognition": {"network": {"mlp": [2]}}},
    "n": {**BASE["nodes"]["n"], "recognition": {"network": {"mlp": [2]}, "estimator": "enumerate"}},
}
COLUMNS = {name: {"column": name} for name in ("x", "n", "site")}
GOOD = [
    ("data", {"source": "images", "root": "d", "mode": "grey", "size": [8, 9], "columns": COLUMNS}),
    ("data", {"source": "mat", "file": "a.mat", "rows": "last", "columns": COLUMNS}),
    ("data", {"source": "fashion-mnist", "columns": COLUMNS}),
    ("objective.alpha", 3),
    ("objective.alpha", {"over_rate": 0.1}),
    ("objective.alpha", {"from": 1, "to": 2, "epochs": 3}),
    ("objective.alpha", {"over_rate": {"from": 1, "to": 2, "epochs": 3}}),
    ("objective.gamma", ...),
    ("objective.gamma", {"from": 0, "to": 1, "epochs": 3}),
    ("train.clip_norm", {"from": 1, "to": 2, "epochs": 3}),
    (
        "train.optimizer",
        {"weight_decay": {"from": 1, "to": 0, "epochs": 3}, "betas": [0.9, {"from": 0, "to": 0.9, "epochs": 3}]},
    ),
    ("train.optimizer", {"name": "RMSprop", "momentum": {"from": 0, "to": 0.9, "epochs": 3}, "eps": 1e-8}),
    ("networks.trunk", {"mlp": [4], "dropout": {"from": 0.5, "to": 0, "epochs": 3}}),
    ("networks.trunk", {"layers": [{"Linear": 2}, {"Dropout": {"from": 0.5, "to": 0, "epochs": 3}}]}),
    ("networks.trunk", {"layers": [{"Linear": 2}, {"Dropout": {"p": {"from": 0.5, "to": 0, "epochs": 3}}}]}),
    ("nodes.z.generative.parameters", {"loc": {"from": 1, "to": 0, "epochs": 3}, "scale": 2}),
    ("train.batch_size", 10),
    ("networks.trunk", {"mlp": [4], "norm": "layer", "dropout": 0.1}),
    ("nodes.c.recognition.estimator", "gumbel_softmax"),
    ("nodes.c.recognition.estimator", {"enumerate": {}}),
    ("nodes.c.recognition.estimator", ...),
    ("nodes.z.distribution", {"Normal": {}}),
    ("nodes.z.distribution", {"name": "Normal", "options": {}}),
    ("nodes.z.generative.parameters", {"loc": 0.5, "scale": {"start": 1, "learn": False}}),
    ("features.h.network", [{"layers": [{"Linear": 2}, {"Dropout": 0.1}, {"Dropout": {}}, "Dropout", "LayerNorm"]}]),
    ("nodes.x", {**BASE["nodes"]["x"], "supervision": "partial", "missing": "drop"}),
    ("data.split", {"test": 0.5}),
    ("data.labels.n", {"fraction": 1}),
    ("data.labels.n", {"per_category": 2}),
    ("data", {"columns": {"x": {"column": "image"}, "n": {"column": "label"}, "site": {"column": "label"}}}),
    ("data.columns.x.transforms", [{"resize": [2, 2]}, "standardize", {"binarize": 0.5}]),
    ("data.columns.x.transforms", [{"crop": [2, 2]}, {"crop": {"size": [2, 2]}}, {"angle": "degrees"}]),
    ("data.columns.x.transforms", [{"crop": {"size": [2, 2], "from": [0, 1]}}, {"direction": "radians"}]),
    ("data.columns.x.transforms", [{"one_of": ["a", 1, 2.5, True]}]),
]


@pytest.mark.parametrize(("path", "value"), [("name", "base"), *GOOD], ids=str)
def test_what_the_loader_takes_is_taken(path: str, value: Any) -> None:
    spec = changed(path, value)
    VALIDATOR.validate(spec)
    load(spec)


OWN = {"python": "mine:Own", "parameters": {"loc": "real"}, "support": "real", "draws": "pathwise"}


def test_an_own_family_is_taken_as_it_is_under_trust() -> None:
    for more in ({}, {"event_dim": 1}, {"support": "integer_interval", "upper": 3}):
        spec = changed("nodes.x.distribution", {**OWN, **more})
        VALIDATOR.validate(spec)
        VALIDATOR.validate(load(spec, trust=True).plain())


@pytest.mark.parametrize("rule", ["auto", {"parents": "auto"}, {"parents": "auto", "network": {"mlp": [4]}}], ids=str)
def test_derived_parents_are_taken(rule: Any) -> None:
    spec = {**changed("nodes", copy.deepcopy(DERIVED)), "recognition": rule}
    spec["nodes"]["x"]["generative"]["parents"] = ["z", "c", "n"]
    VALIDATOR.validate(spec)
    VALIDATOR.validate(load({k: v for k, v in spec.items() if k != "data"}).plain())


BAD = [
    ("recognition", "atuo"),
    ("recognition", {"network": {"mlp": [4]}}),
    ("recognition", {"parents": ["x"], "network": {"mlp": [4]}}),
    ("recognition", {"parents": "auto", "estimator": "mean"}),
    ("recognition", None),
    ("nodes.x.distribution", {**OWN, "python": "os.system"}),
    ("nodes.x.distribution", {**OWN, "python": "a:b.c"}),
    ("nodes.x.distribution", {**OWN, "draws": "often"}),
    ("nodes.x.distribution", {**OWN, "parameters": {"loc": "reel"}}),
    ("nodes.x.distribution", {**OWN, "parameters": {}}),
    ("nodes.x.distribution", {**OWN, "levels": 3}),
    ("colour", 3),
    ("version", 2),
    ("nodes", ...),
    ("nodes.x.shpae", [4]),
    ("nodes.x.shape", ["4"]),
    ("nodes.x.shape", None),
    ("nodes.x.generative", None),
    ("nodes.x.supervision", "always"),
    ("nodes.x", {**BASE["nodes"]["x"], "supervision": "partial", "missing": "skip"}),
    ("nodes.x", {**BASE["nodes"]["x"], "supervision": "partial", "missing": None}),
    ("nodes.c.distribution", "Categorial"),
    ("nodes.n.distribution", "Binomial"),
    ("nodes.n.distribution", {"Binomial": {"total_count": 0}}),
    ("nodes.n.distribution", {"Binomial": {"count": 3}}),
    ("nodes.1x", {"distribution": "Normal", "supervision": "full"}),
    ("nodes.c.recognition.estimator", "gumbel"),
    ("nodes.c.recognition.estimator", {"gumbel_softmax": {"temperature": 0}}),
    ("nodes.c.recognition.estimator", {"gumbel_softmax": {"heat": 1}}),
    ("nodes.c.recognition.estimator", None),
    ("nodes.c.categories", 1),
    ("nodes.z.generative.parameters.scale", {"start": "1"}),
    ("networks.trunk", "other"),
    ("networks.trunk", {"mpl": [4]}),
    ("networks.trunk", {"mlp": [4], "activation": "rleu"}),
    ("networks.trunk", []),
    ("networks.trunk", [{"layers": ["Linear"]}]),
    ("networks.trunk", [{"layers": [{"Linear": {"width": 3}}]}]),
    ("networks.trunk", [{"layers": [{"Linear": 3, "ReLU": {}}]}]),
    ("networks.trunk", [{"layers": ["Relu"]}]),
    ("objective.alpha", -1),
    ("objective.samples", 0),
    ("objective.samples", 1.5),
    ("objective.kl_weight", {"from": 1, "to": 2}),
    ("objective.samples", {"from": 1, "to": 2, "epochs": 3}),
    ("nodes.z.generative.parameters.scale", {"from": 1, "to": 2}),
    ("nodes.z.generative.parameters.scale", {"from": 1, "to": 2, "epochs": 3, "learn": True}),
    ("networks.trunk", {"layers": [{"Linear": 2}, {"Dropout": {"from": 0.5, "to": 0}}]}),
    ("train.batch_size", {"unlabelled": 4}),
    ("train.optimizer.name", "Adamm"),
    ("data.source", "csv"),
    ("data.columns.x.transforms", ["scale"]),
    ("data.columns.x.transforms", [{"crop": [2]}]),
    ("data.columns.x.transforms", [{"crop": {"from": [2, 2]}}]),
    ("data.columns.x.transforms", [{"angle": "turns"}]),
    ("data.columns.x.transforms", [{"one_of": ["a"]}]),
    ("data.columns.x.transforms", [{"binarize": "often"}]),
    ("data.split", {"test": 1.5}),
    ("data.labels.n", {"cuont": 3}),
    ("data.missing_values", [""]),
    ("data", {"source": "images", "root": "d", "columns": COLUMNS}),
    ("data", {"source": "images", "root": "d", "mode": "gray", "columns": COLUMNS}),
    ("data", {"source": "mat", "file": "a.mat", "rows": 1, "columns": COLUMNS}),
    ("data", {"source": "svhn", "root": "d", "columns": COLUMNS}),
    ("data", {"source": "python", "python": "mine", "columns": COLUMNS}),
]


@pytest.mark.parametrize(("path", "value"), BAD, ids=str)
def test_what_the_loader_refuses_is_refused(path: str, value: Any) -> None:
    spec = changed(path, value)
    assert not VALIDATOR.is_valid(spec)
    with pytest.raises((SpecError, ValidationError)):
        read(spec)


def test_every_kind_is_offered_by_its_name() -> None:
    text = str(SCHEMA)
    for name in [*ESTIMATORS, *FAMILIES, *LAYERS, *ACTIVATIONS, *SOURCES, *TRANSFORMS]:
        assert f"'{name}'" in text


def test_every_kind_of_words_is_described() -> None:
    bare = {name for name, body in SCHEMA["$defs"].items() if "description" not in body}
    assert bare <= {kind.__name__ for kind in LAYERS.values()}  # activations, whose names say it
