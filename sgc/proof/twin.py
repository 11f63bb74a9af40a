"""The discrete twin of a model: its graphs, supervision and objective, with nodes of two categories and small networks.

The twin keeps what shapes the derivation: parents in p and in q, features, inputs, supervision, dropped nodes, the
estimator of each node, the bound and its options. It replaces the rest: families, shapes, networks (no two share one),
fixed parameters, data. Parents go through one hidden layer, so that they interact; without parents the logits are free.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sgc.objectives.estimator import Estimator
from sgc.objectives.objective import Objective, OverRate
from sgc.objectives.score_function import ScoreFunction
from sgc.piece import Piece
from sgc.proof import unrolled_twin
from sgc.proof.plain_spec import Raw
from sgc.proof.unrolled_twin import FEATURE, NETWORK, WIDTH
from sgc.schedules import Schedule, value_at
from sgc.spec.outline import Outline

_NOT_PROVED = ("gamma", "supervision_rate", "gradient")  # weights of rows, and other estimates of one gradient


def estimators(outline: Outline) -> dict[str, Estimator]:
    """Give the estimator of each node that q proposes, by its name in the file."""
    called = outline.spec.unrolled.id
    return {called(n).name: v.estimator for n, v in outline.variables.items() if v.estimator is not None}


def with_tag(outline: Outline, tag: str) -> list[str]:
    """Name the nodes whose estimators have a tag: `sampled`, without bias, or `biased`, proved as enumerated nodes."""
    return [name for name, estimator in estimators(outline).items() if estimator.tag == tag]


def score_functions(outline: Outline) -> dict[str, Any]:  # Any: plain data
    """Write how drawn nodes are proved: estimators with a charge as they are, others as score functions."""
    own = estimators(outline)
    return {n: own_words(own[n], 0) if own[n].charged else ScoreFunction.name for n in with_tag(outline, "sampled")}


def own_words(estimator: Estimator, epoch: float) -> Any:  # Any: plain data
    """Write an estimator as plain data, with the values of its schedules at an epoch."""
    return estimator.plain(lambda number: value_at(number, epoch))


def moments(pieces: Mapping[str, Any] | Piece) -> list[int]:  # Any: pieces of a spec
    """List the epochs at which a proof evaluates schedules: the first, and the last at which one changes.

    The weights of labelled rows are not proved, but an α over the supervision rate changes with the rate.
    """
    if isinstance(pieces, Objective):
        without = {"gamma"} if isinstance(pieces.alpha, OverRate) else {"gamma", "supervision_rate"}
        pieces = {key: getattr(pieces, key) for key in type(pieces).model_fields if key not in without}
    ends = _ends(pieces)
    return [0, max(ends)] if ends else [0]


def _ends(value: Any) -> list[int]:  # Any: a piece of a spec, or a part of one
    if isinstance(value, Schedule):
        return [value.epochs] if value.start != value.to else []
    if isinstance(value, Piece):
        return [end for key in type(value).model_fields for end in _ends(getattr(value, key))]
    return [end for each in value.values() for end in _ends(each)] if isinstance(value, Mapping) else []


def twin(
    outline: Outline,
    *,
    epoch: float = 0,
    samples: int = 1,
    estimators: Mapping[str, Any] | None = None,
    most_alpha: float = math.inf,
) -> Raw:
    """Write the twin as plain data, fit for `sgc.load`. Any: plain data.

    epoch: at which the schedules of the objective are evaluated. estimators: by node; the others are enumerated.
    most_alpha: a larger α is replaced by this.
    """
    words = _objective(outline, epoch, samples)
    if "alpha" in words:
        alpha = words["alpha"]
        by_node = isinstance(alpha, Mapping)
        words["alpha"] = {n: min(a, most_alpha) for n, a in alpha.items()} if by_node else min(alpha, most_alpha)
    head: Raw = {"version": 1, "name": outline.spec.name}
    if outline.spec.unrolled.written:
        return {**head, **unrolled_twin.sections(outline, estimators or {}), "objective": words}
    return {**head, **_sections(outline, estimators or {}), "objective": words}


def _sections(outline: Outline, chosen: Mapping[str, Any]) -> Raw:  # Any: plain data
    """Write nodes, inputs and features of a model without repeats and parts."""
    graphs = outline.graphs
    nodes: dict[str, Raw] = {}
    for name, node in graphs.nodes.items():
        made: Raw = unrolled_twin.two_valued(coin=unrolled_twin.needs_coin(outline.variables[name].estimator))
        made["supervision"] = node.supervision
        made["generative"] = _conditional(node.generative) or {"learn": True}
        if node.dropped:
            made["missing"] = "drop"
        elif node.supervision != "full":
            assert node.recognition is not None
            made["recognition"] = {**_conditional(node.recognition), "estimator": chosen.get(name, "enumerate")}
        nodes[name] = made
    spec: Raw = {"nodes": nodes}
    if graphs.inputs:
        spec["inputs"] = {name: {"shape": [WIDTH]} for name in graphs.inputs}
    if graphs.features:
        spec["features"] = {n: {"parents": list(ps), "network": dict(FEATURE)} for n, ps in graphs.features.items()}
    return spec


def _conditional(parents: tuple[str, ...]) -> Raw:
    return {"parents": list(parents), "network": dict(NETWORK)} if parents else {}


def _objective(outline: Outline, epoch: float, samples: int) -> Raw:
    given = outline.objective
    words: Raw = given.model_dump(mode="json", by_alias=True, exclude_none=True)
    words = {key: value for key, value in words.items() if key not in (*_NOT_PROVED, "alpha", "kl_weight")}
    if isinstance(given.alpha, Mapping):
        words["alpha"] = {name: value_at(value, epoch) for name, value in given.alpha.items()}
    elif isinstance(given.alpha, OverRate):  # a rate that only the data determine is 1, as in a model before training
        words["alpha"] = value_at(given.alpha.over_rate, epoch) / value_at(given.supervision_rate or 1.0, epoch)
    elif given.alpha is not None:
        words["alpha"] = value_at(given.alpha, epoch)
    kl_weight = value_at(given.kl_weight, epoch)
    return {**words, "samples": samples, **({} if kl_weight == 1 else {"kl_weight": kl_weight})}
