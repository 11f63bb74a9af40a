"""The step in Pixyz: a loss put together from distributions, as its example of M2 does."""

from __future__ import annotations

import torch
from pixyz.distributions import Bernoulli, Categorical, Normal, RelaxedCategorical
from pixyz.losses import KullbackLeibler
from pixyz.models import Model
from torch import Tensor
from torch.nn import functional

from benchmarks.contender import Cannot
from benchmarks.problem import Problem
from benchmarks.torch_contender import ByHand, Network


class Decoder(Bernoulli):
    """p(x | y, z). Pixyz takes probabilities, no logits."""

    def __init__(self, network: Network) -> None:
        super().__init__(var=["x"], cond_var=["y", "z"], name="p")
        self.network = network

    def forward(self, y: Tensor, z: Tensor) -> dict[str, Tensor]:
        return {"probs": self.network(y, z).sigmoid()}


class Encoder(Normal):
    """q(z | x, y)."""

    def __init__(self, network: Network) -> None:
        super().__init__(var=["z"], cond_var=["x", "y"], name="q")
        self.network = network

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        loc, scale = self.network.normal(x, y)
        return {"loc": loc, "scale": scale}


class Draws(RelaxedCategorical):
    """q(y | x) where it is drawn. Where it is scored, Pixyz 0.3.3 would take its numbers for those of a Bernoulli."""

    def __init__(self, network: Network, temperature: float) -> None:
        super().__init__(var=["y"], cond_var=["x"], name="q", temperature=torch.tensor(temperature))
        self.network = network

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"probs": self.network(x).softmax(-1)}


class Scores(Categorical):
    """q(y | x) where it is scored."""

    def __init__(self, network: Network) -> None:
        super().__init__(var=["y"], cond_var=["x"], name="q")
        self.network = network

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"probs": self.network(x).softmax(-1)}


class PixyzStep(ByHand):
    """The loss of A2 as an expression, and Pixyz's own model around it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        torch.distributions.Distribution.set_default_validate_args(True)  # as Pixyz finds it
        networks = {name: Network(layers) for name, layers in problem.weights().items()}
        p, q = Decoder(networks["x"]), Encoder(networks["z"])
        draws, scores = Draws(networks["y"], problem.temperature), Scores(networks["y"])
        zero, size = torch.tensor(0.0), [problem.latent]
        prior = Normal(loc=zero, scale=zero + 1, var=["z"], features_shape=size, name="p")
        uniform = Categorical(probs=torch.full((problem.categories,), 1 / problem.categories), var=["y"], name="p")
        p_known, q_known, known = (each.replace_var(x="x_known", y="y_known") for each in (p, q, scores))
        uniform_known = uniform.replace_var(y="y_known")
        within = p.log_prob() + prior.log_prob() - q.log_prob()
        unlabelled = within.expectation(q * draws) - KullbackLeibler(scores, uniform)
        within = p_known.log_prob() + prior.log_prob() - q_known.log_prob()
        labelled = within.expectation(q_known) + uniform_known.log_prob()
        self.label = known.log_prob().mean()
        loss = -(unlabelled.mean() + labelled.mean() + problem.alpha * self.label) / 2
        self.model = Model(
            loss=loss,
            distributions=[p, q, scores],
            optimizer=torch.optim.Adam,
            optimizer_params={"lr": problem.rate},
        )

    def step(self) -> None:
        self.model.train(self._given()).item()

    def loss(self) -> float:
        return float(self.model.test(self._given(first=True)))

    def exact(self) -> dict[str, float]:
        given = self._given(first=True)
        del given["x"]
        with torch.no_grad():
            return {"label": float(self.label.eval(given))}

    def _given(self, *, first: bool = False) -> dict[str, Tensor]:
        bare, x, labels = self.batch(first=first)
        return {"x": bare, "x_known": x, "y_known": functional.one_hot(labels, self.problem.categories).float()}


def make(problem: Problem, way: str) -> PixyzStep:
    """Make the contender. Raises: Cannot."""
    if problem.z_first:
        raise Cannot("no expectation whose weights vary with what is drawn")
    if not problem.temperature:
        raise Cannot("no enumeration of y")
    return PixyzStep(problem)
