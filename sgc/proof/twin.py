"""The discrete twin of a model: its graphs, supervision and objective, with nodes of two categories and small networks.

The twin keeps what shapes the derivation: parents in p and in q, features, inputs, supervision, dropped nodes, the
estimator of each node, the bound and its options. It replaces the rest: families, shapes, networks (no two share one),
fixed parameters, data. Parents go through one hidden layer, so that they interact; without parents the logits are free.

The twin of a spec with repeats and parts is written like the spec, but with fewer steps, and then unrolled. It keeps
the steps of parents, carried features and their direction, counts, and values that are combined one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sgc.derivation.graph import Role
from sgc.distributions.families import FAMILIES
from sgc.distributions.step_counts import count_values
from sgc.objectives.estimator import Estimator
from sgc.objectives.objective import Objective, OverRate
from sgc.objectives.score_function import ScoreFunction
from sgc.piece import Piece
from sgc.proof.plain_spec import Raw
from sgc.schedules import Schedule, value_at
from sgc.spec.document import from_mapping
from sgc.spec.loader import validate
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline as resolve
from sgc.spec.spec import Spec

CATEGORIES = 2
WIDTH = 2  # of an input and of a feature: that of a node of two categories, so that they can be combined
STEPS, FEWER = 3, 2  # of a repeat: a first, a middle and a last one; of an inner repeat, or if there are many nodes
MANY = 9  # proposed nodes
NETWORK: Raw = {"mlp": [4], "activation": "tanh"}
FEATURE: Raw = {"mlp": [WIDTH], "activation": "tanh"}
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
    return [end for inner in value.values() for end in _ends(inner)] if isinstance(value, Mapping) else []


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
    return {**head, **_sections(outline, estimators or {}), "objective": words}


def _objective(outline: Outline, epoch: float, samples: int) -> Raw:
    objective = outline.objective
    words: Raw = objective.model_dump(mode="json", by_alias=True, exclude_none=True)
    words = {key: value for key, value in words.items() if key not in (*_NOT_PROVED, "alpha", "kl_weight")}
    if isinstance(objective.alpha, Mapping):
        words["alpha"] = {name: value_at(value, epoch) for name, value in objective.alpha.items()}
    elif isinstance(
        objective.alpha, OverRate
    ):  # a rate that only the data determine is 1, as in a model before training
        words["alpha"] = value_at(objective.alpha.over_rate, epoch) / value_at(objective.supervision_rate or 1.0, epoch)
    elif objective.alpha is not None:
        words["alpha"] = value_at(objective.alpha, epoch)
    kl_weight = value_at(objective.kl_weight, epoch)
    return {**words, "samples": samples, **({} if kl_weight == 1 else {"kl_weight": kl_weight})}


def _sections(outline: Outline, estimators: Mapping[str, Any]) -> Raw:  # Any: plain data
    """Write the sections of the model. estimators: by name in the file; the others are enumerated."""
    written = dict(outline.spec.unrolled.written)
    for most in (STEPS, FEWER):
        sections = _Writer(outline, estimators, most).level(written or _written(outline), "", {})
        if outline.graphs.inputs:
            sections["inputs"] = {name: {"shape": [WIDTH]} for name in outline.graphs.inputs}
        if not written:
            break
        nodes = resolve(loaded(outline, {"version": 1, **sections})).graphs.nodes.values()
        if sum(node.recognition is not None for node in nodes) <= MANY:
            break
    return sections


def _written(outline: Outline) -> Raw:
    """Write the graphs of a model without repeats and parts as sections of a spec, for `_Writer`."""
    graphs = outline.graphs
    nodes: dict[str, Raw] = {}
    for name, node in graphs.nodes.items():
        nodes[name] = {"supervision": node.supervision, "missing": node.dropped}
        nodes[name] |= {"generative": {"parents": node.generative}, "recognition": {"parents": node.recognition}}
    return {"nodes": nodes, "features": {name: {"parents": parents} for name, parents in graphs.features.items()}}


def two_valued(*, coin: bool) -> Raw:
    """Write a distribution of two values: two categories, or a coin's 0 and 1."""
    return {"distribution": "Bernoulli"} if coin else {"distribution": "Categorical", "categories": CATEGORIES}


