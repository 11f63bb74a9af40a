"""Brute force: the bounds of a discrete model summed over every joint value, by the formulas of the papers.

Nothing here reads a plan or uses the code that executes one. Only the conditionals of the model at given values are
used; the proposal, the weight and the bounds are those of Siddharth et al. 2017, Eqs. 3 to 9, written out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sgc.proof.own_formula import CLAMPED, LATENT, PROPOSAL, own_bound
from sgc.proof.plain_spec import Raw, Row, clamped, counts_of, ordered, parents_of, partial, seen_through, support

if TYPE_CHECKING:
    from sgc.derivation.graph import Role
    from sgc.objectives.bound import Bound
    from sgc.runtime.model import Model

WRITTEN = ("elbo", "iwae", "density", "supervised")  # the bounds whose formulas are written here, from the papers
TABLE = 4096  # a conditional with more joint values is computed only for those that occur


@dataclass(frozen=True)
class Words:
    """An objective: its bound, the options of the bound, and α by node."""

    bound: str = "elbo"
    weights: str = "normalized"
    label_term: str = "mean_log"
    kl_weight: float = 1.0
    alpha: Mapping[str, float] = field(default_factory=dict)  # 1 where a node is left out
    own: Bound | None = None  # the user's own, in place of those that are written here

    @staticmethod
    def of(spec: Raw, own: Bound | None = None) -> Words:
        """Read the objective of a spec. own: its bound, if that is not one of those WRITTEN here."""
        objective = dict(spec.get("objective", {}))
        alpha = objective.get("alpha", {})
        by_node = alpha if isinstance(alpha, Mapping) else dict.fromkeys(partial(spec), alpha)
        options = {key: objective[key] for key in ("bound", "weights", "label_term", "kl_weight") if key in objective}
        if own is not None:
            return Words(**{**options, "bound": "own", "own": own}, alpha=by_node)
        return Words(**options, alpha=by_node)

    def alpha_of(self, name: str) -> float:
        """Give the α of a node's label."""
        return self.alpha.get(name, 1.0)


@dataclass(frozen=True)
class Particles:
    """Weighted particles of a row, [..., P]: their masses, and the logs of p and q in the formulas."""

    log_mass: Tensor
    log_p_clamped: Tensor
    log_p_latent: Tensor
    log_r: Tensor
    log_w: Mapping[str, Tensor]  # by labelled node, in an order of the recognition graph

    def changed(self, change: Callable[[Tensor], Tensor]) -> Particles:
        """Apply one change to every part."""
        return Particles(
            change(self.log_mass),
            change(self.log_p_clamped),
            change(self.log_p_latent),
            change(self.log_r),
            {name: change(log) for name, log in self.log_w.items()},
        )

    def bound(self, words: Words) -> Tensor:
        """Give the bound of the particles, [...].

        Eq. 8: Σ ŵ f + Σ m Σ_v (1+α_v) log w_v with ŵ = m w / Σ m w and f = log p − log r − log w; Eq. 9:
        log Σ m p/r + Σ_v α_v log (Σ m ∏_{u<=v} w_u / Σ m ∏_{u<v} w_u); density: Σ m w f; supervised: log Σ m w.
        """
        mass = self.log_mass.exp()
        total_w = sum(self.log_w.values(), torch.zeros_like(self.log_mass))
        ratio = self.log_p_clamped + words.kl_weight * (self.log_p_latent - self.log_r)
        if words.own is not None:
            latent = {LATENT: words.kl_weight * self.log_p_latent, PROPOSAL: -words.kl_weight * self.log_r}
            alpha = {name: words.alpha_of(name) for name in self.log_w}
            return own_bound(words.own, {CLAMPED: self.log_p_clamped, **latent}, self.log_w, self.log_mass, alpha)
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
        """Sum scale_v [log Σ m ∏_{u<=v} w_u − log Σ m ∏_{u<v} w_u], [...]."""
        joined = self.log_mass
        before = joined.logsumexp(-1)
        total = torch.zeros_like(before)
        for name, log in self.log_w.items():
            joined = joined + log
            log_total = joined.logsumexp(-1)
            total, before = total + scale(name) * (log_total - before), log_total
        return total

    def effective_share(self) -> Tensor:
        """Give (Σ m w)² / Σ m w², [...]."""
        total_w = sum(self.log_w.values(), torch.zeros_like(self.log_mass))
        once, twice = (self.log_mass + total_w).logsumexp(-1), (self.log_mass + 2 * total_w).logsumexp(-1)
        return (2 * once - twice).exp()


