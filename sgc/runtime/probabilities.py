"""Scores of nodes: for discrete nodes they are logs of probabilities, and none is above 0."""

from __future__ import annotations

import math

from torch import Tensor
from torch.distributions import Distribution

from sgc.distributions.points import Point
from sgc.errors import RunError
from sgc.spec.outline import Variable

ROUNDING = 1e-2  # nats that float32 may be off by in one score, and a hundredth of it for each element


def log_score(
    variable: Variable, distribution: Distribution, value: Tensor | Point, present: Tensor | None = None
) -> Tensor:
    """Score a value of a node, in nats: see `Family.log_prob`.

    Raises: RunError where a discrete value has a probability above 1, which a parameter outside its set may give, or an
    own class that is no distribution: the bound would be above log p(x).
    """
    log = variable.family.log_prob(distribution, value, present)
    if variable.family.support.discrete and log.numel():
        most = log.detach().amax()
        if bool(most > ROUNDING * (1 + 0.01 * math.prod(variable.event))):
            row = int(log.detach().reshape(-1, log.shape[-1]).amax(0).argmax()) if log.dim() else 0
            row_text = f" in row {row}" if log.dim() and log.shape[-1] > 1 else ""
            raise RunError(
                f"node '{variable.name}': its probability is e^{float(most):.4g}{row_text}, and none is above 1: "
                f"a parameter of {variable.family.name} is outside its range, or its log_prob is not a log-probability"
            )
    return log
