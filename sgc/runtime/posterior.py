"""The posterior of what is not observed: particles weighed by p/r, their means, draws of them, and predictions by q.

Weighed by p(c, l) / r(l), particles are the model's posterior. "From q" they are q's own prediction given the labels:
q's means over its particles, weighed by q of the labels, the w of Siddharth et al. 2017, which is 1 without labels.
Statements about a repeat's step are conditioned on its existence. Enumerated nodes are summed out in both cases, so
that categories come as probabilities.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Distribution

from sgc.derivation.factors import SAMPLES
from sgc.distributions.densities import element_of
from sgc.randomness import generator_on
from sgc.runtime.finiteness import finite_values
from sgc.runtime.layout import Eliminated, Pair, Score, eliminate
from sgc.runtime.step_masks import count_dims, particles_exist
from sgc.runtime.sums import Sums
from sgc.spec.outline import Outline


@dataclass(frozen=True)
class NodePosterior:
    """The posterior of one unobserved node in each row, the model's or q's own.

    `mean` [B, *event]: probabilities for categories; `sd` [B, *event]: the standard deviation of each element about it.
    `samples` [S, B, *event] with normalised `weights` [S, B], which sum to one over S: Σ_s weights · samples estimates
    the mean.

    The mean of a step of a repeat is its mean given that it exists, NaN where it cannot; samples in which it does not
    exist are NaN.
    """

    mean: Tensor
    samples: Tensor
    weights: Tensor
    sd: Tensor

    @classmethod
    def at(cls, value: Tensor, weights: Tensor) -> NodePosterior:
        """Make the posterior of an observed node: all mass at the value, [B, *event]."""
        return cls(value, value.expand(len(weights), *value.shape), weights, torch.zeros_like(value))

    def observed_in(self, value: Tensor, rows: Tensor) -> NodePosterior:
        """Replace rows by observed values. value: [B, *event]; rows: which of them, [B] booleans."""
        mask = rows.reshape(-1, *(1,) * (value.dim() - 1))
        mean, samples = (torch.where(mask, value, values) for values in (self.mean, self.samples))
        return NodePosterior(mean, samples, self.weights, self.sd.masked_fill(mask, 0.0))

    def only(self, rows: Tensor) -> NodePosterior:
        """Set all but these rows to NaN. rows: [B] booleans."""
        mask = ~rows.reshape(-1, *(1,) * (self.mean.dim() - 1))
        mean, samples, sd = (values.masked_fill(mask, torch.nan) for values in (self.mean, self.samples, self.sd))
        return NodePosterior(mean, samples, self.weights, sd)


class Posterior:
    """The particles of one group of rows, weighed."""

    def __init__(self, sums: Sums, outline: Outline) -> None:
        self.group, self.outline, self.layout = sums.group, outline, sums.group.layout
        self.masses = [Pair(log=mass) for mass in self.group.masses]
        self.scores = [Pair(log=score) for score in self.group.scores.values()]
        self.labels = [Pair(log=log) for log in self.group.weights.values()]  # log q of what is labelled
        self._swept: dict[bool, Eliminated] = {}

    def factors(self, *, weighted: bool) -> list[Pair]:
        """Give the weights of the particles as factors: p/r, or q of the labels."""
        return [*self.masses, *(self.scores if weighted else self.labels)]

    def swept(self, *, weighted: bool) -> Eliminated:
        """Give the sums over the particles, weighed by p/r or by q of the labels; worked out once."""
        if weighted not in self._swept:
            self._swept[weighted] = self.sweep(self.factors(weighted=weighted))
        return self._swept[weighted]

    def sweep(self, pairs: Sequence[Pair]) -> Eliminated:
        return eliminate(pairs, self.group.plan.elimination, self.layout, self.group.like)

    @property
    def log_evidence(self) -> Tensor:
        """log (1/S) Σ p/r, [B] nats: an importance-sampled log p of what is observed, from below in expectation."""
        return self.swept(weighted=True).log

    def sample_weights(self, *, weighted: bool = True) -> Tensor:
        """Normalise the samples' weights: [S, B], summing to one over S."""
        log = self.swept(weighted=weighted).samples
        size = (self.layout.samples, self.layout.rows)
        if log is None:
            return self.group.like.new_full(size, 1 / self.layout.samples)
        return log.reshape(log.shape[-2:]).expand(size).softmax(0)

    def effective_samples(self, *, weighted: bool) -> Tensor:
        """Give 1 / Σ_s ŵ_s² of the normalised weights, [B], from 1 to S; infinite where nothing weighs the samples."""
        if self.swept(weighted=weighted).samples is None:
            return self.group.like.new_full((self.layout.rows,), torch.inf)
        return 1 / (self.sample_weights(weighted=weighted) ** 2).sum(0)

    def sound_rows(self, *, weighted: bool) -> Tensor:
        """Tell in which rows the particles and the sum of their weights are finite: [B]."""
        sound = torch.isfinite(self.swept(weighted=weighted).log)
        for name in self.group.plan.proposed:
            sound = sound & finite_values(self.group, name)
        return sound

    def mean(self, node: str, *, weighted: bool) -> Tensor:
        """Average a node over all particles: [B, *event]; unweighted, average q's own means instead of its values."""
        family = self.outline.variables[node].family
        if weighted or node in self.by_value:
            value = self.group.values[node]
        else:
            value = self._padded(node, family.mean(self.group.proposals[node]))
        return self.average(node, value, weighted=weighted)

    def deviation(self, node: str, mean: Tensor, *, weighted: bool) -> Tensor:
        """Give the standard deviation of each element about the mean, both [B, *event], under the same average.

        Unweighted it is q's own where q says it, E[Var q] + Var[E q] over its particles; an angle's goes the shorter
        way from the mean.
        """
        family, weights = self.outline.variables[node].family, None
        if not (weighted or node in self.by_value):
            try:
                return self.spread(node, self.group.proposals[node], mean, weighted=False)
            except NotImplementedError:
                weights = self.by_draw[node]
        apart = family.support.apart(self.group.values[node], self.layout.clamp(mean))
        return (
            self.average(node, apart**2, weighted=weighted, weights=weights).sqrt().masked_fill(mean.isinf(), torch.inf)
        )

    def spread(self, node: str, density: Distribution, mean: Tensor, *, weighted: bool) -> Tensor:
        """Give the standard deviation about the mean of a node with this density in each particle, [B, *event].

        Raises: NotImplementedError where the family does not say its variance.
        """
        family = self.outline.variables[node].family
        variance, center = (self._padded(node, values) for values in (family.variance(density), family.mean(density)))
        apart = (center - self.layout.clamp(mean)) ** 2
        return self.average(node, variance + apart, weighted=weighted).sqrt().masked_fill(mean.isinf(), torch.inf)

    def share_below(self, node: str, value: Tensor) -> Tensor | None:
        """Give q's probability, averaged over its particles, of each element being at most `value`, both [B, *event].

        None where the family has no such function, or its elements are not apart. NaN where the value is.
        """
        family, q = self.outline.variables[node].family, self.group.proposals[node]
        if family.event_dim:
            return None
        missing = torch.isnan(value)
        safe = torch.where(missing, family.inside(q, value), value)
        try:
            below = self._padded(node, element_of(q).cdf(safe))
        except NotImplementedError:
            return None
        return self.average(node, below, weighted=False).masked_fill(missing, torch.nan)

    def log_share(self, node: str, category: Tensor, *, weighted: bool) -> Tensor | None:
        """Give the log of the probability of a category, as `mean` averages it: [B] nats; −∞ where no particle has it.

        It is log Σ m w [node = category] − log Σ m w, whose terms do not underflow as a probability does.

        category: [B], integers. None where a node has several elements, or need not exist, or is not proposed.
        """
        variable, plan = self.outline.variables[node], self.group.plan
        if node not in plan.proposed or node in plan.exists or len(variable.event) != 1 or variable.categories is None:
            return None
        chosen = self.layout.clamp(torch.nn.functional.one_hot(category, variable.categories).to(self.group.like))
        proposal = plan.proposed[node]
        if weighted or node in self.by_value:
            dims: AbstractSet[str] = proposal.dims
            log = (self.group.values[node] * chosen).sum(-1).log()
        else:
            dims = proposal.factor.dims - {node}
            log = variable.family.log_prob(self.group.proposals[node], chosen)
        factor = Pair(log=Score(self.layout.padded(log), frozenset(dims & self.layout.axes.keys())))
        return self.sweep([*self.factors(weighted=weighted), factor]).log - self.swept(weighted=weighted).log

    def average(self, node: str, value: Tensor, *, weighted: bool, weights: Tensor | None = None) -> Tensor:
        """Average a value of every particle, [*enumerated, S, B, *event], over the particles: [B, *event].

        weights: those of the particles, over as many dimensions as the value varies over; of the node's mean if None.
        """
        event = tuple(self.outline.variables[node].event)
        rank = self.layout.rank
        flat = value.reshape(*value.shape[:rank], -1)
        if weights is None:
            weights = (self.by_posterior if weighted else self.by_proposal)[node]
        over = tuple(range(rank - 1))
        if node in self.group.plan.exists:
            weights = self.given_there(node, weights, over, weighted=weighted)
        total = (weights.unsqueeze(-1) * flat).sum(over)
        return total.expand(self.layout.rows, total.shape[-1]).reshape(self.layout.rows, *event)

    def given_there(self, node: str, weights: Tensor, over: tuple[int, ...], *, weighted: bool) -> Tensor:
        """Restrict the weights of a step to the particles in which it exists: NaN where there are none.

        Unweighted, all particles count if no draw of its count reached the step: q still predicts it.
        """
        existing = torch.where(particles_exist(self.group, node, self.outline).tensor, weights, 0.0)
        total = existing.sum(over, keepdim=True)
        if weighted:
            return existing / total  # 0/0 is NaN
        shares = torch.where(total > 0, existing / total, weights)
        return torch.where(self.group.exist[node], shares, torch.nan) if node in self.group.exist else shares

    @cached_property
    def by_value(self) -> frozenset[str]:
        """The nodes that are conditioned on something which their q does not read, so that q's mean is not theirs.

        They are what a label's q reads, counts with labelled steps, and steps that a count below in q may rule out.
        """
        plan, graphs = self.group.plan, self.outline.graphs
        steps = (name for name in plan.exists if name in plan.proposed)
        clamped = frozenset(plan.clamped)
        later = (name for name in steps if graphs.below(name, clamped).intersection(graphs.nodes[name].counts))
        weighing = (weight.factor.node for weight in plan.weights if weight.varies)
        return plan.evidence.union(later, graphs.ancestors(weighing, "recognition") & plan.proposed.keys())

    def _padded(self, node: str, value: Tensor) -> Tensor:
        return self.layout.padded(value, len(self.outline.variables[node].event))

    @cached_property
    def by_posterior(self) -> dict[str, Tensor]:
        """The weights of the particles by p/r, over the dimensions of each proposed or dropped node's value."""
        return self.marginals(self.factors(weighted=True), self._of_proposed | self._of_dropped)

    @cached_property
    def by_draw(self) -> dict[str, Tensor]:
        """The weights of the particles by r and q of the labels, over the dimensions of each proposed node's value."""
        return self.marginals(self.factors(weighted=False), self._of_proposed)

    @property
    def _of_proposed(self) -> dict[str, AbstractSet[str]]:
        """The dimensions that the value and the existence of each proposed node vary over."""
        return {n: p.dims | count_dims(self.group, n) for n, p in self.group.plan.proposed.items()}

    @property
    def _of_dropped(self) -> dict[str, AbstractSet[str]]:
        """The dimensions that p of the nodes that drop what is missing varies over."""
        return {name: self.group.plan.scored[name].dims for name in self.group.dropped}

    @cached_property
    def by_proposal(self) -> dict[str, Tensor]:
        """The weights of the particles by r and q of the labels, over the dimensions of each proposed node's q."""
        wanted: dict[str, AbstractSet[str]] = {}
        for name, proposal in self.group.plan.proposed.items():
            dims: AbstractSet[str] = proposal.dims if name in self.by_value else proposal.factor.dims - {name}
            wanted[name] = dims | count_dims(self.group, name)
        return self.marginals(self.factors(weighted=False), wanted | self._of_dropped)

    def marginals(self, pairs: Sequence[Pair], wanted: Mapping[str, Collection[str]]) -> dict[str, Tensor]:
        """Give the normalised weights over the dimensions wanted for each node: [*enumerated, S, B], the others 1.

        They are what log Σ m w changes by with a factor over these dimensions: one sweep and its gradient give them
        for all nodes, at twice the cost of the sweep, which is the forward-backward algorithm (Darwiche 2003).
        """
        layout, like = self.layout, self.group.like
        probes: dict[frozenset[str], Tensor] = {}
        for dims in map(frozenset, wanted.values()):
            shape = [1] * layout.depth + [layout.samples if SAMPLES in dims else 1, layout.rows]
            for name in dims & layout.axes.keys():
                shape[layout.axes[name]] = self.group.values[name].shape[layout.axes[name]]
            probes.setdefault(dims, like.new_zeros(shape).requires_grad_())
        with torch.enable_grad():
            fixed = [pair.still() for pair in pairs]
            more = [Pair(log=Score(probe, dims & layout.axes.keys())) for dims, probe in probes.items()]
            gradients = torch.autograd.grad(self.sweep([*fixed, *more]).log.sum(), list(probes.values()))
        by_dims = dict(zip(probes, gradients, strict=True))
        return {name: by_dims[frozenset(dims)] for name, dims in wanted.items()}

    def choose(self, *, weighted: bool = True) -> dict[str, Tensor]:
        """Draw for each sample and row a value of every enumerated node: indices [S, B], backwards through the sums.

        In rows without finite scores they mean nothing.
        """
        size = (self.layout.samples, self.layout.rows)
        chosen: dict[str, Tensor] = {}
        for node, log in reversed(self.swept(weighted=weighted).steps):
            picked = self.pick(log.tensor, log.nodes, chosen, node)  # [S, B, K]
            flat = picked.reshape(-1, picked.shape[-1]).softmax(-1)
            flat = torch.where(flat.isnan(), 1.0, flat)  # torch refuses to draw for any row
            chosen[node] = torch.multinomial(flat, 1, generator=generator_on(flat.device)).reshape(size)
        return chosen

    def pick(
        self, value: Tensor, dims: Collection[str], chosen: Mapping[str, Tensor], keep: str | None = None
    ) -> Tensor:
        """Take the combination of each sample and row: [*leading, *event] -> [S, B, *event], a kept axis after B.

        dims: the nodes that the leading dimensions stand for.
        """
        rank, size = self.layout.rank, (self.layout.samples, self.layout.rows)
        device = value.device
        zero = torch.zeros(size, dtype=torch.long, device=device)
        index = [zero] * self.layout.depth
        for node in dims:
            if node != keep and node != SAMPLES and value.shape[self.layout.axes[node]] > 1:
                index[self.layout.axes[node]] = chosen[node]
        samples = torch.arange(size[0], device=device).unsqueeze(1).expand(size)
        rows = torch.arange(size[1], device=device).unsqueeze(0).expand(size)
        index.append(samples if value.shape[rank - 2] > 1 else zero)
        index.append(rows if value.shape[rank - 1] > 1 else zero)
        if keep is not None:
            axis = self.layout.axes[keep]
            del index[axis]
            value = value.movedim(axis, rank - 1)
        return value[tuple(index)]

    def node(self, name: str, chosen: Mapping[str, Tensor], weights: Tensor, *, weighted: bool = True) -> NodePosterior:
        """Give one node's posterior, its samples taken from one draw of the enumerated nodes."""
        samples = self.pick(self.group.values[name], self.group.plan.proposed[name].dims, chosen)
        mean = self.mean(name, weighted=weighted)
        sd = self.deviation(name, mean, weighted=weighted)
        return NodePosterior(mean, self.where_there(name, samples, chosen), weights, sd)

    def of_steps(self, name: str, answer: NodePosterior) -> NodePosterior:
        """Give NaN in the rows whose labelled counts rule a step out."""
        return answer.only(self.group.exist[name]) if name in self.group.exist else answer

    def where_there(self, name: str, samples: Tensor, chosen: Mapping[str, Tensor]) -> Tensor:
        """Put NaN in place of the samples, [S, B, *event], in which a step does not exist."""
        if name not in self.group.plan.exists:
            return samples
        exists = self.pick(particles_exist(self.group, name, self.outline).tensor, count_dims(self.group, name), chosen)
        return samples.masked_fill(~exists.reshape(*exists.shape, *(1,) * (samples.dim() - 2)), torch.nan)

    def filled(
        self, name: str, value: Tensor, chosen: Mapping[str, Tensor], weights: Tensor, *, weighted: bool = True
    ) -> NodePosterior:
        """Give a node that drops what is missing, filled in by p(node | parents) under what is known of the parents.

        given: [B, *event], NaN where it is missing; what is there stays as it is.
        """
        p, missing = self.group.dropped[name], torch.isnan(value)
        family = self.outline.variables[name].family
        center = self._padded(name, family.mean(p))
        drawn = family.draw(p, self.layout.drawn(p.batch_shape)).value
        draws = self.pick(drawn, self.group.plan.scored[name].dims, chosen)
        mean = self.average(name, center, weighted=weighted)
        draws = self.where_there(name, draws, chosen)
        try:
            sd = self.spread(name, p, mean, weighted=weighted)
        except NotImplementedError:  # then that of the draws
            shares = weights.reshape(*weights.shape, *(1,) * (mean.dim() - 1))
            sd = (shares * (draws - mean) ** 2).sum(0).sqrt()
        mean, draws = (torch.where(missing, values, value) for values in (mean, draws))
        return NodePosterior(mean, draws, weights, sd.masked_fill(~missing, 0.0))
