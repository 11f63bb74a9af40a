"""The proof of experts: q as compiled, against products and mixtures written out by their precisions.

Experts are Normal, and no node of a discrete twin is. So they have a twin of their own: a node whose experts read what
is missing or there as those of the spec do, each through a small network. An expert by itself is compiled as a plain q
with the same weights; what several make of their means and scales is written here, row by row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sgc.derivation.experts import Expert, Experts
from sgc.proof.comparison import Difference, difference
from sgc.proof.plain_spec import Raw
from sgc.runtime.compiler import compile_spec
from sgc.runtime.model import Model

SIZE = 2  # of every node
NETWORK: Raw = {"mlp": [3], "activation": "tanh"}
MOST_PATTERNS = 64  # of what is missing
ROWS = 2  # of each pattern
INPUT = "always"  # what experts read that is never missing
Normals = list[tuple[Tensor, Tensor]]  # the mean and the scale of each


@dataclass(frozen=True)
class _Reading:
    """What an expert of the twin reads, and of which nodes one has to be there for each of its parents."""

    parents: tuple[str, ...]
    needs: tuple[tuple[str, ...], ...]


def experts_differ(experts: Experts, seed: int) -> tuple[int, Difference]:
    """Compare log q of the twin and its gradient in all patterns of what is missing, or in 64 of them.

    Returns: the number of patterns, and the largest difference.
    """
    generator = torch.Generator().manual_seed(seed)
    twin = _Twin(experts, generator)
    every = list(itertools.product((True, False), repeat=len(twin.sources)))
    chosen = torch.randperm(len(every), generator=generator).tolist()[:MOST_PATTERNS]
    patterns = [every[place] for place in sorted(chosen) for _ in range(ROWS)]
    batch = twin.batch(patterns, generator)
    got = twin.model.log_prob("z", "recognition", batch)
    alone = {name: twin.alone(name) for name in twin.readings}
    wanted = twin.by_hand(patterns, batch, alone)
    mix = torch.randn(len(patterns), generator=generator)
    owned, names = [], []
    for name, model in alone.items():
        for key, parameter in model.named_parameters():
            if key.startswith("recognition."):
                owned.append(parameter)
                names.append(f"expert {name}: {key.removeprefix('recognition.z_.')}")
    own = dict(twin.model.named_parameters())
    keys = [f"recognition.z_.experts.{name}_.{key}" for name, model in alone.items() for key in _keys(model)]
    gradients = [
        _gradient((mix * got).sum(), [own[key] for key in keys]),
        _gradient((mix * wanted).sum(), owned),
    ]
    labels = [label for label, parameter in zip(names, owned, strict=True) for _ in range(parameter.numel())]
    found = [
        difference(got, wanted, ["log q by experts"] * len(patterns)),
        difference(gradients[0], gradients[1], labels),
    ]
    return len(patterns) // ROWS, max(found, key=lambda one: one.size)


def _gradient(value: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Differentiate a scalar by parameters, side by side, [K]; zeros for those that it does not depend on."""
    parts = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def _keys(model: Model) -> list[str]:
    """Name the parameters of q in a model of one expert alone, as its module has them."""
    prefix = "recognition.z_."
    return [key.removeprefix(prefix) for key, _ in model.named_parameters() if key.startswith(prefix)]


