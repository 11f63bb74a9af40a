"""Whole specs around the examples of keys, so that the loader takes each example where it belongs."""

from __future__ import annotations

import copy
from typing import Any

from sgc.data.sources.source_section import SOURCES
from sgc.data.transforms.transforms import TRANSFORMS
from sgc.networks.entries import ENTRIES
from sgc.objectives.estimators import ESTIMATORS
from sgc.piece import Piece
from sgc.trackers.trackers import TRACKERS

Plain = dict[str, Any]  # Any: plain data

IMAGE: Plain = {"distribution": "Normal", "shape": [1, 32, 32], "supervision": "full"}
LATENT: Plain = {
    "distribution": "Normal",
    "shape": [2],
    "supervision": "none",
    "recognition": {"parents": ["x"], "network": {"mlp": [4]}},
}


def base() -> Plain:
    """Give a spec of a picture x, a category y, a latent z and a vector v, with everything that examples name."""
    return {
        "version": 1,
        "data": {
            "source": "npz",
            "file": "rows.npz",
            "columns": {"x": {"column": "x"}, "y": {"column": "y"}, "v": {"column": "v"}, "image": {"column": "i"}},
        },
        "nodes": {
            "x": {**IMAGE, "generative": {"parents": ["y", "z"], "network": {"mlp": [8]}}},
            "y": {
                "distribution": "Categorical",
                "categories": 10,
                "supervision": "partial",
                "recognition": {"parents": ["x"], "network": {"mlp": [8]}, "estimator": "enumerate"},
            },
            "z": {
                "distribution": "Normal",
                "shape": [2],
                "supervision": "none",
                "generative": {},
                "recognition": {"parents": ["x", "y"], "network": {"mlp": [8]}},
            },
            "v": {"distribution": "Normal", "shape": [2], "supervision": "full"},
            "image": IMAGE,
        },
    }


REPEAT: Plain = {"count": 2, "nodes": {"s": dict(LATENT)}}
COLUMNS: Plain = base()["data"]["columns"]
Y: Plain = base()["nodes"]["y"]
Z: Plain = base()["nodes"]["z"]
DIGIT: Plain = {"distribution": "Bernoulli", "shape": [1, 28, 28]}
UNSEEN: Plain = {"supervision": "none", "recognition": {"parents": ["x"], "network": {"mlp": [4]}}}
DECONV: Plain = {"channels": [8], "kernel": 4, "stride": 2}
NETWORK = "nodes.y.recognition.network"
NUMBERS = "data.columns.v.transforms.0"
EXPERTS: Plain = {"x": {"network": {"mlp": [4]}}, "y": {"network": {"mlp": [4]}}}
NORMAL: Plain = {**Z, "generative": {"parameters": {}}}

