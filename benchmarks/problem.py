"""What every contender is given: the sizes of a step, read from its spec, the starting weights, the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml

SPECS = Path(__file__).parent / "specs"
STEPS = ("A1", "A2", "A3")
BATCHES = 10  # of each stream, before it starts over

Layers = list[tuple[np.ndarray, np.ndarray]]  # weight [out, in] and bias [out] of each linear map


@dataclass(frozen=True)
class Problem:
    """One step: A1 and A2 have q(y | x) q(z | x, y), A3 has q(z | x) q(y | x, z)."""

    step: str
    batch: int  # rows with labels, and as many without
    pixels: int
    categories: int
    latent: int
    width: int  # of both hidden layers of every network
    samples: int
    alpha: float
    temperature: float  # of relaxed draws of y; 0 where y is enumerated
    rate: float  # of learning
    seed: int = 0

    @property
    def spec(self) -> Path:
        """The spec that says what the step is."""
        return SPECS / f"{self.step.lower()}.yaml"

    @property
    def z_first(self) -> bool:
        """Whether q proposes z before y, so that the weight of a label varies with z."""
        return self.step == "A3"

    def overrides(self) -> list[str]:
        """Write the sizes as `sgc train --set` takes them."""
        network = f"{{mlp: [{self.width}, {self.width}]}}"
        return [
            f"nodes.x.shape=[{self.pixels}]",
            f"nodes.z.shape=[{self.latent}]",
            f"nodes.x.generative.network={network}",
            f"nodes.y.recognition.network={network}",
            f"nodes.z.recognition.network={network}",
            f"train.batch_size={{unlabelled: {self.batch}, labelled: {self.batch}}}",
        ]

    def inputs(self) -> dict[str, list[int]]:
        """Give the sizes of the parents of each network, in the spec's order."""
        x, y, z = self.pixels, self.categories, self.latent
        return {"x": [y, z], "y": [x, z] if self.z_first else [x], "z": [x] if self.z_first else [x, y]}

    def outputs(self) -> dict[str, int]:
        """Give the numbers that each network ends in: logits, or locations and what scales are softplus of."""
        return {"x": self.pixels, "y": self.categories, "z": 2 * self.latent}

    def weights(self) -> dict[str, Layers]:
        """Draw the weights that every contender starts from: uniform, ±1/√(inputs of the layer)."""
        rng = np.random.default_rng(self.seed)
        found: dict[str, Layers] = {}
        for name, parents in self.inputs().items():
            sizes = [sum(parents), self.width, self.width, self.outputs()[name]]
            found[name] = []
            for before, after in pairwise(sizes):
                reach = before**-0.5
                weight = rng.uniform(-reach, reach, (after, before)).astype(np.float32)
                found[name].append((weight, rng.uniform(-reach, reach, after).astype(np.float32)))
        return found

    def rows(self) -> Rows:
        """Draw the rows: bits, and the labels of the first half of them."""
        rng = np.random.default_rng([self.seed, 1])
        count = BATCHES * self.batch
        x = (rng.random((2 * count, self.pixels)) < 0.3).astype(np.float32)
        return Rows(x, rng.integers(0, self.categories, count), self.batch)


@dataclass(frozen=True)
class Rows:
    """Pixels of all rows, [2 N, X] of 0 and 1, and the labels of the first N rows."""

    x: np.ndarray
    labels: np.ndarray
    batch: int

    def first(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the places of the rows that losses are compared on: those without labels, those with."""
        return np.arange(self.batch) + len(self.labels), np.arange(self.batch)

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Give the places of the rows of each step, of both streams, without end and in a new order every time."""
        rng, count = np.random.default_rng(0), len(self.labels)
        while True:
            bare, labelled = rng.permutation(count) + count, rng.permutation(count)
            for start in range(0, count, self.batch):
                yield bare[start : start + self.batch], labelled[start : start + self.batch]


def read(step: str, batch: int | None = None) -> Problem:
    """Read a step from its spec, at its own size or with other rows in a batch."""
    given: Any = yaml.safe_load((SPECS / f"{step.lower()}.yaml").read_text())  # Any: plain data
    nodes, estimator = given["nodes"], given["nodes"]["y"]["recognition"]["estimator"]
    return Problem(
        step=step,
        batch=given["train"]["batch_size"]["labelled"] if batch is None else batch,
        pixels=nodes["x"]["shape"][0],
        categories=nodes["y"]["categories"],
        latent=nodes["z"]["shape"][0],
        width=nodes["x"]["generative"]["network"]["mlp"][0],
        samples=given["objective"]["samples"],
        alpha=float(given["objective"]["alpha"]),
        temperature=0.0 if estimator == "enumerate" else estimator["gumbel_softmax"]["temperature"],
        rate=given["train"]["optimizer"]["lr"],
    )


def tiny(problem: Problem) -> Problem:
    """Shrink a step until nothing is left but the work around its products."""
    return replace(problem, batch=4, pixels=8, width=8, latent=4)


def plain_data(problem: Problem) -> dict[str, Any]:  # Any: what JSON can say
    """Give a problem as a contender's process is told it."""
    return asdict(problem)