class _Twin:
    """The twin of the experts of one node, and its model."""

    def __init__(self, experts: Experts, generator: torch.Generator) -> None:
        self.experts = experts
        needed = [source for member in experts.members for sources in member.needs for source in sources]
        self.sources = {name: f"m{place}" for place, name in enumerate(dict.fromkeys(needed))}
        self.features: Raw = {}
        self.readings = {f"e{place}": self._reading(member) for place, member in enumerate(experts.members)}
        q: Raw = {name: {"parents": list(each.parents), "network": NETWORK} for name, each in self.readings.items()}
        self.model = self._compiled({"experts": q, "combine": experts.combine, "prior": experts.prior})
        with torch.no_grad():
            for _, parameter in sorted(self.model.named_parameters()):
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def _reading(self, member: Expert) -> _Reading:
        """Give what an expert reads: a node for a parent that is one, a feature of the nodes behind another."""
        parents: list[str] = []
        for sources in member.needs:
            nodes = [self.sources[name] for name in sources]
            if len(nodes) > 1:
                feature = f"f{len(self.features)}"
                self.features[feature] = {"parents": nodes, "network": NETWORK}
                nodes = [feature]
            parents += nodes
        parents = list(dict.fromkeys(parents))
        needs = tuple(tuple(self.sources[name] for name in sources) for sources in member.needs)
        return _Reading(tuple(parents) if len(parents) == len(member.parents) else (*parents, INPUT), needs)

    def _compiled(self, recognition: Raw) -> Model:
        part = {"distribution": "Normal", "shape": [SIZE], "supervision": "partial", "missing": "drop"}
        p = {"generative": {"parents": ["z"], "network": NETWORK}}
        nodes: Raw = {name: {**part, **p} for name in self.sources.values()}
        nodes["seen"] = {"distribution": "Normal", "supervision": "full", **p}
        nodes["z"] = {"distribution": "Normal", "shape": [SIZE], "supervision": "none", "recognition": recognition}
        spec: Raw = {"version": 1, "name": "experts", "inputs": {INPUT: {"shape": [SIZE]}}, "nodes": nodes}
        return compile_spec({**spec, "features": self.features} if self.features else spec)

    def batch(self, patterns: Sequence[Sequence[bool]], generator: torch.Generator) -> dict[str, Tensor]:
        """Draw rows of these patterns, and values of z."""
        rows = len(patterns)
        batch = {name: torch.randn(rows, SIZE, generator=generator) for name in (*self.sources.values(), INPUT, "z")}
        for place, name in enumerate(self.sources.values()):
            batch[name][[row for row, there in enumerate(patterns) if not there[place]]] = math.nan
        return batch

    def alone(self, name: str) -> Model:
        """Compile an expert as the whole of q, with the same weights."""
        model = self._compiled({"parents": list(self.readings[name].parents), "network": NETWORK})
        prefix, own = f"recognition.z_.experts.{name}_.", self.model.state_dict()
        wanted = {
            key: own[key.replace("recognition.z_.", prefix) if key.startswith("recognition.") else key]
            for key in model.state_dict()
        }
        model.load_state_dict(wanted)
        return model

    def by_hand(
        self, patterns: Sequence[Sequence[bool]], batch: Mapping[str, Tensor], alone: Mapping[str, Model]
    ) -> Tensor:
        """Write log q of each row, [R]: log 1/K Σ_A N(z; μ_A, σ_A), with 1/σ_A² and μ_A/σ_A² sums over A and p."""
        given = {name: value for name, value in batch.items() if name != "z"}
        moments = {name: model.conditional("z", "recognition", given) for name, model in alone.items()}
        logs = []
        for row, there in enumerate(patterns):
            present = {node for node, is_there in zip(self.sources.values(), there, strict=True) if is_there}
            speaking = [
                name
                for name, each in self.readings.items()
                if all(any(node in present for node in nodes) for nodes in each.needs)
            ]
            products = []
            for chosen in _sets(self.experts.combine, speaking):
                precision = torch.full((SIZE,), float(self.experts.prior or not chosen))
                moment = torch.zeros(SIZE)
                for name in chosen:
                    precision = precision + 1 / moments[name].variance[row]
                    moment = moment + moments[name].mean[row] / moments[name].variance[row]
                gap = batch["z"][row] - moment / precision
                products.append((0.5 * (precision.log() - math.log(2 * math.pi) - precision * gap**2)).sum())
            logs.append(torch.stack(products).logsumexp(0) - math.log(len(products)))
        return torch.stack(logs)


def _sets(combine: str, speaking: Sequence[str]) -> list[tuple[str, ...]]:
    """List the sets of experts whose products make up q; of none, which leaves p, where none speaks."""
    if combine == "product" or not speaking:
        return [tuple(speaking)]
    if combine == "mixture":
        return [(name,) for name in speaking]
    return [chosen for n in range(1, len(speaking) + 1) for chosen in itertools.combinations(speaking, n)]
