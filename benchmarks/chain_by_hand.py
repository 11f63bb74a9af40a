"""The chain of `growth_specs.chain` as one writes it by hand: densities in the loop over its nodes, or after it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.growth_specs import CHAIN_ROWS, LATENT, WIDTH
from benchmarks.torch_contender import log_normal


class Net(nn.Module):
    """A hidden layer with weights of its own for each parent, then location and scale."""

    def __init__(self, *parents: int) -> None:
        super().__init__()
        self.first = nn.ModuleList(nn.Linear(size, WIDTH, bias=not i) for i, size in enumerate(parents))
        self.last = nn.Linear(WIDTH, 2 * LATENT)

    def forward(self, *sums: Tensor) -> tuple[Tensor, Tensor]:
        """Map what the first layers give to location and scale."""
        hidden = sums[0] if len(sums) == 1 else sums[0] + sums[1]
        loc, raw = self.last(functional.relu(hidden)).chunk(2, -1)
        return loc, functional.softplus(raw)


class ChainByHand:
    """Steps of training on a chain of so many nodes."""

    def __init__(self, steps: int, x: Tensor, *, stacked: bool) -> None:
        torch.manual_seed(0)
        self.steps, self.x, self.stacked = steps, x, stacked
        self.q, self.p, self.p_x = Net(LATENT, LATENT), Net(LATENT), Net(steps * LATENT)
        networks = nn.ModuleList((self.q, self.p, self.p_x))
        self.optimizer = torch.optim.Adam(networks.parameters(), lr=0.001, fused=True)
        self.place = 0

    def step(self) -> None:
        """Take the next step: rows, loss, gradient, Adam."""
        x = self.x[self.place : self.place + CHAIN_ROWS]
        self.place = (self.place + CHAIN_ROWS) % len(self.x)
        loss = -self.bound(x).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()

    def bound(self, x: Tensor) -> Tensor:
        """Give the evidence lower bound of each row, [B] nats, by closed KL divergences."""
        before, of_x = x.new_zeros(len(x), LATENT), self.q.first[0](x)
        total = x.new_zeros(len(x))
        kept: list[tuple[Tensor, Tensor, Tensor]] = []
        values: list[Tensor] = []
        for _ in range(self.steps):
            loc, scale = self.q(of_x, self.q.first[1](before))
            if self.stacked:
                kept.append((loc, scale, before))
            else:
                total = total - normal_kl(loc, scale, *self.p(self.p.first[0](before)))
            before = torch.addcmul(loc, scale, torch.randn_like(loc))
            values.append(before)
        if self.stacked:
            loc, scale, before = (torch.stack(parts) for parts in zip(*kept, strict=True))
            total = -normal_kl(loc, scale, *self.p(self.p.first[0](before))).sum(0)
        return total + log_normal(x, *self.p_x(self.p_x.first[0](torch.cat(values, -1))))


def normal_kl(loc: Tensor, scale: Tensor, other_loc: Tensor, other_scale: Tensor) -> Tensor:
    """KL(N(loc, scale) ‖ N(other_loc, other_scale)), summed over the last axis."""
    ratio = scale / other_scale
    return (0.5 * (ratio**2 + ((loc - other_loc) / other_scale) ** 2 - 1) - ratio.log()).sum(-1)
