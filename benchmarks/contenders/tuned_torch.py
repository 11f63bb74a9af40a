"""The step as one writes it by hand who has measured: first layers by parent, both batches in one product, fused Adam.

What does not vary over categories or draws is multiplied once: the first layer of a network of x and y maps x once and
takes a column for each y. Each parent has a parameter of its own, since slices of one weight cost a copy backward.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.problem import Layers, Problem
from benchmarks.torch_contender import (
    ByHand,
    Network,
    categorical_kl,
    log_bernoulli,
    log_normal,
    log_standard_normal,
    normal_kl,
)


class SplitNetwork(nn.Module):
    """A network whose first layer has a weight for each parent; `rest` follows the sum of what these give."""

    def __init__(self, layers: Layers, parents: list[int]) -> None:
        super().__init__()
        first, bias = map(torch.from_numpy, layers[0])
        self.first = nn.ParameterList([nn.Parameter(each.contiguous()) for each in first.split(parents, 1)])
        self.bias = nn.Parameter(bias)
        self.rest = Network(layers[1:])

    def after(self, sums: Tensor) -> Tensor:
        """Map what the first layer gives, [*leading, width], to the output."""
        return self.rest(functional.relu(sums, inplace=True))  # type: ignore[no-any-return]


class TunedTorch(ByHand):
    """The loss of both batches in one pass: rows without labels stand before those with labels."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        weights, inputs = problem.weights(), problem.inputs()
        self.p_x, self.q_y, self.q_z = (SplitNetwork(weights[name], inputs[name]) for name in "xyz")
        networks = nn.ModuleList((self.p_x, self.q_y, self.q_z))
        self.optimizer = torch.optim.Adam(networks.parameters(), lr=problem.rate, fused=True)
        self.log_count = math.log(problem.categories)

    def step(self) -> None:
        loss = self.mean(*self.batch())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()

    def loss(self) -> float:
        with torch.no_grad():
            return self.mean(*self.batch(first=True)).item()

    def mean(self, bare: Tensor, x: Tensor, labels: Tensor) -> Tensor:
        """Give the loss of a batch of each kind."""
        both = torch.cat((bare, x))
        if self.problem.z_first:
            return self.z_first(both, labels)
        log_q = torch.log_softmax(self.q_y.after(functional.linear(both, self.q_y.first[0], self.q_y.bias)), -1)
        of_bare, of_labelled = log_q.chunk(2)
        way = self.enumerated if not self.problem.temperature else self.relaxed
        value = way(both, of_bare, labels).sum() - categorical_kl(of_bare).sum()
        label = -functional.nll_loss(of_labelled, labels, reduction="sum")
        return -(value + self.problem.alpha * label) / len(both) + self.log_count / 2

    def enumerated(self, both: Tensor, log_q: Tensor, labels: Tensor) -> Tensor:
        """Σ_y q(y | x) of the bound given y, and that of labelled rows: [B], [B]."""
        rows, count = len(log_q), self.problem.categories
        of_x, of_y = functional.linear(both, self.q_z.first[0], self.q_z.bias), self.q_z.first[1].T
        every = of_x[:rows] + of_y[:, None]
        sums = torch.cat((every.flatten(0, 1), of_x[rows:] + of_y[labels]))
        loc, scale = _normal(self.q_z.after(sums))
        z = torch.addcmul(loc, scale, torch.randn_like(loc))
        of_z, of_y = functional.linear(z, self.p_x.first[1], self.p_x.bias), self.p_x.first[0].T
        every = of_z[: count * rows].view(count, rows, -1) + of_y[:, None]
        logits = self.p_x.after(torch.cat((every.flatten(0, 1), of_z[count * rows :] + of_y[labels])))
        log_x = torch.cat(
            (
                log_bernoulli(logits[: count * rows].view(count, rows, -1), both[:rows]).flatten(),
                log_bernoulli(logits[count * rows :], both[rows:]),
            )
        )
        value = log_x - normal_kl(loc, scale)
        unlabelled = (log_q.exp() * value[: count * rows].view(count, rows).T).sum(-1)
        return torch.cat((unlabelled, value[count * rows :]))

    def relaxed(self, both: Tensor, log_q: Tensor, labels: Tensor) -> Tensor:
        """The bound given y, relaxed where it is not known, [2B]."""
        hard = functional.one_hot(labels, self.problem.categories).to(both.dtype)
        y = torch.cat((functional.gumbel_softmax(log_q, self.problem.temperature), hard))
        of_x = functional.linear(both, self.q_z.first[0], self.q_z.bias)
        loc, scale = _normal(self.q_z.after(torch.addmm(of_x, y, self.q_z.first[1].T)))
        z = torch.addcmul(loc, scale, torch.randn_like(loc))
        of_z = functional.linear(z, self.p_x.first[1], self.p_x.bias)
        logits = self.p_x.after(torch.addmm(of_z, y, self.p_x.first[0].T))
        return log_bernoulli(logits, both) - normal_kl(loc, scale)

    def z_first(self, both: Tensor, labels: Tensor) -> Tensor:
        """Eq. (8) of Siddharth et al. 2017 for both batches, with S draws of z."""
        rows, draws = len(labels), self.problem.samples
        loc, scale = _normal(self.q_z.after(functional.linear(both, self.q_z.first[0], self.q_z.bias)))
        z = torch.addcmul(loc, scale, torch.randn(draws, *loc.shape, device=loc.device))
        of_x = functional.linear(both, self.q_y.first[0], self.q_y.bias)
        log_q = torch.log_softmax(self.q_y.after(functional.linear(z, self.q_y.first[1]) + of_x), -1)
        of_bare, of_labelled = log_q[:, :rows], log_q[:, rows:]
        hard = functional.one_hot(labels, self.problem.categories).to(both.dtype)
        y = functional.gumbel_softmax(of_bare, self.problem.temperature)
        of_z, weight = functional.linear(z, self.p_x.first[1], self.p_x.bias), self.p_x.first[0]
        of_y = torch.cat((functional.linear(y, weight), functional.linear(hard, weight).expand(draws, -1, -1)), 1)
        log_x = log_bernoulli(self.p_x.after(of_z + of_y), both)
        unlabelled = (log_x[:, :rows] - categorical_kl(of_bare)).mean(0) - normal_kl(loc[:rows], scale[:rows])
        log_w = of_labelled.gather(-1, labels.expand(draws, -1).unsqueeze(-1)).squeeze(-1)
        scored = log_standard_normal(z[:, rows:]) - log_normal(z[:, rows:], loc[rows:], scale[rows:])
        value = log_x[:, rows:] + scored - log_w
        labelled = (log_w.softmax(0) * value).sum(0) + (1 + self.problem.alpha) * log_w.mean(0)
        return -(unlabelled.sum() + labelled.sum()) / len(both) + self.log_count / 2


def _normal(output: Tensor) -> tuple[Tensor, Tensor]:
    loc, raw = output.chunk(2, -1)
    return loc, functional.softplus(raw)


def make(problem: Problem, way: str) -> TunedTorch:
    """Make the contender."""
    return TunedTorch(problem)
