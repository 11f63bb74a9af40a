"""The step as a good engineer writes it first: inputs side by side, a pass for each batch, the default Adam."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.problem import Problem
from benchmarks.torch_contender import (
    ByHand,
    Network,
    categorical_kl,
    log_bernoulli,
    log_normal,
    log_standard_normal,
    normal_kl,
)


class PlainTorch(ByHand):
    """The bounds of A1, A2 and A3, [B] nats of each batch, and the step down their mean."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        weights = problem.weights()
        self.p_x, self.q_y, self.q_z = Network(weights["x"]), Network(weights["y"]), Network(weights["z"])
        networks = torch.nn.ModuleList((self.p_x, self.q_y, self.q_z))
        self.optimizer = torch.optim.Adam(networks.parameters(), lr=problem.rate)

    def step(self) -> None:
        loss = self.mean(*self.batch())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()  # as any loop does, to tell of it and to see that it is finite

    def loss(self) -> float:
        with torch.no_grad():
            return self.mean(*self.batch(first=True)).item()

    def exact(self) -> dict[str, float]:
        if self.problem.z_first:
            return {}
        _, x, labels = self.batch(first=True)
        with torch.no_grad():
            return {"label": -functional.cross_entropy(self.q_y(x), labels).item()}

    def mean(self, bare: Tensor, x: Tensor, labels: Tensor) -> Tensor:
        """Give the loss of a batch of each kind."""
        y = functional.one_hot(labels, self.problem.categories).float()
        if self.problem.z_first:
            unlabelled, labelled = self.unlabelled_z_first(bare), self.labelled_z_first(x, y)
        else:
            one = self.enumerated if not self.problem.temperature else self.relaxed
            unlabelled, labelled = one(bare), self.labelled(x, y)
        return -(unlabelled.mean() + labelled.mean()) / 2

    # ---- q(y | x) q(z | x, y)

    def given_y(self, x: Tensor, y: Tensor) -> Tensor:
        """E_q(z|x,y) log p(x | y, z) − KL(q(z | x, y) ‖ p(z)), by one draw."""
        loc, scale = self.q_z.normal(x, y)
        z = loc + scale * torch.randn_like(loc)
        return log_bernoulli(self.p_x(y, z), x) - normal_kl(loc, scale)

    def labelled(self, x: Tensor, y: Tensor) -> Tensor:
        label = (torch.log_softmax(self.q_y(x), -1) * y).sum(-1)
        return self.given_y(x, y) - math.log(self.problem.categories) + self.problem.alpha * label

    def enumerated(self, x: Tensor) -> Tensor:
        log_q = torch.log_softmax(self.q_y(x), -1)
        every = torch.eye(self.problem.categories, device=x.device)[:, None].expand(-1, len(x), -1)
        values = self.given_y(x.expand(self.problem.categories, *x.shape), every)
        return (log_q.exp() * values.T).sum(-1) - categorical_kl(log_q)

    def relaxed(self, x: Tensor) -> Tensor:
        logits = self.q_y(x)
        y = functional.gumbel_softmax(logits, self.problem.temperature)
        return self.given_y(x, y) - categorical_kl(torch.log_softmax(logits, -1))

    # ---- q(z | x) q(y | x, z)

    def draws_of_z(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Give draws of z, [S, B, Z], x for each of them, and location and scale."""
        loc, scale = self.q_z.normal(x)
        z = loc + scale * torch.randn(self.problem.samples, *loc.shape, device=loc.device)
        return z, x.expand(self.problem.samples, *x.shape), loc, scale

    def unlabelled_z_first(self, x: Tensor) -> Tensor:
        z, wide, loc, scale = self.draws_of_z(x)
        logits = self.q_y(wide, z)
        y = functional.gumbel_softmax(logits, self.problem.temperature)
        value = log_bernoulli(self.p_x(y, z), wide) - categorical_kl(torch.log_softmax(logits, -1))
        return value.mean(0) - normal_kl(loc, scale)

    def labelled_z_first(self, x: Tensor, y: Tensor) -> Tensor:
        """Eq. (8) of Siddharth et al. 2017: Σ_s (w/Σw) (log p − log q) + (1 + α) mean_s log w, w = q(y | x, z)."""
        z, wide, loc, scale = self.draws_of_z(x)
        log_w = (torch.log_softmax(self.q_y(wide, z), -1) * y).sum(-1)
        log_p = log_bernoulli(self.p_x(y.expand(len(z), *y.shape), z), wide) + log_standard_normal(z)
        value = log_p - math.log(self.problem.categories) - log_normal(z, loc, scale) - log_w
        return (log_w.softmax(0) * value).sum(0) + (1 + self.problem.alpha) * log_w.mean(0)


def make(problem: Problem, way: str) -> PlainTorch:
    """Make the contender."""
    return PlainTorch(problem)