class Factors:
    """The conditionals of a model as tables of logs, over the places of values in their supports; differentiable.

    A Normal node is represented by points from −8 to 8 standard deviations of its q, weighed by the trapezoidal rule,
    which is exact to nearly all digits for functions wider than the distance of the points, a tenth of q's width.
    """

    def __init__(self, model: Model, spec: Raw, inputs: Mapping[str, Tensor] | None = None, points: int = 161) -> None:
        """List the supports. inputs: the values that each input takes, [K, *shape]. points: for a Normal node."""
        self.model, self.spec = model, spec
        nodes = spec["nodes"]
        self.normal = [name for name in nodes if nodes[name]["distribution"] == "Normal"]
        knots = torch.linspace(-8, 8, points)
        self.log_weights = torch.log_softmax(-0.5 * knots.square(), 0)
        self.supports = dict(inputs or {})
        for name in nodes:
            self.supports[name] = knots if name in self.normal else support(nodes[name])
        self.tables: dict[tuple[str, Role], Tensor] = {}

    def reads(self, name: str, role: Role) -> set[str]:
        """Name the nodes and inputs that a conditional reads, features seen through."""
        return seen_through(self.spec, parents_of(self.spec, name, role))

    def places(self, name: str) -> set[str]:
        """Name the nodes and inputs that determine a value: of a Normal node also those that its q reads."""
        if name not in self.normal:
            return {name}
        return {name}.union(*(self.places(other) for other in self.reads(name, "recognition")))

    def values(self, names: Collection[str], index: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give the values of some nodes and inputs, [U, *event], at places [U]."""
        values: dict[str, Tensor] = {}
        for name in names:
            chosen = self.supports[name][index[name]]
            if name in self.normal:
                q = self.model.conditional(name, "recognition", self.values(self.reads(name, "recognition"), index))
                chosen = q.mean + q.stddev * chosen
            values[name] = chosen
        return values

    def ask(self, name: str, role: Role, index: Mapping[str, Tensor]) -> Tensor:
        """Score a node under its conditional in the model, [U]; 0 where its value is missing."""
        values = self.values({name} | self.reads(name, role), index)
        missing = values[name].isnan()
        scored = self.supports[name][0].where(missing, values[name])
        log = self.model.conditional(name, role, values).log_prob(scored)
        return log.masked_fill(missing.reshape(len(missing), -1).any(1), 0.0)

    def score(self, name: str, role: Role, index: Mapping[str, Tensor]) -> Tensor:
        """Score one factor at places [J]; its conditional is computed once for each distinct value of its parents."""
        axes = sorted(set().union(*(self.places(reader) for reader in {name} | self.reads(name, role))))
        sizes = [len(self.supports[axis]) for axis in axes]
        if math.prod(sizes) > TABLE:
            first, place = self.distinct(axes, index)
            return self.ask(name, role, {axis: index[axis][first] for axis in axes})[place]
        if (name, role) not in self.tables:
            grid = product(sizes)
            self.tables[name, role] = self.ask(name, role, {axis: grid[:, i] for i, axis in enumerate(axes)})
        place = torch.zeros_like(index[name])
        for axis, size in zip(axes, sizes, strict=True):
            place = place * size + index[axis]
        return self.tables[name, role][place]

    def distinct(self, axes: Sequence[str], index: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Find the first occurrence of each joint place on some axes, [U], and for each entry its number there, [J]."""
        code = torch.zeros_like(index[axes[0]])
        for axis in axes:
            code = code * len(self.supports[axis]) + index[axis]
            code = torch.unique(code, return_inverse=True)[1]  # so that no product overflows
        first = torch.zeros(int(code.max()) + 1, dtype=torch.long)
        return first.index_copy(0, code.flip(0), torch.arange(len(code)).flip(0)), code


def product(sizes: Sequence[int]) -> Tensor:
    """List every joint place in supports of some sizes, [∏ sizes, axes]; the last axis varies fastest."""
    places = torch.tensor(list(itertools.product(*map(range, sizes))), dtype=torch.long)
    return places.reshape(math.prod(sizes), len(sizes))


class Joint:
    """All completions of some rows, with the logs of all factors there; differentiable.

    The rows have values of the same names; every other name takes all of its values: R rows with P completions each.
    """

    def __init__(self, factors: Factors, rows: Sequence[Row] = ({},)) -> None:
        """Score every factor."""
        self.spec, self.normal, self.rows = factors.spec, factors.normal, rows
        self.names = list(factors.supports)
        self.free = [name for name in self.names if name not in rows[0]]
        self.sizes = [len(factors.supports[name]) for name in self.free]
        grid = product(self.sizes)
        self.completions = len(grid)
        self.index = {
            name: torch.tensor([row[name] for row in rows]).repeat_interleave(len(grid))
            for name in self.names
            if name in rows[0]
        }
        self.index |= {name: grid[:, i].repeat(len(rows)) for i, name in enumerate(self.free)}
        nodes = self.spec["nodes"]
        proposed = [name for name in nodes if name not in clamped(self.spec)]
        self.order = ordered(self.spec, "recognition")
        self.log_p = {name: factors.score(name, "generative", self.index) for name in nodes}
        self.log_q = {name: factors.score(name, "recognition", self.index) for name in proposed}
        self.log_mass = {
            name: factors.log_weights[self.index[name]] if name in self.normal else log_q
            for name, log_q in self.log_q.items()
        }
        self.log_w = dict(self.log_q)
        self.evidence = self.counted(factors) if any(node.get("exists") for node in nodes.values()) else []

    def counted(self, factors: Factors) -> list[str]:
        """Leave out the scores of steps that do not exist, and restrict counts by labelled steps; name these counts.

        If labelled steps give evidence about a count without a label, the count is proposed among the numbers that
        allow them: q of these numbers is a weight, and other numbers have no mass. Masses are never left out.
        """
        nodes = self.spec["nodes"]
        numbers = {c: torch.tensor(counts_of(nodes[c])) for node in nodes.values() for c, _ in node.get("exists", ())}
        above = {c: numbers[c][self.index[c]] for c in numbers}
        least = {c: torch.full_like(number, -1) for c, number in above.items() if c in self.free}
        evidence: dict[str, None] = {}
        for name, node in nodes.items():
            steps = node.get("exists", ())
            if name in self.free or not steps:
                continue
            labelled = torch.ones(len(self.index[name]), dtype=torch.bool)
            if "missing" in node:  # the last place is that of a missing value
                labelled &= self.index[name] < len(factors.supports[name]) - 1
            for count, i in steps:
                labelled &= (above[count] > i) | torch.tensor(count in least)
            for count, i in steps:
                if count in least:
                    evidence[count] = None
                    least[count] = torch.where(labelled, least[count].clamp(min=i), least[count])
        for count in evidence:
            places = [torch.full_like(self.index[count], place) for place in range(len(numbers[count]))]
            every = torch.stack([factors.score(count, "recognition", {**self.index, count: p}) for p in places])
            room = numbers[count][:, None] > least[count]
            log_room = every.masked_fill(~room, -math.inf).logsumexp(0)
            self.log_w[count] = log_room
            self.log_q[count] = self.log_q[count] - log_room
            self.log_mass[count] = self.log_q[count].masked_fill(above[count] <= least[count], -math.inf)
        for name, node in nodes.items():
            for count, i in node.get("exists", ()):
                exists = above[count] > i
                for logs in (self.log_p, self.log_q, self.log_w):
                    if name in logs:
                        logs[name] = logs[name].where(exists, 0.0)
        return list(evidence)

    def particles(
        self, row: Row | None = None, order: Sequence[str] | None = None, *, apart: Collection[str] = ()
    ) -> Particles:
        """Give the particles of the rows, [R, P]: all joint values of what is not observed.

        row: more values that are observed. order: of the labelled nodes. apart: nodes whose mass is left out.
        """
        carried = {**self.rows[0], **(row or {})}
        keep = torch.ones(len(self.rows) * self.completions, dtype=torch.bool)
        for name, place in (row or {}).items():
            keep &= self.index[name] == place
        nodes, zero = self.spec["nodes"], torch.zeros(int(keep.sum()))

        def total(factors: Mapping[str, Tensor], names: Collection[str]) -> Tensor:
            return sum((factors[name][keep] for name in names), zero).reshape(len(self.rows), -1)

        latent = [name for name in nodes if name not in carried]
        weighing = [*(name for name in carried if name in partial(self.spec)), *self.evidence]
        labelled = [name for name in self.order if name in weighing]
        return Particles(
            total(self.log_mass, [name for name in latent if name not in apart]),
            total(self.log_p, [name for name in nodes if name in carried]),
            total(self.log_p, latent),
            total(self.log_q, latent),
            {name: total(self.log_w, [name]) for name in (labelled if order is None else order)},
        )

    def bound(self, words: Words) -> Tensor:
        """Give the bound of each row with everything summed, [R]: for Eqs. 8 and 9 the limit of many samples."""
        return self.particles().bound(words)
