"""A twin as a model: what its compiled objective says of some rows, and what it should say by brute force."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sgc.derivation.graph import Role
from sgc.proof.brute_force import WRITTEN, Factors, Joint, Words
from sgc.proof.draw_sums import LARGEST, Draws, expected, is_linear, tuples
from sgc.proof.plain_spec import Raw, Row, batch_of, clamped
from sgc.proof.twin import CATEGORIES, loaded, readers
from sgc.runtime.compiler import compile_spec
from sgc.spec.outline import Outline

ROWS = 16  # of one pattern
TUPLES = 5000  # joint outcomes of the draws of all samples
REPEATS = 41  # estimates of the mean; one less than their number is even
FEW = 4  # parents whose weights are not made smaller


class CompiledTwin:
    """A compiled twin, its parameters drawn by name, so that all twins of a proof have the same.

    spread: of the parameters. A network of more than four parents gets smaller weights: if it were saturated, only rare
    draws would change it. inputs: the values that each input takes, [K, *shape]. drawn: the nodes that are drawn.
    """

    def __init__(
        self, outline: Outline, plain: Raw, inputs: Mapping[str, Tensor], drawn: Sequence[str], spread: float, seed: int
    ) -> None:
        self.plain, self.inputs, self.drawn = plain, inputs, drawn
        self.samples: int = plain["objective"]["samples"]
        own = outline.spec.maximised
        self.words = Words.of(plain, None if own.name in WRITTEN else own)
        self.model = compile_spec(loaded(outline, plain.get("written", plain)))
        self.readers = readers(outline)
        generator = torch.Generator().manual_seed(seed)
        named = sorted(self.model.named_parameters())
        parents = Counter(name.rpartition(".")[0] for name, _ in named if ".weights." in name)
        with torch.no_grad():
            for name, parameter in named:
                scale = spread / math.sqrt(max(1.0, parents[name.rpartition(".")[0]] / FEW))
                parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))

    def factors(self) -> Factors:
        """Tabulate the conditionals for brute force."""
        return Factors(self.model, self.plain, self.inputs)

    def batch(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """Write rows as a user would."""
        return batch_of(self.plain, rows, self.inputs)

    def gradient(self, value: Tensor) -> Tensor:
        """Differentiate a scalar by every parameter, side by side, [K]; zeros for those that it does not depend on."""
        parameters = list(self.model.parameters())
        gradients: Sequence[Tensor | None] = [None] * len(parameters)
        if value.requires_grad:
            gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        pairs = zip(parameters, gradients, strict=True)
        return torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for p, g in pairs])

    def parameter_names(self) -> list[str]:
        """Name the conditional or feature that each entry of `gradient` belongs to."""
        names: list[str] = []
        for key, parameter in self.model.named_parameters():
            part, owner, *_ = key.split(".")
            name = owner.removesuffix("_").replace("/", ".")
            names += [f"the gradient of {self._owner_words(part, name)}"] * parameter.numel()
        return names

    def _owner_words(self, part: str, name: str) -> str:
        if part == "features":
            return f"the feature {name}"
        role: Role = "generative" if part == "generative" else "recognition"
        parents = ", ".join(self.readers[name, role])
        return f"{'p' if role == 'generative' else 'q'}({name}{' | ' if parents else ''}{parents})"

    # ---- by brute force

    def bounds(self, factors: Factors, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        """Sum the bound of each row, and the same as the loss has it, at the twin's kl_weight: [R] each."""
        places: dict[frozenset[str], list[int]] = {}
        for i, row in enumerate(rows):
            places.setdefault(frozenset(row), []).append(i)
        parts: list[Tensor] = []
        for group in places.values():
            joint = Joint(factors, [rows[i] for i in group])
            parts.append(torch.stack([joint.bound(replace(self.words, kl_weight=1.0)), joint.bound(self.words)]))
        order = torch.tensor([i for group in places.values() for i in group])
        bounds, weighted = torch.cat(parts, 1)[:, order.argsort()]
        return bounds, weighted

    def most_rows(self, observed: Sequence[str]) -> int:
        """Tell for how many rows of a pattern every outcome of the draws can be summed, up to the usual number."""
        latent = self._latent(observed)
        if is_linear(self.plain, self.words, observed, latent):
            return ROWS
        outcomes = tuples(Draws.count(self.plain, dict.fromkeys(latent, CATEGORIES), self.drawn), self.samples)
        particles = outcomes * self.samples * CATEGORIES ** sum(name not in self.drawn for name in latent)
        return 0 if outcomes > TUPLES else min(ROWS, LARGEST // particles)

    def expected(self, rows: Sequence[Row], observed: Sequence[str]) -> Tensor:
        """Sum the bound of rows of one pattern over every draw, [R]."""
        joint = Joint(self.factors(), rows)
        if is_linear(self.plain, self.words, observed, self._latent(observed)):
            return joint.bound(self.words)
        return expected(joint, self.words, self.drawn, self.samples)

    def _latent(self, observed: Sequence[str]) -> list[str]:
        return [name for name in self.plain["nodes"] if name not in clamped(self.plain) and name not in observed]

    # ---- by draws

    def estimates(self, rows: Sequence[Row], mix: Tensor, copies: int) -> Tensor:
        """Estimate the loss of some rows and its gradient many times, independently: [repeats, 1 + parameters]."""
        batch = self.batch(list(rows) * copies)
        estimates: list[Tensor] = []
        for _ in range(REPEATS):
            loss = self.model.objective(batch, weights=mix.repeat(copies)).loss
            estimates.append(torch.cat([loss.detach()[None], self.gradient(loss)]))
        return torch.stack(estimates)