def needs_coin(estimator: Estimator | None) -> bool:
    """Tell whether an estimator suits coins, but not categories."""
    if estimator is None or not estimator.charged or not estimator.refuse(FAMILIES["Categorical"], (CATEGORIES,)):
        return False
    return not estimator.refuse(FAMILIES["Bernoulli"], ())


def flat(outline: Outline, spec: Raw) -> Raw:
    """Write the nodes and features of a twin step by step, as brute force reads them.

    They come from the unrolled graphs, so that a proof is about the derivation and not about unrolling. Keys besides
    the sections of a flat spec: `written`, the twin before unrolling; `ids` of the names in a repeat; and for each step
    `exists`, pairs (count, i): it exists while the count is above i.
    """
    if "repeat" not in spec and "use" not in spec:
        return spec
    unrolled = resolve(loaded(outline, spec))
    graphs, names = unrolled.graphs, unrolled.spec.unrolled
    nodes: dict[str, Raw] = {}
    for name, node in graphs.nodes.items():
        variable = unrolled.variables[name]
        nodes[name] = {
            **two_valued(coin=variable.categories is None),
            "supervision": node.supervision,
            "generative": {"parents": list(node.generative)},
            "exists": node.exists,
        }
        if variable.values is not None:
            nodes[name]["values"] = list(variable.values)
        if node.dropped:
            nodes[name]["missing"] = "drop"
        elif node.recognition is not None:
            nodes[name]["recognition"] = {"parents": list(node.recognition)}
    objective = dict(spec.get("objective", {}))
    if isinstance(objective.get("alpha"), Mapping):
        objective["alpha"] = {n: objective["alpha"].get(names.id(n).name, 1.0) for n in graphs.partial}
    features = {name: {"parents": list(parents)} for name, parents in graphs.features.items()}
    sections = {"nodes": nodes, "features": features, "inputs": spec.get("inputs", {}), "objective": objective}
    return {**sections, "written": spec, "ids": names.ids, "plates": names.plates}


