"""Models with steps that may not exist, and their sums over all values, each step's part only where it is there.

Steps are written as nodes of a flat spec and tied to their counts by hand. The sums ask a model only for its
conditionals.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from oracle import Raw
from torch import Tensor

import sgc
from sgc.derivation.existence import Steps
from sgc.proof.brute_force import Particles
from sgc.runtime.counts import values_of
from sgc.runtime.model import Model
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline

Exists = Mapping[str, Steps]
Row = Mapping[str, int]  # what a row carries, as places in the supports


def tied(spec: Raw, exists: Exists) -> Outline:
    """Resolve a spec and make some of its nodes steps."""
    made = outline(sgc.load(spec))
    nodes = {name: replace(node, exists=exists.get(name, ())) for name, node in made.graphs.nodes.items()}
    return replace(made, graphs=replace(made.graphs, nodes=nodes))


def far(model: Model, seed: int, spread: float = 1.2) -> Model:
    """Draw every parameter from N(0, spread²)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    return model


def node(kind: Raw, supervision: str, p: Sequence[str] = (), q: Sequence[str] | None = (), **more: Any) -> Raw:
    """Write a node with small networks on its parents. more: of its recognition."""

    def conditional(parents: Sequence[str]) -> Raw:
        return {"parents": list(parents), "network": {"mlp": [3], "activation": "tanh"}} if parents else {}

    found = {**kind, "supervision": supervision, "generative": conditional(p) or {"learn": True}}
    return found if q is None else {**found, "recognition": {**conditional(q), **more}}


COUNT: Raw = {"distribution": "Categorical", "categories": 3}
OTHER: Raw = {"distribution": "Categorical", "values": [0, 2, 1]}  # a place is not its value
TRIALS: Raw = {"distribution": {"Binomial": {"total_count": 2}}}
KIND: Raw = {"distribution": "Categorical", "categories": 2}
BIT: Raw = {"distribution": "Bernoulli"}
ENUMERATED: Raw = {"estimator": "enumerate"}


def chain(count: Raw = COUNT, status: str = "partial", *, late: bool = False) -> tuple[Raw, Exists]:
    """Write x, a count and two steps with a class and a latent each; `late`: q proposes the count after the classes."""
    counted = None if status == "full" else ("x", "y1", "y2") if late else ("x",)
    nodes = {
        "x": node(BIT, "full", ("k",), None),
        "k": node(count, status, (), counted, **({} if status == "full" else ENUMERATED)),
        "y1": node(KIND, "partial", (), ("x",) if late else ("x", "k"), **ENUMERATED),
        "y2": node(KIND, "partial", ("y1",), ("x", "y1"), **ENUMERATED),
        "z1": node(BIT, "none", ("y1",), ("x", "y1"), **ENUMERATED),
        "z2": node(BIT, "none", ("y2", "z1"), ("z1", "y2"), **ENUMERATED),
    }
    exists = {name: (("k", int(name[1]) - 1),) for name in ("y1", "y2", "z1", "z2")}
    return {"version": 1, "nodes": nodes}, exists


def nested() -> tuple[Raw, Exists]:
    """Write an outer count over two steps, each with an inner count over classes."""
    nodes = {
        "x": node(BIT, "full", ("k",), None),
        "k": node(COUNT, "partial", (), ("x",), **ENUMERATED),
        "m1": node(BIT, "partial", ("k",), ("x",), **ENUMERATED),
        "m2": node(BIT, "none", ("m1",), ("x", "m1"), **ENUMERATED),
        "y1": node(KIND, "partial", (), ("x", "m1"), **ENUMERATED),
        "y2": node(KIND, "partial", ("m2",), ("m2",), **ENUMERATED),
    }
    exists: Exists = {
        "m1": (("k", 0),),
        "m2": (("k", 1),),
        "y1": (("k", 0), ("m1", 0)),
        "y2": (("k", 1), ("m2", 0)),
    }
    return {"version": 1, "nodes": nodes}, exists


# ---- the oracle -----------------------------------------------------------------------------------------------------