# Where the keys of a piece stand, and what stands there beside them; None: what the base has there.
PLACES: dict[str, tuple[str, Plain | None]] = {
    "Spec": ("", None),
    "Section": ("data", None),
    "Column": ("data.columns.v", None),
    "Split": ("data.split", {}),
    "LabelRule": ("data.labels.y", {}),
    "Parts": ("data.files", {"train": "a.npz"}),
    "CropWindow": (f"{NUMBERS}.crop", {"size": [2, 2]}),
    "Node": ("nodes.y", None),
    "Generative": ("nodes.x.generative", None),
    "Recognition": ("nodes.z.recognition", None),
    "Expert": ("nodes.z.recognition.experts.x", {"network": {"mlp": [4]}}),
    "DerivedRecognition": ("recognition", {"parents": "auto"}),
    "LearnedConstant": ("nodes.z.generative.parameters.loc", {"start": 0}),
    "Input": ("inputs.site", {}),
    "Feature": ("features.h", {"parents": ["x"], "network": {"mlp": [4]}}),
    "Carry": ("repeat.r.carry.state", {"parents": ["x", "prev.s"], "network": {"gru": 4}}),
    "Repeat": ("repeat.r", REPEAT),
    "Part": ("use.digit", {"spec": {"version": 1, "nodes": {"x": IMAGE}}, "bind": {"x": "x"}}),
    "OwnFamily": (
        "nodes.z.distribution",
        {"python": "mine:Own", "parameters": {"loc": "real"}, "support": "real", "draws": "pathwise"},
    ),
    "OwnObject": ("objective.bound", {"python": "mine:Bound"}),
    "Stages": (NETWORK, {"mlp": [4]}),
    "Convolutions": (f"{NETWORK}.conv", {"channels": [4], "kernel": 3}),
    "Window": ("features.w.network.affine", {}),
    "Objective": ("objective", {}),
    "OverRate": ("objective.alpha", {}),
    "Schedule": ("objective.kl_weight", {"from": 1, "to": 0.5, "epochs": 5}),
    "Train": ("train", {}),
    "BatchSizes": ("train.batch_size", {"unlabelled": 100, "labelled": 50}),
    "Optimizer": ("train.optimizer", {}),
    "Stop": ("train.stop", {}),
    "Average": ("train.average", {}),
    "Evaluate": ("evaluate", {}),
    "OwnSource": ("data", {"source": "python", "python": "mine:Scans", "columns": COLUMNS}),
    "Idx": ("data", {"source": "idx", "columns": {"x": {"column": "image"}, "y": {"column": "label"}}}),
    "Deconv": ("nodes.x.generative.network", {}),
    "OwnNetwork": (NETWORK, {"python": "mine:Net", "output": [4]}),
    "Layers": (NETWORK, {}),
}
# Keys that want something else beside them.
WITH: dict[tuple[str, str], tuple[str, Plain | None]] = {
    ("Spec", "recognition"): ("", {**base(), "nodes": {"x": IMAGE, "z": {**Z, "recognition": {}}}}),
    ("LabelRule", "balanced"): ("data.labels.y", {"count": 50}),
    ("LabelRule", "seed"): ("data.labels.y", {"count": 50}),
    ("Node", "values"): ("nodes.y", {key: value for key, value in Y.items() if key != "categories"}),
    ("Node", "shape"): ("nodes.v", {"distribution": "Normal", "supervision": "full"}),
    ("Node", "missing"): ("nodes.v", {"distribution": "Normal", "supervision": "partial"}),
    ("Generative", "learn"): ("nodes.z.generative", {}),
    ("Generative", "parameters"): ("nodes.v.generative", {}),
    ("Recognition", "parents"): ("nodes.w.recognition", {"network": {"mlp": [4]}}),
    ("Recognition", "estimator"): ("nodes.y.recognition", None),
    ("Recognition", "experts"): ("nodes.z.recognition", {}),
    ("Recognition", "combine"): ("nodes.z.recognition", {"experts": EXPERTS}),
    ("Recognition", "prior"): ("nodes.z.recognition", {"experts": EXPERTS}),
    ("Expert", "network"): ("nodes.z.recognition.experts.x", {}),
    ("OwnFamily", "upper"): (
        "nodes.z.distribution",
        {"python": "mine:Own", "parameters": {"p": "unit_interval"}, "support": "integer_interval", "draws": "sampled"},
    ),
    ("Train", "pictures"): ("train", {"loggers": ["tensorboard"]}),
    ("Optimizer", "momentum"): ("train.optimizer", {"name": "SGD"}),
    ("Objective", "gradient"): ("objective", {"bound": "elbo"}),
    ("Spec", "inputs"): ("", {**base(), "data": {**base()["data"], "columns": {**COLUMNS, "site": {"column": "s"}}}}),
    ("Spec", "use"): ("", {**base(), "nodes": {"x": {**DIGIT, "supervision": "full"}}}),
    ("Repeat", "use"): ("repeat.r", {"count": 2, "nodes": {"v": {**DIGIT, **UNSEEN}}}),
    ("Part", "bind"): ("use.digit", {"spec": {"version": 1, "nodes": {"x": IMAGE}}}),
    ("LabelRule", "same_rows_as"): ("data.labels.w", {}),
    ("Node", "generative"): ("nodes.z", None),
    ("Images", "files"): ("data", {"source": "images", "mode": "grey", "columns": COLUMNS}),
    **{
        ("Deconv", key): ("nodes.x.generative.network", {"deconv": DECONV}) for key in ("activation", "norm", "dropout")
    },
}


def place_of(piece: str, kind: type[Piece], key: str) -> tuple[str, Plain | None]:
    """Say where a key of a piece stands, and what stands there beside it."""
    if place := WITH.get((piece, key)) or PLACES.get(piece):
        return place
    name = getattr(kind, "name", "")
    if kind in TRANSFORMS.values():
        return NUMBERS, {}
    if kind in ESTIMATORS.values():
        return f"nodes.y.recognition.estimator.{name}", {}
    if kind in TRACKERS.values():
        return f"train.loggers.0.{name}", {}
    if kind in ENTRIES.values():
        field = kind.model_fields[name]
        return NETWORK, {} if key == name else {name: (field.examples or [None])[0]}
    word = next(word for word, source in SOURCES.items() if source is kind)
    files: Plain = {} if key in ("file", "files") else {"file": "rows.npz"}
    more = {"images": {"mode": "grey"}, "npz": {}, "mat": {}, "table": {}}.get(word)
    return "data", {"source": word, "columns": COLUMNS, **({} if more is None else {**more, **files})}


def placed(place: tuple[str, Plain | None], key: str, value: Any) -> tuple[Plain, tuple[Any, ...]]:  # Any: plain data
    """Put a key into a whole spec: the spec, and the path of the key in it."""
    spec = base()
    words, start = place
    path = [int(word) if word.isdigit() else word for word in words.split(".")] if words else []
    if not path:
        return {**(spec if start is None else start), key: value}, (key,)
    inner: Any = spec
    for number, step in enumerate(path[:-1]):
        if isinstance(step, int):
            inner = inner[step]
            continue
        following = path[number + 1]
        if not isinstance(inner.get(step), dict | list):
            inner[step] = [{}] if isinstance(following, int) else {}
        if step == "network" and following not in inner[step]:
            inner[step] = {}
        if step == "inputs":
            spec["data"]["columns"][following] = {"column": "i"}
        if step == "repeat" and following not in inner[step]:
            inner[step][following] = copy.deepcopy(REPEAT)
        if step == "features" and following not in inner[step]:
            inner[step][following] = {"parents": ["x", "z", "v"], "network": {}}
        if step == "nodes" and following not in inner[step]:
            inner[step][following] = dict(LATENT)
        inner = inner[step]
    last = path[-1]
    before = inner[last] if isinstance(last, int) or last in inner else {}
    inner[last] = {**copy.deepcopy(before if start is None else start), key: value}
    return spec, (*path, key)
