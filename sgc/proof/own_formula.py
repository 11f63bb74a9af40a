"""A bound of the user's own by brute force: its expression, with every mean a plain sum over all particles.

All labels are taken to vary, and the factors of p and r are joined into three: a bound may depend on neither.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sgc.objectives.bound import Bound, BoundWords, Ingredients
from sgc.objectives.expressions import Constant, LabelScore, Log, LogMean, Product, Scale, Score

CLAMPED, LATENT, PROPOSAL = Score("c", "generative"), Score("l", "generative"), Score("l", "recognition")


def own_bound(
    bound: Bound, logs: Mapping[Score, Tensor], labels: Mapping[str, Tensor], mass: Tensor, alpha: Mapping[str, float]
) -> Tensor:
    """Give the bound of particles, [...].

    logs: of p of what is clamped and latent, and −log r, [..., P]. labels: log q of labelled nodes, in an order of q.
    mass: the logs of the particles' masses. alpha: by labelled node.
    """
    names = {name: LabelScore(name, (name,)) for name in labels}
    ingredients = Ingredients(tuple(logs), tuple(names.values()))
    words = BoundWords(samples=mass.shape[-1], alpha_by_node=len(set(alpha.values())) > 1)
    values: dict[Log, Tensor] = {names[name]: log for name, log in labels.items()}
    values |= dict(logs.items())

    def joined(product: Product) -> Tensor:
        return product.power * sum((values[log] for log in product.logs), torch.zeros_like(mass))

    def number(scale: Scale) -> float:
        return scale.constant + (alpha[scale.alpha] if scale.alpha else 0.0)

    def log_mean(product: Product) -> Tensor:
        return (mass + joined(product)).logsumexp(-1)

    total = torch.zeros_like(mass[..., 0])
    for scaled in bound.expression(ingredients, words).parts:
        part = scaled.part
        if isinstance(part, Constant | LogMean):
            before = Product(part.before.logs, power=part.before.power) if isinstance(part, LogMean) else Product(())
            value = log_mean(part.product if isinstance(part, Constant) else part.numerator)
            value = value - log_mean(before) if before.logs else value
        else:
            inner = sum((v.sign * values[log] for v in part.values for log in v.logs), torch.zeros_like(mass))
            weight = mass + joined(part.weight)
            value = (torch.softmax(weight, -1) * inner).sum(-1)
            if not part.normalised:
                value = value * weight.logsumexp(-1).exp()
        total = total + number(scaled.scale) * value
    return total