@dataclass
class Truth:
    """A model, its steps, and the log of each conditional at every joint value."""

    model: Model
    exists: Exists

    def __post_init__(self) -> None:
        variables = self.model.outline.variables
        self.support = {
            name: each.family.enumerate(each.event, torch.float64, torch.device("cpu"))
            for name, each in variables.items()
        }
        self.joints = [
            dict(zip(variables, places, strict=True))
            for places in itertools.product(*(range(len(each)) for each in self.support.values()))
        ]
        batch = {name: support[[j[name] for j in self.joints]] for name, support in self.support.items()}
        self.p = {name: self.model.log_prob(name, "generative", batch) for name in variables}
        recognition = self.model.outline.recognition
        self.q = {name: self.model.log_prob(name, "recognition", batch) for name in recognition}
        self.order = [n for n in self.model.outline.graphs.order("recognition") if n in recognition]
        self.values = {count: values_of(variables[count]) for each in exists_counts(self.exists) for count in [each]}

    def there(self, name: str, joint: Row) -> bool:
        """Tell whether a step is there at a joint value."""
        return all(self.values[count][joint[count]] > i for count, i in self.exists.get(name, ()))

    def denied(self, name: str, row: Row) -> bool:
        """Tell whether a count that a row carries says that a step is not there."""
        return any(count in row and self.values[count][row[count]] <= i for count, i in self.exists.get(name, ()))

    def told(self, row: Row) -> dict[str, int]:
        """Give the least value that a row's labels leave to each count that it does not carry."""
        found: dict[str, int] = {}
        for name, steps in self.exists.items():
            if name in row:
                for count, i in steps:
                    if count not in row and i < max(self.values[count]):
                        found[count] = max(found.get(count, 0), i + 1)
        return found

    def above(self, count: str, least: int) -> Tensor:
        """Give log q(count >= least | ·) at every joint value."""
        size = len(self.support[count])
        others = [{k: v for k, v in joint.items() if k != count} for joint in self.joints]
        place = {tuple(sorted(joint.items())): i for i, joint in enumerate(self.joints)}
        parts = [k for k in range(size) if self.values[count][k] >= least]
        index = torch.tensor([[place[tuple(sorted({**o, count: k}.items()))] for k in parts] for o in others])
        return self.q[count][index].logsumexp(-1)

    def fitting(self, row: Row) -> list[dict[str, int]]:
        """List the joint values that fit what a row carries and what its labels tell of counts."""
        row = {name: place for name, place in row.items() if not self.denied(name, row)}
        told = self.told(row)
        return [
            joint
            for joint in self.joints
            if all(joint[name] == place for name, place in row.items())
            and all(self.values[count][joint[count]] >= least for count, least in told.items())
        ]

    def particles(self, row: Row) -> Particles:
        """Give the particles of a row: every joint value that fits what it carries, with masked scores, [P].

        A label of a step that a labelled count denies is none.
        """
        here = self.fitting(row)
        row = {name: place for name, place in row.items() if not self.denied(name, row)}
        told = self.told(row)
        keep = [self.joints.index(joint) for joint in here]
        r = {name: self.q[name] - (self.above(name, told[name]) if name in told else 0) for name in self.q}
        w = {name: self.above(name, told[name]) if name in told else self.q[name] for name in self.q}

        def total(factors: Mapping[str, Tensor], names: Collection[str], *, mask: bool = True) -> Tensor:
            found = torch.zeros(len(keep))
            for name in names:
                there = torch.tensor([self.there(name, joint) or not mask for joint in here])
                found = found + torch.where(there, factors[name][keep], 0.0)
            return found

        latent = [name for name in self.support if name not in row]
        weighing = [name for name in self.order if name in row or name in told]
        return Particles(
            total(r, latent, mask=False),
            total(self.p, [name for name in self.support if name in row]),
            total(self.p, latent),
            total(r, latent),
            {name: total(w, [name], mask=name not in told) for name in weighing},
        )

    def log_r(self, row: Row, names: Collection[str]) -> Tensor:
        """Give the log of what proposes some nodes of a row, at every joint value that fits it, [P]."""
        keep, told = [self.joints.index(joint) for joint in self.fitting(row)], self.told(row)
        found = torch.zeros(len(keep))
        for name in names:
            found = found + self.q[name][keep] - (self.above(name, told[name])[keep] if name in told else 0)
        return found

    def batch(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """Lay rows out as a batch, NaN where a label is missing."""
        found: dict[str, Tensor] = {}
        for name, variable in self.model.outline.variables.items():
            if variable.supervision != "none":
                missing = torch.full_like(self.support[name][0], math.nan)
                each = [self.support[name][row[name]] if name in row else missing for row in rows]
                found[name] = torch.stack(each)
        return found

    def rows(self, rng: random.Random, each: int) -> list[Row]:
        """Draw rows of every pattern of labels."""
        variables = self.model.outline.variables
        full = [name for name, variable in variables.items() if variable.supervision == "full"]
        found: list[Row] = []
        for size in range(len(self.model.outline.graphs.partial) + 1):
            for observed in itertools.combinations(self.model.outline.graphs.partial, size):
                joints = rng.sample(self.joints, each)
                found += [{name: joint[name] for name in (*full, *observed)} for joint in joints]
        return found


def exists_counts(exists: Exists) -> list[str]:
    return list(dict.fromkeys(count for steps in exists.values() for count, _ in steps))


def truth(made: tuple[Raw, Exists], seed: int = 0, **objective: Any) -> Truth:
    spec, exists = made
    return Truth(far(Model(tied({**spec, "objective": objective}, exists)), seed), exists)


MODELS = {
    "chain": chain(),
    "its values are not its places": chain(OTHER),
    "trials": chain(TRIALS),
    "never labelled": chain(status="none"),
    "always labelled": chain(status="full"),
    "counted last in q": chain(late=True),
    "nested": nested(),
}
WORDS: dict[str, Raw] = {
    "elbo": {"alpha": 0.7},
    "alpha by node": {"alpha": {"k": 0.3, "y1": 1.5, "y2": 0.0}},
    "log mean": {"alpha": {"k": 0.3, "y1": 1.5, "y2": 0.2}, "label_term": "log_mean"},
    "unnormalised": {"alpha": 0.4, "weights": "none"},
    "iwae": {"bound": "iwae", "alpha": {"k": 0.3, "y1": 1.5}},
    "density": {"bound": "density"},
    "supervised": {"bound": "supervised"},
    "kl weight": {"kl_weight": 0.3},
}
