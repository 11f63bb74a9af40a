"""Models that grow, as a user would write them: a spec and its rows, by size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from benchmarks.problem import SPECS

Raw = dict[str, Any]  # Any: a spec as plain data
LATENT, WIDTH, CHAIN_ROWS = 4, 16, 16  # numbers of a node of a chain, of its networks' hidden layer, rows of a batch
STATES, CHANNELS = 5, 3
LABELS = 6  # nodes with labels: 64 patterns


@dataclass(frozen=True)
class Model:
    """A spec as plain data, and rows for it by node."""

    spec: Raw
    arrays: dict[str, np.ndarray]


def mlp(*parents: str, width: int | None = WIDTH) -> Raw:
    """Write a conditional on parents by a network of one hidden layer, or of none."""
    return {"parents": [*parents], "network": {"mlp": [] if width is None else [width]}}


def train(batch: int | Raw) -> Raw:
    """Write a section `train` that has no end."""
    return {"epochs": 1_000_000, "batch_size": batch, "optimizer": {"name": "Adam", "lr": 0.001}, "seed": 0}


def half_labelled(rows: np.random.Generator, shape: tuple[int, ...], categories: int) -> np.ndarray:
    """Draw labels for the first half of the rows."""
    labels = rows.integers(0, categories, shape).astype(float)
    labels[len(labels) // 2 :] = np.nan
    return labels


def samples(count: int, batch: int = 100) -> Model:
    """Take the step A3 with so many samples."""
    spec: Raw = yaml.safe_load((SPECS / "a3.yaml").read_text())
    spec["objective"]["samples"] = count
    spec["train"] = train({"unlabelled": batch, "labelled": batch})
    rows = np.random.default_rng(0)
    x = (rows.random((8 * batch, 784)) < 0.3).astype(np.float32)
    return Model(spec, {"x": x, "y": half_labelled(rows, (len(x),), 10)})


def categories(count: int, batch: int = 20) -> Model:
    """Write A1, 64 pixels and layers of 64, with an enumerated node of so many categories."""
    y: Raw = {"distribution": "Categorical", "categories": count, "supervision": "partial"}
    y["recognition"] = mlp("x", width=64) | {"estimator": "enumerate"}
    x: Raw = {"distribution": "Bernoulli", "shape": [64], "supervision": "full", "generative": mlp("y", "z", width=64)}
    z: Raw = {"distribution": "Normal", "shape": [8], "supervision": "none", "recognition": mlp("x", "y", width=64)}
    spec = {"version": 1, "name": "categories", "nodes": {"x": x, "y": y, "z": z}}
    spec |= {"objective": {"bound": "elbo", "alpha": 50}, "train": train({"unlabelled": batch, "labelled": batch})}
    rows = np.random.default_rng(0)
    pixels = (rows.random((8 * batch, 64)) < 0.3).astype(np.float32)
    return Model(spec, {"x": pixels, "y": half_labelled(rows, (len(pixels),), count)})


def chain(steps: int) -> Model:
    """Write a chain of Normal nodes: p(z_t | z_t-1), q(z_t | x, z_t-1), and x that reads them all."""
    z: Raw = {"distribution": "Normal", "shape": [LATENT], "supervision": "none"}
    z |= {"generative": mlp("prev.z"), "recognition": mlp("x", "prev.z")}
    x = {"distribution": "Normal", "shape": [LATENT], "supervision": "full", "generative": mlp("t.z")}
    spec = {"version": 1, "name": "chain", "nodes": {"x": x}, "repeat": {"t": {"count": steps, "nodes": {"z": z}}}}
    spec |= {"objective": {"bound": "elbo"}, "train": train(CHAIN_ROWS)}
    return Model(spec, {"x": np.random.default_rng(0).normal(size=(8 * CHAIN_ROWS, LATENT)).astype(np.float32)})


def hmm(steps: int, batch: int = 10) -> Model:
    """Write specs/hmm.yaml at another length, with smaller networks; half of the rows has all labels."""
    s: Raw = {"distribution": "Categorical", "categories": STATES, "supervision": "partial"}
    s["generative"] = mlp("prev.s", width=None)
    s["recognition"] = mlp("prev.s", "later") | {"estimator": "enumerate"}
    x = {"distribution": "Normal", "shape": [CHANNELS], "supervision": "full", "generative": mlp("s", width=None)}
    later = {"parents": ["x"], "network": {"gru": WIDTH}, "direction": "backward"}
    repeat = {"t": {"count": steps, "carry": {"later": later}, "nodes": {"s": s, "x": x}}}
    spec = {"version": 1, "name": "hmm", "repeat": repeat, "objective": {"bound": "elbo", "alpha": 1, "gamma": 1}}
    spec["train"] = train({"unlabelled": batch, "labelled": batch})
    rows = np.random.default_rng(0)
    signal = rows.normal(size=(4 * batch, steps, CHANNELS)).astype(np.float32)
    return Model(spec, {"t.x": signal, "t.s": half_labelled(rows, (len(signal), steps), STATES)})


def graph(count: int) -> Model:
    """Write out a graph of so many nodes, none a repeat: each reads two before it, a third of them is observed."""
    nodes: dict[str, Raw] = {}
    for i in range(count):
        parents = sorted({f"n{j}" for j in (i // 2, i - 2) if 0 <= j < i})
        node: Raw = {"distribution": "Normal", "shape": [2], "supervision": "full" if i % 3 == 2 else "none"}
        if parents:
            node["generative"] = mlp(*parents, width=None)
        if i % 3 != 2:
            latent = [name for name in parents if nodes[name]["supervision"] == "none"]
            reads = [f"n{i + 1}" if i % 3 == 1 else f"n{i + 2}"]
            node["recognition"] = mlp(*latent, *(name for name in reads if int(name[1:]) < count), width=None)
            if not node["recognition"]["parents"]:
                node["recognition"] = mlp("n2", width=None)
        nodes[f"n{i}"] = node
    return Model({"version": 1, "name": "graph", "nodes": nodes, "objective": {"bound": "elbo"}}, {})


def patterns(count: int, *, enumerated: bool, rows: int = 512) -> Model:
    """Write a model of six nodes with labels, and rows that carry them in so many patterns, the last of them all."""
    nodes: dict[str, Raw] = {}
    draws = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {"x": draws.normal(size=(rows, 4)).astype(np.float32)}
    kinds = np.arange(rows) % count + (2**LABELS - count)  # bits of the labels that a row carries, the last all of them
    for i in range(LABELS):
        node: Raw = {"supervision": "partial", "recognition": mlp("x")}
        if enumerated:
            node |= {"distribution": "Categorical", "categories": 2}
            node["recognition"]["estimator"] = "enumerate"
            values = draws.integers(0, 2, rows).astype(float)
        else:
            node |= {"distribution": "Normal", "shape": []}
            values = draws.normal(size=rows)
        values[kinds >> i & 1 == 0] = np.nan
        nodes[f"y{i}"], arrays[f"y{i}"] = node, values
    x = {"distribution": "Normal", "shape": [4], "supervision": "full", "generative": mlp(*nodes)}
    spec = {"version": 1, "name": "patterns", "nodes": {"x": x, **nodes}, "objective": {"bound": "elbo", "gamma": 1}}
    return Model({**spec, "train": train({"unlabelled": 64, "labelled": 64})}, arrays)
