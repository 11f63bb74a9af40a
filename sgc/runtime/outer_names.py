"""Posteriors by outer name: what is known of all steps of a node of a repeat, the steps first."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sgc.runtime.posterior import NodePosterior, Posterior
from sgc.runtime.steps import apart, join, nodes_of
from sgc.spec.outline import Outline


def joined(found: Mapping[str, NodePosterior], outline: Outline) -> dict[str, NodePosterior]:
    """Join the steps of each node: means and deviations [B, *steps, *event], samples [S, B, *steps, *event]."""
    means = join(outline, {name: each.mean for name, each in found.items()})
    spreads = join(outline, {name: each.sd for name, each in found.items()})
    samples = join(outline, {name: each.samples for name, each in found.items()}, axis=2)
    weights = {outline.outer_name.get(name, name): each.weights for name, each in found.items()}
    return {name: NodePosterior(means[name], samples[name], weights[name], spreads[name]) for name in means}


def mean_of(posterior: Posterior, name: str, *, weighted: bool) -> Tensor:
    """Average a node over all particles, as `Posterior.mean` does: [B, *steps, *event]."""
    outline = posterior.outline
    return join(outline, {node: posterior.mean(node, weighted=weighted) for node in nodes_of(outline, name)})[name]


def share_below(posterior: Posterior, name: str, value: Tensor) -> Tensor | None:
    """Give q's probability of at most `value`, as `Posterior.share_below` does, both [B, *steps, *event]."""
    found: dict[str, Tensor] = {}
    for node, each in apart(posterior.outline, name, value).items():
        below = posterior.share_below(node, each)
        if below is None:
            return None
        found[node] = below
    return join(posterior.outline, found)[name]
