"""The step in Pyro: the way of its own example of M2, and a leaner one; A3 by traces and Eq. (8) by hand.

The example has two losses, the bound and the classifier's on labelled rows, and moves the weights after each of them
and each batch. The leaner way adds the losses and moves the weights once, with the checks of arguments off.
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO, config_enumerate
from torch import Tensor
from torch.nn import functional

from benchmarks.contender import Cannot
from benchmarks.problem import Problem
from benchmarks.torch_contender import ByHand, Network, categorical_kl


class PyroModel(ByHand):
    """Model and guide of A1 and A2, and the two losses of Pyro's example; sums over the rows of a batch."""

    def __init__(self, problem: Problem, *, validate: bool) -> None:
        super().__init__(problem)
        pyro.clear_param_store()
        pyro.enable_validation(validate)
        pyro.set_rng_seed(problem.seed)
        weights = problem.weights()
        self.p_x, self.q_y, self.q_z = Network(weights["x"]), Network(weights["y"]), Network(weights["z"])
        self.networks = torch.nn.ModuleList((self.p_x, self.q_y, self.q_z))
        self.uniform = torch.full((problem.categories,), 1 / problem.categories)

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(z) p(y) p(x | y, z); a relaxed y is not scored here, see `guide`."""
        pyro.module("networks", self.networks)
        with pyro.plate("rows", len(x)):
            zero = x.new_zeros(self.problem.latent)
            z = pyro.sample("z", dist.Normal(zero, zero + 1).to_event(1))
            if y is None and self.problem.temperature:
                y = pyro.sample("y", self._relaxed(self.uniform.log()))
            else:
                y = pyro.sample("y", dist.OneHotCategorical(self.uniform), obs=y)
            pyro.sample("x", dist.Bernoulli(logits=self.p_x(y, z)).to_event(1), obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """q(y | x) q(z | x, y); a relaxed y has the divergence of its probabilities in the place of its score."""
        with pyro.plate("rows", len(x)):
            if y is None:
                logits = self.q_y(x)
                if self.problem.temperature:
                    y = pyro.sample("y", self._relaxed(logits))
                    pyro.factor("kl_y", categorical_kl(torch.log_softmax(logits, -1)), has_rsample=True)
                else:
                    y = pyro.sample("y", dist.OneHotCategorical(logits=logits))
            pyro.sample("z", dist.Normal(*self.q_z.normal(x, y)).to_event(1))

    def classifier(self, x: Tensor, y: Tensor) -> None:
        """α log q(y | x) as a model of its own."""
        pyro.module("networks", self.networks)
        with pyro.plate("rows", len(x)), poutine.scale(scale=self.problem.alpha):
            pyro.sample("y_aux", dist.OneHotCategorical(logits=self.q_y(x)), obs=y)

    def nothing(self, x: Tensor, y: Tensor) -> None:
        """The guide of the classifier, which has nothing to propose."""

    def _relaxed(self, logits: Tensor) -> dist.TorchDistribution:
        temperature = logits.new_tensor(self.problem.temperature)
        return dist.RelaxedOneHotCategorical(temperature, logits=logits).mask(False)

    def bound(self) -> Trace_ELBO:
        """Give the estimator of the bound."""
        return Trace_ELBO() if self.problem.temperature else TraceEnum_ELBO(max_plate_nesting=1)

    def proposal(self) -> object:
        """Give the guide, with y enumerated where it is not relaxed."""
        return self.guide if self.problem.temperature else config_enumerate(self.guide, "parallel", expand=True)

    def one_hot(self, labels: Tensor) -> Tensor:
        """Write labels as Pyro's example reads them."""
        return functional.one_hot(labels, self.problem.categories).float()

    def exact(self) -> dict[str, float]:
        if self.problem.z_first:
            return {}
        _, x, labels = self.batch(first=True)
        with torch.no_grad():
            loss = Trace_ELBO().loss(self.classifier, self.nothing, x, self.one_hot(labels))
        return {"label": -loss / len(x) / self.problem.alpha}


