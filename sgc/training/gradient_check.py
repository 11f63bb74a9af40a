"""The gradient of a step: its norm, how it is clipped, and which node's term made it not finite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from sgc.errors import RunError
from sgc.runtime.finiteness import WORDS
from sgc.runtime.model import Model
from sgc.runtime.sums import Sums
from sgc.training.gradient_variance import owners

NOBODY = "the gradient is not finite, though that of every term is"


def gradient_norm(gradients: Sequence[Tensor]) -> Tensor:
    """Give the Euclidean norm of all gradients as one vector: a scalar, by a fused operation."""
    return nn.utils.get_total_norm(gradients)


def is_finite(parameters: Sequence[nn.Parameter], norm: Tensor) -> bool:
    """Tell whether every gradient is finite; their squares, and so their norm, may overflow where they are."""
    return bool(torch.isfinite(norm)) or all(
        bool(torch.isfinite(gradient).all()) for gradient in _gradients(parameters)
    )


@torch.inference_mode()  # in which replayed steps leave their gradients
def clip(parameters: Sequence[nn.Parameter], norm: Tensor, limit: float) -> None:
    """Scale finite gradients so that their norm is at most the limit. norm: what it is now, see `gradient_norm`."""
    gradients = _gradients(parameters)
    if not bool(torch.isfinite(norm)):  # too large to be squared
        largest = torch.stack([gradient.abs().max() for gradient in gradients if gradient.numel()]).max()
        for gradient in gradients:
            gradient.div_(largest)
        norm = gradient_norm(gradients)
        for gradient in gradients:
            gradient.mul_(limit / norm)
        return
    clip_finite(parameters, norm, limit)


@torch.inference_mode()
def clip_finite(parameters: Sequence[nn.Parameter], norm: Tensor, limit: float) -> None:
    """Do as `clip` where the norm is finite, and read nothing."""
    nn.utils.clip_grads_with_norm_(list(parameters), limit, norm)


def _gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def blame_gradient(model: Model, loss: Tensor, sums: Sequence[Sums]) -> str:
    """Say which node's term makes a gradient that is not finite: the first on the way from the loss to the weights.

    loss: of these sums, whose groups hold the parameters of their conditionals. A term is at fault if the gradient is
    finite for what reads its density, but not for the density's parameters or value; the draw of a node is at fault if
    the gradient is finite for its value, but not for what the value was drawn from.
    """
    for group_sums in sums:
        blamed = _blamed(loss, group_sums)
        if blamed:
            return f"{blamed}, in {group_sums.plan.rows_text()}"
    for owner, parameters in owners(model).items():
        if _broken(loss, parameters):
            return f"{owner}: the gradient of its network is not finite"
    return NOBODY


def _blamed(loss: Tensor, sums: Sums) -> str:
    group, plan = sums.group, sums.plan
    conditionals = group.parameters or {}
    for (node, role), parameters in conditionals.items():
        if role == "generative" and _broken(loss, parameters.values()):
            return _text(node, "kl" if (node, "kl") in group.scores else role)
    for node in group.weights:
        if _broken(loss, conditionals.get((node, "recognition"), {}).values()):
            return _text(node, "label")
    terms = [*group.scores.items(), *(((name, "label"), log) for name, log in group.weights.items())]
    for proposal in reversed(plan.proposals):
        node = proposal.node
        if _broken(loss, [group.values[node]]):
            for (owner, role), score in terms:
                if _broken(score.tensor.sum(), [group.values[node]]):
                    return _text(owner, role)
        parameters = conditionals.get((node, "recognition"), {})
        if _broken(loss, parameters.values()):
            own = [(role, group.scores.get((node, role))) for role in ("kl", "recognition")]
            draws = group.charged[node][0] if node in group.charged else None
            for role, log in [*own, ("recognition", draws)]:
                if log is not None and _broken(log.tensor.sum(), parameters.values()):
                    return _text(node, role)
            return f"node '{node}': the gradient of what q proposes is not finite"
    return ""


def _text(node: str, role: str) -> str:
    return f"node '{node}': the gradient of {WORDS[role]} is not finite"


def _broken(output: Tensor, inputs: Iterable[Tensor]) -> bool:
    """Tell whether the gradient of an output with respect to one of the inputs is not finite."""
    moved = [tensor for tensor in inputs if tensor.requires_grad]
    if not moved or not output.requires_grad:
        return False
    gradients = torch.autograd.grad(output, moved, retain_graph=True, allow_unused=True)
    return not all(gradient is None or bool(torch.isfinite(gradient).all()) for gradient in gradients)


def check_weights(weights: Mapping[str, Tensor], where: str, advice: str) -> None:
    """Check that all weights of a model are finite. Raises: RunError, which says of which node one is not."""
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            owner = name.split(".")[1].removesuffix("_")
            raise RunError(f"{where}: node '{owner}': its weights are not finite after the update; {advice}")
