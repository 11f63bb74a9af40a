"""Oracles: random specs of discrete nodes, every joint value summed, quadrature over a Normal, and tests of means.

Nothing here looks at a plan or at the runtime. A model is only asked for its conditionals at given values; the
proposal, the weight and the bounds are put together from the formulas of Siddharth et al. 2017.
"""

from __future__ import annotations

import copy
import itertools
import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import TopologicalSorter
from typing import Any

import torch
from torch import Tensor

import sgc
from sgc.runtime.model import Model

Raw = dict[str, Any]  # Any: a spec as plain data
Row = Mapping[str, int]  # what a row carries: a place in the support of each node and input that it has


# ---- models ---------------------------------------------------------------------------------------------------------


def compiled(spec: Raw, seed: int = 0, spread: float = 1.5) -> Model:
    """Compile a spec and draw every parameter from N(0, spread²), far from uniform."""
    model = sgc.compile(sgc.load(spec))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    return model


def like(model: Model, spec: Raw) -> Model:
    """Compile a spec that has the parameters of another, and copy them."""
    other = sgc.compile(sgc.load(spec))
    other.load_state_dict(model.state_dict())
    return other


def with_objective(spec: Raw, **words: Any) -> Raw:  # Any: plain data
    """Return the spec with another objective."""
    return {**spec, "objective": words}