class _Writer:
    def __init__(self, outline: Outline, estimators: Mapping[str, Any], most: int) -> None:
        self.estimators, self.most = estimators, most
        unrolled = outline.spec.unrolled
        names = unrolled.template
        self.variables = {names.get(name, name): variable for name, variable in outline.variables.items()}
        self.counts = {plate.count for plate in unrolled.plates if plate.count}
        self.from_parts = {host for part in unrolled.parts for host in part.bound.values()}  # with p from a part
        self.dropped = {name.rpartition(".")[2] for name, variable in self.variables.items() if variable.dropped}

    def level(self, written: Raw, prefix: str, bound: Mapping[str, str], depth: int = 0) -> Raw:
        """Write one level. bound: the whole names that the names of a part stand for."""
        sections: Raw = {}
        shared = written.get("networks") or {}
        for name, feature in (written.get("features") or {}).items():
            sections.setdefault("features", {})[name] = self.feature(feature, shared)
        for name, carry in (written.get("carry") or {}).items():
            network = carry["network"]
            named = shared.get(network) if isinstance(network, str) else network
            last = network[-1] if isinstance(network, list) else named
            gru = isinstance(last, Mapping) and "gru" in last
            small = {"parents": list(carry["parents"]), "network": {"gru": WIDTH} if gru else dict(FEATURE)}
            sections.setdefault("carry", {})[name] = small | {"direction": carry.get("direction", "forward")}
        for name, node in (written.get("nodes") or {}).items():
            full_name = bound.get(name, f"{prefix}{name}")
            sections.setdefault("nodes", {})[name] = self.node(node, full_name, shared, own=name not in bound)
        for name, part in (written.get("use") or {}).items():
            bindings = {own: f"{prefix}{word}" for own, word in (part.get("bind") or {}).items()}
            spec = self.level(part["spec"], f"{prefix}{name}.", bindings, depth)
            if part["spec"].get("inputs"):
                spec["inputs"] = {input_name: {"shape": [WIDTH]} for input_name in part["spec"]["inputs"]}
            spec = {"version": 1, "name": name, **spec}
            sections.setdefault("use", {})[name] = {"spec": spec, "bind": dict(part.get("bind") or {})}
        for name, body in (written.get("repeat") or {}).items():
            count = body["count"]
            most = min(self.most, FEWER) if depth else self.most
            inner = self.level({"networks": shared, **body}, f"{prefix}{name}.", {}, depth + 1)
            sections.setdefault("repeat", {})[name] = {
                "count": min(count, most) if isinstance(count, int) else count,
                **inner,
            }
        return sections

    def node(self, written: Raw, full_name: str, shared: Raw, *, own: bool) -> Raw:
        small: Raw = {"supervision": written["supervision"]} | self.event(full_name)
        if full_name not in self.from_parts or not own:
            small["generative"] = self.conditional(written.get("generative"), shared) or {"learn": True}
        if written.get("missing"):
            small["missing"] = "drop"
        elif written["supervision"] != "full":
            estimator = self.estimators.get(full_name, "enumerate") if own else "enumerate"
            small["recognition"] = {**self.conditional(written["recognition"], shared), "estimator": estimator}
        return small

    def event(self, full_name: str) -> Raw:
        """Give a node two categories; those of a count are numbers, and at the lower one steps are absent."""
        if full_name not in self.counts:
            return two_valued(coin=needs_coin(self.variables[full_name].estimator))
        variable = self.variables[full_name]
        numbers = count_values(variable.family, variable.event, variable.values)
        low, high = min(1, *numbers), min(FEWER, max(numbers))
        return {"distribution": "Categorical", "values": [low if low < high else 0, high]}

    def conditional(self, written: Raw | None, shared: Raw) -> Raw:
        if not written:
            return {}
        taken = [value for value in (written.get("parameters") or {}).values() if isinstance(value, str)]
        for name, expert in (written.get("experts") or {}).items():  # together they read what each of them reads
            taken += expert.get("parents", [name])
        parents = list(dict.fromkeys([*(written.get("parents") or ()), *taken]))
        if not parents:
            return {}
        return {"parents": parents, "network": self.network(written.get("network"), parents, shared, NETWORK)}

    def feature(self, written: Raw, shared: Raw) -> Raw:
        parents = list(written["parents"])
        return {"parents": parents, "network": self.network(written.get("network"), parents, shared, FEATURE)}

    def network(self, written: Any, parents: list[str], shared: Raw, small: Raw) -> Any:  # Any: plain data
        """Write a small network, after a `combine` entry if the spec has one."""
        entries = shared.get(written, written) if isinstance(written, str) else written
        first = entries[0] if isinstance(entries, list) and entries else entries
        way = first.get("combine") if isinstance(first, Mapping) else None
        if way is None or any(parent.rpartition(".")[2] in self.dropped for parent in parents):
            return dict(small)
        return [{"combine": "sum" if way == "over" else way}, dict(small)]


def loaded(outline: Outline, plain: Raw) -> Spec:
    """Validate a twin, whose own code is looked for and trusted as that of its spec."""
    return validate(from_mapping(plain), trust=outline.spec.trusted, folder=outline.spec.folder)


def readers(outline: Outline) -> dict[tuple[str, Role], tuple[str, ...]]:
    """List the parents of every conditional by names in the file."""
    called, hidden = outline.spec.unrolled.id, outline.spec.unrolled.hidden
    parents: dict[tuple[str, Role], tuple[str, ...]] = {}
    roles: tuple[Role, Role] = ("generative", "recognition")
    for name in [*outline.graphs.nodes]:
        for role in roles:
            plain = [called(parent).name for parent in outline.graphs.parents(name, role) if parent not in hidden]
            parents.setdefault((called(name).name, role), tuple(dict.fromkeys(plain)))
    return parents