class Example(PyroModel):
    """As Pyro's example does it: an SVI for the bound and one for the classifier, each with steps of its own."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem, validate=True)
        adam = pyro.optim.Adam({"lr": problem.rate})
        self.basic = SVI(self.model, self.proposal(), adam, loss=self.bound())
        self.auxiliary = SVI(self.classifier, self.nothing, adam, loss=Trace_ELBO())

    def step(self) -> None:
        bare, x, labels = self.batch()
        self.basic.step(bare)
        y = self.one_hot(labels)
        self.basic.step(x, y)
        self.auxiliary.step(x, y)

    def loss(self) -> float:
        bare, x, labels = self.batch(first=True)
        y = self.one_hot(labels)
        losses = (self.basic.evaluate_loss(bare), self.basic.evaluate_loss(x, y), self.auxiliary.evaluate_loss(x, y))
        return float(sum(losses)) / (2 * len(x))


class Lean(PyroModel):
    """One loss of both batches, one optimiser of torch, no checks of arguments."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem, validate=False)
        self.optimizer = torch.optim.Adam(self.networks.parameters(), lr=problem.rate)
        self.basic, self.auxiliary, self.guided = self.bound(), Trace_ELBO(), self.proposal()

    def step(self) -> None:
        loss = self.mean(*self.batch())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()

    def loss(self) -> float:
        return float(self.mean(*self.batch(first=True)).detach())

    def mean(self, bare: Tensor, x: Tensor, labels: Tensor) -> Tensor:
        """Give the loss of a batch of each kind."""
        y = self.one_hot(labels)
        total: Tensor = self.basic.differentiable_loss(self.model, self.guided, bare)
        total = total + self.basic.differentiable_loss(self.model, self.guided, x, y)
        total = total + self.auxiliary.differentiable_loss(self.classifier, self.nothing, x, y)
        return total / (2 * len(x))


class ZFirst(Lean):
    """A3: Pyro has no bound whose weights vary; traces give log-densities by site, and Eq. (8) is written by hand."""

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """q(z | x) q(y | x, z), S draws of a row."""
        with pyro.plate("draws", self.problem.samples, dim=-2), pyro.plate("rows", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(*self.q_z.normal(x)).to_event(1))
            logits = self.q_y(x, z)
            if y is None:
                pyro.sample("y", self._relaxed(logits))
                pyro.factor("kl_y", categorical_kl(torch.log_softmax(logits, -1)), has_rsample=True)
            else:
                pyro.sample("y", dist.OneHotCategorical(logits=logits), obs=y)

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(z) p(y) p(x | y, z), S draws of a row."""
        with pyro.plate("draws", self.problem.samples, dim=-2):
            super().model(x, y)

    def mean(self, bare: Tensor, x: Tensor, labels: Tensor) -> Tensor:
        """Give the loss of a batch of each kind."""
        q = poutine.trace(self.guide).get_trace(bare)
        p = poutine.trace(poutine.replay(self.model, trace=q)).get_trace(bare)
        unlabelled = (_site(p, "x") + _site(p, "z") - _site(q, "z") - _site(q, "kl_y")).mean(0)
        y = self.one_hot(labels)
        q = poutine.trace(self.guide).get_trace(x, y)
        p = poutine.trace(poutine.replay(self.model, trace=q)).get_trace(x, y)
        log_w = _site(q, "y")
        value = _site(p, "x") + _site(p, "z") + _site(p, "y") - _site(q, "z") - log_w
        labelled = (log_w.softmax(0) * value).sum(0) + (1 + self.problem.alpha) * log_w.mean(0)
        return -(unlabelled.mean() + labelled.mean()) / 2


def _site(trace: poutine.Trace, name: str) -> Tensor:
    """Give the log-density of a site, [S, B]; of a site that is not there because it is masked, see `_relaxed`."""
    site = trace.nodes[name]
    score: Tensor = site["fn"].log_prob(site["value"])
    return score


def make(problem: Problem, way: str) -> PyroModel:
    """Make the contender."""
    if problem.z_first:
        if way == "example":
            raise Cannot("no loss of Pyro has weights that vary; the row below writes Eq. (8) by hand")
        return ZFirst(problem)
    return Example(problem) if way == "example" else Lean(problem)