def gradients(model: Model, value: Tensor) -> dict[str, Tensor]:
    """Differentiate a scalar by every parameter, zeros where it does not read one."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    if not value.requires_grad:
        return {name: torch.zeros_like(p) for name, p in zip(names, parameters, strict=True)}
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if grad is None else grad
        for name, parameter, grad in zip(names, parameters, found, strict=True)
    }


def flat(parts: Mapping[str, Tensor]) -> Tensor:
    """Put gradients side by side, by name."""
    return torch.cat([parts[name].reshape(-1) for name in sorted(parts)])


# ---- random specs ---------------------------------------------------------------------------------------------------

KINDS: Mapping[str, Raw] = {
    "bit": {"distribution": "Bernoulli"},
    "bits": {"distribution": "Bernoulli", "shape": [2]},
    "two": {"distribution": "Categorical", "categories": 2},
    "three": {"distribution": "Categorical", "categories": 3},
    "pair": {"distribution": "Categorical", "shape": [2], "categories": 2},
}
SIZES: Mapping[str, int] = {"bit": 2, "bits": 4, "two": 2, "three": 3, "pair": 4}
LARGEST = 200  # joint values
INPUT = [[0.7, -0.4], [-1.2, 0.3]]  # the values that an input takes
NETWORKS: Sequence[Raw] = ({"mlp": [4], "activation": "tanh"}, {"mlp": []})


def random_spec(rng: random.Random, largest: int = LARGEST) -> Raw:
    """Draw two graphs over 2 to 5 discrete nodes, node orders of their own, statuses, features, maybe an input."""
    names = list("abcde"[: rng.randint(2, 5)])
    nodes: dict[str, Raw] = {}
    left = largest
    for i, name in enumerate(names):
        room = left // 2 ** (len(names) - 1 - i)
        kind = rng.choice([k for k, size in SIZES.items() if size <= room])
        left //= SIZES[kind]
        nodes[name] = {**KINDS[kind], "supervision": rng.choice(["partial", "none", "full", "partial"])}
    if all(node["supervision"] == "none" for node in nodes.values()):
        nodes[rng.choice(names)]["supervision"] = rng.choice(["full", "partial"])
    inputs: Raw = {"u": {"shape": [2]}} if rng.randint(0, 3) == 0 else {}
    features: dict[str, Raw] = {}
    for name in ("g", "h")[: rng.randint(0, 2)]:
        parents = rng.sample([*names, *inputs, *features], rng.randint(1, 2))
        features[name] = {"parents": parents, "network": {"mlp": [2], "activation": "tanh"}}
    for role in ("generative", "recognition"):
        order = rng.sample(names, len(names))
        for i, name in enumerate(order):
            if role == "recognition" and nodes[name]["supervision"] == "full":
                continue
            allowed = [*order[:i], *inputs, *(h for h in features if _reads(features, h, inputs) <= {*order[:i]})]
            nodes[name][role] = _conditional(rng, role, [p for p in allowed if rng.randint(0, 2)])
    shuffled = {name: nodes[name] for name in rng.sample(names, len(names))}
    spec: Raw = {"version": 1, "nodes": shuffled}
    return {**spec, **({"inputs": inputs} if inputs else {}), **({"features": features} if features else {})}


def _reads(features: Mapping[str, Raw], name: str, inputs: Collection[str]) -> set[str]:
    """Name the nodes behind a feature."""
    found: set[str] = set()
    for parent in features[name]["parents"]:
        found |= _reads(features, parent, inputs) if parent in features else {parent} - set(inputs)
    return found


def _conditional(rng: random.Random, role: str, parents: Sequence[str]) -> Raw:
    more: Raw = {"estimator": "enumerate"} if role == "recognition" else {}
    if parents:
        return {"parents": list(parents), "network": rng.choice(NETWORKS), **more}
    return more or {"learn": True}


def random_alpha(rng: random.Random, spec: Raw) -> float | dict[str, float]:
    """Draw α: one number, or one for each partial node, some left out."""
    if rng.randint(0, 1):
        return rng.choice([0.0, 0.5, 1.0, 3.0])
    return {name: rng.choice([0.0, 0.7, 2.0]) for name in partial(spec) if rng.randint(0, 3)}


# ---- what a spec says, read from its plain data ---------------------------------------------------------------------


def partial(spec: Raw) -> list[str]:
    return [name for name, node in spec["nodes"].items() if node["supervision"] == "partial"]


def full(spec: Raw) -> list[str]:
    return [name for name, node in spec["nodes"].items() if node["supervision"] == "full"]


def patterns(spec: Raw) -> list[tuple[str, ...]]:
    names = partial(spec)
    return [chosen for size in range(len(names) + 1) for chosen in itertools.combinations(names, size)]


def parents_of(spec: Raw, name: str, role: str) -> list[str]:
    if name in spec.get("features", {}):
        return list(spec["features"][name]["parents"])
    return list(spec["nodes"].get(name, {}).get(role, {}).get("parents", ()))


def ordered(spec: Raw, role: str) -> list[str]:
    """Order the nodes so that each stands after its parents, features seen through."""
    everything = [*spec["nodes"], *spec.get("features", {})]
    sorter = TopologicalSorter({name: parents_of(spec, name, role) for name in everything})
    return [name for name in sorter.static_order() if name in spec["nodes"]]


def carriers(spec: Raw, name: str, latent: Collection[str]) -> set[str]:
    """Name the proposed nodes that q(name | ·) reads, features seen through: its factor varies where there are any."""
    found: set[str] = set()
    for parent in parents_of(spec, name, "recognition"):
        if parent in spec.get("features", {}):
            found |= _through(spec, parent, latent)
        elif parent in latent:
            found.add(parent)
    return found


def _through(spec: Raw, feature: str, latent: Collection[str]) -> set[str]:
    found: set[str] = set()
    for parent in spec["features"][feature]["parents"]:
        found |= _through(spec, parent, latent) if parent in spec["features"] else {parent} & set(latent)
    return found


def support(node: Raw) -> Tensor:
    """List the values of a discrete node, [K, *event]."""
    categories = node.get("categories")
    elements = math.prod(node.get("shape", ()))
    single = torch.eye(categories) if categories else torch.arange(2.0)
    chosen = [torch.stack(values) for values in itertools.product(single, repeat=elements)]
    return torch.stack(chosen).reshape(-1, *node.get("shape", ()), *single.shape[1:])


def all_rows(spec: Raw, observed: Sequence[str]) -> list[Row]:
    """List every value that a row of a pattern can carry."""
    names = [*spec.get("inputs", {}), *full(spec), *observed]
    sizes = [len(INPUT) if name in spec.get("inputs", {}) else len(support(spec["nodes"][name])) for name in names]
    return [dict(zip(names, places, strict=True)) for places in itertools.product(*map(range, sizes))]


def random_rows(rng: random.Random, spec: Raw, each: int = 2, most: int = 24) -> list[Row]:
    """Draw rows of every pattern, shuffled; rows that carry nothing are left out."""
    rows: list[Row] = []
    for observed in patterns(spec):
        possible = [row for row in all_rows(spec, observed) if row]
        rows += rng.sample(possible, min(each, len(possible)))
    return rng.sample(rows, min(most, len(rows)))


def batch_of(spec: Raw, rows: Sequence[Row], *, integers: bool = False) -> dict[str, Tensor]:
    """Make a batch as a user would: NaN where a label is missing, or integer categories and −1."""
    batch: dict[str, Tensor] = {}
    for name in spec.get("inputs", {}):
        batch[name] = torch.tensor(INPUT)[[row[name] for row in rows]]
    for name in [*full(spec), *partial(spec)]:
        values = support(spec["nodes"][name])
        missing = torch.full_like(values[0], math.nan)
        column = torch.stack([values[row[name]] if name in row else missing for row in rows])
        if integers and spec["nodes"][name].get("categories"):
            column = torch.where(column.isnan().any(-1), -1, column.nan_to_num().argmax(-1))
        batch[name] = column
    return batch


def repeated(spec: Raw, row: Row, count: int) -> dict[str, torch.Tensor]:
    return batch_of(spec, [row] * count)


# ---- exact bounds ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """An objective: its bound, the words that change it, and α by node."""

    bound: str = "elbo"
    weights: str = "normalized"
    label_term: str = "mean_log"
    kl_weight: float = 1.0
    alpha: Mapping[str, float] = field(default_factory=dict)  # 1 where a node is left out

    @staticmethod
    def of(spec: Raw) -> Words:
        """Read the words of a spec."""
        given = dict(spec.get("objective", {}))
        alpha = given.get("alpha", {})
        by_node = alpha if isinstance(alpha, Mapping) else dict.fromkeys(partial(spec), alpha)
        kept = {key: given[key] for key in ("bound", "weights", "label_term", "kl_weight") if key in given}
        return Words(**kept, alpha=by_node)

    def alpha_of(self, name: str) -> float:
        return self.alpha.get(name, 1.0)


@dataclass(frozen=True)
class Particles:
    """Weighted particles of a row, [..., P]: their mass, and the logs of p and q that the formulas are made of."""

    log_mass: Tensor
    log_p_clamped: Tensor
    log_p_latent: Tensor
    log_r: Tensor
    log_w: Mapping[str, Tensor]  # by labelled node, in an order of the recognition graph

    def bound(self, words: Words) -> Tensor:
        """Give the bound of the particles, [...].

        Eq. 8: Σ ŵ f + Σ m Σ_v (1+α_v) log w_v with ŵ = m w / Σ m w and f = log p − log r − log w; Eq. 9:
        log Σ m p/r + Σ_v α_v log (Σ m ∏_{u<=v} w_u / Σ m ∏_{u<v} w_u); density: Σ m w f; supervised: log Σ m w.
        """
        mass = self.log_mass.exp()
        total_w = sum(self.log_w.values(), torch.zeros_like(self.log_mass))
        ratio = self.log_p_clamped + words.kl_weight * (self.log_p_latent - self.log_r)
        if words.bound == "supervised":
            return (self.log_mass + total_w).logsumexp(-1)
        if words.bound == "density":
            return ((self.log_mass + total_w).exp() * (ratio - total_w)).sum(-1)
        if words.bound == "iwae":
            return (self.log_mass + ratio).logsumexp(-1) + self.telescoped(words.alpha_of)
        more = 1.0 if words.weights == "normalized" else 0.0
        if words.weights == "normalized":
            hat = torch.softmax(self.log_mass + total_w, -1)
            first = (hat * (ratio - total_w)).sum(-1)
        else:
            first = (mass * ratio).sum(-1)
        if words.label_term == "log_mean":
            return first + self.telescoped(lambda name: more + words.alpha_of(name))
        return first + sum(
            ((mass * (more + words.alpha_of(name)) * log).sum(-1) for name, log in self.log_w.items()),
            torch.zeros_like(first),
        )

    def telescoped(self, scale: Callable[[str], float]) -> Tensor:
        joined = self.log_mass
        before = joined.logsumexp(-1)
        total = torch.zeros_like(before)
        for name, log in self.log_w.items():
            joined = joined + log
            here = joined.logsumexp(-1)
            total, before = total + scale(name) * (here - before), here
        return total

    def effective_share(self) -> Tensor:
        """Give (Σ m w)² / Σ m w², [...]."""
        total_w = sum(self.log_w.values(), torch.zeros_like(self.log_mass))
        once, twice = (self.log_mass + total_w).logsumexp(-1), (self.log_mass + 2 * total_w).logsumexp(-1)
        return (2 * once - twice).exp()


class Joint:
    """Every joint value of the nodes (and inputs) of a model, with the logs of its factors there, differentiable.

    A Normal node stands in it by points along its q, −8 to 8 standard deviations, whose mass is the trapezoidal rule's:
    it resolves what is wider than the points' distance, a tenth of q's width or so, to nearly all digits.
    """

    def __init__(self, model: Model, spec: Raw, points: int = 161) -> None:
        self.spec = spec
        self.names = [*spec.get("inputs", {}), *spec["nodes"]]
        self.normal = [name for name, node in spec["nodes"].items() if node["distribution"] == "Normal"]
        supports: dict[str, Tensor] = {name: torch.tensor(INPUT) for name in spec.get("inputs", {})}
        knots = torch.linspace(-8, 8, points)
        log_weights = torch.log_softmax(-0.5 * knots.square(), 0)
        for name, node in spec["nodes"].items():
            supports[name] = knots if name in self.normal else support(node)
        places = itertools.product(*(range(len(supports[name])) for name in self.names))
        index = torch.tensor(list(places))
        self.index = {name: index[:, i] for i, name in enumerate(self.names)}
        values = {name: supports[name][self.index[name]] for name in self.names if name not in self.normal}
        for name in [n for n in ordered(spec, "recognition") if n in self.normal]:
            q = model.conditional(name, "recognition", values)
            values[name] = q.mean + q.stddev * supports[name][self.index[name]]
        self.log_p = {n: model.conditional(n, "generative", values).log_prob(values[n]) for n in spec["nodes"]}
        self.log_q = {
            n: model.conditional(n, "recognition", values).log_prob(values[n])
            for n, node in spec["nodes"].items()
            if node["supervision"] != "full"
        }
        self.log_mass = {
            n: log_weights[self.index[n]] if n in self.normal else log_q for n, log_q in self.log_q.items()
        }

    @cached_property
    def order(self) -> list[str]:
        return ordered(self.spec, "recognition")

    def particles(self, row: Row, order: Sequence[str] | None = None, *, apart: Sequence[str] = ()) -> Particles:
        """Give a row's particles: every joint value of what it does not carry, [P].

        order: of the labelled nodes. apart: nodes whose mass is left out.
        """
        keep = torch.ones_like(next(iter(self.index.values())), dtype=torch.bool)
        for name, place in row.items():
            keep &= self.index[name] == place
        nodes = self.spec["nodes"]
        zero = torch.zeros(int(keep.sum()))

        def total(factors: Mapping[str, Tensor], names: Collection[str]) -> Tensor:
            return sum((factors[name][keep] for name in names), zero)

        latent = [name for name in nodes if name not in row]
        labelled = order if order is not None else [n for n in self.order if n in row and n in partial(self.spec)]
        return Particles(
            total(self.log_mass, [n for n in latent if n not in apart]),
            total(self.log_p, [n for n in nodes if n in row]),
            total(self.log_p, latent),
            total(self.log_q, latent),
            {name: self.log_q[name][keep] for name in labelled},
        )

    def bound(self, row: Row, words: Words, order: Sequence[str] | None = None) -> Tensor:
        """Give the bound of a row with everything summed: of Eq. 8 and Eq. 9 the limit of many samples."""
        return self.particles(row, order).bound(words)

    def expected(self, row: Row, words: Words, samples: int) -> Tensor:
        """Give E L̂ at 1 or 2 samples of the only Normal node, whose q must read nothing that is proposed.

        The expectation is over all pairs of quadrature points; discrete nodes are summed inside each sample.
        """
        (name,) = self.normal
        whole = self.particles(row, apart=[name])
        points = int(self.index[name].max()) + 1
        axis = [n for n in self.names if n not in row]
        sizes = [int(self.index[n].max()) + 1 for n in axis]

        def grid(part: Tensor) -> Tensor:
            return part.reshape(sizes).movedim(axis.index(name), 0).reshape(points, -1)

        log_weights = self.log_mass[name][torch.stack([self.index[name] == j for j in range(points)]).int().argmax(1)]

        def pairs(part: Tensor) -> Tensor:
            each = grid(part)
            if samples == 1:
                return each
            first, second = torch.broadcast_tensors(each[:, None], each[None, :])
            return torch.cat([first, second], -1)

        drawn = Particles(
            pairs(whole.log_mass) - math.log(samples),
            pairs(whole.log_p_clamped),
            pairs(whole.log_p_latent),
            pairs(whole.log_r),
            {n: pairs(log) for n, log in whole.log_w.items()},
        ).bound(words)
        weights = log_weights.exp()
        return (weights * drawn).sum() if samples == 1 else (weights[:, None] * weights * drawn).sum()


# ---- comparisons ----------------------------------------------------------------------------------------------------


def assert_same(got: Tensor, wanted: Tensor, tolerance: float = 1e-9) -> None:
    """Refuse numbers that differ by more than the tolerance, relative above 1."""
    torch.testing.assert_close(got.detach(), wanted.detach(), rtol=tolerance, atol=tolerance)


def assert_same_gradients(got: Mapping[str, Tensor], wanted: Mapping[str, Tensor], tolerance: float = 1e-9) -> None:
    """Refuse a gradient that differs anywhere; the largest entry sets the scale."""
    assert got.keys() == wanted.keys()
    scale = max([1.0, *(float(part.abs().max()) for part in wanted.values())])
    for name in wanted:
        worst = float((got[name] - wanted[name]).abs().max())
        assert worst <= tolerance * scale, f"{name}: got {got[name]}, wanted {wanted[name]}, scale {scale}"


def assert_mean(draws: Tensor, wanted: Tensor, errors: float = 7.0, floor: float = 1e-8) -> None:
    """Refuse a mean of n independent draws, [n, k], that is further from `wanted`, [k], than `errors` standard errors.

    At n = 40 a Student t beyond 7 has a probability of 2e-8: for 100 numbers the false-alarm rate is below 3e-6.
    """
    mean, error = draws.mean(0), draws.std(0) / math.sqrt(len(draws))
    off = (mean - wanted).abs() - floor * wanted.abs().clamp(min=1.0)
    worst = int((off - errors * error).argmax())
    assert bool((off <= errors * error).all()), (
        f"number {worst}: mean {float(mean[worst]):.6g} ± {float(error[worst]):.2g}, wanted {float(wanted[worst]):.6g}"
    )


def value_and_gradient(model: Model, bound: Tensor) -> Tensor:
    """Give a bound and its gradient side by side, [1 + parameters]."""
    return torch.cat([bound.detach().reshape(1), flat(gradients(model, bound))])


def estimates(model: Model, batch: Mapping[str, Tensor], samples: int, repeats: int = 40) -> Tensor:
    """Draw estimates of the mean bound of a batch and its gradient, independently: [repeats, 1 + parameters]."""
    return torch.stack(
        [value_and_gradient(model, model.objective(batch, samples=samples).bound.mean()) for _ in range(repeats)]
    )


def shuffled_nodes(spec: Raw, rng: random.Random) -> Raw:
    """Write the same spec with its nodes (and features) in another order."""
    other = copy.deepcopy(spec)
    for key in ("nodes", "features"):
        if key in other:
            other[key] = {name: other[key][name] for name in rng.sample(list(other[key]), len(other[key]))}
    return other
