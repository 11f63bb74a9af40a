"""The spec that an estimator takes for a table where it is given none: plain data, which `spec__…` keys change."""

from __future__ import annotations

import math
from typing import Any, Literal

from sgc.sklearn.feature_columns import NUMBERS, FeatureColumns

LABEL, LATENT = "y", "z"
ALPHA = 10  # the weight of log q(label) in a labelled row
STEPS = 600  # of training
BATCH = 64
SCALE = 1.0  # of a standardised number about what p says: fixed, so that no column of few values takes over
RATE = 0.25  # the share of labelled rows in the loss, where there are fewer
Plain = dict[str, Any]  # Any: plain data


def default_spec(
    columns: FeatureColumns,
    label: Literal["category", "number", "none"],
    classes: int = 0,
    *,
    labelled: float = 1.0,
    from_latent: bool = False,
) -> Plain:
    """Write the model of a table: Kingma's M2 (Kingma et al. 2014), p(features | y, z) p(y) p(z).

    Without a label it is their M1. labelled: the share of rows with a label. from_latent: p(features | z) p(y | z) p(z)
    in its place, so that the latent tells of the label. All numbers are one vector, standardised; of a column of
    categories each is a node. An empty cell has no term, and networks read a zero and a flag in its place.
    """
    width = min(128, max(32, 2 * len(columns.numbers)))
    network = {"mlp": [width]}
    observed = [*([NUMBERS] if columns.numbers else []), *(columns.node(place) for place in columns.categories)]
    parents = [LATENT] if label == "none" or from_latent else [LABEL, LATENT]
    nodes: Plain = {}
    entries: Plain = {}
    for name in observed:
        nodes[name] = {"generative": {"parents": parents, "network": network}}
        entries[name] = {"column": name}
    if columns.numbers:
        full = {"supervision": "partial", "missing": "drop"} if columns.holes else {"supervision": "full"}
        shape = {"distribution": "Normal", "shape": [len(columns.numbers)]}
        nodes[NUMBERS] |= shape | full
        nodes[NUMBERS]["generative"]["parameters"] = {"scale": SCALE}
        entries[NUMBERS]["transforms"] = ["standardize"]
    for place, kinds in columns.categories.items():
        family = {"distribution": "Categorical", "categories": len(kinds)}
        nodes[columns.node(place)] |= family | {"supervision": "partial", "missing": "drop"}
    if label != "none":
        entries[LABEL] = {"column": LABEL}
        nodes[LABEL] = {"supervision": "partial", "recognition": {"parents": observed, "network": network}}
        if from_latent:
            line = {"parents": [LATENT], "network": {"mlp": []}}
            nodes[LABEL] |= {"generative": line, "recognition": dict(line)}
    if label == "category":
        nodes[LABEL] |= {"distribution": "Categorical", "categories": classes}
        nodes[LABEL]["recognition"]["estimator"] = "enumerate"
    elif label == "number":
        nodes[LABEL] |= {"distribution": "Normal"}
        entries[LABEL]["transforms"] = ["standardize"]
    read = observed if label == "none" or from_latent else [*observed, LABEL]
    objective: Plain = {"bound": "elbo", "samples": 1}
    if label != "none":
        objective |= {"alpha": ALPHA, **({"supervision_rate": RATE} if labelled < RATE else {})}
    size = max(1, min(8, len(columns.numbers) + len(columns.categories) - 1))
    nodes[LATENT] = {"distribution": "Normal", "shape": [size], "supervision": "none"}
    nodes[LATENT]["recognition"] = {"parents": read, "network": network}
    return {
        "version": 1,
        "name": "table",
        "data": {"source": "table", "file": "given.csv", "columns": entries},
        "nodes": nodes,
        "objective": objective,
        "train": {
            "epochs": max(1, math.ceil(STEPS * BATCH / max(BATCH, columns.rows))),
            "batch_size": BATCH,
            "optimizer": {"name": "Adam", "lr": 0.003},
        },
    }
