"""Collapse: latent nodes whose q stays at the prior, units that are the same in all rows, weights on one sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sgc.evaluation.mean_terms import NO_LABELS, Means
from sgc.runtime.model import Model
from sgc.runtime.steps import outer_names

COLLAPSED = 0.05  # nats per row, of a whole node
ACTIVE = 0.01  # variance over rows, where the prior's is 1
DEGENERATE = 1.05  # effective samples, of more than one
LASTING = 5  # epochs before a warning: many a KL starts near zero


def divergences(means: Mapping[str, Means]) -> dict[str, float]:
    """Give the mean of log q − log p of each latent node, in nats, over rows without labels, or else labelled ones.

    It is KL(q‖p) for a node with the same parents in q and p; the sum over all nodes always is.
    """
    terms = means.get("unlabelled") or means.get("labelled") or {}
    by_node: dict[str, float] = {}
    for node, roles in terms.items():
        if "kl" in roles:
            by_node[node] = -roles["kl"]
        elif "recognition" in roles and "generative" in roles:
            by_node[node] = -roles["recognition"] - roles["generative"]
    return by_node


def collapsed(means: Mapping[str, Means]) -> list[str]:
    """Name the latent nodes whose KL is near zero, so that q does not depend on the row (Bowman et al. 2016)."""
    return [node for node, divergence in divergences(means).items() if abs(divergence) < COLLAPSED]


def unit_nodes(model: Model) -> list[str]:
    """Name the nodes whose active units can be counted: the Normal ones that q proposes in rows without labels.

    The units of all steps of a repeat belong to one node.
    """
    if not model.spec.maximised.generative:
        return []
    proposed = [proposal.node for proposal in model.plan((), exact=True).proposals]
    normal = [n for n in proposed if model.outline.variables[n].family.gaussian]
    return list(outer_names(model.outline, normal))


def active_units(means: Tensor) -> int:
    """Count the elements of a node whose posterior mean varies over rows by more than 0.01 (Burda et al. 2016, §5.2).

    means: of q, [N, *event]; a single row has no variance and no active unit.
    """
    if len(means) < 2:
        return 0
    spread: Tensor = means.reshape(len(means), -1).var(0)
    return int(torch.count_nonzero(spread > ACTIVE))


class Alarms:
    """Counts for how many epochs in a row something has been wrong; each problem is reported once in a run."""

    def __init__(self, lasted: Mapping[str, int] | None = None) -> None:
        self.lasted = dict(lasted or {})

    def hear(self, line: Mapping[str, Any], samples: int) -> list[str]:  # Any: a line of metrics.jsonl
        """Take in the line of an epoch; give the warnings that are due. samples: S of the objective."""
        wrong: dict[str, str] = {}
        for node in line.get("collapsed", ()):
            wrong[f"collapsed {node}"] = (
                f"'{node}' has collapsed: for {LASTING} epochs q({node} | ...) has been within {COLLAPSED} nats of "
                f"p({node} | ...), so it carries no information about a row (which often passes in the first epochs)"
            )
        for pattern, count in line.get("effective_samples", {}).items():
            if samples > 1 and count < DEGENERATE:
                rows = "rows without labels" if pattern == NO_LABELS else f"rows with {pattern} labelled"
                wrong[f"weights {pattern}"] = (
                    f"the weights of {rows} are degenerate: for {LASTING} epochs one of {samples} samples has had all "
                    f"the weight ({count:.2f} effective)"
                )
        weighed = {f"weights {pattern}" for pattern in line.get("effective_samples", {})}
        reported = {key for key, count in self.lasted.items() if count >= LASTING}
        for key in {*wrong, *self.lasted} - reported:
            if key in wrong:
                self.lasted[key] = self.lasted.get(key, 0) + 1
            elif key.startswith("collapsed ") or key in weighed:  # a rare pattern is not in every line
                self.lasted[key] = 0
        return [text for key, text in wrong.items() if key not in reported and self.lasted[key] >= LASTING]

    def state(self) -> dict[str, int]:
        return dict(sorted(self.lasted.items()))

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Alarms:  # Any: numbers
        return cls({str(key): int(count) for key, count in state.items()})
