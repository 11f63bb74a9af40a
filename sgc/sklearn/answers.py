"""What a trained model answers for rows: the distribution of its label, and its latents, under q or the posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.data.columns import Array
from sgc.errors import RunError
from sgc.evaluation.measurement import blame, chunk_rows
from sgc.objectives.bounds import IWAE
from sgc.randomness import Generators, drawing_from
from sgc.runtime.batch import prepare, row_values
from sgc.runtime.inference import Answer
from sgc.runtime.model import Model
from sgc.runtime.outcome import merge
from sgc.runtime.streams import VALIDATION, seed_for


@dataclass(frozen=True)
class Answers:
    """The answers of a model for the rows of a batch, by node as `Model.encode` gives them."""

    model: Model
    answer: Answer
    samples: int

    def means(self, batch: Mapping[str, Tensor], nodes: Sequence[str], label: str = "") -> dict[str, Array]:
        """Give the mean of each node, `(N, *event)`, of categories their probabilities.

        Of q, where a node's parents are observed, it is the mean of q(node | parents), the same for a row whatever
        other rows there are; where only a label of categories is not, it is the sum of these over the label. Otherwise
        it is a mean over samples, whose draws depend on the rows beside.

        Raises: RunError where a row has no finite scores.
        """
        size = len(next(iter(batch.values())))
        step = chunk_rows(self.model, self.samples)
        parts: dict[str, list[Array]] = {name: [] for name in nodes}
        for start in range(0, size, step):
            chunk = {name: value[start : start + step] for name, value in batch.items()}
            for name, value in self._chunk(chunk, nodes, label).items():
                parts[name].append(value)
        return {name: np.concatenate(values) for name, values in parts.items()}

    @torch.no_grad()
    def bounds(self, batch: Mapping[str, Tensor]) -> Array:
        """Bound log p of what each row has observed from below, `(N,)` nats, by samples that the model weighs.

        It is the bound of Burda et al. 2016, Eq. 8, with the same draws every time; exact where nothing is drawn.

        Raises: RunError where a row has no finite score.
        """
        size = len(next(iter(batch.values())))
        step = chunk_rows(self.model, self.samples)
        found: list[Array] = []
        for start in range(0, size, step):
            parts, rows = prepare(
                self.model.outline, {n: v[start : start + step] for n, v in batch.items()}, self.model.like
            )
            with drawing_from(Generators(seed_for(self.model.spec.train.seed, VALIDATION, 5))):
                sums = [self.model.sums([part], samples=self.samples, exact=True, bound=IWAE)[0] for part in parts]
            values = [(part, each.value()) for part, each in zip(parts, sums, strict=True)]
            if not all(bool(torch.isfinite(value).all()) for _, value in values):
                raise RunError(blame(sums))
            found.append(merge(values, rows, values[0][1]).cpu().numpy())
        return np.concatenate(found)

    @torch.no_grad()
    def _chunk(self, batch: Mapping[str, Tensor], nodes: Sequence[str], label: str) -> dict[str, Array]:
        found: dict[str, Tensor] = {}
        if self.answer == "q":
            known = {name: value for name, value in batch.items() if not self._has_holes(name, value)}
            for name in nodes:
                if self._given(name, known):
                    found[name] = self._mean(name, known)
                elif label and self._given(name, {**known, label: ()}) and self._given(label, known):
                    found[name] = self._over_labels(name, label, known)
        if len(found) < len(nodes):
            with drawing_from(Generators(seed_for(self.model.spec.train.seed, VALIDATION, 5))):
                inference = self.model.inference(batch, self.samples, self.answer).checked()
            found |= {name: inference.nodes[name].mean for name in nodes if name not in found}
        return {name: value.cpu().numpy() for name, value in found.items()}

    def _has_holes(self, name: str, value: Tensor) -> bool:
        """Tell whether a value is missing in some row, and is no value that a network reads a flag for."""
        variable = self.model.outline.variables.get(name)
        if variable is None or variable.dropped:
            return False
        return bool(row_values(name, variable, value, self.model.like)[1].any())

    def _given(self, node: str, known: Mapping[str, Any]) -> bool:  # Any: only the names count
        """Tell whether all that q of a node reads is known."""
        outline = self.model.outline
        if node not in outline.recognition:
            return False
        dropped = outline.graphs.dropped  # a network reads a flag in the place of what is missing
        return outline.graphs.sources(outline.recognition[node].reads) <= {*known, *dropped}

    def _mean(self, node: str, values: Mapping[str, Tensor]) -> Tensor:
        distribution = self.model.conditional(node, "recognition", values)
        if self.model.outline.variables[node].categories is not None:
            probabilities: Tensor = distribution.probs  # type: ignore[attr-defined]  # torch types no families
            return probabilities
        return distribution.mean

    def _over_labels(self, node: str, label: str, batch: Mapping[str, Tensor]) -> Tensor:
        """Sum the means of a node over the categories of the label: Σ_y q(y | x) E[node | x, y]."""
        chances = self._mean(label, batch).reshape(len(next(iter(batch.values()))), -1)
        total: Tensor = torch.zeros(())
        for category in range(chances.shape[1]):
            labels = torch.full((len(chances),), category)
            mean = self._mean(node, {**batch, label: labels})
            total = total + chances[:, category].reshape(-1, *(1,) * (mean.dim() - 1)) * mean
        return total
