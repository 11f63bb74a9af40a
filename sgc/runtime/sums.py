"""The sums over the particles of a group that make its bound, its terms and its weights.

Nothing is decided here: the plan says what is summed, and the scores are there once it has run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sgc.runtime.batch import patterns_of
from sgc.runtime.group import Group, Key
from sgc.runtime.layout import Eliminated, Pair, Score, eliminate
from sgc.runtime.running_means import RunningMeans


@dataclass(frozen=True)
class Settings:
    """The numbers of the objective at one moment: α of each node, and the weight of the latent nodes' terms."""

    alpha: Mapping[str, float]
    kl_weight: float = 1.0
    decay: Mapping[str, float] = field(default_factory=dict)  # of each node's running mean


class Sums:
    """The sums over the particles of one group that make its bound (Siddharth et al. 2017, Eqs. 8 and 9)."""

    def __init__(self, group: Group, settings: Settings, running_means: RunningMeans) -> None:
        self.group, self.settings, self.running_means = group, settings, running_means
        self.plan, self.words = group.plan, group.plan.words
        self.masses = [Pair(log=mass) for mass in group.masses]
        varying = [w.factor.node for w in self.plan.weights if w.varies]
        self.varying = {name: group.weights[name] for name in varying}
        self.normalised = bool(varying) and self.words.bound == "elbo" and self.words.weights == "normalized"
        self.latent = {p.node for p in self.plan.proposals}
        self.last_bound = group.like.new_zeros(group.layout.rows)  # as it went into the loss; for the run's log

    def eliminate(self, pairs: Sequence[Pair]) -> Eliminated:
        return eliminate([*self.masses, *pairs], self.plan.elimination, self.group.layout, self.group.like)

    @property
    def weight_pairs(self) -> list[Pair]:
        """The factors that particles are weighed by beside their masses."""
        if self.words.bound == "iwae":
            return [Pair(log=score) for score in self.group.scores.values()]
        if self.words.bound in ("density", "supervised"):
            return [Pair(log=log) for log in self.group.weights.values()]
        return [Pair(log=log) for log in self.varying.values()] if self.normalised else []

    def value(self, kl_weight: float = 1.0) -> Tensor:
        """Sum the bound of each row, [B] nats, its α term included, γ not; charged draws bring no gradient."""
        kind = self.words.bound
        if kind == "supervised":
            return self.eliminate(self.weight_pairs).log
        if kind == "iwae":
            return self.eliminate(self.weight_pairs).log + self.log_mean(list(self.group.weights), self.alpha)
        terms = [Pair(value=self.scaled(key, score, kl_weight)) for key, score in self.group.scores.items()]
        if kind == "density":
            less = [Pair(value=-log) for log in self.group.weights.values()]
            found = self.eliminate([*self.weight_pairs, *terms, *less])
            return found.log.exp() * found.value
        less = [Pair(value=-log) for log in self.varying.values()] if self.normalised else []
        return self.eliminate([*self.weight_pairs, *terms, *less]).value + self.label_term()

    def scaled(self, key: Key, score: Score, kl_weight: float) -> Score:
        if kl_weight == 1.0 or key[0] not in self.latent:
            return score
        labelled = self.group.labelled.get(key[0])
        if labelled is None:
            return score * kl_weight
        one = score.tensor.new_ones(())
        return score * torch.where(labelled, one, kl_weight * one)

    def alpha(self, name: str) -> float:
        return self.settings.alpha[name]

    def patterns(self) -> list[tuple[str, Tensor | None]]:
        """List the patterns of the rows, as labels with commas between, and their places; None: all rows."""
        plan = self.plan
        if not plan.either:
            return [(",".join(plan.observed), None)]
        names = [name for name in plan.order if name in plan.either]
        carried, kind = patterns_of(torch.stack([self.group.labelled[name] for name in names], 1).cpu().numpy())
        found: list[tuple[str, Tensor | None]] = []
        for i, each in enumerate(carried):
            labels = {*plan.observed, *(name for name, has in zip(names, each, strict=True) if has)}
            places = torch.from_numpy((kind == i).nonzero()[0]).to(self.group.like.device)
            found.append((",".join(name for name in plan.order if name in labels), places))
        return found

    def decay(self, name: str) -> float:
        return self.settings.decay[name]

    def label_term(self) -> Tensor:
        """Sum α log w of constant factors, and (1 + α) E log w or its log-mean of varying ones."""
        total = self.group.like.new_zeros(self.group.layout.rows)
        for name, log in self.group.weights.items():
            if name not in self.varying:
                total = total + self.alpha(name) * self.row(log)
        if not self.varying:
            return total
        extra = 1.0 if self.normalised else 0.0
        if self.words.label_term == "log_mean":
            return total + self.log_mean(list(self.varying), lambda name: extra + self.alpha(name))
        pairs = [Pair(value=(extra + self.alpha(name)) * log) for name, log in self.varying.items()]
        return total + self.eliminate(pairs).value

    def log_mean(self, names: Sequence[str], scale: Callable[[str], float]) -> Tensor:
        """Sum scale_v [log Σ m ∏_{u<=v} w_u − log Σ m ∏_{u<v} w_u] in the order of the plan."""
        total = self.group.like.new_zeros(self.group.layout.rows)
        before: Tensor | None = None
        for i, name in enumerate(names):
            alike = i + 1 < len(names) and scale(names[i + 1]) == scale(name)
            if alike:  # equal scales telescope
                continue
            here = self.eliminate([Pair(log=self.group.weights[n]) for n in names[: i + 1]]).log
            total = total + scale(name) * (here if before is None else here - before)
            before = here
        return total

    def row(self, score: Score) -> Tensor:
        """Flatten a score that varies over rows alone: [1, ..., B] -> [B]."""
        return score.tensor.reshape(-1).expand(self.group.layout.rows)

    def terms(self) -> dict[str, dict[str, Tensor]]:
        """Sum each term on its own, by node and role, under the weights of the bound; for elbo they add up to it.

        Roles: generative, recognition, kl, and label for all that the label of a node brings. Each [B], nats.
        """
        found: dict[str, dict[str, Tensor]] = {}
        weights = self.weight_pairs
        scale = self.eliminate(weights).log.exp() if self.words.bound == "density" else 1.0
        for (name, role), score in self.group.scores.items():
            mean = self.eliminate([*weights, Pair(value=score)]).value
            found.setdefault(name, {})[role] = mean * scale
        order = list(self.group.weights)
        for i, name in enumerate(order):
            found.setdefault(name, {})["label"] = self.label(name, order[:i], weights, scale)
        return found

    def label(self, name: str, before: Sequence[str], weights: Sequence[Pair], scale: Tensor | float) -> Tensor:
        log, kind = self.group.weights[name], self.words.bound
        if kind == "supervised":
            return self.log_ratio(before, name)
        if kind == "density":
            return -self.eliminate([*weights, Pair(value=log)]).value * scale
        if kind == "iwae":
            return self.alpha(name) * self.log_ratio(before, name)
        if name not in self.varying:
            return self.alpha(name) * self.row(log)
        extra = 1.0 if self.normalised else 0.0
        less = self.eliminate([*weights, Pair(value=log)]).value if self.normalised else 0.0
        varying_before = [n for n in before if n in self.varying]
        if self.words.label_term == "log_mean":
            return (extra + self.alpha(name)) * self.log_ratio(varying_before, name) - less
        return (extra + self.alpha(name)) * self.eliminate([Pair(value=log)]).value - less

    def log_ratio(self, before: Sequence[str], name: str) -> Tensor:
        logs = [Pair(log=self.group.weights[n]) for n in before]
        here = self.eliminate([*logs, Pair(log=self.group.weights[name])]).log
        return here - self.eliminate(logs).log if logs else here

    def effective_sample_size(self) -> Tensor:
        """Give (Σ m w)² S / Σ m w², [B]: from 1 to S, for the weights of the bound."""
        once = self.weight_pairs
        twice = [Pair(log=2 * pair.log) for pair in once if pair.log is not None]
        samples = self.group.layout.samples
        ratio = 2 * self.eliminate(once).log - self.eliminate(twice).log
        return samples * ratio.exp()
