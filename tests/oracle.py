"""Oracles: random specs of discrete nodes, every joint value summed, quadrature over a Normal, and tests of means.

The sums over all joint values are those of `sgc prove` (sgc/proof/brute_force.py), which looks neither at a plan nor
at the runtime: it asks a model only for its conditionals at given values.
"""

from __future__ import annotations

import copy
import itertools
import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import sgc
from sgc.proof import brute_force, plain_spec
from sgc.proof.brute_force import Particles, Words
from sgc.proof.plain_spec import Raw, Row, carriers, full, ordered, parents_of, partial, patterns, support
from sgc.runtime.model import Model

__all__ = ["Raw", "Row", "Words", "carriers", "full", "ordered", "parents_of", "partial", "patterns", "support"]


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


# ---- rows ----------------------------------------------------------------------------------------------------------


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
    inputs = {name: torch.tensor(INPUT) for name in spec.get("inputs", {})}
    batch = plain_spec.batch_of(spec, rows, inputs)
    for name in [*full(spec), *partial(spec)]:
        if integers and spec["nodes"][name].get("categories"):
            column = batch[name]
            batch[name] = torch.where(column.isnan().any(-1), -1, column.nan_to_num().argmax(-1))
    return batch


def repeated(spec: Raw, row: Row, count: int) -> dict[str, torch.Tensor]:
    return batch_of(spec, [row] * count)


# ---- exact bounds ---------------------------------------------------------------------------------------------------


class Joint:
    """Every joint value of the nodes and inputs of a model, as `sgc prove` sums it, for any row."""

    def __init__(self, model: Model, spec: Raw, points: int = 161) -> None:
        inputs = {name: torch.tensor(INPUT) for name in spec.get("inputs", {})}
        self.all = brute_force.Joint(brute_force.Factors(model, spec, inputs, points))
        self.names, self.index = self.all.names, self.all.index
        self.log_p, self.log_q = self.all.log_p, self.all.log_q

    def particles(self, row: Row, order: Sequence[str] | None = None, *, apart: Sequence[str] = ()) -> Particles:
        """Give a row's particles: every joint value of what it does not carry, [P]."""
        return self.all.particles(row, order, apart=apart).changed(lambda part: part[0])

    def bound(self, row: Row, words: Words, order: Sequence[str] | None = None) -> Tensor:
        """Give the bound of a row with everything summed: of Eq. 8 and Eq. 9 the limit of many samples."""
        return self.particles(row, order).bound(words)

    def expected(self, row: Row, words: Words, samples: int) -> Tensor:
        """Give E L̂ at 1 or 2 samples of the only Normal node, whose q must read nothing that is proposed.

        The expectation is over all pairs of quadrature points; discrete nodes are summed inside each sample.
        """
        (name,) = self.all.normal
        index = self.index
        whole = self.particles(row, apart=[name])
        points = int(index[name].max()) + 1
        axis = [n for n in self.names if n not in row]
        sizes = [int(index[n].max()) + 1 for n in axis]

        def grid(part: Tensor) -> Tensor:
            return part.reshape(sizes).movedim(axis.index(name), 0).reshape(points, -1)

        log_mass = self.all.log_mass[name]
        log_weights = log_mass[torch.stack([index[name] == j for j in range(points)]).int().argmax(1)]

        def pairs(part: Tensor) -> Tensor:
            each = grid(part)
            if samples == 1:
                return each
            first, second = torch.broadcast_tensors(each[:, None], each[None, :])
            return torch.cat([first, second], -1)

        drawn = replace(whole.changed(pairs), log_mass=pairs(whole.log_mass) - math.log(samples)).bound(words)
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
