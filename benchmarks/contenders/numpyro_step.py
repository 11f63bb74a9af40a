"""The step in NumPyro, compiled by JAX: y enumerated in the guide. It has no relaxed draw of a category."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.infer import SVI, TraceEnum_ELBO

from benchmarks.contender import Cannot, Contender
from benchmarks.problem import Problem

Layers = list[tuple[jax.Array, jax.Array]]


def network(layers: Layers, *parents: jax.Array) -> jax.Array:
    """Map parents side by side, [*leading, size], whose leading dimensions broadcast, through linear maps and ReLU."""
    leading = jnp.broadcast_shapes(*(parent.shape[:-1] for parent in parents))
    value = jnp.concatenate([jnp.broadcast_to(each, (*leading, each.shape[-1])) for each in parents], -1)
    for i, (weight, bias) in enumerate(layers):
        value = (jax.nn.relu(value) if i else value) @ weight.T + bias
    return value


class NumPyroStep(Contender):
    """A1: one model of both batches, the classifier's loss among its sites, one compiled update."""

    def __init__(self, problem: Problem) -> None:
        self.problem, rows = problem, problem.rows()
        numpyro.enable_validation(False)
        self.x, self.labels = jnp.asarray(rows.x), jnp.asarray(rows.labels)
        self._batches, self._first = rows.batches(), rows.first()
        start = jax.tree.map(jnp.asarray, problem.weights())
        adam = numpyro.optim.Adam(problem.rate)
        self.svi = SVI(self.model, self.guide, adam, TraceEnum_ELBO(max_plate_nesting=1))
        self.keys = jax.random.key(problem.seed)
        self.state = self.svi.init(self.keys, *self._take(*self._first), init_params=_flat(start))
        self._update = jax.jit(lambda state, bare, labelled: self.svi.update(state, *self._take(bare, labelled)))
        self._evaluate = jax.jit(self._loss)

    def _take(self, bare: Any, labelled: Any) -> tuple[jax.Array, jax.Array, jax.Array]:  # Any: arrays of either kind
        return self.x[bare], self.x[labelled], self.labels[labelled]

    def _layers(self) -> dict[str, Layers]:
        """Give the weights, which are parameters of NumPyro's."""
        found: dict[str, Layers] = {}
        for name in "xyz":
            found[name] = [(numpyro.param(f"{name}{i}w", None), numpyro.param(f"{name}{i}b", None)) for i in range(3)]
        return found

    def model(self, bare: jax.Array, x: jax.Array, labels: jax.Array) -> None:
        """p of both batches, and α log q(label)."""
        layers, count = self._layers(), self.problem.categories
        uniform = jnp.full(count, 1 / count)
        zero = jnp.zeros(self.problem.latent)
        for name, rows, known in (("u", bare, None), ("l", x, labels)):
            with numpyro.plate(f"rows_{name}", len(rows)):
                z = numpyro.sample(f"z_{name}", dist.Normal(zero, 1).to_event(1))
                y = numpyro.sample(f"y_{name}", dist.Categorical(uniform), obs=known)
                logits = network(layers["x"], jax.nn.one_hot(y, count), z)
                numpyro.sample(f"x_{name}", dist.Bernoulli(logits=logits).to_event(1), obs=rows)
        with numpyro.plate("rows_aux", len(x)), numpyro.handlers.scale(scale=self.problem.alpha):
            numpyro.sample("y_aux", dist.Categorical(logits=network(layers["y"], x)), obs=labels)

    def guide(self, bare: jax.Array, x: jax.Array, labels: jax.Array) -> None:
        """q(y | x) q(z | x, y)."""
        layers, count = self._layers(), self.problem.categories
        with numpyro.plate("rows_u", len(bare)):
            q_y = dist.Categorical(logits=network(layers["y"], bare))
            y = numpyro.sample("y_u", q_y, infer={"enumerate": "parallel"})
            self._propose("z_u", layers["z"], bare, jax.nn.one_hot(y, count))
        with numpyro.plate("rows_l", len(x)):
            self._propose("z_l", layers["z"], x, jax.nn.one_hot(labels, count))

    def _propose(self, name: str, layers: Layers, x: jax.Array, y: jax.Array) -> None:
        loc, raw = jnp.split(network(layers, x, y), 2, -1)
        numpyro.sample(name, dist.Normal(loc, jax.nn.softplus(raw)).to_event(1))

    def _loss(self, state: Any, key: jax.Array) -> jax.Array:  # Any: NumPyro's
        given = self._take(*self._first)
        loss: jax.Array = self.svi.loss.loss(key, self.svi.get_params(state), self.model, self.guide, *given)
        return loss / (2 * self.problem.batch)

    def step(self) -> None:
        self.state, loss = self._update(self.state, *next(self._batches))
        float(loss)

    def loss(self) -> float:
        self.keys, key = jax.random.split(self.keys)
        return float(self._evaluate(self.state, key))

    def exact(self) -> dict[str, float]:
        params, (_, x, labels) = self.svi.get_params(self.state), self._take(*self._first)
        layers = [(params[f"y{i}w"], params[f"y{i}b"]) for i in range(3)]
        return {"label": float(dist.Categorical(logits=network(layers, x)).log_prob(labels).mean())}

    def finish(self) -> None:
        jax.block_until_ready(self.state)


def _flat(weights: dict[str, Layers]) -> dict[str, jax.Array]:
    named: dict[str, jax.Array] = {}
    for name, layers in weights.items():
        for i, (weight, bias) in enumerate(layers):
            named |= {f"{name}{i}w": weight, f"{name}{i}b": bias}
    return named


def make(problem: Problem, way: str) -> Callable[[], None] | NumPyroStep:
    """Make the contender. Raises: Cannot."""
    if problem.temperature:
        raise Cannot("no relaxed draw of a category")
    return NumPyroStep(problem)
